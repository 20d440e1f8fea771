#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cache_lease.lua: every rule of get-or-set with leases that the store decides, on redis and on memory.

The lines of records are those of tests/unit/test_feature_record.c: C and Lua read and write the same.
"""

import hashlib

import luatest
from luatest import check, equal

K, R = "k", "record:k"
A, B, C = ("%032x" % n for n in (10, 11, 12))
Q = "0123456789abcdef"
NOW = 1700000000000
FIELDS = ("version", "check", "quick", "soft", "hard", "filled", "delta", "stale", "token", "won", "till", "neg")


def mark(value):
    return "-" if value is None else "%d.%s" % (len(value), hashlib.sha1(value.encode()).hexdigest()[:16])


class Key:
    """The key and its record, as the script moves them."""

    def __init__(self, t):
        self.t, self.s = t, t.script("cache_lease")

    def ask(self, *args, near=0):
        return self.s([K, R], args, near)

    def lease(self, token, life=10000, stale=0, early=0, dead="-"):
        now, *reply = self.ask("lease", token, life, stale, early, dead)
        equal(now, self.t.now, "the clock")
        return reply

    def fill(self, token, value, ttl=1000, stale="-"):
        return self.ask("fill", token, value, Q, ttl, stale)[1:]

    def drop(self, token, neg=0, reason=""):
        return self.ask("drop", token, neg, reason)[1:]

    def clear(self, stale=0, only="-"):
        return self.ask("clear", stale, only)[1:]

    def plain(self, value=None):
        """What a client has left: no record."""
        self.t.cmd("DEL", K, R)
        if value is not None:
            self.t.cmd("SET", K, value)

    def raw(self, line):
        self.t.cmd("SET", R, line)

    def record(self):
        """The fields of both stores, hard apart (it comes from PTTL, which is real time)."""
        both = []
        for c in self.t.both:
            raw = c.cmd("GET", R)
            if raw is None:
                return None
            head, _, rest = raw.decode().partition("\n")
            words = head.split(" ")
            check(len(words) == 14, raw)
            f = dict(zip(FIELDS, words))
            f["reason"], f["meta"] = rest[:int(words[12])], rest[int(words[12]):]
            equal(len(f["meta"]), int(words[13]))
            f["hard"] = int(f["hard"])
            both.append(f)
        a, b = both
        check(abs(a["hard"] - b["hard"]) < 2000, a, b)
        b["hard"] = a["hard"]
        equal(a, b)
        return a

    def no_record(self):
        check(self.t.cmd("GET", R) is None, "the record is gone")


def miss(t, k):
    """A key that nobody has: one wins, the others hear how long; what FILL leaves is a hit."""
    k.plain()
    equal(k.lease(A, 10000, 500), [b"WON", None, -1])
    f = k.record()
    equal((f["check"], f["token"], f["won"], f["till"], f["stale"]), ("-", A, str(NOW), str(NOW + 10000), "500"))
    t.pttl(R, 9000, 11000)
    t.now += 40
    equal(k.lease(B), [b"BUSY", 9960])
    equal(k.fill(B, "v"), [b"LOST"])
    equal(k.drop(B), [b"LOST"])
    equal(k.fill(A, "hello", 1000), [b"OK", 40])
    equal(t.cmd("GET", K), b"hello")
    t.pttl(K, 500, 1500)
    t.pttl(R, 1500, 2500)
    f = k.record()
    equal((f["check"], f["quick"], f["token"], f["delta"]), ("5.aaf4c61ddcc5e8a2", Q, "-", "40"))
    equal((f["soft"], f["filled"]), (str(t.now + 1000), str(t.now)))
    check(abs(f["hard"] - t.now - 1500) < 1000, f)
    equal(k.fill(A, "again"), [b"LOST"])  # vector: two FILLs with the same token
    equal(k.drop(A), [b"LOST"])
    t.now += 7
    equal(k.lease(B), [b"HIT", b"hello", 7])
    # FILL may say otherwise than LEASE how long it may be stale
    k.plain()
    k.lease(A, 10000, 500)
    k.fill(A, "x", 1000, 90000)
    t.pttl(K, 80000, 91000)


def plain_values(t, k):
    """What has no record, or one that is void, is what plain commands say it is."""
    k.plain("hello")
    equal(k.lease(A), [b"HIT", b"hello", -1])
    k.no_record()
    equal(k.lease(A, early=1), [b"WON", b"hello", -1])  # the caller has drawn, though it knows no expiry
    equal(t.cmd("PTTL", R), -1)  # the value has no end, nor has its record
    equal(k.drop(A), [b"OK"])
    equal(k.record()["token"], "-")
    for line in ("nonsense", "", "1 - -", f"2 {mark('hello')} - 1 0 1 1 0 - 0 0 0 0 0\n",
                 f"1 {mark('hello')} - 1 0 1 1 0 - 0 0 0 1 0\n", f"1 {mark('other')} - 1 0 1 1 0 {A} 0 9999999999999 0 0 0\n"):
        k.raw(line)
        equal(k.lease(B), [b"HIT", b"hello", -1])
    k.raw(f"1 {mark('hello')} - 1 0 1 1 0 - 0 0 0 0 0\n")
    equal(k.lease(A)[:2], [b"WON", b"hello"])
    t.cmd("DEL", K, R)
    t.cmd("LPUSH", K, "x")
    equal(k.s.error([K, R], ["lease", A, 1, 0, 0, "-"]).word, "WRONGTYPE")
    equal(k.s.error([K, R], ["clear", 1, "-"]).word, "WRONGTYPE")
    equal(k.clear(), [1])
    equal(t.cmd("EXISTS", K), 0)


def void(t, k):
    """K is not what it was at WON: the fill is refused, and the next LEASE does not wait for it."""
    k.plain()
    k.lease(A)
    t.cmd("SET", K, "plain")
    equal(k.fill(A, "late"), [b"LOST"])
    equal(k.lease(B), [b"HIT", b"plain", -1])
    t.cmd("DEL", K)
    # K is again as it was, but A is not: it was seen to be void
    equal(k.lease(B), [b"WON", None, -1])
    equal(k.fill(A, "late"), [b"LOST"])
    t.cmd("SET", K, "plain")
    equal(k.drop(B), [b"LOST"])
    t.cmd("DEL", K)
    equal(k.lease(A), [b"WON", None, -1])
    # K was written and is again as it was at WON, and nobody looked: the documented limit; agents void their own
    # tokens (DEAD)
    t.cmd("SET", K, "plain")
    t.cmd("DEL", K)
    equal(k.lease(B), [b"BUSY", 10000])
    equal(k.lease(B, dead=C), [b"BUSY", 10000])
    equal(k.lease(B, dead=A), [b"WON", None, -1])
    equal(k.fill(A, "late"), [b"LOST"])
    equal(k.fill(B, "hello"), [b"OK", 0])
    # vector: DEL between WON and FILL, with a value that was stale
    t.now += 1000
    equal(k.lease(A, 10000, 500), [b"WON", b"hello", 1000])
    t.cmd("DEL", K)
    equal(k.fill(A, "late"), [b"LOST"])
    equal(k.lease(B), [b"WON", None, -1])


def life(t, k):
    """A lease ends by itself, and then the next one wins."""
    k.plain()
    k.lease(A, 300)
    t.now += 299
    equal(k.lease(B), [b"BUSY", 1])
    t.now += 1
    equal(k.lease(B, 300), [b"WON", None, -1])
    equal(k.fill(A, "late"), [b"LOST"])
    t.now += 300
    equal(k.fill(B, "late"), [b"LOST"])
    equal(k.drop(B), [b"LOST"])
    check(t.cmd("GET", K) is None)


def stale(t, k):
    """Soft expiry: one computes, the others get the old value; metadata lives with the value."""
    k.plain("old")
    t.cmd("PEXPIRE", K, 5000)
    k.raw(f"1 {mark('old')} {Q} {t.now + 100} {t.now + 5000} {t.now - 900} 12 0 - 0 0 0 0 7\n" + '{"a":1}')
    equal(k.lease(A), [b"HIT", b"old", 900])
    t.now += 100
    equal(k.lease(A, 10000, 4000), [b"WON", b"old", 1000])
    f = k.record()
    equal((f["quick"], f["delta"], f["meta"], f["token"]), (Q, "12", '{"a":1}', A))
    t.pttl(R, 10000, 11000)
    t.now += 1
    equal(k.lease(B), [b"STALE", b"old", 1001, 9999])
    equal(k.fill(A, "new", 200), [b"OK", 1])
    equal(k.record()["meta"], "")  # it was the old value's
    equal(k.lease(B), [b"HIT", b"new", 0])
    t.now += 200
    equal(k.lease(A), [b"WON", b"new", 200])
    equal(k.drop(A), [b"OK"])
    equal(k.lease(B), [b"WON", b"new", 200])
    # early: one, while it is fresh
    k.plain()
    k.lease(A)
    k.fill(A, "v", 1000)
    equal(k.lease(B, early=1), [b"WON", b"v", 0])
    equal(k.lease(C, early=1), [b"HIT", b"v", 0])
    equal(k.lease(C), [b"HIT", b"v", 0])
    equal(k.fill(B, "w", 1000), [b"OK", 0])
    equal(k.lease(C), [b"HIT", b"w", 0])


def expired(t, k):
    """The stale value ran out while it was computed: nobody wrote, so the lease holds."""
    k.plain("old")
    t.cmd("PEXPIRE", K, 60000)
    k.raw(f"1 {mark('old')} - 1 0 1 5 0 - 0 0 0 0 0\n")
    equal(k.lease(A)[0], b"WON")
    check(abs(k.record()["hard"] - t.now - 60000) < 2000, "hard is when K goes")
    t.cmd("DEL", K)
    equal(k.lease(B), [b"WON", None, -1])  # before its hour: somebody wrote
    k.raw(f"1 {mark('old')} - 1 {t.now} 1 5 70 {A} {t.now - 9} {t.now + 991} 0 0 2\n" + "{}")
    equal(k.lease(B), [b"BUSY", 991])
    equal(k.fill(A, "new", 1000), [b"OK", 9])
    t.pttl(K, 500, 1070)
    equal(k.lease(B), [b"HIT", b"new", 0])


def negative(t, k):
    """vector: ABORT NEG 500 -> NEG for 500 ms, then WON."""
    k.plain()
    k.lease(A)
    equal(k.drop(A, 500, "no such user"), [b"OK"])
    t.pttl(R, 500, 1500)
    equal(k.lease(B), [b"NEG", b"no such user", 500])
    t.now += 499
    equal(k.lease(B, early=1), [b"NEG", b"no such user", 1])
    t.now += 1
    equal(k.lease(B), [b"WON", None, -1])
    equal(k.record()["reason"], "")
    # without NEG the next one wins at once, and nothing is left
    equal(k.drop(B), [b"OK"])
    k.no_record()
    equal(k.lease(C), [b"WON", None, -1])
    # a plain SET ends it; INVALIDATE too
    k.drop(C, 500, "")
    equal(k.lease(B), [b"NEG", b"", 500])
    t.cmd("SET", K, "v")
    equal(k.lease(B), [b"HIT", b"v", -1])
    k.plain()
    k.lease(C)
    k.drop(C, 500, "x")
    equal(k.clear(), [0])
    equal(k.lease(B), [b"WON", None, -1])
    # of a stale value: it stays for whoever reads it plainly
    k.plain("old")
    k.raw(f"1 {mark('old')} - 1 0 1 5 0 - 0 0 0 0 0\n")
    k.lease(A)
    k.drop(A, 500, "down")
    equal(k.lease(B), [b"NEG", b"down", 500])
    t.now += 500
    equal(k.lease(B)[:2], [b"WON", b"old"])


def clear(t, k):
    """INVALIDATE: at once, or stale for a while; a lease is over either way."""
    k.plain()
    equal(k.clear(), [0])
    equal(k.clear(500), [0])
    k.lease(A)
    k.fill(A, "v", 60000)
    equal(k.clear(), [1])
    equal(t.cmd("EXISTS", K, R), 0)
    k.lease(A)
    equal(k.clear(), [0])
    equal(k.fill(A, "late"), [b"LOST"])
    k.lease(A)
    k.fill(A, "v", 60000)
    k.lease(B, early=1)
    equal(k.clear(500), [1])
    equal(k.fill(B, "late"), [b"LOST"])
    t.pttl(K, 300, 500)
    equal(k.lease(C), [b"WON", b"v", 0])
    equal(k.lease(A)[0], b"STALE")
    k.plain("forever")
    equal(k.clear(90000), [1])
    t.pttl(K, 80000, 90000)
    t.pttl(R, 80000, 91000)
    equal(k.clear(10), [1])
    t.pttl(K, 0, 10)
    # a value that expires sooner stays so
    k.plain("soon")
    t.cmd("PEXPIRE", K, 30000)
    equal(k.clear(90000), [1])
    t.pttl(K, 20000, 30000)
    # only that value
    k.plain("v")
    equal(k.clear(0, mark("w")), [0])
    equal(t.cmd("GET", K), b"v")
    equal(k.clear(0, mark("v")), [1])
    equal(t.cmd("EXISTS", K), 0)


def main(t):
    k = Key(t)
    for f in (miss, plain_values, void, life, stale, expired, negative, clear):
        t.now = NOW
        f(t, k)
    # the real clock: nothing of the agent's is in it
    t.now = None
    k.plain()
    first = k.ask("lease", A, 10000, 0, 0, "-", near=2000)
    second = k.ask("lease", B, 10000, 0, 0, "-", near=2000)
    equal((first[1], second[1]), (b"WON", b"BUSY"))
    check(0 <= second[0] - first[0] < 60000 and second[2] <= 10000, first, second)


luatest.run(main)
