# SPDX-License-Identifier: Apache-2.0
"""Tasks of Celery.  celery -A celery_jobs worker serves them, python3 celery_jobs.py SECONDS sends some and checks what
comes back; CELERY_SOCKET is the agent's."""

import os
import sys

import celery
from celery import Celery

where = "redis+socket://" + os.environ["CELERY_SOCKET"]
app = Celery("celery_jobs", broker=where, backend=where)
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False, result_expires=60,
                task_acks_late=True, worker_prefetch_multiplier=1)


@app.task
def add(a, b):
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=3, default_retry_delay=0)
def third_time(self):
    if self.request.retries < 2:
        raise self.retry()
    return self.request.retries


@app.task
def broken():
    raise ValueError("as it should")


def equal(got, want):
    if got != want:
        sys.exit(f"got {got!r}, want {want!r}")


def main(seconds):
    results = [add.delay(i, i) for i in range(50)]
    equal([r.get(timeout=seconds) for r in results], [2 * i for i in range(50)])
    equal(third_time.delay().get(timeout=seconds), 2)
    try:
        broken.delay().get(timeout=seconds)
        sys.exit("a task that fails must fail")
    except ValueError as e:
        equal(str(e), "as it should")
    equal(celery.group(add.s(i, 1) for i in range(10))().get(timeout=seconds), list(range(1, 11)))
    equal(celery.chord(add.s(i, i) for i in range(5))(total.s()).get(timeout=seconds), 20)
    equal(list(app.control.inspect(timeout=seconds, limit=1).ping().values()), [{"ok": "pong"}])
    print(f"celery {celery.__version__}")


if __name__ == "__main__":
    # The worker knows the tasks by the name of this module, not as those of __main__.
    import celery_jobs
    celery_jobs.main(float(sys.argv[1]))
