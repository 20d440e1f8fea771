#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An OpenID provider of npm (oidc-provider) over https, whose signing key is replaced again and again while clients work
with its tokens: no valid token is refused, no forged one let in.  PURSER_NPM_CLIENTS names a node_modules that has it."""

import json
import os
import ssl
import subprocess
import sys
import threading
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from certificates import CA, free_port
from harness import check, equal, wait_until
from issuer import Key

ROTATIONS = int(os.environ.get("PURSER_ROTATIONS", "4"))
CONFIG = """
[agent]
mode = production
auth_delay = 0s
auth_failures = 1000
[backend main]
plugin = memory
[project shop]
accept = jwt
[jwt main]
issuer = {url}
audience = purser
authorized_parties = svc
ca_file = {ca}
project_claim = project
map = kv:write=writer
timeout = {timeout}s
unknown_kid_interval = 1s
"""


class Provider:
    def __init__(self):
        harness.require("node", "openssl")
        modules = os.environ.get("PURSER_NPM_CLIENTS", "")
        if not modules:
            harness.skip("npm's oidc-provider: PURSER_NPM_CLIENTS is not set")
        if not os.path.isdir(os.path.join(modules, "oidc-provider")):
            harness.skip(f"npm's oidc-provider is not in {modules}")
        self.ca, self.port = CA("oidc"), free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.tls = ssl.create_default_context(cafile=self.ca.file)
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../clients/oidc.mjs")
        with open(os.path.join(harness.tmp(), "oidc.log"), "wb") as log:
            self.process = subprocess.Popen(["node", script, os.path.abspath(modules), *self.ca.make("oidc"), str(self.port)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self.up, "the provider", 30 * harness.SLOW)

    def up(self):
        check(self.process.poll() is None, "the provider has left")
        try:
            return self.ask("/kids")
        except OSError:
            return None

    def ask(self, path, form=None):
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        with urllib.request.urlopen(self.url + path, data, timeout=30 * harness.SLOW, context=self.tls) as r:
            return json.loads(r.read())

    def token(self):
        return self.ask("/token", {"grant_type": "client_credentials", "client_id": "svc", "scope": "kv:write",
                                   "client_secret": "a secret of the test"})["access_token"]

    def rotate(self):
        return self.ask("/rotate", {})

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def load(p, provider):
    stop = threading.Event()
    seen = {"good": 0, "forged": 0}
    wrong = []
    forgers = [Key(), Key()]

    def honest(http):
        try:
            while not stop.is_set():
                token = provider.token()
                for _ in range(3):  # the first is verified, the others are known
                    if http:
                        r = p.http("POST", "/redis/kv", b'{"key":"h","value":"v"}', {"Authorization": "Bearer " + token})
                        equal(r.status, 200, r.body)
                    else:
                        with p.client() as c:
                            equal(c.cmd("AUTH", "shop", token), "OK")
                            equal(c.cmd("SET", "k", "v"), "OK")
                seen["good"] += 1
        except Exception as e:  # pylint: disable=broad-except  (told by the thread that waits)
            wrong.append(f"a valid token: {e!r}")

    def forger():
        n = 0
        try:
            while not stop.is_set():
                kids, n = provider.ask("/kids"), n + 1
                kid = kids[n % len(kids)] if n % 3 else f"made-up-{n}"
                token = forgers[n % 2].sign({"alg": "RS256", "kid": kid, "typ": "at+jwt"}, {
                    "iss": provider.url, "aud": "purser", "client_id": "svc", "project": "shop", "scope": "kv:write",
                    "iat": 1700000000, "exp": 4000000000})
                with p.client() as c:
                    e = c.error("AUTH", "shop", token)
                    check(e.word in ("WRONGPASS", "BACKENDDOWN"), e.text)
                seen["forged"] += 1
        except Exception as e:  # pylint: disable=broad-except
            wrong.append(f"a forged token: {e!r}")

    threads = [threading.Thread(target=honest, args=(False,)), threading.Thread(target=honest, args=(True,)),
               threading.Thread(target=forger)]
    for t in threads:
        t.start()
    for _ in range(ROTATIONS):
        before = dict(seen)
        provider.rotate()
        wait_until(lambda b=before: wrong or (seen["good"] >= b["good"] + 6 and seen["forged"] > b["forged"] + 2),
                   "tokens of the new key", 60 * harness.SLOW)
    stop.set()
    for t in threads:
        t.join()
    equal(wrong, [], "while keys rotate")
    print(f"{ROTATIONS} rotations, {seen['good']} valid tokens, {seen['forged']} forged ones")


def main():
    provider = Provider()
    try:
        config = CONFIG.format(url=provider.url, ca=provider.ca.file, timeout=5 * harness.SLOW)
        with harness.Purserd(config=config) as p:
            load(p, provider)
    finally:
        provider.stop()


harness.run(main)
