#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Nothing of the first version of the plugin header has moved or changed its number.

tests/conformance/v1/plugin.h is a copy that is never edited.  Every field of its structs must be where
it was in today's header, with the same size; every constant must have its old value.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile

TOP = os.environ.get("abs_top_srcdir") or os.getcwd()
V1 = os.path.join(TOP, "tests/conformance/v1/plugin.h")
NOW = os.path.join(TOP, "include/purser/plugin.h")


def without_comments(text):
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.S)


def structs(code):
    """{type: [field, ...]} of every struct with a body."""
    found = {}
    for m in re.finditer(r"struct (\w+) \{(.*?)\n?\}", code, re.S):
        body = re.sub(r"#.*", "", m.group(2))
        fields = []
        for part in re.sub(r"__attribute__\s*\(\(.*?\)\)\)", "", body, flags=re.S).split(";"):
            part = " ".join(part.split())
            pointer = re.match(r"[\w \*]+\(\*(\w+)\)\s*\(", part)
            slot = re.match(r"void \*\*\(\*(\w+)\)", part)
            if pointer or slot:
                fields.append((pointer or slot).group(1))
            elif part:
                fields += [re.sub(r"[\*\[].*", "", name.strip().lstrip("* ").split()[-1].lstrip("*"))
                           for name in part.split(",")]
        found[m.group(1)] = fields
    return found


def constants(code):
    names = re.findall(r"\b(PURSER_[A-Z0-9_]+)\s*=", code)
    names += re.findall(r"#define (PURSER_[A-Z0-9_]+) +\(?[0-9U]", code)
    return sorted(set(names) - {"PURSER_PLUGIN_H"})


def facts(header, code):
    """What the compiler says of the names in code (of the first version), with a header."""
    lines = [f'#include "{header}"', "#include <stdio.h>", "int main(void)", "{"]
    for name, fields in structs(code).items():
        for f in fields:
            lines.append(f'printf("%s.%s at %zu, %zu bytes\\n", "{name}", "{f}", '
                         f"offsetof(struct {name}, {f}), sizeof(((struct {name} *)0)->{f}));")
    for c in constants(code):
        lines.append(f'printf("%s = %llu\\n", "{c}", (unsigned long long){c});')
    lines += ["return 0;", "}"]
    cc = shlex.split(os.environ.get("CC") or "cc")
    with tempfile.TemporaryDirectory(prefix="purser-v1.", dir="/tmp") as tmp:
        source, program = os.path.join(tmp, "f.c"), os.path.join(tmp, "f")
        with open(source, "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")
        subprocess.run(cc + ["-o", program, source], check=True)
        return subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()


def main():
    with open(V1, encoding="utf-8") as f:
        code = without_comments(f.read())
    names = structs(code)
    missing = {"purser_bytes", "purser_call", "purser_error", "purser_job", "purser_host", "purser_key",
               "purser_op", "purser_metric", "purser_stats", "purser_plugin"} - set(names)
    if missing or len(names["purser_host"]) < 40 or len(names["purser_plugin"]) < 30:
        sys.exit(f"the header was not understood: {missing} {names}")
    then, now = facts(V1, code), facts(NOW, code)
    moved = [f"{a}, now: {b}" for a, b in zip(then, now) if a != b]
    print("\n".join(moved) or f"{len(then)} facts of the first version hold")
    sys.exit(1 if moved else 0)


if __name__ == "__main__":
    main()
