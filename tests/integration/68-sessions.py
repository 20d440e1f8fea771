#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""SESSION.* at the socket and over HTTP, on both backends: replies, refusals, limits, roles, projects, clean-up, accounts; and
that no id of a session is anywhere but in the reply that made it.  What they do in random order is in tests/sessions."""

import base64
import hashlib
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import Purserd, Redis, RespError, check, equal, wait_until
from otlp import otlp

CONFIG = """[agent]
mode = development
slowlog_slower_than = 1ms
workers = {workers}
[backend main]
plugin = redis
url = {url}
[backend mem]
plugin = memory
[backend bare]
plugin = example

[project r]
backend = main
databases = 2
[project m]
backend = mem
databases = 2
[project other]
backend = main
[project bare]
backend = bare
[project narrow]
backend = mem
role = narrow
[project watch]
backend = mem
role = watch
[role narrow]
permissions = redis:read redis:write
keys = app:*
[role watch]
permissions = redis:read
"""
GONE = "SESSIONGONE the session does not exist any more, or never did"
ROTATED = "SESSIONGONE rotated: the session has got another id, this one is good for nothing now"


def enter(p, project, resp=2):
    c = p.client()
    if resp == 3:
        c.cmd("HELLO", 3)
    c.cmd("PURSER.PROJECT", project)
    return c


def as_map(reply):
    return {k.decode(): v for k, v in (reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2]))}


def handle(sid):
    return base64.urlsafe_b64encode(hashlib.sha256(sid).digest()).rstrip(b"=")


def one_life(p, project, made):
    """From beginning to end, each reply whole."""
    c = enter(p, project, 3)
    s = as_map(c.cmd("session.create", "anna", 60000, "data", ' {"cart" : [1, {"n": null}], "gone": null,"\\u00e9": "\u00e9"}\n', "ABS", 100000))
    sid, now = s.pop("id"), s["created"]
    made.append(sid)
    equal(len(sid), 43)
    equal(len(base64.urlsafe_b64decode(sid + b"=")), 32, "256 bits")
    equal(s, {"version": 1, "created": now, "expires": now + 60000, "absolute": now + 100000})
    got = as_map(c.cmd("SESSION.GET", sid))
    equal(json.loads(got.pop("data")), {"cart": [1, {"n": None}], "\u00e9": "\u00e9"})
    equal(got, {"user": b"anna", "version": 1, "created": now, "seen": now, "expires": now + 60000, "absolute": now + 100000, "idle_ms": 60000})
    flat = enter(p, project)
    equal(list(as_map(flat.cmd("SESSION.GET", sid, "NoTouch"))), ["user", "version", "created", "seen", "expires", "absolute", "idle_ms", "data"])
    equal(as_map(c.cmd("SESSION.UPDATE", sid, "cart", "null", "n", " 1.50 ", "s", '"x"', "ifver", 1)), {"version": 2, "expires": now + 60000})
    equal(json.loads(as_map(c.cmd("SESSION.GET", sid))["data"]), {"\u00e9": "\u00e9", "n": 1.5, "s": "x"})
    check(b'"n":1.50' in as_map(c.cmd("SESSION.GET", sid))["data"], "a value keeps its text")
    equal(c.error("SESSION.UPDATE", sid, "n", "2", "IFVER", 1).text, "CONFLICT the session is at version 2: read it again")
    equal(as_map(c.cmd("SESSION.EXTEND", sid, 1)), {"expires": now + 60000})
    equal(as_map(c.cmd("SESSION.EXTEND", sid, 1000000)), {"expires": now + 100000})
    listed = as_map(c.cmd("SESSION.LIST", "anna")[0])
    equal((listed["handle"], listed["version"], listed["created"], listed["expires"], listed["absolute"]),
          (handle(sid), 2, now, now + 100000, now + 100000))
    s = as_map(c.cmd("SESSION.ROTATE", sid, "user", "ben"))
    new = s.pop("id")
    made.append(new)
    equal(s, {"user": b"ben", "version": 2, "expires": now + 100000, "absolute": now + 100000})
    for words in (["GET", sid], ["UPDATE", sid, "n", "1"], ["EXTEND", sid, 5], ["ROTATE", sid]):
        equal(c.error("SESSION." + words[0], *words[1:]).text, ROTATED)
    equal(c.cmd("SESSION.DESTROY", sid), 0)
    equal((c.cmd("SESSION.LIST", "anna"), len(c.cmd("SESSION.LIST", "ben"))), ([], 1))
    equal(as_map(c.cmd("SESSION.GET", new))["user"], b"ben")
    # nobody's
    nobody = as_map(c.cmd("SESSION.CREATE", "", 60000))["id"]
    made.append(nobody)
    equal((as_map(c.cmd("SESSION.GET", nobody))["user"], as_map(c.cmd("SESSION.GET", nobody))["data"]), (None, b"{}"))
    # of a user: all but one, the one with a handle, all
    ids = [as_map(c.cmd("SESSION.CREATE", "ben", 60000))["id"] for _ in range(3)]
    made += ids
    equal(len(c.cmd("SESSION.LIST", "ben", "LIMIT", 2)), 2)
    equal(c.cmd("SESSION.DESTROYUSER", "ben", "HANDLE", handle(ids[0])), 1)
    equal(c.cmd("SESSION.DESTROYUSER", "anna", "HANDLE", handle(ids[1])), 0, "whose it is not")
    equal(c.error("SESSION.GET", ids[0]).text, GONE)
    equal(c.cmd("SESSION.DESTROYUSER", "ben", "EXCEPT", ids[1]), 2)
    equal([as_map(e)["handle"] for e in c.cmd("SESSION.LIST", "ben")], [handle(ids[1])])
    equal(c.cmd("SESSION.DESTROYUSER", "ben"), 1)
    equal(c.cmd("SESSION.DESTROY", ids[2]), 0)
    # a client's keys and they do not meet
    equal(c.cmd("FLUSHDB"), "OK")
    check(as_map(c.cmd("SESSION.GET", nobody)), "FLUSHDB leaves sessions alone")
    equal((c.cmd("KEYS", "*"), c.cmd("DBSIZE"), c.cmd("SCAN", 0)), ([], 0, [b"0", []]))
    flat.cmd("SELECT", 1)
    equal(flat.error("SESSION.GET", nobody).text, GONE, "each database has its own")
    stats = as_map(c.cmd("SESSION.STATS"))
    equal({k: stats[k] for k in ("live", "uncleaned", "created", "rotated", "destroyed", "conflict")},
          {"live": 1, "uncleaned": 0, "created": 5, "rotated": 1, "destroyed": 4, "conflict": 1})
    check(stats["missed"] >= 5, stats)
    equal(c.cmd("SESSION.DESTROY", nobody), 1)
    for x in (c, flat):
        x.close()


def many(p, project):
    """More than one batch: of a user, and of clean-up."""
    c = enter(p, project)
    c.cmd("SELECT", 1)
    c.pipeline([["SESSION.CREATE", "many", 600000]] * 1203)
    equal(len(c.cmd("SESSION.LIST", "many", "LIMIT", 1000)), 1000)
    equal(c.cmd("SESSION.DESTROYUSER", "many"), 1203)
    # by itself
    c.pipeline([["SESSION.CREATE", "", 1]] * 1100 + [["SESSION.CREATE", "", 600000]])
    wait_until(lambda: as_map(c.cmd("SESSION.STATS"))["expired"] == 1100, "the agent to clean up by itself", 30)
    wait_until(lambda: f'purser_session_live{{purser_project="{project}",db_namespace="1"}} 1\n' in p.http("GET", "/metrics").body.decode(), "the gauge")
    check(f'purser_session_events_total{{purser_project="{project}",db_namespace="1",purser_session_event="expired"}} 1100\n' in
          p.http("GET", "/metrics").body.decode(), "the counter")
    # when told
    c.pipeline([["SESSION.CREATE", "", 1]] * 1100)
    got, removed = {}, 0
    while not got or as_map(c.cmd("SESSION.STATS"))["expired"] < 2200:
        got = as_map(c.cmd("SESSION.CLEANUP"))
        removed += got["removed"]
    equal((got["left"], got["live"]), (0, 1))
    check(removed <= 1100, "a round of its own may have come between:", removed)
    c.close()


def refused(p, project, made):
    c = enter(p, project)
    sid = as_map(c.cmd("SESSION.CREATE", "u", 60000, "DATA", "{}"))["id"]
    made.append(sid)
    deep = "[" * 300 + "]" * 300
    for words, text in [
            (["CREATE", "u"], "ERR wrong number of arguments for 'session.create' command"),
            (["CREATE", "u", 0], "BADREQUEST a time is 1 to 316224000000 ms"),
            (["CREATE", "u", "1e3"], "BADREQUEST a time"), (["CREATE", "u", 316224000001], "BADREQUEST a time"),
            (["CREATE", "u", 5, "ABS", 0], "BADREQUEST a time"), (["CREATE", "x" * 257, 5], "BADREQUEST a user is at most 256 bytes"),
            (["CREATE", "u", 5, "ABS", 5, "ABS", 5], "ERR syntax error: SESSION.CREATE user idle-ms [ABS ms] [DATA json]"),
            (["CREATE", "u", 5, "DATA", "{}", "DATA", "{}"], "ERR syntax error"), (["CREATE", "u", 5, "DATA"], "ERR syntax error"),
            (["CREATE", "u", 5, "TTL", 5], "ERR syntax error"),
            (["CREATE", "u", 5, "DATA", "[]"], "BADREQUEST DATA is no JSON object"), (["CREATE", "u", 5, "DATA", ""], "BADREQUEST DATA"),
            (["CREATE", "u", 5, "DATA", '{"a":1,"a":2}'], "BADREQUEST DATA has the same field twice"),
            (["CREATE", "u", 5, "DATA", '{"a":1'], "BADREQUEST DATA"), (["CREATE", "u", 5, "DATA", '{"a":1}x'], "BADREQUEST DATA"),
            (["CREATE", "u", 5, "DATA", '{"a":}'], "BADREQUEST DATA"), (["CREATE", "u", 5, "DATA", '{"a":' + deep + "}"], "BADREQUEST DATA"),
            (["CREATE", "u", 5, "DATA", '{"":1}'], "BADREQUEST the name of a field has 1 to 256 bytes"),
            (["CREATE", "u", 5, "DATA", '{"IfVer":1}'], "BADREQUEST no field can be called ifver"),
            (["CREATE", "u", 5, "DATA", json.dumps({str(i): i for i in range(257)})], "TOOBIG a session has at most 256 fields"),
            (["CREATE", "u", 5, "DATA", json.dumps({"a": "x" * 65536})], "TOOBIG the JSON text of a field has more than 64 KiB"),
            (["GET", sid, "TOUCH"], "ERR syntax error: SESSION.GET id [NOTOUCH]"), (["GET", sid, "NOTOUCH", "x"], "ERR syntax error"),
            (["UPDATE", sid, "a"], "ERR wrong number"), (["UPDATE", sid, "a", "1", "b"], "ERR syntax error: SESSION.UPDATE"),
            (["UPDATE", sid, "a", "text"], "BADREQUEST the value of a field is not JSON: strings stand in quotes"),
            (["UPDATE", sid, "a", ""], "BADREQUEST the value"), (["UPDATE", sid, "a", "1 2"], "BADREQUEST the value"),
            (["UPDATE", sid, b"\xff", "1"], "BADREQUEST the name of a field is not UTF-8"),
            (["UPDATE", sid, "IFVER", "1"], "ERR syntax error"), (["UPDATE", sid, "a", "1", "IFVER", "x"], "BADREQUEST IFVER takes a version"),
            (["UPDATE", sid, "a", "1", "IFVER", "01"], "BADREQUEST IFVER"), (["UPDATE", sid, "a", "1", "IFVER", 1, "IFVER", 1], "BADREQUEST IFVER"),
            (["EXTEND", sid, 0], "BADREQUEST a time"), (["EXTEND", sid], "ERR wrong number"),
            (["ROTATE", sid, "TO", "u"], "ERR syntax error: SESSION.ROTATE id [USER user]"), (["ROTATE", sid, "USER", "x" * 257], "BADREQUEST a user"),
            (["LIST", ""], "BADREQUEST sessions of nobody are in no index"), (["LIST", "u", "LIMIT", 0], "BADREQUEST LIMIT is 1 to 1000"),
            (["LIST", "u", "COUNT", 1], "ERR syntax error"), (["DESTROYUSER", ""], "BADREQUEST sessions of nobody"),
            (["DESTROYUSER", "u", "BUT", sid], "ERR syntax error"), (["DESTROYUSER", "u", "EXCEPT", sid, "HANDLE", "x"], "ERR syntax error"),
            (["STATS", "x"], "ERR wrong number")]:
        got = c.error("SESSION." + words[0], *words[1:]).text
        check(got.startswith(text), f"{words!r}: {got!r}, want {text!r}"[:600])
        check(sid.decode() not in got, got)
    for wrong in (b"", b"A" * 42, b"A" * 43, b"A" * 44, sid[:-1] + b"=", handle(sid), b"\x00" * 43):
        for words in (["GET", wrong], ["UPDATE", wrong, "a", "1"], ["EXTEND", wrong, 5], ["ROTATE", wrong], ["DESTROY", wrong]):
            c.send("SESSION." + words[0], *words[1:])
            check(c.read() in (0, RespError(GONE)), words)
    # full: 256 fields, and one goes for one that comes
    c.cmd("SESSION.UPDATE", sid, *(w for i in range(256) for w in (f"f{i}", "1")))
    equal(c.error("SESSION.UPDATE", sid, "one more", "1").text, "TOOBIG a session has at most 256 fields")
    c.cmd("SESSION.UPDATE", sid, "f0", "null", "one more", "1")
    equal(len(json.loads(as_map(c.cmd("SESSION.GET", sid))["data"])), 256)
    # names of fields as JSON has them
    odd = 'a"\\\n\x01\u00e9\U0001f600'
    c.cmd("SESSION.UPDATE", sid, "f1", "null", odd, '"v"')
    equal(json.loads(as_map(c.cmd("SESSION.GET", sid))["data"])[odd], "v")
    equal(c.cmd("MULTI"), "OK")
    check("several steps" in c.error("SESSION.GET", sid).text, "and why")
    c.cmd("DISCARD")
    c.close()


def elsewhere(p, made):
    """Another project, roles, a backend without scripts."""
    c, o = enter(p, "r"), enter(p, "other")
    sid = as_map(c.cmd("SESSION.CREATE", "u", 60000))["id"]
    made.append(sid)
    equal(o.error("SESSION.GET", sid).text, GONE)
    equal((o.cmd("SESSION.LIST", "u"), o.cmd("SESSION.DESTROY", sid), o.cmd("SESSION.DESTROYUSER", "u")), ([], 0, 0))
    check(as_map(c.cmd("SESSION.GET", sid)), "and it lives")
    n = enter(p, "narrow")
    mine = as_map(n.cmd("SESSION.CREATE", "app:u", 60000))["id"]
    made.append(mine)
    for words in (["CREATE", "u", 5], ["CREATE", "", 5], ["LIST", "u"], ["DESTROYUSER", "u"], ["ROTATE", mine, "USER", "u"]):
        equal(n.error("SESSION." + words[0], *words[1:]).word, "NOPERM", words)
    made.append(as_map(n.cmd("SESSION.ROTATE", mine, "USER", "app:v"))["id"])
    w = enter(p, "watch")
    for words in (["CREATE", "u", 5], ["UPDATE", sid, "a", "1"], ["EXTEND", sid, 5], ["ROTATE", sid], ["DESTROY", sid], ["DESTROYUSER", "u"], ["CLEANUP"]):
        equal(w.error("SESSION." + words[0], *words[1:]).word, "NOPERM", words)
    equal(w.error("SESSION.GET", sid).text, GONE)
    equal((w.cmd("SESSION.LIST", "u"), as_map(w.cmd("SESSION.STATS"))["live"]), ([], 0))
    b = enter(p, "bare")
    equal(b.error("SESSION.CREATE", "u", 5).word, "UNSUPPORTED")
    for x in (c, o, n, w, b):
        x.close()


def over_http(p, project, made):
    def ask(method, path, body=None, status=200):
        r = p.http(method, path, body, {"Purser-Project": project})
        equal(r.status, status, f"{method} {path.split('/')[2]} {r!r}")
        return r.json()

    s = ask("POST", "/v1/sessions", {"user": "web", "idle_ms": 60000, "abs_ms": 90000, "data": {"a": [1, None], "b": None}})
    sid = s["id"]
    made.append(sid.encode())
    got = ask("GET", f"/v1/sessions/{sid}")
    equal((got["user"], got["data"], got["version"]), ("web", {"a": [1, None]}, 1))
    equal(ask("PATCH", f"/v1/sessions/{sid}", {"data": {"a": None, "c": "x"}, "version": 1})["version"], 2)
    equal(ask("PATCH", f"/v1/sessions/{sid}", {"data": {"c": 1}, "version": 1}, 409)["code"], "CONFLICT")
    equal(ask("GET", f"/v1/sessions/{sid}?notouch=true")["data"], {"c": "x"})
    equal(ask("POST", f"/v1/sessions/{sid}/extend", {"ttl_ms": 80000})["expires"] > got["expires"], True)
    equal([e["handle"] for e in ask("GET", "/v1/users/web/sessions")], [handle(sid.encode()).decode()])
    new = ask("POST", f"/v1/sessions/{sid}/rotate", {"user": "web2"})
    made.append(new["id"].encode())
    equal(ask("GET", f"/v1/sessions/{sid}", status=410)["detail"], ROTATED.partition(" ")[2])
    nobody = ask("POST", "/v1/sessions", {"idle_ms": 60000})
    made.append(nobody["id"].encode())
    equal(ask("GET", f"/v1/sessions/{nobody['id']}")["user"], None)
    equal(ask("DELETE", f"/v1/sessions/{nobody['id']}"), 1)
    equal(ask("DELETE", "/v1/users/web2/sessions"), 1)
    equal(ask("GET", f"/v1/sessions/{new['id']}", status=410)["code"], "SESSIONGONE")
    check("live" in ask("GET", "/v1/sessions") and "removed" in ask("POST", "/v1/sessions/cleanup"), "statistics and clean-up")
    equal(ask("POST", "/v1/sessions", {"idle_ms": 5, "data": []}, 400)["code"], "BADREQUEST")


def secret(p, redis, rx, made):
    """Ids are in no log, no MONITOR, no slow log, no span, no metric, no status, and not in the store."""
    outputs, direct = {}, redis.client()
    for project in ("r", "m"):
        mon, c = enter(p, project), enter(p, project)
        equal(mon.cmd("MONITOR"), "OK")
        sid = as_map(c.cmd("SESSION.CREATE", "u", 60000))["id"]
        made.append(sid)
        for words in (["GET", sid], ["UPDATE", sid, "a", "1"], ["EXTEND", sid, 5], ["DESTROYUSER", "v", "EXCEPT", sid]):
            c.cmd("SESSION." + words[0], *words[1:])
        for words in (["GET", sid, "what"], ["GET"], ["DESTROYUSER", "v", "BUT", sid]):
            c.error("SESSION." + words[0], *words[1:])
        made.append(as_map(c.cmd("SESSION.ROTATE", sid))["id"])
        for before in (["PURSER.EXPLAIN"], ["COMMAND", "GETKEYS"], ["COMMAND", "GETKEYSANDFLAGS"]):
            c.send(*before, "SESSION.GET", sid)
            outputs[f"{project} {before}"] = repr(c.read())
        c.cmd("SESSION.DESTROY", sid)
        p.http("GET", f"/v1/sessions/{sid.decode()}", headers={"Purser-Project": project})
        p.http("GET", f"/v1/sessions/{sid.decode()}/nothing", headers={"Purser-Project": project})
        c.cmd("ECHO", "the end")
        lines = []
        while not lines or "the end" not in lines[-1]:
            lines.append(mon.read())
        check(any("SESSION.GET" in line and "(redacted)" in line for line in lines), lines)
        check(any("DESTROYUSER" in line and '"v" "(redacted)" "(redacted)"' in line for line in lines), lines)
        outputs[project + " MONITOR"] = "\n".join(lines)
        slow = c.cmd("SLOWLOG", "GET", -1)
        outputs[project + " SLOWLOG"] = repr(slow)
        outputs[project + " CLIENT LIST"] = repr(c.cmd("CLIENT", "LIST"))
        outputs[project + " INFO"] = repr(c.cmd("INFO", "all"))
        for x in (mon, c):
            x.close()
    outputs["status"] = p.http("GET", "/redis/status").body.decode() + p.http("GET", "/metrics").body.decode()
    for key in direct.cmd("KEYS", "*"):
        outputs["key " + repr(key)] = repr(key) + repr(direct.cmd("DUMP", key))
    rx.wait(rx.spans)
    outputs["telemetry"] = repr(rx.requests)
    outputs["log"] = p.log()
    for where, text in outputs.items():
        for sid in made:
            check(sid.decode() not in text, f"an id is in {where}")


def main():
    made = []
    rx = otlp.Receiver()
    with Redis() as redis:
        settings = {"otlp.endpoint": rx.url, "otlp.span_delay": "100ms", "otlp.sample_ratio": "1", "log.level": "trace"}
        text = CONFIG.format(url=redis.url, workers=os.environ.get("PURSER_TEST_WORKERS", "1"))
        with Purserd(settings, config=text) as p:
            for project in ("r", "m"):
                one_life(p, project, made)
                refused(p, project, made)
                over_http(p, project, made)
            elsewhere(p, made)
            secret(p, redis, rx, made)
            for project in ("r", "m"):
                many(p, project)
    rx.close()


harness.run(main)
