#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The store's user that a project's scripts run as: made, healed when the server forgets it, given in the INI, refused
with the reason, removed with its project; and that it holds where the prelude does not (here: without it)."""

import hashlib
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import Purserd, Redis, RespError, check, equal, tmp, wait_until

INCR = "return redis.call('INCR', 'n')"
CONFIG = """[agent]
mode = development
workers = 2
[backend main]
plugin = redis
url = {url}
{backend}
[project a]
{a}
[project b]
"""
RULES = "reset on >{0} ~proj:a:* &proj:a:* +@all -@dangerous -@admin -scan -randomkey -dbsize -swapdb -pubsub -client -select -copy -move +sort +sort_ro +restore"


def agent(redis, a="", backend="", name="purserd"):
    return Purserd({}, config=CONFIG.format(url=redis.url, a=a, backend=backend), name=name)


def enter(p, project):
    c = p.client()
    c.cmd("PURSER.PROJECT", project)
    return c


def secret(name, text):
    path = os.path.join(tmp(), name)
    with open(path, "w", opener=lambda f, flags: os.open(f, flags, 0o600)) as f:
        f.write(text + "\n")
    return path


def users(direct):
    return sorted(u.decode() for u in direct.cmd("ACL", "USERS") if u.startswith(b"psr-"))


def made():
    with Redis(name="made") as redis, agent(redis) as p, redis.client() as direct:
        a, b = enter(p, "a"), enter(p, "b")
        equal(users(direct), [], "nobody has sent a script")
        equal([a.cmd("EVAL", INCR, 0), a.cmd("EVAL", INCR, 0), b.cmd("EVAL", INCR, 0)], [1, 2, 1])
        names = users(direct)
        check(len(names) == 2 and names[0].startswith("psr-a-") and names[1].startswith("psr-b-"), names)
        check(">" not in str(direct.cmd("ACL", "LIST")), "no password in clear")
        # what the user itself may: nothing of the other, whatever runs on its connection
        for line in (["GET", "proj:b:n"], ["SCAN", 0], ["KEYS", "*"], ["RANDOMKEY"], ["DBSIZE"], ["FLUSHALL"], ["SELECT", 1], ["PUBLISH", "proj:b:c", "x"],
                     ["CONFIG", "GET", "*"], ["CLIENT", "LIST"], ["ACL", "LIST"], ["INFO"], ["SWAPDB", 0, 1], ["MOVE", "proj:a:n", 1]):
            said = direct.cmd("ACL", "DRYRUN", names[0], *map(str, line))
            check(said != "OK", line, said)
        equal(direct.cmd("ACL", "DRYRUN", names[0], "GET", "proj:a:n"), "OK")
        # the server forgets it: connections of it are closed, and the next script runs as a new one
        for _ in range(3):
            for name in users(direct):
                direct.cmd("ACL", "DELUSER", name)
            wait_until(lambda: not any(b"user=psr-" in line for line in direct.cmd("CLIENT", "LIST").splitlines()), "its connections to go")
            before = int(a.cmd("GET", "n"))
            c = enter(p, "a")
            equal(c.cmd("EVAL", INCR, 0), before + 1, "it was not executed, and nobody hears of that")
            c.close()
        # a restart forgets users and scripts: what is sent then is executed once and answered, in order
        a.cmd("DEL", "n")
        redis.kill()
        os.unlink(redis.sock)
        redis.start()
        wait_until(lambda: not isinstance(one(a, ["GET", "n"]), RespError), "the server to be back")
        a.cmd("DEL", "n")
        wrong = []

        def run(i):
            c = enter(p, "a" if i % 2 else "b")
            try:
                got = c.pipeline([["EVAL", INCR, 0], ["SET", f"k{i}", "v"], ["EVAL", "return redis.call('GET', KEYS[1])", 1, f"k{i}"]])
                equal(got[1:], ["OK", b"v"])
                check(isinstance(got[0], int), got)
            except Exception as e:
                wrong.append(e)
            c.close()

        threads = [threading.Thread(target=run, args=(i,)) for i in range(16)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        check(not wrong, wrong[:2])
        equal(int(a.cmd("GET", "n")), 8, "each once")
        # gone from the INI, gone from the server
        text = CONFIG.format(url=redis.url, a="", backend="").replace("[project b]\n", "")
        p.write_config(text)
        p.reload()
        wait_until(lambda: [u[:6] for u in users(redis_client(redis))] == ["psr-a-"], "b's user to go")
        for c in (a, b):
            c.close()


def made_again_and_again():
    """Whoever takes the user away meanwhile: a script that was not executed waits for the next one."""
    with Redis(name="again") as redis, agent(redis) as p, redis.client() as direct:
        a, over, wrong = enter(p, "a"), threading.Event(), []

        def remove():
            with redis.client() as c:
                while not over.wait(0.02):
                    for name in users(c):
                        c.cmd("ACL", "DELUSER", name)

        equal(a.cmd("EVAL", INCR, 0), 1)
        t = threading.Thread(target=remove)
        t.start()
        good = 0
        for _ in range(60):
            r = one(a, ["EVAL", INCR, 0])
            good += not isinstance(r, RespError)
            if isinstance(r, RespError) and r.word not in ("INDETERMINATE", "BACKENDDOWN", "CIRCUITOPEN"):
                wrong.append(r)
        over.set()
        t.join()
        check(good and not wrong, good, wrong[:3])
        wait_until(lambda: not isinstance(one(a, ["EVAL", INCR, 0]), RespError), "the last one")
        names = users(direct)
        equal(len(names), 1, names)
        a.close()


def forgotten():
    """Somebody else flushes the server's scripts: what went as EVALSHA has not run, and goes again, in order."""
    push = "return redis.call('RPUSH', KEYS[1], ARGV[1])"
    other = "redis.call('RPUSH', KEYS[1], ARGV[1]) return redis.call('LLEN', KEYS[1])"
    sha = hashlib.sha1(push.encode()).hexdigest()
    with Redis(name="forgets") as redis, agent(redis) as p, redis.client() as direct:
        a, b = enter(p, "a"), enter(p, "a")
        for turn in range(40):
            new = f"{other} -- {turn}"
            words = [["EVAL", push, 1, "l", 1], ["EVAL", other, 1, "l", 2], ["EVALSHA", sha, 1, "l", 3], ["EVAL", push, 1, "l", 4],
                     ["EVAL", new, 1, "l", 5], ["EVALSHA", sha, 1, "l", 6], ["RPUSH", "l", 7], ["EVAL", other, 1, "l", 8], ["SCRIPT", "LOAD", new],
                     ["EVAL", push, 1, "l", 9], ["MULTI"], ["EVAL", push, 1, "l", 10], ["EXEC"], ["EVAL", push, 1, "l", 11], ["LRANGE", "l", 0, -1]]
            want = [1, 2, 3, 4, 5, 6, 7, 8, hashlib.sha1(new.encode()).hexdigest().encode(), 9, "OK", "QUEUED", [10], 11,
                    [str(i).encode() for i in range(1, 12)]]
            equal((a if turn % 3 else b).pipeline(words), want, turn)
            direct.cmd("SCRIPT", "FLUSH")
            a.cmd("DEL", "l")
        # an error of the script's own that looks like it: nothing runs twice
        mine = "redis.call('INCR', 'm') return redis.error_reply('NOSCRIPT of my own')"
        for i in range(3):
            equal(one(a, ["EVAL", mine, 0]).word, "NOSCRIPT")
            equal(a.cmd("GET", "m"), str(i + 1).encode())
        a.close(), b.close()


def redis_client(redis):
    return redis.client()


def one(c, line):
    c.send(*line)
    return c.read()


def two_agents():
    """Several hosts use one server: each agent has users of its own."""
    with Redis(name="shared") as redis, agent(redis) as p, agent(redis, name="purserd2") as q:
        first, second = enter(p, "a"), enter(q, "a")
        for i in range(4):
            equal((first if i % 2 else second).cmd("EVAL", INCR, 0), i + 1)
        with redis.client() as direct:
            equal(len(users(direct)), 2)
        first.close(), second.close()


def not_allowed():
    with Redis(name="strict") as redis, redis.client() as direct:
        direct.cmd("ACL", "SETUSER", "agent", "reset", "on", ">pw", "~*", "&*", "+@all", "-acl")
        backend = f"user = agent\npassword_file = {secret('agent.password', 'pw')}"
        with agent(redis, backend=backend) as p:
            a = enter(p, "a")
            for _ in range(2):
                e = a.error("EVAL", INCR, 0)
                check(e.word == "NOPERM" and "ACL SETUSER" in e.text and "script_user" in e.text and "declared-keys" in e.text, e)
            equal(a.pipeline([["MULTI"], ["EVAL", INCR, 0], ["EXEC"]])[2].word, "EXECABORT")
            equal(a.cmd("SET", "k", "v"), "OK")
            check("pw" not in p.log().replace("pwd", ""), "no secret in the log")
            a.close()
        with agent(redis, a="scripts = declared-keys", backend=backend) as p:
            a = enter(p, "a")
            equal(a.cmd("EVAL", "return redis.call('INCR', KEYS[1])", 1, "m"), 1)
            a.close()
        # a user that is given: used if it is confined, else refused with what is wrong with it
        given = f"script_user = mine\nscript_password_file = {secret('mine.password', 'sesame')}"
        for rules, word in ((RULES.format("sesame"), None), (RULES.format("sesame") + " +scan", "scan"), (RULES.format("sesame") + " ~*", "keys of others"),
                            (RULES.format("sesame") + " -set", "keys and channels of the project"), (RULES.format("other"), "script_user")):
            direct.cmd("ACL", "SETUSER", "mine", *rules.split())
            with agent(redis, a=given, backend=backend) as p:
                a = enter(p, "a")
                direct.cmd("DEL", "proj:a:n")
                if not word:
                    equal([a.cmd("EVAL", INCR, 0), a.cmd("EVAL", INCR, 0)], [1, 2])
                else:
                    e = a.error("EVAL", INCR, 0)
                    check(e.word == "NOPERM" and word in e.text, rules, e)
                check("sesame" not in p.log(), "no secret in the log")
                a.close()
        # ... and left alone when the project goes
        check(b"mine" in direct.cmd("ACL", "USERS"), "it is not the agent's to remove")


def away():
    """The store is away: scripts are answered like any other command, and none is asked for over and over."""
    with Redis(name="away") as redis, agent(redis, backend="operation_timeout = 2s") as p:
        a = enter(p, "a")
        equal(a.cmd("SET", "k", "v"), "OK")
        redis.kill()
        os.unlink(redis.sock)
        for _ in range(3):
            check(a.error("EVAL", INCR, 0).word in ("BACKENDDOWN", "TIMEOUT", "CIRCUITOPEN"), "its error")
        check(len([line for line in p.log().splitlines() if "project.scripts.refused" in line]) < 20, "asked all the time")
        redis.start()
        wait_until(lambda: not isinstance(one(a, ["EVAL", INCR, 0]), RespError), "scripts to run")
        a.close()


def many_projects():
    """More users than a worker has lanes."""
    names = [f"p{i}" for i in range(150)]
    sections = "".join(f"[project {n}]\n" for n in names)
    with Redis(name="many") as redis, Purserd({}, config=f"[agent]\nmode = development\nworkers = 1\n[backend main]\nplugin = redis\nurl = {redis.url}\n" + sections) as p:
        c = p.client()
        for turn in (1, 2):
            for n in names:
                c.cmd("PURSER.PROJECT", n)
                equal(c.cmd("EVAL", "return {redis.call('INCR', KEYS[1]), KEYS[1]}", 1, "n"), [turn, b"n"], n)
        c.close()
        with redis.client() as direct:
            check(len(direct.cmd("CLIENT", "LIST").splitlines()) < 140, "connections of users are bounded")


def main():
    for part in (made, made_again_and_again, forgotten, two_agents, not_allowed, away, many_projects):
        part()
        print(part.__name__, flush=True)


harness.run(main)
