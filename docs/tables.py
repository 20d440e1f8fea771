#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the tables of docs/*.md from the .def files that declare them, so that every row is documented.

    docs/tables.py            brings the tables up to date  (make doc-tables)
    docs/tables.py --check    only says which are not, status 1  (tests/lint/documented.py)

A page holds the table between two lines, <!-- table errors.def --> and <!-- end -->; all else on the
page is written by hand.
"""

import os
import re
import sys

# .def file: page; the macro of a row; its columns as (heading, argument, counted from 0); and by what
# rows are grouped under headings of their own: an argument, or another macro as (macro, heading, text).
# A heading that ends in ? makes yes of 1, true or the flag's name, and nothing of all else.
TABLES = {
    "agent/base/errors.def": ("docs/errors.md", "ERROR", [
        ("RESP word", 1), ("HTTP", 2), ("retryable?", 3), ("`error.type`", 4),
        ("said when nothing more exact is known", 5)], None),
    "agent/command/commands.def": ("docs/commands.md", "CMD", [
        ("command", 1), ("arity", 2), ("permission", 4), ("retry", 9), ("what it does", 12)], 11),
    "agent/command/refused.def": ("docs/commands.md", "REFUSED", [
        ("command", 0), ("error word", 1), ("why", 2)], None),
    "agent/config/keys.def": ("docs/configuration.md", "KEY", [
        ("key", 2), ("type", 3), ("default", 7), ("choices", 8), ("LIVE?", 4), ("what for", 9)],
        ("SECTION", 0, 1, 3)),
    "agent/config/env.def": ("docs/configuration.md", "ENV", [
        ("variable", 0), ("section", 1), ("key", 2), ("form", 3)], None),
    "agent/server/routes.def": ("docs/http.md", "ROUTE", [
        ("path", 1), ("method", 0), ("query", 5), ("body", 6), ("what it does", 4)], None),
    "agent/access/jwt_reasons.def": ("docs/jwt.md", "JWT_REASON", [("reason", 1), ("what it says", 2)], None),
    "agent/log/modules.def": ("docs/configuration.md", "LOG_MODULE", [
        ("module", 1), ("what it says", 2)], None),
}
# Tables that something else writes: page, macro, the argument that must be on the page in backquotes, how.
NAMED = {
    "agent/metric/metrics.def": ("docs/metrics.md", "METRIC", 1, "{}"),  # metric_dump()
    "agent/stages.def": ("docs/architecture.md", "STAGE", 0, "stage_{}"),
}
# Tables that say more about the rows of another one, for programs: no page has them.
PARTS = {"agent/command/keyspecs.def", "agent/command/shown.def",  # COMMAND INFO
         "agent/sandbox_calls.def"}  # docs/decisions/sandbox.md says why
PREFIX = re.compile(r"^(G|PERM|R)_")


def arguments(text, at):
    """The arguments of the macro call whose parenthesis opens at text[at]; comments are dropped."""
    args, depth, i, current = [], 0, at, ""
    while i < len(text):
        c = text[i]
        if text.startswith("/*", i):
            i = text.index("*/", i) + 2
            continue
        if c == '"':
            end = i + 1
            while text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            current += text[i:end + 1]
            i = end + 1
            continue
        if c in "([{":
            depth += 1
            if depth == 1:
                i += 1
                continue
        elif c in ")]}":
            depth -= 1
            if depth == 0:
                return args + [current.strip()]
        if c == "," and depth == 1:
            args.append(current.strip())
            current = ""
        else:
            current += c
        i += 1
    raise SystemExit(f"{text[at - 20:at + 40]!r}: no closing parenthesis")


def value(argument):
    """An argument as text: literals lose their quotes and are joined."""
    literals = re.findall(r'"((?:[^"\\]|\\.)*)"', argument)
    if literals:
        return re.sub(r'\\(.)', r'\1', "".join(literals))
    return argument


def calls(text, *macros):
    """The calls of these macros at the beginning of a line, as (macro, arguments as text)."""
    text = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S)
    for name, literal in re.findall(r'^#define (\w+) ("[^\n]*")$', text, re.M):
        text = re.sub(rf"(?<=, ){name}(?=[,)])", lambda _: literal, text)
    return [(m.group(1), [value(a) for a in arguments(text, m.end() - 1)])
            for m in re.finditer(rf"^({'|'.join(macros)})\(", text, re.M)]


def cell(heading, text, first):
    if heading.endswith("?"):
        return "yes" if text in ("1", "true") or heading[:-1] in re.findall(r"\w+", text) else ""
    if heading == "error word":  # of errors.def
        return f"`{'ERR' if text == 'REDIS' else text}`"
    if text == "NULL":
        return ""
    if heading == "attributes":
        text = text.replace(",", ", ").replace(":int", "")
    text = text.replace("|", "\\|" if not first else " ").replace("<", "&lt;").replace("\n", " ")
    if first:
        return f"`{text}`"
    if text not in ("GET", "POST", "PUT", "PATCH", "DELETE") and re.fullmatch(r"[A-Z_0-9]+(\\\|[A-Z_]+)*", text):
        return PREFIX.sub("", text).lower().replace("_", " ")
    return text


def route_fields(method, words):
    """What the words of a route take, as the head of routes.def explains them: (name, type, in the body, required)."""
    found, group = [], None  # group: the words and fields of the one at hand
    for word in words.split():
        if word.startswith("["):
            group, word = [], word[1:]
        closes, word = group is not None and word.endswith("]"), word.rstrip("]")
        field = re.fullmatch(r"<(\??)(\w+)(?::([^=>]*))?(=[^>]*)?>", word)
        if field:
            query, name, kind, default = field.groups()
            found.append((name, kind or "str", not query and method in ("POST", "PUT", "PATCH"),
                          group is None and default is None))
            if group is not None:
                group.append(None)
        elif group is not None:
            group.append(word)
        if closes:
            if None not in group:
                found.append((group[0].lower(), "flag", method in ("POST", "PUT", "PATCH"), False))
            group = None
    return found


def route_cells(row):
    """A row of routes.def, and what it takes in the query and in the body, as text; optional fields end in ?."""
    method, words, kind = row[0], row[2], row[3]
    query, body = [[n + ("" if required else "?") for n, _, where, required in route_fields(method, words) if where == b]
                   for b in (False, True)]
    if kind in ("KV_GET", "VALUE", "FOUND", "GIVEN", "EVENTS", "COMMAND"):
        query.append("encoding?")
    if "<*>" in words or not words:
        body.append("words of a command" if words else "commands")
    return row + [" ".join(query), " ".join(body)]


def table(columns, rows):
    heads = [h.rstrip("?").lower() if h.isupper() or h.endswith("?") else h for h, _ in columns]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        lines.append("| " + " | ".join(cell(h, row[c], n == 0) for n, (h, c) in enumerate(columns)) + " |")
    return lines


def tables_of(root, definition, macro, columns, group):
    """The table, or one after a heading for each group."""
    with open(os.path.join(root, definition), encoding="utf-8") as f:
        text = f.read()
    if group is None:
        rows = [r for _, r in calls(text, macro)]
        return table(columns, [route_cells(r) for r in rows] if macro == "ROUTE" else rows)
    lines = []
    if isinstance(group, tuple):
        head, ident, name, doc = group
        found = calls(text, macro, head)
        for section in [r for m, r in found if m == head]:
            of = [r for m, r in found if m == macro and r[0] == section[ident]]
            title = section[name] + (" NAME" if section[2] == "1" else "")
            lines += ["", f"### `[{title}]`", "", section[doc], ""] + table(columns, of)
    else:
        found = [r for _, r in calls(text, macro)]
        for name in dict.fromkeys(r[group] for r in found):
            lines += ["", "### " + PREFIX.sub("", name).capitalize(), ""]
            lines += table(columns, [r for r in found if r[group] == name])
    return lines + [""]


# What is done about isolation, from the facts of a row.
ARGUMENTS = {
    "A_PATTERN": "the pattern gets the prefix", "A_SCAN": "a cursor of the project's own; the pattern gets the prefix; COUNT has a limit",
    "A_COPY": "keys get the prefix; the database must be one of the project's", "A_SORT": "keys and the patterns of BY and GET get the prefix",
    "A_CHANNEL": "the channel gets the prefix", "A_SCRIPT": "scripts: see below", "A_BLOCK": "keys get the prefix",
}
REPLIES = {
    "X_KEYS": "names in the reply lose it", "X_FIRST": "the name in the reply loses it", "X_STREAMS": "names in the reply lose it",
    "X_SCAN": "names lose it, others' are left out", "X_RECEIVERS": "receivers on this host are counted for the project",
}


def isolation_of(row):
    keys, args, reply, run = row[5], row[6], row[7], row[10]
    if run == "RUN_LOCAL" or "F_CONTAINER" in row[3]:
        return "answered from the agent's own state"
    if run == "RUN_SPACE":
        return "the agent's own view of the project, in bounded steps"
    if run == "RUN_TX":
        return "queued in the agent, each command as it is alone; watched keys get the prefix"
    if run == "RUN_FEATURE":
        return "steps of the agent's own, whose names it builds"
    what = ARGUMENTS.get(args) or ("keys get the prefix" if "(0, 0, 0)" not in keys else "")
    if "(0, 0, 0)" in keys and args == "A_BLOCK" and "STREAMS" not in keys and "COUNT" not in keys:
        what = ""
    return "; ".join(w for w in (what, REPLIES.get(reply, "")) if w) or "nothing of a project in it"


def isolation(root):
    """The table of docs/isolation.md: for each group and kind, its commands."""
    path = os.path.join(root, "agent/command/commands.def")
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as f:
        rows = [r for _, r in calls(f.read(), "CMD")]
    kinds = {}
    for r in rows:
        kinds.setdefault((PREFIX.sub("", r[11]).lower(), isolation_of(r)), []).append(r[1].replace("|", " "))
    lines = ["| group | what is done | commands |", "|---|---|---|"]
    for (group, what), names in kinds.items():
        lines.append(f"| {group} | {what} | `{'` `'.join(names)}` |")
    return lines


def updated(root, page, definition, macro, columns, group):
    """The page's text as it is, and with its table made afresh."""
    with open(os.path.join(root, page), encoding="utf-8") as f:
        text = f.read()
    mark = f"<!-- table {os.path.basename(definition)} -->\n"
    begin = text.find(mark)
    end = text.find("<!-- end -->", begin)
    if begin < 0 or end < 0:
        return text, text + mark + "<!-- end -->\n"
    begin += len(mark)
    return text, text[:begin] + "\n".join(tables_of(root, definition, macro, columns, group)) + "\n" + text[end:]


def isolation_page(root, check):
    page, lines = "docs/isolation.md", isolation(root)
    path = os.path.join(root, page)
    if not lines or not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as f:
        old = f.read()
    mark, end = "<!-- table isolation -->\n", "<!-- end -->"
    head, _, rest = old.partition(mark)
    new = head + mark + "\n".join(lines) + "\n" + rest[rest.find(end):]
    if new == old:
        return []
    if not check:
        with open(path, "w", encoding="utf-8") as f:
            f.write(new)
    return [f"{page}: its table is not that of agent/command/commands.def: run make doc-tables"]


def unnamed(root):
    """The rows of NAMED tables that their page does not name."""
    found = []
    for definition, (page, macro, column, shape) in NAMED.items():
        if os.path.exists(os.path.join(root, definition)):
            with open(os.path.join(root, definition), encoding="utf-8") as f:
                names = [shape.format(r[column]) for _, r in calls(f.read(), macro)]
            with open(os.path.join(root, page), encoding="utf-8") as f:
                text = f.read()
            found += [f"{page}: does not name {n} of {definition}" for n in names if f"`{n}`" not in text]
    return found


def main(root, check):
    stale = unnamed(root) + isolation_page(root, check)
    for definition, (page, macro, columns, group) in TABLES.items():
        if not os.path.exists(os.path.join(root, definition)):
            continue
        if not os.path.exists(os.path.join(root, page)):
            stale.append(f"{page} does not exist: {definition} is not documented")
            continue
        old, new = updated(root, page, definition, macro, columns, group)
        if old == new:
            continue
        stale.append(f"{page}: its table is not that of {definition}: run make doc-tables")
        if not check:
            with open(os.path.join(root, page), "w", encoding="utf-8") as f:
                f.write(new)
    return stale


if __name__ == "__main__":
    top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    checking = sys.argv[1:] == ["--check"]
    for line in main(top, checking):
        print(line)
        if checking:
            sys.exit(1)
