# SPDX-License-Identifier: Apache-2.0
"""Server-sent events of the agent, for tests."""

import json
import socket

import harness
from harness import check, equal


class Stream:
    """A stream of events; what is not one is in .status and .problem."""

    def __init__(self, path, target, project=None, method="GET", body=None, version="1.1"):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(30 * harness.SLOW)
        self.s.connect(path)
        self.f = self.s.makefile("rb")
        data = b"" if body is None else json.dumps(body).encode()
        chosen = f"Purser-Project: {project}\r\n" if project else ""
        self.s.sendall(f"{method} {target} HTTP/{version}\r\nHost: x\r\n{chosen}"
                       f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
        self.status = int(self.f.readline()[9:12])
        self.headers = {}
        while (line := self.f.readline()) != b"\r\n":
            name, value = line[:-2].decode().split(": ", 1)
            self.headers[name.lower()] = value
        self.chunked = self.headers.get("transfer-encoding") == "chunked"
        self.text, self.ended = b"", False
        self.problem = None
        if self.status != 200:
            self.problem = json.loads(self.f.read(int(self.headers["content-length"])))
        else:
            equal((self.headers["content-type"], self.headers["connection"]), ("text/event-stream", "close"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.f.close()
        self.s.close()

    def more(self):
        if not self.chunked:
            got = self.f.read1(65536)
            self.ended = not got
        else:
            size = int(self.f.readline(), 16)
            got = self.f.read(size)
            equal(self.f.read(2), b"\r\n")
            self.ended = size == 0
        self.text += got

    def event(self):
        """(name, data) of the next event, or None at the proper end."""
        while True:
            while b"\n\n" not in self.text:
                if self.ended:
                    equal(self.text, b"")
                    return None
                self.more()
            block, self.text = self.text.split(b"\n\n", 1)
            if block == b":":  # a heartbeat
                continue
            fields = dict(line.split(": ", 1) for line in block.decode().split("\n"))
            check(set(fields) <= {"event", "data"}, fields)
            return fields.get("event", "message"), json.loads(fields["data"])
