#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""DUMP and RESTORE of the memory plugin against a real Redis: what one has dumped the other restores, for values of all
types and sizes, in all forms that Redis has had; errors; damage."""

import random
import struct
import harness
from values import Make, seen

TABLE = []
for i in range(256):
    for _ in range(8):
        i = i >> 1 ^ (0x95AC9329AC4BC9B5 if i & 1 else 0)
    TABLE.append(i)


def crc64(data):
    c = 0
    for b in data:
        c = TABLE[(c ^ b) & 255] ^ c >> 8
    return c


def sealed(body, version=10):
    body += struct.pack("<H", version)
    return body + struct.pack("<Q", crc64(body))


def length(n):
    if n < 64:
        return bytes([n])
    return bytes([0x40 | n >> 8, n & 255]) if n < 16384 else b"\x80" + struct.pack(">I", n)


def text(s):
    return length(len(s)) + s


# ---- forms of older versions ---------------------------------------------------------------------------------

def ziplist_entry(e, before):
    out = bytes([before]) if before < 254 else b"\xfe" + struct.pack("<I", before)
    try:
        v = int(e)
        if str(v).encode() != e:
            raise ValueError
    except ValueError:
        v = None
    if v is None or not -1 << 63 <= v < 1 << 63:
        n = len(e)
        out += bytes([n]) if n < 64 else bytes([0x40 | n >> 8, n & 255]) if n < 16384 else b"\x80" + struct.pack(">I", n)
        return out + e
    if 0 <= v <= 12:
        return out + bytes([0xF1 + v])
    for code, size in ((0xFE, 1), (0xC0, 2), (0xF0, 3), (0xD0, 4), (0xE0, 8)):
        if -1 << 8 * size - 1 <= v < 1 << 8 * size - 1:
            return out + bytes([code]) + v.to_bytes(size, "little", signed=True)
    raise AssertionError


def ziplist(elements):
    body, tail, before = b"", 10, 0
    for e in elements:
        tail = 10 + len(body)
        entry = ziplist_entry(e, before)
        body += entry
        before = len(entry)
    return struct.pack("<IIH", 11 + len(body), tail, min(len(elements), 65535)) + body + b"\xff"


def zipmap(pairs):
    out = bytes([min(len(pairs), 254)])
    for f, v in pairs:
        for s, spare in ((f, b""), (v, b"\x02")):
            out += bytes([len(s)]) if len(s) < 254 else b"\xfe" + struct.pack("<I", len(s))
            out += spare + s + b"xx" * bool(spare)
    return out + b"\xff"


def intset(numbers):
    width = 2 if all(-1 << 15 <= n < 1 << 15 for n in numbers) else 4 if all(-1 << 31 <= n < 1 << 31 for n in numbers) else 8
    return struct.pack("<II", width, len(numbers)) + b"".join(n.to_bytes(width, "little", signed=True) for n in sorted(numbers))


def of_old(make):
    """(name, payload): what servers before 7.0 wrote."""
    few = [b"one", *make.some_texts(30)]
    pairs = [(f, make.text()) for f in dict.fromkeys(few)]
    flat = [w for p in pairs for w in p]
    scored = [(f, str(make.g.choice([n, n * 1.5, "inf", "-inf"])).encode()) for n, (f, _) in enumerate(pairs)
              if len(f) <= 64]
    order = sorted(scored, key=lambda p: (float(p[1]), p[0]))
    numbers = {make.g.choice([1, 7, 40000, -3, 1 << 40, -1 << 62]) + make.g.randrange(100) for _ in range(make.g.randrange(1, 40))}
    yield "list", sealed(b"\x01" + length(len(few)) + b"".join(map(text, few)))
    yield "list of ziplist", sealed(b"\x0a" + text(ziplist(few)))
    yield "quicklist of ziplists", sealed(b"\x0e" + length(2) + text(ziplist(few[:7])) + text(ziplist(few[7:] or few)))
    yield "quicklist with a plain node", sealed(b"\x12" + length(1) + length(1) + text(b"plain" * 50))
    yield "intset", sealed(b"\x0b" + text(intset(numbers)))
    yield "set of integers", sealed(b"\x02" + length(len(numbers)) + b"".join(text(str(n).encode()) for n in numbers))
    yield "hash", sealed(b"\x04" + length(len(pairs)) + b"".join(map(text, flat)))
    yield "hash of ziplist", sealed(b"\x0d" + text(ziplist(flat)))
    yield "hash of zipmap", sealed(b"\x09" + text(zipmap(pairs)))
    yield "sorted set of ziplist", sealed(b"\x0c" + text(ziplist([w for p in order for w in p])))
    old = b"".join(text(m) + {b"inf": b"\xfe", b"-inf": b"\xff"}.get(s, bytes([len(s)]) + s) for m, s in scored)
    yield "sorted set with scores as text", sealed(b"\x03" + length(len(scored)) + old)
    new = b"".join(text(m) + struct.pack("<d", float(s)) for m, s in scored)
    yield "sorted set", sealed(b"\x05" + length(len(scored)) + new)
    for bits, n in ((0, -128), (1, -32768), (2, 1 << 30)):
        yield "integer", sealed(b"\x00" + bytes([0xC0 | bits]) + n.to_bytes(1 << bits, "little", signed=True))
    yield "long length", sealed(b"\x00\x81" + struct.pack(">Q", 5) + b"fives")


# ---- both servers ------------------------------------------------------------------------------------------------

def loose(what):
    """Redis believes the order of a packed sorted set, and the first id of a stream, from which it reckons lags."""
    kind, encoding, ttl, value = what
    if kind == "stream":
        value = value[1], [(dict(zip(*[iter(g)] * 2))[b"name"], consumers, pending) for g, consumers, pending in value[2]]
    return (kind, encoding, ttl, sorted(zip(*[iter(value)] * 2)) if kind == "zset" else value)


def same(ours, redis, key, what):
    a, b = seen(ours, key), seen(redis, key)
    harness.check(a == b, f"{what}: ours {a!r:.600}, Redis {b!r:.600}")
    return a


def cross(ours, redis, make):
    for c in (ours, redis):
        c.cmd("FLUSHDB")
    commands = make.value("v")
    for line in commands:
        for c in (ours, redis):
            c.send(*line)
        harness.equal(ours.read(), redis.read(), f"{line!r:.200}")
    kind = same(ours, redis, "v", "made")[0]
    mine, theirs = ours.cmd("DUMP", "v"), redis.cmd("DUMP", "v")
    if kind == "string" and len(ours.cmd("GET", "v")) <= 20:
        harness.equal(mine, theirs, "a short string's payload")
    options = make.g.choice([[], ["REPLACE"], ["IDLETIME", "5"], ["FREQ", "7"], ["REPLACE", "ABSTTL"]])
    ttl = make.g.choice([0, 100000, 1 << 41]) if "ABSTTL" not in options else 4000000000000
    for key, payload in (("mine", mine), ("theirs", theirs)):
        for c in (ours, redis):
            harness.equal(c.cmd("RESTORE", key, ttl, payload, *options), "OK", f"{key} {commands!r:.300}")
        same(ours, redis, key, f"restored {key} from {commands!r:.300}")
    return kind


ERRORS = [("RESTORE", "there", 0, "x"), ("RESTORE", "k", -1, "x"), ("RESTORE", "k", "x", "x"), ("RESTORE", "k", 0, ""),
          ("RESTORE", "k", 0, "x" * 9), ("RESTORE", "k", 0, "x" * 10), ("RESTORE", "k", 0, sealed(b"")), ("DUMP", "none"),
          ("RESTORE", "k", 0, sealed(b"\x00\x01x", 11)), ("RESTORE", "k", 0, sealed(b"\x00\x01x", 1)), ("DUMP",), ("DUMP", "a", "b"),
          ("RESTORE", "k", 0, sealed(b"\x00\x3fx")), ("RESTORE", "k", 0, sealed(b"\x06\x01x")), ("RESTORE", "k", 0, sealed(b"\x14\x01x")),
          ("RESTORE", "k", 0, sealed(b"\x08\x01x")), ("RESTORE", "k", 0, sealed(b"\xff\x01x")), ("RESTORE", "k", 0, sealed(b"\x02\x00")),
          ("RESTORE", "k", 0, sealed(b"\x01\x00")), ("RESTORE", "k", 0, sealed(b"\x04\x00")), ("RESTORE", "k", 0, sealed(b"\x05\x00")),
          ("RESTORE", "k", 0, sealed(b"\x12\x00")), ("RESTORE", "k", 0, sealed(b"\x12\x01\x03\x00")),
          ("RESTORE", "k", 0, sealed(b"\x02\x02\x01a\x01a")), ("RESTORE", "k", 0, sealed(b"\x04\x02\x01a\x01b\x01a\x01c")),
          ("RESTORE", "k", 0, sealed(b"\x05\x01\x01a" + struct.pack("<d", float("nan")))), ("RESTORE", "k", 0, sealed(b"\x03\x01\x01a\xfd")),
          ("RESTORE", "k", 0, sealed(b"\x00\xc4\x01")), ("RESTORE", "k", 0, sealed(b"\x00\xc3\x02\x05\xff\xff")),
          ("RESTORE", "k", 0, sealed(b"\x0b\x09" + intset([1])[:9])), ("RESTORE", "k", 0, sealed(b"\x10\x03abc")),
          ("RESTORE", "k", 0, sealed(b"\x00\x01x"), "IDLETIME"), ("RESTORE", "k", 0, sealed(b"\x00\x01x"), "IDLETIME", "-1"),
          ("RESTORE", "k", 0, sealed(b"\x00\x01x"), "IDLETIME", "x"), ("RESTORE", "k", 0, sealed(b"\x00\x01x"), "FREQ", "256"),
          ("RESTORE", "k", 0, sealed(b"\x00\x01x"), "FREQ", "1", "IDLETIME", "1"), ("RESTORE", "k", 0, sealed(b"\x00\x01x"), "NONSENSE"),
          ("RESTORE", "k", 0), ("RESTORE", "there", 0, "x", "NONSENSE"), ("RESTORE", "there", -1, "x", "REPLACE"),
          ("RESTORE", "there", 0, "x", "REPLACE"), ("GET", "there"),
          ("RESTORE", "there", 1, sealed(b"\x00\x01x"), "ABSTTL"), ("RESTORE", "there", 1, sealed(b"\x00\x01x"), "ABSTTL", "REPLACE"),
          ("EXISTS", "there"), ("RESTORE", "far", (1 << 63) - 1, sealed(b"\x00\x01x")), ("EXISTS", "far"),
          ("RESTORE", "odd", 0, sealed(b"\x00\x01x" + b"behind")), ("GET", "odd"), ("RESTORE", "int", 0, sealed(b"\x00\x0212")),
          ("OBJECT", "ENCODING", "int"), ("OBJECT", "REFCOUNT", "int"), ("RESTORE", "idle", 0, sealed(b"\x00\x01x"), "IDLETIME", "1000"),
          ("OBJECT", "IDLETIME", "idle")]


def errors(ours, redis):
    for c in (ours, redis):
        c.cmd("FLUSHDB")
        c.cmd("SET", "there", "kept")
    for line in ERRORS:
        for c in (ours, redis):
            c.send(*line)
        a, b = ours.read(), redis.read()
        close = line[:2] == ("OBJECT", "IDLETIME") and 1000 <= min(a, b) and max(a, b) < 1000 + 60 * harness.SLOW
        harness.check(a == b or close, f"{line!r}: ours {a!r}, Redis {b!r}")


def damage(ours, redis, make, rounds):
    """Bytes of good payloads changed, the checksum right again: what is restored can be read, and Redis, told to look at
    all of it, agrees."""
    taken = refused = 0
    for _ in range(rounds):
        ours.cmd("FLUSHDB"), redis.cmd("FLUSHDB")
        for line in Make(make.g).value("v"):
            redis.send(*line)
            redis.read()
        payload = redis.cmd("DUMP", "v") if make.g.randrange(2) else make.g.choice(list(of_old(make)))[1]
        if len(payload) > 2000:
            continue
        for _ in range(20):
            body = bytearray(payload[:-10])
            for _ in range(make.g.randrange(1, 4)):
                at = min(make.g.randrange(len(body)), make.g.randrange(len(body)))
                body[at] = make.g.choice([body[at] ^ 1 << make.g.randrange(8), 0, 255, make.g.randrange(256)])
            if make.g.randrange(4) == 0:
                body = body[:make.g.randrange(1, len(body) + 1)]
            if body[0] in (6, 7):
                continue
            bad = sealed(bytes(body))
            ours.send("RESTORE", "k", 0, bad, "REPLACE")
            reply = ours.read()
            if reply == "OK":
                taken += 1
                redis.send("RESTORE", "k", 0, bad, "REPLACE")
                theirs = redis.read()
                harness.check(theirs == "OK", f"ours took what Redis refuses ({theirs!r}): {bad.hex()}")
                a, b = (loose(seen(c, "k")) for c in (ours, redis))
                harness.check(a == b, f"{bad.hex()}: ours {a!r:.500}, Redis {b!r:.500}")
            else:
                refused += 1
                harness.equal(reply, harness.RespError("ERR Bad data format"), bad.hex())
    print(f"damaged payloads: {taken} readable, {refused} refused")


def stream_of_redis_5(redis):
    """The same without what came with 7.0: the first id, the largest deleted one, how many there ever were."""
    for i in range(3):
        redis.cmd("XADD", "old", f"1-{i + 1}", "f", "v")
    body = redis.cmd("DUMP", "old")[:-10]
    harness.equal(body[-9:], b"\3\1\3\1\1\0\0\3\0", "a stream's facts")
    return sealed(b"\x0f" + body[1:-6] + b"\0")


def main():
    harness.require("redis-server")
    g = random.Random(harness.seed())
    make = Make(g)
    rounds = 3000 if harness.LONG else 250
    with harness.Redis(["--sanitize-dump-payload", "yes"]) as redis, harness.Purserd() as p:
        a, b = p.client(), redis.client()
        errors(a, b)
        kinds = {}
        for _ in range(rounds):
            kind = cross(a, b, make)
            kinds[kind] = kinds.get(kind, 0) + 1
        print("crossed:", kinds)
        for c, payload in ((c, stream_of_redis_5(b)) for c in (a, b)):
            b.cmd("DEL", "old")
            harness.equal(c.cmd("RESTORE", "of 5", 0, payload), "OK")
        same(a, b, "of 5", "a stream of Redis 5")
        for _ in range(rounds // 10):
            a.cmd("FLUSHDB"), b.cmd("FLUSHDB")
            for what, payload in of_old(make):
                for c in (a, b):
                    harness.equal(c.cmd("RESTORE", what, 0, payload, "REPLACE"), "OK", what)
                same(a, b, what, what)
        damage(a, b, make, rounds // 5)


harness.run(main)
