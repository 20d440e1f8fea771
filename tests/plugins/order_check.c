/* SPDX-License-Identifier: Apache-2.0 */
#include "order.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void wrong(struct ctx *x, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	x->s->h->log(x->s->i, PURSER_LOG_ERROR, "ORDER: %s", text);
}

void check_entry(struct ctx *x, const char *what)
{
	if (!pthread_equal(x->thread, pthread_self()))
		wrong(x, "%s on a thread that is not the context's", what);
	if (x->inside)
		wrong(x, "%s from inside a host-table function", what);
}

static struct call_state *state_of(const purser_call *c)
{
	return c->user[0];
}

const purser_bytes *words(const purser_call *c)
{
	return state_of(c)->argv ? state_of(c)->argv : c->argv;
}

static uint64_t sum_of(const purser_call *c)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (uint32_t i = 0; i < c->argc; i++)
		for (size_t k = 0; k < c->argv[i].n; k++)
			h = (h ^ c->argv[i].p[k]) * 0x100000001b3u;
	return h;
}

/* One of the prefixes that the test allows, of exactly that length? */
static bool prefix_ok(const struct store *s, const uint8_t *p, size_t n)
{
	const char *at = s->prefixes;

	while (*at) {
		size_t len = strcspn(at, " ");

		if (len == n && memcmp(at, p, n) == 0)
			return true;
		at += len;
		at += strspn(at, " ");
	}
	return false;
}

static void check_pattern(struct ctx *x, const purser_call *c, const purser_bytes *argv)
{
	for (uint32_t i = 2; i + 1 < c->argc; i += 2)
		if (argv[i].n == 5 && strncasecmp((const char *)argv[i].p, "MATCH", 5) == 0 &&
		    argv[i + 1].n >= c->ns_prefix && prefix_ok(x->s, argv[i + 1].p, c->ns_prefix))
			return;
	wrong(x, "SCAN without the prefix in its pattern");
}

static void check_keys(struct ctx *x, const purser_call *c, const purser_bytes *argv)
{
	for (uint32_t k = 0; k < c->nkeys; k++) {
		purser_bytes key;

		if (c->keys[k] >= c->argc || (k && c->keys[k] <= c->keys[k - 1])) {
			wrong(x, "op %u: key positions are not ascending or out of argv", c->op);
			return;
		}
		key = argv[c->keys[k]];
		if (c->flags & PURSER_CALL_INTERNAL) {
			if (c->ns_prefix)
				wrong(x, "op %u: the agent's own key has a prefix", c->op);
		} else if (key.n < c->ns_prefix || !prefix_ok(x->s, key.p, c->ns_prefix)) {
			wrong(x, "op %u: key %.*s without the prefix of a project (%u bytes)", c->op,
			    (int)(key.n < 60 ? key.n : 60), (const char *)key.p, c->ns_prefix);
		}
	}
	if (c->op == OP_SCAN && !(c->flags & PURSER_CALL_INTERNAL))
		check_pattern(x, c, argv);
}

struct sess *session_at(struct ctx *x, purser_session *s)
{
	void **slot = x->s->h->slot(s, x->x);

	if (!*slot) {
		struct sess *own = calloc(1, sizeof(*own));

		if (!own)
			return NULL;
		own->next = x->sessions;
		if (own->next)
			own->next->prev = own;
		x->sessions = own;
		*slot = own;
	}
	return *slot;
}

/* What is in flight of a session is on one lane, and ALONE says that nothing is (rule 10). */
static int check_session(struct ctx *x, purser_call *c)
{
	struct sess *s = c->session ? session_at(x, c->session) : NULL;

	if (!s) {
		wrong(x, "a call without a session, or no memory");
		return -1;
	}
	if ((c->flags & PURSER_CALL_ALONE) && s->inflight)
		wrong(x, "ALONE with %u calls of the session in flight", s->inflight);
	if (s->inflight && (s->db != c->db || s->resp != c->resp || s->route != c->route))
		wrong(x, "db %u resp %u route %u while db %u resp %u route %u is in flight", c->db, c->resp,
		    c->route, s->db, s->resp, s->route);
	s->db = c->db;
	s->resp = c->resp;
	s->route = c->route;
	return 0;
}

int check_call(struct ctx *x, purser_call *c)
{
	uint64_t now = x->s->h->now(x->x);

	if (c->struct_size < sizeof(*c) || c->ctx != x->x || c->link || c->user[0] || c->user[1] || c->user[2])
		wrong(x, "op %u: not a fresh call", c->op);
	if (c->deadline_ns <= now || c->deadline_ns > now + UINT64_C(3600000000000))
		wrong(x, "op %u: its deadline is not ahead", c->op);
	if (c->op >= OP_COUNT || c->argc == 0)
		wrong(x, "op %u with %u words", c->op, c->argc);
	if (c->resp != 2 && c->resp != 3)
		wrong(x, "resp %u", c->resp);
	if (check_session(x, c))
		return -1;
	c->user[0] = calloc(1, sizeof(struct call_state));
	if (!c->user[0])
		return -1;
#ifdef ORDER_WIRE
	if (c->argv)
		wrong(x, "op %u: argv in the wire form", c->op);
#else
	check_keys(x, c, c->argv);
	state_of(c)->sum = sum_of(c);
#endif
	return 0;
}

/* ---- the wire form ---------------------------------------------------------------------------------- */

/* All of it, in pieces of `step` bytes at most.  The bytes, or 0. */
static size_t encode_all(struct ctx *x, purser_call *c, uint8_t *dst, size_t cap, size_t step)
{
	size_t at = 0, idle = 0;
	int more = PURSER_ENCODE_FULL;

	while (more == PURSER_ENCODE_FULL) {
		size_t room = cap - at < step ? cap - at : step;
		size_t n = x->s->h->encode(c, dst + at, room, &more);

		if (n > room || (idle += n == 0) > 2) {
			wrong(x, "encode() wrote %zu of %zu bytes, %zu so far", n, room, at);
			return 0;
		}
		at += n;
	}
	if (more != PURSER_ENCODE_DONE || at != c->wire_bytes) {
		wrong(x, "encode() ended with %d after %zu bytes; wire_bytes is %llu", more, at,
		    (unsigned long long)c->wire_bytes);
		return 0;
	}
	return at;
}

/* "<type>N\r\n" at *p. */
static bool header(const uint8_t **p, const uint8_t *end, char type, size_t *n)
{
	if (*p >= end || *(*p)++ != (uint8_t)type || *p >= end || **p < '0' || **p > '9')
		return false;
	for (*n = 0; *p < end && **p >= '0' && **p <= '9'; (*p)++)
		*n = *n * 10 + (size_t)(**p - '0');
	*p += 2;
	return *p <= end && (*p)[-2] == '\r' && (*p)[-1] == '\n';
}

static bool parse(const purser_call *c, const uint8_t *p, size_t len, purser_bytes *argv)
{
	const uint8_t *end = p + len;
	size_t n;

	if (!header(&p, end, '*', &n) || n != c->argc)
		return false;
	for (uint32_t i = 0; i < c->argc; i++) {
		if (!header(&p, end, '$', &n) || (size_t)(end - p) < n + 2 || p[n] != '\r' || p[n + 1] != '\n')
			return false;
		argv[i] = (purser_bytes){ p, n };
		p += n + 2;
	}
	return p == end;
}

int check_encode(struct ctx *x, purser_call *c)
{
	struct call_state *st = state_of(c);
	size_t n = (size_t)c->wire_bytes;

	if (st->argv)
		return 0;
	st->wire = malloc(2 * n + 1);
	st->argv = calloc(c->argc, sizeof(*st->argv));
	if (!st->wire || !st->argv)
		return -1;
	if (!encode_all(x, c, st->wire, n, n < 4096 ? 1 + (size_t)rnd(x, 64) : n / 3))
		return -1;
	if (x->s->h->rewind(c) == 0 && (!encode_all(x, c, st->wire + n, n, n) ||
	    memcmp(st->wire, st->wire + n, n) != 0))
		wrong(x, "encoded again it is not the same");
	return check_words(x, c, n);
}

int check_words(struct ctx *x, purser_call *c, size_t n)
{
	struct call_state *st = state_of(c);

	if (!parse(c, st->wire, n, st->argv)) {
		wrong(x, "what encode() wrote is not the command: %.*s", (int)(n < 80 ? n : 80),
		    (const char *)st->wire);
		return -1;
	}
	check_keys(x, c, st->argv);
	return 0;
}

void check_end(struct ctx *x, purser_call *c)
{
	struct call_state *st = state_of(c);

	if (st && c->argv && sum_of(c) != st->sum)
		wrong(x, "op %u: the arguments changed before the end", c->op);
	if (st) {
		free(st->wire);
		free(st->argv);
		free(st);
	}
	c->user[0] = NULL;
}
