# SPDX-License-Identifier: Apache-2.0
"""Two projects on one memory backend: nobody hears of the other, everybody what a redis-server of its own says."""

import harness
import rig



def main():
    rig.documented()
    rig.run("memory")


harness.run(main)
