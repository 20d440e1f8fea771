#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Limits and odd beginnings of connections: what is too large, too long, too slow or neither RESP nor HTTP ends
with a word that says so, on that connection only; a full store says OOM until something is deleted."""

import os
import re
import resource
import socket
import time

import harness
from harness import RespError, check, encode, equal, wait_until


def first_reply(p, data, shut=False):
    """What a connection that begins with data is told, and whether it is closed behind that."""
    with p.client() as c:
        c.raw(data)
        if shut:
            c.s.shutdown(socket.SHUT_WR)
        reply = c.read()
        return reply, c


def beginnings(p):
    """Sniffing: the first byte or the first line decides, however it comes in, once per connection."""
    for data, want in ((b"PING\r\n", "PONG"), (b"\r\n\r\n  PING\n", "PONG"), (b"*0\r\n*-1\r\n" + encode("PING"), "PONG"),
                       (b"\n" + encode("PING"), "PONG"), (b"ping 'a b'\r\n", b"a b")):
        for step in (1, 3, 1000):
            with p.client() as c:
                for i in range(0, len(data), step):
                    c.raw(data[i:i + step])
                equal(c.read(), want, f"{data} in steps of {step}")
                equal(c.cmd("PING"), "PONG")
    http = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    for step in (1, 7):
        with p.client() as c:
            for i in range(0, len(http), step):
                c.raw(http[i:i + step])
            check(c.f.readline() == b"HTTP/1.1 200 OK\r\n")
    # RESP behind HTTP, HTTP behind RESP: a connection stays what it is
    with p.client() as c:
        c.raw(http + encode("PING"))
        text = c.f.read()
        check(text.startswith(b"HTTP/1.1 200 OK\r\n") and b"HTTP/1.1 400 " in text and b"PONG" not in text, text)
    with p.client() as c:
        equal(c.cmd("PING"), "PONG")
        c.raw(http)
        equal(c.read().word, "ERR")
    # neither of the two: answered as Redis answers an inline command, or closed; never a hang
    for junk in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", b"GET / HTTP/2\r\n", b"GET / HTTP/1\r\n",
                 b" HTTP/1.1\r\n", b"\xff\xfe\r\n", b"$5\r\nhello\r\n", b"get 'a\n", b"-ERR\r\n"):
        with p.client() as c:
            c.raw(junk)
            c.s.shutdown(socket.SHUT_WR)
            text = c.f.read()
            check(text.startswith((b"-ERR ", b"HTTP/1.1 4", b"HTTP/1.1 5")), junk, text)
    # closed before anything is decided: nothing is said
    for part in (b"", b"P", b"GET / HTTP/1.1", b"*", b"*1\r\n$4\r\nPI"):
        with p.client() as c:
            c.raw(part)
            c.s.shutdown(socket.SHUT_WR)
            equal(c.f.read(), b"", part)


def too_much(path):
    """Each limit of [agent], a byte below and a byte above."""
    limits = {"agent.max_bulk_size": "1KiB", "agent.max_arguments": "16", "agent.max_request_size": "64KiB",
              "agent.max_inline_size": "64B"}
    with harness.Purserd(limits, name=path) as p:
        other = p.client()
        with p.client() as c:
            equal(c.cmd("SET", "k", "x" * 1024), "OK")
            equal(c.cmd("MGET", *["k"] * 15), [b"x" * 1024] * 15)
            c.raw(b"SET k " + b"v" * 56 + b"\r\n")
            equal(c.read(), "OK")
        for data, word in ((encode("SET", "k", "x" * 1025), "TOOBIG"), (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1025\r\n", "TOOBIG"),
                           (b"*17\r\n", "TOOBIG"), (b"*3\r\n$99999999999999999999\r\n", "ERR"), (b"x" * 65, "TOOBIG"),
                           (b"SET k " + b"v" * 60 + b"\r\n", "TOOBIG")):
            with p.client() as c:
                c.raw(encode("PING") + data)
                equal(c.read(), "PONG")
                e = c.read()
                check(isinstance(e, RespError) and e.word in (word, "ERR") and len(e.text) > 10, data[:40], e)
                check(c.eof(), "open behind", data[:40])
        equal(other.cmd("PING"), "PONG")
        r = p.http("GET", "/metrics").body.decode()
        check(re.search(r'^purser_clients_protocol_errors_total\{.*"resp".*\} 6$', r, re.M), r)
        other.close()


def before_it_is_known():
    """production: who has no project gets small ears."""
    with harness.Purserd({"agent.mode": "production", "project a.allow_uid": "*", "project b.allow_uid": "*",
                          "agent.preauth_max_size": "1KiB"},
                         name="stranger") as p:
        with p.client() as c:
            equal(c.error("GET", "k").word, "NOPROJECT")
            equal(c.error("SET", "k", "x" * 1000).word, "NOPROJECT")
            equal(c.cmd("PURSER.PROJECT", "a"), "OK")
            equal(c.cmd("SET", "k", "x" * 100000), "OK")
        for data in (encode("SET", "k", "x" * 1025), encode("MGET", *["k"] * 20), b"*100\r\n"):
            with p.client() as c:
                c.raw(data)
                e = c.read()
                check(isinstance(e, RespError) and e.word in ("TOOBIG", "ERR", "NOPROJECT"), e)
                check(c.eof())


def waiting():
    """Many small replies wait for a reader: reading stops at max_pipeline and output_limit, nothing is lost."""
    more = {"agent.max_pipeline": "3", "agent.output_limit": "4KiB"}
    with harness.Purserd(more, name="waiting") as p, p.client() as c, p.client() as d:
        n = 3000
        c.raw(encode("SET", "v", "x" * 1000))
        c.s.settimeout(0.5)
        sent = 0
        try:
            for _ in range(n):
                c.s.sendall(encode("GET", "v"))
                sent += 1
        except TimeoutError:
            pass
        equal(d.cmd("PING"), "PONG")
        c.s.settimeout(30 * harness.SLOW)
        equal(c.read(), "OK")
        for _ in range(sent):
            equal(c.read(), b"x" * 1000)


def too_slow():
    """idle_timeout closes who says nothing, slow_reader_timeout cuts who does not read; not who waits for an answer."""
    more = {"agent.idle_timeout": "1500ms", "agent.slow_reader_timeout": "1s", "agent.output_limit": "64KiB",
            "agent.plugin_dir": os.path.join(harness.builddir, "tests/plugins/.libs"), "health.interval": "1h",
            "backend main.plugin": "order_argv", "backend main.slow": "3500ms", "backend main.style": "reference"}
    with harness.Purserd(more, name="slow") as p, p.client() as idle, p.client() as reader, p.client() as busy:
        equal(idle.cmd("PING"), "PONG")
        equal(reader.cmd("SET", "big", "x" * 3000000), "OK")
        reader.send("GET", "big")
        busy.send("GET", "slow:k")
        p.wait_log('"client.slow"')
        check(idle.eof(), "idle, and still there")
        check(len(reader.f.read()) < 3000000)
        equal(busy.read(), None)  # it took longer than idle_timeout
        text = p.http("GET", "/metrics").body.decode()
        for reason in ("slow_reader", "idle"):
            check(re.search(rf'^purser_clients_cut_total\{{.*"{reason}".*\}} 1$', text, re.M), reason, text)


def full():
    """The memory store at its limit."""
    more = {"backend main.plugin": "memory", "backend main.max_memory": "2MiB", "health.interval": "100ms"}
    with harness.Purserd(more, name="full") as p, p.client() as c:
        replies = c.pipeline([("SET", f"k{i}", "x" * 1000) for i in range(3000)])
        oom = [r for r in replies if isinstance(r, RespError)]
        check(len(oom) > 100 and all(r.word == "OOM" for r in oom), len(oom))
        stored = [i for i, r in enumerate(replies) if r == "OK"]
        check(len(stored) > 1000, len(stored))
        equal(c.cmd("GET", f"k{stored[-1]}"), b"x" * 1000)
        equal(c.cmd("STRLEN", f"k{stored[0]}"), 1000)
        r = p.http("POST", "/redis/kv", {"key": "http", "value": "x" * 1000})
        check(r.status == 507 and r.json()["code"] == "OOM", r)
        p.wait_log('"health.memory')
        equal(c.cmd("DEL", *[f"k{i}" for i in stored[:500]]), 500)
        equal(c.pipeline([("SET", f"again{i}", "x" * 1000) for i in range(300)]), ["OK"] * 300)
        equal(c.cmd("FLUSHALL"), "OK")
        equal(c.cmd("SET", "k", "x" * 1000000), "OK")


def descriptors():
    """Too few for max_clients: said at the start, and who is too many is told so rather than left waiting."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    p = harness.Purserd({"agent.max_clients": "5000"}, name="fds")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))
    except (ValueError, OSError):
        return
    try:
        p.start()
    finally:
        if hard == resource.RLIM_INFINITY or hard > 300:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            except (ValueError, PermissionError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
    with p:
        m = p.wait_log('"server.max_clients".*"possible":(\\d+)')
        possible = int(m.group(1))
        check(0 < possible < 300, possible)
        clients = [p.client() for _ in range(possible - 5)]
        for c in clients:
            equal(c.cmd("PING"), "PONG")
        told = 0
        for _ in range(10):
            c = p.client()
            clients.append(c)
            c.s.settimeout(0.3)
            try:
                c.send("PING")
            except OSError:
                pass  # told and closed before the PING left: what it was told is still there to read
            try:
                told += c.read() == RespError("ERR max number of clients reached")
            except (OSError, EOFError):
                pass
        check(told > 0, "nobody was told")
        for c in clients:
            c.close()
        wait_until(lambda: harness.answers(p.sock), "room for others")
        p.allow("max number of clients")


def main():
    began = time.monotonic()
    with harness.Purserd(name="begin") as p:
        beginnings(p)
    for part in (lambda: too_much("much"), before_it_is_known, waiting, full, descriptors, too_slow):
        part()
    print(f"{time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    harness.run(main)
