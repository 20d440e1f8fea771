#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every row of commands.def that a backend runs, through the agent and directly: the same replies on RESP2 and
RESP3, and over HTTP what those are as JSON.  The redis-server behind the agent is reached through a proxy that
passes on one byte at a time, so each reply is cut everywhere."""

import base64
import fcntl
import hashlib
import os
import re
import socket
import termios
import threading
import time

import harness
from harness import check, equal

# How two right replies may differ: by nothing; in the order of a hash table; altogether (random, or a time).
EXACT, SORTED, SHAPE = range(3)
BINARY = b"\xff\x00\r\n$3\r\nabc\r\n"
ID = "5000-1"


def scene():
    """Command lines in order; each row of the table at least once.  (words, rule)"""
    lines = []

    def add(*texts, rule=EXACT):
        lines.extend((t if isinstance(t, tuple) else tuple(t.split()), rule) for t in texts)

    # strings
    add("SET s hello", "SET s x NX", "SET s world XX GET", ("SET", "bin", BINARY), "GET bin", "GET none", "GET s",
        "SET t 10 EX 1000", "SETNX t 1", "SETNX nx 1", "SETEX e 1000 v", "PSETEX p 1000000 v", "GETSET s new",
        "GETEX t PERSIST", "GETDEL nx", "GETDEL none", "MSET a 1 b 2 c 3", "MGET a b none s bin", "MSETNX a 9 z 9",
        "MSETNX y 9 z 9", "INCR n", "DECR n", "INCRBY n 41", "DECRBY n 2", "INCRBYFLOAT n 0.5", "INCR s",
        "INCRBYFLOAT s 1", "APPEND s er", "STRLEN s", "STRLEN none", "GETRANGE s 1 -1", "SUBSTR s 0 1",
        "SETRANGE s 5 XX", "GET s", "MSET l1 ohmytext l2 mynewtext", "LCS l1 l2", "LCS l1 l2 LEN",
        "LCS l1 l2 IDX WITHMATCHLEN", "SET x", "SET x y EX 0", "SET x y PX nonsense", "SET x y NX XX")
    add("OBJECT IDLETIME s", "MEMORY USAGE s", rule=SHAPE)
    # keys and expiry
    add("DEL y none", "UNLINK z none", "EXISTS a b none a", "TYPE s", "TYPE none", "TOUCH a b none", "RENAME a a2",
        "RENAME none x", "RENAMENX a2 b", "RENAMENX a2 a", "COPY a a3", "COPY a a3", "COPY a a3 REPLACE",
        "OBJECT ENCODING s", "OBJECT ENCODING n", "OBJECT REFCOUNT s", "OBJECT FREQ s", "OBJECT HELP", "OBJECT ENCODING none",
        "TTL s", "TTL none", "PTTL s", "EXPIRE s 1000", "EXPIRE s 10 NX", "EXPIRE s 2000 GT", "PEXPIRE a 5000000",
        "EXPIREAT a 4102444800", "PEXPIREAT a 4102444800123", "EXPIRETIME a", "PEXPIRETIME a", "EXPIRETIME b",
        "TTL e", "PERSIST s", "PERSIST s", "EXPIRE s x", "EXPIRE none 5")
    add("PTTL a", "DUMP none", rule=SHAPE)
    add("KEYS *", "KEYS a*", rule=SORTED)
    add("SCAN 0 COUNT 1000", "RANDOMKEY", rule=SHAPE)
    add("SCAN x", "DBSIZE")
    # hashes
    add("HSET h f v g w", ("HSET", "h", "bin", BINARY), "HSETNX h f x", "HSETNX h i 1", "HGET h f", "HGET h none",
        "HMGET h f none g bin", "HMSET h m 1 k 2", "HGETALL h", "HGETALL none", "HKEYS h", "HVALS h", "HLEN h",
        "HEXISTS h f", "HDEL h g none", "HINCRBY h i 5", "HINCRBY h f 1", "HINCRBYFLOAT h i 1.25", "HSTRLEN h f",
        "HSCAN h 0", "HSCAN none 0 MATCH x* COUNT 5", "HRANDFIELD none", "HRANDFIELD none 2", "HSET h odd",
        "HGET s f", "HGETALL s")
    add("HRANDFIELD h", "HRANDFIELD h -3", "HRANDFIELD h 2 WITHVALUES", rule=SHAPE)
    # lists
    add("LPUSH li 1 2", ("RPUSH", "li", BINARY, "z"), "LPUSHX none 1", "RPUSHX li y", "LLEN li", "LRANGE li 0 -1",
        "LRANGE none 0 -1", "LINDEX li 0", "LINDEX li 99", "LSET li 0 zero", "LSET li 99 x", "LINSERT li BEFORE z q",
        "LPOS li q", "LPOS li q COUNT 0", "LREM li 1 q", "LMOVE li lj LEFT RIGHT", "RPOPLPUSH li lj",
        "LMPOP 2 none lj LEFT COUNT 2", "LMPOP 1 none LEFT", "LPOP li", "LPOP li 2", "LPOP none", "RPOP none 1",
        "RPUSH li a b c d", "RPOP li", "LTRIM li 0 1", "SORT li ALPHA DESC", "SORT_RO li ALPHA", "LPUSH s x")
    add("RPUSH bl a b c d e", "BLPOP none bl 5", "BRPOP bl 1.5", "BLMOVE bl bm LEFT RIGHT 5", "BRPOPLPUSH bl bm 5",
        "BLMPOP 5 2 none bm LEFT COUNT 2", "BLPOP none 0.001", "BLMOVE none bm LEFT RIGHT 0.001", "BRPOPLPUSH none bm 0.001",
        "BLMPOP 0.001 1 none LEFT", "BLPOP s 5", "BLPOP bl x", "BLPOP bl -1", "BLMPOP 5 0 bl LEFT", "WAIT 0 10")
    # sets
    add("SADD se 1 2 3", "SADD se 3 4", "SREM se 4 none", "SCARD se", "SISMEMBER se 1", "SMISMEMBER se 1 9",
        "SADD sf 2 3 9", "SMOVE se sf 1", "SINTERSTORE d se sf", "SUNIONSTORE d se sf", "SDIFFSTORE d se sf",
        "SINTERCARD 2 se sf LIMIT 1", "SPOP none", "SPOP none 2", "SRANDMEMBER none", "SSCAN none 0")
    add("SMEMBERS se", "SINTER se sf", "SUNION se sf", "SDIFF sf se", rule=SORTED)
    add("SSCAN se 0", "SRANDMEMBER se", "SRANDMEMBER se 2", "SPOP sf", "SPOP sf 1", rule=SHAPE)
    # sorted sets
    add("ZADD z1 1 a 2.5 b inf c", "ZADD z1 NX CH 9 a", "ZADD z1 INCR 1 a", "ZINCRBY z1 2 b", "ZREM z1 none", "ZCARD z1",
        "ZSCORE z1 b", "ZSCORE z1 none", "ZMSCORE z1 a none c", "ZRANK z1 b", "ZRANK z1 none", "ZREVRANK z1 a",
        "ZCOUNT z1 -inf 3", "ZLEXCOUNT z1 - +", "ZRANGE z1 0 -1", "ZRANGE z1 0 -1 WITHSCORES", "ZRANGE z1 (1 +inf BYSCORE",
        "ZRANGESTORE z2 z1 0 1", "ZRANGEBYSCORE z1 -inf +inf WITHSCORES LIMIT 0 2", "ZREVRANGE z1 0 -1 WITHSCORES",
        "ZREVRANGEBYSCORE z1 +inf 0", "ZADD zl 0 a 0 b 0 c", "ZRANGEBYLEX zl [a (c", "ZREVRANGEBYLEX zl + -",
        "ZUNION 2 z1 z2 WITHSCORES", "ZINTER 2 z1 z2 WITHSCORES", "ZDIFF 2 z1 z2 WITHSCORES", "ZUNIONSTORE z3 2 z1 z2",
        "ZINTERSTORE z3 2 z1 z2 WEIGHTS 2 1", "ZDIFFSTORE z4 2 z1 z2", "ZINTERCARD 2 z1 z2", "ZREMRANGEBYLEX zl [a [a",
        "ZREMRANGEBYRANK z3 0 0", "ZREMRANGEBYSCORE z3 0 1", "ZPOPMIN z1", "ZPOPMAX z1 2", "ZPOPMIN none",
        "ZADD bz 1 a 2.5 b 3 c 4 d", "BZPOPMIN none bz 5", "BZPOPMAX bz 1", "BZMPOP 5 2 none bz MAX COUNT 9", "BZPOPMIN none 0.001",
        "BZMPOP 0.001 1 none MIN", "BZPOPMAX s 5", "BZMPOP x 1 bz MIN",
        "ZMPOP 2 none z2 MIN", "ZMPOP 1 none MAX", "ZSCAN zl 0", "ZRANDMEMBER none", "ZRANDMEMBER none 2")
    add("ZRANDMEMBER zl", "ZRANDMEMBER zl 2 WITHSCORES", rule=SHAPE)
    # streams
    add(f"XADD st {ID} f v g w", "XADD st 5001-* f v", "XADD st 1-1 too old", "XADD none NOMKSTREAM * f v", "XLEN st",
        "XRANGE st - +", "XREVRANGE st + - COUNT 1", "XRANGE none - +", "XREAD COUNT 1 STREAMS st none 0 0",
        "XREAD STREAMS st 9999", "XREAD BLOCK 1 STREAMS st 9999", "XREAD BLOCK 1 STREAMS st 0", "XREAD BLOCK x STREAMS st 0", "XGROUP CREATE st gr 0", "XGROUP CREATE st gr 0", "XGROUP CREATECONSUMER st gr co",
        "XREADGROUP GROUP gr co COUNT 1 STREAMS st >", "XREADGROUP GROUP gr co STREAMS st 0", "XREADGROUP GROUP gr co BLOCK 1 STREAMS st >",
        "XREADGROUP GROUP no co BLOCK 1 STREAMS st >", "XACK st gr 1-1",
        "XPENDING st gr", f"XCLAIM st gr cp 0 {ID} JUSTID", "XAUTOCLAIM st gr cp 0 0 JUSTID", "XINFO GROUPS st",
        "XGROUP SETID st gr 0", "XGROUP DELCONSUMER st gr co", "XGROUP DESTROY st gr", "XGROUP HELP", "XINFO HELP",
        "XSETID st 6000-1", "XINFO STREAM st", "XTRIM st MAXLEN 1", f"XDEL st {ID}", "XINFO GROUPS none")
    add("XINFO CONSUMERS st gr", "XPENDING st gr - + 5", "XINFO STREAM st FULL", rule=SHAPE)
    # bits, HyperLogLog, geo, the rest
    add("SETBIT bits 7 1", "GETBIT bits 7", "GETBIT none 0", "BITCOUNT bits", "BITCOUNT bits 0 0 BIT", "BITPOS bits 1",
        "BITOP NOT nbits bits", "BITOP AND abits bits nbits", "BITFIELD bits SET u8 0 255 GET u4 0 OVERFLOW FAIL INCRBY u2 0 9",
        "BITFIELD_RO bits GET u8 0", "PFADD hl a b c", "PFADD hl a", "PFCOUNT hl", "PFMERGE hm hl", "PFCOUNT hl hm",
        "GEOADD ge 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", "GEOPOS ge Palermo none", "GEODIST ge Palermo Catania km",
        "GEOHASH ge Palermo none", "GEOSEARCH ge FROMLONLAT 15 37 BYRADIUS 200 km ASC WITHCOORD WITHDIST WITHHASH",
        "GEOSEARCHSTORE gf ge FROMLONLAT 15 37 BYRADIUS 200 km ASC", "GEORADIUS ge 15 37 200 km ASC",
        "GEORADIUS ge 15 37 200 km STORE gg", "GEORADIUS_RO ge 15 37 200 km WITHDIST ASC",
        "GEORADIUSBYMEMBER ge Palermo 200 km ASC", "GEORADIUSBYMEMBER_RO ge Palermo 200 km ASC", "SET du x", "DUMP du",
        ("RESTORE", "dv", "0", b"\x00\x01x\n\x00\xbf\x1d\xf0\xd5\xb5\x83\x5e\xb7"), "RESTORE dv 0 nonsense", "FLUSHDB",
        "DBSIZE", "SET k v", "FLUSHALL", "KEYS *", "RANDOMKEY")
    # scripts
    script = "return {redis.call('SET', KEYS[1], ARGV[1]), ARGV[1], 1, {2, false}, redis.status_reply('x')}"
    add(("EVAL", script, "1", "ek", BINARY), ("EVALSHA", sha(script), "1", "ek", "v"), ("EVALSHA", sha(script).upper(), "1", "ek", BINARY),
        ("EVAL_RO", "return redis.call('GET', KEYS[1])", "1", "ek"), ("SCRIPT", "LOAD", "return 1"), ("EVALSHA_RO", sha("return 1"), "0"),
        ("EVAL", "return redis.call('NOSUCH')", "0"), ("EVAL", "redis.setresp(3) return redis.call('HGETALL', KEYS[1])", "1", "none"),
        ("EVALSHA", "0" * 40, "0"), "EVALSHA x 0", "EVAL x y", ("SCRIPT", "EXISTS", sha(script), "x"), ("SCRIPT", "LOAD", "return {"),
        "FCALL none 0", "FCALL_RO none 0", "SCRIPT FLUSH x", "SCRIPT FLUSH")
    return lines


def sha(script):
    return hashlib.sha1(script.encode()).hexdigest()


NOT_SERVED = {f"FUNCTION|{sub}": ("FUNCTION", sub, *words) for sub, *words in (  # refused by the agent, with a text of its own
    ("DELETE", "x"), ("DUMP",), ("FLUSH",), ("KILL",), ("LIST",), ("LOAD", "x"), ("RESTORE", "x"), ("STATS",))}
NOT_SERVED["SCRIPT|KILL"] = ("SCRIPT", "KILL")  # both are served by a store in the process: 37-lua-busy.py


# What is said between the agent's own clients has tests of its own: 52-pubsub.py, 53-monitor.py, 54-tracking.py.
ELSEWHERE = re.compile(r"S?PUBLISH|[PS]?(UN)?SUBSCRIBE|PUBSUB\|.*|P?S?UNSUBSCRIBE|MONITOR|CACHE\.STATS\|RESET|CLIENT\|(KILL|LIST|TRACKING)")


# ---- replies as bytes, and what they are -------------------------------------------------------------

class Value:
    """One reply: its bytes, its type byte, and what it holds."""

    def __init__(self, raw, kind, what):
        self.raw, self.kind, self.what = raw, kind, what

    def canonical(self, rule):
        if rule == EXACT or self.kind == b"-":
            return self.raw
        if rule == SORTED and isinstance(self.what, list):
            return [self.kind, sorted(v.raw for v in self.what)]
        if rule == SHAPE:
            return self.kind
        return self.raw


class Reader(harness.Client):
    def value(self):
        line = self._line()
        kind, rest, raw = line[:1], line[1:], line + b"\r\n"
        if kind in b"$=!" and rest != b"-1":
            data = self._exactly(int(rest) + 2)
            return Value(raw + data, kind, data[:-2])
        if kind in b"*~>%" and rest != b"-1":
            items = [self.value() for _ in range(int(rest) * (2 if kind == b"%" else 1))]
            return Value(raw + b"".join(i.raw for i in items), kind, items)
        return Value(raw, kind, None if kind == b"_" or (kind in b"$*" and rest == b"-1") else rest)

    def ask(self, words):
        self.send(*words)
        return self.value()


def text_json(data):
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"encoding": "base64", "value": base64.b64encode(data).decode()}


def to_json(v):
    """As docs/http.md has it."""
    if v.what is None:
        return None
    if v.kind in b"+$":
        return text_json(v.what)
    if v.kind == b"=":
        return text_json(v.what[4:])
    if v.kind == b":":
        return int(v.what)
    if v.kind == b",":
        return v.what.decode() if v.what in (b"inf", b"-inf", b"nan") else float(v.what)
    if v.kind == b"#":
        return v.what == b"t"
    if v.kind in b"*~":
        return [to_json(i) for i in v.what]
    if v.kind == b"%":
        names = [to_json(i) if isinstance(to_json(i), str) else "base64:" + base64.b64encode(i.what).decode()
                 for i in v.what[::2]]
        return dict(zip(names, [to_json(i) for i in v.what[1::2]]))
    raise harness.Failure(f"no JSON for {v.raw!r}")


def same_json(got, v, rule):
    want = to_json(v)
    if rule == SORTED and isinstance(want, list):
        return sorted(got) == sorted(want)
    if rule == SHAPE:
        return type(got) is type(want)
    return got == want


# ---- the chopper -------------------------------------------------------------------------------------

class Chopper:
    """A proxy between two Unix sockets: what the server says is passed on a byte at a time, each when the one
    before has been read."""

    def __init__(self, to):
        self.to, self.cuts = to, 0
        self.path = os.path.join(harness.tmp(), "chopper.sock")
        self.s = socket.socket(socket.AF_UNIX)
        self.s.bind(self.path)
        self.s.listen(16)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            a, _ = self.s.accept()
            b = socket.socket(socket.AF_UNIX)
            b.connect(self.to)
            threading.Thread(target=self.pump, args=(a, b, b.sendall), daemon=True).start()
            threading.Thread(target=self.pump, args=(b, a, lambda data, to=a: self.chop(data, to)), daemon=True).start()

    @staticmethod
    def pump(x, y, pass_on):
        try:
            while data := x.recv(65536):
                pass_on(data)
            y.shutdown(socket.SHUT_WR)
        except OSError:
            y.close()

    def chop(self, data, to):
        unread = bytearray(4)
        for i in range(len(data)):
            to.sendall(data[i:i + 1])
            while fcntl.ioctl(to, termios.TIOCOUTQ, unread) == 0 and any(unread):
                time.sleep(0)
            self.cuts += 1


# ---- the comparison ----------------------------------------------------------------------------------

def fresh(path, resp):
    c = Reader(path)
    check(c.ask(("FLUSHALL",)).raw == b"+OK\r\n")
    c.ask(("HELLO", resp))
    return c


def direct(redis, resp):
    with fresh(redis.sock, resp) as c:
        return [c.ask(words) for words, _ in scene()]


def served(p):
    """The names of commands that the plugin lists; None: all."""
    (plugin,) = p.http("GET", "/v1/plugins").json()
    return None if "ANY_COMMAND" in plugin["capabilities"] else set(plugin["commands"])


def name_of(words, rows):
    first = words[0].upper()
    return first if first in rows else f"{first}|{words[1].upper()}"


def over_resp(p, resp, want, rows, known):
    with fresh(p.sock, resp) as c:
        for (words, rule), v in zip(scene(), want):
            got = c.ask(words)
            if known is not None and name_of(words, rows) not in known:
                check(got.raw.startswith(b"-UNSUPPORTED "), words, got.raw)
                continue
            check(got.canonical(rule) == v.canonical(rule), f"RESP{resp}", words, "answered", got.raw, "not", v.raw)


def argument(word):
    return {"base64": base64.b64encode(word).decode()} if isinstance(word, bytes) else word


def over_http(p, want, rows, known):
    with p.client() as c:
        c.cmd("FLUSHALL")
    for (words, rule), v in zip(scene(), want):
        r = p.http("POST", "/v1/command", [argument(w) for w in words])
        if known is not None and name_of(words, rows) not in known:
            check((r.status, r.json()["code"]) == (501, "UNSUPPORTED"), words, r)
        elif v.kind == b"-":
            text = v.what.decode()
            check(r.status == (422 if not text.startswith("OOM") else 507) and
                  (r.json()["code"], text) == (text.split()[0], r.json()["code"] + " " + r.json()["detail"]), words, r, text)
        else:
            check(r.status == 200 and same_json(r.json()["result"], v, rule), "HTTP", words, "answered", r, "not", v.raw)


def table():
    """Names of the rows that a backend runs."""
    with open(os.path.join(harness.srcdir, "agent/command/commands.def"), encoding="utf-8") as f:
        rows = re.findall(r'^CMD\(\w+, "([^"]+)", .*$', f.read(), re.M)
        f.seek(0)
        lines = [line for line in f if line.startswith("CMD(")]
    equal(len(rows), len(lines))
    return {r for r, line in zip(rows, lines) if re.search(r"RUN_(BACKEND|SPACE)", line) and "F_CONTAINER" not in line}


def compare(p, want, rows):
    known = served(p)
    over_resp(p, 2, want[2], rows, known)
    over_resp(p, 3, want[3], rows, known)
    over_http(p, want[3], rows, known)


def main():
    rows = table()
    told = {name_of(words, rows) for words, _ in scene()}
    missing = {r for r in rows - told - set(NOT_SERVED) if not ELSEWHERE.fullmatch(r)}
    check(not missing, "no command line for", sorted(missing))
    with harness.Redis(name="model") as model, harness.Redis() as redis:
        want = {resp: direct(model, resp) for resp in (2, 3)}
        upstream = Chopper(redis.sock)
        more = {"health.interval": "1h"}
        with harness.Purserd(more, name="memory") as p:
            compare(p, want, rows)
        more.update({"backend main.plugin": "redis", "backend main.url": "unix://" + upstream.path})
        with harness.Purserd(more, name="chopped") as p:
            compare(p, want, rows)
            with p.client() as c:
                for words in NOT_SERVED.values():
                    check(c.error(*words).word in ("ERR", "UNSUPPORTED", "NOPERM"))
    print(f"{len(scene())} command lines, {len(rows)} rows, {upstream.cuts} cuts")


if __name__ == "__main__":
    harness.run(main)
