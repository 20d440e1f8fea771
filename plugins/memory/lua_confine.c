/* SPDX-License-Identifier: Apache-2.0
 *
 * A script of a project has the project's names: what it says gets the prefix in front on its way to an operation,
 * what it hears loses it, and what is about a whole database is about the project's part of it.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include "number.h"
#include "script.h"
#include "table.h"

/* ---- in ---- */

/* The name in front of which the prefix is put, at e->names.p + at: its pointer is known when all are there. */
static void add_name(struct engine *e, uint32_t i, size_t *at)
{
	*at = e->names.n;
	obuf_put(&e->names, e->run->space.p, e->run->space.n);
	obuf_put(&e->names, e->argv[i].p, e->argv[i].n);
}

/* The same of a pattern: the prefix is meant as it is. */
static void add_pattern(struct engine *e, uint32_t i, size_t *at)
{
	purser_bytes s = e->run->space;

	*at = e->names.n;
	for (size_t k = 0; k < s.n; k++) {
		if (s.p[k] && strchr("*?[]\\^", s.p[k]))
			obuf_put(&e->names, "\\", 1);
		obuf_put(&e->names, &s.p[k], 1);
	}
	obuf_put(&e->names, e->argv[i].p, e->argv[i].n);
}

/* argv[which[0 .. n)] become the names that were added, one after the other. */
static const char *settle(struct engine *e, const uint32_t *which, uint32_t n, size_t from)
{
	const uint8_t *p = e->names.p + from;

	if (e->names.failed)
		return "OOM the script needs more memory than script_memory allows";
	for (uint32_t i = 0; i < n; i++) {
		size_t len = e->run->space.n + e->argv[which[i]].n;

		e->argv[which[i]] = (purser_bytes){ p, len };
		p += len;
	}
	return NULL;
}

/* BY and GET patterns, unless they name no key; the keys of STORE. */
static uint32_t sort_names(const purser_bytes *argv, uint32_t argc, uint32_t *which)
{
	uint32_t n = 0;

	which[n++] = 1;
	for (uint32_t i = 2; i < argc; i++) {
		int store = arg_is(argv[i], "store");

		if (store || arg_is(argv[i], "by") || arg_is(argv[i], "get")) {
			if (++i < argc && (store || memchr(argv[i].p, '*', strnlen((const char *)argv[i].p, argv[i].n))))
				which[n++] = i;
		} else if (arg_is(argv[i], "limit")) {
			i += 2;
		} else if (!arg_is(argv[i], "asc") && !arg_is(argv[i], "desc") && !arg_is(argv[i], "alpha")) {
			break;
		}
	}
	return n;
}

/* One MATCH with the prefix; what is malformed stays so. */
static const char *scan_names(struct engine *e, uint32_t *argc)
{
	static const uint8_t match[] = "MATCH", star[] = "*";
	uint32_t i, at = 0;
	size_t from;

	for (i = 2; i + 1 < *argc; i += 2)
		if (arg_is(e->argv[i], "match"))
			at = i + 1; /* the last one counts */
	if (i < *argc)
		return NULL;
	if (!at) {
		at = *argc + 1;
		e->argv[*argc] = (purser_bytes){ match, 5 };
		e->argv[at] = (purser_bytes){ star, 1 };
		*argc += 2;
	}
	add_pattern(e, at, &from);
	if (e->names.failed)
		return settle(e, NULL, 0, 0);
	e->argv[at] = (purser_bytes){ e->names.p + from, e->names.n - from };
	return NULL;
}

/* COPY key key [DB n] ...: a database of the project's. */
static const char *copy_database(const struct run *r, const purser_bytes *argv, uint32_t argc)
{
	int64_t db;

	for (uint32_t i = 3; i + 1 < argc; i++)
		if (arg_is(argv[i], "db") && int_parse(argv[i + 1].p, argv[i + 1].n, &db) == 0 &&
		    (db < 0 || db >= (int64_t)r->c->databases))
			return "ERR DB index is out of range";
	return NULL;
}

const char *confine_in(struct engine *e, uint32_t *argc, int op)
{
	const char *text = NULL;
	uint32_t n, *which = e->keys;
	size_t from = 0, at;

	e->names.n = 0;
	e->names.failed = 0;
	switch (op) {
	case OP_ID_SCAN:
		return scan_names(e, argc);
	case OP_ID_KEYS:
		add_pattern(e, 1, &from);
		if (!e->names.failed)
			e->argv[1] = (purser_bytes){ e->names.p, e->names.n };
		return settle(e, NULL, 0, 0);
	case OP_ID_INFO: case OP_ID_SWAPDB: case OP_ID_MOVE: case OP_ID_CONFIG_GET: case OP_ID_CONFIG_SET:
	case OP_ID_CONFIG_RESETSTAT:
		return "NOPERM this command would reach beyond the project: it is not for its scripts";
	case OP_ID_COPY:
		text = copy_database(e->run, e->argv, *argc);
		if (text)
			return text;
		break;
	default:
		break;
	}
	if (op == OP_ID_SORT || op == OP_ID_SORT_RO) {
		n = sort_names(e->argv, *argc, which);
	} else if (op == OP_ID_PUBLISH || op == OP_ID_SPUBLISH) {
		which[0] = 1;
		n = 1;
	} else {
		n = call_keys(op, e->argv, *argc, which);
	}
	for (uint32_t i = 0; i < n; i++)
		add_name(e, which[i], &at);
	return settle(e, which, n, from);
}

/* ---- what is the store's as a whole ---- */
struct own { struct ctx *cx; const struct run *r; uint64_t n, want; struct item *it; struct obuf *names; };

static int is_own(const struct run *r, const struct item *it)
{
	return item_klen(it) >= r->space.n && memcmp(item_key(it), r->space.p, r->space.n) == 0;
}

static int look_at(void *arg, uint64_t slot)
{
	struct own *w = arg;
	struct item *it = slot_item(slot);
	uint32_t n;

	if (!is_own(w->r, it) || (w->want && slot & SLOT_TTL && expired(w->cx, it)))
		return 0;
	if (w->want && ++w->n == w->want) {
		w->it = it;
		return -1;
	}
	if (!w->want)
		w->n++;
	if (w->names) {
		n = (uint32_t)item_klen(it);
		obuf_put(w->names, &n, sizeof(n));
		obuf_put(w->names, item_key(it), n);
	}
	return 0;
}

static void each_own(struct own *w, uint32_t db)
{
	for (uint32_t s = 0; s < SHARDS && !w->it; s++)
		if (w->cx->st->shard[s].db[db])
			table_each(w->cx->st->shard[s].db[db], look_at, w);
}

/* Each of the project's keys as if by DEL. */
static void flush(struct engine *e, purser_call *c, uint32_t db)
{
	struct obuf names = { .max = e->max };
	struct own w = { .cx = e->run->cx, .r = e->run, .names = &names };
	purser_call del = *c;
	purser_bytes argv[2] = { { (const uint8_t *)"DEL", 3 }, { NULL, 0 } };
	uint32_t n;

	each_own(&w, db);
	del.op = OP_ID_DEL;
	del.db = (uint16_t)db;
	del.argc = 2;
	del.argv = argv;
	del.nkeys = 0;
	for (size_t at = 0; !names.failed && at < names.n; at += n) {
		memcpy(&n, names.p + at, sizeof(n));
		at += sizeof(n);
		argv[1] = (purser_bytes){ names.p + at, n };
		call_aside(e, &del);
	}
	if (names.failed)
		e->run->cx->h->error(c, "OOM no memory for the names of the keys", 39);
	obuf_free(&names);
}

int confine_run(struct engine *e, purser_call *c)
{
	struct run *r = e->run;
	struct own w = { .cx = r->cx, .r = r };

	switch (c->op) {
	case OP_ID_DBSIZE:
		each_own(&w, c->db);
		r->cx->h->integer(c, (int64_t)w.n);
		return 1;
	case OP_ID_RANDOMKEY:
		each_own(&w, c->db);
		w.want = w.n ? 1 + rng_next(r->cx) % w.n : 1; /* fewer, if some are expired: then the first */
		w.n = 0;
		each_own(&w, c->db);
		if (!w.it && w.n) {
			w.want = 1;
			w.n = 0;
			each_own(&w, c->db);
		}
		if (w.it)
			r->cx->h->bulk(c, item_key(w.it) + r->space.n, item_klen(w.it) - r->space.n);
		else
			r->cx->h->null(c);
		return 1;
	case OP_ID_FLUSHDB: case OP_ID_FLUSHALL:
		if (c->argc > 2 || (c->argc == 2 && !arg_is(c->argv[1], "async") && !arg_is(c->argv[1], "sync"))) {
			r->cx->h->error(c, err_syntax, strlen(err_syntax));
			return 1;
		}
		c->flags |= PURSER_CALL_WRITE;
		r->wrote = 1;
		for (uint32_t db = 0; db < r->c->databases && db < r->cx->st->databases; db++)
			if (c->op == OP_ID_FLUSHALL || db == c->db)
				flush(e, c, db);
		if (e->said.n == 0)
			r->cx->h->status(c, "OK");
		return 1;
	default:
		return 0;
	}
}

/* ---- out ---- */

/* The name on top loses the prefix; it is replaced by what is left. */
static void strip_top(lua_State *L, const struct run *r)
{
	size_t n;
	const char *s;

	if (lua_type(L, -1) != LUA_TSTRING)
		return;
	s = lua_tolstring(L, -1, &n);
	if (n < r->space.n || memcmp(s, r->space.p, r->space.n) != 0)
		return;
	lua_pushlstring(L, s + r->space.n, n - r->space.n);
	lua_remove(L, -2);
}

/* Element i of the table on top. */
static void strip_at(lua_State *L, const struct run *r, int i)
{
	lua_rawgeti(L, -1, i);
	strip_top(L, r);
	lua_rawseti(L, -2, i);
}

static void strip_each(lua_State *L, const struct run *r)
{
	int n = lua_istable(L, -1) ? (int)lua_objlen(L, -1) : 0;

	for (int i = 1; i <= n; i++)
		strip_at(L, r, i);
}

/* {{name, entries}, ...}, or {map = {name = entries, ...}} */
static void strip_streams(lua_State *L, const struct run *r)
{
	int n = (int)lua_objlen(L, -1);

	for (int i = 1; i <= n; i++) {
		lua_rawgeti(L, -1, i);
		if (lua_istable(L, -1))
			strip_at(L, r, 1);
		lua_pop(L, 1);
	}
	lua_pushliteral(L, "map");
	lua_rawget(L, -2);
	if (lua_istable(L, -1)) {
		lua_newtable(L);
		for (lua_pushnil(L); lua_next(L, -3);) { /* map new key value */
			lua_pushvalue(L, -2);
			strip_top(L, r);
			lua_insert(L, -2);
			lua_rawset(L, -4);
		}
		lua_pushliteral(L, "map");
		lua_insert(L, -2);
		lua_rawset(L, -4);
	}
	lua_pop(L, 1);
}

void confine_out(lua_State *L, const struct run *r, int op)
{
	if (!lua_istable(L, -1))
		return;
	switch (op) {
	case OP_ID_KEYS:
		strip_each(L, r);
		break;
	case OP_ID_SCAN:
		lua_rawgeti(L, -1, 2);
		strip_each(L, r);
		lua_pop(L, 1);
		break;
	case OP_ID_LMPOP: case OP_ID_BLMPOP: case OP_ID_ZMPOP: case OP_ID_BZMPOP:
		strip_at(L, r, 1);
		break;
	case OP_ID_XREAD: case OP_ID_XREADGROUP:
		strip_streams(L, r);
		break;
	default:
		break;
	}
}

size_t confine_error(const struct run *r, char *text, size_t n)
{
	char *at = text;

	while (r->space.n && (at = memmem(at, n - (size_t)(at - text), r->space.p, r->space.n))) {
		size_t rest = n - (size_t)(at - text) - r->space.n;

		memmove(at, at + r->space.n, rest);
		n -= r->space.n;
	}
	return n;
}
