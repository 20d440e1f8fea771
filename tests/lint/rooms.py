#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who includes whom: a room of the agent includes only rooms above it, a plugin only the public header.

Also: config.h comes first in every .c of agent/ and ctl/, and some libraries belong to one room.
"""

import os
import re

import source

# DESIGN's table, lowest first; rooms of one row may include each other.
ROWS = ["base", "loop", "config", "resp", "command", "metric trace log", "fetch", "export",
        "resilience", "access", "backend", "feature", "health", "request", "server", "main"]
LEVEL = {room: level for level, row in enumerate(ROWS) for room in row.split()}
# header: who may include it
OWNED = {
    r"hiredis/.*": ("plugins/redis/", "ctl/", "bench/", "tests/"),
    r"curl/.*": ("agent/fetch/", "tests/"),
    r"ini\.h": ("agent/config/", "tests/"),
    r"sys/epoll\.h": ("agent/loop/", "bench/", "tests/"),
}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.M)


def room_of(path):
    """agent/ROOM/x.c is ROOM; of the files of agent/ itself request* and stages* are the spine, the rest is main's."""
    part = path.split("/")[1]
    if "." not in part:
        return part
    return "request" if part.startswith(("request", "stages")) else "main"


def target_room(root, path, name):
    """The room that a quoted include of an agent file leads to; None if it leads nowhere we know."""
    if os.path.exists(os.path.join(root, "agent", name)):
        return room_of("agent/" + name)
    if os.path.exists(os.path.join(root, os.path.dirname(path), name)):
        return room_of(os.path.normpath(os.path.join(os.path.dirname(path), name)))
    return name.split("/")[0] if "/" in name and name.split("/")[0] in LEVEL else None


def check_include(root, path, quoted, name):
    """One include line; returns what is wrong with it, or None."""
    for header, owners in OWNED.items():
        if re.fullmatch(header, name) and not path.startswith(owners):
            return f"<{name}> belongs to {owners[0]}"
    top = path.split("/")[0]
    if top == "agent" and quoted and name != "config.h":
        mine, target = room_of(path), target_room(root, path, name)
        if target is None:
            return f'"{name}" is no file of agent/'
        if mine not in LEVEL:
            return f"{mine} is no room of the table in tests/lint/rooms.py"
        if LEVEL.get(target, len(ROWS)) > LEVEL[mine]:
            return f"{mine} may not include {target}, a room below it"
    own = os.path.exists(os.path.join(root, os.path.dirname(path), name))
    if top == "include" and quoted:
        return "the public header includes with <> only"
    if top == "include" and "/" in name and not name.startswith(("purser/", "sys/")):
        return f"<{name}>: the public header needs libc only"
    if top == "plugins" and quoted and not (own and ".." not in name):
        return f'"{name}": a plugin includes <purser/...> and its own files'
    if top == "plugins" and not quoted and name == "config.h":
        return "a plugin does not need config.h"
    if top == "ctl" and quoted and not own and not name.startswith(("base/", "config/", "resp/", "access/token.h")):
        return f'"{name}": purserctl includes its own files, and of the agent base/, config/, resp/ and access/token.h'
    return None


def check(root):
    problems = []
    for path in source.files(root, ".c", ".h", ".def"):
        text = source.code_only(source.read(root, path), keep_strings=True)
        includes = [(m.group(1) == '"', m.group(2), text.count("\n", 0, m.start()) + 1)
                    for m in INCLUDE.finditer(text)]
        for quoted, name, line in includes:
            wrong = check_include(root, path, quoted, name)
            if wrong:
                problems.append(f"{path}:{line}: {wrong}")
        if path.endswith(".c") and path.startswith(("agent/", "ctl/")) \
                and (not includes or includes[0][1] != "config.h"):
            problems.append(f"{path}:1: <config.h> must be the first include")
    return problems


if __name__ == "__main__":
    source.finish(check(source.ROOT), "include direction between rooms")
