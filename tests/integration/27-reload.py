# SPDX-License-Identifier: Apache-2.0
"""Reload under load: what may change changes, what may not is refused with the list, a broken file changes
nothing; and no request is lost or answered wrongly by any of it."""

import json
import os
import threading
import time

import harness
import tagged
from harness import Purserd, Redis, RespError, check, equal, wait_until

LIBS = os.path.join(harness.builddir, "tests/plugins/.libs")
COMMANDS = 3000 if harness.LONG else 250
BASE = {"agent": {"plugin_dir": LIBS, "drain_timeout": "5s"}, "health": {"interval": "200ms"},
        "breaker": {"enabled": "no"}}


def conf(*parts):
    """An INI file of dicts {section: {key: value}}; later ones win, a value of None removes."""
    all_ = {}
    for part in (BASE, *parts):
        for section, keys in part.items():
            if keys is None:
                all_.pop(section, None)
            else:
                all_.setdefault(section, {}).update(keys)
    return "".join(f"[{s}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items() if v is not None)
                   for s, keys in all_.items())


def agent(name, text, workers=1):
    # a backend in the settings keeps the harness from adding one; the file says all else
    return Purserd({"agent.workers": str(workers)}, config=text, name=name)


def status(c):
    return json.loads(c.cmd("PURSER.STATUS"))


def drained(p):
    with p.client() as c:
        wait_until(lambda: not status(c)["draining"], "the old generation to be drained")


class Reloader:
    """Reloads and knows how often it has worked."""

    def __init__(self, p):
        self.p, self.c, self.done = p, p.client(), 0

    def good(self, text=None, by_signal=False):
        if text is not None:
            self.p.write_config(text)
        if by_signal:
            self.p.reload()
            wait_until(lambda: status(self.c)["generation"] > self.done + 1, "the reload")
        else:
            equal(int(self.c.cmd("PURSER.RELOAD")), self.done + 2)
        self.done += 1
        equal(status(self.c)["generation"], self.done + 1)
        drained(self.p)

    def refused(self, text, *words, by_signal=False):
        self.p.write_config(text)
        failed = self.p.log().count('"config.reload.failed"')
        if by_signal:
            self.p.reload()
            wait_until(lambda: self.p.log().count('"config.reload.failed"') > failed, "the refusal")
            said = self.p.log()
        else:
            e = self.c.error("PURSER.RELOAD")
            equal(e.word, "CONFIG")
            said = e.text
        for word in words:
            check(word in said, word, "is not in", said[-2000:])
        equal(status(self.c)["generation"], self.done + 1)


def under_load(name, seed, backend, kit, workers):
    """Clients that know every answer, while the configuration changes under them, or does not."""
    memory = backend["backend main"]["plugin"] == "memory"
    base = conf(backend, {"project default": {"databases": 4}, "project two": {"databases": 2}})

    def changed(*parts):
        return conf(backend, {"project default": {"databases": 4}, "project two": {"databases": 2}}, *parts)

    with agent(name, base, workers) as p:
        p.allow("config.reload.failed")
        r, n, failed = Reloader(p), 0, []

        def clients():
            nonlocal n
            try:
                n = tagged.run(p.sock, seed, clients=8, commands=COMMANDS, kit=kit)
            except Exception as e:  # pylint: disable=broad-exception-caught
                failed.append(e)

        load = threading.Thread(target=clients, daemon=True)
        load.start()
        rounds = 0
        while load.is_alive() or not rounds:
            rounds += 1
            r.good(changed({"health": {"memory_warning": f"{50 + rounds % 20}%"}}), by_signal=rounds % 2)
            r.refused(changed({"health": {"memory_warning": "lots", "no_such_key": "1"}}), "memory_warning",
                      "no_such_key", by_signal=rounds < 3)  # later ones are not logged each
            r.good(changed({"agent": {"output_limit": f"{4 + rounds % 3}KiB", "max_pipeline": 10 + rounds % 50}}))
            r.good(changed({f"project p{rounds % 3}": {}}))
            r.refused(changed({"agent": {"state_dir": "/nowhere"}, "backend main": {"plugin": "nosuch"}}), "nosuch")
            if memory:
                r.refused(changed({"backend main": {"databases": 5}}), "restart")
                r.good(changed({"backend main": {"max_memory": f"{100 + rounds}MiB"}}))
        load.join()
        if failed:
            raise failed[0]
        print(f"{name}: {n} replies, {r.done} reloads", flush=True)
        r.c.close()


class Mover(threading.Thread):
    """Sets and gets; both must work at every moment, whichever server they meet."""

    def __init__(self, sock, number):
        super().__init__(daemon=True)
        self.c, self.number, self.n, self.over, self.error = harness.Client(sock), number, 0, False, None
        self.last = None

    def run(self):
        try:
            while not self.over:
                self.n += 1
                v = f"{self.number}.{self.n}".encode()
                a, b, c = self.c.pipeline([("SET", f"m{self.number}", v), ("GET", f"m{self.number}"), ("PING", v)])
                check(a == "OK" and b in (v, None, self.last) and c == v, a, b, c)
                if b == v:
                    self.last = v
        except Exception as e:  # pylint: disable=broad-exception-caught
            self.error = e


def moved(workers):
    """The backend's url changes: the old server is left, the new one serves, nothing is lost in between."""
    with Redis(name="a") as a, Redis(name="b") as b:
        def to(redis):
            return conf({"backend main": {"plugin": "redis", "url": redis.url, "connection_timeout": "2s"}})

        with agent(f"moved{workers}", to(a), workers) as p:
            movers = [Mover(p.sock, i) for i in range(6)]
            for m in movers:
                m.start()
            r = Reloader(p)
            for i in range(6):
                here, there = (b, a) if i % 2 == 0 else (a, b)
                r.good(to(here))
                before = [m.n for m in movers]
                wait_until(lambda: all(m.error or m.n > n + 5 for m, n in zip(movers, before)), "all to go on")
                with there.client() as c:  # nobody of ours is left there
                    wait_until(lambda: len(c.cmd("CLIENT", "LIST").splitlines()) == 1, "the old server to be left")
                    c.cmd("FLUSHALL")
            for m in movers:
                m.over = True
            for m in movers:
                m.join(30)
                check(m.error is None, repr(m.error))
            with a.client() as c, p.client() as mine:
                for m in movers:
                    equal(c.cmd("GET", f"proj:default:m{m.number}"), f"{m.number}.{m.n}".encode())
                    equal(mine.cmd("GET", f"m{m.number}"), f"{m.number}.{m.n}".encode())


def projects():
    """A project comes, another goes: who is in it has none any more; who stays notices nothing."""
    one = {"backend main": {"plugin": "memory"}, "project default": {}}
    with agent("projects", conf(one, {"project shop": {}})) as p, p.client() as c, p.client() as d:
        r = Reloader(p)
        equal(c.cmd("PURSER.PROJECT", "shop"), "OK")
        equal(c.cmd("SET", "k", "v"), "OK")
        equal(d.error("PURSER.PROJECT", "other").word, "NOPROJECT")
        r.good(conf(one, {"project shop": {}, "project other": {}}))
        equal(c.cmd("GET", "k"), b"v")
        equal(d.cmd("PURSER.PROJECT", "other"), "OK")
        equal(d.cmd("GET", "k"), None)
        equal(p.http("GET", "/redis/kv?key=k", headers={"Purser-Project": "shop"}).json()["value"], "v")
        r.good(conf(one, {"project other": {}}))
        equal(d.cmd("SET", "k", "w"), "OK")
        equal(json.loads(c.cmd("PURSER.WHOAMI"))["project"], "default")  # development: who has none is there
        equal(c.cmd("GET", "k"), None)
        equal(p.http("GET", "/redis/kv?key=k", headers={"Purser-Project": "shop"}).status, 400)
        r.good(conf(one, {"project shop": {}}))  # its data is where it was
        equal(c.cmd("PURSER.PROJECT", "shop"), "OK")
        equal(c.cmd("GET", "k"), b"v")
        r.c.close()


def warned():
    """A good configuration with something to be said about it: whoever asks is told, and the log."""
    path = os.path.join(harness.tmp(), "open.password")
    with open(path, "w", encoding="utf-8") as f:
        f.write("secret\n")
    os.chmod(path, 0o644)
    memory = {"backend main": {"plugin": "memory"}, "project default": {"backend": "main"}}
    text = conf(memory, {"backend two": {"plugin": "redis", "url": "unix:///nonexistent", "password_file": path}})
    with agent("warned", conf(memory)) as p, p.client() as c:
        p.write_config(text)
        said = c.cmd("PURSER.RELOAD").decode()
        check(said.startswith("warning: ") and "chmod o-r" in said and said.endswith("\n2"), said)
        equal(p.log().count('"config.warning"'), 1)
        drained(p)
        r = p.ctl("reload")
        check(r.returncode == 0 and "chmod o-r" in r.stderr and "generation 3" in r.stdout, r)
        drained(p)
        p.reload()
        wait_until(lambda: p.log().count('"config.warning"') == 3, "the warning in the log")
        os.chmod(path, 0o600)
        drained(p)
        equal(c.cmd("PURSER.RELOAD"), b"5")


def fixed():
    """What needs a restart is refused, all of it at once; data stays."""
    one = {"backend main": {"plugin": "memory"}}
    with agent("fixed", conf(one)) as p, p.client() as c:
        p.allow("config.reload.failed")
        r = Reloader(p)
        equal(c.cmd("SET", "k", "v"), "OK")
        r.refused(conf(one, {"agent": {"socket_mode": "0600"}, "otlp": {"span_queue": "4096"}}), "socket_mode",
                  "span_queue", "restart the agent")
        r.refused(conf(one, {"backend main": {"databases": "7"}}), "[backend main]", "restart the agent")
        r.refused(conf(one, {"backend two": {"plugin": "order_argv", "ends": "never"}}), "ends")
        r.refused(conf(one, {"backend two": {"plugin": "redis", "url": "ftp://x"}, "project a": {"backend": "two"}}),
                  "url")
        r.refused("[agent\nmode = x\n", "1:")
        p.write_config("[backend one]\nplugin = order_argv\nnosuch = 1\n[project a]\nrole = nosuch\nbackend = nosuch\n")
        text = r.c.error("PURSER.RELOAD").text
        check("; /" in text and not text.endswith(" "), "one line holds all that is wrong, told apart", text)
        os.unlink(p.config_path)
        e = r.c.error("PURSER.RELOAD")
        equal(e.word, "CONFIG")
        r.good(conf(one))
        equal(c.cmd("GET", "k"), b"v")
        r.c.close()


def in_progress():
    """A request of the old generation takes its time: a second reload is told so, and works when it is over;
    with drain_timeout over the client is cut."""
    def text(seed, drain):
        return conf({"backend main": {"plugin": "order_wire", "slow": "400ms", "seed": seed}},
                    {"agent": {"drain_timeout": drain}})

    with agent("progress", text(1, "5s")) as p, p.client() as c, p.client() as d:
        p.allow("config.reload.failed")
        r = Reloader(p)
        d.send("SET", "slow:k", "v")
        p.write_config(text(2, "5s"))
        equal(int(r.c.cmd("PURSER.RELOAD")), 2)
        p.write_config(text(3, "5s"))
        check("in_progress gen=2" in r.c.error("PURSER.RELOAD").text)
        equal(c.cmd("SET", "k", "new"), "OK")  # on the new instance
        equal(d.read(), "OK")                  # on the old one
        drained(p)
        equal(d.cmd("GET", "slow:k"), None)    # which has gone
        r.done = 1
        r.good()
        # and one that never ends
        p.write_config(text(4, "100ms"))
        for _ in range(8):
            d.send("SET", "slow:k", "v")
        equal(int(r.c.cmd("PURSER.RELOAD")), 4)
        p.wait_log("config.drain.cut")
        check(d.eof())
        drained(p)
        equal(c.cmd("SET", "k", "v"), "OK")
        r.c.close()


def rebuilt():
    """The store is built anew again and again, its number used again, while clients keep what they have:
    sessions, and large replies that lie in its memory."""
    def text(seed, style):
        return conf({"backend main": {"plugin": "order_wire", "seed": seed, "ends": "timer", "style": style}})

    with agent("rebuilt", text(1, "reference")) as p, p.client() as c, p.client() as slow:
        r = Reloader(p)
        for seed in range(2, 10):
            big = os.urandom(700) * 1000
            equal(slow.cmd("SET", "big", big), "OK")
            slow.raw(harness.encode("GET", "big") * 4)  # more than a socket takes
            equal(c.cmd("SET", "k", "v"), "OK")
            r.good(text(seed, "reference"))
            equal(c.cmd("GET", "k"), None)              # the store before it has gone
            equal([slow.read() == big for _ in range(4)], [True] * 4)
        # and while a reply is being made: its store stays until it is over
        r.good(text(99, "raw"))
        equal(slow.cmd("SET", "big", big), "OK")
        slow.raw(harness.encode("GET", "big") * 4)
        wait_until(lambda: c.pipeline([("PING",)]) == ["PONG"], "the agent")
        p.write_config(text(100, "raw"))
        equal(int(r.c.cmd("PURSER.RELOAD")), r.done + 2)
        replies = [slow.read() for _ in range(4)]
        check(replies[0] == big and all(b in (big, None) for b in replies))
        drained(p)
        r.c.close()


def stopped():
    """The end while an old generation drains; a reload that comes then is refused, what is under way is answered."""
    def text(seed):
        return conf({"backend main": {"plugin": "order_argv", "slow": "500ms", "seed": seed}})

    p = agent("stopped", text(1)).start()
    p.allow("config.reload.failed")
    with p.client() as c, p.client() as d, p.client() as e:
        d.send("SET", "slow:k", "v")
        p.write_config(text(2))
        equal(int(c.cmd("PURSER.RELOAD")), 2)
        e.send("SET", "slow:k", "v")
        equal(c.cmd("PING"), "PONG")
        p.signal(15)
        p.wait_log("agent.stopping")
        p.reload()
        equal(d.read(), "OK")
        equal(e.read(), "OK")
    equal(p.wait(), 0)
    p.check_log()
    equal(p.log().count('"config.reloaded"'), 1)


def main():
    seed = harness.seed()
    fixed()
    warned()
    projects()
    in_progress()
    stopped()
    rebuilt()
    real = tagged.Kit(hashes=True, projects=("default", "two"))
    order = tagged.Kit(fails=True, projects=("default", "two"))
    plugin = {"prefixes": "proj:default: proj:two:", "seed": seed, "window": 2, "again_every": 3}
    for workers in (1, 3):
        moved(workers)
        under_load(f"memory{workers}", seed, {"backend main": {"plugin": "memory"}}, real, workers)
        under_load(f"wire{workers}", seed, {"backend main": dict(plugin, plugin="order_wire")}, order, workers)
    with Redis(name="r") as redis:
        under_load("redis", seed, {"backend main": {"plugin": "redis", "url": redis.url}}, real, 3)
    under_load("blocking", seed, {"backend main": {"plugin": "order_blocking", "seed": seed,
                                                   "prefixes": plugin["prefixes"]}}, order, 1)


if __name__ == "__main__":
    harness.run(main)
