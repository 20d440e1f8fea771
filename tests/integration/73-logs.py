#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The agent's log lines as OTLP log records: each one that is on standard error, with the same fields; no secret; not the
exporter's own; what a flood loses is counted."""
import json
import re

import harness
from harness import check, equal, wait_until
from otlp import otlp

SEVERITY = {"trace": 1, "debug": 5, "info": 9, "warn": 13, "error": 17}
HEAD = {"time", "level", "module", "event", "message"}


def settings(rx, **more):
    s = {"backend main.plugin": "memory", "otlp.endpoint": rx.url, "otlp.log_delay": "50ms", "otlp.metric_interval": "1h",
         "log.format": "json"}
    s.update({k.replace("__", "."): v for k, v in more.items()})
    return s


def records(rx):
    """As a line of the log would have them."""
    out = []
    for r in rx.logs():
        attrs = otlp.attributes(r)
        line = {"level": r["severity_text"][0].decode().lower(), "module": attrs.pop("purser.module"),
                "event": r["event_name"][0].decode(),
                "message": otlp.value_of(r["body"][0])}
        equal(r["severity_number"], [f"SEVERITY_NUMBER_{line['level'].upper()}"])
        check(r["time_unix_nano"] == r["observed_time_unix_nano"] and r["time_unix_nano"][0] > 10 ** 18)
        for name in ("trace_id", "span_id"):
            if name in r:
                line[name] = r[name][0].hex()
        line.update(attrs)
        out.append(line)
    return out


def lines(p):
    out = []
    for text in p.log().splitlines():
        line = json.loads(text)
        if line["module"] != "export" and line["event"] != "agent.sandbox":  # before there is an exporter
            del line["time"]
            out.append(line)
    return out


def test_same():
    rx = otlp.Receiver()
    with harness.Purserd(settings(rx, log__level="debug")) as p:
        with p.client() as c:
            equal(c.cmd("SET", "k", "v"), "OK")
            c.raw(b"*1\r\n$-5\r\n")
        with p.client() as c:
            c.error("AUTH", "nobody", "sekret-pass-1")
            c.error("AUTH", b"\xff\x01caf\xc3\xa9", "sekret-pass-2")
        p.reload()
        p.wait_log(r'"event":"config.drained')
        wait_until(lambda: "config.drained" in str(records(rx)), "the line of the reload", 30)
    want, got = lines(p), records(rx)
    check(len(want) > 5, want)
    # the lines of the very end are behind the last export
    equal(got, want[:len(got)])
    check(len(want) - len(got) < 8, (len(got), len(want)))
    for r in rx.accepted("logs"):
        check(b"sekret" not in r.body and b"proj:" not in r.body)
    rx.close()


def test_before_and_after():
    """What was said before the exporter ran is among them; without logs there is none."""
    rx = otlp.Receiver()
    with harness.Purserd(settings(rx), name="early") as p:
        wait_until(lambda: records(rx), "the first records", 30)
        equal(records(rx)[0], lines(p)[0])
    rx.close()
    rx = otlp.Receiver()
    with harness.Purserd(settings(rx, otlp__logs="no", otlp__metric_interval="100ms"), name="without") as p:
        wait_until(lambda: rx.accepted("metrics"), "metrics", 30)
        p.reload()
        p.wait_log(r'"event":"config.drained')
    equal(rx.accepted("logs"), [])
    rx.close()


def test_flood():
    rx = otlp.Receiver()
    with harness.Purserd(settings(rx, log__level="debug", otlp__log_queue="3", otlp__log_delay="500ms"), name="flood") as p:
        wait_until(lambda: records(rx), "the first records", 30)
        for _ in range(20):
            with p.client() as c:
                c.raw(b"*1\r\n$-5\r\n")

        def counts():
            text = p.http("GET", "/metrics").body.decode()
            at = {name: re.findall(rf"^{name}(\{{[^}}]*\}})? (\S+)$", text, re.M)
                  for name in ("otel_sdk_log_created_total", "otel_sdk_processor_log_processed_total",
                               "otel_sdk_processor_log_queue_size")}
            made = sum(float(v) for _, v in at["otel_sdk_log_created_total"])
            done = sum(float(v) for _, v in at["otel_sdk_processor_log_processed_total"])
            waits = sum(float(v) for _, v in at["otel_sdk_processor_log_queue_size"])
            equal(made, done + waits, "none unaccounted for")
            return sum(float(v) for l, v in at["otel_sdk_processor_log_processed_total"] if "queue_full" in l)
        wait_until(lambda: counts() > 0, "lost ones are counted", 30)
        wait_until(lambda: re.search(r'^purser_telemetry_dropped_total\{[^}]*purser_reason="ring_full"[^}]*purser_signal="logs"'
                                     r'|^purser_telemetry_dropped_total\{[^}]*purser_signal="logs"[^}]*purser_reason="ring_full"',
                                     p.http("GET", "/metrics").body.decode(), re.M), "the loss is told as one of telemetry", 30)
    rx.close()


def test_refused():
    """A collector that refuses log records hears of that in no log record."""
    rx = otlp.Receiver()
    rx.always(otlp.Status(400))
    with harness.Purserd(settings(rx), name="refused") as p:
        p.wait_log(r'"event":"export.refused"')
        rx.always(None)
        p.reload()
        wait_until(lambda: "config.drained" in str(records(rx)), "the line of the reload", 30)
        check(not [r for r in records(rx) if r["module"] == "export"])
    rx.close()


def main():
    if not otlp.have_protoc():
        harness.skip("protoc is not installed")
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            print(name, flush=True)
            test()


harness.run(main)
