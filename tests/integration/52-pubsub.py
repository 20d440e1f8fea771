#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Publish/subscribe: what clients see is what Redis says, and the store has one subscription for all of them."""

import harness
from harness import Client, Failure, Purserd, Redis, RespError, check, encode, equal, wait_until

WORKERS = 3


def settings(redis, **more):
    return {"agent.workers": WORKERS, "backend main.plugin": "redis", "backend main.url": redis.url,
            **{k.replace("__", ".").replace("_0", " "): v for k, v in more.items()}}


# ---- the same words to the agent and to Redis ------------------------------------------------------

SESSION = [
    (["SUBSCRIBE", "a"], 1), (["SUBSCRIBE", "a", "b", "a"], 3), (["PSUBSCRIBE", "a*", "[ab]", "c?"], 3),
    (["SSUBSCRIBE", "s", "t"], 2), (["PING"], 1), (["PING", "hello"], 1), (["GET", "k"], 1), (["CLIENT", "ID"], 0),
    (["UNSUBSCRIBE", "nothing"], 1), (["UNSUBSCRIBE", "b"], 1), (["UNSUBSCRIBE"], 1), (["UNSUBSCRIBE"], 1),
    (["SUNSUBSCRIBE", "t", "x"], 2), (["SUNSUBSCRIBE"], 1), (["SUNSUBSCRIBE"], 1),
    (["PUNSUBSCRIBE", "c?", "a*"], 2), (["PUNSUBSCRIBE"], 1), (["PUNSUBSCRIBE"], 1), (["PING"], 1), (["GET", "k"], 1),
    (["SUBSCRIBE"], 1), (["PUBLISH", "x"], 1), (["PUBLISH", "nobody", "hears"], 1), (["SPUBLISH", "nobody", "hears"], 1),
    (["SUBSCRIBE", "", "\0binary\r\n"], 2), (["RESET"], 1), (["GET", "k"], 1), (["PUBSUB", "NUMSUB"], 1),
    (["PUBSUB", "CHANNELS", "a", "b"], 1), (["PUBSUB", "NUMPAT"], 1),
]


def same_as_redis(redis, p):
    for resp in (2, 3):
        with p.client() as agent, Client(redis.sock) as live:
            for c in (agent, live):
                c.cmd("HELLO", resp)
            for line, replies in SESSION:
                got = []
                for c in (agent, live):
                    c.send(*line)
                    got.append([c.read() for _ in range(replies or 1)])
                if not replies:  # differs by nature
                    equal(isinstance(got[0][0], RespError), isinstance(got[1][0], RespError), (resp, line))
                    continue
                equal(got[0], got[1], (resp, line))
                equal([type(g) for g in got[0]], [type(g) for g in got[1]], (resp, line, "type"))


# ---- a hundred subscribers --------------------------------------------------------------------------

def fan_out(redis, p):
    subs = [p.client() for _ in range(100)]
    for i, c in enumerate(subs):
        if i % 2:
            c.cmd("HELLO", 3)
        c.send("SUBSCRIBE", "news")
        equal(c.read(), [b"subscribe", b"news", 1])
        if i % 4 == 0:  # hears it twice
            c.send("PSUBSCRIBE", "n*s")
            equal(c.read(), [b"psubscribe", b"n*s", 2])
    with Client(redis.sock) as live, p.client() as pub:
        equal(live.cmd("PUBSUB", "NUMSUB", "proj:default:news"), [b"proj:default:news", 1], "subscriptions of the store")
        equal(live.cmd("PUBSUB", "NUMPAT"), 1)
        equal(pub.cmd("PUBSUB", "NUMSUB", "news", "other"), [b"news", 100, b"other", 0])
        equal(live.cmd("CLIENT", "LIST", "TYPE", "pubsub").count(b"\n"), 1, "subscription connections")
        n = 200
        big = b"B" * 70000  # one block for everybody
        for i in range(n):
            equal(pub.cmd("PUBLISH", "news", b"%d" % i if i % 20 else big), 125, "receivers")
        for i, c in enumerate(subs):
            for k in range(n):
                text = b"%d" % k if k % 20 else big
                want = [[b"message", b"news", text]]
                if i % 4 == 0:
                    want.append([b"pmessage", b"n*s", b"news", text])
                got = [c.read() for _ in want]
                check(sorted(got) == sorted(want), i, k, got[0][:2])
                check(isinstance(got[0], harness.Push) == bool(i % 2), "a push only for RESP3")
        equal(live.cmd("PUBLISH", "proj:default:news", "from outside"), 2, "the agent's two subscriptions")
        for c in subs:
            equal(c.read()[-1], b"from outside")
        for c in subs[:50]:
            c.close()
        wait_until(lambda: pub.cmd("PUBSUB", "NUMSUB", "news")[1] == 50, "closed subscribers to be forgotten")
        equal(live.cmd("PUBSUB", "NUMSUB", "proj:default:news")[1], 1)
        for c in subs[50:]:
            c.close()
        wait_until(lambda: live.cmd("PUBSUB", "NUMSUB", "proj:default:news")[1] == 0, "last out")
        wait_until(lambda: live.cmd("PUBSUB", "NUMPAT") == 0, "last out")
        equal(pub.cmd("PUBLISH", "news", "x"), 0)


def without_redis(redis):
    """The memory plugin: the same, and nobody to ask."""
    with Purserd({"agent.workers": WORKERS}, name="memory") as p:
        same_as_redis(redis, p)
        in_order(p)
        order_of_channels(p)
        subs = [p.client() for _ in range(30)]
        for i, c in enumerate(subs):
            c.send(["SUBSCRIBE", "PSUBSCRIBE"][i % 2], ["news", "n?ws"][i % 2])
            equal(c.read()[2], 1)
        with p.client() as pub:
            for i in range(100):
                equal(pub.cmd("PUBLISH", "news", i), 30)
            equal(pub.cmd("PUBSUB", "CHANNELS", "n*"), [b"news"])
            equal(pub.cmd("PUBSUB", "NUMSUB", "news"), [b"news", 15])
            equal(pub.cmd("PUBSUB", "NUMPAT"), 1)
        for c in subs:
            equal([int(c.read()[-1]) for _ in range(100)], list(range(100)))
            c.close()


def asked_once(redis, p):
    """Subscribed and unsubscribed: the store is asked once for each, whichever answer comes first."""
    with Client(redis.sock) as live:
        def calls():
            stats = live.cmd("INFO", "commandstats").decode()
            return [stats.count(f"cmdstat_{n}:") and int(stats.split(f"cmdstat_{n}:calls=")[1].split(",")[0])
                    for n in ("subscribe", "unsubscribe")]
        for _ in range(20):
            before = calls()
            in_order(p)
            wait_until(lambda: live.cmd("PUBSUB", "NUMSUB", "proj:default:mine")[1] == 0, "last out")
            equal([n - b for n, b in zip(calls(), before)], [1, 1], "SUBSCRIBE and UNSUBSCRIBE upstream")


def in_order(p):
    """SUBSCRIBE, then PUBLISH, by one client in one write; replies in order, pushes between them and never inside."""
    with p.client() as c:
        c.cmd("HELLO", 3)
        c.cmd("SET", "big", "v" * 300000)
        lines = [["GET", "big"], ["SUBSCRIBE", "mine"]]
        for i in range(300):
            lines += [["PUBLISH", "mine", i], ["GET", "big"] if i % 50 == 0 else ["ECHO", i]]
        lines += [["UNSUBSCRIBE", "mine"], ["PUBLISH", "mine", "not heard"], ["PING"]]
        c.raw(b"".join(encode(*w) for w in lines))
        heard, replies = [], []
        while not replies or replies[-1] != "PONG":
            r = c.read()
            if isinstance(r, harness.Push) and r[0] == b"message":
                heard.append(int(r[2]))
            else:
                replies.append(r)
        equal(len(replies), len(lines), "replies")
        equal(heard, list(range(300)), "messages before UNSUBSCRIBE")
        equal(replies[1], [b"subscribe", b"mine", 1])
        for i in range(300):
            equal(replies[2 + 2 * i], 1, "PUBLISH")
            check(len(replies[3 + 2 * i]) == 300000 if i % 50 == 0 else replies[3 + 2 * i] == b"%d" % i, i)
        equal(replies[-3:], [[b"unsubscribe", b"mine", 0], 0, "PONG"])


def order_of_channels(p):
    """Messages of several channels come in the order in which one publisher sent them."""
    with p.client() as c, p.client() as pub:
        c.send("SUBSCRIBE", *[f"c{i}" for i in range(20)])
        for _ in range(20):
            c.read()
        pub.pipeline([["PUBLISH", f"c{(i * 7) % 20}", i] for i in range(400)])
        equal([int(c.read()[2]) for _ in range(400)], list(range(400)))


# ---- projects ----------------------------------------------------------------------------------------

PROJECTS = """
[backend main]
plugin = %s
[project red]
[project blue]
databases = 2
[project open]
isolation = off
databases = 16
"""


def client_of(p, project, resp=2):
    c = p.client()
    c.cmd("HELLO", resp, "AUTH", project, "x")
    return c


def nothing(*clients):
    """Nobody of these has anything to read: what came before a reply would come first."""
    for c in clients:
        c.send("PING")
        equal(c.read(), [b"pong", b""])


def isolation(redis, p):
    if redis:
        with Client(redis.sock) as live:
            live.cmd("CONFIG", "SET", "notify-keyspace-events", "KEA")
    red, blue, free = client_of(p, "red"), client_of(p, "blue"), client_of(p, "open")
    writers = {name: client_of(p, name) for name in ("red", "blue", "open")}
    for c in (red, blue):
        c.send("SUBSCRIBE", "ch")
        equal(c.read(), [b"subscribe", b"ch", 1])
        c.send("PSUBSCRIBE", "*")
        equal(c.read(), [b"psubscribe", b"*", 2])
    equal(writers["red"].cmd("PUBLISH", "ch", "r"), 2)
    equal(red.read(), [b"message", b"ch", b"r"])
    equal(red.read(), [b"pmessage", b"*", b"ch", b"r"])
    nothing(red, blue)
    equal(writers["open"].cmd("PUBLISH", "ch", "o"), 0)
    equal(writers["open"].cmd("PUBLISH", "proj:blue:ch", "from open"), 2)
    equal(blue.read(), [b"message", b"ch", b"from open"])
    equal(blue.read()[3], b"from open")
    free.send("PSUBSCRIBE", "proj:*")
    equal(free.read(), [b"psubscribe", b"proj:*", 1])
    equal(writers["red"].cmd("PUBLISH", "ch", "r2"), 3, "with the one that sees everything")
    equal(free.read(), [b"pmessage", b"proj:*", b"proj:red:ch", b"r2"])
    equal([red.read()[-1], red.read()[-1]], [b"r2", b"r2"])
    equal(writers["red"].cmd("PUBSUB", "CHANNELS"), [b"ch"])
    equal(writers["red"].cmd("PUBSUB", "CHANNELS", "proj*"), [])
    equal(writers["red"].cmd("PUBSUB", "NUMPAT"), 1)
    equal(writers["blue"].cmd("PUBSUB", "NUMSUB", "ch", "proj:red:ch"), [b"ch", 1, b"proj:red:ch", 0])
    equal(sorted(writers["open"].cmd("PUBSUB", "CHANNELS")), [b"proj:blue:ch", b"proj:red:ch"])
    nothing(red, blue, free)
    events(red, blue, free, writers)
    for c in (red, blue, free, *writers.values()):
        c.close()


def events(red, blue, free, writers):
    """Keyspace notifications: of the project's own keys, under the names that it knows."""
    red.send("PSUBSCRIBE", "__key*__:*", "__keyspace@0__:a*", "__keyevent@0__:del")
    blue.send("SUBSCRIBE", "__keyspace@0__:a", "__keyevent@0__:set", "__keyevent@1__:set")
    for c in (red, blue):
        equal([c.read()[0] for _ in range(3)], [b"psubscribe" if c is red else b"subscribe"] * 3)
    writers["red"].cmd("SET", "a", 1)
    got = sorted(red.read() for _ in range(3))
    equal(got, sorted([[b"pmessage", b"__key*__:*", b"__keyspace@0__:a", b"set"],
                       [b"pmessage", b"__keyspace@0__:a*", b"__keyspace@0__:a", b"set"],
                       [b"pmessage", b"__key*__:*", b"__keyevent@0__:set", b"a"]]))
    nothing(red, blue)
    writers["blue"].cmd("SET", "a", 1)
    equal(sorted(blue.read() for _ in range(2)),
          [[b"message", b"__keyevent@0__:set", b"a"], [b"message", b"__keyspace@0__:a", b"set"]])
    writers["blue"].cmd("SELECT", 1)
    writers["blue"].cmd("SET", "b", 1)
    equal(blue.read(), [b"message", b"__keyevent@1__:set", b"b"])
    writers["open"].cmd("SET", "loose", 1)
    nothing(red, blue, free)
    writers["red"].cmd("DEL", "a")
    equal(sorted(red.read() for _ in range(4)),
          sorted([[b"pmessage", b"__key*__:*", b"__keyspace@0__:a", b"del"],
                  [b"pmessage", b"__keyspace@0__:a*", b"__keyspace@0__:a", b"del"],
                  [b"pmessage", b"__key*__:*", b"__keyevent@0__:del", b"a"],
                  [b"pmessage", b"__keyevent@0__:del", b"__keyevent@0__:del", b"a"]]))
    nothing(red, blue)
    free.send("SUBSCRIBE", "__keyspace@0__:proj:red:z")
    free.read()
    writers["red"].cmd("SET", "z", 1)
    equal(free.read(), [b"message", b"__keyspace@0__:proj:red:z", b"set"])



def project_stays(p):
    with client_of(p, "red", 3) as c:
        c.cmd("SUBSCRIBE", "ch")
        check(c.error("PURSER.PROJECT", "blue").text.startswith("ERR unsubscribe,"), "it belongs to red")
        check(c.error("HELLO", 3, "AUTH", "blue", "x").text.startswith("ERR unsubscribe,"), "it belongs to red")
        c.cmd("HELLO", 3, "AUTH", "red", "x")
        c.cmd("UNSUBSCRIBE", "ch")
        equal(c.cmd("PURSER.PROJECT", "blue"), "OK")


# ---- trouble ------------------------------------------------------------------------------------------

def slow_subscriber(redis, p):
    slow, quick, pub = p.client(), p.client(), p.client()
    for c in (slow, quick):
        c.cmd("SUBSCRIBE", "flood")
    for i in range(3000):
        n = pub.cmd("PUBLISH", "flood", b"x" * 4000)
        equal(quick.read()[2], b"x" * 4000)
        if n == 1:
            break
    equal(n, 1, "the slow one is still there")
    p.wait_log("client.subscriber.slow")
    check("slow_subscriber" in p.http("GET", "/metrics").body.decode(), "it is counted")
    equal(pub.cmd("PUBLISH", "flood", "on"), 1)
    equal(quick.read()[2], b"on")
    for c in (slow, quick, pub):
        c.close()


def lost_link(redis, p):
    two, three, pub = p.client(), p.client(), p.client()
    three.cmd("HELLO", 3)
    waits = p.client()  # ... for something else as well, twice
    waits.cmd("HELLO", 3)
    for c in (two, three, waits):
        equal(c.cmd("SUBSCRIBE", "ch"), [b"subscribe", b"ch", 1])
    waits.raw(harness.encode("BLPOP", "nothing", 0) * 2)
    with Client(redis.sock) as live:
        wait_until(lambda: b"blocked_clients:1\r" in live.cmd("INFO", "clients"), "it to wait")
        check(live.cmd("CLIENT", "KILL", "TYPE", "pubsub") >= 1, "no subscription link to kill")
    equal([waits.read()[0], waits.read().word, waits.read().word], [b"purser.closed", "UNBLOCKED", "BACKENDDOWN"])
    check(waits.eof(), "it is closed all the same")
    reason = three.read()
    equal(reason[0], b"purser.closed")
    check(b"lost" in reason[1], reason)
    check(two.eof() and three.eof(), "subscribers of a lost link are closed")
    p.wait_log("pubsub.link.lost")
    p.wait_log("subscription_lost")
    equal(pub.cmd("PING"), "PONG", "who is not subscribed goes on")
    with p.client() as again:
        equal(again.cmd("SUBSCRIBE", "ch"), [b"subscribe", b"ch", 1])
        equal(pub.cmd("PUBLISH", "ch", "again"), 1)
        equal(again.read(), [b"message", b"ch", b"again"])
    pub.close()


def redis_away(redis, p):
    with p.client() as c:
        c.cmd("SUBSCRIBE", "ch")
        redis.kill()
        check(c.eof(), "closed with the store")
    with p.client() as c:
        equal(wait_until(lambda: c.error("SUBSCRIBE", "ch"), "a refusal").word, "BACKENDDOWN")
        redis.start()

        def works():
            c.send("SUBSCRIBE", "ch")
            return not isinstance(c.read(), RespError)
        wait_until(works, "subscriptions to work again")


def kept(redis):
    """lost_subscriptions = keep: subscribed again, without a word."""
    with Purserd(settings(redis, backend_0main__lost_subscriptions="keep"), name="keep") as p, p.client() as c, \
            p.client() as pub, Client(redis.sock) as live:
        c.cmd("SUBSCRIBE", "ch")
        c.send("PSUBSCRIBE", "c*")
        c.read()
        equal(live.cmd("CLIENT", "KILL", "TYPE", "pubsub"), 1)
        wait_until(lambda: live.cmd("PUBSUB", "NUMSUB", "proj:default:ch")[1] == 1 and live.cmd("PUBSUB", "NUMPAT") == 1,
                   "the agent to subscribe again")
        equal(pub.cmd("PUBLISH", "ch", "m"), 2)
        equal(sorted(c.read()[0] for _ in range(2)), [b"message", b"pmessage"])


def reloaded(redis):
    """A reload that leaves a project as it is leaves its subscribers; one that changes it closes them."""
    text = f"[backend main]\nplugin = redis\nurl = {redis.url}\n%s[project red]\n%s[project blue]\n"
    with Purserd({"agent.workers": WORKERS}, config=text % ("", ""), name="reload") as p:
        red, blue, mon = client_of(p, "red"), client_of(p, "blue", 3), client_of(p, "red", 3)
        red.cmd("SUBSCRIBE", "ch")
        blue.cmd("SUBSCRIBE", "ch")
        mon.cmd("MONITOR")

        def reload(*parts):
            p.write_config(text % parts)
            wait_until(lambda: p.ctl("reload").returncode == 0, "the reload before it to be over")

        def publish(name, want):
            with client_of(p, name) as c:
                equal(c.cmd("PUBLISH", "ch", name), want)
        for parts in (("", ""), ("lost_subscriptions = keep\n", "databases = 3\n")):
            reload(*parts)
            publish("red", 1)
            publish("blue", 1)
            equal(red.read(), [b"message", b"ch", b"red"])
            equal(blue.read(), [b"message", b"ch", b"blue"])
            check('"PUBLISH" "ch" "red"' in mon.read(), "a monitor goes on")
        with Client(redis.sock) as live:  # it is kept now
            live.cmd("CLIENT", "KILL", "TYPE", "pubsub")
            wait_until(lambda: live.cmd("PUBSUB", "NUMSUB", "proj:red:ch")[1] == 1, "the agent to subscribe again")
        reload("", "key_prefix = other:\n")
        check(red.eof(), "its names are others now")
        wait_until(lambda: p.log().count('"reason":"reload"') == 2, "the reason in the log")
        publish("blue", 1)
        equal(blue.read(), [b"message", b"ch", b"blue"])
        with client_of(p, "red") as again:
            again.cmd("SUBSCRIBE", "ch")
            publish("red", 1)
            equal(again.read(), [b"message", b"ch", b"red"])
        reload("client_name = another\n", "key_prefix = other:\n")  # another instance
        check(blue.read()[0] == b"purser.closed" and blue.eof(), "its backend is gone")
        publish("blue", 0)


def limits(redis):
    with Purserd(settings(redis, agent__max_subscriptions="10"), name="limits") as p, p.client() as c:
        equal(c.error("SUBSCRIBE", *range(11)).word, "TOOBIG")
        c.send("SUBSCRIBE", *range(10))
        equal([c.read()[2] for _ in range(10)], list(range(1, 11)))
        equal(c.error("PSUBSCRIBE", "x").word, "TOOBIG")
        r = p.http("POST", "/v1/command", {"command": ["SUBSCRIBE", "x"]})
        check(r.status >= 400, r)


def refused_channel(redis):
    """The store's ACL refuses a channel: the client is told, the link stays."""
    with Client(redis.sock) as live:
        live.cmd("ACL", "SETUSER", "narrow", "on", ">pw", "~*", "+@all", "resetchannels", "&proj:default:yes*")
    url = redis.url.replace("unix://", "unix://narrow:pw@")
    with Purserd(dict(settings(redis), **{"backend main.url": url}), name="narrow") as p, p.client() as c:
        equal(c.error("SUBSCRIBE", "yes1", "no").word, "BACKENDDOWN")
        c.send("SUBSCRIBE", "yes1", "yes2")
        equal([c.read(), c.read()], [[b"subscribe", b"yes1", 1], [b"subscribe", b"yes2", 2]])
        # What is published is counted as soon as anybody listens: an error has nothing to count and stays what it is.
        with p.client() as q:
            equal(q.cmd("PUBLISH", "yes1", "m"), 1)
            check(q.error("PUBLISH", "no", "m").text.startswith("NOPERM this user has no permissions"))
            q.cmd("PURSER.BREAKER", "main", "OPEN")
            for cmd in ("PUBLISH", "SPUBLISH"):
                equal(q.error(cmd, "yes1", "m").word, "CIRCUITOPEN")


def main():
    with Redis() as redis:
        with Purserd(settings(redis)) as p:
            same_as_redis(redis, p)
            fan_out(redis, p)
            asked_once(redis, p)
            order_of_channels(p)
            lost_link(redis, p)
        with Purserd(dict(settings(redis), **{"agent.subscriber_limit": "1MiB"}), name="slow") as p:
            slow_subscriber(redis, p)
        with Purserd({"agent.workers": WORKERS}, config=PROJECTS % f"redis\nurl = {redis.url}", name="projects") as p:
            isolation(redis, p)
            project_stays(p)
        with Purserd({"agent.workers": WORKERS}, config=PROJECTS % "memory\nnotify_keyspace_events = KEA", name="on memory") as p:
            isolation(None, p)
        without_redis(redis)
        kept(redis)
        reloaded(redis)
        limits(redis)
        refused_channel(redis)
        with Purserd(settings(redis), name="away") as p:
            redis_away(redis, p)


harness.run(main)
