#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A noisy neighbour: how slow does project a, flooding, make project b?

    beside   a floods a second agent, which is on the same host and the same Redis
    same     a floods the agent that b uses

What b's client sees in the second must be at most 1.5 times of what it sees in the first (99th percentile of GET, one
request at a time).  Both are measured in turns, a second each, so that what else the host does hits both.  a has 100
connections that send batches of 512 without pause; then the same with a limited to a rate of which it asks ten times
as much.  Needs bench/lg; PURSER_ROUNDS=n, PURSER_ONLY=memory|redis|unlimited|limited."""

import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness  # noqa: E402
from harness import check  # noqa: E402

ROUNDS = int(os.environ.get("PURSER_ROUNDS") or "7")
GOAL = float(os.environ.get("PURSER_GOAL", "1.5"))
CONNS, DEPTH = "100", os.environ.get("PURSER_DEPTH", "512")
RATE = 50000
ONLY = os.environ.get("PURSER_ONLY", "").split()
LG = os.path.join(harness.builddir, "bench/lg")


def config(backend, redis, limited):
    store = f"plugin = redis\nurl = {redis.url}" if backend == "redis" else "plugin = memory\nmax_memory = 256MiB"
    limit = f"rate = {RATE}\nburst = {RATE // 100}\n" if limited else ""
    return (f"[agent]\nworkers = 1\n[backend main]\n{store}\n[health]\ninterval = 1h\n"
            f"[project a]\n{limit}[project b]\n")


def lg(p, project, *args, **more):
    argv = [LG, "-k", "1000", "-p", f"{project}key", "-e", f"AUTH {project} x", *args, p.sock]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def figures(process):
    out, err = process.communicate(timeout=120 * harness.SLOW)
    got = dict(line.split("=", 1) for line in out.split() if "=" in line)
    check("latency_p99_us" in got, "the load generator says: ", out, err)
    return got


def measure(victim):
    return figures(lg(victim, "b", "-c", "1", "-P", "1", "-s", "1", "-w", "0.2"))


def flooded(flooded_agent, victim):
    flood = lg(flooded_agent, "a", "-c", CONNS, "-P", DEPTH, "-s", "3600", "-V", "shape", "-m", "get=9,set=1")
    try:
        time.sleep(0.3)
        check(flood.poll() is None, "the flood has ended: ", flood.poll())
        return measure(victim)
    finally:
        flood.kill()
        flood.wait()
        flood.stdout.close()
        flood.stderr.close()


def p99(got):
    return float(got["latency_p99_us"])


def one(backend, limited):
    name = f"{backend}, a {'limited to %d a second' % RATE if limited else 'without limits'}"
    with harness.Redis() as redis:
        text = config(backend, redis, limited)
        with harness.Purserd(config=text, name="one") as first, harness.Purserd(config=text, name="two") as second:
            for p in (first, second):
                for project in "ab":
                    figures(lg(p, project, "--fill"))
            seen = {"beside": [], "same": []}
            for i in range(ROUNDS):
                for kind in ("beside", "same") if i % 2 else ("same", "beside"):
                    got = flooded(second if kind == "beside" else first, first)
                    seen[kind].append(got)
    beside, same = ([p99(g) for g in seen[k]] for k in ("beside", "same"))
    ratio = statistics.median(same) / statistics.median(beside)
    for k in ("beside", "same"):
        print(f"    {k:8}", "p99 us", " ".join(f"{p99(g):8.0f}" for g in seen[k]), " ops/s",
              " ".join(g["ops_per_s"] for g in seen[k]))
    print(f"{name}: p99 {statistics.median(same):.0f} us / {statistics.median(beside):.0f} us = {ratio:.2f}", flush=True)
    return ratio


def main():
    if not os.access(LG, os.X_OK):
        harness.skip("bench/lg is not built")
    harness.require("redis-server")
    ratios = []
    for backend in ("redis", "memory"):
        for limited in (False, True):
            if ONLY and (backend not in ONLY and set(ONLY) & {"redis", "memory"} or
                         ("limited" if limited else "unlimited") not in ONLY and set(ONLY) & {"limited", "unlimited"}):
                continue
            ratios.append(one(backend, limited))
    check(max(ratios) <= GOAL, "the worst ratio is", max(ratios))


harness.run(main)
