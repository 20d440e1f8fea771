#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The boards of etc/grafana and the alert rules of etc/prometheus are what docs/dashboards.py makes of metrics.def."""

import os
import sys

import source

sys.path.insert(0, os.path.join(source.ROOT, "docs"))
import dashboards  # noqa: E402 (it lives in docs/)

if __name__ == "__main__":
    source.finish([f"{p}: not what metrics.def says: make doc-tables" for p in dashboards.stale(source.ROOT)],
                  "boards and alert rules are made of metrics.def")
