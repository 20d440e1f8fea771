# SPDX-License-Identifier: Apache-2.0
"""Runs the cells: one sample is one run of lg against one target, with the servers' CPU beside it."""

import contextlib
import os
import random
import statistics
import subprocess

import plans
from servers import BenchError, die_with_parent

NOISE_LIMIT = 0.10  # CPUs used by processes that have no part in the sample
NOISE_RETRIES = 2
HOG = ("-d", "1000000", "-k", "16", "-p", "hog:")


def cpu_sets(pin):
    """(servers' CPUs, generator's CPUs) for split, one or none."""
    cpus = sorted(os.sched_getaffinity(0))
    if pin == "none":
        return set(cpus), set(cpus)
    if pin == "one" or len(cpus) == 1:
        return {cpus[0]}, {cpus[0]}
    return {cpus[0]}, {cpus[1]}


def parse_output(text):
    result = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        result[key] = float(value)
    return result


def run_lg(lab, address, arguments, cpus=None, timeout=120, tool="lg"):
    """One run of the generator: its figures. BenchError when a reply was wrong or the peer is gone."""
    def prepare():
        die_with_parent()
        if cpus:
            os.sched_setaffinity(0, cpus)

    argv = [lab.tools[tool], *arguments, address]
    try:
        # pylint: disable-next=subprocess-popen-preexec-fn
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, preexec_fn=prepare, check=False)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{' '.join(argv)}: no end after {timeout} s") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise BenchError(f"{tool} status {done.returncode}: {lines[0] if lines else done.stdout.strip()}")
    return parse_output(done.stdout)


@contextlib.contextmanager
def hog(lab, address, target, cpus):
    """One connection that reads large values for as long as the block runs."""
    def prepare():
        die_with_parent()
        os.sched_setaffinity(0, cpus)

    argv = [lab.tools["lg"], "-c", "1", *HOG, *target.lg, "-s", "600", address]
    # pylint: disable-next=subprocess-popen-preexec-fn
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, preexec_fn=prepare)
    try:
        yield
        if process.poll() is not None:
            raise BenchError(f"the hog has ended: {process.stderr.read().decode('utf-8', 'replace').strip()}")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


class Bench:
    """The settings of a run, and the samples of one cell after the other."""

    def __init__(self, lab, rounds, seconds, pin, seed=1):
        self.lab, self.rounds, self.seconds, self.pin = lab, rounds, seconds, pin
        self.random = random.Random(seed)
        self.samples_taken = self.samples_noisy = 0

    def address(self, target):
        server = self.lab.get(target.own)
        return server.tcp if target.tcp else server.address

    def fill(self, target, shape):
        if shape.op in ("ping", "publish"):
            return
        if target.plan:
            plans.write(target.plan, self.address(target), self.plan_of(target))
            return
        run_lg(self.lab, self.address(target), ["--fill", "-d", str(shape.value), *target.lg])
        if shape.hog:
            run_lg(self.lab, self.address(target), ["--fill", *HOG, *target.lg])

    def plan_of(self, target):
        return os.path.join(self.lab.dir, target.plan + ".plan")

    def one_run(self, target, shape, cpus):
        watches = ["-W", f"own={self.lab.get(target.own).pid}"]
        if target.store:
            watches += ["-W", f"store={self.lab.get(target.store).pid}"]
        load = ["-c", str(shape.conns), "-P", str(shape.pipeline), "-f", self.plan_of(target)] if target.plan else \
            [*shape.arguments(), *target.lg]
        raw = run_lg(self.lab, self.address(target),
                     [*load, *watches, "-s", str(self.seconds), "-w",
                      str(max(0.1, self.seconds / 4)), "-x", str(self.random.randrange(1 << 30))], cpus,
                     tool="steps" if target.plan else "lg")
        if raw["ops"] == 0:
            raise BenchError("no request was answered within the measured window")
        own, store, client = (raw.get(k + "_us_per_op", 0.0) for k in ("own", "store", "client"))
        return {"own": own, "store": store, "client": client, "total": own + store + client,
                "ops": raw["ops_per_s"], "p50": raw["latency_p50_us"], "p99": raw["latency_p99_us"],
                "p999": raw["latency_p999_us"], "noise": raw["others_busy"] + raw["stolen"]}

    def hogged_run(self, target, shape, cpus):
        with hog(self.lab, self.address(target), target, cpus):
            got = self.one_run(target, shape, cpus)
        got["noise"] = 0.0  # the hog is meant to be there, and cannot be told from others
        return got

    def sample(self, target, shape, cpus):
        """A run; when others used the CPUs meanwhile, again, and the quietest of them counts."""
        best = None
        for _ in range(1 + NOISE_RETRIES):
            got = self.hogged_run(target, shape, cpus) if shape.hog else self.one_run(target, shape, cpus)
            if best is None or got["noise"] < best["noise"]:
                best = got
            if best["noise"] <= NOISE_LIMIT:
                break
        self.samples_taken += 1
        self.samples_noisy += best["noise"] > NOISE_LIMIT
        return best

    def cell(self, targets, shape):
        """{target: [sample a round]} and {target: why it failed}."""
        servers_on, client_on = cpu_sets(shape.pin or self.pin)
        samples, failed = {name: [] for name in targets}, {}
        for name, target in targets.items():
            try:
                self.fill(target, shape)
            except BenchError as e:
                failed[name] = str(e)
        self.lab.pin(servers_on)
        for _ in range(self.rounds):
            order = [n for n in targets if n not in failed]
            self.random.shuffle(order)
            for name in order:
                try:
                    samples[name].append(self.sample(targets[name], shape, client_on))
                except BenchError as e:
                    failed[name] = str(e)
        return {n: s for n, s in samples.items() if s and n not in failed}, failed


def median_of(samples, what):
    return statistics.median(s[what] for s in samples)


def ratio_of(ratio, samples):
    """(median, least, greatest) over the rounds, or None when a side is missing."""
    top, bottom = samples.get(ratio.top), samples.get(ratio.bottom)
    if not top or not bottom:
        return None
    each = [t[ratio.what] / b[ratio.bottom_what or ratio.what] for t, b in zip(top, bottom)
            if b[ratio.bottom_what or ratio.what] > 0]
    return (statistics.median(each), min(each), max(each)) if each else None
