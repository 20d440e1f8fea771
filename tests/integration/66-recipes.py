#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs/recipes.md: every program of the page is taken from it and run, on both backends, and prints what the page says.

A language whose client is not installed is skipped, with the reason; PURSER_RECIPES="go php" makes those languages
necessary. PURSER_NPM_CLIENTS names a node_modules, as for 61-clients-npm.sh."""

import os
import re
import shutil
import subprocess
import sys

import harness
from harness import check, equal

PAGE = os.path.join(harness.srcdir, "docs/recipes.md")
MODULES = os.environ.get("PURSER_NPM_CLIENTS", "")
GOPATH = "/usr/share/gocode"  # where Debian's golang-*-dev packages are


def page():
    with open(PAGE, encoding="utf-8") as f:
        text = f.read()
    prints = re.findall(r"<!-- prints -->\n```\n(.*?)```\n", text, re.S)
    equal(len(prints), 1, "what the programs print")
    programs = re.findall(r"<!-- recipe (\S+) -->\n```\w+\n(.*?)\n?```\n", text, re.S)
    equal(len(programs), len(re.findall(r"<!-- recipe ", text)), "programs that this test can read")
    return prints[0], dict(programs)


def write(name, text):
    path = os.path.join(harness.tmp(), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text + "\n")
    return path


def build(argv, **env):
    p = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **env}, check=False, timeout=240 * harness.SLOW)
    check(p.returncode == 0, argv, p.stdout, p.stderr)


# Each: how the program is called, or why it cannot be (a text).

def python(text):
    try:
        import redis  # noqa: F401
    except ImportError:
        return "python3-redis is not installed"
    return [sys.executable, write("recipe.py", text)]


def npm(module, name, text):
    if not shutil.which("node"):
        return "node is not installed"
    if not os.path.isdir(os.path.join(MODULES, module)):
        return f"PURSER_NPM_CLIENTS has no {module}"
    return ["node", write(name, text)]


def php(text):
    if not shutil.which("php"):
        return "php-cli is not installed"
    modules = subprocess.run(["php", "-m"], capture_output=True, text=True, check=False).stdout
    return ["php", write("recipe.php", text)] if "redis" in modules.split() else "php-redis is not installed"


def go(text):
    if not shutil.which("go"):
        return "golang-go is not installed"
    if not os.path.isdir(os.path.join(GOPATH, "src/github.com/gomodule/redigo")):
        return "golang-github-gomodule-redigo-dev is not installed"
    source, program = write("go/recipe.go", text), os.path.join(harness.tmp(), "recipe-go")
    build(["go", "build", "-o", program, source], GOPATH=GOPATH, GO111MODULE="off", GOFLAGS="", GOPROXY="off",
          GOCACHE=os.environ.get("GOCACHE", os.path.join(harness.tmp(), "gocache")))
    return [program]


def c(text):
    compiler = os.environ.get("CC", "cc").split()
    source, program = write("recipe.c", text), os.path.join(harness.tmp(), "recipe-c")
    build([*compiler, "-D_GNU_SOURCE", "-Wall", "-Werror", "-o", program, source, "-lhiredis"])
    return [program]


WAYS = {
    "python": python,
    "ioredis": lambda text: npm("ioredis", "ioredis.js", text),
    "node-redis": lambda text: npm("redis", "node-redis.js", text),
    "php": php,
    "go": go,
    "c": c,
}


def run(name, argv, p, prints):
    done = subprocess.run(argv, env={**p.env(), "PURSER_SOCKET": p.sock, "NODE_PATH": MODULES}, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60 * harness.SLOW, check=False)
    check(done.returncode == 0, name, "left with", str(done.returncode), "\n" + done.stdout + done.stderr)
    equal(done.stdout, prints, f"what {name} prints")


def main():
    prints, programs = page()
    equal(set(programs), set(WAYS), "languages of the page")
    wanted = os.environ.get("PURSER_RECIPES", "").split()
    ready = {}
    for name, text in programs.items():
        ready[name] = WAYS[name](text)
        if isinstance(ready[name], str):
            check(name not in wanted, name, "was asked for:", ready[name])
            print(f"skipped {name}: {ready[name]}", flush=True)
    backends = [("memory", None)] + ([("redis", harness.Redis)] if shutil.which("redis-server") else [])
    for plugin, make in backends:
        redis = make() if make else None
        if redis:
            redis.start()
        settings = {"backend main.plugin": plugin, **({"backend main.url": redis.url} if redis else {})}
        with harness.Purserd(settings, name="on" + plugin) as p:
            for name, argv in ready.items():
                if not isinstance(argv, str):
                    run(name, argv, p, prints)
                    print(f"ok {plugin} {name}", flush=True)
        if redis:
            redis.stop()


harness.run(main)
