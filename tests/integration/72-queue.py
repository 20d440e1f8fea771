#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What waits for a collector that is away is on disk: a kill -9 loses none of it, a damaged file loses what was in the
damaged place, and a disk that cannot be used changes nothing but where it waits."""
import glob
import os
import re

import harness
from harness import check, equal, wait_until
from otlp import otlp

MEMORY = {"backend main.plugin": "memory", "otlp.span_delay": "50ms", "otlp.metric_interval": "1h", "otlp.sample_ratio": "1",
          "otlp.spans_per_second": "0", "log.format": "json"}


def value(p, name):
    """Of a metric without labels that tell anything; -1: it is not there."""
    m = re.search(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", p.http("GET", "/metrics").body.decode(), re.M)
    return float(m.group(1)) if m else -1


def segments(p):
    return sorted(glob.glob(os.path.join(p.settings["agent.state_dir"], "queue", "*.seg")))


def waits_on_disk(p, spans):
    """So many spans have been made, and all of them are in files."""
    wait_until(lambda: value(p, "purser_telemetry_queue_usage_bytes") > 0 or segments(p), "something waits", 30)

    def settled():
        text = p.http("GET", "/metrics").body.decode()
        done = sum(float(v) for v in re.findall(r'^otel_sdk_processor_span_processed_total\{[^}]*\} (\S+)$', text, re.M))
        return done >= spans and segments(p) and value(p, "purser_telemetry_queue_disk_bytes") >= spans * 20
    wait_until(settled, "all of it is on disk", 30)


def ids(rx):
    return [s["span_id"][0].hex() for s in rx.spans()]


def outage(rx, name, rounds=6, size=100, **more):
    """An agent with a dead collector has made spans, and is killed when they are on disk."""
    rx.always(otlp.Status(503))
    p = harness.Purserd(dict(MEMORY, **{"otlp.endpoint": rx.url}, **more), name=name).start()
    with p.client() as c:
        for i in range(rounds):
            c.pipeline([("SET", f"k{i}", "v")] * size)
            waits_on_disk(p, (i + 1) * size)
    wait_until(lambda: os.path.getsize(segments(p)[-1]) > 16, "a record", 10)
    return p


def test_killed():
    rx = otlp.Receiver()
    p = outage(rx, "killed")
    before = {s for r in rx.requests for s in [len(r.body)]}
    check(before, "the collector was asked")
    p.kill()
    rx.always(None)
    with harness.Purserd(dict(MEMORY, **{"otlp.endpoint": rx.url, "agent.state_dir": p.settings["agent.state_dir"]}),
                         name="again") as again:
        wait_until(lambda: len(ids(rx)) >= 600, "every span of the one that was killed", 30)
        again.wait_log(r'"event":"export.restored"')
        wait_until(lambda: value(again, "purser_telemetry_queue_usage_bytes") == 0, "nothing waits", 30)
        equal(again.http("GET", "/redis/status").json()["telemetry"]["status"], "ok")
    got = ids(rx)
    equal((len(got), len(set(got))), (600, 600), "each once")
    rx.close()


def test_stopped():
    """An ordinary end keeps what could not be sent, too."""
    rx = otlp.Receiver()
    p = outage(rx, "stopped", 2)
    p.stop()
    check("export.kept" in p.log(), "it says so")
    rx.always(None)
    with harness.Purserd(dict(MEMORY, **{"otlp.endpoint": rx.url, "agent.state_dir": p.settings["agent.state_dir"]}),
                         name="after"):
        wait_until(lambda: len(ids(rx)) >= 200, "the spans", 30)
    equal(len(set(ids(rx))), 200)
    rx.close()


def test_damaged():
    rx = otlp.Receiver()
    p = outage(rx, "damaged", 8)
    p.kill()
    (path,) = segments(p)
    with open(path, "r+b") as f:
        f.seek(os.path.getsize(path) // 3)
        junk = bytes(255 - b for b in f.read(64))
        f.seek(os.path.getsize(path) // 3)
        f.write(junk)
    rx.always(None)
    with harness.Purserd(dict(MEMORY, **{"otlp.endpoint": rx.url, "agent.state_dir": p.settings["agent.state_dir"]}),
                         name="mended") as again:
        wait_until(lambda: value(again, "purser_telemetry_queue_usage_bytes") == 0, "nothing waits", 30)
        wait_until(lambda: re.search(r'"event":"export.(damaged|dropped)"', again.log()), "it says so", 10)
    got = ids(rx)
    equal(len(got), len(set(got)), "none twice")
    check(300 <= len(got) < 800, f"all but what was in the damaged place: {len(got)} of 800")
    rx.close()


def test_no_disk():
    """A file where the directory should be; another agent's directory: it waits in memory, and says why."""
    rx = otlp.Receiver()
    with harness.Purserd(dict(MEMORY, **{"otlp.endpoint": rx.url}), name="first") as first:
        with harness.Purserd(dict(MEMORY, **{"otlp.endpoint": rx.url, "agent.state_dir": first.settings["agent.state_dir"]}),
                             name="second") as second:
            second.wait_log("in use by another agent")
            telemetry = second.http("GET", "/redis/status").json()["telemetry"]
            equal(telemetry["status"], "ok")
            check("in memory only" in str(telemetry), telemetry)
            equal(second.client().cmd("SET", "k", "v"), "OK")
            wait_until(lambda: len(ids(rx)) == 1, "its span", 30)
    rx.close()


def test_off():
    rx = otlp.Receiver()
    rx.always(otlp.Status(503))
    with harness.Purserd(dict(MEMORY, **{"otlp.endpoint": rx.url, "otlp.queue_disk": "0B"}), name="off") as p:
        p.client().cmd("SET", "k", "v")
        wait_until(lambda: value(p, "purser_telemetry_queue_usage_bytes") > 0, "it waits in memory", 30)
        check(not os.path.exists(os.path.join(p.settings["agent.state_dir"], "queue")), "no directory")
    rx.close()


def main():
    if not otlp.have_protoc():
        harness.skip("protoc is not installed")
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            print(name, flush=True)
            test()


harness.run(main)
