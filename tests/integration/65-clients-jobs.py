# SPDX-License-Identifier: Apache-2.0
"""Jobs go round: Celery and Sidekiq, unchanged, with the agent's socket as broker and store of results."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time

import harness
from harness import check

CLIENTS = os.path.join(harness.srcdir, "tests/clients")


class Worker(harness.Process):
    """A worker process of one of the two."""

    def __init__(self, name, argv, env):
        super().__init__(name)
        self.argv, self.environment = argv, env

    def start(self):
        with open(self.log_path, "ab") as log:
            self.p = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=harness.tmp(),
                                      env=self.environment, preexec_fn=harness._die_with_parent)  # pylint: disable=protected-access
        harness._processes.append(self)  # pylint: disable=protected-access
        return self

    def stop(self):
        self.signal(signal.SIGTERM)
        check(self.wait(60) == 0, self.name, "left with", self.p.returncode)


def round_trip(name, worker, client, env):
    with Worker(name, worker, env) as w:
        done = subprocess.run(client, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              cwd=harness.tmp(), timeout=150 * harness.SLOW)
        check(done.returncode == 0, name, done.stdout, done.stderr[-3000:])
        check(w.running(), "the worker has ended")
        print(done.stdout.strip(), flush=True)


def celery(p):
    env = dict(os.environ, CELERY_SOCKET=p.sock, PYTHONPATH=CLIENTS)
    round_trip("celery", [sys.executable, "-m", "celery", "-A", "celery_jobs", "worker", "--pool", "threads",
                          "--concurrency", "4", "--loglevel", "INFO"],
               [sys.executable, os.path.join(CLIENTS, "celery_jobs.py"), str(60 * harness.SLOW)], env)


def sidekiq(p):
    script = os.path.join(CLIENTS, "sidekiq_jobs.rb")
    round_trip("sidekiq", ["sidekiq", "-r", script, "-c", "4", "-t", "5"], ["ruby", script],
               dict(os.environ, SIDEKIQ_SOCKET=p.sock))


def main():
    found = [f for f, there in ((celery, importlib.util.find_spec("celery")), (sidekiq, shutil.which("sidekiq"))) if there]
    if not found:
        harness.skip("neither python3-celery nor ruby-sidekiq is installed")
    for f in found:
        with harness.Redis(name=f.__name__ + "-redis") as redis, harness.Purserd(
                {"backend main.plugin": "redis", "backend main.url": redis.url}, name=f.__name__ + "-purserd") as p:
            begun = time.monotonic()
            f(p)
            print(f"{time.monotonic() - begun:.1f} s", flush=True)


if __name__ == "__main__":
    harness.run(main)
