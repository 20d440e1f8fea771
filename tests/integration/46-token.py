#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""purserctl token: what is made is what the agent takes; the file is replaced whole, and nothing in it is lost."""

import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import check, equal


class Ctl:
    def __init__(self):
        self.file = os.path.join(harness.tmp(), "tokens")
        self.ini = os.path.join(harness.tmp(), "ini.ini")
        with open(self.ini, "w", encoding="ascii") as f:
            f.write("[backend main]\nplugin = memory\n")
        self.program = os.environ.get("PURSERCTL", os.path.join(harness.builddir, "ctl/purserctl"))

    def __call__(self, *words, status=0, file=True):
        argv = [self.program, "token", *words, *(("--file", self.file) if file else ("--config", self.ini))]
        r = subprocess.run(argv, text=True, capture_output=True, timeout=20 * harness.SLOW, check=False)
        equal(r.returncode, status, (argv, r.stdout, r.stderr))
        return r

    def lines(self):
        with open(self.file, encoding="ascii") as f:
            return [w.split() for w in f if w.strip() and not w.startswith("#")]

    def mode(self):
        return stat.S_IMODE(os.stat(self.file).st_mode)


def making(ctl):
    r = ctl("make", "ci", "shop,blog", "writer", "--expires", "2099-01-31")
    token = r.stdout.strip()
    check(re.fullmatch(r"psr_[A-Za-z0-9_-]{43}", token), "one line, the token:", r.stdout)
    equal(ctl.mode(), 0o600, "a new file")
    equal(ctl.lines(), [["ci", "sha256:" + hashlib.sha256(token.encode()).hexdigest(), "shop,blog", "writer",
                         "2099-01-31T00:00:00Z"]])
    other = json.loads(ctl("make", "ops@host", "*", "--json").stdout)
    equal((other["file"], other["line"].split()[2:]), (ctl.file, ["*", "-", "never"]))
    check(other["token"] != token)
    # without a file: the line to be stored, and nothing is
    r = ctl("make", "x", "shop", "--expires", "1h", file=False)
    made, line = r.stdout.splitlines()
    check(hashlib.sha256(made.encode()).hexdigest() in line and line.startswith("x sha256:"), r.stdout)
    check("reload" not in r.stderr)


def refusals(ctl):
    before = ctl.lines()
    for words, status, say in (
            (("make", "ci", "shop"), 1, "has a token ci already"),
            (("make", "x", "Shop"), 2, "no name of a project"), (("make", "x", "shop,"), 2, "no name"),
            (("make", "a b", "shop"), 2, "a token's name"), (("make", ".x", "shop"), 2, "a token's name"),
            (("make", "x", "shop", "No"), 2, "a role is"), (("make", "x"), 2, "usage: purserctl token make"),
            (("make", "x", "shop", "--expires", "2001-01-01"), 2, "that is over"),
            (("make", "x", "shop", "--expires", "0d"), 2, "that is over"),
            (("make", "x", "shop", "--expires", "90"), 2, "write 90d"),
            (("make", "x", "shop", "--expires", "2027-02-30"), 2, "write 90d"),
            (("revoke", "nobody"), 1, "has no token nobody"), (("lend", "x"), 2, "there are make, list and revoke")):
        r = ctl(*words, status=status)
        check(say in r.stderr and not r.stdout, words, r.stdout, r.stderr)
    equal(ctl.lines(), before, "a refusal changes nothing")
    r = ctl("list", status=2, file=False)
    check("no token file is configured" in r.stderr, r.stderr)


def editing(ctl):
    with open(ctl.file, "a", encoding="ascii") as f:
        f.write("# kept\n\nold sha256:%s shop - 2001-01-01" % ("0" * 64))  # no end of the line
    os.chmod(ctl.file, 0o640)
    if os.geteuid() == 0:
        os.chown(ctl.file, 0, 12345)
    ctl("make", "late", "shop")
    st = os.stat(ctl.file)
    equal(ctl.mode(), 0o640, "the mode stays")
    if os.geteuid() == 0:
        equal((st.st_uid, st.st_gid), (0, 12345), "the owner stays")
    listed = {t["name"]: t for t in json.loads(ctl("list", "--json").stdout)["tokens"]}
    equal(sorted(listed), ["ci", "late", "old", "ops@host"])
    equal((listed["old"]["state"], listed["ci"]["state"], listed["ops@host"]["projects"], listed["ci"]["role"]),
          ("expired", "valid", ["*"], "writer"))
    table = ctl("list").stdout
    check(re.search(r"^ci +shop,blog +writer +2099-01-31T00:00:00Z +valid$", table, re.M), table)
    check("sha256" not in table and "psr_" not in table)
    ctl("revoke", "old")
    with open(ctl.file, encoding="ascii") as f:
        text = f.read()
    check("# kept\n\n" in text and "old" not in text and text.endswith("\n"), text)
    equal([w[0] for w in ctl.lines()], ["ci", "ops@host", "late"])
    equal(os.listdir(harness.tmp()).count("tokens"), 1)
    check(not [f for f in os.listdir(harness.tmp()) if f.startswith(".tokens")], "nothing is left beside it")
    # what is not a token file is not touched
    with open(ctl.file, "a", encoding="ascii") as f:
        f.write("nonsense\n")
    r = ctl("make", "x", "shop", status=4)
    check("nothing was changed" in r.stderr and ":7: a line has five words" in r.stderr, r.stderr)
    os.remove(ctl.file)
    r = ctl("revoke", "x", status=4)
    check("No such file" in r.stderr, r.stderr)
    os.symlink("/nowhere", ctl.file)
    check("symbolic link" in ctl("make", "x", "shop", status=4).stderr)
    os.remove(ctl.file)


def at_once(ctl):
    """Of many that write at the same time none loses its line."""
    threads = [threading.Thread(target=ctl, args=("make", f"t{i}", "shop")) for i in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(sorted(w[0] for w in ctl.lines()), sorted(f"t{i}" for i in range(12)))


def main():
    ctl = Ctl()
    for test in (making, refusals, editing, at_once):
        test(ctl)


harness.run(main)
