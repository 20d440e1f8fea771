#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Steady churn on the memory backend: keys of every type and many sizes come, change, expire, go and are evicted, and the agent's
resident memory does not grow once it has reached its shape.  PURSER_SECONDS: how long that is watched, for each policy
(make check-churn SECONDS=600); PURSER_POLICIES: which."""

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
WINDOW = 2                 # seconds of one look at what is resident
WARM_LEAST = 6000000       # commands: under s3fifo what is kept changes for 5 millions
WARM_MOST = 1000           # looks until it must have its shape
POLICIES = ("noeviction allkeys-lru allkeys-lfu allkeys-random allkeys-s3fifo volatile-lru volatile-lfu volatile-random "
            "volatile-ttl")


def resident(p):
    with open(f"/proc/{p.pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def command(g, volatile):
    n = int(KEYS * g.random() ** 2)
    kind = g.randrange(20)
    if kind < 8:
        size = int(10 ** (1 + 2.3 * g.random()))
        return ("SET", f"s{n}", b"v" * size) + (("PX", g.randrange(100, 20000)) if volatile or g.randrange(2) else ())
    if kind < 11:
        return ("DEL", f"s{n}", f"h{n % 3000}", f"l{n % 1000}")
    some = g.randrange(400)
    return (("HSET", f"h{n % 3000}", f"f{some}", "v" * g.randrange(100)), ("HDEL", f"h{n % 3000}", f"f{some}"),
            ("RPUSH", f"l{n % 1000}", "e" * g.randrange(200)), ("LTRIM", f"l{n % 1000}", -200, -1),
            ("SADD", f"t{n % 1000}", f"m{some}"), ("SREM", f"t{n % 1000}", f"m{some}"),
            ("ZADD", f"z{n % 1000}", some, f"m{some}"), ("ZREMRANGEBYRANK", f"z{n % 1000}", 0, 3),
            ("APPEND", f"s{n}", "a" * g.randrange(300)))[kind - 11]


class Churn:
    """One agent under one policy."""

    def __init__(self, p, policy, g):
        self.p, self.c, self.policy, self.g = p, p.client(), policy, g
        self.commands = 0
        self.began = time.monotonic()

    def one(self):
        """What can go under a policy for keys with a life is every key: the others would fill the memory for good."""
        words = command(self.g, self.policy.startswith("volatile"))
        if self.policy.startswith("volatile") and words[0] in ("HSET", "RPUSH", "SADD", "ZADD", "APPEND"):
            return [words, ("PEXPIRE", words[1], self.g.randrange(1000, 60000))]
        return [words]

    def window(self, seconds):
        """The means of what was resident and of what was in use in so many seconds."""
        seen, used, until = [], [], time.monotonic() + seconds
        while time.monotonic() < until:
            batch = [w for _ in range(BATCH) for w in self.one()]
            errors = [r.text for r in self.c.pipeline(batch) if isinstance(r, harness.RespError)]
            errors = [e for e in errors if not e.startswith("WRONGTYPE")]
            check(not errors, f"{self.policy}: {errors[:3]}")
            self.commands += len(batch)
            seen.append(resident(self.p))
            if len(seen) % 20 == 1:
                used.append(self.info("memory", "used_memory"))
        return sum(seen) / len(seen), sum(used) / len(used)

    def info(self, section, field):
        return int(self.c.cmd("INFO", section).split(field.encode() + b":")[1].split(b"\r\n")[0])

    def evicts(self):
        return self.policy == "noeviction" or self.info("stats", "evicted_keys") > 20000

    def warm(self):
        """Until it is full, has evicted, and three windows in a row do not exceed what was there before by a
        thousandth: the heap has its shape then.  What grows for ever never gets there."""
        most, calm, n = 0, 0, 0
        while calm < 3:
            n += 1
            check(n <= WARM_MOST, f"{self.policy}: still growing after {self.commands} commands, {most / 2**20:.2f} MiB")
            now = self.window(WINDOW)[0]
            calm = calm + 1 if now <= 1.001 * most and self.commands > WARM_LEAST and self.evicts() else 0
            most = max(most, now)

    def measure(self, seconds):
        at = self.commands
        began = time.monotonic()
        seen = [self.window(seconds / 20) for _ in range(20)]
        (first, used), (last, in_use) = ([sum(v) / 4 for v in zip(*some)] for some in (seen[:4], seen[-4:]))
        print(f"{self.policy}: warm after {began - self.began:.0f} s and {at} commands; then {self.commands - at} in "
              f"{time.monotonic() - began:.0f} s: {first / 2**20:.2f} MiB, at the end {last / 2**20:.2f} MiB: "
              f"{100 * (last / first - 1):+.2f} % (in use {used / 2**20:.2f} and {in_use / 2**20:.2f} MiB, most resident "
              f"{max(seen)[0] / 2**20:.2f} MiB)", flush=True)
        # without a limit, how much there is varies by itself
        check(last - max(0, in_use - used) < 1.01 * first, f"{self.policy}: it grows")


def main():
    seed = harness.seed()
    for policy in os.environ.get("PURSER_POLICIES", POLICIES).split():
        limit = {} if policy == "noeviction" else {"backend main.max_memory": "12MiB"}
        with harness.Purserd(dict({"backend main.plugin": "memory", "backend main.eviction": policy}, **limit)) as p:
            churn = Churn(p, policy, random.Random(seed))
            churn.warm()
            churn.measure(SECONDS)


harness.run(main)
