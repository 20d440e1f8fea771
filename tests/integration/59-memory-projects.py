#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The memory backend's accounts of projects as INFO shows them, over a restart with a snapshot as well."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import check, equal

CONFIG = """
[agent]
mode = development
[backend main]
plugin = memory
snapshot = {snapshot}
[project shop]
scripts = declared-keys
[project blog]
key_prefix = b!:
[project all]
isolation = off
"""


def memory(c):
    lines = c.cmd("INFO", "memory").decode().split("\r\n")
    return {k: v for k, _, v in (line.partition(":") for line in lines)}


def clients(p):
    made = []
    for name in ("shop", "blog", "all"):
        c = p.client()
        equal(c.cmd("PURSER.PROJECT", name), "OK")
        made.append(c)
    return made


def sums(shop, blog, all_):
    m = []

    def same():  # what goes on beside commands may come between
        m[:] = [memory(c) for c in (shop, blog, all_)]
        return len({(x["used_memory"], x["used_memory_tables"]) for x in m}) == 1
    harness.wait_until(same, "all to see the same store")
    own = [int(x["used_memory_project"]) for x in m]
    equal(sum(own) + int(m[0]["used_memory_tables"]), int(m[0]["used_memory"]), "projects and tables")
    return own, [int(x["project_keys"]) for x in m]


def accounts(p):
    shop, blog, all_ = clients(p)
    for i in range(200):
        shop.cmd("SET", f"k{i}", b"x" * 100)
        blog.cmd("RPUSH", "list", b"y" * 100)
        all_.cmd("SET", f"bare{i % 10}", "v")
    own, keys = sums(shop, blog, all_)
    equal(keys, [200, 1, 10])
    check(own[0] > 20000 and own[1] > 20000 and 0 < own[2] < 2000, own)
    equal(all_.cmd("RENAME", "b!:list", "proj:shop:list"), "OK")  # whose it is, its name says
    moved, keys = sums(shop, blog, all_)
    equal(keys, [201, 0, 10])
    check(moved[0] > own[0] + 20000 and moved[1] == 0, moved)
    shop.cmd("EVAL", "redis.call('SET', 'b!:by-script', 'v')", "0")
    equal(sums(shop, blog, all_)[1], [201, 1, 10])
    return sums(shop, blog, all_)


def waiting(p):
    """Who waits for a while costs his project nothing that stays."""
    shop, blog, all_ = clients(p)
    was = sums(shop, blog, all_)
    for _ in range(3):
        waiters = [p.client() for _ in range(40)]
        for c in waiters:
            c.cmd("PURSER.PROJECT", "shop")
            c.send("BLPOP", "queue", 1000)
        harness.wait_until(lambda: b"blocked_clients:40\r" in shop.cmd("INFO", "clients"), "forty to wait")
        for c in waiters:
            c.close()
        harness.wait_until(lambda: b"blocked_clients:0\r" in shop.cmd("INFO", "clients"), "them to be gone")
    equal(sums(shop, blog, all_), was)


def after_restart(p, was):
    shop, blog, all_ = clients(p)
    shop.cmd("GET", "k1")
    blog.cmd("GET", "none")
    own, keys = sums(shop, blog, all_)
    equal(keys, was[1])
    equal(shop.cmd("DEL", *(f"k{i}" for i in range(200))), 200)
    equal(sums(shop, blog, all_)[1], [1, 1, 10])
    equal(all_.cmd("FLUSHALL"), "OK")
    harness.wait_until(lambda: sums(shop, blog, all_)[0] == [0, 0, 0], "everything is freed")


def main():
    snapshot = os.path.join(harness.tmp(), "dump.rdb")
    config = CONFIG.format(snapshot=snapshot)
    with harness.Purserd(config=config) as p:
        was = accounts(p)
        waiting(p)
    with harness.Purserd(config=config) as p:
        after_restart(p, was)


harness.run(main)
