# SPDX-License-Identifier: Apache-2.0
"""redis-cli, unchanged, on the agent's socket: at a terminal, fed through a pipe, and with its own tools."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import harness
from harness import check, encode, equal, wait_until


PROMPT = r"\.sock[^\s>]*> "


class Terminal:
    """redis-cli at a terminal of its own."""

    def __init__(self, p, *args):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))  # or it asks the terminal
        env = dict(os.environ, TERM="xterm", HOME=harness.tmp())
        env.pop("REDISCLI_HISTFILE", None)
        self.p = subprocess.Popen(["redis-cli", "-s", p.sock, *args], stdin=slave, stdout=slave, stderr=slave, env=env,
                                  start_new_session=True)
        os.close(slave)
        self.fd, self.text = master, ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.p.poll() is None:
            self.p.kill()
        self.p.wait()
        os.close(self.fd)

    def expect(self, pattern, seconds=20.0):
        """Reads until what the terminal shows matches; what is behind the match is looked at next."""
        end = time.monotonic() + seconds * harness.SLOW
        while True:
            m = re.search(pattern, self.text)
            if m:
                self.text = self.text[m.end():]
                return m
            check(time.monotonic() < end, f"the terminal does not show {pattern!r}:", self.text)
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    more = os.read(self.fd, 65536).decode(errors="replace")
                except OSError as e:  # EIO: the program has gone
                    raise harness.Failure(f"redis-cli ended; {pattern!r} not in {self.text!r}") from e
                self.text += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", more)

    def type(self, line, pattern, prompt=True):
        os.write(self.fd, line.encode() + b"\r")
        self.text = ""
        self.expect(pattern)
        if prompt:  # what is typed before it is thrown away
            self.expect(PROMPT)


def cli(p, *args, given=None, status=0):
    """redis-cli with these words; what it printed."""
    r = subprocess.run(["redis-cli", "-s", p.sock, *args], input=given, capture_output=True, timeout=60 * harness.SLOW,
                       check=False, stdin=subprocess.DEVNULL if given is None else None)
    check(r.returncode == status, args, r)
    return r.stdout


def interactive(p):
    with Terminal(p) as t:
        t.expect(PROMPT)
        t.type("set term:k 'a b'", r"OK\r\n")
        t.type("get term:k", r'"a b"\r\n')
        t.type("hset term:h f 1", r"\(integer\) 1\r\n")
        t.type("incr term:h", r"\(error\) WRONGTYPE")
        t.type("nosuchcommand", r"\(error\) ERR unknown command")
        t.type("multi", r"OK\r\n(?=.*\(TX\))")
        t.type("incr term:n", r"QUEUED\r\n")
        t.type("get term:k", r"QUEUED\r\n")
        t.type("exec", r"1\) \(integer\) 1\r\n2\) \"a b\"\r\n")
        t.type("multi", r"OK\r\n")
        t.type("discard", r"OK\r\n")
        t.type("select 1", r"OK\r\n(?=.*\[1\])")
        t.type("get term:k", r"\(nil\)\r\n")
        t.type("hello 3", r"1# \"server\" => ")
        t.type("hgetall none", r"\(empty hash\)\r\n")
        t.type("help get", r"summary: ")
        os.write(t.fd, b"quit\r")
        equal(t.p.wait(20 * harness.SLOW), 0)


def messages(p):
    with Terminal(p) as t, p.client() as c:
        t.expect(PROMPT)
        t.type("subscribe term:ch", r"1\) \"subscribe\"\r\n2\) \"term:ch\"\r\n3\) \(integer\) 1", False)
        equal(c.cmd("PUBLISH", "term:ch", "hello there"), 1)
        t.expect(r"1\) \"message\"\r\n2\) \"term:ch\"\r\n3\) \"hello there\"")
        t.p.kill()
        wait_until(lambda: c.cmd("PUBSUB", "NUMSUB", "term:ch") == [b"term:ch", 0], "the subscriber to be gone")


def monitor(p):
    with Terminal(p) as t, p.client() as c:
        t.expect(PROMPT)
        t.type("monitor", r"OK\r\n", False)
        c.cmd("SET", "term:seen", "1")
        t.expect(r'"SET" "term:seen" "1"')


def tools(p):
    given = b"".join(encode("SET", f"pipe:{i}", f"v{i}" + "x" * (i % 90)) for i in range(10000))
    out = cli(p, "--pipe", given=given)
    check(b"errors: 0, replies: 10000" in out, out)
    equal(sorted(cli(p, "--scan", "--pattern", "pipe:77*").split()),
          sorted(f"pipe:{i}".encode() for i in range(10000) if str(i).startswith("77")))
    equal(cli(p, "get", "pipe:9999").strip(), b"v9999" + b"x" * (9999 % 90))
    equal(cli(p, "-x", "set", "pipe:stdin", given=b"\x00\xff raw").strip(), b"OK")
    equal(cli(p, "strlen", "pipe:stdin").strip(), b"6")
    equal(cli(p, "-3", "--no-auth-warning", "hset", "pipe:h", "f", "v").strip(), b"1")
    equal(cli(p, "-3", "hgetall", "pipe:h"), b"f v\n")
    equal(cli(p, "--json", "hgetall", "pipe:h"), b'{"f":"v"}\n')
    equal(cli(p, "--csv", "mget", "pipe:1", "none"), b'"v1x",NULL\n')
    equal(cli(p, "-r", "3", "incr", "pipe:r").split(), [b"1", b"2", b"3"])
    equal(cli(p, "-n", "1", "dbsize").strip(), b"0")
    equal(cli(p, given=b"set pipe:a 1\nincr pipe:a\nmulti\nincr pipe:a\nexec\n").split(),
          [b"OK", b"2", b"OK", b"QUEUED", b"3"])
    check(b"Biggest string found" in cli(p, "--bigkeys"), "redis-cli --bigkeys")
    cli(p, "-e", "nosuchcommand", status=1)
    script = os.path.join(harness.tmp(), "script.lua")
    with open(script, "w", encoding="utf-8") as f:
        f.write("redis.call('SET', KEYS[1], ARGV[1]) return {#KEYS, ARGV[1]}")
    equal(cli(p, "--eval", script, "pipe:lua", ",", "7").split(), [b"1", b"7"])
    equal(cli(p, "get", "pipe:lua").strip(), b"7")
    cli(p, "unlink", *[f"pipe:{i}" for i in range(10000)])


def main():
    harness.require("redis-cli", "redis-server")
    with harness.Redis() as redis, harness.Purserd({"backend main.plugin": "redis", "backend main.url": redis.url,
                                                    "project default.databases": "2"}) as p:
        with p.client() as c:
            served = {name for name, row in zip(("monitor", "subscribe"), c.cmd("COMMAND", "INFO", "monitor", "subscribe"))
                      if row}
        tools(p)
        interactive(p)
        if "subscribe" in served:
            messages(p)
        if "monitor" in served:
            monitor(p)
        print("redis-cli:", sorted(served), flush=True)


harness.run(main)
