# SPDX-License-Identifier: Apache-2.0
"""Order and identity under chaos.  64 clients with random pipelines, who know every reply and what Redis must hold,
behind a network that splits, delays, stalls, cuts, truncates, resets, half-closes and swallows, and before a Redis that
is killed, cut off, asleep, full, a replica or out of connections.  PURSER_SECONDS, PURSER_ONLY=name, PURSER_SEED."""

import os
import random
import time

import harness
import rig
from harness import check

SECONDS = float(os.environ.get("PURSER_SECONDS") or (600 if harness.LONG else 6))
DEPTH = 500 if SECONDS >= 60 else 60  # what is under way must end before the lists can be compared
ONLY = os.environ.get("PURSER_ONLY", "")
# What a link that goes, is silent or takes a while to come may be answered with.
TROUBLE = {"INDETERMINATE", "BACKENDDOWN", "CIRCUITOPEN", "TIMEOUT", "POOLEXHAUSTED", "EXECABORT"}

# Settings of the proxy.
NETWORK = {
    "splits": {"split": 900},
    "delays": {"delay": 300, "delay_us": 8000, "split": 200},
    "cuts": {"life_bytes": 300000, "ends": "cut", "split": 100},
    "resets": {"life_bytes": 300000, "ends": "rst", "split": 100},
    "halves": {"life_bytes": 500000, "ends": "half", "hole_ms": 60, "delay": 50},
    "ghosts": {"life_bytes": 300000, "ends": "half", "linger": 1, "delay": 300, "delay_us": 20000, "hole_ms": 200},
    "holes": {"life_bytes": 1000000, "ends": "hole", "hole_ms": 300},
    "stalls": {"stall": 3, "stall_ms": 1500, "split": 100},
    "refusals": {"life_bytes": 300000, "ends": "cut+rst", "refuse": 300, "hang": 50},
    "all": {"split": 200, "delay": 50, "stall": 1, "life_bytes": 500000, "ends": "cut+rst+half+hole", "refuse": 100,
             "hang": 10},
}


class Server:
    """What happens to a Redis: each method harms it, and heals it again."""

    def __init__(self, redis, rng):
        self.redis, self.rng = redis, rng

    def cmd(self, *args):
        with self.redis.client() as c:
            return c.cmd(*args)

    def pause(self):
        time.sleep(self.rng.uniform(0.05, 0.3))

    def killed(self):
        self.redis.kill()
        self.pause()
        if os.path.exists(self.redis.sock):
            os.unlink(self.redis.sock)
        self.redis.start()
        return TROUBLE | {"LOADING"}

    def clients_killed(self):
        for _ in range(4):
            self.cmd("CLIENT", "KILL", "TYPE", "normal")
            self.pause()
        return TROUBLE

    def asleep(self):
        self.cmd("DEBUG", "SLEEP", f"{self.rng.choice((0.2, 1.4)):.1f}")
        return TROUBLE

    def stopped(self):
        self.redis.pause()
        self.pause()
        self.redis.go_on()
        return TROUBLE

    def full(self):
        self.cmd("CONFIG", "SET", "maxmemory", "1mb")
        self.pause()
        self.cmd("CONFIG", "SET", "maxmemory", "0")
        return {"OOM", "EXECABORT", "CIRCUITOPEN"}

    def replica(self):
        self.cmd("REPLICAOF", "127.0.0.1", "1")
        self.pause()
        self.cmd("REPLICAOF", "NO", "ONE")
        return {"READONLY", "EXECABORT", "INDETERMINATE", "CIRCUITOPEN", "UNBLOCKED"}

    def masterless(self):
        self.cmd("CONFIG", "SET", "replica-serve-stale-data", "no")
        self.cmd("REPLICAOF", "127.0.0.1", "1")
        self.pause()
        self.cmd("REPLICAOF", "NO", "ONE")
        self.cmd("CONFIG", "SET", "replica-serve-stale-data", "yes")
        return TROUBLE | {"READONLY", "MASTERDOWN", "EXECABORT", "UNBLOCKED"}

    def out_of_connections(self):
        with self.redis.client() as c:  # ours stays
            c.cmd("CONFIG", "SET", "maxclients", "1")
            c.cmd("CLIENT", "KILL", "TYPE", "normal")
            self.pause()
            c.cmd("CONFIG", "SET", "maxclients", "10000")
        return TROUBLE


SERVER = ("killed", "clients_killed", "asleep", "stopped", "full", "replica", "masterless", "out_of_connections")


def judge(name, stats, before, allowed):
    words = {w for w, n in stats["words"].items() if n > before.get("words", {}).get(w, 0)}
    check(words <= allowed, f"{name}: answered with", sorted(words - allowed), stats["words"])
    print(f"{name}: {stats['replies'] - before.get('replies', 0)} replies, "
          f"{stats['acked'] - before.get('acked', 0)} appends, {stats['maybe'] - before.get('maybe', 0)} uncertain, "
          f"{stats['late'] - before.get('late', 0)} of them late, {stats['halves'] - before.get('halves', 0)} halves; "
          + ", ".join(f"{w} {stats['words'][w] - before.get('words', {}).get(w, 0)}" for w in sorted(words)), flush=True)
    return stats


def rounds(names, always, rng, one):
    """In `make check` the one that matters most and some others; else all, again until the time is over."""
    end = time.monotonic() + SECONDS / 4
    if ONLY:
        names = [n for n in names if ONLY in n]
    elif SECONDS < 60:
        names = [always, *rng.sample([n for n in names if n != always], 2)]
    while names:
        for name in names:
            one(name)
        if time.monotonic() > end:
            break


def network(seed, workers, tcp):
    """Faults on the way to a Redis that is well."""
    kind = f"{'tcp' if tcp else 'unix'}{workers}"
    with harness.Redis(rig.DURABLE if not tcp else [*rig.DURABLE, "--bind", "127.0.0.1", "--port", port()],
                       name=f"redis-{kind}") as redis:
        to = f"127.0.0.1:{redis.args[-1]}" if tcp else redis.sock
        with rig.Proxy(to, seed, tcp, name=f"proxy-{kind}") as proxy, \
                harness.Purserd(rig.agent(proxy.url, agent__workers=workers), name=kind) as p, \
                rig.Checker(p.sock, redis.sock, seed, name=f"checker-{kind}", depth=DEPTH) as checker:
            check(checker.kinds >= rig.KINDS, "not served:", sorted(rig.KINDS - checker.kinds))
            last = {}

            def one(name):
                nonlocal last
                checker.run(late=True)
                proxy.set(**NETWORK[name])
                time.sleep(min(SECONDS / 30, 1))
                checker.served(50)
                proxy.reset()
                checker.served(200)
                last = judge(f"{kind} {name}", checker.quiet(), last, TROUBLE)

            rounds(list(NETWORK), "all", random.Random(seed + workers), one)
            print(f"{kind}: kinds {last.get('kinds')}, proxy {proxy.state()}", flush=True)


def server(seed, workers):
    """A Redis to which things happen."""
    rng = random.Random(seed + workers)
    with harness.Redis(rig.DURABLE, name=f"redis-server{workers}") as redis, \
            harness.Purserd(rig.agent(redis.url, agent__workers=workers), name=f"server{workers}") as p, \
            rig.Checker(p.sock, redis.sock, seed, name=f"checker-server{workers}", depth=DEPTH) as checker:
        harm = Server(redis, rng)
        last = {}

        def one(name):
            nonlocal last
            checker.run(late=True)
            checker.served(100)
            allowed = getattr(harm, name)()
            checker.served(200)
            # A script whose user of the store is being made anew hears what became of that.
            last = judge(f"server{workers} {name}", checker.quiet(), last, allowed | {"BACKENDDOWN"})

        rounds(list(SERVER), "killed", rng, one)


def port():
    with harness.socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


def main():
    seed = harness.seed()
    network(seed, 1, False)
    network(seed, 3, True)
    server(seed, 1)
    if SECONDS >= 60:
        server(seed, 3)


if __name__ == "__main__":
    harness.run(main)
