#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A snapshot of many keys: written, read, written again, read by Redis; how long that takes is printed (not judged).
make check-long takes a million."""

import os
import re
import harness

KEYS = 1000000 if harness.LONG else 20000
PREFIX = "proj:default:"


def fill(c):
    """Nine strings of ten with 64 bytes, a third of them with an expiry; every tenth is a small hash."""
    for at in range(0, KEYS, 5000):
        lines = []
        for i in range(at, min(at + 5000, KEYS)):
            if i % 10 == 9:
                lines.append(("HSET", f"key:{i}", "name", f"of {i}", "n", i, "text", "x" * 30))
            elif i % 3:
                lines.append(("SET", f"key:{i}", f"{i:064d}"[::-1]))
            else:
                lines.append(("SET", f"key:{i}", f"{i:064d}"[::-1], "PXAT", 4102444800000 + i))
        for reply in c.pipeline(lines):
            harness.check(not isinstance(reply, harness.RespError), reply)


def sampled(c, prefix=""):
    """A few keys in full, and how many there are."""
    out = [c.cmd("DBSIZE")]
    for i in range(0, KEYS, KEYS // 500 + 1):
        if i % 10 == 9:
            out.append(sorted(c.cmd("HGETALL", f"{prefix}key:{i}")))
        else:
            out.append((c.cmd("GET", f"{prefix}key:{i}"), c.cmd("PEXPIRETIME", f"{prefix}key:{i}")))
    return out


def figures(what, text):
    m = re.search(r"(\d+) keys,.*?(\d+) bytes, (\d+) ms", text)
    keys, size, ms = map(int, m.groups())
    harness.equal(keys, KEYS, what)
    print(f"{what}: {keys} keys, {size / 1e6:.1f} MB in {ms} ms: {size / max(ms, 1) / 1000:.0f} MB/s, {ms * 1e6 / keys:.0f} ns a key")


def main():
    harness.require("redis-server")
    file = os.path.join(harness.tmp(), "large.rdb")
    settings = {"backend main.plugin": "memory", "backend main.snapshot": file, "backend main.max_memory": "0MiB"}
    with harness.Purserd(settings, name="first") as p:
        fill(p.client())
        want = sampled(p.client())
    figures("written", p.wait_log("snapshot written: .*").group())
    with harness.Purserd(settings, name="second") as p:
        harness.equal(sampled(p.client()), want)
    figures("read", p.wait_log("snapshot read: .*").group())
    with harness.Redis(["--dir", harness.tmp(), "--dbfilename", "large.rdb"]) as redis:
        c = redis.client()
        harness.wait_until(lambda: "\r\nloading:0" in c.cmd("INFO", "persistence").decode(), "Redis to have read it", 120)
        harness.equal(sampled(c, PREFIX), want)
    print("by Redis:", re.search("DB loaded from disk: .*", redis.log()).group())


harness.run(main)
