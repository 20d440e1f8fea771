#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Random runs: processes on two agents take locks while they, the agents, their links, the store and its clock are
troubled; then the store fails over.  The history must keep the rules of history.py.  make check-locks SECONDS=600"""

import collections
import os
import random

import harness
import history
import stage
from harness import LONG, check

ORDINARY = ["kill_actor", "stop_actor", "partition", "cut", "stop_agent", "kill_agent", "stop_store", "clock_back"]
LOOSE = ["failover", "clock_forward", "kill_actor", "partition", "cut"]


def one(seed, seconds):
    rng = random.Random(seed)
    with stage.Stage(rng) as s:
        s.play(seconds, ORDINARY)
        s.play(seconds / 3, LOOSE)
    events = s.history()
    found = history.check(events)
    said = collections.Counter(e["what"] for e in events)
    print(f"seed {seed}: {said['acquired']} acquired, {said['fenced']} writes accepted, {said['refused']} refused, "
          f"{said['gone']} lost, {dict(sorted(s.troubles.items()))}" + ("" if s.clock.works else " (the clock cannot be set)"))
    if found:
        where = os.path.join(harness.tmp(), "history.json")
        with open(where, "w", encoding="utf-8") as f:
            f.write("\n".join(map(str, sorted(events, key=lambda e: e["at"]))))
        raise harness.Failure(f"seed {seed}: {len(found)} violations, the first: {found[0]}\nhistory: {where}")
    check(said["acquired"] > 20 and said["fenced"] > 10, "too little happened to prove anything", said)
    return said


def main():
    seconds = float(os.environ.get("PURSER_SECONDS") or (60 if LONG else 4))
    seed = harness.seed()
    done = 0.0
    while done < seconds:
        turn = min(seconds, 20.0)
        one(seed, turn * 0.75)
        done += turn
        seed += 1


harness.run(main)
