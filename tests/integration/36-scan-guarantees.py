#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What SCAN, HSCAN, SSCAN and ZSCAN promise, on the memory plugin: what is there from the first step to the last is
returned, however much the table grows and shrinks between steps and whoever else writes; and only what is asked for."""

import random
import threading

import harness
from harness import Purserd, check, equal

STAY = 200            # elements that are there all the time
MOST = 120000 if harness.LONG else 20000


class Others:
    """Another client, that writes to keys and elements of its own as fast as it can."""

    def __init__(self, p, seed):
        self.p, self.rng, self.stop, self.error = p, random.Random(seed), False, None
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            with self.p.client() as c:
                while not self.stop:
                    n = self.rng.randrange(300)
                    c.pipeline([("SET", f"other:{n}", n), ("DEL", f"other:{self.rng.randrange(300)}"), ("HSET", "hash", f"o{n}", n),
                                ("HDEL", "hash", f"o{self.rng.randrange(300)}"), ("SADD", "set", f"o{n}"),
                                ("SREM", "set", f"o{self.rng.randrange(300)}"), ("ZADD", "zset", n, f"o{n}"),
                                ("ZREM", "zset", f"o{self.rng.randrange(300)}"), ("EXPIRE", f"other:{n}", 100)])
        except Exception as e:  # shown by the test
            self.error = e

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop = True
        self.thread.join()
        check(self.error is None, "the other client:", self.error)


class Space:
    """Keys, or elements of one key: how to add, remove and scan them."""

    def __init__(self, kind, c):
        self.kind, self.c, self.n = kind, c, 0

    def command(self, adds, name):
        if self.kind == "keys":
            return ("SET", name, "v") if adds else ("DEL", name)
        verb, key = {"hash": ("H", "hash"), "set": ("S", "set"), "zset": ("Z", "zset")}[self.kind]
        if not adds:
            return ("HDEL" if verb == "H" else verb + "REM", key, name)
        return {"H": ("HSET", key, name, "v"), "S": ("SADD", key, name), "Z": ("ZADD", key, 1, name)}[verb]

    def to(self, n):
        """n elements beside those that stay."""
        moves = [self.command(True, f"go:{i}") for i in range(self.n, n)] + \
            [self.command(False, f"go:{i}") for i in range(n, self.n)]
        for at in range(0, len(moves), 2000):
            self.c.pipeline(moves[at:at + 2000])
        self.n = n

    def step(self, cursor, words):
        head = ("SCAN",) if self.kind == "keys" else ({"hash": "HSCAN", "set": "SSCAN", "zset": "ZSCAN"}[self.kind], self.kind)
        cursor, found = self.c.cmd(*head, cursor, *words)
        return cursor, found[::2] if self.kind in ("hash", "zset") else found


def grows_and_shrinks(space, rng):
    """The size between two steps: up and down by orders of magnitude."""
    sizes = [0, 10, 1000, MOST, 300, MOST // 10, 20, MOST // 3, 0]
    rng.shuffle(sizes)
    return sizes


def stays(space, rng, words, wanted):
    sizes = grows_and_shrinks(space, rng)
    space.to(rng.choice(sizes))
    cursor, seen, steps, resize = b"0", set(), 0, 1
    count = words[words.index("COUNT") + 1] if "COUNT" in words else 10
    while True:
        cursor, found = space.step(cursor, words)
        seen.update(found)
        steps += 1
        if cursor == b"0":
            break
        if sizes and steps >= resize:  # anywhere in what is still to come, at the size that it has now
            space.to(sizes.pop())
            resize = steps + rng.randrange(1, 2 + (space.n + STAY) // count)
    missing = wanted - seen
    check(not missing, space.kind, words, f"{len(missing)} of {len(wanted)} are missing after {steps} steps:", sorted(missing)[:5])
    return seen, steps


def one(p, kind, seed):
    rng = random.Random(f"{seed}/{kind}")
    with p.client() as c:
        space, steps = Space(kind, c), 0
        c.pipeline([space.command(True, f"stay:{i}") for i in range(STAY)])
        wanted = {b"stay:%d" % i for i in range(STAY)}
        for count in ((), ("COUNT", 3), ("COUNT", 100), ("COUNT", 5000)):
            seen, n = stays(space, rng, count, wanted)
            steps += n
            check(all(x.startswith((b"stay:", b"go:", b"o")) or x in (b"hash", b"set", b"zset") for x in seen), "strangers")
            if count == ("COUNT", 3) and not harness.LONG:
                continue
            seen, n = stays(space, rng, ("MATCH", "stay:*5", *count), {w for w in wanted if w.endswith(b"5")})
            steps += n
            check(all(x.startswith(b"stay:") and x.endswith(b"5") for x in seen), "MATCH", seen)
        space.to(0)
        print(kind, steps, "steps")


def types(p, seed):
    """TYPE, with and without MATCH."""
    rng = random.Random(f"{seed}/types")
    with p.client() as c:
        lists = {b"list:%d" % i for i in range(50)}
        c.pipeline([("RPUSH", k, "x") for k in lists])
        space = Space("keys", c)
        for words in (("TYPE", "list"), ("TYPE", "list", "COUNT", 300), ("COUNT", 50, "MATCH", "list:*", "TYPE", "list")):
            equal(stays(space, rng, words, lists)[0], lists)
        equal(stays(space, rng, ("TYPE", "list", "MATCH", "stay:*"), set())[0], set())
        space.to(0)


def main():
    seed = harness.seed()
    with Purserd() as p:
        with Others(p, seed):
            for kind in ("keys", "hash", "set", "zset"):
                one(p, kind, seed)
            types(p, seed)


harness.run(main)
