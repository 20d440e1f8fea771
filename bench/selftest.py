#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The load generator must believe nothing: it is run against servers that lie, each in its own way."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

BUILD = os.environ.get("abs_top_builddir") or os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LG, FLOOR = os.path.join(BUILD, "bench/lg"), os.path.join(BUILD, "bench/floor")
RIGHT, WRONG, PEER = 0, 1, 3


class Store:
    """A small honest Redis: SET GET MGET PING SUBSCRIBE PUBLISH. `lie` bends one reply in ten."""

    def __init__(self, path, lie=None):
        self.data, self.subscribers, self.lock = {}, [], threading.Lock()
        self.lie, self.count = lie, 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            conn = self.listener.accept()[0]
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        stream = conn.makefile("rb")
        try:
            while (request := self.read(stream)):
                self.send(conn, self.run(conn, request))
        except (OSError, ValueError):
            pass
        finally:
            conn.close()

    @staticmethod
    def read(stream):
        line = stream.readline()
        if not line.startswith(b"*"):
            return line.split()
        args = []
        for _ in range(int(line[1:])):
            size = int(stream.readline()[1:])
            args.append(stream.read(size + 2)[:-2])
        return args

    def send(self, conn, reply):
        self.count += 1
        if self.lie and self.count % 10 == 0:
            reply = self.lie(reply)
        if reply is None:
            conn.shutdown(socket.SHUT_RDWR)
            return
        conn.sendall(reply[:3])  # in two parts, so that replies come in pieces
        conn.sendall(reply[3:])

    @staticmethod
    def bulk(value):
        return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)

    def run(self, conn, args):
        name = args[0].upper()
        if name == b"SET":
            self.data[args[1]] = args[2]
            return b"+OK\r\n"
        if name == b"GET":
            return self.bulk(self.data.get(args[1]))
        if name == b"MGET":
            return b"*%d\r\n" % (len(args) - 1) + b"".join(self.bulk(self.data.get(k)) for k in args[1:])
        if name == b"SUBSCRIBE":
            with self.lock:
                self.subscribers.append(conn)
            return b"*3\r\n$9\r\nsubscribe\r\n" + self.bulk(args[1]) + b":1\r\n"
        if name == b"PUBLISH":
            message = b"*3\r\n$7\r\nmessage\r\n" + self.bulk(args[1]) + self.bulk(args[2])
            with self.lock:
                for s in self.subscribers:
                    self.count += 1
                    if not self.lie or self.count % 10:
                        s.sendall(message)
                return b":%d\r\n" % len(self.subscribers)
        return b"+PONG\r\n"


def lg(path, *args):
    done = subprocess.run([LG, *args, path], capture_output=True, text=True, timeout=120, check=False)
    figures = dict(line.split("=", 1) for line in done.stdout.splitlines())
    return done.returncode, figures, done.stderr


def expect(what, status, got):
    code, figures, text = got
    if code != status or "Sanitizer" in text or "runtime error" in text:
        raise SystemExit(f"FAIL: {what}: status {code}, expected {status}\n{figures}\n{text}")
    print(f"ok: {what}")
    return figures


def check(condition, what):
    if not condition:
        raise SystemExit(f"FAIL: {what}")
    print(f"ok: {what}")


def start_floor(path, *args):
    process = subprocess.Popen([FLOOR, *args, path])
    for _ in range(500):
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
            return process
        except OSError:
            time.sleep(0.01)
    process.kill()
    raise SystemExit("FAIL: floor does not listen")


def test_honest(path):
    few = ("-k", "200", "-c", "3", "-P", "4", "-n", "1000")
    figures = expect("fill", RIGHT, lg(path, "--fill", "-k", "200"))
    check(figures["ops"] == "200", "fill writes each key once")
    for mix in ("get", "set", "mget", "ping", "get=3,set=1,mget=1"):
        figures = expect(f"honest server, {mix}", RIGHT, lg(path, *few, "-M", "20", "-m", mix))
        check(figures["ops"] == "1000" and float(figures["latency_p99_us"]) > 0, "every request counted")
    for dist in ("seq", "zipf", "zipf:1.2"):
        expect(f"keys drawn {dist}", RIGHT, lg(path, *few, "-D", dist))
    expect("a connection for each batch", RIGHT, lg(path, *few, "-r"))
    expect("idle connections", RIGHT, lg(path, *few, "-i", "5"))
    expect("one byte values", RIGHT, lg(path, "--fill", "-k", "50", "-d", "1", "-p", "one:"))
    expect("large values", RIGHT, lg(path, "--fill", "-k", "5", "-d", "300000", "-p", "big:"))
    expect("large values read", RIGHT, lg(path, "-k", "5", "-d", "300000", "-p", "big:", "-n", "20", "-P", "2"))
    figures = expect("fan-out", RIGHT, lg(path, "-m", "publish", "-c", "2", "-S", "7", "-P", "3", "-n", "60"))
    check(figures["deliveries"] == "420", "every message delivered to all")
    expect("a key that is not there", WRONG, lg(path, "-k", "300", "-n", "2000"))
    expect("a value of another size", WRONG, lg(path, "-k", "200", "-n", "100", "-d", "65"))


def test_liars(directory):
    lies = {
        "another key's value": (WRONG, lambda r: r.replace(b"0", b"1") if r[:1] == b"$" else r),
        "an error": (WRONG, lambda r: b"-ERR no\r\n"),
        "nil": (WRONG, lambda r: b"$-1\r\n"),
        "another type": (WRONG, lambda r: b":1\r\n"),
        "garbage": (WRONG, lambda r: b"what?\r\n"),
        "one reply too many": (None, lambda r: r + r),
        "end of stream": (PEER, lambda r: None),
        "silence": (None, lambda r: r[:-1]),
    }
    for number, (name, (status, lie)) in enumerate(lies.items()):
        path = f"{directory}/liar{number}"
        store = Store(path)
        expect(f"fill before '{name}'", RIGHT, lg(path, "--fill", "-k", "50"))
        store.lie = lie
        got = lg(path, "-k", "50", "-n", "500", "-c", "2", "-P", "3", "-t", "1")
        check(got[0] in ((status,) if status else (WRONG, PEER)), f"server that answers with {name} is found out")
    path = f"{directory}/lossy"
    Store(path, lie=lambda r: r)
    got = lg(path, "-m", "publish", "-c", "1", "-S", "3", "-n", "50", "-t", "1")
    check(got[0] in (WRONG, PEER), "a lost message is found out")
    expect("nobody listens", PEER, lg(f"{directory}/nobody", "-n", "1"))


def test_floor(directory, store_path):
    floors = []
    try:
        path = f"{directory}/floor"
        floors.append(start_floor(path))
        mix = ("-m", "get,set,mget,mset,ping", "-c", "5", "-P", "7", "-n", "5000")
        figures = expect("floor", RIGHT, lg(path, "-V", "shape", "-W", f"floor={floors[0].pid}", *mix))
        check("floor_us_per_op" in figures, "a watched process' CPU is reported")
        expect("floor's canned values are no true values", WRONG, lg(path, *mix))
        path = f"{directory}/floor-proxy"
        floors.append(start_floor(path, "--upstream", store_path))
        expect("floor as a proxy", RIGHT, lg(path, "-k", "200", "-m", "get,set,mget", "-c", "9", "-P", "3",
                                             "-n", "2000"))
        expect("floor as a proxy, reconnecting", RIGHT, lg(path, "-k", "200", "-c", "4", "-r", "-n", "200"))
    finally:
        for process in floors:
            process.terminate()
            process.wait()
    check(all(p.returncode == 0 for p in floors), "floor ends on SIGTERM")


def main():
    with tempfile.TemporaryDirectory(prefix="purser-lg-", dir="/tmp") as directory:
        path = f"{directory}/store"
        Store(path)
        test_honest(path)
        test_liars(directory)
        test_floor(directory, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
