#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""More than the queue holds, from clients that pipeline: their bytes wait in their sockets, nothing is refused, all of
it runs in order."""

import re

import harness
from harness import check, encode, equal, wait_until

CLIENTS, EACH, VALUE = 40, 100, b"x" * 1024
QUEUE = 2048  # with what the link takes meanwhile much less than CLIENTS * EACH


def waiting(p):
    """Commands that wait for the store."""
    text = p.http("GET", "/metrics").body.decode()
    return sum(float(n) for n in re.findall(r"^db_client_connection_pending_requests\{[^}]*\} (\S+)$", text, re.M))


def main():
    with harness.Redis() as redis, harness.Purserd({
            "backend main.plugin": "redis", "backend main.url": redis.url, "backend main.queue_max": str(QUEUE),
            "agent.workers": "1", "health.interval": "1h"}) as p:
        clients = [p.client() for _ in range(CLIENTS)]
        equal(clients[0].cmd("SET", "warm", "up"), "OK")
        redis.pause()
        for n, c in enumerate(clients):
            c.raw(b"".join(encode("RPUSH", f"list{n}", b"%d:" % i + VALUE) for i in range(EACH)))
        wait_until(lambda: waiting(p) >= QUEUE / 2, "the queue to be half full")
        redis.go_on()
        for n, c in enumerate(clients):
            equal([c.read() for _ in range(EACH)], list(range(1, EACH + 1)), f"client {n}")
        for n, c in enumerate(clients):
            got = c.cmd("LRANGE", f"list{n}", 0, -1)
            check(all(got[i].startswith(b"%d:" % i) for i in range(EACH)), f"client {n}: executed in another order")
        equal(waiting(p), 0)


harness.run(main)
