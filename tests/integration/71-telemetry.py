#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""purserd and a collector: spans and metrics as the conventions say, exact counts, and a collector that
is dead, slow or wrong changes no request's result and shows in health and metrics."""
import json
import re
import shutil
import subprocess

import harness
from harness import check, equal, wait_until
from otlp import otlp

# What the collector's redisreceiver sends by default: name, unit, kind, more attributes.
SUM, UPDOWN, GAUGE = ("sum", True), ("sum", False), ("gauge", False)
REDIS = {
    "redis.clients.blocked": ("{client}", UPDOWN),
    "redis.clients.connected": ("{client}", UPDOWN),
    "redis.clients.max_input_buffer": ("By", GAUGE),
    "redis.clients.max_output_buffer": ("By", GAUGE),
    "redis.commands": ("{ops}/s", GAUGE),
    "redis.commands.processed": ("{command}", SUM),
    "redis.connections.received": ("{connection}", SUM),
    "redis.connections.rejected": ("{connection}", SUM),
    "redis.cpu.time": ("s", SUM, "state"),
    "redis.db.avg_ttl": ("ms", GAUGE, "db"),
    "redis.db.expires": ("{key}", GAUGE, "db"),
    "redis.db.keys": ("{key}", GAUGE, "db"),
    "redis.keys.evicted": ("{key}", SUM),
    "redis.keys.expired": ("{event}", SUM),
    "redis.keyspace.hits": ("{hit}", SUM),
    "redis.keyspace.misses": ("{miss}", SUM),
    "redis.latest_fork": ("us", GAUGE),
    "redis.memory.fragmentation_ratio": ("1", GAUGE),
    "redis.memory.lua": ("By", GAUGE),
    "redis.memory.peak": ("By", GAUGE),
    "redis.memory.rss": ("By", GAUGE),
    "redis.memory.used": ("By", GAUGE),
    "redis.net.input": ("By", SUM),
    "redis.net.output": ("By", SUM),
    "redis.rdb.changes_since_last_save": ("{change}", UPDOWN),
    "redis.replication.backlog_first_byte_offset": ("By", GAUGE),
    "redis.replication.offset": ("By", GAUGE),
    "redis.slaves.connected": ("{replica}", UPDOWN),
    "redis.uptime": ("s", SUM),
}
# Those that make sense without a server process, a disk and replicas.
MEMORY = {"redis.commands.processed", "redis.db.keys", "redis.db.expires",
          "redis.keys.evicted", "redis.keys.expired", "redis.keyspace.hits", "redis.keyspace.misses",
          "redis.memory.used", "redis.uptime"}


def settings(rx, backend, **more):
    s = {"otlp.endpoint": rx.url, "otlp.span_delay": "100ms", "otlp.metric_interval": "200ms",
         "otlp.sample_ratio": "1", "otlp.spans_per_second": "0", "health.interval": "1s",
         "log.format": "json"}
    s.update(backend)
    s.update({k.replace("__", "."): v for k, v in more.items()})
    return s


def backends():
    yield "memory", {"backend main.plugin": "memory"}, None
    with harness.Redis() as redis:
        yield "redis", {"backend main.plugin": "redis", "backend main.url": redis.url}, redis


def operations(rx, name="db.client.operation.duration"):
    """{(command, error): count} of the latest metrics."""
    out = {}
    for p in rx.points(name):
        key = (p.attrs["db.operation.name"], p.attrs.get("error.type"))
        out[key] = out.get(key, 0) + p.count
    return out


LOAD = [(("SET", "k", "v"), None), (("GET", "k"), None), (("GET", "k"), None),
        (("INCR", "k"), "ERR"), (("HGET", "k", "f"), "WRONGTYPE"), (("MSET", "a", 1, "b", 2), None),
        (("MGET", "a", "b", "k"), None), (("DEL", "a", "b"), None), (("PING",), "local"),
        (("ECHO", "secret-value-1"), "local"), (("SET", "secret-key", "secret-value-2"), None),
        (("OBJECT", "ENCODING", "k"), None)]


def expected(rounds):
    ops = {}
    for words, error in LOAD:
        if error != "local":
            key = (words[0] if words[0] != "OBJECT" else "OBJECT ENCODING", error)
            ops[key] = ops.get(key, 0) + rounds
    return ops


def run_load(p, rounds):
    replies = []
    with p.client() as c:
        for _ in range(rounds):
            for reply in c.pipeline([words for words, _ in LOAD]):
                replies.append(reply.word if isinstance(reply, harness.RespError) else reply)
    return replies


def check_spans(rx, kind, redis, rounds):
    want = expected(rounds)
    wait_until(lambda: len(rx.spans()) >= sum(want.values()), "every span", 30)
    got = {}
    for s in rx.spans():
        attrs = otlp.attributes(s)
        name = s["name"][0].decode()
        got[name, attrs.get("error.type")] = got.get((name, attrs.get("error.type")), 0) + 1
        equal(attrs["db.system.name"], "redis")
        equal(attrs["db.operation.name"], name)
        equal(attrs["db.namespace"], "0")
        equal(attrs["purser.backend"], "main")
        equal(attrs["purser.project"], "default")
        equal(attrs.get("db.response.status_code"), attrs.get("error.type"))
        equal("status" in s, "error.type" in attrs)
        equal(s["kind"], ["SPAN_KIND_CLIENT" if redis else "SPAN_KIND_INTERNAL"])
        equal(attrs.get("server.address"), redis.sock if redis else None)
        equal(attrs.get("network.transport"), "unix" if redis else None)
        check("server.port" not in attrs and "db.query.text" not in attrs)
        check(s["start_time_unix_nano"][0] <= s["end_time_unix_nano"][0])
        equal(s["flags"], [0x103])
    equal(got, want, f"{kind}: spans")


def check_redis_metrics(rx, redis):
    names = set(REDIS) if redis else MEMORY
    wait_until(lambda: names <= {p.name for p in rx.points()}, "redis.* from INFO", 30)
    for p in rx.points():
        if p.name not in REDIS:
            continue
        unit, kind, *attr = REDIS[p.name]
        equal((p.unit, (p.kind, p.monotonic)), (unit, kind), p.name)
        equal(set(p.attrs) - {"purser.backend", "server.address", "server.port"}, set(attr), p.name)
        if kind == SUM:
            check(0 < p.start <= p.time, p.name)
    if redis:
        (keys,) = [p for p in rx.points("redis.db.keys") if p.attrs["db"] == "0"]
        equal(keys.value, 2)


def check_promtool(text):
    if shutil.which("promtool"):
        p = subprocess.run(["promtool", "check", "metrics"], input=text, check=False,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        equal((p.returncode, p.stdout), (0, b""), "promtool")


def prometheus(p, name, **labels):
    total = 0
    for line in p.http("GET", "/metrics").body.decode().splitlines():
        if re.match(re.escape(name) + r"[{ ]", line) and \
                all(f'{k}="{v}"' in line for k, v in labels.items()):
            total += float(line.rsplit(" ", 1)[1])
    return total


def test_accounts():
    for kind, backend, redis in backends():
        rx = otlp.Receiver()
        with harness.Purserd(settings(rx, backend)) as p:
            name = "purser_requests_total"
            before = [prometheus(p, name), prometheus(p, name)]  # asking may itself be a request
            run_load(p, 10)
            equal(prometheus(p, name) - before[1] - (before[1] - before[0]), 10 * len(LOAD), "requests")
            check_spans(rx, kind, redis, 10)
            wait_until(lambda: operations(rx) == expected(10), f"{kind}: exact counts", 30)
            equal(sum(q.value for q in rx.points("purser.requests") if "error.type" in q.attrs), 20)
            check_redis_metrics(rx, redis)
            # the agent's own probes are accounted, elsewhere
            own = operations(rx, "purser.internal.operation.duration")
            check(own[("INFO", None)] > 0 and own[("SET", None)] > 0, own)
            equal(prometheus(p, "db_client_operation_duration_seconds_count"), sum(expected(10).values()))
            check_promtool(p.http("GET", "/metrics").body)
            equal(p.http("GET", "/redis/status").json()["telemetry"]["status"], "ok")
        sent = b"".join(r.body for r in rx.requests)
        check(b"secret" not in sent and b"proj:" not in sent, "a key or a value in the telemetry")
        check("secret" not in p.log())
        rx.close()


def test_context():
    """The caller's traceparent is the parent, its decision is followed; a wrong one is none."""
    rx = otlp.Receiver()
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with harness.Purserd(settings(rx, {"backend main.plugin": "memory"}, otlp__sample_ratio="0")) as p:
        def get(tp, **headers):
            equal(p.http("POST", "/v1/command", ["GET", "none"],
                         {"traceparent": tp, **headers}).status, 200)
        get(f"00-{trace}-{parent}-00")
        get(f"00-{trace.upper()}-{parent}-01")
        p.client().cmd("GET", "none")
        get(f"00-{trace}-{parent}-01", tracestate="a=1, b=2")
        (s,) = wait_until(rx.spans, "the span", 30)
        equal(s["trace_id"][0].hex(), trace)
        equal(s["parent_span_id"][0].hex(), parent)
        equal(s["trace_state"], [b"a=1,b=2"])
        equal(s["flags"], [0x301])
        check(s["span_id"][0].hex() != parent)
        equal(prometheus(p, "otel_sdk_span_started_total", otel_span_sampling_result="DROP"), 3)
    equal(len(rx.spans()), 1)
    rx.close()


def test_cap():
    rx = otlp.Receiver()
    with harness.Purserd(settings(rx, {"backend main.plugin": "memory"},
                                  otlp__spans_per_second="1", agent__workers="1")) as p:
        with p.client() as c:
            c.pipeline([("GET", "k")] * 500)
        wait_until(rx.spans, "a span", 30)
        check(prometheus(p, "otel_sdk_span_started_total", otel_span_sampling_result="DROP") > 400)
    check(len(rx.spans()) < 100)
    rx.close()


def test_misbehaviour():
    """Whatever the collector does, every answer is the same and the counts stay exact."""
    for kind, backend, _redis in backends():
        rx = otlp.Receiver()
        port = rx.port
        rounds = 0
        with harness.Purserd(settings(rx, backend, otlp__timeout="300ms")) as p:
            right = run_load(p, 1)
            rounds += 1
            for how in (otlp.Status(500), otlp.Status(503), otlp.Status(429, retry_after=1), otlp.Drop(),
                        otlp.Junk(), otlp.Hang(), otlp.Slow(0.2), otlp.Partial(1)):
                rx.always(how)
                seen = len(rx.requests)
                equal(run_load(p, 20), right * 20, f"{kind}: answers with {how}")
                rounds += 20
                wait_until(lambda: len(rx.requests) > seen, "an export", 30)
            rx.always(None)
            rx.close()
            equal(run_load(p, 20), right * 20, f"{kind}: answers without a collector")
            rounds += 20

            def telemetry():
                return p.http("GET", "/redis/status").json()
            wait_until(lambda: telemetry()["telemetry"]["status"] in ("degraded", "failed") and
                       "connect" in json.dumps(telemetry()["telemetry"]), "health says so", 60)
            equal(telemetry()["status"], "degraded")
            check(prometheus(p, "purser_telemetry_state") >= 2)
            equal(prometheus(p, "db_client_operation_duration_seconds_count"),
                  sum(expected(rounds).values()))
            equal(p.http("GET", "/readyz").status, 200, "the telemetry is not needed to serve")
            rx = otlp.Receiver(port=port)
            wait_until(lambda: operations(rx) == expected(rounds), "exact counts after the outage", 90)
        check("export.failed" in p.log() and "export.recovered" in p.log())
        rx.close()


def test_reload():
    one, two = otlp.Receiver(), otlp.Receiver()
    text = ("[backend main]\nplugin = memory\n[otlp]\nendpoint = {}\nspan_delay = 100ms\n"
            "metric_interval = 200ms\nsample_ratio = 1\n")
    with harness.Purserd(config=text.format(one.url)) as p:
        run_load(p, 1)
        wait_until(one.spans, "spans at the first", 30)
        p.write_config(text.format(two.url))
        p.reload()
        wait_until(lambda: two.points("db.client.operation.duration"), "metrics at the second", 30)
        run_load(p, 1)
        wait_until(two.spans, "spans at the second", 30)
        wait_until(lambda: operations(two) == expected(2), "counts that go on", 30)
        p.write_config(text.format(""))
        p.reload()
        wait_until(lambda: prometheus(p, "purser_telemetry_state") == 0, "disabled", 30)
        equal(p.http("GET", "/redis/status").json()["telemetry"]["status"], "disabled")
    one.close()
    two.close()


def test_end():
    """What is left when it is told to stop is sent."""
    rx = otlp.Receiver()
    with harness.Purserd(settings(rx, {"backend main.plugin": "memory"}, otlp__span_delay="1h",
                                  otlp__metric_interval="1h")) as p:
        run_load(p, 3)
    equal(len(rx.spans()), sum(expected(3).values()))
    equal(operations(rx), expected(3))
    rx.close()


def test_log():
    """Levels change at run time, each line is one JSON object."""
    with harness.Purserd() as p:
        c = p.client()
        equal(c.cmd("PURSER.LOGLEVEL", "server", "debug"), "OK")
        p.client().raw(b"*1\r\n$-5\r\n")
        p.wait_log(r'"module":"server"')
        for line in p.log().splitlines():
            event = json.loads(line)
            check({"time", "level", "module", "event", "message"} <= set(event), line)


def test_transactions():
    """A transaction is one operation, MULTI, and says how many commands it had; what is queued is none."""
    for kind, backend, redis in backends():
        rx = otlp.Receiver()
        with harness.Purserd(settings(rx, backend), name=kind + "-multi") as p, p.client() as c:
            c.pipeline([["MULTI"], ["SET", "k", "v"], ["PING"], ["GET", "k"], ["EXEC"], ["MULTI"], ["GET", "k"], ["EXEC"],
                        ["MULTI"], ["INCR", "k"], ["DISCARD"]])
            wait_until(lambda: len(rx.spans()) >= 2, "both spans", 30)
            got = [(s["name"][0].decode(), otlp.attributes(s).get("db.operation.batch.size")) for s in rx.spans()]
            equal(sorted(got, key=repr), [("MULTI", 3), ("MULTI", None)], kind)
            wait_until(lambda: operations(rx) == {("MULTI", None): 2}, "both operations", 30)
        rx.close()


def test_attempts():
    """A request that was tried several times is one span, which says how often."""
    rx = otlp.Receiver()
    with harness.Purserd(dict(settings(rx, {"backend main.plugin": "memory"}), **{"agent.fault_injection": "yes"})) as p, \
            p.client() as c:
        c.cmd("PURSER.FAULT", "ADD", "ERROR", "LOADING on purpose", "COMMAND", "INCR")
        equal(c.error("INCR", "n").word, "LOADING")
        equal(c.cmd("GET", "n"), None)
        wait_until(lambda: len(rx.spans()) >= 2, "both spans", 30)
        got = {s["name"][0].decode(): otlp.attributes(s).get("purser.attempts") for s in rx.spans()}
        equal(got, {"INCR": 4, "GET": None})
    rx.close()


def test_secret():
    """User and password of the collector's URL are shown nowhere."""
    settings = {"otlp.endpoint": "http://user:sekret@127.0.0.1:1", "otlp.metric_interval": "100ms"}
    with harness.Purserd(settings) as p:
        p.wait_log(r"export\.failed")
        text = p.http("GET", "/metrics").body.decode()
        check('server_address="127.0.0.1",server_port="1"' in text, text)
        for shown in text, p.http("GET", "/redis/status").body.decode(), p.log(), p.run("--print-config").stdout:
            check("sekret" not in shown, shown)


def main():
    if not otlp.have_protoc():
        harness.skip("protoc is not installed")
    for name, test in sorted(globals().items()):
        if name.startswith("test_"):
            print(name, flush=True)
            test()


harness.run(main)
