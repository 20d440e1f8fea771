#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The agent's own Lua scripts: each says what it takes, walks no key space, and has a test on both backends."""

import os
import re

import source

LUA = "agent/feature/lua/"
WALKS = re.compile(r"""redis\.p?call\(\s*['"](SCAN|KEYS|RANDOMKEY|DBSIZE|FLUSHDB|FLUSHALL|SELECT)['"]""", re.I)


def check(root):
    problems = []
    tests = [p for p in source.files(root, ".py") if p.startswith("tests/lua/") and p != "tests/lua/luatest.py"]
    called = set()
    for path in tests:
        called |= set(re.findall(r"""\.script\(\s*["'](\w+)["']""", source.read(root, path)))
    listed = source.read(root, "tests/lua/local.mk") if os.path.exists(os.path.join(root, "tests/lua/local.mk")) else ""
    problems += [f"{p}: make check does not run it: name it in tests/lua/local.mk" for p in tests
                 if os.path.basename(p) not in re.findall(r"[\w.-]+\.py", listed)]
    for path in source.files(root, ".lua"):
        if not path.startswith(LUA):
            continue
        name, text = os.path.basename(path)[:-4], source.read(root, path)
        if name not in called:
            problems.append(f'{path}: no test of tests/lua/ has script("{name}")')
        head = re.match(r"(?:--[^\n]*\n)*", text).group(0)
        problems += [f"{path}: the comment at its head does not say {what}" for what in ("KEYS", "ARGV") if what not in head]
        for m in WALKS.finditer(text):
            problems.append(f"{path}:{text.count(chr(10), 0, m.start()) + 1}: {m.group(1)} has no place in a script of the agent")
    return problems


if __name__ == "__main__":
    source.finish(check(source.ROOT), "Lua scripts of the agent")
