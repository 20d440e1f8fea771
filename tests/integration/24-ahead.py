# SPDX-License-Identifier: Apache-2.0
"""What waits behind a request is looked at before its turn (conn_ahead.c), and clients that are ready together are
read before any is parsed: whatever it looks like and wherever it is cut, the replies are those that one request
after the other gets."""

import random
import socket

import harness
from harness import check, encode


def key(rnd):
    """Some are longer than what is looked ahead for, some empty, some not text."""
    return rnd.choice((b"", b"k", b"k%d" % rnd.randrange(40), b"\r\n$3\r\n", bytes(rnd.randrange(256) for _ in range(9)),
                       b"long" * 40, b"x" * rnd.randrange(40, 70), b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"))


def request(rnd):
    """(bytes, how often it is answered)."""
    k, v = key(rnd), b"v" * rnd.choice((0, 1, 60, 998, 999, 1000, 5000))
    return rnd.choice((
        lambda: encode(b"GET", k), lambda: encode(b"SET", k, v), lambda: encode(b"SET", k, v, b"KEEPTTL"),
        lambda: encode(b"MGET", *(key(rnd) for _ in range(rnd.randrange(1, 12)))), lambda: encode(b"DEL", k),
        lambda: encode(b"PING"), lambda: encode(b"GET"), lambda: encode(b"no such", k), lambda: b"PING\r\n",
        lambda: b"GET k1\r\n", lambda: b"\r\n", lambda: b"*0\r\n", lambda: encode(b"STRLEN", k),
        lambda: b"*2\r\n$0003\r\nGET\r\n$01\r\nk\r\n", lambda: encode(b"MULTI") + encode(b"APPEND", k, b"a") + encode(b"EXEC"),
        lambda: encode(b"SELECT", b"%d" % rnd.randrange(3)), lambda: encode(b"HSET", k, b"f", v)))()


def read_all(s):
    """Everything up to the reply of the last request, ECHO end-of-it."""
    got, end = b"", b"$9\r\nend-of-it\r\n"
    while not got.endswith(end):
        part = s.recv(1 << 16)
        check(part, "closed after", got[-200:])
        got += part
    return got


def one_by_one(path, requests):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(30)
    s.connect(path)
    replies = b""
    for r in requests:
        s.sendall(r + encode(b"ECHO", b"end-of-it"))
        replies += read_all(s)[:-len(b"$9\r\nend-of-it\r\n")]
    s.close()
    return replies


def together(rnd, path, requests, n):
    """n clients send the same reads, cut anywhere, a piece of each in turn."""
    data = b"".join(requests) + encode(b"ECHO", b"end-of-it")
    conns = []
    for _ in range(n):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(30)
        s.connect(path)
        conns.append([s, 0])
    while any(at < len(data) for _, at in conns):
        for c in conns:
            size = rnd.choice((1, 7, 60, 300, 4000, 70000))
            c[0].sendall(data[c[1]:c[1] + size])
            c[1] += size
    for s, _ in conns:
        yield read_all(s)[:-len(b"$9\r\nend-of-it\r\n")]
        s.close()


def main():
    rnd = random.Random(harness.seed())
    for workers in (1, 2):
        with harness.Purserd({"agent.workers": str(workers), "backend main.plugin": "memory"}) as p:
            for _ in range(40 if harness.LONG else 6):
                writes = [request(rnd) for _ in range(150)]
                with p.client() as c:
                    c.cmd("FLUSHALL")
                want = one_by_one(p.sock, writes)
                with p.client() as c:
                    c.cmd("FLUSHALL")
                got = list(together(rnd, p.sock, writes, 1))[0]
                check(got == want, "a pipeline answered", got[:300], "not", want[:300])
                reads = [encode(b"GET", key(rnd)) for _ in range(60)] + [encode(b"MGET", key(rnd), key(rnd))]
                want = one_by_one(p.sock, reads)
                for got in together(rnd, p.sock, reads, 40):
                    check(got == want, "beside others", got[:300], "not", want[:300])


if __name__ == "__main__":
    harness.run(main)
