# SPDX-License-Identifier: Apache-2.0
"""redis-py, unchanged: publish/subscribe with a listener of its own, blocking pops, queues between threads."""

import importlib.util
import threading

import harness
from harness import check, equal, wait_until


def messages(redis, path):
    r = redis.Redis(unix_socket_path=path, decode_responses=True)
    got, patterns = [], []
    p = r.pubsub(ignore_subscribe_messages=True)
    p.subscribe(**{"py:news": lambda m: got.append(m["data"])})
    p.psubscribe(**{"py:*": lambda m: patterns.append((m["channel"], m["data"]))})
    listener = p.run_in_thread(sleep_time=0.05)
    try:
        wait_until(lambda: r.pubsub_numsub("py:news") == [("py:news", 1)] and r.pubsub_numpat() == 1, "the listener")
        for i in range(200):
            equal(r.publish("py:news", i), 2)
        equal(r.publish("py:other", "x"), 1)
        equal(r.publish("elsewhere", "x"), 0)
        wait_until(lambda: len(got) == 200 and len(patterns) == 201, "all messages")
        equal(got, [str(i) for i in range(200)])
        equal(patterns, [("py:news", str(i)) for i in range(200)] + [("py:other", "x")])
        equal(r.pubsub_channels(), ["py:news"])
    finally:
        listener.stop()
        listener.join(10)
    with r.pubsub() as q:
        q.subscribe("py:one", "py:two")
        check(q.ping() is None and [q.get_message(timeout=10)["type"] for _ in range(3)] ==
              ["subscribe", "subscribe", "pong"], "a PING among subscriptions")
        q.unsubscribe()
    r.close()


def blocking(redis, path):
    r = redis.Redis(unix_socket_path=path, decode_responses=True)
    equal(r.blpop("py:empty", timeout=0.05), None)
    r.rpush("py:q", 1, 2, 3)
    equal(r.brpop(["py:none", "py:q"], timeout=5), ("py:q", "3"))
    equal(r.blmove("py:q", "py:dst", 5, "LEFT", "RIGHT"), "1")
    equal(r.brpoplpush("py:q", "py:dst", 5), "2")
    equal(r.lrange("py:dst", 0, -1), ["2", "1"])
    r.zadd("py:z", {"a": 1, "b": 2})
    equal(r.bzpopmin("py:z", timeout=5), ("py:z", "a", 1.0))
    equal(r.bzpopmax("py:z", timeout=5), ("py:z", "b", 2.0))
    results, wrong = [], []

    def worker():
        try:
            mine = redis.Redis(unix_socket_path=path, decode_responses=True)
            while (item := mine.blpop("py:jobs", timeout=60)[1]) != "stop":
                mine.rpush("py:done", item)
                results.append(item)
            mine.close()
        except Exception as e:  # pylint: disable=broad-exception-caught
            wrong.append(e)

    threads = [threading.Thread(target=worker) for _ in range(8)]
    for t in threads:
        t.start()
    for i in range(400):
        r.rpush("py:jobs", i)
    for _ in threads:
        r.rpush("py:jobs", "stop")
    for t in threads:
        t.join(60 * harness.SLOW)
    check(not wrong, wrong)
    equal(sorted(map(int, results)), list(range(400)))
    equal(sorted(map(int, r.lrange("py:done", 0, -1))), list(range(400)))
    r.xgroup_create("py:stream", "g", mkstream=True)
    waiting = threading.Thread(target=lambda: results.append(redis.Redis(unix_socket_path=path).xreadgroup(
        "g", "c", {"py:stream": ">"}, block=60000)))
    waiting.start()
    r.xadd("py:stream", {"f": "v"})
    waiting.join(60 * harness.SLOW)
    check(results[-1][0][0] == b"py:stream" and results[-1][0][1][0][1] == {b"f": b"v"}, results[-1])
    r.close()


def main():
    if importlib.util.find_spec("redis") is None:
        harness.skip("python3-redis is not installed")
    import redis
    with harness.Redis() as server, \
            harness.Purserd({"backend main.plugin": "redis", "backend main.url": server.url}) as p:
        messages(redis, p.sock)
        blocking(redis, p.sock)


if __name__ == "__main__":
    harness.run(main)
