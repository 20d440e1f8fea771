#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A server that answers nonsense: each kind is a typed error for who asked, a closed link and a count; never a crash,
and never anybody else's reply.  A table of what can be wrong, then replies that are damaged at random."""

import os
import random
import re
import socket
import threading

import harness
from harness import RespError, check, encode, equal, wait_until

INFO = b"redis_version:7.0.0\r\nredis_mode:standalone\r\n"
HELLO = b"%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:3\r\n"
PROTOCOL, GONE = {"BACKENDPROTOCOL"}, {"BACKENDDOWN", "BACKENDPROTOCOL"}
MUTE = b"<and no more>"
RANDOM = 2000 if harness.LONG else 150


HANDSHAKE = (b"HELLO", b"CLIENT", b"SELECT", b"INFO", b"PING")


def bulk(b):
    return b"$%d\r\n%b\r\n" % (len(b), b)


class Server(harness.FakeServer):
    """Answers handshakes as Redis does, GET of a key with "=KEY", and GET of a key that `say` knows with that:
    (bytes, close behind them?, a byte at a time?)."""

    def __init__(self, path):
        self.say, self.handshake, self.mute, self.mad = {}, None, [], None
        super().__init__(path)

    def serve(self, s, c):
        while self.answer(s, c.read()):
            pass

    def closed(self, s):
        if s not in self.mute:
            s.close()

    def close_mute(self):
        while self.mute:
            s = self.mute.pop()
            s.shutdown(socket.SHUT_RDWR)
            s.close()

    def answer(self, s, command):
        name = command[0].upper()
        if self.mad and name not in HANDSHAKE:
            data = self.mad(name)
            s.sendall(data)
            return data != b""
        if self.handshake is not None and name in (b"HELLO", b"CLIENT", b"SELECT", b"INFO"):
            s.sendall(self.handshake)
            return self.handshake != b""
        if name == b"GET":
            key = command[1].rpartition(b":")[2]
            data, close, drip = self.say.get(key, (bulk(b"=" + key), False, False))
            if data.endswith(MUTE):
                s.sendall(data[:-len(MUTE)])
                self.mute.append(s)
                return False
            step = 1 if drip else len(data) or 1
            for i in range(0, len(data), step):
                s.sendall(data[i:i + step])
            if close:
                s.shutdown(socket.SHUT_RDWR)
            return not close
        s.sendall({b"HELLO": HELLO if command[1:2] == [b"3"] else b"*6\r\n" + HELLO[4:].replace(b":3", b":2"),
                   b"INFO": bulk(INFO), b"PING": b"+PONG\r\n"}.get(name, b"+OK\r\n"))
        return True


LONG = b"x" * 70000
# Wrong on any lane: what the server sends.
WRONG = [
    b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00", b"\xff\xfe\xfd", b"\r\n", b"hello\r\n", b"=KEY", b"?1\r\n", b";4\r\nabcd\r\n",
    b"$\r\n", b"$-2\r\n", b"$-0x1\r\n", b"$+5\r\nhello\r\n", b"$ 5\r\nhello\r\n", b"$5x\r\nhello\r\n", b"$5\nhello\n", b"$5\rhello\r\n",
    b"$3\r\nabcde\r\n", b"$5\r\nhello\n\r", b"$5\r\nhelloXX", b"$536870913\r\n", b"$99999999999999999999\r\n",
    b"$9223372036854775807\r\n", b"$?\r\n;4\r\nabcd\r\n;0\r\n", b"$" + b"1" * 100,
    b"*\r\n", b"*-2\r\n", b"*+1\r\n:1\r\n", b"*4294967297\r\n", b"*99999999999999999999\r\n", b"*?\r\n:1\r\n.\r\n", b"*1\r\nhello\r\n",
    b"*2\r\n$1\r\na\r\n$1\r\nbcd", b"*1\r\n" * 200 + b"x", b"*4294967296\r\n" * 300,
    b":\r\n", b":abc\r\n", b":1.5\r\n", b":9223372036854775808\r\n", b":1\n", b":" + b"9" * 70, b"+a\nb\r\n", b"+a\rb\r\n",
    b"+" + LONG + b"\r\n", b"-ERR a\nb\r\n", b"-ERR a\rb\r\n", b"+" + LONG,
]
# RESP3's types where RESP2 was spoken.
WRONG2 = [b"_\r\n", b"#t\r\n", b",1.5\r\n", b"(123\r\n", b"!5\r\nERR x\r\n", b"=7\r\ntxt:abc\r\n", b"%1\r\n+a\r\n+b\r\n",
          b"~1\r\n+a\r\n", b">2\r\n+message\r\n+b\r\n", b"|1\r\n+a\r\n+b\r\n+c\r\n", b"*2\r\n+a\r\n_\r\n", b"*1\r\n%0\r\n"]
WRONG3 = [b"_x\r\n", b"#x\r\n", b"#tt\r\n", b",\r\n", b",abc!\r\n", b"(\r\n", b"(12a\r\n", b"(1.5\r\n", b"%-1\r\n", b"~-1\r\n", b"!-1\r\n",
          b"!99999999\r\n", b"=-1\r\n", b"=536870913\r\n", b">-1\r\n", b"|-1\r\n", b"|99999999999\r\n", b"%4294967297\r\n",
          b">1\r\nhello\r\n", b"|1\r\n+a\r\nhello\r\n", b"!5\r\nERR xYY", b"%1\r\n+a\r\n$3\r\nabXY\r\n"]
# Odd and right: (what is sent, what the client gets)
DEEP = b"*1\r\n" * 20000 + b":1\r\n"
RIGHT = [(DEEP, DEEP), (b"$-1\r\n",) * 2, (b"*-1\r\n",) * 2, (b"*0\r\n",) * 2, (b"$0\r\n\r\n",) * 2, (b"+\r\n",) * 2,
         (b":-9223372036854775808\r\n",) * 2, (b":+7\r\n",) * 2, (b":000000000000000000009\r\n"[:1] + b"0000000000000000009\r\n",) * 2,
         (b"*2\r\n-ERR within\r\n$-1\r\n",) * 2, (b"-ERR plain\r\n",) * 2, (b"-\r\n",) * 2, (bulk(LONG * 5),) * 2,
         (b"*3\r\n*2\r\n:1\r\n*0\r\n$2\r\n\r\n\r\n+x\r\n",) * 2]
RIGHT3 = [(b"_\r\n",) * 2, (b"#f\r\n",) * 2, (b",-inf\r\n",) * 2, (b"(" + b"9" * 1000 + b"\r\n",) * 2, (b"=7\r\ntxt:abc\r\n",) * 2,
          (b"%1\r\n+a\r\n~1\r\n+b\r\n",) * 2, (b">2\r\n+nobody-knows\r\n+b\r\n$1\r\nx\r\n", b"$1\r\nx\r\n"),
          (b"|1\r\n+a\r\n*2\r\n:1\r\n:2\r\n$1\r\nx\r\n", b"$1\r\nx\r\n"), (b"|0\r\n$1\r\nx\r\n", b"$1\r\nx\r\n"),
          (b">1\r\n+a\r\n" * 50 + b"|1\r\n+a\r\n+b\r\n>1\r\n+c\r\n$1\r\nx\r\n", b"$1\r\nx\r\n"), (b"!5\r\nERR x\r\n", b"-ERR x\r\n")]


def settings(server, **more):
    return {"backend main.plugin": "redis", "backend main.url": server.url, "health.interval": "1h",
            "backend main.reconnect_base": "1ms", "backend main.reconnect_cap": "2ms", "retry.max_attempts": "1",
            "backend main.operation_timeout": "20s", "breaker.enabled": "no", "agent.workers": "1", **more}


def counted(p, name):
    m = re.search(rf"^purser_redis_{name}_total\S* (\d+)", p.http("GET", "/metrics").body.decode(), re.M)
    return int(m.group(1)) if m else 0


def fine(c, tag):
    """The next commands of c get their own replies: on a new link."""
    for i in range(3):
        equal(c.cmd("GET", f"{tag}-{i}"), b"=%b-%d" % (tag.encode(), i))


class Asker:
    """A client that asks for nonsense between two commands that are answered rightly."""

    def __init__(self, p, server, resp):
        self.p, self.server, self.resp, self.n, self.c = p, server, resp, 0, None
        self.fresh()

    def fresh(self):
        if self.c:
            self.c.close()
        self.c = self.p.client()
        self.c.cmd("HELLO", self.resp)

    def ask(self, data, close=False, drip=False, more=()):
        """The key that is answered so, in a pipeline behind one command and before what is in more."""
        self.n += 1
        key = f"say-{self.resp}-{self.n}"
        self.server.say[key.encode()] = (data, close, drip)
        before = f"before-{key}"
        self.c.raw(b"".join(encode("GET", k) for k in (before, key, *more)))
        equal(self.c.read(), b"=" + before.encode())
        return key


def typed(reply, words, *what):
    check(isinstance(reply, RespError) and reply.word in words and len(reply.text) > 20, *what, reply)
    check("proj:" not in reply.text, *what, "shows", reply)


def wrong(p, server, resp, cases):
    a, other = Asker(p, server, resp), p.client()
    other.cmd("HELLO", resp)
    for data in cases:
        before = counted(p, "protocol_errors")
        behind = [f"b{i}-{a.n}" for i in range(3)]
        for more in ((), behind):
            a.ask(data, more=more)
            typed(a.c.read(), PROTOCOL, data[:60], "was answered")
            for k in more:  # those lost their link: an error, or their own reply
                r = a.c.read()
                check(r == b"=" + k.encode() or (isinstance(r, RespError) and r.word in GONE), data[:60], k, "got", r)
            fine(a.c, f"after-{a.n}")
            fine(other, f"other-{a.n}")
        check(counted(p, "protocol_errors") >= before + 2, data[:60], "is not counted")
    a.c.close()
    other.close()
    return len(cases)


def exactly(c, want, *what):
    got = c._exactly(len(want))
    check(got == want, *what, "became", got[:100])


def right(p, server, resp, cases):
    a = Asker(p, server, resp)
    before = counted(p, "protocol_errors")
    for data, want in cases:
        for drip in ((False, True) if len(data) < 2000 else (False,)):
            a.ask(data, drip=drip, more=("x",))
            exactly(a.c, want + bulk(b"=x"), data[:60], drip)
    fine(a.c, "right")
    equal(counted(p, "protocol_errors"), before)
    a.c.close()
    return len(cases)


def broken_off(p, server, resp):
    """Truncated, and closed: at once, in a header, in a small value, in a large one of which the client has a part."""
    a, other = Asker(p, server, resp), p.client()
    for whole in (b"$10\r\nhalfandhalf"[:15], b"*2\r\n$1\r\na\r\n$3\r\nbcd\r\n", b"+OK\r\n", b"-ERR it was\r\n", b":12345\r\n"):
        for n in range(len(whole)):
            a.ask(whole[:n], close=True)
            typed(a.c.read(), GONE, whole[:n])
            fine(a.c, f"off{n}")
    for whole in (b"$300000\r\n" + b"y" * 200000, b"*3\r\n" + bulk(b"z" * 100000) + b"$5\r\nab", b"*3\r\n" + bulk(b"z" * 100000) + b"junk"):
        a.ask(whole, close=b"junk" not in whole)
        a.c.s.shutdown(socket.SHUT_WR)
        got = b""
        try:
            while part := a.c.f.read1(65536):
                got += part
        except ConnectionResetError:
            pass
        # half of a reply is out: there is no way to say that but to close; or none of it was, then it is an error
        check(whole.startswith(got) or (got.startswith(b"-") and got.endswith(b"\r\n")), whole[:20], len(got), got[:60])
        fine(other, "part")
        a.fresh()
    fine(a.c, "off")
    a.c.close()
    other.close()


def unasked(p, server, resp):
    """A reply too many, behind the right one and with nothing under way: the link is closed."""
    a = Asker(p, server, resp)
    for extra in (b"+OK\r\n", b"$1\r\nx\r\n", b"-ERR go away\r\n", b"*0\r\n", b"junk", b"-LOADING"):
        before = counted(p, "connections_lost")
        a.ask(bulk(b"mine") + extra, close=extra == b"-LOADING")
        equal(a.c.read(), b"mine")
        wait_until(lambda: counted(p, "connections_lost") > before, "the link to be closed")
        fine(a.c, "unasked")
    a.c.close()


def silent(server):
    """Half a reply and no more, nothing else on that connection either: the time is up for all on it, until it is
    closed.  What came before it closed is nobody else's."""
    with harness.Purserd(settings(server, **{"backend main.operation_timeout": "300ms"}), name="silent") as p:
        for resp in (2, 3):
            a, other = Asker(p, server, resp), p.client()
            other.cmd("HELLO", resp)
            for part in (b"", b"$", b"$5\r\nhel", b"*2\r\n$1\r\na\r\n"):
                a.ask(part + MUTE)
                other.send("GET", "o")
                typed(a.c.read(), {"TIMEOUT"}, part)
                typed(other.read(), {"TIMEOUT", "BACKENDDOWN"}, part)
                server.close_mute()
                wait_until(lambda: c_answers(a.c, a.n), "the server to be used again")
                fine(a.c, "silent")
                fine(other, "silent2")
            a.c.close()
            other.close()


def kick(p, server, resp):
    """Nonsense, so that a link which is out of step is closed."""
    with p.client() as c:
        c.cmd("HELLO", resp)
        before = counted(p, "connections_lost")
        server.say[b"kick"] = (b"junk", True, False)
        c.send("GET", "kick")
        c.read()
        wait_until(lambda: counted(p, "connections_lost") > before, "the link to be closed")


def handshakes(server):
    """Nonsense instead of a handshake: errors that say so, and all is well as soon as the server is sane."""
    with harness.Purserd(settings(server), name="handshake") as p, p.client() as c:
        fine(c, "first")
        for i, data in enumerate((b"HTTP/1.1 400 Bad Request\r\n", b"junk", b"", b"$-7\r\n", b"*3\r\n" * 50000, b"+" + LONG, b":5\r\n",
                                  b"%x\r\n", b"-NOAUTH who are you\r\n", b"$536870912\r\n" + LONG, b"_\r\n" * 9)):
            server.handshake = data
            kick(p, server, 2)
            typed(wait_until(lambda: error_of(c), data[:30]), {"BACKENDPROTOCOL", "BACKENDDOWN", "BACKENDAUTH", "TIMEOUT"}, data[:30])
            server.handshake = None
            wait_until(lambda: c_answers(c, i), "the server to be used again", 20)
            fine(c, f"hand{i}")


def error_of(c):
    c.send("GET", "x")
    r = c.read()
    return r if isinstance(r, RespError) else None


def c_answers(c, i):
    c.send("GET", f"sane{i}")
    return c.read() == b"=sane%d" % i


# ---- at random ---------------------------------------------------------------------------------------

def value(rng, depth=0):
    kind = rng.randrange(12 if depth < 4 else 9)
    if kind < 3:
        return bulk(rng.randbytes(rng.choice((0, 1, 5, 40, 3000))))
    if kind < 9:
        return rng.choice((b"+OK\r\n", b":%d\r\n" % rng.randrange(-2**63, 2**63), b"$-1\r\n", b"_\r\n", b"#t\r\n", b",1.5\r\n", b"(12\r\n",
                           b"=5\r\ntxt:a\r\n", b"-ERR no\r\n", b"!3\r\nERR\r\n"))
    items = rng.randrange(6)
    return (b"*%d\r\n", b"~%d\r\n", b"%%%d\r\n")[kind - 9] % items + \
        b"".join(value(rng, depth + 1) for _ in range(items * (1 + (kind == 11))))


def damaged(rng):
    data = bytearray(value(rng))
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data) + 1)
        how = rng.randrange(5)
        if how == 0:
            data[at:at + 1] = bytes([rng.choice(b"$*:+-%~>|!=_#,(0123456789\r\n\x00\xff")])
        elif how == 1:
            del data[at:]
        elif how == 2:
            del data[at:at + rng.randrange(1, 9)]
        elif how == 3:
            data[at:at] = data[:at][-rng.randrange(1, 20):]
        else:
            data[at:at] = rng.choice((b"\r\n", b"$-1\r\n", b">1\r\n+x\r\n", b"|1\r\n+x\r\n+y\r\n", b"*2\r\n", b"%1\r\n"))
    return bytes(data)


def at_random(p, server, seed):
    """On lanes of their own, because what is damaged may still be a reply; on another lane nobody notices."""
    rng = random.Random(seed)
    seen = {}
    with p.client() as other:
        for i in range(RANDOM):
            with p.client() as c:
                equal(c.cmd("SELECT", 1), "OK")
                c.cmd("HELLO", rng.choice((2, 3)))
                key = b"r%d" % i
                server.say[key] = (damaged(rng), True, rng.random() < 0.2)
                c.raw(encode("GET", key) + encode("GET", "behind") * rng.randrange(3) + encode("ECHO", "end"))
                c.s.shutdown(socket.SHUT_WR)
                try:
                    text = c.f.read()
                except ConnectionResetError:
                    text = b""
                # whatever it is, what follows is its own: the last reply, if the connection was not cut before
                word = "cut" if not text.endswith(bulk(b"end")) else text.split(b" ")[0].decode("latin1") if text[:1] == b"-" else "value"
                seen[word] = seen.get(word, 0) + 1
            fine(other, f"other{i}")
    print(f"{RANDOM} damaged replies: {seen}", flush=True)
    check(seen.get("-BACKENDPROTOCOL", 0) > RANDOM // 20, seen)


# What the agent itself reads something out of: names, cursors, blocks, scripts, subscriptions, the health check.
SCENE = ["GET a", "MGET a b", "KEYS *", "SCAN 0", "SCAN 0 MATCH a* COUNT 5", "DBSIZE", "RANDOMKEY", "FLUSHDB", "HGETALL h", "HSCAN h 0",
         "XREAD STREAMS a b 0 0", "XREADGROUP GROUP g c STREAMS a >", "XREAD BLOCK 50 STREAMS a 0", "SORT l BY w_* GET #", "COPY a b",
         "OBJECT ENCODING a", "MEMORY USAGE a", "BLPOP a b 0.05", "BLMPOP 0.05 1 a LEFT", "BZPOPMIN z 0.05", "WAIT 0 10", "LMPOP 1 a LEFT",
         "ZUNION 2 a b WITHSCORES", "GEOSEARCH g FROMLONLAT 1 1 BYRADIUS 1 m WITHCOORD", "EVAL return(1) 1 a", "EVALSHA %s 1 a" % ("0" * 40),
         "SCRIPT EXISTS %s" % ("0" * 40), "FCALL f 1 a", "PUBLISH c m", "PUBSUB CHANNELS", "PUBSUB NUMSUB c", "WATCH a", "UNWATCH",
         "MULTI", "EXEC", "DISCARD", "SET a b", "INCR a", "RENAME a b", "EXPIRE a 5", "DUMP a", "RESTORE a 0 x", "TOUCH a b",
         "SUBSCRIBE c", "PSUBSCRIBE c*", "SSUBSCRIBE c", "UNSUBSCRIBE", "PUNSUBSCRIBE c*", "CLIENT TRACKING ON", "RESET"]


def everything(server, seed):
    """A server that answers every command with something at random, mostly well-formed and never what was meant: what
    the agent makes of it, it survives, and as soon as the server is sane everything is right again."""
    rng = random.Random(seed + 1)
    lock = threading.Lock()

    def mad(name):
        with lock:
            how = rng.random()
            if how < 0.5:
                return value(rng)
            if how < 0.8:
                return b"*%d\r\n" % (k := rng.randrange(4)) + b"".join(value(rng, 1) for _ in range(k))
            return bulk(name) if how < 0.85 else b"" if how < 0.88 else damaged(rng)

    more = settings(server, **{"backend main.operation_timeout": "300ms", "health.interval": "100ms", "health.timeout": "100ms",
                               "retry.max_attempts": "4", "agent.workers": "2"})
    with harness.Purserd(more, name="everything") as p:
        for i in range(RANDOM // 2):
            server.mad = mad
            with p.client() as c:
                c.raw(encode("HELLO", rng.choice((2, 3))))
                words = [rng.choice(SCENE).split() for _ in range(rng.randrange(1, 12))]
                c.raw(b"".join(encode(*w) for w in words))
                if rng.random() < 0.8:  # else it just goes
                    c.s.shutdown(socket.SHUT_WR)
                    try:
                        while c.f.read1(65536):
                            pass
                    except ConnectionResetError:
                        pass
            if i % 10 == 9:
                for path in ("/redis/status", "/redis/kv?key=a", "/v1/command"):
                    check(p.http("GET", path).status in (200, 404, 405, 502, 503, 504, 500, 422), path)
            check(p.running())
        server.mad = None
        with p.client() as c:
            wait_until(lambda: c_answers(c, 0), "the server to be used again", 20)
            fine(c, "after")


def main():
    seed = harness.seed()
    server = Server(os.path.join(harness.tmp(), "nonsense.sock"))
    n = 0
    with harness.Purserd(settings(server, **{"project default.databases": "2"}), name="agent") as p:
        for resp, bad, good in ((2, WRONG + WRONG2, RIGHT), (3, WRONG + WRONG3, RIGHT + RIGHT3)):
            n += wrong(p, server, resp, bad) + right(p, server, resp, good)
            broken_off(p, server, resp)
            unasked(p, server, resp)
        at_random(p, server, seed)
        print(f"{n} kinds, {counted(p, 'protocol_errors')} counted, {counted(p, 'connections_lost')} links lost", flush=True)
    everything(server, seed)
    silent(server)
    handshakes(server)


if __name__ == "__main__":
    harness.run(main)
