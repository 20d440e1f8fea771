#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The lints find what is planted for them, and nothing else."""

import os
import shutil
import tempfile

import banned
import command_rows
import documented
import headers
import keys_read
import lua_scripts
import memory_ops
import rooms
import size
import source
import tarball

SOUND = {
    "agent/base/buf.h": "#include <stddef.h>\nstruct buf { size_t n; };\n",
    "agent/base/buf.c": '#include <config.h>\n#include "base/buf.h"\n/* strcpy(a, b) and "sprintf(" are words */\n'
                        'const char *s = "system(1)"; int f(void);\nint f(void)\n{\n\treturn p->system(1);\n}\n',
    "agent/server/http.c": '#include <config.h>\n#include "base/buf.h"\n#include "request.h"\n',
    "agent/request.h": '#include "base/buf.h"\n',
    "agent/log/log.c": '#include <config.h>\n#include "metric/metric.h"\n',
    "agent/metric/metric.h": "",
    "include/purser/plugin.h": "#include <stdint.h>\nextern int purser_one;\n",
    "plugins/memory/memory.c": '#include <purser/plugin.h>\n#include "table.h"\n',
    "plugins/memory/table.h": "",
    "plugins/redis/redis.c": "#include <hiredis/hiredis.h>\n",
    "ctl/main.c": '#include <config.h>\n#include "out.h"\n',
    "ctl/out.h": "",
    "agent/feature/lua/a_b.lua": "-- Takes.\n-- KEYS: 1 the lock\n-- ARGV: none\nreturn redis.call('GET', KEYS[1])\n",
    "tests/lua/10-a.py": 'def main(t):\n    take = t.script("a_b")\n',
    "tests/lua/local.mk": "SCRIPT_TESTS += %D%/10-a.py\n",
}
LONG = "int f(void);\nint f(void)\n{\n" + "\tg();\n" * 119 + "}\n"
FITS = "int f(void);\nint f(void)\n{\n#if A\n\tif (a) {\n#else\n\tif (b) {\n#endif\n\t\tg();\n\t}\n" + "\tg();\n" * 100 + "}\n"
# lint, file, content, a part of what must be said
PLANTED = [
    (rooms, "agent/base/a.c", '#include <config.h>\n#include "loop/loop.h"\n', "may not include loop"),
    (rooms, "agent/request.c", '#include <config.h>\n#include "server/http.h"\n', "may not include server"),
    (rooms, "agent/resp/a.c", '#include <config.h>\n#include "../request.h"\n', "may not include request"),
    (rooms, "agent/base/a.c", '#include "base/buf.h"\n', "config.h> must be the first"),
    (rooms, "agent/base/a.c", '#include <config.h>\n#include "nowhere.h"\n', "no file of agent"),
    (rooms, "agent/server/a.c", "#include <config.h>\n#include <curl/curl.h>\n", "belongs to agent/fetch"),
    (rooms, "agent/backend/a.c", "#include <config.h>\n#include <hiredis/hiredis.h>\n", "belongs to plugins/redis"),
    (rooms, "agent/attic/a.c", '#include <config.h>\n#include "base/buf.h"\n', "attic is no room"),
    (rooms, "plugins/memory/a.c", '#include "base/buf.h"\n', "a plugin includes"),
    (rooms, "plugins/memory/a.c", '#include "../../agent/base/buf.h"\n', "a plugin includes"),
    (rooms, "include/purser/a.h", "#include <openssl/ssl.h>\n", "needs libc only"),
    (rooms, "ctl/a.c", '#include <config.h>\n#include "backend/call.h"\n', "its own files"),
    (size, "agent/base/a.c", LONG, "f() has 121 lines"),
    (size, "agent/base/a.h", "\n" * 1001, "1001 lines"),
    (banned, "agent/base/a.c", "int f(void)\n{\n\tstrcpy(a, b);\n}\n", "agent/base/a.c:3: strcpy"),
    (banned, "plugins/memory/a.c", 'int x = atoi("1");\n', "atoi() is banned"),
    (lua_scripts, "agent/feature/lua/b.lua", "-- KEYS, ARGV: none\n", 'has script("b")'),
    (lua_scripts, "agent/feature/lua/a_b.lua", "-- KEYS: 1\n", "does not say ARGV"),
    (lua_scripts, "agent/feature/lua/a_b.lua", "-- KEYS, ARGV: none\nredis.call('SCAN', 0)\n", "a_b.lua:2: SCAN"),
    (lua_scripts, "tests/lua/20-b.py", "", "make check does not run it"),
    (documented, "agent/base/other.def", 'ROW(A, "a")\n', "does not say where"),
    (documented, "agent/base/errors.def", 'ERROR(A, "NEWWORD", 400, 0, "a", "b")\n', "errors.md does not exist"),
]


def plant(root, path, content):
    os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
    with open(os.path.join(root, path), "w", encoding="utf-8") as f:
        f.write(content)


def test_planted(root):
    for lint in (rooms, size, banned, documented, lua_scripts):
        assert lint.check(root) == [], (lint.__name__, lint.check(root))
    for lint, path, content, said in PLANTED:
        plant(root, path, content)
        found = lint.check(root)
        if path in SOUND:
            plant(root, path, SOUND[path])
        else:
            os.remove(os.path.join(root, path))
        assert len(found) == 1 and said in found[0], (path, content, found)
    plant(root, "agent/base/a.c", FITS)
    assert size.check(root) == [], size.check(root)
    os.remove(os.path.join(root, "agent/base/a.c"))
    plant(root, "agent/base/errors.def", 'ERROR(A, "NEWWORD", 400, 0, "a", "b")\n')
    plant(root, "docs/errors.md", "<!-- table errors.def -->\n| RESP word |\n<!-- end -->\n")
    assert "make doc-tables" in documented.check(root)[0]
    documented.tables.main(root, False)
    assert documented.check(root) == [] and "`NEWWORD` | 400 |" in source.read(root, "docs/errors.md")


def test_keys_read(root):
    """Taken as read: by its number, or, of a backend's key, by its name; not in a comment, not by a longer name."""
    plant(root, "agent/config/keys.def", 'SECTION(A, "a", 0, "")\n/* KEY(A, NO, "no", */\n'
          'KEY(A, ONE, "one", INT, 0, 0, 0, "1", NULL, "")\nKEY(BACKEND, TWO, "two", INT, 0, 0, 0, "1", NULL, "")\n')
    plant(root, "agent/loop/reads.c", "/* CFG_A_ONE */ int x = CFG_A_ONES;\n")
    plant(root, "agent/config/load.c", "int x = CFG_A_ONE;\n")
    plant(root, "plugins/redis/reads.c", '/* "two" */ const char *s = "twos";\n')
    found = keys_read.check(root)
    assert [f.split(":")[1] for f in found] == [" nobody reads CFG_A_ONE", " nobody reads CFG_BACKEND_TWO"], found
    plant(root, "agent/loop/reads.c", "int x = CFG_A_ONE;\n")
    plant(root, "plugins/redis/reads.c", 'const char *s = "two";\n')
    assert keys_read.check(root) == [], keys_read.check(root)


def test_memory_ops(root):
    """An operation that is missing, has other arguments or keys, is unknown, or is there though it is listed as left out."""
    cmd = 'CMD({0}, "{0}", {1}, F_FAST, PERM_READ, K({2}), A_NONE, X_PASS, CAP_KV, R_READ, {3}, G_KEYS, "")\n'
    plant(root, "agent/command/commands.def", "".join(cmd.format(*row) for row in (
        ("GET", 2, "1, 1, 1", "RUN_BACKEND"), ("DEL", -2, "1, -1, 1", "RUN_BACKEND"), ("PING", 1, "0, 0, 0", "RUN_LOCAL"),
        ("TTL", 2, "1, 1, 1", "RUN_BACKEND"), ("OLD", 2, "1, 1, 1", "RUN_BACKEND"))))
    plant(root, "plugins/memory/ops.def", 'OP(GET, "GET", op_get, 3, 0, 1, 1, 1)\nOP(DEL, "DEL", op_del, -2, 0, 1, 1, 1)\n'
          'OP(OLD, "OLD", op_old, 2, 0, 1, 1, 1)\nOP(NEW, "NEW", op_new, 2, 0, 1, 1, 1)\n')
    found = "; ".join(memory_ops.check(root, {"OLD": "why"}, {"PING"}))
    for words in ("TTL is not there", "GET has arity 3", "DEL has its keys at (1, 1, 1)", "OLD is in", "NEW is no command",
                  "PING, which is listed as refused"):
        assert words in found, (words, found)
    assert found.count(";") == 5, found


def test_command_rows(root):
    """Rows that lack something, or say one thing here and another there."""
    good = dict(name="GET", flags="F_READONLY|F_FAST", perm="PERM_READ", keys="K(1, 1, 1)", args="A_NONE", xform="X_PASS", retry="R_READ", run="RUN_BACKEND")
    for want, change in {
        "": {}, "has no permission": {"perm": "0"}, "may be used by anybody": {"perm": "PERM_ANY"}, "writes without": {"flags": "F_WRITE", "retry": "R_NEVER"},
        "writes and only reads": {"flags": "F_WRITE|F_READONLY", "perm": "PERM_WRITE", "retry": "R_NEVER"}, "asks for more": {"perm": "PERM_ADMIN"},
        "repeated like a read": {"flags": "F_WRITE", "perm": "PERM_WRITE"}, "names no key": {"keys": "K(0, 0, 0)"},
        "does not go through isolate": {"run": "RUN_LOCAL", "args": "A_SORT"}, "want X_FIRST": {"name": "BLPOP", "args": "A_BLOCK"},
        "want X_PASS": {"xform": "X_KEYS"}, "want A_SORT": {"name": "SORT_RO"}, "does not say movablekeys": {"keys": "KM(0, 0, 0, COUNT_1)"},
        "callers nobody knows": {"flags": "F_READONLY|F_PUBLIC"},
    }.items():
        row = dict(good, **change)
        plant(root, "agent/command/commands.def", 'CMD(X, "{name}", 2, {flags}, {perm}, {keys}, {args}, {xform}, CAP_KV, {retry}, {run}, G_STRING, "x")\n'.format(**row))
        plant(root, "agent/command/refused.def", "")
        found = command_rows.check(root)
        assert (not found and not want) or any(want in f for f in found), (want, found)
    plant(root, "agent/command/refused.def", 'REFUSED("DEBUG", NOPERM, "it is none of your business at all")\n')
    assert any("next step" in f for f in command_rows.check(root)), command_rows.check(root)
    for name in ("commands", "refused"):
        os.remove(os.path.join(root, f"agent/command/{name}.def"))


def test_headers(root):
    cc, cxx = os.environ.get("CC") or "cc", os.environ.get("CXX") or "c++"
    cxx = cxx if shutil.which(cxx.split()[0]) else ""
    plant(root, "config.h", "")
    assert headers.check(root, root, cc, cxx) == [], headers.check(root, root, cc, cxx)
    plant(root, "include/purser/plugin.h", "#include <stdint.h>\nstatic inline uint32_t one(void) { for (int i = 0;;) if (i) return typeof(i); }\n")
    assert any("is not C99" in p for p in headers.check(root, root, cc, cxx))
    plant(root, "include/purser/plugin.h", "struct purser_a { int class; };\n")
    found = headers.check(root, root, cc, cxx)
    assert not cxx or (len(found) == 1 and "is not C++" in found[0]), found
    plant(root, "include/purser/plugin.h", "")
    plant(root, "agent/base/needy.h", "size_t n_of(void);\n")
    assert "needy.h does not compile alone" in headers.check(root, root, cc, cxx)[0]


def main():
    root = tempfile.mkdtemp(prefix="purser-test.", dir="/tmp")
    try:
        for path, content in SOUND.items():
            plant(root, path, content)
        test_planted(root)
        test_headers(root)
        test_keys_read(root)
        test_memory_ops(root)
        test_command_rows(root)
        assert tarball.missing(["a/b", "c/d/e", "f"], ["c", "a/b"]) == ["f"]
    finally:
        shutil.rmtree(root)
    print(f"{len(PLANTED)} planted violations and more were found")


if __name__ == "__main__":
    main()
