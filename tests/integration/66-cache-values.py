#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""CACHE.SETM, CACHE.META, CACHE.MSET on both backends: metadata is gone when its value is, whoever wrote."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import check, equal, wait_until

CONFIG = """
[agent]
mode = development
[backend main]
plugin = {plugin}
{url}
[project shop]
[project blog]
[project all]
isolation = off
"""
SHOP = {"Purser-Project": "shop"}


def client(p, project, resp=3):
    c = p.client()
    c.cmd("HELLO", resp, "AUTH", project, "x")
    return c


def lives_and_dies(p, c):
    equal(c.cmd("CACHE.META", "k"), None)
    equal(c.cmd("CACHE.SETM", "k", "value", '{"by": "me"}'), "OK")
    equal(c.cmd("GET", "k"), b"value")
    equal(c.cmd("CACHE.META", "k"), b'{"by": "me"}')
    equal(client(p, "shop", 2).cmd("CACHE.META", "k"), b'{"by": "me"}')
    equal(client(p, "blog").cmd("CACHE.META", "k"), None)
    equal([c.cmd("DBSIZE"), c.cmd("KEYS", "*")], [1, [b"k"]])  # the record is nobody's key
    ends = {
        "SET": [["SET", "k", "other"]], "DEL": [["DEL", "k"]], "DEL and SET": [["DEL", "k"], ["SET", "k", "other"]],
        "APPEND": [["APPEND", "k", "x"]], "SETRANGE": [["SETRANGE", "k", "0", "X"]], "RENAME": [["RENAME", "k", "k2"]],
        "RENAME onto": [["SET", "k3", "w"], ["RENAME", "k3", "k"]], "expiry": [["PEXPIREAT", "k", 1]],
        "another type": [["DEL", "k"], ["RPUSH", "k", "x"]], "EVAL": [["EVAL", "return redis.call('SET', KEYS[1], 'x')", 1, "k"]],
        "MSET": [["CACHE.MSET", 60000, "k", "other"]], "MULTI": [["MULTI"], ["SET", "k", "other"], ["EXEC"]],
        "FLUSHDB": [["FLUSHDB"]],
    }
    for name, words in ends.items():
        c.cmd("DEL", "k", "k2", "k3")
        c.cmd("CACHE.SETM", "k", "value", '"%s"' % name)
        equal(c.cmd("CACHE.META", "k"), b'"%s"' % name.encode())
        for w in words:
            c.cmd(*w)
        equal([name, c.cmd("CACHE.META", "k"), c.cmd("CACHE.META", "k2")], [name, None, None])
    # what leaves the value as it is leaves the metadata
    c.cmd("DEL", "k")
    c.cmd("CACHE.SETM", "k", "value", "1")
    c.cmd("RENAME", "k", "k2")
    c.cmd("RENAME", "k2", "k")
    c.cmd("SET", "k", "value")
    equal(c.cmd("CACHE.META", "k"), b"1")


def expires(c):
    equal(c.cmd("CACHE.SETM", "e", "v", "[1]", "px", 60000), "OK")
    check(50000 < c.cmd("PTTL", "e") <= 60000)
    equal(c.cmd("CACHE.META", "e"), b"[1]")
    c.cmd("CACHE.SETM", "e", "v", "[2]", "PX", 30)
    wait_until(lambda: c.cmd("EXISTS", "e") == 0, "e expires")
    equal(c.cmd("CACHE.META", "e"), None)


def longer(p, c, store):
    """A life that was made longer: who asks for metadata in time lengthens its life."""
    for words, bound in ((["PEXPIRE", "l", 500000], (400000, 501000)), (["PERSIST", "l"], (-1, -1))):
        c.cmd("CACHE.SETM", "l", "v", '"long"', "PX", 20000)
        c.cmd(*words)
        equal(c.cmd("CACHE.META", "l"), b'"long"')
        wait_until(lambda: bound[0] <= store("PTTL", "psr:shop:cache:l") <= bound[1], "the record lives as long")


def refused(c):
    for words, word in ((["k", "v", "{"], "BADREQUEST"), (["k", "v", ""], "BADREQUEST"), (["k", "v", "1 2"], "BADREQUEST"),
                        (["k", "v", "1", "PX"], "ERR"), (["k", "v", "1", "EX", 5], "ERR"), (["k", "v", "1", "PX", 0], "ERR"),
                        (["k", "v", "1", "PX", "x"], "ERR"), (["k", "v", '"%s"' % ("x" * 70000)], "TOOBIG")):
        equal(c.error("CACHE.SETM", *words).word, word, words)
    for words in ([0, "a", "b"], [-1, "a", "b"], ["x", "a", "b"], [1000, "a", "b", "c"]):
        equal(c.error("CACHE.MSET", *words).word, "ERR", words)
    equal(c.cmd("EXISTS", "a", "c"), 0)


def batch(c):
    got = c.cmd("CACHE.STATS")
    before = got[b"sets"]
    equal(c.cmd("CACHE.MSET", 60000, "a", "1", "b", b"\0\r\n", "a", "2"), 3)
    equal(c.cmd("MGET", "a", "b"), [b"2", b"\0\r\n"])
    check(50000 < c.cmd("PTTL", "a") <= 60000 and 50000 < c.cmd("PTTL", "b") <= 60000)
    equal(c.cmd("CACHE.SETM", "a", "1", "1"), "OK")
    equal(c.cmd("CACHE.STATS")[b"sets"] - before, 4)
    big = b"x" * 300000
    equal(c.cmd("CACHE.MSET", 60000, "big", big), 1)
    equal(c.cmd("CACHE.SETM", "big", big, "{}"), "OK")
    equal(c.cmd("CACHE.META", "big"), b"{}")
    equal(c.cmd("CACHE.MSET", "+060000", "a", "0"), 1, "a number as people write it, not as Redis does")
    equal(c.cmd("CACHE.SETM", "a", "0", "1", "PX", "+060000"), "OK")
    check(50000 < c.cmd("PTTL", "a") <= 60000)


def http(p):
    r = p.http("PUT", "/v1/cache/page%3A1/meta", {"value": "<html>", "meta": {"etag": [1, None]}, "ttl_ms": 60000}, SHOP)
    equal([r.status, r.json()], [200, "OK"])
    r = p.http("GET", "/v1/cache/page%3A1/meta", headers=SHOP)
    equal([r.status, r.json()], [200, {"etag": [1, None]}])
    equal(p.http("GET", "/v1/cache/none/meta", headers=SHOP).status, 404)
    equal(p.http("PUT", "/v1/cache", {"ttl_ms": 1000, "values": {"x": "1", "y": 2}}, SHOP).json(), 2)
    equal(p.http("POST", "/v1/cache/hits/incr", {"ttl_ms": 60000}, SHOP).json(), 1)
    equal(p.http("POST", "/v1/cache/hits/incr", {"delta": 4, "ttl_ms": 60000}, SHOP).json(), 5)


def both(p, store):
    c = client(p, "shop")
    lives_and_dies(p, c)
    expires(c)
    if store:
        longer(p, c, store)
    refused(c)
    batch(c)
    http(p)


def main():
    with harness.Purserd(config=CONFIG.format(plugin="memory", url="")) as p:
        both(p, None)
    with harness.Redis() as redis:
        with harness.Purserd(config=CONFIG.format(plugin="redis", url="url = " + redis.url)) as p, redis.client() as raw:
            both(p, raw.cmd)


harness.run(main)
