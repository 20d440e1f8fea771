#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The boards and alert rules that are shipped: they name metrics as a live agent does, every metric has a panel, and (the
long form, where Prometheus is installed) every panel's query has data in a Prometheus that scrapes a live agent."""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import harness
from harness import check, equal, wait_until

sys.path.insert(0, os.path.join(harness.srcdir, "docs"))
import dashboards  # noqa: E402 (it lives in docs/)

# Counters of what went wrong, and what a load of a minute does not do: no data is what they should have.
SILENT = {"CLIENTS_REJECTED", "CLIENTS_CUT", "PROTOCOL_ERRORS", "ACCESS_LAPSED", "BREAKER_REJECTED", "BREAKER_TRANSITIONS", "RETRIES",
          "RETRY_EXHAUSTED", "FAULTS", "LIMIT_REFUSED", "LIMIT_INFLIGHT", "LIMIT_CONNECTIONS", "JWT_VERIFICATIONS",
          "JWKS_FETCHES", "LOCK_LOST", "LOCK_REFUSED", "JOB_PROGRESS", "JOB_REMAINING", "JOB_ACTIVE", "TELEMETRY_DROPPED",
          "CONNECTION_TIMEOUTS", "CONNECTION_USE_TIME", "CONNECTION_WAIT_TIME", "REDIS_ROLE", "SESSION_EVENTS", "SESSION_LIVE",
          "AUTHENTICATIONS"}


def exposed(p):
    """Names and types that /metrics has now."""
    text = p.http("GET", "/metrics").body.decode()
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))


def expressions():
    for path, text in dashboards.made().items():
        if path.endswith(".json"):
            for panel in json.loads(text)["panels"]:
                for target in panel["targets"]:
                    yield path, panel["title"], target["expr"]


def test_names():
    rows = dashboards.load()
    with harness.Redis() as redis:
        with harness.Purserd({"backend main.plugin": "redis", "backend main.url": redis.url, "health.interval": "1s"}) as p:
            with p.client() as c:
                c.pipeline([("SET", "k", "v"), ("GET", "k"), ("GET", "none"), ("HGET", "k", "f")])
            kinds = wait_until(lambda: exposed(p) if "redis_memory_used_bytes" in exposed(p) else None, "INFO's metrics", 30)
    names = {r.name: r for r in rows.values()}
    of = {"counter": "COUNTER", "gauge": ("GAUGE", "UPDOWN"), "histogram": "HISTOGRAM"}
    checked = 0
    for name, kind in kinds.items():
        if name == "target_info" or name not in names:
            check(name == "target_info" or name.startswith("purser_redis_") or name.startswith("purser_memory_"),
                  f"{name} is in /metrics and in no row")  # a plugin's own are not in the table
            continue
        check(names[name].kind in of[kind], f"{name}: {kind}")
        checked += 1
    check(checked > 50, checked)


def test_all_rows():
    rows = dashboards.load()
    text = {path: "\n".join(e for p, _, e in expressions() if p == path) for path in dashboards.made()}
    for row in rows.values():
        check(any(re.search(rf"\b{row.name}(_bucket)?\{{", t) for t in text.values()), f"{row.dotted} is on no board")
    known = {r.name for r in rows.values()} | {r.name + "_bucket" for r in rows.values()}
    for path, title, expr in expressions():
        for name in re.findall(r"\b((?:purser|redis|db_client|otel_sdk|process)_\w+)\{", expr):
            check(name in known, f"{path}: {title}: {name}")


def test_rules():
    if not shutil.which("promtool"):
        print("promtool is not installed: the rules were not checked")
        return
    p = subprocess.run(["promtool", "check", "rules", os.path.join(harness.srcdir, "etc/prometheus/purser.rules.yml")],
                       capture_output=True, text=True, check=False)
    equal(p.returncode, 0, p.stdout + p.stderr)


# ---- the long form -----------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Prometheus:
    def __init__(self, target):
        self.port = free_port()
        d = os.path.join(harness.tmp(), "prometheus")
        os.makedirs(d)
        with open(os.path.join(d, "p.yml"), "w", encoding="utf-8") as f:
            f.write("global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
                    f"rule_files: [{os.path.join(harness.srcdir, 'etc/prometheus/purser.rules.yml')}]\n"
                    f"scrape_configs: [{{job_name: purser, static_configs: [{{targets: ['{target}']}}]}}]\n")
        self.log = open(os.path.join(d, "log"), "wb")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={d}/p.yml", f"--storage.tsdb.path={d}/data",
             f"--web.listen-address=127.0.0.1:{self.port}"], stdout=self.log, stderr=self.log)

    def get(self, path, **query):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as r:
                return json.load(r)["data"]
        except urllib.error.HTTPError as e:
            if e.code == 503:  # it is starting
                return None
            raise harness.Failure(f"{query}: {e.read().decode()}") from e
        except OSError:
            return None

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


def some_of_everything(c, n):
    c.pipeline([("SET", f"k{n}", "v"), ("GET", f"k{n}"), ("GET", "none"), ("HGET", f"k{n}", "f"), ("DEL", f"k{n}"),
                ("EVAL", "return 1", "0"), ("LOCK.ACQUIRE", f"l{n}", "1000"), ("SET", "kept", "v"), ("CACHE.CLEAR", "kept", "DRYRUN"), ("SET", "x", "y", "PX", "1")])
    if n == 0:
        c.error("AUTH", "nobody", "wrong")


def test_prometheus():
    if not os.environ.get("PURSER_LONG") or not shutil.which("prometheus"):
        print("the queries were not tried: that takes PURSER_LONG=1 and prometheus")
        return
    from otlp import otlp
    rx = otlp.Receiver()
    listen = f"127.0.0.1:{free_port()}"
    rows = {r.name: r.id for r in dashboards.load().values()}
    with harness.Redis(["--maxmemory", "100mb"]) as redis:
        settings = {"backend main.plugin": "redis", "backend main.url": redis.url, "health.interval": "1s",
                    "otlp.endpoint": rx.url, "otlp.metric_interval": "1s", "otlp.span_delay": "100ms"}
        settings["agent.http_listen"] = listen
        with harness.Purserd(settings) as p:
            prom = Prometheus(listen)
            try:
                wait_until(lambda: (prom.get("query", query="up == 1") or {}).get("result"), "Prometheus", 60)
                end = time.monotonic() + 25
                n = 0
                while time.monotonic() < end:
                    with p.client() as c:
                        some_of_everything(c, n)
                    n += 1
                    time.sleep(0.2)
                empty = []
                for path, title, expr in expressions():
                    expr = expr.replace("$__rate_interval", "15s").replace('"$instance"', '".*"').replace('"$project"', '".*"')
                    data = prom.get("query", query=expr)
                    ids = {rows[x.removesuffix("_bucket")] for x in re.findall(r"\b([a-z]\w+)\{", expr)
                           if x.removesuffix("_bucket") in rows}
                    if not data["result"] and not ids & SILENT:
                        empty.append(f"{path}: {title}: {expr}")
                check(not empty, "no data:\n" + "\n".join(empty))
                groups = prom.get("rules")["groups"]
                bad = [r for g in groups for r in g["rules"] if r["health"] != "ok"]
                check(len(groups[0]["rules"]) >= 10 and not bad, bad)
            finally:
                prom.stop()
    rx.close()


def main():
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            print(name, flush=True)
            test()


harness.run(main)
