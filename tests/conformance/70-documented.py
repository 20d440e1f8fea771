#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs/writing-a-plugin.md quotes the example word for word, and the example is what it says: short."""

import os
import re
import sys

TOP = os.environ.get("abs_top_srcdir") or os.getcwd()


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as f:
        return f.read()


def main():
    page = read("docs/writing-a-plugin.md")
    problems = []
    for language, path in (("c", "plugins/example/example.c"), ("make", "plugins/example/Makefile")):
        quoted = re.findall(rf"^```{language}\n(.*?)^```$", page, re.S | re.M)
        if quoted != [read(path)]:
            problems.append(f"docs/writing-a-plugin.md does not quote {path} as it is")
    lines = read("plugins/example/example.c").count("\n")
    if lines > 80:
        problems.append(f"plugins/example/example.c has {lines} lines, more than 80")
    for name in re.findall(r"host->(\w+)", page):
        if f"(*{name})(" not in read("include/purser/plugin.h"):
            problems.append(f"docs/writing-a-plugin.md speaks of host->{name}, which is not in the header")
    for name in re.findall(r"`(?:#\w+ )?(PURSER_[A-Z0-9_]+)", page):
        if name not in read("include/purser/plugin.h"):
            problems.append(f"docs/writing-a-plugin.md speaks of {name}, which is not in the header")
    print("\n".join(problems) or "the page follows the example and the header")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
