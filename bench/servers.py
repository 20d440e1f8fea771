# SPDX-License-Identifier: Apache-2.0
"""Starts and ends what the bench measures: redis-server, nutcracker, memcached, floor, purserd.

Every server listens on a private Unix socket (redis-server also on a port of 127.0.0.1) below one
temporary directory. A Lab ends, by pid, all that it started, on any exit; should the bench itself be
killed, the kernel ends them.
"""

import ctypes
import http.server
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

PING = b"*1\r\n$4\r\nPING\r\n"
PONG = b"+PONG\r\n"
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
    """Something that the user must know and that ends a cell or the run."""


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def connect(address, timeout=5.0):
    """A blocking socket to 'HOST:PORT' or a path."""
    if address.startswith("/"):
        s = socket.socket(socket.AF_UNIX)
        target = address
    else:
        s = socket.socket()
        host, port = address.rsplit(":", 1)
        target = (host, int(port))
    try:
        s.settimeout(timeout)
        s.connect(target)
    except OSError:
        s.close()
        raise
    return s


def answers(address, ask=PING, expect=PONG):
    """True when the server at address gives the expected answer."""
    try:
        with connect(address) as s:
            s.sendall(ask)
            got = b""
            while len(got) < len(expect):
                part = s.recv(4096)
                if not part:
                    return False
                got += part
            return got.startswith(expect)
    except OSError:
        return False


class Server:
    """A process and the address where it answers."""

    def __init__(self, name, argv, address, log, ask=PING, expect=PONG):
        self.name, self.argv, self.address, self.log_path = name, argv, address, log
        self.ask, self.expect = ask, expect
        self.process = None

    @property
    def pid(self):
        return self.process.pid

    def spawn(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=die_with_parent)

    def wait_ready(self, seconds=10.0, pause=0.002):
        end = time.monotonic() + seconds
        while not answers(self.address, self.ask, self.expect):
            if self.process.poll() is not None:
                raise BenchError(f"{self.name} ended with status {self.process.returncode}: {self.log_tail()}")
            if time.monotonic() > end:
                raise BenchError(f"{self.name} does not answer on {self.address}: {self.log_tail()}")
            time.sleep(pause)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log_tail(self):
        try:
            with open(self.log_path, "rb") as f:
                lines = f.read().decode("utf-8", "replace").strip().splitlines()
        except OSError:
            lines = []
        return " | ".join(lines[-3:]) or "nothing in its log"

    def stop(self):
        if not self.alive():
            return
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def tasks(self):
        return [int(t) for t in os.listdir(f"/proc/{self.pid}/task")]

    def pin(self, cpus):
        for tid in self.tasks():
            try:
                os.sched_setaffinity(tid, cpus)
            except ProcessLookupError:
                pass  # the thread has just ended

    def cpu_seconds(self):
        total = 0
        for tid in self.tasks():
            try:
                with open(f"/proc/{self.pid}/task/{tid}/schedstat", encoding="ascii") as f:
                    total += int(f.read().split()[0])
            except FileNotFoundError:
                pass
        return total / 1e9

    def memory_kib(self):
        """Resident memory in KiB: all, and what is private and not of a file."""
        fields = {}
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            for line in f:
                key, _, value = line.partition(":")
                fields[key] = value
        return int(fields["VmRSS"].split()[0]), int(fields["RssAnon"].split()[0])


class OtlpSink:
    """Takes everything that is posted, counts it, answers 200. Runs in the bench's own process."""

    def __init__(self):
        sink = self
        self.posts = self.bytes = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                left = int(self.headers.get("Content-Length", 0))
                while left > 0:
                    part = self.rfile.read(min(left, 1 << 20))
                    if not part:
                        return
                    left -= len(part)
                    sink.bytes += len(part)
                sink.posts += 1
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format, *args):  # pylint: disable=redefined-builtin
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Lab:
    """The temporary directory, the tools, and all servers that live at the moment."""

    slow = None  # what purserd takes for slow; None: as it comes

    def __init__(self, tools):
        self.tools = tools  # program name -> path or None
        self.dir = tempfile.mkdtemp(prefix="purser-bench-", dir="/tmp")
        self.servers = {}
        self.sink = None
        self.counter = 0

    def close(self):
        for server in reversed(list(self.servers.values())):
            server.stop()
        self.servers.clear()
        if self.sink:
            self.sink.stop()
            self.sink = None
        shutil.rmtree(self.dir, ignore_errors=True)

    def has(self, program):
        return bool(self.tools.get(program))

    def get(self, name):
        """The running server of that name, started if need be."""
        if name not in self.servers:
            server = self.build(name)
            self.servers[name] = server
            server.spawn()
            server.wait_ready()
        if not self.servers[name].alive():
            raise BenchError(f"{name} has ended: {self.servers[name].log_tail()}")
        return self.servers[name]

    def fresh(self, name):
        """A further instance, not yet started; the caller ends it with discard()."""
        server = self.build(name)
        self.servers[f"{name}#{self.counter}"] = server
        return server

    def pin(self, cpus):
        """Puts all servers, with all their threads, on these CPUs."""
        for server in self.servers.values():
            if server.alive():
                server.pin(cpus)

    def discard(self, server):
        server.stop()
        for key in [k for k, v in self.servers.items() if v is server]:
            del self.servers[key]

    def build(self, name):
        self.counter += 1
        base = os.path.join(self.dir, f"{name}-{self.counter}")
        maker = getattr(self, "make_" + name.split("-")[0])
        return maker(name, base)

    def make_redis(self, name, base):
        os.mkdir(base + ".d")
        port = free_port()
        argv = [self.tools["redis-server"], "--port", str(port), "--bind", "127.0.0.1", "--unixsocket",
                base + ".sock", "--save", "", "--appendonly", "no", "--dir", base + ".d", "--maxclients",
                "20000", "--client-output-buffer-limit", "pubsub 256mb 128mb 60"]
        if name == "redis-tls":
            port = free_port()
            cert, key = self.certificate(base)
            argv += ["--tls-port", str(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients",
                     "no", "--tls-ca-cert-file", cert]
        server = Server(name, argv, base + ".sock", base + ".log")
        server.tcp = f"127.0.0.1:{port}"
        return server

    def certificate(self, base):
        """A certificate that is its own CA, for 127.0.0.1."""
        made = subprocess.run([self.tools["openssl"], "req", "-x509", "-newkey", "ec", "-pkeyopt",
                               "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", base + ".key", "-out", base + ".crt",
                               "-subj", "/CN=bench", "-days", "2", "-addext", "subjectAltName=IP:127.0.0.1"],
                              capture_output=True, text=True, check=False)
        if made.returncode:
            raise BenchError(f"openssl makes no certificate: {made.stderr.strip()}")
        return base + ".crt", base + ".key"

    def make_floor(self, name, base):
        argv = [self.tools["floor"]]
        if name == "floor-proxy":
            argv += ["--upstream", self.get("redis").address]
        return Server(name, argv + [base + ".sock"], base + ".sock", base + ".log")

    def make_nutcracker(self, name, base):
        redis = self.get("redis")
        upstream = redis.tcp if name.endswith("-tcp") else redis.address
        with open(base + ".yml", "w", encoding="ascii") as f:
            f.write(f"bench:\n  listen: {base}.sock\n  redis: true\n  hash: fnv1a_64\n"
                    f"  distribution: modula\n  preconnect: true\n  backlog: 1024\n"
                    f"  servers:\n   - {upstream}:1 redis\n")
        argv = [self.tools["nutcracker"], "-c", base + ".yml", "-v", "2", "-a", "127.0.0.1", "-s",
                str(free_port()), "-i", "3600000"]
        # It answers PING itself before the upstream is there, so it is asked for a key.
        return Server(name, argv, base + ".sock", base + ".log",
                      ask=b"*2\r\n$3\r\nGET\r\n$10\r\nbench:none\r\n", expect=b"$-1\r\n")

    def make_memcached(self, name, base):
        argv = [self.tools["memcached"], "-s", base + ".sock", "-t", "1", "-m", "1024", "-c", "20000",
                "-b", "1024", "-u", "root" if os.geteuid() == 0 else str(os.geteuid())]
        return Server(name, argv, base + ".sock", base + ".log", ask=b"mn\r\n", expect=b"MN\r\n")

    def telemetry(self, parts):
        """The [otlp] section: nothing, metrics (sent each second), or metrics and every span."""
        if "off" in parts:
            return ["enabled = no"]
        self.sink = self.sink or OtlpSink()
        lines = [f"endpoint = {self.sink.endpoint}", "metric_interval = 1s"]
        if self.slow:
            lines.append(f"slow_threshold = {self.slow}")
        if "spans" in parts:
            return lines + ["sampler = always_on", "spans_per_second = 0", "span_queue = 65536"]
        return lines + ["sampler = always_off"]

    def make_purser(self, name, base):
        """purser-BACKEND[-tcp|-tls][-off|-spans][-open|-rate|-limits|-declared][-wN]: isolation on; metrics on unless 'off'."""
        parts = name.split("-")
        workers = next((p[1:] for p in parts if p[0] == "w" and p[1:].isdigit()), "1")
        lines = ["[agent]", f"socket = {base}.sock", "mode = development", f"workers = {workers}",
                 f"state_dir = {base}.state", *([f"slowlog_slower_than = {self.slow}"] if self.slow else []),
                 "", "[backend main]", f"plugin = {parts[1]}"]
        os.mkdir(base + ".state", 0o700)
        if parts[1] == "redis":
            redis = self.get("redis-tls" if "tls" in parts else "redis")
            if "tls" in parts:
                lines += [f"url = rediss://{redis.tcp}/0",
                          f"tls_ca_file = {redis.argv[redis.argv.index('--tls-cert-file') + 1]}"]
            else:
                lines.append(f"url = redis://{redis.tcp}/0" if "tcp" in parts else f"url = unix://{redis.address}")
        else:
            lines.append("max_memory = 4GiB")
        if "rate" in parts or "limits" in parts:  # none of which is ever reached
            lines += ["", "[project default]", "rate = 1000000000"]
        if "open" in parts:
            lines += ["", "[project default]", "isolation = off"]
        if "declared" in parts:
            lines += ["", "[project default]", "scripts = declared-keys"]
        if "limits" in parts:
            lines += ["write_rate = 1000000000", "byte_rate = 1024GiB", "client_rate = 1000000000",
                      "client_write_rate = 1000000000", "client_byte_rate = 1024GiB", "max_inflight = 10000000",
                      "max_connections = 1000000", "max_bytes = 4GiB", "max_keys = 1000000000"]
        lines += ["", "[otlp]", *self.telemetry(parts), "", "[log]", "level = warn", ""]
        with open(base + ".ini", "w", encoding="ascii") as f:
            f.write("\n".join(lines))
        argv = [self.tools["purserd"], "--config", base + ".ini"]
        if self.tools.get("plugin-dir"):
            argv += ["--plugin-dir", self.tools["plugin-dir"]]
        return Server(name, argv, base + ".sock", base + ".log")
