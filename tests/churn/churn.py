#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Steady churn on the memory backend: keys of every type and many sizes come, change, expire, go and are evicted, and the agent's
resident memory does not grow.  PURSER_SECONDS: how long (make check-churn SECONDS=600)."""

import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import check

SECONDS = float(os.environ.get("PURSER_SECONDS", "60"))
KEYS = 60000
BATCH = 200


def resident(p):
    with open(f"/proc/{p.pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def command(g):
    n = int(KEYS * g.random() ** 2)
    kind = g.randrange(20)
    if kind < 8:
        size = int(10 ** (1 + 2.3 * g.random()))
        return ("SET", f"s{n}", b"v" * size) + (("PX", g.randrange(100, 20000)) if g.randrange(2) else ())
    if kind < 11:
        return ("DEL", f"s{n}", f"h{n % 3000}", f"l{n % 1000}")
    some = g.randrange(400)
    return (("HSET", f"h{n % 3000}", f"f{some}", "v" * g.randrange(100)), ("HDEL", f"h{n % 3000}", f"f{some}"),
            ("RPUSH", f"l{n % 1000}", "e" * g.randrange(200)), ("LTRIM", f"l{n % 1000}", -200, -1),
            ("SADD", f"t{n % 1000}", f"m{some}"), ("SREM", f"t{n % 1000}", f"m{some}"),
            ("ZADD", f"z{n % 1000}", some, f"m{some}"), ("ZREMRANGEBYRANK", f"z{n % 1000}", 0, 3),
            ("APPEND", f"s{n}", "a" * g.randrange(300)))[kind - 11]


def churn(c, g, until, p, seen):
    errors = 0
    while time.monotonic() < until:
        for reply in c.pipeline([command(g) for _ in range(BATCH)]):
            if isinstance(reply, harness.RespError) and not reply.text.startswith("WRONGTYPE"):
                errors += 1
        seen.append(resident(p))
    check(errors == 0, f"{errors} errors")


def evicted(c):
    return int(c.cmd("INFO", "stats").split(b"evicted_keys:")[1].split(b"\r\n")[0])


def mean(values):
    return sum(values) / len(values)


def main():
    g = random.Random(harness.seed())
    for policy in ("allkeys-lru", "allkeys-s3fifo"):
        with harness.Purserd({"backend main.plugin": "memory", "backend main.max_memory": "12MiB",
                              "backend main.eviction": policy}) as p:
            c, seen = p.client(), []
            while evicted(c) < 20000:  # until it is full and has its shape
                churn(c, g, time.monotonic() + 1, p, [])
            churn(c, g, time.monotonic() + SECONDS / 10, p, [])
            churn(c, g, time.monotonic() + SECONDS / 2, p, seen)
            part = max(1, len(seen) // 5)
            first, last = mean(seen[:part]), mean(seen[-part:])
            print(f"{policy}: {len(seen) * BATCH} commands, {first / 2**20:.2f} MiB, then {last / 2**20:.2f} MiB: "
                  f"{100 * (last / first - 1):+.2f} %", flush=True)
            check(last < 1.01 * first, f"{policy}: it grows")


harness.run(main)
