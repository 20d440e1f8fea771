#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every row of a .def table is in the page of docs/ that documents it (docs/tables.py writes those tables)."""

import os
import sys

import source

sys.path.insert(0, os.path.join(source.ROOT, "docs"))
import tables  # noqa: E402 (it lives in docs/)


def check(root):
    problems = tables.main(root, True)
    unknown = [f"{f}: docs/tables.py does not say where it is documented"
               for f in source.files(root, ".def") if f.startswith("agent/")
               and f not in tables.TABLES and f not in tables.NAMED and f not in tables.PARTS]
    return problems + unknown


if __name__ == "__main__":
    source.finish(check(source.ROOT), "what is declared in .def tables is documented")
