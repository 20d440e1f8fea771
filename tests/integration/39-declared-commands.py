#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""[command NAME]: commands of a module, isolated as they were declared; nothing that is not whole is taken, nothing that the
agent refuses is let in, and what is not declared is unknown."""

import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import check, equal

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = """
[agent]
mode = development
[backend main]
plugin = {plugin}
{url}
[project shop]
[project blog]
[project all]
isolation = off
"""
SET = "[command toy.set]\narity = 3\nflags = write denyoom\npermission = redis:write\nkeys = 1 1 1\nreply = pass\nretry = idempotent\n"
GET = "[command toy.get]\narity = 2\nflags = readonly fast\npermission = redis:read\nkeys = 1 1 1\nreply = pass\nretry = read\n"
NAMES = "[command toy.names]\narity = -3\nflags = readonly\npermission = redis:read\nkeys = none\nnumkeys = 1\nreply = keys\nretry = read\n"
MISS = "[command toy.miss]\narity = 2\nflags = readonly\npermission = redis:read\nkeys = 1 1 1\nreply = pass\nretry = read\n"
GONE = "[command toy.gone]\narity = -2\nflags = write\npermission = redis:write\nkeys = 1 -1 1\nreply = pass\nretry = never\n"
LOL = "[command lolwut]\narity = -1\nflags = readonly\npermission = redis:read\nkeys = none\nreply = pass\nretry = read\n"
ALL = SET + GET + NAMES + MISS + GONE + LOL


def client(p, project, resp=2):
    c = p.client()
    c.cmd("HELLO", resp, "AUTH", project, "x")
    return c


def module():
    """The path of the module, or NULL if there is no compiler."""
    cc = os.environ.get("CC", "cc").split()
    if not shutil.which(cc[0]):
        harness.skip("there is no C compiler")
    path = os.path.join(harness.tmp(), "toy.so")
    subprocess.run([*[w for w in cc if w != "ccache"][:1], "-shared", "-fPIC", "-O1", "-o", path, os.path.join(HERE, "../module/toy.c")], check=True)
    return path


def served(p):
    for resp in (2, 3):
        shop, blog, all_ = client(p, "shop", resp), client(p, "blog", resp), client(p, "all", resp)
        equal((shop.cmd("TOY.SET", "k", "s"), blog.cmd("toy.set", "k", "b")), ("OK", "OK"))
        equal((shop.cmd("Toy.Get", "k"), blog.cmd("TOY.GET", "k"), shop.cmd("GET", "k"), shop.cmd("TOY.GET", "none")), (b"s", b"b", b"s", None))
        equal(all_.cmd("TOY.GET", "proj:shop:k"), b"s")
        equal(shop.cmd("TOY.NAMES", 2, "a", "proj:shop:b"), [b"a", b"proj:shop:b"])
        equal(all_.cmd("TOY.NAMES", 1, "a"), [b"a"])
        equal(shop.error("TOY.MISS", "key").text, "NOTOY there is no toy 'key' here")
        equal(shop.error("TOY.MISS", "proj:shop:key").text, "NOTOY there is no toy 'proj:shop:key' here")
        e = shop.error("TOY.GONE", "x", "y" * 300)
        check("does not have it; load its module" in e.text and "proj:" not in e.text, e.text)
        equal(shop.error("TOY.GET").text, "ERR wrong number of arguments for 'toy.get' command")
        check("unknown command 'TOY.OTHER'" in shop.error("TOY.OTHER", "k").text)
        equal(all_.error("TOY.GET", "psr:x").word, "ISOLATION")
        equal(shop.pipeline([["MULTI"], ["TOY.SET", "k", "t"], ["TOY.GET", "k"], ["TOY.NAMES", 1, "a"], ["TOY.MISS", "q"], ["EXEC"]])[-1][:3], ["OK", b"t", [b"a"]])
        check(b"Redis ver." in shop.cmd("LOLWUT"), "a command without keys")
        row = shop.cmd("COMMAND", "INFO", "toy.set")[0]
        equal((row[0], row[1], sorted(row[2]), row[3:6]), (b"toy.set", 3, ["denyoom", "write"], [1, 1, 1]))
        check(b"toy.names" in shop.cmd("COMMAND", "LIST"))
        equal(shop.cmd("COMMAND", "GETKEYS", "TOY.NAMES", 2, "a", "b"), [b"a", b"b"])
        equal(p.http("POST", "/v1/command", ["TOY.GET", "k"], {"Purser-Project": "blog"}).json(), {"result": "b"})
        for c in (shop, blog, all_):
            c.close()
    check('"TOY.GET"' in p.http("GET", "/metrics").body.decode(), "metrics know its name")


def again(p):
    """A reload; the one before it may still be going on."""
    def done():
        with p.client() as op:
            op.send("PURSER.RELOAD")
            r = op.read()
            check(not isinstance(r, harness.RespError) or "in_progress" in r.text, r)
            return not isinstance(r, harness.RespError)
    harness.wait_until(done, "the configuration to be read again")


def reloaded(p, config):
    """What a reload takes away is unknown from then on, with whatever is under way; what it brings is there."""
    c = client(p, "shop")
    equal(c.pipeline([["MULTI"], ["TOY.SET", "k", "queued"]]), ["OK", "QUEUED"])
    p.write_config(config + SET + GET + "[role few]\npermissions = redis:read redis:write\ncommands = toy.get\n")
    again(p)
    equal(c.cmd("EXEC"), ["OK"])
    check("unknown command" in c.error("TOY.NAMES", 1, "a").text)
    equal(c.cmd("TOY.GET", "k"), b"queued")
    p.write_config(config + ALL)
    again(p)
    equal(c.cmd("TOY.NAMES", 1, "a"), [b"a"])
    c.close()


WRONG = [
    (GET.replace("arity = 2\n", ""), "needs arity"), (GET.replace("flags = readonly fast\n", ""), "needs flags"),
    (GET.replace("permission = redis:read\n", ""), "needs permission"), (GET.replace("keys = 1 1 1\n", ""), "needs keys"),
    (GET.replace("reply = pass\n", ""), "needs reply"), (GET.replace("retry = read\n", ""), "needs retry"),
    (GET.replace("arity = 2", "arity = 0"), "as Redis counts"), (GET.replace("readonly fast", "readonly write"), "one of the two"),
    (GET.replace("readonly fast", "fast"), "one of the two"), (GET.replace("readonly fast", "readonly blocking"), "cannot be declared"),
    (GET.replace("redis:read", "redis:everything"), "permission: there are"), (SET.replace("redis:write", "redis:read"), "cannot be had for redis:read"),
    (GET.replace("1 1 1", "1 1"), "first, last and step"), (GET.replace("1 1 1", "2 1 1"), "first, last and step"),
    (GET.replace("1 1 1", "1 1 0"), "first, last and step"), (GET.replace("1 1 1", "2 2 1"), "behind the words"),
    (NAMES.replace("keys = none", "keys = 1 1 1"), "beside a number at 1"), (NAMES.replace("arity = -3", "arity = -2"), "behind the words"),
    (GET.replace("reply = pass", "reply = some"), "pass"), (SET.replace("idempotent", "read"), "never sent again"),
    (GET.replace("toy.get", "get"), "the agent has this command"), (GET.replace("toy.get", "client"), "the agent has this command"),
    (GET.replace("toy.get", "debug"), "refuses this command for a reason"), (GET.replace("toy.get", "swapdb"), "refuses this command for a reason"),
    (GET.replace("toy.get", "module"), "refuses this command for a reason"), (GET.replace("toy.get", "purser.toy"), "the agent's own"),
]


def refused(config):
    p = harness.Purserd(config=config, name="checked")
    for text, want in WRONG:
        p.write_config(config + text)
        r = p.run("--check-config")
        check(r.returncode != 0 and want in r.stderr, want, r.stderr)
    p.write_config(config + ALL)
    equal(p.run("--check-config").returncode, 0)


def main():
    so = module()
    with harness.Redis(["--loadmodule", so]) as redis:
        config = BASE.format(plugin="redis", url=f"url = {redis.url}")
        refused(config)
        with harness.Purserd(config=config + ALL) as p:
            served(p)
            reloaded(p, config)
    with harness.Purserd(config=BASE.format(plugin="memory", url="") + ALL, name="memory") as p, client(p, "shop") as c:
        equal(c.error("TOY.GET", "k").word, "UNSUPPORTED")
        equal(c.error("LOLWUT").word, "UNSUPPORTED")


harness.run(main)
