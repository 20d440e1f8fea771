#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""PURSER.TRACE: the reply is the command's, its span has the caller's parent, and a message takes the context along."""
import harness
from harness import check, equal, wait_until
from otlp import otlp

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TP = f"00-{TRACE}-{PARENT}-01"
OFF = f"00-{TRACE}-{PARENT}-00"


def settings(rx, backend):
    return {"otlp.endpoint": rx.url if rx else "", "otlp.span_delay": "100ms", "otlp.sample_ratio": "0", "log.format": "json", **backend}


def replies(p):
    """Whatever it wraps: the reply, and what the connection is afterwards, is the command's own."""
    c = p.client()
    equal(c.cmd("PURSER.TRACE", TP, "SET", "k", "v"), "OK")
    equal(c.cmd("purser.trace", TP, "a=1,b=2", "GET", "k"), b"v")
    equal(c.cmd("PURSER.TRACE", TP, "", "GET", "none"), None)
    equal(c.cmd("PURSER.TRACE", TP, "MGET", "k", "none", *["k"] * 30), [b"v", None, *[b"v"] * 30])
    big = "x" * 400000
    equal(c.cmd("PURSER.TRACE", TP, "SET", "big", big), "OK")
    equal(c.cmd("PURSER.TRACE", TP, "STRLEN", "big"), 400000)
    equal(c.pipeline([["PURSER.TRACE", TP, "INCR", "n"]] * 500)[-1], 500)
    equal(c.error("PURSER.TRACE", TP, "NOSUCH").word, "ERR")
    equal(c.error("PURSER.TRACE", TP, "GET").word, "ERR")
    equal(c.error("PURSER.TRACE", TP, "RPUSH", "k", "x").word, "WRONGTYPE")
    equal(c.error("PURSER.TRACE", TP, "PURSER.TRACE", TP, "GET", "k").word, "BADREQUEST")
    for words in ([TP, ""], [TP, "a=1"], [TP, "CARRY"], [TP]):
        equal(c.error("PURSER.TRACE", *words).word, "ERR", words)
    equal(c.error("PURSER.TRACE", TP, "CARRY", "SET", "k", "v").word, "BADREQUEST")
    # a traceparent that is none: as in HTTP the command runs, in a trace of its own
    equal(c.cmd("PURSER.TRACE", "nonsense", "GET", "k"), b"v")
    # transactions, blocking, scripts, what the agent answers, features
    equal(c.cmd("PURSER.TRACE", TP, "MULTI"), "OK")
    equal(c.cmd("PURSER.TRACE", TP, "GET", "k"), "QUEUED")
    equal(c.cmd("PURSER.TRACE", TP, "EXEC"), [b"v"])
    c.cmd("RPUSH", "list", "a")
    equal(c.cmd("PURSER.TRACE", TP, "BLPOP", "list", "0"), [b"list", b"a"])
    equal(c.cmd("PURSER.TRACE", TP, "EVAL", "return redis.call('GET', KEYS[1])", 1, "k"), b"v")
    equal(c.cmd("PURSER.TRACE", TP, "CACHE.INCRBY", "counter", 2, 60000), 2)
    equal(c.cmd("PURSER.TRACE", TP, "PING"), "PONG")
    equal(p.http("POST", "/v1/command", ["PURSER.TRACE", TP, "GET", "k"]).json()["result"], "v")
    equal(c.cmd("PURSER.TRACE", TP, "HELLO", "3")[b"proto"], 3)


def spans(p, rx):
    """Only those whose parent was sampled, each with its parent; a feature's command, too."""
    c = p.client()
    c.cmd("PURSER.TRACE", OFF, "GET", "k")
    c.cmd("PURSER.TRACE", "nonsense", "GET", "k")
    c.cmd("GET", "k")
    c.cmd("PURSER.TRACE", TP, "vendor=x", "GET", "k")
    s = one(rx, "GET")
    equal([s["trace_id"][0].hex(), s["parent_span_id"][0].hex(), s["trace_state"]], [TRACE, PARENT, [b"vendor=x"]])
    equal(s["flags"], [0x301])


def one(rx, name):
    def found():
        return [s for s in rx.spans() if s["name"][0].decode() == name]
    wait_until(found, "a span of " + name, 30)
    equal(len(found()), 1)
    return found()[0]


def head(payload):
    lines, body = payload.split(b"\r\n\r\n", 1)
    return dict(line.split(b": ", 1) for line in lines.split(b"\r\n")), body


def carried(p, rx):
    """The span of the message's own command is what its reader links to."""
    c, listener = p.client(), p.client()
    equal(listener.cmd("SUBSCRIBE", "news")[0], b"subscribe")
    id_ = c.cmd("PURSER.TRACE", TP, "vendor=x", "CARRY", "XADD", "stream", "*", "n", "\0\r\n")
    fields = c.cmd("XRANGE", "stream", id_, id_)[0][1]
    equal([fields[:3], fields[4:]], [[b"n", b"\0\r\n", b"traceparent"], [b"tracestate", b"vendor=x"]])
    xadd = fields[3].decode()
    equal(c.cmd("PURSER.TRACE", TP, "CARRY", "PUBLISH", "news", "\0payload\r\n\r\nmore"), 1)
    headers, body = head(listener.read()[2])
    equal(body, b"\0payload\r\n\r\nmore")
    equal(list(headers), [b"traceparent"])
    publish = headers[b"traceparent"].decode()
    if not rx: # no spans are made here: the caller's own context travels
        equal([xadd, publish], [TP, TP])
        return
    for name, tp in (("XADD", xadd), ("PUBLISH", publish)):
        s = one(rx, name)
        equal(tp, f"00-{TRACE}-{s['span_id'][0].hex()}-01")
        equal(s["parent_span_id"][0].hex(), PARENT)
    c.cmd("PURSER.TRACE", TP, "a=b", "CARRY", "PUBLISH", "news", "x")
    headers, body = head(listener.read()[2])
    equal([headers[b"tracestate"], body], [b"a=b", b"x"])
    # without CARRY a message is what was sent
    c.cmd("PURSER.TRACE", OFF, "PUBLISH", "news", "as it is")
    equal(listener.read()[2], b"as it is")
    # without a valid parent a trace begins with the message
    c.cmd("PURSER.TRACE", "nonsense", "x=y", "CARRY", "PUBLISH", "news", "x")
    headers, _ = head(listener.read()[2])
    equal(list(headers), [b"traceparent"])
    check(TRACE not in headers[b"traceparent"].decode(), headers)
    # unsampled stays unsampled
    id_ = c.cmd("PURSER.TRACE", OFF, "CARRY", "XADD", "stream", "*", "a", "b")
    check(c.cmd("XRANGE", "stream", id_, id_)[0][1][3].endswith(b"-00"))


def both(backend):
    rx = otlp.Receiver()
    with harness.Purserd(settings(rx, backend)) as p:
        spans(p, rx)
        carried(p, rx)
        replies(p)
    rx.close()
    with harness.Purserd(settings(None, backend)) as p:
        carried(p, None)


def main():
    if not otlp.have_protoc():
        harness.skip("protoc is not installed")
    both({"backend main.plugin": "memory"})
    with harness.Redis() as redis:
        both({"backend main.plugin": "redis", "backend main.url": redis.url})


harness.run(main)
