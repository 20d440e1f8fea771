# SPDX-License-Identifier: Apache-2.0
"""Order and queues: 16 clients that know every answer, on plugins that end calls in every way the contract
allows and check what the host promises (tests/plugins/order.h), and on the real ones."""

import os

import harness
import tagged
from harness import check

COMMANDS = 4000 if harness.LONG else 120
LIBS = os.path.join(harness.builddir, "tests/plugins/.libs")
ORDER = tagged.Kit(fails=True, projects=("default", "two"))
REAL = tagged.Kit(hashes=True, projects=("default", "two"))


def settings(workers, backend):
    s = {"agent.workers": str(workers), "agent.output_limit": "4KiB", "agent.plugin_dir": LIBS,
         "project default.databases": "4", "project two.databases": "2",
         # what a client sees does not depend on the health check, but it adds calls of its own
         # and what fails here fails on purpose
         "health.interval": "100ms", "log.modules": "backend=debug", "breaker.enabled": "no"}
    s.update({f"backend main.{k}": v for k, v in backend.items()})
    return s


def clients_gone(p):
    with p.client() as c:
        harness.wait_until(lambda: b'"clients":1,' in c.cmd("PURSER.STATUS"), "all clients to be gone")


def on(what, workers, backend, kit, seed):
    with harness.Purserd(settings(workers, backend), name=what) as p:
        n = tagged.run(p.sock, seed, commands=COMMANDS, kit=kit, over_http=4)
        clients_gone(p)
    print(f"{what}: {n} replies", flush=True)
    check(n > COMMANDS * 4, what, "only", n, "replies")


def main():
    seed = harness.seed()
    order = {"prefixes": "proj:default: proj:two:", "seed": str(seed)}
    only = os.environ.get("PURSER_ONLY", "")
    cases = []
    for workers in (1, 3):
        narrow = dict(order, window="2", again_every="3", ends="mixed")
        cases += [(f"argv{workers}", workers, dict(narrow, plugin="order_argv"), ORDER),
                  (f"wire{workers}", workers, dict(narrow, plugin="order_wire"), ORDER),
                  (f"blocking{workers}", workers, dict(order, plugin="order_blocking"), ORDER),
                  (f"memory{workers}", workers, {"plugin": "memory"}, REAL)]
    for ends in ("inline", "timer", "flush", "post", "offload"):
        cases.append((f"wire-{ends}", 1, dict(order, plugin="order_wire", ends=ends, window="2"), ORDER))
    for case in cases:
        if only in case[0]:
            on(*case, seed)
    with harness.Redis() as redis:
        for workers in (1, 3):
            if only in f"redis{workers}":
                with redis.client() as c:
                    c.cmd("FLUSHALL")
                on(f"redis{workers}", workers, {"plugin": "redis", "url": redis.url}, REAL, seed)


if __name__ == "__main__":
    harness.run(main)
