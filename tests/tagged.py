# SPDX-License-Identifier: Apache-2.0
"""Clients that know the answer to every command that they send.  Each has keys of its own and a model of
them, so each reply proves which request it answers; pipelines are random, and so are the pieces they are
sent in, the pace they are read at, and the points at which some clients go away.

    run(path, seed, clients=16, commands=200, kit=Kit(...))     raises harness.Failure
"""

import collections
import json
import random
import socket
import threading
import time

import harness
from harness import check

Kit = collections.namedtuple("Kit", "hashes fails projects", defaults=(False, False, ("default",)))
DATABASES = {"default": 4, "two": 2}
# fail(code, executed) of a read and of a write: the words of errors.def
READ_WORDS = {1: "BACKENDDOWN", 2: "BACKENDDOWN", 3: "BACKENDPROTOCOL", 4: "BACKENDAUTH", 5: "BACKENDDOWN",
              6: "OOM", 7: "TOOBIG", 8: "UNSUPPORTED", 9: "TIMEOUT", 10: "ERR"}


class Typed(harness.Client):
    """Remembers how a reply began."""

    depth = 0

    def read(self):
        self.depth += 1
        try:
            return super().read()
        finally:
            self.depth -= 1

    def _line(self):
        line = super()._line()
        if self.depth == 1:
            self.first = line
        return line


def show(value):
    text = repr(value)
    return text if len(text) < 200 else f"{text[:160]}... ({len(text)})"


class Tagged(threading.Thread):
    """One client after another, until `commands` are sent."""

    def __init__(self, path, number, seed, commands, kit):
        super().__init__(daemon=True)
        self.path, self.number, self.commands, self.kit = path, number, commands, kit
        self.rng = random.Random(seed * 1000 + number)
        self.slow = number % 4 == 1
        self.leaves = number % 4 == 2
        self.life = 0
        self.answered = 0
        self.error = None

    # ---- what is sent ----

    def begin(self):
        self.life += 1
        self.resp, self.project, self.db, self.called = 2, "default", 0, None
        self.model = {}
        self.serial = 0
        self.expected = collections.deque()

    def tag(self):
        self.serial += 1
        return b"%d.%d.%d" % (self.number, self.life, self.serial)

    def key(self):
        return b"c%d.%d:k%d" % (self.number, self.life, self.rng.randrange(6))

    @property
    def keys(self):
        return self.model.setdefault((self.project, self.db), {})

    def value(self):
        r = self.rng.random()
        n = 0 if r < 0.8 else self.rng.randrange(2000) if r < 0.97 else self.rng.randrange(300000)
        return self.tag() + b"." + self.rng.choice((b"x", b"\r\n", b"\0")) * n

    def bulk(self, value):
        """What a GET of this value must look like."""
        resp = self.resp

        def look(reply, first):
            if value is None:
                check(reply is None and first == (b"_" if resp == 3 else b"$-1"), "want nil, got", show(reply), first)
            else:
                check(reply == value and first == b"$%d" % len(value), "want", show(value), "got", show(reply), first)
        return look

    @staticmethod
    def exactly(value):
        def look(reply, _):
            check(reply == value and type(reply) is type(value), "want", show(value), "got", show(reply))
        return look

    @staticmethod
    def word(word):
        def look(reply, _):
            check(isinstance(reply, harness.RespError) and reply.word == word, "want", word, "got", show(reply))
        return look

    def do_set(self):
        k, v = self.key(), self.value()
        self.keys[k] = v
        return (b"SET", k, v), self.exactly("OK")

    def do_get(self):
        k = self.key()
        return (b"GET", k), self.bulk(self.keys.get(k))

    def do_append(self):
        k, v = self.key(), self.tag()
        self.keys[k] = self.keys.get(k, b"") + v
        return (b"APPEND", k, v), self.exactly(len(self.keys[k]))

    def do_strlen(self):
        k = self.key()
        return (b"STRLEN", k), self.exactly(len(self.keys.get(k, b"")))

    def do_incr(self):
        k = b"%b.n" % self.key()
        n = int(self.keys.get(k, b"0")) + 1
        self.keys[k] = b"%d" % n
        return (b"INCR", k), self.exactly(n)

    def do_del(self):
        ks = [self.key() for _ in range(self.rng.randrange(1, 4))]
        n = sum(self.keys.pop(k, None) is not None for k in ks)
        return (b"DEL", *ks), self.exactly(n)

    def do_exists(self):
        ks = [self.key() for _ in range(self.rng.randrange(1, 4))]
        return (b"EXISTS", *ks), self.exactly(sum(k in self.keys for k in ks))

    def do_mget(self):
        ks = [self.key() for _ in range(self.rng.randrange(1, 20))]
        return (b"MGET", *ks), self.exactly([self.keys.get(k) for k in ks])

    def do_mset(self):
        pairs = [(self.key(), self.value()) for _ in range(self.rng.randrange(1, 9))]
        self.keys.update(pairs)
        return (b"MSET", *[w for p in pairs for w in p]), self.exactly("OK")

    def do_ping(self):
        if self.rng.random() < 0.5:
            return (b"PING",), self.exactly("PONG")
        t = self.tag()
        return (b"PING", t), self.exactly(t)

    def do_echo(self):
        v = self.value()
        return (b"ECHO", v), self.exactly(v)

    def do_select(self):
        db = self.rng.randrange(DATABASES[self.project] + 1)
        if db == DATABASES[self.project]:
            return (b"SELECT", b"%d" % db), self.word("ERR")
        self.db = db
        return (b"SELECT", b"%d" % db), self.exactly("OK")

    def do_project(self):
        p = self.rng.choice(self.kit.projects)
        if p != self.project:
            self.project, self.db = p, 0
        return (b"PURSER.PROJECT", p.encode()), self.exactly("OK")

    def do_hello(self):
        resp = self.resp = self.rng.choice((2, 3))

        def look(reply, first):
            check(first == (b"%7" if resp == 3 else b"*14"), "HELLO answered", first)
            if resp == 2:
                reply = dict(zip(reply[::2], reply[1::2]))
            check(reply[b"proto"] == resp and reply[b"server"] == b"redis", "HELLO answered", show(reply))
        if self.rng.random() < 0.5:
            return (b"HELLO", b"%d" % resp), look
        self.called = self.tag()
        return (b"HELLO", b"%d" % resp, b"SETNAME", self.called), look

    def do_name(self):
        if self.rng.random() < 0.5:
            return (b"CLIENT", b"GETNAME"), self.bulk(self.called)
        self.called = self.tag()
        return (b"CLIENT", b"SETNAME", self.called), self.exactly("OK")

    def do_reset(self):
        self.resp, self.project, self.db, self.called = 2, "default", 0, None
        return (b"RESET",), self.exactly("RESET")

    def do_dbsize(self):
        mine = len(self.keys)

        def look(reply, _):
            check(type(reply) is int and mine <= reply <= 100000, "DBSIZE with", mine, "own keys:", show(reply))
        return (b"DBSIZE",), look

    def do_skip(self):
        k, v = self.key(), self.value()
        self.keys[k] = v
        return [((b"CLIENT", b"REPLY", b"SKIP"), None), ((b"SET", k, v), None)]

    def do_off(self):
        k, v = self.key(), self.value()
        self.keys[k] = v
        return [((b"CLIENT", b"REPLY", b"OFF"), None), ((b"GET", k), None), ((b"PING",), None),
                ((b"SET", k, v), None), ((b"CLIENT", b"REPLY", b"ON"), self.exactly("OK"))]

    def do_wrong(self):
        return self.rng.choice((
            ((b"GET",), self.exactly(harness.RespError("ERR wrong number of arguments for 'get' command"))),
            ((b"NOSUCH", self.tag()), self.word("ERR")),
            ((b"HELLO", b"9"), self.word("NOPROTO"))))

    def do_hset(self):
        k, f, v = self.key() + b".h", b"f%d" % self.rng.randrange(4), self.value()
        h = self.keys.setdefault(k, {})
        new = f not in h
        h[f] = v
        return (b"HSET", k, f, v), self.exactly(int(new))

    def do_hgetall(self):
        k, resp = self.key() + b".h", self.resp
        want = dict(self.keys.get(k, {}))

        def look(reply, first):
            check(first == (b"%%%d" % len(want) if resp == 3 else b"*%d" % (2 * len(want))), "HGETALL", first)
            got = reply if resp == 3 else dict(zip(reply[::2], reply[1::2]))
            check(got == want, "HGETALL", k, "want", show(want), "got", show(got))
        return (b"HGETALL", k), look

    def do_fail(self):
        code, executed, write = self.rng.randrange(1, 11), self.rng.randrange(1, 4), self.rng.random() < 0.5
        k = b"fail:%d:%d:%b" % (code, executed, self.tag())
        if write:
            return (b"SET", k, b"x"), self.word(READ_WORDS[code] if executed == 1 else "INDETERMINATE")
        return (b"GET", k), self.word(READ_WORDS[code])

    def do_err(self):
        k = b"err:" + self.tag()
        return (b"GET", k), self.exactly(harness.RespError(f"WRONGTYPE not with '{k.decode()}', not here"))

    def pick(self):
        if not hasattr(self, "table"):
            self.table = [(self.do_set, 20), (self.do_get, 30), (self.do_append, 6), (self.do_strlen, 6),
                          (self.do_incr, 8), (self.do_del, 6), (self.do_exists, 6), (self.do_mget, 6),
                          (self.do_mset, 4), (self.do_ping, 6), (self.do_echo, 6), (self.do_select, 4),
                          (self.do_hello, 4), (self.do_name, 4), (self.do_dbsize, 1), (self.do_skip, 3),
                          (self.do_off, 2), (self.do_wrong, 3), (self.do_reset, 1)]
            if len(self.kit.projects) > 1:
                self.table.append((self.do_project, 4))
            if self.kit.hashes:
                self.table += [(self.do_hset, 6), (self.do_hgetall, 6)]
            if self.kit.fails:
                self.table += [(self.do_fail, 8), (self.do_err, 4)]
        todo = self.rng.choices([t[0] for t in self.table], [t[1] for t in self.table])[0]()
        return todo if isinstance(todo, list) else [todo]

    # ---- sending and reading ----

    def send(self, c, data):
        """In pieces."""
        at = 0
        while at < len(data):
            n = len(data) if self.rng.random() < 0.7 else self.rng.randrange(1, 200)
            c.s.sendall(data[at:at + n])
            at += n

    def write(self, c, many, room):
        """Sends `many` commands, as many at once as room lets it, and puts down what must come back."""
        try:
            while many > 0:
                data = []
                while many > 0 and room.acquire(blocking=not data):  # pylint: disable=consider-using-with
                    for args, look in self.pick():
                        data.append(harness.encode(*args))
                        many -= 1
                        if look:
                            self.expected.append((args, look))
                    self.more.release()
                    if len(data) > 40 or self.rng.random() < 0.05:
                        break
                self.send(c, b"".join(data))
        except OSError as e:
            self.send_error = e
        finally:
            self.written = True
            self.more.release()

    def read_all(self, c, room, until):
        """Reads every reply that is owed, or the first `until` of them."""
        done = 0
        while done < until:
            self.more.acquire()
            while self.expected and done < until:
                args, look = self.expected.popleft()
                try:
                    reply = c.read()
                    look(reply, c.first)
                except Exception as e:
                    raise harness.Failure(f"client {self.number}.{self.life}, reply {done} to {show(args)}: {e!r}") from e
                done += 1
                if self.slow and self.rng.random() < 0.05:
                    time.sleep(0.002)
            room.release()
            if self.written and not self.expected:
                break
        return done

    def one_life(self, many):
        self.begin()
        self.more = threading.Semaphore(0)
        self.written, self.send_error = False, None
        room = threading.Semaphore(self.rng.choice((1, 4, 30, 100)))
        c = Typed(self.path, timeout=40)
        if self.slow:
            c.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        writer = threading.Thread(target=self.write, args=(c, many, room), daemon=True)
        writer.start()
        until = self.rng.randrange(many) if self.leaves else many * 9
        try:
            self.answered += self.read_all(c, room, until)
        finally:
            # close() alone does not end what the writer waits for: the agent, which waits for this reader,
            # would not be told, and both would wait for the end of their patience
            if self.leaves and self.rng.random() < 0.5 or writer.is_alive():
                c.s.shutdown(socket.SHUT_RDWR)
            else:
                c.close()
            for _ in range(many):
                room.release()
            writer.join()
            c.close()
        check(self.leaves or not self.send_error, f"client {self.number}: {self.send_error!r}")

    def run(self):
        try:
            left = self.commands
            while left > 0:
                many = self.rng.randrange(1, 60) if self.leaves else left
                self.one_life(many)
                left -= many
        except Exception as e:  # pylint: disable=broad-exception-caught
            self.error = e


class TaggedHttp(threading.Thread):
    """The same idea over HTTP: pipelines by POST /v1/command on one connection, and on a
    store with expiry single keys by /redis/kv."""

    def __init__(self, path, number, seed, commands, kit):
        super().__init__(daemon=True)
        self.number, self.commands, self.kit = number, commands, kit
        self.rng = random.Random(seed * 1000 + 500 + number)
        self.c = harness._UnixConnection(path, 40 * harness.SLOW)  # pylint: disable=protected-access
        self.model, self.serial, self.answered, self.error = {}, 0, 0, None

    def ask(self, method, target, body=None):
        data = None if body is None else json.dumps(body).encode()
        self.c.request(method, target, body=data, headers={"Content-Type": "application/json"} if data else {})
        r = self.c.getresponse()
        return r.status, json.loads(r.read())

    def command(self):
        k = f"h{self.number}:{self.rng.randrange(6)}"
        self.serial += 1
        v = f"{self.number}.{self.serial}." + "x" * self.rng.choice((0, 0, 0, 900, 40000))
        kind = self.rng.randrange(8)
        if kind < 2:
            self.model[k] = v
            return ["SET", k, v], {"result": "OK"}
        if kind < 4:
            return ["GET", k], {"result": self.model.get(k)}
        if kind == 4:
            return ["MGET", k, k, "none"], {"result": [self.model.get(k)] * 2 + [None]}
        if kind == 5:
            return ["ECHO", v], {"result": v}
        if kind == 6:
            gone = self.model.pop(k, None) is not None
            return ["DEL", k], {"result": int(gone)}
        if self.kit.fails:
            return ["GET", f"fail:3:1:{v[:20]}"], "BACKENDPROTOCOL"
        return ["INCR"], "ERR"

    def pipeline(self):
        todo = [self.command() for _ in range(self.rng.choice((1, 3, 40)))]
        status, got = self.ask("POST", "/v1/command", [args for args, _ in todo])
        check(status == 200 and len(got) == len(todo), f"HTTP client {self.number}:", status, show(got))
        for (args, want), reply in zip(todo, got):
            check(reply == want or (isinstance(want, str) and reply.get("error", "").split(" ")[0] == want),
                  f"HTTP client {self.number}:", show(args), "want", show(want), "got", show(reply))
        return len(todo)

    def single(self):
        k = f"h{self.number}:{self.rng.randrange(6)}"
        status, got = self.ask("GET", f"/redis/kv?key={k}")
        if k in self.model:
            check(status == 200 and got["value"] == self.model[k], status, show(got))
        else:
            check(status == 404 and got["code"] == "NOKEY", status, show(got))
        return 1

    def run(self):
        try:
            while self.answered < self.commands:
                self.answered += self.single() if self.kit.hashes and self.rng.random() < 0.3 else self.pipeline()
            self.c.close()
        except Exception as e:  # pylint: disable=broad-exception-caught
            self.error = e


def run(path, seed, clients=16, commands=200, kit=Kit(), over_http=0):
    """Runs all clients to their end; returns how many replies were checked."""
    all_ = [Tagged(path, i, seed, commands, kit) for i in range(clients)]
    all_ += [TaggedHttp(path, i, seed, commands, kit) for i in range(over_http)]
    for t in all_:
        t.start()
    for t in all_:
        t.join()
    for t in all_:
        if t.error:
            raise t.error
    return sum(t.answered for t in all_)
