#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""EVAL, EVALSHA, SCRIPT, FCALL: keys of two projects, NOSCRIPT healed and when it is not, order, what is refused."""

import hashlib
import os
import random
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import Purserd, Redis, RespError, check, equal, wait_until

NOSCRIPT = RespError("NOSCRIPT No matching script. Please use EVAL.")
PUSH = "return redis.call('RPUSH', KEYS[1], ARGV[1])"
CONFIG = """[agent]
mode = development
[backend main]
plugin = redis
url = {url}
[project one]
[project two]
[project open]
isolation = off
[project closed]
scripts = off
[project declared]
scripts = declared-keys
"""


def sha(script):
    return hashlib.sha1(script.encode()).hexdigest()


def agent(redis, **settings):
    return Purserd(settings, config=CONFIG.format(url=redis.url))


def enter(p, project):
    c = p.client()
    c.cmd("PURSER.PROJECT", project)
    return c


def isolated(p, redis, direct):
    one, two = enter(p, "one"), enter(p, "two")
    for c in (one, two):
        equal(c.cmd("EVAL", PUSH, 1, "l", "x"), 1)
        equal(c.cmd("EVALSHA", sha(PUSH), 1, "l", "y"), 2)
        equal(c.cmd("EVALSHA", sha(PUSH).upper(), 1, "l", "z"), 3)
        equal(c.cmd("EVAL_RO", "return redis.call('LLEN', KEYS[2])", 2, "a", "l"), 3)
        for line in (["EVAL", PUSH, "x"], ["EVAL", PUSH, 2, "a"], ["EVAL", PUSH, -1], ["EVALSHA", "abc", 0], ["EVALSHA", "0" * 40, 0],
                     ["EVAL", "return {", 0], ["EVAL", "return redis.call('INCR')", 0], ["SCRIPT", "LOAD", "return {"], ["SCRIPT", "LOAD"], ["EVAL_RO", PUSH, 1, "l", "x"],
                     ["SCRIPT", "FLUSH", "NOW"], ["SCRIPT", "EXISTS"], ["SCRIPT", "NOSUCH"]):
            equal(c.error(*line), direct.error(*line), line)
    equal(sorted(direct.cmd("KEYS", "*:l")), [b"proj:one:l", b"proj:two:l"])
    declared = enter(p, "declared")
    for _ in range(2):
        equal(declared.cmd("EVAL", "return {KEYS[1], redis.call('GET', 'proj:one:made')}", 1, "l"), [b"proj:declared:l", None])
    warned = [line for line in p.log().splitlines() if '"project.scripts"' in line]
    equal(len(warned), 1, "who has chosen it is told once")
    check('"project":"declared"' in warned[0], warned)
    declared.close()
    # EXISTS and FLUSH are about the project
    equal(one.cmd("SCRIPT", "EXISTS", sha(PUSH), sha("no"), "nonsense"), [1, 0, 0])
    equal(one.cmd("SCRIPT", "LOAD", "return 'mine'"), sha("return 'mine'").encode())
    equal(one.cmd("SCRIPT", "EXISTS", sha("return 'mine'")), [1])
    equal(two.cmd("SCRIPT", "EXISTS", sha("return 'mine'")), [0])
    equal(two.cmd("SCRIPT", "FLUSH", "SYNC"), "OK")
    equal(two.cmd("SCRIPT", "EXISTS", sha(PUSH)), [0])
    equal(one.cmd("SCRIPT", "EXISTS", sha(PUSH)), [1])
    equal(direct.cmd("SCRIPT", "EXISTS", sha(PUSH)), [1])
    equal(one.cmd("EVALSHA", sha("return 'mine'"), 0), b"mine")
    for c in (one, two):
        c.close()


def refused(p, redis, direct):
    one, closed, opened = enter(p, "one"), enter(p, "closed"), enter(p, "open")
    for line in (["EVAL", "return 1", 0], ["EVALSHA", sha(PUSH), 0], ["SCRIPT", "LOAD", "return 1"], ["SCRIPT", "EXISTS", sha(PUSH)],
                 ["SCRIPT", "FLUSH"], ["FCALL", "f", 0], ["EVAL_RO", "return 1", 0]):
        e = closed.error(*line)
        check(e.word == "NOPERM" and "scripts" in e.text, line, e)
        equal(closed.pipeline([["MULTI"], line, ["EXEC"]])[2].word, "EXECABORT", line)
    equal(closed.cmd("SET", "k", "v"), "OK")
    library = "#!lua name=lib\nredis.register_function('push', function(keys, args) return redis.call('RPUSH', keys[1], args[1]) end)"
    for line in (["FUNCTION", "LOAD", library], ["FUNCTION", "LIST"], ["FUNCTION", "FLUSH"], ["FUNCTION", "DUMP"], ["FUNCTION", "STATS"],
                 ["FUNCTION", "DELETE", "lib"], ["FUNCTION", "RESTORE", "x"], ["FUNCTION", "KILL"], ["SCRIPT", "KILL"], ["SCRIPT", "DEBUG", "YES"]):
        check(one.error(*line).word == "NOPERM", line)
    check("SCRIPT <subcommand>" in one.cmd("SCRIPT", "HELP")[0], "SCRIPT HELP")
    check("FUNCTION <subcommand>" in one.cmd("FUNCTION", "HELP")[0], "FUNCTION HELP")
    # with isolation = off they are the server's own
    equal(opened.cmd("FUNCTION", "LOAD", library), b"lib")
    equal(opened.cmd("FCALL", "push", 1, "l", "x"), 1)
    equal(one.cmd("FCALL", "push", 1, "fl", "x"), 1)
    equal(one.error("FCALL_RO", "push", 1, "fl", "x"), direct.error("FCALL_RO", "push", 1, "fl", "x"))
    equal(direct.cmd("EXISTS", "l", "proj:one:fl"), 2)
    equal(opened.cmd("EVAL", PUSH, 1, "l", "y"), 2)
    equal(opened.cmd("SCRIPT", "EXISTS", sha(PUSH), sha("no")), [1, 0])
    direct.cmd("SCRIPT", "FLUSH")
    equal(opened.cmd("SCRIPT", "EXISTS", sha(PUSH), sha("no")), [1, 0], "what the agent can send again exists too")
    equal(opened.cmd("EVALSHA", sha(PUSH), 1, "l", "z"), 3)
    equal(opened.cmd("SCRIPT", "FLUSH"), "OK")
    equal(direct.cmd("SCRIPT", "EXISTS", sha(PUSH)), [0])
    equal(opened.cmd("SCRIPT", "EXISTS", sha(PUSH)), [0])
    equal(opened.error("EVALSHA", sha(PUSH), 1, "l", "z"), NOSCRIPT)
    for c in (one, closed, opened):
        c.close()


def healed(p, redis, direct):
    """The server forgets: EVALSHA works all the same, in order, over RESP2, RESP3 and HTTP, and in a transaction."""
    c, three = enter(p, "one"), enter(p, "one")
    three.cmd("HELLO", 3)
    c.cmd("SCRIPT", "LOAD", PUSH)
    equal(c.cmd("EVALSHA", sha(PUSH), 1, "l", "0"), 1)
    for n, who in enumerate((c, three, c)):
        direct.cmd("SCRIPT", "FLUSH")
        equal(who.cmd("EVALSHA", sha(PUSH), 1, "l", "again"), n + 2)
    direct.cmd("SCRIPT", "FLUSH")
    equal(three.cmd("EVALSHA_RO", sha("return 1"), 0) if three.cmd("SCRIPT", "LOAD", "return 1") else None, 1)
    direct.cmd("SCRIPT", "FLUSH")
    answer = p.http("POST", "/v1/command", ["EVALSHA", sha(PUSH), "1", "l", "http"], {"Purser-Project": "one"})
    check(answer.status == 200 and b"5" in answer.body, answer)
    direct.cmd("SCRIPT", "FLUSH")
    got = c.pipeline([["MULTI"], ["EVALSHA", sha(PUSH), 1, "t", "a"], ["EVALSHA_RO", sha("return 1"), 0], ["EVALSHA", "0" * 40, 0], ["EXEC"]])
    equal(got[-1], [1, 1, NOSCRIPT])
    equal(c.error("EVALSHA", sha("never sent"), 0), NOSCRIPT)
    # nobody reads the reply; it is run all the same
    direct.cmd("SCRIPT", "FLUSH")
    # HTTP has an answer to everything, CLIENT REPLY or not
    for script in ("return 1", "return redis.error_reply('ERR on purpose')", "no Lua"):
        answer = p.http("POST", "/v1/command", [["CLIENT", "REPLY", "SKIP"], ["EVAL", script, "0"], ["EVAL", "return 1", "0"]],
                        {"Purser-Project": "one"})
        equal((answer.status, answer.json()), (200, [{"result": None}, {"result": None}, {"result": 1}]), script)
    c.raw(harness.encode("CLIENT", "REPLY", "SKIP") + harness.encode("EVALSHA", sha(PUSH), 1, "t", "b") + harness.encode("PING"))
    equal(c.read(), "PONG")
    equal(c.cmd("LRANGE", "t", 0, -1), [b"a", b"b"])
    check('purser_scripts_healed' in c.cmd("PURSER.METRICS").decode(), "the counter")
    # a script that the server refuses is refused the second time too
    bad = "return redis.call('INCR', KEYS[1])"
    c.cmd("SET", "n", 1)
    c.cmd("EVAL", bad, 1, "n")
    c.cmd("SET", "n", "x")
    direct.cmd("SCRIPT", "FLUSH")
    check(c.error("EVALSHA", sha(bad), 1, "n").text.startswith("ERR value is not an integer"), "its error")
    c.close()
    three.close()


def in_order(rng):
    """The server restarts, its scripts are gone: many clients pipeline EVALSHA between plain commands. What is pushed
    comes in the order in which it was sent, and none of it twice."""
    with Redis(name="forgets") as redis, agent(redis) as p:
        c = enter(p, "one")
        equal(c.cmd("EVAL", PUSH, 1, "warm", "x"), 1)
        redis.kill()
        os.unlink(redis.sock)
        redis.start()
        wait_until(lambda: ok(c, ["PING"]) and ok(c, ["EXISTS", "warm"]), "the store to be back")
        wrong = []

        def run(number):
            mine = enter(p, "one")
            try:
                wait_until(lambda: ok(mine, ["EXISTS", "warm"]), "its worker's lane")
                pick = random.Random(rng.random() + number)
                lines = [pick.choice((["EVALSHA", sha(PUSH), 1, f"l{number}", i], ["RPUSH", f"l{number}", i])) for i in range(200)]
                lines[0][:3] = ["EVALSHA", sha(PUSH), 1] if len(lines[0]) == 5 else lines[0][:3]
                equal(mine.pipeline(lines), list(range(1, 201)), "lengths")
                equal(mine.cmd("LRANGE", f"l{number}", 0, -1), [str(i).encode() for i in range(200)])
            except Exception as e:
                wrong.append((number, e))
            mine.close()

        threads = [threading.Thread(target=run, args=(i,)) for i in range(12)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        check(not wrong, wrong[:3])
        c.close()


def ok(c, line):
    c.send(*line)
    return not isinstance(c.read(), RespError)


def not_healed(p, redis, direct):
    """The server forgets behind the agent's back while later commands are out: each is answered, in order, and what is
    not executed says so."""
    c = enter(p, "one")
    c.cmd("EVAL", PUSH, 1, "x", "0")
    rounds = 0
    for n in range(30):
        direct.cmd("SCRIPT", "FLUSH")
        lines = [w for i in range(5) for w in (["EVALSHA", sha(PUSH), 1, "q", f"{n}-{i}"], ["LRANGE", "q", -1, -1])]
        got = c.pipeline(lines)
        for i in range(5):
            value = f"{n}-{i}".encode()
            if got[2 * i] == NOSCRIPT:
                check(got[2 * i + 1] != [value], "it says that it has not run", got)
            else:
                equal(got[2 * i + 1], [value])
                rounds += 1
    check(rounds, "nothing at all was executed")
    c.close()


def bounded():
    """Bodies are remembered up to script_memory of each project; the others are as if there were no agent."""
    with Redis(name="bounded") as redis, agent(redis, **{"agent.script_memory": "64KiB"}) as p:
        c, other = enter(p, "one"), enter(p, "two")
        other.cmd("EVAL", "return 'kept'", 0)
        scripts = [f"return {i} --" + "x" * 10000 for i in range(20)]
        for i, s in enumerate(scripts):
            equal(c.cmd("EVAL", s, 0), i)
        have = c.cmd("SCRIPT", "EXISTS", *map(sha, scripts))
        check(have[-5:] == [1] * 5 and sum(have) == 6, have)
        equal(other.cmd("SCRIPT", "EXISTS", sha("return 'kept'")), [1])
        with redis.client() as direct:
            direct.cmd("SCRIPT", "FLUSH")
        equal(c.cmd("EVALSHA", sha(scripts[-1]), 0), 19)
        equal(c.error("EVALSHA", sha(scripts[0]), 0), NOSCRIPT)
        huge = "return 1 --" + "x" * 70000
        equal(c.cmd("EVAL", huge, 0), 1)
        equal(c.cmd("SCRIPT", "EXISTS", sha(huge)), [0])


def late():
    """A script that runs too long may have run: the agent does not know, and says so."""
    with Redis(name="late") as redis, agent(redis, **{"backend main.operation_timeout": "300ms"}) as p:
        c = enter(p, "one")
        slow = "local t = redis.call('TIME') while true do local n = redis.call('TIME') if n[1] - t[1] > 1 then return 1 end end"
        equal(c.error("EVAL", slow, 0).word, "INDETERMINATE")
        equal(c.error("EVAL_RO", slow, 0).word, "TIMEOUT")


def main():
    rng = random.Random(harness.seed())
    with Redis() as redis, agent(redis) as p, redis.client() as direct:
        for part in (isolated, refused, healed, not_healed):
            direct.cmd("FLUSHALL")
            direct.cmd("SCRIPT", "FLUSH")
            part(p, redis, direct)
            print(part.__name__, flush=True)
    in_order(rng)
    for part in (bounded, late):
        part()
        print(part.__name__, flush=True)


harness.run(main)
