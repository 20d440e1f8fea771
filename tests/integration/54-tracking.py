#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""CLIENT TRACKING: what a client has read and what then changed, never before the reply, never another project's."""

import random
import threading

import harness
from harness import Client, Purserd, Push, Redis, RespError, check, encode, equal, wait_until

PROJECTS = """
[backend main]
plugin = %s
[project default]
databases = 2
[project red]
[project open]
isolation = off
"""


def settings(redis, **more):
    return {"agent.workers": 3, "backend main.plugin": "redis", "backend main.url": redis.url, **more}


def tracking(p, *options, project=None, resp=3):
    c = p.client()
    c.cmd("HELLO", resp, *(["AUTH", project, "x"] if project else []))
    equal(c.cmd("CLIENT", "TRACKING", "ON", *options), "OK")
    return c


def quiet(c):
    """Nothing has come: what came before a reply would be read first."""
    c.send("PING")
    equal(c.read(), "PONG")


def invalid(*keys):
    return [b"invalidate", [k.encode() if isinstance(k, str) else k for k in keys] or None]


# ---- the same words to the agent and to Redis ------------------------------------------------------

WORDS = ["TRACKINGINFO", "GETREDIR", "CACHING YES", "CACHING foo", "TRACKING ON REDIRECT 99999999", "TRACKING ON REDIRECT x",
         "TRACKING ON BCAST OPTIN", "TRACKING ON OPTIN OPTOUT", "TRACKING ON PREFIX a", "TRACKING maybe", "TRACKING ON foo",
         "TRACKING ON BCAST PREFIX a PREFIX ab", "TRACKING OFF", "TRACKING ON OPTIN NOLOOP", "TRACKINGINFO", "CACHING NO", "CACHING YES",
         "TRACKINGINFO", "TRACKING ON OPTOUT", "TRACKING ON BCAST", "TRACKING OFF", "TRACKING ON OPTOUT", "CACHING YES", "CACHING NO",
         "TRACKINGINFO", "GETREDIR", "TRACKING OFF", "TRACKING ON BCAST PREFIX a PREFIX b", "TRACKING ON BCAST PREFIX ab",
         "TRACKING ON BCAST PREFIX c", "TRACKING ON", "TRACKING OFF", "TRACKING ON BCAST", "TRACKINGINFO", "TRACKING ON BCAST PREFIX x",
         "TRACKING OFF", "TRACKINGINFO"]


def plain(reply):
    """Flags are a set."""
    if isinstance(reply, RespError):
        return reply.text
    if isinstance(reply, dict) and b"flags" in reply:
        return sorted(reply[b"flags"]), reply[b"redirect"], sorted(reply[b"prefixes"])
    if isinstance(reply, list) and reply[:1] == [b"flags"]:
        return sorted(reply[1]), reply[3], sorted(reply[5])
    return reply


def same_as_redis(redis, p):
    for resp in (2, 3):
        with p.client() as agent, Client(redis.sock) as live:
            for c in (agent, live):
                c.cmd("HELLO", resp)
            for line in WORDS:
                got = []
                for c in (agent, live):
                    c.send("CLIENT", *line.split())
                    got.append(plain(c.read()))
                equal(got[0], got[1], (resp, line))


# ---- modes -------------------------------------------------------------------------------------------

def most_memory(p):
    with open(f"/proc/{p.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))


def default_mode(p):
    """Keys are not written before they are read: what is told of that could still be on its way."""
    with tracking(p) as c, p.client() as w:
        c.cmd("GET", "a")
        c.cmd("MGET", "b", "c", "b")
        w.cmd("SET", "other", 1)
        w.cmd("SET", "a", 1)
        equal(c.read(), invalid("a"))
        w.cmd("SET", "a", 2)  # told once, until it is read again
        quiet(c)
        w.cmd("MSET", "b", 1, "c", 1)
        equal(sorted([c.read(), c.read()]), [invalid("b"), invalid("c")])
        c.cmd("LRANGE", "l", 0, -1)
        w.cmd("RPUSH", "l", "x")
        equal(c.read(), invalid("l"))
        c.cmd("GET", "mine")
        c.send("SET", "mine", 2)
        got = [c.read(), c.read()]  # in either order
        check("OK" in got and invalid("mine") in got, got)
        equal(c.pipeline([["MULTI"], ["GET", "in multi"], ["EXEC"]])[2], [None])
        w.cmd("SET", "in multi", 1)
        equal(c.read(), invalid("in multi"))
        before = most_memory(p)
        got = c.pipeline([["MULTI"], *[["GET", f"of many:{i % 100}"] for i in range(9000)], ["EXEC"]])[-1]
        equal(got, [None] * 9000)
        check(most_memory(p) - before < 128 << 10, "KiB for a large transaction:", most_memory(p) - before)
        c.cmd("EVAL", "return redis.call('GET', KEYS[1])", 1, "by script")
        w.cmd("EVAL", "return redis.call('SET', KEYS[1], 1)", 1, "by script")
        equal(c.read(), invalid("by script"))
        expired(c, w)
        equal(c.cmd("CLIENT", "TRACKING", "OFF"), "OK")
        c.cmd("GET", "off")
        w.cmd("SET", "off", 1)
        quiet(c)


def expired(c, w):
    """A key that expires; what is told of its being written may come first."""
    w.cmd("SET", "e", "v", "PX", 300)
    while True:
        c.send("GET", "e")
        reply = c.read()
        while isinstance(reply, Push):
            reply = c.read()
        if reply is None:
            return
        equal(c.read(), invalid("e"))


def opt(p):
    with tracking(p, "OPTIN") as c, p.client() as w:
        c.cmd("GET", "in:a")
        c.pipeline([["CLIENT", "CACHING", "YES"], ["GET", "in:b"], ["GET", "in:c"]])
        for k in "abc":
            w.cmd("SET", "in:" + k, 1)
        equal(c.read(), invalid("in:b"))
        quiet(c)
        c.cmd("CLIENT", "CACHING", "YES")
        c.pipeline([["MULTI"], ["GET", "in:x"], ["GET", "in:y"], ["EXEC"]])
        c.cmd("GET", "in:z")
        for k in "xyz":
            w.cmd("SET", "in:" + k, 1)
        equal([c.read(), c.read()], [invalid("in:x"), invalid("in:y")])
        quiet(c)
    with tracking(p, "OPTOUT") as c, p.client() as w:
        c.pipeline([["CLIENT", "CACHING", "NO"], ["GET", "out:b"], ["GET", "out:c"]])
        for k in "bc":
            w.cmd("SET", "out:" + k, 2)
        equal(c.read(), invalid("out:c"))
        quiet(c)


def told(c, n):
    """n keys that have changed: those that change together may come together."""
    keys = []
    while len(keys) < n:
        r = c.read()
        equal(r[0], b"invalidate")
        keys += r[1]
    return keys


def bcast(p):
    with tracking(p, "BCAST", "PREFIX", "user:", "PREFIX", "obj:") as c, tracking(p, "BCAST") as everything, p.client() as w:
        w.cmd("SET", "user:1", 1)
        w.cmd("SET", "other", 1)
        w.cmd("SET", "obj:2", 1)
        equal(told(c, 2), [b"user:1", b"obj:2"])
        quiet(c)
        want = [b"user:1", b"other", b"obj:2"]
        while want:  # of what was written before it may hear too
            for key in everything.read()[1] or ():
                want = want[1:] if want and key == want[0] else want
        w.cmd("MSET", *[x for i in range(200) for x in (f"user:{i}", i)])
        equal(set(told(c, 200)), {b"user:%d" % i for i in range(200)})


def behind_all(c, w, name):
    """Of which keys c hears until a change that it does hear of: everything else of before has come by then.  What
    changes together may come together."""
    heard, key = [], name.encode()
    c.send("GET", name)
    while True:
        r = c.read()
        if not isinstance(r, Push):
            break
        heard += r[1]
    w.cmd("SET", name, "v")
    while key not in heard:
        r = c.read()
        check(isinstance(r, Push), r)
        heard += r[1]
    heard.remove(key)
    return heard


OWN = [("SET", "n:a", 1), ("SET", "n:a", 2, "PX", 100000), ("APPEND", "n:a", "x"), ("DEL", "n:a"), ("MSET", "n:a", 1, "n:b", 2), ("INCR", "n:a"),
       ("EXPIRE", "n:a", 100), ("PERSIST", "n:a"), ("UNLINK", "n:b"), ("HSET", "n:h", "f", "v"), ("HDEL", "n:h", "f"), ("RPUSH", "n:l", "a", "b"),
       ("LPOP", "n:l"), ("SADD", "n:s", "m"), ("SREM", "n:s", "m"), ("ZADD", "n:z", 1, "m"), ("ZREM", "n:z", "m"), ("XADD", "n:x", "*", "f", "v"), ("GETDEL", "n:a")]
NOTHING = [("DEL", "n:none"), ("EXPIRE", "n:none", 1), ("HDEL", "n:none", "f"), ("LPOP", "n:none"), ("SET", "n:set", 1, "NX"), ("SADD", "n:has", "m")]


def noloop(p):
    """A client is not told of what it has surely changed itself, and of everything else as ever: a write of its own that
    changed nothing keeps no other's from it."""
    with p.client() as w:
        for mode in ([], ["BCAST", "PREFIX", "n:"]):
            w.cmd("SET", "n:set", 1)
            w.cmd("SADD", "n:has", "m")
            with tracking(p, "NOLOOP", *mode) as c:
                behind_all(c, w, "n:begin")
                for words in OWN:
                    for k in ("n:a", "n:b", "n:none", "n:set", "n:has"):
                        c.cmd("EXISTS", k)
                    c.send(*words)
                    check(not isinstance(c.read(), (RespError, Push)), words)
                    equal(behind_all(c, w, "n:mark"), [], words)
                for words in NOTHING:
                    c.cmd("EXISTS", words[1])
                    c.cmd(*words)
                    equal(behind_all(c, w, "n:mark"), [], words)
                    w.cmd("DEL", words[1])
                    w.cmd("SET", words[1], "theirs")
                    heard = behind_all(c, w, "n:mark")
                    check(heard and set(heard) == {words[1].encode()}, words, heard)
                    behind_all(c, w, "n:mark")
                    w.cmd("DEL", words[1])
                    if words[1] in ("n:set", "n:has"):
                        w.cmd(*(("SET", "n:set", 1) if words[1] == "n:set" else ("SADD", "n:has", "m")))
                    behind_all(c, w, "n:mark")
                c.cmd("GET", "n:a")  # its own, then another's, then its own
                c.cmd("SET", "n:a", "mine")
                equal(behind_all(c, w, "n:mark"), [])
                c.cmd("GET", "n:a")
                w.cmd("SET", "n:a", "theirs")
                equal(c.read(), invalid("n:a"))
                c.cmd("GET", "n:a")  # several of its own in one write: the next one is another's all the same
                equal(c.pipeline([["SET", "n:a", n] for n in range(5)]), ["OK"] * 5)
                behind_all(c, w, "n:mark")
                c.cmd("GET", "n:a")
                w.cmd("SET", "n:a", "theirs")
                equal(c.read(), invalid("n:a"))
                equal(c.cmd("CLIENT", "TRACKINGINFO")[b"flags"], [b"on", *([b"bcast"] if mode else []), b"noloop"])
            with tracking(p, *mode) as c:  # without the option
                behind_all(c, w, "n:begin")
                c.cmd("GET", "n:a")
                c.send("SET", "n:a", 3)
                got = [c.read(), c.read()]
                check("OK" in got and invalid("n:a") in got, got)


def redirect(p):
    with p.client() as ear, p.client() as w:
        target = ear.cmd("CLIENT", "ID")
        ear.cmd("SUBSCRIBE", "__redis__:invalidate")
        readers = [tracking(p, "REDIRECT", target, resp=2 + i % 2) for i in range(6)]
        for i, c in enumerate(readers):
            equal(c.cmd("CLIENT", "GETREDIR"), target)
            c.cmd("GET", f"key{i}")
        for i in range(6):
            w.cmd("SET", f"key{i}", 1)
            equal(ear.read(), [b"message", b"__redis__:invalidate", [b"key%d" % i]])
        for c in readers:
            quiet(c)
            c.cmd("GET", "k")
        ear.close()
        wait_until(lambda: not w.cmd("CLIENT", "LIST", "ID", target), "the agent to see the end of the ear")
        w.cmd("SET", "k", 1)
        for i, c in enumerate(readers):
            if i % 2:
                equal(c.read(), [b"tracking-redir-broken", target])

            def flags(c=c):
                info = c.cmd("CLIENT", "TRACKINGINFO")
                return b"broken_redirect" in (info[b"flags"] if isinstance(info, dict) else info[1])
            wait_until(flags, "the redirection to be known as broken")
            c.close()


def settle(c, w, mine, theirs):
    """A project that begins to track has everything of the others invalidated once: until that is over."""
    while True:
        c.send("GET", mine)
        while isinstance(c.read(), Push):
            pass
        w.cmd("SET", theirs, 1)
        got = c.read()
        if got == invalid(mine):
            return
        equal(got, invalid())


def isolation(p):
    def of(project):
        return tracking(p, project=project), tracking(p, "BCAST", project=project)
    red, free, base = of("red"), of("open"), of("default")
    with p.client() as w, p.client() as wide:
        w.cmd("HELLO", 2, "AUTH", "red", "x")
        wide.cmd("HELLO", 2, "AUTH", "open", "x")
        for c, mine, theirs in ((red, "warm", "proj:red:warm"), (free, "warm", "warm"), (base, "warm", "proj:default:warm")):
            settle(c[0], wide, mine, theirs)
            wide.cmd("SET", theirs + "er", 1)
            while c[1].read() != invalid(mine + "er"):
                pass
        wide.cmd("SET", "proj:red:last", 1)
        while free[1].read() != invalid("proj:red:last"):
            pass
        equal(red[1].read(), invalid("last"))
        for c, _ in (red, free, base):
            c.cmd("GET", "k")
        free[0].cmd("GET", "proj:red:k")
        w.cmd("SET", "k", 1)
        equal(red[0].read(), invalid("k"))
        equal(red[1].read(), invalid("k"))
        equal(free[0].read(), invalid("proj:red:k"))
        equal(free[1].read(), invalid("proj:red:k"))
        for c in (*red, *free, *base):
            quiet(c)
        check(red[0].error("PURSER.PROJECT", "open").text.startswith("ERR unsubscribe,"), "tracking stays")
        target = base[0].cmd("CLIENT", "ID")
        equal(red[0].error("CLIENT", "TRACKING", "ON", "REDIRECT", target).text,
              "ERR The client ID you want redirect to does not exist")
        equal(red[0].cmd("RESET"), "RESET")
    for c in (*red, *free, *base):
        c.close()


# ---- trouble ------------------------------------------------------------------------------------------

def lost_link(redis, p):
    with tracking(p) as c, tracking(p, "BCAST") as b, tracking(p) as idle, p.client() as w, Client(redis.sock) as live:
        c.cmd("GET", "lost")
        ids = [x.split("id=")[1].split(" ")[0] for x in live.cmd("CLIENT", "LIST").decode().splitlines() if "flags=tB" in x]
        equal(len(ids), 1, "connections that track")
        equal(live.cmd("CLIENT", "KILL", "ID", ids[0]), 1)
        equal(c.read(), invalid())
        equal(b.read(), invalid())
        quiet(idle)  # it has read nothing
        p.wait_log("the connection that tells of changed keys")

        def again():
            c.send("GET", "again")
            while isinstance(c.read(), Push):
                pass
            w.cmd("SET", "again", 1)
            c.s.settimeout(0.2)
            try:
                return invalid("again") == c.read()
            except TimeoutError:
                c.f = c.s.makefile("rb", 65536)
                return False
            finally:
                c.s.settimeout(30 * harness.SLOW)
        wait_until(again, "tracking to work again")


def no_tracking_without_redis(redis):
    with Purserd(settings(redis, **{"backend main.operation_timeout": "300ms"}), name="down") as p, p.client() as c:
        c.cmd("HELLO", 3)
        redis.kill()
        equal(c.error("CLIENT", "TRACKING", "ON").word, "BACKENDDOWN")
        equal(plain(c.cmd("CLIENT", "TRACKINGINFO"))[0], [b"off"])
        redis.start()
        wait_until(lambda: c.send("CLIENT", "TRACKING", "ON") or c.read() == "OK", "tracking to be possible")


def small_table(config, name):
    with Purserd({**config, "agent.workers": 1, "agent.tracking_max_keys": "10"}, name=name) as p, tracking(p) as c:
        seen = []
        for i in range(30):
            c.send("GET", i)
            while True:
                r = c.read()
                if not isinstance(r, Push):
                    break
                seen.append(r)
        equal(seen, [invalid(str(i)) for i in range(20)])


class Cache:
    """A client that keeps what it reads until it is told."""

    def __init__(self, p, rng, keys, *options):
        self.c = tracking(p, *options)
        self.rng, self.keys = rng, keys
        self.have, self.asked = {}, []

    def ask(self):
        batch = [self.rng.choice(self.keys) for _ in range(self.rng.randint(1, 8))]
        self.asked += batch
        self.c.raw(b"".join(encode("GET", k) for k in batch))

    def take(self):
        """One frame; what it is if it is no reply to what was asked."""
        r = self.c.read()
        if not isinstance(r, Push):
            if not self.asked:
                return r
            self.have[self.asked.pop(0)] = r
        elif r[1] is None:
            self.have.clear()
        else:
            for k in r[1]:
                self.have.pop(k.decode(), None)
        return None

    def drain(self):
        """All that has come until now."""
        self.c.send("PING")
        while self.take() != "PONG":
            pass


def coherent(redis, p, seed):
    """Many readers and writers; when all is quiet, no client keeps a value that is not the store's."""
    rng = random.Random(seed)
    keys = [f"k{i}" for i in range(40)]
    caches = [Cache(p, rng, keys, *(["BCAST"] if i % 3 == 0 else [])) for i in range(12)]
    stop, turns = threading.Event(), threading.Semaphore(0)  # writers go on as fast as the readers read

    def write(n):
        own = random.Random(seed + n)
        w = p.client() if n % 2 or not redis else Client(redis.sock)
        prefix = "" if n % 2 or not redis else "proj:default:"
        i = 0
        while not stop.is_set():
            if not turns.acquire(timeout=0.1):
                continue
            w.pipeline([["SET", prefix + own.choice(keys), f"{n}-{i}-{j}"] for j in range(own.randint(1, 5))])
            i += 1
    writers = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    for t in writers:
        t.start()
    try:
        for _ in range(150 if not harness.LONG else 5000):
            turns.release(9)
            for cache in caches:
                cache.ask()
            for cache in caches:
                while cache.asked:
                    cache.take()
    finally:
        stop.set()
        for t in writers:
            t.join()
    live, prefix = (Client(redis.sock), "proj:default:") if redis else (p.client(), "")
    truth = {k: live.cmd("GET", prefix + k) for k in keys}

    def settled():
        for cache in caches:
            cache.drain()
        return all(truth[k] == v for cache in caches for k, v in cache.have.items())
    wait_until(settled, "every cache to be true")
    for cache in caches:
        cache.c.close()
    live.close()


def flushed_and_evicted():
    """What goes without a command that names it."""
    config = {"agent.workers": 3, "backend main.plugin": "memory", "backend main.max_memory": "1MiB",
              "backend main.eviction": "allkeys-lru", "project default.isolation": "off"}
    with Purserd(config, name="full") as p, tracking(p) as c, tracking(p, "BCAST", "PREFIX", "seen:") as b, p.client() as w:
        w.cmd("SET", "seen:1", "x")
        equal(b.read(), invalid("seen:1"))
        c.cmd("GET", "seen:1")
        for i in range(3000):
            w.cmd("SET", f"fill:{i}", "x" * 1000)
        check(w.cmd("EXISTS", "seen:1") == 0, "the key is still there")
        equal(c.read(), invalid("seen:1"))
        equal(b.read(), invalid("seen:1"))
        quiet(c)
        w.cmd("FLUSHALL")
        equal(b.read(), invalid())
        c.cmd("GET", "k")
        w.cmd("SET", "k", 1)
        got = c.read()
        check(got in (invalid(), invalid("k")), got)


def on_memory(redis, seed):
    config = {"agent.workers": 3, "backend main.plugin": "memory"}
    with Purserd(config, name="memory") as p:
        same_as_redis(redis, p)
        default_mode(p)
        opt(p)
        noloop(p)
        bcast(p)
        redirect(p)
        coherent(None, p, seed)
    with Purserd({"agent.workers": 3}, config=PROJECTS % "memory", name="projects on memory") as p:
        isolation(p)
    small_table(config, "small on memory")
    flushed_and_evicted()


def main():
    seed = harness.seed()
    with Redis() as redis:
        with Purserd(settings(redis)) as p:
            same_as_redis(redis, p)
            default_mode(p)
            opt(p)
            noloop(p)
            bcast(p)
            redirect(p)
            lost_link(redis, p)
            coherent(redis, p, seed)
        with Purserd({"agent.workers": 3}, config=PROJECTS % f"redis\nurl = {redis.url}", name="projects") as p:
            isolation(p)
        small_table(settings(redis), "small")
        no_tracking_without_redis(redis)
        on_memory(redis, seed)


harness.run(main)
