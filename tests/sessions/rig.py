# SPDX-License-Identifier: Apache-2.0
"""Five clients at random against purserd, whose clock and whose store's clock the test sets; every reply is held against
the model (model.py), and what is in the store against the rules of its indexes.

    Rig(backend).play(seed, rounds)

A round: up to three clients send one command each before any reply is read.  Some die with what they sent; now and then the
agent is killed (redis: its sessions stay) or the clock jumps.  Environment: PURSER_SEED, PURSER_SECONDS.
"""

import mmap
import os
import random
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import Failure, Purserd, Redis, RespError, check, wait_until
from model import Unknown, World, handle_of

USERS = (b"", b"anna", b"ben", b"\xff\n:*")
CONFIG = """[agent]
mode = development
[backend main]
plugin = {plugin}
{url}
[project p]
[project raw]
isolation = off
"""
# All that the store holds of sessions, in one step.
RAW = """
local out = {}
for _, k in ipairs(redis.call('KEYS', 'psr:p:sess*')) do
    local kind = redis.call('TYPE', k).ok
    local v = kind == 'hash' and redis.call('HGETALL', k) or kind == 'zset' and redis.call('ZRANGE', k, 0, -1, 'WITHSCORES') or {}
    out[#out + 1] = {k, kind, redis.call('PEXPIRETIME', k), v}
end
return out
"""


class Clock:
    """What the programs under test take for the time."""

    def __init__(self):
        path = os.path.join(harness.tmp(), "clock")
        with open(path, "wb") as f:
            f.write(bytes(8))
        self.f = open(path, "r+b")  # pylint: disable=consider-using-with
        self.m = mmap.mmap(self.f.fileno(), 8)
        self.ahead = 0
        library = os.path.join(harness.builddir, "tests/sessions/.libs/clock.so")
        check(os.path.exists(library), f"{library} is not there: make check builds it")
        os.environ.update(PURSER_TEST_CLOCK=path, LD_PRELOAD=library,
                          ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0")

    def jump(self, ms):
        self.ahead += ms
        self.m[:8] = struct.pack("=q", self.ahead)

    def now(self):
        return int(time.time() * 1000) + self.ahead


def named(reply):
    """A map of RESP2 as a dict; the elements of a list, too."""
    if isinstance(reply, RespError):
        return reply.text
    if isinstance(reply, list) and reply and isinstance(reply[0], bytes):
        return {k.decode(): v for k, v in zip(reply[::2], reply[1::2])}
    return [named(e) for e in reply] if isinstance(reply, list) else reply


class Rig:
    def __init__(self, backend, url=None, redis=None, clock=None):
        self.clock = clock or Clock()  # before the first server: it hands them the time
        self.redis = redis or (Redis().start() if backend == "redis" else None)
        url = url or (self.redis.url if self.redis else "")
        self.agent = Purserd(config=CONFIG.format(plugin=backend, url="url = " + url if url else "")).start()
        self.clients = [None] * 5
        self.connect()
        self.ops = self.killed = self.restarts = 0

    def connect(self):
        for i in range(len(self.clients)):
            self.renew(i)
        # the store itself
        self.raw = self.redis.client() if self.redis else self.agent.client()
        if not self.redis:
            self.raw.cmd("PURSER.PROJECT", "raw")

    def renew(self, i):
        self.clients[i] = self.agent.client()
        self.clients[i].cmd("PURSER.PROJECT", "p")

    def close(self):
        for c in self.clients + [self.raw]:
            c.close()
        self.agent.stop()
        if self.redis:
            self.redis.stop()

    # ---- a run ----

    def play(self, seed, rounds=None, seconds=None, kills=True):
        self.rnd = random.Random(seed)
        self.worlds = [(World(), frozenset())] # with the operations of dead clients that have not run in it
        self.known = 0           # of self.pending
        self.ids = []            # every id that was ever heard, newest last
        self.pending = []        # [op, rounds to go]: of clients that died
        self.log = []
        end = time.monotonic() + (seconds or 1e9)
        n = 0
        while n < (rounds or 1e9) and time.monotonic() < end:
            n += 1
            self.round(kills)
            if n % 8 == 0:
                self.look()
            if kills and self.redis and n % 400 == 200:
                self.crash()
        self.finish()
        return n

    def some_id(self):
        r = self.rnd
        if not self.ids:
            return b"A" * 43
        return r.choice(self.ids[-6:] if r.random() < 0.8 else self.ids)

    def choose(self):
        """An operation of the model, and its words."""
        r, user = self.rnd, self.rnd.choice(USERS)
        kind = r.choices(("create", "get", "update", "extend", "rotate", "destroy", "destroyuser", "list", "stats", "cleanup"),
                         (16, 28, 22, 5, 8, 6, 5, 8, 3, 3))[0]
        sid = self.some_id()
        h = handle_of(sid)
        if kind == "create":
            idle, end = r.choice((1000, 20000, 60000, 60000)), r.choice((0, 0, 30000, 100000))
            data = r.choice(({}, {"a": 1}, {"a": [1, "\u00e9"], "b\"\\\n": None, "c": {"x": None}}))
            words = [user, idle]
            options = [["ABS", end]] if end else []
            options += [["DATA", harness.json.dumps(data)]] if data else []
            r.shuffle(options)
            return ("create", user, idle, end, data), ["SESSION.CREATE", *words, *(w for o in options for w in o)]
        if kind == "get":
            touch = r.random() < 0.8
            return ("get", h, touch), ["SESSION.GET", sid] + ([] if touch else ["notouch"])
        if kind == "update":
            fields = {r.choice("abcd"): r.choice((None, r.randrange(9), "x", [True])) for _ in range(r.randrange(1, 3))}
            version = r.randrange(1, 5) if r.random() < 0.4 else 0
            words = [w for k, v in fields.items() for w in (k, harness.json.dumps(v))]
            return ("update", h, fields, version), ["SESSION.UPDATE", sid, *words] + (["IFVER", version] if version else [])
        if kind == "extend":
            ms = r.choice((500, 30000, 90000))
            return ("extend", h, ms), ["SESSION.EXTEND", sid, ms]
        if kind == "rotate":
            to = user if r.random() < 0.4 else None
            return ("rotate", h, to), ["SESSION.ROTATE", sid] + ([] if to is None else ["USER", to])
        if kind == "destroy":
            return ("destroy", h), ["SESSION.DESTROY", sid]
        user = user or USERS[1]
        if kind == "destroyuser":
            but = r.random() < 0.5
            return ("destroyuser", user, h if but else None), ["SESSION.DESTROYUSER", user] + (["EXCEPT", sid] if but else [])
        if kind == "list":
            return ("list", user), ["SESSION.LIST", user, "LIMIT", 1000]
        return (kind,), ["SESSION." + kind.upper()]

    def round(self, kills):
        r = self.rnd
        if r.random() < 0.25:
            self.clock.jump(r.choice((1, 40, 150, 900, 3000, 7000, 25000, 200000 if r.random() < 0.1 else 10)))
        who = r.sample(range(len(self.clients)), r.choice((1, 1, 2, 3)))
        ops = [self.choose() for _ in who]
        t0 = self.clock.now() - 2
        for i, (_, words) in zip(who, ops):
            self.clients[i].send(*words)
        asked = []
        for i, (op, words) in zip(who, ops):
            if kills and r.random() < 0.06 and not self.pending:
                self.clients[i].close()
                self.renew(i)
                self.killed += 1
                self.pending.append([op, 15])
                self.log.append(("killed", words))
                continue
            reply = named(self.clients[i].read())
            self.log.append((words, reply))
            if isinstance(reply, dict) and "id" in reply:
                self.ids.append(reply["id"])
            asked.append((op, reply))
            self.ops += 1
        self.settle(asked, (t0, self.clock.now() + 2))

    def settle(self, asked, t):
        """What the worlds become: the answered operations in any order, those of the dead anywhere or not at all."""
        found = {}

        def go(world, left, dead):
            if not left:
                self.add(found, world.later(t[0]), dead)
            for k, (op, reply) in enumerate(left):
                for w in world.apply(op, t, reply):
                    go(w, left[:k] + left[k + 1:], dead)
            for k in dead:
                for w in world.apply(self.pending[k][0], t, Unknown):
                    if w is not world:
                        go(w, left, dead - {k})

        new = frozenset(range(self.known, len(self.pending)))
        for world, dead in self.worlds:
            go(world, asked, dead | new)
        if not found:
            raise Failure("no history explains what happened last:\n" + "\n".join(map(repr, self.log[-25:])) +
                          f"\nat {t}; the worlds before were\n" + "\n".join(repr(w.key()) for w, _ in self.worlds[:3]))
        check(len(found) < 3000, "too many histories: the test has lost its way")
        self.worlds, self.known = list(found.values()), len(self.pending)
        self.forget()

    @staticmethod
    def add(worlds, world, dead):
        key = (world.key(), dead)
        worlds[key] = (worlds[key][0].hull(world) if key in worlds else world, dead)

    def forget(self):
        """What has not run by now will not: it is decided."""
        for p in self.pending:
            p[1] -= 1
        old = [k for k, p in enumerate(self.pending) if p[1] <= 0]
        if not old:
            return
        keep = [k for k in range(len(self.pending)) if k not in old]
        worlds = {}
        for world, dead in self.worlds:
            dead = frozenset(keep.index(k) for k in dead if k in keep)
            self.add(worlds, world, dead)
        self.pending = [self.pending[k] for k in keep]
        self.worlds, self.known = list(worlds.values()), len(self.pending)

    def crash(self):
        """The agent dies with what its clients have sent."""
        ops = [self.choose() for _ in self.clients[:3]]
        t0 = self.clock.now() - 2
        for c, (_, words) in zip(self.clients, ops):
            c.send(*words)
        self.agent.kill()
        self.agent.start()
        self.restarts += 1
        self.connect()
        for op, words in ops:
            self.log.append(("with the agent", words))
            self.pending.append([op, 25])
        self.settle([], (t0, self.clock.now() + 2))
        # nothing of it can run any more
        for p in self.pending:
            p[1] = 0
        self.forget()

    # ---- the store ----

    def look(self):
        t0 = self.clock.now()
        raw = self.raw.cmd("EVAL", RAW, 0)
        t1 = self.clock.now()
        hashes = {}
        for key, kind, end, value in raw:
            check(end > 0, f"{key!r} would stay for ever")
            if kind == b"hash":
                hashes[key.rpartition(b":")[2]] = (end, dict(zip(value[::2], value[1::2])))
        for key, kind, end, value in raw:
            if kind != b"zset":
                continue
            scores = {m: int(s) for m, s in zip(value[::2], value[1::2])}
            every = key.startswith(b"psr:p:sess-all:")
            check(end == max(scores.values()) + (60000 if every else 0), f"{key!r} ends at {end}, its members {scores}")
            for m, score in scores.items():
                if score > t1:
                    check(m in hashes and b"v" in hashes[m][1], f"{key!r} has {m!r}, which is no session")
                    exp = int(hashes[m][1][b"exp"])
                    check(exp == score and hashes[m][0] == exp - 1, f"{m!r} ends at {hashes[m]}, in {key!r} at {score}")
                    check(every or hashes[m][1][b"uid"] == key[len(b"psr:p:sess-u:"):], f"{m!r} is in {key!r}, of {hashes[m]}")
        index = {key: set(value[::2]) for key, kind, _, value in raw if kind == b"zset"}
        for h, (end, fields) in hashes.items():
            if b"v" not in fields:
                check(set(fields) == {b"rot"} and end <= t1 + 10000, f"{h!r} is no session: {fields}")
            elif int(fields[b"exp"]) > t1:
                check(h in index.get(b"psr:p:sess-all:0", ()), f"{h!r} is in no index")
                check(not fields[b"uid"] or h in index.get(b"psr:p:sess-u:" + fields[b"uid"], ()), f"{h!r} is in no index of its user")
        live = max(sum(s.may_live((t0 - 2, t1)) for s in (*w.sessions.values(), *w.ghosts)) for w, _ in self.worlds)
        there = sum(b"v" in f and int(f[b"exp"]) > t1 for _, f in hashes.values())
        check(there <= live, f"{there} sessions are in the store, and {live} can be")
        for key, members in index.items():
            fresh = sum(1 for m in members if m in hashes and b"v" in hashes[m][1] and int(hashes[m][1][b"exp"]) > t1)
            check(fresh <= live, f"{key!r} has {fresh} live members, of {live} sessions")

    def finish(self):
        """When all time has passed nothing is left, although nobody has cleaned up, and nothing can be read."""
        self.clock.jump(300000)
        wait_until(lambda: not self.raw.cmd("EVAL", RAW, 0), "every key to go")
        for sid in self.ids[-50:]:
            self.clients[0].send("SESSION.GET", sid)
            reply = self.clients[0].read()
            check(isinstance(reply, RespError) and reply.word == "SESSIONGONE", f"{sid!r} is read after its time: {reply!r}")


def main(backend):
    seconds = float(os.environ.get("PURSER_SECONDS") or 0) or (60 if harness.LONG else 0)

    def test():
        rig = Rig(backend)
        n = rig.play(harness.seed(), rounds=None if seconds else 700, seconds=seconds or None)
        print(f"{n} rounds, {rig.ops} answers, {rig.killed} clients died, the agent {rig.restarts} times")
        rig.close()

    harness.run(test)
