#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""JSON Web Tokens on RESP and HTTP: an issuer over https whose keys rotate during load, and that is away, slow, broken
or lies; what is refused, with its reason in the log; reload; keys that are taken back."""

import json
import os
import re
import select
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import check, equal, wait_until
from issuer import Issuer, Key, b64

CONFIG = """
[agent]
mode = production
auth_delay = 0s
auth_failures = 1000
[backend main]
plugin = memory
[project shop]
accept = jwt
[project blog]
accept = jwt
[project peers]
accept = peer
[jwt main]
issuer = {url}
audience = {audience}
ca_file = {ca}
project_claim = project
map = kv:write={role}
timeout = {timeout}
unknown_kid_interval = 500ms
clock_skew = 0s
"""


def config(issuer, audience="purser", role="writer", timeout=2000):
    return CONFIG.format(url=issuer.url, ca=issuer.ca.file, audience=audience, role=role, timeout=f"{min(timeout * harness.SLOW, 60000):.0f}ms")


def enters(p, token, project="shop"):
    """May somebody with this token write there?  The error if not."""
    with p.client() as c:
        try:
            c.cmd("AUTH", project, token)
        except harness.RespError as e:
            return e.text
        equal(c.cmd("SET", "k", "v"), "OK")
    return None


def good_and_bad(p, issuer):
    token = issuer.token()
    equal(enters(p, token), None, "a good token")
    with p.client() as c:
        check(c.error("GET", "k").word in ("NOPROJECT", "NOAUTH"), "nobody without it")
        check(isinstance(c.cmd("HELLO", "3", "AUTH", "shop", token), dict), "HELLO AUTH")
        equal(c.cmd("GET", "k"), b"v")
        check("WRONGPASS" in (enters(p, token, "blog") or ""), "a project that the token does not name")
    r = p.http("GET", "/redis/kv?key=k", headers={"Authorization": "Bearer " + token})
    equal(r.status, 200, "Bearer; the project is the claim's")
    r = p.http("GET", "/redis/kv?key=k", headers={"Authorization": "Bearer " + token, "Purser-Project": "blog"})
    check(r.status in (401, 403, 404), r.status)
    foreign = Key()
    none = b64(b'{"alg":"none"}') + "." + token.split(".")[1] + "."
    for what, bad, reason in (
            ("alg none", none, "alg_none"),
            ("a key that the issuer does not have", issuer.token(foreign), "kid_unknown"),
            ("a foreign key under the issuer's kid", issuer.token(foreign, {"kid": issuer.keys[0].kid}), "signature"),
            ("expired", issuer.token(iat=1000, exp=2000), "expired"),
            ("another audience", issuer.token(aud="billing"), "aud"),
            ("another issuer", issuer.token(iss="https://127.0.0.1:1"), "iss_unknown"),
            ("crit", issuer.token(header={"crit": ["exp"]}), "crit"),
            ("nothing that maps", issuer.token(scope="openid"), "no_role"),
            ("padding", token + "==", "base64_padding"),
            ("garbage behind", token + "AAAA", "signature_length")):
        text = enters(p, bad)
        check(text and text.startswith("WRONGPASS"), what, text)
        check(issuer.url not in text and "blog" not in text, "it tells nothing", text)
        p.wait_log(rf'"access\.authentication".*"{reason}"')
        r = p.http("GET", "/redis/kv?key=k", headers={"Authorization": "Bearer " + bad})
        equal(r.status, 401, what)


def rotation(p, issuer):
    """The issuer publishes a key, uses it at once, and takes back the oldest; all the while tokens come, and forged ones."""
    stop, lock = threading.Event(), threading.Lock()
    seen = {"good": 0, "forged": 0, "refused": [], "entered": []}
    forgers = [Key() for _ in range(2)]

    def honest():
        while not stop.is_set():
            with lock:  # of a key that stays at least until it was presented
                text = enters(p, issuer.token(issuer.keys[-1]))
            seen["good"] += 1
            if text:
                seen["refused"].append(text)

    def forger():
        n = 0
        while not stop.is_set():
            n += 1
            kid = issuer.keys[-1].kid if n % 2 else f"made-up-{n}"
            text = enters(p, issuer.token(forgers[n % 2], {"kid": kid}))
            seen["forged"] += 1
            if text is None:
                seen["entered"].append(kid)

    fresh = [Key() for _ in range(4)]
    threads = [threading.Thread(target=f) for f in (honest, honest, forger)]
    for t in threads:
        t.start()
    for k in fresh:
        before = seen["good"]
        with lock:
            issuer.keys = (issuer.keys + [k])[-2:]
        wait_until(lambda b=before: seen["good"] >= b + 5 or seen["refused"], "tokens of the new key", 30 * harness.SLOW)
    stop.set()
    for t in threads:
        t.join()
    equal(seen["refused"], [], "no valid token is refused")
    equal(seen["entered"], [], "no forged one is let in")
    check(seen["forged"] > 2, "there were forged ones", seen["forged"])
    return fresh


def taken_back(p, issuer):
    token = issuer.token()
    equal(enters(p, token), None)
    issuer.keys = [Key()]
    equal(enters(p, issuer.token()), None, "the new key")  # so the agent has the new set
    text = enters(p, token)
    check(text and text.startswith("WRONGPASS"), "a token of a key that is gone", text)


def told(p):
    """What PURSER.STATUS, which is JSON, tells of the issuer's keys."""
    with p.client() as c:
        return next(iter(json.loads(c.cmd("PURSER.STATUS"))["jwt"].values()))["trouble"]


def trouble(p, issuer):
    """Keys that are here go on; a token of another key is told to come again, and is good when the issuer is."""
    for mode, reason in (("error", "status 500"), ("garbage", "not JSON"), ("other", "keys can be used"),
                         ("huge", "too_big"), ("slow", "timeout"), ("down", "connect")):
        here = issuer.token()
        equal(enters(p, here), None, mode)
        issuer.keys = [issuer.keys[-1], Key()]
        new = issuer.token()
        if mode == "down":
            issuer.stop()
        issuer.set(mode)
        text = enters(p, new)
        check(text and text.startswith("BACKENDDOWN"), mode, text)
        wait_until(lambda r=reason: r in told(p), "PURSER.STATUS to say " + reason, 20 * harness.SLOW)
        r = p.http("GET", "/redis/kv?key=k", headers={"Authorization": "Bearer " + new})
        equal(r.status, 503, mode)
        equal(enters(p, here), None, mode)
        equal(enters(p, issuer.token(issuer.keys[0])), None, "keys that are here serve new tokens, too")
        p.wait_log(rf'jwt\.keys\.failed.*{reason}')
        issuer.set("good")
        if mode == "down":
            issuer.start()
        wait_until(lambda t=new: enters(p, t) is None, "it is well again: " + mode, 20 * harness.SLOW)


def reload(p, text):
    """A reload is over when nothing uses the generation before it."""
    n = len(re.findall(r"config\.drained", p.log()))
    p.write_config(text)
    p.reload()
    wait_until(lambda: len(re.findall(r"config\.drained", p.log())) > n, "the reload", 20 * harness.SLOW)


def reloads(p, issuer):
    token = issuer.token()
    with p.client() as c:
        equal(c.cmd("AUTH", "shop", token), "OK")
        equal(c.cmd("SET", "k", "1"), "OK")
        reload(p, config(issuer, role="reader"))
        equal(c.error("SET", "k", "2").word, "NOPERM")
        equal(c.cmd("GET", "k"), b"1")
        reload(p, config(issuer, audience="billing"))
        check(c.error("GET", "k").word in ("NOAUTH", "NOPROJECT"))
    reload(p, config(issuer))
    equal(enters(p, token), None)


def replied(clients):
    return [c for c in clients if select.select([c.s], [], [], 0)[0]]


def made_up(issuer):
    """While the issuer is slow, kids that nobody has heard of take some places of their user, and no more; many tokens of
    one new key wait together."""
    foreign = Key()
    with harness.Purserd(config=config(issuer, timeout=60000), name="made-up") as p:
        equal(enters(p, issuer.token()), None, "the keys are here")
        issuer.set("slow")
        some = [p.client() for _ in range(100)]
        for i, c in enumerate(some):
            c.send("AUTH", "shop", issuer.token(foreign, {"kid": f"made-up-{i}"}))
        wait_until(lambda: len(replied(some)) == 36, "those that are too many")
        for c in replied(some):
            check(c.read().word == "BACKENDDOWN", "it may come again")
        equal(enters(p, issuer.token()), None, "a token of a key that is here")
        issuer.keys = [issuer.keys[-1], Key()]
        late = p.client()
        late.send("AUTH", "shop", issuer.token())
        equal(late.read().word, "BACKENDDOWN", "the share of the user is taken")
        equal(replied(some), [], "the others wait")
        for c in some:
            c.close()
        late.close()
        issuer.set("good")
    with harness.Purserd(config=config(issuer, timeout=60000), name="together") as p:
        issuer.keys = [issuer.keys[-1]]
        equal(enters(p, issuer.token()), None, "the keys are here")
        issuer.set("slow")
        issuer.keys = [issuer.keys[-1], Key()]
        some = [p.client() for _ in range(100)]
        for i, c in enumerate(some):
            c.send("AUTH", "shop", issuer.token(sub=f"user{i}"))
        equal(enters(p, issuer.token(issuer.keys[0])), None, "a token of a key that is here")
        equal(replied(some), [], "all wait for the new one")
        issuer.set("good")
        equal([c.read() for c in some], ["OK"] * 100)
        for c in some:
            c.close()


def main():
    issuer = Issuer()
    with harness.Purserd(config=config(issuer)) as p:
        good_and_bad(p, issuer)
        rotation(p, issuer)
        taken_back(p, issuer)
        reloads(p, issuer)
    issuer.stop()
    with harness.Purserd(config=config(issuer, timeout=300) + "[project ops]\nallow_uid = *\nrole = operator\n", name="cold") as p:
        text = enters(p, issuer.token())
        check(text and text.startswith("BACKENDDOWN"), "an issuer that is away from the start", text)
        issuer.start()
        token = issuer.token()
        wait_until(lambda: enters(p, token) is None, "it comes", 20 * harness.SLOW)
        trouble(p, issuer)
    made_up(issuer)
    issuer.stop()


harness.run(main)
