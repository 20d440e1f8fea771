#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who waits on the memory plugin is served as redis-server serves it: scripted and random scenes run on both, over three
workers, and every reply, every client that goes on waiting and every event of a key is the same, byte for byte.  Then
producers and consumers, with consumers killed at random: nothing is lost and nothing comes twice, and who came first is
served first."""

import random
import select
import signal
import subprocess
import sys
import time

import harness
from harness import Purserd, Redis, check, equal, wait_until

CONFIG = """
[backend main]
plugin = memory
notify_keyspace_events = KEA
[project one]
backend = main
databases = 4
"""
SECONDS = 120 if harness.LONG else 4
NAMES = "ABCDEF"


class Raw(harness.Client):
    """A connection whose replies are bytes."""

    def read(self):
        out, left = [], 1
        while left:
            line = self._line()
            kind = line[:1]
            out.append(line + b"\r\n")
            left -= 1
            if kind in b"$=!" and line[1:2] != b"-":
                out.append(self._exactly(int(line[1:]) + 2))
            elif kind in b"*~>%" and line[1:2] != b"-":
                left += int(line[1:]) * (2 if kind == b"%" else 1)
        return b"".join(out)

    def waiting(self):
        """Nothing has come."""
        before = self.s.gettimeout()
        self.s.settimeout(0)
        try:
            return not self.f.peek(1)
        finally:
            self.s.settimeout(before)


class Stage:
    """A store with clients of names.  Those with a letter of even number speak RESP3."""

    def __init__(self, path, project=None):
        def connect(kind, resp=2):
            c = kind(path)
            c.send("HELLO", resp, *(("AUTH", project, "x") if project else ()))
            c.read()
            return c

        self.c = {n: connect(Raw, 2 + i % 2) for i, n in enumerate(NAMES)}
        self.seen = connect(harness.Client)
        self.ids = {}
        for n, c in self.c.items():
            c.send("CLIENT", "ID")
            self.ids[n] = int(c.read()[1:])
        self.events = connect(Raw)
        self.events.send("PSUBSCRIBE", "__keyevent@0__:*")
        self.events.read()

    def blocked(self):
        return int(self.seen.cmd("INFO", "clients").split(b"blocked_clients:")[1].split(b"\r")[0])

    def send(self, name, step):
        """A step is a list of commands, sent at once; "@B" is the number of client B."""
        self.c[name].raw(b"".join(harness.encode(*[self.ids[w[1:]] if str(w)[:1] == "@" else w for w in words]) for words in step))

    def close(self):
        for c in [*self.c.values(), self.seen, self.events]:
            c.close()


def impatient(step):
    """Its time runs out at once."""
    first = str(step[-1][0])
    if first.startswith("X"):
        return "BLOCK" in step[-1] and float(step[-1][step[-1].index("BLOCK") + 1]) > 0
    return first.startswith("B") and float(step[-1][1 if "MPOP" in first else -1]) > 0


KEYS = "a b c d k l s x y z g taken turned".split()


class Scene:
    """Steps run first on the server; what came of them there is what must come of them here."""

    def __init__(self, server, here):
        self.server, self.here = server, here
        self.waiting, self.trail = {}, []

    def step(self, name, *step):
        """One client says something; returns whether it waits."""
        self.trail.append((name, step))
        s = self.server
        before = len(self.waiting)
        s.send(name, step)
        replies = []
        # Its own replies: all of them, or it waits.
        until = time.monotonic() + 10 * harness.SLOW
        while len(replies) < len(step):
            check(time.monotonic() < until, "the server does not answer", self.trail[-25:], replies)
            if s.c[name].waiting():
                # The count is exact: the server has done all that it can when it answers INFO.
                s.blocked()  # what it had to say before is written by the time of another INFO
                n = s.blocked()
                if not impatient(step) and s.c[name].waiting() and n > before - len(self.ended(s)):
                    break
                continue
            replies.append(s.c[name].read())
        waits = len(replies) < len(step)
        s.blocked()
        ended = {n: s.c[n].read() for n in self.ended(s)}
        self.compare(name, step, replies, waits, ended)
        for n in ended:
            del self.waiting[n]
        if waits:
            self.waiting[name] = len(step) - len(replies)
        return waits

    def ended(self, s):
        return [n for n in self.waiting if not s.c[n].waiting()]

    def compare(self, name, step, replies, waits, ended):
        h = self.here
        h.send(name, step)
        try:
            equal([h.c[name].read() for _ in replies], replies, (name, step))
            for n, reply in ended.items():
                equal(h.c[n].read(), reply, (n, "after", name, step))
            still = len(self.waiting) - len(ended) + waits
            wait_until(lambda: h.blocked() == still, f"{still} who wait")
        except BaseException:
            for line in self.trail[-25:]:
                print(*line, file=sys.stderr)
            raise

    def end(self):
        """Nobody waits any more, and the events were the same."""
        for n in list(self.waiting):
            idle = next(x for x in NAMES if x not in self.waiting)
            self.step(idle, ("CLIENT", "UNBLOCK", f"@{n}"))
        idle = NAMES[0]
        self.step(idle, ("SELECT", 1), ("DEL", *KEYS), ("SELECT", 0), ("DEL", *KEYS))
        self.step(idle, ("SET", "the-end", "1"))
        lists = []
        for s in (self.server, self.here):
            got = []
            while not got or b"the-end" not in got[-1]:
                got.append(s.events.read())
            lists.append(got)
        for i, (a, b) in enumerate(zip(*lists)):
            if a != b:
                raise harness.Failure(f"event {i}: {b!r} for {a!r} behind {lists[0][max(0, i - 5):i]}; {self.trail[-60:]}")
        equal(len(lists[1]), len(lists[0]), "events")
        self.step(idle, ("DEL", "the-end"))
        for s in (self.server, self.here):
            s.events.read()


def words(text):
    return [tuple(text.split())] if text.startswith("EVAL") else [tuple(line.split()) for line in text.split(";")]


SCENES = [
    # who comes first is served first, whichever key it named first
    "A BLPOP k l 0|B BRPOP l k 0|C BLPOP k 0|D RPUSH k 1 2|D RPUSH l 3|D RPUSH k 4|D EXISTS k l",
    # a transaction: the keys in the order in which they were made, and their last state
    "A BLPOP a b 0|D MULTI;RPUSH b 1;RPUSH a 2;EXEC|D LRANGE a 0 -1|D LRANGE b 0 -1",
    "A BRPOP k 0|D MULTI;LPUSH k a;LPUSH k b;EXEC|D LRANGE k 0 -1",
    "A BLPOP a b 0|D MULTI;RPUSH b 1;DEL b;RPUSH a 2;RPUSH b 3;EXEC|D LRANGE a 0 -1|D LRANGE b 0 -1",
    "A BLPOP k 0|D MULTI;RPUSH k 1;DEL k;EXEC|D RPUSH k 2",
    "A BLPOP k 0|D MULTI;RPUSH k 1;LPOP k;ZADD k 1 m;EXEC|B BZPOPMIN k 0|D DEL k|D RPUSH k 2",
    "A BLPOP k 0|D MULTI;RPUSH k 1;BLPOP k 0;BLPOP k 0;BLMOVE k k LEFT LEFT 0;BZPOPMIN z 0;BLMPOP 0 1 k LEFT;EXEC",
    # the same key twice; what is left
    "A BLPOP k k 0|D RPUSH k 1 2|D LRANGE k 0 -1|A BZPOPMAX z z 0|D ZADD z 1 a 2 b",
    # other types wake nobody
    "A BLPOP k 0|B BZPOPMIN k 0|D SET k v|D DEL k|D ZADD k 1 a|D RPUSH k x|D DEL k|D RPUSH k 1 2",
    "A BZPOPMIN k 0|B BLPOP k 0|D RPUSH k 1 2|D DEL k|D ZADD k 1 a|D EXISTS k",
    "A BLPOP k 0|D SADD k m|D DEL k|D HSET k f v|D DEL k|D RPUSH k 1",
    # chains
    "A BLMOVE a b LEFT RIGHT 0|B BLMOVE b c LEFT RIGHT 0|C BLPOP c 0|D RPUSH a 1|D EXISTS a b c",
    "C BLPOP c 0|B BRPOPLPUSH b c 0|A BLMOVE a b RIGHT LEFT 0|D RPUSH a 1 2 3|D LRANGE a 0 -1",
    "A BLMOVE k k LEFT RIGHT 0|B BLPOP k 0|D RPUSH k 1 2 3|D LRANGE k 0 -1",
    "A BLMOVE k k RIGHT LEFT 0|B BRPOPLPUSH k k 0|C BLPOP k 0|D RPUSH k 1",
    "A BLMOVE a b LEFT LEFT 0|B BLMOVE b a LEFT LEFT 0|D RPUSH a 1|C BLPOP b 0|D RPUSH b 2|D LRANGE a 0 -1|D LRANGE b 0 -1",
    # its destination is of another type: it hears so, and the next one is served
    "A BLMOVE a b LEFT LEFT 0|B BLPOP a 0|D SET b v|D RPUSH a 1|D EXISTS a",
    "A BLPOP s 0|D SET s v|D DEL s|B BLPOP x s 0|D SET s v|D RPUSH x 1|C BLPOP s 0",
    # counts
    "A BLMPOP 0 2 k l RIGHT COUNT 2|B BLMPOP 0 1 k LEFT COUNT 10|C BLPOP k 0|D RPUSH k 1 2 3 4 5|D RPUSH k 6",
    "A BZMPOP 0 2 y z MAX COUNT 2|B BZMPOP 0 1 z MIN COUNT 10|C BZPOPMIN z 0|D ZADD z 1 a 2 b 3.5 c|D ZADD z 4 d inf e",
    "A BZPOPMIN z 0|B BZPOPMAX z 0|C BZPOPMIN z y 0|D ZADD z 1 a 1 b|D ZADD y 0.1 q",
    "A BZPOPMIN z 0|D ZINCRBY z 3 m|A BZPOPMIN z 0|D ZADD s 1 a 2 b|D ZUNIONSTORE z 1 s|A BZMPOP 0 1 z MIN|D ZRANGESTORE z s 0 -1",
    "A BZPOPMIN z 0|D GEOADD z 13.361389 38.115556 Palermo|A BZPOPMIN z 0|D GEOADD g 1 2 x|D GEOSEARCHSTORE z g FROMLONLAT 1 2 BYRADIUS 10 km",
    # every way by which a key comes to be
    "D RPUSH s 1 2|A BLPOP k 0|D RENAME s k|D RPUSH s 1 2|D DEL k|A BLPOP k 0|D RENAMENX s k|D EXISTS s k",
    "D RPUSH s 1 2|A BLPOP k 0|D COPY s k|D LRANGE k 0 -1|D DEL k|A BLPOP k 0|D ZADD k 1 a|D COPY s k REPLACE|D LRANGE k 0 -1",
    "D RPUSH s 1 2|A BLPOP k 0|D ZADD k 1 a|D RENAME s k|D LRANGE k 0 -1",
    "D RPUSH s 2 1|A BLPOP k 0|D SORT s STORE k|D LRANGE k 0 -1|D DEL k|A BLPOP k 0|D ZADD k 1 a|D SORT s STORE k|D LRANGE k 0 -1",
    "D ZADD s 1 a|A BZPOPMIN k 0|D RPUSH k x|D ZUNIONSTORE k 1 s|D ZCARD k",
    "A BLPOP k 0|D RPUSH s 1|D LMOVE s k LEFT LEFT|A BLPOP k 0|D RPUSH s 1|D RPOPLPUSH s k|A BLPOP k 0|D RPUSHX k 1|D RPUSH k 1",
    "A BLPOP k 0|D LPUSH s 1|B BLMOVE s k LEFT LEFT 0|D EXISTS s k",
    # other databases are other keys
    "A BLPOP k 0|D SELECT 1;RPUSH k 1;SELECT 0|D SELECT 1;COPY k k DB 0;DEL k;SELECT 0|D EXISTS k",
    "A SELECT 1;BLPOP k 0|D RPUSH k 0|D SELECT 1;RPUSH k 1;SELECT 0|A SELECT 0|D DEL k",
    # streams: all who read hear it, one of a group has it
    "A XREAD BLOCK 0 STREAMS k $|B XREAD COUNT 1 BLOCK 0 STREAMS l k 0 0|C XREAD BLOCK 0 STREAMS k k 5-0 0|D XADD k 1-1 f v g w|D XADD k 6-0 f v",
    "D XGROUP CREATE k g $ MKSTREAM|A XREADGROUP GROUP g a BLOCK 0 STREAMS k >|B XREADGROUP GROUP g b NOACK BLOCK 0 STREAMS k >|"
    "C XREAD BLOCK 0 STREAMS k $|D MULTI;XADD k 1-1 f v;XADD k 1-2 f w;EXEC|D XPENDING k g|D XADD k 2-1 f v|D XPENDING k g",
    "A XREAD BLOCK 0 STREAMS k $|D MULTI;XADD k 1-1 f v;XDEL k 1-1;EXEC|B XREAD BLOCK 0 STREAMS k $|D XADD k MAXLEN 0 2-1 a b",
    "D XADD k 9-1 a b|A XREAD BLOCK 0 STREAMS k $|D DEL k|D XADD k 1-1 a b|D XADD k 10-1 a b|A XREAD BLOCK 0 STREAMS k 10-1|D XSETID k 11-1|D XADD k 12-1 a b",
    "A XREAD BLOCK 0 STREAMS k $|B BLPOP k 0|C BZPOPMIN k 0|D XADD k NOMKSTREAM 1-1 a b|D XADD k 1-1 a b|D DEL k|D RPUSH k 1|D ZADD k 1 a",
    "A XREAD BLOCK 0 STREAMS k $|D XADD l 1-1 a b|D RENAME l k|A XREAD BLOCK 0 STREAMS l $|D COPY k l|A XREAD BLOCK 1 STREAMS k $",
    "A MULTI;XREAD BLOCK 0 STREAMS k $;EXEC|A XREAD BLOCK 0 STREAMS k $|D CLIENT UNBLOCK @A|A XREAD BLOCK 0 STREAMS k $|D CLIENT UNBLOCK @A ERROR",
    *["D XGROUP CREATE k g $ MKSTREAM|A XREADGROUP GROUP g me BLOCK 0 STREAMS k >|D " + what + "|B XREADGROUP GROUP g you BLOCK 5 STREAMS k >" for what in (
        "DEL k",
        "SET k x",
        "RENAME k l",
        "XGROUP DESTROY k g",
        "UNLINK k",
        "EXPIRE k -1",
        "MULTI;DEL k;XGROUP CREATE k g $ MKSTREAM;EXEC",
        "MULTI;DEL k;RPUSH k 1;EXEC",
        "MULTI;XADD k 1-1 f v;XDEL k 1-1;EXEC",
        "XGROUP SETID k g 0",
        "MULTI;XADD k 5-1 f v;DEL k;EXEC",
        "XADD l 1-1 a b|D RENAME l k",
        "RPUSH l 1|D SORT l STORE k",
        "XADD l 1-1 a b|D COPY l k REPLACE",
        "XSETID k 100-1",
    )],
    # scripts
    "A BLPOP k 0|B BLPOP k 0|D EVAL return{redis.call('rpush',KEYS[1],1,2),redis.call('rpush',KEYS[1],3),redis.call('llen',KEYS[1])} 1 k|D LLEN k",
    "D EVAL return{redis.call('blmpop',0,1,KEYS[1],'LEFT')} 1 k|D EVAL return{redis.call('blpop',KEYS[1],0)} 1 k|D EVAL return(redis.call('xread','STREAMS',KEYS[1],'$')) 1 k",
    "A BLMOVE k l LEFT LEFT 0|B BZPOPMIN z 0|D EVAL redis.call('zadd',KEYS[2],1,'a');redis.call('rpush',KEYS[1],1);return(redis.call('exists',KEYS[3])) 3 k z l|D EXISTS l",
    # told to stop
    "A BLPOP k 0|B BLPOP k 0|D CLIENT UNBLOCK @A|D RPUSH k 1|D EXISTS k|A BLMOVE k l LEFT LEFT 0|D CLIENT UNBLOCK @A TIMEOUT|D CLIENT UNBLOCK @A",
    "A BZPOPMIN k 0|B BZPOPMIN k 0|D CLIENT UNBLOCK @A ERROR|D ZADD k 1 a|D CLIENT UNBLOCK @B ERROR",
    "A BLPOP k 0|D CLIENT UNBLOCK @A|A BLPOP k 0|B BLPOP k 0|D RPUSH k 1 2",
    # time runs out
    "A BLPOP k 0.01|A BLMOVE k l LEFT LEFT 0.01|A BLMPOP 0.01 1 k LEFT|A BZMPOP 0.01 2 k l MAX|A BRPOPLPUSH k l 0.001|D RPUSH k 1|A BLPOP k 0.01",
]


def scripted(server, here):
    for text in SCENES:
        scene = Scene(server, here)
        for line in text.split("|"):
            name, _, rest = line.strip().partition(" ")
            scene.step(name, *words(rest))
        scene.end()


class Random:
    """Steps of clients that do not wait."""

    KEYS = ("a", "b", "c", "d")

    def __init__(self, rng):
        self.rng = rng
        self.n = 0

    def key(self):
        return self.rng.choice(self.KEYS)

    def keys(self):
        return [self.key() for _ in range(self.rng.choice((1, 1, 2, 3)))]

    def element(self):
        self.n += 1
        return f"e{self.n}" + "x" * (self.rng.random() < 0.1) * self.rng.randrange(5000)

    def elements(self):
        return [self.element() for _ in range(self.rng.choice((1, 1, 2, 4)))]

    def side(self):
        return self.rng.choice(("LEFT", "RIGHT"))

    def pop(self, wait):
        r, keys = self.rng, self.keys()
        return r.choice([
            ("BLPOP", *keys, wait), ("BRPOP", *keys, wait), ("BLMOVE", self.key(), self.key(), self.side(), self.side(), wait),
            ("BRPOPLPUSH", self.key(), self.key(), wait), ("BLMPOP", wait, len(keys), *keys, self.side(), "COUNT", r.randrange(1, 4)),
            ("BZPOPMIN", *keys, wait), ("BZPOPMAX", *keys, wait), ("BZMPOP", wait, len(keys), *keys, r.choice(("MIN", "MAX")), "COUNT", r.randrange(1, 4)),
        ])

    def read(self, wait):
        keys = self.keys()
        if self.rng.random() < 0.5:
            return ("XREAD", *self.rng.choice(((), ("COUNT", 2))), "BLOCK", wait, "STREAMS", *keys, *[self.rng.choice(("$", "$", "0", f"{self.n}-0")) for _ in keys])
        return ("XREADGROUP", "GROUP", "g", self.rng.choice("xyz"), *self.rng.choice(((), ("NOACK",), ("COUNT", 1))), "BLOCK", wait, "STREAMS", *keys,
                *[self.rng.choice((">", ">", ">", ">", "0")) for _ in keys])

    def stream(self):
        r = self.rng
        self.n += 1
        return r.choice([("XADD", self.key(), f"{self.n}-1", "f", self.element()), ("XADD", self.key(), f"{self.n}-1", "f", "v", "g", "w"),
                         ("XGROUP", "CREATE", self.key(), "g", "$", "MKSTREAM"), ("XGROUP", "CREATE", self.key(), "g", "0", "MKSTREAM"),
                         ("XGROUP", "DESTROY", self.key(), "g"), ("XDEL", self.key(), f"{self.n - 1}-1", f"{self.n - 2}-1"), ("XTRIM", self.key(), "MAXLEN", 1),
                         ("XPENDING", self.key(), "g"), ("XLEN", self.key()), ("XACK", self.key(), "g", f"{self.n - 1}-1"), ("DEL", *self.keys()),
                         ("RENAME", self.key(), self.key()), ("XGROUP", "SETID", self.key(), "g", 0)])

    def write(self):
        r = self.rng
        if r.random() < 0.3:
            return self.stream()
        score = r.choice((1, 2, 3.5, "-inf", 0.1))
        return r.choice([
            ("RPUSH", self.key(), *self.elements()), ("LPUSH", self.key(), *self.elements()), ("RPUSH", self.key(), *self.elements()),
            ("ZADD", self.key(), score, self.element(), r.randrange(3), f"m{r.randrange(3)}"), ("ZADD", self.key(), score, f"m{r.randrange(3)}"),
            ("ZINCRBY", self.key(), 1, f"m{r.randrange(3)}"), ("DEL", *self.keys()), ("DEL", self.key()), ("RENAME", self.key(), self.key()),
            ("COPY", self.key(), self.key(), *r.choice(((), ("REPLACE",)))), ("LMOVE", self.key(), self.key(), self.side(), self.side()),
            ("SORT", self.key(), "ALPHA", "STORE", self.key()), ("ZUNIONSTORE", self.key(), 2, self.key(), self.key()), ("SET", self.key(), "v"),
            ("LPOP", self.key()), ("LLEN", self.key()), ("TYPE", self.key()), ("EXISTS", *self.KEYS), ("LRANGE", self.key(), 0, -1),
        ])

    def step(self, waiting):
        r = self.rng.random()
        if r < 0.4:
            return [(self.read if self.rng.random() < 0.3 else self.pop)(0)]
        if r < 0.44:
            return [self.pop(0.001) if self.rng.random() < 0.7 else self.read(1)]
        if r < 0.9:
            return [self.write()]
        if r < 0.95 or not waiting:
            return [("MULTI",), *[self.rng.choice((self.pop, self.read))(0) if self.rng.random() < 0.2 else self.write() for _ in range(self.rng.randrange(1, 6))], ("EXEC",)]
        return [("CLIENT", "UNBLOCK", f"@{self.rng.choice(sorted(waiting))}", *self.rng.choice(((), ("TIMEOUT",), ("ERROR",))))]


def at_random(server, here, rng, seconds):
    made = Random(rng)
    until = time.monotonic() + seconds
    steps = 0
    while time.monotonic() < until:
        scene = Scene(server, here)
        for _ in range(rng.randrange(20, 120)):
            idle = [n for n in NAMES if n not in scene.waiting]
            if len(idle) == 1:
                scene.step(idle[0], ("CLIENT", "UNBLOCK", f"@{rng.choice(sorted(scene.waiting))}"))
                continue
            scene.step(rng.choice(idle), *made.step(scene.waiting))
            steps += 1
        scene.end()
    print(f"{steps} random steps")


CONSUMER = """
import socket, sys
path, keys = sys.argv[1], sys.argv[2:]
s = socket.socket(socket.AF_UNIX)
s.connect(path)
f = s.makefile("rb")
s.sendall(b"AUTH one x\\r\\n")
f.readline()
while True:
    s.sendall(b"BLMOVE %s taken LEFT RIGHT 0\\r\\n" % keys[0].encode())
    f.readline(), f.readline()
"""


def conserved(p, rng):
    """Producers and consumers on all workers, consumers killed at random.  A consumer moves what it takes, so what a
    dead one was given is seen too."""
    total, rounds = 0, 12
    crowd = []
    with harness.Client(p.sock) as c:
        c.cmd("AUTH", "one", "x")

        def consumer(i):
            return subprocess.Popen([sys.executable, "-c", CONSUMER, p.sock, f"job{i % 3}"])

        crowd = [consumer(i) for i in range(9)]
        for _ in range(rounds):
            batch = [("RPUSH", f"job{rng.randrange(3)}", *range(total + 4 * i, total + 4 * i + 4)) for i in range(100)]
            total += 400
            c.raw(b"".join(harness.encode(*b) for b in batch))
            i = rng.randrange(len(crowd))
            crowd[i].send_signal(signal.SIGKILL)
            crowd[i].wait()
            crowd[i] = consumer(i)
            for _ in batch:
                check(isinstance(c.read(), int))
        wait_until(lambda: c.cmd("LLEN", "taken") == total, "all to be taken")
        equal(sorted(map(int, c.cmd("LRANGE", "taken", 0, -1))), list(range(total)), "each once")
        for q in crowd:
            q.send_signal(signal.SIGKILL)
            q.wait()
        wait_until(lambda: b"blocked_clients:0\r" in c.cmd("INFO", "clients"), "the dead to be forgotten")
        equal(c.cmd("EXISTS", "job0", "job1", "job2"), 0)
        c.cmd("DEL", "taken")


def fair(p):
    """Sixty clients of three workers wait in an order; writers on all workers serve them in it, without a gap."""
    def client():
        c = harness.Client(p.sock)
        c.cmd("AUTH", "one", "x")
        return c

    many = [client() for _ in range(60)]
    writers = [client() for _ in range(3)]
    for i, c in enumerate(many):
        c.send(*[("BLPOP", "turn", 0), ("BLMPOP", 0, 1, "turn", "LEFT"), ("BLMOVE", "turn", "turned", "LEFT", "LEFT", 0)][i % 3])
        wait_until(lambda: b"blocked_clients:%d\r" % (i + 1) in writers[0].cmd("INFO", "clients"), f"client {i}")
    # One transaction at a time has its elements one behind the other, whoever else writes.
    for n in range(10):
        writers[n % 3].raw(b"".join(harness.encode(*w) for w in [("MULTI",), *[("RPUSH", "turn", f"{n}.{i}") for i in range(6)], ("EXEC",)]))
    for w in writers:
        for _ in range(8 * len(range(writers.index(w), 10, 3))):
            w.read()
    got = [c.read() for c in many]
    names = [(g[1][0] if isinstance(g[1], list) else g[1]).decode() if isinstance(g, list) else g.decode() for g in got]
    for n in range(0, 60, 6):
        block = names[n].partition(".")[0]
        equal(names[n:n + 6], [f"{block}.{i}" for i in range(6)], "in the order in which they came")
    equal(sorted(names), sorted(f"{n}.{i}" for n in range(10) for i in range(6)))
    equal(writers[0].cmd("LLEN", "turn"), 0)
    equal(writers[0].cmd("DEL", "turned"), 1)
    for c in many + writers:
        c.close()


def beside_a_script(p):
    """A script has all locks and takes long: time that runs out and clients that go hold no worker up."""
    def client():
        c = harness.Client(p.sock)
        c.cmd("AUTH", "one", "x")
        return c

    many = [client() for _ in range(12)]
    busy, other = client(), client()
    for i, c in enumerate(many):
        c.send("BLPOP", "never", *[("0.2",), ("also", "0.3"), ("0",)][i % 3])
    wait_until(lambda: b"blocked_clients:12\r" in other.cmd("INFO", "clients"), "all to wait")
    busy.send("EVAL", "while true do end", 0)
    for c in many[2::3]:
        c.close()
    wait_until(lambda: other.pipeline([("PING",), ("SCRIPT", "KILL")])[1] == "OK", "the script to be killed")
    check("killed" in busy.read().text, "the script")
    for i, c in enumerate(many):
        if i % 3 < 2:
            equal(c.read(), None)
            c.close()
    wait_until(lambda: b"blocked_clients:0\r" in other.cmd("INFO", "clients"), "nobody to wait")
    equal(other.cmd("RPUSH", "never", 1), 1)
    equal(other.cmd("DEL", "never"), 1)
    busy.close()
    other.close()


def main():
    rng = random.Random(harness.seed())
    with Redis(["--notify-keyspace-events", "KEA"]) as redis, \
            Purserd({"health.interval": "1h", "agent.workers": "3"}, config=CONFIG) as p:
        server, here = Stage(redis.sock), Stage(p.sock, "one")
        scripted(server, here)
        at_random(server, here, rng, SECONDS)
        server.close()
        here.close()
        fair(p)
        beside_a_script(p)
        conserved(p, rng)
        with p.client() as c:  # nobody waits, nothing is kept
            c.cmd("AUTH", "one", "x")
            equal(c.cmd("DBSIZE"), 0)


harness.run(main)
