#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Functions have at most 120 lines, files at most 1,000 (.def tables are exempt)."""

import re

import source

FUNCTION_MAX = 120
FILE_MAX = 1000


def without_preprocessor(code):
    """Blanks preprocessor lines, and all but the first branch of an #if, so that braces balance."""
    out, skipping, stack, continued = [], 0, [], False
    for line in code.split("\n"):
        directive = re.match(r"\s*#\s*(\w*)", line) if not continued else None
        if directive:
            word = directive.group(1)
            if word in ("if", "ifdef", "ifndef"):
                stack.append(0)
            elif word in ("else", "elif") and stack:
                skipping += 1 - stack[-1]
                stack[-1] = 1
            elif word == "endif" and stack:
                skipping -= stack.pop()
        hidden = directive or continued or skipping > 0
        continued = bool(directive or continued) and line.endswith("\\")
        out.append("" if hidden else line)
    return "\n".join(out)


def functions(text):
    """(name, first line, number of lines) of every function body of a C file."""
    code = without_preprocessor(source.code_only(text))
    code = re.sub(r'extern\s*"[ C]*"\s*\{', lambda m: " " * (m.end() - m.start()), code)
    depth, line, head, start, found = 0, 1, "", None, []
    for c in code:
        if c == "{":
            if depth == 0 and re.search(r"\)\s*$", head):
                name = re.search(r"(\w+)\s*\(", head)
                start = (name.group(1) if name else "?", line)
            depth += 1
        elif c == "}":
            depth = max(0, depth - 1)
            if depth == 0:
                if start:
                    found.append((start[0], start[1], line - start[1] + 1))
                start, head = None, ""
        elif c == ";" and depth == 0:
            head = ""
        elif depth == 0:
            head += c
        if c == "\n":
            line += 1
    return found


def check(root):
    problems = []
    for path in source.files(root, ".c", ".h", ".py", ".sh", ".in", ".lua", ".am", ".ac", ".mk"):
        text = source.read(root, path)
        lines = text.count("\n")
        if lines > FILE_MAX:
            problems.append(f"{path}: {lines} lines, at most {FILE_MAX}")
        if path.endswith((".c", ".h")):
            problems += [f"{path}:{at}: {name}() has {n} lines, at most {FUNCTION_MAX}"
                         for name, at, n in functions(text) if n > FUNCTION_MAX]
    return problems


if __name__ == "__main__":
    source.finish(check(source.ROOT), "sizes of functions and files")
