#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""snapshot = PATH of the memory plugin: kept over a restart, read and written by a real Redis, refused when damaged, never
lost by a save that fails or an agent that is killed."""

import os
import random
import resource
import signal
import stat
import subprocess
import time
import harness
from values import Make, seen

PREFIX = b"proj:default:"


def path(name="dump.rdb"):
    return os.path.join(harness.tmp(), name)


def purserd(settings=None, name="purserd", **more):
    return harness.Purserd({"backend main.plugin": "memory", "backend main.snapshot": path(), **(settings or {})}, name=name, **more)


def content(name="dump.rdb"):
    with open(path(name), "rb") as f:
        return f.read()


def redis_of(file, args=()):
    """A Redis that reads the file at its start."""
    return harness.Redis(["--dir", harness.tmp(), "--dbfilename", os.path.basename(file), *args])


def refused(p, *patterns):
    """It does not start, and says why."""
    before = content() if os.path.exists(path()) else None
    r = p.run()
    harness.check(r.returncode == 1, f"left with {r.returncode}: {r.stderr}")
    for pattern in patterns:
        harness.check(pattern in r.stderr, f"no {pattern!r} in {r.stderr!r}")
    if before is not None:
        harness.equal(content(), before, "the file")
    return r.stderr


def fill(c, g, n):
    make, keys = Make(g), {}
    for i in range(n):
        key = b"k%d" % i
        for line in make.value(key):
            c.cmd(*line)
        if g.randrange(4) == 0:
            c.cmd("PEXPIRE", key, 10000000 + g.randrange(1 << 40))
    for i in range(n):
        keys[b"k%d" % i] = seen(c, b"k%d" % i)
    return keys


def persistence(c):
    lines = c.cmd("INFO", "persistence").decode().split()
    return {k: int(v) for k, v in (line.split(":") for line in lines if ":" in line) if v.isdigit()}


def over_a_restart_and_to_redis(g):
    with purserd() as p:
        c = p.client()
        keys = fill(c, g, 120)
        c.cmd("SET", "soon", "gone", "PX", 1)
        c.cmd("SET", "", "an empty key")
        c.cmd("SET", "k" * 70000, "a long key")
        harness.equal(persistence(c)["rdb_last_load_keys_loaded"], 0)
    p.wait_log("snapshot written: ")
    harness.equal(stat.S_IMODE(os.stat(path()).st_mode), 0o600, "its permissions")
    harness.check(not os.path.exists(path("dump.rdb.new")), "nothing is left beside it")
    r = subprocess.run(["redis-check-rdb", path()], capture_output=True, text=True, check=False)
    harness.check(r.returncode == 0 and "RDB looks OK" in r.stdout, r.stdout[-1000:])
    with redis_of(path()) as redis:
        c = redis.client()
        for key, want in keys.items():  # an encoding may change: what is read is kept as if it were new
            got = seen(c, PREFIX + key)
            harness.equal((got[0], *got[2:]), (want[0], *want[2:]), f"{key!r} in Redis")
            keys[key] = got
        harness.equal(c.cmd("DBSIZE"), len(keys) + 2)
        c.cmd("SAVE")
    with purserd() as p:
        c = p.client()
        p.wait_log(f"snapshot read: {len(keys) + 2} keys")
        for key, want in keys.items():
            harness.equal(seen(c, key), want, f"{key!r} as Redis wrote it")
        harness.equal(c.cmd("GET", ""), b"an empty key")
        harness.equal(c.cmd("GET", "k" * 70000), b"a long key")
        harness.equal(c.cmd("GET", "soon"), None)
        harness.equal(persistence(c)["rdb_last_load_keys_loaded"], len(keys) + 2)
        before = persistence(c)["rdb_changes_since_last_save"]  # what is read is none; the agent's own check has a key
        harness.check(before < 50, before)
        c.cmd("SET", "one", "more")
        harness.check(persistence(c)["rdb_changes_since_last_save"] > before)


def of_redis(g):
    """Databases, expiries, idle times, what is expired by now; files without checksum."""
    os.unlink(path())
    with harness.Redis(["--dir", harness.tmp(), "--dbfilename", "dump.rdb", "--maxmemory-policy", "allkeys-lru", "--maxmemory", "1gb",
                        "--list-compress-depth", "1"]) as redis:
        c = redis.client()
        for db in (0, 3):
            c.cmd("SELECT", db)
            c.cmd("SET", PREFIX + b"k", f"of {db}")
            c.cmd("SET", PREFIX + b"soon", "x", "PX", 1)
            c.cmd("SET", PREFIX + b"later", "x", "PXAT", 4102444800000)
            c.cmd("RESTORE", PREFIX + b"idle", 0, c.cmd("DUMP", PREFIX + b"k"), "IDLETIME", 5000)
            c.cmd("RPUSH", PREFIX + b"l", *(b"compressed, compressed, %d" % i for i in range(3000)))
        harness.wait_until(lambda: c.cmd("GET", PREFIX + b"soon") is None, "a key to expire")
        c.cmd("SET", PREFIX + b"dead", "x", "PXAT", int(time.time() * 1000) + 300)
        c.cmd("SAVE")
    harness.wait_until(lambda: time.time() * 1000 > os.stat(path()).st_mtime * 1000 + 400, "a key to expire")
    with purserd({"project default.databases": 4}) as p:
        p.wait_log("snapshot read: 8 keys, [1-3] expired")
        c = p.client()
        for db in (0, 3):
            c.cmd("SELECT", db)
            harness.equal(c.cmd("GET", "k"), b"of %d" % db)
            harness.equal(c.cmd("EXISTS", "soon"), 0)
            harness.equal(c.cmd("EXISTS", "dead"), 0)
            harness.equal(c.cmd("PEXPIRETIME", "later"), 4102444800000)
            harness.check(5000 <= c.cmd("OBJECT", "IDLETIME", "idle") < 5000 + 60 * harness.SLOW)
            harness.equal(c.cmd("LRANGE", "l", 2999, -1), [b"compressed, compressed, 2999"])
    refused(purserd({"backend main.databases": 2}), "databases", path())
    with harness.Redis(["--dir", harness.tmp(), "--dbfilename", "dump.rdb", "--rdbchecksum", "no"]) as redis:
        redis.client().cmd("SAVE")
    with purserd() as p:
        p.wait_log("without a checksum")


def damaged(g):
    with purserd() as p:
        fill(p.client(), g, 20)
    good = content()
    for at in [0, 5, 8, 9, *(g.randrange(len(good)) for _ in range(8)), len(good) - 9, len(good) - 1]:
        bad = bytearray(good)
        bad[at] ^= 1 << g.randrange(8)
        with open(path(), "wb") as f:
            f.write(bad)
        refused(purserd(), "snapshot: byte ", "move it away", path())
    for n in [0, 4, 9, *(g.randrange(len(good)) for _ in range(3)), len(good) - 1]:
        with open(path(), "wb") as f:
            f.write(good[:n])
        refused(purserd(), "snapshot: byte ", path())
    with open(path(), "wb") as f:
        f.write(good + b"x")
    refused(purserd(), "behind its end")
    os.unlink(path())
    os.mkdir(path())
    harness.check("not a regular file" in purserd().run().stderr)
    os.rmdir(path())
    harness.check("directory" in purserd({"backend main.snapshot": path("none/dump.rdb")}).run().stderr)
    harness.equal(purserd({"backend main.snapshot": "dump.rdb"}).run().returncode, 1, "a path that does not begin with /")
    with open(path(), "wb") as f:
        f.write(good)


class NoSignal(harness.Purserd):
    """A write beyond the limit of a file's size is an error, as on a full disk."""

    def argv(self, *more):
        return ["sh", "-c", 'trap "" XFSZ; exec "$@"', "sh", *super().argv(*more)]


def limit(p, n):
    resource.prlimit(p.pid, resource.RLIMIT_FSIZE, (n, n))


def saves_that_fail():
    """The file of before stays, when the disk is full and when the agent dies while it writes."""
    good = content()
    p = NoSignal({"backend main.plugin": "memory", "backend main.snapshot": path()}, name="full")
    p.start()
    p.client().cmd("SET", "large", "x" * 3000000)
    limit(p, 1000000)
    p.allow("snapshot not written: File too large")
    p.stop()
    harness.equal(content(), good, "the file after a save that failed")
    harness.check(not os.path.exists(path("dump.rdb.new")), "what was written of it is gone")
    p = purserd(name="killed").start()
    p.client().cmd("SET", "large", "x" * 3000000)
    limit(p, 1000000)
    p.signal(signal.SIGTERM)
    harness.equal(p.wait(), -signal.SIGXFSZ, "killed while it wrote")
    harness.equal(content(), good, "the file after a crash")
    harness.check(os.path.getsize(path("dump.rdb.new")) <= 1000000)
    with purserd() as p:
        harness.equal(p.client().cmd("EXISTS", "large"), 0)
        p.client().cmd("SET", "later", "fine")
    harness.check(not os.path.exists(path("dump.rdb.new")))
    p = purserd(name="killed9").start()
    p.client().cmd("SET", "later", "lost")
    p.kill()
    with purserd() as p:
        harness.equal(p.client().cmd("GET", "later"), b"fine")


def one_owner(g):
    two = {f"backend {b}.{k}": v for b in ("a", "b") for k, v in (("plugin", "memory"), ("snapshot", path("two.rdb")))}
    r = harness.Purserd({**two, "project a.backend": "a", "project b.backend": "b"}).run()
    harness.check(r.returncode == 1 and "each needs its own" in r.stderr, r.stderr)
    with purserd() as p:
        refused(purserd(name="second"), "another agent", path())
        harness.equal(p.client().cmd("PING"), "PONG")


def ctl_reload(p):
    """The outcome, once those before it have ended."""
    r = harness.wait_until(lambda: (lambda r: r if "in_progress" not in r.stdout + r.stderr else None)(p.ctl("reload")),
                           "the reload before to end")
    return r.returncode, r.stdout + r.stderr


def reload(g):
    ini = "[backend main]\nplugin = memory\nsnapshot = %s\n"
    first, second = path("first.rdb"), path("second.rdb")
    p = harness.Purserd(config=ini % first, name="moving").start()
    c = p.client()
    c.cmd("SET", "k", "v")
    p.write_config(ini % second)
    c.close()
    harness.equal(ctl_reload(p)[0], 0)
    p.write_config(ini % path())  # that of the other tests
    status, text = ctl_reload(p)
    harness.check(status != 0 and "would be overwritten" in text, text)
    p.allow("would be overwritten", "reload")
    p.write_config(ini % second)
    harness.equal(ctl_reload(p)[0], 0)
    p.stop()
    harness.check(not os.path.exists(first) and os.path.exists(second))
    p = harness.Purserd(config=ini % second, name="moved").start()
    with p.client() as c:
        harness.equal(c.cmd("GET", "k"), b"v")
    p.write_config("[backend main]\nplugin = memory\n")
    harness.equal(ctl_reload(p)[0], 0)
    p.client().cmd("SET", "k", "not kept")
    before = os.stat(second).st_mtime_ns
    p.stop()
    harness.equal(os.stat(second).st_mtime_ns, before)


def larger_than_max_memory():
    """Everything is read; then the limit holds."""
    with purserd({"backend main.snapshot": path("large.rdb")}) as p:
        c = p.client()
        for i in range(300):
            c.cmd("SET", f"k{i}", b"x" * 10000)
    with purserd({"backend main.snapshot": path("large.rdb"), "backend main.max_memory": "1MiB"}) as p:
        p.wait_log("max_memory is 1048576")
        c = p.client()
        harness.equal(c.cmd("DBSIZE"), 300)
        harness.equal(c.error("SET", "one", "more").word, "OOM")
        harness.equal(len(c.cmd("GET", "k299")), 10000)


LIBRARIES = {
    b"one": b"#!lua name=one\nredis.register_function('first', function(keys, args) return {keys[1], args[1], 'of one'} end)\n"
            b"local n = 0\nredis.register_function{function_name = 'count', callback = function() n = n + 1 return n end, "
            b"flags = {'no-writes', 'allow-stale'}, description = 'counts'}\n",
    b"two": b"#!lua name=two\nredis.register_function('put', function(keys, args) return redis.call('SET', keys[1], args[1]) end)",
    b"long": b"#!lua name=long\n" + b"-- much that can be compressed\n" * 3000 + b"redis.register_function('long', function() return 5 end)",
}


def libraries_of(c):
    """By name: libraries and functions come in any order."""
    found = {}
    for lib in c.cmd("FUNCTION", "LIST", "WITHCODE"):
        f = dict(zip(lib[::2], lib[1::2]))
        found[f[b"library_name"]] = (f[b"engine"], f[b"library_code"], sorted((fn[1], fn[3] or b"", sorted(fn[5])) for fn in f[b"functions"]))
    return found


def file_of(*parts):
    """Without a checksum."""
    with open(path(), "wb") as f:
        f.write(b"REDIS0010" + b"".join(parts) + b"\xff" + bytes(8))


def part(code, op=0xF5):
    return bytes([op, 0x80]) + len(code).to_bytes(4, "big") + code


def libraries():
    """Of functions: kept, read by Redis, taken from Redis; refused when they do not load."""
    open_to_all = {"project default.isolation": "off"}
    os.unlink(path())
    with purserd(open_to_all) as p:
        c = p.client()
        for code in LIBRARIES.values():
            c.cmd("FUNCTION", "LOAD", code)
        want, order = libraries_of(c), c.cmd("FUNCTION", "LIST")
        harness.equal({k: v[1] for k, v in want.items()}, LIBRARIES)
        harness.equal([c.cmd("FCALL", "count", 0), c.cmd("FCALL", "count", 0)], [1, 2])
    with purserd(open_to_all) as p:
        c = p.client()
        harness.equal(c.cmd("FUNCTION", "LIST"), order, "in the same order")
        harness.equal(libraries_of(c), want)
        harness.equal(c.cmd("FCALL", "count", 0), 1)
        harness.equal(c.cmd("FCALL", "put", 1, "k", "v"), "OK")
        harness.equal(c.error("FUNCTION", "LOAD", LIBRARIES[b"two"]).text, "ERR Library 'two' already exists")
    with redis_of(path()) as redis:
        c = redis.client()
        harness.equal(libraries_of(c), want)
        harness.equal(c.cmd("FCALL", "first", 1, "k", "a"), [b"k", b"a", b"of one"])
        harness.equal(c.cmd("GET", "k"), b"v")
        size = os.path.getsize(path())
        c.cmd("SAVE")
        harness.check(os.path.getsize(path()) < size / 5, "Redis compresses the code")
    with purserd(open_to_all) as p:
        c = p.client()
        harness.equal(libraries_of(c), want, "of Redis")
        harness.equal([c.cmd("FCALL", "long", 0), c.cmd("FCALL", "first", 1, "k", "a"), c.cmd("GET", "k")], [5, [b"k", b"a", b"of one"], b"v"])
        c.cmd("FUNCTION", "FLUSH")
    with purserd(open_to_all) as p:
        harness.equal(p.client().cmd("FUNCTION", "LIST"), [])
    head, fn = b"#!lua name=l\n", b"redis.register_function('f', function() return 1 end)"
    for parts, text in (([part(head + b"x x")], "a library of functions: Error compiling function: user_function:2:"),
                        ([part(head + b"error('no good')")], "a library of functions: Error registering functions: "),
                        ([part(head + b"redis.call('SET', 'k', 'v')" + fn)], "a library of functions: Error registering functions: "),
                        ([part(head + b"return 1")], "a library of functions: No functions registered"),
                        ([part(b"return 1")], "a library of functions: Missing library metadata"),
                        ([part(b"#!js name=l\n" + fn)], "a library of functions: Engine 'js' not found"),
                        ([part(head + b"while true do end")], "a library of functions: Error registering functions: ERR FUNCTION LOAD timeout"),
                        ([part(head + fn)] * 2, "a library of functions: Library l already exists"),
                        ([part(head + fn), part(b"#!lua name=m\n" + fn)], "a library of functions: Function f already exists"),
                        ([part(head + fn, 0xF6)], "previews of Redis 7.0"),
                        ([part(head + fn)[:20]], "ends too early")):
        file_of(*parts)
        refused(purserd(open_to_all), "snapshot: byte ", text, "move it away")
        r = subprocess.run(["redis-server", "--port", "0", "--dir", harness.tmp(), "--dbfilename", "dump.rdb"], capture_output=True,
                           text=True, check=False, timeout=60)
        harness.check(r.returncode, f"Redis refuses it too: {parts}")
    file_of(part(head + fn))
    with purserd(open_to_all) as p:
        harness.equal(p.client().cmd("FCALL", "f", 0), 1)


def uses(p, *keys):
    return {k: p.cmd("OBJECT", "FREQ", k) for k in keys}


def of_policies():
    """What eviction knows of a key is kept: how long it was not used, or how often it was; what RESTORE is told of it."""
    os.unlink(path())

    def policy(name):
        return {"backend main.eviction": name, "backend main.max_memory": "1GiB", "backend main.lfu_decay_time": "0s"}

    def of_redis_under(name):
        return redis_of(path(), ["--maxmemory-policy", name, "--maxmemory", "1gb", "--lfu-decay-time", "0"])

    def restore(c, key, *more):
        c.cmd("RESTORE", key, 0, c.cmd("DUMP", "k"), *more)

    with purserd(policy("allkeys-lfu")) as p:
        c = p.client()
        c.cmd("SET", "k", "v")
        restore(c, "often", "FREQ", 200)
        restore(c, "never", "FREQ", 0)
        restore(c, "idle", "IDLETIME", 5000)
        restore(c, "again", "FREQ", 100)
        harness.equal(uses(c, "again"), {"again": 100})
        restore(c, "again", "REPLACE")
        want = {"often": 200, "never": 0, "idle": 5, "again": 5}
        harness.equal(uses(c, *want), want)
    with purserd(policy("volatile-lfu")) as p:
        harness.equal(uses(p.client(), *want), want)
    with of_redis_under("allkeys-lfu") as redis:
        c = redis.client()
        harness.equal({k: c.cmd("OBJECT", "FREQ", PREFIX + k.encode()) for k in want}, want)
        c.cmd("SAVE")
    with purserd(policy("allkeys-lru")) as p:
        c = p.client()
        for k in want:
            harness.check(c.cmd("OBJECT", "IDLETIME", k) < 60 * harness.SLOW)
        restore(c, "idle", "IDLETIME", 5000, "REPLACE")
        restore(c, "often", "FREQ", 200, "REPLACE")
        harness.check(5000 <= c.cmd("OBJECT", "IDLETIME", "idle") < 5000 + 60 * harness.SLOW)
        harness.check(c.cmd("OBJECT", "IDLETIME", "often") < 60 * harness.SLOW)
    for name in ("volatile-lru", "allkeys-lru", "noeviction"):
        with purserd(policy(name)) as p:
            harness.check(5000 <= p.client().cmd("OBJECT", "IDLETIME", "idle") < 5000 + 60 * harness.SLOW, name)
        if name != "noeviction":
            with of_redis_under(name) as redis:
                harness.check(5000 <= redis.client().cmd("OBJECT", "IDLETIME", PREFIX + b"idle") < 5000 + 60 * harness.SLOW, name)
    with purserd(policy("allkeys-lfu")) as p:
        harness.equal(uses(p.client(), *want), dict.fromkeys(want, 5), "noeviction wrote nothing of it")
    with purserd(policy("allkeys-s3fifo")) as p:
        c = p.client()
        restore(c, "often", "FREQ", 200, "REPLACE")
        restore(c, "never", "FREQ", 0, "REPLACE")
        harness.equal(uses(c, "often", "never"), {"often": 3, "never": 0})
    with purserd(policy("allkeys-s3fifo")) as p:
        harness.equal(uses(p.client(), "often", "never"), {"often": 3, "never": 0})


def main():
    harness.require("redis-server", "redis-check-rdb")
    g = random.Random(harness.seed())
    over_a_restart_and_to_redis(g)
    of_redis(g)
    damaged(g)
    saves_that_fail()
    one_owner(g)
    reload(g)
    larger_than_max_memory()
    libraries()
    of_policies()


harness.run(main)
