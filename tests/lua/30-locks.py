#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The scripts of locks."""

import luatest
from luatest import check, equal, wait_until

LOCK, RECORD = "lock:l", "fence:l"
START = 1_790_000_000_000
US = START * 1000


def text(v):
    return v.decode() if isinstance(v, bytes) else [text(x) for x in v] if isinstance(v, list) else v


class Locks:
    """One lock on both stores, whose clock stands still."""

    def __init__(self, t):
        self.t = t
        self.scripts = {"acquire": t.script("lock_acquire"), "share": t.script("lock_share"), "renew": t.script("lock_renew"),
                        "release": t.script("lock_release"), "info": t.script("lock_info"), "fence": t.script("lock_fence")}
        t.cmd("DEL", LOCK, RECORD, "k", "other")
        t.now = START

    def run(self, name, keys, *argv, near=0):
        return text(self.scripts[name](keys, argv, near=near))

    def error(self, name, keys, *argv):
        return self.scripts[name].error(keys, argv)

    def acquire(self, owner, ttl=60000, floor=0, info="i n f o", wish=0):
        r = self.run("acquire", (LOCK, RECORD), owner, ttl, floor, info, wish, near=5000)
        return [1, r] if isinstance(r, int) else r

    def share(self, owner, kind="read", permits=1, ttl=60000, floor=0):
        r = self.run("share", (LOCK, RECORD), owner, ttl, floor, "in fo", permits, kind, near=5000)
        return [1, r] if isinstance(r, int) else r

    def renew(self, fence, owner="", ttl=60000):
        return self.run("renew", (LOCK,), fence, owner, ttl)

    def release(self, fence=0, owner=""):
        return self.run("release", (LOCK,), fence, owner)

    def info(self):
        return self.run("info", (LOCK, RECORD), near=5000)

    def exists(self):
        return self.t.cmd("EXISTS", LOCK)

    def pttl(self, least, most):
        self.t.pttl(LOCK, least, most)

    def record(self, field):
        words = (self.t.cmd("GET", RECORD) or b"0").split()
        return int(words[0 if field == "last" else -1])


def exclusive(s):
    equal(s.acquire("a"), [1, US], "a fence is not below the clock")
    s.pttl(1, 60000)
    equal((s.record("last"), s.record("least")), (US, US), "the record")
    equal(s.t.cmd("PTTL", RECORD), -1, "the record has no TTL")
    busy = s.acquire("b", wish=50)
    equal((busy[0], busy[2]), (0, "write"), "held")
    check(50000 < busy[1] <= 60000)
    equal(s.record("last"), US, "who did not get it has no fence")
    # The same owner again: its reply was lost.
    s.t.cmd("PEXPIRE", LOCK, 5000)
    equal(s.acquire("a"), [1, US], "the owner again")
    s.pttl(50000, 60000)
    equal(s.share("r")[::2], [0, "write"], "no reader beside it")
    s.t.now += 77
    equal(s.info()[:3], ["write", str(US), str(US)], "info")
    owner, fence, permits, left, age, info = s.info()[3]
    equal((owner, fence, permits, age, info), ("a", str(US), 1, 77, "i n f o"), "info")
    check(50000 < left <= 60000, left)
    # Renew and release: by the right fence, or owner, alone.
    equal(s.renew(US, ttl=70000), 1, "renewed")
    s.pttl(60001, 70000)
    equal(s.renew(US - 1), 2, "another fence")
    equal(s.release(US - 1, "b"), 2, "not by another")
    equal(s.exists(), 1, "still there")
    equal(s.release(US), 1, "by the fence")
    equal((s.release(US), s.renew(US)), (0, 0), "nobody has it")
    equal(s.info(), ["free", str(US), str(US)], "free")
    equal(s.acquire("a"), [1, US + 77000], "the clock")
    equal(s.release(0, "b"), 2, "another owner")
    equal(s.release(0, "a"), 1, "by the owner")
    # Its time runs out.
    s.acquire("a", ttl=20)
    wait_until(lambda: all(c.cmd("EXISTS", LOCK) == 0 for c in s.t.both), "the lock to run out")
    equal(s.acquire("b")[0], 1, "free")


def fences(s):
    equal(s.info(), ["free", "0", "0"], "never held")
    s.acquire("a")
    s.release(US)
    equal(s.acquire("a"), [1, US + 1], "in the same microsecond")
    s.release(US + 1)
    s.t.now -= 3600_000
    equal(s.acquire("a"), [1, US + 2], "the clock went back")
    s.release(0, "a")
    equal(s.share("a"), [1, US + 3], "shared")
    s.release(0, "a")
    # The record was evicted: not below what the agent has seen, nor below the clock.
    s.t.cmd("DEL", RECORD)
    equal(s.acquire("a", floor=US + 500), [1, US + 500], "the floor")
    s.release(0, "a")
    equal(s.share("a", floor=US + 600), [1, US + 600], "the floor, shared")
    s.release(0, "a")
    s.t.now += 7200_000
    equal(s.acquire("a", floor=US), [1, US + 3600_000_000], "the clock")
    s.release(0, "a")
    # Exact to the last digit, far beyond what a 32 bit number holds.
    s.t.cmd("SET", RECORD, "9007199254740990 5")
    equal(s.acquire("a"), [1, 9007199254740991], "2^53 - 1")
    equal(s.record("last"), 9007199254740991, "as it is stored")
    equal(s.renew(9007199254740991), 1, "as it is held")


def readers(s):
    equal((s.share("a"), s.share("b", ttl=90000)), ([1, US], [1, US + 1]), "two")
    equal((s.record("last"), s.record("least")), (US + 1, 0), "readers do not shut each other out")
    s.pttl(80000, 90000)
    equal(s.share("a"), [1, US], "the owner again")
    s.pttl(80000, 90000)
    kind, _, _, *holders = s.info()
    equal((kind, sorted(h[0] for h in holders)), ("read", ["a", "b"]), "info")
    equal(holders[0][5], "in fo", "info")
    # A writer waits until the last is gone, and holds new ones back while it waits.
    equal(s.acquire("w"), [0, 90000, "read"], "until the last")
    equal(s.share("c")[0], 1, "no wish yet")
    s.acquire("w", wish=300)
    s.t.now += 100
    equal(s.share("d"), [0, 200, "write"], "held back")
    equal(s.share("a"), [1, US], "not who has it")
    s.t.now += 200
    equal(s.share("d")[0], 1, "the wish is over")
    equal(s.share("x", kind="3"), [-1, 0, "read"], "another kind")
    # Renewed by owner, or by the fence alone.
    equal(s.renew(US, "a", 120000), 1, "by owner")
    s.pttl(110000, 120000)
    equal(s.renew(US + 1), 1, "by fence")
    s.pttl(110000, 120000)
    equal((s.renew(US + 1, "a"), s.renew(5), s.renew(5, "nobody")), (2, 2, 2), "by nobody else")
    for owner in "acd":
        equal(s.release(0, owner), 1, owner)
    equal(s.release(0, "nobody"), 2, "not a holder")
    equal(s.release(US + 1), 1, "the last, by its fence")
    equal(s.exists(), 0, "nothing is left")
    # One whose time is over is none, though another keeps the hash alive.
    one = s.share("a", ttl=20)[1]
    s.share("b")
    s.t.now += 20
    equal([h[0] for h in s.info()[3:]], ["b"], "one is over")
    equal(s.renew(one, "a"), 2, "not renewed any more")
    equal(s.share("c")[0], 1, "another")
    check(b"a" not in s.t.cmd("HKEYS", LOCK), "swept")
    equal((s.release(0, "b"), s.release(0, "c")), (1, 1), "released")
    # All are over: a writer takes what is left, and so do permits.
    for take in (lambda: s.acquire("w"), lambda: s.share("w", kind="2")):
        s.t.cmd("HSET", LOCK, "#", "read", "a", "7 1 1000 900 in fo")
        equal(s.renew(7, "a"), 2, "over")
        equal(s.info()[0], "free", "all over")
        equal(take()[0], 1, "taken")
        equal(s.release(0, "w"), 1, "released")
    # What the wish of a writer leaves goes with the last reader.
    s.share("a")
    s.acquire("w", wish=1000)
    equal((s.release(0, "a"), s.exists()), (1, 0), "nothing is left")


def permits(s):
    equal(s.share("a", kind="5", permits=2), [1, US], "two of five")
    equal(s.share("b", kind="5", permits=3, ttl=30000), [1, US + 1], "three")
    equal(s.share("c", kind="5"), [0, 30000, "5"], "until the first is free")
    equal(s.share("a", kind="5", permits=2), [1, US], "the owner again")
    equal(s.share("c", kind="6"), [-1, 0, "5"], "of another number")
    equal(s.share("c"), [-1, 0, "5"], "a reader")
    equal(s.acquire("w")[2], "5", "not alone")
    equal(sorted((h[0], h[2]) for h in s.info()[3:]), [("a", 2), ("b", 3)], "info")
    equal(s.release(US), 1, "released")
    equal(s.share("c", kind="5", permits=3)[0], 0, "two are free")
    equal(s.share("c", kind="5", permits=2)[0], 1, "two")
    s.release(0, "b")
    s.release(0, "c")
    equal(s.exists(), 0, "nothing is left")
    # At most so many owners.
    s.t.cmd("HSET", LOCK, "#", "read", *(w for i in range(1000) for w in (f"o{i}", f"{US + i} 1 {START + 5000} {START} i")))
    equal((s.share("more"), s.share("o7")), ([0, 5000, "read"], [1, US + 7]), "full")
    s.t.cmd("DEL", LOCK)


def fenced(s):
    def fence(f, *words):
        return s.run("fence", (RECORD, words[1]), f, words[0], *words[2:])

    s.acquire("a")
    equal(fence(US, "SET", "k", "v"), "OK", "SET")
    equal(fence(US, "SET", "k", "v2", "PX", 60000, "GET"), "v", "SET with options")
    s.t.pttl("k", 1, 60000)
    equal(fence(US, "HSET", "other", "f", "1", "g", "2"), 2, "HSET")
    equal(fence(US, "DEL", "other"), 1, "DEL")
    # An error of the command is its own.
    check("WRONGTYPE" in s.error("fence", (RECORD, "k"), US, "HSET", "f", "v").text)
    equal(fence(US, "SET", "k", "v3"), "OK", "and goes on")
    s.release(US)
    equal(fence(US, "SET", "k", "late"), "OK", "nobody has had it since")
    equal(s.acquire("b"), [1, US + 1], "another")
    e = s.error("fence", (RECORD, "k"), US, "SET", "later")
    check(e.word == "LOCKLOST" and str(US + 1) in e.text, e.text)
    equal(s.t.cmd("GET", "k"), b"late", "not written")
    never = s.error("fence", (RECORD, "k"), US + 2, "SET", "x")
    check(never.word == "LOCKLOST" and "never given" in never.text, never.text)
    equal(fence(US + 1, "SET", "k", "b"), "OK", "the holder's")
    s.release(US + 1)
    # Among several holders: not older than the last one taken.
    one, two = s.share("a", kind="2")[1], s.share("b", kind="2")[1]
    equal(fence(one, "SET", "k", "1"), "OK", "one")
    equal(fence(two, "SET", "k", "2"), "OK", "two")
    equal(s.record("least"), two, "the last one taken")
    equal(s.error("fence", (RECORD, "k"), one, "SET", "1").word, "LOCKLOST", "older")
    s.release(one)
    s.release(two)
    # The record was lost: a fence that was given is taken, and the next one is newer.
    s.t.now += 1
    s.t.cmd("DEL", RECORD)
    equal(fence(two, "SET", "k", "3"), "OK", "given before")
    equal((s.record("last"), s.record("least")), (two, two), "noted")
    check(s.acquire("c")[1] > two)
    s.t.same()


def main(t):
    for test in (exclusive, fences, readers, permits, fenced):
        test(Locks(t))


luatest.run(main)
