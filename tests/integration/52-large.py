#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Large values pass through the agent both ways in bounded memory, in the client's order, and break off cleanly; a
million elements; keys of every byte.  64 MiB a value, 512 MiB in the long form."""

import contextlib
import os
import re
import select
import socket
import threading

import harness
from harness import RespError, check, encode, equal, wait_until

MIB = 1 << 20
SIZE = (512 if harness.LONG else 16 if harness.VALGRIND else 64) * MIB
BOUND = 2048  # KiB that the agent may grow by while a large value passes


def sanitized(p):
    with open(p.program, "rb") as f:
        text = f.read()
    return b"__asan_init" in text or b"__tsan_init" in text


class Memory:
    """How much more the agent needed at most since the last look; nothing is asserted where memory is not its own."""

    def __init__(self, p):
        self.p, self.exact = p, not (harness.VALGRIND or sanitized(p))
        self.reset()

    def kb(self, what):
        with open(f"/proc/{self.p.pid}/status", encoding="ascii") as f:
            return int(re.search(rf"{what}:\s+(\d+) kB", f.read()).group(1))

    def reset(self):
        self.base = self.kb("VmRSS")
        try:
            with open(f"/proc/{self.p.pid}/clear_refs", "w", encoding="ascii") as f:
                f.write("5")  # the high-water mark begins again
        except OSError:
            self.base = self.kb("VmHWM")

    def check(self, what, bound=BOUND):
        grown = self.kb("VmHWM") - self.base
        print(f"{what}: {grown} KiB", flush=True)
        check(not self.exact or grown <= bound, what, "took", grown, "KiB")
        self.reset()


def announce(*words, size):
    """The beginning of a command whose last word is a bulk of `size` bytes."""
    return b"*%d\r\n" % (len(words) + 1) + encode(*words).partition(b"\r\n")[2] + b"$%d\r\n" % size


CHUNK = bytes(os.urandom(4096)) * (MIB // 4096)


def send_value(c, n, between=None):
    """n bytes of a value, CHUNK over and over, and its end; between() in the middle of it."""
    sent = 0
    while sent < n:
        c.raw(CHUNK[:min(MIB, n - sent)])
        sent += min(MIB, n - sent)
        if between and sent >= n // 2:
            between()
            between = None
    c.raw(b"\r\n")


def read_value(c, n, pause=None):
    """A bulk that send_value() sent; pause() behind its first bytes."""
    equal(int(c._line()[1:]), n)
    got = 0
    while got < n:
        k = min(MIB, n - got)
        check(c._exactly(k) == CHUNK[:k], "the value differs in the MiB at", got)
        got += k
        if pause:
            pause()
            pause = None
    equal(c._exactly(2), b"\r\n")


def both_ways(p):
    m = Memory(p)
    with p.client(120) as c, p.client() as d:
        equal(d.cmd("SET", "small", "v"), "OK")

        def others():
            for i in range(20):
                equal(d.cmd("INCR", "count"), i + 1)
                equal(d.cmd("GET", "small"), b"v")
            equal(d.cmd("DEL", "count"), 1)

        # what the first large request of all brings into memory, and links that are being made ready, is not measured
        c.raw(announce("SET", "big", size=4 * MIB))
        send_value(c, 4 * MIB, others)
        equal((c.read(), len(c.cmd("GET", "big"))), ("OK", 4 * MIB))
        for words in (("SET", "big"), ("SETRANGE", "big", "0")):
            m.reset()
            c.raw(announce(*words, size=SIZE))
            send_value(c, SIZE, others)
            equal(c.read(), "OK" if words[0] == "SET" else SIZE)
            m.check(f"{words[0]} of {SIZE // MIB} MiB")
        equal(d.cmd("STRLEN", "big"), SIZE)
        c.send("GET", "big")
        read_value(c, SIZE)
        m.check(f"GET of {SIZE // MIB} MiB, a fast reader")
        c.send("GET", "big")
        read_value(c, SIZE, others)
        m.check(f"GET of {SIZE // MIB} MiB, a reader that stops for a while")
        # gone in the middle of it: the rest is thrown away, and nobody gets a byte of it
        with p.client() as e:
            e.send("GET", "big")
            equal(e._exactly(12)[:1], b"$")
        others()
        m.check("half a GET")
        equal(c.cmd("APPEND", "big2", "x" * MIB), MIB)
        equal(c.cmd("STRLEN", "big2"), MIB)
        equal(c.cmd("DEL", "big", "big2"), 2)


def every_command(p, redis):
    """Large words in every place, keys among them; what the store has then is under the project's prefix."""
    big, key = os.urandom(700000), b"k\r\n" + os.urandom(400000)
    with p.client() as c, redis.client() as direct:
        equal(c.cmd("MSET", "a", big, "b", "small", "c", big), "OK")
        check([direct.cmd("GET", b"proj:default:" + k) for k in (b"a", b"b", b"c")] == [big, b"small", big])
        equal(c.cmd("SET", key, big), "OK")
        check(direct.cmd("GET", b"proj:default:" + key) == big)
        check(c.cmd("GET", key) == big)
        equal(c.cmd("EXISTS", key, "a", b"no" + key), 2)
        equal(c.cmd("RPUSH", "l", "x", big, "", big), 4)
        check(c.cmd("LRANGE", "l", 0, -1) == [b"x", big, b"", big])
        equal(c.cmd("HSET", "h", "f", big, big, "v"), 2)
        check(c.cmd("HGET", "h", big) == b"v")
        equal(c.error("SET", "a", big, "NX", "EX").word, "ERR")
        equal(c.error("SETEX", "a", "x", big).word, "ERR")
        equal(c.error("INCRBY", "a", big).word, "ERR")
        equal(c.error("NOSUCH", "a", big).word, "ERR")
        equal(c.error("GET", "a", big).word, "ERR")
        check(c.cmd("SORT", "l", "BY", b"n" * 700000, "GET", "#") == [b"x", big, b"", big])  # this one is gathered
        check(c.cmd("ECHO", big) == big)
        equal(len(direct.cmd("KEYS", "*")), len(direct.cmd("KEYS", "proj:default:*")))
        equal(c.cmd("FLUSHDB"), "OK")
        for kind in ("HELLO", "3"), ("HELLO", "2"):
            c.cmd(*kind)
            equal(c.cmd("SET", "a", big), "OK")
            check(c.cmd("GET", "a") == big)
    with p.client() as c, p.client() as monitor:  # MONITOR shows what had come when it started
        equal(monitor.cmd("MONITOR"), "OK")
        half(c)
        line = monitor.read()
        check(line.endswith('"SET" "half" ...(arriving)'), line[:200])
        c.raw(CHUNK * 4 + b"\r\n")
        equal(c.read(), "OK")
    with p.client() as c:  # CLIENT REPLY concerns large requests as well
        c.raw(encode("CLIENT", "REPLY", "SKIP") + encode("SET", "a", big + b"2") + encode("STRLEN", "a"))
        equal(c.read(), len(big) + 1)
        equal(c.cmd("FLUSHDB"), "OK")


def in_order(p):
    """Small and large requests of one client, sent at once: executed and answered as they were sent."""
    big = CHUNK[:300000]
    with p.client() as c:
        sent = []
        for i in range(8):
            sent += [("RPUSH", "l", f"{i}a"), ("RPUSH", "l", big), ("LLEN", "l"), ("SET", "k", big), ("STRLEN", "k"),
                     ("SET", "k", "v"), ("GET", "k"), ("RPUSH", "l", big, f"{i}b")]
        t = threading.Thread(target=c.raw, args=(b"".join(encode(*w) for w in sent),))
        t.start()
        got = [c.read() for _ in sent]
        t.join()
        want = []
        for i in range(8):
            n = 4 * i
            want += [n + 1, n + 2, n + 2, "OK", len(big), "OK", b"v", n + 4]
        equal(got, want)
        items = c.cmd("LRANGE", "l", 0, -1)
        check([len(x) if len(x) > 10 else x for x in items] ==
              [x for i in range(8) for x in (b"%da" % i, len(big), len(big), b"%db" % i)])
        equal(c.cmd("FLUSHDB"), "OK")


def keys_of(redis):
    with redis.client() as c:
        return c.cmd("DBSIZE")


def half(c):
    """4 MiB of a value of 8."""
    c.raw(announce("SET", "half", size=8 * MIB) + CHUNK * 4)


def upstream(redis, what="cmd=set"):
    """Links on which Redis is in the middle of a command."""
    with redis.client() as c:
        return [x for x in c.cmd("CLIENT", "LIST").decode().splitlines() if "name=" in x and not re.search(" qbuf=0 ", x)
                and "cmd=client" not in x]


def broken_off(p, redis):
    """The client goes in the middle, or sends nonsense there: the store has run nothing of it."""
    with p.client() as other:
        for _ in range(3):
            with p.client() as c:
                half(c)
                wait_until(lambda: upstream(redis), "half a value at the store")
            wait_until(lambda: not upstream(redis), "its link to be closed")
            equal(other.cmd("EXISTS", "half"), 0)
        # half a request behind whole ones, and no more: those are answered
        with p.client() as c:
            c.send("SET", "whole", "v")
            half(c)
            c.s.shutdown(socket.SHUT_WR)
            equal(c.read(), "OK")
            check(c.eof())
        for nonsense, word in ((b"XX", "ERR"), (b"\r\n+OK\r\n", "ERR"), (b"\r\n$-1\r\n", "ERR"), (b"\r\n$99999999999\r\n", "ERR"),
                               (b"\r\n$%d\r\n" % (513 * MIB), "ERR")):
            with p.client() as c:
                c.raw(b"*4\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$%d\r\n" % (2 * MIB) + CHUNK + CHUNK)
                c.raw(nonsense)
                e = c.read()
                check(isinstance(e, RespError) and e.word == word and "rotocol" in e.text, nonsense, e)
                check(c.eof())
        equal(other.cmd("KEYS", "*"), [b"whole"])
        equal(other.cmd("FLUSHDB"), "OK")
        wait_until(lambda: not upstream(redis), "all links to be closed")


def limits(redis):
    """max_request_size is found out in the middle; max_bulk_size, at the argument's length."""
    more = {"backend main.plugin": "redis", "backend main.url": redis.url, "agent.max_bulk_size": "1MiB",
            "agent.max_request_size": "4MiB"}
    with harness.Purserd(more, name="limits") as p, p.client() as other:
        for tail in (announce("x", size=MIB + 1)[4:], (announce("x", size=MIB)[4:] + CHUNK + b"\r\n") * 4):
            with p.client() as c:
                with contextlib.suppress(OSError):  # it may be told and closed before all is sent
                    c.raw(b"*99\r\n$5\r\nRPUSH\r\n$4\r\nhalf\r\n$%d\r\n" % MIB + CHUNK + b"\r\n" + tail)
                e = c.read()
                check(isinstance(e, RespError) and e.word == "TOOBIG", e)
        equal(other.cmd("EXISTS", "half"), 0)


def given_up(redis):
    """What the store does not take to its end is answered, thrown away, and the connection goes on."""
    more = {"backend main.plugin": "redis", "backend main.url": redis.url, "backend main.operation_timeout": "1s",
            "health.interval": "1h"}
    with harness.Purserd(more, name="given_up") as p, p.client() as c:
        m = Memory(p)
        equal(c.cmd("PING"), "PONG")
        # it stops sending: the deadline counts from the last byte
        half(c)
        wait_until(lambda: upstream(redis), "half a value at the store")
        equal(c.read().word, "TIMEOUT")
        equal(keys_of(redis), 0)
        c.raw(CHUNK * 4 + b"\r\n" + encode("PING"))
        equal(c.read(), "PONG")
        # so do many others: the store is not to blame, and no breaker opens
        many = [p.client() for _ in range(8)]
        for d in many:
            half(d)
        for d in many:
            equal(d.read().word, "TIMEOUT")
            d.close()
        equal(c.cmd("SET", "k", "v"), "OK")
        equal(c.cmd("DEL", "k"), 1)
        m.reset()
        # the server does not take so much
        with redis.client() as direct:
            direct.cmd("CONFIG", "SET", "proto-max-bulk-len", "1mb")
            c.send("SET", "half", CHUNK * 4)
            equal(c.read().word, "TOOBIG")
            equal(c.cmd("PING"), "PONG")
            direct.cmd("CONFIG", "SET", "proto-max-bulk-len", "512mb")
        equal(c.cmd("SET", "half", CHUNK * 2), "OK")
        equal(c.cmd("DEL", "half"), 1)
        # it is killed meanwhile: nothing was executed, so this is no INDETERMINATE
        half(c)
        wait_until(lambda: upstream(redis), "half a value at the store")
        redis.kill()
        e = c.read()
        equal(e.word, "BACKENDDOWN")
        c.raw(CHUNK * 4 + b"\r\n" + encode("ECHO", "still here"))
        equal(c.read(), b"still here")
        # and while it is away
        check(c.error("SET", "half", CHUNK * 4).word in ("BACKENDDOWN", "TIMEOUT", "CIRCUITOPEN"))
        equal(c.cmd("ECHO", "again"), b"again")
        m.check("what was thrown away")


def slow_store(redis):
    """A store that takes nothing: the client is not read any more, and nothing gathers here."""
    more = {"backend main.plugin": "redis", "backend main.url": redis.url, "health.interval": "1h",
            "backend main.operation_timeout": "60s"}
    with harness.Purserd(more, name="slow_store") as p, p.client() as c:
        equal(c.cmd("SET", "k", CHUNK), "OK")  # it has a link
        m = Memory(p)
        redis.pause()
        try:
            c.raw(announce("SET", "k", size=SIZE))
            c.s.setblocking(False)
            sent = 0
            while select.select([], [c.s], [], 0.5)[1] and sent < SIZE:
                with contextlib.suppress(BlockingIOError):
                    sent += c.s.send(CHUNK[:SIZE - sent])
            print(f"a stopped store: {sent} bytes accepted", flush=True)
            check(sent < 8 * MIB, sent, "bytes were taken for a store that takes nothing")
        finally:
            redis.go_on()
        c.s.settimeout(60 * harness.SLOW)
        rest = SIZE - sent
        while rest:
            rest -= c.s.send(CHUNK[:min(MIB, rest)])
        c.raw(b"\r\n")
        equal(c.read(), "OK")
        equal(c.cmd("STRLEN", "k"), SIZE)
        m.check("a store that stopped for a while")
        equal(c.cmd("FLUSHDB"), "OK")


def millions(p, redis):
    n = 1000000
    fields = n if harness.LONG else 200000
    m = Memory(p)
    with p.client(120) as c, p.client() as d, redis.client(120) as direct:
        equal(c.cmd("SET", "k", "v"), "OK")
        direct.cmd("EVAL", "for i = 1, tonumber(ARGV[1]) do redis.call('HSET', KEYS[1], i, i * 7) end", 1,
                   "proj:default:h", fields)
        equal(d.cmd("HLEN", "h"), fields)
        m.reset()
        with harness.Client(redis.sock, 120) as raw:
            raw.send("HGETALL", "proj:default:h")
            c.send("HGETALL", "h")
            equal(raw._line(), b"*%d" % (2 * fields))
            equal(c._line(), b"*%d" % (2 * fields))
            for i in range(fields * 4 // 1000):  # two lines a value
                a = [raw.f.readline() for _ in range(1000)]
                b = [c.f.readline() for _ in range(1000)]
                check(a == b, "HGETALL differs at line", i * 1000)
        m.check(f"HGETALL of {fields}")
        t = threading.Thread(target=c.raw, args=(b"*%d\r\n$4\r\nMGET\r\n" % (n + 1) + b"$1\r\nk\r\n" * n,))
        t.start()
        check(c._exactly(10 + n * 7) == b"*%d\r\n" % n + b"$1\r\nv\r\n" * n, "MGET of a million differs")
        t.join()
        equal(c.cmd("PING"), "PONG")
        equal(d.cmd("FLUSHDB"), "OK")


def odd(p, redis):
    """Keys with every byte value, empty keys and values, integers at their ends."""
    every = bytes(range(256))
    keys = [bytes([i]) for i in range(256)] + [every, b"", b"\r\n", b"*1\r\n$4\r\nPING\r\n", b"{x}", b"proj:default:"]
    with p.client() as c, redis.client() as direct:
        for resp in (2, 3):
            c.cmd("HELLO", resp)
            for i, k in enumerate(keys):
                equal(c.cmd("SET", k, k + b"=" + every), "OK")
                equal(c.cmd("EXPIRE", k, 1000 + i), 1)
            equal(c.cmd("MGET", *keys), [k + b"=" + every for k in keys])
            equal(sorted(c.cmd("KEYS", "*")), sorted(keys))
            equal(sorted(direct.cmd("KEYS", "*")), sorted(b"proj:default:" + k for k in keys))
            equal(c.cmd("DEL", *keys), len(keys))
        equal(c.cmd("SET", "", ""), "OK")
        equal(c.cmd("GET", ""), b"")
        equal(c.cmd("APPEND", "", ""), 0)
        top, low = 2 ** 63 - 1, -2 ** 63
        equal(c.cmd("INCRBY", "n", top), top)
        equal(c.error("INCR", "n").word, "ERR")
        equal(c.cmd("SET", "n", low), "OK")
        equal(c.cmd("INCRBY", "n", 0), low)
        equal(c.error("DECR", "n").word, "ERR")
        equal(c.error("INCRBY", "n", top + 1).word, "ERR")
        equal(c.cmd("RPUSH", "l", *[b""] * 1000), 1000)
        equal(c.cmd("LRANGE", "l", 0, -1), [b""] * 1000)
        equal(c.cmd("FLUSHDB"), "OK")


def late_names(redis):
    """A role of some keys: what comes behind a large value is looked at, too."""
    config = f"[agent]\n[backend main]\nplugin = redis\nurl = {redis.url}\n[role some]\npermissions = redis:read redis:write\n" \
        "keys = a*\n[project narrow]\nrole = some\nallow_uid = *\n"
    with harness.Purserd(config=config, name="narrow") as p, p.client() as c:
        equal(c.cmd("PURSER.PROJECT", "narrow"), "OK")
        big = bytes(3 * MIB)
        equal(c.cmd("MSET", "a1", big, "a2", "v"), "OK")
        equal(c.error("MSET", "a1", big, "b2", "v").word, "NOPERM")
        equal(c.error("SET", "b" + "x" * len(big), "v").word, "NOPERM")
        equal((c.cmd("SET", "a" + "x" * len(big), "v"), c.cmd("SET", "a1", big), c.cmd("EXISTS", "a1", "a2")), ("OK", "OK", 2))
        equal(c.cmd("DEL", "a1", "a2", "a" + "x" * len(big)), 3)


def main():
    with harness.Redis() as redis:
        more = {"backend main.plugin": "redis", "backend main.url": redis.url, "health.interval": "1h",
                "backend main.operation_timeout": "60s"}
        with harness.Purserd(more) as p:
            both_ways(p)
            every_command(p, redis)
            in_order(p)
            broken_off(p, redis)
            odd(p, redis)
            millions(p, redis)
        limits(redis)
        slow_store(redis)
        late_names(redis)
        given_up(redis)


if __name__ == "__main__":
    harness.run(main)
