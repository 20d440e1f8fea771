# SPDX-License-Identifier: Apache-2.0
"""Prints cells, footprint and goals; collects the same for JSON."""

import json
import os
import platform
import subprocess
import sys

import cells
import footprint
from measure import median_of, ratio_of

COLUMNS = (("own", 8, "{:.3f}"), ("store", 8, "{:.3f}"), ("client", 8, "{:.3f}"), ("total", 8, "{:.3f}"),
           ("ops", 11, "{:.0f}"), ("p50", 9, "{:.1f}"), ("p99", 9, "{:.1f}"), ("noise", 7, "{:.0%}"))
HEADINGS = {"own": "own", "store": "redis", "client": "client", "total": "total", "ops": "ops/s",
            "p50": "p50 us", "p99": "p99 us", "noise": "noise"}
FOOTPRINT = (("rss_mib", "RSS MiB", "{:.1f}"), ("private_mib", "private MiB", "{:.1f}"),
             ("idle_client_kib", "KiB/idle client", "{:.2f}"), ("idle_cpu_ms_per_s", "idle CPU ms/s", "{:.3f}"),
             ("cold_start_ms", "cold start ms", "{:.1f}"))
ITEMS = tuple((kind, f"{kind[1:3]} B{' with TTL' if kind.endswith('ttl') else ''}", "{:.1f}")
              for kind in footprint.ITEMS)


def first_line(argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "?"
    return ((done.stdout + done.stderr).strip().splitlines() or ["?"])[0]


def describe_machine(tools):
    model = "?"
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    versions = {"purserd": "--version", "redis-server": "--version", "nutcracker": "-V", "memcached": "-V"}
    return {"machine": platform.machine(), "cpu": model, "cpus": os.cpu_count(), "kernel": platform.release(),
            "programs": {p: first_line([tools[p], flag]) for p, flag in versions.items() if tools.get(p)}}


class Report:
    """Prints as it goes; `data` is what --json writes."""

    def __init__(self, machine, settings):
        self.data = {"machine": machine, "settings": settings, "skipped": {}, "cells": {}, "footprint": {}, "items": {},
                     "goals": []}
        print(f"{machine['cpu']}, {machine['cpus']} CPUs, Linux {machine['kernel']}")
        for program, version in machine["programs"].items():
            print(f"  {program}: {version}")
        print(f"  {settings['rounds']} rounds of {settings['seconds']} s, pinning '{settings['pin']}'; CPU in "
              "microseconds per operation, medians; ratios inside a round: median (least-greatest)")

    def skip(self, what, why):
        if what not in self.data["skipped"]:
            print(f"skipped: {what}: {why}")
            self.data["skipped"][what] = why

    def group(self, group):
        print(f"\n== {group.title}")

    def cell(self, name, group, targets, samples, failed):
        entry = {"targets": {}, "ratios": {}, "failed": failed}
        self.data["cells"][name] = entry
        width = max(len(t.label) for t in targets.values()) + 2
        print(f"\n{name:<{width + 2}}" + "".join(f"{HEADINGS[c]:>{w}}" for c, w, _ in COLUMNS))
        for key, target in targets.items():
            if key in failed:
                print(f"  {target.label:<{width}}failed: {failed[key]}")
                continue
            medians = {c: median_of(samples[key], c) for c, _, _ in COLUMNS}
            entry["targets"][key] = {"median": medians, "samples": samples[key]}
            print(f"  {target.label:<{width}}" + "".join(
                f"{'-' if c == 'store' and not target.store else form.format(medians[c]):>{w}}"
                for c, w, form in COLUMNS))
        for ratio in group.ratios:
            got = ratio_of(ratio, samples)
            if got:
                entry["ratios"][ratio.name] = {"median": got[0], "min": got[1], "max": got[2]}
                print(f"    {ratio.name:<28} {got[0]:.2f}  ({got[1]:.2f}-{got[2]:.2f})")
        sys.stdout.flush()

    def table(self, title, name, columns, figures, failed):
        """Figures that are no cells: a row a server. columns: (key, heading, format)."""
        self.data[name] = figures
        print(f"\n== {title}\n" + f"{'':<18}" + "".join(f"{head:>17}" for _, head, _ in columns))
        for server, values in figures.items():
            print(f"  {server:<16}" + "".join(f"{form.format(values[k]):>17}" for k, _, form in columns))
        for server, why in failed.items():
            print(f"  {server:<16}failed: {why}")

    def value_of(self, goal):
        group, _, name = goal.cell.partition("/")
        if group in ("footprint", "items"):
            return self.data[group].get(name, {}).get(goal.name)
        return self.data["cells"].get(goal.cell, {}).get("ratios", {}).get(goal.name, {}).get("median")

    def goals(self):
        measured = [(g, self.value_of(g)) for g in cells.GOALS]
        measured = [(g, v) for g, v in measured if v is not None]
        if not measured:
            return
        print("\n== goals")
        for goal, value in measured:
            met = value <= goal.limit
            self.data["goals"].append({**goal._asdict(), "value": value, "met": met})
            print(f"  {'met   ' if met else 'MISSED'}  {goal.stage:<15} {goal.cell:<26} {goal.name:<18} "
                  f"{value:7.2f} <= {goal.limit:.2f}")

    def noise(self, noisy, taken):
        self.data["noisy_samples"], self.data["samples"] = noisy, taken
        if noisy:
            print(f"\n{noisy} of {taken} samples were taken while other processes used more than 10 % of a CPU: "
                  "trust their ratios less, and repeat those cells on a quiet machine.")

    def write_json(self, path):
        with open(path, "w", encoding="utf-8") as f:
            json.dump(self.data, f, indent=1)
            f.write("\n")
