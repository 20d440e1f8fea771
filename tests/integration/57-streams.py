#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Streams of the memory backend against a redis-server: the same random commands, in pipelines that fill blocks, in
both protocols.  Replies byte for byte but for times: since 1970 they are left out, idle ones too.  Long streams in
particular, because approximate trimming drops whole blocks and lag counts what was dropped."""

import random
import re
import time

import harness
from harness import Client, Purserd, Redis, check, encode, equal

SECONDS = 120 if harness.LONG else 4
KEYS = ["s1", "s1", "s1", "s2", "s2", "s3", "none", "str"]
HUGE = ["18446744073709551615-18446744073709551615", "18446744073709551615", "1-18446744073709551615", "9223372036854775807-0"]
ODD = ["", "1-", "-1", "1--1", "1--0", "+1", " 1", "1x", "abc", "99999999999999999999", "007", "1-007", "1-*", "$", ">", "(1",
       "1- -5", "x" * 130]


class Raw(Client):
    """A connection whose replies are bytes."""

    def reply(self):
        out, left = [], 1
        while left:
            line = self._line()
            kind = line[:1]
            out.append(line + b"\r\n")
            left -= 1
            if kind == b"$" and line[1:2] != b"-":
                out.append(self._exactly(int(line[1:]) + 2))
            elif kind in b"*~%" and line[1:2] != b"-":
                left += int(line[1:]) * (2 if kind == b"%" else 1)
        return b"".join(out)

    def ask(self, commands):
        self.raw(b"".join(encode(*c) for c in commands))
        return [self.reply() for _ in commands]


class Episode:
    def __init__(self, seed):
        self.r, self.top = random.Random(seed), 0

    def key(self):
        return self.r.choice(KEYS)

    def stream(self):
        return self.r.choice(["s1", "s2", "s3"])

    def group(self):
        return self.r.choice(["g1", "g1", "g2", "g3", "nog"])

    def consumer(self):
        return self.r.choice(["c1", "c2", "c3", "c4", ""])

    def id(self):
        d = self.r.random()
        if d < 0.85:
            return f"{self.r.randint(1, self.top // 5 + 3)}-{self.r.randrange(6)}" if d < 0.7 else str(self.r.randint(1, self.top // 5 + 3))
        return self.r.choice(HUGE + ["0", "0-0", "-", "+", "0-1"]) if d < 0.95 else self.r.choice(ODD)

    def ids(self):
        return [self.id() for _ in range(self.r.randint(1, 6))]

    def end(self):
        return ("(" if self.r.random() < 0.25 else "") + self.id() if self.r.random() < 0.75 else self.r.choice("-+")

    def number(self):
        return self.r.choice(["0", "1", "-5", "9223372036854775807", "-9223372036854775808", "x", "1.5", ""]) if \
            self.r.random() < 0.2 else str(self.r.randrange(60))

    def option(self, *options, chance=0.5):
        return self.r.choice(options) if self.r.random() < chance else []

    def new(self):
        if self.r.random() < 0.05:
            return self.id()
        self.top += self.r.choice([1, 1, 1, 2, 5, 7])
        return f"{self.top // 5 + 1}-*" if self.r.random() < 0.2 else f"{self.top // 5 + 1}-{self.top % 5}"

    def fields(self):
        r, out = self.r, []
        names = ["a", "b"] if r.random() < 0.6 else [str(r.choice(["x", "y", r.randrange(-5000, 200000)])) for _ in range(r.randint(1, 4))]
        for n in names:
            out += [n, r.choice([r.randrange(-100, 200), r.randrange(-2**63, 2**63), r.randrange(-2**17, 2**33), "v" * r.choice([0, 1, 63, 64]),
                                 "w" * r.choice([126, 127, 128, 300]) if r.random() < 0.9 else "z" * r.choice([1000, 4095, 4096, 17000])])]
        return out

    def trim(self):
        r = self.r
        what = ["MAXLEN", r.choice("=~~"), r.randrange(400)] if r.random() < 0.5 else \
            ["MINID", r.choice("=~~"), max(1, self.top // 5 - r.randrange(80))]
        if r.random() < 0.2:
            del what[1]
        return what + self.option(["LIMIT", self.number()], ["LIMIT", r.randrange(500)], ["MAXLEN", 5], ["JUNK"], chance=0.2)

    def streams(self, group):
        n = self.r.choice([1, 1, 1, 2, 3])
        after = [">", ">", ">", "0", "0", self.id()] if group else [self.id(), "$", "0"]
        return ["STREAMS"] + [self.stream() if self.r.random() < 0.9 else self.key() for _ in range(n)] + \
            [self.r.choice(after) for _ in range(n)]

    def commands(self):
        r, k, g = self.r, self.key(), self.group()
        of = [k, g, self.consumer()]
        count = self.option(["COUNT", self.number()], ["COUNT", r.randint(1, 20)])
        kind = r.randrange(24)
        if kind == 0:
            small = r.random() < 0.6  # 100 of them make a block, else 4 KiB do
            return [["XADD", k, self.new()] + (["a", i] if small else self.fields()) for i in range(r.randrange(1, 150))]
        if kind == 1:
            inner = [c for _ in range(3) for c in self.commands()[:3] if c[0] not in ("MULTI", "EXEC")]
            return [["MULTI"], *inner, ["EXEC"]] if r.random() < 0.5 else [["DEL", self.stream()]]
        return [r.choice({
            2: [["XADD", k] + self.option(["NOMKSTREAM"], self.trim()) + [self.new()] + self.fields()],
            3: [[r.choice(["XRANGE", "XREVRANGE"]), k, self.end(), self.end()] + count],
            4: [["XDEL", k] + self.ids()], 5: [["XTRIM", k] + self.trim()],
            6: [["XSETID", k, self.id()] + self.option(["ENTRIESADDED", self.number()], ["MAXDELETEDID", self.id()]), ["XLEN", k],
                ["XLEN", k], ["XLEN", k]],
            7: [["XREAD"] + count + self.streams(False)],
            8: [["XREADGROUP"] + self.option(["NOACK"], chance=0.2) + ["GROUP", *of[1:]] + count + self.streams(True)] * 2,
            9: [["XREADGROUP", "GROUP", *of[1:], "STREAMS", self.stream(), ">"]],
            10: [["XGROUP", "CREATE", k, g, r.choice([self.id(), "$", "0"])] + self.option(["MKSTREAM"], ["ENTRIESREAD", self.number()])],
            11: [["XGROUP", "SETID", k, g, r.choice([self.id(), "$", "0"])] + self.option(["ENTRIESREAD", self.number()]),
                 ["XGROUP", "DESTROY", k, g], ["XGROUP", r.choice(["CREATECONSUMER", "DELCONSUMER"]), *of]],
            12: [["XACK", k, g] + self.ids()], 13: [["XPENDING", k, g]],
            14: [["XPENDING", k, g] + self.option(["IDLE", r.choice(["0", "1000000"])]) + [self.end(), self.end(), self.number()] +
                 self.option([self.consumer()])],
            15: [["XCLAIM", *of, r.choice(["0", "0", "1000000", "x"])] + self.ids() +
                 self.option(["IDLE", "2000000"], ["TIME", "1"], ["RETRYCOUNT", self.number()], ["FORCE"], ["FORCE", "JUSTID"], ["JUNK"],
                             ["LASTID", self.id()], ["IDLE", "2000000", "FORCE", "RETRYCOUNT", "7"], chance=0.7)],
            16: [["XAUTOCLAIM", *of, r.choice(["0", "0", "1000000", "x"]), self.end()] + count + self.option(["JUSTID"], ["JUNK"])],
            17: [["COPY", k, self.stream(), "REPLACE"], ["RENAME", self.stream(), self.stream()], ["TYPE", k],
                 ["OBJECT", "ENCODING", k]],
            18: [["XINFO", "CONSUMERS", k, g]], 19: [["XINFO", "GROUPS", k]],
        }.get(kind, [["XINFO", "STREAM", k], ["XINFO", "STREAM", k, "FULL"], ["XINFO", "STREAM", k, "FULL", "COUNT", self.number()]]))]


def timeless(command, reply):
    out = re.sub(rb":1[789]\d{11}\r\n", b":TIME\r\n", reply)
    if command[0] in ("XINFO", "EXEC"):
        out = re.sub(rb"(idle\r\n):\d+\r\n", rb"\1:IDLE\r\n", out)
    if command[0] in ("XPENDING", "EXEC"):
        out = re.sub(rb"(\*4\r\n\$\d+\r\n\d+-\d+\r\n\$\d+\r\n[^\r]*\r\n):\d+\r\n", rb"\1:IDLE\r\n", out)
    return out


def episode(ours, theirs, seed):
    e, done = Episode(seed), []
    start = [["FLUSHDB"], ["HELLO", e.r.choice([2, 3])], ["SET", "str", "x"]]
    ours.ask(start)
    theirs.ask(start)
    for _ in range(40):
        batch = [c for _ in range(e.r.randint(1, 5)) for c in e.commands()]
        done += batch
        for c, x, y in zip(batch, ours.ask(batch), theirs.ask(batch)):
            if timeless(c, x) != timeless(c, y):
                print("\n".join(" ".join(map(str, d))[:150] for d in done[-30:]))
                equal(timeless(c, x), timeless(c, y), f"PURSER_SEED={seed}: {c}")
    return len(done)


def main():
    seed, n = harness.seed(), 0
    with Redis() as redis, Purserd(config="[backend main]\nplugin = memory\n") as p:
        with p.client() as c:  # its text is cut where the agent cuts all errors, and is what is answered
            for n in (*range(440, 530), 70000):
                equal(c.error("XREADGROUP", "GROUP", "g" * n, "c", "STREAMS", "none", ">").word, "NOGROUP", n)
        with Raw(p.sock) as ours, Raw(redis.sock) as theirs:
            until = time.monotonic() + SECONDS
            while n == 0 or time.monotonic() < until:
                n += episode(ours, theirs, seed)
                seed += 1
    check(n > 100, n)
    print(n, "commands")


harness.run(main)
