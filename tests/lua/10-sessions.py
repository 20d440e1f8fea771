#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The scripts of sessions: each branch, on a redis-server and on the memory plugin, with the time given."""

import time

import luatest
from luatest import check, equal

ALL, USERS, SESS = "s-all:0", "s-u:", "s:"


class World:
    def __init__(self, t):
        self.t = t
        t.now = self.start = (int(time.time() * 1000) // 1000 + 100000) * 1000
        self.create_, self.touch_ = t.script("session_create"), t.script("session_touch")
        self.update_, self.rotate_ = t.script("session_update"), t.script("session_rotate")
        self.destroy_, self.destroy_user_ = t.script("session_destroy"), t.script("session_destroy_user")
        self.list_, self.clean_ = t.script("session_list"), t.script("session_clean")

    def create(self, h, user, idle, end=0, *data):
        keys = [SESS + h, ALL] + ([USERS + user] if user else [])
        return self.create_(keys, [h, user, idle, end, *data])

    def touch(self, h, more=0):
        return self.touch_([SESS + h, ALL], [h, USERS, more])

    def update(self, h, *pairs, version="", most=256):
        return self.update_([SESS + h, ALL], [h, USERS, version, most, *pairs])

    def rotate(self, old, new, user=None):
        return self.rotate_([SESS + old, SESS + new, ALL], [old, new, USERS, 10000, int(user is not None), user or ""])

    def destroy(self, h, user=""):
        return self.destroy_([SESS + h, ALL], [h, USERS, user])

    def list(self, user, most=100):
        return self.list_([USERS + user, ALL], [SESS, most])

    def destroy_user(self, user, but="", most=500):
        return self.destroy_user_([USERS + user, ALL], [SESS, but, most])

    def clean(self, most):
        return self.clean_([ALL], [most])

    def index(self, key):
        """{member: score} of an index, whose own end is checked: that of its last member, a minute later if it is that of all."""
        words = self.t.cmd("ZRANGE", key, 0, -1, "WITHSCORES")
        got = {m.decode(): int(s) for m, s in zip(words[::2], words[1::2])}
        if got:
            equal(self.t.cmd("PEXPIRETIME", key), max(got.values()) + (60000 if key == ALL else 0), key)
        return got

    def ends(self, h, at):
        """The session h ends at that time, in its hash, its own life and the index."""
        equal(self.t.cmd("HGET", SESS + h, "exp"), b"%d" % at)
        equal(self.t.cmd("PEXPIRETIME", SESS + h), at - 1)
        equal(self.index(ALL)[h], at)


def made(w):
    t, now = w.t, w.start
    equal(w.create("a", "u", 1000, 0, "x", "1", "y", '"why"'), [1, now, now + 1000, 0])
    equal(w.create("b", "u", 5000, 2000), [1, now, now + 2000, now + 2000])
    equal(w.create("c", "", 3000, 9000), [1, now, now + 3000, now + 9000])
    equal(w.create("a", "u", 1000), [-1])
    words = t.cmd("HGETALL", SESS + "a")
    equal(dict(zip(words[::2], words[1::2])), {
        b"v": b"1", b"uid": b"u", b"created": b"%d" % now, b"seen": b"%d" % now, b"abs": b"0", b"idle": b"1000",
        b"exp": b"%d" % (now + 1000), b"d:x": b"1", b"d:y": b'"why"'})
    equal(w.index(ALL), {"a": now + 1000, "b": now + 2000, "c": now + 3000})
    equal(w.index(USERS + "u"), {"a": now + 1000, "b": now + 2000})
    equal(t.cmd("EXISTS", USERS), 0, "no index of those without a user")
    for h, at in (("a", now + 1000), ("b", now + 2000), ("c", now + 3000)):
        w.ends(h, at)
    # who makes one more takes out of the user's index what has expired
    t.now = now + 1000
    w.create("d", "u", 50)
    equal(w.index(USERS + "u"), {"b": now + 2000, "d": now + 1050})
    t.same()


def touched(w):
    t, now = w.t, w.start
    w.create("a", "u", 1000, 1500)
    w.create("b", "", 1000)
    t.now = now + 100
    equal(w.touch("a"), [1, now + 100, now + 1000, now], "a tenth is not more than a tenth")
    w.ends("a", now + 1000)
    t.now = now + 101
    equal(w.touch("a"), [1, now + 101, now + 1101, now + 101])
    w.ends("a", now + 1101)
    equal(w.index(USERS + "u"), {"a": now + 1101})
    equal(w.touch("b"), [1, now + 101, now + 1101, now + 101])
    equal(t.cmd("HGET", SESS + "a", "v"), b"1", "to look is no change")
    t.now = now + 900
    equal(w.touch("a")[2], now + 1500, "not beyond the absolute end")
    equal(w.touch("b", 200), [1, now + 900, now + 1101, now + 101], "EXTEND never shortens")
    equal(w.touch("b", 5000)[2], now + 5900)
    equal(w.touch("a", 5000)[2], now + 1500)
    t.now = now + 1000
    equal(w.touch("b")[2], now + 5900, "a touch never shortens")
    t.now = now + 1500
    equal(w.touch("a"), [0], "at its end it is gone")
    equal(w.touch("nobody"), [0])
    equal(t.cmd("EXISTS", SESS + "nobody"), 0)
    w.rotate("b", "b2")
    equal(w.touch("b"), [2])
    t.same()


def updated(w):
    t, now = w.t, w.start
    w.create("a", "u", 1000, 0, "x", "1", "y", "2")
    equal(w.update("a", "x", "[3]", "z", "{}"), [1, now, now + 1000, 2])
    equal(t.cmd("HMGET", SESS + "a", "d:x", "d:y", "d:z"), [b"[3]", b"2", b"{}"])
    equal(w.update("a", "x", "", "never", "", version=2), [1, now, now + 1000, 3])
    equal(t.cmd("HMGET", SESS + "a", "d:x", "d:y"), [None, b"2"])
    equal(w.update("a", "x", "9", version=2), [3, 3])
    equal(t.cmd("HGET", SESS + "a", "d:x"), None)
    equal(w.update("a", "p", "1", "q", "1", most=3), [4], "y, z, p and q are four")
    equal(w.update("a", "p", "1", "p", "2", "y", "", most=2), [1, now, now + 1000, 4], "z and p are two")
    equal(w.update("a", "p", "1", "z", "", "z", "1", most=2)[3], 5)
    equal(w.update("a", "z", "1", "z", "", most=1)[3], 6)
    equal(t.cmd("HGETALL", SESS + "a")[14:], [b"d:p", b"1"])
    t.now = now + 500
    equal(w.update("a", "x", "1"), [1, now + 500, now + 1500, 7])
    w.ends("a", now + 1500)
    equal(w.index(USERS + "u"), {"a": now + 1500})
    w.create("e", "", 1000, 1200)
    t.now = now + 1400
    equal(w.update("e", "x", "1")[2], now + 1700, "not beyond the absolute end")
    t.now = now + 1500
    equal(w.update("a", "x", "1"), [0])
    equal(w.update("nobody", "x", "1"), [0])
    equal(t.cmd("EXISTS", SESS + "nobody"), 0, "an update never makes one")
    w.rotate("e", "e2")
    equal(w.update("e", "x", "1"), [2])
    t.same()


def rotated(w):
    t, now = w.t, w.start
    w.create("a", "u", 1000, 7000, "x", "1")
    w.update("a", "x", "2")
    t.now = now + 10
    equal(w.rotate("a", "b"), [1, now + 10, now + 1000, 2, now + 7000, b"u"])
    equal(t.cmd("HGETALL", SESS + "a"), [b"rot", b"%d" % (now + 10)])
    t.pttl(SESS + "a", 8000, 10000)
    equal(t.cmd("HGET", SESS + "b", "d:x"), b"2")
    w.ends("b", now + 1000)
    equal(w.index(ALL), {"b": now + 1000})
    equal(w.index(USERS + "u"), {"b": now + 1000})
    equal(w.rotate("a", "c"), [2], "once")
    equal(w.rotate("nobody", "c"), [0])
    w.create("taken", "", 1000)
    equal(w.rotate("b", "taken"), [-1])
    equal(t.cmd("HGET", SESS + "b", "d:x"), b"2")
    # to another user, to none, and from none
    w.create("v1", "v", 50)
    t.now = now + 100
    equal(w.rotate("b", "c", "v")[5], b"v")
    equal(t.cmd("EXISTS", USERS + "u"), 0)
    equal(w.index(USERS + "v"), {"c": now + 1000}, "v1 has expired")
    equal(w.rotate("c", "d", "")[5], b"")
    equal(t.cmd("EXISTS", USERS + "v"), 0)
    equal(w.rotate("d", "e", "w")[5], b"w")
    equal(w.index(USERS + "w"), {"e": now + 1000})
    equal(t.cmd("HGET", SESS + "e", "uid"), b"w")
    t.now = now + 1000
    equal(w.rotate("e", "f"), [0])
    equal(t.cmd("EXISTS", SESS + "f"), 0)
    t.same()


def destroyed(w):
    t, now = w.t, w.start
    for h, user, idle in (("a", "u", 1000), ("b", "u", 3000), ("c", "", 2000)):
        w.create(h, user, idle)
    equal(w.destroy("b"), 1)
    equal(w.index(ALL), {"a": now + 1000, "c": now + 2000}, "and the indexes end sooner")
    equal(w.index(USERS + "u"), {"a": now + 1000})
    equal(w.destroy("b"), 0)
    equal(w.destroy("c"), 1)
    equal(w.destroy("a", "v"), 0, "whose it is not")
    equal(t.cmd("EXISTS", SESS + "a"), 1)
    w.rotate("a", "a2")
    equal(w.destroy("a"), 0)
    equal(t.cmd("EXISTS", SESS + "a"), 1, "the old id still says that there is another")
    equal(w.destroy("a2", "u"), 1)
    t.cmd("DEL", SESS + "a")
    equal(t.same(), {}, "nothing is left")


def of_user(w):
    t, now = w.t, w.start
    for i in range(5):
        w.create(f"a{i}", "u", 1000 * (i + 1), 6000 if i else 0)
    w.create("v", "v", 1000)
    equal(w.list("u", 2), [now, [b"a4", now, now, now + 5000, now + 6000, 1], [b"a3", now, now, now + 4000, now + 6000, 1]])
    t.cmd("DEL", SESS + "a4")
    equal([s[0] for s in w.list("u")[1:]], [b"a3", b"a2", b"a1", b"a0"], "what is not there is not listed")
    check("a4" not in w.index(ALL) and "a4" not in w.index(USERS + "u"), "nor kept in an index")
    t.now = now + 1000
    equal([s[0] for s in w.list("u")[1:]], [b"a3", b"a2", b"a1"], "a0 has expired")
    equal(sorted(w.index(USERS + "u")), ["a1", "a2", "a3"])
    equal(w.list("v"), [now + 1000])
    equal(t.cmd("EXISTS", USERS + "v"), 0)
    equal(w.list("nobody"), [now + 1000])

    equal(w.destroy_user("u", "a2", 1), [1, 1])
    equal(w.destroy_user("u", "a2", 1), [1, 0], "a2 does not count as more")
    equal(sorted(w.index(USERS + "u")), ["a2"])
    equal(w.destroy_user("u", "a2"), [0, 0])
    equal(w.destroy_user("u", "elsewhere"), [1, 0])
    equal(w.destroy_user("u"), [0, 0])
    equal(t.cmd("EXISTS", SESS + "a2", USERS + "u"), 0)
    w.create("x", "u", 10)
    w.create("y", "u", 5000)
    t.now = now + 2000
    equal(w.destroy_user("u"), [1, 0], "one has expired")
    equal([h for h in w.index(ALL) if h in ("x", "y")], ["x"], "which clean-up shall count")
    t.same()


def cleaned(w):
    t, now = w.t, w.start
    equal(w.clean(500), [0, 0, 0])
    for i in range(7):
        w.create(f"a{i}", "", 1000 * (i + 1))
    t.now = now + 3000
    equal(w.clean(0), [0, 3, 4])
    equal(w.clean(2), [2, 1, 4])
    equal(w.clean(500), [1, 0, 4])
    equal(w.clean(500), [0, 0, 4])
    equal(sorted(w.index(ALL)), ["a3", "a4", "a5", "a6"])
    t.now = now + 7000
    equal(w.clean(500), [4, 0, 0])
    equal(t.cmd("EXISTS", ALL), 0)


def main(t):
    for part in (made, touched, updated, rotated, destroyed, of_user, cleaned):
        t.cmd("FLUSHALL")
        part(World(t))
    # with the real time, to its end
    t.now = None
    t.cmd("FLUSHALL")
    w = World(t)
    t.now = None
    now, end = w.create_([SESS + "r", ALL, USERS + "u"], ["r", "u", 60, 0], near=5000)[1:3]
    equal(end - now, 60)
    luatest.wait_until(lambda: all(c.cmd("EXISTS", SESS + "r", USERS + "u") == 0 for c in t.both), "the session and its index to expire")
    t.pttl(ALL, 50000, 60000)


luatest.run(main)
