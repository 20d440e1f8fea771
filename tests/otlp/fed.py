#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every row of metrics.def is fed somewhere: a metric that nobody counts is a lie."""
import os
import re
import sys

top = os.environ.get("abs_top_srcdir", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
rows = re.findall(r"^METRIC\((\w+),", open(os.path.join(top, "agent/metric/metrics.def"), encoding="utf-8").read(), re.M)
used = set()
for where, _, names in os.walk(os.path.join(top, "agent")):
    for name in names:
        if name.endswith(".c"):
            with open(os.path.join(where, name), encoding="utf-8") as f:
                used |= set(re.findall(r"\bMETRIC_(\w+)", f.read()))
missing = [r for r in rows if r not in used]
print(f"{len(rows)} metrics")
if len(rows) < 50 or missing:
    sys.exit("not fed by any .c file of agent/: " + ", ".join(missing))
