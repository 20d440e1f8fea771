# SPDX-License-Identifier: Apache-2.0
"""Runs a script of agent/feature/lua/ on a real redis-server and on purserd's memory backend, and compares.

    import luatest
    from luatest import equal

    def main(t):
        take = t.script("lock_take")                    # agent/feature/lua/lock_take.lua
        equal(take(["lock:a"], ["owner", 1000]), [1, b"x"])   # KEYS, ARGV: the reply, the same of both
        take.error(["lock:a"], [])                      # both must fail, with the same text
        t.cmd("HGET", "lock:a", "owner")                # an ordinary command on both, replies compared
        t.pttl("lock:a", 900, 1000)                     # the time left, on both, lies between
        t.now = 1700000000000                           # what TIME tells scripts from here (ms); None: the real one
        t.same()                                        # all keys, their types, values and whether they expire

    luatest.run(main)

Replies of two servers that tell real time differ: take(KEYS, ARGV, near=ms) lets numbers differ by as much.  t.cmd()
has near=, too.  Keys have ordinary names here: the project is not isolated.

main() runs twice: with the scripts as they are, by EVALSHA as the agent calls them (and once by EVAL), and with a mark
before each `return`, in an empty store.  A return of a script that the test names and no call of it has reached fails the test.
"""

import hashlib
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import Failure, RespError, check, equal, seed, wait_until  # noqa: F401 (what tests want beside)

DIR = os.path.join(harness.srcdir, "agent/feature/lua")
MARKS = b"luatest:marks"
TIME = re.compile(r"redis\.call\(\s*(['\"])TIME\1\s*\)", re.I)


def code_of(text):
    """The script with comments and the insides of strings blanked; every character stands where it stood."""
    def blank(m):
        s = m.group(0)
        return s if s[0] not in "'\"-" else "".join("\n" if c == "\n" else " " for c in s)
    return re.sub(r"--\[\[.*?\]\]|--[^\n]*|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"", blank, text, flags=re.S)


def returns(text):
    """(offset, line number) of each `return`."""
    return [(m.start(), text.count("\n", 0, m.start()) + 1) for m in re.finditer(r"\breturn\b", code_of(text))]


def marked(text):
    """The script with a call before each `return` that notes which one it is."""
    out, last = [], 0
    for i, (at, line) in enumerate(returns(text)):
        out += [text[last:at], f"redis.call('SADD', '{MARKS.decode()}', '{i}:{line}') "]
        last = at
    # a shebang line may forbid writes
    return re.sub(r"\A#![^\n]*", "", "".join(out) + text[last:])


def like(a, b, near):
    """Are the replies equal, numbers within near?"""
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(like(x, y, near) for x, y in zip(a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(like(a[k], b[k], near) for k in a)
    if a == b and type(a) is type(b):
        return True
    if near and type(a) is type(b) and not isinstance(a, (str, RespError)):
        try:
            return abs(float(a) - float(b)) <= near
        except (TypeError, ValueError):
            return False
    return False


class Script:
    """One file; call it with KEYS and ARGV."""

    def __init__(self, pair, name):
        self.pair, self.name = pair, name
        with open(os.path.join(DIR, name + ".lua"), encoding="utf-8") as f:
            self.text = f.read()
        self.reached, self.whole = set(), False

    def source(self):
        text = marked(self.text) if self.pair.marking else self.text
        if self.pair.now is None:
            return text
        s, ms = divmod(self.pair.now, 1000)
        return TIME.sub("{'%d', '%d'}" % (s, ms * 1000), text)

    def _ask(self, client, keys, argv):
        """EVALSHA, healed by SCRIPT LOAD; the very first time EVAL."""
        text = self.source()
        words = [len(keys), *keys, *argv]
        if not self.whole:
            client.send("EVAL", text, *words)
            return client.read()
        sha = hashlib.sha1(text.encode()).hexdigest()
        client.send("EVALSHA", sha, *words)
        reply = client.read()
        if isinstance(reply, RespError) and reply.word == "NOSCRIPT":
            equal(client.cmd("SCRIPT", "LOAD", text), sha.encode())
            client.send("EVALSHA", sha, *words)
            reply = client.read()
        return reply

    def ask(self, keys=(), argv=(), near=0):
        """The reply of both, be it an error (returned)."""
        a, b = (self._ask(c, list(keys), list(argv)) for c in self.pair.both)
        self.whole = True
        for c in self.pair.both:
            if self.pair.marking:
                self.reached |= set(c.cmd("SMEMBERS", MARKS))
                c.cmd("DEL", MARKS)
        if isinstance(a, RespError) and isinstance(b, RespError):
            a, b = (RespError(re.sub(r" script: [0-9a-f]{40}.*", "", e.text)) for e in (a, b))
        check(like(a, b, near), f"{self.name} {keys!r} {argv!r}: redis says {a!r}, memory {b!r}")
        return a

    def __call__(self, keys=(), argv=(), near=0):
        reply = self.ask(keys, argv, near)
        if isinstance(reply, RespError):
            raise reply
        return reply

    def error(self, keys=(), argv=()):
        reply = self.ask(keys, argv)
        check(isinstance(reply, RespError), f"{self.name} {keys!r} {argv!r} must fail, answered {reply!r}")
        return reply

    def missed(self):
        """The lines of returns that were not reached."""
        return [line for i, (_, line) in enumerate(returns(self.text)) if b"%d:%d" % (i, line) not in self.reached]


class Pair:
    """A redis-server and purserd with the memory plugin."""

    def __init__(self, redis, memory):
        self.redis, self.memory = redis.client(), memory.client()
        self.both = (self.redis, self.memory)
        self.now, self.marking, self.scripts = None, False, {}

    def script(self, name):
        return self.scripts.setdefault(name, Script(self, name))

    def cmd(self, *words, near=0):
        for c in self.both:
            c.send(*words)
        a, b = (c.read() for c in self.both)
        check(like(a, b, near), f"{words!r}: redis says {a!r}, memory {b!r}")
        if isinstance(a, RespError):
            raise a
        return a

    def pttl(self, key, least, most):
        for c, who in zip(self.both, ("redis", "memory")):
            got = c.cmd("PTTL", key)
            check(least <= got <= most, f"PTTL {key} on {who} is {got}, want {least}..{most}")

    @staticmethod
    def content(c, key):
        kind = c.cmd("TYPE", key)
        reads = {"string": ("GET", key), "hash": ("HGETALL", key), "list": ("LRANGE", key, 0, -1), "set": ("SMEMBERS", key),
                 "zset": ("ZRANGE", key, 0, -1, "WITHSCORES"), "stream": ("XRANGE", key, "-", "+")}
        value = c.cmd(*reads[kind])
        if kind == "hash":
            value = dict(zip(value[::2], value[1::2]))
        return kind, sorted(value) if kind == "set" else value, c.cmd("PTTL", key) >= 0

    def dump(self, c):
        return {k: self.content(c, k) for k in sorted(c.cmd("KEYS", "*"))}

    def same(self):
        """The stores hold the same; returns it: {key: (type, value, has it a TTL?)}."""
        a, b = (self.dump(c) for c in self.both)
        for k in sorted(set(a) | set(b)):
            check(a.get(k) == b.get(k), f"key {k!r}: redis holds {a.get(k)!r}, memory {b.get(k)!r}")
        return a

    def again(self, marking):
        for c in self.both:
            c.cmd("FLUSHALL")
        self.now, self.marking = None, marking
        for s in self.scripts.values():
            s.whole = False


def run(main):
    def both():
        with harness.Redis() as redis, harness.Purserd({"project default.isolation": "off", "agent.mode": "development"}) as memory:
            pair = Pair(redis, memory)
            for marking in (False, True):
                pair.again(marking)
                main(pair)
            check(pair.scripts, "a test of no script")
            for s in pair.scripts.values():
                check(s.whole, f"{s.name}.lua was never called")
                check(not s.missed(), f"{s.name}.lua: no call came to the return of line {s.missed()}")
            for c in pair.both:
                c.close()
    harness.run(both)
