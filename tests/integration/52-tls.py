#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""TLS to Redis: who is trusted, whom the server trusts, and what is said when one of them is not; large values,
pipelines, both versions; sessions resumed."""

import os
import re
import subprocess
import threading
import time

import harness
import tagged
from certificates import CA, RedisTLS
from harness import Purserd, RespError, check, equal, wait_until


def on(redis, ca=None, host="127.0.0.1", **more):
    s = {"backend main.plugin": "redis", "backend main.url": redis.tls_url(host),
         "backend main.connection_timeout": "20s"}
    if ca:
        s["backend main.tls_ca_file"] = ca.file
    s.update({f"backend main.{k}": str(v) for k, v in more.items()})
    return s


def client_cert(ca, name="client"):
    return {"tls_cert_file": ca.path(name + ".crt"), "tls_key_file": ca.path(name + ".key")}


def metric(p, name):
    """The sum of a counter of /metrics; 0 if it is not there yet."""
    text = p.http("GET", "/metrics").body.decode()
    return sum(float(v) for v in re.findall(rf"^{name}(?:{{[^}}]*}})? ([0-9.e+]+)$", text, re.M))


def handshakes(p):
    return metric(p, "purser_redis_tls_handshakes_total"), metric(p, "purser_redis_tls_resumed_total")


def works(redis, settings, log=None, name="works"):
    with Purserd(settings, name=name) as p, p.client() as c:
        equal(c.cmd("SET", "k", "v"), "OK")
        equal(c.cmd("GET", "k"), b"v")
        if log:
            p.wait_log(log)


def refused(settings, *words, name="refused"):
    """No link comes about, and the client and the log are told why."""
    with Purserd(settings, name=name) as p, p.client() as c:
        e = c.error("GET", "k")
        equal(e.word, "BACKENDDOWN")
        for w in words:
            check(w in e.text, w, "is not in", e.text)
        p.wait_log(re.escape(words[0]))


def identity():
    """The server's certificate: CA, name, dates."""
    ca, other = CA("one"), CA("two")
    ca.make("server")
    ca.make("named", san="DNS:redis.internal")
    ca.make("expired", days="-1")
    with RedisTLS(ca) as redis:
        works(redis, on(redis, ca), "TLSv1.3")
        works(redis, on(redis, ca, host="localhost"))
        works(redis, on(redis, ca, tls_min_version="1.3"))
        refused(on(redis), "unknown CA", "set tls_ca_file")
        refused(on(redis, other), "unknown CA", "must hold the CA")
        refused(on(redis, ca, tls_server_name="redis.internal"), "127.0.0.1", "redis.internal", "tls_server_name")
        refused(on(redis, ca, tls_server_name="127.0.0.2"), "is for 127.0.0.1 and not for 127.0.0.2")
        p = Purserd(on(redis, tls_verify="no"), name="unverified")
        with p, p.client() as c:
            equal(c.cmd("PING"), "PONG")
            equal(c.cmd("SET", "k", "v"), "OK")
            p.wait_log('"warn".*tls_verify = no')
    with RedisTLS(ca, "named", name="named") as redis:
        refused(on(redis, ca), "is for redis.internal and not for 127.0.0.1")
        works(redis, on(redis, ca, tls_server_name="redis.internal"))
        works(redis, on(redis, ca, tls_server_name="redis.internal."))
    with RedisTLS(ca, "expired", name="expired") as redis:
        refused(on(redis, ca), "expired on 20", "renew it")
    rehashed = ca.path("dir")
    os.makedirs(rehashed)
    os.link(ca.file, os.path.join(rehashed, "ca.pem"))
    subprocess.run(["openssl", "rehash", rehashed], check=True, timeout=60 * harness.SLOW)
    with RedisTLS(ca, name="dir") as redis:
        works(redis, on(redis, tls_ca_dir=rehashed))


def versions():
    ca = CA("versions")
    ca.make("server")
    with RedisTLS(ca, args=["--tls-protocols", "TLSv1.2"], name="v12") as redis:
        works(redis, on(redis, ca), "TLSv1.2")
        refused(on(redis, ca, tls_min_version="1.3"), "tls_min_version")
    with RedisTLS(ca, args=["--tls-protocols", "TLSv1.3"], name="v13") as redis:
        works(redis, on(redis, ca), "TLSv1.3")


def clients():
    """The server asks for our certificate."""
    ca, other = CA("clients"), CA("strangers")
    for name in ("server", "client"):
        ca.make(name)
    ca.make("locked", password="s3cret")
    ca.make("late", days="-1")
    other.make("client")
    word = ca.path("word")
    with open(word, "w", encoding="utf-8") as f:
        f.write("s3cret\n")
    os.chmod(word, 0o600)
    for protocol in ("TLSv1.2", "TLSv1.3"):
        with RedisTLS(ca, clients="yes", args=["--tls-protocols", protocol], name=protocol) as redis:
            works(redis, on(redis, ca, **client_cert(ca)), protocol)
            works(redis, on(redis, ca, tls_key_password_file=word, **client_cert(ca, "locked")), protocol)
            refused(on(redis, ca), "client certificate", "set tls_cert_file and tls_key_file")
            refused(on(redis, ca, **client_cert(other)), "refuses our certificate", "tls_cert_file")
            refused(on(redis, ca, **client_cert(ca, "late")), "refuses our certificate")
    with RedisTLS(ca, clients="optional", name="optional") as redis:
        works(redis, on(redis, ca))
        works(redis, on(redis, ca, **client_cert(ca)))


def ports():
    """The wrong door: a plain server behind rediss://, a TLS server behind redis://."""
    ca = CA("ports")
    ca.make("server")
    with RedisTLS(ca) as redis:
        with Purserd(dict(on(redis, ca), **{"backend main.url": f"redis://127.0.0.1:{redis.port}",
                                            "backend main.tls_ca_file": ""}), name="plain") as p, p.client() as c:
            e = c.error("GET", "k")
            check("rediss://" in e.text, e.text)


def traffic(protocol):
    big = os.urandom(1 << 20) * 16
    ca = CA("traffic" + protocol)
    ca.make("server")
    with RedisTLS(ca, args=["--tls-protocols", protocol], name="traffic") as redis:
        with Purserd(on(redis, ca), name="traffic-agent") as p, p.client() as c, p.client() as other:
            for _ in range(2):
                equal(c.cmd("SET", "big", big), "OK")
                check(c.cmd("GET", "big") == big)
            c.send("SET", "big2", big)  # both ways at once
            other.send("GET", "big")
            check(other.read() == big)
            equal(c.read(), "OK")
            equal(other.cmd("STRLEN", "big2"), len(big))
            pairs = [(f"k{i}", os.urandom(i % 70) * (1 + i % 400)) for i in range(3000)]
            replies = c.pipeline([("SET", k, v) for k, v in pairs])
            equal(set(replies), {"OK"})
            equal(c.pipeline([("GET", k) for k, _ in pairs]), [v for _, v in pairs])
            check(c.cmd("MGET", *[k for k, _ in pairs]) == [v for _, v in pairs])
            for v in ("2", "3"):
                c.cmd("HELLO", v)
                equal(c.cmd("HSET", "h" + v, "f", "v"), 1)


def resumed():
    """Links that are killed come back by the ticket of the session before; a server that cannot resume is no
    trouble."""
    ca = CA("resumed")
    ca.make("server")
    ca.make("client")
    for args in ([], ["--tls-protocols", "TLSv1.2"], ["--tls-session-caching", "no"]):
        with RedisTLS(ca, clients="yes", args=args, name="resumed") as redis:
            with Purserd(on(redis, ca, **client_cert(ca)), name="resumed-agent") as p, p.client() as c, \
                    redis.client() as admin:
                equal(c.cmd("SET", "k", "v"), "OK")
                for _ in range(4):
                    before = handshakes(p)[0]
                    admin.cmd("CLIENT", "KILL", "TYPE", "normal")
                    wait_until(lambda b=before: c.pipeline([("GET", "k")])[0] == b"v" and handshakes(p)[0] > b,
                               "a new link")
                total, again = handshakes(p)
                if "--tls-session-caching" not in args:
                    # a link may be killed before its ticket has come
                    check(again >= 3 and again >= total * 3 / 4, total, again)
                    p.wait_log("connected|recovered")


def order(seed):
    """Clients that know every answer, by TLS, while the certificates are read anew again and again."""
    ca = CA("order")
    ca.make("server")
    with RedisTLS(ca, name="order") as redis:
        settings = dict(on(redis, ca), **{"project default.databases": 4, "agent.drain_timeout": "5s"})
        with Purserd(settings, name="order-agent") as p, p.client() as c:
            load = threading.Thread(daemon=True, target=lambda: done.append(
                tagged.run(p.sock, seed, clients=8, commands=2000 if harness.LONG else 150, kit=tagged.Kit(hashes=True))))
            done, reloads = [], 0
            load.start()
            while load.is_alive():
                reloads += b'"draining":false' in c.cmd("PURSER.STATUS") and int(c.cmd("PURSER.RELOAD")) > 0
            load.join()
            check(done, "the clients have failed: see above")
            print(f"  {done[0]} replies, {reloads} reloads")


def main():
    for part, *args in ((identity,), (versions,), (clients,), (ports,), (traffic, "TLSv1.2"), (traffic, "TLSv1.3"),
                        (resumed,), (order, harness.seed())):
        begun = time.monotonic()
        part(*args)
        print(f"{part.__name__}: {time.monotonic() - begun:.1f} s", flush=True)


harness.run(main)
