#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that go away in the middle: with commands in flight, answered out of turn, half sent, not read."""

import harness
from harness import Purserd, Redis, check, encode, equal


def in_flight(redis, p):
    """What is answered already waits behind what is not; all of it goes with the client."""
    with p.client() as ready:
        equal(ready.cmd("SET", "k", "v" * 100000), "OK")
    redis.pause()
    try:
        for words in ([("GET", "k"), ("PING",), ("GET", "k"), ("PING",), ("ECHO", "x")],
                      [("PURSER.HEALTH",), ("GET", "k"), ("PING",), ("SET", "k", "w")],
                      [("GET", "k"), ("DBSIZE",), ("PING",)],
                      [("SET", "k", "v" * 50000), ("PING",), ("GET", "k")[:1], ("GET", "k")]):
            for n in range(1, len(words) + 1):
                c = p.client()
                c.raw(b"".join(encode(*w) for w in words[:n]))
                if words[0][0] == "PURSER.HEALTH":
                    c.close()
                    continue
                with p.client() as other: # by now it has been read
                    equal(other.cmd("PING"), "PONG")
                c.close()
    finally:
        redis.go_on()
    with p.client() as c:
        check(c.cmd("GET", "k")[:1] in (b"v", b"w"))


def not_read(p):
    """Replies of many megabytes that nobody reads; the client hangs up."""
    with p.client() as c:
        equal(c.cmd("SET", "big", "b" * 3000000), "OK")
    for _ in range(5):
        c = p.client()
        c.raw(b"".join(encode("GET", "big") for _ in range(20)) + encode("PING") + b"*2\r\n$3\r\nGET\r\n$100\r\nhalf")
        c.close()
    with p.client() as c:
        equal(len(c.cmd("GET", "big")), 3000000)


def main():
    with Redis() as redis, Purserd({"backend main.plugin": "redis", "backend main.url": redis.url}) as p:
        in_flight(redis, p)
        not_read(p)
    with Purserd(name="memory") as p:
        not_read(p)


harness.run(main)
