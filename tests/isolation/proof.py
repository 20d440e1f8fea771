#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes leaks on purpose, one after the other, in a copy of the sources, and shows that the isolation fuzzer finds each:
make check-isolation-proof [SECONDS=for each at most] [BACKEND=redis|memory] [LEAKS='name ...'].  Fails where one is not found,
and where the source has changed so that a leak cannot be made here any more.

The copy is built below a directory of its own under /tmp; CC, as configured, may be a ccache."""

import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness
import rig

# name, what a user would see, [(file, text of the source, text of the leak)]
LEAKS = [
    ("scan-unmatched", "SCAN walks the store without MATCH prefix",
     [("agent/access/isolate.c", "static const char *isolate_scan(const struct project *p, purser_bytes *argv, uint32_t *argc,\n"
       "    struct arena *a)\n{", "static const char *isolate_scan(const struct project *p, purser_bytes *argv, uint32_t *argc,\n"
       "    struct arena *a)\n{\n\tif (argv)\n\t\treturn NULL;")]),
    ("keys-unprefixed", "KEYS with the client's pattern as it is",
     [("agent/access/isolate.c", "return project_isolated(p) ? rewrite_pattern(p, &argv[1], a) : NULL;",
       "return project_isolated(p) && !argv ? rewrite_pattern(p, &argv[1], a) : NULL;")]),
    ("randomkey-store", "RANDOMKEY of the whole store",
     [("agent/server/local_space.c", "if (!project_isolated(r->project)) {", "if (!project_isolated(r->project) || kind == WALK_RANDOM) {")]),
    ("dbsize-store", "DBSIZE of the whole store",
     [("agent/server/local_space.c", "if (!project_isolated(r->project)) {", "if (!project_isolated(r->project) || kind == WALK_COUNT) {"),
      ("agent/server/local_space.c", "\tif (w->kind == WALK_COUNT) {\n\t\tif (resp_pick_header", "\tif (w->kind == WALK_FLUSH) {\n\t\tif (resp_pick_header")]),
    ("flush-store", "FLUSHDB of the whole store",
     [("agent/server/local_space.c", "if (!project_isolated(r->project)) {", "if (!project_isolated(r->project) || kind == WALK_FLUSH) {")]),
    ("error-unstripped", "the prefix in error texts",
     [("agent/request_space.c", "\twhile ((at = memmem(at, n - (size_t)(at - text), p->prefix",
       "\twhile (argc > 1000000000 && (at = memmem(at, n - (size_t)(at - text), p->prefix")]),
    ("blpop-unstripped", "the physical key in the reply of BLPOP",
     [("agent/command/commands.def", 'CMD(BLPOP, "BLPOP", -3, {}, X_FIRST', None)]),
    ("sort-get-unprefixed", "SORT BY and GET read keys of the store",
     [("agent/access/isolate.c", "\tbool store;\n\n\tfor (uint32_t at = 2;", "\tbool store;\n\n\tif (p)\n\t\treturn NULL;\n\tfor (uint32_t at = 2;")]),
    ("publish-unprefixed", "channels are everybody's: PUBLISH and SUBSCRIBE without the prefix",
     [("agent/access/isolate.c", "argv[1] = isolate_key(p, argv[1], a);\n\t\treturn argv[1].p", "return argv[1].p"),
      ("agent/access/channel.c", "\t*mode = CHANNEL_PLAIN;\n\tif (!project_isolated(p))\n\t\treturn insert(p, false, name, 0, a);",
       "\t*mode = CHANNEL_PLAIN;\n\tif (!read_event(name, &e) && name.n)\n\t\treturn name;"),
      ("agent/access/channel.c", "\t\tif (!begins(channel, p->prefix, p->prefix_len))\n\t\t\treturn false;\n",
       "\t\tif (!begins(channel, p->prefix, p->prefix_len))\n\t\t\treturn true;\n")]),
    ("tracking-everybody", "invalidations of everybody's keys",
     [("agent/request_track.c", "{ a->prefix, a->prefix_len }, c->w->index, true", "{ a->prefix, 0 }, c->w->index, true"),
      ("agent/request_track.c", "\t\tif (!below(key, a->prefix, a->prefix_len))\n\t\t\tcontinue;\n\t\tkey.p += a->prefix_len;\n"
       "\t\tkey.n -= a->prefix_len;", "\t\tif (below(key, a->prefix, a->prefix_len)) {\n\t\t\tkey.p += a->prefix_len;\n"
       "\t\t\tkey.n -= a->prefix_len;\n\t\t}")]),
    ("events-everybody", "keyspace events of everybody's keys",
     [("agent/access/channel.c", "\tif (!begins(key, p->prefix, p->prefix_len))\n\t\treturn false;\n\tkey = behind(key, p->prefix_len);\n"
       "\tif (e.space) {", "\tif (begins(key, p->prefix, p->prefix_len))\n\t\tkey = behind(key, p->prefix_len);\n\tif (e.space) {")]),
    ("copy-db-unchecked", "COPY to a database that is not the project's",
     [("agent/access/isolate.c", "\tbool minus = w.n && w.p[0] == '-';\n\tint64_t db;\n", "\tbool minus = w.n && w.p[0] == '-';\n\tint64_t db;\n\n"
       "\tif (p)\n\t\treturn false;\n")]),
    ("select-unchecked", "SELECT of a database that is not the project's",
     [("agent/server/local_connection.c", "db >= (int64_t)cl->project->databases", "db >= 16")]),
    ("eval-unprefixed", "the keys of EVAL as they are",
     [("agent/command/commands.def", 'CMD(EVAL, "EVAL", -3, {}, KM(0, 0, 0, COUNT_2)', "K(0, 0, 0)")]),
    ("client-list-everybody", "CLIENT LIST and KILL of all projects",
     [("agent/server/local_client.c", "!c->project ||\n\t    strcmp(c->project->name, s->project))", "!c->project || !s->project)")]),
    ("monitor-everybody", "MONITOR of all projects",
     [("agent/request_monitor.c", "if (m->ns != r->project->ns)", "if (m->ns == UINT32_MAX)")]),
    ("slowlog-everybody", "one SLOWLOG for all projects",
     [("agent/metric/slowlog.c", "\tp = touch(s, project);", "\tp = touch(s, \"all\");"),
      ("agent/metric/slowlog.c", "\tp = find(s, project);", "\tp = find(s, project ? \"all\" : project);")]),
    ("scripts-everybody", "SCRIPT EXISTS knows what other projects loaded",
     [("agent/backend/scripts.c", "\to = owner_of(s, ns);", "\tns = 0;\n\to = owner_of(s, ns);"),
      ("agent/backend/scripts.c", "\te = *place(s, ns, sha);\n", "\tns = 0;\n\te = *place(s, ns, sha);\n")]),
]

# The memory plugin says logical names in its errors: there is nothing to take out.
REDIS_ONLY = {"error-unstripped"}


def edit(tree, name, changes, saved):
    for path, old, new in changes:
        full = os.path.join(tree, path)
        with open(full, encoding="utf-8") as f:
            text = f.read()
        saved.setdefault(full, text)
        if "{}" in old:  # a row of a table: its beginning, anything, and the word behind
            begin, word = (s.strip() for s in old.split("{},"))
            rows = [line for line in text.split("\n") if line.startswith(begin.rstrip(","))]
            harness.check(len(rows) == 1 and word in rows[0], f"{name}: {path} has no such row any more: make this leak another way")
            text = text.replace(rows[0], rows[0].replace(word, new or "X_PASS"))
        else:
            harness.check(old in text, f"{name}: {path} has changed: make this leak another way:\n{old}")
            text = text.replace(old, new)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)


def restore(saved):
    for path, text in saved.items():
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    saved.clear()


def make(build, *targets):
    run = subprocess.run(["make", "-s", "-j2", *targets], cwd=build, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    harness.check(run.returncode == 0, run.stdout.decode("utf-8", "replace")[-3000:])


def copy():
    """The sources and a build of them, configured like this one but without -Werror: a leak leaves things unused."""
    tree, build = os.path.join(harness.tmp(), "tree"), os.path.join(harness.tmp(), "build")
    shutil.copytree(harness.srcdir, tree, ignore=shutil.ignore_patterns(".git", "autom4te.cache"))
    os.mkdir(build)
    run = subprocess.run([os.path.join(tree, "configure"), "CFLAGS=-O1"], cwd=build, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         check=False)
    harness.check(run.returncode == 0, run.stdout.decode("utf-8", "replace")[-3000:])
    make(build)
    return tree, build


def find(build, backend, models, store, seconds, seed):
    os.environ["PURSERD"] = os.path.join(build, "agent/purserd")
    os.environ["PURSER_PLUGIN_PATH"] = os.path.join(build, "plugins/.libs")
    began = time.monotonic()
    p = harness.Purserd(rig.config(backend, store.url)).start()
    try:
        status, text = rig.fuzz(p, backend, store.sock if backend == "redis" else p.sock, models, "--seconds", seconds, "--seed", seed, "--shrink", 0)
    finally:
        p.kill()
    return status, text, time.monotonic() - began


def main():
    seconds = int(os.environ.get("PURSER_SECONDS") or 60)
    seed = harness.seed()
    backends = [os.environ["BACKEND"]] if os.environ.get("BACKEND") else ["redis", "memory"]
    wanted = os.environ.get("LEAKS", "").split()
    tree, build = copy()
    missed = []
    for name, what, changes in [("none", "the sources as they are", [])] + LEAKS:
        saved = {}
        if wanted and name not in wanted:
            continue
        edit(tree, name, changes, saved)
        make(build)
        for backend in backends:
            if backend != "redis" and name in REDIS_ONLY:
                continue
            with harness.Redis(rig.MODEL, name="model-a") as a, harness.Redis(rig.MODEL, name="model-b") as b, \
                    harness.Redis(rig.MODEL[2:], name="store") as store:
                status, text, took = find(build, backend, (a, b), store, 10 if name == "none" else seconds, seed)
            good = status == (0 if name == "none" else 1)
            print(f"{name:24}{backend:8}{'ok' if good else 'WRONG':7}{'found' if status == 1 else 'nothing found'} after {took:5.1f} s   {what}",
                  flush=True)
            lines = text.strip().split("\n")
            print("    " + "\n    ".join(line[:160] for line in lines[1:4 if good else 30]), flush=True)
            if not good:
                missed.append((name, backend))
        restore(saved)
    harness.check(not missed, "not as it should be:", missed)


if __name__ == "__main__":
    harness.run(main)
