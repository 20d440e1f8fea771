# SPDX-License-Identifier: Apache-2.0
"""redis-py, unchanged, on the agent's socket: blocking and asyncio, on both backends."""

import asyncio
import importlib.util

import harness
from harness import check, equal


def fails(what, words):
    try:
        what()
    except Exception as e:  # noqa: BLE001 (whatever class the client makes of it)
        check(words in str(e), f"{e!r} does not say {words}")
    else:
        raise harness.Failure(f"must fail with {words}")


def use(redis, path):
    r = redis.Redis(unix_socket_path=path, decode_responses=True)
    check(r.ping() is True)
    check(r.set("py:k", "värde") is True)
    equal(r.get("py:k"), "värde")
    equal(r.get("py:none"), None)
    equal(r.set("py:k", "x", nx=True), None)
    equal(r.set("py:k", "y", get=True), "värde")
    equal(r.incrby("py:n", 41) + r.incr("py:n"), 83)
    check(r.expire("py:n", 60) is True and 50 < r.ttl("py:n") <= 60)
    equal(r.mget("py:k", "py:none", "py:n"), ["y", None, "42"])
    equal(r.hset("py:h", mapping={"a": 1, "b": 2}), 2)
    equal(r.hgetall("py:h"), {"a": "1", "b": "2"})
    equal(r.type("py:h"), "hash")
    fails(lambda: r.incr("py:h"), "WRONGTYPE")
    fails(lambda: r.execute_command("NOSUCHCOMMAND"), "unknown command")
    with r.pipeline(transaction=False) as p:
        for i in range(200):
            p.set(f"py:many:{i}", i).get(f"py:many:{i}")
        equal(p.execute(), [x for i in range(200) for x in (True, str(i))])
    equal(sorted(r.scan_iter("py:many:*", count=13)), sorted(f"py:many:{i}" for i in range(200)))
    binary = redis.Redis(unix_socket_path=path)
    value = bytes(range(256)) * 4096
    binary.set(b"py:\x00\xff", value)
    equal(binary.get(b"py:\x00\xff"), value)
    equal(r.delete(*[f"py:many:{i}" for i in range(200)], "py:k", "py:n", "py:h") +
          binary.delete(b"py:\x00\xff"), 204)
    equal(r.dbsize(), 0)


async def use_async(path):
    import redis.asyncio as aio
    r = aio.Redis(unix_socket_path=path, decode_responses=True)
    replies = await asyncio.gather(*[r.set(f"aio:{i}", i) for i in range(100)])
    check(all(replies))
    equal(await asyncio.gather(*[r.get(f"aio:{i}") for i in range(100)]), [str(i) for i in range(100)])
    equal(await r.delete(*[f"aio:{i}" for i in range(100)]), 100)
    await r.close()


def main():
    if importlib.util.find_spec("redis") is None:
        harness.skip("python3-redis is not installed")
    import redis
    with harness.Purserd() as p:
        use(redis, p.sock)
        asyncio.run(use_async(p.sock))
    with harness.Redis() as server, \
            harness.Purserd({"backend main.plugin": "redis", "backend main.url": server.url}) as p:
        use(redis, p.sock)
        asyncio.run(use_async(p.sock))


harness.run(main)
