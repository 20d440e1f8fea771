#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""MULTI, EXEC, DISCARD, WATCH, UNWATCH: random sessions in two projects against a Redis of their own each; conflicts,
lost connections, limits, clients that interleave on one lane, and what must not be seen."""

import os
import random
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import Client, Purserd, Redis, RespError, check, equal, wait_until

ROUNDS = 4000 if harness.LONG else 120
ABORT = RespError("EXECABORT Transaction discarded because of previous errors.")
TWO = "[backend main]\nplugin = redis\nurl = {url}\n[project one]\ndatabases = 3\n[project two]\n"


def two(url, more="", **settings):
    return Purserd(settings, config="[agent]\nmode = development\n" + TWO.format(url=url) + more)


def enter(p, project, resp=2, name=None):
    c = p.client()
    if resp == 3:
        c.cmd("HELLO", 3)
    c.cmd("PURSER.PROJECT", project)
    return c


# ---- the same as Redis says -----------------------------------------------------------------------------------

class Session:
    """What one client sends: transactions and plain commands, good ones and bad ones."""

    def __init__(self, rng):
        self.rng = rng

    def key(self):
        return self.rng.choice("abcdef")

    def plain(self):
        r, k = self.rng, self.key
        line = [
            ["SET", "s" + k(), r.randint(0, 99)], ["GET", "s" + k()], ["INCR", "s" + k()],
            ["APPEND", "s" + k(), "x"], ["MSET", "s" + k(), 1, "s" + k(), 2], ["MGET", "s" + k(), "h" + k(), "nil"],
            ["HSET", "h" + k(), "f", r.randint(0, 9)], ["HGETALL", "h" + k()], ["HINCRBY", "h" + k(), "f", "x"],
            ["DEL", "s" + k(), "h" + k()], ["EXISTS", "s" + k()], ["TYPE", "h" + k()], ["INCR", "h" + k()],
            ["GET"], ["SET", "sa"], ["NOSUCH", "sa"], ["OBJECT", "NOSUCH", "sa"], ["PING"], ["PING", "x"], ["ECHO", "e"],
            ["KEYS", "nothing*"], ["SCAN", 0, "MATCH", "sa", "COUNT", 10000], ["SELECT", 0], ["CLIENT", "GETNAME"],
            ["RENAME", "s" + k(), "s" + k()], ["GETDEL", "nil"], ["STRLEN", "h" + k()],
            ["RPUSH", "l" + k(), r.randint(0, 9)], ["LRANGE", "l" + k(), 0, -1], ["LMPOP", 2, "l" + k(), "l" + k(), "LEFT"],
            ["SORT", "l" + k(), "BY", "s*"], ["SORT", "l" + k(), "GET", "s*"], ["ZADD", "z" + k(), 1, "m"],
            ["ZMPOP", 1, "z" + k(), "MIN"], ["ZPOPMIN", "z" + k()], ["XADD", "x" + k(), "5-1", "f", "v"],
            ["XREAD", "STREAMS", "x" + k(), "x" + k(), "0", "0"], ["XRANGE", "x" + k(), "-", "+"],
            ["XGROUP", "CREATE", "x" + k(), "g", "$"], ["XREADGROUP", "GROUP", "g", "c", "STREAMS", "x" + k(), ">"],
            ["XINFO", "STREAM", "nil"], ["LPOP", "s" + k()], ["RPOPLPUSH", "l" + k(), "l" + k()],
            ["EVAL", "return redis.call('INCR', KEYS[1])", 1, "s" + k()], ["EVAL", "return {1, {2, redis.call('GET', KEYS[1])}}", 1, "s" + k()],
            ["EVAL", "return redis.error_reply('MINE it is')", 0], ["EVAL", "return {redis.status_reply('x'), false}", 0],
            ["EVAL", "x", "y"], ["EVAL", "return 1", 9, "a"],
        ]
        return r.choice(line)

    def queued(self):
        """What may stand between MULTI and EXEC: what waits outside does not."""
        k = self.key
        if self.rng.random() < 0.1:
            return self.rng.choice([
                ["BLPOP", "l" + k(), "l" + k(), 0], ["BRPOP", "l" + k(), 0], ["BLMPOP", 0, 1, "l" + k(), "RIGHT"],
                ["BZPOPMIN", "z" + k(), 0], ["BLMOVE", "l" + k(), "l" + k(), "LEFT", "LEFT", 0], ["BZMPOP", 0, 1, "z" + k(), "MAX"],
                ["XREAD", "BLOCK", 0, "STREAMS", "x" + k(), "$"], ["BRPOPLPUSH", "l" + k(), "l" + k(), 0], ["WAIT", 0, 0],
                ["BLPOP", "s" + k(), 0], ["BLPOP", "l" + k(), "x"]])
        return self.plain()

    def one(self):
        r = self.rng
        lines = []
        if r.random() < 0.4:
            lines.append(r.choice([["WATCH", "s" + self.key()], ["WATCH", "sa", "sb", "h" + self.key()], ["WATCH"]]))
            lines += [self.plain() for _ in range(r.randint(0, 2))]
            if r.random() < 0.2:
                lines.append(["UNWATCH"])
        if r.random() < 0.8:
            lines.append(["MULTI"])
            good, scripts = r.random() < 0.6, r.random() < 0.5
            for _ in range(r.randint(0, 8)):
                line = self.queued()
                while good and line[0] in ("GET", "SET", "NOSUCH", "OBJECT") and len(line) < 3 and line != ["GET", line[-1]]:
                    line = self.queued()
                # on redis a project's scripts run as a user that may not look at whole databases
                while line[0] in (("KEYS", "SCAN", "SORT") if scripts else ("EVAL",)):
                    line = self.queued()
                lines.append(line)
            if r.random() < 0.1:
                lines.append(r.choice([["MULTI"], ["WATCH", "sa"], ["UNWATCH"], ["MULTI", "x"], ["EXEC", "x"], ["RESET"]]))
            lines.append(["EXEC"] if r.random() < 0.85 else ["DISCARD"])
        else:
            lines += [r.choice([["EXEC"], ["DISCARD"], ["UNWATCH"], ["GET", "sa"]])]
        return lines


def same(a, b):
    """Replies of two servers; fields of a hash, and keys, in any order."""
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return all(same(x, y) for x, y in zip(a, b)) or sorted(map(repr, a)) == sorted(map(repr, b))
    return a == b and type(a) is type(b)


def differential(p, references, rng, resp):
    """The same session to a project and to a Redis of its own, in pipelines cut at random."""
    ends = []
    for name, redis in references:
        ours, theirs = enter(p, name, resp), redis.client()
        if resp == 3:
            theirs.cmd("HELLO", 3)
        ours.cmd("FLUSHDB")
        theirs.cmd("FLUSHALL")
        ends.append((name, ours, theirs, Session(rng)))
    n, before = 0, {name: [] for name, *_ in ends}
    for _ in range(ROUNDS):
        for name, ours, theirs, session in ends:
            lines = session.one()
            before[name] = before[name][-30:] + lines
            after = [["HELLO", 3]] if resp == 3 and ["RESET"] in lines else []
            if ["RESET"] in lines:
                after.append(["PURSER.PROJECT", name])
            while lines:
                cut = rng.randint(1, len(lines))
                part, lines = lines[:cut], lines[cut:]
                if ["RESET"] in part:  # the rest of it would be in another project
                    at = part.index(["RESET"]) + 1
                    part, lines = part[:at], []
                for line, a, b in zip(part, ours.pipeline(part), theirs.pipeline(part)):
                    check(same(a, b), f"{name}: {line!r}\n ours  {a!r}\n Redis {b!r}\n of {part!r}\n behind {before[name]}")
                    check("proj:" not in repr(a), name, line, a)
                    n += 1
            for line in after:
                ours.cmd(*line)
                if line[0] == "HELLO":
                    theirs.cmd(*line)
    print(f"RESP{resp}: {n} replies", flush=True)


# ---- WATCH ----------------------------------------------------------------------------------------------------

def conflicts(p, redis):
    a, b, other = enter(p, "one"), enter(p, "one", 3), enter(p, "two")
    direct = redis.client()
    for resp, null in ((a, None), (b, None)):
        resp.cmd("SET", "k", "1")
        resp.cmd("WATCH", "k", "j")
        equal(other.cmd("SET", "k", "x"), "OK")  # another project's k is another key
        resp.cmd("MULTI")
        resp.cmd("INCR", "k")
        equal(resp.cmd("EXEC"), [2])
        resp.cmd("WATCH", "k")
        enter(p, "one").cmd("SET", "k", "7")
        resp.cmd("MULTI")
        resp.cmd("INCR", "k")
        equal(resp.cmd("EXEC"), null, "a watched key has changed")
        equal(resp.cmd("GET", "k"), b"7")
        resp.cmd("WATCH", "j")
        equal(direct.cmd("SET", "proj:one:j", "behind the agent"), "OK")
        equal(resp.pipeline([["MULTI"], ["EXEC"]]), ["OK", null], "nothing is queued, the watch counts")
        resp.cmd("DEL", "j")
        resp.cmd("WATCH", "k")
        resp.cmd("SET", "k", "9")  # a client's own write counts too
        equal(resp.pipeline([["MULTI"], ["GET", "k"], ["EXEC"]])[-1], null)
        for end in ("UNWATCH", "DISCARD", "EXEC"):  # each of them ends a watch
            resp.cmd("WATCH", "k")
            if end != "UNWATCH":
                resp.cmd("MULTI")
            if end == "EXEC":
                resp.error("NOSUCH")
            direct.cmd("SET", "proj:one:k", end)
            if end == "EXEC":
                equal(resp.error("EXEC"), ABORT)
            else:
                equal(resp.cmd(end), "OK")
            equal(resp.pipeline([["MULTI"], ["GET", "k"], ["EXEC"]])[-1], [end.encode()])
    # RESET too, and nothing of it is left on the connection that others take next
    a.cmd("WATCH", "k")
    direct.cmd("SET", "proj:one:k", "reset")
    equal(a.cmd("RESET"), "RESET")
    a.cmd("PURSER.PROJECT", "one")
    equal(a.pipeline([["WATCH", "other"], ["MULTI"], ["GET", "k"], ["EXEC"]])[-1], [b"reset"])
    for _ in range(20):  # clients that leave while they watch
        gone = enter(p, "one")
        gone.cmd("WATCH", "k")
        gone.close()
        direct.cmd("INCR", "other")
        equal(a.pipeline([["WATCH", "k"], ["MULTI"], ["EXEC"]])[-1], [])
    for c in (a, b, other, direct):
        c.close()


def loops(p, redis):
    """The counter that everybody increments by WATCH, GET, MULTI, SET, EXEC: none is lost."""
    each, wrong = 40 if not harness.LONG else 1000, []

    def run():
        c = enter(p, "one")
        try:
            for _ in range(each):
                while True:
                    c.cmd("WATCH", "counter")
                    n = int(c.cmd("GET", "counter") or 0)
                    got = c.pipeline([["MULTI"], ["SET", "counter", n + 1], ["EXEC"]])[-1]
                    if got == ["OK"]:
                        break
                    if got is not None:
                        raise harness.Failure(f"EXEC: {got!r}")
        except Exception as e:
            wrong.append(e)
        c.close()

    threads = [threading.Thread(target=run) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not wrong, wrong)
    with enter(p, "one") as c:
        equal(c.cmd("GET", "counter"), str(6 * each).encode())


def links(direct):
    return {int(line.split("id=")[1].split()[0]) for line in direct.cmd("CLIENT", "LIST").decode().splitlines()
            if "cmd=watch" in line}


def lost(p, redis):
    """The connection goes between WATCH and EXEC: EXEC does not run, and is a null, as if a key had changed."""
    direct, c = redis.client(), enter(p, "one")
    c.cmd("SET", "k", "1")
    for when in ("before MULTI", "before EXEC", "everything"):
        c.cmd("WATCH", "k")
        if when != "before MULTI":
            c.cmd("MULTI")
            c.cmd("INCR", "k")
        if when == "everything":
            direct.cmd("CLIENT", "KILL", "TYPE", "normal")
        else:
            (link,) = wait_until(lambda: links(direct), "the connection that watches")
            direct.cmd("CLIENT", "KILL", "ID", link)
        if when == "before MULTI":
            c.cmd("MULTI")
            c.cmd("INCR", "k")
        equal(c.cmd("EXEC"), None, when)
        wait_until(lambda: served(c), "the lane to be back")
        equal(c.cmd("GET", "k"), b"1", when)
        # and it is over: the next one is a new watch
        equal(c.pipeline([["WATCH", "k"], ["MULTI"], ["GET", "k"], ["EXEC"]])[-1], [b"1"], when)
    for end in ("UNWATCH", "RESET"):
        c.cmd("WATCH", "k")
        (link,) = wait_until(lambda: links(direct), "the connection that watches")
        direct.cmd("CLIENT", "KILL", "ID", link)
        equal(c.cmd(end), "OK" if end == "UNWATCH" else "RESET")
        c.cmd("PURSER.PROJECT", "one")
        equal(c.pipeline([["WATCH", "k"], ["MULTI"], ["GET", "k"], ["EXEC"]])[-1], [b"1"], end)
    c.close()
    direct.close()


def served(c):
    c.send("PING")
    c.read()
    c.send("GET", "k")
    return not isinstance(c.read(), RespError)


def down():
    """Redis dies: what was not sent says so, what may have run too; nothing runs that was watched."""
    with Redis(name="mortal") as redis, two(redis.url) as p:
        c, w = enter(p, "one"), enter(p, "one")
        c.cmd("SET", "k", "1")
        w.cmd("WATCH", "k")
        w.cmd("MULTI")
        w.cmd("SET", "k", "2")
        c.cmd("MULTI")
        c.cmd("INCR", "k")
        redis.kill()
        e = c.error("EXEC")
        check(e.word in ("BACKENDDOWN", "INDETERMINATE"), e)
        got = w.cmd("EXEC")
        equal(got, None)
        check(w.error("WATCH", "k").word == "BACKENDDOWN", "WATCH without a store")
        equal(w.pipeline([["MULTI"], ["SET", "k", "3"], ["EXEC"]])[-1], None, "a WATCH that failed protects nothing")
        os.unlink(redis.sock)
        redis.start()
        wait_until(lambda: served(c), "the store to be back")
        equal(c.cmd("GET", "k"), None)
        wait_until(lambda: served(w), "its worker too")
        equal(w.pipeline([["WATCH", "k"], ["MULTI"], ["SET", "k", "4"], ["EXEC"]])[-1], ["OK"])


# ---- one block, nobody between --------------------------------------------------------------------------------

def atomic(p, redis):
    """Many clients on one lane, each block counts up twice; plain commands of others between blocks."""
    blocks, wrong = 60 if not harness.LONG else 3000, []

    def run(number):
        c = enter(p, "one", 2 + number % 2)
        rng = random.Random(number)
        try:
            for _ in range(blocks // 20):
                lines, at = [], []
                for _ in range(20):
                    for _ in range(rng.randint(0, 3)):
                        lines.append(["INCR", "n"])
                    n = rng.randint(1, 5)
                    lines += [["MULTI"]] + [["INCR", "n"], ["RPUSH", "log", number]] * n + [["EXEC"]]
                    at.append((len(lines) - 1, n))
                replies = c.pipeline(lines)
                for i, n in at:
                    got = replies[i]
                    numbers, lengths = got[0::2], got[1::2]
                    if len(got) != 2 * n or numbers != list(range(numbers[0], numbers[0] + n)) or \
                            lengths != list(range(lengths[0], lengths[0] + n)):
                        wrong.append((number, got))
        except Exception as e:
            wrong.append((number, e))
        c.close()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not wrong, wrong[:3])


def large(p, redis):
    c = enter(p, "one")
    lines = [["SET", f"big:{i}", i] for i in range(1000)]
    got = c.pipeline([["MULTI"], *lines, *[["GET", f"big:{i}"] for i in range(1000)], ["EXEC"]])
    equal(got[-1], ["OK"] * 1000 + [str(i).encode() for i in range(1000)])
    value = os.urandom(1 << 20)  # in pieces out and in
    got = c.pipeline([["MULTI"], ["SET", "v", value], ["GET", "v"], ["PING"], ["GET", "v"], ["EXEC"]])[-1]
    equal(got, ["OK", value, "PONG", value])
    c.close()


def limits():
    with Redis(name="limits") as redis, two(redis.url, **{"agent.transaction_max_commands": "10",
                                                            "agent.transaction_max_size": "64KiB"}) as p:
        c = enter(p, "one")
        got = c.pipeline([["MULTI"], *[["INCR", "n"]] * 10, ["EXEC"]])
        equal(got[-1], list(range(1, 11)))
        got = c.pipeline([["MULTI"], *[["INCR", "n"]] * 12, ["EXEC"], ["GET", "n"]])
        equal([r.word if isinstance(r, RespError) else r for r in got],
              ["OK"] + ["QUEUED"] * 10 + ["TOOBIG", "QUEUED", "EXECABORT", b"10"])
        got = c.pipeline([["MULTI"], ["SET", "a", "x" * 40000], ["SET", "b", "x" * 40000], ["EXEC"], ["EXISTS", "a", "b"]])
        equal([r.word if isinstance(r, RespError) else r for r in got], ["OK", "QUEUED", "TOOBIG", "EXECABORT", 0])
        check("transaction_max_size" in got[2].text, got[2])


# ---- what the agent answers itself ----------------------------------------------------------------------------

def local(p, redis):
    c = enter(p, "one")
    direct = redis.client()
    got = c.pipeline([["MULTI"], ["PING"], ["SELECT", 1], ["SET", "k", "in 1"], ["CLIENT", "SETNAME", "me"],
                      ["CLIENT", "GETNAME"], ["SELECT", 9], ["UNWATCH"], ["EXEC"], ["GET", "k"], ["SELECT", 0], ["EXISTS", "k"]])
    equal(got[8], ["PONG", "OK", "OK", "OK", b"me", RespError("ERR DB index is out of range"), "OK"])
    equal(got[9:], [b"in 1", "OK", 0])
    direct.cmd("SELECT", 1)
    equal(direct.cmd("GET", "proj:one:k"), b"in 1")
    direct.cmd("SELECT", 0)
    # what does not run chooses no database
    equal(c.pipeline([["MULTI"], ["SELECT", 1], ["DISCARD"], ["EXISTS", "k"]])[-1], 0)
    equal(c.pipeline([["MULTI"], ["SELECT", 1], ["NOSUCH"], ["EXEC"], ["EXISTS", "k"]])[-1], 0)
    c.cmd("WATCH", "k")
    direct.cmd("SET", "proj:one:k", "0")
    equal(c.pipeline([["MULTI"], ["SELECT", 1], ["EXEC"], ["GET", "k"]])[2:], [None, b"0"])
    # two databases in one block are refused
    got = c.pipeline([["MULTI"], ["SET", "a", 1], ["SELECT", 1], ["SET", "a", 1], ["EXEC"], ["EXISTS", "a"]])
    equal([got[3].word, got[4], got[5]], ["UNSUPPORTED", ABORT, 0])
    # a watch holds for the database that it was made in
    got = c.pipeline([["WATCH", "k"], ["SELECT", 1], ["MULTI"], ["GET", "k"], ["EXEC"], ["GET", "k"], ["SELECT", 0]])
    equal([got[4].word, got[5]], ["UNSUPPORTED", b"in 1"])
    got = c.pipeline([["WATCH", "k"], ["SELECT", 1], ["WATCH", "k"], ["UNWATCH"], ["WATCH", "k"], ["MULTI"], ["GET", "k"], ["EXEC"], ["SELECT", 0]])
    equal([got[2].word, got[7]], ["UNSUPPORTED", [b"in 1"]])
    for line in (["DBSIZE"], ["FLUSHDB"], ["RANDOMKEY"], ["HELLO", "3"], ["AUTH", "two", "x"], ["PURSER.PROJECT", "two"],
                 ["CLIENT", "REPLY", "OFF"], ["PURSER.HEALTH"], ["SCRIPT", "FLUSH"]):
        got = c.pipeline([["MULTI"], line, ["EXEC"], ["PURSER.WHOAMI"]])
        equal([got[1].word, got[2]], ["UNSUPPORTED", ABORT], line)
        check(b'"project":"one"' in got[3], got[3])
    info = c.pipeline([["MULTI"], ["CLIENT", "INFO"], ["EXEC"], ["CLIENT", "INFO"]])
    check(b" multi=-1 " in info[3], info[3])
    # nobody reads: it runs all the same, and SELECT counts
    c.raw(harness.encode("CLIENT", "REPLY", "OFF") + b"".join(harness.encode(*line) for line in (
        ["WATCH", "k"], ["MULTI"], ["SET", "quiet", 1], ["PING"], ["EXEC"], ["EVALSHA", "0" * 40, 0], ["MULTI"], ["NOSUCH"], ["EXEC"],
        ["MULTI"], ["SELECT", 1], ["SET", "quiet", 2], ["EXEC"], ["EVAL", "return redis.call('INCR', KEYS[1])", 1, "quiet"],
        ["CLIENT", "REPLY", "ON"], ["GET", "quiet"], ["SELECT", 0], ["GET", "quiet"])))
    equal([c.read() for _ in range(4)], ["OK", b"3", "OK", b"1"])
    c.close()
    direct.close()
    http = p.http("POST", "/v1/command", [["MULTI"], ["GET", "k"], ["EXEC"], ["WATCH", "k"]], {"Purser-Project": "one"})
    check(http.body.count(b"UNSUPPORTED") == 3, http.body)


def errors(p, redis):
    """Errors inside EXEC, and key names in its elements, are the project's own."""
    for resp in (2, 3):
        c = enter(p, "two", resp)
        lines = [["XREADGROUP", "GROUP", "g", "me", "STREAMS", "nostream", ">"], ["XGROUP", "CREATE", "no", "g", "$"],
                 ["RPUSH", "l", 1, 2], ["LMPOP", 1, "l", "LEFT"], ["XADD", "x", "1-1", "f", "proj:two:v"],
                 ["XREAD", "BLOCK", 0, "STREAMS", "x", "0"], ["KEYS", "*"], ["SCAN", 0, "COUNT", 1000], ["HSET", "h", "proj:two:f", "v"], ["HGETALL", "h"]]
        got = c.pipeline([["MULTI"], *lines, ["EXEC"]])[-1]
        equal(got[0].text, "NOGROUP No such key 'nostream' or consumer group 'g' in XREADGROUP with GROUP option")
        equal(got[3], [b"l", [b"1"]])
        stream = [[b"1-1", [b"f", b"proj:two:v"]]]  # a value is a value, whatever it looks like
        equal(got[5], {b"x": stream} if resp == 3 else [[b"x", stream]])
        equal(sorted(got[6]), [b"l", b"x"])
        equal(sorted(got[7][1]), [b"l", b"x"])
        equal(got[9], {b"proj:two:f": b"v"} if resp == 3 else [b"proj:two:f", b"v"])
        check("proj:" not in repr(got[:5] + got[6:8]), got)
        equal(c.pipeline([["MULTI"], ["XREAD", "BLOCK", 0, "STREAMS", "x", "$"], ["WAIT", 5, 0], ["EXEC"]])[-1], [None, 0], "nothing waits")
        got = c.pipeline([["MULTI"], ["RPUSH", "l", "proj:two:v"], ["BLPOP", "none", "l", 0], ["BLPOP", "l", "l2", 0], ["EXEC"]])[-1]
        equal(got[1:3], [[b"l", b"2"], [b"l", b"proj:two:v"]])
        c.cmd("FLUSHDB")
        c.close()


def published(p, redis):
    """PUBLISH in a transaction: its count is that of the subscribers, not of the agent's one subscription."""
    listeners, quiet, direct = [enter(p, "one") for _ in range(3)], enter(p, "two"), redis.client()
    for c in (*listeners, quiet):
        c.cmd("SUBSCRIBE", "news")
    direct.cmd("SUBSCRIBE", "proj:one:news")
    c = enter(p, "one")
    equal(c.pipeline([["MULTI"], ["SET", "k", 1], ["PUBLISH", "news", "now"], ["PUBLISH", "other", "now"], ["EXEC"]])[-1], ["OK", 4, 0])
    for listener in listeners:
        equal(listener.read(), [b"message", b"news", b"now"])
    equal(quiet.cmd("PING"), [b"pong", b""])
    equal(c.pipeline([["MULTI"], ["SUBSCRIBE", "news"], ["EXEC"]])[1].word, "UNSUPPORTED")
    for x in (*listeners, quiet, direct, c):
        x.close()


def reloaded():
    """A reload in the middle: what is queued goes on while the project is what it was, and is refused if not."""
    with Redis(name="reload") as redis, two(redis.url) as p:
        c, w, gone = enter(p, "one"), enter(p, "two"), enter(p, "two")
        for x in (c, w, gone):
            x.cmd("WATCH", "k") if x is not gone else None
            x.cmd("MULTI")
            x.cmd("SET", "k", "1")
        p.write_config(("[agent]\nmode = development\n" + TWO.format(url=redis.url)).replace("[project two]\n", "[project two]\nkey_prefix = other:\n"))
        check(p.ctl("reload").returncode == 0, "reload")
        equal(c.cmd("EXEC"), ["OK"])
        equal(w.error("EXEC"), ABORT)
        equal(gone.error("EXEC"), ABORT)
        equal(w.pipeline([["WATCH", "k"], ["MULTI"], ["SET", "k", "2"], ["EXEC"]])[-1], ["OK"])
        with redis.client() as direct:
            equal(sorted(direct.cmd("KEYS", "*:k")), [b"other:k", b"proj:one:k"])
        # more is queued than may be by now: nothing more is
        p.wait_log("config.drained")  # another reload is refused until then
        c.pipeline([["MULTI"], ["SET", "k", "x" * 100000]])
        p.write_config("[agent]\nmode = development\ntransaction_max_size = 64KiB\n" + TWO.format(url=redis.url))
        check(p.ctl("reload").returncode == 0, "reload")
        equal(c.error("GET", "k").word, "TOOBIG")
        equal(c.error("EXEC"), ABORT)


def script_reloaded():
    """A queued script stays in its project when the generation that it was queued in is gone."""
    config = "[agent]\nmode = development\n[backend main]\nplugin = memory\n[project one]\n[project two]\n{more}"
    with Purserd(config=config.format(more=""), name="script") as p:
        c, other = enter(p, "one"), enter(p, "two")
        equal((c.cmd("SET", "k", "mine"), other.cmd("SET", "k", "other")), ("OK", "OK"))
        c.pipeline([["MULTI"], ["EVAL", "return {redis.call('get', 'k'), redis.call('keys', '*')}", 0]])
        for i in range(1, 4):
            p.write_config(config.format(more="".join(f"[project p{k}]\n" for k in range(40 * i))))
            check(p.ctl("reload").returncode == 0, "reload")
            other.cmd("PING")
            equal(c.cmd("EXEC") if i == 3 else c.cmd("ECHO", "x"), [[b"mine", [b"k"]], b"x", b"x"] if i == 3 else "QUEUED")
            wait_until(lambda n=i: p.log().count('"config.drained"') == n, "nothing to use the old generation")
        c.pipeline([["MULTI"], ["EVAL", "return 1", 0]])
        p.write_config(config.format(more="").replace("[project one]", "[project one]\nscripts = off"))
        check(p.ctl("reload").returncode == 0, "reload")
        equal(c.error("EXEC"), ABORT)  # scripts are off by now
        c.close()
        other.close()


class Wide:
    """A store without a server of its own: who speaks to it directly is a client of a project that sees all keys."""

    def __init__(self, p):
        self.p = p

    def client(self):
        return enter(self.p, "wide")


def databases(p):
    """No connection ties a watch to the database and protocol that it was made in."""
    c, w = enter(p, "one"), enter(p, "one")
    for changes in (0, 1, None):
        c.pipeline([["WATCH", "d"], ["SELECT", 1], ["WATCH", "d"], ["HELLO", 3]])
        if changes is not None:
            w.pipeline([["SELECT", changes], ["INCR", "d"]])
        got = c.pipeline([["MULTI"], ["GET", "d"], ["EXEC"], ["HELLO", 2], ["SELECT", 0]])
        equal(got[2], None if changes is not None else [b"1"], changes)
    c.close()
    w.close()


def on_memory(rng):
    config = "[agent]\nmode = development\nworkers = 3\n[backend main]\nplugin = memory\n" \
        "[project one]\ndatabases = 3\n[project two]\n[project wide]\nisolation = off\ndatabases = 3\n"
    with Purserd(config=config) as p, Redis(name="m1") as a, Redis(name="m2") as b:
        for resp in (2, 3):
            differential(p, (("one", a), ("two", b)), rng, resp)
        for part in (conflicts, loops, atomic, published):
            part(p, Wide(p))
            with enter(p, "wide") as c:
                c.cmd("FLUSHALL")
            print(part.__name__, "on memory", flush=True)
        databases(p)


def main():
    rng = random.Random(harness.seed())
    with Redis() as redis, two(redis.url) as p:
        with Redis(name="r1") as a, Redis(name="r2") as b:
            for resp in (2, 3):
                differential(p, (("one", a), ("two", b)), rng, resp)
        for part in (conflicts, loops, lost, atomic, large, local, errors, published):
            with redis.client() as direct:
                direct.cmd("FLUSHALL")
            part(p, redis)
            print(part.__name__, flush=True)
    for part in (down, limits, reloaded, script_reloaded):
        part()
        print(part.__name__, flush=True)
    on_memory(rng)


harness.run(main)
