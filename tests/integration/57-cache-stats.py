#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""CACHE.STATS and purser.cache.*: what a scripted load did, exactly; hits and misses as Redis itself counts them."""

import os
import random
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import check, equal

CONFIG = """
[agent]
mode = development
workers = {workers}
[backend main]
plugin = {plugin}
{url}
[project shop]
[project blog]
"""
FIELDS = ["hits", "misses", "hit_ratio", "sets", "deletes", "errors", "keys", "memory_used", "memory_max", "evicted",
          "memory_scope", "since_ms"]
COUNTED = ("hits", "misses", "sets", "deletes", "errors")


def client(p, project, resp=3):
    c = p.client()
    c.cmd("HELLO", resp, "AUTH", project, "x")
    return c


def stats(c):
    got = c.cmd("CACHE.STATS")
    if isinstance(got, list):
        got = dict(zip(got[::2], got[1::2]))
    got = {k.decode(): v for k, v in got.items()}
    equal(list(got), FIELDS)
    return got


def exported(p, project):
    text = p.http("GET", "/metrics").body.decode()
    found = {}
    for name in COUNTED:
        m = re.search(r'^purser_cache_%s_total\{[^}]*purser_project="%s"[^}]*\} (\d+)$' % (name, project), text, re.M)
        found[name] = int(m.group(1)) if m else 0
    return found


class Model:
    """What the load did, by hand."""

    def __init__(self):
        self.keys, self.lists = {}, {"alist"}
        self.n = dict.fromkeys(COUNTED, 0)

    def read(self, *keys):
        for k in keys:
            self.n["hits" if k in self.keys else "misses"] += 1

    def exists(self, *keys):
        for k in keys:
            self.n["hits" if k in self.keys or k in self.lists else "misses"] += 1

    def write(self, *keys):
        for k in keys:
            self.keys[k] = True
            self.n["sets"] += 1

    def delete(self, *keys):
        for k in keys:
            if self.keys.pop(k, None):
                self.n["deletes"] += 1

    def run(self, words):
        """Note what words will do; WRONGTYPE, where alist is hit, is an error and nothing else."""
        name, a = words[0], words[1:]
        if name in ("GET", "GETEX", "GETDEL", "GETSET") and a[0] == "alist":
            self.n["errors"] += 1
        elif name in ("GET", "GETEX"):
            self.read(a[0])
        elif name == "GETDEL":
            self.read(a[0])
            self.delete(a[0])
        elif name == "GETSET":
            self.read(a[0])
            self.write(a[0])
        elif name == "MGET":
            self.read(*a)
        elif name == "EXISTS":
            self.exists(*a)
        elif name in ("SETEX", "PSETEX"):
            self.write(a[0])
        elif name == "SETNX":
            if a[0] not in self.keys:
                self.write(a[0])
        elif name == "MSET":
            self.write(*a[::2])
        elif name == "MSETNX":
            if not any(k in self.keys for k in a[::2]):
                self.write(*a[::2])
        elif name in ("DEL", "UNLINK"):
            self.delete(*dict.fromkeys(a))
        elif name == "SET":
            o, there = set(a[2:]), a[0] in self.keys
            if "GET" in o:
                self.read(a[0])
            if not ("NX" in o and there or "XX" in o and not there):
                self.write(a[0])


def some(rng):
    k = f"k{rng.randrange(12)}"
    many = [f"k{rng.randrange(12)}" for _ in range(rng.randrange(1, 6))]
    pairs = [x for m in dict.fromkeys(many) for x in (m, rng.choice(["", "v", "v" * 2000]))]
    return rng.choice([
        ["GET", k], ["GET", k], ["GET", "alist"], ["GETEX", k], ["GETEX", k, "PERSIST"], ["GETDEL", k],
        ["GETSET", k, "v"], ["MGET", *many], ["EXISTS", *many], ["EXISTS", k, "alist"], ["SET", k, "v"], ["SET", k, ""],
        ["SET", k, "v", "NX"], ["SET", k, "v", "XX"], ["SET", k, "v", "GET"], ["SET", k, "v", "NX", "GET"],
        ["SET", k, "v", "XX", "GET"], ["SET", k, "NX", "EX", "100"], ["SETEX", k, "100", "v"], ["PSETEX", k, "100000", "v"],
        ["SETNX", k, "v"], ["MSET", *pairs], ["MSETNX", *pairs], ["DEL", *many], ["UNLINK", k],
        ["STRLEN", k], ["TTL", k], ["APPEND", "other", "x"], ["HGET", "h", "f"], ["LLEN", "alist"]])


def load(p, model, rng, rounds):
    """One at a time, in pipelines, in transactions, RESP2 and RESP3, over HTTP."""
    cs = [client(p, "shop", 2), client(p, "shop", 3)]
    for _ in range(rounds):
        c, words = rng.choice(cs), [some(rng) for _ in range(rng.randrange(1, 12))]
        how = rng.randrange(4)
        for w in words:
            model.run(w)
        if how == 0:
            for w in words:
                c.send(*w)
                c.read()
        elif how == 1:
            c.pipeline(words)
        elif how == 2:
            got = c.pipeline([["MULTI"], *words, ["EXEC"]])
            equal(len(got[-1]), len(words))
        else:
            r = p.http("POST", "/v1/command", words, {"Purser-Project": "shop"})
            equal(r.status, 200)


def keyspace(redis):
    with redis.client() as c:
        text = c.cmd("INFO", "stats")
    text = text.decode() if isinstance(text, bytes) else text
    return [int(re.search(r"keyspace_%s:(\d+)" % x, text).group(1)) for x in ("hits", "misses")]


def exact(p, plugin, redis):
    rng, model = random.Random(harness.seed()), Model()
    c, other = client(p, "shop"), client(p, "blog", 2)
    c.cmd("RPUSH", "alist", "x")
    before = stats(c)
    equal([before[x] for x in COUNTED], [0] * 5)
    equal(before["hit_ratio"], None)
    load(p, model, rng, 120)
    got = stats(c)
    equal({x: got[x] for x in COUNTED}, model.n)
    equal(exported(p, "shop"), model.n)
    check(abs(got["hit_ratio"] - model.n["hits"] / (model.n["hits"] + model.n["misses"])) < 1e-12, got)
    equal([stats(other)[x] for x in COUNTED], [0] * 5)
    if plugin == "memory":
        equal(got["keys"], c.cmd("DBSIZE"))
        equal(got["memory_scope"], b"project")
        check(got["memory_used"] > 0 and got["memory_max"] == 100 << 20 and got["evicted"] == 0, got)
        check(stats(other)["memory_used"] == 0, stats(other))
    else:
        equal([got[x] for x in ("keys", "memory_used", "memory_max", "evicted", "memory_scope")], [None] * 5)
    # a reload changes nothing, RESET only what is shown
    p.reload()
    equal({x: stats(c)[x] for x in COUNTED}, model.n)
    equal(c.cmd("CACHE.STATS", "RESET"), "OK")
    equal([stats(c)[x] for x in COUNTED], [0] * 5)
    check(stats(c)["since_ms"] > before["since_ms"], stats(c))
    old = dict(model.n)
    load(p, model, rng, 20)
    equal({x: stats(c)[x] for x in COUNTED}, {x: model.n[x] - old[x] for x in COUNTED})
    equal(exported(p, "shop"), model.n)
    http = p.http("GET", "/v1/cache", headers={"Purser-Project": "shop"}).json()
    equal(list(http), FIELDS)
    equal(http["hits"], model.n["hits"] - old["hits"])
    equal(str(c.error("CACHE.STATS", "NONSENSE")).split()[0], "ERR")


def as_redis(p, redis):
    """Hits and misses of a load of counted reads are keyspace_hits and keyspace_misses of the server behind."""
    rng, c = random.Random(harness.seed()), client(p, "blog")
    h0, m0 = keyspace(redis)
    for _ in range(300):
        k, many = f"k{rng.randrange(9)}", [f"k{rng.randrange(9)}" for _ in range(4)]
        c.send(*rng.choice([["GET", k], ["MGET", *many], ["EXISTS", *many], ["GETEX", k], ["GETDEL", k], ["GETSET", k, 1],
                            ["SET", k, 1], ["SET", k, 1, "GET"], ["SETNX", k, 1], ["MSET", k, 1, "k0", 2], ["DEL", *many],
                            ["SET", k, 1, "NX"]]))
        c.read()
    h1, m1 = keyspace(redis)
    got = stats(c)
    equal([got["hits"], got["misses"]], [h1 - h0, m1 - m0])


def large(p):
    """A value that is not copied, one that is sent while it arrives, and a reply that nobody reads."""
    c = client(p, "blog")
    c.cmd("CACHE.STATS", "RESET")
    big = b"x" * 700000
    equal(c.cmd("SET", "big", big), "OK")
    equal(c.cmd("MGET", "big", "none", "big"), [big, None, big])
    equal(c.cmd("MSET", "a", "1", "big", big), "OK")
    got = stats(c)
    equal([got[x] for x in COUNTED], [2, 1, 3, 0, 0])
    c.send("CLIENT", "REPLY", "OFF")
    c.send("GET", "big")
    c.send("CLIENT", "REPLY", "ON")
    equal(c.read(), "OK")
    equal([stats(c)[x] for x in COUNTED], [2, 1, 3, 0, 0])


def leases(p):
    c = client(p, "blog")
    c.cmd("CACHE.STATS", "RESET")
    word, token = c.cmd("CACHE.LEASE", "leased")
    equal(word, b"WON")
    equal(client(p, "blog").cmd("CACHE.LEASE", "leased", "WAIT", 0)[0], b"BUSY")
    equal(c.cmd("CACHE.FILL", "leased", token, "v", "TTL", 60000), "OK")
    equal(c.cmd("CACHE.LEASE", "leased", "BETA", 0)[0], b"HIT")
    equal(c.error("CACHE.FILL", "leased", token, "v", "TTL", 60000).word, "LEASELOST")
    equal(c.cmd("CACHE.MSET", 60000, "a1", 1, "a2", 2), 2)
    equal(c.cmd("CACHE.INVALIDATE", "leased"), 1)
    equal([stats(c)[x] for x in COUNTED], [1, 2, 3, 1, 0])


def may():
    """RESET writes."""
    text = f"""
[agent]
mode = development
[backend main]
plugin = memory
[project shop]
allow_uid = {os.getuid()}
role = looker
[role looker]
permissions = redis:read
"""
    with harness.Purserd(config=text) as q:
        c = q.client()
        c.cmd("HELLO", 3)
        equal(c.cmd("PURSER.PROJECT", "shop"), "OK")
        equal(stats(c)["hits"], 0)
        equal(str(c.error("CACHE.STATS", "RESET")).split()[0], "NOPERM")
        equal(str(c.error("DEL", "x")).split()[0], "NOPERM")
        equal(stats(c)["errors"], 1)


def alone(redis):
    """The only project of a server is told what the server knows of itself."""
    with harness.Purserd({"backend main.plugin": "redis", "backend main.url": redis.url}) as p:
        c = p.client()
        got = stats(c)
        equal(got["memory_scope"], b"server")
        check(got["memory_used"] > 100000 and got["evicted"] == 0 and got["memory_max"] is None, got)
        n = got["keys"]
        c.cmd("MSET", *[x for i in range(50) for x in (f"more{i}", 1)])
        check(48 <= stats(c)["keys"] - n <= 52, n, stats(c))  # the agent's probe has a key too, now and then


def main():
    workers = os.environ.get("PURSER_TEST_WORKERS", "2")
    with harness.Purserd(config=CONFIG.format(plugin="memory", url="", workers=workers)) as p:
        exact(p, "memory", None)
        large(p)
        leases(p)
    with harness.Redis() as redis:
        with harness.Purserd(config=CONFIG.format(plugin="redis", url="url = " + redis.url, workers=workers)) as p:
            exact(p, "redis", redis)
            as_redis(p, redis)
            large(p)
            leases(p)
        alone(redis)
    may()


harness.run(main)
