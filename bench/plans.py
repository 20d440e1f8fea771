# SPDX-License-Identifier: Apache-2.0
"""What bench/steps is to do: for each plan the lines of its file, and what must be in the store before."""

import socket

from servers import BenchError

LINES = 10000
SESSIONS = 1000
VALUE = "v" * 64
# As many fields and bytes as a session has (docs/sessions.md), for HGETALL beside SESSION.GET.
DATA = '{"name":"somebody","cart":"17","theme":"dark"}'


class Talk:
    """A client that waits for each reply: bulk strings and lines, arrays of them."""

    def __init__(self, address):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(address.removeprefix("unix:"))
        self.f = self.s.makefile("rb")

    def read(self):
        line = self.f.readline().rstrip(b"\r\n")
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise BenchError(f"setting up: {rest.decode()}")
        if kind == b"$":
            return None if rest == b"-1" else self.f.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        return rest

    def ask(self, *words):
        self.s.sendall(b"".join([b"*%d\r\n" % len(words)] + [b"$%d\r\n%s\r\n" % (len(w), w) for w in (str(x).encode() for x in words)]))
        return self.read()


def keys(t):
    """Values under leases: each key is computed once, and hit for the rest of the run."""
    for i in range(LINES):
        won = t.ask("CACHE.LEASE", f"key:{i:012}", "TTL", 3600000)
        if won[0] == b"WON":
            t.ask("CACHE.FILL", f"key:{i:012}", won[1].decode(), VALUE, "TTL", 3600000)


def get(t):
    keys(t)
    return [f"GET key:{i:012}" for i in range(LINES)]


def lease(t):
    keys(t)
    return [f"CACHE.LEASE key:{i:012}" for i in range(LINES)]


def hashes(t):
    for i in range(SESSIONS):
        t.ask("HSET", f"hash:{i}", "v", 1, "uid", "somebody", "created", "1700000000000", "seen", "1700000000000", "abs", "1800000000000",
              "idle", "3600000", "d:name", '"somebody"', "d:cart", '"17"', "d:theme", '"dark"')
    return [f"HGETALL hash:{i}" for i in range(SESSIONS)]


def sessions(t):
    made = [t.ask("SESSION.CREATE", f"user{i}", 3600000, "DATA", DATA) for i in range(SESSIONS)]
    return [f"SESSION.GET {(m[1] if isinstance(m, list) else m).decode()}" for m in made]


def sets(_t):
    return [f"SET key:{i:012} {VALUE} || SET key:{i:012} {VALUE}" for i in range(LINES)]


def locks(_t):
    return [f"LOCK.ACQUIRE lock:{i:012} 10000 || LOCK.RELEASE lock:{i:012} %" for i in range(LINES)]


PLANS = {"get": get, "lease": lease, "hgetall": hashes, "session": sessions, "sets": sets, "locks": locks}


def write(plan, address, path):
    """Prepares the store and writes the file."""
    lines = PLANS[plan](Talk(address))
    with open(path, "w", encoding="ascii") as f:
        f.writelines(line + "\n" for line in lines)
