#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Changed keys of the memory backend: the same random commands to it and to a redis-server, and the events that
they publish one by one in order, and the watches that they break."""

import random

import harness
from harness import Client, Purserd, Redis, RespError, check, equal, wait_until

ALL = "KEAmn"


class Listener:
    """Events of a server, in order; DB 0 and 1."""

    def __init__(self, path, pattern="__key*@*__:*"):
        self.c, self.marks = Client(path), 0
        self.c.cmd("PSUBSCRIBE", pattern)
        self.c.cmd("SUBSCRIBE", "mark")

    def until_now(self, writer):
        """What has been told since the last time."""
        self.marks += 1
        writer.cmd("PUBLISH", "mark", self.marks)
        seen = []
        while True:
            m = self.c.read()
            if m[0] == b"message":
                equal(m[2], b"%d" % self.marks)
                return seen
            seen.append((m[2].decode(errors="replace"), m[3]))


# ---- random commands -----------------------------------------------------------------------------------
# KEY: of any type; S H L T Z: one that holds a string, hash, list, set, sorted set more often than not.
COMMANDS = """
SET S V|SET S V EX 1000|SET S V NX|SET S V XX|SET S V GET|SET S V KEEPTTL|SET S V XX GET|SET S V PXAT 99999999999999
SETNX S V|SETEX S 1000 V|PSETEX S 100000 V|GETSET S V|GETDEL S|GETEX S|GETEX S EX 1000|GETEX S PERSIST
GETEX S EXAT 1|MSET S V S V|MSET KEY V KEY V KEY V|MSETNX S V S V|INCR S|DECR S|INCRBY S 7|DECRBY S 3
INCRBYFLOAT S 1.5|APPEND S V|SETRANGE S 3 V|SETRANGE S 0 EMPTY|SETBIT S 7 1|SETBIT S 7 0|SETBIT S 40 0
BITOP AND S S S|BITOP NOT S S|BITOP OR S S none|BITOP XOR S none none
BITFIELD S SET u8 0 N|BITFIELD S INCRBY i4 2 N|BITFIELD S OVERFLOW FAIL INCRBY u2 0 3|BITFIELD S OVERFLOW FAIL INCRBY u2 0 5|BITFIELD S GET u8 0
PFADD P V|PFADD P V V V|PFADD P|PFCOUNT P|PFCOUNT P P|PFMERGE P P|PFMERGE P P P|PFADD S V
DEL KEY|DEL KEY KEY none|UNLINK KEY|EXISTS KEY none|TOUCH KEY|TYPE KEY|RENAME KEY KEY|RENAMENX KEY KEY|COPY KEY KEY
COPY KEY KEY REPLACE|COPY KEY KEY DB 1|EXPIRE KEY 1000|EXPIRE KEY -1|PEXPIRE KEY 100000 NX
EXPIREAT KEY 1|PEXPIREAT KEY 99999999999999 GT|EXPIRE KEY 500 LT|PERSIST KEY|TTL KEY|OBJECT ENCODING none|OBJECT ENCODING KEY
SELECT DBN|SELECT 0|SELECT 0
HSET H F V|HSET H F V F V|HMSET H F V|HSETNX H F V|HDEL H F|HDEL H F F F F|HINCRBY H n N|HINCRBYFLOAT H n 1.5|HGET H F
SADD T F|SADD T F F N|SREM T F|SREM T F F F F|SMOVE T T F|SPOP T 1000|SPOP T 0|SPOP solo|SADD solo one|SINTERSTORE T T T
SUNIONSTORE T T T|SDIFFSTORE T T T|SINTERSTORE KEY T none|SISMEMBER T F|SINTER T none
LPUSH L F|RPUSH L F F|LPUSHX L F|RPUSHX none F|LINSERT L BEFORE F F|LPOP L|RPOP L|LPOP L 2|RPOP L 0|LMPOP 2 L L LEFT
LMPOP 1 L RIGHT COUNT 3|LMOVE L L LEFT RIGHT|RPOPLPUSH L L|RPOPLPUSH L KEY|LSET L 0 V|LTRIM L 0 2|LTRIM L 5 9|LREM L 0 F
LREM L 1 F|LMOVE L one LEFT LEFT|LMOVE one one LEFT RIGHT|LRANGE L 0 -1
ZADD Z N F|ZADD Z N F N F|ZADD Z XX N F|ZADD Z NX N F|ZADD Z GT CH N F|ZADD Z INCR N F|ZADD Z XX INCR N F|ZINCRBY Z N F
ZREM Z F|ZREM Z F F F F|ZREMRANGEBYRANK Z 0 1|ZREMRANGEBYSCORE Z -inf 3|ZREMRANGEBYLEX Z [a [b|ZPOPMIN Z|ZPOPMAX Z 2
ZPOPMIN Z 0|ZMPOP 2 Z Z MIN|ZMPOP 1 Z MAX COUNT 5|ZRANGESTORE Z Z 0 1|ZRANGESTORE Z Z 5 1|ZRANGESTORE KEY Z 0 -1
ZUNIONSTORE Z 2 Z T|ZINTERSTORE Z 2 Z Z|ZDIFFSTORE Z 2 Z Z|ZINTERSTORE KEY 2 Z none|ZSCORE Z F
GEOADD Z N N F|GEOADD Z NX 1 2 F 3 4 F|GEOADD Z XX CH 5 6 F|GEOSEARCHSTORE Z Z FROMLONLAT 1 2 BYRADIUS 9999 km
GEOSEARCHSTORE KEY Z FROMLONLAT 1 2 BYBOX 10 10 m|GEORADIUS Z 1 2 500 km STORE KEY|GEORADIUS none 1 2 500 km STOREDIST KEY
GEORADIUSBYMEMBER Z F 900 km STORE Z|GEOSEARCH Z FROMMEMBER F BYRADIUS 1 km|GEODIST Z F F|GEOPOS none F
SORT T ALPHA STORE L|SORT L ALPHA|SORT none STORE KEY|SORT L BY w:* GET v:* ALPHA STORE KEY|SORT Z ALPHA STORE L
XADD X * f v|XADD X 5-* f v|XADD X NOMKSTREAM 6-* f v|XADD X MAXLEN 2 * f v|XADD X MAXLEN 0 * f v|XTRIM X MAXLEN 1|XTRIM X MAXLEN 9
XDEL X 5-0 5-1|XSETID X 99999999999999-1|XSETID X 1-1|XGROUP CREATE X g $ MKSTREAM|XGROUP CREATE X g 0|XGROUP SETID X g 0|XGROUP DESTROY X g
XGROUP CREATECONSUMER X g c|XGROUP DELCONSUMER X g c|XREADGROUP GROUP g c COUNT 2 STREAMS X >|XREADGROUP GROUP g F STREAMS X X > >
XREADGROUP GROUP g c NOACK STREAMS X >|XREADGROUP GROUP g c STREAMS X 0|XACK X g 5-0 5-1|XCLAIM X g F 0 5-0|XCLAIM X g F 0 5-0 JUSTID
XCLAIM X g F 0 5-9 FORCE|XAUTOCLAIM X g F 0 0|XAUTOCLAIM X g F 99999 0|XRANGE X - +|XREAD STREAMS X 0|XINFO STREAM X
RESTORE KEY 0 DUMPED|RESTORE KEY 0 DUMPED REPLACE|RESTORE KEY 5000000 DUMPED REPLACE|RESTORE KEY 5 DUMPED REPLACE ABSTTL|RESTORE KEY 0 x
EVAL redis.call('SET',KEYS[1],'v')redis.call('DEL',KEYS[2],KEYS[1]) 2 KEY KEY|EVAL redis.call('INCR',KEYS[1])redis.call('EXPIRE',KEYS[1],100) 1 S
EVAL redis.call('LPUSH',KEYS[1],1)redis.call('RPOPLPUSH',KEYS[1],KEYS[2]) 2 L L|EVAL redis.call('GET',KEYS[1]) 1 S
FLUSHDB
""".replace("\n", "|").strip("|").split("|")
RARE = "FLUSHDB"


class Words:
    def __init__(self, rng, redis):
        self.rng = rng
        with Client(redis.sock) as c:
            c.cmd("RPUSH", "to dump", "a", "b")
            self.dumped = c.cmd("DUMP", "to dump")
            c.cmd("DEL", "to dump")
        self.holders = {k: [f"{k.lower()}{i}" for i in range(4)] for k in "SHLTZPX"}

    def key(self, kind):
        if kind == "KEY" or self.rng.random() < 0.06:
            kind = self.rng.choice("SHLTZPX")
        return self.rng.choice(self.holders[kind])

    def word(self, w):
        rng = self.rng
        if w in self.holders or w == "KEY":
            return self.key(w)
        return {"V": lambda: rng.choice(["1", "12", "x", "text" * 30, "9" * 18]), "F": lambda: rng.choice("abcde"),
                "N": lambda: rng.randint(-3, 9), "DBN": lambda: rng.randint(0, 1), "EMPTY": lambda: "",
                "DUMPED": lambda: self.dumped}.get(w, lambda: w)()

    def command(self):
        line = self.rng.choice(COMMANDS)
        while line.startswith(RARE) and self.rng.random() < 0.9:
            line = self.rng.choice(COMMANDS)
        return [self.word(w) for w in line.split()]

    def batch(self):
        cmds = [self.command() for _ in range(self.rng.randint(1, 12))]
        if self.rng.random() < 0.1:  # a transaction, on one database
            cmds = [["MULTI"], *[c for c in cmds if c[0] not in ("SELECT", "FLUSHDB")], ["EXEC"]]
        return cmds


def events_of(listener, writer, cmds):
    replies = writer.pipeline(cmds)
    seen, run, out = listener.until_now(writer), [], []
    for e in [*seen, None]:  # SORT asks for the weights of a set's members in the order of its table
        if e and (e[1] == b"keymiss" or "keymiss" in e[0]):
            run.append(e)
        else:
            out += sorted(run) + [e] * (e is not None)
            run = []
    return out, replies


def same_as_redis(redis, p, seed):
    """Each batch gives the same events on both."""
    words, told = Words(random.Random(seed), redis), set()
    with Client(redis.sock) as live, p.client() as ours:
        live.cmd("CONFIG", "SET", "notify-keyspace-events", ALL)
        ears = Listener(redis.sock), Listener(p.sock)
        for n in range(1500 if not harness.LONG else 20000):
            cmds = words.batch()
            want, said = events_of(ears[0], live, cmds)
            got, answers = events_of(ears[1], ours, cmds)
            if got != want:
                for c, a, b in zip(cmds, said, answers):
                    print(c, "redis:", a, "purser:", b)
                at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
                equal(got[at:at + 4], want[at:at + 4], f"batch {n}, from event {at} on")
            told |= {e for channel, e in want if "keyspace" in channel}
        print(len(told), "kinds of events:", b" ".join(sorted(told)).decode())
        for ear in ears:
            ear.c.close()
    check(len(told) > 40 or harness.LONG, "the commands do not reach enough events:", told)


# ---- WATCH -----------------------------------------------------------------------------------------------
def broken(watcher, writer, keys, cmds):
    """Is the watch of these keys broken by what another client does?"""
    watcher.cmd("WATCH", *keys)
    replies = writer.pipeline(cmds)
    return watcher.pipeline([["MULTI"], ["EXEC"]])[1] is None, replies


def same_watches(redis, p, seed):
    """A watch breaks on both or on neither."""
    words, count = Words(random.Random(seed + 1), redis), [0, 0]
    with Client(redis.sock) as live, Client(redis.sock) as a, p.client() as ours, p.client() as b:
        live.cmd("FLUSHALL")
        ours.cmd("FLUSHALL")
        for n in range(500 if not harness.LONG else 20000):
            keys = [words.key("KEY") for _ in range(words.rng.randint(1, 4))]
            cmds = [c for c in words.batch()[:4] if c[0] not in ("MULTI", "EXEC")]
            want, said = broken(a, live, keys, cmds)
            got, answers = broken(b, ours, keys, cmds)
            check(got == want, f"{n}: watched {keys}, broken on redis: {want}, purser: {got}",
                  *[f"\n{c} redis: {x!r} purser: {y!r}" for c, x, y in zip(cmds, said, answers)])
            count[want] += 1
            if words.rng.random() < 0.05:  # the other database
                for c in (a, b):
                    c.cmd("SELECT", n % 2)
    print("watches that held and that broke:", count)


STATES = ["", "SET x 5", "HSET x a 1 n 5", "SADD x a b", "RPUSH x a b c", "ZADD x 1 a 2 b", "PFADD x 1", "XADD x 5-0 f v|XGROUP CREATE x g $",
          "XADD x 5-0 f v|XADD x 6-0 f v|XGROUP CREATE x g 0|XREADGROUP GROUP g c COUNT 1 STREAMS x >", "RPUSH x a|SET y 1 EX 100"]


def each_command(redis, p, seed):
    """Every command on a key of every type: its events, and whether it breaks a watch."""
    words = Words(random.Random(seed), redis)
    words.holders = {kind: ["x", "x", "y"] for kind in words.holders}
    ears, ends = (Listener(redis.sock), Listener(p.sock)), []
    with Client(redis.sock) as live, Client(redis.sock) as a, p.client() as ours, p.client() as b:
        for state in STATES:
            for line in COMMANDS:
                cmd, before = [words.word(w) for w in line.split()], [s.split() for s in state.split("|") if s]
                ends = []
                for c, w, ear in ((live, a, ears[0]), (ours, b, ears[1])):
                    c.pipeline([["SELECT", 0], ["FLUSHALL"], *before])
                    ear.until_now(c)
                    broke, reply = broken(w, c, ["x"], [cmd])
                    ends.append((sorted(ear.until_now(c)), broke, reply))
                check(ends[0][:2] == ends[1][:2], f"{state}: {cmd}\n redis:  {ends[0]}\n purser: {ends[1]}")
    for ear in ears:
        ear.c.close()


def dead(c, *cmds):
    """These, and the lives of a millisecond that they gave are over; the keys may still be there."""
    c.pipeline([*cmds, ["SET", "later", 1, "PX", 2]])
    wait_until(lambda: c.cmd("GET", "later") is None, "a millisecond to be over")


def expiry_rules(w, c):
    """Names of the cases in which the watch broke."""
    found = set()

    def case(name, before, then):
        c.cmd("FLUSHALL")
        before()
        w.cmd("WATCH", "k", "j")
        then()
        if w.pipeline([["MULTI"], ["EXEC"]])[1] is None:
            found.add(name)

    def die():
        dead(c, ["SET", "k", 1, "PX", 1])

    def alive():
        c.cmd("SET", "k", 1, "EX", 1000)

    def by_itself():
        life = 20
        while True:
            c.cmd("SET", "k", 1, "PX", life)
            w.cmd("WATCH", "k")
            if c.cmd("EXISTS", "k"):  # it was alive when it was watched
                break
            w.cmd("UNWATCH")
            life *= 2

    def nothing():
        pass

    case("dead before, left", die, nothing)
    case("dead before, removed by a read", die, lambda: c.cmd("GET", "k"))
    case("dead before, removed by DEL", die, lambda: c.cmd("DEL", "k"))
    case("dead before, written", die, lambda: c.cmd("SET", "k", 2))
    case("dead before, flushed", die, lambda: c.cmd("FLUSHALL"))
    case("dead before, flushed, written", die, lambda: c.pipeline([["FLUSHALL"], ["SET", "k", 1]]))
    case("given a short life", alive, lambda: dead(c, ["PEXPIRE", "k", 1]))
    case("died", nothing, lambda: by_itself() or wait_until(lambda: c.cmd("EXISTS", "k") == 0, "the key's end"))
    case("made to die at once", alive, lambda: c.cmd("EXPIRE", "k", -1))
    case("flushed", alive, lambda: c.cmd("FLUSHALL"))
    case("flushed, not there", nothing, lambda: c.cmd("FLUSHALL"))
    case("flushed in the other database", alive, lambda: c.pipeline([["SELECT", 1], ["FLUSHDB"], ["SELECT", 0]]))
    case("written in the other database", alive, lambda: c.pipeline([["SELECT", 1], ["SET", "k", 1], ["SELECT", 0]]))
    case("came and went", nothing, lambda: c.pipeline([["SET", "j", 1], ["DEL", "j"]]))
    case("read", alive, lambda: c.pipeline([["GET", "k"], ["TTL", "k"], ["TOUCH", "k"], ["OBJECT", "ENCODING", "k"]]))
    return found


def same_rules(redis, p):
    got = []
    for server in (redis, p):
        with server.client() as w, server.client() as c:
            got.append(expiry_rules(w, c))
    equal(got[1], got[0], "watches that broke")
    check(len(got[0]) >= 6, got[0])


# ---- clients that wait -------------------------------------------------------------------------------------
WAITS = [  # who waits, what serves them, and before
    (["BLPOP l 0"], "LPUSH l a"), (["BRPOP other l 0"], "RPUSH l a b"), (["BLMOVE l to LEFT RIGHT 0"], "RPUSH l a"),
    (["BRPOPLPUSH l to 0"], "RPUSH l a b"), (["BLMOVE l l LEFT RIGHT 0"], "RPUSH l a"), (["BLMPOP 0 2 x l LEFT COUNT 2"], "RPUSH l a b c"),
    (["BZPOPMIN z 0"], "ZADD z 1 a"), (["BZPOPMAX z 0"], "ZADD z 1 a 2 b"), (["BZMPOP 0 1 z MIN COUNT 5"], "ZADD z 1 a 2 b"),
    (["BLPOP l 0"], "MULTI|RPUSH l a|RPUSH l b|EXEC"), (["BLPOP l 0"], "RPUSH o a b|RENAME o l"), (["BLPOP l 0"], "RPUSH o a b|COPY o l"),
    (["BLPOP l 0"], "RPUSH o b a|SORT o ALPHA STORE l"), (["BZPOPMIN z 0"], "ZADD o 1 a|ZUNIONSTORE z 1 o"),
    (["BLPOP l 0", "BRPOP l 0"], "RPUSH l a b c"), (["BLMOVE l m LEFT LEFT 0", "BLMOVE m n LEFT LEFT 0"], "RPUSH l a"),
    (["BLPOP l 0", "BLMOVE m l LEFT LEFT 0"], "MULTI|RPUSH m a|SET s 1|EXEC"), (["BLPOP l 0"], "MULTI|RPUSH l a|DEL l|SET l x|DEL l|RPUSH l b|EXEC"),
    (["XREAD BLOCK 0 STREAMS l other $ $"], "XADD l 5-1 f v"),
    (["XREADGROUP GROUP g c BLOCK 0 STREAMS l >"], "XADD l 5-1 f v|XADD l 5-2 f v", "XGROUP CREATE l g $ MKSTREAM"),
    (["XREADGROUP GROUP g c BLOCK 0 STREAMS l >", "XREADGROUP GROUP g d BLOCK 0 STREAMS l >"], "MULTI|XADD l 5-1 f v|XADD l 5-2 f v|EXEC|XADD l 5-3 f v",
     "XGROUP CREATE l g $ MKSTREAM"),
    (["XREADGROUP GROUP g c BLOCK 0 STREAMS l >"], "XGROUP DESTROY l g", "XGROUP CREATE l g $ MKSTREAM"),
    (["XREADGROUP GROUP g c BLOCK 0 STREAMS l >"], "DEL l", "XGROUP CREATE l g $ MKSTREAM"),
    (["BLPOP l 0", "BLPOP l 0"], "EVAL redis.call('RPUSH',KEYS[1],1)redis.call('RPUSH',KEYS[1],2) 1 l"),
]


def blocked(c):
    return int(c.cmd("INFO", "clients").split(b"blocked_clients:")[1].split()[0])


def serve(server, ear, waits, then, before=""):
    waiters = [server.client() for _ in waits]
    with server.client() as c, server.client() as w:
        c.pipeline([["FLUSHALL"], *[line.split() for line in before.split("|") if line]])
        for n, (waiter, line) in enumerate(zip(waiters, waits)):
            waiter.send(*line.split())
            wait_until(lambda n=n: blocked(c) == n + 1, "the client to wait")
        ear.until_now(c)
        w.cmd("WATCH", "l")
        c.pipeline([line.split() for line in then.split("|")])
        replies = [waiter.read() for waiter in waiters]
        broke = w.pipeline([["MULTI"], ["EXEC"]])[1] is None
        seen = ear.until_now(c)
    for waiter in waiters:
        waiter.close()
    return seen, replies, broke


def same_waits(redis, p):
    ears = Listener(redis.sock), Listener(p.sock)
    for case in WAITS:
        want = serve(redis, ears[0], *case)
        got = serve(p, ears[1], *case)
        equal(got[0], want[0], f"{case}: events")
        equal(got[1:], want[1:], f"{case}: replies, did the watch break")
    for ear in ears:
        ear.c.close()


# ---- the rest --------------------------------------------------------------------------------------------
def expired(redis, p):
    """Keys that nobody asks for any more, and keys that somebody finds dead: told once."""
    got = []
    for server in (redis, p):
        ear = Listener(server.sock, "__key*@0__:*expired*")
        with server.client() as c:
            c.cmd("FLUSHALL")
            c.pipeline([["SET", f"e{i}", 1, "PX", 1 + i % 30] for i in range(60)])
            wait_until(lambda c=c: c.pipeline([["GET", f"e{i}"] for i in range(30)]) == [None] * 30, "half of them to be dead")
            heard = []
            wait_until(lambda c=c, ear=ear, heard=heard: heard.extend(ear.until_now(c)) or len(heard) >= 60,
                       "the others to go by themselves")
            equal(c.cmd("DBSIZE"), 0)
            got.append(sorted(heard + ear.until_now(c)))
        ear.c.close()
    equal(got[1], got[0], "what has expired")
    equal(len(got[0]), 60)


CONFIG = "[backend main]\nplugin = memory\nnotify_keyspace_events = %s\n[project default]\nisolation = off\ndatabases = 2\n"


def reloaded(p):
    """The setting, and CONFIG SET until the setting is another one."""
    ear = Listener(p.sock)
    with p.client() as c:
        def tells():
            c.pipeline([["SET", "k", 1], ["GET", "none"]])
            return [channel for channel, _ in ear.until_now(c)]

        def reload(letters, ok=True):
            p.write_config(CONFIG % letters)

            def done():  # the one before may not be over
                said = p.ctl("reload")
                return said.returncode == 0 if ok else "its letters are of" in said.stdout + said.stderr
            wait_until(done, f"{letters!r} to be taken" if ok else f"{letters!r} to be refused")

        reload("E$")
        equal(tells(), ["__keyevent@0__:set"])
        reload("KEx$Q", False)
        equal(tells(), ["__keyevent@0__:set"])
        c.cmd("CONFIG", "SET", "notify-keyspace-events", "Km")
        equal(tells(), ["__keyspace@0__:none"])
        reload("E$")
        equal(tells(), ["__keyspace@0__:none"], "the file says what it said")
        reload("")
        equal(tells(), [])
        reload("K$")
        equal(tells(), ["__keyspace@0__:k"])
    ear.c.close()
    p.allow("config.reload.failed")


def main():
    seed = harness.seed()
    with Redis(["--databases", "2"]) as redis, Purserd(config=CONFIG % ALL) as p:
        same_as_redis(redis, p, seed)
        each_command(redis, p, seed)
        same_watches(redis, p, seed)
        same_rules(redis, p)
        same_waits(redis, p)
        expired(redis, p)
        reloaded(p)


harness.run(main)
