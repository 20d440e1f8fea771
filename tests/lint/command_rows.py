#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every row of commands.def is whole and agrees with itself, and none reaches the store but through its keys, its arguments or
a reason that is listed here.  (That no command of Redis is in neither table, and that the facts are Redis' own, is for
tests/integration/23-command-table.py, which asks a server.)"""

import os
import re
import sys

import source

sys.path.insert(0, os.path.join(source.ROOT, "docs"))
import tables  # noqa: E402

# Rows for the backend that name no key, and why they show nothing of anybody else.
WITHOUT_KEYS = {
    "WAIT": "counts replicas", "OBJECT|HELP": "text", "XGROUP|HELP": "text", "XINFO|HELP": "text",
    "OBJECT": "container", "MEMORY": "container", "XGROUP": "container", "XINFO": "container",
}
# Replies that hold names of keys, as COMMAND DOCS of Redis describes them: what takes the prefix off.
NAMES_IN_REPLY = {
    "BLPOP": "X_FIRST", "BRPOP": "X_FIRST", "BZPOPMIN": "X_FIRST", "BZPOPMAX": "X_FIRST",
    "LMPOP": "X_KEYS", "BLMPOP": "X_KEYS", "ZMPOP": "X_KEYS", "BZMPOP": "X_KEYS", "KEYS": "X_KEYS",
    "XREAD": "X_STREAMS", "XREADGROUP": "X_STREAMS", "SCAN": "X_SCAN",
    "PUBLISH": "X_RECEIVERS", "SPUBLISH": "X_RECEIVERS",
}
# Integers that CACHE.STATS counts with.
NAMES_IN_REPLY |= dict.fromkeys(("SETNX", "MSETNX", "DEL", "UNLINK", "EXISTS"), "X_TOLD")
# Arguments that name keys, channels or databases without being keys.
SPECIAL = {"KEYS": "A_PATTERN", "SCAN": "A_SCAN", "COPY": "A_COPY", "SORT": "A_SORT", "SORT_RO": "A_SORT", "PUBLISH": "A_CHANNEL"}
# What anybody may: who one is, what there is, and the agent's own pages.
FOR_ALL = re.compile(r"(PING|ECHO|HELLO|AUTH|SELECT|QUIT|RESET|COMMAND(\|.*)?|.*\|HELP|PURSER\.[A-Z]+|"
                     r"CLIENT\|(ID|GETNAME|SETNAME|SETINFO|GETREDIR|TRACKINGINFO|INFO|NO-EVICT|REPLY))")
# Writing rows that no redis:write is enough for, or that need none.
OTHER_WRITES = {"PERM_SCRIPT", "PERM_PUBSUB", "PERM_ADMIN"}


def rows_of(root):
    for _, a in tables.calls(source.read(root, "agent/command/commands.def"), "CMD"):
        yield dict(zip(("id", "name", "arity", "flags", "perm", "keys", "args", "xform", "cap", "retry", "run", "group", "summary"), a))


def wrong(r):
    """What is wrong with one row, in words."""
    flags = set(r["flags"].split("|"))
    container = "F_CONTAINER" in flags
    keyless = r["keys"].replace(" ", "") == "K(0,0,0)"
    name = r["name"]
    if not r["perm"].startswith("PERM_"):
        yield "has no permission"
    if r["perm"] == "PERM_ANY" and not container and not FOR_ALL.fullmatch(name):
        yield "may be used by anybody and is not listed as such"
    if {"F_WRITE", "F_READONLY"} <= flags:
        yield "writes and only reads"
    if "F_WRITE" in flags and r["perm"] != "PERM_WRITE" and r["perm"] not in OTHER_WRITES:
        yield "writes without redis:write"
    if "F_READONLY" in flags and r["perm"] not in ("PERM_READ", "PERM_SCRIPT"):
        yield "only reads and asks for more than redis:read"
    if r["retry"] == "R_READ" and "F_WRITE" in flags:
        yield "writes and is repeated like a read"
    if r["run"] == "RUN_BACKEND" and keyless and r["args"] in ("A_NONE", "A_BLOCK") and name not in WITHOUT_KEYS:
        yield "goes to the store and names no key: list it in WITHOUT_KEYS with the reason"
    if r["run"] != "RUN_BACKEND" and r["args"] != "A_NONE":
        yield "has arguments to be isolated and does not go through isolate"
    if r["xform"] != NAMES_IN_REPLY.get(name, "X_PASS"):
        yield f"has reply {r['xform']}, want {NAMES_IN_REPLY.get(name, 'X_PASS')}"
    if name in SPECIAL and r["args"] != SPECIAL[name]:
        yield f"has arguments {r['args']}, want {SPECIAL[name]}"
    if "COUNT_" in r["keys"] and "STORE" not in name and "F_MOVABLE" not in flags:
        yield "has keys that its arguments tell, and does not say movablekeys"
    if "F_PUBLIC" in flags and not name.startswith("PURSER."):
        yield "is served to callers nobody knows"


def check(root):
    problems, names = [], set()
    if not os.path.exists(os.path.join(root, "agent/command/commands.def")):
        return problems
    for r in rows_of(root):
        problems += [f"{r['name']} {w}" for w in wrong(r)]
        if r["name"] in names:
            problems.append(f"{r['name']} is there twice")
        names.add(r["name"])
    for _, (name, err, text) in tables.calls(source.read(root, "agent/command/refused.def"), "REFUSED"):
        if len(text) < 20 or name in names:
            problems.append(f"{name} is refused without a reason, or served")
        if err == "NOPERM" and not re.search(r"send it to|PURSER\.|CONFIG|use |debug on", text):
            problems.append(f"{name} is refused without the next step: {text}")
    for left in [*WITHOUT_KEYS, *NAMES_IN_REPLY]:
        if len(names) > 200 and left not in names:
            problems.append(f"{left}, which is listed here, is no row")
    return problems


if __name__ == "__main__":
    source.finish(check(source.ROOT), "rows of commands.def are whole")
