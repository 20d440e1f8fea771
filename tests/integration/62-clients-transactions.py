#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What client libraries make of MULTI, WATCH and scripts, unchanged on the agent's socket: redis-py (pipelines,
transactions, locks, registered scripts, asyncio) and ruby-redis."""

import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import check, equal

RUBY = r"""
require "redis"
r = Redis.new(path: ARGV[0])
def same(got, want) raise "got #{got.inspect}, want #{want.inspect}" unless got == want end
same(r.multi { |m| m.set("a", "1"); m.incr("a"); m.hset("h", "f", "v"); m.hgetall("h"); m.keys("*") }[0, 4], ["OK", 2, 1, {"f" => "v"}])
same(r.watch("a") { r.get("a"); r.multi { |m| m.incr("a") } }, [3])
other = Redis.new(path: ARGV[0])
same(r.watch("a") { other.set("a", "9"); r.multi { |m| m.incr("a") } }, nil)
same(r.watch("a") { r.unwatch }, "OK")
begin
  r.multi { |m| m.set("a"); m.incr("a") }
  raise "must fail"
rescue ArgumentError, Redis::CommandError
end
same(r.get("a"), "9")
sha = r.script(:load, "return {KEYS[1] and 1, ARGV[1]}")
same(r.evalsha(sha, ["k"], ["v"]), [1, "v"])
same(r.eval("return redis.call('incr', KEYS[1])", ["a"]), 10)
same(r.pipelined { |p| p.multi { |m| m.incr("a"); m.incr("a") }; p.get("a") }.last, "12")
r.del("a", "h")
puts "ruby-redis #{Redis::VERSION}"
"""


def transactions(redis, path):
    r = redis.Redis(unix_socket_path=path, decode_responses=True)
    with r.pipeline() as p:
        for i in range(1000):
            p.rpush("py:list", i)
        equal(p.llen("py:list").lrange("py:list", 0, 2).execute()[-2:], [1000, ["0", "1", "2"]])
    with r.pipeline() as p:
        try:
            p.set("py:a", 1).lpush("py:a", 2).set("py:b", 3).execute()
            raise harness.Failure("LPUSH to a string must fail")
        except redis.ResponseError as e:
            check("WRONGTYPE" in str(e) and "proj:" not in str(e), e)
        equal(r.mget("py:a", "py:b"), ["1", "3"])
    with r.pipeline() as p:
        try:
            p.set("py:a", 2).execute_command("NOSUCHCOMMAND").execute()
            raise harness.Failure("an unknown command must abort it")
        except redis.ResponseError:
            equal(r.get("py:a"), "1")
    with r.pipeline() as p:
        p.watch("py:a")
        r.set("py:a", 5)
        p.multi()
        p.incr("py:a")
        try:
            p.execute()
            raise harness.Failure("a watched key has changed")
        except redis.WatchError:
            equal(r.get("py:a"), "5")
    equal(r.transaction(lambda p: (p.get("py:a"), p.multi(), p.incr("py:a")), "py:a"), [6])

    def count():
        mine = redis.Redis(unix_socket_path=path, decode_responses=True)
        for _ in range(20):
            mine.transaction(lambda p: (n := int(p.get("py:n") or 0), p.multi(), p.set("py:n", n + 1)), "py:n")
        mine.close()

    together(count, 4)
    equal(r.get("py:n"), "80")
    r.delete("py:a", "py:b", "py:n", "py:list")


def together(what, times):
    wrong = []

    def run():
        try:
            what()
        except Exception as e:
            wrong.append(e)

    threads = [threading.Thread(target=run) for _ in range(times)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not wrong, wrong)


def scripts(redis, path, server):
    r = redis.Redis(unix_socket_path=path, decode_responses=True)
    add = r.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    equal(add(keys=["py:n"], args=[2]), 2)
    with server.client() as direct:
        direct.cmd("SCRIPT", "FLUSH")
    equal(r.evalsha(add.sha, 1, "py:n", 3), 5)  # without its own way of loading it again
    with server.client() as direct:
        direct.cmd("SCRIPT", "FLUSH")
    with r.pipeline() as p:
        add(keys=["py:n"], args=[1], client=p)
        add(keys=["py:n"], args=[1], client=p)
        equal(p.execute(), [6, 7])
    with r.pipeline(transaction=False) as p:
        add(keys=["py:n"], args=[1], client=p)
        p.get("py:n")
        equal(p.execute(), [8, "8"])
    order = []

    def locked():
        mine = redis.Redis(unix_socket_path=path)
        for _ in range(5):
            with mine.lock("py:lock", timeout=60, blocking_timeout=60, sleep=0.001):
                order.append("in")
                order.append("out")
        mine.close()

    together(locked, 4)
    equal(order, ["in", "out"] * 20)
    lock = r.lock("py:lock", timeout=60)
    check(lock.acquire(blocking=False), "the lock is free")
    check(not r.lock("py:lock", timeout=60).acquire(blocking=False), "it is held")
    check(lock.extend(10) and lock.reacquire(), "its own scripts")
    lock.release()
    try:
        lock.release()
        raise harness.Failure("a lock that is not held must not be released")
    except redis.exceptions.LockError:
        pass
    r.delete("py:n")


async def use_async(path):
    import redis.asyncio as aio
    r = aio.Redis(unix_socket_path=path, decode_responses=True)

    async def move(i):
        async with r.pipeline(transaction=True) as p:
            return await p.incr("aio:n").incr("aio:n").get(f"aio:{i}").execute()

    for a, b, none in await asyncio.gather(*[move(i) for i in range(40)]):
        check(b == a + 1 and none is None, a, b, none)
    equal(await r.get("aio:n"), "80")
    add = r.register_script("return redis.call('INCR', KEYS[1])")
    equal(sorted(await asyncio.gather(*[add(keys=["aio:n"]) for _ in range(20)])), list(range(81, 101)))
    async with r.lock("aio:lock", timeout=60):
        equal(await r.exists("aio:lock"), 1)
    await r.delete("aio:n")
    await r.close()


def main():
    if importlib.util.find_spec("redis") is None:
        harness.skip("python3-redis is not installed")
    import redis
    with harness.Redis() as server, \
            harness.Purserd({"backend main.plugin": "redis", "backend main.url": server.url}) as p:
        transactions(redis, p.sock)
        scripts(redis, p.sock, server)
        asyncio.run(use_async(p.sock))
        print(f"redis-py {redis.__version__}", flush=True)
        ruby = shutil.which("ruby")
        if ruby and subprocess.run([ruby, "-e", "require 'redis'"], capture_output=True, check=False).returncode == 0:
            done = subprocess.run([ruby, "-W0", "-e", RUBY, p.sock], capture_output=True, text=True, timeout=60 * harness.SLOW, check=False)
            check(done.returncode == 0, done.stderr)
            print(done.stdout.strip(), flush=True)
        else:
            print("ruby-redis is not installed: left out", flush=True)
        with p.client() as c:
            equal(c.cmd("DBSIZE"), 0)


harness.run(main)
