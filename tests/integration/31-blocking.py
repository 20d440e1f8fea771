#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Commands that wait: BLPOP and its like, XREAD and XREADGROUP with BLOCK, WAIT, on a real redis-server and
on the memory plugin: who is served, in which order, and how it ends when the client, the server, the configuration or
the agent goes.  The memory plugin says what the server says, scene by scene."""

import os
import signal
import socket
import subprocess
import sys

import harness
from harness import Redis, Purserd, check, equal, wait_until

TWO = """
[backend main]
plugin = {plugin}
{more}
[project one]
backend = main
databases = 4
[project two]
backend = main
"""


def text_of(redis, more=""):
    """redis None: the memory plugin."""
    return TWO.format(plugin=f"redis\nurl = {redis.url}" if redis else "memory", more=more)


def agent(redis, name, more="", **settings):
    return Purserd({"health.interval": "1h", **settings}, config=text_of(redis, more), name=name)


def client(p, project="one", resp=2):
    c = p.client()
    c.cmd("HELLO", resp, "AUTH", project, "x")
    return c


def blocked(direct):
    """How many clients wait: direct is a connection to the server, or to an agent with the memory plugin."""
    return int(direct.cmd("INFO", "clients").split(b"blocked_clients:")[1].split(b"\r")[0])


def until_blocked(direct, n):
    wait_until(lambda: blocked(direct) == n, f"{n} blocked clients")


def words(replies):
    return [r.word if isinstance(r, harness.RespError) else r for r in replies]


def crowd(p, direct):
    """200 wait for ever; the others go on; they are served in the order in which they came."""
    with client(p) as c:
        many = []
        for i in range(200):
            w = client(p)
            w.send(*[("BLPOP", "q", "p", 0), ("BRPOP", "p", "q", "0.0")][i % 2])
            many.append(w)
            until_blocked(direct, i + 1)
            if i % 20 == 0:
                equal(c.pipeline([("SET", "k", i), ("GET", "k")]), ["OK", b"%d" % i])
        for i, w in enumerate(many):
            equal(c.cmd("RPUSH", "q", i), 1)
            equal(w.read(), [b"q", b"%d" % i])
        equal(c.cmd("EXISTS", "q", "p"), 0)
        until_blocked(direct, 0)
        many[7].send("BLPOP", "q", 0)  # they are all as good as before
        until_blocked(direct, 1)
        c.cmd("RPUSH", "q", "again")
        equal(many[7].read(), [b"q", b"again"])
        for w in many:
            w.close()


VICTIM = """
import socket, sys, time
held = []
for i in range(int(sys.argv[2])):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.sendall(b"AUTH one x\\r\\nBLPOP ghost 0\\r\\n" + b"SET behind x\\r\\nGET x\\r\\n" * (i % 2))
    held.append(s)
print("ready", flush=True)
time.sleep(600)
"""


def ghosts(p, direct):
    """A client that goes takes its wait with it, whatever it has sent behind."""
    with client(p) as c:
        victim = subprocess.Popen([sys.executable, "-c", VICTIM, p.sock, "20"], stdout=subprocess.PIPE)
        until_blocked(direct, 20)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        victim.stdout.close()
        until_blocked(direct, 0)
        equal(c.cmd("RPUSH", "ghost", "1", "2"), 2)
        equal(c.cmd("EXISTS", "behind"), 0, "what stood behind a wait that nobody waits for")
        equal(c.cmd("BLPOP", "ghost", 1), [b"ghost", b"1"])
        # Shut down for writing only: the reader is still there.
        with client(p) as half:
            half.send("BLMOVE", "from", "to", "LEFT", "RIGHT", 0)
            until_blocked(direct, 1)
            half.s.shutdown(socket.SHUT_WR)
            c.cmd("RPUSH", "from", "moved")
            equal(half.read(), b"moved")
            check(half.eof())
        # Gone while its first command is still under way.
        s = client(p)
        s.raw(harness.encode("GET", "ghost") * 50 + harness.encode("BRPOP", "none", 0) + harness.encode("SET", "behind", 1))
        s.close()
        equal(c.cmd("PING"), "PONG")
        until_blocked(direct, 0)
        equal(c.cmd("LPOP", "ghost"), b"2")


def order(p, direct):
    with client(p) as c, client(p) as other:
        c.raw(b"".join(harness.encode(*w) for w in (
            ("RPUSH", "log", 1), ("BLPOP", "oa", 0), ("RPUSH", "log", 2), ("BLPOP", "ob", 0), ("PING", "x"), ("SELECT", 1),
            ("RPUSH", "log", 3))))
        equal(c.read(), 1)
        until_blocked(direct, 1)
        other.cmd("RPUSH", "ob", "b")
        equal(other.pipeline([("LRANGE", "log", 0, -1), ("LLEN", "ob")]), [[b"1"], 1], "nothing overtakes")
        other.cmd("RPUSH", "oa", "a")
        equal([c.read() for _ in range(5)], [[b"oa", b"a"], 2, [b"ob", b"b"], b"x", "OK"])
        equal(c.read(), 1)  # in database 1
        equal(other.cmd("LRANGE", "log", 0, -1), [b"1", b"2"])
        # A wait of its own database is served there.
        c.send("BLPOP", "oa", 0)
        until_blocked(direct, 1)
        other.pipeline([("RPUSH", "oa", "0"), ("SELECT", 1), ("RPUSH", "oa", "1"), ("SELECT", 0)])
        equal(c.read(), [b"oa", b"1"])
        equal(other.cmd("LPOP", "oa"), b"0")
        # Not longer than it said, and longer than operation_timeout.
        equal(c.cmd("BLPOP", "none", "0.6"), None)
        equal(c.cmd("BZPOPMIN", "none", "0.001"), None)


def groups(c, other, direct, resp):
    other.cmd("DEL", "k")
    other.cmd("XGROUP", "CREATE", "k", "g", "$", "MKSTREAM")
    c.send("XREADGROUP", "GROUP", "g", "me", "BLOCK", 0, "STREAMS", "k", ">")
    until_blocked(direct, 1)
    other.cmd("XADD", "k", "7-1", "f", "v")
    entry = [[b"7-1", [b"f", b"v"]]]
    equal(c.read(), {b"k": entry} if resp == 3 else [[b"k", entry]])
    c.send("XREADGROUP", "GROUP", "g", "me", "BLOCK", 0, "STREAMS", "k", ">")
    until_blocked(direct, 1)
    other.cmd("DEL", "k")
    e = c.read()
    check(isinstance(e, harness.RespError) and b"proj" not in e.text.encode(), e)


def kinds(p, direct, resp, oracle):
    """Each of them, served from elsewhere while it waits."""
    cases = [
        (("BRPOP", "none", "k", 0), ("RPUSH", "k", "a", "b"), [b"k", b"b"]),
        (("BRPOPLPUSH", "k", "to", 0), ("RPUSH", "k", "v"), b"v"),
        (("BLMOVE", "k", "to", "RIGHT", "LEFT", 0), ("RPUSH", "k", "v"), b"v"),
        (("BLMPOP", 0, 2, "none", "k", "LEFT", "COUNT", 9), ("RPUSH", "k", "x", "y"), [b"k", [b"x", b"y"]]),
        (("BZPOPMIN", "none", "k", 0), ("ZADD", "k", 1.5, "m", 2, "n"), [b"k", b"m", 1.5 if resp == 3 else b"1.5"]),
        (("BZPOPMAX", "k", 0), ("ZADD", "k", 1.5, "m", 2, "n"), [b"k", b"n", 2.0 if resp == 3 else b"2"]),
        (("BZMPOP", 0, 1, "k", "MIN"), ("ZADD", "k", 1, "m"), [b"k", [[b"m", 1.0 if resp == 3 else b"1"]]]),
        (("XREAD", "BLOCK", 0, "STREAMS", "none", "k", "$", "$"), ("XADD", "k", "1-1", "f", "proj:one:v"),
         {b"k": [[b"1-1", [b"f", b"proj:one:v"]]]} if resp == 3 else [[b"k", [[b"1-1", [b"f", b"proj:one:v"]]]]]),
    ]
    with client(p, "one", resp) as c, client(p) as other:
        for words_, push, want in cases:
            other.cmd("DEL", "k", "to")
            c.send(*words_)
            until_blocked(direct, 1)
            other.cmd(*push)
            equal(c.read(), want, words_)
        groups(c, other, direct, resp)
        # What is malformed is the server's to refuse, in its words, and waits for nothing.
        with harness.Client(p.sock) as same:
            same.cmd("AUTH", "one", "x")
            for line in ("BLPOP k x", "BLPOP k -1", "BLPOP k 1e400", "BLPOP k nan", "BLPOP k 1e16", "BLPOP k -inf", "BLMPOP 0 0 k LEFT",
                         "BLMPOP x 1 k LEFT", "BLMPOP x 0 k UP", "BLMPOP 0 9 k LEFT", "BLMPOP 0 1 k LEFT COUNT 0", "BLMPOP 0 1 k LEFT COUNT",
                         "BLMPOP 0 1 k LEFT COUNT 1 COUNT 1", "BLMPOP 0 1 k", "BZMPOP 0 1 k SIDE", "BZMPOP 0 1 k LEFT", "BZMPOP x 1 k MIN",
                         "BLMOVE a b UP DOWN 0", "BLMOVE a b LEFT DOWN x", "BLMOVE a b LEFT LEFT x", "BRPOPLPUSH a b -1", "BLPOP k",
                         "WAIT 1 x", "WAIT x 1", "WAIT x x", "WAIT 1 -1", "BZPOPMAX k inf", "XREAD BLOCK x STREAMS k 0",
                         "XREAD BLOCK -1 STREAMS k 0", "XREAD BLOCK 0 STREAMS k", "XREADGROUP GROUP g c BLOCK 0 STREAMS k >"):
                equal(same.error(*line.split()), oracle.error(*line.split()), line)


def exhausted(redis, direct, workers):
    """blocking_max, all workers together: one more waits for operation_timeout at most, and takes the connection that
    another worker has idle; who waits in the server has no deadline but its own."""
    more = "blocking_max = 2\noperation_timeout = 400ms\n"
    with agent(redis, f"few{workers}" if redis else f"few-memory{workers}", more, **{"agent.workers": workers}) as p, client(p) as a, client(p) as b, client(p) as c, client(p) as free:
        direct = direct or client(p)
        a.send("BLPOP", "a", 0)
        b.send("BLPOP", "b", 0)
        until_blocked(direct, 2)
        e = c.error("BLPOP", "c", 0)
        equal(e.word, "POOLEXHAUSTED")
        check("blocking_max" in e.text, e.text)
        equal(c.error("BLPOP", "c", 30).word, "POOLEXHAUSTED")
        equal(blocked(direct), 2, "longer than operation_timeout")
        free.cmd("RPUSH", "b", "1")
        equal(b.read(), [b"b", b"1"])
        c.send("BLPOP", "c", 0)  # there is room now
        until_blocked(direct, 2)
        # One that waits for a connection, told to stop; its place in the queue is free again.
        ids = [x.cmd("CLIENT", "ID") for x in (b, free)]
        b.send("BLPOP", "b", 0)
        wait_until(lambda: free.cmd("CLIENT", "UNBLOCK", ids[0]) == 1, "the one in the queue")
        equal(b.read(), None)
        b.send("BLPOP", "b", 0)
        wait_until(lambda: free.cmd("CLIENT", "UNBLOCK", ids[0], "ERROR") == 1, "the one in the queue")
        equal(b.read().word, "UNBLOCKED")
        free.cmd("RPUSH", "a", "1")
        free.cmd("RPUSH", "c", "1")
        equal([a.read(), c.read()], [[b"a", b"1"], [b"c", b"1"]])
        # Shared ones are not behind those that wait for a link.
        a.send("BLPOP", "a", 0)
        c.send("BLPOP", "c", 0)
        until_blocked(direct, 2)
        b.send("BLPOP", "b", 0)
        equal(free.pipeline([("SET", "x", i) for i in range(50)]), ["OK"] * 50)
        equal(b.read().word, "POOLEXHAUSTED")


def watchers(redis):
    """pool_max, of the others: WATCH waits for a connection, then it is told."""
    more = "pool_max = 1\noperation_timeout = 300ms\n"
    with agent(redis, "watchers", more) as p, client(p) as a, client(p) as b, client(p) as free:
        equal(a.cmd("WATCH", "k"), "OK")
        e = b.error("WATCH", "k")
        equal(e.word, "POOLEXHAUSTED")
        check("pool_max" in e.text, e.text)
        equal(free.cmd("SET", "k", 1), "OK")
        b.send("WATCH", "k")
        free.send("BLPOP", "none", "0.01")  # these have a limit of their own
        equal(free.read(), None)
        equal(a.cmd("UNWATCH"), "OK")
        check(b.read() in ("OK", harness.RespError(e.text)), "one way or the other")
        b.cmd("RESET")


def accounts(p, direct, links=True):
    """What is said of connections: names and units are OpenTelemetry's."""
    with client(p) as c:
        equal(blocked(c), 0)
        c.send("BLPOP", "none", 0)
        until_blocked(direct, 1)
        text = p.http("GET", "/metrics").body.decode()
        check('purser_backend_blocked{purser_backend="main"} 1\n' in text, "purser.backend.blocked")
        with client(p) as other:
            equal(blocked(other), 1, "INFO")
    until_blocked(direct, 0)
    wait_until(lambda: b'purser_backend_blocked{purser_backend="main"} 0\n' in p.http("GET", "/metrics").body, "none to wait")
    if not links:
        return

    def value(name, **labels):
        want = {"db_client_connection_pool_name": "main", **labels}
        found = [line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(name + "{") and
                 all(f'{k}="{v}"' in line for k, v in want.items())]
        check(len(found) == 1, name, labels, found)
        return float(found[0])

    check(value("db_client_connections", db_client_connection_state="idle") > 0)
    check(value("db_client_connection_use_time_seconds_count") > 200)
    check(value("db_client_connection_create_time_seconds_count") > 200)
    check(value("db_client_connection_wait_time_seconds_count") > 0)
    equal([value("db_client_connection_" + n) for n in ("max", "idle_max", "idle_min", "pending_requests", "timeouts_total")], [1050, 1050, 10, 0, 0])


def unblock(p, direct, oracle):
    with client(p) as c, client(p) as other, client(p, "two") as stranger:
        me = c.cmd("CLIENT", "ID")
        equal(other.cmd("CLIENT", "UNBLOCK", me), 0)
        for how, want in (((), None), (("TIMEOUT",), None), (("error",), "UNBLOCKED")):
            c.send("BLPOP", "u", 0)
            until_blocked(direct, 1)
            equal(stranger.cmd("CLIENT", "UNBLOCK", me, *how), 0, "another project's client")
            check(b"flags=bU" in other.cmd("CLIENT", "LIST", "ID", me), "CLIENT LIST")
            equal(blocked(direct), 1)
            equal(other.cmd("CLIENT", "UNBLOCK", me, *how), 1)
            equal(words([c.read()]), [want])
        equal(c.cmd("PING"), "PONG")
        equal(other.cmd("RPUSH", "u", "kept"), 1)
        equal(c.cmd("LRANGE", "u", 0, -1), [b"kept"])
        equal(other.error("CLIENT", "UNBLOCK", "x").text, oracle.error("CLIENT", "UNBLOCK", "x").text)
        equal(other.error("CLIENT", "UNBLOCK", 1, "x").text, oracle.error("CLIENT", "UNBLOCK", 1, "x").text)
        # Told at the moment at which it is served: it ends one way or the other, and nothing is lost.
        for i in range(200):
            c.send("BLPOP", "race", 0)
            if i % 4 == 0:
                until_blocked(direct, 1)
            other.raw(harness.encode("CLIENT", "UNBLOCK", me) + harness.encode("RPUSH", "race", i))
            told, length = other.read(), other.read()
            if told == 0 and length:
                equal(c.read(), [b"race", b"%d" % i])
                continue
            got = c.read()
            if got is None:
                equal(other.cmd("LPOP", "race"), b"%d" % i)
            else:
                equal(got, [b"race", b"%d" % i])
        equal(other.cmd("EXISTS", "race"), 0)


def restart(redis, direct, p):
    with client(p) as c, client(p) as x, client(p) as plain:
        c.send("BLPOP", "r", 0)
        x.send("XREAD", "BLOCK", 0, "STREAMS", "r2", "$")
        until_blocked(direct, 2)
        direct.close()
        redis.kill()
        equal(words([c.read()]), ["INDETERMINATE"])
        check(x.read().word in ("BACKENDDOWN", "TIMEOUT"))
        check(c.error("BLPOP", "r", 0).word == "BACKENDDOWN")
        redis.start()
        wait_until(lambda: plain.pipeline([("RPUSH", "r", "v")]) == [1], "the server to be back")
        wait_until(lambda: c.pipeline([("LLEN", "r")]) == [1], "the server to be back")  # for its worker
        equal(c.cmd("BLPOP", "r", 0), [b"r", b"v"])
    return harness.Client(redis.sock)


def reload(redis, direct):
    """A new configuration: who waits goes on where nothing has changed for it, and is told where something has."""
    with agent(redis, "reload" if redis else "reload-memory") as p, client(p) as c, client(p, "two") as d, client(p) as behind:
        seen = direct or client(p)
        c.send("BLPOP", "q", 0)
        d.send("BLPOP", "q", 0)
        behind.raw(harness.encode("BLPOP", "r", 0) + harness.encode("RPUSH", "s", 1))
        until_blocked(seen, 3)
        text = text_of(redis)
        p.write_config(text.replace("[project two]", "[project three]"))
        p.reload()
        equal(d.read().word, "UNBLOCKED")
        p.wait_log("config.drained")
        equal(blocked(seen), 2)
        p.write_config(text + "[log]\nlevel = debug\n")
        p.reload()
        wait_until(lambda: p.log().count("config.drained") == 2, "nothing to use the old generation")
        with client(p) as other:
            other.pipeline([("RPUSH", "q", "v"), ("RPUSH", "r", "w")])
        equal(c.read(), [b"q", b"v"])
        equal([behind.read(), behind.read()], [[b"r", b"w"], 1])
        # The backend goes: nobody waits for it for ever.
        c.send("BLPOP", "q", 0)
        until_blocked(seen, 1)
        p.write_config(text.replace("plugin = redis", "plugin = redis\nclient_name = other") if redis else text.replace("main", "other"))
        p.reload()
        equal(c.read().word, "UNBLOCKED")
        wait_until(lambda: p.log().count("config.drained") == 3, "nothing to use the old generation")
        c.raw(harness.encode("BLPOP", "q", 0) + harness.encode("BLPOP", "q", 0))
        seen = direct or client(p)
        until_blocked(seen, 1)
        p.signal(signal.SIGTERM)  # the end: it is told, and no pop is lost
        equal(c.read().word, "UNBLOCKED")
        equal(c.read().word, "BACKENDDOWN")  # nor does the next one begin to wait
        check(c.eof())
        equal(p.wait(), 0)
    if direct:
        until_blocked(direct, 0)


def over_http(redis, direct):
    with agent(redis, "http" if redis else "http-memory", "operation_timeout = 500ms\n") as p, client(p) as c:
        def ask(*words_):
            return p.http("POST", "/v1/command", list(words_), {"Purser-Project": "one"})

        for line in (("BLPOP", "h", "0"), ("BLPOP", "h", "0.501"), ("XREAD", "BLOCK", "0", "STREAMS", "h", "$")):
            r = ask(*line)
            equal((r.status, r.json()["code"]), (400, "BADREQUEST"), line)
        equal(ask("BLPOP", "h", "0.01").json(), {"result": None})
        c.cmd("RPUSH", "h", "v")
        equal(ask("BLPOP", "h", "0.5").json(), {"result": ["h", "v"]})
        # It hangs up.
        s = socket.socket(socket.AF_UNIX)
        s.connect(p.sock)
        body = b'["BLPOP","h","0.5"]'
        s.sendall(b"POST /v1/command HTTP/1.1\r\nHost: purser\r\nPurser-Project: one\r\nContent-Type: application/json\r\n"
                  b"Content-Length: %d\r\n\r\n" % len(body) + body)
        s.close()
        until_blocked(direct or c, 0)
        equal(c.cmd("RPUSH", "h", "kept"), 1)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_command():
    """WAIT counts replicas that have what the client has written, though it wrote on another connection."""
    port = free_port()
    with Redis(["--port", str(port), "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"], name="primary") as primary, \
            Redis(["--replicaof", "127.0.0.1", str(port)], name="replica") as replica, harness.Client(replica.sock) as r, \
            agent(primary, "waits") as p, client(p) as c, client(p) as other:
        wait_until(lambda: b"master_link_status:up" in r.cmd("INFO", "replication"), "the replica", 30)
        equal(c.cmd("WAIT", 1, 0), 1)
        for i in range(20):
            equal(c.pipeline([("SET", "w", i), ("WAIT", 1, 0)]), ["OK", 1])
            equal(r.cmd("GET", "proj:one:w"), b"%d" % i)
        replica.pause()
        equal(c.pipeline([("SET", "w", "x"), ("WAIT", 1, 50), ("GET", "w")]), ["OK", 0, b"x"])
        c.send("WAIT", 1, 0)
        equal(other.pipeline([("SET", "o", i) for i in range(100)]), ["OK"] * 100)  # nobody else waits
        replica.go_on()
        equal(c.read(), 1)


def no_replicas():
    """WAIT on the memory plugin is as on a server without replicas."""
    with agent(None, "alone") as p, client(p) as c, client(p) as other:
        equal(c.pipeline([("WAIT", 0, 0), ("WAIT", -1, 0), ("WAIT", 1, 1), ("MULTI",), ("WAIT", 3, 0), ("EXEC",)]),
              [0, 0, 0, "OK", "QUEUED", [0]])
        me = c.cmd("CLIENT", "ID")
        c.send("WAIT", 1, 0)
        until_blocked(other, 1)
        equal(other.cmd("CLIENT", "UNBLOCK", me), 1)
        equal(c.read(), 0)


def main():
    with Redis() as redis:
        direct = harness.Client(redis.sock)
        with agent(redis, "main", "operation_timeout = 500ms\n", **{"agent.workers": "3"}) as p:
            crowd(p, direct)
            ghosts(p, direct)
            order(p, direct)
            for resp in (2, 3):
                kinds(p, direct, resp, direct)
            unblock(p, direct, direct)
            accounts(p, direct)
            direct = restart(redis, direct, p)
        with agent(None, "memory", "operation_timeout = 500ms\n", **{"agent.workers": "3"}) as p, client(p) as seen:
            crowd(p, seen)
            ghosts(p, seen)
            order(p, seen)
            for resp in (2, 3):
                kinds(p, seen, resp, direct)
            unblock(p, seen, direct)
            accounts(p, seen, False)
        for workers in ("1", "3"):
            exhausted(redis, direct, workers)
            exhausted(None, None, workers)
        watchers(redis)
        for r, d in ((redis, direct), (None, None)):
            reload(r, d)
            over_http(r, d)
        direct.close()
    wait_command()
    no_replicas()


harness.run(main)
