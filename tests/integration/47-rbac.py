#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every command of the table and every route of HTTP, called as nobody, reader, writer, admin and operator, against
what is meant (rbac.expected, reviewed by hand): the table says the same, and the agent does it."""

import http.client
import json
import os
import re
import sys

import certificates
import harness
from harness import Purserd, RespError, check, equal

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(harness.srcdir, "docs"))
import tables  # noqa: E402  (what the words of a route take)

ME, OTHER = os.getuid(), 54321
WORDS = {"PERM_ANY": "any", "PERM_READ": "redis:read", "PERM_WRITE": "redis:write", "PERM_ADMIN": "redis:admin",
         "PERM_PUBSUB": "pubsub", "PERM_SCRIPT": "script", "PERM_OPERATE": "purser:operate"}
ROLES = {"reader": {"any", "redis:read"},
         "writer": {"any", "redis:read", "redis:write", "pubsub", "script"},
         "admin": {"any", "redis:read", "redis:write", "redis:admin", "pubsub", "script"},
         "operator": set(WORDS.values())}
CONF = "[agent]\nmode = production\n[backend main]\nplugin = memory\n" \
    + "".join(f"[project {role}]\nallow_uid = {ME}\nrole = {role}\nmax_connections = 1000\n" for role in ROLES)


def meant():
    """{section: [names]} of rbac.expected."""
    sections, at = {}, None
    with open(os.path.join(HERE, "rbac.expected"), encoding="ascii") as f:
        for line in f:
            head = re.fullmatch(r"\[(\S+)\]\n", line)
            if head:
                at = sections.setdefault(head.group(1), [])
            elif line.strip() and not line.startswith("#"):
                at += line.split()
    equal(set(sections), set(WORDS.values()) | {"nobody", "public"})
    return sections


def table():
    """{name: (arity, flags, permission)} of commands.def, its macros' names and all."""
    path = os.path.join(harness.srcdir, "agent/command/commands.def")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    rows = {m[1]: (int(m[2]), set(m[3].split("|")), WORDS[m[4]]) for m in re.finditer(
        r'^CMD\(\w+, "([^"]+)", (-?\d+), ([^,]+), (PERM_\w+),', text, re.M)}
    equal(len(rows), len(re.findall(r"^CMD\(", text, re.M)), "rows that this test can read")
    return rows


def same_names(expected, rows):
    """The table says what is meant, row by row."""
    names = [n for p in WORDS.values() for n in expected[p]]
    equal(len(names), len(set(names)), "a command stands twice in rbac.expected")
    wrong = [f"{n}: in the table, not in rbac.expected: say there what it is meant to need" for n in rows if n not in names]
    wrong += [f"{n}: in rbac.expected, not in the table" for n in names if n not in rows]
    for permission in WORDS.values():
        wrong += [f"{n}: the table asks for {rows[n][2]}, meant is {permission}" for n in expected[permission]
                  if n in rows and rows[n][2] != permission]
    for section, flags in (("nobody", "F_NOAUTH"), ("public", "F_PUBLIC")):
        has = {n for n, r in rows.items() if flags in r[1]}
        wrong += [f"{n}: {flags} and [{section}] of rbac.expected disagree" for n in has ^ set(expected[section])]
    return wrong


# ---- what the agent does ----

def call(name, arity):
    """A call that gets as far as the decision: enough words, which mean nothing."""
    parts = name.split("|")
    return parts + ["x"] * (abs(arity) - len(parts))


def refusal(reply):
    """What the decision point said: a permission, NOPROJECT or NOAUTH; None: it let the command pass."""
    if not isinstance(reply, RespError):
        return None
    if reply.word in ("NOPROJECT", "NOAUTH"):
        return reply.word
    needs = re.search(r"\bit needs (\S+?)\b[.:;,)]?(\s|$)", reply.text) if reply.word == "NOPERM" else None
    return needs.group(1) if needs else None


def as_role(p, role, name, row):
    with p.client() as c:
        equal(c.cmd("PURSER.PROJECT", role), "OK")
        c.send(*call(name, row[0]))
        return c.read()


def roles_differ(p, expected, rows):
    """Where somebody may what is not meant, or may not what is."""
    wrong = []
    for permission in WORDS.values():
        for name in expected[permission]:
            for role, permissions in ROLES.items():
                reply = as_role(p, role, name, rows[name])
                said, want = refusal(reply), None if permission in permissions else permission
                if name in ("PURSER.PROJECT", "AUTH") and said == "NOPROJECT":
                    said = None  # its own answer: there is no project x
                if said != want:
                    wrong.append(f"{role} {name}: meant is {want or 'permitted'}, the agent says {reply!r}")
    return wrong


def nobody_differs(p, expected, rows):
    wrong, may = [], set(expected["nobody"]) | set(expected["public"])
    for name, row in rows.items():
        if "F_CONTAINER" in row[1]:
            continue  # its second word chooses a row: those are called
        with p.client() as c:
            c.send(*call(name, row[0]))
            reply = c.read()
        if name in ("PURSER.PROJECT", "AUTH"):
            check(isinstance(reply, RespError), name, reply)
            continue
        if refusal(reply) != (None if name in may else "NOPROJECT"):
            wrong.append(f"nobody {name}: meant is {'permitted' if name in may else 'NOPROJECT'}, the agent says {reply!r}")
    return wrong


# ---- HTTP ----

def routes():
    path = os.path.join(harness.srcdir, "agent/server/routes.def")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    return [row[:3] for _, row in tables.calls(text, "ROUTE")]


# Something that each type of a field takes.
SAMPLES = {"int": 1, "num": 1, "json": {}, "list": ["x"], "pairs": {"x": "y"}, "jsonpairs": {"x": 1}, "flag": True}


def sample(method, path, words):
    """A target and a body that the route takes: its required fields alone."""
    body, query = {}, []
    for name, kind, in_body, required in tables.route_fields(method, words):
        if required or words.startswith("[") and not query and not body:
            value = SAMPLES.get(kind, kind.split("|")[0] if "|" in kind else "x")
            if in_body:
                body[name] = value
            else:
                query.append(f"{name}={value[0] if kind == 'list' else value}")
    target = re.sub(r"\{\w+\}", "x", path) + ("?" + "&".join(query) if query else "")
    return target, ["GET", "x"] if "<*>" in words else body or None


def requests(expected):
    """(method, target, body, permission) of every route; of the one for any command, one of each permission."""
    of = {n: p for p in WORDS.values() for n in expected[p]}
    for method, path, template in routes():
        if template:
            command = template.split()[0].lstrip("[")
            check(command in of, path, "runs", command, "which rbac.expected does not name")
            yield method, *sample(method, path, template), of[command], command
            continue
        for words in (["GET", "x"], ["SET", "x", "v"], ["SLOWLOG", "RESET"], ["PUBLISH", "x", "y"], ["EVAL", "return 1", "0"],
                      ["PURSER.LOGLEVEL"], ["PING"]):
            name = "|".join(words[:2]) if words[0] == "SLOWLOG" else words[0]
            yield method, path, words, of[name], name


def answered(p, method, target, body, headers=None):
    """As p.http(); of a stream of events, which has no end, the head alone."""
    c = harness._UnixConnection(p.sock, 30 * harness.SLOW)
    try:
        c.request(method, target, body=None if body is None else json.dumps(body).encode(), headers=headers or {})
        r = c.getresponse()
        if r.getheader("Content-Type") == "text/event-stream":
            r.read = lambda: b""
        return harness.Response(r)
    finally:
        c.close()


def http_differs(p, nobody, expected):
    wrong = []
    for method, target, body, permission, command in requests(expected):
        for role, permissions in ROLES.items():
            r = answered(p, method, target, body, {"Purser-Project": role})
            refused = r.status == 403 and f"it needs {permission}" in r.body.decode()
            if refused == (permission in permissions) or (r.status in (400, 401) and b"NOPROJECT" in r.body):
                wrong.append(f"{role} {method} {target} ({command}): meant is {permission}, the agent says {r!r}")
        r = answered(nobody, method, target, body)
        if (r.status == 400 and b"NOPROJECT" in r.body) == (command in expected["public"] + expected["nobody"]):
            wrong.append(f"nobody {method} {target} ({command}): the agent says {r!r}")
    return wrong


def tcp_differs(port, expected):
    """Without peer and token."""
    wrong = []
    for method, target, body, _permission, command in requests(expected):
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        c.request(method, target, body=None if body is None else json.dumps(body),
                  headers={} if body is None else {"Content-Type": "application/json"})
        r = harness.Response(c.getresponse())
        c.close()
        if (r.status == 401) == (command in expected["public"]):
            wrong.append(f"TCP {method} {target} ({command}): the agent says {r!r}")
    return wrong


# ---- which projects there are ----

def named(text):
    """The projects of CONF that are named in a document."""
    return {role for role in ROLES if f'"{role}"' in text.replace('["', '"')}


def names_hidden(p, nobody):
    """Who operates sees the projects in PURSER.STATUS and /metrics; whoever does not, none but their own."""
    for role in ROLES:
        with p.client() as c:
            c.cmd("PURSER.PROJECT", role)
            c.cmd("GET", "k")
    with p.client() as c:
        for role in ROLES:
            c.cmd("PURSER.PROJECT", role)
            want = set(ROLES)  # this user operates: it has the role in one of them
            equal(named(c.cmd("PURSER.STATUS").decode()), want, role)
            check(named(c.cmd("PURSER.METRICS").decode()) >= want, "metrics of", role)
    with Purserd(config=CONF.replace(f"[project operator]\nallow_uid = {ME}", f"[project operator]\nallow_uid = {OTHER}"),
                 name="lesser") as lesser, lesser.client() as c:
        for role in ("reader", "writer", "admin"):
            c.cmd("PURSER.PROJECT", role)
            c.cmd("GET", "k")
            for text in (c.cmd("PURSER.STATUS"), c.cmd("PURSER.METRICS"), c.cmd("PURSER.HEALTH"), c.cmd("INFO"),
                         c.cmd("PURSER.PLUGINS"), c.cmd("PURSER.WHOAMI"), c.error("PURSER.PROJECT", "operator").text.encode(),
                         lesser.http("GET", "/metrics", headers={"Purser-Project": role}).body):
                shown = text.decode() if isinstance(text, bytes) else json.dumps(repr(text)).replace("'", "\"")
                check(named(shown) <= {role}, role, "sees", text)
    check(not named(nobody.http("GET", "/metrics").body.decode()) and b'"b"' not in nobody.http("GET", "/metrics").body)


# ---- all together ----

def main():
    expected, rows = meant(), table()
    wrong = same_names(expected, rows)
    check(not wrong, "\n" + "\n".join(wrong))
    port = certificates.free_port()
    with Purserd({"agent.http_listen": f"127.0.0.1:{port}"}, config=CONF, name="roles") as p, \
            Purserd(config=f"[agent]\nmode = production\n[backend main]\nplugin = memory\n[project a]\nallow_uid = {OTHER}\n"
                           "[project b]\n", name="nobody") as nobody:
        p.allow("config.reload.failed")
        wrong = roles_differ(p, expected, rows) + nobody_differs(nobody, expected, rows) + http_differs(p, nobody, expected) \
            + tcp_differs(port, expected)
        check(not wrong, f"{len(wrong)} findings\n" + "\n".join(wrong))
        names_hidden(p, nobody)
        # And the comparison finds what it is for: a permission that is not the one that is meant.
        for name, other in (("SET", "redis:read"), ("GET", "redis:write"), ("PURSER.RELOAD", "any"), ("PING", "redis:admin")):
            one = {k: [] for k in expected}
            one[other] = [name]
            check(roles_differ(p, one, rows), "a wrong permission of", name, "is not seen")
            one = {k: [n for n in v if n != name] + ([name] if k == other else []) for k, v in expected.items()}
            check(any(w.startswith(name + ":") for w in same_names(one, rows)), "a wrong row of", name, "is not seen")


harness.run(main)
