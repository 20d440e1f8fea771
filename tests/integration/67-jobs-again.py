#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Jobs that somebody interrupts: kill -9 of the agent, the store restarted (another process, so cursors are void) or away, a
damaged state file, a reload that takes the project away or moves it, more jobs than there may be, nowhere to store them."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import Purserd, Redis, check, equal, wait_until

N = 9000
CONFIG = """[agent]
mode = development
[backend main]
plugin = redis
url = {url}
[backend mem]
plugin = memory
[project other]
backend = main
[breaker]
recovery_initial = 100ms
[jobs]
running = {running}
kept = {kept}
"""
SHOP = "[project shop]\nbackend = %s\n"


def config(redis, shop="main", running=4, kept=50):
    return CONFIG.format(url=redis.url, running=running, kept=kept) + (SHOP % shop if shop else "")


def enter(p, project="shop"):
    c = p.client()
    c.cmd("HELLO", 3)
    c.cmd("PURSER.PROJECT", project)
    return c


def show(c, job):
    d = {k.decode(): v for k, v in c.cmd("PURSER.JOB", job).items()}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in d.items()}


def wait_for(c, job, state):
    return wait_until(lambda: (lambda d: d if d["state"] == state else None)(show(c, job)), f"job {job} to be {state}", 30)


def fill(c, n, prefix="k:"):
    for i in range(0, n, 1000):
        c.cmd("MSET", *[w for k in range(i, min(i + 1000, n)) for w in (f"{prefix}{k}", "v")])


def stored(p, job):
    """The state file's fields."""
    folder = os.path.join(p.settings["agent.state_dir"], "jobs")
    name = next(n for n in os.listdir(folder) if n.startswith(job.decode()) and n.endswith(".job"))
    with open(os.path.join(folder, name), encoding="ascii") as f:
        return os.path.join(folder, name), dict(line.rstrip("\n").split(" ", 1) for line in f)


def killed(p, redis):
    """What was walked is not walked again; nothing is counted or exported twice or not at all."""
    c = enter(p)
    fill(c, N)
    fill(c, 2000, "c:")
    jobs = [c.cmd(*w) for w in (("CACHE.COUNT", "k:*", "RATE", 6000), ("CACHE.EXPORT", "k:*", "RATE", 6000),
                                ("CACHE.CLEAR", "c:*", "RATE", 1500))]
    broken = c.cmd("CACHE.COUNT", "broken:*", "RATE", 100)
    wait_until(lambda: all(int(stored(p, j)[1]["cursor"]) for j in jobs), "all of them to be stored on their way", 20)
    p.kill()
    cursors = [int(stored(p, j)[1]["cursor"]) for j in jobs]
    check(all(cursors), cursors)
    path, _ = stored(p, broken)
    with open(path, "r+b") as f:
        f.seek(40)
        f.write(b"?")
    p.start()
    c = enter(p)
    count, export, clear = [wait_for(c, j, "done") for j in jobs]
    for d in (count, export, clear):
        equal((d["resumed"], d["passes"], d["progress"]), (1, 1, 100), d)
    equal((count["matched"], export["matched"]), (N, N))
    piece = c.cmd("PURSER.JOB.FETCH", jobs[1], "COUNT", 8 << 20)
    equal(sorted(json.loads(x) for x in piece[b"names"].splitlines()), sorted(f"k:{i}" for i in range(N)))
    wait_until(lambda: c.cmd("DBSIZE") == N, "the keys to be removed")
    d = show(c, broken)
    check(d["state"] == "failed" and "damaged" in d["reason"] and d["kind"] == "count", d)
    p.wait_log(r'"event":"job.file.damaged"')
    check(os.path.exists(path.replace(".job", ".bad")), os.listdir(os.path.dirname(path)))


def store_restarts(p, redis):
    """Another process of the store has its keys in another order: from the beginning; and meanwhile it says why it waits."""
    c = enter(p)
    job = c.cmd("CACHE.COUNT", "k:*", "RATE", 6000)
    wait_until(lambda: show(c, job)["matched"] > 2000, "it to be on its way")
    redis.client().cmd("SAVE")
    redis.kill()
    d = wait_for(c, job, "interrupted")
    check(any(w in d["reason"] for w in ("BACKENDDOWN", "CIRCUITOPEN", "TIMEOUT", "INDETERMINATE")), d)
    redis.start()
    d = wait_for(c, job, "done")
    equal((d["matched"], d["passes"], d["reason"]), (N, 2, ""), d)


def ended(p):
    """Told to stop, the agent stores what it has and leaves at once."""
    c = enter(p)
    job = c.cmd("CACHE.COUNT", "k:*", "RATE", 3000)
    wait_until(lambda: show(c, job)["matched"] > 300, "it to be on its way")
    p.stop()
    cursor = int(stored(p, job)[1]["cursor"])
    check(cursor != 0)
    p.start()
    c = enter(p)
    c.cmd("PURSER.JOB.CANCEL", job)
    equal((show(c, job)["state"], show(c, job)["resumed"]), ("cancelled", 1))
    p.kill()  # cancelled is on disk, too
    p.start()
    equal(show(enter(p), job)["state"], "cancelled")


def reload(p):
    wait_until(lambda: p.ctl("reload").returncode == 0, "the reload")  # while one is under way there is no other


def reloaded(p, redis):
    c = enter(p)
    moved = c.cmd("CACHE.COUNT", "k:*", "RATE", 100)
    wait_for(c, moved, "running")
    wait_until(lambda: show(c, moved)["walked"] > 10, "it to have begun")
    equal(c.cmd("PURSER.JOB", moved)[b"state"], b"running")
    p.write_config(config(redis, "mem"))
    reload(p)
    d = wait_for(enter(p), moved, "failed")
    check("CONFLICT" in d["reason"] and "another backend" in d["reason"], d)
    p.write_config(config(redis, "main"))
    reload(p)
    c = enter(p)
    gone = c.cmd("CACHE.CLEAR", "k:*", "RATE", 100)
    wait_for(c, gone, "running")
    p.write_config(config(redis, None))
    reload(p)
    p.wait_log(r'"event":"job.failed","message":"NOPROJECT the project is not configured any more"')
    p.write_config(config(redis, "main", running=1, kept=4))
    reload(p)
    c = enter(p)
    equal(show(c, gone)["state"], "failed")
    check(c.cmd("DBSIZE") > N - 1000)


def bounded(p):
    """running = 1, kept = 4: the rest waits, is refused, or goes."""
    c, other = enter(p), enter(p, "other")
    jobs = [c.cmd("CACHE.COUNT", "x", "RATE", 1) for _ in range(4)]
    equal([show(c, j)["state"] for j in jobs], ["running", "queued", "queued", "queued"])
    e = c.error("CACHE.COUNT", "x")
    check(e.word == "RATELIMITED" and "PURSER.JOB.CANCEL" in e.text, e)
    wait_for(other, other.cmd("CACHE.COUNT", "x"), "done")  # another project's are its own affair
    equal([j[b"id"] for j in c.cmd("PURSER.JOB.LIST")], jobs)
    c.cmd("PURSER.JOB.CANCEL", jobs[2])
    c.cmd("PURSER.JOB.CANCEL", jobs[0])
    equal([show(c, j)["state"] for j in jobs], ["cancelled", "running", "cancelled", "queued"])
    last = c.cmd("CACHE.COUNT", "x", "RATE", 1)
    equal(c.error("PURSER.JOB", jobs[0]).word, "NOKEY")  # the oldest that is over
    for j in (jobs[1], jobs[3], last):
        c.cmd("PURSER.JOB.CANCEL", j)
    folder = os.path.join(p.settings["agent.state_dir"], "jobs")
    equal(len([n for n in os.listdir(folder) if "@shop.job" in n]), 4)


def nowhere():
    """Without a place that survives there are no jobs, and it is said why; the agent serves."""
    p = Purserd({"jobs.running": 1}, name="homeless")
    os.mkdir(os.path.join(p.settings["agent.state_dir"], "jobs"))
    os.chmod(os.path.join(p.settings["agent.state_dir"], "jobs"), 0o755)
    with p:
        equal(p.client().cmd("PURSER.JOB.LIST"), [])
        e = p.client().error("CACHE.COUNT", "x")
        check(e.word == "CONFIG" and "state_dir" in e.text, e)
        p.wait_log(r'"event":"job.files.unusable"')


def shy():
    """A store that does not say who it is: what was walked is not trusted behind trouble, and else it makes no difference."""
    password = os.path.join(harness.tmp(), "shy.password")
    with open(password, "w", encoding="ascii", opener=lambda p, f: os.open(p, f, 0o600)) as f:
        f.write("pw\n")
    with Redis(name="shy") as redis:
        redis.client().cmd("ACL", "SETUSER", "bob", "on", ">pw", "~*", "&*", "+@all", "-info")
        keys = {"plugin": "redis", "url": redis.url, "user": "bob", "password_file": password}
        with Purserd({f"backend main.{k}": v for k, v in keys.items()}, name="patient") as p:
            c = p.client()
            c.cmd("HELLO", 3)
            fill(c, 3000)
            d = wait_for(c, c.cmd("CACHE.CLEAR", "k:*"), "done")
            equal((d["changed"], d["passes"]), (3000, 1))
            fill(c, 1500)
            job = c.cmd("CACHE.COUNT", "k:*", "RATE", 1200)
            wait_until(lambda: int(stored(p, job)[1]["cursor"]), "it to be stored on its way", 20)
            p.kill()
            p.start()
            c = p.client()
            c.cmd("HELLO", 3)
            d = wait_for(c, job, "done")
            equal((d["matched"], d["passes"], d["resumed"]), (1500, 2, 1))


def main():
    with Redis() as redis, Purserd(config=config(redis)) as p:
        killed(p, redis)
        store_restarts(p, redis)
        ended(p)
        reloaded(p, redis)
        bounded(p)
    nowhere()
    shy()


harness.run(main)
