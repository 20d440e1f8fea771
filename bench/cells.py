# SPDX-License-Identifier: Apache-2.0
"""What is measured: targets (who is asked), shapes (how), ratios and goals.

A cell is GROUP/SHAPE, e.g. proxy/c50-P1-get. In each cell every target of the group is run once a
round, in changing order; ratios are taken inside a round and their median is reported.
"""

from dataclasses import dataclass, field
from typing import NamedTuple


class Target(NamedTuple):
    """Who is asked. `own` is the server whose CPU is 'own'; `store` the one behind it, if any."""
    label: str
    own: str
    needs: tuple
    store: str = None
    tcp: bool = False
    lg: tuple = ()
    plan: str = None  # of plans.py: bench/steps asks, not lg


class Ratio(NamedTuple):
    """top's figure over bottom's, both of the same round."""
    name: str
    top: str
    bottom: str
    what: str = "own"
    bottom_what: str = None


class Goal(NamedTuple):
    """A limit that a ratio or figure of a cell is held against."""
    stage: str
    cell: str
    name: str
    limit: float


@dataclass(frozen=True)
class Shape:
    """How the load looks."""
    conns: int
    pipeline: int
    op: str
    quick: bool = False
    value: int = 64
    pin: str = None  # None: as the command line says
    hog: bool = False  # beside it, one connection reads 1 MB values without pause
    extra: tuple = ()
    suffix: str = ""

    @property
    def name(self):
        return f"c{self.conns}-P{self.pipeline}-{self.op}{self.suffix}"

    def arguments(self):
        mix = {"mget100": "mget", "mset100": "mset"}.get(self.op, self.op)
        return ["-c", str(self.conns), "-P", str(self.pipeline), "-m", mix, "-d", str(self.value),
                *self.extra]


@dataclass
class Group:
    """Targets that are compared with each other, and the shapes of load they all get."""
    title: str
    targets: dict
    shapes: list
    ratios: list
    quick_targets: tuple = field(default=())

    def shape(self, name):
        return next(s for s in self.shapes if s.name == name)


PURSER = ("purserd",)
REDIS = ("redis-server",)

TARGETS = {
    "redis": Target("redis-server", "redis", REDIS),
    "floor": Target("kernel floor, server", "floor", (), lg=("-V", "shape")),
    "memcached": Target("memcached", "memcached", ("memcached",), lg=("-C",)),
    "memory": Target("purser, memory", "purser-memory", PURSER),
    "memory-off": Target("purser, memory, telemetry off", "purser-memory-off", PURSER),
    "memory-spans": Target("purser, memory, metrics + 100 % spans", "purser-memory-spans", PURSER),
    "memory-w2": Target("purser, memory, 2 workers", "purser-memory-w2", PURSER),
    "memory-rate": Target("purser, memory, a rate", "purser-memory-rate", PURSER),
    "memory-limits": Target("purser, memory, every limit", "purser-memory-limits", PURSER),
    "memory-open": Target("purser, memory, isolation = off", "purser-memory-open", PURSER),
    "direct": Target("redis-server, Unix socket", "redis", REDIS),
    "direct-tcp": Target("redis-server, TCP", "redis", REDIS, tcp=True),
    "floor-proxy": Target("kernel floor, proxy", "floor-proxy", REDIS, store="redis"),
    "nutcracker": Target("nutcracker", "nutcracker", ("nutcracker", "redis-server"), store="redis"),
    "agent": Target("purser, redis", "purser-redis", PURSER + REDIS, store="redis"),
    "agent-declared": Target("purser, redis, scripts = declared-keys", "purser-redis-declared", PURSER + REDIS,
                             store="redis"),
    "agent-open": Target("purser, redis, isolation = off", "purser-redis-open", PURSER + REDIS, store="redis"),
    "agent-off": Target("purser, redis, telemetry off", "purser-redis-off", PURSER + REDIS, store="redis"),
    "agent-spans": Target("purser, redis, metrics + 100 % spans", "purser-redis-spans", PURSER + REDIS,
                          store="redis"),
    "nutcracker-tcp": Target("nutcracker, Redis over TCP", "nutcracker-tcp", ("nutcracker", "redis-server"),
                             store="redis"),
    "agent-tcp": Target("purser, Redis over TCP", "purser-redis-tcp", PURSER + REDIS, store="redis"),
    **{f"agent-{plan}": Target(label, "purser-redis", PURSER + REDIS + ("steps",), store="redis", plan=plan) for plan, label in (
        ("get", "GET"), ("lease", "CACHE.LEASE, a hit"), ("hgetall", "HGETALL of as many fields"), ("session", "SESSION.GET"),
        ("sets", "two SETs"), ("locks", "LOCK.ACQUIRE and LOCK.RELEASE"))},
    "agent-tls": Target("purser, Redis over TLS", "purser-redis-tls", PURSER + REDIS + ("openssl",),
                        store="redis-tls"),
}


def targets(*names):
    return {name: TARGETS[name] for name in names}


def matrix(mget_conns=(1, 50)):
    """1, 50 and 500 connections at P = 1, 16, 100; GET and SET, MGET of 100, a connection for each request."""
    quick = {(1, 1, "get"), (50, 1, "get"), (50, 1, "set"), (50, 16, "get"), (50, 16, "set"), (1, 100, "get")}
    shapes = [Shape(c, p, op, quick=(c, p, op) in quick)
              for c in (1, 50, 500) for p in (1, 16, 100) for op in ("get", "set")]
    shapes += [Shape(c, 1, "mget100", quick=c == 50) for c in mget_conns]
    shapes += [Shape(c, 1, "get", quick=c == 1, extra=("-r",), suffix="-reconnect") for c in (1, 50)]
    shapes += [Shape(1, 1, "get", quick=True, pin="one", suffix="-onecpu")]
    return shapes


GROUPS = {
    "memory": Group(
        "in-memory store: purser's memory plugin against redis-server",
        targets("floor", "redis", "memcached", "memory"),
        matrix() + [Shape(50, 16, "get", value=1024, suffix="-1k"), Shape(50, 16, "set", value=1024, suffix="-1k")],
        [Ratio("memory/redis", "memory", "redis"), Ratio("memory/floor", "memory", "floor"),
         Ratio("memory/memcached", "memory", "memcached"), Ratio("redis/floor", "redis", "floor")],
        quick_targets=("floor", "redis", "memory")),
    "proxy": Group(
        "in front of Redis: purser's redis plugin against direct and nutcracker (Redis on a Unix socket)",
        targets("direct", "direct-tcp", "floor-proxy", "nutcracker", "agent"),
        matrix() + [Shape(50, 1, "get", value=4096, suffix="-4k")],
        [Ratio("agent/nutcracker", "agent", "nutcracker"),
         Ratio("agent/floor", "agent", "floor-proxy"),
         Ratio("nutcracker/floor", "nutcracker", "floor-proxy"),
         Ratio("redis-cpu/direct", "agent", "direct", "store", "own"),
         Ratio("redis-cpu/direct-tcp", "agent", "direct-tcp", "store", "own"),
         Ratio("nutcracker-redis-cpu/direct", "nutcracker", "direct", "store", "own"),
         Ratio("total/direct", "agent", "direct", "total"),
         Ratio("total/direct-tcp", "agent", "direct-tcp", "total"),
         Ratio("total/nutcracker", "agent", "nutcracker", "total"),
         Ratio("p50/nutcracker", "agent", "nutcracker", "p50"),
         Ratio("p50/direct", "agent", "direct", "p50")]),
    "proxy-tcp": Group(
        "in front of Redis over TCP",
        targets("direct-tcp", "nutcracker-tcp", "agent-tcp"),
        [Shape(50, 1, "get"), Shape(500, 1, "get"), Shape(50, 16, "get"), Shape(50, 1, "mget100")],
        [Ratio("agent/nutcracker", "agent-tcp", "nutcracker-tcp"),
         Ratio("redis-cpu/direct-tcp", "agent-tcp", "direct-tcp", "store", "own"),
         Ratio("total/direct-tcp", "agent-tcp", "direct-tcp", "total")]),
    "tls": Group(
        "what TLS 1.3 to Redis costs",
        targets("direct-tcp", "agent-tcp", "agent-tls"),
        [Shape(1, 1, "get"), Shape(50, 1, "get"), Shape(50, 16, "get"), Shape(50, 1, "get", value=4096, suffix="-4k")],
        [Ratio("agent: tls/tcp", "agent-tls", "agent-tcp"),
         Ratio("redis-cpu: tls/tcp", "agent-tls", "agent-tcp", "store", "store"),
         Ratio("total/direct-tcp", "agent-tls", "direct-tcp", "total")]),
    "telemetry": Group(
        "what telemetry costs: off, metrics, metrics + a span of each request",
        targets("memory-off", "memory", "memory-spans", "agent-off", "agent", "agent-spans"),
        [Shape(50, 1, "get", quick=True), Shape(50, 16, "get", quick=True)],
        [Ratio("memory: metrics/off", "memory", "memory-off"),
         Ratio("memory: spans/off", "memory-spans", "memory-off"),
         Ratio("redis: metrics/off", "agent", "agent-off"),
         Ratio("redis: spans/off", "agent-spans", "agent-off")]),
    "limits": Group(
        "what limits of a project cost: none, a rate, all there are",
        targets("memory", "memory-rate", "memory-limits"),
        [Shape(50, 16, "get"), Shape(50, 16, "set")],
        [Ratio("a rate/none", "memory-rate", "memory"), Ratio("all/none", "memory-limits", "memory")]),
    "isolation": Group(
        "what keeping projects apart costs a request",
        targets("memory-open", "memory", "agent-open", "agent"),
        [Shape(50, 16, "get"), Shape(50, 16, "set")],
        [Ratio("memory: isolated/open", "memory", "memory-open"), Ratio("redis: isolated/open", "agent", "agent-open")]),
    "scripts": Group(
        "EVAL of a GET: what keeping scripts inside their project costs",
        targets("direct", "agent-declared", "agent"),
        [Shape(50, 1, "eval"), Shape(50, 16, "eval")],
        [Ratio("redis-cpu: isolated/declared", "agent", "agent-declared", "store", "store"),
         Ratio("agent: isolated/declared", "agent", "agent-declared"),
         Ratio("redis-cpu/direct", "agent", "direct", "store", "own")]),
    "lease": Group(
        "get-or-set beside GET, on Redis through the agent",
        targets("agent-get", "agent-lease"),
        [Shape(50, 1, "steps", quick=True), Shape(50, 16, "steps"), Shape(1, 1, "steps")],
        [Ratio("GET/lease", "agent-get", "agent-lease", "ops"), Ratio("own: lease/GET", "agent-lease", "agent-get")]),
    "session": Group(
        "a session beside a hash of as many fields",
        targets("agent-hgetall", "agent-session"),
        [Shape(50, 1, "steps", quick=True), Shape(50, 16, "steps"), Shape(1, 1, "steps")],
        [Ratio("HGETALL/session", "agent-hgetall", "agent-session", "ops"), Ratio("own: session/HGETALL", "agent-session", "agent-hgetall")]),
    "lock": Group(
        "a lock, taken and given back, beside two SETs; an operation is both requests",
        targets("agent-sets", "agent-locks"),
        [Shape(50, 1, "steps", quick=True), Shape(1, 1, "steps")],
        [Ratio("SETs/lock", "agent-sets", "agent-locks", "ops"), Ratio("own: lock/SETs", "agent-locks", "agent-sets"),
         Ratio("redis: lock/SETs", "agent-locks", "agent-sets", "store")]),
    "workers": Group(
        "two workers against one, on all CPUs",
        targets("memory", "memory-w2"),
        [Shape(50, 1, "get", pin="none"), Shape(50, 16, "get", pin="none"), Shape(50, 16, "set", pin="none"),
         Shape(50, 16, "get", pin="none", extra=("-D", "zipf"), suffix="-zipf"),
         Shape(50, 16, "set", pin="none", extra=("-k", "1"), suffix="-hot")],
        [Ratio("2 workers/1", "memory-w2", "memory")]),
    "fanout": Group(
        "publish to 100 subscribers; CPU is that of one PUBLISH with its 100 messages",
        targets("direct", "direct-tcp", "agent"),
        [Shape(1, 1, "publish", extra=("-S", "100"), suffix="-100"),
         Shape(1, 16, "publish", extra=("-S", "100"), suffix="-100")],
        [Ratio("agent/direct", "agent", "direct"), Ratio("redis-cpu/direct", "agent", "direct", "store", "own"),
         Ratio("total/direct", "agent", "direct", "total")]),
    "hog": Group(
        "small GETs beside a client that reads 1 MB values without pause: look at p99",
        targets("direct", "direct-tcp", "nutcracker", "agent"),
        [Shape(10, 1, "get", hog=True, suffix="-hog")],
        [Ratio("p99/direct", "agent", "direct", "p99"), Ratio("p99/direct-tcp", "agent", "direct-tcp", "p99"),
         Ratio("p99/nutcracker", "agent", "nutcracker", "p99")]),
}

STAGE_1, STAGE_REDIS, STAGE_MEMORY, STAGE_FEATURES = "first release", "redis path", "memory backend", "features"

# footprint/NAME and items/NAME are figures of footprint.py, everything else is a ratio of the cell.
GOALS = [
    *[Goal(STAGE_1, f"memory/c50-{p}-{op}", "memory/redis", 0.90)
      for p in ("P1", "P16") for op in ("get", "set")],
    *[Goal(STAGE_1, f"proxy/c50-{p}-{op}", "agent/nutcracker", 1.00)
      for p in ("P1", "P16") for op in ("get", "set")],
    Goal(STAGE_1, "footprint/purser-memory", "rss_mib", 16),
    Goal(STAGE_1, "footprint/purser-redis", "rss_mib", 16),
    Goal(STAGE_1, "footprint/purser-memory", "cold_start_ms", 50),
    Goal(STAGE_1, "footprint/purser-redis", "cold_start_ms", 50),
    *[Goal(STAGE_REDIS, f"proxy/c50-P1-{op}", "agent/nutcracker", 0.72) for op in ("get", "set")],
    *[Goal(STAGE_REDIS, f"proxy/c50-P1-{op}", "redis-cpu/direct", 0.40) for op in ("get", "set")],
    *[Goal(STAGE_REDIS, f"proxy/c50-P16-{op}", "agent/nutcracker", 0.30) for op in ("get", "set")],
    Goal(STAGE_REDIS, "proxy/c1-P100-get", "agent/nutcracker", 0.33),
    Goal(STAGE_REDIS, "proxy/c50-P1-mget100", "agent/nutcracker", 0.65),
    Goal(STAGE_REDIS, "proxy/c1-P1-get-onecpu", "p50/nutcracker", 0.95),
    Goal(STAGE_REDIS, "proxy/c1-P1-get-onecpu", "agent/nutcracker", 0.82),
    Goal(STAGE_REDIS, "hog/c10-P1-get-hog", "p99/direct", 1.50),
    Goal(STAGE_REDIS, "proxy/c500-P1-get", "total/direct-tcp", 1.00),
    Goal(STAGE_REDIS, "footprint/purser-redis", "idle_client_kib", 2),
    *[Goal(STAGE_MEMORY, f"memory/c50-P1-{op}", "memory/redis", 0.70) for op in ("get", "set")],
    *[Goal(STAGE_MEMORY, f"memory/c50-P16-{op}", "memory/redis", 0.55) for op in ("get", "set")],
    Goal(STAGE_MEMORY, "memory/c1-P1-get-onecpu", "memory/redis", 0.85),
    *[Goal(STAGE_MEMORY, "items/purser-memory", f"{size}", 36) for size in ("d16", "d64")],
    *[Goal(STAGE_MEMORY, "items/purser-memory", f"{size}-ttl", 44) for size in ("d16", "d64")],
    Goal(STAGE_FEATURES, "lease/c50-P1-steps", "GET/lease", 1 / 0.9),
    Goal(STAGE_FEATURES, "session/c50-P1-steps", "HGETALL/session", 1 / 0.6),
    Goal(STAGE_FEATURES, "lock/c50-P1-steps", "SETs/lock", 1 / 0.5),
    *[Goal(STAGE_MEMORY, f"workers/c50-{p}-get", "2 workers/1", 1.25) for p in ("P1", "P16")],
]
