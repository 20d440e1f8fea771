#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Scripts of an isolated project: they see logical names, answer as on a Redis of their own, and reach nothing of
another project, on both backends.  Each line of ESCAPES is one attempt and what it must come to."""

import hashlib
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
from harness import Purserd, Redis, RespError, check, equal

MARK = "9f2c61d07a5b4e83"  # what project b holds: no byte of it may reach a
CONFIG = """[agent]
mode = development
[backend main]
{backend}
[project a]
[project b]
"""

# Answered as by a Redis that nobody else uses: name of the reply or error, byte for byte.
SAME = [line for line in r"""
return {KEYS[1], KEYS[2], ARGV[1], ARGV[2], #KEYS, #ARGV}
return redis.call('set', KEYS[1], ARGV[1])
redis.call('set', 'made:' .. ARGV[1], 1) return redis.call('get', 'made:a1')
redis.call('SET', 5, 1) redis.call('SET', 1.5, 2) return {redis.call('get', '5'), redis.call('get', '1.5')}
redis.call('set', 12345678901234567, 3) return redis.call('get', '12345678901234568')
redis.call('mset', 'a', 1, 'b', 2, KEYS[1], 3) return redis.call('mget', 'a', 'b', KEYS[1])
redis.call('rpush', 'l', 1, 2, 3) return redis.call('lmpop', 2, KEYS[1], 'l', 'LEFT', 'COUNT', 2)
redis.call('rpush', 'l', 1, 2, 3) return redis.call('blmpop', 0, 2, KEYS[1], 'l', 'LEFT', 'COUNT', 2)
redis.call('zadd', 'z', 1, 'm') redis.call('zadd', 'y', 2, 'm') redis.call('zunionstore', 't', 2, 'z', 'y') return redis.call('zrange', 't', 0, -1, 'WITHSCORES')
redis.call('zadd', 'z', 1, 'm') return redis.call('zmpop', 1, 'z', 'MIN')
redis.call('xadd', 's', '1-1', 'f', 'v') return redis.call('xread', 'COUNT', 1, 'STREAMS', 's', 0)
redis.setresp(3) redis.call('xadd', 's', '1-1', 'f', 'v') return redis.call('xread', 'COUNT', 1, 'STREAMS', 's', 0)
redis.call('xadd', 's', '1-1', 'f', 'v') redis.call('xgroup', 'create', 's', 'g', 0) return redis.call('xreadgroup', 'GROUP', 'g', 'c', 'STREAMS', 's', '>')
return redis.call('xreadgroup', 'GROUP', 'g', 'c', 'COUNT', 1, 'STREAMS', 's', '>')
return redis.pcall('xreadgroup', 'GROUP', 'g', 'c', 'COUNT', 1, 'STREAMS', 's', '>')
local ok, e = pcall(redis.call, 'xreadgroup', 'GROUP', 'g', 'c', 'COUNT', 1, 'STREAMS', 's', '>') return e
return redis.call('get')
return redis.call('get', KEYS[3])
return redis.call()
return redis.pcall()
return redis.call('nosuch', 'x')
return redis.call('object', 'nosuch', 'x')
redis.call('set', KEYS[1], 'v') return redis.call('OBJECT', 'Encoding', 'k1')
return redis.call('subscribe', 'x')
return redis.call('eval', 'x', 0)
return redis.call('auth', 'x')
return redis.call('publish', 'ch', 'x')
redis.call('rpush', 'l', '2', '1') redis.call('sort', 'l', 'STORE', 'd') return redis.call('lrange', 'd', 0, -1)
redis.call('geoadd', 'g', 1, 1, 'm') redis.call('georadius', 'g', 1, 1, 100, 'km', 'STORE', 'd') return redis.call('zrange', 'd', 0, -1)
redis.call('geoadd', 'g', 1, 1, 'm') redis.call('georadiusbymember', 'g', 'm', 100, 'km', 'STOREDIST', 'd') return redis.call('exists', 'd')
return redis.sha1hex('x')
return redis.error_reply('MY err')
return redis.status_reply('fine')
return {err = 'X y'}
error('boom')
return nosuch
local t = nil return t.x
local r = redis return r.call('set', KEYS[1], 'x')
return redis['call']('set', KEYS[1], 'x')
return loadstring('return redis.call("set", KEYS[1], ...)')('z')
local f, e = loadstring('return (') return e
return _G.redis.call('set', _G.KEYS[1], 'x')
return _G._G._G.KEYS[1]
return collectgarbage('count') > 0
return getmetatable('x').__index('x', 'len') == nil
return {redis.acl_check_cmd('set', KEYS[1], 'x'), redis.acl_check_cmd('get', 'foo')}
return (
x = 1
return cjson.encode({1, 2})
local a = {} for i = 1, 7000 do a[i] = i end return redis.call('sadd', KEYS[1], unpack(a))
local a = {} for i = 1, 7000 do a[i] = 'k' .. i end return redis.call('del', unpack(a))
local co = coroutine.wrap(function() return redis.call('set', KEYS[1], 1) end) return co()
return redis.call('set', {}, 1)
return redis.call('mset', 'a')
local e = redis.pcall('incr') return {e.err, tostring(e.ignore_error_stats_update)}
redis.call('hset', 'h', 'f', 'v') redis.setresp(3) return redis.call('hgetall', 'h')
return redis.call('type', KEYS[1])
return 1 -- redis
""".strip().split("\n")] + [
    "local x = 1\nlocal y = redis.call('hget', 'a')\nreturn y",
    "local function f()\n  local r = redis.call('lpop', KEYS[1], 'x')\n  return r\nend\nlocal z = f()\nreturn z",
    "#!lua flags=no-writes\nreturn redis.call('get', KEYS[1])",
    "#!lua flags=no-writes\nreturn redis.call('set', KEYS[1], 1)",
    "#!lua\nlocal x\nlocal y = redis.call('incr', KEYS[1], 1)\nreturn y",
    "#!lua flags=foo\nreturn 1",
    "",
    # as job queues do it (BullMQ): packed options, keys made of a base and an id, several lines
    """local base = KEYS[1] .. ':'
local opts = cmsgpack.unpack(cmsgpack.pack({prio = 3, delay = 0, tags = {'x', 'y'}}))
local function job(id) return base .. id end
local id = redis.call('INCR', base .. 'id')
redis.call('HMSET', job(id), 'name', ARGV[1], 'data', cjson.encode({ARGV[2]}), 'prio', opts['prio'])
redis.call('ZADD', base .. 'prioritized', opts['prio'] * 0x100000000 + id, id)
redis.call('LPUSH', base .. 'wait', id)
redis.call('XADD', base .. 'events', 'MAXLEN', '~', 10, '1-1', 'event', 'added', 'jobId', id)
local moved = redis.call('RPOPLPUSH', base .. 'wait', base .. 'active')
local rcall = redis.call
if rcall('EXISTS', job(moved)) == 1 then rcall('HINCRBY', job(moved), 'atm', 1) end
return {id, moved, rcall('HGETALL', job(moved)), rcall('ZRANGE', base .. 'prioritized', 0, -1, 'WITHSCORES'),
  rcall('XRANGE', base .. 'events', '-', '+'), rcall('LRANGE', base .. 'active', 0, -1)}""",
    # Sidekiq: what is due of a sorted set
    """local key, now = KEYS[1], ARGV[1]
redis.call("zadd", key, 1, "job")
local jobs = redis.call("zrange", key, "-inf", 5, "byscore", "limit", 0, 1)
if jobs[1] then
  redis.call("zrem", key, jobs[1])
  return jobs[1]
end""",
    # a lock, a token bucket
    "redis.call('set', KEYS[1], ARGV[1]) if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end",
    """local tokens = tonumber(redis.call('hget', KEYS[1], 'tokens') or 10)
if tokens < 1 then return {0, tokens} end
redis.call('hset', KEYS[1], 'tokens', tokens - 1, 'by', ARGV[1])
redis.call('pexpire', KEYS[1], 60000)
return {1, tokens - 1}""",
    # pcall and what it gives; an error passed on
    """local r = redis.pcall('lpush', KEYS[1], 'x')
r = redis.pcall('incr', KEYS[1])
if type(r) == 'table' and r.err then return redis.error_reply('WRAPPED ' .. r.err) end
return r""",
]

# (what it tries, the script, what it must answer: a value, or a regular expression of the error's text)
REFUSED = re.compile("beyond the project")
ABSENT = re.compile("nonexistent global|attempt to (call|index)|Unknown Redis command|not allowed|beyond the project")
ESCAPES = [
    ("read a key by its physical name", "return redis.call('get', 'proj:b:secret')", None),
    ("read it by the prefix of its own", "return redis.call('get', 'proj:a:mine')", None),
    ("walk upwards", "return redis.call('get', '../b:secret')", None),
    ("write another's key", "redis.call('set', 'proj:b:secret', 'x') return redis.call('get', 'proj:b:secret')", b"x"),
    ("delete another's key", "return redis.call('del', 'proj:b:secret2')", 0),
    ("KEYS", "return redis.call('keys', '*')", (REFUSED, [b"mine"])),
    ("KEYS with the other prefix", "return redis.call('keys', 'proj:b:*')", (REFUSED, [])),
    ("SCAN", "return redis.call('scan', 0, 'COUNT', 100000)[2]", (REFUSED, [b"mine"])),
    ("SCAN with MATCH", "return redis.call('scan', 0, 'MATCH', 'proj:*', 'COUNT', 100000)[2]", (REFUSED, [])),
    ("RANDOMKEY", "return redis.call('randomkey')", (REFUSED, b"mine")),
    ("DBSIZE", "return redis.call('dbsize')", (REFUSED, 1)),
    ("FLUSHALL", "return redis.call('flushall')", (REFUSED, "OK")),
    ("FLUSHDB in capitals", "return redis.call('FLUSHDB')", (REFUSED, "OK")),
    ("SWAPDB", "return redis.call('swapdb', 0, 1)", REFUSED),
    ("SELECT", "return redis.call('select', 1)", re.compile("beyond the project|out of range")),
    ("MOVE", "return redis.call('move', KEYS[1], 1)", REFUSED),
    ("COPY to a database", "return redis.call('copy', 'mine', 'x', 'DB', 1)", re.compile("beyond the project|out of range")),
    ("INFO", "return redis.call('info')", REFUSED),
    ("CONFIG", "return redis.call('config', 'get', '*')", re.compile("not allowed")),
    ("CLIENT LIST", "return redis.call('client', 'list')", re.compile("not allowed")),
    ("ACL", "return redis.call('acl', 'whoami')", ABSENT),
    ("PUBSUB", "return redis.call('pubsub', 'channels')", ABSENT),
    ("SLOWLOG", "return redis.call('slowlog', 'get')", ABSENT),
    ("MEMORY STATS", "return redis.call('memory', 'stats')", ABSENT),
    ("DEBUG", "return redis.call('debug', 'object', 'x')", ABSENT),
    ("SORT GET another's key", "redis.call('rpush', 'ids', 'secret') return redis.call('sort', 'ids', 'BY', 'nosort', 'GET', 'proj:b:*')",
     (re.compile("insufficient ACL permissions|[Nn]o permission|can't"), [None])),
    ("SORT STORE into another's", "redis.call('rpush', 'ids', '1') redis.call('sort', 'ids', 'STORE', 'proj:b:secret3') return redis.call('exists', 'proj:b:secret3')", 1),
    ("the global redis by _G", "return _G.redis.call('get', 'proj:b:secret')", None),
    ("the global KEYS by _G", "return _G['KE' .. 'YS'][1]", b"k1"),
    ("rawget of _G", "return rawget(_G, 'redis').call('get', 'proj:b:secret')", None),
    ("next over _G", "for k, v in pairs(_G) do if k == 'redis' then return v.call('get', 'proj:b:secret') end end return 'none'", (None, b"none")),
    ("the metatable of _G", "local m = getmetatable(_G) return type(m) == 'table' and type(m.__index) == 'table' and m.__index.redis.call('get', 'proj:b:secret') or 'none'", b"none"),
    ("the metatable of redis", "local m = getmetatable(redis) return type(m) == 'table' and m.__index.call('get', 'proj:b:secret') or 'none'", b"none"),
    ("a new environment", "setfenv(1, {}) return 1", ABSENT),
    ("the environment", "return getfenv().redis.call('get', 'proj:b:secret')", ABSENT),
    ("loadstring", "return loadstring('return redis.call(\"get\", \"proj:b:secret\")')()", None),
    ("loadstring that ends the function", "return loadstring('return 1 end, function() return redis.call(\"keys\",\"*\")')", None),
    ("loadstring by parts", "local n = 'load' .. 'string' return _G[n]('return KEYS[1]')()", b"k1"),
    ("load with a reader", "local done return load(function() if done then return nil end done = true return 'return KEYS[1]' end)()", b"k1"),
    ("bytecode", "local f = loadstring(string.dump(function() return 1 end)) return f and f() or 'none'", b"none"),
    ("dump of redis.call", "local ok, s = pcall(string.dump, redis.call) return ok and (string.find(s, 'proj:', 1, true) or 0) or 'none'", (0, b"none")),
    ("debug", "return debug.getinfo(1)", ABSENT),
    ("a coroutine", "return coroutine.wrap(redis.call)('get', 'proj:b:secret')", (None, re.compile("Lua function expected"))),
    ("an error's handler", "local _, v = xpcall(function() error('x') end, function() return redis.call('get', 'proj:b:secret') end) return v", None),
    ("change the library for others", "local ok = pcall(function() string.sub = function() return 'evil' end end) return ok and 'changed' or 'kept'", b"kept"),
    ("change the metatable of strings", "local ok = pcall(function() getmetatable('').__index = function() return 'evil' end end) return ('x').len", None),
    ("replace unpack", "local ok = pcall(function() _G.unpack = function() return 'get', 'proj:b:secret' end end) return ok and 'changed' or 'kept'", b"kept"),
    ("settings of cjson", "local ok = pcall(function() cjson.encode_max_depth(1) end) return cjson.encode({{{1}}})", b"[[[1]]]"),
    ("settings of its own cjson", "local c = cjson.new() c.encode_max_depth(1) return {pcall(c.encode, {{{1}}}) and 1 or 0, cjson.encode({{{1}}})}", [0, b"[[[1]]]"]),
    ("stop the collector", "collectgarbage('stop') return 'fine'", b"fine"),
    ("the prefix as an argument", "return {ARGV[#ARGV], #ARGV, tostring(ARGV[3]), table.maxn(ARGV)}", [b"a2", 2, b"nil", 2]),
    ("an error with a name in it", "return redis.call('xreadgroup', 'GROUP', 'g', 'c', 'STREAMS', 'nostream', '>')", re.compile(r"'nostream'")),
    ("names in a caught error", "local _, e = pcall(redis.call, 'xreadgroup', 'GROUP', 'g', 'c', 'STREAMS', 'nostream', '>') local s = tostring(e) if type(e) == 'table' then for k, v in pairs(e) do s = s .. tostring(v) end end return string.find(s, 'proj:', 1, true) or 0", 0),
    ("end the prelude", "end)() return redis.call('keys', '*')", re.compile("Error compiling script")),
    ("a key that is a table with a name", "return redis.call('get', setmetatable({}, {__tostring = function() return 'proj:b:secret' end}))", re.compile("must be strings or integers")),
    ("a command with a line end", "return redis.call('get 1\\nkeys', '*')", re.compile("Unknown Redis command")),
    ("a command that ends early", "return redis.call('keys\\0', '*')", re.compile("Unknown Redis command|beyond the project")),
    ("a command in the table's own words", "return redis.call('=1', 'proj:b:secret')", re.compile("Unknown Redis command")),
    ("a command as a number", "return redis.call(1, 'proj:b:secret')", re.compile("Unknown Redis command")),
    ("more keys than are counted", "return redis.call('zunionstore', 'd', 1, 'x', 'proj:b:z')", re.compile("syntax error")),
    ("publish to another's channel", "return redis.call('publish', 'proj:b:news', 'x')", 0),
    ("redis.acl_check_cmd of SCAN", "return redis.acl_check_cmd('scan', '0')", (None, 1)),
    ("the server's name of the script", "error('x')", re.compile(re.escape(hashlib.sha1(b"error('x')").hexdigest()))),
]


def sha(script):
    return hashlib.sha1(script.encode()).hexdigest()


def enter(p, project, resp=2):
    c = p.client()
    c.cmd("PURSER.PROJECT", project)
    c.cmd("HELLO", resp)
    return c


def ask(c, *words):
    try:
        return c.cmd(*words)
    except RespError as e:
        return e


def as_on_redis(p, oracle):
    for resp in (2, 3):
        a, o = enter(p, "a", resp), oracle.client()
        o.cmd("HELLO", resp)
        for body in SAME:
            for how in ("EVAL", "EVAL", "EVALSHA"):
                a.cmd("FLUSHDB"), o.cmd("FLUSHDB")
                line = [how, sha(body) if how == "EVALSHA" else body, 2, "k1", "k2", "a1", "a2"]
                equal(ask(a, *line), ask(o, *line), (resp, line))
        a.close(), o.close()


def fits(got, want):
    if isinstance(want, tuple):
        return any(fits(got, w) for w in want)
    if isinstance(want, re.Pattern):
        return isinstance(got, RespError) and want.search(got.text) is not None
    return not isinstance(got, RespError) and got == want


def escapes(p):
    a, b = enter(p, "a"), enter(p, "b")
    for k in ("secret", "secret2"):
        b.cmd("SET", k, MARK)
    for name, body, want in ESCAPES:
        a.cmd("FLUSHDB")
        a.cmd("SET", "mine", "1")
        got = ask(a, "EVAL", body, 2, "k1", "k2", "a1", "a2")
        check(fits(got, want), name, body, got)
        check(MARK not in str(got) and "proj:a" not in str(got), name, got)
        equal(b.cmd("EVAL", "return cjson.encode({{{1}}})", 0), b"[[[1]]]", name)
        equal([b.cmd("GET", k) for k in ("secret", "secret2")], [MARK.encode()] * 2, name)
    equal(sorted(b.cmd("KEYS", "*")), [b"secret", b"secret2"])
    # what one script left behind is not there for another's
    equal(b.cmd("EVAL", "return {('x'):upper(), cjson.encode({{{1}}}), string.sub('abc', 2)}", 0), [b"X", b"[[[1]]]", b"bc"])
    # nor are its scripts
    a.cmd("EVAL", "return 'only mine'", 0)
    equal(ask(b, "EVALSHA", sha("return 'only mine'"), 0).word, "NOSCRIPT")
    a.cmd("SCRIPT", "FLUSH")
    equal(ask(a, "EVALSHA", sha("return 'only mine'"), 0).word, "NOSCRIPT")
    a.close(), b.close()


def in_one_write(p):
    """A script is known to what stands behind it in the pipeline, as it is to Redis."""
    a = enter(p, "a")
    for i in range(6):
        load, run = (f"return {{redis.call('set', KEYS[1], ARGV[1]), {i}, '{way}'}}" for way in ("load", "run"))
        equal(a.pipeline([["SCRIPT", "LOAD", load], ["EVALSHA", sha(load), 1, "k", "v"], ["GET", "k"]]),
              [sha(load).encode(), ["OK", i, b"load"], b"v"])
        equal(a.pipeline([["GET", "k"], ["EVAL", run, 1, "k", "w"], ["EvalSha", sha(run), 1, "k", "x"], ["GET", "k"]])[1:],
              [["OK", i, b"run"]] * 2 + [b"x"])
        queued = f"return redis.call('incrby', KEYS[1], {i})"
        got = a.pipeline([["SET", "n", 1], ["SCRIPT", "LOAD", queued], ["MULTI"], ["EVALSHA", sha(queued), 1, "n"], ["EXEC"]])
        equal(got[-1], [1 + i])
        none = f"return 'never sent {i}'"
        got = a.pipeline([["EVALSHA", sha(none), 1, "k"], ["EVAL", none, 0], ["EVALSHA", sha(none), 0]])
        equal((got[0].word, got[1:]), ("NOSCRIPT", [none[8:-1].encode()] * 2))
    a.close()


def in_batches(p, direct, inside):
    a, b = enter(p, "a"), enter(p, "b")
    a.cmd("FLUSHDB")
    body = "return {KEYS[1], redis.call('incr', KEYS[1]), redis.call('incr', 'made')}"
    got = a.pipeline([["MULTI"], ["SET", "n", 5], ["EVAL", body, 1, "n"], ["EVALSHA", sha(body), 1, "n"], ["GET", "made"], ["EVAL", "return redis.call('incr')", 0], ["EXEC"]])
    equal(got[-1][:4], ["OK", [b"n", 6, 1], [b"n", 7, 2], b"2"])
    check(sha("return redis.call('incr')") in got[-1][4].text or "Wrong number" in got[-1][4].text, got)
    equal(a.pipeline([["GET", "n"], ["EVAL", body, 1, "n"], ["GET", "n"], ["EVAL", body, 1, "n"], ["GET", "made"]]), [b"7", [b"n", 8, 3], b"8", [b"n", 9, 4], b"4"])
    # WATCH and a script in the same transaction
    for i in range(3):
        a.cmd("WATCH", "n")
        equal(a.pipeline([["MULTI"], ["EVAL", body, 1, "n"], ["EXEC"]])[2], [[b"n", 10 + i, 5 + i]])
    # what would look at the whole database cannot go with it where the script's user runs it
    for line in (["KEYS", "*"], ["COPY", "n", "m"], ["SORT", "l", "BY", "w*"]) if not inside else ():
        for queued in ([line, ["EVAL", body, 1, "n"]], [["EVAL", body, 1, "n"], line]):
            equal(a.pipeline([["MULTI"], *queued, ["EXEC"]])[-1].word, "EXECABORT", queued)
    for line in (["EVAL", body, 2, "x"], ["EVAL", body, -1], ["EVAL", body, "x"], ["EVALSHA", sha(body), 2, "x"], ["EVAL", body], ["EVALSHA", "zz", 0]):
        equal(a.error(*line), direct.error(*line), line)
    a.cmd("WATCH", "n")
    other = enter(p, "a")
    other.cmd("SET", "n", 1)
    equal(a.pipeline([["MULTI"], ["EVAL", body, 1, "n"], ["EXEC"]])[2], None)
    # many clients at once, each with its project
    clients = [(enter(p, name), name) for name in "ab" * 8]
    for c, name in clients:
        c.send("EVAL", "redis.call('rpush', 'who', ARGV[1]) return redis.call('lrange', 'who', 0, -1)", 0, name)
    for c, name in clients:
        equal(set(c.read()), {name.encode()})
        c.close()
    for c in (a, b, other):
        c.cmd("FLUSHDB"), c.close()


def main():
    with Redis(name="oracle") as oracle:
        with Redis() as redis, Purserd({}, config=CONFIG.format(backend=f"plugin = redis\nurl = {redis.url}")) as p:
            as_on_redis(p, oracle)
            escapes(p)
            in_one_write(p)
            in_batches(p, oracle.client(), False)
        with Purserd({}, config=CONFIG.format(backend="plugin = memory")) as p:
            as_on_redis(p, oracle)
            escapes(p)
            in_one_write(p)
            in_batches(p, oracle.client(), True)


harness.run(main)
