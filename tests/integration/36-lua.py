#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Lua on the memory plugin: lua.corpus answers byte for byte as redis-server does, in RESP2 and RESP3; the sandbox
holds; scripts of well-known libraries run; its memory is bounded."""

import hashlib
import os
import random
import re
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import Purserd, Redis, check, equal

CONFIG = """[agent]
mode = development
[backend main]
plugin = memory
script_memory = 16MiB
[project default]
isolation = off
"""
POINTER = re.compile(rb"(table|function|builtin|userdata|thread): 0x[0-9a-f]+")


class Raw:
    """Replies as they are."""

    def __init__(self, path, resp):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(path)
        self.n = 0
        if resp == 3:
            self.cmd("HELLO", 3)

    def cmd(self, *words):
        self.n += 1
        mark = f"end of reply {self.n}"
        self.s.sendall(harness.encode(*words) + harness.encode("ECHO", mark))
        end = b"$%d\r\n%s\r\n" % (len(mark), mark.encode())
        got = b""
        while not got.endswith(end):
            more = self.s.recv(1 << 20)
            check(more, "the connection was closed", words)
            got += more
        return POINTER.sub(rb"\1: PTR", got[:-len(end)])


def corpus():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "lua.corpus"), "rb") as f:
        return f.read().rstrip(b"\n").split(b"\n---\n")


def same(redis, p):
    for resp in (2, 3):
        a, b = Raw(redis.sock, resp), Raw(p.sock, resp)
        for script in corpus():
            line = ("EVAL", script, 2, "k1", "k2", "a1", "a2")
            equal(b.cmd(*line), a.cmd(*line), (resp, script))
            line = ("EVALSHA", hashlib.sha1(script).hexdigest()) + line[2:]
            if b"random" not in script and b"SET" not in script.upper():
                equal(b.cmd(*line), a.cmd(*line), (resp, "sha", script))
        for line in (["EVAL"], ["EVAL", "return 1"], ["EVAL", "return 1", "x"], ["EVAL", "return 1", -1], ["EVAL", "return 1", 1],
                     ["EVALSHA", "x", 0], ["EVALSHA", "f" * 40, 0], ["EVALSHA", "f" * 40, 1], ["EVAL_RO", "return redis.call('set', 'a', 1)", 0],
                     ["EVAL_RO", "#!lua\nreturn 1", 0], ["EVAL_RO", "#!lua flags=no-writes\nreturn 1", 0], ["SCRIPT", "LOAD", "return {"],
                     ["SCRIPT", "LOAD", "return 5"], ["SCRIPT", "LOAD", "#!lua flags=x\nreturn 1"], ["SCRIPT", "EXISTS", hashlib.sha1(b"return 5").hexdigest(), "x"],
                     ["SCRIPT", "FLUSH", "x"], ["SCRIPT", "FLUSH", "SYNC"], ["EVALSHA_RO", "f" * 40, 0]):
            equal(b.cmd(*line), a.cmd(*line), (resp, line))


ESCAPES = (
    "return require", "return package", "return io", "return os", "return dofile", "return loadfile", "return debug", "return getfenv",
    "return setfenv", "return newproxy", "return module", "return print", "string.x = 1", "redis.call = 1", "_G.x = 1", "rawset(_G, 'x', 1)",
    "rawset(string, 'x', 1)", "setmetatable(_G, {})", "setmetatable(redis, nil)", "table.insert(table, 1)", "getmetatable('').__index = {}",
    "rawset(getmetatable(''), '__index', 1)", "getmetatable(_G).__index = 1", "cjson.encode = 1", "for k, v in pairs(_G) do if k == '_G' then v.x = 1 end end",
    "bit.x = 1", "math.random = 1", "coroutine.wrap = 1", "KEYS = 1", "ARGV = nil", "__redis__err__handler = 1",
    "xpcall(function() error() end, function() string.x = 1 error('no') end) error('held')", "loadstring('x = 1')()", "load(function() return nil end)() error('x')",
    "assert(loadstring(string.dump(function() return 1 end)))", "local d = string.dump(function() end) local n = 0 "
    "assert(load(function() n = n + 1 return d:sub(n, n) ~= '' and d:sub(n, n) or nil end))", "assert(loadstring('\\27Lua'))",
)


def sandbox(p):
    """None of it works, and none of it is there for the next script."""
    with p.client() as c:
        for script in ESCAPES:
            c.error("EVAL", script, 0)
        equal(c.cmd("EVAL", """
            local bad = {}
            for k in pairs(_G) do if k == 'x' then bad[1] = k end end
            for _, lib in ipairs({'string', 'redis', 'table', 'math', 'bit', 'cjson'}) do
                if rawget(_G[lib], 'x') then bad[#bad + 1] = lib end
            end
            return {#bad, type(redis.call), type(cjson.encode), type(math.random), ('x'):upper()}""", 0),
            [0, b"function", b"function", b"function", b"X"])
        # what a face hides is not to be had from anywhere that a script can look
        equal(c.cmd("EVAL", """
            local seen, todo, found = {}, {_G}, 0
            while #todo > 0 do
                local t = table.remove(todo)
                if not seen[t] then
                    seen[t] = true
                    if pcall(rawset, t, 'x', nil) then found = found + 1 end
                    for k, v in pairs(t) do if type(v) == 'table' then todo[#todo + 1] = v end end
                    local m = getmetatable(t)
                    if type(m) == 'table' then todo[#todo + 1] = m end
                end
            end
            return found""", 0), 2, "KEYS and ARGV are all that can be changed")


def bounded(p):
    with p.client() as c:
        for script in ("return #string.rep('x', 1e9)", "local t = {} while true do t[#t + 1] = {} end", "local s = 'x' while true do s = s .. s end",
                       "local t = {} while true do pcall(function() t[#t + 1] = ('x'):rep(1000) .. #t end) if #t > 1e6 then break end end return 1",
                       "return cjson.encode(('x'):rep(15e6))"):
            e = c.error("EVAL", script, 0) if "pcall" not in script else None
            check(e is None or e.word == "OOM", script, e)
            equal(c.cmd("EVAL", "return 1", 0), 1)
        # what is garbage is no reason to fail
        equal(c.cmd("EVAL", "local n = 0 for i = 1, 20000 do n = n + #(('x'):rep(10000) .. i) end return n > 0", 0), 1)
        lua = int(re.search(rb"used_memory_lua:(\d+)", c.cmd("INFO", "memory"))[1])
        check(0 < lua < 16 << 20, lua)
        # any number of scripts: those that were not used for long are forgotten
        for i in range(3000):
            equal(c.cmd("EVAL", f"return {i} --" + "x" * 100 + f" local function f() return '{i}' end", 0) if i % 2 else i, i)
        equal(c.cmd("EVAL", "return 1", 0), 1)


def hostile(p):
    """One call of a library's function does not take all memory, nor the worker for minutes."""
    many = "local s, t = ('x'):rep(1e6), {} for i = 1, 3000 do t[i] = s end "
    within = "local t = {1} for i = 1, 40 do t = {t, t} end "
    with p.client() as c:
        for script in (many + "return t", within + "return t", many + "return cjson.encode(t)", many + "return cjson.new().encode(t)",
                       within + "return cjson.encode(t)"):
            equal(c.error("EVAL", script, 0).word, "OOM", script)
        c.cmd("SET", "hostile", b"x" * 1000000)
        for script in ("local a = {'MGET'} for i = 1, 3000 do a[#a + 1] = 'hostile' end return redis.call(unpack(a))",
                       "return redis.call('SET', 'hostile2', ('x'):rep(1e6)) and redis.call('MGET', unpack(redis.call('LRANGE', KEYS[1], 0, -1)))"):
            c.cmd("DEL", "hostiles")
            c.cmd("RPUSH", "hostiles", *["hostile"] * 3000)
            check("not enough memory" in str(c.error("EVAL", script, 1, "hostiles")), script)
        c.cmd("DEL", "hostile", "hostile2", "hostiles")
        equal(c.cmd("EVAL", "return string.rep('', 2147483647)", 0), b"")
        check("position out of bounds" in str(c.error("EVAL", "table.insert({}, -2147483647, 1)", 0)))


LIMITER = """local n = redis.call('INCRBY', KEYS[1], ARGV[2]) if tonumber(n) == tonumber(ARGV[2]) then redis.call('EXPIRE', KEYS[1], ARGV[1]) end return n"""
SLIDING = """local now = tonumber(ARGV[1]) redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - tonumber(ARGV[2]))
local n = redis.call('ZCARD', KEYS[1]) if n < tonumber(ARGV[3]) then redis.call('ZADD', KEYS[1], now, now) redis.call('PEXPIRE', KEYS[1], ARGV[2]) return {1, n + 1} end return {0, n}"""
UNLOCK = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end"
EXTEND = """local token = redis.call('get', KEYS[1]) if not token or token ~= ARGV[1] then return 0 end
local expiration = redis.call('pttl', KEYS[1]) if not expiration then expiration = 0 end if expiration < 0 then return 0 end
redis.call('pexpire', KEYS[1], expiration + ARGV[2]) return 1"""
MOVE = """local jobs = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 10)
if #jobs > 0 then redis.call('ZREM', KEYS[1], unpack(jobs)) for i = 1, #jobs, 5 do redis.call('LPUSH', KEYS[2], unpack(jobs, i, math.min(i + 4, #jobs))) end end
return {#jobs, cmsgpack.pack(jobs), cjson.encode({n = #jobs})}"""
STATE = """local j = cjson.decode(redis.call('HGET', KEYS[1], 'data') or '{"tries":0}') j.tries = j.tries + 1 j.opts = cmsgpack.unpack(ARGV[1])
redis.call('HSET', KEYS[1], 'data', cjson.encode(j)) return j.tries"""


def harmless(p):
    """A pattern that would need more stack than there is, and a collector that is stopped, are the script's own trouble."""
    with p.client() as c:
        for call in ("string.find(s, q)", "string.match(s, q)", "string.gsub(s, q, '')", "string.gmatch(s, q)()", "s:find(q)"):
            for item in ("a?", "a-", "a*", "()"):
                e = c.error("EVAL", f"local s, q = string.rep('a', 1000000), string.rep('{item}', 1000000) return {call}", 0)
                check("pattern too complex" in e.text or "too many captures" in e.text, call, item, e)
        script = "local n = 20000 return #string.match(string.rep('a', n), string.rep('a?', n))"
        equal(c.cmd("EVAL", script, 0), 20000)
        equal(c.cmd("EVAL", "return string.find(string.rep('-', 200000), string.rep('-', 100000), 1, true)", 0), 1)
        for how in ("'stop'", "'setpause', 100000", "'setstepmul', 1"):
            c.cmd("EVAL", f"collectgarbage({how})", 0)
            # ten times what there is, none of it kept
            equal(c.cmd("EVAL", "for n = 1, 1600 do local s = string.rep('x', 100000) .. n end return 1", 0), 1)


def usual(redis, p, rng):
    """Locks, limiters and queues as libraries write them: the same random use on both servers."""
    a, b = Raw(redis.sock, 2), Raw(p.sock, 2)
    for c in (a, b):
        c.cmd("FLUSHALL")
    for _ in range(300):
        key = f"k{rng.randrange(3)}"
        line = rng.choice((
            ("EVAL", LIMITER, 1, "lim:" + key, 100, rng.randrange(1, 4)), ("EVAL", SLIDING, 1, "win:" + key, rng.randrange(10000), 1000000, 5),
            ("SET", "lock:" + key, f"t{rng.randrange(2)}", "NX", "PX", 100000), ("EVAL", UNLOCK, 1, "lock:" + key, f"t{rng.randrange(2)}"),
            ("ZADD", "due:" + key, rng.randrange(100), f"job{rng.randrange(50)}"), ("EVAL", MOVE, 2, "due:" + key, "ready:" + key, rng.randrange(100)),
            ("EVAL", STATE, 1, "job:" + key, b"\x93\x01\xa1x\xc3"), ("LRANGE", "ready:" + key, 0, -1), ("HGETALL", "job:" + key), ("GET", "lim:" + key)))
        equal(b.cmd(*line), a.cmd(*line), line)
    for c in (a, b):
        equal(c.cmd("SET", "lock:x", "t", "PX", 100000), b"+OK\r\n")
        equal(c.cmd("EVAL", EXTEND, 1, "lock:x", "t", 100000), b":1\r\n")


def library(body, name="lib"):
    return f"#!lua name={name}\n{body}"


def register(name, body):
    return f"redis.register_function('{name}', function(keys, args) {body} end)\n"


NAMED = "redis.register_function{%s}"
BROKEN = ("x", "#!lua", "#!lua\nreturn 1", "#!lua name=\nreturn 1", "#!lua name=a-b\nreturn 1", "#!js name=a\nreturn 1", "#!lua name=a foo=b\nreturn 1",
          "#!lua name=a name=b\nreturn 1", "#!lua foo\n") + tuple(map(library, (
              "", "return {", "error('x')", "redis.call('get', 'x')", "x = 1", "return nosuch", "redis.x = 1", "math.random()", "redis.setresp(3)", "redis.sha1hex('a')",
              "redis.register_function()", "redis.register_function('a')", "redis.register_function('a', 'b')", "redis.register_function('a-b', function() end)",
              "redis.register_function({}, function() end)", "redis.register_function('a', function() end, {})", "while true do end",
              NAMED % "function_name = 'a'", NAMED % "callback = function() end", NAMED % "function_name = 'a', callback = 5", NAMED % "function_name = 5",
              NAMED % "function_name = 'a', callback = function() end, foo = 1", NAMED % "function_name = 'a', callback = function() end, flags = 1",
              NAMED % "function_name = 'a', callback = function() end, flags = {'x'}", NAMED % "function_name = 'a', callback = function() end, flags = {1}",
              NAMED % "'a'", NAMED % "function_name = 'a', callback = function() end, description = 5",
              register("a", "return 1") + register("A", "return 1"))))
GOOD = library(register("f1", "return {keys[1], args[1]}") + register("g1", "error('boo')") + register("g2", "return redis.call('nosuch')") +
               register("g3", "return redis.call('SET', keys[1], args[1])") + register("g4", "x = 1") + register("g5", "return nosuch") +
               register("g6", "return redis.register_function") + register("g7", "return KEYS") + register("g8", "local t = {} for k in pairs(redis) do t[#t + 1] = k end "
               "table.sort(t) return t") + register("g9", "redis.setresp(3) return {map = {a = 1.5}, true}") + register("g10", "return {math.abs(-1), cjson.encode(args)}") +
               register("g11", "redis.register_function('late', function() end)") + "local n = 0\n" + register("count", "n = n + 1 return n") +
               NAMED % "function_name = 'read', callback = function(k, a) return redis.call('GET', k[1]) end, flags = {'no-writes', 'allow-stale'}, description = 'reads'")


def functions(redis, p):
    """Libraries: what they say when they are wrong, calls, lists, payloads that either server takes from the other."""
    for resp in (2, 3):
        a, b = Raw(redis.sock, resp), Raw(p.sock, resp)
        for code in BROKEN:
            equal(b.cmd("FUNCTION", "LOAD", code), a.cmd("FUNCTION", "LOAD", code), code)
        for line in (
                ["LOAD", GOOD], ["LOAD", GOOD], ["LOAD", "REPLACE", GOOD], ["LOAD", "FOO", GOOD], ["LOAD", "REPLACE"], ["LOAD", library(register("F1", "return 1"), "other")],
                ["DELETE", "nosuch"], ["FLUSH", "x"], ["STATS"], ["LIST", "LIBRARYNAME"], ["LIST", "FOO"], ["LIST", "WITHCODE", "WITHCODE"],
                ["LIST", "LIBRARYNAME", "x"], ["LIST", "LIBRARYNAME", "L*", "WITHCODE"][:3], ["RESTORE", "x"], ["RESTORE", "x", "FOO"], ["KILL"], ["DELETE"], ["LOAD"]):
            x, y = a.cmd("FUNCTION", *line), b.cmd("FUNCTION", *line)
            if line[:2] == ["LIST", "LIBRARYNAME"] and len(line) > 2: # functions come in any order
                x, y = sorted(x.split(b"\r\n")), sorted(y.split(b"\r\n"))
            equal(y, x, line)
        for line in (["f1", 0], ["f1", 1, "k", "a"], ["F1", 0], ["nosuch", 0], ["f1", "x"], ["f1", -1], ["f1", 5], ["read", 1, "k"], ["count", 0], ["count", 0],
                     ["g1", 0], ["g2", 0], ["g3", 1, "k", "v"], ["g4", 0], ["g5", 0], ["g6", 0], ["g7", 0], ["g8", 0], ["g9", 0], ["g10", 0, "a"], ["g11", 0]):
            for word in ("FCALL", "FCALL_RO"):
                equal(b.cmd(word, *line), a.cmd(word, *line), (word, line))
        equal(b.cmd("EVAL", "return redis.call('FCALL', 'f1', 0)", 0), a.cmd("EVAL", "return redis.call('FCALL', 'f1', 0)", 0))
        for one, other in ((a, b), (b, a)):
            dump = one.cmd("FUNCTION", "DUMP").split(b"\r\n", 1)[1][:-2]
            for line in (["RESTORE", dump], ["RESTORE", dump, "REPLACE"], ["RESTORE", dump, "APPEND"], ["RESTORE", dump, "FLUSH"], ["RESTORE", dump[:-1], "FLUSH"]):
                equal(b.cmd("FUNCTION", *line), a.cmd("FUNCTION", *line), line[2:])
            equal(other.cmd("FCALL", "f1", 1, "k", "a"), one.cmd("FCALL", "f1", 1, "k", "a"))
        for line in (["FLUSH", "ASYNC"], ["LIST"], ["STATS"], ["DUMP"]):
            equal(b.cmd("FUNCTION", *line), a.cmd("FUNCTION", *line), line)


def atomic(p):
    """Many clients: nobody sees half of a script, and none is lost."""
    move = """local a = tonumber(redis.call('GET', KEYS[1])) local b = tonumber(redis.call('GET', KEYS[2]))
        redis.call('SET', KEYS[1], a - 1) redis.call('SET', KEYS[2], b + 1) return a + b"""
    wrong = []
    with p.client() as c:
        c.cmd("MSET", "from", 100000, "to", 0)

        def run():
            with p.client() as mine:
                for _ in range(200):
                    if mine.cmd("EVAL", move, 2, "from", "to") != 100000:
                        wrong.append("half of a script")
                    if sum(map(int, mine.cmd("MGET", "from", "to"))) != 100000:
                        wrong.append("half a transfer")

        threads = [threading.Thread(target=run) for _ in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        check(not wrong, wrong[:3])
        equal(c.cmd("MGET", "from", "to"), [b"98800", b"1200"])
        # in a transaction too, and it sees what stands before it
        equal(c.pipeline([["MULTI"], ["SET", "t", 1], ["EVAL", "return redis.call('INCR', 't')", 0], ["GET", "t"], ["EXEC"]])[-1], ["OK", 2, b"2"])


def main():
    rng = random.Random(harness.seed())
    with Redis() as redis, Purserd(config=CONFIG) as p:
        same(redis, p)
        functions(redis, p)
        sandbox(p)
        usual(redis, p, rng)
        bounded(p)
        harmless(p)
        hostile(p)
        atomic(p)
    with Purserd({"agent.workers": 3}, config=CONFIG) as p:
        atomic(p)


harness.run(main)
