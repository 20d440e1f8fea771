# SPDX-License-Identifier: Apache-2.0
"""The sandbox: a plugin that has been taken over tries to get out, on a worker's thread and on one of its own, and
does not; the same attempts succeed without it.  What the agent itself needs goes on working, a reload is told which
paths come too late, and machines that lack a part are told so."""

import atexit
import json
import os
import pwd
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import tempfile

import harness
from harness import Purserd, check, equal, wait_until

LIBS = os.path.join(harness.builddir, "tests/plugins/.libs")
WITHOUT = os.path.join(harness.builddir, "tests/plugins/without")
ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody").pw_uid


def built_with(name):
    with open(os.path.join(harness.builddir, "config.h"), encoding="utf-8") as f:
        return re.search(rf"^#define {name}\b", f.read(), re.M) is not None


SANITIZED = built_with("PURSER_SANITIZERS")
SECCOMP = built_with("HAVE_SECCOMP")


def landlock_abi():
    import ctypes
    return ctypes.CDLL(None, use_errno=True).syscall(444, None, 0, 1)


LANDLOCK = landlock_abi()


def agent(name, settings=None, config=None, **more):
    return Purserd({"agent.plugin_dir": LIBS, "backend main.plugin": "escape", "agent.core_dump": "no", **(settings or {})},
                   config=config, name=name, **more)


def status(p):
    with p.client() as c:
        return json.loads(c.cmd("PURSER.STATUS"))["sandbox"]


def attempt(c, text):
    """The same on a worker's thread and on a fresh one."""
    got = [c.cmd("GET", "!" + how + text).decode() for how in ("", "thread ")]
    equal(got[0], got[1], text)
    return got[0]


def outside():
    """A directory of its own: the agent may read the one with its configuration in it."""
    global _outside
    if _outside is None:
        _outside = tempfile.mkdtemp(prefix="purser-test.", dir="/tmp")
        atexit.register(shutil.rmtree, _outside, ignore_errors=True)
        os.chmod(_outside, 0o755)
    return _outside


_outside = None


class Escapes:
    """Files that exist, and what each attempt comes to inside and outside."""

    def __init__(self):
        self.dir = os.path.join(outside(), "open")
        os.mkdir(self.dir)
        os.chmod(self.dir, 0o777)
        self.file = os.path.join(self.dir, "secret")
        with open(self.file, "w", encoding="ascii") as f:
            f.write("not for the agent\n")
        os.chmod(self.file, 0o666)
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind(f"\0purser-{os.getpid()}")
        self.abstract.listen(8)

    def files(self):
        return {f"read {self.file}": "EACCES", f"write {self.file}": "EACCES", f"write {self.dir}/new": "EACCES",
                f"mkdir {self.dir}/new.d": "EACCES"}

    def newer(self):
        """What takes a younger Landlock."""
        return {4: {"bind 0": "EACCES"},
                6: {f"abstract purser-{os.getpid()}": "EPERM", f"kill {os.getppid()}": "EPERM"}}

    def calls(self):
        """Whatever the filter is; the runtime of sanitizers needs some of these itself."""
        return {"listen": "EPERM", f"chmod {self.file}": "EPERM", f"setuid {NOBODY}": "EPERM", "unshare": "EPERM",
                "memfd x": "EPERM", f"socket {socket.AF_PACKET} {socket.SOCK_DGRAM} 0": "ENOSYS",
                f"socket {socket.AF_INET} {socket.SOCK_RAW} 1": "ENOSYS", "socket 16 3 9": "ENOSYS",  # netlink audit
                "getpriority": "ENOSYS"}

    def calls_of_sanitizers(self):
        return {"fork": "ENOSYS", "exec /nonexistent": "EPERM", "wx": "ENOSYS", "wthenx": "ENOSYS",
                f"ptrace {os.getppid()}": "EPERM", f"kill {os.getppid()}": "ENOSYS", "undump 1": "ENOSYS"}


def tasks(p, field):
    """The field of /proc/PID/task/*/status of every thread."""
    found = []
    for t in os.listdir(f"/proc/{p.pid}/task"):
        with open(f"/proc/{p.pid}/task/{t}/status", encoding="ascii", errors="replace") as f:
            found.append(re.search(rf"^{field}:\s*(\w+)", f.read(), re.M).group(1))
    return found


def test_inside(e):
    with agent("inside") as p:
        c, s = p.client(), status(p)
        equal(s["state"], "on" if LANDLOCK > 0 and SECCOMP else "partial")
        equal([s["no_new_privs"], s["core_dump"], s["capabilities"]], [True, False, "0"])
        want = {"caps": "EPERM", "dumpable": "EPERM", "resolve localhost": "ok"}
        if LANDLOCK > 0:
            want.update(e.files())
            for abi, rows in e.newer().items():
                want.update(rows if LANDLOCK >= abi else {})
        if SECCOMP:
            want.update(e.calls())
            if not SANITIZED:
                want.update(e.calls_of_sanitizers())
        state = p.settings["agent.state_dir"]
        want.update({f"write {state}/file": "ok", f"unlink {state}/file": "ok", "read /etc/hosts": "ok",
                     f"read {p.config_path}": "ok", "read /dev/urandom": "ok"})
        for text, errno in want.items():
            if text.startswith("unlink"):
                equal(c.cmd("GET", "!" + text).decode(), errno, text)
            else:
                equal(attempt(c, text), errno, text)
        check(not os.path.exists(e.dir + "/new"), "a file was made outside")
        equal(set(tasks(p, "NoNewPrivs")), {"1"})
        equal(set(tasks(p, "CapPrm")) | set(tasks(p, "CapEff")), {"0" * 16})
        if SECCOMP:
            equal(set(tasks(p, "Seccomp")), {"2"})
        p.wait_log(r'"agent.sandbox"')
        equal(p.http("GET", "/redis/status").json()["sandbox"], {"status": s["state"]})
    check(not os.path.exists(p.sock), "the socket file stayed")


def test_outside(e):
    """The attempts are real: without the sandbox they succeed, or fail for reasons of their own."""
    for name, settings, args in (("option", {}, ["--no-sandbox"]), ("setting", {"agent.sandbox": "off"}, [])):
        with agent(name, settings, args=args) as p:
            c = p.client()
            equal(status(p), {"state": "off", "because": args[0] if args else "[agent] sandbox = off"})
            for text in [*e.files(), "fork", "wx", "wthenx", "listen", "memfd x", "bind 0", "getpriority",
                         f"chmod {e.file}", f"abstract purser-{os.getpid()}", f"kill {os.getppid()}", "undump 1"]:
                if not text.startswith("mkdir"):
                    equal(attempt(c, text), "ok", text)
            equal(attempt(c, "exec /nonexistent"), "ENOENT")
            equal(set(tasks(p, "Seccomp")), {"0"})
            os.remove(f"{e.dir}/new")


def test_core_dump():
    with agent("core", {"agent.core_dump": "yes"}) as p:
        equal([status(p)["core_dump"], attempt(p.client(), "dumpable")], [True, "ok"])


def ini(**backend):
    lines = "".join(f"{k} = {v}\n" for k, v in backend.items())
    return f"[agent]\nplugin_dir = {LIBS}\n[backend main]\nplugin = escape\n{lines}"


def test_reload():
    """What was named at the start may change; what was not needs a restart, and says so."""
    known, late = (os.path.join(outside(), d) for d in ("known", "late"))
    for d in (known, late):
        os.mkdir(d)
        for f in ("one", "two"):
            with open(os.path.join(d, f), "w", encoding="ascii") as out:
                out.write("secret\n")
            os.chmod(os.path.join(d, f), 0o600)
    p = Purserd({}, config=ini(secret_file=known + "/one"), name="reload")
    p.settings.pop("backend main.plugin", None)
    with p:
        c = p.client()

        def replace(text):
            with open(p.config_path + ".new", "w", encoding="utf-8") as f:
                f.write(text)
            os.rename(p.config_path + ".new", p.config_path)

        def refused(path, text):
            replace(text)
            said = c.error("PURSER.RELOAD").text
            check("restart the agent for it" in said and path in said, said)

        def taken(text):
            replace(text)
            number = int(c.cmd("PURSER.RELOAD"))
            wait_until(lambda: not json.loads(c.cmd("PURSER.STATUS"))["draining"], "the old generation")
            return number

        equal(taken(ini(secret_file=known + "/two")), 2)
        if LANDLOCK > 0:
            refused(late + "/one", ini(secret_file=late + "/one"))
            refused(late + "/journal", ini(secret_file=known + "/one", journal=late + "/journal"))
            refused(known + "/journal", ini(secret_file=known + "/one", journal=known + "/journal"))  # read only
            # A link that leads out of what was known.
            os.symlink(late + "/one", known + "/link")
            refused(known + "/link", ini(secret_file=known + "/link"))
            copy = os.path.join(late, "escape.so")
            with open(os.path.join(LIBS, "escape.so"), "rb") as i, open(copy, "wb") as o:
                o.write(i.read())
            refused(copy, ini() + f"[backend more]\nplugin = {copy}\n[project default]\nbackend = main\n")
        # A plugin that was not loaded before, from a directory that was known.
        taken(ini() + "[backend more]\nplugin = memory\n[project default]\nbackend = main\n[project m]\nbackend = more\n")
        state = p.settings["agent.state_dir"]
        equal(taken(ini(journal=state + "/journal")), 4)
        p.allow("config.reload.failed")


def test_lacking():
    """Containers and kernels without a part: said, and with strict an error."""
    for what, number, words in (("landlock", 38, "no Landlock"), ("landlock", 95, "turned off"),
                                ("landlock", 1, "forbids"), ("seccomp", 1, "")):
        if what == "seccomp" and not SECCOMP:
            continue
        p = agent(f"lacking-{what}-{number}")
        plain = p.argv
        p.argv = lambda *more, plain=plain, what=what, number=number: [WITHOUT, what, str(number), *plain(*more)]
        with p:
            s = status(p)
            equal(s["state"], "partial")
            check(words in s["no_landlock" if what == "landlock" else "no_system_calls"], s)
            p.wait_log(r'"level":"warn".*"agent.sandbox".*not in force')
            equal(attempt(p.client(), "caps"), "EPERM")
        p.settings["agent.sandbox"] = "strict"
        done = p.run()
        equal(done.returncode, 1, done.stderr)
        check("strict" in done.stderr and what in done.stderr.lower(), done.stderr)
    if SECCOMP and LANDLOCK > 0:
        with agent("strict", {"agent.sandbox": "strict"}) as p:
            equal(status(p)["state"], "on")


def test_more_calls():
    if not SECCOMP:
        return
    with agent("more", {"agent.sandbox_calls": "getpriority, sync"}) as p:
        equal(attempt(p.client(), "getpriority"), "ok")
    for names, word in (("no_such_call", "no_such_call"), ("execve", "refused whatever")):
        done = agent("wrong", {"agent.sandbox_calls": names}).run()
        equal(done.returncode, 1)
        check(word in done.stderr, done.stderr)


def test_capabilities():
    """Root without capabilities is held to modes like anybody: what it needs for a path, it keeps."""
    if not ROOT:
        return
    p = agent("kept")
    os.chown(p.settings["agent.state_dir"], NOBODY, -1)
    with p:
        s = status(p)
        equal([s["capabilities"], s["capabilities_for"]], ["2", p.settings["agent.state_dir"]])  # CAP_DAC_OVERRIDE
        equal(attempt(p.client(), f"write {p.settings['agent.state_dir']}/x"), "ok")
    # And as somebody else altogether.
    p = agent("nobody")
    for path in (harness.tmp(), p.settings["agent.state_dir"]):
        os.chown(path, NOBODY, -1)
    plain = p.argv
    p.argv = lambda *more: ["/usr/bin/setpriv", f"--reuid={NOBODY}", "--clear-groups", *plain(*more)]
    if subprocess.run([*p.argv("--version")], env=p.env(), check=False, capture_output=True).returncode:
        os.chown(harness.tmp(), 0, -1)
        return  # a build directory that nobody else may enter
    with p:
        equal(status(p)["state"], "on" if LANDLOCK > 0 and SECCOMP else "partial")
        equal(os.stat(f"/proc/{p.pid}/environ").st_uid, 0)  # not dumpable: not its own user's any more
        equal(attempt(p.client(), "resolve localhost"), "ok")
        metrics = p.http("GET", "/metrics").body.decode()
        for name in ("cpu_time_seconds", "memory_usage", "threads", "unix_file_descriptors", "disk_io", "uptime"):
            check("\nprocess_" + name in metrics, name, "cannot be told from inside")
    os.chown(harness.tmp(), 0, -1)


def test_crash():
    """No core, however large one may be; one where it is asked for."""
    with open("/proc/sys/kernel/core_pattern", encoding="ascii") as f:
        here = f.read().strip() in ("core", "core.%p")
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
    for name, settings, want in (("crash", {}, False), ("core-asked", {"agent.core_dump": "yes"}, here and not SANITIZED)):
        p = agent(name, settings)
        state, plain = p.settings["agent.state_dir"], p.argv
        p.argv = lambda *more, plain=plain, state=state: ["/usr/bin/env", "-C", state, *plain(*more)]
        p.start()
        p.signal(signal.SIGABRT)
        p.stop(-signal.SIGABRT)
        may = resource.getrlimit(resource.RLIMIT_CORE)[0] != 0
        equal(any(n.startswith("core") for n in os.listdir(state)), want and may, name)


def main():
    harness.require("setpriv")
    check(stat.S_ISDIR(os.stat(LIBS).st_mode), LIBS)
    if harness.VALGRIND:
        harness.skip("a filter for purserd would hold valgrind, too")
    e = Escapes()
    test_inside(e)
    test_outside(e)
    test_core_dump()
    test_reload()
    test_lacking()
    test_more_calls()
    test_capabilities()
    test_crash()


harness.run(main)
