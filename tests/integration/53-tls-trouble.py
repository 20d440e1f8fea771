#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""TLS when something is wrong: settings and files that cannot work, certificates that are replaced while it runs,
servers that stop in the middle of a handshake, answer garbage, or bring a byte at a time."""

import os
import random
import re
import select
import shutil
import socket
import threading
import time

import harness
from certificates import CA, RedisTLS, free_port
from harness import Purserd, Redis, RespError, check, equal, wait_until


def conf(redis, **keys):
    lines = {"plugin": "redis", "url": redis if isinstance(redis, str) else redis.tls_url(), "connection_timeout": "20s",
             **keys}
    return "[backend main]\n" + "".join(f"{k} = {v}\n" for k, v in lines.items() if v is not None)


def agent(text, name="agent"):
    return Purserd({"agent.drain_timeout": "5s", "breaker.enabled": "no"}, config=text, name=name)


def write(path, text, mode=0o600):
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path + ".new", mode)
    os.rename(path + ".new", path)
    return path


# ---- settings and files --------------------------------------------------------------------------

def settings():
    """--check-config and start agree about each."""
    ca, other = CA("settings"), CA("others")
    ca.make("client")
    ca.make("locked", password="s3cret")
    ca.make("late", days="-1")
    other.make("client")
    word = write(ca.path("word"), "wr0ng\n")
    crt, key = ca.path("client.crt"), ca.path("client.key")
    rows = (
        ({"tls_ca_file": "/nonexistent/ca"}, "tls_ca_file", "No such file"),
        ({"tls_ca_file": key}, "tls_ca_file", "PEM"),
        ({"tls_ca_dir": "/nonexistent/ca"}, "tls_ca_dir", "No such file"),
        ({"tls_cert_file": crt}, "tls_key_file is not: both or neither"),
        ({"tls_key_file": key}, "tls_cert_file is not: both or neither"),
        ({"tls_cert_file": key, "tls_key_file": key}, "tls_cert_file", "holds no certificate"),
        ({"tls_cert_file": crt, "tls_key_file": crt}, "tls_key_file", "holds no private key"),
        ({"tls_cert_file": crt, "tls_key_file": other.path("client.key")}, "is not the key of tls_cert_file"),
        ({"tls_cert_file": ca.path("locked.crt"), "tls_key_file": ca.path("locked.key")}, "is encrypted",
         "tls_key_password_file"),
        ({"tls_cert_file": ca.path("locked.crt"), "tls_key_file": ca.path("locked.key"), "tls_key_password_file": word},
         "does not open with the password"),
        ({"tls_min_version": "1.1"}, "tls_min_version"),
        ({"tls_verify": "perhaps"}, "tls_verify"),
        ({"url": "redis://127.0.0.1:1", "tls_ca_file": ca.file}, "tls_ca_file", "rediss://"),
        ({"url": "rediss://me@127.0.0.1:1"}, "there is a user but no password"),
    )
    for keys, *words in rows:
        p = agent(conf("rediss://127.0.0.1:1", **keys), name="settings")
        for r in (p.run("--check-config"), p.run()):
            check(r.returncode == 1, keys, r)
            for w in words:
                check(w in r.stderr, w, "is not in", r.stderr)
            check("wr0ng" not in r.stderr + r.stdout, r)
    r = agent(conf("rediss://127.0.0.1:1", tls_ca_file=ca.file, tls_cert_file=ca.path("late.crt"),
                   tls_key_file=ca.path("late.key")), name="late").run("--check-config")
    check(r.returncode == 0 and re.search("warn.*expired on 20", r.stderr), r)
    r = agent(conf("rediss://127.0.0.1:1", tls_verify="no"), name="loud").run("--check-config")
    check(r.returncode == 0 and re.search("warn.*tls_verify = no", r.stderr), r)
    os.chmod(ca.file, 0o644)
    r = agent(conf("rediss://127.0.0.1:1", tls_ca_file=ca.file), name="public").run("--check-config")
    check(r.returncode == 0 and "chmod" not in r.stderr, "everybody may read a CA's certificate", r)


# ---- replaced while it runs ----------------------------------------------------------------------

def reload(p):
    with p.client() as c:
        wait_until(lambda: b'"draining":false' in c.cmd("PURSER.STATUS"), "the last reload to be over")
        c.send("PURSER.RELOAD")
        return c.read()


def kill_links(admin):
    return admin.cmd("CLIENT", "KILL", "TYPE", "normal")


def served(c):
    return c.pipeline([("GET", "k")])[0] == b"v"


def rotation():
    """The text of the configuration stays the same; the files do not."""
    old, new = CA("old"), CA("new")
    for ca in (old, new):
        ca.make("server")
        ca.make("client")
    mine = os.path.join(harness.tmp(), "mine")
    os.makedirs(mine)

    def mine_are(ca, name="client"):
        for src, dst in ((ca.file, "ca.crt"), (ca.path(name + ".crt"), "client.crt"), (ca.path(name + ".key"), "client.key")):
            shutil.copy(src, os.path.join(mine, dst + ".new"))
            os.rename(os.path.join(mine, dst + ".new"), os.path.join(mine, dst))

    def at(what):
        return os.path.join(mine, what)

    mine_are(old)
    with RedisTLS(old, clients="yes", name="rotation") as redis, redis.client() as admin:
        text = conf(redis, tls_ca_file=at("ca.crt"), tls_cert_file=at("client.crt"), tls_key_file=at("client.key"))
        with agent(text, "rotated") as p, p.client() as c:
            p.allow("config.reload.failed")
            equal(c.cmd("SET", "k", "v"), "OK")
            pool = admin.cmd("CLIENT", "LIST").decode()

            def links():
                return set(re.findall(r"^id=(\d+) .* name=purser ", admin.cmd("CLIENT", "LIST").decode(), re.M))

            before = links()
            check(before, pool)
            # Nothing changed: a reload closes no connection.
            check(not isinstance(reload(p), RespError))
            equal(c.cmd("GET", "k"), b"v")
            check(before <= links(), before, links())
            # The server's side changes; ours has not yet.
            admin.cmd("CONFIG", "SET", "tls-ca-cert-file", new.file, "tls-cert-file", new.path("server.crt"),
                      "tls-key-file", new.path("server.key"))
            equal(c.cmd("GET", "k"), b"v")  # what is up stays
            kill_links(admin)
            e = wait_until(lambda: isinstance(r := c.pipeline([("GET", "k")])[0], RespError) and "TLS" in r.text and r,
                           "a refusal")
            check("tls_ca_file" in e.text, e.text)
            mine_are(new)
            check(not isinstance(reload(p), RespError))
            wait_until(lambda: served(c), "the new certificates")
            # Bad ones are refused, and what was good goes on, also for new links.
            for spoil, word in (("client.key", "tls_key_file"), ("client.crt", "tls_cert_file"), ("ca.crt", "tls_ca_file")):
                write(at(spoil), "garbage\n")
                e = reload(p)
                check(isinstance(e, RespError) and e.word == "CONFIG" and word in e.text, e)
                check("BEGIN" not in e.text, e)
                kill_links(admin)
                wait_until(lambda: served(c), "the certificates of before")
                mine_are(new)
            old.make("client", days="-1")
            mine_are(old)
            e = reload(p)
            check(isinstance(e, RespError) and "expired" in e.text, e)
            mine_are(new)
            check(not isinstance(reload(p), RespError))
            # The settings themselves: another name, which only new links must bear.
            p.write_config(conf(redis, tls_ca_file=at("ca.crt"), tls_cert_file=at("client.crt"),
                                tls_key_file=at("client.key"), tls_server_name="elsewhere"))
            was = links()
            check(not isinstance(reload(p), RespError))
            equal(c.cmd("GET", "k"), b"v")
            check(was & links(), "the instance was built anew")
            kill_links(admin)
            e = wait_until(lambda: isinstance(r := c.pipeline([("GET", "k")])[0], RespError) and "elsewhere" in r.text,
                           "the new name")
            p.write_config(text)
            check(not isinstance(reload(p), RespError))
            wait_until(lambda: served(c), "the name of before")


# ---- servers that do not behave --------------------------------------------------------------------

class Gate:
    """A door in front of a server.  mode: "open"; "drip", a byte at a time; bytes: says that and nothing else; a
    number: lets so many bytes of the server through and then hangs up; None: says nothing."""

    def __init__(self, port):
        self.to, self.mode, self.met, self.over = port, "open", 0, False
        self.s = socket.create_server(("127.0.0.1", 0))
        self.url = "rediss://127.0.0.1:%d" % self.s.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.over:
            try:
                s, _ = self.s.accept()
            except OSError:
                return
            self.met += 1
            threading.Thread(target=self.serve, args=(s, self.mode), daemon=True).start()

    def serve(self, s, mode):
        with s:
            try:
                if mode is None or isinstance(mode, bytes):
                    if mode:
                        s.sendall(mode)
                    while s.recv(65536):
                        pass
                    return
                self.carry(s, mode)
            except OSError:
                pass

    def carry(self, s, mode):
        left = mode if isinstance(mode, int) else 1 << 60
        with socket.create_connection(("127.0.0.1", self.to)) as u:
            for x in (s, u):
                x.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while left > 0 and not self.over:
                for a in select.select([s, u], [], [], 0.5)[0]:
                    data = a.recv(65536)
                    if not data:
                        return
                    if a is u:
                        data = data[:left]
                        left -= len(data)
                    step = 1 if mode == "drip" else len(data)
                    for i in range(0, len(data), step):
                        (u if a is s else s).sendall(data[i:i + step])

    def close(self):
        self.over = True
        self.s.close()


def handshakes_that_fail():
    rng = random.Random(harness.seed())
    ca = CA("gate")
    ca.make("server")
    ca.make("client")
    with RedisTLS(ca, clients="yes", name="gated") as redis:
        gate = Gate(redis.port)
        more = {"tls_ca_file": ca.file, "tls_cert_file": ca.path("client.crt"), "tls_key_file": ca.path("client.key")}
        with agent(conf(gate.url, **more), "gate") as p, p.client() as c, redis.client() as admin:
            def meets(mode, *words):
                gate.mode = mode
                met = gate.met
                kill_links(admin)
                wait_until(lambda: gate.met > met, "a new attempt")

                def told():
                    e = c.pipeline([("GET", "k")])[0]
                    return isinstance(e, RespError) and (not words or any(w in e.text for w in words)) and e
                e = wait_until(told, f"{words} after {mode!r}")
                equal(e.word, "BACKENDDOWN")
                gate.mode = "open"
                wait_until(lambda: served(c), "the way to be open again")

            equal(c.cmd("SET", "k", "v"), "OK")
            meets(b"-ERR unknown command\r\n", "does not speak TLS")
            meets(b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS")
            meets(bytes([0x16, 3, 3, 0xff, 0xff]) + rng.randbytes(3000), "TLS: ")
            meets(bytes([0x16, 3, 3, 0, 64]) + rng.randbytes(64), "TLS: ")
            meets(bytes([0x15, 3, 3, 0, 2, 2, 80]), "TLS: ")
            meets(rng.randbytes(400), "TLS: ")
            for _ in range(12 if harness.LONG else 4):  # cut wherever it may be
                meets(rng.randrange(1, 1500))
            gate.mode = "drip"
            kill_links(admin)
            wait_until(lambda: served(c), "a link, byte by byte")
            big = rng.randbytes(5000)
            equal(c.cmd("SET", "b", big), "OK")
            equal(c.cmd("GET", "b"), big)
            equal(c.pipeline([("GET", "k")] * 20), [b"v"] * 20)
        with agent(conf(gate.url, **dict(more, connection_timeout="300ms")), "silent") as p, p.client() as c:
            gate.mode = None
            kill = redis.client()
            kill_links(kill)
            kill.close()
            wait_until(lambda: "does not answer the TLS handshake" in str(c.pipeline([("GET", "k")])[0]), "patience to end")
            gate.mode = "open"
            wait_until(lambda: not isinstance(c.pipeline([("GET", "k")])[0], RespError), "the way to be open again")
        gate.close()


def established(port):
    """Connections of anybody to this port of 127.0.0.1, as the kernel lists them."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    return sum(r[2] == "0100007F:%04X" % port and r[3] == "01" for r in rows)


def killed():
    """kill -9 in the middle of a handshake, and back."""
    ca = CA("killed")
    ca.make("server")
    redis = RedisTLS(ca, name="victim")
    with redis:
        for i in range(3):
            redis.pause()  # the kernel still accepts; nobody answers
            with agent(conf(redis, tls_ca_file=ca.file), f"killed{i}") as p, p.client() as c:
                c.send("GET", "k")
                wait_until(lambda: established(redis.port) > 0, "a handshake that waits")
                redis.kill()
                e = c.read()
                check(isinstance(e, RespError) and e.word == "BACKENDDOWN", e)
                os.unlink(redis.sock)
                redis.start()
                wait_until(lambda: c.pipeline([("SET", "k", "v")])[0] == "OK", "the server to be back")
                equal(c.cmd("GET", "k"), b"v")


def plain_server():
    """rediss:// to a port where a real Redis speaks plainly: some greetings it answers with an error, for the end of
    others it waits."""
    port = free_port()
    with Redis(["--port", str(port), "--bind", "127.0.0.1"], name="plainly") as redis:
        check(redis.running())
        with agent(conf(f"rediss://127.0.0.1:{port}", connection_timeout="500ms", tls_verify="no"), "wrong-door") as p, \
                p.client() as c:
            e = wait_until(lambda: isinstance(r := c.pipeline([("GET", "k")])[0], RespError) and "TLS" in r.text and r,
                           "a refusal")
            check("tls-port" in e.text, e.text)


def main():
    for part in (settings, rotation, handshakes_that_fail, killed, plain_server):
        begun = time.monotonic()
        part()
        print(f"{part.__name__}: {time.monotonic() - begun:.1f} s", flush=True)


harness.run(main)
