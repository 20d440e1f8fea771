#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What shows other clients: MONITOR, CLIENT LIST and CLIENT KILL see and touch the caller's project alone, on all workers."""

import re

import harness
from harness import Purserd, check, equal, wait_until

PROJECTS = """
[backend main]
plugin = memory
[project red]
databases = 4
[project blue]
"""


def client_of(p, project, resp=2):
    c = p.client()
    c.cmd("HELLO", resp, "AUTH", project, "secret", "SETNAME", f"{project}-{id(c)}")
    return c


def words(line):
    """The words of a line of MONITOR."""
    return re.findall(r'"((?:[^"\\]|\\.)*)"', line.split("]", 1)[1])


def monitor(p, resp):
    """Lines of every client of the project, on whatever worker, in its order; none of another, and no secret."""
    mon = client_of(p, "red", resp)
    equal(mon.cmd("MONITOR"), "OK")
    reds, blues = [client_of(p, "red") for _ in range(6)], [client_of(p, "blue") for _ in range(6)]
    for i in range(20):
        for n, (a, b) in enumerate(zip(reds, blues)):
            a.cmd("SET", f"key{n}", f"{i}")
            b.cmd("SET", "blue key", "blue value")
    reds[0].cmd("SELECT", 2)
    reds[0].cmd("GET", 'odd "\\\x00\r\n\xff')
    reds[0].error("AUTH", "nobody", "secret")
    reds[0].cmd("HELLO", 2, "AUTH", "red", "secret")
    reds[0].cmd("HELLO", 2, "SETNAME", "auth", "AUTH", "red", "secret")
    for words_ in (("AUTH", "red", "secret"), ("HELLO", "3", "AUTH", "red", "secret"), ("PURSER.EXPLAIN", "AUTH", "red", "secret")):
        reds[0].cmd("PURSER.EXPLAIN", *words_)
        reds[0].send("COMMAND", "GETKEYS", *words_)
        reds[0].read()
    reds[0].cmd("CLIENT", "LIST")  # administration: not shown
    reds[0].cmd("SET", "big", "x" * 5000)
    reds[0].cmd("ECHO", "the end")
    seen, lines = {}, []
    while not lines or words(lines[-1])[-1] != "the end":
        line = mon.read()
        check(isinstance(line, str) and not isinstance(line, harness.Push), line)
        check("blue" not in line and "proj:" not in line and "secret" not in line, line)
        lines.append(line)
        w = words(line)
        if w[0] == "SET" and w[1] != "big":
            seen.setdefault(w[1], []).append(int(w[2]))
        check(re.match(r"\d+\.\d{6} \[\d unix:\d+\] ", line), line)
    equal(seen, {f"key{n}": list(range(20)) for n in range(6)})
    about = [words(x) for x in lines[-8:-2]]
    equal([w[0] for w in about], ["PURSER.EXPLAIN", "COMMAND"] * 3)
    check(all(w[-2:] == ["(redacted)"] * 2 for w in about), about)
    del lines[-8:-2]
    tail = [words(x) for x in lines[-7:]]
    equal(tail[0], ["SELECT", "2"])
    equal(tail[1], ["GET", 'odd \\"\\\\\\x00\\r\\n\\xc3\\xbf'])
    check("[2 unix:" in lines[-6], lines[-6])
    equal(tail[2], ["AUTH", "(redacted)", "(redacted)"])
    equal(tail[3], ["HELLO", "2", "AUTH", "(redacted)", "(redacted)"])
    equal(tail[4], ["HELLO", "2", "SETNAME", "auth", "(redacted)", "(redacted)", "(redacted)"])
    check(lines[-2].endswith('x"...(5000 bytes)') and len(lines[-2]) < 1200, lines[-2][-40:])
    if resp == 3:  # it may go on to work, and choose no other project
        check(mon.error("PURSER.PROJECT", "blue").text.startswith("ERR unsubscribe"), "a monitor stays")
        equal(words(mon.read())[0], "PURSER.PROJECT")
    for c in (mon, *reds, *blues):
        c.close()
    with client_of(p, "red") as c:  # nobody is left who listens: nothing to see from outside but that it works
        equal(c.cmd("SET", "k", "v"), "OK")


def reset_ends_it(p):
    mon, c = client_of(p, "red"), client_of(p, "red")
    equal(mon.cmd("MONITOR"), "OK")
    c.cmd("ECHO", "1")
    equal(words(mon.read()), ["ECHO", "1"])
    equal(mon.cmd("RESET"), "RESET")
    c.cmd("ECHO", "2")
    equal(mon.cmd("PING"), "PONG")
    for x in (mon, c):
        x.close()


def slow_monitor(p):
    mon, c = client_of(p, "red"), client_of(p, "red")
    equal(mon.cmd("MONITOR"), "OK")
    line = "y" * 900
    for _ in range(40):
        c.pipeline([["ECHO", line]] * 100)
        if "client.subscriber.slow" in p.log():
            break
    p.wait_log("client.subscriber.slow")
    equal(c.cmd("ECHO", "on"), b"on")
    for x in (mon, c):
        x.close()


def rows(text):
    return [dict(f.split("=", 1) for f in line.split(" ")) for line in text.decode().splitlines()]


def listed(p):
    """CLIENT LIST and KILL: the project's connections on all workers."""
    reds, blues = [client_of(p, "red") for _ in range(9)], [client_of(p, "blue") for _ in range(9)]
    ids = {c.cmd("CLIENT", "ID"): c for c in reds}
    blue_ids = [c.cmd("CLIENT", "ID") for c in blues]
    got = wait_until(lambda: (lambda r: r if len(r) == 9 else None)(rows(reds[0].cmd("CLIENT", "LIST"))), "nine clients")
    equal({int(r["id"]) for r in got}, set(ids))
    equal({r["user"] for r in got}, {"red"})
    me = reds[0].cmd("CLIENT", "ID")
    equal([r["cmd"] for r in got if int(r["id"]) == me], ["client|list"])
    info = rows(reds[0].cmd("CLIENT", "INFO"))
    equal((info[0]["id"], info[0]["cmd"]), (str(me), "client|info"))
    reds[1].cmd("SUBSCRIBE", "ch")
    equal([int(r["id"]) for r in rows(reds[0].cmd("CLIENT", "LIST", "TYPE", "pubsub"))], [i for i in ids if ids[i] is reds[1]])
    some = list(ids)[3:5]
    equal({int(r["id"]) for r in rows(reds[0].cmd("CLIENT", "LIST", "ID", *some, *blue_ids))}, set(some))
    equal(reds[0].cmd("CLIENT", "LIST", "TYPE", "replica"), b"")
    equal(reds[0].error("CLIENT", "LIST", "TYPE", "foo").text, "ERR Unknown client type 'foo'")
    equal(reds[0].error("CLIENT", "LIST", "foo").text, "ERR syntax error")
    killed(p, reds, blues, ids, blue_ids)


def killed(p, reds, blues, ids, blue_ids):
    for b in blue_ids:
        equal(reds[0].cmd("CLIENT", "KILL", "ID", b), 0, "another project's client")
    victim = [i for i in ids if ids[i] is reds[5]][0]
    equal(reds[0].cmd("CLIENT", "KILL", "ID", victim), 1)
    check(reds[5].eof(), "killed")
    equal(reds[0].cmd("CLIENT", "KILL", "TYPE", "pubsub"), 1)
    check(reds[1].eof(), "killed")
    for line, text in ((["1.2.3.4:5"], "ERR No such client"), (["ID", "abc"], "ERR client-id should be greater than 0"),
                       (["TYPE", "foo"], "ERR Unknown client type 'foo'"), (["USER", "nosuch"], "ERR No such user 'nosuch'"),
                       (["USER", "blue"], "ERR No such user 'blue'"), (["SKIPME", "maybe"], "ERR syntax error"),
                       (["foo", "bar"], "ERR syntax error"), (["ID", 1, "TYPE"], "ERR syntax error")):
        equal(reds[0].error("CLIENT", "KILL", *line).text, text, line)
    equal(reds[0].cmd("CLIENT", "KILL", "USER", "red"), 6, "all but itself, and those that are gone")
    for c in reds[2:5] + reds[6:]:
        check(c.eof(), "killed")
    equal(reds[0].cmd("CLIENT", "KILL", "USER", "red", "SKIPME", "no"), 1)
    check(reds[0].eof(), "itself, behind the reply")
    for c in blues:
        equal(c.cmd("PING"), "PONG")
    check(p.http("POST", "/v1/command", {"command": ["MONITOR"]}, {"Purser-Project": "red"}).status >= 400, "no MONITOR on HTTP")
    check(blues[0].error("CLIENT", "PAUSE", "100").word == "NOPERM", "PAUSE is the operator's")


def main():
    with Purserd({"agent.workers": 3}, config=PROJECTS) as p:
        for resp in (2, 3):
            monitor(p, resp)
        reset_ends_it(p)
        listed(p)
    with Purserd({"agent.workers": 3, "agent.subscriber_limit": "1MiB"}, config=PROJECTS, name="slow") as p:
        slow_monitor(p)


harness.run(main)
