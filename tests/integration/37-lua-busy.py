#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Scripts that take long on the memory plugin, with one worker and with three: others wait, then hear BUSY; SCRIPT KILL
ends what has not written, pcall() or not, and of one's own project only; the agent itself goes on; it stops all the same."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import Purserd, Redis, check, equal, wait_until

CONFIG = """[agent]
mode = development
[backend main]
plugin = memory
script_time_limit = {limit}
[project one]
isolation = off
[project two]
"""
FOREVER = ("while true do end", "while true do pcall(function() while true do end end) end",
           "local function f() return f() end f()", "coroutine.wrap(function() while true do end end)()",
           "while true do xpcall(function() while true do end end, function() while true do end end) end",
           "table.sort({1, 2, 3}, function() while true do end end)",
           "string.gsub('x', 'x', function() while true do end end)",
           "local t = {} for i = 1, 100000 do t[i] = i end while true do table.sort(t) end",
           "while true do string.rep('x', 1e6) end")


def enter(p, project):
    c = p.client()
    c.cmd("PURSER.PROJECT", project)
    return c


def busy(c):
    c.send("GET", "a")
    return getattr(c.read(), "word", None) == "BUSY"


def killed(p, direct):
    one, kill, two = enter(p, "one"), enter(p, "one"), enter(p, "two")
    others = [enter(p, "one") for _ in range(6)]
    for script in FOREVER:
        one.send("EVAL", script, 0)
        wait_until(lambda: busy(kill), "BUSY")
        texts = {str(c.error("GET", "a")) for c in others}
        equal(len(texts), 1)
        for line in (["SET", "a", 1], ["EVAL", "return 1", 0], ["SCRIPT", "EXISTS", "x"], ["SCAN", 0], ["BLPOP", "l", 0], ["MGET", "a", "b"]):
            equal(kill.error(*line).word, "BUSY", line)
        got = kill.pipeline([["MULTI"], ["SET", "a", 1], ["EXEC"]])
        check(got[-1].word in ("BUSY", "EXECABORT"), got)
        equal(kill.cmd("PING"), "PONG")
        check(p.http("GET", "/healthz").status == 200, "the agent is alive")
        equal(two.error("SCRIPT", "KILL").word, "NOTBUSY", "another project's")
        equal(kill.error("FUNCTION", "KILL").word, "BUSY")
        equal(kill.cmd("SCRIPT", "KILL"), "OK")
        e = one.read()
        check("Script killed by user with SCRIPT KILL" in e.text, e)
        equal(kill.cmd("SET", "a", 1), "OK")
        equal(kill.error("SCRIPT", "KILL").word, "NOTBUSY")
    # word for word as Redis
    script = FOREVER[0]
    for who, second in ((direct.client(), direct.client()), (one, kill)):
        who.send("EVAL", script, 0)
        wait_until(lambda: busy(second), "BUSY")
        texts = [str(second.error("GET", "a")), str(second.error("FUNCTION", "KILL")), second.cmd("SCRIPT", "KILL"), str(who.read()), str(second.error("SCRIPT", "KILL"))]
        if who is one:
            equal(texts, want)
        want = texts


def writer(p):
    """What has written is not killed; what it wrote is seen whole."""
    one, other = enter(p, "one"), enter(p, "one")
    one.send("EVAL", "redis.call('SET', 'first', 1) while redis.call('TIME')[1] - ARGV[1] < 2 do end redis.call('SET', 'second', 1) return 'done'", 0,
             int(other.cmd("TIME")[0]))
    wait_until(lambda: busy(other), "BUSY")
    equal(other.error("SCRIPT", "KILL").word, "UNKILLABLE")
    equal(one.read(), b"done")
    equal(other.cmd("MGET", "first", "second"), [b"1", b"1"])
    # nobody waits for it any more: it runs to its end
    gone = enter(p, "one")
    gone.send("EVAL", "redis.call('SET', 'third', 1) while redis.call('TIME')[1] - ARGV[1] < 2 do end redis.call('SET', 'fourth', 1)", 0,
              int(other.cmd("TIME")[0]))
    wait_until(lambda: busy(other), "BUSY")
    gone.close()
    wait_until(lambda: not busy(other), "its end")
    equal(other.cmd("MGET", "third", "fourth"), [b"1", b"1"])


def waits(p):
    """Below the limit nobody hears of it: commands wait, each client's in order, large ones too, and transactions."""
    one = enter(p, "one")
    others = [enter(p, "one") for _ in range(6)]
    large = "x" * 100000
    for n in range(5):
        one.send("EVAL", "local n = 0 while n < 4000000 do n = n + 1 end redis.call('SET', 'k', ARGV[1]) return n", 0, n)
        for i, c in enumerate(others):
            c.raw(b"".join(harness.encode(*w) for w in (["RPUSH", f"l{i}", large], ["RPUSH", f"l{i}", "b"], ["GET", "k"], ["MULTI"], ["LLEN", f"l{i}"],
                                                        ["EVAL", "local n = 0 while n < 3000000 do n = n + 1 end return redis.call('LLEN', ARGV[1])", 0, f"l{i}"], ["EXEC"],
                                                        ["BLPOP", f"l{i}", 0])))
        equal(one.read(), 4000000)
        for i, c in enumerate(others):
            equal([c.read() for _ in range(2)], [2 * n + 1 - n, 2 * n + 2 - n])
            check(c.read() is not None or n == 0, "GET")
            equal([c.read() for _ in range(3)], ["OK", "QUEUED", "QUEUED"])
            equal(c.read(), [n + 2, n + 2])
            check(c.read()[0] == f"l{i}".encode(), "BLPOP")


def used(c):
    return int(c.cmd("INFO", "memory").decode().split("used_memory:")[1].split("\r\n")[0])


def watching(p):
    """Who watches, and leaves or says EXEC while a script runs for ever, stops no worker."""
    one, kill = enter(p, "one"), enter(p, "one")
    others = [enter(p, "one") for _ in range(6)]
    equal(kill.cmd("EVAL", "return 1", 0), 1)
    kill.cmd("DEL", "a", "b")
    before = used(kill)
    watchers = [enter(p, "one") for _ in range(12)]
    for w in watchers:
        equal(w.cmd("WATCH", "a", "b", "c", "d"), "OK")
    one.send("EVAL", FOREVER[0], 0)
    wait_until(lambda: busy(kill), "BUSY")
    for w in watchers[::2]:
        w.close()
    for w in watchers[1::2]:
        got = w.pipeline([["MULTI"], ["SET", "a", 1], ["EXEC"]])
        check(got[-1].word in ("BUSY", "EXECABORT"), got)
    for c in others:
        equal(c.error("GET", "a").word, "BUSY")
    equal(kill.cmd("SCRIPT", "KILL"), "OK")
    check("Script killed" in one.read().text)
    for w in watchers[1::2]: # it watches no more
        equal(w.cmd("GET", "a"), None)
        w.cmd("WATCH", "a")
    equal(kill.cmd("SET", "a", 1), "OK")
    for w in watchers[1::2]:
        equal(w.pipeline([["MULTI"], ["PING"], ["EXEC"]])[-1], None)
    kill.cmd("DEL", "a")
    wait_until(lambda: used(kill) <= before, "what was watched to be forgotten")


def main():
    with Redis(**{}) as redis:
        with redis.client() as d:
            d.cmd("CONFIG", "SET", "busy-reply-threshold", 200)
        for workers in (1, 3):
            with Purserd({"agent.workers": workers}, config=CONFIG.format(limit="200ms")) as p:
                killed(p, redis)
                writer(p)
                watching(p)
            with Purserd({"agent.workers": workers}, config=CONFIG.format(limit="1h")) as p:
                waits(p)
            # it stops in the middle of one
            with Purserd({"agent.workers": workers, "agent.drain_timeout": "100ms"}, config=CONFIG.format(limit="50ms")) as p:
                c, d = enter(p, "one"), enter(p, "one")
                c.send("EVAL", FOREVER[1], 0)
                wait_until(lambda: busy(d), "BUSY")
            print(workers, flush=True)


harness.run(main)
