#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""actor.py SOCKET NAME SEED LOCK...: a client that takes locks, writes behind their fences, now and then with an old one,
and gives them back or not.  Each event is a line of JSON on its output (history.py); it ends with its input."""

import json
import random
import select
import socket
import sys
import time

sys.path.insert(0, sys.argv[0].rsplit("/", 2)[0])
import harness  # noqa: E402
from harness import Push, RespError  # noqa: E402


class Actor:
    def __init__(self, sock, name, seed, locks):
        self.sock, self.name, self.locks = sock, name, locks
        self.random = random.Random(seed)
        self.life = 0
        self.old = []
        self.c = None

    def who(self):
        return f"{self.name}.{self.life}"

    def say(self, what, **more):
        print(json.dumps({"what": what, "who": self.who(), **more}), flush=True)

    def connect(self):
        self.life += 1
        while True:
            try:
                self.c = harness.Client(self.sock)
                self.c.cmd("HELLO", 3)
                return
            except (OSError, EOFError, RespError):
                time.sleep(0.02)

    def leave(self):
        self.say("ended", at=time.monotonic())
        self.c.close()
        self.connect()

    def pushed(self, push, not_yet):
        kind, lock, fence, reason = (x.decode() for x in push)
        assert kind == "lock.lost", push
        self.say("lost", lock=lock, fence=int(fence), reason=reason, at=not_yet)

    def ask(self, *words):
        """(sent, reply, at): pushes on the way are told; an error is returned."""
        not_yet = time.monotonic()
        self.c.send(*words)
        sent = not_yet
        while True:
            reply = self.c.read()
            at = time.monotonic()
            if not isinstance(reply, Push):
                return sent, reply, at
            self.pushed(reply, not_yet)

    def hold(self, seconds):
        """As long, looking for pushes every few ms; True: one came."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            not_yet = time.monotonic()
            if select.select([self.c.s], [], [], 0.003)[0]:
                self.pushed(self.c.read(), not_yet)
                return True
        return False

    def write(self, lock, fence):
        sent, reply, at = self.ask("LOCK.FENCE", lock, fence, "SET", "data:" + lock, fence, "GET")
        if not isinstance(reply, RespError):
            self.say("fenced", lock=lock, fence=fence, sent=sent, at=at, before=None if reply is None else int(reply))
        elif reply.word == "LOCKLOST":
            self.say("refused", lock=lock, fence=fence, sent=sent, at=at)

    def turn(self):
        r = self.random
        lock = r.choice(self.locks)
        words = ["LOCK.ACQUIRE", lock, r.choice([150, 300, 600])]
        kind = "write"
        if lock.startswith("rw"):
            kind = r.choice(["read", "write"])
            words += ["KIND", kind]
        if r.random() < 0.8:
            words += ["WAIT", r.randrange(50, 1500)]
        if r.random() < 0.1:
            words += ["MAXHOLD", r.randrange(20, 200)]
        sent, reply, at = self.ask(*words)
        if reply is None or isinstance(reply, RespError):
            time.sleep(r.random() * 0.02)
            return
        fence = reply[b"fence"]
        self.say("acquired", lock=lock, fence=fence, sent=sent, at=at, kind=kind)
        for _ in range(r.randrange(3)):
            if kind == "write":
                self.write(lock, fence)
        if self.old and r.random() < 0.3:
            stale = r.choice(self.old)
            self.write(*stale)
            at, result, _ = self.ask("LOCK.RELEASE", *stale)
            if isinstance(result, bytes):
                self.say("release", lock=stale[0], fence=stale[1], at=at, result=result.decode(), own=False)
        if self.hold(r.choice([0, 0.01, 0.05, 0.3])):
            if r.random() < 0.5:
                self.write(lock, fence)
            return
        if r.random() < 0.15:
            self.leave()
            return
        self.say("release", lock=lock, fence=fence, at=time.monotonic(), own=True)
        _, result, _ = self.ask("LOCK.RELEASE", lock, fence)
        if result == b"released":
            self.old = (self.old + [(lock, fence)])[-5:]

    def run(self):
        self.connect()
        while not select.select([sys.stdin], [], [], 0)[0]:
            try:
                self.turn()
            except (OSError, EOFError, socket.timeout):
                self.say("ended", at=time.monotonic())
                self.connect()


Actor(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]).run()
