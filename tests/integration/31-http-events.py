#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Server-sent events over HTTP, on both backends: what a subscriber hears, what it may not, and how a stream ends."""

import os
import shutil
import urllib.parse

import harness
from events import Stream
from harness import check, equal, wait_until

CONF = """[agent]
mode = production
workers = 3
http_heartbeat = 1s
subscriber_limit = 64KiB
[backend main]
plugin = {plugin}
{url}
[role deaf]
permissions = redis:read, redis:write
[role narrow]
permissions = pubsub
deny_commands = psubscribe
[project shop]
allow_uid = {uid}
role = operator
[project blog]
allow_uid = {uid}
role = writer
[project deaf]
allow_uid = {uid}
role = deaf
[project narrow]
allow_uid = {uid}
role = narrow
"""


def quoted(**fields):
    return "/v1/subscribe?" + urllib.parse.urlencode(fields, doseq=True)


def publish(p, project, channel, message):
    with p.client() as c:
        equal(c.cmd("PURSER.PROJECT", project), "OK")
        return c.cmd("PUBLISH", channel, message)


def messages(p):
    with Stream(p.sock, quoted(channel=["a", "b c"], pattern="n*"), "shop") as s:
        equal([s.event() for _ in range(3)],
              [("subscribe", {"channel": "a", "count": 1}), ("subscribe", {"channel": "b c", "count": 2}),
               ("psubscribe", {"pattern": "n*", "count": 3})])
        equal(publish(p, "shop", "a", "one\ntwo \"three\""), 1)
        equal(s.event(), ("message", {"channel": "a", "data": "one\ntwo \"three\""}))
        equal(publish(p, "shop", "b c", b"\xff\0"), 1)
        equal(s.event(), ("message", {"channel": "b c", "data": {"encoding": "base64", "value": "/wA="}}))
        publish(p, "shop", "news", "x")
        equal(s.event(), ("message", {"pattern": "n*", "channel": "news", "data": "x"}))
        # another project's are not heard
        equal(publish(p, "blog", "a", "theirs"), 0)
        publish(p, "shop", "a", "last")
        equal(s.event(), ("message", {"channel": "a", "data": "last"}))
        # a large message
        publish(p, "shop", "a", "y" * 30000)
        equal(len(s.event()[1]["data"]), 30000)
        # many at once, in order
        with p.client() as c:
            c.cmd("PURSER.PROJECT", "shop")
            c.pipeline([["PUBLISH", "a", str(i)] for i in range(200)])
        equal([s.event()[1]["data"] for _ in range(200)], [str(i) for i in range(200)])
        wait_until(lambda: s.more() or b":\n\n" in s.text, "a heartbeat")
    with p.client() as c:
        c.cmd("PURSER.PROJECT", "shop")
        wait_until(lambda: c.cmd("PUBSUB", "NUMSUB", "a") == [b"a", 0], "the subscription to end with its stream")
        equal(c.cmd("PUBSUB", "NUMPAT"), 0)
    with Stream(p.sock, quoted(channel="z", encoding="base64"), "shop") as s:
        equal(s.event(), ("subscribe", {"channel": {"encoding": "base64", "value": "eg=="}, "count": 1}))
    with Stream(p.sock, quoted(channel="z"), "shop", version="1.0") as s:
        check(not s.chunked)
        equal(s.event()[0], "subscribe")
        publish(p, "shop", "z", "1")
        equal(s.event(), ("message", {"channel": "z", "data": "1"}))


def refused(p):
    for target, project, status, code, words in (
            ("/v1/subscribe", "shop", 400, "BADREQUEST", "needs one of these: channel, pattern"),
            ("/v1/subscribe?chanel=a", "shop", 400, "BADREQUEST", "has channel pattern encoding"),
            (quoted(channel="a"), "deaf", 403, "NOPERM", "pubsub"),
            (quoted(channel="a"), "nowhere", 400, "NOPROJECT", ""),
            # of two commands the second is refused: nothing is left of the first
            (quoted(channel="only", pattern="*"), "narrow", 403, "NOPERM", "")):
        with Stream(p.sock, target, project) as s:
            equal((s.status, s.problem["code"]), (status, code), target)
            check(words in s.problem["detail"], s.problem)
            # the connection goes on, and hears nothing
            s.s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            check(s.f.readline().startswith(b"HTTP/1.1 200"))
    with p.client() as c:
        c.cmd("PURSER.PROJECT", "shop")
        equal(c.cmd("PUBSUB", "CHANNELS"), [])
    with Stream(p.sock, quoted(channel="only"), "narrow") as s:
        equal(s.event()[0], "subscribe")
    with Stream(p.sock, quoted(channel="a"), "shop", method="POST") as s:
        equal((s.status, s.headers["allow"]), (405, "GET, HEAD"))


def slow(p):
    """Who does not read is cut when subscriber_limit is full, and it shows: the body has no end."""
    with Stream(p.sock, quoted(channel="a"), "shop") as s:
        s.event()
        with p.client() as c:
            c.cmd("PURSER.PROJECT", "shop")
            wait_until(lambda: c.cmd("PUBLISH", "a", "x" * 20000) == 0, "the slow reader to be cut")
        p.wait_log("client.subscriber.slow")
        try:
            while not s.ended:
                s.more()
            raise harness.Failure("a stream that was cut has a proper end")
        except (ValueError, ConnectionResetError):
            pass  # no chunk follows
    p.allow("client.subscriber.slow")


def streams(p):
    r = p.http("GET", "/metrics", headers={"Purser-Project": "shop"})
    return [line.split()[-1] for line in r.body.decode().splitlines() if line.startswith("purser_http_streams")]


def ends(p):
    with Stream(p.sock, quoted(channel="a"), "blog") as s, Stream(p.sock, quoted(channel="a"), "shop") as other:
        equal((s.event()[0], other.event()[0]), ("subscribe", "subscribe"))
        equal(streams(p), ["2"])
        # a reload that takes the project away says so
        conf = p.config_text
        p.write_config(conf.replace("[project blog]\n", "[project glob]\n"))
        p.reload()
        name, data = s.event()
        equal(name, "closed")
        check("connect again" in data["reason"], data)
        equal(s.event(), None)
        publish(p, "shop", "a", "still")
        equal(other.event(), ("message", {"channel": "a", "data": "still"}))
        # an operator closes it
        with p.client() as c:
            c.cmd("PURSER.PROJECT", "shop")
            ids = [line.split()[0][3:] for line in c.cmd("CLIENT", "LIST").decode().splitlines() if " sub=1 " in line]
            equal(len(ids), 1)
            equal(c.cmd("CLIENT", "KILL", "ID", ids[0]), 1)
        equal(other.event(), ("closed", {"reason": "the agent was told to close this connection"}))
        equal(other.event(), None)
    wait_until(lambda: streams(p) == ["0"], "the streams to end")
    with Stream(p.sock, quoted(channel="a"), "shop") as s:
        s.event()
        p.signal(15)
        equal(s.event(), ("closed", {"reason": "the agent is shutting down"}))
        equal(s.event(), None)
        equal(p.wait(), 0)


def main():
    backends = [("memory", None)] + ([("redis", harness.Redis)] if shutil.which("redis-server") else [])
    for plugin, make in backends:
        redis = make() if make else None
        if redis:
            redis.start()
        conf = CONF.format(plugin=plugin, url=f"url = {redis.url}" if redis else "", uid=os.getuid())
        with harness.Purserd(config=conf, name="on" + plugin) as p:
            p.config_text = conf
            for part in (messages, refused, slow, ends):
                part(p)
                print(f"ok {plugin} {part.__name__}", flush=True)
        if redis:
            redis.stop()


harness.run(main)
