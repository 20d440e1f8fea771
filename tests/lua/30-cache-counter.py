#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cache_incrby.lua: a counter gets its expiry when it is created, and no other time."""

import luatest
from luatest import equal


def main(t):
    add = t.script("cache_incrby")
    equal(add(["n"], [5, 60000]), b"5")
    t.pttl("n", 50000, 60000)
    equal(add(["n"], [-7, 10]), b"-2")
    t.pttl("n", 50000, 60000)
    t.cmd("SET", "for-ever", 1)
    equal(add(["for-ever"], [1, 1000]), b"2")
    equal(t.cmd("PTTL", "for-ever"), -1)
    equal(add(["large"], ["9007199254740993", 60000]), b"9007199254740993")
    for key, delta in (("n", "9223372036854775807"), ("n", "-9223372036854775807")):
        add([key], [delta, 60000])
    add.error(["n"], ["-9223372036854775807", 1000])
    t.cmd("RPUSH", "list", "x")
    add.error(["list"], [1, 1000])
    t.cmd("SET", "text", "x")
    add.error(["text"], [1, 1000])
    add.error(["nothing"], ["x", 1000])
    equal(t.cmd("EXISTS", "nothing"), 0)
    t.same()


luatest.run(main)
