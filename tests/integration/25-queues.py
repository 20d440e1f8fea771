# SPDX-License-Identifier: Apache-2.0
"""Deadlines, full queues, broken replies and the end, on a store whose calls can be made to wait
(tests/plugins/order.h): what is said not to have run never runs, and nothing waits for ever."""

import os
import re
import signal

import harness
from harness import check, equal, wait_until

LIBS = os.path.join(harness.builddir, "tests/plugins/.libs")


def agent(name, plugin, slow, **more):
    s = {"agent.plugin_dir": LIBS, "backend main.plugin": plugin, "backend main.slow": slow,
         "health.interval": "1h", "agent.workers": "1", "breaker.enabled": "no"}
    s.update(more)
    p = harness.Purserd(s, name=name).start()
    p.wait_log("health.backend.up")  # its calls are no part of what follows
    return p


def words(replies):
    return [r.word if isinstance(r, harness.RespError) else r for r in replies]


def until_free(c):
    """The store has done with the slow one."""
    wait_until(lambda: c.pipeline([("GET", "nothing")]) == [None], "the store to be free")


def deadlines(plugin):
    """A window of two, held up for a second: two calls the store has, three wait, the rest is refused."""
    more = {"backend main.window": "2", "backend main.ends": "inline", "backend main.queue_max": "3",
            "backend main.operation_timeout": "200ms"}
    with agent("deadline-" + plugin, plugin, "1s", **more) as p, p.client() as a, p.client() as b, p.client() as d:
        a.raw(b"".join(harness.encode(*w) for w in (("SET", "slow:a", "1"), ("SET", "a", "1"), ("GET", "a"))))
        d.cmd("PING")
        replies = b.pipeline([("SET", "b1", "1"), ("GET", "b2"), ("SET", "b3", "1"), ("GET", "b4"), ("PING",)])
        equal(words(replies), ["TIMEOUT", "TIMEOUT", "POOLEXHAUSTED", "POOLEXHAUSTED", "PONG"])
        equal(words([a.read() for _ in range(3)]), ["INDETERMINATE", "INDETERMINATE", "TIMEOUT"])
        # Another protocol waits until nothing is in flight; what is in flight does not end.
        a.send("HELLO", "3")
        check(isinstance(a.read(), dict))
        equal(words(a.pipeline([("SET", "held", "1"), ("PING",), ("DBSIZE",)])), ["TIMEOUT", "PONG", "TIMEOUT"])
        until_free(d)
        equal(d.cmd("MGET", "b1", "b3", "held"), [None] * 3)   # never ran
        equal(d.cmd("MGET", "a", "slow:a"), [b"1", b"1"])      # late, but said to be uncertain
        equal(a.cmd("SET", "held", "2"), "OK")
        equal(a.cmd("DBSIZE"), 3)


def withdrawn():
    """Blocking threads: what the plugin has begun is uncertain, what waits behind it is taken back."""
    more = {"backend main.operation_timeout": "200ms", "log.modules": "plugin=debug"}
    with agent("withdrawn", "order_blocking", "700ms", **more) as p, p.client() as c, p.client() as d:
        equal(words(c.pipeline([("SET", "slow:a", "1"), ("SET", "w", "1"), ("GET", "w"), ("PING",)])),
              ["INDETERMINATE", "TIMEOUT", "TIMEOUT", "PONG"])
        wait_until(lambda: c.pipeline([("MGET", "w", "slow:a")]) == [[None, b"1"]], "the slow call to be over")
        # A client that goes takes what has not begun with it.
        c.raw(harness.encode("SET", "slow:b", "1") + harness.encode("SET", "gone", "1"))
        wait_until(lambda: p.log().count("a slow one begins") == 2, "the slow call to begin")
        c.close()
        wait_until(lambda: d.pipeline([("MGET", "gone", "slow:b")]) == [[None, b"1"]], "the slow call to be over")


def broken(plugin):
    """A reply that breaks off: before anything was shown it is an error; behind that the client is cut."""
    with agent("broken-" + plugin, plugin, "0s") as p:
        with p.client() as c:
            c.raw(harness.encode("ECHO", "before") + harness.encode("GET", "broken:x") + harness.encode("PING"))
            equal(c.read(), b"before")
            equal(words([c.read(), c.read()]), ["BACKENDDOWN", "PONG"])
        if plugin != "order_blocking":
            with p.client() as c:
                c.raw(harness.encode("ECHO", "before") + harness.encode("GET", "torn:x") + harness.encode("PING"))
                equal(c.read(), b"before")
                equal(c.f.read(9), b"$100000\r\n")
                equal(len(c.f.read()), 40000)  # and then the end
        r = p.http("GET", "/redis/kv?key=broken:x")
        equal((r.status, r.json()["code"]), (503, "BACKENDDOWN"))


def errors(plugin):
    """The store's own errors and the plugin's failures, on both protocols: no prefix, the right status."""
    statuses = {1: (503, "BACKENDDOWN"), 3: (502, "BACKENDPROTOCOL"), 4: (502, "BACKENDAUTH"), 6: (507, "OOM"),
                7: (413, "TOOBIG"), 8: (501, "UNSUPPORTED"), 9: (504, "TIMEOUT"), 10: (500, "ERR")}
    with agent("errors-" + plugin, plugin, "0s") as p, p.client() as c:
        equal(str(c.error("GET", "err:x")), "WRONGTYPE not with 'err:x', not here")
        r = p.http("GET", "/redis/kv?key=err:x")
        check(r.status == 422 and b"proj:" not in r.body and b"WRONGTYPE" in r.body, r)
        for code, want in statuses.items():
            e = c.error("GET", f"fail:{code}:1:x")
            check(e.word == want[1] and "as it was told to" in e.text, e)
            r = p.http("GET", f"/redis/kv?key=fail:{code}:1:x")
            equal((r.status, r.json()["code"]), want)
            r = p.http("DELETE", f"/redis/kv?key=fail:{code}:2:x")
            equal((r.status, r.json()["code"]), (504, "INDETERMINATE"))


def the_end(plugin, slow):
    """Stopped while calls wait: the time that is left is given, then everything comes to its end."""
    more = {"backend main.operation_timeout": "60s", "agent.drain_timeout": "200ms", "backend main.window": "2"}
    p = agent("end-" + plugin, plugin, slow, **more)
    clients = [p.client() for _ in range(5)]
    for c in clients:
        c.raw(b"".join(harness.encode(*w) for w in (("GET", "slow:a"), ("SET", "b", "1"), ("DBSIZE",))))
    if plugin != "order_blocking":
        wait_until(lambda: pending(p) == 5 * 2 - 2, "all calls to be under way")
    p.stop()
    for c in clients:
        check(c.eof(), "a client is left")
        c.close()


def pending(p):
    """Calls in the queue for the store."""
    m = re.search(r"^db_client_connection_pending_requests\S* (\d+)", p.http("GET", "/metrics").body.decode(), re.M)
    return int(m.group(1)) if m else 0


def twice():
    """The second signal ends it at once."""
    more = {"backend main.operation_timeout": "60s", "agent.drain_timeout": "1h"}
    p = agent("twice", "order_argv", "60s", **more)
    with p.client() as c:
        c.send("GET", "slow:a")
        c.send("PING")
        p.signal(signal.SIGTERM)
        p.wait_log("agent.stopping")
        check(p.running())
        p.signal(signal.SIGTERM)
        equal(p.wait(), 128 + signal.SIGTERM)
    check(not os.path.exists(p.sock), "the socket is removed")
    p.check_log()


def crowded():
    """Blocking threads: so many calls wait there, so many in the queue, the others are refused; none is lost."""
    more = {"backend main.queue_max": "500", "agent.workers": "1"}
    with agent("crowded", "order_blocking", "1500ms", **more) as p, p.client() as a, p.client() as b, p.client() as c:
        clients = (a, b, c)  # one for each thread of the plugin; no client may have so many requests waiting
        for n, each in enumerate(clients):
            each.send("SET", f"slow:{n}", "v")
        check(harness.answers(p.sock))  # so they are under way
        for n, each in enumerate(clients):
            each.raw(b"".join(harness.encode("SET", f"k{i}", i) for i in range(n, 3000, 3)))
        said = [None] * 3000
        for n, each in enumerate(clients):
            equal(each.read(), "OK")
            said[n::3] = words([each.read() for _ in range(1000)])
        equal(set(said), {"OK", "POOLEXHAUSTED"})
        check(1400 <= said.count("OK") < 1600, said.count("OK"))
        equal(c.cmd("MGET", *[f"k{i}" for i in range(3000)]),
              [b"%d" % i if word == "OK" else None for i, word in enumerate(said)])


def short_and_long():
    """The health check's deadline is shorter than that of what was sent before it."""
    more = {"backend main.operation_timeout": "1h", "health.timeout": "100ms", "health.interval": "100ms",
            "agent.drain_timeout": "100ms"}
    with agent("short", "order_argv", "60s", **more) as p, p.client() as c:
        c.send("GET", "slow:k")
        p.wait_log("health.backend.down")


def main():
    crowded()
    short_and_long()
    for plugin in ("order_argv", "order_wire"):
        deadlines(plugin)
        the_end(plugin, "60s")
    withdrawn()
    the_end("order_blocking", "500ms")
    for plugin in ("order_argv", "order_wire", "order_blocking"):
        broken(plugin)
        errors(plugin)
    twice()


if __name__ == "__main__":
    harness.run(main)
