#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Kernel credentials: processes of several users and groups, and what each of them may, by a table.  As root."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import check, equal

CONFIG = """
[agent]
mode = {mode}
socket_mode = 0666
[backend main]
plugin = memory
[project shop]
allow_uid = 4001
role = writer
[project blog]
allow_gid = 5001
role = reader
[project both]
allow_uid = 4001 4003
[project locked]
accept = token
[grant ops]
projects = shop blog
allow_uid = 4002
role = operator
[grant staff]
projects = shop
allow_gid = 5002
role = reader
[grant more]
projects = both
allow_gid = 5003
role = admin
"""
PROJECTS = ("shop", "blog", "both", "locked", "nowhere")

# uid, gid, supplementary groups -> role by project, and where one is that names none
TABLE = [
    (4001, 4001, [], {"shop": "writer", "both": "writer"}, None),
    (4002, 4002, [], {"shop": "operator", "blog": "operator"}, None),
    (4003, 4003, [], {"both": "writer"}, "both"),
    (4004, 5001, [], {"blog": "reader"}, "blog"),             # by its primary group
    (4004, 4004, [5001], {"blog": "reader"}, "blog"),         # by a supplementary one
    (4004, 4004, [7, 5002, 9, 5001], {"shop": "reader", "blog": "reader"}, None),
    (4004, 4004, list(range(6000, 6200)) + [5001], {"blog": "reader"}, "blog"),
    (4001, 4001, [5002, 5003], {"shop": "writer", "both": "writer"}, None),  # its uid is named more exactly
    (4005, 5003, [5003], {"both": "admin"}, "both"),
    (4005, 4005, [], {}, None),
    (5001, 4005, [], {}, None),                               # a group's number is no user's
    (4005, 4001, [4001, 4002], {}, None),                     # ... and the other way round
    (0, 0, [], {}, None),                                     # root is nobody special
]


with open("/proc/self/comm", encoding="ascii") as comm:  # who may not see the file is told the name
    SELF = (os.readlink("/proc/self/exe"), f"[{comm.read().strip()}]")


def as_user(uid, gid, groups, fn, *args):
    """Runs fn(*args) in a child that is that user; what it returns, as JSON carries it."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(r)
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            os.write(w, json.dumps(fn(*args)).encode())
            status = 0
        except BaseException as e:  # the parent tells it
            os.write(w, json.dumps({"failed": repr(e)}).encode())
        os._exit(status)
    os.close(w)
    with os.fdopen(r) as f:
        text = f.read()
    os.waitpid(pid, 0)
    value = json.loads(text)
    check(not (isinstance(value, dict) and "failed" in value), f"as {uid}:{gid}", value)
    return value


def whoami(c):
    return json.loads(c.cmd("PURSER.WHOAMI"))


def look(path):
    """What one may: in each project, and without naming one."""
    out = {"pid": os.getpid(), "roles": {}, "errors": {}}
    with harness.Client(path) as c:
        out["home"] = whoami(c)
    for project in PROJECTS:
        with harness.Client(path) as c:
            c.send("PURSER.PROJECT", project)
            reply = c.read()
            if isinstance(reply, harness.RespError):
                out["errors"][project] = reply.text
                continue
            out["roles"][project] = whoami(c)["role"]
            c.send("AUTH", project, "")
            check(c.read() == "OK", "AUTH without a token says the same")
            for words in (("GET", "k"), ("SET", "k", "v"), ("PURSER.LOGLEVEL",)):
                c.send(*words)
                reply = c.read()
                out.setdefault(project, []).append(reply.word if isinstance(reply, harness.RespError) else "ok")
    return out


MAY = {"reader": ["ok", "NOPERM", "NOPERM"], "writer": ["ok", "ok", "NOPERM"], "admin": ["ok", "ok", "NOPERM"],
       "operator": ["ok", "ok", "ok"]}


def table(p, mode):
    for uid, gid, groups, roles, home in TABLE:
        if mode == "development":
            home = "default"  # nobody has said who may enter it
        got = as_user(uid, gid, groups, look, p.sock)
        who = (uid, gid, groups[:8])
        equal(got["roles"], roles, who)
        for project, role in roles.items():
            equal(got[project], MAY[role], (who, project))
        me = got["home"]
        equal((me["source"], me["uid"], me["gid"], me["groups"], me["pid"]),
              ("peer", uid, gid, sorted(groups), got["pid"]), who)
        check(me["executable"] in SELF, who, me["executable"])
        equal(me["project"], home, who)
        if home:
            equal(me["role"], roles.get(home, "operator"), who)
        # what is closed and what does not exist are answered alike
        equal(got["errors"]["locked"], got["errors"]["nowhere"], who)


def later(path):
    """Rights are those of the moment of connect: nothing that the process becomes later changes them."""
    with harness.Client(path) as c:
        before = whoami(c)
        c.send("PURSER.PROJECT", "shop")
        first = c.read()
        os.setresuid(4001, 4001, 4001)
        c.send("PURSER.PROJECT", "shop")
        second = c.read()
        with harness.Client(path) as d:
            return [before["uid"], str(first), str(second), whoami(c)["uid"], d.cmd("PURSER.PROJECT", "shop"), whoami(d)["uid"]]


def inherited(path):
    """... and a connection that another process inherits stays that of who made it."""
    c = harness.Client(path)
    c.cmd("PURSER.PROJECT", "shop")
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(w, json.dumps([c.cmd("SET", "k", "child"), whoami(c)["pid"]]).encode())
        finally:
            os._exit(0)
    os.close(w)
    os.waitpid(pid, 0)
    with os.fdopen(r) as f:
        return [os.getpid(), *json.loads(f.read())]


def main():
    if os.geteuid() != 0:
        harness.skip("only root can be several users")
    os.chmod(harness.tmp(), 0o711)  # others must reach the socket
    for mode in ("production", "development"):  # rules hold in both
        with harness.Purserd(config=CONFIG.format(mode=mode), name=mode) as p:
            table(p, mode)
            uid, first, second, still, fresh, now = as_user(0, 0, [], later, p.sock)
            equal((uid, still, fresh, now), (0, 0, "OK", 4001))
            check(first.startswith("NOPROJECT") and second == first, first, second)
            pid, ok, seen = as_user(4001, 4001, [], inherited, p.sock)
            equal((ok, seen), ("OK", pid))
            denied = [json.loads(line) for line in p.log().splitlines() if '"access.project"' in line]
            check(any(d["uid"] == 4005 and d["project"] == "locked" and d["reason"] == "project" for d in denied), "the audit", denied[:3])
            check(any(d["project"] == "nowhere" and d["reason"] == "no_project" for d in denied), "the audit knows what the caller is not told")


harness.run(main)
