#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Lists, sets, sorted sets, streams, bitmaps, HyperLogLog, geo, SORT, DUMP: random commands in two projects over one
redis-server, each against a redis-server of its own as the model.  Replies byte for byte but where two correct servers
differ: what a hash table orders is sorted, what is random is followed, idle times are left out."""

import os
import random
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import check, encode, equal

CONFIG = """
[backend main]
plugin = redis
url = {url}
[backend scratch]
plugin = memory
[project one]
backend = main
[project two]
backend = main
key_prefix = b!:
[project here]
backend = scratch
"""
PREFIX = {"one": b"proj:one:", "two": b"b!:"}
EXACT, SORTED, TIMES = range(3)
SECONDS = 300 if harness.LONG else 4


class Raw(harness.Client):
    """A connection whose replies are bytes."""

    def reply(self):
        out, left = [], 1
        while left:
            line = self._line()
            kind = line[:1]
            out.append(line + b"\r\n")
            left -= 1
            if kind in b"$=!" and line[1:2] != b"-":
                out.append(self._exactly(int(line[1:]) + 2))
            elif kind in b"*~%" and line[1:2] != b"-":
                left += int(line[1:]) * (2 if kind == b"%" else 1)
        return b"".join(out)

    def ask(self, *words):
        self.send(*words)
        return self.reply()


def elements(raw):
    """The elements of an aggregate, sorted; its header first."""
    class Text(Raw):
        def __init__(self, data):
            import io
            self.f = io.BytesIO(data)

    head, _, rest = raw.partition(b"\r\n")
    if raw[:1] not in b"*~" or head[1:2] == b"-":
        return raw
    t = Text(rest)
    return [head] + sorted(t.reply() for _ in range(int(head[1:])))


def comparable(rule, raw):
    if rule == SORTED:
        return elements(raw)
    if rule == TIMES:
        raw = re.sub(rb":\d{12,}\r\n", b":T\r\n", raw)
        raw = re.sub(rb"(idle\r\n):\d+\r\n", rb"\1:T\r\n", raw)
        return re.sub(rb":\d+\r\n(:\d+\r\n)", rb":T\r\n\1", raw)
    return raw


class Generator:
    def __init__(self, rng):
        self.rng = rng
        self.id = 100
        # Names and values that look like a prefix, an option, a number.
        self.keys = {
            "l": ["l0", "l1", "store", "proj:one:l3", "b!:l4", "l 5\r\n", ""],
            "s": ["s0", "s1", "s2", "STORE", "proj:one:s"],
            "z": ["z0", "z1", "weights", "limit", "b!:z"],
            "y": ["y0", "BYLEX"],  # all of one score: what BYLEX means otherwise depends on chance
            "x": ["x0", "x1", "STREAMS", "2"],
            "b": ["b0", "b1", "b2"],
            "h": ["h0", "h1", "h2"],
            "g": ["g0", "g1", "storedist"],
        }

    def key(self, kind):
        return "str" if self.rng.random() < 0.02 else self.rng.choice(self.keys[kind])

    def own(self, kind):
        return self.rng.choice(self.keys[kind])

    def many(self, kind, most=3):
        return [self.key(kind) for _ in range(self.rng.randint(1, most))]

    def counted(self, kind):
        keys = self.many(kind)
        n = len(keys) if self.rng.random() < 0.96 else self.rng.choice([0, -1, len(keys) + 1, "x", "+1", "01"])
        return [n] + keys

    def value(self):
        r = self.rng
        return r.choice([r.randint(0, 9), r.randint(-99, 999), "a", "b", "proj:one:l0", "b!:z", "x" * r.randint(0, 90), "\r\n$1\r\n"])

    def values(self, most=5):
        return [self.value() for _ in range(self.rng.randint(1, most))]

    def member(self):
        return self.rng.choice([self.rng.randint(0, 9), "m", "proj:one:m", "b!:", "long" * 20])

    def members(self, most=4):
        return [self.member() for _ in range(self.rng.randint(1, most))]

    def index(self):
        return self.rng.randint(-6, 6)

    def score(self):
        r = self.rng
        return r.choice([r.randint(-5, 5), r.uniform(-9, 9), "inf", "-inf", "1e3"])

    def some(self, *options):
        chosen = [o for o in options if self.rng.random() < 0.4]
        self.rng.shuffle(chosen)
        return [w for o in chosen for w in o]

    def one(self, *options):
        return list(self.rng.choice(options))

    # ---- each answers (words, rule)

    def lists(self):
        r, key, own = self.rng, lambda: self.key("l"), lambda: self.own("l")
        side = lambda: r.choice(["LEFT", "right"])
        return self.one(
            (r.choice(["LPUSH", "RPUSH", "LPUSHX", "RPUSHX"]), key(), *self.values()),
            ("RPUSH", own(), *[r.randint(0, 99) for _ in range(r.choice([3, 30, 300]))]),
            (r.choice(["LPOP", "RPOP"]), key()),
            (r.choice(["LPOP", "RPOP"]), key(), r.randint(-1, 5)),
            ("LLEN", key()), ("LRANGE", key(), self.index(), self.index()), ("LINDEX", key(), self.index()),
            ("LSET", key(), self.index(), self.value()), ("LREM", key(), r.randint(-2, 2), self.value()),
            ("LTRIM", key(), r.randint(0, 2), r.randint(-3, 40)), ("LINSERT", key(), r.choice(["before", "AFTER"]), self.value(), self.value()),
            ("LPOS", key(), self.value(), *self.some(["RANK", self.index()], ["COUNT", 2], ["MAXLEN", 9])),
            ("LMOVE", key(), own(), side(), side()), ("RPOPLPUSH", key(), own()),
            ("LMPOP", *self.counted("l"), side(), *self.some(["COUNT", r.randint(0, 4)])),
            ("DEL", own()), ("TYPE", key()), ("OBJECT", "ENCODING", key())), EXACT

    def sets(self):
        r, key, own = self.rng, lambda: self.key("s"), lambda: self.own("s")
        if r.random() < 0.25:
            return self.one(("SMEMBERS", key()), ("SUNION", *self.many("s")), ("SINTER", *self.many("s")), ("SDIFF", *self.many("s"))), SORTED
        return self.one(
            ("SADD", key(), *self.members()), ("SADD", own(), *[r.randint(0, 900) for _ in range(r.choice([3, 30, 600]))]),
            ("SREM", key(), *self.members()), ("SCARD", key()), ("SISMEMBER", key(), self.member()),
            ("SMISMEMBER", key(), *self.members()), ("SMOVE", key(), own(), self.member()),
            (r.choice(["SUNIONSTORE", "SINTERSTORE", "SDIFFSTORE"]), own(), *self.many("s")),
            ("SINTERCARD", *self.counted("s"), *self.some(["LIMIT", 2])), ("DEL", own())), EXACT

    def zsets(self):
        r, key, own = self.rng, lambda: self.key("z"), lambda: self.own("z")
        pairs = [w for m in self.members() for w in (self.score(), m)]
        scored = self.some(["WITHSCORES"])
        limit = self.some(["LIMIT", r.randint(0, 3), r.randint(-1, 4)])
        low, high = r.choice(["-inf", "(0", -3, 0, "x"]), r.choice(["+inf", 3, "(5", 0])
        lex = r.choice(["-", "[0", "(b"]), r.choice(["+", "[m", "(z"])
        by = self.one((0, -1), (1, 5), (low, high, "BYSCORE", *limit), (5, 1, "REV"))
        y = lambda: self.key("y")
        merge = self.some(["AGGREGATE", r.choice(["SUM", "MIN", "max"])])
        sources = self.counted("z")
        if r.random() < 0.3:
            sources = [2, self.own("z"), self.own("s")]
        if r.random() < 0.3:
            merge += ["WEIGHTS"] + [r.randint(-2, 3)] * (len(sources) - 1)
        return self.one(
            ("ZADD", key(), *self.some([r.choice(["NX", "XX"])], [r.choice(["GT", "LT"])], ["CH"]), *pairs),
            ("ZADD", own(), *pairs), ("ZADD", own(), *[w for i in range(r.choice([5, 200])) for w in (i % 17, f"e{i}")]),
            ("ZADD", key(), "INCR", self.score(), self.member()), ("ZINCRBY", key(), self.score(), self.member()),
            ("ZREM", key(), *self.members()), ("ZCARD", key()), ("ZSCORE", key(), self.member()), ("ZMSCORE", key(), *self.members()),
            (r.choice(["ZRANK", "ZREVRANK"]), key(), self.member()), ("ZCOUNT", key(), low, high), ("ZLEXCOUNT", y(), *lex),
            ("ZADD", self.own("y"), *[w for m in self.members(9) for w in (0, m)]), ("ZRANGE", y(), *lex, "BYLEX", *limit),
            ("ZRANGESTORE", self.own("y"), y(), *lex, "BYLEX", *limit),
            ("ZRANGE", key(), *by, *scored), ("ZRANGESTORE", own(), key(), *by),
            ("ZRANGEBYSCORE", key(), low, high, *scored, *limit), ("ZREVRANGEBYSCORE", key(), high, low, *scored, *limit),
            ("ZREVRANGE", key(), self.index(), self.index(), *scored), ("ZRANGEBYLEX", y(), *lex, *limit),
            ("ZREVRANGEBYLEX", y(), lex[1], lex[0], *limit), (r.choice(["ZPOPMIN", "ZPOPMAX"]), key(), *self.one((), (2,), (-1,))),
            ("ZMPOP", *self.counted("z"), r.choice(["MIN", "max"]), *self.some(["COUNT", r.randint(0, 3)])),
            ("ZREMRANGEBYRANK", key(), 3, -1), ("ZREMRANGEBYSCORE", key(), "(3", high), ("ZREMRANGEBYLEX", y(), "[m", "+"),
            (r.choice(["ZUNION", "ZINTER"]), *sources, *merge, *scored), ("ZDIFF", *sources, *scored),
            (r.choice(["ZUNIONSTORE", "ZINTERSTORE"]), own(), *sources, *merge), ("ZDIFFSTORE", own(), *sources),
            ("ZINTERCARD", *self.counted("z"), *self.some(["LIMIT", 2])), ("DEL", own()), ("OBJECT", "ENCODING", key())), EXACT

    def streams(self):
        r, key, own = self.rng, lambda: self.key("x"), lambda: self.own("x")
        self.id += r.randint(0, 2)
        some_id = r.choice([0, "-", f"{self.id - r.randint(0, 40)}-0", self.id - 3, "(5-0", "nonsense"])
        ids = [f"{self.id - r.randint(0, 30)}-{r.randint(0, 2)}" for _ in range(r.randint(1, 3))]
        group, consumer = r.choice(["g", "h", "none"]), r.choice(["c", "d", "proj:one:c"])
        fields = [w for _ in range(r.randint(1, 3)) for w in (self.member(), self.value())]
        trim = self.one(("MAXLEN", r.choice(["=", "~"]), r.randint(5, 150)), ("MINID", self.id - 60))
        keys = self.many("x")
        count = self.some(["COUNT", r.randint(1, 4)])
        if r.random() < 0.3:
            return self.one(
                ("XPENDING", key(), group, "-", "+", 9, *self.some([consumer])), ("XINFO", "CONSUMERS", key(), group),
                ("XINFO", "STREAM", key(), "FULL", *count), ("XPENDING", key(), group, "IDLE", 0, "-", "+", 3)), TIMES
        return self.one(
            ("XADD", key(), f"{self.id}-{r.randint(0, 9)}", *fields), ("XADD", own(), f"{self.id}-*", *fields),
            ("XADD", own(), f"{self.id}-*", *fields), ("XADD", own(), *trim, f"{self.id}-*", *fields),
            ("XADD", own(), "NOMKSTREAM", f"{self.id}-*", *fields), ("XLEN", key()),
            ("XRANGE", key(), some_id, "+", *count), ("XREVRANGE", key(), "+", some_id, *count), ("XDEL", key(), *ids),
            ("XTRIM", key(), *trim), ("XREAD", *count, "STREAMS", *keys, *[some_id] * len(keys)),
            ("xread", *count, "streams", *keys, *[0] * len(keys)), ("XREAD", "COUNT", 1, "STREAMS", "x0", "x1", "0-0"),
            ("XGROUP", "CREATE", key(), group, r.choice([0, "$"]), *self.some(["MKSTREAM"])),
            ("XGROUP", "CREATE", own(), "g", 0, "MKSTREAM"), ("XGROUP", "CREATECONSUMER", key(), group, consumer),
            ("XGROUP", "DELCONSUMER", key(), group, consumer), ("XGROUP", "SETID", key(), group, self.id - 20),
            ("XGROUP", "DESTROY", key(), "h"), ("XREADGROUP", "GROUP", group, consumer, *count, *self.some(["NOACK"]), "STREAMS", *keys, *[">"] * len(keys)),
            ("XREADGROUP", "GROUP", "g", consumer, *count, "STREAMS", own(), r.choice([">", 0])),
            ("XREADGROUP", "GROUP", "g", consumer, *count, "STREAMS", own(), ">"),
            ("XACK", key(), group, *ids), ("XPENDING", key(), group), ("XCLAIM", key(), group, consumer, 0, *ids, *self.some(["JUSTID"], ["FORCE"])),
            ("XAUTOCLAIM", key(), group, consumer, 0, 0, *count, *self.some(["JUSTID"])), ("XINFO", "GROUPS", key()),
            ("XINFO", "STREAM", key()), ("XSETID", own(), f"{self.id}-99"), ("XINFO", "HELP"), ("XGROUP", "HELP")), EXACT

    def strings(self):
        r, key = self.rng, lambda: self.key("b")
        kind = r.choice(["u8", "i5", "u63", "i64", "u1"])
        field = lambda: self.one(("GET", kind, r.randint(0, 99)), ("SET", kind, f"#{r.randint(0, 9)}", r.randint(-9, 99)),
                                 ("OVERFLOW", r.choice(["SAT", "FAIL", "WRAP"]), "INCRBY", kind, 8, r.randint(-300, 300)))
        unit = self.one((), ("BYTE",), ("bit",))
        pf = lambda: self.key("h")
        return self.one(
            ("SETBIT", key(), r.randint(0, 900), r.choice([0, 1, 1])), ("GETBIT", key(), r.randint(0, 900)), ("BITCOUNT", key()),
            ("BITCOUNT", key(), self.index(), self.index(), *unit), ("BITPOS", key(), r.choice([0, 1]), self.index(), self.index(), *unit),
            ("BITOP", r.choice(["AND", "or", "XOR"]), self.own("b"), *self.many("b")), ("BITOP", "NOT", self.own("b"), key()),
            ("BITFIELD", key(), *field(), *field()), ("BITFIELD_RO", key(), "GET", kind, 3), ("GET", key()), ("STRLEN", key()),
            ("PFADD", self.own("h"), *self.values(9)), ("PFADD", self.own("h"), *[r.randint(0, 9999) for _ in range(r.choice([5, 700]))]),
            ("PFCOUNT", *self.many("h")), ("PFMERGE", self.own("h"), *self.many("h")), ("PFADD", pf()), ("DUMP", pf()),
            ("DEL", self.own(r.choice("bh")))), EXACT

    def geo(self):
        r, key, own = self.rng, lambda: self.key("g"), lambda: self.own("g")
        at = (round(r.uniform(-20, 20), 3), round(r.uniform(-20, 20), 3))
        unit = r.choice(["km", "m", "mi", "ft"])
        order = self.some([r.choice(["ASC", "desc"])], ["COUNT", r.randint(1, 4), *self.some(["ANY"])])
        show = self.some(["WITHDIST"], ["WITHCOORD"], ["WITHHASH"])
        store = [r.choice(["STORE", "storedist"]), own()]
        centre = self.one(("FROMLONLAT", *at), ("FROMMEMBER", self.member()))
        shape = self.one(("BYRADIUS", 1500, unit), ("BYBOX", 900, 2500, unit))
        return self.one(
            ("GEOADD", key(), *at, self.member()), ("GEOADD", own(), *self.some(["CH"]), *at, self.member(), at[1], at[0], self.member()),
            ("GEOADD", own(), *at, self.member()), ("GEOPOS", key(), *self.members()), ("GEODIST", key(), self.member(), self.member(), unit),
            ("GEOHASH", key(), *self.members()), ("GEOSEARCH", key(), *centre, *shape, *order, *show),
            ("GEOSEARCHSTORE", own(), key(), *centre, *shape, *order, *self.some(["STOREDIST"])),
            ("GEORADIUS", key(), *at, 2000, unit, *order, *show), ("GEORADIUS", key(), *at, 2000, "km", *order, *store),
            ("GEORADIUS", key(), *at, 2000, "km", *store, "STORE", own()), ("GEORADIUS_RO", key(), *at, 900, unit, *show),
            ("GEORADIUSBYMEMBER", key(), self.member(), 2000, "km", *order, *self.one((), show, store)),
            ("GEORADIUSBYMEMBER_RO", key(), self.member(), 900, unit, *order, *show), ("GEORADIUS_RO", key(), *at, 9, "km", "STORE", own()),
            ("ZRANGE", key(), 0, -1), ("DEL", own())), EXACT

    def sort(self):
        r = self.rng
        kind = r.choice("lsz")
        gets = self.some(["GET", "w_*"], ["GET", "#"], ["get", "o_*->f"], ["GET", "nothing"])
        limit = self.some(["LIMIT", r.randint(-1, 2), r.randint(-1, 9)])
        order = self.some([r.choice(["ASC", "DESC"])])
        by = self.one((), ("BY", "w_*"), ("BY", "o_*->f"))
        store = ["STORE", self.own("l")]
        key = self.key(kind)
        ties = by if kind == "l" else ()  # texts that are equal stay as the hash table has them, but in a list
        if kind == "s":
            return self.one((("SORT", key, "BY", "nosort", *gets), SORTED), (("SORT", key, "ALPHA", *order, *limit, *gets), EXACT),
                            (("SORT", key, "ALPHA", *order, *limit, *gets, *store), EXACT), (("SORT", key, *by, *order, *limit, *gets), EXACT))
        return self.one(
            ("SORT", key, *by, *order, *limit, *gets), ("SORT", key, "BY", r.choice(["nosort", "#", "w_"]), *limit, *gets),
            ("SORT_RO", key, *ties, "ALPHA", *gets, *limit), ("SORT", key, "ALPHA", *ties, *order, *limit, *gets, *store),
            ("SORT", key, *store, "ALPHA", *store), ("SORT_RO", key, "ALPHA", *store), ("SORT", key, "BOGUS", *store)), EXACT

    def make(self):
        words, rule = self.rng.choices((self.lists, self.sets, self.zsets, self.streams, self.strings, self.geo, self.sort),
                                       (5, 4, 7, 8, 5, 4, 3))[0]()
        return list(words), rule

    def mangled(self):
        """A line with words lost, doubled, exchanged and put in: what Redis reads there as a key must be the project's."""
        r = self.rng
        words, _ = self.sort() if r.random() < 0.3 else self.geo() if r.random() < 0.3 else self.make()
        words = list(words)
        for _ in range(r.randint(1, 3)):
            at, other = r.randrange(1, len(words) + 1), r.randrange(1, len(words) + 1)
            kind = r.randrange(4)
            if kind == 0:
                words.insert(at, r.choice(["STORE", "store\0x", "storedist", "BY", "get", "LIMIT", "COUNT", "STREAMS", "GROUP", "NOACK",
                                           "ALPHA", "ANY", "w_*", "2", "1", "", "l0", "x0", "z0", "WEIGHTS"]))
            elif kind == 1 and len(words) > 2:
                del words[at % len(words) or 1]
            elif kind == 2:
                words.insert(at, words[other % len(words)])
            elif at < len(words) and other < len(words):
                words[at], words[other] = words[other], words[at]
        return [w for w in words if str(w).upper() != "BLOCK"]


class Pair:
    """A project's connection to the agent, and its model."""

    def __init__(self, agent, model, name, rng):
        self.agent, self.model, self.name = agent, model, name
        self.g = Generator(rng)
        self.commands = 0

    def fail(self, words, a, b):
        raise harness.Failure(f"project {self.name}, {words!r}\nagent {a[:1500]!r}\nredis {b[:1500]!r}")

    def both(self, *words, rule=EXACT):
        a, b = self.agent.ask(*words), self.model.ask(*words)
        if comparable(rule, a) != comparable(rule, b):
            self.fail(words, a, b)
        self.commands += 1
        return a

    def begin(self):
        self.both("FLUSHALL")
        self.both("SET", "str", "a string")
        for i in range(10):
            self.both("SET", f"w_{i}", (i * 7) % 10)
            self.both("HSET", f"o_{i}", "f", -i)

    def send(self, n):
        self.batch = [self.g.make() for _ in range(n)]
        data = b"".join(encode(*words) for words, _ in self.batch)
        self.model.raw(data)
        self.agent.raw(data)

    def compare(self):
        for words, rule in self.batch:
            a, b = self.agent.reply(), self.model.reply()
            if comparable(rule, a) != comparable(rule, b):
                self.fail(words, a, b)
        self.commands += len(self.batch)

    def pop(self):
        """SPOP is random: the model removes the same members."""
        r = self.g.rng
        words = ["SPOP", self.g.key("s")] + ([r.randint(0, 4)] if r.random() < 0.5 else [])
        self.agent.send(*words)
        got = self.agent.read()
        if isinstance(got, harness.RespError) or not got:
            self.model.send(*words)
            equal(self.model.read(), got, words)
            return
        got = got if isinstance(got, list) else [got]
        self.model.send("SREM", words[1], *got)
        equal(self.model.read(), len(got), words)

    def drawn(self):
        """SRANDMEMBER and ZRANDMEMBER: members, and as many as must be."""
        r = self.g.rng
        name, kind, members = r.choice([("SRANDMEMBER", "s", ("SMEMBERS",)), ("ZRANDMEMBER", "z", ("ZRANGE", 0, -1))])
        key, n = self.g.own(kind), r.randint(-5, 5)
        self.agent.send(name, key, n)
        got = self.agent.read()
        self.model.send(members[0], key, *members[1:])
        there = self.model.read()
        check(all(m in there for m in got), name, key, n, got, there)
        equal(len(got), 0 if not there else -n if n < 0 else min(n, len(there)), [name, key, n])

    def scanned(self):
        name, kind = self.g.rng.choice([("SSCAN", "s"), ("ZSCAN", "z")])
        key, found = self.g.own(kind), []
        for c in (self.agent, self.model):
            cursor, seen = b"0", set()
            while True:
                c.send(name, key, cursor, "COUNT", 7)
                cursor, part = c.read()
                step = 1 if name == "SSCAN" else 2
                seen |= {tuple(part[i:i + step]) for i in range(0, len(part), step)}
                if cursor == b"0":
                    break
            found.append(seen)
        equal(*found, [name, key])

    def restored(self):
        kind = self.g.rng.choice("lzybhg")
        key, to = self.g.own(kind), self.g.own(kind)
        self.both("DUMP", key)
        self.model.send("DUMP", key)
        payload = self.model.read()
        if payload is None:
            return
        self.both("RESTORE", to, 0, payload, *self.g.some(["REPLACE"]))
        self.both("RESTORE", to, 0, payload[:-1], "REPLACE")
        self.both("RESTORE", to, -1, payload, "REPLACE")

    def singles(self):
        for what in (self.pop, self.pop, self.drawn, self.scanned, self.restored):
            what()
            self.commands += 1

    def escape(self, n):
        """Nothing that is sent shows or changes what is outside of the project."""
        lines = [self.g.mangled() for _ in range(n)]
        self.agent.raw(b"".join(encode(*words) for words in lines))
        for words in lines:
            a = self.agent.reply()
            check(SECRET.encode() not in a, f"project {self.name}, {words!r} shows", a[:1500])
        self.commands += n

    def end(self):
        """The same keys with the same contents."""
        self.both("KEYS", "*", rule=SORTED)
        for kind, keys in self.g.keys.items():
            for key in keys:
                if kind == "s":
                    self.both("SMEMBERS", key, rule=SORTED)
                elif kind == "x":
                    self.both("XRANGE", key, "-", "+")
                    self.both("XINFO", "STREAM", key, "FULL", rule=TIMES)
                else:
                    self.both("DUMP", key)


SECRET = "not-yours"


def bait(c):
    """Keys that no project has, named as the projects' own are: what a key without its prefix would hit."""
    c.cmd("FLUSHALL")
    for kind, keys in Generator(None).keys.items():
        for key in keys:
            c.cmd(*{"l": ("RPUSH", key, SECRET), "s": ("SADD", key, SECRET), "z": ("ZADD", key, 0, SECRET), "y": ("ZADD", key, 0, SECRET),
                    "x": ("XADD", key, "1-1", SECRET, SECRET), "b": ("SET", key, SECRET), "h": ("PFADD", key, SECRET),
                    "g": ("GEOADD", key, 1, 1, SECRET)}[kind])
    for i in range(10):
        c.cmd("SET", f"w_{i}", SECRET)
        c.cmd("HSET", f"o_{i}", "f", SECRET)
    c.cmd("SET", "str", SECRET)
    return outside(c)


def outside(c):
    """What is in the store and in neither project."""
    keys = sorted(k for k in c.cmd("KEYS", "*") if not k.startswith((*PREFIX.values(), b"psr:")))
    return list(zip(keys, c.pipeline([("DUMP", k) for k in keys])))


def directed(p):
    """What a random line seldom says."""
    with p.client() as c, p.client() as other:
        c.cmd("HELLO", 3, "AUTH", "one", "x")
        other.cmd("AUTH", "two", "x")
        c.cmd("DEL", "x0", "l9", "z9")
        check(re.fullmatch(rb"\d{13}-\d+", c.cmd("XADD", "x0", "*", "f", "v")), "XADD *")
        check(c.cmd("XREAD", "STREAMS", "x0", 0)[b"x0"][0][1] == [b"f", b"v"], "XREAD in RESP3")
        c.cmd("RPUSH", "l9", "1", "2")
        equal(p.http("POST", "/v1/command", ["LMPOP", "1", "l9", "LEFT"], {"Purser-Project": "one"}).json(), {"result": ["l9", ["1"]]})
        reply = p.http("POST", "/v1/command", ["XREAD", "STREAMS", "x0", "0"], {"Purser-Project": "one"}).json()
        equal(reply["result"]["x0"][0][1], ["f", "v"], "XREAD over HTTP")
        # what SORT may read: its own project's weights, not another's
        other.cmd("SET", "secret_1", "9")
        c.cmd("RPUSH", "sorted", "1")
        for pattern in ("secret_*", "proj:two:secret_*", "b!:secret_*", "../b!:secret_*"):
            equal(c.cmd("SORT", "sorted", "GET", pattern), [None], pattern)
        c.cmd("DEL", "sorted", "x0")
        # the same from a store in the same process
        c.cmd("PURSER.PROJECT", "here")
        check(re.fullmatch(rb"\d{13}-\d+", c.cmd("XADD", "x", "*", "f", "v")), "XADD * in memory")
        equal(c.cmd("GEOADD", "g", "1", "1", "m"), 1)
        check(c.cmd("DUMP", "g")[:1] == b"\x11", "DUMP of a small sorted set")


def main():
    rng = random.Random(harness.seed())
    with harness.Redis() as store, harness.Redis(name="model1") as m1, harness.Redis(name="model2") as m2, \
            harness.Client(store.sock) as c, harness.Purserd(config=CONFIG.format(url=store.url)) as p:
        directed(p)
        before = bait(c)
        total, end = 0, time.monotonic() + SECONDS
        while True:
            for resp in (2, 3):
                pairs = [Pair(Raw(p.sock), Raw(m.sock), name, rng) for name, m in (("one", m1), ("two", m2))]
                for x in pairs:
                    x.agent.cmd("HELLO", resp, "AUTH", x.name, "x")
                    x.model.cmd("HELLO", resp)
                    x.begin()
                for _ in range(12):
                    for x in pairs:
                        x.send(rng.choice([1, 40, 150]))
                    for x in pairs:
                        x.compare()
                        x.singles()
                for x in pairs:
                    x.end()
                    x.escape(600)
                    total += x.commands
                    x.agent.close()
                    x.model.close()
            equal(outside(c), before, "what is outside of both projects")
            if time.monotonic() > end:
                break
        print(f"{total} commands", flush=True)


harness.run(main)
