#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Rows of the command table against semantics.md section 9: errors that quote keys are those of a server of one's own, replies
name one's own keys, FLUSHDB is a job of steps on one's own keys, and no view tells of another project."""

import os
import select
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
databases = 2
[project blog]
"""


def client(p, project, resp=2):
    c = p.client()
    c.cmd("HELLO", resp, "AUTH", project, "x")
    return c


KEYS = ["k", "proj:shop:k", "proj:shop:proj:shop:", "it's", "a b", "x" * 100, "new\r\nline", "nul\0behind", "", "*", "'"]
GROUPS = ["g", "proj:shop:g", "proj:shop:", "proj:blog:g"]


def lines(key, group):
    return [["XREADGROUP", "GROUP", group, "c", "STREAMS", key, ">"], ["XPENDING", key, group], ["XCLAIM", key, group, "c", 0, "1-1"],
            ["XAUTOCLAIM", key, group, "c", 0, "0"], ["XINFO", "CONSUMERS", key, group], ["XINFO", "STREAM", key], ["XGROUP", "SETID", key, group, "$"],
            ["XGROUP", "CREATECONSUMER", key, group, "c"], ["XGROUP", "DELCONSUMER", key, group, "c"], ["RENAME", key, "to"], ["OBJECT", "FREQ", key]]


def errors(p, own):
    """What a private server says of the same words, byte for byte; alone and in a transaction."""
    for resp in (2, 3):
        c = client(p, "shop", resp)
        own.cmd("HELLO", resp)
        for there in (False, True):
            for key in KEYS:
                for x in (c, own):
                    x.cmd("DEL", key)
                    if there:
                        x.cmd("XADD", key, "1-1", "f", "v")
                        x.cmd("XGROUP", "CREATE", key, "other", "0")
                for group in GROUPS:
                    for words in lines(key, group):
                        if there and words[0] in ("RENAME", "OBJECT") or words[:2] == ["XINFO", "STREAM"]:
                            continue
                        equal(say(c, words), say(own, words), words)
                        equal(block(c, words), block(own, words), ("MULTI", words))
                for x in (c, own):
                    x.cmd("DEL", key, "to")
        c.close()


def say(c, words):
    c.send(*words)
    r = c.read()
    return r.text if isinstance(r, harness.RespError) else r


def block(c, words):
    r = c.pipeline([["MULTI"], words, ["EXEC"]])[-1]
    return [x.text if isinstance(x, harness.RespError) else x for x in r]


def names(p):
    """Names in replies, and patterns that name keys."""
    for resp in (2, 3):
        shop, blog = client(p, "shop", resp), client(p, "blog", resp)
        for c, who in ((shop, b"s"), (blog, b"b")):
            c.cmd("RPUSH", "l", "2", "1")
            for n in "12":
                c.cmd("SET", f"w_{n}", n)
                c.cmd("HSET", f"h_{n}", "f", who + n.encode())
        equal(shop.cmd("SORT", "l", "BY", "w_*", "GET", "h_*->f", "GET", "#"), [b"s1", b"1", b"s2", b"2"])
        equal(shop.cmd("SORT", "l", "BY", "nosort", "GET", "proj:blog:w_*"), [None, None])
        equal(shop.cmd("SORT", "l", "BY", "w_*", "STORE", "sorted"), 2)
        equal((shop.cmd("LRANGE", "sorted", 0, -1), blog.cmd("EXISTS", "sorted")), ([b"1", b"2"], 0))
        equal(shop.cmd("BLPOP", "none", "l", 1), [b"l", b"2"])
        equal(shop.cmd("LMPOP", 2, "none", "l", "LEFT"), [b"l", [b"1"]])
        shop.cmd("ZADD", "z", 1, "m", 2, "n", 3, "o")
        equal(shop.cmd("BZPOPMIN", "z", 1)[:2], [b"z", b"m"])
        equal(shop.cmd("ZMPOP", 1, "z", "MIN")[0], b"z")
        shop.cmd("XADD", "x", "1-1", "f", "v")
        shop.cmd("XGROUP", "CREATE", "x", "g", "0")
        for words in (["XREAD", "STREAMS", "x", "0"], ["XREADGROUP", "GROUP", "g", "c", "STREAMS", "x", ">"]):
            r = shop.cmd(*words)
            equal(list(r) if isinstance(r, dict) else [s[0] for s in r], [b"x"], words)
        equal((shop.cmd("MEMORY", "USAGE", "x") > 0, shop.cmd("OBJECT", "ENCODING", "w_1"), shop.cmd("MEMORY", "USAGE", "proj:shop:x")), (True, b"int", None))
        equal(shop.cmd("XINFO", "GROUPS", "x")[0][b"name"] if resp == 3 else shop.cmd("XINFO", "GROUPS", "x")[0][1], b"g")
        equal(p.http("POST", "/v1/command", ["XREAD", "STREAMS", "x", "0"], {"Purser-Project": "shop"}).json()["result"],
              {"x": [["1-1", ["f", "v"]]]})
        equal((shop.cmd("FLUSHALL"), blog.cmd("FLUSHALL")), ("OK", "OK"))
        shop.close()
        blog.close()


def views(p):
    """Nothing that a project may look at names another."""
    shop, blog, sub = client(p, "shop"), client(p, "blog"), client(p, "blog")
    blog.cmd("CLIENT", "SETNAME", "marker-blog")
    blog.cmd("SET", "marker-key", "v")
    sub.cmd("SUBSCRIBE", "marker-channel")
    for words in (["INFO", "everything"], ["INFO"], ["CLIENT", "LIST"], ["CLIENT", "INFO"], ["PUBSUB", "CHANNELS"], ["PUBSUB", "NUMSUB", "marker-channel"],
                  ["SLOWLOG", "GET", -1], ["LATENCY", "HISTOGRAM"], ["LATENCY", "LATEST"], ["CONFIG", "GET", "*"], ["KEYS", "*"], ["PURSER.WHOAMI"],
                  ["SCRIPT", "EXISTS", "0" * 40], ["COMMAND", "LIST"], ["LATENCY", "DOCTOR"]):
        text = repr(shop.cmd(*words))
        check("blog" not in text and "marker" not in text.replace("'marker-channel', 0", ""), words, text[:600])
    equal((shop.cmd("PUBSUB", "NUMPAT"), shop.cmd("CLIENT", "KILL", "USER", "shop", "SKIPME", "yes")), (0, 0))
    check("No such user" in shop.error("CLIENT", "KILL", "USER", "blog").text)
    me = int(blog.cmd("CLIENT", "ID"))
    equal((shop.cmd("CLIENT", "KILL", "ID", me), shop.cmd("CLIENT", "UNBLOCK", me), blog.cmd("PING")), (0, 0, "PONG"))
    for words in (["SWAPDB", 0, 1], ["MOVE", "k", 1], ["MIGRATE", "h", 1, "k", 0, 1], ["ACL", "WHOAMI"], ["DEBUG", "JMAP"], ["MODULE", "LIST"], ["MEMORY", "STATS"],
                  ["REPLICAOF", "NO", "ONE"], ["SAVE"], ["SHUTDOWN"], ["CONFIG", "REWRITE"], ["CLIENT", "PAUSE", 1]):
        e = shop.error(*words)
        check(e.word in ("NOPERM", "ISOLATION") and len(e.text) > 30 and "proj:" not in e.text, words, e.text)
    blog.cmd("FLUSHALL")
    for c in (shop, blog, sub):
        c.close()


def counted(c):
    """(clients now, clients ever) as INFO has them."""
    info = dict(l.split(":", 1) for l in c.cmd("INFO", "clients", "stats").decode().splitlines() if ":" in l)
    return int(info["connected_clients"]), int(info["total_connections_received"])


def counts(p):
    """INFO counts the clients of the project, whatever others do."""
    shop, blog, roams = client(p, "shop"), client(p, "blog"), p.client()
    harness.wait_until(lambda: (counted(shop)[0], counted(blog)[0]) == (1, 1), "those of before to be gone")
    ever, others = counted(shop)[1], counted(blog)[1]
    equal(roams.cmd("PURSER.PROJECT", "blog"), "OK")
    many = [client(p, "blog") for _ in range(5)]
    equal((counted(shop), counted(blog)), ((1, ever), (7, others + 6)))
    equal((roams.cmd("PURSER.PROJECT", "shop"), roams.cmd("PURSER.PROJECT", "shop")), ("OK", "OK"))
    equal((counted(shop), counted(blog)), ((2, ever + 1), (6, others + 6)))
    for c in (roams, *many):
        c.close()
    harness.wait_until(lambda: (counted(shop), counted(blog)) == ((1, ever + 1), (1, others + 6)), "them to be gone")
    for words in (["INFO", "everything"], ["INFO", "stats", "persistence", "keyspace"]):
        text = shop.cmd(*words).decode()
        for name in ("keyspace_hits", "keyspace_misses", "expired_keys", "rdb_changes_since_last_save", "db0:"):
            check(name not in text, name, "of a store that two projects share", text)
    shop.close()
    blog.close()


def fill(c, n, what="k"):
    for at in range(0, n, 1000):
        equal(c.cmd("MSET", *[x for i in range(at, at + 1000) for x in (f"{what}{i}", "v")]), "OK")


def flush(p, redis):
    """In steps: others go on meanwhile, other projects' keys and the agent's own stay."""
    shop, blog, other = client(p, "shop"), client(p, "blog"), client(p, "shop", 3)
    fill(blog, 1000, "b")
    shop.cmd("SELECT", 1)
    shop.cmd("SET", "second", "v")
    shop.cmd("SELECT", 0)
    if redis:
        redis.cmd("SET", "psr:shop:lock:l", "x")
        redis.cmd("SET", "proj:shopper:k", "x")
    for keys in (20000, 80000, 320000):  # a fast machine has done with a few before anybody looks
        fill(shop, keys)
        shop.send("FLUSHDB", "ASYNC")
        went_on = 0
        while not select.select([shop.s], [], [], 0)[0]:
            equal(blog.cmd("GET", "b1"), b"v")
            went_on += 1
        equal(shop.read(), "OK")
        if went_on:
            break
    check(went_on > 0, "nobody else was served")
    equal((shop.cmd("DBSIZE"), other.cmd("KEYS", "*"), blog.cmd("DBSIZE"), shop.cmd("SELECT", 1), shop.cmd("DBSIZE")), (0, [], 1000, "OK", 1))
    equal((shop.cmd("FLUSHALL", "SYNC"), shop.cmd("DBSIZE"), blog.cmd("DBSIZE")), ("OK", 0, 1000))
    equal((shop.error("FLUSHDB", "x").text, shop.error("FLUSHALL", "SYNC", "ASYNC").text), ("ERR syntax error", "ERR syntax error"))
    equal(p.http("POST", "/v1/command", ["FLUSHALL"], {"Purser-Project": "blog"}).json(), {"result": "OK"})
    equal(blog.cmd("DBSIZE"), 0)
    if redis:
        equal(redis.cmd("MGET", "psr:shop:lock:l", "proj:shopper:k"), [b"x", b"x"])
    for c in (shop, blog, other):
        c.close()


def cancelled(p, server):
    """Its client goes: it ends with the step that is under way."""
    with client(p, "shop") as c, client(p, "blog") as w:
        fill(c, 10000)
        server.pause()
        c.send("FLUSHDB")
        wait_until(lambda: w.cmd("CLIENT", "ID") and sum(b"flushdb" in l for l in client_list(p)) == 1, "the job to begin")
        c.close()
        wait_until(lambda: not client_list(p), "the client to go")
        server.go_on()
    with client(p, "shop") as c:
        check(c.cmd("DBSIZE") >= 8000, c.cmd("DBSIZE"))
        equal((c.cmd("FLUSHDB"), c.cmd("DBSIZE")), ("OK", 0))


def client_list(p):
    """The lines of shop's clients but for the one who asks."""
    with client(p, "shop") as c:
        return [l for l in c.cmd("CLIENT", "LIST").splitlines() if b"cmd=client|list" not in l]


def main():
    with harness.Redis() as redis, harness.Redis(name="own") as private, harness.Client(private.sock) as own:
        for plugin in ("memory", "redis"):
            config = CONFIG.format(plugin=plugin, url=f"url = {redis.url}" if plugin == "redis" else "")
            with harness.Purserd(config=config) as p:
                errors(p, own)
                names(p)
                views(p)
                counts(p)
                if plugin == "redis":
                    with harness.Client(redis.sock) as r:
                        flush(p, r)
                    cancelled(p, redis)
                else:
                    flush(p, None)


harness.run(main)
