#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The exporter against a collector that behaves, and one that does not (tests/otlp)."""
import json
import os
import re
import shutil
import subprocess

import harness
from harness import check, equal, wait_until
from otlp import otlp

BOUNDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]


class Exporter:
    """tests/otlp/exporter, driven line by line."""

    def __init__(self, url, **options):
        options = {"delay_ms": 100, "interval_ms": 3600000, "retry_ms": 20, "retry_max_ms": 50,
                   "timeout_ms": 20000, "gzip": 1, **options}
        self.log_path = os.path.join(harness.tmp(), "exporter.log")
        argv = [os.path.join(harness.builddir, "tests/otlp/exporter"), f"url={url}"]
        argv += [f"{k}={v}" for k, v in options.items()]
        if harness.VALGRIND:
            argv = [*harness.valgrind("exporter"), *argv]
        with open(self.log_path, "wb") as log:
            self.p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                      universal_newlines=True)
        equal(self.p.stdout.readline(), "ok\n", "start")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.p.poll() is None:
            self.p.kill()
            self.p.wait()

    def say(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()
        return self.p.stdout.readline().rstrip("\n")

    def spans(self, n, error=""):
        equal(self.say(f"spans {n} {error}".rstrip()), "ok")

    def status(self):
        m = re.match(r"state=(\w+) queue=(\d+) records=(\d+) age_ms=(\d+) sent=(\d+),(\d+) "
                     r"lost=(\d+),(\d+) failed=(\d+) error=(.*)$", self.say("status"))
        names = ("state", "queue", "records", "age_ms", "spans", "points", "lost_spans", "lost_points",
                 "failed", "error")
        return {k: int(v) if v.isdigit() else v for k, v in zip(names, m.groups())}

    def prom(self):
        lines = [self.say("prom")]
        while lines[-1] != ".":
            lines.append(self.p.stdout.readline().rstrip("\n"))
        return lines[:-1]

    def value(self, name, **labels):
        """The sum of the series of /metrics that have these labels."""
        total = None
        for line in self.prom():
            if line.startswith(name + "{") or line.startswith(name + " "):
                if all(f'{k}="{v}"' in line for k, v in labels.items()):
                    total = (total or 0) + float(line.rsplit(" ", 1)[1])
        return total

    def quit(self, ms=20000):
        equal(self.say(f"quit {ms}"), "bye")
        equal(self.p.wait(60 * harness.SLOW), 0, "exit status")

    def log(self):
        with open(self.log_path, encoding="utf-8") as f:
            text = f.read()
        check(not harness.SANITIZER.search(text), text)
        return [json.loads(line) for line in text.splitlines()]

    def events(self, name):
        return [e for e in self.log() if e["event"] == name]


def settled(x, spans, lost=0):
    wait_until(lambda: x.status()["spans"] == spans and x.status()["lost_spans"] == lost,
               f"{spans} spans sent and {lost} lost", 30)


def check_span(span):
    attrs = otlp.attributes(span)
    want = {"db.system.name": "redis", "db.operation.name": attrs["db.operation.name"],
            "db.namespace": "0", "server.address": "127.0.0.1", "server.port": 7000,
            "network.transport": "tcp", "purser.backend": "main", "purser.project": "shop"}
    if "status" in span:
        want["error.type"] = want["db.response.status_code"] = "WRONGTYPE"
        equal(span["status"], [{"code": ["STATUS_CODE_ERROR"]}])
    equal(attrs, want)
    equal(span["name"][0].decode(), attrs["db.operation.name"])
    equal(span["kind"], ["SPAN_KIND_CLIENT"])
    equal(len(span["trace_id"][0]), 16)
    equal(len(span["span_id"][0]), 8)
    check("parent_span_id" not in span)
    equal(span["flags"], [0x103])
    took = span["end_time_unix_nano"][0] - span["start_time_unix_nano"][0]
    check(took > 0 and took % 1000 == 0, took)


def resource_of(request):
    (one,) = request.get("resource_spans", request.get("resource_metrics"))
    attrs = otlp.attributes(one["resource"][0])
    equal(attrs["service.name"], "exporter-test")
    for key in ("service.version", "service.instance.id", "telemetry.sdk.name", "process.pid"):
        check(key in attrs, key)
    (scope,) = one.get("scope_spans", one.get("scope_metrics"))
    equal(scope["scope"][0]["name"], [b"purser"])


def test_good():
    for gzip in (0, 1):
        rx = otlp.Receiver()
        with Exporter(rx.url, gzip=gzip, header="Authorization: Bearer hush-hush") as x:
            x.spans(100)
            x.spans(3, "WRONGTYPE Operation against a key")
            settled(x, 103)
            spans = rx.spans()
            for s in spans:
                check_span(s)
            equal(len({s["span_id"][0] for s in spans}), 103, "distinct ids")
            equal(sum("status" in s for s in spans), 3)
            equal(x.status()["state"], "ok")
            x.quit()
            for r in rx.requests:
                resource_of(r.message)
                equal(r.headers["Content-Type"], "application/x-protobuf")
                equal(r.headers.get("Content-Encoding"), "gzip" if gzip else None)
                equal(r.headers["Authorization"], "Bearer hush-hush")
                check("OTel-OTLP-Exporter-C/" in r.headers["User-Agent"])
            check("hush" not in json.dumps(x.log()))
        rx.close()


def test_metrics():
    rx = otlp.Receiver()
    with Exporter(rx.url, interval_ms=100) as x:
        equal(x.say("ops 1000"), "ok")

        def counted():
            return sum(p.count for p in rx.points("db.client.operation.duration")) == 1000
        wait_until(counted, "1000 operations counted")
        for p in rx.points("db.client.operation.duration"):
            equal(p.kind, "histogram")
            equal(p.unit, "s")
            equal(p.temporality, "AGGREGATION_TEMPORALITY_CUMULATIVE")
            equal(p.bounds, BOUNDS)
            equal(sum(p.buckets), p.count)
            equal(p.start, 1700000000 * 10**9)
            check(p.time > p.start)
            # operation i took (i + 1) us, the even ones are GETs
            want = sum(range(1 if p.attrs["db.operation.name"] == "GET" else 2, 1001, 2)) / 1e6
            check(abs(p.sum - want) < 1e-9, p.sum, want)
        (p,) = rx.points("purser.requests")
        equal((p.kind, p.monotonic, p.unit, p.value), ("sum", True, "{request}", 1000))
        (p,) = rx.points("purser.clients.connected")
        equal((p.kind, p.monotonic, p.value), ("sum", False, 0))
        (p,) = rx.points("process.memory.usage")
        check(p.value > 1 << 20)
        wait_until(lambda: any(p.value and p.value > 100 for p in
                               rx.points("otel.sdk.exporter.metric_data_point.exported")),
                   "the exporter's own metrics")
        x.quit()
    rx.close()


def test_batches():
    """A ring that is half full wakes the exporter, full batches go at once, the rest at the end."""
    rx = otlp.Receiver()
    with Exporter(rx.url, batch=100, delay_ms=3600000, ring=512) as x:
        for _ in range(5):
            x.spans(250)  # five times 250 do not fit into the ring: it is drained in between
            wait_until(lambda: x.value("otel_sdk_processor_span_queue_size") < 256, "the drain")
        x.quit()
        sizes = [len(otlp.spans_of(r.message)) for r in rx.accepted("traces")]
        equal(sum(sizes), 1250)
        check(all(n == 100 for n in sizes[:-1]), sizes)
    rx.close()


def test_retried():
    rx = otlp.Receiver()
    with Exporter(rx.url, timeout_ms=300) as x:
        for n, how in enumerate((otlp.Status(429), otlp.Status(502), otlp.Status(503),
                                 otlp.Status(504), otlp.Drop(), otlp.Junk(), otlp.Hang()), 1):
            before = len(rx.requests)
            rx.then(how)
            x.spans(10)
            settled(x, 10 * n)
            bodies = [r.raw for r in rx.requests[before:] if r.kind == "traces"]
            equal(len(bodies), 2, type(how).__name__)
            equal(bodies[0], bodies[1], "the same request again")
        equal(len(rx.spans()), 70)
        equal(x.status()["state"], "ok")
        check(x.value("otel_sdk_exporter_operation_duration_seconds_count", error_type="503") == 1)
        check(x.value("otel_sdk_exporter_operation_duration_seconds_count", error_type="timeout") == 1)
        x.quit()
        # libcurl itself tries once more when a connection that it used before was closed
        check(len(x.events("export.failed")) in (6, 7))
    rx.close()


def test_retry_after():
    rx = otlp.Receiver()
    with Exporter(rx.url) as x:
        rx.then(otlp.Status(503, retry_after=1))
        x.spans(5)
        settled(x, 5)
        first, second = [r.at for r in rx.requests if r.kind == "traces"]
        check(second - first >= 0.99, second - first)
        x.quit()
    rx.close()


def test_refused():
    rx = otlp.Receiver()
    with Exporter(rx.url) as x:
        body = b"\x08\x03\x12\x07go away"
        for n, code in enumerate((400, 401, 404, 413, 500, 501, 302), 1):
            rx.then(otlp.Status(code, body=body))
            x.spans(10)
            settled(x, 0, 10 * n)
            equal(x.status()["state"], "degraded")
            equal(x.status()["error"], f"HTTP {code}: go away")
            equal(x.value("otel_sdk_exporter_span_exported_total", error_type=code), 10)
        equal(x.value("purser_telemetry_dropped_total", purser_reason="refused"), 70)
        equal(x.value("purser_telemetry_state"), 2)
        equal(len([r for r in rx.requests if r.kind == "traces"]), 7, "never sent again")
        x.spans(10)
        settled(x, 10, 70)
        equal(x.status()["error"], "")
        x.quit()
    rx.close()


def test_partial():
    rx = otlp.Receiver()
    with Exporter(rx.url) as x:
        rx.then(otlp.Partial(3))
        x.spans(10)
        settled(x, 7, 3)
        rx.then(otlp.Partial(0, b"only a warning"))
        x.spans(10)
        settled(x, 17, 3)
        equal(len([r for r in rx.requests if r.kind == "traces"]), 2, "never sent again")
        equal(x.value("otel_sdk_exporter_span_exported_total", error_type="rejected"), 3)
        x.quit()
        said = [(e["rejected"], e["reason"]) for e in x.events("export.partial")]
        equal(said, [(3, "bad"), (0, "only a warning")])
    rx.close()


def test_away():
    """Nobody listens: queued within bounds, then dropped and said so; all that is left comes later."""
    rx = otlp.Receiver()
    port = rx.port
    rx.close()
    with Exporter(f"http://127.0.0.1:{port}", gzip=0, queue=10000) as x:
        x.spans(10)
        wait_until(lambda: x.status()["failed"] >= 5, "five failures")
        equal(x.status()["state"], "degraded")
        equal(x.status()["lost_spans"], 0)
        sent = 10
        while x.status()["state"] != "failed":
            x.spans(10)
            sent += 10
            check(x.status()["queue"] <= 10000)
        equal(x.value("purser_telemetry_state"), 3)
        wait_until(lambda: x.value("otel_sdk_processor_span_queue_size") == 0, "the ring is empty")
        rx = otlp.Receiver(port=port)
        wait_until(lambda: x.status()["spans"] + x.status()["lost_spans"] == sent, "the rest")
        equal(len(rx.spans()), x.status()["spans"])
        check(x.status()["lost_spans"] > 0)
        equal(x.value("purser_telemetry_dropped_total", purser_reason="queue_full"),
              x.status()["lost_spans"])
        equal(x.status()["failed"], 0)
        x.quit()
        check(x.events("export.dropped") and x.events("export.recovered"))
    rx.close()


def test_ring_full():
    rx = otlp.Receiver()
    with Exporter(rx.url, ring=64, delay_ms=3600000) as x:
        x.spans(100000)
        x.quit()
        got = len(rx.spans())
        check(64 <= got < 100000, got)
    rx.close()


def test_end():
    """What is left is sent at the end; a dead collector does not hold it up."""
    rx = otlp.Receiver()
    with Exporter(rx.url, delay_ms=3600000) as x:
        x.spans(50)
        x.quit()
        equal(len(rx.spans()), 50)
        equal(len(rx.accepted("metrics")), 1, "the last reading")
    rx.close()
    with Exporter(rx.url, delay_ms=3600000) as x:
        x.spans(50)
        x.quit()
        (e,) = [e for e in x.events("export.unsent") if e["signal"] == "traces"]
        equal(e["items"], 50)
    rx = otlp.Receiver()
    rx.always(otlp.Hang())
    with Exporter(rx.url, delay_ms=3600000, timeout_ms=0) as x:
        x.spans(50)
        x.quit(200)
    rx.close()


def test_apply():
    one, two = otlp.Receiver(), otlp.Receiver()
    one.always(otlp.Status(503))
    with Exporter(one.url) as x:
        x.spans(10)
        wait_until(lambda: x.status()["failed"] >= 2, "two failures")
        equal(x.say(f"apply url={two.url}"), "ok")
        settled(x, 10)  # what was queued for the one goes to the other
        equal(len(two.spans()), 10)
        equal(x.say("apply url="), "ok")
        equal(x.status()["state"], "disabled")
        equal(x.say(f"apply url={two.url}"), "ok")
        x.spans(10)
        settled(x, 20)
        x.quit()
    one.close()
    two.close()


def test_unix():
    path = os.path.join(harness.tmp(), "collector.sock")
    rx = otlp.Receiver(unix=path)
    with Exporter(rx.url, unix=path) as x:
        x.spans(10)
        settled(x, 10)
        equal(len(rx.spans()), 10)
        x.quit()
    rx.close()


def test_prometheus():
    rx = otlp.Receiver()
    with Exporter(rx.url, interval_ms=100) as x:
        x.spans(100)
        x.spans(5, "OOM no more")
        settled(x, 105)
        text = "\n".join(x.prom()) + "\n"
        if shutil.which("promtool"):
            p = subprocess.run(["promtool", "check", "metrics"], input=text.encode(), check=False,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            equal((p.returncode, p.stdout), (0, b""), "promtool")
        check('target_info{service_name="exporter-test"' in text)
        equal(x.value("otel_sdk_span_started_total", otel_span_sampling_result="RECORD_AND_SAMPLE"), 105)
        equal(x.value("otel_sdk_processor_span_processed_total"), 105)
        equal(x.value("purser_requests_total", error_type="OOM"), 5)
        x.quit()
    rx.close()


def main():
    if not otlp.have_protoc():
        harness.skip("protoc is not installed")
    for name, test in sorted(globals().items()):
        if name.startswith("test_"):
            print(name, flush=True)
            test()


harness.run(main)
