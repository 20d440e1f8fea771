# SPDX-License-Identifier: Apache-2.0
"""HTTP on the agent's socket, end to end, on both backends: the routes, what is refused, pipelines,
large and binary values, keep-alive, and what a client is told when the backend goes away."""

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import threading

import harness
from harness import check, equal

HOST = "Host: purser\r\n"


class Raw:
    """An HTTP connection that says exactly what it is told to."""

    def __init__(self, address):
        self.s = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX)
        self.s.settimeout(30 * harness.SLOW)
        self.s.connect(address)
        self.f = self.s.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.f.close()
        self.s.close()

    def send(self, data, step=None):
        data = data.encode() if isinstance(data, str) else data
        for i in range(0, len(data), step or max(1, len(data))):
            self.s.sendall(data[i:i + step] if step else data)

    def read(self, head_only=False):
        """(status, headers, body), or None when the connection is closed."""
        line = self.f.readline()
        if not line:
            return None
        check(re.fullmatch(rb"HTTP/1\.1 \d{3} [A-Za-z ]+\r\n", line), f"not a status line: {line!r}")
        status, headers = int(line[9:12]), {}
        while (line := self.f.readline()) != b"\r\n":
            check(line.endswith(b"\r\n"), f"not a header line: {line!r}")
            name, value = line[:-2].decode().split(": ", 1)
            check(name.lower() not in headers, f"{name} twice")
            headers[name.lower()] = value
        body = b""
        if status == 100 or head_only:
            return status, headers, body
        if headers.get("transfer-encoding") == "chunked":
            while n := int(self.f.readline(), 16):
                body += self.f.read(n)
                equal(self.f.read(2), b"\r\n")
            equal(self.f.read(2), b"\r\n")
        elif "content-length" in headers:
            body = self.f.read(int(headers["content-length"]))
        else:
            body = self.f.read()
        return status, headers, body

    def ask(self, text, step=None):
        self.send(text, step)
        return self.read()

    def json(self, text):
        status, _, body = self.ask(text)
        return status, json.loads(body)


def request(method, target, body=None, headers=""):
    if body is None:
        return f"{method} {target} HTTP/1.1\r\n{HOST}{headers}\r\n".encode()
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"{method} {target} HTTP/1.1\r\n{HOST}{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def problem(reply, status, code, words=""):
    got, headers, body = reply
    doc = json.loads(body)
    check((got, doc["status"], doc["code"]) == (status, status, code), f"want {status} {code}, got {reply}")
    equal(headers["content-type"], "application/problem+json")
    check(set(doc) == {"type", "title", "status", "code", "detail", "retryable"} and words in doc["detail"], doc)


def routes(path):
    with Raw(path) as c:
        equal(c.ask(request("GET", "/healthz"))[2], b"ok\n")
        harness.wait_until(lambda: c.ask(request("GET", "/readyz"))[2] == b"ok\n", "the first check of the backend")
        status, headers, body = c.ask(request("GET", "/redis/status", headers="X-Request-Id: r-1\r\n"))
        equal((status, headers["content-type"], headers["x-request-id"]), (200, "application/json", "r-1"))
        doc = json.loads(body)
        check({"status", "timestamp", "service", "factory", "test_operations", "memory"} <= set(doc), doc)
        equal(doc["status"], "healthy")
        status, headers, body = c.ask(request("GET", "/metrics"))
        equal((status, headers["content-type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        check(b"\n# TYPE " in body and body.endswith(b"\n"), body[:100])
        status, plugins = c.json(request("GET", "/v1/plugins"))
        check(status == 200 and all(p["name"] and p["capabilities"] for p in plugins), plugins)
        # HEAD is GET without a body
        c.send(request("HEAD", "/healthz") + request("GET", "/healthz"))
        status, headers, _ = c.read(head_only=True)
        equal((status, headers["content-length"]), (200, "3"))
        equal(c.read()[2], b"ok\n")
        # every path of the description is there
        status, doc = c.json(request("GET", "/openapi.json"))
        equal((status, doc["openapi"]), (200, "3.1.0"))
        for target, item in doc["paths"].items():
            status, headers, _ = c.ask(request("OPTIONS", target))
            equal(status, 405)
            methods = {m.strip() for m in headers["allow"].split(",")} - {"HEAD"}
            others = [o for o in doc["paths"] if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(o)), target)]
            check(target in others, target)
            equal(methods, {m.upper() for o in others for m in doc["paths"][o]}, target)
        problem(c.ask(request("GET", "/redis/kvv")), 404, "BADREQUEST", "near it: /redis/kv")


def key_values(path):
    with Raw(path) as c:
        equal(c.json(request("POST", "/redis/kv", {"key": "k", "value": "värde", "expire": 100})),
              (200, {"key": "k", "stored": True}))
        status, doc = c.json(request("GET", "/redis/kv?key=k"))
        check(status == 200 and doc["key"] == "k" and doc["value"] == "värde" and 0 < doc["ttl_ms"] <= 100000, doc)
        equal(set(doc), {"key", "value", "ttl_ms"})
        c.json(request("POST", "/redis/kv", b'{"key":"k","value":{ "b" : [1.10, 2],\n "a": "x y"},"expire_ms":5000}'))
        status, doc = c.json(request("GET", "/redis/kv?key=k"))
        check(doc["value"] == '{"b":[1.10,2],"a":"x y"}' and doc["ttl_ms"] <= 5000, doc)
        # without expire it stays
        c.json(request("POST", "/redis/kv", {"key": "k", "value": 1}))
        equal(c.json(request("GET", "/redis/kv?key=k"))[1], {"key": "k", "value": "1", "ttl_ms": None})
        equal(c.json(request("GET", "/redis/kv?key=k&encoding=base64"))[1],
              {"key": "k", "value": "MQ==", "encoding": "base64", "ttl_ms": None})
        # any bytes
        blob, name = bytes(range(256)), b"\x00\xff k+%&="
        b64 = {"base64": base64.b64encode(name).decode()}
        equal(c.json(request("POST", "/redis/kv", {"key": b64, "value": base64.b64encode(blob).decode(),
                                                  "encoding": "base64"}))[0], 200)
        escaped = "".join(f"%{x:02x}" for x in name)
        status, doc = c.json(request("GET", f"/redis/kv?key={escaped}"))
        equal(base64.b64decode(doc["key"]["value"]), name)
        equal((base64.b64decode(doc["value"]), doc["encoding"]), (blob, "base64"))
        equal(c.json(request("DELETE", f"/redis/kv?key={escaped}"))[1]["deleted"], True)
        equal(c.json(request("DELETE", f"/redis/kv?key={escaped}"))[1]["deleted"], False)
        problem(c.ask(request("GET", f"/redis/kv?key={escaped}")), 404, "NOKEY")
        c.json(request("POST", "/v1/command", ["HSET", "h", "f", "v"]))
        problem(c.ask(request("GET", "/redis/kv?key=h")), 422, "WRONGTYPE", "wrong kind of value")
        problem(c.ask(request("POST", "/redis/kv", b'{"key":"k","value":1,"expire":-1}')), 400, "BADREQUEST",
                "line 1, column 31")
        equal(c.json(request("DELETE", "/redis/kv?key=h"))[0], 200)
        equal(c.json(request("DELETE", "/redis/kv?key=k"))[0], 200)


def commands(path):
    with Raw(path) as c:
        def ask(body, target="/v1/command"):
            status, doc = c.json(request("POST", target, body))
            equal(status, 200, doc)
            return doc
        equal(ask(["PING"]), {"result": "PONG"})
        equal(ask(["SET", "c:n", 41]), {"result": "OK"})
        equal(ask(["INCRBYFLOAT", "c:n", 1.5]), {"result": "42.5"})
        equal(ask(["GET", "c:none"]), {"result": None})
        ask(["HSET", "c:h", "a", 1, "b", {"base64": "/w=="}])
        equal(ask(["HGETALL", "c:h"]), {"result": {"a": "1", "b": {"encoding": "base64", "value": "/w=="}}})
        equal(ask(["HGETALL", "c:h"], "/v1/command?encoding=base64")["result"]["a"],
              {"encoding": "base64", "value": "MQ=="})
        equal(sorted(ask(["KEYS", "c:*"])["result"]), ["c:h", "c:n"])
        problem(c.ask(request("POST", "/v1/command", ["INCR", "c:h"])), 422, "WRONGTYPE")
        problem(c.ask(request("POST", "/v1/command", ["NOSUCH", "x"])), 422, "ERR", "unknown command")
        problem(c.ask(request("POST", "/v1/command", ["GET"])), 422, "ERR", "wrong number of arguments")
        # a pipeline: in order, each for itself, more than run at once; steps over the key space as well
        many = [x for i in range(100) for x in (["SET", f"c:{i}", i], ["GET", f"c:{i}"])]
        equal(ask(many), [{"result": x} for i in range(100) for x in ("OK", str(i))])
        got = ask([["SET", "c:x", "1"], ["INCR", "c:h"], ["DBSIZE"], ["PING"], ["NOSUCH"], ["GET", "c:x"]])
        check([list(g)[0] for g in got] == ["result", "error", "result", "result", "error", "result"] and
              got[1]["error"].startswith("WRONGTYPE ") and got[2]["result"] == 103 and got[5]["result"] == "1", got)
        # what a command does to the connection ends with its request
        equal(ask([["SELECT", "0"], ["HELLO", "2"], ["CLIENT", "REPLY", "OFF"], ["PING"]])[3], {"result": None})
        equal(ask(["PING"]), {"result": "PONG"})
        equal(ask(["HGETALL", "c:h"])["result"]["a"], "1")
        equal(ask(["UNLINK"] + [f"c:{i}" for i in range(100)] + ["c:h", "c:n", "c:x"]), {"result": 103})
        # QUIT is answered, then the connection ends
        equal(ask(["QUIT"]), {"result": "OK"})
        equal(c.read(), None)


def projects(path):
    with Raw(path) as c:
        for name in ("shop", "blog"):
            c.json(request("POST", "/redis/kv", {"key": "p", "value": name}, f"Purser-Project: {name}\r\n"))
        for name in ("shop", "blog"):
            equal(c.json(request("GET", "/redis/kv?key=p", headers=f"purser-project: {name}\r\n"))[1]["value"], name)
            equal(c.json(request("POST", "/v1/command", ["KEYS", "*"], f"Purser-Project: {name}\r\n"))[1],
                  {"result": ["p"]})
        # the header holds for its request only
        problem(c.ask(request("GET", "/redis/kv?key=p")), 400, "NOPROJECT")
        equal(c.ask(request("GET", "/healthz"))[0], 200)
        problem(c.ask(request("GET", "/redis/kv?key=p", headers="Purser-Project: nowhere\r\n")), 400, "NOPROJECT")
        for name in ("shop", "blog"):
            c.json(request("DELETE", "/redis/kv?key=p", headers=f"Purser-Project: {name}\r\n"))


# The first line must be one that the socket knows as HTTP; the rest is what is wrong.
REFUSED = [
    ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello", 400),
    ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ("POST / HTTP/1.1\r\nHost: x\r\nExpect: magic\r\n\r\n", 417),
    ("F@O / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("GET http://purser/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("CONNECT purser:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("GET /  HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("GET / HTTP/1.5\r\nHost: x\r\n\r\n", 505),
    ("GET / HTTP/1.1\nHost: x\n\n", 400),
    ("GET / HTTP/1.1\r\nHost: x\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHo@st: x\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: x\r\nA: \x01\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: x\r\nA: " + "a" * 40000 + "\r\n\r\n", 431),
    ("GET / HTTP/1.1\r\nHost: x\r\n" + "A: b\r\n" * 200 + "\r\n", 431),
    ("GET /" + "a" * 40000 + " HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    ("POST /v1/command HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413),
    ("POST /v1/command HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
]


def refusals(path):
    for text, status in REFUSED:
        for step in (None, 1 if len(text) < 300 else 997):
            with Raw(path) as c:
                try:
                    c.send(text, step)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # it was refused before all was sent
                got, headers, body = c.read()
                doc = json.loads(body)
                check(got == status == doc["status"] and headers["connection"] == "close",
                      f"{text[:80]!r}: want {status}, got {got} {doc}")
                try:
                    equal(c.f.read(), b"")
                except ConnectionResetError:
                    pass  # closed with bytes of ours unread
    # What is wrong with a request alone leaves the connection.
    with Raw(path) as c:
        problem(c.ask(request("PUT", "/redis/kv")), 405, "BADREQUEST")
        problem(c.ask(request("GET", "/redis/kv?kee=x")), 400, "BADREQUEST", "has key encoding")
        problem(c.ask(request("POST", "/v1/command", b"[")), 400, "BADREQUEST", "line 1, column 2")
        problem(c.ask(request("POST", "/v1/command", b"<x/>", "Content-Type: text/xml\r\n")), 415, "BADREQUEST")
        equal(c.ask(request("GET", "/healthz"))[0], 200)


def connections(path):
    # Pipelined requests, in one write and byte by byte; every reply in its place.
    burst = b"".join(request("POST", "/v1/command", ["ECHO", str(i)]) + request("GET", "/redis/kv?key=none")
                     for i in range(50))
    for step in (None, 7):
        with Raw(path) as c:
            sender = threading.Thread(target=c.send, args=(burst, step))
            sender.start()
            for i in range(50):
                equal(json.loads(c.read()[2]), {"result": str(i)})
                equal(c.read()[0], 404)
            sender.join()
    # HTTP/1.0 closes unless asked not to; Connection: close closes.
    with Raw(path) as c:
        status, headers, _ = c.ask("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        equal((status, headers["connection"]), (200, "keep-alive"))
        status, headers, _ = c.ask("GET /healthz HTTP/1.0\r\n\r\n")
        equal((status, headers["connection"], c.read()), (200, "close", None))
    with Raw(path) as c:
        c.send(request("GET", "/healthz", headers="Connection: close\r\n") + request("GET", "/healthz"))
        equal((c.read()[0], c.read()), (200, None))
    # Bodies in chunks, and bodies that wait to be asked for.
    with Raw(path) as c:
        chunked = f"POST /v1/command HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n" \
            "5\r\n[\"ECH\r\n6;x=y\r\nO\",\"a\"\r\n1\r\n]\r\n0\r\nTrailer: t\r\n\r\n"
        for step in (None, 1):
            equal(json.loads(c.ask(chunked, step)[2]), {"result": "a"})
        body = b'["ECHO","b"]'
        c.send(f"POST /v1/command HTTP/1.1\r\n{HOST}Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n")
        equal(c.read()[0], 100)
        equal(json.loads(c.ask(body)[2]), {"result": "b"})
    # Half a request, then nothing: no answer, no harm.  The half-closed one is answered.
    with Raw(path) as c:
        c.send("GET /healthz HTTP/1.1\r\nHos")
    with Raw(path) as c:
        c.send(request("GET", "/redis/kv?key=none") + request("GET", "/healthz"))
        c.s.shutdown(socket.SHUT_WR)
        equal([c.read()[0], c.read()[0], c.read()], [404, 200, None])


def sizes(path):
    value = os.urandom(3 << 20)
    with Raw(path) as c:
        body = {"key": "big", "value": base64.b64encode(value).decode(), "encoding": "base64"}
        equal(c.json(request("POST", "/redis/kv", body))[0], 200)
        status, headers, body = c.ask(request("GET", "/redis/kv?key=big"))
        equal((status, headers["transfer-encoding"]), (200, "chunked"))
        doc = json.loads(body)
        check(base64.b64decode(doc["value"]) == value and doc["ttl_ms"] is None, "3 MiB are not what they were")
        # A large text is base64 too, and says so: it is not looked at as a whole.
        equal(c.json(request("POST", "/v1/command", ["SET", "big", "é" * (1 << 20)]))[0], 200)
        status, doc = c.json(request("GET", "/redis/kv?key=big"))
        equal((base64.b64decode(doc["value"]).decode(), doc["encoding"]), ("é" * (1 << 20), "base64"))
        # Several large values in a pipeline, in order.
        got = c.json(request("POST", "/v1/command", [["GET", "big"], ["ECHO", "x"], ["GET", "big"], ["PING"]]))[1]
        equal([len(got[0]["result"]["value"]), got[1], got[3]], [(2 << 20) // 3 * 4 + 4, {"result": "x"},
                                                                {"result": "PONG"}])
        # HTTP/1.0 gets it up to the connection's end.
        status, headers, body = c.ask("GET /redis/kv?key=big HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        check("transfer-encoding" not in headers and headers["connection"] == "close")
        equal(json.loads(body)["ttl_ms"], None)
    with Raw(path) as c:
        equal(c.json(request("DELETE", "/redis/kv?key=big"))[1]["deleted"], True)


def many_clients(path):
    wrong = []

    def one(n):
        try:
            with Raw(path) as c:
                for i in range(30):
                    c.json(request("POST", "/redis/kv", {"key": f"m:{n}", "value": f"{n}:{i}"}))
                    doc = c.json(request("GET", f"/redis/kv?key=m:{n}"))[1]
                    equal(doc["value"], f"{n}:{i}")
                c.json(request("DELETE", f"/redis/kv?key=m:{n}"))
        except Exception as e:  # noqa: BLE001 (told by the main thread)
            wrong.append(e)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not wrong, wrong[:3])


def curl_lines(path):
    """As the documentation has them."""
    if not shutil.which("curl"):
        return

    def curl(*args):
        p = subprocess.run(["curl", "-sS", "--unix-socket", path, *args], capture_output=True, text=True,
                           timeout=30 * harness.SLOW, check=False)
        check(p.returncode == 0 and not p.stderr, f"curl {args}: {p.stderr}")
        return p.stdout

    equal(curl("-d", '{"key":"k","value":"v","expire":60}', "http://purser/redis/kv"), '{"key":"k","stored":true}\n')
    equal(json.loads(curl("http://purser/redis/kv?key=k"))["value"], "v")
    equal(json.loads(curl("-G", "--data-urlencode", "key=k", "http://purser/redis/kv"))["value"], "v")
    equal(curl("-d", '["DEL","k"]', "http://purser/v1/command"), '{"result":1}\n')
    equal(json.loads(curl("-X", "DELETE", "http://purser/redis/kv?key=k"))["deleted"], False)
    equal(curl("-H", "Transfer-Encoding: chunked", "-d", '["PING"]', "http://purser/v1/command"),
          '{"result":"PONG"}\n')
    equal(curl("-I", "http://purser/healthz").splitlines()[0], "HTTP/1.1 200 OK")
    # a body for which curl asks first (above 1 MiB)
    with open(os.path.join(harness.tmp(), "body"), "w", encoding="utf-8") as f:
        json.dump(["STRLEN", "x" * (2 << 20)], f)
    equal(curl("-d", "@" + f.name, "http://purser/v1/command"), '{"result":0}\n')


def everything(path):
    for part in (routes, key_values, commands, refusals, connections, sizes, many_clients, curl_lines):
        part(path)
        print(f"ok {part.__name__}", flush=True)


def backend_goes(redis, p):
    """What a request gets while the store is stopped, and while it is away."""
    with Raw(p.sock) as c:
        equal(c.json(request("POST", "/redis/kv", {"key": "k", "value": "v"}))[0], 200)
        redis.pause()
        problem(c.ask(request("GET", "/redis/kv?key=k")), 504, "TIMEOUT")
        problem(c.ask(request("POST", "/redis/kv", {"key": "k", "value": "w"})), 504, "INDETERMINATE")
        redis.go_on()
        harness.wait_until(lambda: c.ask(request("GET", "/redis/kv?key=k"))[0] == 200, "redis to answer again")
        redis.kill()
        harness.wait_until(lambda: c.ask(request("GET", "/redis/kv?key=k"))[0] == 503, "the agent to see it")
        problem(c.ask(request("GET", "/redis/kv?key=k")), 503, "BACKENDDOWN")
        got = c.json(request("POST", "/v1/command", [["PING"], ["GET", "k"]]))[1]
        check(got[0] == {"result": "PONG"} and got[1]["error"].startswith("BACKENDDOWN "), got)
        equal(c.ask(request("GET", "/healthz"))[0], 200)
        redis.start()
        harness.wait_until(lambda: c.ask(request("GET", "/redis/kv?key=none"))[0] == 404, "redis to be found again", 30)


def over_tcp(p, port):
    with Raw(("127.0.0.1", port)) as c:
        for target in ("/healthz", "/readyz", "/metrics", "/redis/status", "/openapi.json"):
            equal(c.ask(request("GET", target))[0], 200, target)
        for ask in (request("GET", "/redis/kv?key=k"), request("DELETE", "/redis/kv?key=k"),
                    request("POST", "/redis/kv", {"key": "k", "value": 1}),
                    request("POST", "/v1/command", ["PING"])):
            status, headers, _ = c.ask(ask)
            equal((status, headers["www-authenticate"]), (401, 'Bearer realm="purser"'))
    with Raw(("127.0.0.1", port)) as c:  # no RESP there
        c.send("*1\r\n$4\r\nPING\r\n")
        equal(c.read()[0], 400)
    equal(p.client().cmd("PING"), "PONG")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def main():
    port = free_port()
    with harness.Purserd({"backend main.plugin": "memory", "agent.http_listen": f"127.0.0.1:{port}"}) as p:
        everything(p.sock)
        over_tcp(p, port)
        equal(p.client().cmd("DBSIZE"), 0)
    two = "[agent]\nmode = production\n[backend main]\nplugin = memory\n[project shop]\nbackend = main\n" \
        "[project blog]\nbackend = main\n[grant all]\nprojects = *\nallow_uid = *\nrole = operator\n"
    with harness.Purserd(config=two, name="projects") as p:
        projects(p.sock)
    if not shutil.which("redis-server"):
        print("redis-server is missing: only the memory plugin was tried")
        return
    with harness.Redis() as redis, harness.Purserd({"backend main.plugin": "redis", "backend main.url": redis.url,
                                                    "backend main.operation_timeout": "700ms",
                                                    "breaker.enabled": "no"}, name="onredis") as p:
        everything(p.sock)
        backend_goes(redis, p)


harness.run(main)
