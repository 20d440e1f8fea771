# SPDX-License-Identifier: Apache-2.0
"""Certificates of an own CA, made with openssl(1), and a redis-server that speaks TLS with them."""

import os
import socket
import subprocess

import harness
from harness import Failure, Redis


def _openssl(*args):
    r = subprocess.run(["openssl", *args], capture_output=True, text=True, check=False, timeout=60 * harness.SLOW)
    harness.check(r.returncode == 0, "openssl", " ".join(args), r.stderr)


def _extensions(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


class CA:
    """A certificate authority in a directory of its own.

    ca.file           its certificate
    ca.make("x")      ca.path("x.crt") and ca.path("x.key"), signed by it
    """

    def __init__(self, name="ca"):
        harness.require("openssl")
        self.dir = os.path.join(harness.tmp(), "ca." + name)
        os.makedirs(self.dir)
        self.name, self.file = name, self.path("ca.crt")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-keyout", self.path("ca.key"), "-out", self.file, "-subj", f"/CN=test CA {name}", "-days", "30",
                 "-addext", "basicConstraints=critical,CA:TRUE")

    def path(self, name):
        return os.path.join(self.dir, name)

    def make(self, name, san="IP:127.0.0.1,DNS:localhost", days="30", password=None):
        """A key and a certificate; days may be negative (expired).  Written anew over an earlier one."""
        crt, key, csr = (self.path(f"{name}.{e}") for e in ("crt", "key", "csr"))
        locked = ["-passout", f"pass:{password}"] if password else ["-nodes"]
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", *locked, "-keyout", key + ".new",
                 "-out", csr, "-subj", f"/CN={name}")
        ext = _extensions(self.path(name + ".ext"), f"subjectAltName={san}\n" if san else "")
        _openssl("x509", "-req", "-in", csr, "-CA", self.file, "-CAkey", self.path("ca.key"), "-CAcreateserial",
                 "-out", crt + ".new", "-days", days, "-extfile", ext)
        os.chmod(key + ".new", 0o600)
        os.rename(key + ".new", key)  # as a rotation does it: never half of one
        os.rename(crt + ".new", crt)
        return crt, key


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class RedisTLS(Redis):
    """A private redis-server with a TLS port on 127.0.0.1; its Unix socket is for the test itself.

    clients   "yes": they need a certificate of the same CA; "no", "optional"
    """

    def __init__(self, ca, cert="server", clients="no", args=(), name="redis-tls"):
        super().__init__(name=name)
        self.more = ["--bind", "127.0.0.1", "--tls-cert-file", ca.path(cert + ".crt"), "--tls-key-file",
                     ca.path(cert + ".key"), "--tls-ca-cert-file", ca.file, "--tls-auth-clients", clients, *args]
        self.port = None

    def start(self):
        again = [self.port] if self.port else []
        for port in again + [free_port() for _ in range(5)]:
            self.port = port
            self.args = [*self.more, "--tls-port", str(port)]
            try:
                return super().start()
            except Failure:
                # Somebody else may have taken the port since.
                if self.running() or "Address already in use" not in self.log():
                    raise
        raise Failure(f"{self.name}: no free port; its log:\n{self.log()[-2000:]}")

    def tls_url(self, host="127.0.0.1"):
        return f"rediss://{host}:{self.port}"
