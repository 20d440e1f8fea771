# SPDX-License-Identifier: Apache-2.0
"""What is sent again after a lost link sees what it would have seen the first time, or is not sent again."""

import os

import harness
from harness import check, equal

INFO = b"redis_version:7.0.0\r\nredis_mode:standalone\r\n"


class Forgetful(harness.FakeServer):
    """A server that runs everything; once it has run `lost` commands on keys it closes that connection, unanswered."""

    def __init__(self, path):
        self.lost, self.ran, self.store = 0, [], {}
        super().__init__(path)

    def serve(self, s, c):
        while True:
            command = c.read()
            if command[0] in (b"GET", b"SET"):
                ours = command[1].startswith(b"proj:default:")  # not the agent's own probes
                if ours:
                    self.ran.append(command[0].decode())
                if command[0] == b"SET":
                    self.store[command[1]] = command[2]
                value = self.store.get(command[1])
                answer = b"+OK\r\n" if command[0] == b"SET" else \
                    b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)
                if ours and self.lost:
                    self.lost -= 1
                    if not self.lost:
                        return
                    continue
                s.sendall(answer)
            elif command[0] == b"HELLO":
                s.sendall(b"-ERR unknown command 'HELLO'\r\n")
            elif command[0] in (b"SELECT", b"CLIENT", b"CONFIG"):
                s.sendall(b"+OK\r\n")
            elif command[0] == b"INFO":
                s.sendall(b"$%d\r\n%b\r\n" % (len(INFO), INFO))
            else:
                s.sendall(b"+PONG\r\n")


def case(server, c, commands, want, ran):
    server.store.clear()
    server.ran.clear()
    server.lost = len(commands)
    got = [r.word if isinstance(r, harness.RespError) else r for r in c.pipeline(commands)]
    equal(got, want, commands)
    equal(server.ran, ran, commands)
    equal(server.lost, 0)


def main():
    path = os.path.join(harness.tmp(), "forgetful")
    server = Forgetful(path)
    with harness.Purserd({"backend main.plugin": "redis", "backend main.url": "unix://" + path, "health.interval": "1h",
                          "agent.workers": "1", "breaker.enabled": "no"}) as p, p.client() as c:
        harness.wait_until(lambda: c.pipeline([("GET", "up")]) == [None], "the server")
        # A read in front of a write that may have run would see what is yet to come.
        case(server, c, [("GET", "k"), ("SET", "k", "v")], ["BACKENDDOWN", "OK"], ["GET", "SET", "SET"])
        # Behind it all is as it was, and so is what has no write behind it.
        case(server, c, [("SET", "k", "v"), ("GET", "k")], ["OK", b"v"], ["SET", "GET", "SET", "GET"])
        case(server, c, [("GET", "a"), ("GET", "b")], [None, None], ["GET"] * 4)
        case(server, c, [("GET", "k"), ("SET", "k", "1"), ("GET", "k"), ("SET", "k", "2"), ("GET", "k")],
             ["BACKENDDOWN", "OK", "BACKENDDOWN", "OK", b"2"], ["GET", "SET", "GET", "SET", "GET", "SET", "SET", "GET"])
        check(c.cmd("GET", "k") == b"2")


if __name__ == "__main__":
    harness.run(main)
