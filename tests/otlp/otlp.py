# SPDX-License-Identifier: Apache-2.0
"""A collector for tests: takes OTLP over HTTP, decodes it with protoc and the official definitions,
and misbehaves when told to.

    rx = Receiver()                      # rx.url is its base URL
    rx.then(Status(503, retry_after=1))  # the answer to the next request; then normal again
    rx.always(Hang())                    # until rx.always(None)
    rx.wait(lambda: rx.spans())          # polls; raises after the limit
"""
import gzip
import http.server
import os
import shutil
import socket
import socketserver
import struct
import subprocess
import threading
import time

PROTO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "proto")
KINDS = {
    "traces": ("trace", "Trace"),
    "metrics": ("metrics", "Metrics"),
    "logs": ("logs", "Logs"),
}


def have_protoc():
    return shutil.which("protoc") is not None


# ---- protobuf's text form -> dicts of lists ------------------------------------------------------------


def _tokens(text):
    i, n = 0, len(text)
    while i < n:
        c = text[i]
        if c.isspace():
            i += 1
        elif c in "{}:":
            yield c
            i += 1
        elif c == '"':
            j = i + 1
            while text[j] != '"':
                j += 2 if text[j] == "\\" else 1
            yield text[i:j + 1]
            i = j + 1
        else:
            j = i
            while j < n and not text[j].isspace() and text[j] not in "{}:":
                j += 1
            yield text[i:j]
            i = j


_ESCAPES = {"n": 10, "r": 13, "t": 9, '"': 34, "'": 39, "\\": 92}


def _unquote(s):
    out, i = bytearray(), 1
    while i < len(s) - 1:
        if s[i] != "\\":
            out += s[i].encode("utf-8")
            i += 1
        elif s[i + 1] in _ESCAPES:
            out.append(_ESCAPES[s[i + 1]])
            i += 2
        else:
            out.append(int(s[i + 1:i + 4], 8))
            i += 4
    return bytes(out)


def _scalar(t):
    if t.startswith('"'):
        return _unquote(t)
    if t in ("true", "false"):
        return t == "true"
    try:
        return int(t)
    except ValueError:
        pass
    try:
        return float(t)
    except ValueError:
        return t


def parse_text(text):
    """{"field": [value, ...]}; messages are dicts, strings are bytes."""
    root = {}
    stack = [root]
    tokens = _tokens(text)
    for name in tokens:
        if name == "}":
            stack.pop()
            continue
        assert not name.isdigit(), f"field {name} is not in the official definitions"
        sep = next(tokens)
        if sep == "{":
            msg = {}
            stack[-1].setdefault(name, []).append(msg)
            stack.append(msg)
        else:
            assert sep == ":", (name, sep)
            stack[-1].setdefault(name, []).append(_scalar(next(tokens)))
    assert len(stack) == 1
    return root


def decode(kind, body):
    room, word = KINDS[kind]
    msg = f"opentelemetry.proto.collector.{room}.v1.Export{word}ServiceRequest"
    path = f"opentelemetry/proto/collector/{room}/v1/{room}_service.proto"
    p = subprocess.run(["protoc", "-I", PROTO, "--decode=" + msg, path], input=body,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if p.returncode:
        raise AssertionError("protoc: " + p.stderr.decode())
    return parse_text(p.stdout.decode())


def value_of(any_value):
    for key, conv in (("string_value", bytes.decode), ("int_value", int), ("bool_value", bool),
                      ("double_value", float)):
        if key in any_value:
            return conv(any_value[key][0])
    raise AssertionError(f"no value: {any_value}")


def attributes(msg):
    out = {}
    for kv in msg.get("attributes", []):
        key = kv["key"][0].decode()
        assert key not in out, "attribute twice: " + key
        out[key] = value_of(kv["value"][0])
    return out


class Point:
    """One data point with what is around it."""

    def __init__(self, metric, kind, data, point):
        self.name = metric["name"][0].decode()
        self.unit = metric.get("unit", [b""])[0].decode()
        self.kind = kind
        self.monotonic = bool(data.get("is_monotonic", [False])[0])
        self.temporality = data.get("aggregation_temporality", [None])[0]
        self.attrs = attributes(point)
        self.start = point.get("start_time_unix_nano", [0])[0]
        self.time = point["time_unix_nano"][0]
        self.raw = point
        self.count = point.get("count", [0])[0]
        self.sum = point.get("sum", [0])[0]
        self.buckets = point.get("bucket_counts", [])
        self.bounds = point.get("explicit_bounds", [])
        self.value = None
        for key in ("as_int", "as_double"):
            if key in point:
                self.value = point[key][0]

    def __repr__(self):
        return f"{self.name}{self.attrs}={self.value if self.kind != 'histogram' else self.count}"


def points_of(request):
    out = []
    for rm in request.get("resource_metrics", []):
        for sm in rm.get("scope_metrics", []):
            for metric in sm.get("metrics", []):
                kinds = [k for k in ("gauge", "sum", "histogram") if k in metric]
                assert len(kinds) == 1, metric
                data = metric[kinds[0]][0]
                for p in data.get("data_points", []):
                    out.append(Point(metric, kinds[0], data, p))
    return out


def spans_of(request):
    out = []
    for rs in request.get("resource_spans", []):
        for ss in rs.get("scope_spans", []):
            out += ss.get("spans", [])
    return out


def logs_of(request):
    out = []
    for rl in request.get("resource_logs", []):
        for sl in rl.get("scope_logs", []):
            out += sl.get("log_records", [])
    return out


# ---- behaviours ------------------------------------------------------------------------------------------


class Status:
    def __init__(self, code, retry_after=None, body=b""):
        self.code, self.retry_after, self.body = code, retry_after, body


class Partial:
    """200, and so many items rejected."""

    def __init__(self, rejected, message=b"bad"):
        inner = b"\x08" + bytes([rejected]) + b"\x12" + bytes([len(message)]) + message
        self.body = b"\x0a" + bytes([len(inner)]) + inner


class Hang:
    """Takes the request and never answers."""


class Drop:
    """Takes the request and closes."""


class Junk:
    """Answers what is not HTTP."""


class Slow:
    def __init__(self, seconds):
        self.seconds = seconds


class Request:
    def __init__(self, path, headers, raw):
        self.path, self.headers, self.raw = path, headers, raw
        self.kind = path.rsplit("/", 1)[-1]
        self.at = time.monotonic()
        self.answer = None
        self._decoded = None

    @property
    def body(self):
        if self.headers.get("Content-Encoding") == "gzip":
            return gzip.decompress(self.raw)
        return self.raw

    @property
    def message(self):
        if self._decoded is None:
            self._decoded = decode(self.kind, self.body)
        return self._decoded


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def address_string(self):
        return "peer"

    def do_POST(self):
        rx = self.server.receiver
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        req = Request(self.path, self.headers, raw)
        how = rx._behaviour(req)
        req.answer = how
        with rx._lock:
            rx.requests.append(req)
        if isinstance(how, Slow):
            rx._closing.wait(how.seconds)
            how = None
        if isinstance(how, Hang):
            rx._closing.wait()
            self.close_connection = True
            return
        if isinstance(how, (Drop, Junk)):
            if isinstance(how, Junk):
                self.wfile.write(b"\x00\x01\x02 this is not HTTP\r\n\r\n")
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        code, body, after = 200, b"", None
        if isinstance(how, Status):
            code, body, after = how.code, how.body, how.retry_after
        elif isinstance(how, Partial):
            body = how.body
        self.send_response(code)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        if after is not None:
            self.send_header("Retry-After", str(after))
        self.end_headers()
        self.wfile.write(body)


class _Quiet:
    daemon_threads = True

    def process_request(self, request, client_address):
        self.receiver._connections.append(request)
        super().process_request(request, client_address)

    def handle_error(self, request, client_address):
        """A client that went away is what some tests are about."""


class _Tcp(_Quiet, http.server.ThreadingHTTPServer):
    allow_reuse_address = True


class _Unix(_Quiet, socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    pass


class Receiver:
    def __init__(self, port=0, unix=None):
        self.requests = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._next = []
        self._always = None
        self._connections = []
        if unix:
            self._server = _Unix(unix, _Handler)
            self.url = "http://localhost"
        else:
            self._server = _Tcp(("127.0.0.1", port), _Handler)
            self.port = self._server.server_address[1]
            self.url = f"http://127.0.0.1:{self.port}"
        self._server.receiver = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        for c in self._connections:  # or those that are kept would go on being served
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def then(self, *how):
        with self._lock:
            self._next += how

    def always(self, how):
        with self._lock:
            self._always = how

    def _behaviour(self, req):
        with self._lock:
            return self._next.pop(0) if self._next else self._always

    def accepted(self, kind):
        """Requests that were answered with 2xx."""
        with self._lock:
            return [r for r in self.requests if r.kind == kind and
                    (r.answer is None or isinstance(r.answer, (Partial, Slow)))]

    def spans(self):
        return [s for r in self.accepted("traces") for s in spans_of(r.message)]

    def logs(self):
        return [r for q in self.accepted("logs") for r in logs_of(q.message)]

    def points(self, name=None):
        """Of the latest request of metrics."""
        got = self.accepted("metrics")
        pts = points_of(got[-1].message) if got else []
        return [p for p in pts if name is None or p.name == name]

    @staticmethod
    def wait(fn, what="", limit=30):
        end = time.monotonic() + limit
        while True:
            got = fn()
            if got:
                return got
            if time.monotonic() > end:
                raise AssertionError("waited in vain for " + (what or fn.__name__))
            time.sleep(0.02)


def double(bits):
    return struct.unpack("<d", struct.pack("<Q", bits))[0]
