#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An agent that is cut off from the store tells holders that their locks are lost before they are anybody else's; locks
that replicas have to know of are given only when they do."""

import os
import sys

import harness
import stage
from harness import check, equal, wait_until

sys.path.insert(0, os.path.join(harness.srcdir, "tests/chaos"))
import rig  # noqa: E402

SLOW_MS = 50  # of each way between the agent and the store


def cut_off():
    with harness.Redis() as redis, rig.Proxy(redis.sock, harness.seed()) as proxy, \
            harness.Purserd(rig.agent(proxy.url, log__level="info")) as p:
        p.allow('"level":"error"')
        a, b, direct = p.client(), p.client(), redis.client()
        a.cmd("HELLO", 3)
        p.client().cmd("PURSER.LOGLEVEL", "feature", "debug")
        proxy.set(delay=1000, delay_us=SLOW_MS * 1000)
        a.cmd("LOCK.ACQUIRE", "warm", 30000)  # the agent learns how far away the store is
        fence = a.cmd("LOCK.ACQUIRE", "l", 1500)[b"fence"]
        older = b.cmd("LOCK.ACQUIRE", "l2", 1500)[1]
        wait_until(lambda: '"event":"lock.renewed"' in p.log(), "a renewal")
        proxy.set(frozen=1)
        push = a.read()
        left = direct.cmd("PTTL", "psr:default:lock:l")
        equal(push, [b"lock.lost", b"l", b"%d" % fence, b"unreachable"], "push")
        check(left > 0, "told before it ran out", left)
        wait_until(lambda: b'"lock":"l2"' in p.log().encode() and '"event":"lock.lost"' in p.log().split('"lock":"l2"')[-1] or
                   direct.cmd("EXISTS", "psr:default:lock:l2") == 0, "the other one to be lost")
        wait_until(lambda: direct.cmd("EXISTS", "psr:default:lock:l") == 0, "it to run out")
        direct.cmd("SET", "psr:default:lock:l", "7 somebody 1 else", "PX", 60000)  # another agent has it now
        proxy.set(frozen=0)
        proxy.reset()
        proxy.cut()
        error = b.error("PING")
        check(error.word == "LOCKLOST" and str(older) in error.text, error.text)
        wait_until(lambda: p.client().cmd("SET", "k", 1) == "OK" if served(p) else False, "the agent to be served again")
        equal(a.error("LOCK.FENCE", "l", fence, "SET", "k", "v").word, "LOCKLOST", "refused by the agent itself")
        equal(direct.cmd("GET", "psr:default:lock:l"), b"7 somebody 1 else", "what it gave back was not its any more")
        equal(a.cmd("LOCK.ACQUIRE", "l", 1000), None, "somebody else's")


def served(p):
    with p.client() as c:
        c.send("GET", "k")
        return not isinstance(c.read(), harness.RespError)


def replicas():
    clock = stage.Clock()
    with stage.Server("primary", clock) as redis, stage.Server("replica", clock) as replica, \
            harness.Purserd({"backend main.plugin": "redis", "backend main.url": redis.url}, name="replicated") as p:
        c = p.client()
        c.cmd("HELLO", 3)
        e = c.error("LOCK.ACQUIRE", "r", 1000, "MINREPLICAS", 1)
        equal(e.word, "NOREPLICAS", "none")
        wait_until(lambda: redis.client().cmd("EXISTS", "psr:default:lock:r") == 0, "it to be given back")
        replica.client().cmd("REPLICAOF", "127.0.0.1", redis.port)
        wait_until(lambda: b"master_link_status:up" in replica.client().cmd("INFO", "replication"), "the replica")
        check(c.cmd("LOCK.ACQUIRE", "r", 10000, "MINREPLICAS", 1)[b"fence"])
        equal(replica.client().cmd("EXISTS", "psr:default:lock:r"), 1, "the replica has it by then")
        equal(c.error("LOCK.ACQUIRE", "r2", 1000, "MINREPLICAS", 2).word, "NOREPLICAS", "too few")


def main():
    cut_off()
    replicas()


harness.run(main)
