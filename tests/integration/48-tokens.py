#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tokens: good, wrong, expired, for other projects, revoked and expiring while a connection is open; RESP and HTTP,
over the Unix socket and over TCP; in both modes."""

import hashlib
import http.client
import json
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import check, equal, wait_until

CONFIG = """
[agent]
mode = {mode}
token_file = {file}
auth_delay = {delay}
auth_failures = {failures}
http_listen = 127.0.0.1:{port}
[backend main]
plugin = memory
[project shop]
accept = token
role = reader
[project blog]
accept = token
role = writer
[project peers]
accept = peer
allow_uid = {uid}
role = reader
[project both]
allow_uid = {uid}
role = reader
[role stock]
permissions = redis:read redis:write
keys = stock:*
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Tokens:
    """The token file of this test: name -> secret."""

    def __init__(self):
        self.path = os.path.join(harness.tmp(), "tokens")
        self.lines = {}

    def secret(self, name):
        return f"psr_{name}_{'x' * 32}"

    def put(self, name, projects, role="-", expires="never"):
        digest = hashlib.sha256(self.secret(name).encode()).hexdigest()
        self.lines[name] = f"{name} sha256:{digest} {projects} {role} {expires}\n"
        self.write()
        return self.secret(name)

    def drop(self, name):
        del self.lines[name]
        self.write()

    def write(self):
        new = self.path + ".new"
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as f:
            f.write("# name digest projects role expires\n" + "".join(self.lines.values()))
        os.rename(new, self.path)


def stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def whoami(c):
    return json.loads(c.cmd("PURSER.WHOAMI"))


def reload(p):
    with p.client() as c:
        c.cmd("AUTH", "both", "")
    p.reload()


def tcp(p, method, target, body=None, headers=None):
    c = http.client.HTTPConnection("127.0.0.1", p.port, timeout=30 * harness.SLOW)
    headers = dict(headers or {})
    if body is not None:
        body = json.dumps(body)
        headers["Content-Type"] = "application/json"
    try:
        c.request(method, target, body=body, headers=headers)
        return harness.Response(c.getresponse())
    finally:
        c.close()


def entering(p, t):
    """Who presents what, where, and what that is."""
    reader, several = t.put("reader", "shop"), t.put("several", "shop,blog", "admin")
    boss, stock = t.put("boss", "*", "operator"), t.put("stock", "shop", "stock")
    old = t.put("old", "shop", "writer", "2001-01-01")
    later = t.put("later", "blog", "-", "2099-12-31T23:59:59Z")
    p.reload_and_wait()
    wrong = "WRONGPASS invalid username-password pair or user is disabled."
    for project, secret, role, name in (
            ("shop", reader, "reader", "reader"), ("shop", several, "admin", "several"), ("blog", several, "admin", "several"),
            ("shop", boss, "operator", "boss"), ("blog", boss, "operator", "boss"), ("both", boss, "operator", "boss"),
            ("shop", stock, "stock", "stock"), ("blog", later, "writer", "later"),
            ("both", "", "reader", None), ("both", "peer", "reader", None)):
        for hello in (False, True):
            with p.client() as c:
                if hello:
                    equal(c.cmd("HELLO", 3, "AUTH", project, secret, "SETNAME", "me")[b"proto"], 3)
                    equal(c.cmd("CLIENT", "GETNAME"), b"me")
                else:
                    equal(c.cmd("AUTH", project, secret), "OK")
                me = whoami(c)
                equal((me["project"], me["role"], me.get("identity"), me["source"]),
                      (project, role, name, "token" if name else "peer"), (project, name))
                check("x" * 32 not in json.dumps(me), "no secret is shown")
                equal(me.get("expires"), "2099-12-31T23:59:59Z" if name == "later" else None)
    with p.client() as c:  # narrowed by keys
        c.cmd("AUTH", "shop", stock)
        equal(whoami(c)["narrowed_by"], ["keys"])
        equal((c.cmd("SET", "stock:1", "v"), c.error("SET", "other", "v").word), ("OK", "NOPERM"))
    # refused, and alike whether the project is there, is another's, or the token is wrong
    texts = set()
    for project, secret in (("blog", reader), ("nowhere", reader), ("shop", "psr_nonsense"), ("nowhere", "psr_nonsense"),
                            ("shop", ""), ("nowhere", ""), ("peers", boss), ("Shop", reader), ("x" * 500, reader),
                            ("shop", "peer"), ("both", "something")):
        with p.client() as c:
            texts.add(c.error("AUTH", project, secret).text)
            check(whoami(c)["source"] == "peer" and c.cmd("AUTH", "both", "") == "OK", "it can go on")
    equal(len(texts), 1, texts)
    check(texts.pop().startswith(wrong))
    with p.client() as c:
        e = c.error("AUTH", "shop", old)
        check(e.text.startswith("WRONGPASS the token has expired"), e.text)
    # without a project
    with p.client() as c:
        equal((c.cmd("AUTH", reader), whoami(c)["project"]), ("OK", "shop"))
        e = c.error("AUTH", several)
        check(e.word == "NOPROJECT" and "AUTH <project> <token>" in e.text, e.text)
        equal(whoami(c)["project"], "shop", "nothing has changed")
        equal(c.error("AUTH", "psr_nonsense").word, "WRONGPASS")
        equal(c.error("AUTH", "a", "b", "c").text, "ERR syntax error")
    with p.client() as c:  # as libraries do that know only a password
        equal((c.cmd("HELLO", 3, "AUTH", "default", reader)[b"proto"], whoami(c)["project"]), (3, "shop"))
        equal((c.cmd("RESET"), whoami(c)["source"]), ("RESET", "peer"))
        check(whoami(c)["project"] in (None, "peers", "both", "default"))
    # rights of the token, and what the peer has besides by its own rule
    with p.client() as c:
        c.cmd("AUTH", "shop", reader)
        equal((c.cmd("PURSER.PROJECT", "both"), whoami(c)["role"], c.error("PURSER.PROJECT", "blog").word),
              ("OK", "reader", "NOPROJECT"))
        equal(c.error("PURSER.PROJECT", "blog").text, c.error("PURSER.PROJECT", "nowhere").text)
    # nothing behind an AUTH runs before it is known
    with p.client() as c:
        got = c.pipeline([("AUTH", "both", ""), ("SET", "k", "v"), ("AUTH", "both", boss), ("SET", "k", "v"), ("GET", "k"),
                          ("AUTH", "both", "wrong"), ("GET", "k")])
        equal([g.word if isinstance(g, harness.RespError) else g for g in got],
              ["OK", "NOPERM", "OK", "OK", b"v", "WRONGPASS", b"v"])


def over_http(p, t):
    reader, several, boss = t.secret("reader"), t.secret("several"), t.secret("boss")

    def auth(secret, project=None):
        return {"Authorization": f"Bearer {secret}", **({"Purser-Project": project} if project else {})}

    for ask, where in ((p.http, "unix"), (lambda *a, **k: tcp(p, *a, **k), "tcp")):
        for secret, project, role in ((reader, None, "reader"), (reader, "shop", "reader"), (several, "blog", "admin"),
                                      (boss, "both", "operator")):
            r = ask("GET", "/v1/whoami", headers=auth(secret, project))
            equal((r.status, r.json()["project"], r.json()["role"], r.json()["source"]), (200, project or "shop", role, "token"),
                  (where, r))
            equal("uid" in r.json(), where == "unix", "over TCP the kernel says nothing")
        equal(ask("POST", "/redis/kv", {"key": "h", "value": "v"}, auth(several, "shop")).status, 200)
        equal(ask("GET", "/redis/kv?key=h", headers=auth(reader)).json()["value"], "v")
        r = ask("POST", "/redis/kv", {"key": "h", "value": "w"}, auth(reader))
        equal((r.status, r.json()["code"]), (403, "NOPERM"))
        r = ask("GET", "/redis/kv?key=h", headers=auth(several))
        equal((r.status, r.json()["code"]), (400, "NOPROJECT"), "several, and none chosen")
        equal(ask("GET", "/healthz", headers=auth(several)).status, 200)
        details = set()
        for headers in (auth("psr_nonsense"), auth(reader, "blog"), auth(reader, "nowhere"), auth("eyJ.x.y")):
            r = ask("GET", "/redis/kv?key=h", headers=headers)
            equal((r.status, r.json()["code"], r.headers["www-authenticate"]), (401, "NOAUTH", 'Bearer realm="purser"'), headers)
            check("user name" not in r.json()["detail"], "HTTP has no user name and no password", r)
            details.add(r.json()["detail"])
        equal(len(details), 1, details)
        r = ask("GET", "/redis/kv?key=h", headers=auth(t.secret("old"), "shop"))
        check(r.status == 401 and "expired" in r.json()["detail"], r)
        for value in ("Basic eDp5", "Bearer", "Bearer ", reader):
            equal(ask("GET", "/healthz", headers={"Authorization": value}).status, 401, value)
        equal(ask("GET", "/healthz").status, 200)
    # nobody, over TCP: what is public and no more
    for target, status in (("/healthz", 200), ("/metrics", 200), ("/redis/status", 200), ("/openapi.json", 200), ("/redis/kv?key=h", 401),
                           ("/v1/whoami", 401), ("/v1/plugins", 401)):
        equal(tcp(p, "GET", target).status, status, target)
    equal(tcp(p, "GET", "/redis/kv?key=h", headers={"Purser-Project": "both"}).status, 401)
    check('project="' not in tcp(p, "GET", "/metrics").body.decode(), "no project is named")
    # each request of a connection says anew who it is
    c = http.client.HTTPConnection("127.0.0.1", p.port, timeout=30 * harness.SLOW)
    for headers, want in ((auth(reader), 200), ({}, 401), (auth(several, "blog"), 200), (auth(reader, "blog"), 401), (auth(reader), 200),
                          (auth(several, "shop"), 200), (auth(several, "blog"), 200)):
        c.request("GET", "/v1/whoami", headers=headers)
        r = harness.Response(c.getresponse())
        equal(r.status, want, headers)
        if want == 200:
            equal(r.json()["project"], headers.get("Purser-Project", "shop"))
    c.close()


def early(p, t):
    """Who sends a long body is known before it is read: what is refused is refused while the rest has not come."""
    def heads(secret, *more):
        return f"POST /redis/kv HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {secret}\r\n" + "".join(f"{m}\r\n" for m in more) + "\r\n"

    def unix():
        s = socket.socket(socket.AF_UNIX)
        s.connect(p.sock)
        return s

    body = json.dumps({"key": "large", "value": "v" * 200000}).encode()
    chunked = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    for connect in (unix, lambda: socket.create_connection(("127.0.0.1", p.port))):
        for more, rest in ((f"Content-Length: {1 << 20}", b""), ("Transfer-Encoding: chunked", b""), (f"Content-Length: {1 << 20}", b"x" * 5000),
                           ("Expect: 100-continue\r\nContent-Length: 10", b"")):
            with connect() as s:
                s.settimeout(30 * harness.SLOW)
                s.sendall(heads("psr_nonsense", "Purser-Project: shop", more).encode() + rest)
                got = b"".join(iter(lambda s=s: s.recv(65536), b""))
                check(got.startswith(b"HTTP/1.1 401 ") and got.count(b"HTTP/1.1") == 1, more, got)
        with connect() as s:
            s.settimeout(30 * harness.SLOW)
            s.sendall(heads(t.secret("several"), f"Content-Length: {1 << 20}").encode())
            check(s.recv(65536).startswith(b"HTTP/1.1 400 "), "which project?")
        for more, rest, first in ((f"Content-Length: {len(body)}", body, b""), ("Transfer-Encoding: chunked", chunked, b""),
                                  (f"Expect: 100-continue\r\nContent-Length: {len(body)}", body, b"HTTP/1.1 100 ")):
            with connect() as s:
                s.settimeout(30 * harness.SLOW)
                s.sendall(heads(t.secret("several"), "Purser-Project: shop", "Connection: close", more).encode())
                if first:
                    check(s.recv(65536).startswith(first), "it is asked for")
                s.sendall(rest)
                got = b"".join(iter(lambda s=s: s.recv(65536), b""))
                check(got.startswith(b"HTTP/1.1 200 "), more, got[:200])
    with socket.create_connection(("127.0.0.1", p.port)) as s:  # nobody sends none
        s.settimeout(30 * harness.SLOW)
        s.sendall(f"POST /redis/kv HTTP/1.1\r\nHost: x\r\nContent-Length: {1 << 20}\r\n\r\n".encode())
        check(s.recv(65536).startswith(b"HTTP/1.1 401 "), "nobody")


def guessing(t):
    """Who fails on many connections waits longer and is ended sooner on each; what is good is taken at once."""
    port = free_port()
    text = CONFIG.format(mode="production", file=t.path, port=port, uid=os.getuid(), delay="0s", failures=2).replace("[agent]", "[agent]\nworkers = 2", 1)
    with Agent(config=text, name="guessing") as p:
        said = []
        for _ in range(12):
            with p.client() as c:
                c.send("AUTH", "shop", "psr_guessed")
                said.append(c.read().word)
                if said[-1] == "NOAUTH":
                    check(c.eof(), "closed")
        equal(said, ["WRONGPASS"] * 8 + ["NOAUTH"] * 4)
        with p.client() as c:
            equal(c.cmd("AUTH", "shop", t.secret("reader")), "OK")
            equal(c.cmd("PURSER.PROJECT", "both"), "OK")
        r = http.client.HTTPConnection("127.0.0.1", port, timeout=30 * harness.SLOW)  # TCP's account is another
        r.request("GET", "/v1/whoami", headers={"Authorization": "Bearer psr_guessed"})
        r = r.getresponse()
        check(r.status == 401 and b"too many" not in r.read(), "of its own")


def revoked(p, t):
    """What is gone from the file ends what is open with it, whatever that does at the moment."""
    gone, kept = t.put("gone", "shop", "operator"), t.put("kept", "shop", "operator")
    p.reload_and_wait()
    idle, hears, waits, queued, other, follows = (p.client() for _ in range(6))
    for c in (idle, hears, waits, queued, follows):
        c.cmd("HELLO", 3, "AUTH", "shop", gone)
    other.cmd("HELLO", 3, "AUTH", "shop", kept)
    hears.cmd("SUBSCRIBE", "news")
    follows.cmd("CLIENT", "TRACKING", "ON")
    waits.send("BLPOP", "never", 0)
    queued.cmd("MULTI")
    equal(queued.cmd("SET", "sneaked", "in"), "QUEUED")
    with p.client() as c:
        c.cmd("AUTH", "shop", kept)
        wait_until(lambda: b"cmd=blpop" in c.cmd("CLIENT", "LIST").lower(), "it to wait")
    t.drop("gone")
    p.reload_and_wait()
    for c in (idle, queued):
        c.send("GET", "k")
        e = c.read()
        check(isinstance(e, harness.RespError) and e.word == "NOAUTH" and "revoked" in e.text and "AUTH <project> <token>" in e.text, e)
    equal((whoami(idle)["lapsed"], whoami(idle)["project"], whoami(idle)["source"]), ("revoked", None, "peer"))
    e = queued.error("EXEC")
    check(e.word in ("NOAUTH", "EXECABORT"), e.text)
    for c in (hears, follows):
        push = c.read()
        while not (isinstance(push, harness.Push) and push[0] == b"purser.closed"):
            push = c.read()
        check(b"connect again" in push[1] and c.eof(), "it is closed with a reason", push)
    e = waits.read()
    check(isinstance(e, harness.RespError), "what waits is ended", e)
    equal((other.cmd("GET", "sneaked"), whoami(other)["identity"]), (None, "kept"), "others go on, and nothing was run")
    equal((idle.cmd("AUTH", "shop", kept), whoami(idle).get("lapsed"), idle.cmd("GET", "sneaked")), ("OK", None, None))
    equal(p.http("GET", "/v1/whoami", headers={"Authorization": f"Bearer {gone}", "Purser-Project": "shop"}).status, 401)
    # another role for the same token holds from the reload on
    t.put("kept", "shop", "reader")
    p.reload_and_wait()
    equal((whoami(other)["role"], other.error("SET", "k", "v").word, other.cmd("GET", "sneaked")), ("reader", "NOPERM", None))
    t.put("kept", "blog", "writer")
    p.reload_and_wait()
    equal(other.cmd("PURSER.PROJECT", "blog"), "OK")
    equal(other.error("PURSER.PROJECT", "shop").word, "NOPROJECT")
    for c in (idle, waits, queued, other):
        c.close()
    # a file that cannot be good is not taken, and the one before holds
    good = t.lines["reader"]
    for line, say in (("nonsense\n", "five words"), (good.replace(" - ", " nobody "), "there is no [role nobody]")):
        t.lines["reader"] = line
        t.write()
        with p.client() as c:
            c.cmd("AUTH", "both", t.secret("boss"))
            e = c.error("PURSER.RELOAD")
            check(e.word == "CONFIG" and say in e.text, e.text)
            equal(c.cmd("AUTH", "shop", t.secret("reader")), "OK")
    t.lines["reader"] = good
    t.write()
    os.chmod(t.path, 0o644)
    with p.client() as c:
        c.cmd("AUTH", "both", t.secret("boss"))
        check("others may read it" in c.error("PURSER.RELOAD").text)
    os.chmod(t.path, 0o600)


def expiring(p, t):
    short = t.put("short", "shop", "operator", stamp(2))
    p.reload_and_wait()
    idle, hears, waits = p.client(), p.client(), p.client()
    for c in (idle, hears, waits):
        c.cmd("HELLO", 3, "AUTH", "shop", short)
    hears.cmd("SUBSCRIBE", "news")
    waits.send("BLPOP", "never", 0)
    check(whoami(idle)["expires"] is not None)
    push = hears.read()
    check(push[0] == b"purser.closed" and hears.eof(), push)
    e = waits.read()
    check(isinstance(e, harness.RespError), "what waits is ended", e)
    wait_until(lambda: whoami(idle).get("lapsed") == "expired", "the clock of its worker")
    e = idle.error("GET", "k")
    check(e.word == "NOAUTH" and "has expired" in e.text, e.text)
    check(idle.error("AUTH", "shop", short).text.startswith("WRONGPASS the token has expired"))
    p.wait_log(r'"access\.lapsed".*"name":"short".*"reason":"expired"')


def ended(p, t):
    """Failures are counted and held back; too many end the connection."""
    with p.client() as c:
        for i in range(5):
            equal(c.error("AUTH", "shop", "psr_guessed_secret").word, "WRONGPASS", i)
        e = c.error("AUTH", "shop", "psr_guessed_secret")
        check(e.word == "NOAUTH" and "closed" in e.text and c.eof(), e.text)
    with p.client() as c:  # nothing of the pipeline behind it is answered before it, and none is lost
        got = c.pipeline([("AUTH", "both", "psr_guessed_secret"), ("PURSER.WHOAMI",), ("AUTH", "both", ""), ("GET", "none")])
        equal([str(got[0])[:9], got[2], got[3]], ["WRONGPASS", "OK", None])
    with p.client() as c:  # words in the wrong order
        c.error("AUTH", t.secret("boss"), "shop")
    for _ in range(5):  # some that leave in the middle
        c = p.client()
        c.send("AUTH", "shop", "psr_guessed_secret")
        c.close()
        s = socket.create_connection(("127.0.0.1", p.port))
        s.sendall(b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer psr_guessed_secret\r\n\r\n")
        s.close()
    with socket.create_connection(("127.0.0.1", p.port)) as s:  # HTTP: so many failures end that connection, too
        s.settimeout(30 * harness.SLOW)
        s.sendall(b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer psr_guessed_secret\r\n\r\n" * 8)
        got = b"".join(iter(lambda: s.recv(65536), b""))
        equal((got.count(b"HTTP/1.1 401 "), got.count(b"too many failed")), (6, 1))


def logged(p, t):
    """The log knows why, and no secret."""
    with p.client() as c:
        c.error("AUTH", "shop", "psr_guessed_secret")
    text = p.log()
    lines = [json.loads(x) for x in text.splitlines() if '"access.authentication"' in x]
    check({x["reason"] for x in lines} >= {"token_unknown", "token_expired", "project"}, {x["reason"] for x in lines})
    line = next(x for x in lines if x["reason"] == "token_unknown")
    check(line["uid"] == os.getuid() and line["pid"] > 0 and line["source"] == "peer" and line["client.id"] > 0, line)
    check("guessed_secret" not in text and "x" * 32 not in text, "no secret in the log")
    denied = next(json.loads(x) for x in text.splitlines() if '"access.denied"' in x and '"no_permission"' in x)
    check(denied["what"] and denied["role"] and denied["in_project"], denied)
    with p.client() as c:
        c.cmd("AUTH", "both", t.secret("boss"))
        metrics = c.cmd("PURSER.METRICS").decode()
    for name in ('purser_access_denied_denials_total{', 'purser_access_lapsed_connections_total{', 'purser_authentications_total{'):
        check(name.split("{")[0].rsplit("_", 2)[0] in metrics, name)


class Agent(harness.Purserd):
    def reload_and_wait(self):
        before = self.generation()
        self.reload()
        wait_until(lambda: self.generation() > before and '"draining":false' in self.status, "the reload", 20)

    def generation(self):
        with self.client() as c:
            c.cmd("AUTH", "both", "")
            self.status = c.cmd("PURSER.STATUS").decode()
            return json.loads(self.status)["generation"]


def main():
    for mode, delay in (("production", "0s"), ("development", "20ms")):
        t, port = Tokens(), free_port()
        t.put("reader", "shop")
        with Agent(config=CONFIG.format(mode=mode, file=t.path, port=port, uid=os.getuid(), delay=delay, failures=1000), name=mode) as p:
            p.port = port
            p.allow('"config.reload.failed"')
            entering(p, t)
            over_http(p, t)
            early(p, t)
            revoked(p, t)
            expiring(p, t)
            logged(p, t)
        port = free_port()
        with Agent(config=CONFIG.format(mode=mode, file=t.path, port=port, uid=os.getuid(), delay=delay, failures=6), name=mode + "-ends") as p:
            p.port = port
            ended(p, t)
    guessing(t)


harness.run(main)
