# SPDX-License-Identifier: Apache-2.0
"""Retries, breakers and injected faults, on a server of the test's own that counts what it is sent, and on a real
Redis that dies: attempts stay within the budget, nothing runs twice or out of order, the agent finds out by itself."""

import json
import os
import re
import threading
import time

import harness
from harness import Client, Purserd, Push, Redis, RespError, check, equal, wait_until

INFO = b"redis_version:7.0.0\r\nredis_mode:standalone\r\n"
HANDSHAKE = {b"SELECT": b"+OK\r\n", b"DBSIZE": b":0\r\n", b"SCAN": b"*2\r\n$1\r\n0\r\n*0\r\n", b"INFO": b"$%d\r\n%b\r\n" % (len(INFO), INFO)}
HELLO = b"+server\r\n+redis\r\n+version\r\n+7.0.0\r\n+proto\r\n:%b\r\n+id\r\n:1\r\n+mode\r\n+standalone\r\n" \
        b"+role\r\n+master\r\n+modules\r\n*0\r\n"
CUT, HOLD = object(), object()
LOADING = b"-LOADING Redis is loading the dataset in memory\r\n"


class Fake(threading.Thread):
    """A server that answers handshakes and the agent's probes as Redis does, and everything else with what
    answer(number, command) says: bytes, CUT (the connection goes) or HOLD (until release())."""

    def __init__(self, name, answer, alive=True):
        super().__init__(daemon=True)
        self.path = os.path.join(harness.tmp(), name)
        self.answer, self.alive = answer, alive
        self.lock = threading.Lock()
        self.got, self.held, self.probes, self.kept = [], [], 0, b""
        self.s = harness.socket.socket(harness.socket.AF_UNIX)
        self.s.bind(self.path)
        self.s.listen(64)
        self.start()

    def run(self):
        while True:
            s, _ = self.s.accept()
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def say(self, s, command, fresh):
        if command[0] == b"HELLO":
            return (b"%7\r\n" if command[1] == b"3" else b"*14\r\n") + HELLO % command[1]
        if command[0] in HANDSHAKE:
            return HANDSHAKE[command[0]]
        if fresh:
            return b"+PONG\r\n"  # the end of the handshake
        if command[0] == b"PING" or (len(command) > 1 and command[1].startswith(b"psr:")):
            self.probes += 1
            if not self.alive:
                return LOADING
            if command[0] == b"SET":
                self.kept = command[2]
            return {b"PING": b"+PONG\r\n", b"SET": b"+OK\r\n", b"DEL": b":1\r\n"}.get(
                command[0], b"$%d\r\n%b\r\n" % (len(self.kept), self.kept))
        self.got.append([w.decode() for w in command])
        answer = self.answer(len(self.got), self.got[-1])
        if answer is HOLD:
            self.held.append(s)
        return answer

    def serve(self, s):
        c = Client.__new__(Client)
        c.s, c.f = s, s.makefile("rb")
        fresh = True
        try:
            while True:
                command = c.read()
                with self.lock:
                    answer = self.say(s, command, fresh)
                fresh &= command[0] != b"PING"
                if answer is CUT:
                    break
                if answer is not HOLD:
                    s.sendall(answer)
        except (OSError, EOFError):
            pass
        c.f.close()  # the descriptor is closed with the last of both
        s.close()

    def release(self, answer):
        with self.lock:
            held, self.held = self.held, []
        for s in held:
            s.sendall(answer)

    def words(self):
        with self.lock:
            return [c[0] for c in self.got]


def on(fake, **more):
    return dict({"backend main.plugin": "redis", "backend main.url": "unix://" + fake.path, "health.interval": "1h",
                 "agent.workers": "1", "breaker.recovery_initial": "200ms", "breaker.recovery_timeout": "1s"}, **more)


def metric(p, name, **labels):
    """The sum of a metric's series with these labels."""
    total = 0.0
    for line in p.http("GET", "/metrics").body.decode().splitlines():
        m = re.match(name + r"(?:\{(.*)\})? ([0-9.e+-]+)", line)
        if m and all(f'{k}="{v}"' in (m.group(1) or "") for k, v in labels.items()):
            total += float(m.group(2))
    return total


def breaker(c, class_="read"):
    for b in c.cmd("PURSER.BREAKER", "main"):
        pairs = b if isinstance(b, dict) else dict(zip(b[::2], b[1::2]))
        if pairs[b"class"] == class_.encode():
            return pairs
    raise harness.Failure("no breaker " + class_)


def word(reply):
    return reply.word if isinstance(reply, RespError) else reply


# ---- retries -----------------------------------------------------------------------------------------

def succeeds_later():
    """What was surely not executed is sent again, whatever it is; the attempts are counted."""
    fake = Fake("later", lambda n, c: LOADING if n <= 2 else b":1\r\n")
    with Purserd(on(fake), name="later-agent") as p, p.client() as c:
        equal(c.cmd("INCR", "n"), 1)
        equal(fake.words(), ["INCR"] * 3)
        equal(metric(p, "purser_retries_total"), 2)
        fake.answer = lambda n, c: LOADING
        equal(c.error("INCR", "n").word, "LOADING")  # its own error, not one of ours
        equal(len(fake.words()), 3 + 4)              # max_attempts


def not_twice():
    """The link goes behind the last byte of all: only what may run twice is sent again, and nothing before what may
    not."""
    fake = Fake("cut", lambda n, c: CUT if n == 4 else HOLD if n < 4 else b"$1\r\nv\r\n" if c[0] == "GET" else b"+OK\r\n")
    with Purserd(on(fake), name="cut-agent") as p, p.client() as c:
        replies = c.pipeline([("GET", "a"), ("INCR", "n"), ("SET", "k", "v"), ("GET", "k")])
        equal([word(r) for r in replies], ["BACKENDDOWN", "INDETERMINATE", "OK", b"v"])
        equal(fake.words(), ["GET", "INCR", "SET", "GET"] + ["SET", "GET"])
        fake.answer = lambda n, c: CUT
        equal(c.error("SET", "k", "v", "NX").word, "INDETERMINATE")
        equal(c.error("ZADD", "k", "INCR", "1", "m").word, "INDETERMINATE")
        equal(fake.words()[6:], ["SET", "ZADD"])
        equal(p.http("POST", "/v1/command", [["INCR", "n"]]).json()[0]["error"].split()[0], "INDETERMINATE")


def not_behind():
    """A later command of the client has run: the one before it is not sent again."""
    fake = Fake("behind", lambda n, c: b"-READONLY You can't write against a read only replica.\r\n"
                if c[0] == "SET" else b"$1\r\nv\r\n")
    with Purserd(on(fake), name="behind-agent") as p, p.client() as c:
        equal([word(r) for r in c.pipeline([("SET", "k", "v"), ("GET", "k")])], ["READONLY", b"v"])
        equal(fake.words(), ["SET", "GET"])


def group_in_order():
    """All of a pipeline fails: it is sent again as it was, once, and what comes after waits for it."""
    fake = Fake("order", lambda n, c: LOADING if n <= 20 else b":1\r\n")
    with Purserd(on(fake, **{"breaker.enabled": "no"}), name="order-agent") as p, p.client() as c:
        commands = [("RPUSH", "l", str(i)) for i in range(20)]
        equal(c.pipeline(commands), [1] * 20)
        equal([g[2] for g in fake.got], [str(i) for i in range(20)] * 2)
        # Only this client waits.
        fake.answer = lambda n, c: HOLD if c[1].endswith("slow") else b":1\r\n"
        with p.client() as d:
            c.send("INCR", "slow")
            wait_until(lambda: fake.held, "the held one")
            equal(d.cmd("PING"), "PONG")
            fake.release(b":7\r\n")
            equal(c.read(), 7)


def where_it_went():
    """A retry goes to the database of the command, not to that of the client by then."""
    fake = Fake("where", lambda n, c: HOLD if n == 1 else b"$1\r\nv\r\n")
    with Purserd(on(fake, **{"project default.databases": "4"}), name="where-agent") as p, p.client() as c:
        c.send("GET", "k")
        wait_until(lambda: fake.held, "the first attempt")
        equal(c.pipeline([])[:], [])
        c.send("SELECT", "3")
        fake.release(LOADING)
        equal(c.read(), b"v")
        equal(c.read(), "OK")
        equal(len(fake.got), 2)
        equal(breaker(c)[b"state"], b"closed")


def budget():
    """Nothing answers: attempts stay within the budget, and with the breaker they all but cease."""
    clients, each = 8, 125
    fake = Fake("budget", lambda n, c: LOADING, alive=False)
    with Purserd(on(fake, **{"breaker.enabled": "no", "retry.base": "1ms", "retry.cap": "2ms"}), name="budget-agent") as p:
        begun = time.monotonic()
        ask(p, clients, each, {"LOADING"})
        sent, first = len(fake.got), clients * each
        # the floor is for ten seconds; a machine that needs longer has more of it
        check(first < sent <= first * 1.1 + 30 + 3 * max(0, time.monotonic() - begun - 10), "sent", sent, "for", first)
        equal(metric(p, "purser_retries_total"), sent - first)
        check(metric(p, "purser_retry_exhausted_total") > 0, "nothing was refused")
        print(f"budget: {sent} attempts for {first} requests", flush=True)
    fake = Fake("breaker", lambda n, c: LOADING, alive=False)
    more = {"retry.base": "1ms", "retry.cap": "2ms", "breaker.recovery_initial": "60s", "breaker.recovery_timeout": "60s"}
    with Purserd(on(fake, **more), name="breaker-agent") as p:
        ask(p, clients, each, {"LOADING", "CIRCUITOPEN"})
        # five failures in a row, and what each client had sent before it could know
        check(5 <= len(fake.got) <= 5 + clients, "sent", len(fake.got))
        equal(metric(p, "purser_breaker_rejected_total", purser_breaker_class="read") +
              metric(p, "db_client_operation_duration_seconds_count", db_response_status_code="LOADING"), first)
        print(f"breaker: {len(fake.got)} attempts for {first} requests", flush=True)


def ask(p, clients, each, words):
    """Many clients, one request at a time."""
    bad = []

    def one():
        with p.client() as c:
            for _ in range(each):
                reply = c.pipeline([("GET", "k")])[0]
                if word(reply) not in words:
                    bad.append(reply)
    threads = [threading.Thread(target=one) for _ in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(bad, [])


# ---- breakers ----------------------------------------------------------------------------------------

def pushes(c, topic, key, wanted):
    """Reads messages of a topic until field key has been each of wanted, in order."""
    seen = []
    while len(seen) < len(wanted):
        m = c.read()
        check(isinstance(m, Push) and m[0] == b"purser", m)
        if m[1] == topic:
            seen.append(m[2][key])
    equal(seen, wanted)


def reply(c, *args):
    """The reply to a command of a client that is told things in between."""
    c.send(*args)
    got = c.read()
    while isinstance(got, Push):
        got = c.read()
    return got


def opens_and_closes(workers):
    """Opened by one client for all, on every worker; half open admits three at once; their successes close it.
    State, gauge, document, log and messages agree at every step."""
    fake = Fake(f"opens{workers}", lambda n, c: LOADING)
    settings = on(fake, **{"agent.workers": str(workers), "retry.max_attempts": "1"})
    with Purserd(settings, name=f"opens{workers}-agent") as p, p.client() as c, p.client() as told:
        others = [p.client() for _ in range(10)]
        p.wait_log("health.backend.up")
        fake.alive = False
        told.cmd("HELLO", "3")
        equal(told.cmd("PURSER.SUBSCRIBE", "breaker", "health"), [b"breaker", b"health"])

        def agrees(state, number):
            wait_until(lambda: breaker(c)[b"state"] == state, f"it to be {state}")
            equal(metric(p, "purser_breaker_state", purser_breaker_class="read"), number)
            doc = wait_until(lambda: (d := p.http("GET", "/redis/status").json()) and
                             d["factory"]["pools"]["main"]["circuit_breakers"]["read"] == state.decode() and d, "the document")
            equal(doc["factory"]["circuit_breaker"]["state"], state.decode())
            equal(metric(p, "purser_breaker_state", purser_breaker_class="write"), 0)
        agrees(b"closed", 0)
        equal([word(c.pipeline([("GET", "k")])[0]) for _ in range(5)], ["LOADING"] * 5)
        for other in others:
            e = other.error("GET", "k")
            check(re.fullmatch(r"CIRCUITOPEN backend=main class=read retry_after_ms=\d+", e.text), e)
        sent = len(fake.got)
        equal(sent, 5)
        r = p.http("GET", "/redis/kv?key=k")
        check(r.status == 503 and int(r.headers["retry-after"]) >= 1 and r.json()["code"] == "CIRCUITOPEN", r)
        wait_until(lambda: p.http("GET", "/readyz").status == 503, "readyz to say so")
        agrees(b"open", 1)
        opens = fake.probes
        wait_until(lambda: fake.probes > opens + 1, "the agent to ask again and again")
        equal(len(fake.got), sent)  # by itself: no client is tried on
        fake.answer, fake.alive = lambda n, c: HOLD, True
        agrees(b"half_open", 2)
        for other in others:
            other.send("GET", "k")
        rejected = wait_until(lambda: metric(p, "purser_breaker_rejected_total") >= 12 + 7 and
                              metric(p, "purser_breaker_rejected_total"), "seven of ten to be rejected")
        equal(rejected, 12 + 7)  # over HTTP it was GET and PTTL
        wait_until(lambda: len(fake.got) == sent + 3, "three trials")
        fake.answer = lambda n, c: b"$1\r\nv\r\n"
        fake.release(b"$1\r\nv\r\n")
        replies = [word(other.read()) for other in others]
        equal(sorted(map(str, replies)), sorted(["b'v'"] * 3 + ["CIRCUITOPEN"] * 7))
        agrees(b"closed", 0)
        wait_until(lambda: p.http("GET", "/readyz").status == 200, "readyz to say so")
        pushes(told, b"breaker", b"to", [b"open", b"half_open", b"closed"])
        equal(reply(told, "PURSER.UNSUBSCRIBE"), [])
        breaker_open = reply(told, "PURSER.BREAKER", "main", "OPEN")
        equal({b[b"state"] for b in breaker_open}, {b"forced_open"})
        told.send("PING")
        equal(told.read(), "PONG")  # and no message
        c.cmd("PURSER.BREAKER", "main", "AUTO")
        for state, n in (("open", 1), ("half_open", 1), ("forced_open", 1), ("closed", 2)):
            equal(metric(p, "purser_breaker_transitions_total", purser_breaker_class="read", purser_breaker_state=state), n)
        moved = [line for line in map(json.loads, p.log().splitlines()) if line.get("event") == "breaker.moved"]
        equal([(m["from"], m["to"]) for m in moved if m["class"] == "read"],
              [("closed", "open"), ("open", "half_open"), ("half_open", "closed"), ("closed", "forced_open"),
               ("forced_open", "closed")])
        for other in others:
            other.close()


def reopens():
    """A trial that fails opens it again, and no retry goes through an open breaker."""
    fake = Fake("reopens", lambda n, c: LOADING, alive=True)  # PING is answered, GET never
    with Purserd(on(fake, **{"retry.base": "1ms", "retry.cap": "1ms"}), name="reopens-agent") as p, p.client() as c:
        def told():
            return word(c.pipeline([("GET", "k")])[0])
        wait_until(lambda: told() == "CIRCUITOPEN", "it to open")
        wait_until(lambda: breaker(c)[b"state"] == b"half_open", "the probe")
        before = len(fake.got)
        wait_until(lambda: told() == "LOADING", "a trial")
        equal(len(fake.got), before + 1)  # its own error, and one attempt
        equal(metric(p, "purser_breaker_transitions_total", purser_breaker_class="read", purser_breaker_state="open"), 2)


def not_for_nothing():
    """Errors that say nothing about the store open nothing; a lost link is one failure, however many were on it."""
    fake = Fake("wrongtype", lambda n, c: b"-WRONGTYPE Operation against a key\r\n")
    with Purserd(on(fake), name="wrongtype-agent") as p, p.client() as c:
        replies = c.pipeline([("GET", "k")] * 1000)
        equal({word(r) for r in replies}, {"WRONGTYPE"})
        equal(breaker(c)[b"state"], b"closed")
        equal(metric(p, "purser_retries_total"), 0)
        fake.answer = lambda n, c: CUT if n == 1200 else HOLD
        equal({word(r) for r in c.pipeline([("INCR", "k")] * 200)}, {"INDETERMINATE"})
        equal((breaker(c)[b"state"], breaker(c, "write")[b"state"]), (b"closed", b"closed"))


def operators():
    """OPEN, CLOSE, AUTO; what cannot be said is refused."""
    fake = Fake("operators", lambda n, c: b"$1\r\nv\r\n")
    with Purserd(on(fake), name="operators-agent") as p, p.client() as c:
        equal(c.cmd("GET", "k"), b"v")
        equal({b[5] for b in c.cmd("PURSER.BREAKER", "main", "OPEN")}, {b"forced_open"})
        check("class=read" in c.error("GET", "k").text and "class=write" in c.error("SET", "k", "v").text)
        equal(metric(p, "purser_breaker_state", purser_breaker_class="write"), 3)
        wait_until(lambda: p.http("GET", "/readyz").status == 503, "readyz to say so")
        equal({b["state"] for b in p.http("GET", "/v1/breakers").json()}, {"forced_open"})
        check(b'"circuit_breakers":{"read":"forced_open","write":"forced_open"}' in c.cmd("PURSER.STATUS"))
        c.cmd("PURSER.BREAKER", "main", "CLOSE")
        fake.answer = lambda n, c: LOADING
        equal({word(c.pipeline([("GET", "k")])[0]) for _ in range(10)}, {"LOADING"})
        equal(breaker(c)[b"state"], b"disabled")
        c.cmd("PURSER.BREAKER", "main", "AUTO")
        wait_until(lambda: word(c.pipeline([("GET", "k")])[0]) == "CIRCUITOPEN", "it to decide by itself")
        equal(c.error("PURSER.BREAKER", "other").word, "BADREQUEST")
        equal(c.error("PURSER.BREAKER", "main", "MAYBE").word, "BADREQUEST")
        equal(c.error("PURSER.SUBSCRIBE", "breaker").word, "BADREQUEST")  # RESP2
        c.cmd("HELLO", "3")
        equal(c.error("PURSER.SUBSCRIBE", "weather").word, "BADREQUEST")


# ---- faults ------------------------------------------------------------------------------------------

def faults():
    with Purserd(name="nofaults") as p, p.client() as c:
        e = c.error("PURSER.FAULT", "LIST")
        check(e.word == "NOPERM" and "fault_injection" in e.text, e)
    settings = {"agent.fault_injection": "yes", "agent.workers": "3", "backend main.plugin": "memory",
                "project default.backend": "main", "project two.backend": "main", "retry.budget_floor": "1000",
                "breaker.enabled": "no"}
    with Purserd(settings, name="faults") as p, p.client() as c, p.client() as d:
        d.cmd("PURSER.PROJECT", "two")
        equal(c.cmd("SET", "k", "v"), "OK")
        # an error, of one command of one project
        first = c.cmd("PURSER.FAULT", "ADD", "ERROR", "OOM on purpose", "PROJECT", "default", "COMMAND", "set")
        equal(c.error("SET", "k", "w").text, "OOM on purpose")
        equal((c.cmd("GET", "k"), d.cmd("SET", "k", "x")), (b"v", "OK"))
        # no connection, half of the time: nobody sees it
        second = c.cmd("PURSER.FAULT", "ADD", "ERROR", "BACKENDDOWN", "COMMAND", "INCR", "PERCENT", "30")
        ok = [r for r in c.pipeline([("INCR", "n")] * 200) if not isinstance(r, RespError)]
        equal(ok, list(range(1, len(ok) + 1)))  # in order, none twice
        check(len(ok) > 150, len(ok))
        # a lost reply: uncertain, unless it may run twice
        c.cmd("PURSER.FAULT", "ADD", "DROP", "PROJECT", "two", "PERCENT", "50")
        got = {word(d.pipeline([("APPEND", "a", "x")])[0]) for _ in range(60)}
        check("INDETERMINATE" in got and len(got) > 1, got)
        # a delay, of that client alone; order is kept
        c.cmd("PURSER.FAULT", "ADD", "DELAY", "150", "COMMAND", "STRLEN")
        c.raw(b"".join(harness.encode(*w) for w in (("RPUSH", "l", "1"), ("STRLEN", "k"), ("RPUSH", "l", "2"), ("LLEN", "l"))))
        equal([c.read() for _ in range(4)], [1, 1, 2, 2])
        listed = [dict(zip(f[::2], f[1::2])) for f in c.cmd("PURSER.FAULT", "LIST")]
        equal([f[b"kind"] for f in listed], [b"error", b"error", b"drop", b"delay"])
        equal((listed[0][b"id"], listed[0][b"command"], listed[0][b"hits"], listed[1][b"percent"]), (first, b"SET", 1, 30))
        equal(metric(p, "purser_faults_injected_total", purser_fault="delay"), 1)
        equal(metric(p, "purser_faults_injected_total"), sum(f[b"hits"] for f in listed))
        equal(c.cmd("PURSER.FAULT", "CLEAR", second), 1)
        equal(c.cmd("PURSER.FAULT", "CLEAR"), 3)
        equal(c.cmd("PURSER.FAULT", "LIST"), [])
        equal(c.cmd("SET", "k", "w"), "OK")
        for bad in (("ADD",), ("ADD", "DELAY", "x"), ("ADD", "ERROR", "lower"), ("ADD", "ERROR", "A\r\nB"), ("WHAT",),
                    ("ADD", "DROP", "COMMAND", "nosuch"), ("ADD", "DROP", "PERCENT", "0"), ("ADD", "DROP", "PROJECT"),
                    ("CLEAR", "x")):
            equal(c.error("PURSER.FAULT", *bad).word, "BADREQUEST", bad)
        # what waits to be sent again waits on while another backend comes and goes
        p.allow("config.reload.failed")
        c.cmd("PURSER.FAULT", "ADD", "DELAY", "1500", "COMMAND", "GET")
        c.send("GET", "k")
        wait_until(lambda: d.cmd("PURSER.FAULT", "LIST")[0][-1], "the delay")
        p.write_config("[backend extra]\nplugin = memory\n[backend bad]\nplugin = redis\nurl = nonsense\n")
        e = d.error("PURSER.RELOAD")
        check(e.word == "CONFIG" and "bad" in e.text and "extra" not in e.text, e)
        equal(c.read(), b"w")
        equal(d.cmd("PURSER.FAULT", "CLEAR"), 1)
        c.cmd("PURSER.FAULT", "ADD", "DELAY", "60000")  # nobody waits for it: the agent stops, the client goes
        d.send("GET", "k")
        d.close()


# ---- a real Redis that dies --------------------------------------------------------------------------

def dies():
    """kill -9: the breaker opens; the agent's own probe finds the store again with nobody asking; then all is well."""
    with Redis(name="dies-redis") as redis:
        more = {"backend main.plugin": "redis", "backend main.url": redis.url, "health.interval": "1h",
                "breaker.recovery_initial": "200ms", "breaker.recovery_timeout": "400ms"}
        with Purserd(more, name="dies") as p, p.client() as c:
            equal(c.cmd("SET", "k", "v"), "OK")
            pid = p.pid
            redis.kill()
            os.unlink(redis.sock)
            words = set()
            for command in (("GET", "k"), ("SET", "k", "w")):
                def open_(command=command):
                    words.add(word(c.pipeline([command])[0]))
                    return "CIRCUITOPEN" in words
                wait_until(open_, "the breaker to open")
                words.discard("CIRCUITOPEN")
            check(words <= {"BACKENDDOWN", "INDETERMINATE"}, words)
            redis.start()
            for class_ in ("read", "write"):
                wait_until(lambda class_=class_: breaker(c, class_)[b"state"] == b"half_open", "the agent's own probe")
            equal(c.cmd("SET", "k", "w"), "OK")
            equal([c.cmd("GET", "k") for _ in range(3)], [b"w"] * 3)
            equal(breaker(c)[b"state"], b"closed")
            equal(p.pid, pid)
            with redis.client() as direct:
                equal(direct.cmd("KEYS", "*"), [b"proj:default:k"])  # a probe leaves nothing behind


def not_the_readers_fault():
    """A client that does not read its replies holds up what it sent behind: that comes late, and says nothing about
    the store.  The breaker of everybody else stays closed."""
    with Redis(name="unread") as redis, \
            Purserd({"backend main.plugin": "redis", "backend main.url": redis.url, "backend main.operation_timeout": "2s",
                     "health.interval": "1h"}, name="unread-purserd") as p, p.client() as c, p.client() as other:
        def late():
            found = re.search(r'^purser_requests_total\{[^}]*error_type="timeout"\} (\d+)', p.http("GET", "/metrics")
                              .body.decode(), re.M)
            return found and int(found[1]) > 5
        with redis.client() as direct:
            direct.cmd("SET", "proj:default:big", "v" * (1 << 20))
        c.raw(harness.encode("GET", "big") * 40)
        wait_until(late, "what is behind the unread reply to be late")
        for class_ in ("read", "write"):
            equal((breaker(other, class_)[b"state"], breaker(other, class_)[b"opens"]), (b"closed", 0))
        replies = [c.read() for _ in range(40)]
        equal({word(r) for r in replies if isinstance(r, RespError)}, {"TIMEOUT"})
        equal(len(replies[0]), 1 << 20)


def main():
    for part in (succeeds_later, not_twice, not_behind, group_in_order, where_it_went, budget, reopens, not_for_nothing,
                 operators, faults, dies, not_the_readers_fault):
        part()
        print("ok", part.__name__, flush=True)
    for workers in (1, 3):
        opens_and_closes(workers)


if __name__ == "__main__":
    harness.run(main)
