#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""LOCK.*: what holders, waiters and those who only look are told, on both backends."""

import os
import signal
import subprocess
import sys

import harness
from harness import RespError, check, equal, wait_until

OTHER = """
import sys
sys.path.insert(0, sys.argv[1])
import harness
c = harness.Client(sys.argv[2])
c.cmd("HELLO", 3)
print(c.cmd(*sys.argv[3:])[b"fence"], flush=True)
sys.stdin.read()
"""


def resp3(p):
    c = p.client()
    c.cmd("HELLO", 3)
    return c


def texts(v):
    if isinstance(v, bytes):
        return v.decode()
    if isinstance(v, list):
        return [texts(x) for x in v]
    return {texts(k): texts(x) for k, x in v.items()} if isinstance(v, dict) else v


def holder(p, *words):
    """A process of its own that holds a lock: (the process, its fence)."""
    child = subprocess.Popen([sys.executable, "-c", OTHER, os.path.join(harness.srcdir, "tests"), p.sock, *map(str, words)],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    return child, int(child.stdout.readline())


def waiting(c, name, n):
    wait_until(lambda: len(c.cmd("LOCK.INFO", name)[b"waiters"]) == n, f"{n} to wait for {name}")


def basics(p):
    a, b = resp3(p), resp3(p)
    r = a.cmd("LOCK.ACQUIRE", "l", 30000)
    equal(sorted(r), [b"fence", b"valid_ms", b"valid_until"], "reply")
    check(28000 < r[b"valid_ms"] <= 29698, r)
    equal(b.cmd("LOCK.ACQUIRE", "l", 30000), None, "held")
    equal(b.cmd("LOCK.ACQUIRE", "l", 30000, "WAIT", 30), None, "held, after a wait")
    equal(a.cmd("LOCK.ACQUIRE", "l", 30000), None, "not reentrant")
    equal(b.cmd("LOCK.RELEASE", "l", r[b"fence"] - 1), b"held_by_other", "another fence")
    equal(b.cmd("LOCK.RELEASE", "l", r[b"fence"]), b"released", "by any connection of the project, with the fence")
    equal(b.cmd("LOCK.RELEASE", "l", r[b"fence"]), b"not_held", "twice")
    r2 = b.cmd("LOCK.ACQUIRE", "l", 30000, "mode", "LEASE")
    check(r2[b"fence"] > r[b"fence"])
    r3 = a.cmd("LOCK.RENEW", "l", r2[b"fence"], 90000)
    check(r3[b"fence"] == r2[b"fence"] and r3[b"valid_ms"] > 80000, r3)
    equal(a.error("LOCK.RENEW", "l", r[b"fence"], 90000).word, "LOCKLOST", "another fence")
    equal(a.cmd("LOCK.RELEASE", "l", r2[b"fence"]), b"released", "lease")
    equal(a.error("LOCK.RENEW", "l", r2[b"fence"], 90000).word, "LOCKLOST", "nobody")
    # RESP2: the same, flat.
    c = p.client()
    flat = c.cmd("LOCK.ACQUIRE", "l2", 30000)
    equal(flat[::2], [b"fence", b"valid_ms", b"valid_until"], "flat")
    equal(c.cmd("LOCK.ACQUIRE", "l2", 30000), None, "held")
    # What is wrong.
    for words in (("l", 9), ("l", "x"), ("l", 2592000001), ("l", -5)):
        check("ttl-ms" in a.error("LOCK.ACQUIRE", *words).text, words)
    for words in (("WAIT",), ("WAIT", -1), ("MODE", "x"), ("KIND", "x"), ("PERMITS", 3, "OF", 2), ("PERMITS", 3), ("X",),
                  ("KIND", "read", "PERMITS", 1, "OF", 2), ("PERMITS", 1, "OF", 2, "KIND", "write"), ("MAXHOLD", 0)):
        check("LOCK.ACQUIRE name ttl-ms" in a.error("LOCK.ACQUIRE", "l", 1000, *words).text, words)
    equal(a.error("LOCK.ACQUIRE", "", 1000).word, "BADREQUEST", "no name")
    equal(a.error("LOCK.ACQUIRE", "x" * 513, 1000).word, "BADREQUEST", "too long")
    check("LOCK.RELEASE name fence" in a.error("LOCK.RELEASE", "l", "x").text)
    a.cmd("MULTI")
    check("steps of the store" in a.error("LOCK.ACQUIRE", "l", 1000).text)
    a.cmd("DISCARD")
    # Its keys are nobody's: not seen, not counted, not in the way of a flush.
    a.cmd("SET", "seen", 1)
    equal(a.cmd("KEYS", "*"), [b"seen"], "KEYS")
    equal(a.cmd("DBSIZE"), 1, "DBSIZE")
    a.cmd("FLUSHDB")
    equal(texts(a.cmd("LOCK.INFO", "l2"))["kind"], "write", "still held")
    c.close()
    wait_until(lambda: texts(a.cmd("LOCK.INFO", "l2"))["kind"] == "free", "the lock of a connection that closed")


def waits(p):
    a, b, c, d = (resp3(p) for _ in range(4))
    fence = a.cmd("LOCK.ACQUIRE", "w", 30000)[b"fence"]
    b.send("LOCK.ACQUIRE", "w", 30000, "WAIT", 60000)
    waiting(d, "w", 1)
    c.send("LOCK.ACQUIRE", "w", 30000, "WAIT", 60000)
    waiting(d, "w", 2)
    equal(d.cmd("LOCK.ACQUIRE", "w", 30000), None, "not in front of those who wait")
    a.cmd("LOCK.RELEASE", "w", fence)
    second = b.read()[b"fence"]
    check(second > fence)
    b.close()
    third = c.read()[b"fence"]
    check(third > second, "released because its connection closed")
    # A waiter that goes leaves the queue; what stands behind it comes next.
    a.send("LOCK.ACQUIRE", "w", 30000, "WAIT", 60000)
    waiting(d, "w", 1)
    e = resp3(p)
    e.send("LOCK.ACQUIRE", "w", 30000, "WAIT", 60000)
    waiting(d, "w", 2)
    a.close()
    waiting(d, "w", 1)
    c.cmd("RESET")
    check(e.read()[b"fence"] > third, "RESET gives back")
    # CLIENT UNBLOCK, and the time to wait.
    a = resp3(p)
    me = a.cmd("CLIENT", "ID")
    for how, want in (("TIMEOUT", None), ("ERROR", "UNBLOCKED")):
        a.send("LOCK.ACQUIRE", "w", 30000, "WAIT", 60000)
        a.send("PING")
        waiting(d, "w", 1)
        equal(d.cmd("CLIENT", "UNBLOCK", me, how), 1, how)
        got = a.read()
        equal(got.word if isinstance(got, RespError) else got, want, how)
        equal(a.read(), "PONG", "what came behind it")
    equal(texts(d.cmd("LOCK.INFO", "w"))["waiters"], [], "none is left")
    for x in (a, d, e):
        x.close()


def processes(p):
    """Killed, the next one has it; stopped, it still has it."""
    c = resp3(p)
    child, fence = holder(p, "LOCK.ACQUIRE", "k", 30000)
    c.send("LOCK.ACQUIRE", "k", 30000, "WAIT", 60000)
    d = resp3(p)
    waiting(d, "k", 1)
    info = texts(d.cmd("LOCK.INFO", "k"))
    equal((info["holders"][0]["pid"], info["holders"][0]["fence"]), (child.pid, fence), "who has it")
    child.kill()
    got = c.read()[b"fence"]
    check(got > fence)
    child.wait()
    c.cmd("LOCK.RELEASE", "k", got)
    child, fence = holder(p, "LOCK.ACQUIRE", "k", 600)
    child.send_signal(signal.SIGSTOP)
    left = [texts(d.cmd("LOCK.INFO", "k"))["holders"][0]["left_ms"]]

    def renewed():
        left.append(texts(d.cmd("LOCK.INFO", "k"))["holders"][0]["left_ms"])
        return left[-1] > left[-2]
    for _ in range(300 if harness.LONG else 4):  # a minute, or a second
        wait_until(renewed, "a renewal for a holder that is stopped")
    equal(texts(d.cmd("LOCK.INFO", "k"))["holders"][0]["fence"], fence, "the same")
    child.kill()
    child.wait()


def lost(p, store):
    """MAXHOLD, and a store that forgot."""
    a = resp3(p)
    fence = a.cmd("LOCK.ACQUIRE", "m", 30000, "MAXHOLD", 50)[b"fence"]
    equal(texts(a.read()), ["lock.lost", "m", str(fence), "maxhold"], "push")
    equal(texts(a.cmd("LOCK.INFO", "m"))["kind"], "free", "given back")
    equal(a.error("LOCK.FENCE", "m", fence, "SET", "k", "v").word, "LOCKLOST", "a fence that is lost")
    b = p.client()  # RESP2
    fence = b.cmd("LOCK.ACQUIRE", "m", 30000, "MAXHOLD", 50)[1]
    wait_until(lambda: texts(a.cmd("LOCK.INFO", "m"))["kind"] == "free", "maxhold")
    e = b.error("SET", "k", "v")
    check(e.word == "LOCKLOST" and " m " in e.text and str(fence) in e.text, e.text)
    equal((b.cmd("GET", "k"), b.cmd("PING")), (None, "PONG"), "told once, in place of a command")
    if store:
        fence = a.cmd("LOCK.ACQUIRE", "m", 90)[b"fence"]
        store.cmd("DEL", "psr:default:lock:m")
        equal(texts(a.read()), ["lock.lost", "m", str(fence), "gone"], "push")
        # Whoever takes what the store forgot: the old holder hears of it first.
        fence = a.cmd("LOCK.ACQUIRE", "m", 30000)[b"fence"]
        store.cmd("DEL", "psr:default:lock:m")
        newer = b.cmd("LOCK.ACQUIRE", "m", 30000)[1]
        equal(texts(a.read()), ["lock.lost", "m", str(fence), "taken"], "push")
        check(newer > fence)
    b.close()
    a.close()


def shared(p):
    a, b, c, d = (resp3(p) for _ in range(4))
    one = a.cmd("LOCK.ACQUIRE", "rw", 30000, "KIND", "read")[b"fence"]
    two = b.cmd("LOCK.ACQUIRE", "rw", 30000, "kind", "READ")[b"fence"]
    equal(d.error("LOCK.ACQUIRE", "rw", 30000, "PERMITS", 1, "OF", 3).word, "CONFLICT", "another kind")
    c.send("LOCK.ACQUIRE", "rw", 30000, "KIND", "write", "WAIT", 60000)
    waiting(d, "rw", 1)
    equal(d.cmd("LOCK.ACQUIRE", "rw", 30000, "KIND", "read"), None, "behind a writer")
    a.cmd("LOCK.RELEASE", "rw", one)
    info = texts(d.cmd("LOCK.INFO", "rw"))
    equal((info["kind"], [h["fence"] for h in info["holders"]], [w["kind"] for w in info["waiters"]]),
          ("read", [two], ["write"]), "info")
    b.close()
    w = c.read()[b"fence"]
    equal(d.cmd("LOCK.ACQUIRE", "rw", 30000, "KIND", "read"), None, "beside a writer")
    c.cmd("LOCK.RELEASE", "rw", w)
    # permits
    s = [x.cmd("LOCK.ACQUIRE", "sem", 30000, "PERMITS", n, "OF", 5)[b"fence"] for x, n in ((a, 2), (c, 3))]
    equal(d.cmd("LOCK.ACQUIRE", "sem", 30000, "PERMITS", 1, "OF", 5), None, "none left")
    equal(d.error("LOCK.ACQUIRE", "sem", 30000, "PERMITS", 1, "OF", 4).word, "CONFLICT", "of another number")
    d.send("LOCK.ACQUIRE", "sem", 30000, "PERMITS", 2, "OF", 5, "WAIT", 60000)
    waiting(c, "sem", 1)
    a.cmd("LOCK.RELEASE", "sem", s[0])
    check(d.read()[b"fence"] > s[1])
    info = texts(c.cmd("LOCK.INFO", "sem"))
    equal((info["kind"], info["of"], sorted(h["permits"] for h in info["holders"])), ("permits", 5, [2, 3]), "info")
    for x in (a, c, d):
        x.close()


def fences(p):
    a, b = resp3(p), resp3(p)
    one = a.cmd("LOCK.ACQUIRE", "f", 30000)[b"fence"]
    equal(a.cmd("LOCK.FENCE", "f", one, "set", "k", "1"), "OK", "SET")
    equal(a.cmd("GET", "k"), b"1", "the client's key")
    equal(a.cmd("LOCK.FENCE", "f", one, "SET", "k", "2", "GET"), b"1", "GET")
    equal(a.cmd("LOCK.FENCE", "f", one, "SET", "k", "3", "NX"), None, "NX")
    equal(p.client().cmd("LOCK.FENCE", "f", one, "SET", "k", "3", "NX"), None, "NX, RESP2")
    equal(a.cmd("LOCK.FENCE", "f", one, "HSET", "h", "x", "1", "y", "2"), 2, "HSET")
    equal(a.cmd("LOCK.FENCE", "f", one, "DEL", "h"), 1, "DEL")
    e = a.error("LOCK.FENCE", "f", one, "HSET", "k", "x", "1")
    check(e.word == "WRONGTYPE" and "proj:" not in e.text, e.text)
    a.cmd("LOCK.RELEASE", "f", one)
    two = b.cmd("LOCK.ACQUIRE", "f", 30000)[b"fence"]
    e = a.error("LOCK.FENCE", "f", one, "SET", "k", "late")
    check(e.word == "LOCKLOST" and str(two) in e.text, e.text)
    equal(b.cmd("GET", "k"), b"2", "not written")
    equal(a.cmd("LOCK.FENCE", "f", two, "SET", "k", "b"), "OK", "the newer one")
    equal(a.error("LOCK.FENCE", "f", two + 10 ** 13, "SET", "k", "x").word, "LOCKLOST", "never given")
    for words in (("GET", "k"), ("SET", "k"), ("HSET", "h", "x"), ("HSET", "h", "x", "1", "y"), ("DEL", "h", "i"), ("APPEND", "k", "v")):
        check("LOCK.FENCE lock fence SET" in a.error("LOCK.FENCE", "f", two, *words).text, words)
    equal(a.error("LOCK.FENCE", "f", two, "HSET", "h", *range(1000)).word, "TOOBIG", "words")
    a.cmd("DEL", "k")
    a.close()
    b.close()


def lists(p):
    a, b, c = (resp3(p) for _ in range(3))
    a.cmd("CLIENT", "SETNAME", "me")
    fence = a.cmd("LOCK.ACQUIRE", "list:1", 30000, "MODE", "lease")[b"fence"]
    b.send("LOCK.ACQUIRE", "list:1", 30000, "WAIT", 60000)
    waiting(c, "list:1", 1)
    c.cmd("LOCK.ACQUIRE", "other", 30000, "KIND", "read")
    equal(sorted(r["name"] for r in texts(c.cmd("LOCK.LIST"))), ["list:1", "list:1", "other"], "all")
    rows = sorted(texts(c.cmd("LOCK.LIST", "list:*")), key=lambda r: r["state"])
    equal([r["state"] for r in rows], ["held", "waiting"], "states")
    held = rows[0]
    equal((held["fence"], held["mode"], held["kind"], held["pid"], held["uid"], held["client"]),
          (fence, "lease", "write", os.getpid(), os.geteuid(), a.cmd("CLIENT", "ID")), "row")
    equal(len(held["trace_id"]), 32, "trace id")
    check(0 <= held["age_ms"] < 30000 and 0 < held["left_ms"] < 30000, held)
    equal((rows[1]["fence"], rows[1]["mode"]), (None, "session"), "who waits")
    # Another project sees nothing of it, and has locks of its own.
    d = resp3(p)
    d.cmd("PURSER.PROJECT", "second")
    equal(d.cmd("LOCK.LIST"), [], "another project's")
    equal(texts(d.cmd("LOCK.INFO", "list:1"))["kind"], "free", "another project's")
    check(d.cmd("LOCK.ACQUIRE", "list:1", 1000))
    equal(d.cmd("LOCK.RELEASE", "list:1", fence), b"held_by_other", "another project's fence")
    a.cmd("LOCK.RELEASE", "list:1", fence)
    check(b.read()[b"fence"] > fence)
    for x in (a, b, c, d):
        x.close()
    e = resp3(p)
    wait_until(lambda: e.cmd("LOCK.LIST") == [], "all to be given back")
    metrics = p.http("GET", "/metrics").body.decode()
    for name in ("purser_lock_acquired", "purser_lock_refused", "purser_lock_lost", "purser_lock_wait_time"):
        check(name in metrics, name)
    for line in metrics.splitlines():
        if line.startswith(("purser_lock_held", "purser_lock_waiting")):
            equal(float(line.split()[-1]), 0.0, line)


def over_http(p):
    def ask(method, target, status=200, body=None, **headers):
        r = p.http(method, target, body=body, headers=headers)
        equal(r.status, status, (method, target, r.body))
        return r.json()
    trace = "0af7651916cd43dd8448eb211c80319c"
    got = ask("POST", "/v1/locks/h%2F1", body={"ttl_ms": 30000}, traceparent=f"00-{trace}-b7ad6b7169203331-01")
    check(0 < got["valid_ms"] <= 29698, got)
    equal(ask("POST", "/v1/locks/h%2F1", 409, body={"ttl_ms": 30000, "wait_ms": 20})["code"], "CONFLICT", "held")
    info = ask("GET", "/v1/locks/h%2F1")
    equal((info["name"], info["kind"], info["holders"][0]["mode"], info["holders"][0]["trace_id"], info["holders"][0]["fence"]),
          ("h/1", "write", "lease", trace, got["fence"]), "info")
    rows = ask("GET", "/v1/locks")
    equal([(r["name"], r["state"], r["trace_id"]) for r in rows], [("h/1", "held", trace)], "list")
    equal(ask("GET", "/v1/locks?pattern=x*"), [], "pattern")
    equal(ask("PATCH", "/v1/locks/h%2F1", body={"fence": got["fence"], "ttl_ms": 60000})["fence"], got["fence"], "renewed")
    equal(ask("PATCH", "/v1/locks/h%2F1", 409, body={"fence": got["fence"] - 1, "ttl_ms": 60000})["code"], "LOCKLOST", "other")
    equal(ask("DELETE", f"/v1/locks/h%2F1?fence={got['fence']}"), "released", "released")
    readers = [ask("POST", "/v1/locks/h2", body={"ttl_ms": 30000, "kind": "read"})["fence"] for _ in range(2)]
    ask("POST", "/v1/locks/h2", 409, body={"ttl_ms": 30000, "kind": "write"})
    for f in readers:
        ask("DELETE", f"/v1/locks/h2?fence={f}")
    one = ask("POST", "/v1/locks/h3", body={"ttl_ms": 30000, "permits": 2, "of": 3})["fence"]
    ask("POST", "/v1/locks/h3", 409, body={"ttl_ms": 30000, "permits": 2, "of": 3})
    equal(ask("POST", "/v1/locks/h3", 409, body={"ttl_ms": 30000, "permits": 2, "of": 4})["code"], "CONFLICT", "of")
    ask("DELETE", f"/v1/locks/h3?fence={one}")


def all_of(p, store):
    basics(p)
    waits(p)
    processes(p)
    lost(p, store)
    shared(p)
    fences(p)
    over_http(p)
    lists(p)


def roles():
    """A role with patterns has locks of those names, and sees no others."""
    me = os.geteuid()
    with harness.Purserd({"role few.permissions": "redis:read redis:write", "role few.keys": "mine:*",
                          "project default.allow_uid": str(me), "project default.role": "few",
                          "backend main.plugin": "memory"}, name="roles") as p:
        c = resp3(p)
        fence = c.cmd("LOCK.ACQUIRE", "mine:l", 30000)[b"fence"]
        equal(c.cmd("LOCK.FENCE", "mine:l", fence, "SET", "mine:k", 1), "OK", "its own")
        for words in (("LOCK.ACQUIRE", "other", 30000), ("LOCK.INFO", "other"), ("LOCK.RELEASE", "other", 1), ("LOCK.LIST",),
                      ("LOCK.RENEW", "other", 1, 1000), ("LOCK.FENCE", "mine:l", fence, "SET", "other", 1)):
            equal(c.error(*words).word, "NOPERM", words)


def shutdown(settings, redis):
    """What is held when the agent leaves is given back, and who waits is told."""
    with harness.Purserd(settings, name="leaves") as p:
        a, b = resp3(p), resp3(p)
        a.cmd("LOCK.ACQUIRE", "s", 30000)
        b.send("LOCK.ACQUIRE", "s", 30000, "WAIT", 60000)
        waiting(resp3(p), "s", 1)
        p.stop()
        equal(redis.cmd("EXISTS", "psr:default:lock:s"), 0, "given back")


def main():
    common = {"project default.databases": 4, "project second.databases": 1, "agent.mode": "development"}
    with harness.Redis() as redis:
        settings = {**common, "backend main.plugin": "redis", "backend main.url": redis.url}
        with harness.Purserd(settings) as p:
            all_of(p, redis.client())
        shutdown(settings, redis.client())
    with harness.Purserd({**common, "backend main.plugin": "memory"}, name="memory") as p:
        all_of(p, None)
    roles()


harness.run(main)
