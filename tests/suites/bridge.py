#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Called as a redis-server by suites that start one (--port N, the rest is passed over): what connects to that port of
127.0.0.1 is connected to the Unix socket PURSER_SUITE_SOCKET, until SIGINT or SIGTERM."""

import os
import selectors
import signal
import socket
import sys

path = os.environ["PURSER_SUITE_SOCKET"]
port = int(sys.argv[sys.argv.index("--port") + 1])


def serve(listener):
    sel = selectors.DefaultSelector()
    sel.register(listener, selectors.EVENT_READ, None)

    def close(a, b):
        for s in (a, b):
            try:
                sel.unregister(s)
            except KeyError:
                continue
            s.close()

    while True:
        for key, _ in sel.select():
            if key.fileobj is listener:
                a = listener.accept()[0]
                b = socket.socket(socket.AF_UNIX)
                b.connect(path)
                for s, other in ((a, b), (b, a)):
                    sel.register(s, selectors.EVENT_READ, other)
                continue
            if key.fileobj.fileno() < 0:
                continue  # closed with its other end, in this very turn
            try:
                data = key.fileobj.recv(65536)
                if data:
                    key.data.sendall(data)
            except OSError:
                data = b""
            if not data:
                close(key.fileobj, key.data)


for sig in (signal.SIGINT, signal.SIGTERM):
    signal.signal(sig, lambda *_: os._exit(0))
listener = socket.create_server(("127.0.0.1", port))
print(f"bridge * Ready to accept connections on port {port}", flush=True)
serve(listener)
