#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cache_setm.lua, cache_mset.lua: values with metadata, values of one life, on redis and on memory."""

import luatest
from luatest import check, equal

NOW = 1700000000000
Q = "0123456789abcdef"


def main(t):
    setm, mset = t.script("cache_setm"), t.script("cache_mset")
    t.now = NOW
    equal(setm(["k", "r"], ["v", "1.7a38d8cbd20d9932", Q, "-", '{"a":1}']), b"OK")
    equal(t.cmd("GET", "k"), b"v")
    equal(t.cmd("GET", "r"), b'1 1.7a38d8cbd20d9932 ' + Q.encode() + b' 0 0 %d 0 0 - 0 0 0 0 7\n{"a":1}' % NOW)
    t.pttl("k", -1, -1)
    t.pttl("r", -1, -1)
    equal(setm(["k", "r"], ["", "0.da39a3ee5e6b4b0d", Q, "5000", "[]"]), b"OK")
    t.pttl("k", 4000, 5000)
    t.pttl("r", 5000, 6000)
    equal(t.cmd("GET", "r"), b"1 0.da39a3ee5e6b4b0d " + Q.encode() + b" 0 %d %d 0 0 - 0 0 0 0 2\n[]" % (NOW + 5000, NOW))
    # without a life again, both live on; a value of another type is replaced as SET does
    t.cmd("DEL", "k")
    t.cmd("RPUSH", "k", "x")
    equal(setm(["k", "r"], ["v", "1.7a38d8cbd20d9932", Q, "-", "1"]), b"OK")
    t.pttl("k", -1, -1)
    t.pttl("r", -1, -1)

    equal(mset(["a", "b", "a"], ["60000", "1", "", "3"]), 3)
    equal(t.cmd("MGET", "a", "b"), [b"3", b""])
    t.pttl("a", 59000, 60000)
    t.pttl("b", 59000, 60000)
    many = [f"m{i}" for i in range(9000)]
    equal(mset(many, ["60000", *("v" for _ in many)]), 9000)
    mset.error(["a"], ["no number", "1"])
    check(t.cmd("GET", "a") == b"3")


luatest.run(main)
