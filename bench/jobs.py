#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What clearing many keys costs Redis: its CPU share at the default rate, how soon a cancelled job leaves it alone, and how much
of the walk is done again when the agent is killed.

    make bench-jobs BENCH_FLAGS='--keys 5000000 --seconds 20'

A private redis-server is filled with --keys keys of one project (and a quarter as many of another's), a job clears the first
ones with the settings that nobody has set, and CPU is read from /proc/PID/stat of redis-server, over --seconds of the run:
the share does not depend on which part of the walk that is. --whole runs it to its end. What the idle server takes is
measured before and is not taken off."""

import argparse
import os
import re
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
import harness

TICK = os.sysconf("SC_CLK_TCK")
HUNDRED = 100.0


def cpu(pid):
    """Seconds of CPU so far, all threads."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def share(pid, seconds):
    """Percent of one core, over so long."""
    begin, t = cpu(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu(pid) - begin) / (time.monotonic() - t) * HUNDRED


def fill(store, prefix, n):
    """DEBUG POPULATE: keys of 64 bytes, as many as asked, in seconds."""
    if store.cmd("DEBUG", "POPULATE", n, prefix, 64) not in ("OK", b"OK"):
        raise harness.Failure("redis-server does not fill itself")


def show(c, job):
    v = c.cmd("PURSER.JOB", job)
    return {v[i].decode(): v[i + 1] for i in range(0, len(v), 2)}


def calls(store):
    """SCAN and UNLINK so far."""
    text = store.cmd("INFO", "commandstats").decode()
    return sum(int(n) for n in re.findall(r"cmdstat_(?:scan|unlink):calls=(\d+)", text))


def shop(p):
    """A client in that project."""
    c = p.client()
    c.cmd("PURSER.PROJECT", "shop")
    return c


def clear(p, redis, args):
    c, pid = shop(p), redis.pid
    idle = share(pid, 3)
    job = c.cmd("CACHE.CLEAR", "key:*")
    harness.wait_until(lambda: int(show(c, job)["matched"]) > 1000, "the job to have begun")
    first, began, t = show(c, job), cpu(pid), time.monotonic()
    longest = 0.0
    while True:
        longest = max(longest, share(pid, 1))
        d = show(c, job)
        if d["state"] != b"running" or (not args.whole and time.monotonic() - t >= args.seconds):
            break
    took = time.monotonic() - t
    removed = int(d["changed"]) - int(first["changed"])
    print(f"redis-server idle: {idle:.1f} % of a core")
    print(f"clearing: {removed} keys in {took:.1f} s ({removed / took:.0f}/s), {(cpu(pid) - began) / took * HUNDRED:.1f} % of a core, "
          f"worst second {longest:.1f} %" + ("" if args.whole else f" (a slice of the run: {d['progress'].decode()} % done, "
                                             f"{d['eta_ms'] or 0} ms left)"))
    return job, d


def cancel(c, store, job):
    """How soon the answer is there, and whether the store hears anything after it."""
    t = time.monotonic()
    d = c.cmd("PURSER.JOB.CANCEL", job)
    ms = (time.monotonic() - t) * 1e3
    after = calls(store)
    time.sleep(0.3)
    harness.equal(calls(store), after, "commands of a cancelled job")
    harness.check(b"cancelled" in d or b"done" in d)
    return ms


def cancels(p, redis, times):
    c, store, all_ms = shop(p), redis.client(), []
    for _ in range(times):
        job = c.cmd("CACHE.COUNT", "key:*")
        harness.wait_until(lambda j=job: int(show(c, j)["walked"]) > 2000, "the job to have begun")
        all_ms.append(cancel(c, store, job))
    print(f"cancelling, of {times}: answered in {statistics.median(all_ms):.1f} ms (median), {max(all_ms):.1f} ms (worst); "
          "nothing reached the store behind any answer")


def resume(p, redis):
    c = shop(p)
    total = redis.client().cmd("DBSIZE")
    job = c.cmd("CACHE.COUNT", "*", "RATE", 200000)
    harness.wait_until(lambda: int(show(c, job)["matched"]) > 300000 or show(c, job)["state"] == b"done", "it to be on its way", 60)
    before = show(c, job)
    p.kill()
    p.start()
    c = shop(p)
    harness.wait_until(lambda: show(c, job)["state"] == b"running", "it to go on", 60)
    after = show(c, job)
    print(f"kill -9 at {before['matched']} names counted: goes on by itself at {after['matched']}, pass {after['passes']}, "
          f"resumed {after['resumed']}, of {total} keys in the store")
    c.cmd("PURSER.JOB.CANCEL", job)


def main():
    args = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    args.add_argument("--keys", type=int, default=5_000_000)
    args.add_argument("--seconds", type=float, default=20)
    args.add_argument("--whole", action="store_true")
    args = args.parse_args()
    harness.require("redis-server")
    with harness.Redis(["--enable-debug-command", "yes"]) as redis, harness.Purserd(config=f"""[backend main]
plugin = redis
url = {redis.url}
[project shop]
backend = main
[project blog]
backend = main
""") as p:
        store = redis.client(timeout=300)
        fill(store, "proj:shop:key", args.keys)
        fill(store, "proj:blog:key", args.keys // 4)
        print(f"{store.cmd('DBSIZE')} keys, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        resume(p, redis)
        job, _ = clear(p, redis, args)
        print(f"cancelling that: answered in {cancel(shop(p), store, job):.1f} ms")
        cancels(p, redis, 21)


harness.run(main)
