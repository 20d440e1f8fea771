#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Caches, locks and sessions over HTTP, on both backends: every route of theirs, the status of what goes wrong, and a
lock that lives as long as a stream of events."""

import json
import re
import shutil
import threading
import time
import urllib.parse

import harness
from harness import check, equal, wait_until
from events import Stream

COVERED = set()


class Http:
    def __init__(self, p):
        self.p = p

    def __call__(self, method, target, body=None, status=200, code=None):
        COVERED.add((method, target.split("?")[0]))
        r = self.p.http(method, target, body)
        doc = r.json()
        if code:
            equal((r.status, doc["code"]), (status, code), (method, target, body, doc))
        else:
            equal(r.status, status, (method, target, body, doc))
        return doc


def quote(name):
    return urllib.parse.quote(name, safe="")


def caches(p):
    ask = Http(p)
    key = quote(b"\0 a/b\xff")
    equal(ask("POST", f"/v1/cache/{key}/incr", {"ttl_ms": 60000}), 1)
    equal(ask("POST", f"/v1/cache/{key}/incr", {"ttl_ms": 60000, "delta": 41}), 42)
    with p.client() as c:
        equal(c.cmd("GET", b"\0 a/b\xff"), b"42")
        check(0 < c.cmd("PTTL", b"\0 a/b\xff") <= 60000)
        c.cmd("SET", "text", "x")
    ask("POST", "/v1/cache/text/incr", {"ttl_ms": 1}, 422, "ERR")
    doc = ask("POST", "/v1/cache/text/incr", {"ttl": 1}, 400, "BADREQUEST")
    check("there are delta, ttl_ms" in doc["detail"], doc)
    ask("POST", "/v1/cache/text/incr", {}, 400, "BADREQUEST")
    ask("GET", "/v1/cache/text/incr", status=405, code="BADREQUEST")
    # metadata, batches, numbers
    equal(ask("PUT", f"/v1/cache/{key}/meta", {"value": "v", "meta": {"etag": "x", "n": 1.50}, "ttl_ms": 60000}), "OK")
    meta = ask("GET", f"/v1/cache/{key}/meta")
    check("etag" in json.dumps(meta), meta)
    ask("GET", "/v1/cache/text/meta", status=404, code="NOKEY")
    equal(ask("PUT", "/v1/cache", {"ttl_ms": 60000, "values": {"m1": "x", "m2": {"y": 2}}}), 2)
    with p.client() as c:
        equal(c.cmd("MGET", "m1", "m2"), [b"x", b'{"y":2}'])
    check(ask("GET", "/v1/cache")["sets"] > 0)
    # leases: 67-leases.py has their rules
    word, token = ask("POST", "/v1/cache/page/lease", {"ttl_ms": 60000})
    equal(word, "WON")
    equal(ask("PUT", f"/v1/cache/page?token={token}", {"value": "v", "ttl_ms": 60000}), "OK")
    ask("DELETE", f"/v1/cache/page/lease?token={token}", status=409, code="LEASELOST")
    equal(ask("DELETE", "/v1/cache/page"), 1)


def leases(p):
    ask = Http(p)
    state, token = ask("POST", "/v1/cache/page%2F1/lease", {})
    equal(state, "WON")
    state, retry = ask("POST", "/v1/cache/page%2F1/lease", {"wait_ms": 10})
    check(state == "BUSY" and retry > 0, state, retry)
    ask("PUT", "/v1/cache/page%2F1?token=" + "0" * 32, {"value": "x", "ttl_ms": 60000}, 409, "LEASELOST")
    equal(ask("PUT", f"/v1/cache/page%2F1?token={token}", {"value": {"n": 1}, "ttl_ms": 60000, "nojitter": True}), "OK")
    state, value, age = ask("POST", "/v1/cache/page%2F1/lease", {})
    equal((state, value), ("HIT", '{"n":1}'))
    check(0 <= age < 60000, age)
    with p.client() as c:
        equal(c.cmd("GET", "page/1"), b'{"n":1}')
    ask("DELETE", "/v1/cache/page%2F1")
    state, token = ask("POST", "/v1/cache/page%2F1/lease", {"stale_ms": 1000, "ttl_ms": 5000, "beta": 0.5})
    equal(state, "WON")
    ask("DELETE", f"/v1/cache/page%2F1/lease?token={token}&neg_ms=60000&reason=no+such+page")
    equal(ask("POST", "/v1/cache/page%2F1/lease", {}), ["NEG", "no such page"])
    ask("DELETE", f"/v1/cache/page%2F1/lease?token={token}&neg_ms=60000", status=400, code="BADREQUEST")


def streams(p):
    ask = Http(p)
    with p.client() as c:
        c.cmd("XGROUP", "CREATE", "jobs", "workers", "0", "MKSTREAM")
        for i in range(3):
            c.cmd("XADD", "jobs", "*", "n", i)
        c.cmd("XREADGROUP", "GROUP", "workers", "w1", "COUNT", "2", "STREAMS", "jobs", ">")
    lag = json.dumps(ask("GET", "/v1/streams/jobs"))
    check("workers" in lag, lag)
    moved = ask("POST", "/v1/streams/jobs/deadletter", {"group": "workers", "target": "dead", "max_deliveries": 1})
    check(moved is not None, moved)


def locks(p):
    ask = Http(p)
    one = ask("POST", "/v1/locks/a%2Fb", {"ttl_ms": 30000, "maxhold_ms": 60000})
    check(one["fence"] > 0 and 0 < one["valid_ms"] <= 30000 and one["valid_until"] > 0, one)
    info = ask("GET", "/v1/locks/a%2Fb")
    equal((info["name"], info["kind"], len(info["holders"])), ("a/b", "write", 1), info)
    equal((info["holders"][0]["fence"], info["holders"][0]["mode"]), (one["fence"], "lease"))
    equal([e["name"] for e in ask("GET", "/v1/locks?pattern=a*")], ["a/b"])
    equal(ask("GET", "/v1/locks?pattern=b*"), [])
    doc = ask("POST", "/v1/locks/a%2Fb", {"ttl_ms": 30000, "wait_ms": 20}, 409, "CONFLICT")
    check(doc["retryable"] and "wait_ms" in doc["detail"], doc)
    equal(ask("PATCH", "/v1/locks/a%2Fb", {"fence": one["fence"], "ttl_ms": 40000})["fence"], one["fence"])
    ask("PATCH", "/v1/locks/a%2Fb", {"fence": 1, "ttl_ms": 40000}, 409, "LOCKLOST")
    # writes with the fence
    fence = one["fence"]
    equal(ask("PUT", f"/v1/locks/a%2Fb/fenced/doc?fence={fence}", {"value": {"x": [1, 2]}, "expire_ms": 50000}), "OK")
    equal(ask("PATCH", f"/v1/locks/a%2Fb/fenced/hash?fence={fence}", {"fields": {"f": "v", "g": 1}}), 2)
    with p.client() as c:
        equal((c.cmd("GET", "doc"), c.cmd("HMGET", "hash", "f", "g")), (b'{"x":[1,2]}', [b"v", b"1"]))
        check(0 < c.cmd("PTTL", "doc") <= 50000)
    equal(ask("DELETE", f"/v1/locks/a%2Fb/fenced/doc?fence={fence}"), 1)
    equal(ask("DELETE", f"/v1/locks/a%2Fb?fence={fence + 1}"), "held_by_other")
    equal(ask("DELETE", f"/v1/locks/a%2Fb?fence={fence}"), "released")
    equal(ask("DELETE", f"/v1/locks/a%2Fb?fence={fence}"), "not_held")
    two = ask("POST", "/v1/locks/a%2Fb", {"ttl_ms": 30000})
    check(two["fence"] > fence)
    # somebody newer was given it: the old fence writes nothing
    ask("PUT", f"/v1/locks/a%2Fb/fenced/doc?fence={fence}", {"value": "old"}, 409, "LOCKLOST")
    ask("DELETE", f"/v1/locks/a%2Fb?fence={two['fence']}")
    # readers, permits
    readers = [ask("POST", "/v1/locks/r", {"ttl_ms": 30000, "kind": "read"})["fence"] for _ in range(2)]
    ask("POST", "/v1/locks/r", {"ttl_ms": 30000, "kind": "write"}, 409, "CONFLICT")
    for f in readers:
        equal(ask("DELETE", f"/v1/locks/r?fence={f}"), "released")
    ask("POST", "/v1/locks/s", {"ttl_ms": 30000, "permits": 2, "of": 3})
    ask("POST", "/v1/locks/s", {"ttl_ms": 30000, "permits": 2, "of": 3}, 409, "CONFLICT")
    ask("POST", "/v1/locks/s", {"ttl_ms": 30000, "permits": 2}, 400, "BADREQUEST")
    ask("POST", "/v1/locks/s", {"ttl_ms": 30000, "kind": "none"}, 400, "BADREQUEST")
    ask("POST", "/v1/locks/s", {"ttl_ms": 1}, 422, "ERR")


def hold(p, name, **more):
    COVERED.add(("POST", f"/v1/locks/{name}/hold"))
    return Stream(p.sock, f"/v1/locks/{name}/hold", method="POST", body={"ttl_ms": 30000, **more})


def holds(p):
    """A lock for as long as a stream is read."""
    ask = Http(p)
    with hold(p, "job") as s:
        name, one = s.event()
        equal((name, set(one)), ("result", {"fence", "valid_ms", "valid_until"}))
        holder = ask("GET", "/v1/locks/job")["holders"][0]
        equal((holder["fence"], holder["mode"]), (one["fence"], "session"))
        with hold(p, "job", wait_ms=10) as t:
            equal((t.status, t.problem["code"]), (409, "CONFLICT"))
        # whoever waits has it as soon as the stream ends
        got = []
        waiter = threading.Thread(target=lambda: got.append(ask("POST", "/v1/locks/job", {"ttl_ms": 30000, "wait_ms": 20000})))
        waiter.start()
        wait_until(lambda: len(ask("GET", "/v1/locks/job")["waiters"]) == 1, "the waiter to stand in line")
        began = time.monotonic()
    waiter.join()
    check(got and got[0]["fence"] > one["fence"] and time.monotonic() - began < 15 * harness.SLOW, got)
    ask("DELETE", f"/v1/locks/job?fence={got[0]['fence']}")
    # its loss is told, and the stream goes on
    with hold(p, "short", maxhold_ms=50) as s:
        fence = s.event()[1]["fence"]
        equal(s.event(), ("lock.lost", {"name": "short", "fence": fence, "reason": "maxhold"}))
        ask("PUT", f"/v1/locks/short/fenced/k?fence={fence}", {"value": "late"}, 409, "LOCKLOST")
    wait_until(lambda: ask("GET", "/v1/locks/short")["kind"] == "free", "it to be given back")


def sessions(p):
    ask = Http(p)
    new = ask("POST", "/v1/sessions", {"user": "ada", "idle_ms": 60000, "abs_ms": 600000, "data": {"cart": [1, "zwei"], "n": 1.50}})
    at = f"/v1/sessions/{new['id']}"
    got = ask("GET", at)
    equal((got["user"], got["data"]), ("ada", {"cart": [1, "zwei"], "n": 1.5}), got)
    equal(ask("GET", at + "?notouch")["version"], got["version"])
    ask("PATCH", at, {"data": {"n": None, "theme": "dark"}, "version": got["version"]})
    equal(ask("GET", at)["data"], {"cart": [1, "zwei"], "theme": "dark"})
    ask("PATCH", at, {"data": {"theme": "light"}, "version": got["version"]}, 409, "CONFLICT")
    ask("PATCH", at, {"data": {}}, 400, "BADREQUEST")
    ask("POST", at + "/extend", {"ttl_ms": 120000})
    rotated = ask("POST", at + "/rotate", {"user": "lovelace"})
    ask("GET", at, status=410, code="SESSIONGONE")
    at = f"/v1/sessions/{rotated['id']}"
    equal(ask("GET", at)["user"], "lovelace")
    other = ask("POST", "/v1/sessions", {"user": "lovelace", "idle_ms": 60000})
    listed = ask("GET", "/v1/users/lovelace/sessions?limit=10")
    equal(len(listed), 2, listed)
    check(new["id"] not in str(listed) and other["id"] not in str(listed), "ids are secrets")
    equal(ask("DELETE", f"/v1/users/lovelace/sessions?except={rotated['id']}"), 1)
    ask("GET", f"/v1/sessions/{other['id']}", status=410, code="SESSIONGONE")
    equal(ask("GET", at)["user"], "lovelace")
    handle = ask("GET", "/v1/users/lovelace/sessions")[0]["handle"]
    equal(ask("DELETE", f"/v1/users/lovelace/sessions?handle={quote(handle)}"), 1)
    nobody = ask("POST", "/v1/sessions", {"idle_ms": 60000})
    equal(ask("GET", f"/v1/sessions/{nobody['id']}")["user"], None)
    ask("DELETE", f"/v1/sessions/{nobody['id']}")
    ask("GET", f"/v1/sessions/{nobody['id']}", status=410, code="SESSIONGONE")
    check("live" in ask("GET", "/v1/sessions"))
    check("removed" in ask("POST", "/v1/sessions/cleanup"))
    ask("POST", "/v1/sessions", {"user": "x", "idle_ms": 60000, "data": [1]}, 400, "BADREQUEST")
    ask("POST", "/v1/sessions", {"user": "x"}, 400, "BADREQUEST")


def every_route(p):
    """Nothing of these features is left out above."""
    paths = p.http("GET", "/openapi.json").json()["paths"]
    left = [(method.upper(), path) for path, item in paths.items() for method in item
            if re.match(r"/v1/(cache|locks|sessions|streams|users)", path)
            and not any(m == method.upper() and re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)), t)
                        for m, t in COVERED)]
    equal(left, [], "routes that this test does not call")


def main():
    backends = [("memory", None)] + ([("redis", harness.Redis)] if shutil.which("redis-server") else [])
    for plugin, make in backends:
        redis = make() if make else None
        if redis:
            redis.start()
        settings = {"backend main.plugin": plugin, "agent.workers": 3, **({"backend main.url": redis.url} if redis else {})}
        with harness.Purserd(settings, name="on" + plugin) as p:
            for part in (caches, leases, streams, locks, holds, sessions, every_route):
                part(p)
                print(f"ok {plugin} {part.__name__}", flush=True)
        if redis:
            redis.stop()


harness.run(main)
