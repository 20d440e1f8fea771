#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Test suites that none of us wrote, as they are in packages of the registries: against redis-server, through the agent
on it, and through the agent on the memory plugin.  What passes on Redis must pass through the agent.

    run.py [SUITE...]        default: all; PURSER_SUITES_NPM names a node_modules with what package.json asks for, else it is
                             made by npm in the build directory (that needs a registry)

The status is 1 if a test passes on Redis and not through the agent, 77 if no suite could run."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness  # noqa: E402
from harness import Purserd, Redis  # noqa: E402

here = os.path.dirname(os.path.abspath(__file__))
TIMEOUT = 240
AGAIN = 2  # some tests of mqemitter-redis race with their own connection, also on Redis: one pass in three runs will do

# What passes on Redis and not through the agent on purpose: suite, part of the name, targets, why.
OPERATORS = "it is the server's operator's affair: NOPERM"
LEFT_OUT = (
    ("lua-redis", "MOVE (client:move)", "", "a key moves between databases by COPY with DB, and DEL"),
    ("lua-redis", "LASTSAVE", "", OPERATORS),
    ("lua-redis", "SLOWLOG", "", OPERATORS + "; the agent's metrics and traces tell it of one project"),
    ("lua-redis", "CONFIG SET", "", "it sets loglevel, which is the agent's: PURSER.LOGLEVEL"),
    ("lua-redis", "CONFIG RESETSTAT", "redis", OPERATORS),
    ("redigo", "TestScript", "redis memory", "with isolation a script sees its keys' whole names, and it returns them"),
)

# The agent on each plugin, and on the memory plugin without isolation.
TARGETS = {"redis": ("redis", "on"), "memory": ("memory", "on"), "memory, isolation off": ("memory", "off")}
AGENT = """[backend main]
plugin = {plugin}
{more}
[project default]
databases = 16
isolation = {isolation}
"""


class Skip(Exception):
    pass


# ---- running a suite: {name of a test: passed} -------------------------------------------------------------
def run(argv, sock, cwd=None, env=None):
    env = {**os.environ, "PURSER_SUITE_SOCKET": sock, **(env or {})}
    p = subprocess.Popen(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         text=True, errors="replace", start_new_session=True)
    try:
        out, _ = p.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        out, _ = p.communicate()
    return out


def numbered(pairs):
    """Tests of the same name are told apart by their order."""
    results, seen = {}, {}
    for name, ok in pairs:
        seen[name] = seen.get(name, 0) + 1
        results[name if seen[name] == 1 else f"{name} #{seen[name]}"] = ok
    return results


def lines(out, pattern):
    return [(m.group("name").strip(), m.group("ok")) for m in map(re.compile(pattern).match, out.splitlines()) if m]


def npm():
    if not shutil.which("node"):
        raise Skip("node is not here")
    modules = os.environ.get("PURSER_SUITES_NPM")
    if modules:
        return modules
    where = os.path.join(harness.builddir, "tests/suites/npm")
    if not os.path.exists(os.path.join(where, "node_modules/.package-lock.json")):
        if not shutil.which("npm"):
            raise Skip("npm is not here, and PURSER_SUITES_NPM names no node_modules")
        os.makedirs(where, exist_ok=True)
        for f in ("package.json", "package-lock.json"):
            shutil.copy(os.path.join(here, f), where)
        p = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=where, text=True, capture_output=True,
                           stdin=subprocess.DEVNULL, check=False)
        if p.returncode:
            raise Skip("npm fetches nothing: " + p.stderr.strip()[-300:])
    return os.path.join(where, "node_modules")


def node(sock, files):
    preload = f"--require={os.path.join(here, 'to-socket.cjs')}"
    modules, pairs = npm(), []
    for f in files:
        path = os.path.join(modules, f)
        # a node of its own for each file, and what needs a cluster is not asked
        out = run(["node", "--test", "--test-timeout=30000", "--test-force-exit", "--test-reporter=tap", path], sock, os.path.dirname(modules),
                  {"NODE_OPTIONS": preload})
        base = os.path.basename(f)
        pairs += [(f"{base}: {name}", ok == "ok") for name, ok in lines(out, r"\s*(?P<ok>ok|not ok) \d+ - (?P<name>[^#]*)")
                  if os.path.basename(name) != base]
    return numbered(pairs)


def keyv(sock):
    modules = npm()
    top = os.path.dirname(modules)
    test = shutil.copy(os.path.join(here, "keyv.test.mjs"), top)
    out = run([os.path.join(modules, ".bin/vitest"), "run", "--reporter=json", os.path.basename(test)], sock, top,
              {"NODE_OPTIONS": f"--require={os.path.join(here, 'to-socket.cjs')}", "CI": "1"})
    try:
        doc = json.loads(next(x for x in out.splitlines() if x.startswith("{")))
    except (StopIteration, ValueError):
        raise harness.Failure("vitest says no result: " + out[-2000:]) from None
    return numbered((t["fullName"], t["status"] == "passed") for f in doc["testResults"] for t in f["assertionResults"])


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def redigo(sock):
    path = "/usr/share/gocode/src/github.com/gomodule/redigo/redis"
    if not shutil.which("go") or not os.path.isdir(path):
        raise Skip("golang-go and golang-github-gomodule-redigo-dev are not here")
    binary = os.path.join(harness.tmp(), "redigo.test")
    if not os.path.exists(binary):
        p = subprocess.run(["go", "test", "-c", "-o", binary, "github.com/gomodule/redigo/redis"], text=True, capture_output=True,
                           env={**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "",
                                "GOCACHE": os.path.join(harness.tmp(), "go-cache")}, check=False)
        if p.returncode:
            raise Skip("redigo's tests do not build: " + p.stderr.strip()[-300:])
    out = run([binary, "-test.v", "-redis-server=" + os.path.join(here, "bridge.py"), f"-redis-port={free_port()}"], sock, path)
    return numbered((n, ok == "PASS") for n, ok in lines(out, r"\s*--- (?P<ok>PASS|FAIL): (?P<name>\S+)"))


def lua_redis(sock):
    path = "/usr/share/doc/lua-redis-dev/test_client.lua"
    if not shutil.which("lua5.1") or not os.path.exists(path):
        raise Skip("lua5.1 and lua-redis-dev are not here")
    port = free_port()
    with subprocess.Popen([sys.executable, os.path.join(here, "bridge.py"), "--port", str(port)], stdout=subprocess.PIPE,
                          env={**os.environ, "PURSER_SUITE_SOCKET": sock}) as bridge:
        try:
            bridge.stdout.readline()
            out = run(["lua5.1", os.path.join(here, "telescope.lua"), path], sock, None, {"PURSER_SUITE_PORT": str(port)})
        finally:
            bridge.terminate()
    return numbered((n, ok == "ok") for n, ok in lines(out, r"(?P<ok>ok|not ok) - (?P<name>.*)"))


SUITES = {
    "keyv": keyv,
    "mqemitter-redis": lambda sock: node(sock, [f"mqemitter-redis/test/{f}.js" for f in ("base", "own", "prefix")]),
    "aedes-persistence-redis": lambda sock: node(sock, [f"aedes-persistence-redis/test/{f}.js" for f in ("abs", "own")]),
    "redigo": redigo,
    "lua-redis": lua_redis,
}


# ---- the three targets -------------------------------------------------------------------------------------
def compare(name, suite):
    """True: it ran."""
    with Redis(["--databases", "16"]) as redis:
        redis_passes = suite(redis.sock)
    wanted = {t for t, ok in redis_passes.items() if ok}
    harness.check(wanted, f"{name}: no test passes on Redis itself")
    bad = {}
    for target, (plugin, isolation) in TARGETS.items():
        with Redis(["--databases", "16"]) as redis:
            config = AGENT.format(plugin=plugin, isolation=isolation,
                                  more=f"url = {redis.url}" if plugin == "redis" else "databases = 16")
            with Purserd(config=config) as p:
                got = suite(p.sock)
                for _ in range(AGAIN):
                    if all(got.get(t) for t in wanted):
                        break
                    got.update({t: True for t, ok in suite(p.sock).items() if ok})
        left = {t for t in wanted for s, part, where, _ in LEFT_OUT
                if s == name and part in t and (not where or target in where.split())}
        bad[target] = sorted(t for t in wanted - left if not got.get(t))
        print(f"{name}: {len(wanted)} of {len(redis_passes)} tests pass on Redis; through the agent on {target}: "
              f"{sum(1 for t in wanted if got.get(t))}, {len(left)} left out", flush=True)
        for t in bad[target]:
            print(f"  DOES NOT PASS on {target}: {t}", flush=True)
    return not any(bad.values())


def main():
    failed, ran = [], 0
    for name in sys.argv[1:] or SUITES:
        try:
            if not compare(name, SUITES[name]):
                failed.append(name)
            ran += 1
        except Skip as why:
            print(f"{name}: skipped: {why}", flush=True)
    harness.check(not failed, "through the agent these suites do less than on Redis:", failed)
    if not ran:
        harness.skip("no suite could run")


harness.run(main)
