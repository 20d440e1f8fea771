#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One client does not starve the others: a deep pipeline, large values both ways, readers that do not read.  What is
asserted is counted in commands, never in time."""

import os
import re
import select
import signal
import threading

import harness
from harness import check, encode, equal, wait_until

MIB = 1 << 20
ROUNDS = 200 if harness.LONG else 25


def settings(redis, **more):
    return {"backend main.plugin": "redis", "backend main.url": redis.url, "health.interval": "1h",
            **{k.replace("__", "."): v for k, v in more.items()}}


def freeze(p):
    """SIGSTOP, and every thread stands."""
    def stands():
        states = []
        for t in os.listdir(f"/proc/{p.pid}/task"):
            with open(f"/proc/{p.pid}/task/{t}/stat", encoding="ascii", errors="replace") as f:
                states.append(f.read().rpartition(")")[2].split()[0])
        return set(states) <= {"T", "t"}
    p.signal(signal.SIGSTOP)
    wait_until(stands, "the agent to stand still")


# ---- a pipeline without end --------------------------------------------------------------------------

class Hog:
    """Increments for ever, as fast as its socket takes them, and counts the replies."""

    def __init__(self, p, key):
        self.c, self.replies, self.stop = p.client(120), 0, False
        self.block = encode("INCR", key) * 2000
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self.write, self.read)]
        for t in self.threads:
            t.start()

    def write(self):
        while not self.stop:
            self.c.raw(self.block)
        self.c.send("ECHO", "the end")

    def read(self):
        last = 0
        while True:
            v = self.c.read()
            if v == b"the end":
                return
            check(v == last + 1, "the hog's replies: ", v, "behind", last)
            self.replies = last = v

    def finish(self):
        self.stop = True
        for t in self.threads:
            t.join(60 * harness.SLOW)
            check(not t.is_alive(), "the hog does not end")
        self.c.close()


def writable(s):
    return bool(select.select([], [s], [], 0)[1])


def pipeline(redis):
    """Between another client's command and its execution so many of the hog's are executed, and no more, however many
    it has sent: the agent is stopped while both send, so that what it does with them does not depend on time."""
    most, waited = 0, 0
    with harness.Purserd(settings(redis, agent__workers="1"), name="pipeline") as p, p.client() as c, \
            redis.client() as direct:
        hog = Hog(p, "hog")
        wait_until(lambda: hog.replies > 5000, "the hog")
        for i in range(ROUNDS):
            freeze(p)
            try:
                wait_until(lambda: not writable(hog.c.s), "the hog to fill its socket")
                c.send("GET", "hog")
                before = int(direct.cmd("GET", "proj:default:hog"))
            finally:
                p.signal(signal.SIGCONT)
            after = int(c.read())
            most = max(most, after - before)
            waited += after > before
        hog.finish()
        check(hog.replies > 5000 + ROUNDS, hog.replies)
        print(f"{hog.replies} of the hog's, at most {most} in front of another's, {waited} of {ROUNDS} behind some", flush=True)
        # 1,024 may be under way and 512 start in a turn; two turns pass before it leaves
        check(most <= 1024 + 3 * 512, most, "commands of a hog ran before another's")


def projects(store, redis):
    """A hundred connections of one project have all sent more than their sockets take; a command of another project is
    behind few of these.  It reads the first's counter: its own project has no prefix."""
    text = f"[backend main]\n{store}\n[health]\ninterval = 1h\n" \
        "[project a]\n[project b]\nisolation = off\n"
    block = encode("INCR", "n") * 3000
    most = 0
    with harness.Purserd(config=text, args=["--set", "agent.workers=1"], name="projects") as p, p.client() as b:
        equal(b.cmd("AUTH", "b", "x"), "OK")
        for _ in range(8 if harness.LONG else 3):
            b.cmd("DEL", "proj:a:n")
            hogs = [p.client(120) for _ in range(100)]
            for h in hogs:
                equal(h.cmd("AUTH", "a", "x"), "OK")
            freeze(p)
            try:
                for h in hogs:
                    h.s.setblocking(False)
                    check(h.s.send(block) > len(block) // 3, "a socket takes a third of it")
                b.send("GET", "proj:a:n")
            finally:
                p.signal(signal.SIGCONT)
            most = max(most, int(b.read() or 0))
            for h in hogs:
                h.close()
        print(f"at most {most} of another project's 100 clients before one's own", flush=True)
        # two turns of what is started straight away, two slices, and what is under way
        check(most <= 2 * (1024 + 128 + 2048) + 8192, most, "commands of another project ran first")
    if redis:
        with redis.client() as c:
            c.cmd("FLUSHALL")


# ---- large values ------------------------------------------------------------------------------------

def large(redis):
    """Clients that read and write large values for ever; small commands beside them are answered, and rightly.  The
    pool has four connections: twelve writers take turns."""
    with harness.Purserd(settings(redis, **{"backend main.pool_max": "4", "backend main.operation_timeout": "60s"}), name="large") as p, p.client() as c:
        values = [bytes([65 + i]) * (2 * MIB + i) for i in range(12)]
        failed, done = [], threading.Event()

        def work(i):
            try:
                with p.client(120) as own:
                    for _ in range(3):
                        equal(own.cmd("SET", f"big{i}", values[i]), "OK")
                        check(own.cmd("GET", f"big{i}") == values[i], "another value")
            except Exception as e:  # pylint: disable=broad-except
                failed.append(repr(e)[:300])

        threads = [threading.Thread(target=work, args=(i,)) for i in range(12)]
        for t in threads:
            t.start()
        threading.Thread(target=lambda: [t.join() for t in threads] and done.set(), daemon=True).start()
        n = 0
        while not done.is_set() or n < 20:
            n += 1
            equal(c.cmd("INCR", "n"), n)
            equal(c.cmd("SET", "small", n), "OK")
            equal(c.cmd("GET", "small"), b"%d" % n)
        check(not failed, failed)
        print(f"{n} rounds of small commands beside 72 large ones", flush=True)
        equal(c.cmd("FLUSHDB"), "OK")


# ---- who does not read -------------------------------------------------------------------------------

def stuck(direct):
    """Connections of the agent on which Redis has bytes that are not taken."""
    return len([x for x in direct.cmd("CLIENT", "LIST").decode().splitlines() if not re.search(r" omem=0 ", x)])


def metric(p, name):
    m = re.search(rf"^{name} (\d+)$", p.http("GET", "/metrics").body.decode(), re.M)
    return int(m.group(1)) if m else 0


def slow_readers(redis):
    """Ten clients that ask for a large value and do not read it: the others go on by links of their own.  At
    slow_reader_timeout all ten are cut, counted, and what is left of their replies is thrown away."""
    text = f"[agent]\nslow_reader_timeout = %s\n[backend main]\nplugin = redis\nurl = {redis.url}\n[health]\ninterval = 1h\n"
    big = os.urandom(MIB) * 8
    with harness.Purserd(config=text % "1h", args=["--set", "agent.workers=1"], name="slow") as p, \
            redis.client() as direct, p.client(120) as c:
        equal(c.cmd("SET", "big", big), "OK")
        readers = []
        for i in range(10):
            readers.append(p.client(120))
            readers[-1].send("GET", "big")
            wait_until(lambda n=i + 1: stuck(direct) == n, f"{i + 1} links to be held up")
            direct.cmd("PING")  # when it answers, the first bytes of that reply are out
            equal(c.cmd("PING"), "PONG")  # and now the agent has begun to read them: nothing more goes behind it
            for k in range(20):
                equal(c.cmd("INCR", "n"), i * 20 + k + 1)
        many = [p.client() for _ in range(20)]
        for i, d in enumerate(many):
            d.raw(encode("SET", f"k{i}", i) + encode("GET", f"k{i}") * 10)
        for i, d in enumerate(many):
            equal([d.read() for _ in range(11)], ["OK"] + [b"%d" % i] * 10)
        check(readers[0].read() == big, "a slow reader's value")  # it reads after all: it gets all of it
        check(readers.pop().cmd("PING") == big)
        readers.pop().close()  # and one goes in the middle
        wait_until(lambda: stuck(direct) == 7, "the rest of it to be thrown away")
        p.write_config(text % "1s")
        p.reload()
        wait_until(lambda: metric(p, r'purser_clients_cut_total\{purser_reason="slow_reader"\}') == 7, "seven to be cut", 30)
        p.wait_log('"client.slow"')
        wait_until(lambda: stuck(direct) == 0, "the rest to be thrown away")
        for r in readers[1:]:
            check(len(r.f.read()) < len(big), "cut, and nothing is missing")
            r.close()
        for i, d in enumerate(many):  # no byte of it came to anybody
            equal(d.cmd("GET", f"k{i}"), b"%d" % i)
            equal(d.cmd("ECHO", "x"), b"x")
        check(c.cmd("GET", "big") == big)
        readers[0].close()


def behind(redis):
    """Commands that are behind a large reply on the same link, and its reader does not read: it is cut in time for
    them, long before slow_reader_timeout."""
    more = settings(redis, agent__workers="1", **{"backend main.operation_timeout": "6s"})
    with harness.Purserd(more, name="behind") as p, p.client() as c, p.client() as reader, redis.client() as direct:
        equal(c.cmd("SET", "big", b"x" * 16 * MIB), "OK")
        for round_ in range(2):
            equal(c.cmd("PING"), "PONG")
            freeze(p)
            try:
                reader.send("GET", "big")
                c.raw(encode("INCR", "n") * 3)
            finally:
                p.signal(signal.SIGCONT)
            equal([c.read() for _ in range(3)], [3 * round_ + k for k in (1, 2, 3)])
            if round_ == 0:
                p.wait_log('"client.slow"')
                check(len(reader.f.read()) < 16 * MIB)
                wait_until(lambda: stuck(direct) == 0, "the rest to be thrown away")
                reader.close()
                # who had a large reply is by itself from then on: nobody is behind the next one
                reader = p.client()
                reader.send("GETRANGE", "big", "0", MIB)
                check(len(reader.read()) == MIB + 1)
                wait_until(lambda: links(direct) >= 2, "a link for large replies")
        equal(metric(p, r'purser_clients_cut_total\{purser_reason="slow_reader"\}'), 1)
        reader.close()


def links(direct):
    return len([x for x in direct.cmd("CLIENT", "LIST").decode().splitlines() if "cmd=client" not in x])


def written_before_read(p, name):
    """A whole pipeline is written before the first reply is read, as redis-py does: far more than sockets and
    output_limit hold."""
    with p.client() as c:
        equal(c.cmd("SET", "written", "v" * 1000), "OK")
        replies = c.pipeline([("GET", "written")] * 40000)
        check(len(replies) == 40000 and set(replies) == {b"v" * 1000}, name)
        large = [("ECHO", f"{i}:".encode() + b"x" * 20000) for i in range(1500)]
        check(c.pipeline(large) == [e[1] for e in large], name, "large ones")
        tags = [("ECHO" if i % 3 else "GET", f"{i}" if i % 3 else "written") for i in range(90000)]
        for want, got in zip(tags, c.pipeline(tags)):
            check(got == (want[1].encode() if want[0] == "ECHO" else b"v" * 1000), name, want, got)


def everybodys_own(p):
    """What some have sent waits in a shared block to be parsed; then one with much to do makes turns count, and what comes
    behind it is read as well: each has what it asked for."""
    with p.client() as much:
        others = [p.client() for _ in range(12)]
        for at in range(0, 12, 3):
            much.raw(b"*2\r\n$4\r\nECHO\r\n$4\r\npa")  # it has a buffer of its own then
            much_later, early, late = b"rt\r\n" + encode("PING") * 2000, others[at:at + 2], others[at + 2]
            wait_until(lambda: all(c.cmd("PING") == "PONG" for c in others), "it to be read")
            freeze(p)
            for i, c in enumerate(early):
                c.send("ECHO", f"early {at} {i}")
            much.raw(much_later)
            late.raw(b"".join(encode("ECHO", f"late {i}") for i in range(20)))
            p.signal(signal.SIGCONT)
            for i, c in enumerate(early):
                equal(c.read(), f"early {at} {i}".encode())
            equal([late.read() for _ in range(20)], [f"late {i}".encode() for i in range(20)])
            equal([much.read() for _ in range(2001)], [b"part"] + ["PONG"] * 2000)
        for c in others:
            c.close()


def main():
    with harness.Purserd({"backend main.plugin": "memory", "agent.workers": 1}, name="own") as p:
        everybodys_own(p)
    with harness.Redis() as redis:
        behind(redis)
        with redis.client() as c:
            c.cmd("FLUSHALL")
        pipeline(redis)
        projects(f"plugin = redis\nurl = {redis.url}", redis)
        projects("plugin = memory", None)
        large(redis)
        slow_readers(redis)
        with harness.Purserd(settings(redis), name="written") as p:
            written_before_read(p, "redis")
    with harness.Purserd({"backend main.plugin": "memory"}, name="written-memory") as p:
        written_before_read(p, "memory")


if __name__ == "__main__":
    harness.run(main)
