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


harness.run(main)
