#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""CACHE.LEASE, FILL, ABORT, INVALIDATE: each rule of get-or-set with leases through the agent, on memory and on redis,
and with two agents on one redis (two hosts)."""

import re
import threading
import time

import harness
from harness import check, equal, wait_until

SLOW = harness.SLOW
TOKEN = re.compile(rb"[0-9a-f]{32}\Z")
LONG = int(30000 * SLOW)  # a wait that no test may reach


class Caller:
    """A connection that asks for a lease and does not wait for the answer."""

    def __init__(self, agent, *words):
        self.c = agent.client(timeout=60)
        self.words = words
        if words:
            self.send(*words)

    def send(self, *words):
        self.c.send("CACHE.LEASE", *words)

    def read(self):
        return self.c.read()


def won(reply, value=None):
    """The token of a WON."""
    check(isinstance(reply, list) and reply[0] == b"WON" and TOKEN.match(reply[1]), "want WON", reply)
    equal(reply[2:], [] if value is None else [value])
    return reply[1]


def lease(c, *words):
    return c.cmd("CACHE.LEASE", *words)


def metrics(p, name):
    """The sum of a metric's points, by the value of their last attribute ("" if there is none)."""
    out = {}
    for line in p.http("GET", "/metrics").body.decode().splitlines():
        m = re.match(re.escape(name) + r"(?:\{(.*)\})? (\S+)$", line)
        if m:
            values = re.findall(r'"([^"]*)"', m[1] or "")
            out[values[-1] if values else ""] = float(m[2])
    return out


def waiting(p, n):
    wait_until(lambda: metrics(p, "purser_cache_lease_waiting") == {"": n}, f"{n} that wait")


def live(p, n):
    wait_until(lambda: metrics(p, "purser_cache_lease_live") == {"": n}, f"{n} live leases")


def test_words(p):
    """Replies, options in any order and case, and what is refused with the syntax."""
    c = p.client()
    token = won(lease(c, "k"))
    equal(c.cmd("CACHE.FILL", "k", token, "value", "TTL", 60000), "OK")
    reply = lease(c, "k", "wait", "10", "stale", "5", "ttl", "1000", "beta", "0.5")
    equal(reply[:2], [b"HIT", b"value"])
    check(0 <= reply[2] < 60000 * SLOW, reply)
    equal(c.cmd("GET", "k"), b"value")
    check(c.cmd("PTTL", "k") > 50000)
    c.cmd("SET", "plain", "x")
    equal(lease(c, "plain"), [b"HIT", b"x", -1])
    c.cmd("SET", "empty", "")
    equal(lease(c, "empty"), [b"HIT", b"", -1])
    for words in (("k", "TTL"), ("k", "TTL", "0"), ("k", "TTL", "x"), ("k", "STALE", "-1"), ("k", "WAIT", "1.5"), ("k", "BETA", "-1"),
                  ("k", "BETA", "x"), ("k", "BETA", "inf"), ("k", "NONE", "1"), ("k", "TTL", "3600001")):
        error = c.error("CACHE.LEASE", *words)
        check("syntax error: CACHE.LEASE key [TTL ms] [STALE ms] [WAIT ms] [BETA factor]" in error.text, words, error.text)
    for words in (("k", token, "v", "TTL", "0"), ("k", token, "v", "TTL", "x"), ("k", token, "v", "STALE", "1"), ("k", token, "v", "TTL", "STALE", "1"),
                  ("k", token, "v", "TTL", "1", "STALE"), ("k", token, "v", "EX", "1")):
        check("syntax error: CACHE.FILL" in c.error("CACHE.FILL", *words).text, words)
    for words in (("k", token, "NEG"), ("k", token, "NEG", "x", "r"), ("k", token, "x"), ("k", token, "NEG", "1", "r", "x")):
        check("syntax error: CACHE.ABORT" in c.error("CACHE.ABORT", *words).text, words)
    check("256 bytes" in c.error("CACHE.ABORT", "k", token, "NEG", "1", "r" * 257).text)
    for words in (("k", "STALE"), ("k", "STALE", "x"), ("k", "1")):
        check("syntax error: CACHE.INVALIDATE" in c.error("CACHE.INVALIDATE", *words).text, words)
    for word in ("", "x", "0" * 32, "Z" * 32, token.decode()):
        equal(c.error("CACHE.FILL", "k", word, "v", "TTL", "1000").word, "LEASELOST", word)
        equal(c.error("CACHE.ABORT", "k", word).word, "LEASELOST", word)
    equal(c.cmd("GET", "k"), b"value")
    c.cmd("RPUSH", "list", "x")
    equal(c.error("CACHE.LEASE", "list").word, "WRONGTYPE")
    # no metadata where there are keys, and no lease inside of MULTI
    equal(sorted(c.cmd("KEYS", "*")), [b"empty", b"k", b"list", b"plain"])
    equal(c.cmd("DBSIZE"), 4)
    c.cmd("MULTI")
    equal(c.error("CACHE.LEASE", "k").word, "UNSUPPORTED")
    c.cmd("DISCARD")
    # any bytes, and RESP3
    c.cmd("HELLO", "3")
    key, value = bytes(range(256)), bytes(range(256)) * 300
    token = won(lease(c, key))
    equal(c.cmd("CACHE.FILL", key, token, value, "NOJITTER", "STALE", "1000", "TTL", "60000"), "OK")
    check(60900 - 1000 * SLOW < c.cmd("PTTL", key) <= 61000, "NOJITTER: soft and stale together")
    equal(lease(c, key)[:2], [b"HIT", value])
    c.cmd("FLUSHDB")
    c.close()


def test_jitter(p):
    """The time to live is within 5 % of what was said, and not the same every time."""
    c = p.client()
    seen = set()
    for i in range(30):
        token = won(lease(c, f"j{i}"))
        equal(c.cmd("CACHE.FILL", f"j{i}", token, "v", "TTL", 10000000), "OK")
        left = c.cmd("PTTL", f"j{i}")
        check(9500000 - 30000 * SLOW <= left <= 10500000, left)
        seen.add(left // 1000)
    check(len(seen) > 10, seen)
    c.cmd("FLUSHDB")
    c.close()


def test_one(p, q):
    """One computes, whoever asks; the others hear of the value at once."""
    c = p.client()
    token = won(lease(c, "one"))
    equal(lease(c, "one")[0], b"BUSY")  # the same connection is a contender like others
    others = [Caller(agent, "one", "WAIT", LONG) for agent in (p, q) * 8]
    waiting(p, 8 if p is not q else 16)
    equal(c.cmd("CACHE.FILL", "one", token, "v", "TTL", 60000), "OK")
    for o in others:
        equal(o.read()[:2], [b"HIT", b"v"])
        o.c.close()
    waiting(p, 0)
    live(p, 0)
    # vector: two FILLs with the same token
    equal(c.error("CACHE.FILL", "one", token, "w", "TTL", 60000).word, "LEASELOST")
    equal(c.cmd("GET", "one"), b"v")
    c.cmd("DEL", "one")
    # FILL from any connection, also of another host
    token = won(lease(c, "one"))
    with q.client() as other:
        equal(other.cmd("CACHE.FILL", "one", token, "w", "TTL", 60000), "OK")
    equal(lease(c, "one")[:2], [b"HIT", b"w"])
    c.cmd("DEL", "one")
    c.close()


def test_busy(p, q):
    """WAIT runs out; BUSY says when to come again, and not later than the lease ends."""
    c = p.client()
    won(lease(c, "busy", "TTL", 60000))
    for agent in (p, q):
        with agent.client() as d:
            for words in ((), ("WAIT", "0"), ("WAIT", "30")):
                reply = lease(d, "busy", *words)
                equal(reply[0], b"BUSY")
                check(1 <= reply[1] <= 100, reply)
    waiting(p, 0)
    c.close()
    live(p, 0)


def test_gone(p, q):
    """The winner's connection closes: the oldest who waits wins at once, and the one before him cannot fill."""
    first = p.client()
    token = won(lease(first, "gone", "TTL", LONG))
    second = Caller(p, "gone", "WAIT", LONG, "TTL", LONG)
    waiting(p, 1)
    third = Caller(p, "gone", "WAIT", LONG)
    waiting(p, 2)
    first.close()
    token2 = won(second.read())
    check(token2 != token)
    with p.client() as c:
        equal(c.error("CACHE.FILL", "gone", token, "late", "TTL", 1000).word, "LEASELOST")
        equal(c.error("CACHE.ABORT", "gone", token).word, "LEASELOST")
        equal(lease(c, "gone")[0], b"BUSY")
    # RESET is the end of a connection too; and who waits may be on another host
    fourth = Caller(q, "gone", "WAIT", LONG)
    second.c.cmd("RESET")
    equal(won(third.read()) in (token, token2), False)
    third.c.close()
    token4 = won(fourth.read())
    equal(fourth.c.cmd("CACHE.FILL", "gone", token4, "v", "TTL", 1000), "OK")
    # whoever waits and goes takes nothing with him
    with p.client() as c:
        token = won(lease(c, "left"))
        leaver, stayer = Caller(p, "left", "WAIT", LONG), Caller(p, "left", "WAIT", LONG)
        waiting(p, 2)
        leaver.c.close()
        waiting(p, 1)
        equal(c.cmd("CACHE.ABORT", "left", token), "OK")
        equal(stayer.c.cmd("CACHE.ABORT", "left", won(stayer.read())), "OK")
        c.cmd("DEL", "gone")
    for o in (second, fourth, stayer):
        o.c.close()
    live(p, 0)
    live(q, 0)


def test_write(p, q):
    """A write of the key through this agent voids the token, whatever it is, and wherever the fill comes from."""
    c, w = p.client(), p.client()
    w3 = p.client()
    w3.cmd("HELLO", "3")
    sha = w.cmd("SCRIPT", "LOAD", "return redis.call('SET', KEYS[1], 'by script')")

    def transaction():
        w.cmd("MULTI")
        w.cmd("SET", "elsewhere", "1")
        w.cmd("DEL", "void")
        w.cmd("EXEC")

    writes = {
        "DEL": lambda: w.cmd("DEL", "x", "void"), "UNLINK": lambda: w3.cmd("UNLINK", "void"), "SET": lambda: w.cmd("SET", "void", "plain"),
        "MSET": lambda: w.cmd("MSET", "a", 1, "void", 2), "EVALSHA": lambda: w.cmd("EVALSHA", sha, 1, "void"), "MULTI": transaction,
        "RENAME": lambda: (w.cmd("SET", "a", "v"), w.cmd("RENAME", "a", "void")), "FLUSHDB": lambda: w.cmd("FLUSHDB"),
        "FLUSHALL": lambda: w.cmd("FLUSHALL"), "INVALIDATE": lambda: w.cmd("CACHE.INVALIDATE", "void"),
        "STALE": lambda: w.cmd("CACHE.INVALIDATE", "void", "STALE", "1000"), "EXPIRE": lambda: w.cmd("EXPIRE", "void", 5),
        "COPY": lambda: (w.cmd("SET", "a", "v"), w.cmd("COPY", "a", "void")), "GETDEL": lambda: w.cmd("GETDEL", "void"),
    }
    for name, write in writes.items():
        c.cmd("DEL", "void")
        token = won(lease(c, "void"))
        write()
        equal(c.error("CACHE.FILL", "void", token, "late", "TTL", 60000).word, "LEASELOST", name)
        check(c.cmd("GET", "void") != b"late", name)
        with p.client() as other:
            equal(lease(other, "void")[0], b"HIT" if other.cmd("EXISTS", "void") else b"WON", name)
    # only that key, and only writes
    c.cmd("DEL", "void")
    token = won(lease(c, "void"))
    w.cmd("SET", "void2", "x")
    w.cmd("GET", "void")
    w.cmd("EXISTS", "void")
    equal(c.cmd("CACHE.FILL", "void", token, "v", "TTL", 60000), "OK")
    # with those who wait: SET, and they have it; DEL, and the oldest wins
    for name, write in (("SET", writes["SET"]), ("DEL", writes["DEL"]), ("INVALIDATE", writes["INVALIDATE"])):
        c.cmd("DEL", "void")
        token = won(lease(c, "void"))
        who = [Caller(p, "void", "WAIT", LONG) for _ in range(3)]
        waiting(p, 3)
        write()
        equal(c.error("CACHE.FILL", "void", token, "late", "TTL", 60000).word, "LEASELOST", name)
        done = []
        for _ in who:  # one after the other wins, or hears of the value
            reply = wait_any(who, done)
            if reply[0] == b"WON":
                # it may have looked before the write was done: then its fill is refused, too
                done[-1].c.send("CACHE.FILL", "void", reply[1], "v", "TTL", 60000)
                answer = done[-1].c.read()
                check(answer == "OK" or answer.word == "LEASELOST", name, answer)
                check(answer == "OK" or len(done) < 3 or name == "SET", name, answer)
            else:
                equal(reply[:2], [b"HIT", b"plain" if name == "SET" else b"v"], name)
        for o in who:
            o.c.close()
    # an agent that does not know of the write sees that the key is another
    if p is not q:
        c.cmd("DEL", "void")
        token = won(lease(c, "void"))
        with q.client() as other:
            other.cmd("SET", "void", "elsewhere")
        equal(c.error("CACHE.FILL", "void", token, "late", "TTL", 60000).word, "LEASELOST")
        equal(lease(c, "void")[:2], [b"HIT", b"elsewhere"])
        c.cmd("DEL", "void")
        token = won(lease(c, "void"))
        with q.client() as other:
            other.cmd("CACHE.INVALIDATE", "void")
        equal(c.error("CACHE.FILL", "void", token, "late", "TTL", 60000).word, "LEASELOST")
    c.cmd("FLUSHDB")
    for o in (c, w, w3):
        o.close()
    live(p, 0)


def wait_any(who, done):
    """The answer of whichever comes first; its caller is appended to done."""
    import select
    left = [o for o in who if o not in done]
    ready, _, _ = select.select([o.c.s for o in left], [], [], 30 * SLOW)
    check(ready, "nobody is answered")
    first = next(o for o in left if o.c.s is ready[0])
    done.append(first)
    return first.read()


def test_life(p, q):
    """A lease ends by itself after its TTL, and then a waiter wins, whichever host he is on."""
    for agent in (p, q):
        c = p.client()
        token = won(lease(c, "life", "TTL", 150))
        with agent.client(timeout=60) as d:
            second = won(lease(d, "life", "WAIT", LONG, "TTL", LONG))
            equal(c.error("CACHE.FILL", "life", token, "late", "TTL", 1000).word, "LEASELOST")
            equal(d.cmd("CACHE.FILL", "life", second, "v", "TTL", 60000), "OK")
        c.cmd("DEL", "life")
        c.close()
    live(p, 0)


def test_stale(p, q):
    """Soft expiry: one computes, the others have the old value meanwhile; STALE is how long."""
    c, d = p.client(), q.client()
    token = won(lease(c, "stale", "STALE", 60000))
    equal(c.cmd("CACHE.FILL", "stale", token, "old", "TTL", 1), "OK")
    token = wait_until(lambda: (lambda r: r[0] == b"WON" and won(r, b"old"))(lease(c, "stale", "STALE", 60000, "BETA", 0)), "the soft expiry")
    for _ in range(3):
        for who in (c, d):
            reply = lease(who, "stale", "WAIT", LONG)  # who has a value does not wait
            equal(reply[:2], [b"STALE", b"old"])
            check(reply[2] >= 0)
    equal(c.cmd("GET", "stale"), b"old")
    equal(c.cmd("CACHE.FILL", "stale", token, "new", "TTL", 60000), "OK")
    equal(lease(d, "stale")[:2], [b"HIT", b"new"])
    check(110000 < c.cmd("PTTL", "stale") < 124000, "60 s and 60 s of STALE, as the lease said")
    # INVALIDATE STALE: the same, at once; after so long it is gone
    equal(c.cmd("CACHE.INVALIDATE", "stale", "STALE", 60000), 1)
    token = won(lease(c, "stale"), b"new")
    equal(lease(d, "stale")[0], b"STALE")
    check(c.cmd("PTTL", "stale") <= 60000)
    equal(c.cmd("CACHE.FILL", "stale", token, "newer", "TTL", 60000, "STALE", "0"), "OK")
    equal(c.cmd("CACHE.INVALIDATE", "stale", "STALE", 1), 1)
    wait_until(lambda: c.cmd("EXISTS", "stale") == 0, "the end of staleness")
    equal(c.cmd("CACHE.INVALIDATE", "stale"), 0)
    equal(c.cmd("CACHE.INVALIDATE", "stale", "STALE", 5), 0)
    # a stale value runs out while it is computed: nobody wrote, the fill is taken
    token = won(lease(c, "out", "STALE", 40))
    equal(c.cmd("CACHE.FILL", "out", token, "old", "TTL", 1), "OK")
    reply = wait_until(lambda: (lambda r: r[0] == b"WON" and r)(lease(c, "out", "BETA", 0)), "WON")
    wait_until(lambda: c.cmd("EXISTS", "out") == 0, "the hard expiry")
    if reply[2:]:
        equal(lease(d, "out")[0], b"BUSY")
    equal(c.cmd("CACHE.FILL", "out", reply[1], "new", "TTL", 60000), "OK")
    equal(lease(d, "out")[:2], [b"HIT", b"new"])
    c.cmd("DEL", "stale", "out")
    c.close()
    d.close()


def test_early(p, q):
    """XFetch: before a value expires one caller wins with it, and only one; the others have hits."""
    c = p.client()
    token = won(lease(c, "early"))
    end = time.monotonic() + 0.05
    while time.monotonic() < end:  # computing takes 50 ms, so that the record says so
        pass
    equal(c.cmd("CACHE.FILL", "early", token, "v", "TTL", 100000, "NOJITTER"), "OK")
    for _ in range(50):
        equal(lease(c, "early", "BETA", 0)[0], b"HIT")
        equal(lease(c, "early")[0], b"HIT")  # 50 ms before 100 s: e^-2000
    # with beta 1000 every other call is early at 35 s: many draws, one of them wins
    reply = wait_until(lambda: (lambda r: r[0] == b"WON" and r)(lease(c, "early", "BETA", 1000)), "an early one", 60)
    equal(reply[2], b"v")
    for agent in (p, q):
        with agent.client() as d:
            for _ in range(50):
                equal(lease(d, "early", "BETA", 1000)[:2], [b"HIT", b"v"])
    equal(c.cmd("CACHE.FILL", "early", reply[1], "w", "TTL", 1000), "OK")
    equal(lease(c, "early", "BETA", 0)[:2], [b"HIT", b"w"])
    c.cmd("DEL", "early")
    c.close()


def test_negative(p, q):
    """vector: ABORT NEG 500 -> NEG for 500 ms, then WON.  Without NEG the next one wins."""
    c = p.client()
    token = won(lease(c, "neg"))
    others = [Caller(agent, "neg", "WAIT", LONG) for agent in (p, q)]
    waiting(p, 2 if p is q else 1)
    start = time.monotonic()
    equal(c.cmd("CACHE.ABORT", "neg", token, "NEG", int(500 * SLOW), "no such user"), "OK")
    for o in others:
        equal(o.read(), [b"NEG", b"no such user"])
    reply = wait_until(lambda: (lambda r: r != [b"NEG", b"no such user"] and r)(lease(c, "neg")), "the end of NEG")
    won(reply)
    check(time.monotonic() - start >= 0.48 * SLOW, "it was NEG for so long")
    equal(c.error("CACHE.ABORT", "neg", token).word, "LEASELOST")
    for o in others:
        o.send("neg", "WAIT", LONG)
    waiting(p, 2 if p is q else 1)
    equal(c.cmd("CACHE.ABORT", "neg", reply[1]), "OK")
    first = next_won(others)
    equal(first.c.cmd("CACHE.ABORT", "neg", first.token), "OK")
    others.remove(first)
    second = next_won(others)
    equal(second.c.cmd("CACHE.ABORT", "neg", second.token), "OK")
    for o in (first, second):
        o.c.close()
    c.close()
    live(p, 0)
    live(q, 0)


def next_won(who):
    done = []
    reply = wait_any(who, done)
    done[0].token = won(reply)
    return done[0]


def test_stop(p):
    """CLIENT UNBLOCK, and what a pipeline has behind a lease that waits."""
    c, d = p.client(), p.client()
    token = won(lease(c, "stop"))
    ident = d.cmd("CLIENT", "ID")
    for how, want in (("TIMEOUT", b"BUSY"), ("ERROR", "UNBLOCKED")):
        d.send("CACHE.LEASE", "stop", "WAIT", LONG)
        d.send("PING")
        waiting(p, 1)
        equal(c.cmd("CLIENT", "UNBLOCK", ident, how), 1)
        reply = d.read()
        equal(reply.word if how == "ERROR" else reply[0], want)
        equal(d.read(), "PONG")
    waiting(p, 0)
    # several under way on one connection
    d.raw(b"".join(harness.encode("CACHE.LEASE", k, "WAIT", LONG) for k in ("stop", "stop2", "stop", "stop3")) + harness.encode("SET", "after", "1"))
    waiting(p, 2)
    equal(c.cmd("CACHE.FILL", "stop", token, "v", "TTL", 60000), "OK")
    replies = [d.read() for _ in range(5)]
    equal([r[0] if isinstance(r, list) else r for r in replies], [b"HIT", b"WON", b"HIT", b"WON", "OK"])
    c.cmd("FLUSHDB")
    d.close()
    c.close()
    live(p, 0)


def test_http(p):
    """Over HTTP a lease lives for its time, whatever becomes of the connection."""
    path = "/v1/cache/web%20page"

    def ask(method, where, body=None, status=200):
        r = p.http(method, path + where, body)
        equal(r.status, status, r)
        return r.json()

    word, token = ask("POST", "/lease", {"ttl_ms": 60000, "stale_ms": 60000, "wait_ms": 0, "beta": 1.5})
    equal(word, "WON")
    with p.client() as c:
        equal(lease(c, "web page")[0], b"BUSY")
        equal(ask("POST", "/lease")[0], "BUSY")
        ask("PUT", "?token=" + "0" * 32, {"value": "v", "ttl_ms": 1000}, 409)
        equal(ask("PUT", "?token=" + token, {"value": {"a": [1]}, "ttl_ms": 60000, "nojitter": True}), "OK")
        equal(ask("POST", "/lease")[:2], ["HIT", '{"a":[1]}'])
        check(119000 * (2 - harness.SLOW) < c.cmd("PTTL", "web page") <= 120000)
        equal(ask("DELETE", "?stale_ms=60000"), 1)
        word, token, value = ask("POST", "/lease")
        equal((word, value), ("WON", '{"a":[1]}'))
        equal(ask("POST", "/lease")[0], "STALE")
        equal(ask("DELETE", "/lease?token=" + token), "OK")
        equal(ask("DELETE", ""), 1)
        equal(ask("DELETE", ""), 0)
        token = ask("POST", "/lease", {})[1]
        equal(ask("DELETE", f"/lease?token={token}&neg_ms=60000&reason=none"), "OK")
        equal(ask("POST", "/lease"), ["NEG", "none"])
        c.cmd("CACHE.INVALIDATE", "web page")


def test_crowd(p, q):
    """Many at once, for one cold key: one computes, and each death costs one more."""
    for deaths in (0, 3):
        computed, lock, answers = [], threading.Lock(), []

        def one(agent):
            with agent.client(timeout=60) as c:
                reply = lease(c, "crowd", "WAIT", LONG, "TTL", LONG)
                if reply[0] == b"WON":
                    with lock:
                        computed.append(reply[1])
                        die = len(computed) <= deaths
                    if not die:
                        time.sleep(0.02)
                        equal(c.cmd("CACHE.FILL", "crowd", reply[1], "v", "TTL", 60000), "OK")
                        reply = [b"HIT", b"v"]
                with lock:
                    answers.append(tuple(reply[:2]) if reply[0] != b"WON" else "died")

        threads = [threading.Thread(target=one, args=(agent,)) for agent in (p, q) * 20]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        equal(len(computed), 1 + deaths)
        equal(sorted(map(str, answers)), sorted(["('died')"[2:6]] * deaths + [str((b"HIT", b"v"))] * (40 - deaths)))
        with p.client() as c:
            c.cmd("DEL", "crowd")
    live(p, 0)


def test_counted(p):
    """Each answer and each end in the metrics."""
    answers, ends = metrics(p, "purser_cache_lease_answers_total"), metrics(p, "purser_cache_lease_ends_total")
    for word in ("hit", "stale", "won", "early", "busy", "neg", "error"):
        check(answers.get(word, 0) > 0, word, answers)
    for word in ("filled", "aborted", "negative", "gone", "void", "expired"):
        check(ends.get(word, 0) > 0, word, ends)
    check(metrics(p, "purser_cache_lease_handed_total")[""] > 0)
    with p.client() as c:
        c.cmd("HELLO", "3")
        before = c.cmd("CACHE.STATS")
        token = won(lease(c, "counted"))
        c.cmd("CACHE.FILL", "counted", token, "v", "TTL", 60000)
        lease(c, "counted")
        lease(c, "counted")
        c.cmd("CACHE.INVALIDATE", "counted", "STALE", 1000)
        c.cmd("CACHE.INVALIDATE", "counted")
        after = c.cmd("CACHE.STATS")
        equal([after[k] - before[k] for k in (b"hits", b"misses", b"sets", b"deletes")], [2, 1, 1, 1])


def test_reload(p):
    """A reload ends no lease and no wait."""
    c = p.client()
    won(lease(c, "reload", "TTL", LONG))
    first = Caller(p, "reload", "WAIT", LONG)
    waiting(p, 1)
    p.write_config("; another text\n")
    p.reload()
    p.wait_log('"event":"config.reloaded"')
    live(p, 1)
    second = Caller(p, "reload", "WAIT", LONG)
    waiting(p, 2)
    c.close()
    won(first.read())
    first.c.close()
    token = won(second.read())
    equal(second.c.cmd("CACHE.FILL", "reload", token, "v", "TTL", 60000), "OK")
    second.c.cmd("DEL", "reload")
    second.c.close()
    live(p, 0)


def leave_open(p):
    """What the end of the agent finds: leases, and who waits for them.  (The sanitizers look for what is left.)"""
    c = p.client()
    won(lease(c, "end"))
    won(lease(c, "end2"))
    waiters = [Caller(p, "end", "WAIT", LONG) for _ in range(3)]
    waiting(p, 3)
    return c, waiters


def rules(p, q):
    test_words(p)
    test_jitter(p)
    test_one(p, q)
    test_busy(p, q)
    test_gone(p, q)
    test_write(p, q)
    test_life(p, q)
    test_stale(p, q)
    test_early(p, q)
    test_negative(p, q)
    test_stop(p)
    test_http(p)
    test_crowd(p, q)
    test_counted(p)


def trouble(p, redis):
    """The store goes away: an error for all who wait, at once, and everything goes on when it is back."""
    c = p.client(timeout=60)
    token = won(lease(c, "trouble", "TTL", LONG))
    others = [Caller(p, "trouble", "WAIT", LONG) for _ in range(5)]
    waiting(p, 5)
    redis.kill()
    c.close()  # the lease is to be handed over, and cannot be
    for o in others:
        reply = o.read()
        check(isinstance(reply, harness.RespError) and reply.word in ("BACKENDDOWN", "CIRCUITOPEN", "INDETERMINATE", "TIMEOUT"), reply)
    waiting(p, 0)
    live(p, 0)
    redis.p = None
    redis.start()

    def again():
        others[0].send("trouble")
        reply = others[0].read()
        return reply if isinstance(reply, list) else None

    token = won(wait_until(again, "the store", 60))
    equal(others[0].c.cmd("CACHE.FILL", "trouble", token, "v", "TTL", 1000), "OK")
    for o in others:
        o.c.close()


def main():
    with harness.Purserd({"project default.databases": "2"}) as p:
        rules(p, p)
        test_reload(p)
        open_still = leave_open(p)
        p.stop()
        for o in open_still[1]:
            reply = o.read()
            # the winner's connection was closed, perhaps by a worker that was quicker than the waiter's
            check(not isinstance(reply, harness.RespError) or reply.word != "UNBLOCKED" or "shutting down" in reply.text, reply)
            check(reply.word in ("UNBLOCKED", "BACKENDDOWN") if isinstance(reply, harness.RespError) else reply[0] == b"WON", reply)
    with harness.Redis() as redis:
        settings = {"backend main.plugin": "redis", "backend main.url": redis.url, "breaker.recovery_timeout": "5s"}
        with harness.Purserd(settings) as p, harness.Purserd(settings, name="other") as q:
            rules(p, p)
            for path in (p, q):
                with path.client() as c:
                    c.cmd("SCRIPT", "FLUSH")
            rules(p, q)
            p.allow("backend|breaker|health")
            q.allow("backend|breaker|health")
            trouble(p, redis)
            with redis.client() as c:  # nothing is left of it all but what has its time
                for key in c.cmd("KEYS", "*"):
                    check(c.cmd("PTTL", key) > 0 or not key.startswith(b"psr:"), key)


harness.run(main)
