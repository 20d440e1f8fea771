#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Jobs over many keys, on both backends: what they do and to whose keys, limits, who may, cancelling; and that they go on when
the client, the agent (kill -9), the store or its address is another, or end with the reason."""

import base64
import json
import os
import pty
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import Purserd, Redis, check, equal, wait_until

CONFIG = """[agent]
mode = development
[backend main]
plugin = redis
url = {url}
[backend mem]
plugin = memory
[project shop]
backend = main
databases = 2
[project blog]
backend = main
[project mem]
backend = mem
[project open]
backend = mem
isolation = off
[project narrow]
backend = mem
role = narrow
[project looks]
backend = mem
role = reader
[role narrow]
permissions = redis:read redis:write
keys = mine:*
[jobs]
rate = 1000000
share = 100%
"""
BINARY = b"k:\xff\x00\xfe"


def enter(p, project):
    c = p.client()
    c.cmd("HELLO", 3)
    c.cmd("PURSER.PROJECT", project)
    return c


def show(c, job):
    d = {k.decode(): v for k, v in c.cmd("PURSER.JOB", job).items()}
    return {k: v.decode(errors="surrogateescape") if isinstance(v, bytes) else v for k, v in d.items()}


def wait_for(c, job, *states):
    return wait_until(lambda: (lambda d: d if d["state"] in states else None)(show(c, job)), f"job {job} to be {states}", 20)


def done(c, *words):
    d = wait_for(c, c.cmd(*words), "done", "failed", "cancelled")
    equal((d["state"], d["progress"], d["eta_ms"], d["passes"]), ("done", 100, 0, 1), d)
    return d


def fill(c, n, prefix="k:"):
    for i in range(0, n, 1000):
        c.cmd("MSET", *[w for k in range(i, min(i + 1000, n)) for w in (f"{prefix}{k}", "v")])


def names(c, job, count=65536):
    """An export, piece by piece."""
    out, offset = [], 0
    while True:
        piece = c.cmd("PURSER.JOB.FETCH", job, "OFFSET", offset, "COUNT", count)
        for line in piece[b"names"].splitlines():
            v = json.loads(line)
            out.append(v.encode() if isinstance(v, str) else base64.b64decode(v["base64"]))
        equal(piece[b"offset"], offset)
        offset = piece[b"next_offset"]
        if piece[b"complete"]:
            return out
        check(piece[b"names"], piece)


def kinds(c, other):
    """c's keys are changed, those of others are not."""
    fill(c, 3000)
    c.cmd("SET", BINARY, "v")
    c.cmd("SET", "keep", "v", "PX", 10_000_000)
    other.cmd("SET", "k:theirs", "v")
    d = done(c, "CACHE.COUNT", "k:*")
    equal((d["matched"], d["changed"], d["kind"], d["dry_run"]), (3001, 0, "count", False))
    d = done(c, "cache.clear", "k:1*", "dryrun", "rate", 500000)
    equal((d["matched"], d["changed"], d["dry_run"], d["rate"]), (1111, 1111, True, 500000))
    equal(done(c, "CACHE.TTLREPAIR", "*", 50_000_000, "DRYRUN")["changed"], 3001)
    equal(c.cmd("PTTL", "k:7"), -1)
    equal(done(c, "CACHE.TTLREPAIR", "*", 50_000_000)["changed"], 3001)
    check(49_000_000 < c.cmd("PTTL", BINARY) <= 50_000_000)
    check(c.cmd("PTTL", "keep") < 10_000_001)
    equal(done(c, "CACHE.TTLREPAIR", "*", 20_000_000, "DRYRUN", "CAP")["changed"], 3001)
    equal(done(c, "CACHE.TTLREPAIR", "*", 20_000_000, "CAP")["changed"], 3001)
    check(c.cmd("PTTL", "k:7") <= 20_000_000 and c.cmd("PTTL", "keep") < 10_000_001)
    d = done(c, "CACHE.EXPORT", "k:*")
    got = names(c, d["id"], 5000)
    equal(sorted(got), sorted([b"k:%d" % i for i in range(3000)] + [BINARY]))
    d = done(c, "CACHE.CLEAR", "k:*")
    equal((d["matched"], d["changed"]), (3001, 3001))
    equal(c.cmd("KEYS", "*"), [b"keep"])
    equal(other.cmd("EXISTS", "k:theirs"), 1)


def own_keys(p):
    """Without isolation the agent's own keys are none of the project's."""
    c, sessions = enter(p, "open"), enter(p, "mem")
    fill(c, 100)
    session = sessions.cmd("SESSION.CREATE", "somebody", 1_000_000)
    visible = len(c.cmd("KEYS", "*"))
    equal(done(c, "CACHE.COUNT", "*")["matched"], visible)
    done(c, "CACHE.CLEAR", "*")
    equal(c.cmd("KEYS", "*"), [])
    equal(len(sessions.cmd("SESSION.LIST", "somebody")), 1, session)


def refusals(p):
    c, other = enter(p, "mem"), enter(p, "blog")
    for words, usage in ((("CACHE.CLEAR", "x", "RATE"), "CACHE.CLEAR pattern"), (("CACHE.CLEAR", "x", "RATE", 0), "RATE keys/s"),
                         (("CACHE.COUNT", "x", "DRYRUN"), "CACHE.COUNT pattern"), (("CACHE.EXPORT", "x", "CAP"), "CACHE.EXPORT"),
                         (("CACHE.TTLREPAIR", "x", "0"), "ttl-ms"), (("CACHE.TTLREPAIR", "x", "TTL"), "ttl-ms"),
                         (("PURSER.JOB.START", "drop", "x"), "clear|count"), (("PURSER.JOB.START", "ttlrepair", "x"), "TTL ms"),
                         (("CACHE.CLEAR", "x", "DRYRUN", "DRYRUN"), "[DRYRUN]")):
        e = c.error(*words)
        check(e.word == "ERR" and "syntax error" in e.text and usage in e.text, words, e)
    equal(c.error("CACHE.CLEAR", "").word, "BADREQUEST")
    equal(c.error("CACHE.CLEAR", "x" * 1024).word, "BADREQUEST")
    equal(c.error("PURSER.JOB", "x").word, "NOKEY")
    d = done(c, "PURSER.JOB.START", "count", "x" * 1023, "RATE", 1000)
    for words in (("PURSER.JOB", d["id"]), ("PURSER.JOB.CANCEL", d["id"]), ("PURSER.JOB.FETCH", d["id"])):
        equal(other.error(*words), c.error(words[0], "0" * 16), words)  # as if there were none
    equal(other.cmd("PURSER.JOB.LIST"), [])
    check("exports nothing" in c.error("PURSER.JOB.FETCH", d["id"]).text)
    equal(show(c, d["id"])["uid"], os.geteuid())
    c.cmd("MULTI")
    equal(c.error("CACHE.CLEAR", "x").word, "UNSUPPORTED")
    equal(c.error("EXEC").word, "EXECABORT")


def roles(p):
    looks, narrow = enter(p, "looks"), enter(p, "narrow")
    done(looks, "CACHE.COUNT", "*")
    done(looks, "PURSER.JOB.START", "count", "*")
    for words in (("CACHE.CLEAR", "*"), ("CACHE.TTLREPAIR", "*", 1000), ("PURSER.JOB.START", "clear", "*"),
                  ("PURSER.JOB.START", "ttlrepair", "*", "TTL", 1000)):
        e = looks.error(*words)
        check(e.word == "NOPERM" and "redis:write" in e.text, words, e)
    for words in (("CACHE.COUNT", "mine:*"), ("CACHE.CLEAR", "mine:*"), ("CACHE.EXPORT", "*"), ("PURSER.JOB.START", "clear", "mine:*")):
        equal(narrow.error(*words).word, "NOPERM", words)
    # One that changes keys is ended by those who may change keys.
    both = looks.cmd("CACHE.COUNT", "*", "RATE", 1)
    equal(looks.cmd("PURSER.JOB.CANCEL", both)[b"state"] in (b"cancelled", b"done"), True)


def calls(store, name):
    """How often the store ran it."""
    for line in store.cmd("INFO", "commandstats").decode().splitlines():
        if line.startswith(f"cmdstat_{name}:"):
            return int(line.split("calls=")[1].split(",")[0])
    return 0


def cancelling(p, redis):
    c, store = enter(p, "shop"), redis.client()
    fill(c, 5000)
    job = c.cmd("CACHE.CLEAR", "k:*", "RATE", 1000)
    wait_until(lambda: show(c, job)["changed"] > 100, "the job to have begun")
    d = {k.decode(): v for k, v in c.cmd("PURSER.JOB.CANCEL", job).items()}
    equal(d["state"], b"cancelled")
    left, scans = c.cmd("DBSIZE"), calls(store, "scan")
    check(0 < left < 5000, left)
    # One that comes later has run to its end meanwhile; the cancelled one has asked for nothing.
    done(c, "CACHE.COUNT", "k:*", "RATE", 1000000)
    equal(c.cmd("DBSIZE"), left)
    d = show(c, job)
    check(d["state"] == "cancelled" and d["ended_ms"] >= d["started_ms"] and 0 < d["progress"] < 100, d)
    equal(c.cmd("PURSER.JOB.CANCEL", job)[b"state"], b"cancelled")  # again: as it is
    check(calls(store, "scan") > scans)
    done(c, "CACHE.CLEAR", "k:*")


def client_leaves(p):
    c, leaver = enter(p, "mem"), enter(p, "mem")
    fill(c, 2000)
    job = leaver.cmd("CACHE.CLEAR", "k:*", "RATE", 10000)
    leaver.s.close()
    leaver.f.close()
    equal(wait_for(c, job, "done", "failed")["changed"], 2000)
    leaver = enter(p, "mem")
    leaver.send("CACHE.COUNT", "left")  # ... before it hears the id
    leaver.s.close()
    leaver.f.close()
    wait_until(lambda: any(j[b"pattern"] == b"left" and j[b"state"] == b"done" for j in c.cmd("PURSER.JOB.LIST")), "its job")


def files(p):
    """0700 and 0600: names of keys are nobody else's to read."""
    path = os.path.join(p.settings["agent.state_dir"], "jobs")
    equal(stat.S_IMODE(os.stat(path).st_mode), 0o700)
    for name in os.listdir(path):
        equal(stat.S_IMODE(os.stat(os.path.join(path, name)).st_mode), 0o600, name)


def over_http(p):
    head = {"Purser-Project": "mem"}
    r = p.http("POST", "/v1/jobs", {"kind": "ttlrepair", "pattern": "k:*", "ttl_ms": 1000, "cap": True, "dryrun": True}, head)
    equal(r.status, 200, r)
    job = r.json()["id"]
    d = wait_until(lambda: (lambda d: d if d["state"] == "done" else None)(p.http("GET", f"/v1/jobs/{job}", headers=head).json()), "it")
    equal((d["kind"], d["progress"], d["dry_run"], d["cap"], d["ttl_ms"], d["eta_ms"]), ("ttlrepair", 100, True, True, 1000, 0))
    check(job in [j["id"] for j in p.http("GET", "/v1/jobs", headers=head).json()])
    equal(p.http("DELETE", f"/v1/jobs/{job}", headers=head).json()["state"], "done")
    equal(p.http("GET", f"/v1/jobs/{job}", headers={"Purser-Project": "shop"}).status, 404)
    equal(p.http("DELETE", "/v1/jobs/x", headers=head).status, 404)
    equal(p.http("POST", "/v1/jobs", {"kind": "clear"}, head).status, 400)
    equal(p.http("POST", "/v1/jobs", {"kind": "clear", "pattern": "*"}, {"Purser-Project": "looks"}).status, 403)
    c = enter(p, "mem")
    fill(c, 10, "h:")
    job = p.http("POST", "/v1/jobs", {"kind": "export", "pattern": "h:*"}, head).json()["id"]
    wait_for(c, job, "done")
    piece = p.http("GET", f"/v1/jobs/{job}/names?count=30", headers=head).json()
    check(not piece["complete"] and 0 < piece["next_offset"] <= 30, piece)
    rest = p.http("GET", f"/v1/jobs/{job}/names?offset={piece['next_offset']}", headers=head).json()
    check(rest["complete"], rest)
    equal(sorted(json.loads(x) for x in (piece["names"] + rest["names"]).splitlines()), [f"h:{i}" for i in range(10)])


def shell(p):
    """purserctl job: words, JSON, lines, a bar on a terminal, and the exit status."""
    def ctl(*words, status=0):
        r = p.ctl("--project", "mem", *words)
        equal(r.returncode, status, (words, r.stdout, r.stderr))
        return r.stdout

    c = enter(p, "mem")
    fill(c, 300, "s:")
    job = ctl("job", "start", "export", "s:*").strip()
    lines = ctl("job", "watch", job).splitlines()
    check(lines[-1].startswith("[" + "#" * 30 + "] 100.0%") and "300 matched" in lines[-1] and "done" in lines[-1], lines)
    equal(sorted(json.loads(x) for x in ctl("job", "names", job).splitlines()), sorted(f"s:{i}" for i in range(300)))
    check(job in ctl("job", "list") and "s:*" in ctl("job", "list"))
    d = json.loads(ctl("--json", "job", "show", job))
    equal((d["state"], d["progress"], d["matched"], d["dry_run"]), ("done", 100.0, 300, False), d)
    slow = json.loads(ctl("--json", "job", "start", "clear", "s:*", "RATE", "1", "DRYRUN"))["id"]
    check("queued" in ctl("job", "show", slow) or "running" in ctl("job", "show", slow))
    master, terminal = pty.openpty()
    with subprocess.Popen([os.path.join(harness.builddir, "ctl/purserctl"), "-s", p.sock, "-p", "mem", "job", "watch", slow],
                          stdout=terminal, stdin=subprocess.DEVNULL) as watch:
        os.close(terminal)
        check(b"\r" in os.read(master, 1000))
        check("cancelled" in ctl("job", "cancel", slow))
        equal(watch.wait(20 * harness.SLOW), 1)
    os.close(master)
    ctl("job", "watch", slow, status=1)
    ctl("job", "show", "0" * 16, status=4)
    ctl("job", "start", "clear", status=2)
    ctl("job", "frobnicate", status=2)


def metrics(p):
    text = p.http("GET", "/metrics").body.decode()
    for line in ('purser_job_started_total{purser_project="mem",purser_job_kind="count"}',
                 'purser_job_ended_total{purser_project="shop",purser_job_kind="clear",purser_job_state="cancelled"} 1',
                 'purser_job_keys_total{purser_project="mem",purser_job_kind="clear",purser_job_result="changed"}'):
        check(line in text, line, [x for x in text.splitlines() if "purser_job" in x])
    unlinks = [x for x in text.splitlines() if 'db_operation_name="UNLINK"' in x]  # no client has sent one
    check(unlinks and all(x.startswith("purser_internal_operation") for x in unlinks), unlinks)


def main():
    with Redis() as redis, Purserd(config=CONFIG.format(url=redis.url)) as p:
        kinds(enter(p, "shop"), enter(p, "blog"))
        kinds(enter(p, "mem"), enter(p, "blog"))
        second = enter(p, "shop")
        second.cmd("SELECT", 1)
        kinds(second, enter(p, "shop"))
        enter(p, "shop").cmd("DEL", "k:theirs")
        own_keys(p)
        refusals(p)
        roles(p)
        cancelling(p, redis)
        client_leaves(p)
        over_http(p)
        shell(p)
        files(p)
        metrics(p)


harness.run(main)
