#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every key of agent/config/keys.def is read by somebody: a key that is accepted does something.

Read is: CFG_SECTION_KEY outside agent/config (or where its signals are put together); for a key of
[backend], also its name as a text, which is how plugins ask.
"""

import os
import re
import sys

import source

sys.path.insert(0, os.path.join(source.ROOT, "docs"))
import tables  # noqa: E402

# Read through a function of agent/config: cfg_project_prefix(), cfg_project_backend(), the schema call.
# Of OTLP_PROTOCOL there is one choice.
THROUGH = {"PROJECT_KEY_PREFIX", "PROJECT_ISOLATION", "PROJECT_BACKEND", "AGENT_PLUGIN_DIR", "OTLP_PROTOCOL"}


def check(root):
    table = os.path.join(root, "agent/config/keys.def")
    if not os.path.exists(table):
        return []
    code = ""
    for path in source.files(root, ".c", ".h"):
        if path.startswith(("agent/", "plugins/", "ctl/")) and (
                not path.startswith("agent/config/") or path == "agent/config/signals.c"):
            code += source.code_only(source.read(root, path), keep_strings=True)
    problems = []
    for _, (section, key, name, *_) in tables.calls(source.read(root, "agent/config/keys.def"), "KEY"):
        ident = f"{section}_{key}"
        if ident in THROUGH or re.search(rf"\bCFG_{ident}\b", code) or (
                section == "BACKEND" and f'"{name}"' in code):
            continue
        problems.append(f"agent/config/keys.def: nobody reads CFG_{ident}: read it, or take the key out")
    return problems


if __name__ == "__main__":
    source.finish(check(source.ROOT), "keys of the configuration are read")
