# SPDX-License-Identifier: Apache-2.0
"""A real Redis that dies, hangs, fills up or talks nonsense under load.  What an answer says is true: OK is
in the store, an error that says "not executed" is not, then or later; nobody is disconnected; all recovers."""

import os
import random
import socket
import threading
import time

import harness
from harness import Purserd, Redis, RespError, check, equal, wait_until

ROUNDS = 20 if harness.LONG else 2
NOT_EXECUTED = {"BACKENDDOWN", "TIMEOUT", "POOLEXHAUSTED", "CIRCUITOPEN"}
UNCERTAIN = {"INDETERMINATE"}
INFO = b"redis_version:7.0.0\r\nredis_mode:standalone\r\n"
PERSISTENT = ["--appendonly", "yes", "--appendfsync", "always"]  # what was answered survives kill -9


def on(redis, **more):
    return dict({"backend main.plugin": "redis", "backend main.url": redis.url, "health.interval": "200ms",
                 "backend main.operation_timeout": "300ms", "log.modules": "backend=debug",
                 "breaker.recovery_initial": "100ms", "breaker.recovery_timeout": "1s"}, **more)


class Writer(threading.Thread):
    """Writes keys that nobody else writes, each once, counts, reads back, and believes every answer."""

    def __init__(self, sock, number, seed):
        super().__init__(daemon=True)
        self.c = harness.Client(sock, timeout=40)
        self.rng = random.Random(seed * 100 + number)
        self.number, self.serial = number, 0
        self.there, self.absent = {}, set()  # keys with their values; keys that must not exist
        self.counted = self.uncertain = 0    # INCRs that were answered; that may have run
        self.answers, self.over, self.error = {}, False, None

    def command(self):
        r = self.rng.random()
        if r < 0.5:
            self.serial += 1
            key = f"w{self.number}:{self.serial}"
            return ("SET", key, f"{key}=" + "x" * self.rng.choice((0, 10, 2000)))
        if r < 0.75 or not self.there:
            return ("INCR", f"n{self.number}")
        return ("GET", self.rng.choice(list(self.there)))

    def judge(self, args, reply):
        word = reply.word if isinstance(reply, RespError) else "OK"
        self.answers[word] = self.answers.get(word, 0) + 1
        check(word == "OK" or word in NOT_EXECUTED or (word in UNCERTAIN and args[0] != "GET"), args, "answered", reply)
        if args[0] == "SET":
            if word == "OK":
                self.there[args[1]] = args[2].encode()
            elif word in NOT_EXECUTED:
                self.absent.add(args[1])
        elif args[0] == "INCR":
            if word == "OK":
                check(self.counted < reply <= self.counted + self.uncertain + 1, args, "answered", reply, "after",
                      self.counted, "and", self.uncertain, "uncertain ones")
                self.counted, self.uncertain = reply, 0
            elif word in UNCERTAIN:
                self.uncertain += 1
        elif word == "OK":
            equal(reply, self.there[args[1]], args[1])

    def run(self):
        try:
            if self.number % 2:
                self.c.cmd("HELLO", "3")
            while not self.over:
                commands = [self.command() for _ in range(self.rng.choice((1, 5, 60)))]
                for args, reply in zip(commands, self.c.pipeline(commands)):
                    self.judge(args, reply)
        except Exception as e:  # pylint: disable=broad-exception-caught
            self.error = e

    def served(self):
        """Is it answered, from now on?"""
        if self.error:
            raise harness.Failure(f"client {self.number}: {self.error!r}") from self.error
        before = self.answers.get("OK", 0)
        return lambda: self.error or self.answers.get("OK", 0) > before + 20


def all_served(writers, what):
    looks = [w.served() for w in writers]
    wait_until(lambda: all(look() for look in looks), what, 20)
    for w in writers:
        w.served()


def compare(redis, writers):
    """What the store has is what it was said to have."""
    with redis.client() as c:
        for w in writers:
            for key, value in w.there.items():
                equal(c.cmd("GET", "proj:default:" + key), value, key)
            for key in w.absent:
                equal(c.cmd("GET", "proj:default:" + key), None, f"{key} was said not to be executed")
            n = int(c.cmd("GET", f"proj:default:n{w.number}") or b"0")
            check(w.counted <= n <= w.counted + w.uncertain, "counter of client", w.number, n, w.counted, w.uncertain)


def killed(redis):
    redis.kill()
    time.sleep(0.05)
    if os.path.exists(redis.sock):
        os.unlink(redis.sock)
    redis.start()


def hung(redis):
    redis.pause()
    time.sleep(0.5 * harness.SLOW)
    redis.go_on()


def links_cut(redis):
    with redis.client() as c:
        c.cmd("CLIENT", "KILL", "TYPE", "normal")


def under_load(name, seed, workers, tcp, *troubles):
    args = list(PERSISTENT)
    if tcp:
        args += ["--bind", "127.0.0.1", "--port", str(free_port())]
    with Redis(args, name=name + "-redis") as redis:
        if tcp:
            redis.url = f"redis://127.0.0.1:{args[-1]}"
        with Purserd(on(redis, **{"agent.workers": str(workers)}), name=name) as p:
            writers = [Writer(p.sock, n, seed) for n in range(8)]
            for w in writers:
                w.start()
            all_served(writers, "everybody to be served")
            for _ in range(ROUNDS):
                for trouble in troubles:
                    trouble(redis)
                    all_served(writers, f"everybody to be served after it was {trouble.__name__}")
            for w in writers:
                w.over = True
            for w in writers:
                w.join(40 * harness.SLOW)
                check(not w.is_alive(), "a client hangs")
                w.served()
            total = {}
            for w in writers:
                for word, n in w.answers.items():
                    total[word] = total.get(word, 0) + n
            print(f"{name}: {total}", flush=True)
            compare(redis, writers)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def full():
    """Redis says OOM: its own error passes through; then the breaker for writing opens, but not for what needs no
    memory: deletes help, and the agent finds out by itself."""
    with Redis(["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"], name="full-redis") as redis, \
            Purserd(on(redis), name="full") as p, p.client() as c:
        replies = c.pipeline([("SET", f"k{i}", "x" * 10000) for i in range(400)])
        words = {r.word if isinstance(r, RespError) else r for r in replies}
        check(replies[0] == "OK" and "OOM" in words and words <= {"OK", "OOM", "CIRCUITOPEN"}, words)
        wait_until(lambda: b'"write":"open"' in p.http("GET", "/redis/status").body, "the breaker to open")
        r = p.http("POST", "/redis/kv", {"key": "k", "value": "x" * 10000})
        check((r.status, r.json()["code"]) in ((507, "OOM"), (503, "CIRCUITOPEN")), r)
        stored = [i for i, r in enumerate(replies) if r == "OK"]
        equal(c.cmd("GET", f"k{stored[-1]}"), b"x" * 10000)
        equal(c.cmd("DEL", *[f"k{i}" for i in stored]), len(stored))
        wait_until(lambda: c.pipeline([("SET", "k", "x" * 10000)]) == ["OK"], "writing to go on")


def exhausted():
    """The server hangs and the queue is short: the rest is refused at once, and none of it runs later."""
    with Redis(name="exhausted-redis") as redis:
        more = {"backend main.queue_max": "10", "backend main.operation_timeout": "1s", "health.interval": "1h"}
        with Purserd(on(redis, **more), name="exhausted") as p, p.client() as c:
            equal(c.cmd("SET", "k", "v"), "OK")
            redis.pause()
            replies = c.pipeline([("SET", f"k{i}", "x" * 10000) for i in range(200)])
            words = [r.word for r in replies]
            check(set(words) == {"INDETERMINATE", "TIMEOUT", "POOLEXHAUSTED"}, {w: words.count(w) for w in words})
            equal(words.count("TIMEOUT"), 10)
            redis.go_on()
            wait_until(lambda: c.pipeline([("GET", "k")]) == [b"v"], "the server to go on")
            for i, word in enumerate(words):
                if word != "INDETERMINATE":
                    equal(c.cmd("GET", f"k{i}"), None, word)


class Nonsense(harness.FakeServer):
    """A server that answers handshakes as Redis does, and the command that it is told to with what it is told."""

    def __init__(self, path, answer):
        self.answer = answer
        super().__init__(path)

    def serve(self, s, c):
        while True:
            command = c.read()
            if command[0] == b"GET":
                s.sendall(self.answer)
            elif command[0] == b"HELLO":
                s.sendall(b"-ERR unknown command 'HELLO'\r\n")
            elif command[0] in (b"SELECT", b"CLIENT", b"CONFIG", b"SET", b"DEL"):
                s.sendall(b"+OK\r\n")
            elif command[0] == b"INFO":
                s.sendall(b"$%d\r\n%b\r\n" % (len(INFO), INFO))
            else:
                s.sendall(b"+PONG\r\n")


class Mute(harness.FakeServer):
    """A server that says nothing any more on the first connections on which it is asked for a key, like one that a
    middlebox forgot."""

    def __init__(self, path, mute):
        self.mute = mute
        super().__init__(path)

    def serve(self, s, c):
        mute = False
        while True:
            command = c.read()
            if command[0] == b"GET" and not mute:
                mute, self.mute = self.mute > 0, self.mute - 1
            if command[0] == b"HELLO":
                s.sendall(b"-ERR unknown command 'HELLO'\r\n")
            elif command[0] == b"INFO":
                s.sendall(b"$%d\r\n%b\r\n" % (len(INFO), INFO))
            elif command[0] in (b"SELECT", b"CLIENT", b"CONFIG"):
                s.sendall(b"+OK\r\n")
            elif not mute:
                s.sendall(b"$2\r\nup\r\n" if command[0] == b"GET" else b"+PONG\r\n")


def silence():
    """A connection that is there and says nothing any more is given up, and a new one takes over."""
    path = os.path.join(harness.tmp(), "mute")
    server = Mute(path, 2)
    settings = {"backend main.plugin": "redis", "backend main.url": server.url, "health.interval": "1h",
                "backend main.operation_timeout": "200ms", "breaker.enabled": "no", "retry.max_attempts": "1"}
    with Purserd(settings, name="mute") as p, p.client() as c:
        words = set()

        def up():
            reply = c.pipeline([("GET", "k")])[0]
            if isinstance(reply, RespError):
                words.add(reply.word)
            return reply == b"up"
        wait_until(up, "another connection")
        check(words == {"TIMEOUT"} or words == {"TIMEOUT", "BACKENDDOWN"}, words)
        p.wait_log("it is silent")
        check(server.mute < 0, "connections", server.mute)


def garbage():
    """Bytes that are no RESP, a reply too many, half a reply: named as what they are, on that link only."""
    for i, (answer, word) in enumerate((
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "BACKENDPROTOCOL"), (b"$-7\r\n", "BACKENDPROTOCOL"),
            (b"$3\r\nabcde", "BACKENDPROTOCOL"), (b"*1\r\n$99999999999\r\n", "BACKENDPROTOCOL"),
            (b"%1\r\n+a\r\n+b\r\n", "BACKENDPROTOCOL"), (b"$5\r\nab", "TIMEOUT"), (b"", "TIMEOUT"))):
        path = os.path.join(harness.tmp(), f"nonsense{i}")
        Nonsense(path, answer)
        with Purserd({"backend main.plugin": "redis", "backend main.url": "unix://" + path, "health.interval": "1h",
                      "backend main.operation_timeout": "300ms"}, name=f"garbage{i}") as p, p.client() as c:
            replies = c.pipeline([("ECHO", "before"), ("GET", "k"), ("PING",)])
            check(replies[0] == b"before" and replies[2] == "PONG", replies)
            check(isinstance(replies[1], RespError) and replies[1].word == word, answer, replies[1])
            if word != "TIMEOUT":
                equal(c.cmd("SET", "k", "v"), "OK")  # on a new link


def stopped_under_load(seed, hang):
    """SIGTERM: what is under way is answered, or cut when its time is over; nothing is left behind."""
    with Redis(PERSISTENT, name=f"stop{hang:d}-redis") as redis:
        more = {"agent.drain_timeout": "500ms", "agent.workers": "3", "backend main.operation_timeout": "60s"}
        p = Purserd(on(redis, **more), name=f"stop{hang:d}").start()
        writers = [Writer(p.sock, n, seed) for n in range(8)]
        for w in writers:
            w.start()
        all_served(writers, "everybody to be served")
        if hang:
            redis.pause()
            with p.client() as c:
                c.cmd("HELLO", "3")  # a lane of its own
                c.send("GET", "k")
                c.send("DBSIZE")
                time.sleep(0.05)
        begun = time.monotonic()
        p.stop()
        check(time.monotonic() - begun < 8 * harness.SLOW, "it took", time.monotonic() - begun, "s")
        redis.go_on()
        for w in writers:
            w.join(20)
            check(isinstance(w.error, (EOFError, OSError)), "client", w.number, "ended with", w.error)
        with redis.client() as c:
            for w in writers:
                for key, value in w.there.items():
                    equal(c.cmd("GET", "proj:default:" + key), value, key)


def main():
    seed = harness.seed()
    under_load("load1", seed, 1, False, killed, hung, links_cut)
    under_load("load3", seed, 3, True, killed, hung, links_cut)
    full()
    exhausted()
    silence()
    garbage()
    stopped_under_load(seed, False)
    stopped_under_load(seed, True)


if __name__ == "__main__":
    harness.run(main)
