# SPDX-License-Identifier: Apache-2.0
"""Runs the isolation fuzzer: an agent with two projects on one store, and a redis-server for each project as its model."""

import os
import subprocess

import harness

NAMES = ("alpha", "beta")
MODEL = ("--databases", "2", "--notify-keyspace-events", "KEA")


def config(backend, url):
    c = {"project default.backend": "main", "backend main.plugin": backend, "agent.slowlog_slower_than": "1ms"}
    for name in NAMES:
        c[f"project {name}.databases"] = 2
        c[f"project {name}.backend"] = "main"
        c[f"project {name}.allow_uid"] = os.getuid()
        c[f"project {name}.role"] = "admin"  # an operator is shown physical names: PURSER.EXPLAIN
    if backend == "redis":
        c["backend main.url"] = url
    else:
        c["backend main.notify_keyspace_events"] = "KEA"
    return c


def fuzz(p, backend, store, models, *args):
    """Runs the program; its status and what it said."""
    argv = [os.path.join(harness.builddir, "tests/isolation/isolation"), "--agent", p.sock, "--store", store, "--databases", "2", "--undeclared", "1" if backend == "redis" else "2"]
    for letter, name, model in zip("ab", NAMES, models):
        argv += [f"--{letter}", name, f"--model-{letter}", model.sock]
    run = subprocess.run([*argv, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return run.returncode, run.stdout.decode("latin-1")


def documented():
    """The page has the program's table of what is not compared byte by byte."""
    says = subprocess.run([os.path.join(harness.builddir, "tests/isolation/isolation"), "--exceptions"], stdout=subprocess.PIPE, check=True)
    with open(os.path.join(harness.srcdir, "docs/isolation-proof.md"), encoding="utf-8") as f:
        table = f.read().split("<!-- exceptions -->\n", 1)[1].split("<!-- end -->", 1)[0]
    harness.check(table.split("\n", 2)[2] == says.stdout.decode(), "docs/isolation-proof.md: put in what tests/isolation/isolation --exceptions prints")


def run(backend):
    seconds = int(float(os.environ.get("PURSER_SECONDS") or (1800 if harness.LONG else 5)))
    if seconds <= 5:
        os.environ.setdefault("PURSER_SEED", "20261120")  # the short run says the same each time
    seed = harness.seed()
    with harness.Redis(MODEL, name="model-a") as a, harness.Redis(MODEL, name="model-b") as b, \
            harness.Redis(MODEL[2:], name="store") as store:
        with harness.Purserd(config(backend, store.url)) as p:
            status, text = fuzz(p, backend, store.sock if backend == "redis" else p.sock, (a, b), "--seconds", seconds, "--seed", seed)
    print(text)
    harness.check(status == 0, f"see above; PURSER_SEED={seed}")
