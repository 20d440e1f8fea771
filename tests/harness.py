#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a real purserd and a real redis-server for tests, and talks to them.  Standard library only.

    import harness

    def main():
        with harness.Redis() as redis, \\
                harness.Purserd({"backend main.plugin": "redis", "backend main.url": redis.url}) as p:
            c = p.client()
            harness.check(c.cmd("SET", "k", "v") == "OK")
            harness.check(p.http("GET", "/redis/kv?key=k").json()["value"] == "v")

    harness.run(main)

Everything lives in one directory under /tmp and is gone afterwards, whatever happened; a failure
prints the logs first.  stop() (the end of the with block) asserts that the daemon left with status 0
and that its log holds no error line and no sanitizer report, but for what allow() names.

Environment: PURSER_TEST_WORKERS=N runs purserd with N workers, PURSER_VALGRIND=1 under valgrind,
PURSER_TEST_SLOW=F stretches every time limit, PURSER_KEEP=1 keeps the directory.

As a program (for functions.sh):  harness.py ready SOCKET PID SECONDS | resp SOCKET WORD... | scan LOG [ALLOWED...]
"""

import atexit
import ctypes
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

VALGRIND = os.environ.get("PURSER_VALGRIND") == "1"
SLOW = float(os.environ.get("PURSER_TEST_SLOW", "20" if VALGRIND else "1"))
LONG = os.environ.get("PURSER_LONG") == "1"
SANITIZER = re.compile(r"(ERROR|WARNING): \w+Sanitizer|runtime error:|Sanitizer:DEADLYSIGNAL"
                       r"|^==\d+== |Assertion .* failed")
BAD_LEVELS = ("error", "critical", "fatal", "alert", "emerg")

_here = os.path.dirname(os.path.abspath(__file__))
srcdir = os.environ.get("abs_top_srcdir", os.path.dirname(_here))
builddir = os.environ.get("abs_top_builddir", os.getcwd())
_processes = []
_tmp = None


class Failure(AssertionError):
    """What a test found wrong."""


def check(condition, *what):
    """Fails the test, with what is given as an explanation, unless condition holds."""
    if not condition:
        raise Failure(" ".join(w if isinstance(w, str) else repr(w) for w in what) or "check failed")


def equal(got, want, what=""):
    check(got == want, f"{what}: got {got!r}, want {want!r}")


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(77)


def require(*commands):
    """Skips the test unless all these commands are installed."""
    for c in commands:
        if shutil.which(c) is None:
            skip(f"{c} is not installed")


def seed():
    """The seed of a property test: PURSER_SEED, or a fresh one.  Printed, so that a failure can be repeated."""
    s = int(os.environ.get("PURSER_SEED") or int.from_bytes(os.urandom(4), "little"))
    print(f"PURSER_SEED={s}", flush=True)
    return s


def tmp():
    """This test's own directory."""
    global _tmp
    if _tmp is None:
        _tmp = tempfile.mkdtemp(prefix="purser-test.", dir="/tmp")
    return _tmp


def wait_until(condition, what, seconds=10.0):
    """Polls until condition() is true and returns its value; fails after seconds (stretched by SLOW)."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"waited {seconds * SLOW:.0f} s for {what}")
        time.sleep(0.005)


# ---- RESP ------------------------------------------------------------------------------------------

class RespError(Exception):
    """An error reply; .word is its first word."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text
        self.word = text.split(" ", 1)[0]

    def __eq__(self, other):
        return isinstance(other, RespError) and self.text == other.text

    __hash__ = Exception.__hash__


class Push(list):
    """An out-of-band message of RESP3."""


def encode(*args):
    """One command as RESP.  str is sent as UTF-8, numbers as text, bytes as they are."""
    out = [b"*%d\r\n" % len(args)]
    for a in args:
        b = a if isinstance(a, (bytes, bytearray)) else str(a).encode()
        out.append(b"$%d\r\n" % len(b) + b + b"\r\n")
    return b"".join(out)


class Client:
    """A RESP connection.  cmd() raises RespError; send() and read() are for pipelines (errors are returned)."""

    def __init__(self, path, timeout=30.0):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(timeout * SLOW)
        self.s.connect(path)
        self.f = self.s.makefile("rb", 65536)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.f.close()
        self.s.close()

    def raw(self, data):
        self.s.sendall(data)

    def send(self, *args):
        self.s.sendall(encode(*args))

    def cmd(self, *args):
        self.send(*args)
        reply = self.read()
        if isinstance(reply, RespError):
            raise reply
        return reply

    def error(self, *args):
        """Sends a command that must fail; returns the error."""
        self.send(*args)
        reply = self.read()
        check(isinstance(reply, RespError), f"{args!r} must fail, answered {reply!r}")
        return reply

    def pipeline(self, commands):
        self.s.sendall(b"".join(encode(*c) for c in commands))
        return [self.read() for _ in commands]

    def eof(self):
        """True once the peer has closed and nothing is left to read."""
        try:
            return self.f.read(1) == b""
        except ConnectionResetError:
            return True

    def _line(self):
        line = self.f.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError(f"connection closed after {line!r}")
        return line[:-2]

    def _exactly(self, n):
        data = self.f.read(n)
        if len(data) != n:
            raise EOFError(f"connection closed after {len(data)} of {n} bytes")
        return data

    def read(self):
        """One reply of RESP2 or RESP3 as a Python value: bulk = bytes, simple = str."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return RespError(rest.decode(errors="replace"))
        if kind in b":(":
            return int(rest)
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        if kind in b"$=!":
            n = int(rest)
            if n < 0:
                return None
            data = self._exactly(n + 2)
            check(data.endswith(b"\r\n"), f"bulk of {n} bytes does not end in CR LF")
            if kind == b"!":
                return RespError(data[:-2].decode(errors="replace"))
            return data[4:-2] if kind == b"=" else data[:-2]
        if kind in b"*~>":
            n = int(rest)
            if n < 0:
                return None
            items = [self.read() for _ in range(n)]
            return Push(items) if kind == b">" else items
        if kind == b"%":
            return dict((self._hashable(self.read()), self.read()) for _ in range(int(rest)))
        if kind == b"|":
            for _ in range(int(rest)):
                self.read(), self.read()
            return self.read()
        raise Failure(f"not RESP: {line!r}")

    @staticmethod
    def _hashable(value):
        return tuple(value) if isinstance(value, list) else value


# ---- HTTP ------------------------------------------------------------------------------------------

class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("purser", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Response:
    """status, headers (names in lower case), body."""

    def __init__(self, r):
        self.status = r.status
        self.headers = {k.lower(): v for k, v in r.getheaders()}
        self.body = r.read()

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


def http_request(path, method, target, body=None, headers=None, timeout=30.0):
    """One HTTP request on the Unix socket at path.  A dict or list as body is sent as JSON."""
    headers = dict(headers or {})
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    c = _UnixConnection(path, timeout * SLOW)
    try:
        c.request(method, target, body=body, headers=headers)
        return Response(c.getresponse())
    finally:
        c.close()


# ---- processes -------------------------------------------------------------------------------------

def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Process:
    """A server of ours, its socket and its log."""

    def __init__(self, name):
        self.name = name
        self.sock = os.path.join(tmp(), name + ".sock")
        self.log_path = os.path.join(tmp(), name + ".log")
        self.p = None

    @property
    def pid(self):
        return self.p.pid

    def __enter__(self):
        if self.p is None:
            self.start()
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self.kill()

    def launch(self, argv, env=None):
        """Starts argv and waits until the socket answers a PING."""
        with open(self.log_path, "ab") as log:
            self.p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                      env=env, preexec_fn=_die_with_parent)
        if self not in _processes:
            _processes.append(self)
        wait_until(self.ready, f"{self.name} to answer", 20)

    def ready(self):
        check(self.p.poll() is None, f"{self.name} ended with status {self.p.returncode} before it was ready")
        return answers(self.sock)

    def signal(self, number):
        os.kill(self.p.pid, number)

    def running(self):
        return self.p is not None and self.p.poll() is None

    def wait(self, seconds=20.0):
        """Waits for the process to leave; returns its status."""
        try:
            return self.p.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within {seconds * SLOW:.0f} s") from None

    def kill(self):
        """kill -9, as a crash would be."""
        if self.running():
            self.signal(signal.SIGKILL)
            self.p.wait()

    def client(self, timeout=30.0):
        return Client(self.sock, timeout)

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""


class FakeServer(threading.Thread):
    """A server of a test's own on a Unix socket: a thread for each connection, which calls serve(s, c): the socket,
    and a Client on it whose read() gives commands.  It ends with the connection; serve() may just return."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.url = "unix://" + path
        self.s = socket.socket(socket.AF_UNIX)
        self.s.bind(path)
        self.s.listen(64)
        self.start()

    def run(self):
        while True:
            s, _ = self.s.accept()
            threading.Thread(target=self.converse, args=(s,), daemon=True).start()

    def converse(self, s):
        c = Client.__new__(Client)
        c.s, c.f = s, s.makefile("rb")
        try:
            self.serve(s, c)
        except (OSError, EOFError):
            pass
        self.closed(s)
        c.f.close()

    def serve(self, s, c):
        raise NotImplementedError

    def closed(self, s):
        s.close()


class Purserd(Process):
    """purserd on a socket of its own.

    settings  {"section.key": value}, given with --set; without any backend in them and without
              config it runs on the memory plugin
    config    text of an INI file, or None
    args      more arguments;  env: more environment (a value of None removes the name)
    """

    def __init__(self, settings=None, config=None, args=(), env=None, name="purserd"):
        super().__init__(name)
        self.program = os.environ.get("PURSERD", os.path.join(builddir, "agent/purserd"))
        self.config_path = os.path.join(tmp(), name + ".ini")
        self.settings = {"agent.socket": self.sock, "agent.state_dir": self.dir("state")}
        if os.geteuid() != 0:
            self.settings["agent.core_dump"] = "yes"  # else /proc/PID is root's, and tests look into it
        if os.environ.get("PURSER_TEST_WORKERS"):
            self.settings["agent.workers"] = os.environ["PURSER_TEST_WORKERS"]
        if config is None and not any(k.startswith("backend ") for k in settings or {}):
            self.settings["backend main.plugin"] = "memory"
        self.settings.update(settings or {})
        self.args = list(args)
        self.extra_env = env or {}
        self.allowed = []
        self.write_config(config if config is not None else "; empty: this test gives --set only\n")

    def dir(self, what):
        path = os.path.join(tmp(), f"{self.name}.{what}")
        os.makedirs(path, mode=0o700, exist_ok=True)
        return path

    def write_config(self, text):
        with open(self.config_path, "w", encoding="utf-8") as f:
            f.write(text)

    def argv(self, *more):
        """How the daemon is called; for --check-config and the like give them as more."""
        sets = [w for k, v in self.settings.items() for w in ("--set", f"{k}={v}")]
        return [self.program, "--config", self.config_path, *sets, *self.args, *more]

    def env(self):
        env = dict(os.environ, XDG_CONFIG_HOME=tmp(), XDG_RUNTIME_DIR=tmp())
        env.setdefault("PURSER_PLUGIN_PATH", os.path.join(builddir, "plugins/.libs"))
        for k, v in self.extra_env.items():
            env.pop(k, None) if v is None else env.update({k: str(v)})
        return env

    def start(self):
        argv = self.argv()
        if VALGRIND:
            argv = [*valgrind(self.name), *argv, "--no-sandbox"]  # it would hold valgrind, too
        self.launch(argv, self.env())
        return self

    def run(self, *args, timeout=20.0):
        """Runs the daemon with args to its end (--check-config ...); returns the CompletedProcess (text)."""
        return subprocess.run(self.argv(*args), env=self.env(), stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=timeout * SLOW, check=False)

    def stop(self, status=0):
        """SIGTERM, then the status and the log are checked."""
        if self.running():
            self.signal(signal.SIGTERM)
        got = self.wait()
        check(got == status, f"{self.name} left with status {got}, want {status}")
        self.check_log()

    def reload(self):
        self.signal(signal.SIGHUP)

    def http(self, method, target, body=None, headers=None, timeout=30.0):
        return http_request(self.sock, method, target, body, headers, timeout)

    def ctl(self, *args, timeout=20.0):
        """Runs purserctl on this daemon's socket; returns the CompletedProcess (text)."""
        program = os.environ.get("PURSERCTL", os.path.join(builddir, "ctl/purserctl"))
        return subprocess.run([program, *args], env=dict(self.env(), PURSER_SOCKET=self.sock),
                              stdin=subprocess.DEVNULL, text=True, capture_output=True,
                              timeout=timeout * SLOW, check=False)

    def allow(self, *patterns):
        """Error lines of the log that match one of these are what the test provokes."""
        self.allowed += patterns

    def check_log(self):
        bad = bad_lines(self.log(), self.allowed)
        check(not bad, f"{self.name}.log has lines that it should not:\n" + "\n".join(bad[:40]))

    def wait_log(self, pattern, seconds=10.0):
        """Waits for a line of the log that matches; returns the match."""
        return wait_until(lambda: re.search(pattern, self.log(), re.M), f"the log line {pattern!r}", seconds)


class Redis(Process):
    """A private redis-server: a Unix socket, no port, nothing saved."""

    def __init__(self, args=(), name="redis"):
        super().__init__(name)
        self.args = list(args)
        self.url = "unix://" + self.sock

    def start(self):
        require("redis-server")
        data = os.path.join(tmp(), self.name + ".data")
        os.makedirs(data, exist_ok=True)
        self.launch(["redis-server", "--port", "0", "--unixsocket", self.sock, "--save", "",
                     "--appendonly", "no", "--daemonize", "no", "--dir", data, *self.args])
        return self

    def stop(self):
        if self.running():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        self.wait()

    def pause(self):
        self.signal(signal.SIGSTOP)

    def go_on(self):
        self.signal(signal.SIGCONT)


def answers(path):
    """Does the server at path answer a PING, were it with an error?"""
    try:
        with Client(path, timeout=2.0) as c:
            c.send("PING")
            c.read()
            return True
    except (OSError, EOFError):
        return False


def valgrind(name):
    """What runs a program under valgrind, which writes to a log of its own; its findings end it with 99."""
    return ["valgrind", "-q", "--error-exitcode=99", "--leak-check=full",
            "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite",
            f"--log-file={tmp()}/{name}.valgrind"]


def bad_lines(text, allowed=()):
    """The lines of a log that no test expects: sanitizer reports, and events of level error and above."""
    bad = []
    for line in text.splitlines():
        found = SANITIZER.search(line)
        if line.startswith("{"):
            try:
                event = json.loads(line)
                level = event.get("level") or event.get("severity") or event.get("severity_text") or ""
                found = found or str(level).lower() in BAD_LEVELS
            except ValueError:
                found = True  # a line that is begun as JSON and is not
        if found and not any(re.search(a, line) for a in allowed):
            bad.append(line)
    return bad


# ---- the frame of a test ---------------------------------------------------------------------------

def _clean_up():
    for p in _processes:
        p.kill()
    if _tmp is not None and os.environ.get("PURSER_KEEP") != "1":
        shutil.rmtree(_tmp, ignore_errors=True)


def _terminated(number, _frame):
    sys.exit(128 + number)


def run(main):
    """Runs a test: its logs are printed if it fails, and nothing stays behind."""
    atexit.register(_clean_up)
    for s in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, _terminated)
    try:
        main()
    except Exception:
        traceback.print_exc()
        for p in _processes:
            lines = p.log().splitlines()
            print(f"---- {p.name}.log ({len(lines)} lines, the last 200) ----")
            print("\n".join(lines[-200:]), flush=True)
        for name in sorted(os.listdir(tmp())):
            if name.endswith(".valgrind"):
                with open(os.path.join(tmp(), name), encoding="utf-8", errors="replace") as f:
                    print(f"---- {name} ----\n{f.read()}", flush=True)
        sys.exit(1)


def _show(reply, indent=""):
    if isinstance(reply, RespError):
        return f"(error) {reply.text}"
    if reply is None:
        return "(nil)"
    if isinstance(reply, bytes):
        return reply.decode(errors="backslashreplace")
    if isinstance(reply, dict):
        reply = [x for kv in reply.items() for x in kv]
    if isinstance(reply, (list, tuple)):
        return "\n".join(indent + _show(r, indent + "  ") for r in reply) or "(empty)"
    return str(reply)


def _program(argv):
    if len(argv) == 4 and argv[0] == "ready":
        end = time.monotonic() + float(argv[3]) * SLOW
        while time.monotonic() < end:
            if answers(argv[1]):
                return 0
            try:
                with open(f"/proc/{argv[2]}/stat", encoding="ascii", errors="replace") as f:
                    if f.read().rpartition(")")[2].split()[0] == "Z":
                        return 1
            except OSError:
                return 1
            time.sleep(0.005)
        return 1
    if len(argv) >= 3 and argv[0] == "resp":
        with Client(argv[1]) as c:
            c.send(*[os.fsencode(a) for a in argv[2:]])
            reply = c.read()
        print(_show(reply))
        return 1 if isinstance(reply, RespError) else 0
    if len(argv) >= 2 and argv[0] == "scan":
        with open(argv[1], encoding="utf-8", errors="replace") as f:
            bad = bad_lines(f.read(), argv[2:])
        print("\n".join(bad), end="\n" if bad else "")
        return 1 if bad else 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(_program(sys.argv[1:]))
