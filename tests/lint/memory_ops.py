#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The memory plugin runs every command of agent/command/commands.def that a backend runs, as often as it has arguments
there and with the same keys; what it leaves out is listed here with the reason, and only that."""

import os
import re
import sys

import source

sys.path.insert(0, os.path.join(source.ROOT, "docs"))
import tables  # noqa: E402

LEFT_OUT = {}  # name: reason
# The other way round: operations whose command the agent refuses (refused.def).
REFUSED = {"MOVE", "SWAPDB"}
CHANNELS = {"SPUBLISH"}  # what the table calls a key is no key of the store


def check(root, left_out=None, refused=None):
    commands, plugin = "agent/command/commands.def", "plugins/memory/ops.def"
    if not all(os.path.exists(os.path.join(root, f)) for f in (commands, plugin)):
        return []
    left_out = LEFT_OUT if left_out is None else left_out
    refused = REFUSED if refused is None else refused
    problems, rows, ops = [], {}, {}
    for _, (_, name, arity, flags, _, keys, *rest) in tables.calls(source.read(root, commands), "CMD"):
        rows[name.strip('"')] = (int(arity), flags, keys, rest)
    for _, (_, name, _, arity, flags, first, last, step) in tables.calls(source.read(root, plugin), "OP"):
        ops[name.strip('"')] = (int(arity), flags, (int(first), int(last), int(step)))
    for name, (arity, flags, keys, rest) in rows.items():
        if "RUN_BACKEND" not in rest or "F_CONTAINER" in flags:
            continue
        if name not in ops:
            if name not in left_out:
                problems.append(f"{plugin}: {name} is not there: add it, or say here why not")
            continue
        if name in left_out:
            problems.append(f"{name} is in {plugin} and listed as left out: {left_out[name]}")
        if ops[name][0] != arity:
            problems.append(f"{plugin}: {name} has arity {ops[name][0]}, in {commands} it has {arity}")
        want = tuple(map(int, re.findall(r"-?\d+", keys)[:3]))
        if name not in CHANNELS and want != ops[name][2] and not re.search("OP_(KEYS|ALL|BLOCKS)", ops[name][1]) and keys.startswith("K("):
            problems.append(f"{plugin}: {name} has its keys at {ops[name][2]}, in {commands} they are at {want}")
    problems += [f"{plugin}: {name} is no command of {commands}" for name in ops if name not in rows and name not in refused]
    problems += [f"{commands} has {name}, which is listed as refused" for name in refused if name in rows]
    return problems


if __name__ == "__main__":
    source.finish(check(source.ROOT), "the memory plugin runs what a backend runs")
