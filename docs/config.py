#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what is made from the table of configuration keys and from the plugins' own schemas:

    etc/purser.ini            every key with its default, its unit and why
    docs/man/purser.ini.5     the manual page
    docs/configuration.md     the tables of the plugins' keys (those of the core: docs/tables.py)

    docs/config.py            brings them up to date  (make doc-config)
    docs/config.py --check    only says which are not, status 1  (tests/integration/05-config-docs.py)

The plugins are asked through  $PURSERD --dump-plugin NAME.
"""

import os
import re
import subprocess
import sys
import textwrap

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tables  # noqa: E402

PLUGINS = ("redis", "memory")
TYPES = {"TEXT": "text", "INT": "number", "BOOL": "yes or no", "DURATION": "duration", "SIZE": "size",
         "ENUM": "word", "PATH": "path", "URL": "URL", "REAL": "decimal number", "FRACTION": "percentage",
         "MODE": "file mode", "LISTEN": "address:port", "PAIRS": "name=value list", "MAP": "word=name list"}
UNITS = {"DURATION": [("h", 3600 * 10**9), ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6)],
         "SIZE": [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)],
         "FRACTION": [("%", 10**4)], "REAL": [("", 10**6)], "INT": [("", 1)]}
# What the shipped file says and does not only show.
SAID = {("backend main", "plugin"): "redis", ("backend main", "url"): "redis://127.0.0.1:6379/0"}


def number(kind, text):
    """A bound of keys.def, written as in the INI file."""
    n = eval(re.sub(r"INT64_C\((\d+)\)", r"\1", text), {"__builtins__": {}})  # digits, << and parentheses
    for unit, scale in UNITS[kind]:
        if n % scale == 0 and n != 0:
            return f"{n // scale}{unit}"
    return {"DURATION": "0s", "SIZE": "0B", "FRACTION": "0%"}.get(kind, f"{n / UNITS[kind][-1][1]:g}")


def environment(root):
    """{(section ID, key): [variables]}"""
    with open(os.path.join(root, "agent/config/env.def"), encoding="utf-8") as f:
        found = {}
        for _, (name, section, key, form) in tables.calls(f.read(), "ENV"):
            found.setdefault((section, key), []).append(name)
    return found


def core(root):
    """The sections, in order: (ID, name, named, doc, keys); a key is a dict."""
    with open(os.path.join(root, "agent/config/keys.def"), encoding="utf-8") as f:
        calls = tables.calls(f.read(), "SECTION", "KEY")
    variables, sections = environment(root), []
    for macro, a in calls:
        if macro == "SECTION":
            sections.append((a[0], a[1], a[2] == "1", a[3], []))
            continue
        kind, flags = a[3], re.findall(r"\w+", a[4])
        low, high = ("", "") if a[5] == a[6] == "0" or kind not in UNITS else (number(kind, a[5]), number(kind, a[6]))
        sections[-1][4].append({
            "name": a[2], "type": TYPES[kind], "low": low, "high": high, "default": "" if a[7] == "NULL" else a[7],
            "choices": "" if a[8] == "NULL" or kind == "URL" else a[8], "doc": a[9], "live": "LIVE" in flags,
            "secret": "SECRET" in flags, "required": "REQUIRED" in flags,
            "env": variables.get((a[0], a[2]), [])})
    return sections


def plugin(name, variables):
    """What a plugin says of itself: (summary, keys); keys that it narrows are marked by the caller."""
    purserd = os.environ.get("PURSERD", "agent/purserd")
    out = subprocess.run([purserd, "--dump-plugin", name], capture_output=True, text=True, check=False)
    if out.returncode != 0:
        sys.exit(f"{purserd} --dump-plugin {name}: status {out.returncode}: {out.stderr.strip()}")
    facts = dict(line.split("=", 1) for line in out.stdout.splitlines() if "=" in line)
    keys = []
    for fact in facts:
        m = re.fullmatch(r"setting\.(\w+)\.type", fact)
        if m is None:
            continue
        get = lambda what, key=m.group(1): facts.get(f"setting.{key}.{what}", "")  # noqa: E731
        flags = get("flags").split()
        bounded = get("type") not in ("text", "path", "URL") and not get("max").startswith(str(2**63 - 1))
        keys.append({"name": m.group(1), "type": get("type"), "low": get("min") if bounded else "",
                     "high": get("max") if bounded else "", "default": get("default"), "choices": get("choices"),
                     "doc": sentence(get("doc")), "live": "reloadable" in flags, "secret": "secret" in flags,
                     "required": "required" in flags, "env": variables.get(("BACKEND", m.group(1)), [])})
    return facts["summary"], keys


def sentence(text):
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?")) else ".")


def facts_of(key):
    """The line of facts: type, range, what a reload does, environment."""
    words = [key["type"]]
    if key["choices"]:
        words = [key["choices"].replace("|", ", ")] if key["type"] == "word" else [f"{key['type']} or {key['choices']}"]
    if key["low"] or key["high"]:
        words.append(f"{key['low']} to {key['high']}")
    if key["required"]:
        words.append("required")
    if key["secret"]:
        words.append("secret")
    words.append("live" if key["live"] else "restart")
    if key["env"]:
        words.append("environment " + ", ".join(key["env"]))
    return "; ".join(words)


# ---- etc/purser.ini -------------------------------------------------------------------------------

INI_HEAD = """\
; Purser's configuration.  purser.ini(5) explains it; purserd --check-config tells what is wrong with it.
;
; Every key is here.  One behind ";" shows the value that holds when nothing is said; a key without one
; is not set.  "live" means that a reload (systemctl reload purserd, purserctl reload) changes it while
; clients stay connected; "restart" that it does not.
; Durations take ms s m h, sizes B KiB MiB GiB.  Files conf.d/*.ini beside this one are read after it.
;
; SPDX-License-Identifier: Apache-2.0
; Made by  make doc-config  from agent/config/keys.def and the plugins: change those.
"""


def ini_comment(text):
    return [f"; {line}" for line in textwrap.wrap(text, 96, break_long_words=False, break_on_hyphens=False)]


def ini_section(title, doc, keys, active):
    lines = ["", *ini_comment(doc), f"{'' if active else ';'}[{title}]"]
    for key in keys:
        said = SAID.get((title, key["name"]))
        text = said if said is not None else key["default"]
        lines += ["", *ini_comment(key["doc"]), *ini_comment(f"({facts_of(key)})"),
                  f"{'' if said is not None else ';'}{key['name']} ={' ' if text else ''}{text}"]
    return lines


def narrowed(common, own):
    """The core's keys of a backend as its plugin has them, then the plugin's."""
    by_name = {k["name"]: k for k in own}
    return [by_name.get(k["name"], k) for k in common] + [k for k in own if k["name"] not in {c["name"] for c in common}]


# Sections that are shown as examples: their names, and values where the default would not do.
EXAMPLES = {
    "ROLE": ("app", {"permissions": "redis:read redis:write pubsub"}),
    "JWT": ("main", {"issuer": "https://id.example.com", "audience": "purser", "project": "shop"}),
    "GRANT": ("ops", {"projects": "*", "allow_uid": "root", "role": "operator"}),
    "COMMAND": ("json.get", {"arity": "-2", "flags": "readonly", "permission": "redis:read", "keys": "1 1 1", "reply": "pass", "retry": "read"}),
}


def ini(sections, plugins):
    lines = INI_HEAD.splitlines()
    for ident, name, named, doc, keys in sections:
        if ident == "BACKEND":
            lines += ini_section("backend main", f"{doc} Here: {plugins['redis'][0]}",
                                 narrowed(keys, plugins["redis"][1]), True)
            memory = [dict(k, default="memory") if k["name"] == "plugin" else k
                      for k in narrowed(keys, plugins["memory"][1])]
            lines += ini_section("backend scratch", f"A second one: {plugins['memory'][0]}", memory, False)
        elif ident == "PROJECT":
            keys = [dict(k, default="main") if k["name"] == "backend" else k for k in keys]
            later = {"backend": "main", "dynamic": "yes", "max_projects": None}
            lines += ini_section("project shop", doc, [k for k in keys if k["name"] not in ("dynamic", "max_projects")], False)
            lines += ini_section("project *", "Projects that come to be when they are named. It has the keys of a project, and these.",
                                 [dict(k, default=later[k["name"]] or k["default"]) for k in keys if k["name"] in later], False)
        elif ident in EXAMPLES:
            title, values = EXAMPLES[ident]
            lines += ini_section(f"{name} {title}", doc,
                                 [dict(k, default=values.get(k["name"], k["default"])) for k in keys], False)
        else:
            lines += ini_section(name + (" NAME" if named else ""), doc, keys, True)
    return "\n".join(lines) + "\n"


# ---- docs/man/purser.ini.5 ------------------------------------------------------------------------

MAN_HEAD = r"""'\" t
.\" SPDX-License-Identifier: Apache-2.0
.\" Made by  make doc-config  from agent/config/keys.def and the plugins: change those, or docs/config.py.
.TH PURSER.INI 5 "" "Purser" "Purser"
.SH NAME
purser.ini \- configuration of the Purser agent
.SH SYNOPSIS
.nf
\fI/etc/purser/purser.ini\fR
\fI/etc/purser/conf.d/*.ini\fR
.fi
.SH DESCRIPTION
.BR purserd (8)
reads the file that \fB\-\-config\fR names, else \fI$XDG_CONFIG_HOME/purser/purser.ini\fR
(\fI~/.config\fR where that is not set; not as root), else \fI/etc/purser/purser.ini\fR, and after it
the files \fIconf.d/*.ini\fR beside it in the order of their names; a later one overrides what an
earlier one says.
Without any file it runs with the defaults, in development mode, on the Redis server that
\fBREDIS_URL\fR names, else on the memory plugin, and says so.
.PP
What wins: \fB\-\-set\fR '\fIsection.key\fB=\fIvalue\fR', then the environment, then the files, then
the default.
\fBpurserd \-\-print\-config\fR shows what holds and where it comes from, \fBpurserd \-\-check\-config\fR
all that is wrong at once, with file and line (status 0: good; 1: errors; 2: a file cannot be read).
.SS Format
Sections are \fB[name]\fR or \fB[kind NAME]\fR, settings \fBkey = value\fR, one a line, at the left edge.
A comment begins with \fB;\fR or \fB#\fR in a line of its own, behind a value with a blank and \fB;\fR.
Quotes are not taken off.
A line has at most 197 bytes of UTF-8; a \fIname=value list\fR may go on in indented lines.
An empty value means: not set, the default holds.
Unknown sections and keys, and keys that stand twice in one file, are errors.
.TP
.I duration
a number and \fBms\fR, \fBs\fR, \fBm\fR or \fBh\fR: \fB250ms\fR, \fB1.5s\fR
.TP
.I size
a number and \fBB\fR, \fBKiB\fR, \fBMiB\fR or \fBGiB\fR
.TP
.I percentage
a number and \fB%\fR
.TP
.I yes or no
also \fBon\fR, \fBoff\fR, \fBtrue\fR, \fBfalse\fR
.TP
.I name=value list
\fBa=1,b=two%20words\fR: commas between, %XX for what cannot be written
.PP
A bare number is refused where a unit is needed.
\fBlive\fR keys are changed by a reload while clients stay connected; the others need a restart.
Keys that end in \fB_file\fR name files with secrets: regular, not writable by everybody.
Secrets are printed by nothing.
"""

MAN_TAIL = r""".SH EXAMPLES
.nf
[backend main]
plugin = redis
url = redis://127.0.0.1:6379/0
password_file = /etc/purser/redis\-password

[project shop]
backend = main
.fi
.SH FILES
.TP
.I /etc/purser/purser.ini
the shipped one shows every key with its default
.SH SEE ALSO
.BR purserd (8),
.BR purserctl (1),
.BR purser-plugin (3)
"""


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.M)


def man_keys(keys):
    lines = []
    for key in keys:
        shown = f" = {key['default']}" if key["default"] else ""
        lines += [".TP", f"\\fB{roff(key['name'])}\\fR{roff(shown)}", roff(key["doc"]), ".br", f"({roff(facts_of(key))})"]
    return lines


def man(sections, plugins, variables):
    lines = [".SH SECTIONS"]
    for ident, name, named, doc, keys in sections:
        lines += [f".SS [{roff(name)}{' NAME' if named else ''}]", roff(doc), *man_keys(keys)]
        if ident == "BACKEND":
            for other in PLUGINS:
                lines += [f".SS [backend NAME] with plugin = {other}", roff(plugins[other][0]),
                          *man_keys(plugins[other][1])]
    lines += [".SH ENVIRONMENT",
              "An empty variable is not set. Those of Redis go to the backend of project default. What "
              "OpenTelemetry's variables say and is not understood counts as not set and is said as a warning."]
    for (section, key), names in variables.items():
        where = next(s[1] for s in sections if s[0] == section)
        for name in names:
            lines += [".TP", f"\\fB{name}\\fR", f"[{where}] {roff(key)}"]
    return MAN_HEAD + "\n".join(lines) + "\n" + MAN_TAIL


# ---- docs/configuration.md ------------------------------------------------------------------------

def page(text, plugins):
    for name, (_, keys) in plugins.items():
        rows = [[k["name"], k["type"], k["default"], k["choices"], "1" if k["live"] else "", k["doc"]] for k in keys]
        heads = [("key", 0), ("type", 1), ("default", 2), ("choices", 3), ("LIVE?", 4), ("what for", 5)]
        mark = f"<!-- plugin {name} -->\n"
        begin = text.find(mark)
        end = text.find("<!-- end -->", begin)
        if begin < 0 or end < 0:
            sys.exit(f"docs/configuration.md: has no place for plugin {name}: {mark.strip()} and <!-- end -->")
        text = text[:begin + len(mark)] + "\n".join(tables.table(heads, rows)) + "\n" + text[end:]
    return text


def read(root, path):
    try:
        with open(os.path.join(root, path), encoding="utf-8") as f:
            return f.read()
    except FileNotFoundError:
        return ""


def main(root, check):
    sections, variables = core(root), environment(root)
    plugins = {name: plugin(name, variables) for name in PLUGINS}
    made = {"etc/purser.ini": ini(sections, plugins), "docs/man/purser.ini.5": man(sections, plugins, variables),
            "docs/configuration.md": page(read(root, "docs/configuration.md"), plugins)}
    stale = [path for path, text in made.items() if read(root, path) != text]
    for path in stale if not check else ():
        with open(os.path.join(root, path), "w", encoding="utf-8") as f:
            f.write(made[path])
    return stale


if __name__ == "__main__":
    checking = sys.argv[1:] == ["--check"]
    old = main(os.environ.get("abs_top_srcdir") or os.path.dirname(os.path.dirname(os.path.abspath(__file__))), checking)
    for line in old:
        print(f"{line}: not what the tables say: run make doc-config" if checking else f"{line}: written")
    sys.exit(1 if checking and old else 0)
