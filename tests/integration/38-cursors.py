#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Cursors of SCAN: good for one project and database alone, on any of its connections, before and after a restart; and
the agent's own keys, which no client reaches, in no command."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import check, equal

CONFIG = """
[agent]
mode = development
scan_count_max = 50
[backend main]
plugin = {plugin}
{url}
[project shop]
databases = 2
[project blog]
[project all]
isolation = off
"""
FOREIGN = "ERR invalid cursor: it is none of this project and database"


def client(p, project, resp=2):
    c = p.client()
    c.cmd("HELLO", resp, "AUTH", project, "x")
    return c


def walk(clients, *args, start=b"0"):
    """Names and cursors of a whole walk, each step on the next of these connections."""
    cursor, names, seen, i = start, [], [], 0
    while True:
        cursor, batch = clients[i % len(clients)].cmd("SCAN", cursor, *args)
        names += batch
        i += 1
        if cursor == b"0":
            return names, seen
        check(cursor.isdigit() and not cursor.startswith(b"0"), cursor)
        seen.append(cursor)


def binding(p):
    shop = [client(p, "shop", r) for r in (2, 3)]
    blog, all_ = client(p, "blog"), client(p, "all", 3)
    keys = {b"k%d" % i for i in range(600)}
    for k in sorted(keys):
        shop[0].send("SET", k, "v")
    for _ in keys:
        equal(shop[0].read(), "OK")
    blog.cmd("SET", "b", "v")
    names, cursors = walk(shop, "COUNT", 20)
    equal(set(names), keys)
    check(len(set(cursors)) == len(cursors) > 5, cursors)
    check(all(int(c) < 2**53 for c in cursors), "a double must hold them", cursors)
    # the store's own numbers go up by steps that show its size: these do not
    check(max(map(int, cursors)) > 2**40, "cursors look like the store's", cursors)
    for c in cursors[:5]:
        equal(len(shop[1].cmd("SCAN", c)), 2)
        for other in (blog, all_):
            e = other.error("SCAN", c)
            check(e.text.startswith(FOREIGN) and "begin again with 0" in e.text and "shop" not in e.text, e.text)
    equal(shop[1].cmd("SELECT", 1), "OK")
    check(shop[1].error("SCAN", cursors[0]).text.startswith(FOREIGN), "another database")
    equal(shop[1].cmd("SELECT", 0), "OK")
    for nonsense in ("x", "-1x", "1 ", "0x10"):
        equal(shop[0].error("SCAN", nonsense).text, "ERR invalid cursor")
    for number in ("1", "17", 2**53 + 1, 2**64 - 1, 2**64, 2**96):
        check(shop[0].error("SCAN", number).text.startswith(FOREIGN), number)
    equal(shop[0].cmd("SCAN", "000", "COUNT", 1)[1][:0], [])
    # COUNT has a limit; what is no number is the store's to refuse
    first = shop[0].cmd("SCAN", 0, "COUNT", 1000000)
    check(first[0] != b"0" and len(first[1]) < 200, len(first[1]))
    equal(shop[0].error("SCAN", 0, "COUNT", "x").text, "ERR value is not an integer or out of range")
    equal(shop[0].error("SCAN", 0, "COUNT", "0").text, "ERR syntax error")
    equal(shop[0].error("SCAN", 0, "COUNT").text, "ERR syntax error")
    transaction(shop[0], blog, cursors, keys)
    http(p, keys)
    for c in [*shop, blog, all_]:
        c.close()
    return cursors, keys


def transaction(shop, blog, cursors, keys):
    equal(shop.cmd("MULTI"), "OK")
    for c in (b"0", cursors[0]):
        equal(shop.cmd("SCAN", c, "COUNT", 30), "QUEUED")
    equal(shop.cmd("GET", "k1"), "QUEUED")
    (c1, n1), (c2, n2), v = shop.cmd("EXEC")
    equal(v, b"v")
    check(set(n1) | set(n2) <= keys, n1, n2)
    for c in (c1, c2):
        check(c == b"0" or len(shop.cmd("SCAN", c)) == 2, c)
        check(c == b"0" or blog.error("SCAN", c).text.startswith(FOREIGN), c)
    equal(shop.cmd("MULTI"), "OK")
    check(shop.error("SCAN", 12345).text.startswith(FOREIGN))
    equal(shop.error("EXEC").word, "EXECABORT")


def http(p, keys):
    cursor, names = "0", []
    while True:
        r = p.http("POST", "/v1/command", ["SCAN", cursor, "COUNT", "25"], {"Purser-Project": "shop"}).json()["result"]
        check(isinstance(r[0], str), "a cursor is a string in JSON", r)
        cursor = r[0]
        names += r[1]
        if cursor == "0":
            break
        r = p.http("POST", "/v1/command", ["SCAN", cursor], {"Purser-Project": "blog"})
        equal((r.status, r.json()["code"]), (422, "ERR"), r)
    equal({n.encode() for n in names}, keys)


RESERVED = [
    ("SET", "psr:" + "x" * (3 << 20), "v"), ("MSET", "a", "x" * (3 << 20), "psr:x", "v"),
    ("GET", "psr:x"), ("SET", "psr:", "v"), ("MGET", "a", "psr:shop:lock:l"), ("MSET", "a", "1", "psr:x", "2"), ("DEL", "a", "psr:x"),
    ("RENAME", "a", "psr:x"), ("COPY", "psr:x", "b"), ("OBJECT", "ENCODING", "psr:x"), ("MEMORY", "USAGE", "psr:x"),
    ("LMPOP", 2, "a", "psr:x", "LEFT"), ("BLPOP", "a", "psr:x", 0), ("XREAD", "STREAMS", "s", "psr:x", "0", "0"),
    ("ZUNIONSTORE", "psr:x", 1, "z"), ("ZUNIONSTORE", "z", 2, "z", "psr:x"), ("SORT", "psr:x"), ("SORT", "l", "STORE", "psr:x"),
    ("SORT", "l", "BY", "psr:*"), ("SORT", "l", "GET", "psr:*->f"), ("SORT", "l", "BY", "*"), ("SORT_RO", "l", "GET", "ps*"),
    ("BITOP", "AND", "d", "psr:x"), ("EVAL", "return 1", 1, "psr:x"), ("WATCH", "psr:x"), ("GEORADIUS", "g", 1, 1, 1, "m", "STORE", "psr:x"),
    ("DUMP", "psr:x"), ("XINFO", "STREAM", "psr:x"), ("PFMERGE", "h", "psr:x"), ("TOUCH", "psr:x"), ("EXPIRE", "psr:x", 1),
]


def internal(p, plant):
    """psr: is nobody's, where there is no prefix: refused in every command, and in no list."""
    c = client(p, "all", 3)
    c.cmd("SET", "psy", "mine")
    c.cmd("RPUSH", "l", "b", "a")
    if plant:
        for i in range(300):
            plant.cmd("SET", f"psr:shop:lock:{i}", "secret")
    for words in RESERVED:
        e = c.error(*words)
        equal(e.word, "ISOLATION", repr(words)[:100])
        check("psr:" in e.text and "use another name" in e.text, e.text)
    equal(c.cmd("SORT", "l", "BY", "w_*", "GET", "x*"), [None, None])
    equal(c.cmd("SORT", "l", "BY", "nosort", "GET", "#"), [b"b", b"a"])
    equal(c.cmd("MULTI"), "OK")
    equal(c.error("GET", "psr:x").word, "ISOLATION")
    equal(c.error("EXEC").word, "EXECABORT")
    names = c.cmd("KEYS", "*")
    check(b"psy" in names and b"proj:blog:b" in names and not [n for n in names if n.startswith(b"psr:")], len(names))
    equal(c.cmd("KEYS", "psr:*"), [])
    found = walk([c], "COUNT", 40)[0]
    equal((sorted(set(found)), c.cmd("DBSIZE")), (sorted(names), len(names)))
    equal(walk([c], "MATCH", "psr:*")[0], [])
    equal(c.cmd("MULTI"), "OK")
    equal((c.cmd("KEYS", "ps*"), c.cmd("SCAN", 0, "MATCH", "ps*")), ("QUEUED", "QUEUED"))
    keys, (_, some) = c.cmd("EXEC")
    equal((keys, set(some) - {b"psy"}), ([b"psy"], set()))
    for _ in range(40):
        check(c.cmd("RANDOMKEY") in names, "RANDOMKEY")
    equal(p.http("POST", "/v1/command", ["GET", "psr:x"], {"Purser-Project": "all"}).status, 403)
    # in a project with a prefix the name is like any other
    with client(p, "shop") as shop:
        equal((shop.cmd("SET", "psr:x", "v"), shop.cmd("GET", "psr:x"), shop.cmd("KEYS", "psr:*")), ("OK", b"v", [b"psr:x"]))
        equal(shop.cmd("DEL", "psr:x"), 1)
    if plant: # only they are left: there is no key for this project
        for n in names:
            c.cmd("DEL", n)
        equal((c.cmd("RANDOMKEY"), c.cmd("DBSIZE"), c.cmd("KEYS", "*"), plant.cmd("DBSIZE")), (None, 0, [], 300))
    c.close()


class Strange(harness.FakeServer):
    """A store whose cursors are as large as they get."""

    numbers = [2**36, 2**45 + 7, 2**46, 2**53 + 1, 2**64 - 1]

    def serve(self, s, c):
        while True:
            words = c.read()
            name = words[0].upper()
            if name == b"SCAN":
                at = self.numbers.index(int(words[1])) + 1 if words[1] != b"0" else 0
                cursor = b"%d" % self.numbers[at] if at < len(self.numbers) else b"0"
                key = b"proj:shop:k%d" % at
                s.sendall(b"*2\r\n$%d\r\n%s\r\n*2\r\n$%d\r\n%s\r\n$8\r\nproj:x:y\r\n" % (len(cursor), cursor, len(key), key))
            elif name == b"HELLO":
                s.sendall(b"*4\r\n$5\r\nproto\r\n:2\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n" if words[1:2] != [b"3"] else
                          b"%2\r\n$5\r\nproto\r\n:3\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n")
            else:
                s.sendall(b"+OK\r\n")


def large():
    """Whatever a store's cursor is, it comes back to it as it was; what is not the project's is left out."""
    fake = Strange(os.path.join(harness.tmp(), "odd.sock"))
    with harness.Purserd(config="[agent]\nmode = development\n[backend main]\nplugin = redis\nurl = " + fake.url + "\n[project shop]\n", name="strange") as p:
        p.allow(".")  # the store answers no probe
        with client(p, "shop") as a, client(p, "shop") as b:
            names, cursors = walk([a, b])
            equal(names, [b"k%d" % i for i in range(6)])
            check(int(cursors[0]) < 2**62 and int(cursors[4]) > 2**64, cursors)


def kept(p, cursors, keys):
    """The agent starts again: a walk goes on, also for redis-py, whose cursors are numbers."""
    with client(p, "shop") as c:
        check(set(walk([c], start=cursors[3])[0]) <= keys)
    script = ("import redis\n"
              f"r = redis.Redis(unix_socket_path={p.sock!r}, username='shop', password='x')\n"
              "c, n = r.scan(0, count=5)\nassert isinstance(c, int) and c, c\n"
              "assert len(set(r.scan_iter(count=7))) == 600\n")
    if subprocess.run([sys.executable, "-c", "import redis"], stderr=subprocess.DEVNULL, check=False).returncode:
        print("python3-redis is not installed: its part is left out")
    else:
        subprocess.run([sys.executable, "-c", script], check=True)


def main():
    large()
    for plugin in ("memory", "redis"):
        with harness.Redis() as redis:
            config = CONFIG.format(plugin=plugin, url=f"url = {redis.url}" if plugin == "redis" else "")
            with harness.Purserd(config=config) as p:
                cursors, keys = binding(p)
                if plugin == "redis":
                    p.stop()
                    p.start()
                    kept(p, cursors, keys)
                with harness.Client(redis.sock) as plant:
                    internal(p, plant if plugin == "redis" else None)


harness.run(main)
