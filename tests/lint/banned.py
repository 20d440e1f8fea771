#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Functions that are never called: no bound, no error report, or shared state."""

import re

import source

INSTEAD = {
    "strcpy": "memcpy with a known length", "strcat": "snprintf or a struct buf", "sprintf": "snprintf",
    "vsprintf": "vsnprintf", "gets": "fgets", "strtok": "strcspn or strtok_r", "atoi": "strtol with checks",
    "atol": "strtol with checks", "atoll": "strtoll with checks", "atof": "strtod with checks",
    "gmtime": "gmtime_r", "localtime": "localtime_r", "system": "posix_spawn",
    "strncpy": "memcpy with a known length", "alloca": "malloc or an arena",
}
CALL = re.compile(r"(?<![\w.>])(" + "|".join(INSTEAD) + r")\s*\(")


def check(root):
    problems = []
    for path in source.files(root, ".c", ".h", ".def"):
        code = source.code_only(source.read(root, path))
        for m in CALL.finditer(code):
            line = code.count("\n", 0, m.start()) + 1
            problems.append(f"{path}:{line}: {m.group(1)}() is banned: use {INSTEAD[m.group(1)]}")
    return problems


if __name__ == "__main__":
    source.finish(check(source.ROOT), "banned functions")
