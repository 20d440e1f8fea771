#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes Grafana's boards (etc/grafana) and Prometheus' alert rules (etc/prometheus) from agent/metric/metrics.def.

    docs/dashboards.py            brings the files up to date  (make doc-dashboards)
    docs/dashboards.py --check    only says which are not, status 1  (tests/lint/dashboards.py)

Every row of the table is a panel on some board: the first words of its name say on which.  The overview and the alerts name
rows by their id; one that is gone is an error here, not an empty panel there.
"""
import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from tables import arguments  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
UNITS = {"s": "seconds", "ms": "seconds", "us": "seconds", "ns": "seconds", "By": "bytes"}
GRAFANA = {"s": "s", "ms": "s", "us": "s", "By": "bytes", "1": "percentunit"}
# Labels that tell one series of a metric from another for a reader; all others are summed over.
SHOWN = 2


class Row:
    """One METRIC() of the table, as Prometheus has it."""

    def __init__(self, args):
        text = [re.sub(r'^"|"$', "", a.replace('" "', "")) for a in args]
        self.id, self.dotted, self.unit, self.kind = text[0], text[1], text[2], text[3]
        labels = re.sub(r'INFO_ATTRS\s*"?', "purser.backend,server.address,server.port:int", args[6]).strip('"')
        self.labels = [re.sub(r"[^A-Za-z0-9_]", "_", a.split(":")[0]) for a in labels.split(",") if a]
        self.doc = text[8]
        self.name = self.prometheus()

    def prometheus(self):
        """As export_prometheus_name(); tests/integration/75-dashboards.py compares them with what an agent says."""
        name = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9:]", "_", self.dotted))
        unit = ("ratio" if self.kind == "GAUGE" else "") if self.unit == "1" else UNITS.get(self.unit, "")
        if self.unit.endswith("/s"):
            unit = "per_second"
        if unit and not name.endswith(unit):
            name += "_" + unit
        if self.kind != "HISTOGRAM" and name.endswith("_count"):
            name = name[:-6] + "s"
        return name + ("_total" if self.kind == "COUNTER" and not name.endswith("_total") else "")

    def by(self):
        """What its series are told apart by: where it is, and what it is about."""
        skip = {"server_address", "server_port", "db_system_name", "otel_component_name", "db_namespace"}
        return [x for x in self.labels if x not in skip][:SHOWN + 1]

    def selector(self, more=""):
        where = 'instance=~"$instance"'
        if "purser_project" in self.labels:
            where += ',purser_project=~"$project"'
        return f"{{{where}{',' + more if more else ''}}}"

    def expressions(self):
        """(query, legend) of its panel."""
        by = self.by()
        legend = " ".join(f"{{{{{x}}}}}" for x in by) or "{{instance}}"
        group = f" by ({', '.join(by or ['instance'])})"
        if self.kind == "HISTOGRAM":
            over = ", ".join(by[:1] + ["le"])
            return [(f"histogram_quantile({q}, sum by ({over}) (rate({self.name}_bucket{self.selector()}[$__rate_interval])))",
                     f"p{q * 100:g} " + (f"{{{{{by[0]}}}}}" if by else "")) for q in (0.5, 0.99)]
        if self.kind == "COUNTER":
            return [(f"sum{group} (rate({self.name}{self.selector()}[$__rate_interval]))", legend)]
        how = "sum" if self.kind == "UPDOWN" else "max"
        return [(f"{how}{group} ({self.name}{self.selector()})", legend)]

    def grafana_unit(self):
        if self.kind == "COUNTER":
            return {"By": "Bps", "s": "percentunit"}.get(self.unit, "cps")
        return GRAFANA.get(self.unit, "short")


def load():
    text = open(os.path.join(ROOT, "agent/metric/metrics.def"), encoding="utf-8").read()
    rows = {}
    for m in re.finditer(r"^METRIC\(", text, re.M):
        row = Row(arguments(text, m.end() - 1))
        rows[row.id] = row
    return rows


# ---- boards ----------------------------------------------------------------------------------------------------


def panel(at, title, queries, unit, doc, kind="timeseries", width=12):
    defaults = {"unit": unit, "custom": {"fillOpacity": 8, "showPoints": "never", "spanNulls": True}}
    return {"id": at + 1, "type": kind, "title": title, "description": doc,
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "gridPos": {"h": 8, "w": width, "x": at * width % 24, "y": at * width // 24 * 8},
            "fieldConfig": {"defaults": defaults if kind == "timeseries" else {"unit": unit}, "overrides": []},
            "options": {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
                        "tooltip": {"mode": "multi", "sort": "desc"}} if kind == "timeseries" else
                       {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value"},
            "targets": [{"refId": chr(ord("A") + i), "expr": q, "legendFormat": legend}
                        for i, (q, legend) in enumerate(queries)]}


def variable(name, label, query):
    return {"name": name, "label": label, "type": "query", "query": {"query": query, "refId": name},
            "datasource": {"type": "prometheus", "uid": "${datasource}"}, "refresh": 2, "includeAll": True, "multi": True,
            "allValue": ".*", "current": {"text": "All", "value": "$__all"}, "sort": 1}


def board(rows, uid, title, panels, project):
    some = rows["REQUESTS"].name
    names = [{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
             variable("instance", "Agent", f"label_values({some}, instance)")]
    names += [variable("project", "Project", f"label_values({some}, purser_project)")] if project else []
    return {"uid": uid, "title": title, "tags": ["purser"], "schemaVersion": 38, "version": 1, "editable": True,
            "timezone": "browser", "refresh": "30s", "time": {"from": "now-1h", "to": "now"}, "graphTooltip": 1,
            "links": [{"type": "dashboards", "title": "Purser", "tags": ["purser"], "asDropdown": True, "keepTime": True,
                       "includeVars": True}],
            "templating": {"list": names}, "panels": panels}


def generic(rows, wanted):
    out = []
    for row in rows.values():
        if wanted(row):
            out.append(panel(len(out), row.dotted, row.expressions(), row.grafana_unit(), row.doc))
    return out


def overview(rows):
    r = {k: (v.name, v.selector()) for k, v in rows.items()}
    rate = "[$__rate_interval]"

    def q(fmt, *ids):
        return fmt.format(*[r[i][0] for i in ids], s=r[ids[0]][1], r=rate)

    errors = rows["REQUESTS"].selector('error_type!=""')
    sums = [
        ("Health", "stat", "short", [(q("max({0}{s})", "HEALTH_STATE"), "state")], "0 healthy, 1 degraded, 2 unhealthy."),
        ("Backends that are up", "stat", "short", [(q("min by (purser_backend) ({0}{s})", "BACKEND_UP"), "{{purser_backend}}")],
         rows["BACKEND_UP"].doc),
        ("Telemetry", "stat", "short", [(q("max({0}{s})", "TELEMETRY_STATE"), "state")], rows["TELEMETRY_STATE"].doc),
        ("Clients", "stat", "short", [(q("sum({0}{s})", "CLIENTS"), "clients")], rows["CLIENTS"].doc),
    ]
    lines = [
        ("Requests", "reqps", [(q("sum by (purser_project) (rate({0}{s}{r}))", "REQUESTS"), "{{purser_project}}")],
         rows["REQUESTS"].doc),
        ("Requests that failed", "percentunit",
         [(f"(sum(rate({r['REQUESTS'][0]}{errors}{rate})) or vector(0)) / "
           f"clamp_min(sum(rate({r['REQUESTS'][0]}{r['REQUESTS'][1]}{rate})), 1e-9)", "share")],
         "Answers that were errors, of all."),
        ("Time of operations", "s",
         [(q("histogram_quantile(%s, sum by (le) (rate({0}_bucket{s}{r})))" % p, "OPERATION_DURATION"), f"p{float(p) * 100:g}")
          for p in ("0.5", "0.99", "0.999")], rows["OPERATION_DURATION"].doc),
        ("Slowest commands, p99", "s",
         [(q("topk(10, histogram_quantile(0.99, sum by (le, db_operation_name) (rate({0}_bucket{s}{r}))))",
             "OPERATION_DURATION"), "{{db_operation_name}}")], "Commands whose 99th percentile is the longest."),
        ("Memory of backends", "percentunit", [(q("max by (purser_backend) ({0}{s})", "MEMORY_USAGE"), "{{purser_backend}}")],
         rows["MEMORY_USAGE"].doc),
        ("Hits", "percentunit",
         [(q("sum by (purser_project) (rate({0}{s}{r})) / clamp_min(sum by (purser_project) (rate({0}{s}{r})) + "
             "sum by (purser_project) (rate({1}{s}{r})), 1e-9)", "CACHE_HITS", "CACHE_MISSES"), "{{purser_project}}")],
         "Of the keys that reads asked for, those that were there."),
        ("Breakers", "short",
         [(q("max by (purser_backend, purser_breaker_class) ({0}{s})", "BREAKER_STATE"),
           "{{purser_backend}} {{purser_breaker_class}}")], rows["BREAKER_STATE"].doc),
        ("Waiting for a connection", "short",
         [(q("sum by (db_client_connection_pool_name) ({0}{s})", "CONNECTION_PENDING"), "{{db_client_connection_pool_name}}")],
         rows["CONNECTION_PENDING"].doc),
    ]
    out = [panel(i, t, queries, unit, doc, kind, 6) for i, (t, kind, unit, queries, doc) in enumerate(sums)]
    for i, (t, unit, queries, doc) in enumerate(lines):
        p = panel(i, t, queries, unit, doc)
        p["id"] += len(out) + 100
        p["gridPos"]["y"] += 8
        out.append(p)
    return out


def boards(rows):
    def named(*starts):
        return lambda row: row.dotted.startswith(starts)

    projects = [r for r in rows.values() if "purser_project" in r.labels]
    return {
        "overview": board(rows, "purser-overview", "Purser: overview", overview(rows), True),
        "project": board(rows, "purser-project", "Purser: projects", generic(rows, lambda r: r in projects), True),
        "store": board(rows, "purser-store", "Purser: stores", generic(
            rows, lambda r: r not in projects and named("redis.", "db.client.", "purser.backend.", "purser.breaker.",
                                                        "purser.retr", "purser.memory.")(r)), False),
        "agent": board(rows, "purser-agent", "Purser: the agent itself", generic(
            rows, lambda r: r not in projects and not named("redis.", "db.client.", "purser.backend.", "purser.breaker.",
                                                            "purser.retr", "purser.memory.")(r)), False),
    }


# ---- alerts ----------------------------------------------------------------------------------------------------


def rules(rows):
    n = {k: v.name for k, v in rows.items()}
    slow = f"{n['REQUESTS']}{{error_type!=\"\"}}"
    burn = ("(sum by (instance, purser_project) (rate({e}[{w}])) / sum by (instance, purser_project) (rate({a}[{w}])))"
            " > {t}")

    def both(long, short, times):
        return (burn.format(e=slow, a=n["REQUESTS"], w=long, t=f"({times} * 0.001)") + "\nand\n" +
                burn.format(e=slow, a=n["REQUESTS"], w=short, t=f"({times} * 0.001)"))

    return [
        ("PurserBackendDown", f"{n['BACKEND_UP']} == 0", "1m", "critical", "Backend {{ $labels.purser_backend }} fails its probe",
         "PURSER.HEALTH says why; what clients hear is BACKENDDOWN or CIRCUITOPEN."),
        ("PurserBreakerOpen", f"{n['BREAKER_STATE']} == 1", "1m", "warning",
         "The breaker of {{ $labels.purser_backend }} for {{ $labels.purser_breaker_class }} is open",
         "Requests are refused without being sent; the agent probes by itself and closes it."),
        ("PurserMemoryCritical", f"{n['MEMORY_LEVEL']} == 2", "1m", "critical",
         "Backend {{ $labels.purser_backend }} is at its critical memory level", "Raise maxmemory, or find what grows."),
        ("PurserMemoryWarning", f"{n['MEMORY_LEVEL']} == 1", "5m", "warning",
         "Backend {{ $labels.purser_backend }} is at its warning memory level", "It will be critical at [health] memory_critical."),
        ("PurserErrorBudgetFast", both("1h", "5m", "14.4"), "2m", "critical",
         "Project {{ $labels.purser_project }} uses up its error budget of a month (99.9 %) in two days",
         "Which errors: purser_requests_total by error_type."),
        ("PurserErrorBudgetSlow", both("6h", "30m", "6"), "15m", "warning",
         "Project {{ $labels.purser_project }} uses up its error budget of a month (99.9 %) in five days",
         "Which errors: purser_requests_total by error_type."),
        ("PurserPoolExhausted", f"rate({n['CONNECTION_TIMEOUTS']}[5m]) > 0", "1m", "warning",
         "Requests run out of time while waiting for {{ $labels.db_client_connection_pool_name }}",
         "Raise pool_max or blocking_max, or find what is slow."),
        ("PurserTelemetryLost", f"sum by (instance, purser_signal, purser_reason) (increase({n['TELEMETRY_DROPPED']}[5m])) > 0",
         "0m", "warning", "{{ $labels.purser_signal }} were lost: {{ $labels.purser_reason }}",
         "The collector is away or refuses; docs/telemetry.md says what each reason means."),
        ("PurserTelemetryLate", f"{n['TELEMETRY_AGE']} > 300", "1m", "warning", "Telemetry waits for more than five minutes",
         "The collector is away; it is on disk, within queue_disk."),
        ("PurserSeriesOverflow", f"increase({n['SERIES_OVERFLOW']}[15m]) > 0", "0m", "info",
         "Series go into an overflow series", "More projects or commands than the cap; sums stay right."),
        ("PurserLocksLost", f"sum by (instance, purser_project) (increase({n['LOCK_LOST']}[5m])) > 0", "0m", "warning",
         "Locks of project {{ $labels.purser_project }} were lost", "Their holders were told; fenced writes are safe."),
    ]


def yaml_text(s):
    return json.dumps(s, ensure_ascii=False)


def rules_file(rows):
    out = ["# SPDX-License-Identifier: Apache-2.0", "# Made by docs/dashboards.py from agent/metric/metrics.def.", "groups:",
           "  - name: purser", "    rules:"]
    for name, expr, wait, severity, summary, text in rules(rows):
        out += [f"      - alert: {name}", f"        expr: {yaml_text(' '.join(expr.split()))}", f"        for: {wait}",
                "        labels:", f"          severity: {severity}", "        annotations:",
                f"          summary: {yaml_text(summary)}", f"          description: {yaml_text(text)}"]
    return "\n".join(out) + "\n"


def made():
    """{path: text} of all files."""
    rows = load()
    files = {f"etc/grafana/purser-{name}.json": json.dumps(b, indent=1, ensure_ascii=False) + "\n"
             for name, b in boards(rows).items()}
    files["etc/prometheus/purser.rules.yml"] = rules_file(rows)
    return files


def stale(root):
    out = []
    for path, text in made().items():
        try:
            with open(os.path.join(root, path), encoding="utf-8") as f:
                have = f.read()
        except OSError:
            have = None
        if have != text:
            out.append(path)
    return out


def main():
    check = "--check" in sys.argv[1:]
    for path in stale(ROOT):
        print(path + (" is not what metrics.def says: make doc-dashboards" if check else ""))
        if not check:
            os.makedirs(os.path.dirname(os.path.join(ROOT, path)), exist_ok=True)
            with open(os.path.join(ROOT, path), "w", encoding="utf-8") as f:
                f.write(made()[path])
    return 1 if check and stale(ROOT) else 0


if __name__ == "__main__":
    sys.exit(main())
