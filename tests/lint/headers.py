#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The public headers compile alone, as strict C99 and as C++; every header of agent/ compiles alone."""

import concurrent.futures
import os
import shlex
import shutil
import subprocess
import tempfile

import source

STRICT = ["-Wall", "-Wextra", "-Werror", "-fsyntax-only"]


def compiles(command, language, headers, include_dirs):
    """Compiles a file that only includes headers; returns the compiler's words, empty if it is content."""
    text = "".join(f'#include "{h}"\n' for h in headers) + "typedef int nothing_else_in_this_unit;\n"
    with tempfile.NamedTemporaryFile("w", suffix="." + language, dir="/tmp") as f:
        f.write(text)
        f.flush()
        argv = shlex.split(command) + [f"-I{d}" for d in include_dirs] + STRICT + [f.name]
        p = subprocess.run(argv, capture_output=True, text=True, check=False)
        return p.stderr.strip() if p.returncode else ""


def check(root, builddir, cc, cxx):
    problems = []
    public = [os.path.relpath(h, "include") for h in source.files(root, ".h") if h.startswith("include/")]
    agent = [os.path.relpath(h, "agent") for h in source.files(root, ".h") if h.startswith("agent/")]
    include = [os.path.join(root, "include")]
    compilers = [(f"{cc} -std=c99 -pedantic", "c", "C99")] + ([(f"{cxx} -std=c++11 -pedantic", "cc", "C++")] if cxx else [])
    for command, language, name in compilers:
        for h in public:
            words = compiles(command, language, [h], include)
            if words:
                problems.append(f"include/{h} alone is not {name}:\n{words}")
    inside = include + [os.path.join(root, "agent"), builddir, os.path.join(builddir, "agent")]

    def alone(h):
        words = compiles(f"{cc} -std=gnu11", "c", ["config.h", h], inside)
        return [f"agent/{h} does not compile alone:\n{words}"] if words else []

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        problems += [p for found in pool.map(alone, agent) for p in found]
    return problems


def main():
    cxx = os.environ.get("CXX") or "c++"
    if shutil.which(shlex.split(cxx)[0]) is None:
        print("no C++ compiler: C99 only")
        cxx = ""
    source.finish(check(source.ROOT, os.environ.get("abs_top_builddir", os.getcwd()),
                        os.environ.get("CC") or "cc", cxx), "headers that compile alone")


if __name__ == "__main__":
    main()
