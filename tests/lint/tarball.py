#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every file that git tracks goes into the tarball."""

import os
import subprocess

import source


def missing(tracked, dist):
    """The tracked files that neither are in dist nor lie below a directory of it."""
    dist = set(dist)
    return [f for f in tracked if not any(
        f == d or f.startswith(d.rstrip("/") + "/") for d in dist)]


def dist_files(root, builddir):
    """What make dist would pack, relative to the source directory."""
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    out = subprocess.run(["make", "-s", "-C", builddir, "list-dist"], env=env, text=True,
                         capture_output=True, check=True).stdout
    names = []
    for name in out.split():
        path = name if os.path.isabs(name) else os.path.join(builddir, name)
        rel = os.path.relpath(path, root)
        if rel.startswith(".."):
            rel = os.path.relpath(path, builddir)
        elif not os.path.isabs(name) and not name.startswith(".."):
            rel = name
        names.append(os.path.normpath(rel))
    return names


def main():
    tracked = source.git_files(source.ROOT)
    if tracked is None:
        source.skip("not a git tree")
    builddir = os.environ.get("abs_top_builddir", os.getcwd())
    lost = missing(tracked, dist_files(source.ROOT, builddir))
    source.finish([f"{f}: tracked by git, but not in the tarball: name it in its local.mk" for f in lost],
                  "files in the tarball")


if __name__ == "__main__":
    main()
