# SPDX-License-Identifier: Apache-2.0
"""A crowd of clients, all commands mixed, on the memory plugin: every request is answered, nothing is left behind when all
keys are gone.  What the sanitizers say is looked for by the harness.  Long: make check-soak SECONDS=600"""

import os
import random
import subprocess

import harness
from harness import Purserd, check, wait_until

POLICIES = ["noeviction", "allkeys-lru", "allkeys-s3fifo", "volatile-lfu"]


def used(c):
    info = c.cmd("INFO", "memory").decode()
    return int(info.split("used_memory:")[1].split("\r\n")[0])


def crowd(policy, seed, seconds):
    with Purserd({"agent.workers": 3, "backend main.plugin": "memory", "backend main.eviction": policy,
                  "backend main.max_memory": "32MiB", "agent.mode": "development", "project default.isolation": "off"}, name=policy) as p, p.client() as c:
        c.cmd("SET", "k", 1)
        c.cmd("DEL", "k")
        before = used(c)
        program = os.path.join(harness.builddir, "tests/differential/crowd")
        with subprocess.Popen([program, p.sock, str(seed), str(seconds), "64"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
            while True:  # and the configuration is read again meanwhile
                try:
                    out, _ = run.communicate(timeout=1)
                    break
                except subprocess.TimeoutExpired:
                    p.reload()
        print(policy, out, flush=True)
        check(run.returncode == 0, out, "the agent's status:", p.p.poll())

        def empty():
            c.cmd("FLUSHALL")  # each time: what those who have left had sent may still run
            return c.cmd("DBSIZE") == 0 and used(c) <= before + 65536
        try:
            wait_until(empty, "the memory of what is gone to come back")
        except harness.Failure as e:
            raise harness.Failure(f"{e}: {before} before, now {c.cmd('INFO', 'memory').decode()}") from e


def main():
    seed = harness.seed()
    seconds = float(os.environ.get("PURSER_SECONDS") or (600 if harness.LONG else 4))
    rng = random.Random(seed)
    policies = POLICIES if seconds > 30 else [rng.choice(POLICIES)]
    for policy in policies:
        crowd(policy, rng.randrange(1 << 32), seconds / len(policies))


if __name__ == "__main__":
    harness.run(main)
