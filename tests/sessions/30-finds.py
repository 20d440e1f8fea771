#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The model finds what is planted: scripts with one error each, put in by a proxy between agent and redis-server."""

import hashlib
import os
import socket
import threading

import harness
import rig
from harness import Failure, FakeServer, Redis, check, encode

# script, what stands there, what stands there instead
PLANTED = [
    ("update", "if not s[1] or now >= tonumber(s[3]) then\n\treturn { 0 }\nend", "if not s[1] then s = {'', '9000', '0', '0', '0'} end"),
    ("update", "redis.call('HDEL', KEYS[1], 'd:' .. ARGV[i])", "redis.call('HDEL', KEYS[1], 'd:a')"),
    ("update", "ARGV[3] ~= s[5]", "ARGV[3] > s[5]"),
    ("update", "v = redis.call('HINCRBY', KEYS[1], 'v', 1)", "v = v + 1"),
    ("touch", "redis.call('ZADD', index[i], new, ARGV[1])", "redis.call('ZADD', index[i], 'NX', new, ARGV[1])"),
    ("touch", "new = math.min(new, abs)", "new = new"),
    ("touch", "redis.call('PEXPIREAT', KEYS[1], new - 1)", "redis.call('PERSIST', KEYS[1])"),
    ("touch", "more > 0 and 0 or idle / 10", "more > 0 and 0 or idle * 0.6"),
    ("create", "redis.call('PEXPIREAT', KEYS[1], exp - 1)", ""),
    ("create", "redis.call('PEXPIREAT', KEYS[i], last + (i == 2 and 60000 or 0))", ""),
    ("rotate", "redis.call('HSET', KEYS[1], 'rot', now)\nredis.call('PEXPIRE', KEYS[1], ARGV[4])", "redis.call('COPY', KEYS[2], KEYS[1])"),
    ("rotate", "redis.call('ZREM', ARGV[3] .. s[1], ARGV[1])", ""),
    ("rotate", "redis.call('HSET', KEYS[2], 'uid', user)", ""),
    ("destroy", "redis.call('DEL', KEYS[1])", "redis.call('PEXPIRE', KEYS[1], 500)"),
    ("destroy", "redis.call('ZREM', index[i], ARGV[1])", "if i == 1 then redis.call('ZREM', index[i], ARGV[1]) end"),
    ("destroy_user", "h ~= ARGV[2]", "h ~= ''"),
    ("destroy_user", "ended = ended + redis.call('DEL', ARGV[1] .. h)", "ended = ended + 1"),
    ("list", "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)", "redis.call('ZREM', KEYS[1], redis.call('ZRANGE', KEYS[1], -1, -1)[1] or '')"),
    ("clean", "'-inf', now, 'LIMIT'", "'-inf', '+inf', 'LIMIT'"),
]


class Proxy(FakeServer):
    """Passes everything on, but runs another script in place of one."""

    def __init__(self, path, redis):
        self.redis, self.instead = redis, {}
        super().__init__(path)

    def plant(self, script, old, new):
        with open(os.path.join(harness.srcdir, f"agent/feature/lua/session_{script}.lua"), "rb") as f:
            text = f.read()
        self.instead = {}
        if new is not None:
            check(old.encode() in text, f"{script}: {old!r} does not stand there any more: mend this test")
            self.instead = {hashlib.sha1(text).hexdigest().encode(): text.replace(old.encode(), new.encode(), 1),
                            text: text.replace(old.encode(), new.encode(), 1)}

    def serve(self, s, c):
        up = socket.socket(socket.AF_UNIX)
        up.connect(self.redis.sock)
        threading.Thread(target=self.back, args=(up, s), daemon=True).start()
        try:
            while True:
                words = c.read()
                other = self.instead.get(words[1]) if words[0] in (b"EVALSHA", b"EVAL") else None
                up.sendall(encode(*([b"EVAL", other, *words[2:]] if other else words)))
        finally:
            up.close()

    @staticmethod
    def back(up, s):
        try:
            while data := up.recv(65536):
                s.sendall(data)
        except OSError:
            pass


def main():
    seed = harness.seed()
    clock = rig.Clock()
    redis = Redis().start()
    proxy = Proxy(os.path.join(harness.tmp(), "proxy.sock"), redis)
    r = rig.Rig("redis", proxy.url, redis, clock)
    try:
        r.play(seed, 40, kills=False)
    except Failure as e:
        raise Failure("nothing is planted, and yet: " + str(e)) from e
    for i, (script, old, new) in enumerate(PLANTED):
        proxy.plant(script, old, new)
        r.raw.cmd("FLUSHALL")
        said = None
        for again in range(12):
            try:
                r.play(seed + i + 100 * again, 200, kills=False)
            except Failure as e:
                said = str(e).splitlines()[0]
                break
            r.raw.cmd("FLUSHALL")
        check(said, f"not found: {script}: {old!r} -> {new!r}")
        print(f"{script}: {new!r}: {said[:100]}", flush=True)
        for k in range(5):
            r.clients[k].close()
            r.renew(k)
    proxy.instead = {}
    r.close()


harness.run(main)
