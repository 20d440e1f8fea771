#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Sessions against their model, on the redis plugin: see rig.py."""

import rig

rig.main("redis")
