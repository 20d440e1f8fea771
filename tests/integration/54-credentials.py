#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who the agent is to Redis: a password that changes while it runs, users in the URL, on Unix sockets and by TLS; and
the rights that docs/redis.md gives its user: enough, and what is not among them is an answer, not a broken link."""

import os
import re
import time

import harness
from certificates import CA, RedisTLS
from harness import Purserd, Redis, RespError, check, equal, wait_until

TOP = harness.srcdir


def metric(p, name):
    text = p.http("GET", "/metrics").body.decode()
    return sum(float(v) for v in re.findall(rf"^{name}(?:{{[^}}]*}})? ([0-9.e+]+)$", text, re.M))


def write(path, text):
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text + "\n")
    os.chmod(path + ".new", 0o600)
    os.rename(path + ".new", path)
    return path


def rotation(redis, url, name, **more):
    """The server's password changes, then the file, then the other way round; connections are cut each time."""
    path = write(os.path.join(harness.tmp(), name + ".password"), "first-s3cret")
    keys = {"plugin": "redis", "url": url, "password_file": path, **more}
    with redis, redis.client() as admin:
        admin.cmd("ACL", "SETUSER", "bob", "on", ">first-s3cret", "~*", "&*", "+@all")
        with Purserd({f"backend main.{k}": v for k, v in keys.items()}, name=name + "-agent") as p, p.client() as c, \
                p.client() as held:
            pid, started = p.pid, time.monotonic()

            def attempts():
                return metric(p, "purser_redis_connections_failed_total")

            equal(c.cmd("SET", "k", "v"), "OK")
            equal(held.cmd("GET", "k"), b"v")  # with more than one worker: by a link of its own
            # A new password cuts nobody off.
            admin.cmd("ACL", "SETUSER", "bob", "resetpass", ">second-s3cret")
            equal(held.cmd("GET", "k"), b"v")
            admin.cmd("CLIENT", "KILL", "USER", "bob")
            wait_until(lambda: str(c.pipeline([("GET", "k")])[0]).startswith("BACKENDAUTH"), "a refusal")
            begun, before = time.monotonic(), attempts()
            replies = [r for _ in range(40) for r in c.pipeline([("GET", "k")] * 50)]
            wait_until(lambda: attempts() >= before + 3, "more attempts")
            check(all(isinstance(r, RespError) and r.word == "BACKENDAUTH" for r in replies), replies[0])
            # Each waits a random time up to 20 ms, 40 ms ... 500 ms: 2,000 commands cause none of them.
            lanes = 2 * int(p.settings.get("agent.workers", 1))
            most = lanes * (12 + (time.monotonic() - begun) * 10)
            check(attempts() - before <= most, attempts() - before, "attempts, at most", most)
            write(path, "second-s3cret")
            wait_until(lambda: c.pipeline([("GET", "k")])[0] == b"v", "the new password")
            # The file first: what the agent knows is good until the server refuses it.
            write(path, "third-s3cret")
            equal(c.cmd("GET", "k"), b"v")
            admin.cmd("CLIENT", "KILL", "USER", "bob")
            wait_until(lambda: c.pipeline([("GET", "k")])[0] == b"v", "the password that it has")
            admin.cmd("ACL", "SETUSER", "bob", "resetpass", ">third-s3cret")
            admin.cmd("CLIENT", "KILL", "USER", "bob")
            wait_until(lambda: c.pipeline([("GET", "k")])[0] == b"v", "the third password")
            # A file that has gone is said, and does not end it.
            os.rename(path, path + ".away")
            admin.cmd("ACL", "SETUSER", "bob", "resetpass", ">fourth-s3cret")
            admin.cmd("CLIENT", "KILL", "USER", "bob")
            wait_until(lambda: "password_file" in str(c.pipeline([("GET", "k")])[0]), "the file to be missed")
            write(path, "fourth-s3cret")
            wait_until(lambda: c.pipeline([("GET", "k")])[0] == b"v", "the fourth password")
            wait_until(lambda: held.pipeline([("GET", "k")])[0] == b"v", "the fourth password")
            check(p.pid == pid and p.running(), "it was restarted")
            check("s3cret" not in p.log(), "a password in the log")
            print(f"  {name}: {attempts():.0f} failed attempts in {time.monotonic() - started:.1f} s")


def reloaded():
    """A reload takes another password_file without a new instance, and refuses one that cannot be."""
    first, second = (write(os.path.join(harness.tmp(), f"r{i}"), f"s3cret-{i}") for i in (1, 2))

    def text(path):
        return f"[backend main]\nplugin = redis\nurl = {redis.url}\nuser = bob\npassword_file = {path}\n"

    with Redis(["--user", "bob", "on", ">s3cret-1", ">s3cret-2", "~*", "&*", "+@all"], name="reloaded") as redis, \
            redis.client() as admin:
        p = Purserd({"agent.drain_timeout": "5s"}, config=text(first), name="reloaded-agent")
        p.allow("config.reload.failed")
        with p, p.client() as c:
            equal(c.cmd("SET", "k", "v"), "OK")
            was = admin.cmd("CLIENT", "LIST")
            p.write_config(text(second))
            c.cmd("PURSER.RELOAD")
            equal(c.cmd("GET", "k"), b"v")
            ids = re.findall(rb"^id=(\d+) .* name=purser ", was, re.M)
            check(ids and all(re.search(rb"^id=%s " % i, admin.cmd("CLIENT", "LIST"), re.M) for i in ids), "a new instance")
            admin.cmd("ACL", "SETUSER", "bob", "<s3cret-1")
            admin.cmd("CLIENT", "KILL", "USER", "bob")
            wait_until(lambda: c.pipeline([("GET", "k")])[0] == b"v", "the password of the second file")
            wait_until(lambda: b'"draining":false' in c.cmd("PURSER.STATUS"), "the last reload to be over")
            write(second, "")
            e = c.error("PURSER.RELOAD")
            check(e.word == "CONFIG" and "password_file" in e.text and "one line" in e.text, e.text)
            equal(c.cmd("GET", "k"), b"v")


def rule():
    """The one of docs/redis.md, without its name and password."""
    with open(os.path.join(TOP, "docs/redis.md"), encoding="utf-8") as f:
        line = re.search(r"^ +ACL SETUSER purser on >PASSWORD (.*)$", f.read(), re.M)
    return line.group(1).split()


SCRIPTS = ("+acl|setuser", "+acl|deluser")  # what docs/redis.md adds for the scripts of isolated projects


def served():
    """The commands that reach a backend as they are."""
    with open(os.path.join(TOP, "agent/command/commands.def"), encoding="utf-8") as f:
        rows = re.findall(r'^CMD\(\w+, "([^"]+)".*?(RUN_\w+)', f.read(), re.M)
    return [name for name, run in rows if run in ("RUN_BACKEND", "RUN_TX")]


def stateful(p, redis):
    """What takes more than a command and its reply: subscriptions of all kinds, scripts, a watch, a wait that is ended."""
    for command in (("SUBSCRIBE", "a"), ("PSUBSCRIBE", "a*"), ("SSUBSCRIBE", "a"), ("SUBSCRIBE", "__keyspace@0__:k"),
                    ("PSUBSCRIBE", "__keyevent@0__:*")):
        with p.client() as s:
            equal(s.cmd(*command)[1:], [command[1].encode(), 1])
    with p.client() as c, p.client() as waits, redis.client() as admin:
        for command in (("PUBLISH", "a", "m"), ("SPUBLISH", "a", "m"), ("PUBSUB", "CHANNELS"), ("PUBSUB", "NUMSUB", "a"),
                        ("EVAL", "return redis.call('SET', KEYS[1], 'v')", 1, "k"), ("WATCH", "k"), ("MULTI",),
                        ("SET", "k", "w"), ("EXEC",), ("WAIT", 0, 1), ("HELLO", 3), ("CLIENT", "TRACKING", "ON"), ("GET", "k")):
            check(c.cmd(*command) is not None, command)
        number = waits.cmd("CLIENT", "ID")
        waits.send("BLPOP", "none", 0)
        wait_until(lambda: b"blocked_clients:1\r" in admin.cmd("INFO", "clients"), "Redis to have the BLPOP")
        equal(c.cmd("CLIENT", "UNBLOCK", number), 1)
        equal(waits.read(), None)


def rights():
    user = ["--user", "purser", "on", ">s3cret", *rule(), *SCRIPTS]
    with Redis(user, name="rights") as redis, redis.client() as admin:
        # Every command that may be sent is allowed by the rule.
        for name in served():
            info = admin.cmd("COMMAND", "INFO", name)[0]
            barred = {"@admin", "@dangerous"} & set(info[6])
            check(not barred or "+" + name.lower().replace(" ", "|") in rule(), name, "is not in the rule of docs/redis.md")
        url = redis.url.replace("unix://", "unix://purser:s3cret@")
        more = {"backend main.plugin": "redis", "backend main.url": url, "health.interval": "200ms"}
        with Purserd(more, name="rights-agent") as p, p.client() as c:
            commands = [("SET", "k", "v"), ("GET", "k"), ("KEYS", "*"), ("DBSIZE",), ("RANDOMKEY",), ("SCAN", "0"),
                        ("RPUSH", "l", "2", "1"), ("SORT", "l"), ("SORT_RO", "l"), ("HSET", "h", "f", "v"), ("DUMP", "k"),
                        ("ZADD", "z", "1", "a"), ("XADD", "x", "*", "f", "v"), ("PFADD", "p", "a"), ("INFO",),
                        ("COPY", "k", "k2"), ("OBJECT", "ENCODING", "k"), ("MEMORY", "USAGE", "k"), ("SETBIT", "b", "7", "1"),
                        ("GEOADD", "g", "13.4", "52.5", "b"), ("EXPIRE", "k", "100"), ("MULTI",), ("INCR", "n"), ("EXEC",),
                        ("RENAME", "k", "k3"), ("UNLINK", "l"), ("FLUSHDB",), ("DBSIZE",)]
            for proto in ("2", "3"):
                c.cmd("HELLO", proto)
                for command, reply in zip(commands, c.pipeline(commands)):
                    check(not isinstance(reply, RespError), command, reply)
            stateful(p, redis)
            wait_until(lambda: p.http("GET", "/redis/status").json()["status"] == "healthy", "the health check to pass")
            log = [dict(zip(e[::2], e[1::2])) for e in admin.cmd("ACL", "LOG")]
            equal(log, [], "what Redis refused")
            # What is not among them is an answer.
            lost = metric(p, "purser_redis_connections_lost_total")
            admin.cmd("ACL", "SETUSER", "purser", "-keys", "-hset", "-info")
            for proto in ("2", "3"):
                c.cmd("HELLO", proto)
                replies = c.pipeline([("SET", "k", "v"), ("KEYS", "*"), ("GET", "k"), ("HSET", "h", "f", "v"), ("GET", "k")])
                equal([r.word if isinstance(r, RespError) else r for r in replies], ["OK", "NOPERM", b"v", "NOPERM", b"v"])
                check("proj:" not in replies[1].text and "purser" not in replies[1].text, replies[1].text)
            r = p.http("POST", "/v1/command", body=["HSET", "h", "f", "v"])
            check(r.status in (403, 422) and b"NOPERM" in r.body, r)
            equal(metric(p, "purser_redis_connections_lost_total"), lost, "links lost")
        # A handshake that cannot be completed is the agent's credentials' fault, and says so.
        admin.cmd("ACL", "SETUSER", "purser", "-select")
        more["backend main.database"] = "3"
        with Purserd(more, name="no-select") as p, p.client() as c:
            e = c.error("GET", "k")
            check(e.word == "BACKENDAUTH" and "select" in e.text.lower(), e.text)


def main():
    rotation(Redis(name="unix"), "unix://bob@" + os.path.join(harness.tmp(), "unix.sock"), "over-unix")
    ca = CA()
    ca.make("server")
    redis = RedisTLS(ca, name="tls")
    redis.start()
    rotation(redis, redis.tls_url().replace("//", "//bob@"), "over-tls", tls_ca_file=ca.file)
    reloaded()
    rights()


harness.run(main)
