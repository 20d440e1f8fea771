# SPDX-License-Identifier: Apache-2.0
"""Random values of all types, of sizes about the borders between encodings, and all that can be seen of one."""


class Make:
    def __init__(self, g):
        self.g = g

    def number(self):
        g = self.g
        at = g.choice([0, 10, 63, 127, 128, 4095, 4096, 32767, 32768, 65535, 8388607, 8388608, 1 << 31, 1 << 32, (1 << 63) - 2])
        return str(max(-1 << 63, min((1 << 63) - 1, g.choice([1, -1]) * at + g.randrange(-2, 3)))).encode()

    def text(self, longest=70):
        g = self.g
        kind = g.randrange(6)
        if kind == 0:
            return self.number()
        if kind == 1:
            return g.choice([b"", b"0", b"-0", b"007", b"1.5", b"+1", b" 1", b"inf", b"9223372036854775808", b"\r\n\0\xff"])
        n = min(longest, g.choice([1, 5, 11, 12, 20, 21, 44, 45, 62, 63, 64, 65, 127, 128, 4094, 4095, 4096, 4097, 16383, 16384, 70000]))
        if kind == 2:
            return bytes([g.randrange(256)]) * n
        if kind == 3:
            return (b"the same again, " * (n // 16 + 1))[:n]
        return g.randbytes(n)

    def some_texts(self, most, longest=70):
        return [self.text(longest) for _ in range(self.g.randrange(1, most + 1))]

    def value(self, key):
        """Commands that make it."""
        g = self.g
        size = g.choice([1, 2, 5, 30, 127, 128, 129, 511, 512, 513, 700])
        longest = g.choice([20, 64, 65, 300]) if size > 30 else g.choice([64, 65, 5000, 100000])
        kind = g.randrange(10)
        if kind > 7:
            return self.stream(key)
        if kind < 2:
            return [("SET", key, self.text(100000)), *[("APPEND", key, self.text())] * g.randrange(2)]
        if kind == 2:
            return [("RPUSH", key, *self.some_texts(size, longest)), *[("LPUSH", key, *self.some_texts(9))] * g.randrange(2)]
        if kind == 3:
            return [("SADD", key, *self.some_texts(size, longest))]
        if kind == 4:
            few = [b"%d" % (g.choice([1, 1000, 1 << 20, 1 << 40]) * g.randrange(-500, 500)) for _ in range(size)]
            return [("SADD", key, *few), *[("SADD", key, "x")] * g.randrange(2)]
        if kind == 5:
            fields = dict.fromkeys(self.some_texts(size, longest))
            return [("HSET", key, *(w for f in fields for w in (f, self.text(longest)))), *[("HDEL", key, "1")] * g.randrange(2)]
        score = [b"1", b"-1.5", b"inf", b"-inf", b"3.0000000000000004", b"1e300", b"1e17", b"123456789012", b"0.1", b"-0"]
        members = self.some_texts(size, longest)
        return [("ZADD", key, *(w for m in members for w in (g.choice([g.choice(score), self.number()]), m)))]

    def stream(self, key):
        """Entries of several shapes, some deleted; groups, consumers, what is pending."""
        g, out = self.g, []
        for i in range(g.choice([1, 3, 99, 100, 101, 250])):
            fields = g.choice([[b"a", b"b"], [b"a", b"b"], [b"a", b"b", b"c"], self.some_texts(4)])
            out.append(("XADD", key, b"%d-%d" % (i // 3 + 1, i % 3 + 1), *(w for f in fields for w in (f, self.text(300)))))
        last = int(out[-1][2].split(b"-")[0])
        for _ in range(g.randrange(4)):
            out.append(("XDEL", key, *(b"%d-%d" % (g.randrange(last) + 1, g.randrange(3) + 1) for _ in range(g.randrange(1, 30)))))
        for i in range(g.randrange(3)):
            group = g.choice([b"group%d", b"%d"]) % i
            out.append(("XGROUP", "CREATE", key, group, g.choice(["0", "$", "2-1"]), *g.choice([(), ("ENTRIESREAD", g.randrange(50))])))
            out.append(("XGROUP", "CREATECONSUMER", key, group, "idle"))
            for _ in range(g.randrange(4)):
                consumer = g.choice(["x", "y", "7"])
                out.append(("XREADGROUP", "GROUP", group, consumer, "COUNT", g.randrange(1, 150), "STREAMS", key, ">"))
                out.append(("XACK", key, group, *(b"%d-%d" % (g.randrange(last) + 1, g.randrange(3) + 1) for _ in range(8))))
        return out + g.choice([[], [("XTRIM", key, "MAXLEN", g.choice([0, 5, 50]))], [("XSETID", key, "9999-9")]])


def stream_of(c, key):
    """A stream's entries, groups and consumers; times left out."""
    info = c.cmd("XINFO", "STREAM", key)
    info = {k: v for k, v in zip(*[iter(info)] * 2)}
    groups = []
    for group in c.cmd("XINFO", "GROUPS", key):
        name = dict(zip(*[iter(group)] * 2))[b"name"]
        consumers = [{k: v for k, v in zip(*[iter(one)] * 2) if k != b"idle"} for one in c.cmd("XINFO", "CONSUMERS", key, name)]
        pending = [(e[0], e[1], e[3]) for e in c.cmd("XPENDING", key, name, "-", "+", 1000)]
        groups.append((group, consumers, pending))
    return sorted(info.items()), c.cmd("XRANGE", key, "-", "+"), groups


def seen(c, key):
    """All that can be seen of a value, in an order of our own."""
    kind, encoding, ttl = c.cmd("TYPE", key), c.cmd("OBJECT", "ENCODING", key), c.cmd("PTTL", key)
    value = {"string": lambda: c.cmd("GET", key), "list": lambda: c.cmd("LRANGE", key, 0, -1),
             "set": lambda: sorted(c.cmd("SMEMBERS", key)), "zset": lambda: c.cmd("ZRANGE", key, 0, -1, "WITHSCORES"),
             "hash": lambda: sorted(zip(*[iter(c.cmd("HGETALL", key))] * 2)), "stream": lambda: stream_of(c, key), "none": lambda: None}[kind]()
    return kind, encoding, ttl > 0, value
