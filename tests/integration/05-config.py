#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""purserd's own view of its configuration: --check-config, --print-config, the shipped files with the
real plugins, and the documents that are made from the tables."""

import os
import re
import subprocess
import sys
import tempfile

PURSERD, TOP = os.environ["PURSERD"], os.environ["abs_top_srcdir"]
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "REDIS_"))}
failed = False


def run(*args, **env):
    return subprocess.run([PURSERD, *args], capture_output=True, text=True, env={**CLEAN, **env}, timeout=60, check=False)


def expect(what, ok, out):
    global failed
    print(f"{'ok' if ok else 'FAILED'}: {what}")
    if not ok:
        failed = True
        print(f"status {out.returncode}\n--- stdout\n{out.stdout}--- stderr\n{out.stderr}")


def main(tmp):
    def write(name, text):
        path = os.path.join(tmp, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    with open(os.path.join(TOP, "etc/purser.ini"), encoding="utf-8") as f:
        shipped = f.read()
    for name in ("purser.ini", "purser-minimal.ini"):
        out = run("--config", os.path.join(TOP, "etc", name), "--check-config")
        expect(f"etc/{name} is good", out.returncode == 0 and "warning" not in out.stderr, out)
    out = run("--config", write("all.ini", re.sub(r"^;(?=\[|[a-z])", "", shipped, flags=re.M)), "--check-config")
    expect("etc/purser.ini with every key is good", out.returncode == 0, out)

    bad = write("bad.ini", "[backend main]\nplugin = memory\nevicton = allkeys-lru\n[helth]\n[agent]\nworkers = none\n")
    out = run("--config", bad, "--check-config")
    expect("all errors at once, with file and line", out.returncode == 1 and all(
        f"{bad}:{line}" in out.stderr for line in (
            "3: [backend main] has no key evicton: did you mean eviction?",
            "4: unknown section [helth]: did you mean [health]?",
            "6: [agent] workers = none: a whole number or auto is needed")), out)
    out = run("--config", bad)
    expect("it does not start with them", out.returncode != 0 and "did you mean eviction?" in out.stderr, out)
    out = run("--config", os.path.join(tmp, "missing.ini"), "--check-config")
    expect("a file that is not there: status 2", out.returncode == 2 and "missing.ini: No such file" in out.stderr, out)
    out = run("--config", write("plugin.ini", "[backend main]\nplugin = nosuch\n"), "--check-config")
    expect("a plugin that is not there", out.returncode == 1 and "plugin.ini:2: [backend main] plugin = nosuch" in out.stderr, out)

    good = write("good.ini", "[backend main]\nplugin = redis\nurl = redis://me:hunter2@127.0.0.1:1\n[health]\ninterval = 5s\n")
    out = run("--config", good, "--set", "health.timeout=3s", "--print-config", OTEL_EXPORTER_OTLP_HEADERS="a=hunter2",
              REDIS_MAX_CONNECTIONS="60")
    lines = [line.split(" ;") for line in out.stdout.splitlines()]
    said = {a[0].strip(): a[1].strip() for a in lines if len(a) == 2}
    expect("values and where they come from", out.returncode == 0 and
           said.get("interval = 5s") == f"{good}:5" and said.get("timeout = 3s") == "--set" and
           said.get("pool_max = 60") == "environment REDIS_MAX_CONNECTIONS" and
           said.get("url = redis://me:***@127.0.0.1:1") == f"{good}:3" and said.get("max_age = 5s") == "default", out)
    expect("no secret is printed", "hunter2" not in out.stdout + out.stderr, out)

    out = subprocess.run([sys.executable, os.path.join(TOP, "docs/config.py"), "--check"], capture_output=True,
                         text=True, env=CLEAN, check=False)
    expect("documents made from the tables are up to date", out.returncode == 0, out)


with tempfile.TemporaryDirectory(prefix="purser-config-", dir="/tmp") as scratch:
    main(scratch)
sys.exit(1 if failed else 0)
