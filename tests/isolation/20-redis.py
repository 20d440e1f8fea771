# SPDX-License-Identifier: Apache-2.0
"""Two projects on one redis-server: nobody hears of the other, everybody what a redis-server of its own says."""

import harness
import rig

harness.run(lambda: rig.run("redis"))
