#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The redis backend through purserd: killed, stopped, restarted under load; absent, locked, of the wrong kind;
large values, both protocols, both transports."""

import os
import threading
import time

import harness
from harness import Purserd, Redis, RespError, check, equal, wait_until

# What a caller may see while the store dies and comes back.
TYPED = ("BACKENDDOWN", "INDETERMINATE", "TIMEOUT", "CIRCUITOPEN", "POOLEXHAUSTED")


def on(url, **more):
    return dict({"backend main.plugin": "redis", "backend main.url": url, "breaker.recovery_initial": "100ms",
                 "breaker.recovery_timeout": "1s"}, **more)


class Caller(threading.Thread):
    """One connection that sets a key to ever new values and reads it back, in pipelines of odd lengths."""

    def __init__(self, sock, number):
        super().__init__(daemon=True)
        self.client = harness.Client(sock)
        self.number, self.ok, self.errors, self.wrong, self.dead = number, 0, {}, [], None
        self.over = False

    def note(self, reply):
        if isinstance(reply, RespError):
            word = str(reply).split()[0]
            self.errors[word] = self.errors.get(word, 0) + 1
            return False
        self.ok += 1
        return True

    def run(self):
        i, key = 0, f"caller:{self.number}"
        try:
            while not self.over:
                values = [f"{self.number}-{i + j}" for j in range(1 + i % 13)]
                i += len(values)
                commands = [c for v in values for c in (("SET", key, v), ("GET", key))]
                replies = self.client.pipeline(commands)
                for n, v in enumerate(values):
                    stored, read = self.note(replies[2 * n]), self.note(replies[2 * n + 1])
                    if stored and read and replies[2 * n + 1] != v.encode():
                        self.wrong.append((v, replies[2 * n + 1]))
        except (OSError, EOFError) as e:
            self.dead = e


def under_load():
    with Redis(name="load") as redis, Purserd(on(redis.url), name="load-agent") as p:
        callers = [Caller(p.sock, n) for n in range(12)]
        for c in callers:
            c.start()

        def served(more):
            before = [c.ok for c in callers]
            wait_until(lambda: all(c.ok >= b + more for c, b in zip(callers, before)), "all callers to be served")

        for _ in range(3):
            served(100)
            redis.kill()
            wait_until(lambda: all(sum(c.errors.values()) for c in callers), "all callers to see an error")
            os.unlink(redis.sock)
            redis.start()
            served(100)  # unaided
            for c in callers:
                c.errors.clear()
        redis.pause()
        time.sleep(0.3 * harness.SLOW)
        redis.go_on()
        served(100)
        with redis.client() as c:  # all our links at once
            c.cmd("CLIENT", "KILL", "TYPE", "normal")
        served(100)
        for c in callers:
            c.over = True
        for c in callers:
            c.join(20 * harness.SLOW)
            check(not c.is_alive(), "a caller hangs")
            equal(c.dead, None, "a client's connection was dropped")
            equal(c.wrong, [], "wrong replies")
            check(set(c.errors) <= set(TYPED), c.errors)


def absent_at_start():
    redis = Redis(name="late")
    with Purserd(on(redis.url), name="early") as p, p.client() as c:
        for _ in range(20):
            begun = time.monotonic()
            check(c.error("GET", "k").word in ("BACKENDDOWN", "CIRCUITOPEN"))
            check(time.monotonic() - begun < 5 * harness.SLOW, "known to be down, but not at once")
        with redis:
            wait_until(lambda: c.cmd("PING") and not isinstance(c.pipeline([("SET", "k", "v")])[0], RespError),
                       "the backend to be found")
            wait_until(lambda: c.pipeline([("GET", "k")]) == [b"v"], "reading to go on")
        p.wait_log("recovered after")


def stopped():
    with Redis(name="stop") as redis:
        more = {"backend main.operation_timeout": "300ms"}
        with Purserd(on(redis.url, **more), name="stop-agent") as p, p.client() as c:
            equal(c.cmd("SET", "k", "v"), "OK")
            redis.pause()
            replies = c.pipeline([("GET", "k"), ("SET", "k", "w"), ("GET", "k")])
            equal([str(r).split()[0] for r in replies], ["TIMEOUT", "INDETERMINATE", "TIMEOUT"])
            redis.go_on()
            wait_until(lambda: not isinstance(c.pipeline([("GET", "k")])[0], RespError), "the server to go on")
            equal(c.cmd("SET", "k", "x"), "OK")
            equal(c.cmd("GET", "k"), b"x")


def refused(redis_args, word, text, **settings):
    with Redis(redis_args, name="refuse") as redis:
        with Purserd(on(redis.url, **settings), name="refuse-agent") as p, p.client() as c:
            e = str(c.error("GET", "k"))
            equal(e.split()[0], word)
            check(text in e, e)
            p.wait_log(text)
            check("s3cret" not in p.log() + e)


def credentials():
    path = os.path.join(harness.tmp(), "password")

    def password(text):
        with open(path, "w", encoding="utf-8") as f:
            f.write(text + "\n")
        os.chmod(path, 0o600)

    password("s3cret-wrong")
    refused(["--requirepass", "s3cret"], "BACKENDAUTH", "set password_file")
    refused(["--requirepass", "s3cret"], "BACKENDAUTH", "WRONGPASS", **{"backend main.password_file": path})
    password("s3cret")
    args = ["--user", "bob", "on", ">s3cret", "~*", "+@all"]
    with Redis(args, name="acl") as redis:
        more = {"backend main.password_file": path, "backend main.user": "bob"}
        with Purserd(on(redis.url, **more), name="acl-agent") as p, p.client() as c:
            equal(c.cmd("SET", "k", "v"), "OK")
            # Rotated: the server first, then the file; our links are closed.
            with redis.client() as admin:
                admin.cmd("ACL", "SETUSER", "bob", "resetpass", ">s3cret2")
                admin.cmd("CLIENT", "KILL", "USER", "bob")
                wait_until(lambda: str(c.pipeline([("GET", "k")])[0]).startswith("BACKENDAUTH"), "a refusal")
                password("s3cret2")
                wait_until(lambda: c.pipeline([("GET", "k")])[0] == b"v", "the new password")
            check("s3cret" not in p.log())


def wrong_kind():
    refused(["--cluster-enabled", "yes"], "UNSUPPORTED", "Redis Cluster")


def slow_reader():
    """A large reply that its client takes its time for: nobody else waits, and a deadline that passes while it
    arrives does not break it."""
    big = os.urandom(1 << 20) * 16
    with Redis(name="slow") as redis:
        more = {"backend main.operation_timeout": "500ms"}
        with Purserd(on(redis.url, **more), name="slow-agent") as p, p.client() as c, p.client() as other:
            equal(c.cmd("SET", "big", big), "OK")
            c.send("GET", "big")
            # Who was behind it before its size was known must wait; everybody who comes later must not.
            wait_until(lambda: other.pipeline([("SET", "k", "v")])[0] == "OK" and redis_clients(redis) > 2,
                       "a second lane")
            time.sleep(1.2 * harness.SLOW)
            for i in range(100):
                equal(other.cmd("GET", "k"), b"v")
            check(c.read() == big)
            equal(c.cmd("GET", "k"), b"v")


def redis_clients(redis):
    with redis.client() as c:
        return len(c.cmd("CLIENT", "LIST").splitlines())


def values():
    big = bytes(range(256)) * (80 << 10)  # 20 MiB
    with Redis(["--bind", "127.0.0.1"], name="values") as redis:
        with Purserd(on(redis.url, **{"backend main.database": "3"}), name="values-agent") as p, \
                p.client() as c, p.client() as other:
            c.send("SET", "big", big)
            equal(other.cmd("PING"), "PONG")
            equal(c.read(), "OK")
            check(c.cmd("GET", "big") == big)
            for i in range(100):
                equal(other.cmd("SET", f"k{i}", "v"), "OK")
            keys = [f"k{i}" for i in range(100)]
            equal(c.cmd("MGET", *keys), [b"v"] * 100)
            for proto in ("2", "3"):
                c.cmd("HELLO", proto)
                equal(c.cmd("HSET", "h" + proto, "f", "v"), 1)
                equal(c.cmd("HGETALL", "h" + proto), {b"f": b"v"} if proto == "3" else [b"f", b"v"])
            odd = [b"", b"\0", b"\r\n", b"$5\r\nhello\r\n", b"\xff" * 300, "käse".encode()]
            for k in odd:
                equal(c.cmd("SET", k, k), "OK")
                equal(c.cmd("GET", k), k)
            with redis.client() as direct:
                equal(direct.cmd("SELECT", "3"), "OK")
                equal(direct.cmd("DBSIZE"), 1 + 100 + 2 + len(odd))
                equal(direct.cmd("GET", "proj:default:k7"), b"v")


def long_errors():
    """Redis says a name of any length in an error: who sent it is answered, and nobody else's link is cut for it."""
    with Redis(name="long") as redis, Purserd(on(redis.url), name="long-agent") as p, p.client() as c, p.client() as other:
        c.cmd("XADD", "s", "1-1", "a", "1")
        for n in (65000, 65535, 65536, 65537, 70000, 140000, 500000):
            text = "ERR " + "x" * (n - 4)
            e = c.error("EVAL", "return redis.error_reply(ARGV[1])", 0, text)
            check(e.text.startswith("ERR " + "x" * 400), n, len(e.text), e.text[:80])
            equal(c.error("XPENDING", "s", "g" * n).word, "NOGROUP")
            equal(c.pipeline([["GET", "k"], ["XPENDING", "s", "g" * n], ["PING"], ["GET", "k"]])[2:], ["PONG", None])
            other.send("BLPOP", "l", "0")
            other.send("XREADGROUP", "GROUP", "g" * n, "c", "STREAMS", "s", ">")
            c.cmd("RPUSH", "l", "v")
            equal(other.read(), [b"l", b"v"])
            equal(other.read().word, "NOGROUP")
            equal(other.cmd("PING"), "PONG")
        check("not RESP" not in p.log(), p.log()[-2000:])


def main():
    for part in (slow_reader, under_load, absent_at_start, stopped, credentials, wrong_kind, values, long_errors):
        begun = time.monotonic()
        part()
        print(f"{part.__name__}: {time.monotonic() - begun:.1f} s")


harness.run(main)
