#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""stream_lag.lua, stream_dead.lua: groups of a stream, on redis and on memory."""

import luatest
from luatest import check, equal

NOW = 1700000000000


def deliver(t, group, consumer, ids, times):
    """The entries are pending, delivered so often."""
    for i in ids:
        t.cmd("XCLAIM", "s", group, consumer, 0, i, "RETRYCOUNT", times, "FORCE", "JUSTID")


def lag(t):
    ask = t.script("stream_lag")
    ask.error(["none"], [100])
    t.now = NOW
    for i in range(5):
        t.cmd("XADD", "s", f"{NOW - 1000 + i}-0", "n", i)
    equal(ask(["s"], [100]), [5, 0])
    t.cmd("XGROUP", "CREATE", "s", "g", 0)
    t.cmd("XGROUP", "CREATE", "s", "h", "$")
    got = ask(["s"], [100])
    equal(got, [5, 2, [b"g", 0, 0, b"0-0", 5, b"", -1, -1, -1], [b"h", 0, 0, b"%d-0" % (NOW - 996), 0, b"", -1, -1, -1]])
    t.cmd("XREADGROUP", "GROUP", "g", "c", "COUNT", 2, "STREAMS", "s", ">")
    got = ask(["s"], [100], near=2000)
    equal(got[2][:7], [b"g", 1, 2, b"%d-0" % (NOW - 999), 3, b"%d-0" % (NOW - 1000), 1000])
    equal(got[2][8], 1)
    # no more groups than were asked for; an id that is no time
    equal(len(ask(["s"], [1], near=2000)), 3)
    t.cmd("XADD", "t", "18000000000000000-0", "a", 1)
    t.cmd("XGROUP", "CREATE", "t", "g", 0)
    t.cmd("XREADGROUP", "GROUP", "g", "c", "STREAMS", "t", ">")
    equal(ask(["t"], [100], near=2000)[2][5:7], [b"18000000000000000-0", -1])
    # after a deletion in the middle nobody knows the lag
    t.cmd("XADD", "u", "1-0", "a", 1)
    t.cmd("XADD", "u", "2-0", "a", 1)
    t.cmd("XADD", "u", "3-0", "a", 1)
    t.cmd("XGROUP", "CREATE", "u", "g", "1-0")
    t.cmd("XDEL", "u", "2-0")
    equal(ask(["u"], [100])[2][4], None)
    t.cmd("SET", "string", 1)
    ask.error(["string"], [100])


def dead(t):
    ask = t.script("stream_dead")
    t.cmd("DEL", "s")
    ids = [f"{i}-1" for i in range(1, 8)]
    for i in ids:
        t.cmd("XADD", "s", i, "n", i, "bin\0ary", "\r\n")
    t.cmd("XGROUP", "CREATE", "s", "g", 0)
    equal(ask(["s", "dead"], ["g", "orders", 3, 0, "-", 10]), [0, 0, 0, b""])
    deliver(t, "g", "c", ids[:3], 3)
    deliver(t, "g", "d", ids[3:6], 4)
    equal(ask(["s", "dead"], ["g", "orders", 3, 60000, "-", 10]), [0, 0, 0, b""])  # none is idle
    t.cmd("XDEL", "s", ids[4])
    equal(ask(["s", "dead"], ["g", "orders", 3, 0, "-", 4]), [1, 0, 4, b"4-1"])
    equal(ask(["s", "dead"], ["g", "orders", 3, 0, "(4-1", 4]), [1, 1, 2, b""])
    equal(ask(["s", "dead"], ["g", "orders", 3, 0, "-", 10]), [0, 0, 3, b""])
    for c in t.both:
        got = [e[1] for e in c.cmd("XRANGE", "dead", "-", "+")]
        equal(got, [[b"n", i, b"bin\0ary", b"\r\n", b"purser.stream", b"orders", b"purser.id", i, b"purser.group", b"g",
                     b"purser.consumer", b"d", b"purser.deliveries", b"4"] for i in (b"4-1", b"6-1")])
    equal([e[0] for e in t.cmd("XPENDING", "s", "g", "-", "+", 10, near=2000)], [b"1-1", b"2-1", b"3-1"])
    check(t.cmd("XLEN", "s") == 6)
    # nothing is acknowledged when the target cannot take it
    t.cmd("SET", "string", 1)
    ask.error(["s", "string"], ["g", "orders", 1, 0, "-", 10])
    ask.error(["s", "dead"], ["nogroup", "orders", 1, 0, "-", 10])
    equal(len(t.cmd("XPENDING", "s", "g", "-", "+", 10, near=2000)), 3)


def main(t):
    lag(t)
    dead(t)


luatest.run(main)
