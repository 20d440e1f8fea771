# SPDX-License-Identifier: Apache-2.0
"""Where random runs of locks take place: a Redis and its replica, two agents behind a fault proxy each, processes that take
locks, and the hands that trouble all of them.  What happened comes out as a history (history.py)."""

import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import harness

sys.path.insert(0, os.path.join(harness.srcdir, "tests/chaos"))
import rig  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
LOCKS = ["one", "two", "rw"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Clock:
    """The wall clock of those that are started with env(); None: it cannot be set in this build."""

    def __init__(self):
        self.library = os.path.join(harness.builddir, "tests/locks/.libs/clockstep.so")
        with open(self.library, "rb") as f:
            text = f.read()
        self.works = not any(s in text for s in (b"__asan_", b"__tsan_", b"__ubsan_")) and not harness.VALGRIND
        self.path = os.path.join(harness.tmp(), "clockstep")
        with open(self.path, "wb") as f:
            f.write(bytes(8))
        with open(self.path, "r+b") as f:
            self.at = mmap.mmap(f.fileno(), 8)
        self.us = 0

    def env(self):
        return {"LD_PRELOAD": self.library, "CLOCKSTEP_FILE": self.path} if self.works else {}

    def step(self, ms):
        self.us += ms * 1000
        self.at[:] = struct.pack("<q", self.us)


class Server(harness.Redis):
    """A redis-server with a port and that clock."""

    def __init__(self, name, clock):
        self.port, self.clock = free_port(), clock
        super().__init__(["--port", str(self.port), "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"], name=name)

    def launch(self, argv, env=None):
        super().launch(argv, {**os.environ, **self.clock.env()})


class Actor:
    """A process that takes locks (actor.py)."""

    def __init__(self, stage, name, sock, seed):
        self.stage, self.name = stage, name
        self.p = subprocess.Popen([sys.executable, os.path.join(HERE, "actor.py"), sock, name, str(seed), *LOCKS],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  preexec_fn=harness._die_with_parent)  # pylint: disable=protected-access
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.p.stdout:
            if line.endswith(b"\n"):
                self.stage.events.append(json.loads(line))

    def kill(self):
        self.stage.say("ended", who=self.name + ".*")
        self.p.kill()
        self.p.wait()
        self.reader.join()

    def stop(self):
        self.p.send_signal(signal.SIGCONT)
        self.p.stdin.close()
        status = self.p.wait(30 * harness.SLOW)
        self.reader.join()
        harness.check(status == 0, f"actor {self.name} ended with {status}")


class Stage:
    """with Stage(random) as s: s.play(seconds, troubles); history.check(s.history())"""

    def __init__(self, random, actors=6):
        self.random, self.wanted = random, actors
        self.events, self.actors, self.proxies, self.agents = [], [], [], []
        self.troubles = {}
        self.before = {}
        self.names = 0

    def say(self, what, **more):
        self.events.append({"what": what, "at": time.monotonic(), **more})

    def __enter__(self):
        self.clock = Clock()
        self.redis = Server("primary", self.clock).__enter__()
        self.replica = Server("replica", self.clock).__enter__()
        self.replica.client().cmd("REPLICAOF", "127.0.0.1", self.redis.port)
        self.now = self.redis
        for i, name in enumerate("ab"):
            proxy = rig.Proxy(self.redis.sock, self.random.randrange(1 << 30), name="proxy" + name).start()
            settings = rig.agent(proxy.url, log__level="info")
            agent = harness.Purserd(settings, env=self.clock.env() if i else {}, name="agent" + name,
                                    args=["--no-sandbox"] if i else [])
            agent.allow('"level":"error"')  # what a store that is cut off makes the agents log is not the matter of this test
            self.before[name] = len(agent.log())  # of an earlier run
            agent.start()
            self.proxies.append(proxy)
            self.agents.append(agent)
            self.debug(agent)
        harness.wait_until(lambda: b"master_link_status:up" in self.replica.client().cmd("INFO", "replication"), "the replica")
        for _ in range(self.wanted):
            self.hire()
        return self

    @staticmethod
    def debug(agent):
        agent.client().cmd("PURSER.LOGLEVEL", "feature", "debug")

    def hire(self):
        self.names += 1
        self.actors.append(Actor(self, f"p{self.names}", self.agents[self.names % 2].sock, self.random.randrange(1 << 30)))

    def __exit__(self, kind, *_):
        for a in self.actors:
            if kind is None:
                a.stop()
            else:
                a.p.kill()
        for p in (*self.agents, *self.proxies, self.replica, self.redis):
            if kind is None and p.running():
                p.stop()
            else:
                p.kill()

    # ---- troubles ----
    def kill_actor(self):
        a = self.actors.pop(self.random.randrange(len(self.actors)))
        a.kill()
        self.hire()

    def stop_actor(self):
        a = self.random.choice(self.actors)
        a.p.send_signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(0.05, 0.8))
        a.p.send_signal(signal.SIGCONT)

    def partition(self):
        p = self.random.choice(self.proxies)
        p.set(frozen=1)
        time.sleep(self.random.uniform(0.05, 1.0))
        p.set(frozen=0)

    def cut(self):
        self.random.choice(self.proxies).cut(self.random.choice(["cut", "rst"]))

    def stop_agent(self):
        a = self.random.choice(self.agents)
        a.signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(0.05, 0.8))
        a.signal(signal.SIGCONT)

    def kill_agent(self):
        a = self.random.choice(self.agents)
        a.kill()
        a.start()
        self.debug(a)

    def stop_store(self):
        self.now.pause()
        time.sleep(self.random.uniform(0.05, 0.4))
        self.now.go_on()

    def clock_back(self):
        self.clock.step(-self.random.randrange(1, 400))

    def clock_forward(self):
        self.say("loose")
        self.clock.step(self.random.randrange(1, 2000))

    def failover(self):
        """The replica is promoted, the primary killed; what it had not passed on is lost."""
        self.say("loose")
        self.now.kill()
        self.replica.client().cmd("REPLICAOF", "NO", "ONE")
        self.now = self.replica
        for p in self.proxies:
            p.to = self.replica.sock
            p.kill()
            os.unlink(p.sock)
            os.unlink(p.control)
            p.start()

    def play(self, seconds, troubles):
        """Troubles at random, each at least once, for so long."""
        end = time.monotonic() + seconds
        todo = list(troubles)
        self.random.shuffle(todo)
        while time.monotonic() < end or todo:
            name = todo.pop() if todo else self.random.choice([t for t in troubles if t != "failover"])
            self.troubles[name] = self.troubles.get(name, 0) + 1
            getattr(self, name)()
            time.sleep(self.random.uniform(0, 0.2))

    def history(self):
        """All that was recorded, when everybody has left."""
        events = list(self.events)
        for a in self.agents:
            for line in a.log()[self.before[a.name[-1]]:].splitlines():
                if '"lock.' not in line or not line.endswith("}"):
                    continue
                e = json.loads(line)
                if e["event"] in ("lock.granted", "lock.renewed"):
                    events.append({"what": "valid", "lock": e["lock"], "fence": e["fence"], "until": e["valid_ns"] / 1e9, "at": 0})
                elif e["event"] == "lock.lost":
                    events.append({"what": "gone", "lock": e["lock"], "fence": e["fence"], "at": e["at_ns"] / 1e9})
        return events
