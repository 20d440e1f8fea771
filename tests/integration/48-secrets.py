#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""No secret comes out.  An agent knows a password of Redis, headers for the collector, a token and its like; everything
that it writes, answers or leaves behind, good or bad, is searched for them."""

import glob
import json
import os
import resource
import secrets
import signal
import subprocess

import harness
from harness import Purserd, Redis, RespError, check, equal

MARK = "zq" + secrets.token_hex(12)
KNOWN = {what: f"{MARK}{what}" for what in ("password", "url", "header", "headers", "token", "presented", "oldpassword")}
found = {}   # where: bytes


def keep(where, *data):
    """Notes an output, and gives it back."""
    for d in data:
        found[where] = found.get(where, b"") + (d if isinstance(d, bytes) else str(d).encode()) + b"\n"
    return data[0]


def leaks(outputs):
    wrong = []
    for where, data in outputs.items():
        for what, secret in KNOWN.items():
            forms = (secret.encode(), secret.encode().hex().encode(), secret.encode()[::-1])
            if any(f in data for f in forms):
                at = data.find(secret.encode())
                wrong.append(f"{where}: the secret {what}: …{data[max(0, at - 120):at + 80]!r}…")
    return wrong


def secret_file(name, text, mode=0o600):
    path = os.path.join(harness.tmp(), name)
    with open(path, "w", encoding="ascii") as f:
        f.write(text + "\n")
    os.chmod(path, mode)
    return path


def ini(redis, *more):
    return "\n".join(["[agent]", "mode = development", "fault_injection = yes", f"token_file = {harness.tmp()}/tokens",
                      "[backend main]", "plugin = redis", f"url = {redis.url}", f"password_file = {harness.tmp()}/password",
                      "[project default]", "backend = main", "[project shop]", "backend = main",
                      "[otlp]", "endpoint = http://127.0.0.1:9", f"headers = authorization=Bearer%20{KNOWN['header']}",
                      f"headers_file = {harness.tmp()}/headers", "metric_interval = 200ms", "span_delay = 10ms",
                      "[log]", "level = trace", *more]) + "\n"


def make_token():
    """A token as purserctl makes one, which is then one of the secrets."""
    program = os.environ.get("PURSERCTL", os.path.join(harness.builddir, "ctl/purserctl"))
    r = subprocess.run([program, "token", "make", "ci", "shop", "writer", "--file", os.path.join(harness.tmp(), "tokens")],
                       text=True, capture_output=True, timeout=20 * harness.SLOW, check=True)
    KNOWN["token"] = r.stdout.strip()
    keep("purserctl token list", subprocess.run(
        [program, "token", "list", "--file", os.path.join(harness.tmp(), "tokens")], text=True, capture_output=True,
        timeout=20 * harness.SLOW, check=True).stdout)
    keep("the token file", open(os.path.join(harness.tmp(), "tokens"), "rb").read())


# ---- the outputs ----

def programs(p, redis):
    """--print-config, --check-config, with and without mistakes beside the secret, and a start that fails."""
    for name, args in (("--print-config", ["--print-config"]), ("--check-config", ["--check-config"])):
        r = p.run(*args)
        equal(r.returncode, 0, r.stderr)
        keep(name, r.stdout, r.stderr)
        check("otlp" in found["--print-config"].decode(), "it printed nothing")
    good = ini(redis)
    for i, (old, new) in enumerate((
            ("[otlp]\n", f"[otlp]\nheader = x={KNOWN['header']}\n"), ("headers = ", "headers = no pair, "),
            ("headers = authorization", "headers = auth orization"), ("[otlp]", "[otpl]"),
            (f"url = {redis.url}", f"url = redis://user:{KNOWN['url']}@127.0.0.1:notaport/0"),
            (f"url = {redis.url}", f"url = redis://user:{KNOWN['url']}@127.0.0.1:1/0\nurl = http://x:{KNOWN['url']}@y"),
            ("password_file =", f"password = {KNOWN['password']}\npassword_file ="),
            (f"headers = authorization=Bearer%20{KNOWN['header']}", f"headers = a=b ; {KNOWN['header']}"))):
        p.write_config(good.replace(old, new))
        r = p.run("--check-config")
        keep(f"mistake {i}", r.stdout, r.stderr)
        r = p.run("--print-config")
        keep(f"mistake {i}, printed", r.stdout, r.stderr)
    p.write_config(good)
    r = p.run("--set", f"backend main.password={KNOWN['password']}", "--check-config")
    keep("--set", r.stdout, r.stderr)


def answers_of(c, words, where):
    c.send(*words)
    r = c.read()
    keep(where, r.text if isinstance(r, RespError) else repr(r))
    return r


def conversations(p):
    """Every view of the agent, by one client while another presents secrets well and badly."""
    watch, c = p.client(), p.client()
    equal(watch.cmd("MONITOR"), "OK")
    good, bad = KNOWN["token"], KNOWN["presented"]
    c.cmd("HELLO", 3)
    for words in (("AUTH", bad), ("AUTH", "shop", bad), ("AUTH", "default", bad), ("HELLO", 3, "AUTH", "shop", bad),
                  ("HELLO", 3, "AUTH", "shop", bad, "SETNAME", "x"), ("HELLO", 9, "AUTH", "shop", bad), ("HELLO", "AUTH", "shop", bad),
                  ("AUTH", "shop", bad, "more"), ("PURSER.EXPLAIN", "AUTH", "shop", bad), ("PURSER.EXPLAIN", "AUTH", "shop", good),
                  ("PURSER.EXPLAIN", "HELLO", 3, "AUTH", "shop", good), ("AUTH", "shop", "psr_" + bad), ("AUTH", "shop", f"a.{bad}.c"),
                  ("MULTI",), ("AUTH", "shop", bad), ("DISCARD",), ("AUTH", "shop", good), ("PURSER.WHOAMI",), ("SET", "k", "v"),
                  ("PURSER.EXPLAIN", "AUTH", "shop", good), ("RESET",), ("HELLO", 2, "AUTH", "shop", good), ("CLIENT", "LIST"),
                  ("CLIENT", "INFO"), ("SLOWLOG", "GET", "128"), ("RESET",)):
        answers_of(c, words, "replies")
    for words in (("PURSER.STATUS",), ("PURSER.HEALTH",), ("PURSER.METRICS",), ("PURSER.PLUGINS",), ("PURSER.OPENAPI",),
                  ("PURSER.WHOAMI",), ("INFO",), ("INFO", "everything"), ("CLIENT", "LIST"), ("CLIENT", "INFO"), ("CONFIG", "GET", "*"),
                  ("SLOWLOG", "GET", "128"), ("LATENCY", "HISTOGRAM"), ("PURSER.BREAKER",), ("PURSER.LOGLEVEL",), ("COMMAND", "LIST")):
        answers_of(c, words, words[0])
    for token in (good, bad, f"a.{bad}.c", "psr_" + bad):
        for target in ("/redis/kv?key=k", "/v1/whoami", "/redis/status", "/metrics", "/openapi.json", "/v1/plugins", "/nowhere"):
            r = p.http("GET", target, headers={"Authorization": "Bearer " + token, "Purser-Project": "shop"})
            keep("HTTP", r.body, repr(r.headers))
    r = p.http("GET", "/redis/kv?key=k", headers={"Authorization": "Basic " + KNOWN["presented"]})
    keep("HTTP", r.body, repr(r.headers))
    c.cmd("PURSER.PROJECT", "default")
    c.cmd("SET", "last", "one")
    seen = b""
    while b'"last"' not in seen:
        line = watch.read()
        seen += (line if isinstance(line, bytes) else str(line).encode()) + b"\n"
    keep("MONITOR", seen)
    check(b"(redacted)" in found["MONITOR"], "MONITOR has shown no AUTH at all")
    for ctl in (["health"], ["--json", "health"], ["status"]):
        r = p.ctl(*ctl)
        keep("purserctl", r.stdout, r.stderr)


def reloads(p, redis):
    """Errors of a reload go to whoever asked and into the log."""
    with p.client() as c:
        for text in (ini(redis).replace("[otlp]\n", f"[otlp]\nheader = x={KNOWN['header']}\n"),
                     ini(redis).replace("headers = ", "headers = no pair, "),
                     ini(redis).replace(f"url = {redis.url}", f"url = redis://u:{KNOWN['url']}@127.0.0.1:notaport")):
            p.write_config(text)
            keep("PURSER.RELOAD", c.error("PURSER.RELOAD").text)
        # A password that is wrong: Redis says so, the health document and the log repeat it.
        secret_file("password", KNOWN["oldpassword"])
        p.write_config(ini(redis))
        keep("PURSER.RELOAD", repr(answers_of(c, ("PURSER.RELOAD",), "PURSER.RELOAD")))
        keep("health, wrong password", c.cmd("PURSER.HEALTH"))
    p.allow("config.reload.failed", "health", "otlp|export|telemetry", "plugin")


def leftovers(p):
    for path in glob.glob(f"{p.settings['agent.state_dir']}/**", recursive=True):
        if os.path.isfile(path):
            with open(path, "rb") as f:
                keep("state_dir", path, f.read())
    with open(f"/proc/{p.pid}/cmdline", "rb") as f:
        keep("the command line", f.read())


def main():
    harness.require("redis-server")
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
    secret_file("password", KNOWN["password"])
    secret_file("headers", "X-Key: " + KNOWN["headers"])
    make_token()
    with Redis(args=["--requirepass", KNOWN["password"]]) as redis:
        p = Purserd({"agent.slowlog_slower_than": "1ms"}, config=ini(redis))
        os.chmod(p.config_path, 0o600)
        programs(p, redis)
        p.start()
        conversations(p)
        reloads(p, redis)
        leftovers(p)
        p.signal(signal.SIGABRT)
        p.stop(-signal.SIGABRT)
        keep("the log", p.log())
    check("agent.ready" in found["the log"].decode() and len(found["the log"]) > 2000, "the log is too short to tell")
    # It crashed with every right to leave a core.
    core = glob.glob(os.path.join(os.getcwd(), "core*"))
    check(not core, "a core file", core)
    for where, data in found.items():
        check(len(data) > 1, where, "is empty: nothing was searched")
    wrong = leaks(found)
    check(not wrong, f"{len(wrong)} findings\n" + "\n".join(wrong))
    # And the search finds what it is for.
    check(leaks({"planted": b"x" + KNOWN["token"].encode() + b"y"}) and leaks({"hex": KNOWN["url"].encode().hex().encode()}))
    print(json.dumps({k: len(v) for k, v in found.items()}))


harness.run(main)
