#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""commands.def against a live redis-server 7.0: arity, flags, key positions and key specifications of every row,
and where the keys are in generated command lines."""

import os
import random
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import check, equal


def rows(c):
    """name: row, subcommands too."""
    found = {}
    for row in c.cmd("COMMAND"):
        for r in [row] + row[9]:
            found[r[0].decode()] = r
    return found


def plain(value):
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {plain(k): plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


def specs(row):
    return [dict(plain(s), flags=sorted(plain(s["flags"] if "flags" in s else s[b"flags"]))) for s in row[8]]


def table(agent, live):
    ours, theirs = rows(agent), rows(live)
    compared = 0
    for name, row in sorted(ours.items()):
        if "." in name:
            continue  # the agent's own
        want = theirs.get(name)
        if want is None:
            equal(name, "client|setinfo", "a row that Redis 7.0 does not have")
            continue
        equal(row[1], want[1], f"{name}: arity")
        if not row[9]:
            equal(sorted(row[2]), sorted(want[2]), f"{name}: flags")
        equal(row[3:6], want[3:6], f"{name}: first, last, step")
        equal(row[6], want[6], f"{name}: ACL categories")
        equal(row[7], want[7], f"{name}: tips")
        equal(specs(row), specs(want), f"{name}: key specifications")
        compared += 1
    check(compared > 200, "only", compared, "rows compared")


class Lines:
    """Valid command lines, with keys that look like options and numbers too."""

    def __init__(self, rng):
        self.rng = rng

    def word(self):
        return self.rng.choice(["k", "key2", "store", "STREAMS", "3", "BY", "limit", "count", "", "a b", "weights", "m\0n"])

    def words(self, least=1, most=4):
        return [self.word() for _ in range(self.rng.randint(least, most))]

    def some(self, *options):
        """Some of these options, each a list of words."""
        chosen = [o for o in options if self.rng.random() < 0.5]
        self.rng.shuffle(chosen)
        return [w for o in chosen for w in o]

    def counted(self):
        keys = self.words()
        return [len(keys)] + keys

    def streams(self):
        keys = self.words()
        return ["STREAMS"] + keys + ["0-0"] * len(keys)

    def make(self):
        r, w = self.rng, self.word
        radius = self.some(["WITHDIST"], ["COUNT", 3, "ANY"], ["asc"], [r.choice(["STORE", "storedist"]), w()])
        return r.choice([
            lambda: [r.choice(["LMPOP", "lmpop"])] + self.counted() + ["LEFT"] + self.some(["COUNT", 2]),
            lambda: ["ZMPOP"] + self.counted() + ["MAX"],
            lambda: [r.choice(["ZUNION", "ZINTER"])] + self.counted() + self.some(["AGGREGATE", "MIN"], ["WITHSCORES"]),
            lambda: ["ZDIFF"] + self.counted(),
            lambda: [r.choice(["SINTERCARD", "ZINTERCARD"])] + self.counted() + self.some(["LIMIT", 1]),
            lambda: [r.choice(["ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"]), w()] + self.counted() + self.some(["AGGREGATE", "MIN"]),
            lambda: ["XREAD"] + self.some(["COUNT", 2], ["BLOCK", 1]) + self.streams(),
            lambda: ["XREADGROUP", "GROUP", "g", "c"] + self.some(["COUNT", 2], ["NOACK"], ["BLOCK", 0]) + self.streams(),
            lambda: ["SORT", w()] + self.some(["BY", w()], ["GET", w()], ["GET", "#"], ["LIMIT", 0, 1], ["DESC"], ["store", w()]),
            lambda: ["SORT_RO", w()] + self.some(["BY", w()], ["GET", w()], ["LIMIT", 0, 1], ["ALPHA"]),
            lambda: ["GEORADIUS", w(), 1, 2, 3, "km"] + radius,
            lambda: ["GEORADIUSBYMEMBER", w(), "member", 3, "km"] + radius,
            lambda: ["BITOP", "AND", w()] + self.words(),
            lambda: [r.choice(["SUNIONSTORE", "PFMERGE", "PFCOUNT", "DEL", "SINTER"])] + self.words(2),
            lambda: [r.choice(["LMOVE", "lmove"]), w(), w(), "LEFT", "RIGHT"],
            lambda: ["XGROUP", r.choice(["CREATE", "SETID"]), w(), "g", "$"],
            lambda: ["XINFO", "STREAM", w(), "FULL"],
            lambda: ["OBJECT", "ENCODING", w()],
            lambda: ["GEOSEARCHSTORE", w(), w(), "FROMMEMBER", "m", "BYRADIUS", 1, "m"],
            lambda: ["ZRANGESTORE", w(), w(), 0, -1],
        ])()


def generic(row, rng):
    """The shortest line, or a longer one if there is one, of a row whose keys are at fixed places."""
    name, arity, step = row[0].decode(), row[1], max(row[5], 1)
    line = name.split("|")
    if line == ["pfmerge"]:  # it runs with one key, which COMMAND GETKEYS of the live server does not say
        arity -= 1
    n = abs(arity) + (rng.randint(0, 2) * step if arity < 0 else 0)
    return line + [f"w{i}" for i in range(len(line), n)]


def ambiguous(line):
    """A second STORE: COMMAND GETKEYS of the live server takes the first one, or what follows a key of that name.  What
    it executes is what the agent goes by; 26-types.py sees to that."""
    return line[0].startswith(("GEORADIUS", "SORT")) and sum(str(w).lower() in ("store", "storedist") for w in line) > 1


def flags(reply):
    """Those of a key are a set."""
    return [[k, sorted(f)] for k, f in reply] if isinstance(reply, list) else reply


def filtered(agent, live):
    """COMMAND LIST FILTERBY, of what both have."""
    both = {r.decode() for r in agent.cmd("COMMAND", "LIST")} & {r.decode() for r in live.cmd("COMMAND", "LIST")}
    check(len(both) > 250, len(both))
    asked = [("PATTERN", p) for p in ("*", "x*", "XINFO|*", "get", "[gs]et", "nope", "client|*")] + [("MODULE", "x")]
    asked += [("ACLCAT", c.decode()) for c in live.cmd("ACL", "CAT")] + [("aclcat", "GEO"), ("ACLCAT", "@geo"), ("ACLCAT", "")]
    for kind, what in asked:
        a, b = ({r.decode() for r in c.cmd("COMMAND", "LIST", "filterby", kind, what)} for c in (agent, live))
        equal(a & both, b & both, f"{kind} {what}")
    for words in (("x",), ("FILTERBY",), ("FILTERBY", "PATTERN"), ("FILTERBY", "NOPE", "x"), ("FILTERBY", "PATTERN", "a", "b")):
        equal(agent.error("COMMAND", "LIST", *words), live.error("COMMAND", "LIST", *words), words)


def positions(agent, live, seed):
    rng = random.Random(seed)
    lines = Lines(rng)
    made = [m for m in (lines.make() for _ in range(1500 if not harness.LONG else 100000)) if not ambiguous(m)]
    for row in rows(agent).values():
        name = row[0].decode()
        if row[3] and "." not in name and b"movablekeys" not in [f.encode() for f in row[2]]:
            made += [generic(row, rng) for _ in range(3)]
    for at in range(0, len(made), 500):
        part = made[at:at + 500]
        asked = [["COMMAND", "GETKEYS"] + m for m in part]
        for line, a, b in zip(part, agent.pipeline(asked), live.pipeline(asked)):
            equal(a, b, f"COMMAND GETKEYS {line!r}")
        asked = [["COMMAND", "GETKEYSANDFLAGS"] + m for m in part]
        for line, a, b in zip(part, agent.pipeline(asked), live.pipeline(asked)):
            equal(flags(a), flags(b), f"COMMAND GETKEYSANDFLAGS {line!r}")
    check(len(made) > 1500, "only", len(made), "lines")
    for line in (["LMPOP", "x", "a", "LEFT"], ["ZUNION", "0", "a"], ["ZUNION", "5", "a"], ["SINTERCARD", "-1", "a"], ["PING", "x"], ["NOPE", "x"], ["GET", "a", "b"]):
        equal(agent.error("COMMAND", "GETKEYS", *line), live.error("COMMAND", "GETKEYS", *line), line)


def refused():
    """refused.def: name of the row: error word."""
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "../../agent/command/refused.def"), encoding="utf-8") as f:
        found = dict(re.findall(r'^REFUSED\("([^"]+)", (\w+),', f.read(), re.M))
    return {k.lower(): "ERR" if v == "REDIS" else v for k, v in found.items()}


def nothing_forgotten(agent, live):
    """Every command of the live server is served or refused on purpose, never both."""
    ours, theirs, no = rows(agent), rows(live), refused()
    # Answered as an unknown subcommand, as a Redis without client-side caching answers it.
    unknown = {"client|" + s for s in ("tracking", "trackinginfo", "caching", "getredir")}
    # What the live server says of these depends on more than the name.
    own_words = {"cluster", "restore-asking"}
    for name in theirs:
        served, word = name in ours, no.get(name) or no.get(name.split("|")[0])
        if not served and not word and name in unknown:
            continue
        check(served or word, f"{name}: neither in commands.def nor in refused.def")
        check(not (served and name in no), f"{name}: in commands.def and in refused.def")
        if not served:
            equal(agent.error(*name.split("|"), "x").word, word, name)
            if word == "ERR" and name not in own_words:
                line = name.split("|") + ["x"] * (abs(theirs[name][1]) - len(name.split("|")))
                equal(agent.error(*line), live.error(*line), name)
    for name in no:
        check(name in theirs, f"{name}: Redis 7.0 does not have it")


def helped(agent):
    """HELP of a container that the agent answers names its subcommands, those that are served."""
    table = rows(agent)
    for name in ("client", "command", "config", "memory", "pubsub", "slowlog", "latency"):
        text = agent.cmd(name, "HELP")
        check(text[0].startswith(name.upper() + " <subcommand>"), text[0])
        for sub in table[name][9]:
            check(sub[0].decode().split("|")[1].upper() in text, name, sub[0], "is missing")


def main():
    with harness.Redis() as redis, harness.Purserd() as p, p.client() as agent, harness.Client(redis.sock) as live:
        version = live.cmd("INFO", "server").decode().split("redis_version:")[1].split("\r")[0]
        if not version.startswith("7.0."):
            harness.skip(f"redis-server is {version}; the table is that of 7.0")
        for c in (agent, live):
            c.cmd("HELLO", 3)
        table(agent, live)
        nothing_forgotten(agent, live)
        nothing_forgotten(agent, live)
        helped(agent)
        filtered(agent, live)
        positions(agent, live, harness.seed())


harness.run(main)
