/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <string.h>
#include "access/cursor.h"
#include "base/buf.h"
#include "request_space.h"
#include "resp/filter.h"
#include "resp/pick.h"

const char space_reserved_text[] = "names that begin with psr: are the agent's own: use another name";

/* ---- SCAN: the way in ---- */

static void bind(struct cursor_key *k, const struct request *r, uint16_t db)
{
	const struct client *cl = r->cl;

	cursor_bind(k, cl->w->cursor_secret, cl->gen->instances[r->project->instance]->name, r->project->name, db);
}

static int put_number(struct request *r, purser_bytes *w, uint64_t v)
{
	char *d = arena_get(&r->arena, 24);

	if (!d)
		return -1;
	*w = (purser_bytes){ (const uint8_t *)d, dec_u64(d, v) };
	return 0;
}

/* What is malformed goes on as it is: the store says what is wrong with it. */
const char *space_scan(struct request *r, uint16_t db)
{
	struct cursor_key k;
	uint64_t store;
	int64_t n;

	bind(&k, r, db);
	switch (cursor_open(&k, r->argv[1], &store)) {
	case CURSOR_FOREIGN:
		return "ERR invalid cursor: it is none of this project and database, or of a time before the agent "
		    "started; begin again with 0";
	case CURSOR_GOOD:
		if (put_number(r, &r->argv[1], store))
			return "";
		break;
	case CURSOR_NONSENSE:
		break;
	}
	for (uint32_t i = 2; i + 1 < r->argc; i += 2)
		if (cmd_word_is(r->argv[i], "COUNT") && !purser_resp_int(r->argv[i + 1].p, r->argv[i + 1].n, &n) &&
		    n > (int64_t)r->cl->gen->scan_count && put_number(r, &r->argv[i + 1], r->cl->gen->scan_count))
			return "";
	return NULL;
}

size_t space_cursor(const struct request *r, uint64_t store, char *dst)
{
	struct cursor_key k;

	bind(&k, r, (uint16_t)r->b.c.db);
	return cursor_seal(&k, store, dst);
}

/* ---- the way back ---- */

struct space_edit {
	struct whole_filter w;          /* first */
	const struct project *p;
	struct cursor_key key;
	bool scan;
};

static bool internal(purser_bytes name)
{
	return name.n >= 4 && memcmp(name.p, "psr:", 4) == 0;
}

/* A name as the client is to see it.  False: it is not the client's. */
static bool shown(const struct project *p, purser_bytes *name)
{
	if (!p->prefix_len)
		return !internal(*name);
	if (name->n < p->prefix_len || memcmp(name->p, p->prefix, p->prefix_len))
		return false;
	name->p += p->prefix_len;
	name->n -= p->prefix_len;
	return true;
}

static int put_head(struct whole_filter *f, char type, uint64_t n)
{
	char line[24];
	size_t len = 1;

	line[0] = type;
	len += dec_u64(line + 1, n);
	memcpy(line + len, "\r\n", 2);
	return whole_put(f, line, len + 2);
}

static int put_bulk(struct whole_filter *f, purser_bytes b)
{
	return put_head(f, '$', b.n) || (b.n && whole_put(f, b.p, b.n)) || whole_put(f, "\r\n", 2);
}

static int put_names(struct space_edit *e, const uint8_t *at, const uint8_t *end)
{
	const uint8_t *first;
	uint64_t left = 0;
	purser_bytes name;
	int64_t n;

	if (resp_pick_header(&at, end, *at == '~' ? '~' : '*', &n) || n < 0)
		return -1;
	first = at;
	for (int64_t i = 0; i < n; i++) {
		if (resp_pick_bulk(&at, end, &name))
			return -1;
		left += shown(e->p, &name);
	}
	if (at != end || put_head(&e->w, '*', left))
		return -1;
	for (at = first; n > 0; n--) {
		if (resp_pick_bulk(&at, end, &name))
			return -1;
		if (shown(e->p, &name) && put_bulk(&e->w, name))
			return -1;
	}
	return 0;
}

static int edit(struct whole_filter *f, const uint8_t *p, size_t n)
{
	struct space_edit *e = (struct space_edit *)f;
	const uint8_t *end = p + n;
	char text[CURSOR_TEXT];
	purser_bytes cursor;
	uint64_t store;
	int64_t two;

	if (*p == '-') /* of one command of a transaction */
		return whole_put(f, p, n);
	if (e->scan) {
		if (resp_pick_header(&p, end, '*', &two) || two != 2 || resp_pick_bulk(&p, end, &cursor) ||
		    cursor_number(cursor, &store))
			return -1;
		cursor = (purser_bytes){ (const uint8_t *)text, cursor_seal(&e->key, store, text) };
		if (put_head(f, '*', 2) || put_bulk(f, cursor))
			return -1;
	}
	return p < end ? put_names(e, p, end) : -1;
}

bool space_edits(const struct project *p, const struct command *c)
{
	return c->args == A_SCAN || (c->args == A_PATTERN && !p->prefix_len);
}

struct reply_filter *space_filter(struct request *r, const struct command *c, uint16_t db, struct out **out,
    struct reply_filter *then)
{
	struct space_edit *e = arena_get(&r->arena, sizeof *e);

	if (!e)
		return NULL;
	e->p = r->project;
	e->scan = c->args == A_SCAN;
	if (e->scan)
		bind(&e->key, r, db);
	e->w.out = out;
	e->w.pool = r->b.pool;
	e->w.then = then;
	e->w.arena = &r->arena;
	e->w.edit = edit;
	e->w.max = r->cl->gen->names_limit;
	whole_begin(&e->w);
	return &e->w.f;
}

/* ---- the agent's own keys ---- */

/* A pattern of SORT whose * may stand for what makes such a name. */
static bool may_reach(purser_bytes pattern)
{
	const uint8_t *star = pattern.n ? memchr(pattern.p, '*', strnlen((const char *)pattern.p, pattern.n)) : NULL;
	size_t n = star ? (size_t)(star - pattern.p) : 0;

	return star && memcmp(pattern.p, "psr:", n < 4 ? n : 4) == 0;
}

bool space_reserved(const struct request *r)
{
	bool store;

	for (uint32_t i = 0; i < r->b.c.nkeys; i++)
		if (internal(r->argv[r->b.c.keys[i]]))
			return true;
	if (r->cmd->args == A_SORT)
		for (uint32_t at = 2; cmd_sort_next(r->argv, r->argc, &at, &store); at++)
			if (!store && may_reach(r->argv[at]))
				return true;
	return false;
}

/* ---- error texts ---- */

/* How many bytes of text are name as errors show it: a NUL ends it, line ends are blanks, a quote behind it.
 * -1: it is something else. */
static int64_t quoted(const char *text, size_t n, purser_bytes name)
{
	size_t len = name.n ? strnlen((const char *)name.p, name.n) : 0;

	if (n <= len || text[len] != '\'')
		return -1;
	for (size_t i = 0; i < len; i++)
		if (text[i] != (char)name.p[i] && !(text[i] == ' ' && (name.p[i] == '\r' || name.p[i] == '\n')))
			return -1;
	return (int64_t)len;
}

/* text stands behind a quote and begins with the prefix.  How much of it goes, and how much behind that is a name and
 * stays: of a key of b's the prefix goes; what the client has said just so stays; of what nobody has said, too, the
 * prefix goes.  Where it can be both (the empty key, and a group called like the prefix) the word in front tells. */
static size_t drop_of(const struct bcall *b, uint32_t argc, const char *text, size_t n, bool key_said, size_t *keep)
{
	uint32_t skip = b->c.ns_prefix;
	int64_t key = -1, word = -1;

	for (uint32_t i = 0; i < b->c.nkeys && key < 0; i++)
		key = quoted(text + skip, n - skip, b->argv[b->c.keys[i]]);
	for (uint32_t i = 1; i < argc && word < 0; i++)
		word = quoted(text, n, b->argv[i]);
	if (key >= 0 && (word < 0 || key_said)) {
		*keep = (size_t)key;
		return skip;
	}
	*keep = word >= 0 ? (size_t)word : 0;
	return word >= 0 ? 0 : skip;
}

/* "key '" and "key name '". */
static bool says_key(const char *text, const char *at)
{
	return (at - text >= 5 && memcmp(at - 5, "key '", 5) == 0) || (at - text >= 10 && memcmp(at - 10, "key name '", 10) == 0);
}

size_t space_error(const struct project *p, const struct bcall *b, uint32_t argc, char *text, size_t n)
{
	char *at = text;

	while ((at = memmem(at, n - (size_t)(at - text), p->prefix, p->prefix_len))) {
		size_t rest = n - (size_t)(at - text), keep = 0, drop = p->prefix_len;

		if (at > text && at[-1] == '\'')
			drop = drop_of(b, argc, at, rest, says_key(text, at), &keep);
		memmove(at, at + drop, rest - drop);
		n -= drop;
		at += keep;
	}
	return n;
}
