#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""JWTs on connections: AUTH, HELLO AUTH and Authorization: Bearer, over the Unix socket and TCP; expiry, and what a reload leaves of
them.  (What tokens are good is tested elsewhere: test_access_jwt.)"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import check, equal, wait_until

KEY = b"0123456789abcdef0123456789abcdef"
CONFIG = """
[agent]
mode = {mode}
auth_delay = 10ms
http_listen = 127.0.0.1:{port}
[backend main]
plugin = memory
[jwt main]
issuer = https://id.example.com
audience = purser
key_file = {key}
project_claim = project
project = shop blog
map = {map}
clock_skew = 0s
[project shop]
[project blog]
accept = jwt
[project both]
allow_uid = {uid}
role = operator
[project shut]
accept = peer token
"""
MAP = "shop.read=reader,shop.admin=operator,shop.write=writer"


def b64(b):
    return base64.urlsafe_b64encode(b).rstrip(b"=").decode()


def jwt(key=KEY, seconds=3600, **claims):
    claims = {"iss": "https://id.example.com", "aud": "purser", "sub": "ada", "exp": int(time.time()) + seconds,
              "project": "shop", "scope": "shop.read", **claims}
    head = b64(b'{"alg":"HS256","typ":"JWT"}') + "." + b64(json.dumps(claims).encode())
    return head + "." + b64(hmac.new(key, head.encode(), hashlib.sha256).digest())


def whoami(c):
    return json.loads(c.cmd("PURSER.WHOAMI"))


def tcp(p, target, token, project=None):
    c = http.client.HTTPConnection("127.0.0.1", p.port, timeout=30 * harness.SLOW)
    headers = {"Authorization": f"Bearer {token}", **({"Purser-Project": project} if project else {})}
    try:
        c.request("GET", target, headers=headers)
        return harness.Response(c.getresponse())
    finally:
        c.close()


def entering(p):
    for project, token, role in (("shop", jwt(), "reader"), ("shop", jwt(scope="x shop.admin"), "operator"),
                                 ("blog", jwt(project=["shop", "blog"]), "reader")):
        for _ in range(2):  # the second time it is known
            with p.client() as c:
                equal(c.cmd("AUTH", project, token), "OK")
                me = whoami(c)
                equal((me["project"], me["role"], me["source"], me["identity"]), (project, role, "jwt", "ada"))
                check(me["expires"].endswith("Z") and token not in json.dumps(me))
            with p.client() as c:
                equal((c.cmd("HELLO", 3, "AUTH", project, token)[b"proto"], whoami(c)["role"]), (3, role))
            r = tcp(p, "/v1/whoami", token, project)
            equal((r.status, r.json()["role"], "uid" in r.json()), (200, role, False))
    with p.client() as c:
        equal((c.cmd("AUTH", jwt()), whoami(c)["project"]), ("OK", "shop"), "the project of the claim")
        equal((c.cmd("AUTH", "default", jwt(project="blog")), whoami(c)["project"]), ("OK", "blog"))
        equal(c.error("AUTH", jwt(project=["shop", "blog"])).word, "NOPROJECT")
        equal(c.cmd("PURSER.PROJECT", "both"), "OK", "by the rule for the peer")
        equal(whoami(c)["role"], "operator")
    equal(tcp(p, "/v1/whoami", jwt()).json()["project"], "shop")
    # refused, all alike
    texts, details = set(), set()
    for project, token in (("shop", jwt(key=b"x" * 32)), ("blog", jwt()), ("nowhere", jwt()), ("shut", jwt(project=["shop", "shut"])),
                           ("shop", jwt(aud="other")), ("shop", jwt(scope="nothing")), ("shop", jwt() + "=")):
        with p.client() as c:
            texts.add(c.error("AUTH", project, token).text)
            equal(whoami(c)["source"], "peer")
        r = tcp(p, "/redis/kv?key=k", token, project)
        equal(r.status, 401)
        details.add(r.json()["detail"])
    equal((len(texts), len(details)), (1, 1), texts)
    check("expired" in tcp(p, "/v1/whoami", jwt(seconds=-10)).json()["detail"])
    # a pipeline waits for the verification, and one who leaves in the middle harms nobody
    with p.client() as c:
        got = c.pipeline([("AUTH", "both", ""), ("AUTH", "shop", jwt(sub="late", scope="shop.admin")), ("SET", "k", "v"), ("GET", "k")])
        equal(got, ["OK", "OK", "OK", b"v"])
    for i in range(20):
        c = p.client()
        c.send("AUTH", "shop", jwt(sub=f"gone{i}"))
        c.close()
        s = socket.create_connection(("127.0.0.1", p.port))
        s.sendall(f"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {jwt(sub=f'away{i}')}\r\n\r\n".encode())
        s.close()


def ending(p):
    idle, hears, waits = p.client(), p.client(), p.client()
    token = jwt(seconds=2, scope="shop.admin")
    for c in (idle, hears, waits):
        equal(c.cmd("HELLO", 3, "AUTH", "shop", token)[b"proto"], 3)
    hears.cmd("SUBSCRIBE", "news")
    waits.send("BLPOP", "never", 0)
    push = hears.read()
    check(push[0] == b"purser.closed" and hears.eof(), push)
    check(isinstance(waits.read(), harness.RespError), "what waits is ended")
    wait_until(lambda: whoami(idle).get("lapsed") == "expired", "the clock of its worker")
    e = idle.error("GET", "k")
    check(e.word == "NOAUTH" and "has expired" in e.text, e.text)
    p.wait_log(r'"access\.lapsed".*"name":"ada"')


def reloading(p, config):
    reader, boss = p.client(), p.client()
    reader.cmd("AUTH", "shop", jwt())
    boss.cmd("AUTH", "shop", jwt(scope="shop.admin"))
    waits = p.client()
    waits.cmd("AUTH", "shop", jwt(sub="waits", scope="shop.write"))
    waits.send("BLPOP", "queue", 0)
    wait_until(lambda: b"cmd=blpop" in boss.cmd("CLIENT", "LIST").lower(), "it to wait")
    p.write_config(config(map="shop.read=writer,shop.admin=reader,shop.write=writer"))
    p.reload_and_wait()
    equal((reader.cmd("RPUSH", "queue", "x"), waits.read()), (1, [b"queue", b"x"]), "what waits goes on in the new generation")
    equal((whoami(waits)["role"], whoami(waits)["identity"]), ("writer", "waits"))
    waits.close()
    equal((whoami(reader)["role"], whoami(boss)["role"]), ("writer", "reader"), "the same claims under another map")
    equal((reader.cmd("SET", "k", "v"), boss.error("SET", "k", "v").word), ("OK", "NOPERM"))
    p.write_config(config(map="shop.read=writer"))
    p.reload_and_wait()
    equal((reader.cmd("GET", "k"), whoami(boss)["lapsed"]), (b"v", "revoked"))
    e = boss.error("GET", "k")
    check(e.word == "NOAUTH" and "revoked" in e.text, e.text)
    reader.close()
    boss.close()


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
    key = os.path.join(harness.tmp(), "key")
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
        f.write(KEY)
    for mode in ("production", "development"):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]

        def config(**more):
            return CONFIG.format(**{"mode": mode, "port": port, "key": key, "uid": os.getuid(), "map": MAP, **more})

        with Agent(config=config(), name=mode) as p:
            p.port = port
            entering(p)
            ending(p)
            reloading(p, config)
            check("eyJ" not in p.log() and KEY.decode() not in p.log(), "no token in the log")


harness.run(main)
