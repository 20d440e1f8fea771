#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""STREAM.LAG and STREAM.DEADLETTER on both backends, and what the agent polls of the streams that the configuration names."""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import check, equal

CONFIG = """
[agent]
mode = development
[health]
interval = 1s
[backend main]
plugin = {plugin}
{url}
[project shop]
watch_streams = orders missing text
[project blog]
"""
SHOP = {"Purser-Project": "shop"}


def client(p, project, resp=3):
    c = p.client()
    c.cmd("HELLO", resp, "AUTH", project, "x")
    return c


def texts(x):
    if isinstance(x, dict):
        return {texts(k): texts(v) for k, v in x.items()}
    if isinstance(x, list):
        return [texts(v) for v in x]
    return x.decode() if isinstance(x, bytes) else x


def lag(p, c):
    equal(c.error("STREAM.LAG", "orders").word, "ERR")
    ids = [c.cmd("XADD", "orders", "*", "n", i).decode() for i in range(10)]
    c.cmd("XGROUP", "CREATE", "orders", "ship", 0)
    c.cmd("XGROUP", "CREATE", "orders", "bill", "$")
    c.cmd("XREADGROUP", "GROUP", "ship", "w1", "COUNT", 4, "STREAMS", "orders", ">")
    got = texts(c.cmd("STREAM.LAG", "orders"))
    equal([got["entries"], got["groups_total"]], [10, 2])
    bill, ship = sorted(got["groups"], key=lambda g: g["name"])
    equal(bill, {"name": "bill", "consumers": 0, "lag": 0, "pending": 0, "last_delivered_id": ids[-1],
                 "oldest_pending_id": None, "oldest_pending_age_ms": None, "oldest_pending_idle_ms": None,
                 "oldest_pending_deliveries": None})
    age, idle = ship.pop("oldest_pending_age_ms"), ship.pop("oldest_pending_idle_ms")
    check(0 <= idle <= age + 1000 and 0 <= age < 60000, age, idle)
    equal(ship, {"name": "ship", "consumers": 1, "lag": 6, "pending": 4, "last_delivered_id": ids[3],
                 "oldest_pending_id": ids[0], "oldest_pending_deliveries": 1})
    two = texts(client(p, "shop", 2).cmd("STREAM.LAG", "orders"))
    equal(two[:4], ["entries", 10, "groups_total", 2])
    equal(p.http("GET", "/v1/streams/orders", headers=SHOP).json()["entries"], 10)
    equal(client(p, "blog").error("STREAM.LAG", "orders").word, "ERR")
    return ids


def dead(p, c, ids):
    def move(*more):
        return texts(c.cmd("STREAM.DEADLETTER", "orders", "ship", "orders:dead", *more))
    equal(move("MAXDELIVERIES", 3), {"moved": 0, "gone": 0, "looked_at": 4, "next": None})
    for _ in range(3):
        c.cmd("XCLAIM", "orders", "ship", "w2", 0, ids[1], ids[2])
    c.cmd("XDEL", "orders", ids[2])
    equal(move("maxdeliveries", 3, "idle", 3600000), {"moved": 0, "gone": 0, "looked_at": 0, "next": None})
    equal(move("IDLE", 0, "MAXDELIVERIES", 3), {"moved": 1, "gone": 1, "looked_at": 4, "next": None})
    (new, fields), = c.cmd("XRANGE", "orders:dead", "-", "+")
    equal(texts(fields), ["n", "1", "purser.stream", "orders", "purser.id", ids[1], "purser.group", "ship",
                          "purser.consumer", "w2", "purser.deliveries", "4"])
    equal(c.cmd("XPENDING", "orders", "ship")[0], 2)
    equal(move("MAXDELIVERIES", 1, "FROM", ids[0])["looked_at"], 1)
    # many: in steps, all of them in one command
    pipe = [["XADD", "many", "*", "n", i] for i in range(1700)]
    c.pipeline(pipe)
    c.cmd("XGROUP", "CREATE", "many", "g", 0)
    c.cmd("XREADGROUP", "GROUP", "g", "c", "STREAMS", "many", ">")
    c.cmd("XREADGROUP", "GROUP", "g", "c", "STREAMS", "many", 0)
    got = texts(c.cmd("STREAM.DEADLETTER", "many", "g", "many:dead", "MAXDELIVERIES", 1))
    equal(got["moved"] + got["looked_at"] * 0, c.cmd("XLEN", "many:dead"))
    r = p.http("POST", "/v1/streams/many/deadletter", {"group": "g", "target": "many:dead", "max_deliveries": 1}, SHOP)
    equal([r.status, sorted(r.json())], [200, ["gone", "looked_at", "moved", "next"]])
    for words in (["orders", "ship", "orders", "MAXDELIVERIES", 1], ["orders", "ship", "d"], ["orders", "ship", "d", "MAXDELIVERIES", 0],
                  ["orders", "ship", "d", "MAXDELIVERIES"], ["orders", "ship", "d", "MAXDELIVERIES", 1, "FROM", "(5"],
                  ["orders", "ship", "d", "IDLE", 5], ["orders", "ship", "d", "MAXDELIVERIES", 1, "COUNT", 5]):
        check(c.error("STREAM.DEADLETTER", *words).word in ("ERR", "BADREQUEST"), words)
    c.cmd("SET", "text", "x")
    equal(c.error("STREAM.DEADLETTER", "orders", "ship", "text", "MAXDELIVERIES", 1).word, "WRONGTYPE")
    error = c.error("STREAM.DEADLETTER", "none", "ship", "d", "MAXDELIVERIES", 1)
    equal(error.word, "NOGROUP")
    check("proj:" not in str(error), error)


def polled(p, c):
    """purser.stream.group.*: of watched streams alone; a group that is gone has no points any more."""
    def series(name):
        text = p.http("GET", "/metrics").body.decode()
        return {m[0]: float(m[1]) for m in re.findall(
            r'^purser_stream_group_%s\{[^}]*purser_stream="orders"[^}]*purser_stream_group="(\w+)"[^}]*\} (\S+)$' % name, text, re.M)}
    harness.wait_until(lambda: series("lag") == {"ship": 6.0, "bill": 0.0}, "lag of both groups")
    harness.wait_until(lambda: series("pending") == {"ship": 2.0, "bill": 0.0}, "pending of both groups")
    check(set(series("oldest_pending_age_seconds")) == {"ship"}, series("oldest_pending_age_seconds"))
    text = p.http("GET", "/metrics").body.decode()
    check('purser_stream="many"' not in text and 'purser_stream="missing"' not in text, "only what is watched and there")
    c.cmd("XGROUP", "DESTROY", "orders", "bill")
    harness.wait_until(lambda: set(series("lag")) == {"ship"}, "a group that is gone")
    c.cmd("XREADGROUP", "GROUP", "ship", "w1", "STREAMS", "orders", ">")
    harness.wait_until(lambda: series("lag") == {"ship": 0.0}, "no lag any more")
    # the agent's own account
    internal = [line for line in p.http("GET", "/metrics").body.decode().splitlines()
                if line.startswith("purser_internal_operation_duration_seconds_count")]
    check(any('"EVAL' in line for line in internal), internal)


def both(p):
    c = client(p, "shop")
    ids = lag(p, c)
    dead(p, c, ids)
    polled(p, c)
    text = p.config_text.replace("watch_streams = orders missing text", "")
    p.write_config(text)
    p.reload()
    harness.wait_until(lambda: "purser_stream_group_lag" not in p.http("GET", "/metrics").body.decode(), "nothing is watched")


def main():
    text = CONFIG.format(plugin="memory", url="")
    with harness.Purserd(config=text) as p:
        p.config_text = text
        both(p)
    with harness.Redis() as redis:
        text = CONFIG.format(plugin="redis", url="url = " + redis.url)
        with harness.Purserd(config=text) as p:
            p.config_text = text
            both(p)


harness.run(main)
