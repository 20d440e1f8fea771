# SPDX-License-Identifier: Apache-2.0
"""The fault proxy and the checker as objects of a test.

    with harness.Redis(rig.DURABLE) as redis, rig.Proxy(redis.sock, seed) as proxy, \\
            harness.Purserd(rig.agent(proxy.url)) as p, rig.Checker(p.sock, redis.sock, seed) as checker:
        checker.run()
        proxy.set(life_bytes=100000, ends="cut+rst")
        checker.served()
        checker.quiet()
"""

import json
import os
import select
import socket
import subprocess
import time

import harness
from harness import check

DURABLE = ["--appendonly", "yes", "--appendfsync", "always",  # what was acknowledged survives kill -9
           "--auto-aof-rewrite-percentage", "0", "--enable-debug-command", "yes", "--databases", "4"]
# What the checker must find served, or the test would prove less than it says.
KINDS = {"PING", "ECHO", "SET", "SETGET", "GET", "MGET", "MSET", "DEL", "BIGSET", "BIGGET", "INCR", "APPEND", "RPUSH",
         "RPUSHBIG", "LLEN", "LAST", "WRONGTYPE", "UNKNOWN", "HELLO", "SPACE", "SKIP", "EVAL", "EVALSHA", "EVALRO", "TX",
         "DISCARD", "WATCH", "BLMOVE", "BLPOP", "BLOCKED"}


def program(name):
    return os.path.join(harness.builddir, "tests/chaos", name)


def agent(url, **more):
    """Settings of an agent whose failures are quick, so that a test sees many of them."""
    s = {"backend main.plugin": "redis", "backend main.url": url, "backend main.operation_timeout": "1s",
         "backend main.connection_timeout": "500ms", "health.interval": "1s", "backend main.queue_max": "100000",
         "breaker.recovery_initial": "20ms", "breaker.recovery_timeout": "200ms", "project default.databases": "4",
         "project two.databases": "2", "log.level": "warn"}
    s.update({k.replace("__", "."): v for k, v in more.items()})
    return s


class Proxy(harness.Process):
    """Bytes between an agent and the Redis at `to` (a path or 127.0.0.1:PORT), with faults."""

    def __init__(self, to, seed, tcp=False, name="proxy"):
        super().__init__(name)
        self.to, self.seed, self.tcp = to, seed, tcp
        self.control = os.path.join(harness.tmp(), name + ".control")
        self.desk = None
        self.url = None

    def start(self):
        harness._processes.append(self)  # pylint: disable=protected-access
        with open(self.log_path, "ab") as log:
            self.p = subprocess.Popen([program("chaos-proxy"), "--listen", "127.0.0.1:0" if self.tcp else self.sock,
                                       "--to", self.to, "--control", self.control, "--seed", str(self.seed)],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
                                      preexec_fn=harness._die_with_parent)  # pylint: disable=protected-access
        where = self.p.stdout.readline().strip()
        check(where, "the proxy did not start:", self.log())
        self.url = f"redis://{where}" if self.tcp else f"unix://{where}"
        self.desk = socket.socket(socket.AF_UNIX)
        self.desk.settimeout(20 * harness.SLOW)
        self.desk.connect(self.control)
        return self

    def tell(self, line):
        self.desk.sendall(line.encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            more = self.desk.recv(65536)
            check(more, "the proxy is gone:", self.log())
            answer += more
        answer = json.loads(answer)
        check(answer.get("ok", True), line, answer)
        return answer

    def set(self, **settings):
        self.tell("set " + " ".join(f"{k}={v}" for k, v in settings.items()))

    def reset(self):
        self.tell("reset")

    def cut(self, how="cut"):
        self.tell(how)

    def state(self):
        return self.tell("state")

    def stop(self):
        self.desk.close()
        self.signal(harness.signal.SIGTERM)
        self.wait()


class Violation(harness.Failure):
    """What the checker found."""


class Checker(harness.Process):
    """64 clients of the agent at `sock`; the lists are read from the Redis at `redis`."""

    def __init__(self, sock, redis, seed, clients=64, name="checker", **options):
        super().__init__(name)
        self.argv = [program("chaos-checker"), "--agent", sock, "--redis", redis, "--seed", str(seed),
                     "--clients", str(clients), "--patience", str(int(30 * harness.SLOW))]
        self.argv += [w for k, v in options.items() for w in ("--" + k, str(v))]
        self.kinds = None
        self.last = None

    def start(self):
        harness._processes.append(self)  # pylint: disable=protected-access
        with open(self.log_path, "ab") as log:
            self.p = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                                      bufsize=1, preexec_fn=harness._die_with_parent)  # pylint: disable=protected-access
        self.kinds = set(self.read()["kinds"])
        return self

    def read(self, seconds=120):
        end = time.monotonic() + seconds * harness.SLOW
        while not select.select([self.p.stdout], [], [], 0.5)[0]:
            check(time.monotonic() < end, "the checker does not answer")
        line = self.p.stdout.readline()
        check(line, "the checker ended:", self.log())
        answer = json.loads(line)
        if "violation" in answer:
            self.p.wait()
            raise Violation(answer["violation"])
        return answer

    def tell(self, word):
        try:
            self.p.stdin.write(word + "\n")
            self.p.stdin.flush()
        except BrokenPipeError:
            pass  # what it said before is read next
        self.last = self.read()
        return self.last

    def run(self, late=False):
        self.tell(f"late {late:d}")
        return self.tell("run")

    def stats(self):
        return self.tell("stats")

    def quiet(self):
        return self.tell("quiet")

    def served(self, more=2000, seconds=40):
        """Waits until so many appends more were acknowledged."""
        before = self.stats()["acked"]
        harness.wait_until(lambda: self.stats()["acked"] > before + more, f"{more} more appends to be acknowledged",
                           seconds)

    def stop(self):
        self.tell("quiet")
        self.p.stdin.close()
        check(self.wait() == 0, "the checker's status:", self.p.returncode)
