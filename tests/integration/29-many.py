#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Many clients: idle ones beside busy ones that know every answer, on both stores; memory that is given back when
they leave.  The long form has 1,000 idle and 50 busy clients, 10,000 connections, and a soak of churn."""

import os
import random
import re
import resource

import harness
import tagged
from harness import check, encode, equal, wait_until

IDLE, BUSY, COMMANDS = (1000, 50, 1500) if harness.LONG else (200, 20, 60)
KIT = tagged.Kit(hashes=True, projects=("default", "two"))
PROJECTS = {"project default.databases": "4", "project two.databases": "2"}


def files(wanted):
    """How many files may be open, after asking for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        wanted = hard
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def rss(p):
    with open(f"/proc/{p.pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1))


def sanitized(p):
    with open(f"/proc/{p.pid}/maps", encoding="utf-8", errors="replace") as f:
        text = f.read()
    with open(p.program, "rb") as f:
        return b"__asan_init" in f.read() or b"__tsan_init" in text.encode()


def idle_and_busy(name, backend, seed, workers):
    with harness.Purserd({**PROJECTS, **backend, "agent.workers": str(workers)}, name=name) as p:
        idle = [p.client() for _ in range(IDLE)]
        for i, c in enumerate(idle):  # some have said something, some have begun to
            if i % 3 == 0:
                equal(c.cmd("PING"), "PONG")
            elif i % 3 == 1:
                c.raw(encode("SET", f"idle{i}", "v")[:7 + i % 20])
        n = tagged.run(p.sock, seed, clients=BUSY, commands=COMMANDS, kit=KIT)
        for i, c in enumerate(idle):
            if i % 3 == 1:
                c.raw(encode("SET", f"idle{i}", "v")[7 + i % 20:])
                equal(c.read(), "OK", f"idle client {i}")
            else:
                equal(c.cmd("PING"), "PONG", f"idle client {i}")
        for c in idle:
            c.close()
        with p.client() as c:
            wait_until(lambda: b'"clients":1,' in c.cmd("PURSER.STATUS"), "all clients to be gone")
    print(f"{name}: {n} replies beside {IDLE} idle clients", flush=True)


def churn(rounds, each):
    """Clients come, use all kinds of buffers, and go: memory reaches a level and stays there."""
    rng = random.Random(1)
    env = {"ASAN_OPTIONS": "quarantine_size_mb=8:" + os.environ.get("ASAN_OPTIONS", "")}
    with harness.Purserd({"health.interval": "1h"}, env=env, name="churn") as p:
        def round_():
            cs = [p.client() for _ in range(40)]
            for i, c in enumerate(cs):
                v = "x" * rng.choice((1, 100, 20000, 200000))
                c.raw(encode("SET", f"k{i}", v) + encode("GET", f"k{i}") * rng.randrange(1, 9) + encode("HELLO", "3"))
                if i % 4 == 0:
                    c.raw(b"*2\r\n$3\r\nGET\r\n$50000\r\nhalf")
                if i % 3:
                    equal(c.read(), "OK")
                    check(c.read() == v.encode())
            for c in cs:
                c.close()
            for i in range(4):
                equal(p.http("POST", "/redis/kv", {"key": f"h{i}", "value": "y" * rng.choice((1, 50000))}).status, 200)

        for _ in range(rounds):
            round_()
        before = rss(p)
        for _ in range(each):
            round_()
        with p.client() as c:
            wait_until(lambda: b'"clients":1,' in c.cmd("PURSER.STATUS"), "all clients to be gone")
        grown = rss(p) - before
        print(f"churn: {before} KiB, {grown:+} KiB after {each * 40} more clients", flush=True)
        check(grown < (16384 if sanitized(p) else 4096), "memory grows:", before, "KiB,", grown, "KiB more")


def connect(p):
    try:
        return p.client()
    except BlockingIOError:  # a socket with a time limit does not wait for room in the backlog
        return None


def ten_thousand():
    have = files(10500)
    if have < 10500:
        print(f"10,000 connections: skipped, only {have} files may be open (ulimit -n)")
        return
    with harness.Purserd({"agent.max_clients": "10050", "agent.workers": "3"}, name="10k") as p:
        with p.client() as c:
            c.cmd("PING")
        empty = rss(p)
        cs = [wait_until(lambda: connect(p), "room in the backlog") for _ in range(10000)]
        for c in cs:
            c.raw(encode("PING"))
        for c in cs:
            equal(c.read(), "PONG")
        full = rss(p)
        for i in range(0, 10000, 7):
            equal(cs[i].pipeline([("SET", f"k{i}", i), ("GET", f"k{i}")]), ["OK", b"%d" % i])
        print(f"10,000 connections: {(full - empty) * 1024 // 10000} bytes each", flush=True)
        check(sanitized(p) or (full - empty) * 1024 // 10000 < 4096, "an idle connection costs too much")
        for c in cs:
            c.close()
        with p.client() as c:
            wait_until(lambda: b'"clients":1,' in c.cmd("PURSER.STATUS"), "all clients to be gone", 60)


def main():
    seed = harness.seed()
    files(IDLE * 2 + 1000)
    idle_and_busy("on-memory", {"backend main.plugin": "memory"}, seed, 1)
    with harness.Redis() as redis:
        idle_and_busy("on-redis", {"backend main.plugin": "redis", "backend main.url": redis.url}, seed, 3)
    churn(*((100, 1000) if harness.LONG else (15, 30)))
    if harness.LONG:
        ten_thousand()


if __name__ == "__main__":
    harness.run(main)
