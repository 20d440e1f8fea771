#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""OTLP as JSON over HTTP, as gRPC, over a Unix socket, and as lines on standard output: the same telemetry as protobuf over
HTTP, and the same manners towards a collector that refuses, rejects or is away."""
import concurrent.futures
import gzip
import json
import os
import re
import subprocess
import threading

import harness
from harness import check, equal, wait_until
from otlp import otlp

try:
    import grpc
except ImportError:
    grpc = None

BASE = {"backend main.plugin": "memory", "otlp.span_delay": "50ms", "otlp.log_delay": "50ms", "otlp.metric_interval": "100ms",
        "otlp.sample_ratio": "1", "otlp.spans_per_second": "0", "log.format": "json"}
NUMBERS = {"SPAN_KIND_INTERNAL": 1, "SPAN_KIND_SERVER": 2, "SPAN_KIND_CLIENT": 3, "STATUS_CODE_ERROR": 2,
           "AGGREGATION_TEMPORALITY_CUMULATIVE": 2, "SEVERITY_NUMBER_INFO": 9, "SEVERITY_NUMBER_WARN": 13,
           "SEVERITY_NUMBER_DEBUG": 5}


def load(p):
    with p.client() as c:
        c.pipeline([("SET", "k", "v"), ("GET", "k"), ("HGET", "k", "f"), ("MULTI",), ("GET", "k"), ("GET", "k"), ("EXEC",)])
        c.error("AUTH", b"\xffnobody", "wrong")


# ---- JSON as protoc would have said it --------------------------------------------------------------------------


def plain(message):
    """A message of protoc's text: numbers for names, and only what counts."""
    out = {}
    for name, values in message.items():
        out[name] = [plain(v) if isinstance(v, dict) else NUMBERS.get(v, v) if isinstance(v, str) else v for v in values]
    return out


SNAKE = re.compile(r"([A-Z])")
IDS = {"traceId", "spanId", "parentSpanId"}
INTEGERS = {"intValue", "startTimeUnixNano", "endTimeUnixNano", "timeUnixNano", "observedTimeUnixNano", "count", "asInt",
            "bucketCounts", "zeroCount"}


def scalar(name, v):
    if name in INTEGERS:
        check(isinstance(v, str), f"{name} is no string: {v!r}")
        return int(v)
    if name in IDS:
        check(re.fullmatch(r"[0-9a-f]+", v), v)
        return bytes.fromhex(v)
    return v.encode() if isinstance(v, str) else v


def from_json(message):
    out = {}
    for name, v in message.items():
        values = v if isinstance(v, list) else [v]
        out[SNAKE.sub(lambda m: "_" + m.group(1).lower(), name)] = [
            from_json(x) if isinstance(x, dict) else scalar(name, x) for x in values]
    return out


def kind_of(message):
    return {"resource_spans": "traces", "resource_metrics": "metrics", "resource_logs": "logs"}[next(iter(message))]


def floats(x):
    """The text of protoc has fewer digits than JSON."""
    if isinstance(x, dict):
        return {k: [floats(v) for v in vs] for k, vs in x.items()}
    return float(f"{x:.6g}") if isinstance(x, float) else x


def same(got, want, where):
    if isinstance(want, dict) and isinstance(got, dict):
        # protoc says nothing of a zero that is not optional
        equal(sorted(k for k in got if k in want or got[k] not in ([0], [b""])), sorted(want), where)
        for k in want:
            same(got[k], want[k], f"{where}.{k}")
    elif isinstance(want, list) and isinstance(got, list):
        equal(len(got), len(want), where)
        for i, (a, b) in enumerate(zip(got, want)):
            same(a, b, f"{where}[{i}]")
    else:
        equal(got, want, where)


def test_console():
    """Beside a collector: line by line the same requests."""
    rx = otlp.Receiver()
    p = harness.Purserd(dict(BASE, **{"otlp.endpoint": rx.url, "log.level": "debug"}), args=("--telemetry=stdout",),
                        name="console")
    out = os.path.join(harness.tmp(), "console.out")
    with open(out, "wb") as f:
        p.process = subprocess.Popen(p.argv(), stdin=subprocess.DEVNULL, stdout=f, stderr=open(p.log_path, "wb"), env=p.env())
    wait_until(lambda: os.path.exists(p.sock), "the socket", 30)
    load(p)
    wait_until(lambda: rx.spans() and rx.logs() and rx.accepted("metrics"), "all three signals", 30)
    p.process.terminate()
    equal(p.process.wait(30), 0)
    lines = [from_json(json.loads(line)) for line in open(out, encoding="utf-8")]
    seen = set()
    for kind in ("traces", "metrics", "logs"):
        printed = [floats(m) for m in lines if kind_of(m) == kind]
        sent = [floats(plain(r.message)) for r in rx.accepted(kind)]
        check(sent and len(printed) >= len(sent), kind)
        same(printed[:len(sent)], sent, kind)
        seen.add(kind)
    equal(len(seen), 3)
    rx.close()


# ---- JSON to a collector ---------------------------------------------------------------------------------------


def bodies(rx, kind):
    return [json.loads(r.body) for r in rx.accepted(kind)]


def test_json():
    for compression in ("gzip", "none"):
        rx = otlp.Receiver()
        rx.then(otlp.Status(503, retry_after=1))
        with harness.Purserd(dict(BASE, **{"otlp.endpoint": rx.url, "otlp.protocol": "http/json",
                                           "otlp.compression": compression}), name="json-" + compression) as p:
            load(p)
            wait_until(lambda: bodies(rx, "traces") and bodies(rx, "logs") and bodies(rx, "metrics"), "all three", 30)
            for r in rx.requests:
                equal(r.headers["Content-Type"], "application/json")
                equal(r.headers.get("Content-Encoding"), "gzip" if compression == "gzip" else None)
            spans = [s for b in bodies(rx, "traces") for s in b["resourceSpans"][0]["scopeSpans"][0]["spans"]]
            equal(sorted(s["name"] for s in spans), ["GET", "HGET", "MULTI", "SET"])
            check(all(len(s["traceId"]) == 32 and len(s["spanId"]) == 16 and s["startTimeUnixNano"].isdigit() for s in spans))
        rx.close()


class Answer(otlp.Partial):
    def __init__(self, text):
        super().__init__(0)
        self.body = text.encode()


def dropped(p, reason):
    total = 0
    for line in p.http("GET", "/metrics").body.decode().splitlines():
        if line.startswith("purser_telemetry_dropped_total{") and f'"{reason}"' in line:
            total += float(line.rsplit(" ", 1)[1])
    return total


def test_json_partial():
    rx = otlp.Receiver()
    with harness.Purserd(dict(BASE, **{"otlp.endpoint": rx.url, "otlp.protocol": "http/json", "otlp.metrics": "no",
                                       "otlp.logs": "no"}), name="partial") as p:
        rx.then(Answer('{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too \\"odd\\""}}'))
        load(p)
        wait_until(lambda: dropped(p, "rejected") == 3, "the rejected are counted", 30)
        check('too \\"odd\\"' in p.log())
    rx.close()


def test_unix():
    path = os.path.join(harness.tmp(), "collector.sock")
    rx = otlp.Receiver(unix=path)
    with harness.Purserd(dict(BASE, **{"otlp.endpoint": "unix://" + path}), name="unix") as p:
        load(p)
        wait_until(lambda: rx.spans() and rx.logs() and rx.accepted("metrics"), "all three", 30)
        equal({r.path for r in rx.requests}, {"/v1/traces", "/v1/metrics", "/v1/logs"})
    rx.close()


# ---- gRPC --------------------------------------------------------------------------------------------------------


class Abort(Exception):
    pass


class Grpc:
    """A collector on gRPC: requests as bytes, by signal."""

    def __init__(self):
        self.lock = threading.Lock()
        self.got, self.answers, self.metadata, self.calls = {"traces": [], "metrics": [], "logs": []}, [], [], 0
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        handlers = []
        for kind, word in (("traces", "trace"), ("metrics", "metrics"), ("logs", "logs")):
            service = f"opentelemetry.proto.collector.{word}.v1.{word.capitalize()}Service"
            handlers.append(grpc.method_handlers_generic_handler(service, {
                "Export": grpc.unary_unary_rpc_method_handler(self.taker(kind))}))
        self.server.add_generic_rpc_handlers(tuple(handlers))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.url = f"http://127.0.0.1:{self.port}"

    def taker(self, kind):
        def take(request, context):
            with self.lock:
                self.calls += 1
                answer = self.answers.pop(0) if self.answers else b""
                self.metadata.append(dict(context.invocation_metadata()))
                if not isinstance(answer, tuple):
                    self.got[kind].append(request)
                    return answer
            code, text, details = answer
            if details:
                context.set_trailing_metadata((("grpc-status-details-bin", details),))
            context.abort(code, text)
        return take

    def messages(self, kind):
        with self.lock:
            got = list(self.got[kind])
        return [otlp.decode(kind, m) for m in got]

    def spans(self):
        return [s for m in self.messages("traces") for s in otlp.spans_of(m)]

    def close(self):
        self.server.stop(None)


def retry_info(seconds):
    inner = b"\x0a\x02\x08" + bytes([seconds])
    url = b"type.googleapis.com/google.rpc.RetryInfo"
    part = b"\x0a" + bytes([len(url)]) + url + b"\x12" + bytes([len(inner)]) + inner
    return b"\x08\x08\x1a" + bytes([len(part)]) + part


def grpc_settings(rx, **more):
    return dict(BASE, **{"otlp.endpoint": rx.url, "otlp.protocol": "grpc"}, **more)


def test_grpc():
    for compression in ("gzip", "none"):
        rx = Grpc()
        with harness.Purserd(grpc_settings(rx, **{"otlp.compression": compression}), name="grpc-" + compression,
                             env={"OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=shop"}) as p:
            load(p)
            wait_until(lambda: rx.spans() and rx.messages("logs") and rx.messages("metrics"), "all three", 30)
            equal(sorted(s["name"][0].decode() for s in rx.spans()), ["GET", "HGET", "MULTI", "SET"])
            check(all(m["x-tenant"] == "shop" for m in rx.metadata))
            equal(p.http("GET", "/redis/status").json()["telemetry"]["status"], "ok")
        rx.close()


def test_grpc_refusals():
    rx = Grpc()
    with harness.Purserd(grpc_settings(rx, **{"otlp.metrics": "no", "otlp.logs": "no"}), name="grpc-refuses") as p:
        code = grpc.StatusCode
        rx.answers += [(code.UNAVAILABLE, "soon", None), (code.RESOURCE_EXHAUSTED, "slower", retry_info(1)),
                       (code.DEADLINE_EXCEEDED, "late", None)]
        load(p)
        wait_until(lambda: len(rx.spans()) == 4, "they are sent again", 60)
        equal(rx.calls, 4)
        check("soon" in p.log() and "slower" in p.log())
        equal(dropped(p, "refused"), 0)
        for n, answer in enumerate(((code.INVALID_ARGUMENT, "no, 100% not", None), (code.RESOURCE_EXHAUSTED, "full", None))):
            rx.answers.append(answer)
            load(p)
            wait_until(lambda: dropped(p, "refused") == 4 * (n + 1), "they are not sent again", 30)
        check("no, 100% not" in p.log())
        rx.answers.append(b"\x0a\x07\x08\x02\x12\x03bad")
        load(p)
        wait_until(lambda: dropped(p, "rejected") == 2, "a partial success", 30)
    rx.close()


def test_grpc_wrong_server():
    """HTTP/1.1 where gRPC is expected, and nobody: kept, said, no harm."""
    rx = otlp.Receiver()
    with harness.Purserd(grpc_settings(rx), name="grpc-wrong") as p:
        load(p)
        p.wait_log(r'"event":"export.failed"', 30)
        equal(p.client().cmd("GET", "k"), b"v")
    rx.close()


def main():
    if not otlp.have_protoc():
        harness.skip("protoc is not installed")
    for name, test in list(globals().items()):
        if name.startswith("test_") and (grpc or "grpc" not in name):
            print(name, flush=True)
            test()
    if not grpc:
        harness.skip("python3-grpcio is not installed: gRPC was not tried")


harness.run(main)
