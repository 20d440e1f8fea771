#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""CONFIG GET, SET, RESETSTAT and INFO: replies of a redis-server where a setting means the same, what a store in this
process alone lets its project set, and the sections that tools read."""

import signal

import harness
from harness import Client, Purserd, Redis, check, equal

# What both answer alike: in order, for a setting holds for the next line.
SAME = """
CONFIG SET a|CONFIG SET maxmemory|CONFIG SET maxmemory 1mb foo|CONFIG SET foo 1|CONFIG SET maxmemory abc|CONFIG SET maxmemory -1
CONFIG SET maxmemory 1gx|CONFIG SET maxmemory 1mb maxmemory 2mb|CONFIG SET databases 3|CONFIG SET notify-keyspace-events Q
CONFIG SET maxmemory 5mb foo 1|CONFIG GET maxmemory|CONFIG SET maxmemory 5mb notify-keyspace-events Q|CONFIG GET maxmemory
CONFIG SET maxmemory 5mb notify-keyspace-events KA|CONFIG GET maxmemory|CONFIG GET notify-keyspace-events|CONFIG SET maxmemory 7k
CONFIG GET maxmemory|CONFIG SET MAXMEMORY 3KB|CONFIG GET MaxMemory|CONFIG SET maxmemory 2g|CONFIG GET maxmemory|CONFIG SET maxmemory 9b
CONFIG GET maxmemory|CONFIG SET maxmemory 0|CONFIG GET maxmemory|CONFIG SET maxmemory-policy ALLKEYS-LRU|CONFIG GET maxmemory-policy
CONFIG SET maxmemory-policy noeviction|CONFIG GET maxmemory-policy|CONFIG SET hash-max-listpack-entries 512
CONFIG SET hash-max-ziplist-value 64|CONFIG GET hash-max-listpack-value|CONFIG GET zset-max-ziplist-entries|CONFIG GET list-max-listpack-size
CONFIG GET set-max-intset-entries|CONFIG GET hll-sparse-max-bytes|CONFIG SET save abc nosuch 1|CONFIG GET save|CONFIG GET appendonly
CONFIG GET timeout|CONFIG GET proto-max-bulk-len|CONFIG GET nosuch|CONFIG GET no*such|CONFIG GET stream-node-max-bytes
CONFIG SET notify-keyspace-events KEA|CONFIG GET notify-keyspace-events|CONFIG SET notify-keyspace-events|CONFIG RESETSTAT x|CONFIG RESETSTAT
CONFIG GET lua-time-limit|CONFIG SET lua-time-limit 70|CONFIG GET busy-reply-threshold|CONFIG SET busy-reply-threshold -1
CONFIG SET lua-time-limit 5ms|CONFIG SET busy-reply-threshold 9223372036854775807|CONFIG GET busy*|CONFIG SET lua-time-limit 0
CONFIG GET *time-limit|CONFIG SET lua-time-limit 5000
""".replace("\n", "|").strip("|").split("|")


OWN = "[backend main]\nplugin = memory\n"


def fields(text):
    sections, name = {}, None
    for line in text.decode().splitlines():
        if line.startswith("# "):
            name = line[2:]
            sections[name] = {}
        elif line:
            k, v = line.split(":", 1)
            sections[name][k] = v
    return sections


def replies(c, lines):
    out = []
    for line in lines:
        words = line.split(" ")
        try:
            out.append(c.cmd(*words))
        except harness.RespError as e:
            out.append(e.text)
    return out


def same_as_redis(redis):
    with Purserd({"backend main.plugin": "memory", "backend main.max_memory": "0B"}) as p, Client(redis.sock) as live, p.client() as ours:
        for line, want, got in zip(SAME, replies(live, SAME), replies(ours, SAME)):
            equal(got, want, line)
        equal(ours.cmd("CONFIG", "GET", "maxclients", "databases"), [b"databases", b"1", b"maxclients", b"10000"])
        both = ours.cmd("CONFIG", "GET", "maxmemory*", "save")
        equal(sorted(both[::2]), [b"maxmemory", b"maxmemory-policy", b"save"])
        check("no other value" in ours.error("CONFIG", "SET", "hash-max-listpack-entries", "3").text)
        equal(ours.cmd("CONFIG", "GET", "hash-max-listpack-entries"), [b"hash-max-listpack-entries", b"512"])


def reload(c):
    """... when the reload before is over."""
    def done():
        c.send("PURSER.RELOAD")
        reply = c.read()
        check(not isinstance(reply, harness.RespError) or "in_progress" in reply.text, reply)
        return not isinstance(reply, harness.RespError)
    harness.wait_until(done, "a reload")


def it_matters(p):
    """A smaller limit refuses writes at once; the file's takes over when the file changes, and not before."""
    with p.client() as c:
        c.cmd("SET", "k", "x" * 10000)
        equal(c.cmd("CONFIG", "SET", "maxmemory", "1kb"), "OK")
        equal(c.error("SET", "k2", "v").word, "OOM")
        equal(c.cmd("CONFIG", "SET", "maxmemory", "1mb"), "OK")
        equal(c.cmd("SET", "k2", "v"), "OK")
        reload(c)
        equal(c.cmd("CONFIG", "GET", "maxmemory"), [b"maxmemory", b"1048576"])
        p.write_config(OWN + "max_memory = 7MiB\n")
        reload(c)
        equal(c.cmd("CONFIG", "GET", "maxmemory"), [b"maxmemory", b"%d" % (7 << 20)])


def slow_script(p):
    """When others are told of a script that is slow."""
    with p.client() as one, p.client() as other:
        equal(other.cmd("CONFIG", "SET", "lua-time-limit", "5"), "OK")
        one.send("EVAL", "while true do end", 0)

        def busy():
            other.send("GET", "k")
            return getattr(other.read(), "word", None) == "BUSY"
        harness.wait_until(busy, "BUSY")
        equal(other.cmd("SCRIPT", "KILL"), "OK")
        check("killed" in one.read().text)


def not_everybodys(redis):
    two = "[backend main]\nplugin = memory\n[project a]\n[project b]\n"
    with Purserd(config=two) as p, p.client() as c:
        c.cmd("PURSER.PROJECT", "a")
        e = c.error("CONFIG", "SET", "maxmemory", "1mb")
        check(e.word == "NOPERM" and "share" in e.text, e.text)
        equal(c.error("CONFIG", "RESETSTAT").word, "NOPERM")
        check("Keyspace" not in fields(c.cmd("INFO")), "one project sees how many keys there are of all")
        equal(c.cmd("CONFIG", "GET", "maxmemory"), [b"maxmemory", b"%d" % (100 << 20)])
    with Purserd(config="[agent]\nmode = production\n[backend main]\nplugin = memory\n[project a]\nallow_uid = *\nrole = operator\n") as p, p.client() as c:
        c.cmd("PURSER.PROJECT", "a")
        e = c.error("CONFIG", "SET", "maxmemory", "1mb")
        check(e.word == "NOPERM" and "production" in e.text, e.text)
    with Purserd(config=f"[backend main]\nplugin = redis\nurl = {redis.url}\n") as p, p.client() as c:
        e = c.error("CONFIG", "SET", "maxmemory", "1mb")
        check(e.word == "NOPERM" and "operator" in e.text, e.text)
        equal(c.cmd("CONFIG", "GET", "appendonly"), [b"appendonly", b"no"])
        info = fields(c.cmd("INFO", "everything"))
        equal(info["Replication"]["role"], "master")
        check("cmdstat_config|get" in info["Commandstats"], info["Commandstats"])


def sections(p):
    with p.client() as c:
        c.pipeline([("SET", "k", "v"), ("GET", "k"), ("GET", "none"), ("GET", "k"), ("LPUSH", "k", "x")])
        info = fields(c.cmd("INFO"))
        equal([s for s in info if s != "Purser"], ["Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU",
                                                   "Errorstats", "Cluster", "Keyspace"])
        for section, names in {"Server": "redis_version redis_mode process_id uptime_in_seconds arch_bits tcp_port",
                               "Clients": "connected_clients maxclients blocked_clients",
                               "Memory": "used_memory used_memory_human used_memory_rss used_memory_peak maxmemory maxmemory_policy "
                                         "mem_fragmentation_ratio",
                               "Persistence": "loading",
                               "Stats": "total_connections_received total_commands_processed total_net_input_bytes keyspace_hits "
                                        "keyspace_misses expired_keys evicted_keys",
                               "Replication": "role connected_slaves master_repl_offset",
                               "CPU": "used_cpu_sys used_cpu_user"}.items():
            for name in names.split():
                check(name in info[section], section, name, "is missing")
        equal(info["Errorstats"]["errorstat_WRONGTYPE"], "count=1")
        check(info["Keyspace"]["db0"].startswith(("keys=1,", "keys=2,")), info["Keyspace"])  # the agent's probe has one at times
        equal(c.cmd("INFO", "nosuch"), b"")
        equal(list(fields(c.cmd("INFO", "commandstats", "cluster"))), ["Commandstats", "Cluster"])
        stats = fields(c.cmd("INFO", "all"))["Commandstats"]
        check(stats["cmdstat_get"].startswith("calls=3,usec=") and stats["cmdstat_get"].endswith("rejected_calls=0,failed_calls=0"),
              stats)
        check(stats["cmdstat_lpush"].endswith(",failed_calls=1"), stats)
        hits = int(info["Stats"]["keyspace_hits"])
        check(hits >= 2, hits)
        c.cmd("CONFIG", "RESETSTAT")
        check(int(fields(c.cmd("INFO"))["Stats"]["keyspace_hits"]) < hits, "it begins anew")
        # in a transaction from the agent's own state alone
        c.cmd("MULTI")
        c.cmd("INFO", "server")
        c.cmd("CONFIG", "GET", "maxmemory")
        got = c.cmd("EXEC")
        check(b"redis_version" in got[0], got)
        equal(got[1][0], b"maxmemory")
    with p.client() as c:
        c.cmd("HELLO", "3")
        equal(c.cmd("CONFIG", "GET", "save", "timeout"), {b"save": b"", b"timeout": b"0"})


def in_a_crowd():
    """What is asked of the store while more clients are ready than are read at once."""
    with Purserd({"agent.workers": 1}, config=OWN) as p:
        askers, others = [p.client() for _ in range(40)], [p.client() for _ in range(80)]
        for c in askers + others:
            c.cmd("PING")
        p.signal(signal.SIGSTOP)
        for c in askers:
            c.send("CONFIG", "GET", "maxmemory-policy", *("databases" for _ in range(20)))
        for c in others:
            c.send("SET", "x" * 50, "y" * 400)
        p.signal(signal.SIGCONT)
        for c in askers:
            equal(sorted(c.read()[::2]), [b"databases", b"maxmemory-policy"])
        for c in others:
            equal(c.read(), "OK")


def main():
    with Redis() as redis:
        same_as_redis(redis)
        not_everybodys(redis)
    with Purserd() as p:
        sections(p)
    with Purserd(config=OWN) as p:
        slow_script(p)
        it_matters(p)
    in_a_crowd()


harness.run(main)
