# SPDX-License-Identifier: Apache-2.0
"""What the lints share: the list of source files, C text without comments, and how a lint ends."""

import os
import subprocess
import sys

ROOT = os.environ.get("abs_top_srcdir") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOP = ("agent", "bench", "ctl", "etc", "fuzz", "include", "plugins", "tests", "docs", "m4", ".ci")
TOP_FILES = ("configure.ac", "Makefile.am", "autogen.sh")


def files(root, *suffixes):
    """The source files below root, as sorted paths relative to it; build output is left out."""
    found = [f for f in TOP_FILES if os.path.exists(os.path.join(root, f))]
    for top in TOP:
        for path, dirs, names in os.walk(os.path.join(root, top)):
            dirs[:] = [d for d in dirs if d not in (".libs", ".deps", "node_modules", "__pycache__", "corpus")]
            found += [os.path.relpath(os.path.join(path, n), root) for n in names]
    return sorted(f for f in found if f.endswith(suffixes))


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def code_only(text, keep_strings=False):
    """C text whose comments, and the insides of whose literals, are blanked; lines stay where they were."""
    out, i, n = [], 0, len(text)

    def blank(upto):
        nonlocal i
        out.append("".join(c if c == "\n" else " " for c in text[i:upto]))
        i = upto

    while i < n:
        if text.startswith("//", i):
            end = text.find("\n", i)
            blank(n if end < 0 else end)
        elif text.startswith("/*", i):
            end = text.find("*/", i + 2)
            blank(n if end < 0 else end + 2)
        elif text[i] in "\"'":
            end = i + 1
            while end < n and text[end] != text[i] and text[end] != "\n":
                end += 2 if text[end] == "\\" else 1
            end = min(end + 1, n)
            if keep_strings:
                out.append(text[i:end])
                i = end
            else:
                out.append(text[i])
                i += 1
                blank(max(i, end - 1))
                out.append(text[i:end])
                i = end
        else:
            out.append(text[i])
            i += 1
    return "".join(out)


def git_files(root):
    """The files that git tracks, or None outside of a git tree."""
    if not os.path.exists(os.path.join(root, ".git")):
        return None
    p = subprocess.run(["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-z"],
                       capture_output=True, text=True, check=False)
    return [f for f in p.stdout.split("\0") if f] if p.returncode == 0 else None


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(77)


def finish(problems, what):
    """Prints the problems; the status is 1 if there are any."""
    for p in problems:
        print(p)
    print(f"{len(problems)} problem(s): {what}")
    sys.exit(1 if problems else 0)
