# SPDX-License-Identifier: Apache-2.0
"""An issuer of JSON Web Tokens over https, with keys that rotate and all that can be wrong with it; openssl(1) signs."""

import base64
import http.server
import itertools
import json
import os
import ssl
import subprocess
import threading
import time

import harness
from certificates import CA, free_port


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    """An RSA key of 2048 bits and its JWK."""

    numbers = itertools.count(1)

    def __init__(self):
        self.kid = f"key-{next(self.numbers)}"
        self.file = os.path.join(harness.tmp(), self.kid + ".pem")
        subprocess.run(["openssl", "genrsa", "-out", self.file, "2048"], check=True, capture_output=True)
        out = subprocess.run(["openssl", "rsa", "-in", self.file, "-noout", "-modulus"], check=True, capture_output=True)
        n = bytes.fromhex(out.stdout.decode().strip().split("=")[1])
        self.jwk = {"kty": "RSA", "kid": self.kid, "alg": "RS256", "use": "sig", "n": b64(n), "e": "AQAB"}

    def sign(self, header, claims):
        text = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
        out = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.file], input=text.encode(), check=True,
                             capture_output=True)
        return f"{text}.{b64(out.stdout)}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def say(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "public, max-age=3600")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        i = self.server.issuer
        mode = i.mode
        i.requests += 1
        if mode == "down":  # what is left of connections that were open
            self.close_connection = True
            return
        if mode == "slow":
            i.hurry.wait(30)
        if self.path.endswith("/openid-configuration"):
            self.say(200, json.dumps({"issuer": i.url, "jwks_uri": i.url + "/keys"}).encode())
        elif mode == "error":
            self.say(500, b"{}")
        elif mode == "garbage":
            self.say(200, b"\x00\xff<html>keys</html>")
        elif mode == "other":
            self.say(200, b'{"keys":[{"kty":"oct","kid":"s","k":"' + b"A" * 64 + b'"}]}')
        elif mode == "huge":
            self.say(200, b'{"keys":[' + b" " * (2 << 20) + b"]}")
        else:
            self.say(200, json.dumps({"keys": [k.jwk for k in i.keys]}).encode())


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):  # the agent ends what takes too long or is too large
        pass


class Issuer:
    def __init__(self):
        harness.require("openssl")
        self.ca = CA("issuer")
        self.cert = self.ca.make("issuer")
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.keys = [Key()]
        self.mode, self.requests, self.server = "good", 0, None
        self.hurry = threading.Event()
        self.start()

    def start(self):
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.issuer = self
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.cert)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def set(self, mode):
        self.mode = mode
        self.hurry.clear() if mode == "slow" else self.hurry.set()

    def token(self, key=None, header=None, **claims):
        key = key or self.keys[-1]
        now = int(time.time())
        claims = {"iss": self.url, "aud": "purser", "sub": "somebody", "project": "shop", "scope": "kv:write",
                  "iat": now, "exp": now + 300, **claims}
        return key.sign({"alg": "RS256", "kid": key.kid, **(header or {})}, claims)
