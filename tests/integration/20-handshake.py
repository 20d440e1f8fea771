#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Handshakes, connection state, protocol errors, the listening socket: answered by the agent alone."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import RespError, check, encode, equal


def handshake(p):
    with p.client() as c:
        h = c.cmd("HELLO")
        equal(h[:6], [b"server", b"redis", b"version", b"7.0.15", b"proto", 2], "HELLO")
        h = c.cmd("HELLO", 3, "SETNAME", "me")
        equal((h[b"proto"], h[b"mode"], h[b"role"]), (3, b"standalone", b"master"), "HELLO 3")
        equal(c.cmd("CLIENT", "GETNAME"), b"me")
        equal(c.cmd("GET", "nothing"), None)
        equal(c.error("HELLO", 4).text, "NOPROTO unsupported protocol version")
        equal(c.error("HELLO", "x").text, "ERR Protocol version is not an integer or out of range")
        equal(c.error("HELLO", 3, "FOO").text, "ERR Syntax error in HELLO option 'FOO'")
        equal(c.error("HELLO", 3, "AUTH", "nobody", "x").word, "WRONGPASS")
        equal(c.cmd("HELLO", 2)[5], 2)
        check(c.error("AUTH", "pw").text.startswith("ERR AUTH <password> called without any password configured for "
                                                    "the default user. Are you sure your configuration is correct?"))
        equal(c.cmd("AUTH", "default", "anything"), "OK")
        equal(c.error("AUTH", "a", "b", "c").text, "ERR syntax error")
        equal(c.error("SELECT", 1).text, "ERR DB index is out of range")
        equal(c.error("SELECT", "x").text, "ERR value is not an integer or out of range")
        equal(c.cmd("SELECT", 0), "OK")
        me = c.cmd("CLIENT", "ID")
        check(isinstance(me, int) and f"id={me} ".encode() in c.cmd("CLIENT", "INFO"))
        equal(c.cmd("CLIENT", "SETINFO", "LIB-NAME", "test"), "OK")
        equal(c.error("CLIENT", "SETINFO", "LIB-FOO", "x").text, "ERR Unrecognized option")
        equal(c.error("CLIENT", "SETNAME", "a b").text,
              "ERR Client names cannot contain spaces, newlines or special characters.")
        equal(c.cmd("CLIENT", "NO-EVICT", "on"), "OK")
        equal(c.error("CLIENT", "FOO").text, "ERR unknown subcommand 'FOO'. Try CLIENT HELP.")
        equal((c.cmd("PING"), c.cmd("PING", "x"), c.cmd("ECHO", "y")), ("PONG", b"x", b"y"))
        equal(c.error("PING", "a", "b").text, "ERR wrong number of arguments for 'ping' command")
        equal(c.cmd("RESET"), "RESET")
        equal(c.cmd("CLIENT", "GETNAME"), None)
        c.send("QUIT")
        equal(c.read(), "OK")
        check(c.eof())


def client_reply(p):
    with p.client() as c:
        c.raw(encode("CLIENT", "REPLY", "OFF") + encode("SET", "r", "1") + encode("GET", "r") +
              encode("CLIENT", "REPLY", "ON") + encode("GET", "r"))
        equal((c.read(), c.read()), ("OK", b"1"))
        c.raw(encode("CLIENT", "REPLY", "SKIP") + encode("SET", "r", "2") + encode("GET", "r"))
        equal(c.read(), b"2")


def tables(p):
    with p.client() as c:
        n = c.cmd("COMMAND", "COUNT")
        rows = c.cmd("COMMAND")
        equal(len(rows), n)
        get = next(r for r in rows if r[0] == b"get")
        equal(get[1:6], [2, ["readonly", "fast"], 1, 1, 1], "COMMAND get")
        equal(len([name for name in c.cmd("COMMAND", "LIST") if b"|" not in name]), n)  # as in Redis, subcommands are listed too
        equal(c.cmd("COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2"), [b"a", b"b"])
        equal(c.error("COMMAND", "GETKEYS", "PING", "x").text, "ERR The command has no key arguments")
        equal(c.error("COMMAND", "GETKEYS", "NOPE", "x").text, "ERR Invalid command specified")
        equal(c.cmd("COMMAND", "INFO", "nope"), [None])
        docs = c.cmd("COMMAND", "DOCS", "get")
        equal((docs[0], docs[1][0]), (b"get", b"summary"))
        info = c.cmd("INFO").decode()
        for line in ("redis_version:7.0.15", "loading:0", "role:master", "maxmemory_policy:noeviction"):
            check(line in info, line, "is missing in INFO")
        check("# Memory" not in c.cmd("INFO", "server").decode())
        equal(c.cmd("CONFIG", "GET", "save"), [b"save", b""])
        equal(c.cmd("CONFIG", "GET", "nosuch"), [])
        check(abs(int(c.cmd("TIME")[0]) - __import__("time").time()) < 5)
        equal(c.error("FOO", "a").text, "ERR unknown command 'FOO', with args beginning with: 'a' ")
        equal(c.error("CONFIG", "REWRITE").word, "NOPERM")


def protocol(p):
    """What is wrong is named, behind the replies that are owed, and only that connection closes."""
    other = p.client()
    for junk, text in ((b"*x\r\n", "ERR Protocol error: invalid multibulk length"),
                       (b"*1\r\n+x\r\n", "ERR Protocol error: expected '$', got '+'"),
                       (b"*1\r\n$-5\r\n", "ERR Protocol error: invalid bulk length"),
                       (b'get "a\r\n', "ERR Protocol error: unbalanced quotes in request")):
        with p.client() as c:
            c.raw(encode("SET", "a", "1") + encode("GET", "a") + junk + encode("SET", "a", "2"))
            equal((c.read(), c.read()), ("OK", b"1"))
            equal(c.read(), RespError(text))
            check(c.eof(), "the connection must close behind", text)
    with p.client() as c:
        c.raw(b"*2000000\r\n")
        equal(c.read().word, "TOOBIG")
        check(c.eof())
    equal(other.cmd("GET", "a"), b"1", "what came behind the error did not run, and others are not disturbed")
    other.close()
    with p.client() as c:  # inline, joined and split at will
        c.raw(b'SET "in line" \'v\'\r\nGET "in line"\n\r\n\r\nPI')
        equal((c.read(), c.read()), ("OK", b"v"))
        c.raw(b"NG\r\n")
        equal(c.read(), "PONG")
        wire = encode("SET", "split", "x" * 50) + encode("GET", "split")
        for i in range(len(wire)):
            c.raw(wire[i:i + 1])
        equal((c.read(), c.read()), ("OK", b"x" * 50))
    with p.client() as c:  # half-closed: everything that was sent is answered
        c.raw(b"".join(encode("INCR", "half") for _ in range(500)))
        c.s.shutdown(socket.SHUT_WR)
        equal([c.read() for _ in range(500)], list(range(1, 501)))
        check(c.eof())


def sizes(p):
    with p.client() as c:
        for n in (0, 1, 16384, 65536, 65537, 1 << 20, (64 << 20) + 17 if harness.LONG else (8 << 20) + 17):
            v = os.urandom(1024) * (n // 1024) + b"z" * (n % 1024)
            equal(c.cmd("SET", "big", v), "OK")
            check(c.cmd("GET", "big") == v, f"a value of {n} bytes came back changed")
        c.cmd("DEL", "big")
        keys = [b"k%d" % i for i in range(100)]
        equal(c.cmd("MSET", *[w for k in keys for w in (k, b"v" + k)]), "OK")
        equal(c.cmd("MGET", *keys), [b"v" + k for k in keys])
        allbytes = bytes(range(256))
        equal(c.cmd("SET", allbytes, allbytes[::-1]), "OK")
        equal(c.cmd("GET", allbytes), allbytes[::-1])
        # a pipeline far larger than any buffer, replies too
        n = 20000
        c.raw(b"".join(encode("SET", f"p{i}", f"value {i}") for i in range(n)))
        equal([c.read() for _ in range(n)], ["OK"] * n)
        c.raw(b"".join(encode("GET", f"p{i}") for i in range(n)))
        equal([c.read() for _ in range(n)], [b"value %d" % i for i in range(n)])
        equal(c.cmd("DBSIZE"), len(set(c.cmd("KEYS", "*"))))
        check(c.cmd("DBSIZE") >= n + len(keys) + 1)
        equal(c.cmd("FLUSHDB"), "OK")
        equal((c.cmd("DBSIZE"), c.cmd("RANDOMKEY"), c.cmd("KEYS", "*")), (0, None, []))


def listening(p):
    check(stat.S_IMODE(os.stat(p.sock).st_mode) == 0o660, "socket_mode")
    second = subprocess.run(p.argv(), env=p.env(), capture_output=True, text=True, timeout=60 * harness.SLOW)
    check(second.returncode != 0 and "another agent is listening there" in second.stderr, second.stderr)
    equal(p.client().cmd("PING"), "PONG")


def max_clients():
    with harness.Purserd({"agent.max_clients": 3}, name="few") as p:
        held = []

        def one_more():  # the connection that asked whether the agent is ready may still be there
            c = p.client()
            try:
                equal(c.cmd("PING"), "PONG")
                held.append(c)
            except (RespError, OSError, EOFError):
                c.close()
            return len(held) == 3

        harness.wait_until(one_more, "three clients")
        with p.client() as c:
            equal(c.read(), RespError("ERR max number of clients reached"))
            check(c.eof())
        held[0].close()
        harness.wait_until(lambda: harness.answers(p.sock), "room for another client")
        p.allow("max number of clients")


def stale_socket():
    p = harness.Purserd(name="stale")
    s = socket.socket(socket.AF_UNIX)
    s.bind(p.sock)
    s.close()  # a socket file that nobody listens on
    with p:
        equal(p.client().cmd("PING"), "PONG")
    check(not os.path.exists(p.sock), "the socket is removed at the end")
    with open(p.sock, "w") as f:
        f.write("precious")
    refused = subprocess.run(p.argv(), env=p.env(), capture_output=True, text=True, timeout=60 * harness.SLOW)
    check(refused.returncode != 0 and "is not a socket" in refused.stderr, refused.stderr)
    equal(open(p.sock).read(), "precious")
    os.unlink(p.sock)


def activated():
    """systemd's protocol: the listening socket is inherited as descriptor 3."""
    p = harness.Purserd(name="activated")
    s = socket.socket(socket.AF_UNIX)
    s.bind(p.sock)
    s.listen(10)

    def inherit():
        os.dup2(s.fileno(), 3)
        os.environ["LISTEN_PID"] = str(os.getpid())

    env = dict(p.env(), LISTEN_FDS="1")
    q = subprocess.Popen(["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *p.argv()], env=env, pass_fds=[3],
                         preexec_fn=inherit, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        s.close()
        harness.wait_until(lambda: harness.answers(p.sock), "the activated agent")
        equal(harness.Client(p.sock).cmd("PING"), "PONG")
    finally:
        q.terminate()
        equal(q.wait(20 * harness.SLOW), 0, "status")
    check(os.path.exists(p.sock), "the socket is systemd's: it stays")


def main():
    with harness.Purserd() as p:
        handshake(p)
        client_reply(p)
        tables(p)
        protocol(p)
        sizes(p)
        listening(p)
        who = json.loads(p.client().cmd("PURSER.WHOAMI"))
        equal((who["uid"], who["project"], who["plugin"]), (os.getuid(), "default", "memory"))
    max_clients()
    stale_socket()
    activated()


harness.run(main)
