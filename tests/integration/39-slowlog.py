#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""SLOWLOG and LATENCY: what was slow in one project, as that project's clients sent it, and nothing of another's."""

import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import check, equal

CONFIG = """
[agent]
mode = development
fault_injection = yes
slowlog_max_len = 5
slowlog_slower_than = 20ms
[backend main]
plugin = {plugin}
{url}
[project shop]
[project blog]
[project all]
isolation = off
"""


def client(p, project, resp=2):
    c = p.client()
    c.cmd("HELLO", resp, "AUTH", project, "x")
    return c


def entries(c, *n):
    got = c.cmd("SLOWLOG", "GET", *n)
    for e in got:
        equal(len(e), 6)
        check(isinstance(e[0], int) and abs(e[1] - time.time()) < 300 and e[2] >= 20000, e)
        equal(e[4], b"unix:%d uid:%d" % (os.getpid(), os.getuid()))
    return got


def slow(p, resp):
    c, other, op = client(p, "shop", resp), client(p, "blog", resp), client(p, "all")
    c.cmd("CLIENT", "SETNAME", "me")
    op.cmd("PURSER.FAULT", "ADD", "DELAY", 40, "PROJECT", "shop")
    c.cmd("SET", "k", "v" * 300)
    c.cmd("MSET", *[x for i in range(40) for x in (f"a{i}", i)])
    c.cmd("SCAN", 0, "MATCH", "a*", "COUNT", 5)
    c.cmd("KEYS", "a1*")
    c.cmd("SORT", "none", "BY", "w_*", "GET", "#", "GET", "o_*")
    equal(c.cmd("SLOWLOG", "LEN"), 5)
    got = entries(c)
    words = [e[3] for e in got]
    equal([w[0] for w in words], [b"SORT", b"KEYS", b"SCAN", b"MSET", b"SET"])
    equal(words[0], [b"SORT", b"none", b"BY", b"w_*", b"GET", b"#", b"GET", b"o_*"])
    equal(words[1], [b"KEYS", b"a1*"])
    equal(words[2], [b"SCAN", b"0", b"MATCH", b"a*", b"COUNT", b"5"])
    equal((len(words[3]), words[3][-1]), (32, b"... (50 more arguments)"))
    equal(words[4], [b"SET", b"k", b"v" * 128 + b"... (172 more bytes)"])
    check(all(e[5] == b"me" for e in got) and [e[0] for e in got] == sorted((e[0] for e in got), reverse=True), got)
    check(b"proj:" not in repr(got).encode(), got)
    cursor = c.cmd("SCAN", 0, "COUNT", 1)[0]
    if cursor != b"0":
        c.cmd("SCAN", cursor)
        equal(entries(c, 1)[0][3][1], cursor, "a cursor is the client's")
    equal(len(entries(c, 2)), 2)
    equal(len(entries(c, -1)), 5, "the oldest goes")
    equal(c.error("SLOWLOG", "GET", -2).text, "ERR count should be greater than or equal to -1")
    equal(c.error("SLOWLOG", "GET", "x").text, "ERR count should be greater than or equal to -1")
    equal((other.cmd("SLOWLOG", "GET"), other.cmd("SLOWLOG", "LEN"), other.cmd("LATENCY", "LATEST")), ([], 0, []))
    latency(c, other)
    equal((c.cmd("SLOWLOG", "RESET"), c.cmd("SLOWLOG", "LEN"), entries(c)), ("OK", 0, []))
    equal(p.http("POST", "/v1/command", ["SLOWLOG", "LEN"], {"Purser-Project": "shop"}).json(), {"result": 0})
    for one in op.cmd("PURSER.FAULT", "LIST"):
        op.cmd("PURSER.FAULT", "CLEAR", one[1] if isinstance(one, list) else one[b"id"])
    c.cmd("GET", "k")
    equal(c.cmd("SLOWLOG", "LEN"), 0, "what is not slow is not there")
    for x in (c, other, op):
        x.close()


def scripts(p, redis):
    """As the client sent them: without what keeps them in the project (a prelude, and the prefix behind the words)."""
    c, op = client(p, "shop"), client(p, "all")
    c.cmd("EVAL", "return 1", 0)  # on redis their user is made now
    op.cmd("PURSER.FAULT", "ADD", "DELAY", 40, "PROJECT", "shop")
    c.cmd("SLOWLOG", "RESET")
    for _ in range(2):
        c.cmd("EVAL", "return {KEYS[1], ARGV[1]}", 1, "k", "arg")
    sha = c.cmd("SCRIPT", "LOAD", "return ARGV[1]")
    c.cmd("EVALSHA", sha, 0, "arg")
    words = [e[3] for e in entries(c)]
    equal(words, [[b"EVALSHA", b"(script)", b"0", b"arg"], [b"SCRIPT", b"LOAD", b"(script)"],
                  *[[b"EVAL", b"(script)", b"1", b"k", b"arg"]] * 2], redis)
    op.cmd("PURSER.FAULT", "CLEAR")
    c.close()
    op.close()


def latency(c, other):
    latest = {e[0]: e for e in c.cmd("LATENCY", "LATEST")}
    equal(set(latest), {b"command", b"fast-command"} if b"fast-command" in latest else {b"command"})
    name, when, last, worst = latest[b"command"]
    check(abs(when - time.time()) < 300 and 40 <= last <= worst, latest)
    history = c.cmd("LATENCY", "HISTORY", "command")
    check(history and all(ms >= 20 for _, ms in history) and len({t for t, _ in history}) == len(history), history)
    equal(max(ms for _, ms in history), worst)
    equal((c.cmd("LATENCY", "HISTORY", "nope"), other.cmd("LATENCY", "HISTORY", "command")), ([], []))
    graph = c.cmd("LATENCY", "GRAPH", "command").decode()
    check(re.match(r"command - high \d+ ms, low \d+ ms \(all time high %d ms\)\n-{80}\n" % worst, graph), graph)
    equal(c.error("LATENCY", "GRAPH", "nope").text, "ERR No samples available for event 'nope'")
    equal(other.error("LATENCY", "GRAPH", "command").text, "ERR No samples available for event 'command'")
    check("slow moments of this project" in c.cmd("LATENCY", "DOCTOR").decode())
    check("No request of this project" in other.cmd("LATENCY", "DOCTOR").decode())
    h = c.cmd("LATENCY", "HISTOGRAM", "mset", "nosuch")
    h = h if isinstance(h, dict) else dict(zip(h[::2], h[1::2]))
    equal(list(h), [b"mset"])
    m = h[b"mset"] if isinstance(h[b"mset"], dict) else dict(zip(h[b"mset"][::2], h[b"mset"][1::2]))
    usec = m[b"histogram_usec"] if isinstance(m[b"histogram_usec"], dict) else dict(zip(m[b"histogram_usec"][::2], m[b"histogram_usec"][1::2]))
    check(max(usec.values()) == m[b"calls"] >= 1 and min(usec) > 33000, m)
    equal(other.cmd("LATENCY", "HISTOGRAM", "mset"), type(other.cmd("LATENCY", "HISTOGRAM", "mset"))())
    every = c.cmd("LATENCY", "HISTOGRAM")
    check(b"client|setname" in every and b"set" in every, list(every))
    check(b"client|setname" in c.cmd("LATENCY", "HISTOGRAM", "client"))
    equal(c.cmd("LATENCY", "RESET", "nope"), 0)
    check(c.cmd("LATENCY", "RESET") >= 1)
    equal((c.cmd("LATENCY", "LATEST"), c.cmd("LATENCY", "RESET", "command")), ([], 0))


def main():
    with harness.Redis() as redis:
        for plugin in ("memory", "redis"):
            config = CONFIG.format(plugin=plugin, url=f"url = {redis.url}" if plugin == "redis" else "")
            with harness.Purserd(config=config) as p:
                for resp in (2, 3):
                    slow(p, resp)
                scripts(p, plugin)


harness.run(main)
