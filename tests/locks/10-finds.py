#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The checker of histories finds what it is there for: errors written into a history by hand, and errors made in a
running store behind the agents' backs."""

import random
import time

import harness
import history
import stage
from harness import check, equal


def acquired(who, fence, sent, at, kind="write", until=None):
    return [{"what": "acquired", "who": who, "lock": "l", "fence": fence, "sent": sent, "at": at, "kind": kind},
            {"what": "valid", "lock": "l", "fence": fence, "until": until or at + 10, "at": 0}]


def fenced(fence, sent, at, before):
    return {"what": "fenced", "lock": "l", "fence": fence, "sent": sent, "at": at, "before": before}


def by_hand():
    a, b = acquired("a.1", 5, 1.0, 1.1), acquired("b.1", 6, 2.0, 2.1)
    release = {"what": "release", "who": "a.1", "lock": "l", "fence": 5, "at": 1.5, "own": True}
    late = {**release, "at": 2.5}
    good = {
        "released": a + b + [release],
        "killed": a + b + [{"what": "ended", "who": "a.*", "at": 1.9}],
        "closed": a + b + [{"what": "ended", "who": "a.1", "at": 1.9}],
        "told": a + b + [{"what": "lost", "who": "a.1", "lock": "l", "fence": 5, "reason": "gone", "at": 1.9}],
        "an agent told": a + b + [{"what": "gone", "lock": "l", "fence": 5, "at": 1.9}],
        "not valid any more": acquired("a.1", 5, 1.0, 1.1, until=2.0) + b,
        "readers": acquired("a.1", 5, 1.0, 1.1, "read") + acquired("b.1", 6, 2.0, 2.1, "read"),
        "behind a failover": a + b + [{"what": "loose", "at": 2.05}],
        "asked for at once": acquired("a.1", 6, 1.0, 3.0, until=1.2) + acquired("b.1", 5, 2.0, 2.1),
        "writes": [fenced(5, 1.0, 1.1, None), fenced(5, 1.2, 1.3, 5), fenced(6, 1.4, 1.5, 5)],
        "writes at once": [fenced(6, 1.0, 1.3, 5), fenced(5, 1.2, 1.4, None)],
        "a release in vain": [{**release, "own": False, "result": "not_held"}],
    }
    bad = {
        "overlap": [a + b, a + b + [late], acquired("a.1", 5, 1.0, 1.1, "read") + b, a + acquired("b.1", 6, 2.0, 2.1, "read"),
                    a + b + [{"what": "loose", "at": 2.3}], a + b + [{"what": "ended", "who": "a.2", "at": 1.9}],
                    a + b + [{**release, "own": False, "result": "held_by_other"}]],
        "is not above": [acquired("a.1", 5, 1.0, 1.1, until=1.2) + acquired("b.1", 4, 2.0, 2.1)],
        "was given to": [acquired("a.1", 5, 1.0, 1.1, until=1.2) + acquired("b.1", 5, 1.05, 2.1)],
        "replaced one": [[fenced(5, 1.0, 1.1, 6)]],
        "was accepted after": [[fenced(6, 1.0, 1.1, None), fenced(5, 1.2, 1.3, None)]],
        "given back before": [[{**release, "own": False, "result": "released"}]],
    }
    for what, events in good.items():
        equal(history.check(events), [], what)
    for what, cases in bad.items():
        for events in cases:
            check(any(what in f for f in history.check(events)), what, "was not found in", events, history.check(events))


def forget(s):
    """Locks vanish from the store while they are held."""
    s.now.client().cmd("DEL", *(f"psr:default:lock:{x}" for x in stage.LOCKS))
    time.sleep(0.02)


def unfence(s):
    """The store takes old fences again."""
    c = s.now.client()
    for x in stage.LOCKS:
        key = f"psr:default:fence:{x}"
        c.cmd("EVAL", "local r = redis.call('GET', KEYS[1]) if r then redis.call('SET', KEYS[1], string.match(r, '^%d+') .. ' 0') end", 1, key)
    time.sleep(0.001)


def rewind(s):
    """Counters are lost, the clock goes back an hour, and no agent remembers."""
    for a in s.agents:
        a.kill()
    s.clock.step(-3600_000)
    s.now.client().cmd("DEL", *(f"psr:default:{k}:{x}" for x in stage.LOCKS for k in ("fence", "lock")))
    for a in s.agents:
        a.start()
        s.debug(a)


def planted(plants):
    """Each plant goes on until the checker has found what it leads to."""
    with stage.Stage(random.Random(harness.seed()), actors=4) as s:
        for plant, want in plants:
            def found(plant=plant, want=want):
                for _ in range(20 if plant is not rewind else 0):
                    plant(s)
                return any(want in f for f in history.check(s.history()))
            equal([f for f in history.check(s.history()) if want in f], [], "before anything was planted")
            if plant is rewind:
                if not s.clock.works:
                    continue
                plant(s)
            harness.wait_until(found, f"the checker to find: {want}", 20)


def main():
    by_hand()
    planted([(forget, "overlap"), (unfence, "replaced one"), (rewind, "is not above")])


harness.run(main)
