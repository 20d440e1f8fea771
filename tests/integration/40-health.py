# SPDX-License-Identifier: Apache-2.0
"""Health, end to end: the document and its names, stores that hang, die, come back, fill up or have no
limit, keys that no project reaches, alert state over a restart, several agents on one store."""

import json
import os

import harness
from harness import check, equal, wait_until

FAST = {"health.interval": "100ms", "health.max_age": "0s", "health.timeout": "300ms"}


def document(p):
    r = p.http("GET", "/redis/status")
    equal(r.status, 200)
    return r.json()


def until(p, what, condition, seconds=15.0):
    """Polls the document until condition(document) holds; returns it."""
    def look():
        d = document(p)
        return d if condition(d) else None
    try:
        return wait_until(look, what, seconds)
    except harness.Failure as e:
        raise harness.Failure(f"{e}: {json.dumps(document(p), indent=1)}") from e


def until_status(p, status):
    return until(p, f"status {status}", lambda d: d["status"] == status)


def until_memory(p, level, backend="main"):
    return until(p, f"memory {level}", lambda d: d["memory"]["backends"][backend]["status"] == level)


def events(p, name):
    return [e for e in map(json.loads, filter(lambda line: line.startswith("{"), p.log().splitlines()))
            if e.get("event") == name]


def on(redis, **more):
    return dict(FAST, **{"backend main.plugin": "redis", "backend main.url": redis.url}, **more)


def names():
    with harness.Purserd(FAST, name="names") as p:
        d = until_status(p, "healthy")
        check(isinstance(d["timestamp"], float) and d["timestamp"] > 1.6e9, d["timestamp"])
        equal(d["service"], "purser")
        equal(d["factory"]["status"], "healthy")
        pool = d["factory"]["pools"]["main"]
        for name in ("created_connections", "available_connections", "max_connections"):
            check(isinstance(pool[name], int), name, pool)
        breaker = d["factory"]["circuit_breaker"]
        equal(breaker["state"], "closed")
        equal(pool["circuit_breakers"], {"read": "closed", "write": "closed"})
        equal(set(breaker["metrics"]), {"total_calls", "success_rate", "circuit_opens"})
        times = d["test_operations"]["response_times_ms"]
        equal(d["test_operations"]["status"], "healthy")
        check(0 <= times["ping"] < 1000 and 0 <= times["set_get_delete"] < 1000, times)
        equal(d["memory"]["status"], "ok")
        equal(d["memory"]["max_memory_bytes"], 100 << 20)
        check(0 <= d["memory"]["usage_percentage"] < 0.1 and d["memory"]["usage_bytes"] >= 0)
        equal(d["telemetry"]["status"], "disabled")
        with p.client() as c:
            equal(set(json.loads(c.cmd("PURSER.HEALTH"))), set(d))
        r = p.http("GET", "/readyz")
        equal((r.status, r.body.strip()), (200, b"ok"))
        text = p.http("GET", "/metrics").body.decode()
        check('purser_backend_up{purser_backend="main"} 1' in text and "purser_health_state 0" in text)
        check('purser_memory_level{purser_backend="main"} 0' in text)
        # the agent's own operations are nobody's
        check("purser_internal_operation_duration_seconds_count" in text)
        check("db_client_operation_duration_seconds_count" not in text, text)
        with p.client() as c:
            equal(c.cmd("DBSIZE"), 0)  # the probe's key is no key of a client


def polling_costs_nothing(redis):
    with harness.Client(redis.sock) as direct, \
            harness.Purserd(on(redis, **{"health.interval": "1h", "health.max_age": "1h"}), name="polling_costs_nothing") as p:
        until_status(p, "healthy")
        wait_until(lambda: events(p, "health.backend.up"), "the first check")

        def calls():
            info = direct.cmd("INFO", "commandstats").decode()
            return [x for x in info.splitlines() if not x.startswith(("cmdstat_info", "#"))]
        before = calls()
        for _ in range(200):
            document(p)
        equal(calls(), before)
        if harness.LONG: # no timed assertion in make check: the machine may be busy
            check(document(p)["check_ms"] < 100, "the check takes", document(p)["check_ms"])


def outside(redis):
    with harness.Client(redis.sock) as direct:
        direct.pipeline([("SET", f"old:{i}", "x") for i in range(321)])
        with harness.Purserd(on(redis), name="outside") as p, p.client() as c:
            c.cmd("SET", "mine", "1")
            pool = until(p, "outside_keys", lambda d: "outside_keys" in d["factory"]["pools"]["main"])
            pool = pool["factory"]["pools"]["main"]
            equal((pool["outside_keys"], pool["outside_keys_exact"]), (321, True))
            check("isolation = off" in pool["outside_keys_note"])
            who = json.loads(c.cmd("PURSER.WHOAMI"))["outside"]
            check(who.startswith("321 keys ") and "isolation = off in [project default]" in who, who)
            equal(json.loads(c.cmd("PURSER.STATUS"))["backends"]["main"]["outside_keys"], 321)
            e = p.wait_log(r".*health\.outside_keys.*")
            check('"keys":321' in e.group() and "isolation = off" in e.group(), e.group())
        with harness.Purserd(on(redis, **{"project default.isolation": "off"}), name="open") as p, p.client() as c:
            until(p, "outside_keys", lambda d: d["factory"]["pools"]["main"].get("outside_keys") == 0)
            equal(c.cmd("GET", "old:7"), b"x")
            check("outside" not in json.loads(c.cmd("PURSER.WHOAMI")))
        direct.cmd("FLUSHALL")


def absent_then_there():
    redis = harness.Redis(name="late")
    with harness.Purserd(on(redis), name="early") as p:
        d = until_status(p, "unhealthy")
        equal(d["test_operations"]["status"], "unhealthy")
        equal(d["memory"]["status"], "unknown")
        equal(d["memory"]["usage_percentage"], None)
        check(any("main" in x and "PING" in x for x in d["reasons"]), d["reasons"])
        r = p.http("GET", "/readyz")
        equal(r.status, 503)
        check("main" in r.body.decode(), r)
        equal(p.ctl("health").returncode, 1)
        with redis:
            until_status(p, "healthy")
            equal(p.http("GET", "/readyz").status, 200)
            equal(p.ctl("health").returncode, 0)
            # kill -9: it is seen, and seen to come back
            redis.kill()
            d = until_status(p, "unhealthy")
            check(d["factory"]["pools"]["main"]["error"], d)
            equal(len(events(p, "health.backend.down")), 2)
            redis.start()
            d = until_status(p, "healthy")
            check("error" not in d["factory"]["pools"]["main"])
            equal(len(events(p, "health.backend.up")), 2)


def hangs(redis):
    with harness.Purserd(on(redis), name="hangs") as p:
        until_memory(p, "unbounded")
        redis.pause()
        d = until_status(p, "unhealthy")
        # a check that was in its SET when the store stopped cannot know whether that was executed
        check(d["test_operations"]["backends"]["main"]["code"] in ("TIMEOUT", "INDETERMINATE"), d)
        equal(p.http("GET", "/healthz").status, 200)  # the agent itself is well
        equal(p.http("GET", "/readyz").status, 503)
        d = until_memory(p, "unknown")
        equal(d["memory"]["last_status"], "unbounded")
        equal(d["memory"]["usage_bytes"], None)
        redis.go_on()
        until_status(p, "healthy")
        until_memory(p, "unbounded")
        equal(len(events(p, "health.memory.level")), 0)  # no level has changed


def fill(direct, share):
    """Sets maxmemory so that what is used is the given share of it."""
    used = int(dict(x.split(":", 1) for x in direct.cmd("INFO", "memory").decode().splitlines()
                    if ":" in x)["used_memory"])
    direct.cmd("CONFIG", "SET", "maxmemory", int(used / share))


def memory_levels(redis):
    state = os.path.join(harness.tmp(), "levels")
    settings = on(redis, **{"agent.state_dir": state})
    with harness.Client(redis.sock) as direct:
        direct.cmd("SETRANGE", "ballast", 8 << 20, "x")
        with harness.Purserd(settings, name="levels") as p:
            d = until_memory(p, "unbounded")
            equal(d["status"], "healthy")
            equal((d["memory"]["usage_percentage"], d["memory"]["max_memory_bytes"]), (None, 0))
            check(d["memory"]["usage_bytes"] > 8 << 20)
            fill(direct, 0.5)
            until_memory(p, "ok")
            fill(direct, 0.85)
            d = until_memory(p, "warning")
            equal(d["status"], "degraded")
            check(0.84 < d["memory"]["usage_percentage"] < 0.87, d["memory"])
            fill(direct, 0.95)
            d = until_memory(p, "critical")
            equal(d["status"], "degraded")
            # full: a SET is refused, and the reason is known
            direct.cmd("CONFIG", "SET", "maxmemory", "1mb")
            d = until_status(p, "unhealthy")
            equal(d["memory"]["status"], "critical")
            check(d["memory"]["usage_percentage"] > 1)
            equal(d["test_operations"]["backends"]["main"]["failed"], "SET")
            equal(d["test_operations"]["backends"]["main"]["code"], "OOM")
            fill(direct, 0.95)
            until(p, "writes again", lambda d: d["test_operations"]["status"] == "healthy")
            levels = [(e["from"], e["to"]) for e in events(p, "health.memory.level")]
            equal(levels, [("unbounded", "ok"), ("ok", "warning"), ("warning", "critical")])
        # a restart knows the level and repeats no alert
        with harness.Purserd(settings, name="levels") as p:
            until(p, "a check", lambda d: d["check_ms"] is not None and d["memory"]["usage_bytes"])
            equal(document(p)["memory"]["status"], "critical")
            equal(len(events(p, "health.memory.level")), 3)
            fill(direct, 0.5)
            until_memory(p, "ok")
            equal(len(events(p, "health.memory.level")), 4)
            # a cache is full by design
            direct.cmd("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
            fill(direct, 0.97)
            d = until(p, "the policy", lambda d: d["memory"].get("policy") == "allkeys-lru" and
                      (d["memory"]["usage_percentage"] or 0) > 0.9)
            equal((d["memory"]["status"], d["status"]), ("ok", "healthy"))
        direct.pipeline([("CONFIG", "SET", "maxmemory", 0), ("FLUSHALL",),
                         ("CONFIG", "SET", "maxmemory-policy", "noeviction")])


def reload(redis):
    with harness.Purserd(on(redis), name="reload") as p:
        until_memory(p, "unbounded")
        equal(document(p)["status"], "healthy")
        p.write_config("[health]\nmemory_unbounded = warning\n")
        equal(p.ctl("reload").returncode, 0)
        d = until_status(p, "degraded")
        equal(d["generation"], 2)
        check(any("unbounded" in x for x in d["reasons"]), d["reasons"])
    # a limit that only the configuration has
    with harness.Purserd(on(redis, **{"backend main.max_memory": "1MiB"})) as p:
        d = until(p, "a share", lambda d: d["memory"]["usage_percentage"] is not None)
        equal(d["memory"]["max_memory_bytes"], 1 << 20)
        check(d["memory"]["usage_percentage"] > 0.5)


def two_backends(redis):
    settings = dict(FAST, **{
        "backend main.plugin": "redis", "backend main.url": redis.url, "backend scratch.plugin": "memory",
        "project shop.backend": "main", "project tmp.backend": "scratch"})
    with harness.Purserd(settings, name="two_backends") as p:
        d = until_status(p, "healthy")
        equal(set(d["factory"]["pools"]), {"main", "scratch"})
        equal(d["memory"]["status"], d["memory"]["backends"]["main"]["status"])  # the first one's
        redis.pause()
        d = until_status(p, "unhealthy")
        equal(d["factory"]["pools"]["scratch"]["status"], "healthy")
        equal(d["factory"]["pools"]["main"]["status"], "unhealthy")
        redis.go_on()
        until_status(p, "healthy")


def several_agents(redis):
    """Probes of several agents use the same key of the same store."""
    with harness.Client(redis.sock) as direct, harness.Purserd(on(redis), name="a") as a, \
            harness.Purserd(on(redis), name="b") as b:
        def sets():
            for line in direct.cmd("INFO", "commandstats").decode().splitlines():
                if line.startswith("cmdstat_set:"):
                    return int(line.split("calls=")[1].split(",")[0])
            return 0
        start = sets()
        wait_until(lambda: sets() > start + 30, "30 probes", 30)
        for p in (a, b):
            equal(events(p, "health.backend.down"), [])
            equal(document(p)["status"], "healthy")


def main():
    names()
    harness.require("redis-server")
    absent_then_there()
    with harness.Redis() as redis:
        polling_costs_nothing(redis)
        outside(redis)
        hangs(redis)
        memory_levels(redis)
        reload(redis)
        two_backends(redis)
        several_agents(redis)


harness.run(main)
