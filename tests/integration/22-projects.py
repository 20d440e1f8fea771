#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Two projects and an un-prefixed one on one store: nobody sees another's keys or any prefix; all selectors."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import check, equal

CONFIG = """
[agent]
mode = {mode}
[backend main]
plugin = {plugin}
{url}
[project shop]
[project blog]
key_prefix = b!:
databases = 2
[project all]
isolation = off
[grant everybody]
projects = *
allow_uid = *
role = operator
"""


def scan(c, *args):
    cursor, names = b"0", []
    while True:
        cursor, batch = c.cmd("SCAN", cursor, *args)
        names += batch
        if cursor == b"0":
            return sorted(names)


def isolation(p, plugin):
    shop, blog, all_ = p.client(), p.client(), p.client()
    equal(shop.cmd("AUTH", "shop", "x"), "OK")
    equal(blog.cmd("HELLO", 3, "AUTH", "blog", "x")[b"proto"], 3)
    equal(all_.cmd("PURSER.PROJECT", "all"), "OK")
    for c, who in ((shop, "s"), (blog, "b")):
        for i in range(50):
            equal(c.cmd("SET", f"{who}{i}", who), "OK")
        equal(c.cmd("SET", "same", who), "OK")
        equal(c.cmd("HSET", "hash", "f", who), 1)
    equal((shop.cmd("GET", "same"), blog.cmd("GET", "same"), all_.cmd("GET", "same")), (b"s", b"b", None))
    for c, who in ((shop, b"s"), (blog, b"b")):
        mine = sorted([b"same", b"hash"] + [b"%s%d" % (who, i) for i in range(50)])
        equal(sorted(c.cmd("KEYS", "*")), mine, "KEYS")
        equal(scan(c), mine, "SCAN")
        equal(scan(c, "COUNT", 3, "MATCH", "s*"), [k for k in mine if k.startswith(b"s")], "SCAN MATCH")
        equal(scan(c, "TYPE", "hash"), [b"hash"], "SCAN TYPE")
        equal(c.cmd("DBSIZE"), 52)
        for _ in range(20):
            check(c.cmd("RANDOMKEY") in mine, "RANDOMKEY")
        e = c.error("INCR", "hash")
        equal(e.text, "WRONGTYPE Operation against a key holding the wrong kind of value")
        equal(c.cmd("RENAME", "same", "renamed"), "OK")
        equal(c.cmd("COPY", "renamed", "same"), 1)
        equal(c.cmd("EXISTS", "renamed", "same", "proj:shop:same", "b!:same"), 2)
    seen = all_.cmd("KEYS", "*")
    equal(len([k for k in seen if k.startswith(b"proj:shop:")]), 53)
    equal(len([k for k in seen if k.startswith(b"b!:")]), 53)
    check(all_.cmd("DBSIZE") >= 106 and all_.cmd("RANDOMKEY") is not None)
    # databases: blog has two, the others one
    equal(blog.cmd("SELECT", 1), "OK")
    equal((blog.cmd("DBSIZE"), blog.cmd("SET", "one", "1"), blog.cmd("DBSIZE")), (0, "OK", 1))
    equal(blog.error("SELECT", 2).text, "ERR DB index is out of range")
    equal(blog.error("COPY", "one", "x", "DB", 2).text, "ERR DB index is out of range")
    equal(blog.cmd("COPY", "one", "two", "DB", 0), 1)
    equal((blog.cmd("SELECT", 0), blog.cmd("GET", "two")), ("OK", b"1"))
    equal(shop.error("SELECT", 1).text, "ERR DB index is out of range")
    # a project flushes itself alone
    equal(shop.cmd("FLUSHALL"), "OK")
    equal((shop.cmd("DBSIZE"), blog.cmd("DBSIZE"), shop.cmd("RANDOMKEY")), (0, 54, None))
    equal(blog.cmd("FLUSHDB", "ASYNC"), "OK")
    equal((blog.cmd("DBSIZE"), blog.cmd("SELECT", 1), blog.cmd("DBSIZE")), (0, "OK", 1))
    equal(blog.cmd("FLUSHALL"), "OK")
    equal(blog.cmd("DBSIZE"), 0)
    equal(shop.error("FLUSHDB", "NOW").text, "ERR syntax error")
    # HTTP: per request
    equal(p.http("POST", "/redis/kv", {"key": "h", "value": "v"}, {"Purser-Project": "shop"}).status, 200)
    equal(p.http("GET", "/redis/kv?key=h", headers={"Purser-Project": "shop"}).json()["value"], "v")
    equal(p.http("GET", "/redis/kv?key=h", headers={"Purser-Project": "blog"}).status, 404)
    equal(p.http("GET", "/redis/kv?key=h", headers={"Purser-Project": "nope"}).json()["code"], "NOPROJECT")
    equal(p.http("POST", "/v1/command", ["KEYS", "*"], {"Purser-Project": "shop"}).json(), {"result": ["h"]})
    equal(shop.error("PURSER.PROJECT", "nope").word, "NOPROJECT")
    check("1 to 64 of" in shop.error("PURSER.PROJECT", "No:pe").text)
    equal(shop.cmd("GET", "h"), b"v", "a project that does not exist changes nothing")
    shop.cmd("DEL", "h")


def production(p):
    """Without a project a connection can only choose one."""
    with p.client() as c:
        equal(c.cmd("HELLO", 3)[b"proto"], 3)
        for words in (("PING",), ("COMMAND",), ("PURSER.STATUS",), ("GET", "k"), ("SET", "k", "v"), ("KEYS", "*"), ("DBSIZE",), ("INFO",), ("SELECT", 0),
                      ("SCAN", 0), ("FLUSHALL",)):
            e = c.error(*words)
            equal(e.word, "NOPROJECT", words)
            check("PURSER.PROJECT" in e.text, "the error names the next step:", e.text)
        equal(c.error("AUTH", "default", "x").word, "WRONGPASS")
        c.raw(b"*2\r\n$4\r\nECHO\r\n$100000\r\n")
        equal(c.read().word, "TOOBIG")
        check(c.eof())
    with p.client() as c:
        equal((c.cmd("AUTH", "shop", ""), c.cmd("SET", "k", "v"), c.cmd("GET", "k")), ("OK", "OK", b"v"))
        equal(c.cmd("RESET"), "RESET")
        equal(c.error("GET", "k").word, "NOPROJECT")
    nobody(p)
    equal(p.http("GET", "/redis/kv?key=k").json()["code"], "NOPROJECT")
    equal(p.http("GET", "/redis/kv?key=k", headers={"Purser-Project": "shop"}).json()["value"], "v")
    equal(p.http("GET", "/healthz").status, 200)


def nobody(p):
    """Every command of the table, from a connection without a project: an answer, and never a store's."""
    with p.client() as c:
        c.cmd("PURSER.PROJECT", "shop")
        table = [r for row in c.cmd("COMMAND") for r in [row, *row[9]]]
    for row in table:
        name, arity = row[0].decode().split("|"), abs(row[1])
        if name[0] in ("quit", "monitor") or name in (["client", "reply"], ["purser.reload"]):
            continue
        with p.client() as c:
            c.send(*name, *["1"] * (arity - len(name)))
            reply = c.read()
            if isinstance(reply, harness.RespError):
                check(reply.word in ("NOPROJECT", "ERR", "NOAUTH", "NOPERM", "NOPROTO", "WRONGPASS", "UNSUPPORTED", "BADREQUEST"), name, reply)


def main():
    with harness.Redis() as redis:
        for plugin, url in (("memory", "databases = 4"), ("redis", f"url = {redis.url}")):
            for mode, test in (("development", lambda p: isolation(p, plugin)), ("production", production)):
                with harness.Purserd(config=CONFIG.format(mode=mode, plugin=plugin, url=url), name=f"{plugin}-{mode[:4]}") as p:
                    test(p)


harness.run(main)
