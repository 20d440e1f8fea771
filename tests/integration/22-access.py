#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who may enter a project and what they may do there: rules, roles, dynamic projects, and what a reload takes away."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import Purserd, Redis, RespError, check, equal, wait_until

ME, OTHER = os.getuid(), 54321
UUID = "0FB2A6E4-9c1d-4e7f-8a3b-6D5C4B3A2F10"


def agent(config, name, mode="development", backend="plugin = memory"):
    text = f"[agent]\nmode = {mode}\n[backend main]\n{backend}\n{config}"
    p = Purserd(config=text, name=f"{name}-{backend.split()[2]}")
    p.text = text
    return p


def enter(p, project, proto=2):
    c = p.client()
    c.cmd("HELLO", proto)
    equal(c.cmd("PURSER.PROJECT", project), "OK")
    return c


# ---- who may enter ----

def development():
    """Open until something is said; then the same as in production."""
    rules = f"[project closed]\nallow_uid = {OTHER}\n[project mine]\nallow_uid = {OTHER} {ME}\n[project granted]\n" \
        f"[project tokens]\naccept = token jwt\n[project quiet]\n[grant g]\nprojects = granted\nallow_uid = {OTHER}\n"
    with agent(rules, "development") as p, p.client() as c:
        c.cmd("SET", "k", "in default")
        equal(c.cmd("PURSER.PROJECT", "quiet"), "OK")
        equal(c.cmd("CONFIG", "GET", "nothing"), [])
        equal(c.cmd("PURSER.PROJECT", "mine"), "OK")
        equal(c.error("PURSER.LOGLEVEL").word, "NOPERM", "whom a rule lets in is a writer")
        nope = c.error("PURSER.PROJECT", "nope")
        for name in ("closed", "granted", "tokens"):
            e = c.error("PURSER.PROJECT", name)
            equal((e.word, e.text), ("NOPROJECT", nope.text), "a closed project is answered as one that does not exist")
            equal(p.http("GET", "/redis/kv?key=k", headers={"Purser-Project": name}).body,
                  p.http("GET", "/redis/kv?key=k", headers={"Purser-Project": "nope"}).body)
        c.cmd("RESET")
        equal(c.cmd("GET", "k"), b"in default")


def production():
    nobody = f"[project a]\n[project b]\nallow_uid = {OTHER}\n"
    with agent(nobody, "nobody", "production") as p:
        with p.client() as c:
            for words in (("PING",), ("GET", "k"), ("COMMAND", "COUNT"), ("CLIENT", "LIST"), ("ECHO", "x"), ("PURSER.STATUS",),
                          ("PURSER.RELOAD",), ("PURSER.SUBSCRIBE", "health"), ("MULTI",), ("SUBSCRIBE", "c"), ("MONITOR",),
                          ("INFO",), ("PURSER.PROJECT", "a"), ("PURSER.PROJECT", "b")):
                equal(c.error(*words).word, "NOPROJECT", words)
            equal(c.cmd("HELLO", 3)[b"proto"], 3)
            check(b'"project":null' in c.cmd("PURSER.WHOAMI"))
            equal(c.cmd("RESET"), "RESET")
            equal(c.cmd("QUIT"), "OK")
        equal(p.http("GET", "/redis/kv?key=k").status, 400)
    one = f"[project a]\nallow_uid = {ME}\n[project b]\nallow_uid = {OTHER}\n"
    with agent(one, "one", "production") as p, p.client() as c:
        equal(c.cmd("SET", "k", "v"), "OK", "the only project that one may enter needs no name")
        equal(p.http("GET", "/redis/kv?key=k").json()["value"], "v")
        equal(c.error("PURSER.RELOAD").word, "NOPERM")
    several = f"[project a]\nallow_uid = *\n[project b]\nallow_gid = {os.getgid()}\n[grant r]\nprojects = b\n" \
        f"allow_uid = {ME}\nrole = reader\n"
    with agent(several, "several", "production") as p, p.client() as c:
        e = c.error("GET", "k")
        check(e.word == "NOPROJECT" and "several" in e.text and "PURSER.PROJECT" in e.text, e)
        r = p.http("GET", "/redis/kv?key=k")
        equal((r.status, r.json()["code"]), (400, "NOPROJECT"))
        equal(p.http("POST", "/redis/kv", {"key": "k", "value": "v"}, {"Purser-Project": "a"}).status, 200)
        equal(p.http("POST", "/redis/kv", {"key": "k", "value": "v"}, {"Purser-Project": "b"}).status, 403)
        equal(p.http("GET", "/redis/kv?key=k", headers={"Purser-Project": "b"}).status, 404)
        equal(c.cmd("PURSER.PROJECT", "b"), "OK")
        equal(c.error("SET", "k", "v").word, "NOPERM", "the uid's rule goes before the group's")
    with agent(f"[project a]\nallow_uid = {OTHER}\n[grant ops]\nprojects = *\nallow_uid = {ME}\nrole = operator\n[project b]\n",
               "operator", "production") as p, p.client() as c:
        check(b"info" in c.cmd("PURSER.LOGLEVEL"), "the agent is operated without a project")
        equal(c.error("CONFIG", "RESETSTAT").word, "NOPROJECT")


# ---- projects that come to be ----

def dynamic(backend):
    rules = f"[project *]\ndynamic = yes\nmax_projects = 3\nallow_uid = {ME}\nkey_prefix = app:{{project}}:\n[project shop]\n" \
        f"allow_uid = {ME}\n[project closed]\nallow_uid = {OTHER}\n"
    with agent(rules, "dynamic", "production", backend) as p:
        with p.client() as c:
            e = c.error("GET", "k")
            check(e.word == "NOPROJECT" and "several" in e.text, e)
        a, b = enter(p, UUID), enter(p, UUID.lower())
        a.cmd("SET", "k", "v")
        equal(b.cmd("GET", "k"), b"v", "a UUID is one project however it is spelled")
        check(UUID.lower().encode() in a.cmd("PURSER.WHOAMI"))
        equal(a.cmd("KEYS", "*"), [b"k"])
        equal(a.cmd("DBSIZE"), 1)
        other = enter(p, "other")
        equal(other.cmd("GET", "k"), None)
        for bad in ("Upper", "", "*", "a:b", "x" * 65, "{x}", UUID.upper() + "0"):
            equal(other.error("PURSER.PROJECT", bad).word, "NOPROJECT", bad)
        equal(other.error("PURSER.PROJECT", "closed").word, "NOPROJECT")
        equal(p.http("GET", "/redis/kv?key=k", headers={"Purser-Project": "third"}).status, 404)
        e = other.error("PURSER.PROJECT", "fourth")
        check(e.word == "NOPROJECT" and "max_projects" in e.text, e)
        equal(other.cmd("PURSER.PROJECT", "shop"), "OK")
        equal(other.cmd("PURSER.PROJECT", "third"), "OK", "what is there can be entered")
        # A reload begins anew, and who is in a project stays there.
        reload_with(p, p.text.replace("max_projects = 3", "max_projects = 4"))
        equal((a.cmd("GET", "k"), b.cmd("GET", "k"), other.cmd("SET", "n", 1)), (b"v", b"v", "OK"))
        equal(enter(p, "fourth").cmd("GET", "k"), None)
        reload_with(p, p.text.replace("dynamic = yes", "dynamic = no"))
        equal(a.error("GET", "k").word, "NOPROJECT", "it is gone, and no other takes its place")


PREFIXES = (
    ("[project a]\nkey_prefix = x:\n[project b]\nkey_prefix = x:y:\n", "one holds the other"),
    ("[project *]\ndynamic = yes\n[project a]\nkey_prefix = proj:zz:\n", "one holds the other"),
    ("[project *]\ndynamic = yes\n[project a]\nkey_prefix = proj:zz:more:\n", "one holds the other"),
    ("[project *]\ndynamic = yes\n[project a]\nkey_prefix = pro\n", "one holds the other"),
    ("[project *]\ndynamic = yes\n[project a]\nkey_prefix = proj:zz\n", "one holds the other"),
    ("[project *]\ndynamic = yes\nkey_prefix = app:\n", "{project} must be in it"),
    ("[project *]\ndynamic = yes\nkey_prefix = app:{project}x\n", "{project} must be in it"),
    ("[project *]\ndynamic = yes\nisolation = off\n", "each needs its prefix"),
    ("[project a]\ndynamic = yes\n", "for [project *] alone"),
    ("[project a]\nmax_projects = 5\n", "for [project *] alone"),
    ("[project a]\nrole = nosuch\n", "there is no [role nosuch]"),
    ("[project a]\nallow_uid = no.such.user\n", "there is no user no.such.user"),
    ("[project a]\nallow_gid = no.such.group\n", "there is no group no.such.group"),
    ("[project a]\naccept = peer magic\n", "there is no magic"),
    ("[role r]\n", "needs permissions"),
    ("[role admin]\npermissions = redis:read\n", "choose another"),
    ("[role r]\npermissions = redis:all\n", "there is no redis:all"),
    ("[role r]\npermissions = redis:read\ncommands = get nosuch\n", "there is no command nosuch"),
    ("[role r]\npermissions = redis:read\ndeny_commands = object|nosuch\n", "there is no command object|nosuch"),
    ("[project a]\n[grant g]\nprojects = a\n", "it names nobody"),
    ("[project a]\n[grant g]\nprojects = a\nallow_gid = no.such.group\n", "there is no group no.such.group"),
    ("[grant g]\nallow_uid = 0\n", "needs projects"),
    ("[grant g]\nprojects = A:b\nallow_uid = 0\n", "no project's name"),
)
GOOD = (
    "[project *]\ndynamic = yes\n[project a]\n[project b]\nkey_prefix = b!:\n",
    "[project *]\ndynamic = yes\nkey_prefix = app:{project}:\n[project a]\nkey_prefix = app2:\n[project app]\n",
    "[grant g]\nprojects = default\nallow_uid = 0\n",
    "[project *]\ndynamic = yes\n[grant g]\nprojects = what.comes\nallow_uid = 0\n",
    "[agent]\nmode = production\n[project a]\n[grant g]\nprojects = *\nallow_uid = 0\n",
    "[project a]\nkey_prefix = {project}/\n[project ab]\nkey_prefix = {project}/\n",
)


# What is no error, and surely not meant.
SLIPS = (
    ("[project shop]\n[grant g]\nprojects = shop shpo\nallow_uid = 0\n", "[grant g] projects: there is no [project shpo]"),
    ("[project shop]\n[jwt j]\nissuer = https://i\naudience = a\nproject = shpo\n", "[jwt j] project: there is no [project shpo]"),
    ("[agent]\nmode = production\n[project shop]\n", "[project shop] lets nobody in: it accepts peer token jwt"),
    ("[project shop]\naccept = token\n", "[project shop] lets nobody in: it accepts token"),
    ("[project shop]\naccept = jwt\n", "[project shop] lets nobody in: it accepts jwt"),
    ("[agent]\nmode = production\n[project *]\ndynamic = yes\n", "[project *] lets nobody in"),
)


def check_config():
    for text, want in PREFIXES:
        p = Purserd(config="[backend main]\nplugin = memory\n" + text, name="wrong")
        r = p.run("--check-config")
        check(r.returncode == 1 and want in r.stderr, text, r.stderr)
        check("wrong.ini:" in r.stderr, "it says where:", r.stderr)
        if "[grant" in text:
            equal(len(r.stderr.splitlines()), 1, r.stderr)
    for text, want in SLIPS:
        p = Purserd(config="[backend main]\nplugin = memory\n" + text, name="slip")
        r = p.run("--check-config")
        equal((r.returncode, len(r.stderr.splitlines())), (0, 1), r.stderr)
        check(r.stderr.startswith("warning: ") and "slip.ini:" in r.stderr and want in r.stderr, text, r.stderr)
    for text in GOOD:
        p = Purserd(config="[backend main]\nplugin = memory\n" + text, name="good")
        r = p.run("--check-config")
        equal((r.returncode, r.stderr), (0, ""), text)


# ---- what they may do ----

ROLES = f"""
[role narrow]
permissions = redis:read redis:write pubsub script
keys = app:* exact
keys_read = conf:*
deny_commands = flushdb config object|freq
[role few]
permissions = redis:read redis:write
commands = get set object
[role eval]
permissions = redis:read script
[role all]
permissions = redis:read redis:write
keys = *
[project narrow]
allow_uid = {ME}
role = narrow
key_prefix = n:
[project few]
allow_uid = {ME}
role = few
[project eval]
allow_uid = {ME}
role = eval
[project reader]
allow_uid = {ME}
role = reader
[project admin]
allow_uid = {ME}
role = admin
[project all]
allow_uid = {ME}
role = all
[project setup]
key_prefix = n:
"""


def refused(c, *commands):
    for words in commands:
        e = c.error(*words)
        equal(e.word, "NOPERM", words)
        for secret in ("n:", "app:", "conf:", "other"):
            check(secret not in e.text, words, e)


def narrowed(backend):
    with agent(ROLES.replace("[project setup]\nkey_prefix = n:\n", ""), "roles", "development", backend) as p:
        c = enter(p, "narrow", 3)
        equal((c.cmd("SET", "app:1", "v"), c.cmd("SET", "exact", 1), c.cmd("GET", "conf:x")), ("OK", "OK", None))
        refused(c, ("SET", "conf:x", "v"), ("GET", "other"), ("GET", "exactly"), ("DEL", "app:1", "other"), ("MGET", "app:1", "other"),
                ("MSET", "app:1", "v", "conf:x", "v"), ("RENAME", "app:1", "conf:1"), ("COPY", "app:1", "other"),
                ("KEYS", "app:*"), ("SCAN", 0, "MATCH", "app:*"), ("RANDOMKEY",), ("FLUSHALL",), ("FLUSHDB",), ("MONITOR",),
                ("CLIENT", "TRACKING", "ON", "BCAST"), ("PSUBSCRIBE", "__keyspace@0__:*"), ("CONFIG", "GET", "*"),
                ("OBJECT", "FREQ", "app:1"), ("PURSER.RELOAD",), ("SORT", "app:l", "BY", "w_*"), ("SORT", "app:l", "STORE", "conf:x"),
                ("SORT_RO", "app:l", "GET", "*"), ("ZUNIONSTORE", "app:z", 2, "app:a", "other"), ("ZINTERSTORE", "conf:z", 1, "app:a"),
                ("LMPOP", 2, "app:l", "other", "LEFT"), ("BLPOP", "app:l", "other", 1), ("XREAD", "STREAMS", "app:s", "other", 0, 0),
                ("EVAL", "return 1", 0), ("EVAL", "return redis.call('SET', 'other', 1)", 1, "app:x"), ("FCALL_RO", "f", 0), ("GEORADIUS", "app:g", 0, 0, 1, "m", "STORE", "conf:g"),
                ("BITOP", "AND", "conf:b", "app:a"), ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "conf:s", ">"))
        equal(c.cmd("SORT", "conf:l", "STORE", "app:l"), 0, "the source is only read")
        equal(c.cmd("ZUNIONSTORE", "app:z", 1, "conf:a"), 0)
        equal(c.cmd("BITOP", "AND", "app:b", "conf:a", "conf:b"), 0)
        equal(c.cmd("OBJECT", "ENCODING", "exact"), b"int")
        equal(c.cmd("SORT", "conf:l", "BY", "nosort"), [])
        # in a transaction a refusal comes at once, and EXEC does nothing
        equal(c.cmd("MULTI"), "OK")
        equal(c.cmd("SET", "app:2", "v"), "QUEUED")
        refused(c, ("SET", "other", "v"))
        equal(c.error("EXEC").word, "EXECABORT")
        equal(c.cmd("GET", "app:2"), None)
        equal(c.cmd("WATCH", "app:2", "conf:x"), "OK")
        refused(c, ("WATCH", "other"))
        c.cmd("RESET")
        few = enter(p, "few")
        equal((few.cmd("SET", "k", "v"), few.cmd("GET", "k"), few.cmd("PING"), few.cmd("OBJECT", "REFCOUNT", "k")), ("OK", b"v", "PONG", 1))
        refused(few, ("DEL", "k"), ("GETEX", "k"), ("MULTI",), ("INFO",))
        one = enter(p, "eval")
        equal(one.cmd("EVAL_RO", "return 1", 0), 1)
        refused(one, ("EVAL", "return 1", 0), ("SET", "k", "v"))
        reader = enter(p, "reader")
        equal(reader.cmd("SCAN", 0), [b"0", []])
        refused(reader, ("SET", "k", "v"), ("PUBLISH", "c", "m"), ("EVAL_RO", "return 1", 0), ("FLUSHDB",), ("SORT", "k"),
                ("PURSER.BREAKER",), ("CLIENT", "KILL", "ID", 1))
        equal(reader.cmd("SORT_RO", "k"), [])
        admin = enter(p, "admin")
        equal(admin.cmd("EVAL", "return 1", 0), 1)
        refused(admin, ("PURSER.RELOAD",), ("PURSER.LOGLEVEL",), ("PURSER.FAULT", "LIST"))
        every = enter(p, "all")
        equal((every.cmd("KEYS", "*"), every.cmd("FLUSHDB"), every.cmd("SORT", "k", "BY", "w*")), ([], "OK", []))
        r = p.http("POST", "/v1/command", ["SET", "other", "v"], {"Purser-Project": "narrow"})
        equal((r.status, r.json()["code"]), (403, "NOPERM"))


def explained(backend):
    with agent(ROLES.replace("[project setup]\nkey_prefix = n:\n", ""), "explain", "development", backend) as p:
        c = p.client()

        def ask(*words, of=c):
            return json.loads(of.cmd("PURSER.EXPLAIN", *words))

        e = ask("ZUNIONSTORE", "to", 2, "a", b"b\xff")
        equal((e["command"], e["project"], e["role"], e["permission"], e["allowed"]),
              ("zunionstore", "default", "operator", "redis:write", True))
        equal((e["keys"], e["physical_keys"]), (["to", "a", "b\xff"], ["proj:default:to", "proj:default:a", "proj:default:b\xff"]))
        equal((e["route"], e["backend"], e["plugin"], e["supported"]), ("shared", "main", backend.split()[2], True))
        equal(e["breaker"], {"class": "write", "state": "closed", "retry_after_ms": 0})
        equal(e["retry"], {"class": "never", "twice_is_harmless": False, "max_attempts": 4})
        equal((e["limits"]["timeout_ms"], e["limits"]["databases"]), (10000, 1))
        equal(ask("SET", "k", "v")["retry"]["twice_is_harmless"], True)
        equal(ask("SET", "k", "v", "NX")["retry"]["twice_is_harmless"], False)
        equal([ask(*w)["route"] for w in (("BLPOP", "k", 0), ("WATCH", "k"), ("MULTI",), ("DBSIZE",), ("PING",))],
              ["exclusive", "pinned", "transaction", "agent, in steps", "agent"])
        on_redis = "redis" in backend
        e = ask("EVAL", "return 1", 0)
        equal((e["allowed"], e["route"]), (True, "confined" if on_redis else "shared"))
        e = ask("FUNCTION", "LIST")
        equal((e["allowed"], e["code"], e["reason"]), (False, "NOPERM", c.error("FUNCTION", "LIST").text.split(" ", 1)[1]))
        e = ask("SCRIPT", "KILL")
        equal((e["allowed"], "reason" in e), (False, True) if on_redis else (True, False))
        equal(c.cmd("EXISTS", "k", "to"), 0, "nothing has been run")
        equal(c.error("PURSER.EXPLAIN", "NOSUCH").word, "ERR")
        equal(c.error("PURSER.EXPLAIN", "GET").word, "ERR")
        equal(c.error("PURSER.EXPLAIN", "SHUTDOWN"), c.error("SHUTDOWN"))
        with enter(p, "narrow") as n:
            e = ask("MGET", "app:1", "other", of=n)
            equal((e["allowed"], e["code"], e["refused_argument"], e["reason"]), (False, "NOPERM", 2, n.error("MGET", "app:1", "other").text.split(" ", 1)[1]))
            check("physical_keys" not in e and "n:" not in json.dumps(e), "prefixes are for operators", e)
            equal(ask("MGET", "app:1", of=n)["allowed"], True)
            equal(ask("KEYS", "*", of=n)["allowed"], False)
        r = p.http("POST", "/v1/explain", ["GET", "k"], {"Purser-Project": "reader"})
        equal((r.status, r.json()["allowed"], r.json()["project"]), (200, True, "reader"))
        for bad in ([["GET", "k"], ["GET", "l"]], [["GET", "k"]], {}, []):
            equal(p.http("POST", "/v1/explain", bad).status, 400, bad)
        equal(p.http("POST", "/v1/explain", ["NOSUCH"]).status, 422)


# ---- a reload takes a right away ----

def reload_with(p, text):
    n = p.log().count('"config.drained"')
    p.text = text
    p.write_config(text)
    p.reload()
    wait_until(lambda: p.log().count('"config.drained"') > n, "the reload")


def closes(c):
    """What comes until the agent closes the connection."""
    said = []
    while True:
        try:
            said.append(c.read())
        except (EOFError, ConnectionError):
            return said


def connections(p):
    """One of each kind that a right can be taken away from."""
    names = ("plain", "subscriber", "pattern", "shard", "monitor", "tracking", "bcast", "blocked", "multi", "local", "watching", "old")
    c = {name: enter(p, "a", 2 if name == "old" else 3) for name in names}
    c["plain"].cmd("SET", "k", "v")
    for name, words in (("subscriber", ("SUBSCRIBE", "news")), ("pattern", ("PSUBSCRIBE", "n*")), ("shard", ("SSUBSCRIBE", "s")),
                        ("monitor", ("MONITOR",)), ("tracking", ("CLIENT", "TRACKING", "ON")), ("old", ("SUBSCRIBE", "news")),
                        ("bcast", ("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "x")), ("multi", ("MULTI",)),
                        ("local", ("MULTI",)), ("watching", ("WATCH", "k"))):
        c[name].send(*words)
        check(not isinstance(c[name].read(), RespError), words)
    c["tracking"].cmd("GET", "k")
    c["multi"].cmd("SET", "k", "from a transaction")
    c["local"].cmd("GET", "k")
    c["blocked"].send("BLPOP", "queue", 0)
    c["blocked"].send("SET", "k", "behind it")
    wait_until(lambda: b"cmd=blpop" in c["plain"].cmd("CLIENT", "LIST"), "BLPOP to wait")
    return c


def taken(backend):
    base = "[project b]\nallow_uid = *\n[project a]\nallow_uid = {who}\nrole = {role}\n" \
        "[role r]\npermissions = redis:read redis:write redis:admin pubsub script\n{more}\n"
    head = f"[agent]\nmode = production\ndrain_timeout = 3s\n[backend main]\n{backend}\n"

    def text(who=ME, role="admin", more=""):
        return head + base.format(who=who, role=role, more=more)

    with Purserd(config=text(), name="taken-" + backend.split()[2]) as p:
        # the same rights in other words: nothing happens to anybody
        c = connections(p)
        reload_with(p, text(role="r"))
        equal(c["plain"].cmd("PUBLISH", "news", "m"), 3)
        check(any(x and x[:2] == [b"message", b"news"] for x in (c["subscriber"].read(), )), "a subscriber goes on")
        equal(c["old"].read(), [b"message", b"news", b"m"])
        c["plain"].cmd("RPUSH", "queue", "x")
        equal(c["blocked"].read(), [b"queue", b"x"])
        equal((c["blocked"].read(), c["multi"].cmd("EXEC"), c["plain"].cmd("GET", "k")), ("OK", ["OK"], b"from a transaction"))
        for one in c.values():
            one.close()

        # the project is closed to this user
        c = connections(p)
        reload_with(p, text(who=OTHER))
        e = c["plain"].error("GET", "k")
        equal(e.word, "NOPROJECT", "the other project does not take its place")
        for name in ("subscriber", "pattern", "shard", "monitor", "tracking", "bcast"):
            said = closes(c[name])
            check(any(x[0] == b"purser.closed" for x in said if isinstance(x, list)), name, said)
        equal(closes(c["old"]), [])
        check(isinstance(c["blocked"].read(), RespError), "what waits is ended")
        equal(c["blocked"].read().word, "NOPROJECT", "and what stood behind it does not run")
        equal(c["multi"].error("EXEC").word in ("EXECABORT", "NOPROJECT"), True)
        equal(c["watching"].error("GET", "k").word, "NOPROJECT")
        reload_with(p, text())
        with enter(p, "a") as d:
            equal(d.cmd("GET", "k"), b"v", "nothing of what was queued has run")

        # a right alone: no pubsub, no writing
        c = connections(p)
        reload_with(p, text(role="reader"))
        equal(c["plain"].cmd("GET", "k"), b"v")
        equal(c["plain"].error("SET", "k", "v").word, "NOPERM")
        for name in ("subscriber", "pattern", "shard", "monitor", "old"):
            closes(c[name])
        equal(c["tracking"].cmd("GET", "k"), b"v", "tracking needs no more than reading")
        check(isinstance(c["blocked"].read(), RespError))
        equal(c["blocked"].read().word, "NOPERM")
        equal(c["multi"].error("EXEC").word, "EXECABORT")
        equal(c["local"].cmd("EXEC"), [b"v"], "what may still run does")
        for one in c.values():
            one.close()

        # keys: who tracks and watches all, and what is queued for others
        reload_with(p, text())
        c = connections(p)
        reload_with(p, text(role="r", more="keys = other:*"))
        equal(c["plain"].error("GET", "k").word, "NOPERM")
        for name in ("monitor", "bcast"):
            closes(c[name])
        equal(c["subscriber"].cmd("PING"), "PONG")
        equal(c["multi"].error("EXEC").word, "EXECABORT")
        equal(c["local"].error("EXEC").word, "EXECABORT")
        check(isinstance(c["blocked"].read(), RespError))
        equal(c["blocked"].read().word, "NOPERM")


def main():
    check_config()
    development()
    production()
    dynamic("plugin = memory")
    narrowed("plugin = memory")
    explained("plugin = memory")
    taken("plugin = memory")
    with Redis() as redis:
        dynamic(f"plugin = redis\nurl = {redis.url}")
        narrowed(f"plugin = redis\nurl = {redis.url}")
        explained(f"plugin = redis\nurl = {redis.url}")
        taken(f"plugin = redis\nurl = {redis.url}")


harness.run(main)
