#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Limits of projects.  A rate of so many in an hour makes what may pass a number that no clock changes: burst and one."""

import json
import re
import signal
import subprocess

import harness
from harness import RespError, check, equal, wait_until

HOUR = "rate_period = 1h\n"
PROJECTS = {
    "free": "",
    "rate": "rate = 10\nburst = 29\n" + HOUR,
    "writes": "write_rate = 10\nwrite_burst = 4\n" + HOUR,
    "client": "client_rate = 10\nclient_burst = 9\n" + HOUR,
    "cwrites": "client_write_rate = 10\nclient_write_burst = 2\n" + HOUR,
    "bytes": "byte_rate = 1KiB\nbyte_burst = 100KiB\n" + HOUR,
    "cbytes": "client_byte_rate = 1KiB\nclient_byte_burst = 10KiB\n" + HOUR,
    "size": "rate = 10\nburst = 9\ncharge = size\n" + HOUR,
    "both": "rate = 10\nburst = 19\nclient_rate = 10\nclient_burst = 4\n" + HOUR,
    "crowd": "max_connections = 2\n",
    "flight": "max_inflight = 5\n",
}


def config(store, projects, more=""):
    return f"[agent]\n{more}[backend main]\n{store}\n[health]\ninterval = 1h\n" + \
        "".join(f"[project {name}]\n{text}" for name, text in projects.items())


def enter(p, project):
    c = p.client()
    equal(c.cmd("AUTH", project, "x"), "OK")
    return c


def limited(reply, project, limit):
    check(isinstance(reply, RespError), "not refused: ", reply)
    m = re.fullmatch(rf"RATELIMITED project={project} retry_after_ms=(\d+) limit={limit}", reply.text)
    check(m, reply.text)
    check(int(m[1]) > 0, reply.text)
    return int(m[1])


def counts(replies):
    return sum(not isinstance(r, RespError) for r in replies)


def rates(p):
    """The burst and one, whichever connections (and workers) they come from."""
    many = [enter(p, "rate") for _ in range(6)]
    passed = 0
    for i in range(12):
        passed += counts(many[i % 6].pipeline([("GET", "k")] * 7))
    equal(passed, 30)
    c = many[0]
    ms = limited(c.error("GET", "k"), "rate", "rate")
    check(ms <= 360000, ms, "of a request each six minutes")
    limited(c.error("SET", "k", "v"), "rate", "rate")
    limited(c.error("DBSIZE"), "rate", "rate")
    limited(c.error("SUBSCRIBE", "x"), "rate", "rate")
    # what the agent answers itself, and what ends something, is free
    equal((c.cmd("PING"), c.cmd("ECHO", "x"), c.cmd("SELECT", 0)), ("PONG", b"x", "OK"))
    equal(c.cmd("UNSUBSCRIBE"), [b"unsubscribe", None, 0])
    equal((c.cmd("MULTI"), c.cmd("GET", "k"), c.cmd("DISCARD")), ("OK", "QUEUED", "OK"))
    equal((c.cmd("MULTI"), c.cmd("EXEC")), ("OK", []))
    # another project is not concerned, nor is the same connection there
    with enter(p, "free") as other:
        equal(counts(other.pipeline([("GET", "k")] * 100)), 100)
    equal((c.cmd("AUTH", "free", "x"), c.cmd("GET", "k")), ("OK", None))
    equal(c.cmd("AUTH", "rate", "x"), "OK")
    limited(c.error("GET", "k"), "rate", "rate")
    r = p.http("GET", "/redis/kv?key=k", headers={"Purser-Project": "rate"})
    equal(r.status, 429)
    check("RATELIMITED" in r.body.decode(), r.body)
    check(0 < int(r.headers["retry-after"]) <= 360, r.headers["retry-after"])
    for d in many:
        d.close()


def kinds(p):
    with enter(p, "writes") as c:
        equal(counts(c.pipeline([("SET", "k", "v"), ("GET", "k")] * 10)), 5 + 10)
        limited(c.error("DEL", "k"), "writes", "write_rate")
        equal(c.cmd("GET", "k"), b"v")
    with enter(p, "client") as a, enter(p, "client") as b:
        equal((counts(a.pipeline([("GET", "k")] * 15)), counts(b.pipeline([("GET", "k")] * 15))), (10, 10))
        limited(a.error("GET", "k"), "client", "client_rate")
        equal((a.cmd("AUTH", "free", "x"), a.cmd("GET", "k")), ("OK", None))
    with enter(p, "cwrites") as a, enter(p, "cwrites") as b:
        equal((counts(a.pipeline([("SET", "k", "v")] * 5)), counts(b.pipeline([("SET", "k", "v")] * 5))), (3, 3))
        limited(a.error("SET", "k", "v"), "cwrites", "client_write_rate")
        equal(a.cmd("GET", "k"), b"v")
    with enter(p, "client") as c:  # what is left is part of the explanation
        c.cmd("GET", "k")
        limits = json.loads(c.cmd("PURSER.EXPLAIN", "GET", "k"))["limits"]
        equal((limits["client_rate"]["limit"], limits["client_rate"]["remaining"]), (10, 9))
        check(limits["client_rate"]["reset_ms"] <= 360000, limits)
    with enter(p, "size") as c:
        equal(c.cmd("SET", "k", "x" * 20000), "OK")  # 1 and 4
        limited(c.error("SET", "k", "x" * 24000), "size", "rate")  # 1 and 5
        equal(counts(c.pipeline([("GET", "k")] * 7)), 5)  # what was refused has cost nothing
    with enter(p, "both") as a, enter(p, "both") as b, enter(p, "both") as c:
        # who is refused by one limit has paid nothing to the other
        equal(counts(a.pipeline([("GET", "k")] * 100)), 5)
        limited(a.error("GET", "k"), "both", "client_rate")
        equal((counts(b.pipeline([("GET", "k")] * 5)), counts(c.pipeline([("GET", "k")] * 5))), (5, 5))
        with enter(p, "both") as d, enter(p, "both") as e:
            equal(counts(d.pipeline([("GET", "k")] * 5)), 5)
            limited(e.error("GET", "k"), "both", "rate")


def sizes(p):
    with enter(p, "bytes") as c:
        equal(c.cmd("SET", "k", "x" * 60000), "OK")
        equal(len(c.cmd("GET", "k")), 60000)  # it is known afterwards
        ms = limited(c.error("GET", "k"), "bytes", "byte_rate")
        check(ms > 17 * 3600 * 1000, ms, "for 17,600 bytes too many")
        limited(c.error("GET", "none"), "bytes", "byte_rate")
        equal(c.cmd("PING"), "PONG")
    with enter(p, "cbytes") as a, enter(p, "cbytes") as b:
        equal(a.cmd("SET", "k", "x" * 12000), "OK")
        limited(a.error("GET", "k"), "cbytes", "client_byte_rate")
        equal(len(b.cmd("GET", "k")), 12000)
        limited(b.error("GET", "k"), "cbytes", "client_byte_rate")


def transactions(p):
    """EXEC pays for its commands, and runs all of them or none."""
    with enter(p, "rate") as c, enter(p, "free") as f:
        equal(f.cmd("SET", "k", "v"), "OK")
        c.pipeline([("MULTI",)] + [("INCR", "n")] * 10)
        equal(c.cmd("EXEC"), list(range(1, 11)))
        c.pipeline([("MULTI",)] + [("INCR", "n")] * 21)
        limited(c.error("EXEC"), "rate", "rate")
        equal(c.error("EXEC").text, "ERR EXEC without MULTI")
        equal(c.pipeline([("MULTI",)] + [("INCR", "n")] * 19)[-1], "QUEUED")
        equal(c.cmd("EXEC"), list(range(11, 30)))
        c.pipeline([("MULTI",)] + [("GET", "n")] * 31)
        e = c.error("EXEC")
        equal(e.word, "TOOBIG")
        check("limit=rate" in e.text and "31" in e.text, e.text)
        equal(c.cmd("GET", "n"), b"29")
        limited(c.error("GET", "n"), "rate", "rate")
    with enter(p, "writes") as c:
        c.pipeline([("MULTI",)] + [("GET", "k")] * 20 + [("SET", "k", "v")] * 4)
        equal(len(c.cmd("EXEC")), 24)
        c.pipeline([("MULTI",)] + [("GET", "k")] * 20 + [("SET", "k", "w")] * 2)
        limited(c.error("EXEC"), "writes", "write_rate")
        equal(c.cmd("GET", "k"), b"v")


def connections(p):
    a, b = enter(p, "crowd"), enter(p, "crowd")
    c = p.client()
    e = c.error("AUTH", "crowd", "x")
    check(e.text.startswith("RATELIMITED project=crowd retry_after_ms=1000 limit=max_connections"), e.text)
    equal(c.error("GET", "k").word, "RATELIMITED")
    equal(c.cmd("PING"), "PONG")
    equal(c.error("HELLO", 3, "AUTH", "crowd", "x").word, "RATELIMITED")
    equal(c.error("PURSER.PROJECT", "crowd").word, "RATELIMITED")
    equal(p.http("GET", "/redis/kv?key=k", headers={"Purser-Project": "crowd"}).status, 429)
    equal((a.cmd("AUTH", "crowd", "x"), a.cmd("SET", "k", "v")), ("OK", "OK"))  # it is in already
    equal(b.cmd("AUTH", "free", "x"), "OK")  # it goes: there is a place, and c need not ask anew
    equal(c.cmd("GET", "k"), b"v")
    equal(b.error("AUTH", "crowd", "x").word, "RATELIMITED")
    a.close()
    wait_until(lambda: b.pipeline([("AUTH", "crowd", "x")]) == ["OK"], "the place of who went")
    equal(p.http("GET", "/redis/kv?key=k", headers={"Purser-Project": "free"}).status, 404)
    c.close()
    wait_until(lambda: p.http("GET", "/redis/kv?key=k", headers={"Purser-Project": "crowd"}).status == 200, "a place")
    b.close()


def in_flight(p, redis):
    with enter(p, "flight") as c, enter(p, "flight") as w, enter(p, "free") as f:
        redis.signal(signal.SIGSTOP)
        w.send("BLPOP", "list", 0)  # who waits in the store is not counted
        c.s.sendall(harness.encode("GET", "k") * 9)
        wait_until(lambda: metric(p, "purser_limit_refused_total", "flight", "max_inflight") == 4, "four to be refused")
        equal(metric(p, "purser_limit_inflight", "flight"), 5)
        f.send("GET", "k")
        redis.signal(signal.SIGCONT)
        replies = [c.read() for _ in range(9)]
        equal(replies[:5], [None] * 5)
        for r in replies[5:]:
            limited(r, "flight", "max_inflight")
        equal(f.read(), None)
        equal(counts(c.pipeline([("GET", "k")] * 5)), 5)
        wait_until(lambda: metric(p, "purser_limit_inflight", "flight") == 0, "nothing to be under way")
        equal(c.cmd("RPUSH", "list", "x"), 1)
        equal(w.read(), [b"list", b"x"])


def metric(p, name, project, limit=None):
    labels = (f'purser_limit="{limit}",' if limit else "") + f'purser_project="{project}"'
    other = f'purser_project="{project}"' + (f',purser_limit="{limit}"' if limit else "")
    text = p.http("GET", "/metrics").body.decode()
    m = re.search(rf"^{name}{{(?:{labels}|{other})}} (\d+)$", text, re.M)
    return int(m[1]) if m else 0


def reloaded(p):
    with p.client() as c:  # while the generation before is not gone yet it says in_progress
        wait_until(lambda: not isinstance(c.pipeline([("PURSER.RELOAD",)])[0], RespError), "the reload")


def reload(p, store):
    """What an unchanged limit has counted is kept; a changed one begins anew; open connections feel both."""
    projects = {"kept": "rate = 10\nburst = 9\nwrite_rate = 10\nwrite_burst = 3\n" + HOUR, "full": "max_connections = 1\n"}
    p.write_config(config(store, projects))
    reloaded(p)
    a, c, f = enter(p, "kept"), enter(p, "kept"), enter(p, "full")
    equal(counts(a.pipeline([("SET", "k", "v")] * 6)), 4)
    projects["kept"] = "rate = 10\nburst = 9\nwrite_rate = 10\nwrite_burst = 4\n" + HOUR
    p.write_config(config(store, projects))
    reloaded(p)
    equal(counts(a.pipeline([("SET", "k", "v")] * 6)), 5)  # write_rate is another; rate has one left
    equal(c.cmd("GET", "k"), b"v")
    limited(c.error("GET", "k"), "kept", "rate")
    equal(metric(p, "purser_limit_refused_total", "kept", "write_rate"), 3)
    equal(metric(p, "purser_limit_connections", "full"), 1)
    del projects["kept"]
    projects["kept"] = ""
    p.write_config(config(store, projects))
    reloaded(p)
    equal(counts(a.pipeline([("GET", "k")] * 50)), 50)
    projects["kept"] = "max_connections = 1\n"  # those that are in stay
    p.write_config(config(store, projects))
    reloaded(p)
    equal((a.cmd("GET", "k"), c.cmd("GET", "k")), (b"v", b"v"))
    with p.client() as d:
        equal(d.error("AUTH", "kept", "x").word, "RATELIMITED")
        equal(d.error("AUTH", "full", "x").word, "RATELIMITED")
    equal(f.cmd("GET", "k"), None)
    for x in (a, c, f):
        x.close()


def waiting_reload():
    """Who waits in the store while its project's limits go, or others come: it is answered, and nothing counts on."""
    every = {"a": "rate = 100\nmax_inflight = 5\nmax_keys = 100\n", "b": ""}
    with harness.Purserd(config=config("plugin = memory", every), name="waiting") as p, enter(p, "a") as seen:
        def waits(n):
            wait_until(lambda: seen.cmd("INFO", "clients").count(b"blocked_clients:%d\r\n" % n), f"{n} that wait")
        with enter(p, "a") as c, enter(p, "a") as d, enter(p, "a") as behind:
            c.send("BLPOP", "l", 0)
            d.send("BLMOVE", "m", "n", "LEFT", "RIGHT", 0)
            behind.raw(harness.encode("BLPOP", "r", 0) + harness.encode("RPUSH", "s", 1))
            waits(3)
            for more in ("rate = 200\nmax_keys = 3\n", "max_inflight = 5\n", ""):
                p.write_config(config("plugin = memory", {"a": more, "b": ""}))
                reloaded(p)
                seen.cmd("PING")
            equal(seen.pipeline([("RPUSH", k, "v") for k in "lmr"]), [1, 1, 1])
            equal((c.read(), d.read()), ([b"l", b"v"], b"v"))
            equal([behind.read(), behind.read()], [[b"r", b"v"], 1])
            waits(0)
        # a key more than there may be by now, for one that has waited since before
        c = enter(p, "a")
        c.send("BLMOVE", "m", "o", "LEFT", "RIGHT", 0)
        waits(1)
        p.write_config(config("plugin = memory", {"a": "max_keys = 3\n", "b": ""}))
        reloaded(p)
        equal(seen.cmd("PING"), "PONG")
        equal(seen.cmd("RPUSH", "m", "v"), 1)
        check(c.read() is not None)
        c.close()


def quotas():
    """On the memory plugin: OOM before a command runs, and what frees memory runs."""
    projects = {"keys": "max_keys = 3\n", "bytes": "max_bytes = 1MiB\n", "free": ""}
    with harness.Purserd(config=config("plugin = memory", projects), name="quotas") as p, \
            enter(p, "keys") as c, enter(p, "bytes") as b, enter(p, "free") as f:
        equal((c.cmd("SET", "a", 1), c.cmd("MSET", "b", 1, "a", 2), c.cmd("LPUSH", "l", "x")), ("OK", "OK", 1))
        e = c.error("SET", "d", 1)
        check(e.word == "OOM" and "max_keys" in e.text, e.text)
        for words in (("MSET", "a", 1, "d", 2), ("SADD", "s", "x"), ("SETNX", "d", "1"), ("COPY", "a", "d")):
            equal(c.error(*words).word, "OOM")
        equal((c.cmd("SET", "a", 5), c.cmd("INCR", "a"), c.cmd("LPUSH", "l", "y"), c.cmd("EXPIRE", "b", 100)), ("OK", 6, 2, 1))
        equal((c.cmd("MULTI"), c.cmd("SET", "a", 7), c.cmd("SET", "d", 1)), ("OK", "QUEUED", "QUEUED"))
        equal(c.error("EXEC").word, "OOM")
        equal(c.cmd("GET", "a"), b"6")
        check("OOM" in c.error("EVAL", "return redis.call('SET', KEYS[1], 1)", 1, "d").text)
        equal(c.cmd("EVAL", "return redis.call('GET', KEYS[1])", 1, "a"), b"6")
        r = p.http("POST", "/redis/kv", headers={"Purser-Project": "keys"}, body={"key": "d", "value": "v"})
        equal(r.status, 507)
        equal((c.cmd("DEL", "b"), c.cmd("SET", "d", 1)), (1, "OK"))
        equal(c.error("SET", "e", 1).word, "OOM")
        equal((c.cmd("FLUSHDB"), c.cmd("DBSIZE"), c.cmd("SET", "e", 1)), ("OK", 0, "OK"))

        value = "x" * 10000
        n = counts(b.pipeline([("SET", f"k{i}", value) for i in range(200)]))
        check(100 <= n <= 105, n, "values of 10,000 bytes in 1 MiB")
        e = b.error("APPEND", "k0", "x")
        check(e.word == "OOM" and "max_bytes" in e.text, e.text)
        equal(len(b.cmd("GET", "k0")), 10000)
        equal(f.cmd("SET", "k0", value * 200), "OK")  # another project has no part in it
        equal(b.cmd("UNLINK", *[f"k{i}" for i in range(50)]), 50)
        equal(b.cmd("SET", "new", value), "OK")
        # less by reload: nothing goes, but no more comes
        projects["bytes"] = "max_bytes = 1KiB\n"
        p.write_config(config("plugin = memory", projects))
        reloaded(p)
        equal(b.error("SET", "more", "x").word, "OOM")
        equal(len(b.cmd("GET", "new")), 10000)
        projects["bytes"] = ""
        p.write_config(config("plugin = memory", projects))
        reloaded(p)
        equal(counts(b.pipeline([("SET", f"k{i}", value) for i in range(200)])), 200)


def dynamic():
    """[project *]: each of those that come to be has its own, and keeps what it has counted over a reload."""
    projects = {"*": "dynamic = yes\nallow_uid = *\nrate = 10\nburst = 9\n" + HOUR + "max_keys = 2\n", "default": ""}
    text = config("plugin = memory", projects)
    with harness.Purserd(config=text, name="dynamic") as p, p.client() as a, p.client() as b:
        equal((a.cmd("PURSER.PROJECT", "one"), b.cmd("PURSER.PROJECT", "two")), ("OK", "OK"))
        equal((counts(a.pipeline([("GET", "k")] * 15)), counts(b.pipeline([("GET", "k")] * 7))), (10, 7))
        p.write_config(text.replace("max_keys = 2", "max_keys = 1"))
        reloaded(p)
        equal((counts(a.pipeline([("GET", "k")] * 15)), counts(b.pipeline([("GET", "k")]))), (0, 1))
        equal((b.cmd("SET", "k", "v"), b.error("SET", "l", "v").word, b.error("SET", "l", "v").word), ("OK", "OOM", "RATELIMITED"))


def refused_configs(redis):
    for text, what in (("burst = 3\n", "rate"), ("client_byte_burst = 3KiB\n", "client_byte_rate"),
                       ("max_bytes = 1MiB\n", "max_bytes"), ("max_keys = 10\n", "max_keys")):
        path = harness.tmp() + "/refused.ini"
        with open(path, "w", encoding="ascii") as f:
            f.write(config(f"plugin = redis\nurl = {redis.url}", {"a": text}))
        got = subprocess.run([harness.builddir + "/agent/purserd", "--config", path, "--check-config"], check=False,
                             capture_output=True, text=True, timeout=60 * harness.SLOW)
        check(got.returncode != 0 and what in got.stderr + got.stdout, text, got)


def suite(store, redis, name):
    with harness.Purserd(config=config(store, PROJECTS), name=name) as p:
        rates(p)
        kinds(p)
        sizes(p)
        connections(p)
        if redis:
            in_flight(p, redis)
        equal(metric(p, "purser_limit_refused_total", "free", "rate"), 0)
        check(metric(p, "purser_limit_refused_total", "rate", "rate") >= 60)
        check(metric(p, "purser_limit_refused_total", "crowd", "max_connections") >= 5)
        with p.client() as c:  # the shared ones of the next come anew
            c.cmd("PING")
    with harness.Purserd(config=config(store, PROJECTS), name=name + "-tx") as p:
        transactions(p)
        reload(p, store)


def main():
    with harness.Redis() as redis:
        suite(f"plugin = redis\nurl = {redis.url}", redis, "limits-redis")
        refused_configs(redis)
    suite("plugin = memory", None, "limits-memory")
    waiting_reload()
    quotas()
    dynamic()


if __name__ == "__main__":
    harness.run(main)
