#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""luatest finds what it is there for: replies that differ, returns that no call reached, stores that differ."""

import os

import harness
import luatest
from luatest import Failure, check, equal

SCRIPT = """-- KEYS: 1   ARGV: the word to return; don't mind 'return' here
local t = redis.call('TIME')
if ARGV[1] == 'time' then return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000) end
if ARGV[1] == 'bad' then return redis.error_reply('BAD return of ' .. ARGV[1]) end
if ARGV[1] == 'never' then
    return 1
end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
"""


def fails(f, said):
    try:
        f()
    except Failure as e:
        check(said in str(e), e)
        return
    raise Failure(f"nothing was wrong, want {said!r}")


def main(t):
    s = t.script("toy")
    equal(s(["k"], ["x"]), b"x")
    equal(s(["k"], ["y"]), b"y")
    equal(s.error(["k"], ["bad"]).text, "BAD return of bad")
    equal(t.same(), {b"k": ("string", b"y", False)})
    t.now = 1700000000123
    equal(s(["k"], ["time"]), 1700000000123)
    t.now = None
    check(abs(s(["k"], ["time"], near=2000) - 1700000000123) > 2000, "the real time")
    t.memory.cmd("SET", "k", "z")
    fails(t.same, "redis holds")
    fails(lambda: t.cmd("GET", "k"), "redis says")
    if t.marking:
        equal(s.missed(), [6])
        s(["k"], ["never"])


luatest.DIR = os.path.join(harness.tmp(), "lua")
os.mkdir(luatest.DIR)
with open(os.path.join(luatest.DIR, "toy.lua"), "w", encoding="utf-8") as out:
    out.write(SCRIPT)
luatest.run(main)
