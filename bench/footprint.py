# SPDX-License-Identifier: Apache-2.0
"""What a server costs while it does nothing: start, memory, idle CPU, idle connections, stored items."""

import statistics
import time

from measure import run_lg
from servers import BenchError, answers, connect

SERVERS = {  # name -> programs it needs
    "purser-memory": ("purserd",),
    "purser-redis": ("purserd", "redis-server"),
    "redis": ("redis-server",),
    "nutcracker": ("nutcracker", "redis-server"),
    "memcached": ("memcached",),
}

ITEM_SERVERS = {"purser-memory": ("purserd",), "redis": ("redis-server",), "memcached": ("memcached",)}
ITEMS = {"d16": (16, None), "d16-ttl": (16, 3600), "d64": (64, None), "d64-ttl": (64, 3600)}
ITEM_COUNT = 1000000
KEY_BYTES = 16


def cold_start_ms(lab, name, times):
    """From fork to the first answer, median. The peers' start is timed in the same way."""
    took = []
    for _ in range(times):
        server = lab.fresh(name)
        try:
            begin = time.monotonic()
            server.spawn()
            server.wait_ready(pause=0.0002)
            took.append((time.monotonic() - begin) * 1e3)
        finally:
            lab.discard(server)
    return statistics.median(took)


def idle_connections_kib(server, count):
    """Growth of resident memory for each of count connections that were answered once."""
    before = server.memory_kib()[0]
    held = []
    try:
        for _ in range(count):
            s = connect(server.address)
            held.append(s)
            s.sendall(server.ask)
            if not s.recv(4096).startswith(server.expect):
                raise BenchError(f"{server.name}: an idle connection got a wrong answer")
        return (server.memory_kib()[0] - before) / count
    finally:
        for s in held:
            s.close()


def measure(lab, name, quick):
    """The figures of one server, or BenchError."""
    result = {"cold_start_ms": cold_start_ms(lab, name, 5 if quick else 15)}
    server = lab.fresh(name)
    try:
        server.spawn()
        server.wait_ready()
        time.sleep(1.0)
        rss, anon = server.memory_kib()
        result.update(rss_mib=rss / 1024, private_mib=anon / 1024)
        begin, cpu = time.monotonic(), server.cpu_seconds()
        time.sleep(2.0 if quick else 20.0)
        result["idle_cpu_ms_per_s"] = (server.cpu_seconds() - cpu) * 1e3 / (time.monotonic() - begin)
        result["idle_client_kib"] = idle_connections_kib(server, 1000)
        if not answers(server.address, server.ask, server.expect):
            raise BenchError(f"{name} does not answer after 1,000 idle connections")
    finally:
        lab.discard(server)
    return result


def item_overhead(lab, name, value_bytes, ttl):
    """Resident bytes for each item beyond the key that the client sent and its value."""
    server = lab.fresh(name)
    try:
        server.spawn()
        server.wait_ready()
        before = server.memory_kib()[0]
        arguments = ["--fill", "-k", str(ITEM_COUNT), "-d", str(value_bytes)]
        arguments += ["-T", str(ttl)] if ttl else []
        arguments += ["-C"] if name == "memcached" else []
        run_lg(lab, server.address, arguments)
        time.sleep(0.5)  # a table that grows step by step may still be at it
        grown = (server.memory_kib()[0] - before) * 1024
        return grown / ITEM_COUNT - KEY_BYTES - value_bytes
    finally:
        lab.discard(server)


def measure_items(lab, name):
    return {kind: item_overhead(lab, name, *what) for kind, what in ITEMS.items()}
