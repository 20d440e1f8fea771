#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The road of a feature's command, on CACHE.INCRBY: both backends, names, scripts that the store loses, order, accounts,
roles, what is refused, and what happens when the store or the client goes away."""

import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import Purserd, Redis, RespError, check, equal, wait_until

CONFIG = """[agent]
mode = development
[backend main]
plugin = redis
url = {url}
[backend mem]
plugin = memory
[project a]
backend = main
[project b]
backend = mem
databases = 2
[project narrow]
backend = mem
role = narrow
[role narrow]
permissions = redis:read redis:write
keys = mine:*
"""


def enter(p, project, resp=2):
    c = p.client()
    c.cmd("PURSER.PROJECT", project)
    if resp == 3:
        c.cmd("HELLO", 3)
    return c


def commands(c):
    equal(c.cmd("CACHE.INCRBY", "n", 5, 60000), 5)
    equal(c.cmd("cache.incrby", "n", "-2", 1), 3)
    check(50000 < c.cmd("PTTL", "n") <= 60000)
    equal(c.cmd("CACHE.INCRBY", "signed", "+5", "+060000"), 5)
    check(50000 < c.cmd("PTTL", "signed") <= 60000)
    equal(c.error("CACHE.INCRBY", "forever", 1, 2**63 - 1).text, "ERR invalid expire time in 'cache.incrby' command")
    equal(c.cmd("EXISTS", "forever"), 0, "a counter without an end")
    equal(c.cmd("DEL", "signed"), 1)
    equal(c.cmd("GET", "n"), b"3")
    equal(c.cmd("CACHE.INCRBY", "large", "9007199254740993", 60000), 9007199254740993)
    c.cmd("RPUSH", "list", "x")
    equal(c.error("CACHE.INCRBY", "list", 1, 1000).word, "WRONGTYPE")
    for words in (("n", "x", 1000), ("n", 1, "x"), ("n", 1, 0), ("n", 1, -5), ("n", 1), ("n", 1, 2, 3), ("n", "9" * 19, 1000)):
        equal(c.error("CACHE.INCRBY", *words).word, "ERR", words)
    equal(c.cmd("GET", "n"), b"3")
    equal(c.cmd("MULTI"), "OK")
    error = c.error("CACHE.INCRBY", "n", 1, 1000)
    check(error.word == "UNSUPPORTED" and "several steps" in error.text, error)
    equal(c.error("EXEC").word, "EXECABORT")


def pipelined(c):
    """A client's commands run in the order in which it sent them."""
    c.cmd("DEL", "o")
    lines = []
    for i in range(200):
        lines += [("CACHE.INCRBY", "o", 1, 60000), ("GET", "o"), ("INCR", "o")]
    want = []
    for i in range(200):
        want += [2 * i + 1, b"%d" % (2 * i + 1), 2 * i + 2]
    equal(c.pipeline(lines), want)


def healed(p, redis, direct):
    """A store that has lost its scripts gets them again, and the client sees nothing of it."""
    with enter(p, "a") as c:
        for flush in range(20):
            direct.cmd("SCRIPT", "FLUSH")
            equal(c.cmd("CACHE.INCRBY", "healed", 1, 60000), flush + 1)
        redis.stop()
        redis.start()
        wait_until(lambda: not isinstance(c.cmd("PING"), RespError) and c.cmd("GET", "x") is None, "the store again")
        equal(c.cmd("CACHE.INCRBY", "healed", 1, 60000), 1)


def side_by_side(p, project):
    """Many clients, one counter."""
    totals = []

    def run():
        with enter(p, project) as c:
            for _ in range(50):
                totals.append(c.cmd("CACHE.INCRBY", "shared", 1, 60000))

    threads = [threading.Thread(target=run) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(sorted(totals), list(range(1, 801)))


def accounts(p):
    """The steps are operations of the project, none of the agent's own."""
    text = p.http("GET", "/metrics").body.decode()
    lines = [line for line in text.splitlines() if 'name="EVALSHA"' in line]
    for project in ("a", "b"):
        check(any(line.startswith("db_client_operation_duration_seconds_count") and f'purser_project="{project}"' in line for line in lines), lines)
    check(all(line.startswith("db_client_operation") for line in lines), lines)


def roles(p):
    with enter(p, "narrow") as c:
        equal(c.cmd("CACHE.INCRBY", "mine:n", 1, 1000), 1)
        equal(c.error("CACHE.INCRBY", "n", 1, 1000).word, "NOPERM")


def resp3_and_http(p):
    with enter(p, "b", 3) as c:
        equal(c.cmd("CACHE.INCRBY", "three", 1, 60000), 1)
        c.cmd("SELECT", 1)
        equal(c.cmd("CACHE.INCRBY", "three", 7, 60000), 7)
        equal(c.cmd("GET", "three"), b"7")
    r = p.http("POST", "/v1/command", ["CACHE.INCRBY", "three", "4", "1000"], {"Purser-Project": "b"})
    check(r.status == 200 and b"5" in r.body, r)


def gone(p, redis):
    """The client goes while its step is under way; the next one of the store's is answered as ever."""
    with enter(p, "a") as other:
        redis.pause()
        c = enter(p, "a")
        c.send("CACHE.INCRBY", "gone", 1, 60000)
        c.send("CACHE.INCRBY", "gone", 1, 60000)
        c.close()
        redis.go_on()
        wait_until(lambda: other.cmd("GET", "gone") is not None, "the step that was sent")
        check(int(other.cmd("CACHE.INCRBY", "gone", 1, 60000)) in (2, 3))


def late():
    with Redis() as redis, Purserd({"backend main.operation_timeout": "300ms"}, config=CONFIG.format(url=redis.url)) as p, \
            enter(p, "a") as c:
        p.allow("health.*", "breaker.*")
        equal(c.cmd("CACHE.INCRBY", "n", 1, 60000), 1)
        redis.pause()
        equal(c.error("CACHE.INCRBY", "n", 1, 60000).word, "INDETERMINATE")
        redis.go_on()
        wait_until(lambda: c.cmd("GET", "n") == b"2", "the step that was sent")
        p.stop()


def main():
    late()
    with Redis() as redis, harness.Client(redis.sock) as direct, Purserd(config=CONFIG.format(url=redis.url)) as p:
        p.allow("health.*", "plugin.message")
        for project in ("a", "b"):
            with enter(p, project) as c:
                commands(c)
                pipelined(c)
            side_by_side(p, project)
        equal(sorted(direct.cmd("KEYS", "*")), [b"proj:a:large", b"proj:a:list", b"proj:a:n", b"proj:a:o", b"proj:a:shared"])
        accounts(p)
        roles(p)
        resp3_and_http(p)
        gone(p, redis)
    with Redis() as redis, Purserd(config=CONFIG.format(url=redis.url)) as p:
        p.allow("health.*", "plugin.message", "breaker.*")
        with harness.Client(redis.sock) as direct:
            healed(p, redis, direct)


harness.run(main)
