/* SPDX-License-Identifier: Apache-2.0
 *
 * judge: is this the reply to that request?
 */
#include <config.h>
#include <stdio.h>
#include <string.h>
#include "checker.h"

/* What an error says about the request (docs/errors.md; Redis' own words that pass through). */
static const struct { const char *word; enum verdict verdict; } words[] = {
	{ "INDETERMINATE", MAY_HAVE_RUN },
	{ "BACKENDDOWN", NOT_RUN }, { "CIRCUITOPEN", NOT_RUN }, { "POOLEXHAUSTED", NOT_RUN }, { "TIMEOUT", NOT_RUN },
	{ "BACKENDPROTOCOL", NOT_RUN }, { "BACKENDAUTH", NOT_RUN },
	{ "OOM", NOT_RUN }, { "READONLY", NOT_RUN }, { "LOADING", NOT_RUN }, { "MASTERDOWN", NOT_RUN },
	{ "MISCONF", NOT_RUN }, { "BUSY", NOT_RUN }, { "EXECABORT", NOT_RUN }, { "NOREPLICAS", NOT_RUN },
	{ "UNBLOCKED", NOT_RUN },
};

static enum verdict fault(const struct client *c, const struct want *w, const struct view *v, bool write)
{
	char word[24];
	size_t n = 0, i;

	while (n < v->n && n < sizeof(word) - 1 && v->p[n] != ' ')
		n++;
	memcpy(word, v->p, n);
	word[n] = 0;
	for (i = 0; i < totals.nwords && strcmp(totals.words[i].word, word) != 0; i++)
		;
	if (i < sizeof(totals.words) / sizeof(*totals.words)) {
		if (i == totals.nwords) {
			memcpy(totals.words[i].word, word, sizeof(word));
			totals.nwords++;
		}
		totals.words[i].n++;
	}
	for (i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strcmp(words[i].word, word) == 0) {
			if (words[i].verdict == MAY_HAVE_RUN && !write)
				break;
			return words[i].verdict;
		}
	violation(c, w, "an error that this request cannot have: %.*s", (int)(v->n < 300 ? v->n : 300), (const char *)v->p);
}

static bool is_error(const struct view *v) { return v->type == '-' || v->type == '!'; }

static bool is_null(const struct client *c, const struct view *v)
{
	return c->resp == 3 ? v->type == '_' : (v->type == '$' || v->type == '*') && v->i == -1;
}

static void unexpected(const struct client *c, const struct want *w, const struct view *v, const char *want)
{
	violation(c, w, "want %s, got %c%.*s", want, v->type, (int)(v->n < 300 ? v->n : 300), (const char *)v->p);
}

/* The name of the key, '#', a number, ':' */
static bool well_formed(const struct client *c, const struct want *w, const struct view *v)
{
	char name[64];
	size_t n;

	key_name(name, c, w);
	n = strlen(name);
	return v->type == '$' && v->i >= 0 && v->n > n + 2 && memcmp(v->p, name, n) == 0 && v->p[n] == '#';
}

/* What a read of the key gave. */
static void check_value(struct client *c, const struct want *w, const struct view *v)
{
	const struct model *m = &c->model[w->space][w->key];
	static struct buf expected;
	struct want value = *w;

	if (m->gen != w->gen || !m->sure) {
		if (!is_null(c, v) && !well_formed(c, w, v))
			unexpected(c, w, v, "a value of this key");
		return;
	}
	if (m->absent) {
		if (!is_null(c, v))
			unexpected(c, w, v, "nil");
		return;
	}
	value.seq = m->seq;
	value.size = m->size;
	expected.at = expected.n = 0;
	value_make(&expected, c, &value);
	if (v->type != '$' || v->i < 0 || v->n != expected.n || memcmp(v->p, expected.p, v->n) != 0) {
		char text[128];

		snprintf(text, sizeof(text), "%.*s (%zu bytes)", (int)(expected.n < 60 ? expected.n : 60),
		         (const char *)expected.p, expected.n);
		unexpected(c, w, v, text);
	}
}

static void wrote(struct client *c, const struct want *w, enum verdict verdict, bool absent)
{
	struct model *m = &c->model[w->space][w->key];

	if (m->gen != w->gen)
		return;
	if (verdict == MAY_HAVE_RUN) {
		m->sure = false;
	} else if (verdict == GOOD) {
		m->absent = absent;
		m->seq = w->seq;
		m->size = w->size;
	}
}

static void settle(const struct want *w, enum verdict v)
{
	uint32_t i;

	for (i = 0; i < w->ntags; i++)
		log_settle(w->log, w->tag + i, v == GOOD ? TAG_ACKED : v == NOT_RUN ? TAG_NOT : TAG_MAYBE);
}

/* The length that an append answered with. */
static void check_length(const struct client *c, const struct want *w, const struct view *v)
{
	struct tag_log *l = w->log;

	if (blind && v->type == ':')
		return;
	if (v->type != ':' || v->i <= (int64_t)l->acked || v->i > (int64_t)l->acked + l->maybe + 1) {
		char text[64];

		snprintf(text, sizeof(text), "a length of %u to %u", l->acked + 1, l->acked + l->maybe + 1);
		unexpected(c, w, v, text);
	}
}

/* An append that answered length: what was uncertain before is known to have run, or not. */
static void appended(const struct want *w, uint32_t tag, int64_t length)
{
	log_settle(w->log, tag, TAG_ACKED);
	w->log->acked = (uint32_t)length;
	if (!late_allowed)
		w->log->maybe = 0;
}

static void judge_value(struct client *c, const struct want *w, struct view v)
{
	enum verdict verdict = GOOD;
	bool set = w->kind == K_SET || w->kind == K_BIGSET || w->kind == K_SETGET;

	if (is_error(&v))
		verdict = fault(c, w, &v, set || w->kind == K_DEL);
	else if (w->kind == K_SET || w->kind == K_BIGSET) {
		if (!view_is(&v, "OK"))
			unexpected(c, w, &v, "OK");
	} else if (w->kind == K_DEL) { /* sent again after a lost link it may find nothing */
		if (v.type != ':' || v.i < 0 || v.i > 1)
			unexpected(c, w, &v, "0 or 1");
	} else {
		check_value(c, w, &v);
	}
	if (set || w->kind == K_DEL)
		wrote(c, w, verdict, w->kind == K_DEL);
	if (w->watched)
		c->touched = verdict == GOOD && c->watch == GOOD;
}

static void judge_pair(struct client *c, const struct want *w, struct view v, const uint8_t *p, const uint8_t *end)
{
	struct want second = *w;
	struct view item;
	enum verdict verdict = GOOD;

	second.key = (uint8_t)((w->key + 1) % SMALL);
	second.gen = w->tag;
	if (is_error(&v)) {
		verdict = fault(c, w, &v, w->kind == K_MSET);
	} else if (w->kind == K_MSET) {
		if (!view_is(&v, "OK"))
			unexpected(c, w, &v, "OK");
	} else {
		if (v.type != '*' || v.i != 2)
			unexpected(c, w, &v, "an array of two");
		item = reply_take(&p, end);
		check_value(c, w, &item);
		item = reply_take(&p, end);
		check_value(c, &second, &item);
	}
	if (w->kind == K_MSET) {
		wrote(c, w, verdict, false);
		wrote(c, &second, verdict, false);
	}
}

static void judge_number(struct client *c, const struct want *w, struct view v)
{
	struct model *m = &c->model[w->space][w->key];
	bool known = m->gen == w->gen && m->sure;
	uint64_t next = w->kind == K_INCR ? m->number + 1 : m->length + 10;
	char text[32];

	if (is_error(&v)) {
		if (fault(c, w, &v, true) == MAY_HAVE_RUN && m->gen == w->gen)
			m->sure = false;
		return;
	}
	snprintf(text, sizeof(text), "%llu", (unsigned long long)next);
	if (v.type != ':' || (known && v.i != (int64_t)next))
		unexpected(c, w, &v, known ? text : "a number");
	if (known && w->kind == K_INCR)
		m->number = next;
	else if (known)
		m->length = next;
}

static void tag_text(char out[96], const struct want *w, uint32_t tag)
{
	char name[64];

	log_name(name, w->log);
	snprintf(out, 96, "%s#%u", name, tag);
}

static void judge_log(struct client *c, const struct want *w, struct view v)
{
	struct tag_log *l = w->log;
	char text[96];
	size_t n = v.n;

	if (w->kind == K_WRONGTYPE && is_error(&v) && v.n > 10 && memcmp(v.p, "WRONGTYPE ", 10) == 0) {
		if (l->acked + l->maybe == 0)
			unexpected(c, w, &v, "nil: nothing was appended");
		return;
	}
	if (is_error(&v)) {
		settle(w, fault(c, w, &v, w->ntags > 0));
		return;
	}
	if (blind && w->ntags == 0)
		return;
	switch (w->kind) {
	case K_RPUSH: case K_RPUSHBIG:
		check_length(c, w, &v);
		appended(w, w->tag, v.i);
		break;
	case K_EVAL: case K_EVALSHA:
		tag_text(text, w, w->tag);
		if (!view_is(&v, text))
			unexpected(c, w, &v, text);
		settle(w, GOOD);
		break;
	case K_LLEN:
		if (v.type != ':' || v.i < (int64_t)l->acked || v.i > (int64_t)l->acked + l->maybe)
			unexpected(c, w, &v, "the length of the list");
		break;
	case K_LAST:
		if (l->acked + l->maybe == 0 || is_null(c, &v)) {
			if (l->acked || !is_null(c, &v))
				unexpected(c, w, &v, l->acked ? "the last tag" : "nil");
			break;
		}
		if (l->last == UINT32_MAX || l->maybe)
			break;
		tag_text(text, w, l->last);
		if (memchr(v.p, ' ', v.n)) /* a long one */
			n = (size_t)((const uint8_t *)memchr(v.p, ' ', v.n) - v.p);
		if (v.type != '$' || n != strlen(text) || memcmp(v.p, text, n) != 0)
			unexpected(c, w, &v, text);
		break;
	default:
		if (!is_null(c, &v) || l->acked)
			unexpected(c, w, &v, "WRONGTYPE");
	}
}

static void judge_exec(struct client *c, const struct want *w, struct view v, const uint8_t *p, const uint8_t *end)
{
	struct view item;
	enum verdict verdict = GOOD;

	if (w->watched && is_null(c, &v)) {
		verdict = NOT_RUN; /* for what we wrote ourselves, or because the link with the WATCH is gone */
	} else if (is_error(&v)) {
		verdict = fault(c, w, &v, true);
	} else if (v.type != '*' || v.i != 4) {
		unexpected(c, w, &v, "the four replies of the transaction");
	} else {
		if (w->watched && c->touched)
			violation(c, w, "a transaction ran though its watched key was written");
		item = reply_take(&p, end);
		if (is_error(&item)) {
			verdict = fault(c, w, &item, false);
		} else {
			check_length(c, w, &item);
			appended(w, w->tag, item.i);
			item = reply_take(&p, end);
			if (!view_is(&item, "OK"))
				unexpected(c, w, &item, "OK in the transaction");
			wrote(c, w, GOOD, false);
			item = reply_take(&p, end);
			check_value(c, w, &item);
			item = reply_take(&p, end);
			check_length(c, w, &item);
			appended(w, w->tag + 1, item.i);
			return;
		}
	}
	wrote(c, w, verdict, false);
	settle(w, verdict);
}

static void judge_blocking(struct client *c, const struct want *w, struct view v, const uint8_t *p, const uint8_t *end)
{
	enum verdict verdict = GOOD, fed = w->kind == K_BLOCKED ? (w->fed ? MAY_HAVE_RUN : NOT_RUN) : c->fed;
	struct view item = v;
	char text[96];

	if (is_error(&v)) {
		verdict = fault(c, w, &v, true);
	} else if (is_null(c, &v)) {
		if (fed == GOOD)
			unexpected(c, w, &v, "the element that is in the list");
		verdict = NOT_RUN;
	} else {
		if (fed == NOT_RUN)
			unexpected(c, w, &v, "nil: the list is empty");
		if (w->kind == K_BLPOP) {
			if (v.type != '*' || v.i != 2)
				unexpected(c, w, &v, "a key and an element");
			item = reply_take(&p, end);
			snprintf(text, sizeof(text), "q:%u.%u.%u.%u", c->number, c->life, w->space, w->seq);
			if (!view_is(&item, text))
				unexpected(c, w, &item, text);
			item = reply_take(&p, end);
			snprintf(text, sizeof(text), "p:%u.%u", c->number, w->seq);
		} else {
			tag_text(text, w, w->tag);
		}
		if (!view_is(&item, text))
			unexpected(c, w, &item, text);
	}
	settle(w, verdict);
}

static void judge_feed(struct client *c, const struct want *w, struct view v)
{
	enum verdict verdict = GOOD;

	if (is_error(&v))
		verdict = fault(c, w, &v, true);
	else if (v.type != ':' || v.i != 1)
		unexpected(c, w, &v, "1");
	if (w->kind == K_FEED)
		c->fed = verdict;
}

static void judge_session(struct client *c, const struct want *w, struct view v)
{
	static struct buf expected;
	char text[64];

	switch (w->kind) {
	case K_PING:
		if (!view_is(&v, "PONG"))
			unexpected(c, w, &v, "PONG");
		break;
	case K_ECHO:
		expected.at = expected.n = 0;
		value_make(&expected, c, w);
		if (v.type != '$' || v.n != expected.n || memcmp(v.p, expected.p, v.n) != 0)
			unexpected(c, w, &v, "what was sent");
		break;
	case K_HELLO:
		if (w->size == 3 ? v.type != '%' || v.i != 7 : v.type != '*' || v.i != 14)
			unexpected(c, w, &v, "the answer to HELLO");
		c->resp = w->size;
		break;
	case K_UNKNOWN:
		snprintf(text, sizeof(text), "ERR unknown command 'NO.%u.%u'", c->number, w->seq);
		if (v.type != '-' || v.n < strlen(text) || memcmp(v.p, text, strlen(text)) != 0)
			unexpected(c, w, &v, text);
		break;
	case K_QUEUED:
		if (!view_is(&v, "QUEUED"))
			unexpected(c, w, &v, "QUEUED");
		break;
	case K_WATCH:
		c->touched = false;
		c->watch = is_error(&v) ? fault(c, w, &v, false) : GOOD;
		if (c->watch == GOOD && !view_is(&v, "OK"))
			unexpected(c, w, &v, "OK");
		break;
	default:
		if (!view_is(&v, "OK"))
			unexpected(c, w, &v, "OK");
	}
}

void judge(struct client *c, const uint8_t *p, size_t n)
{
	const uint8_t *end = p + n, *rest = p;
	struct view v = reply_take(&rest, end);
	struct want *w;

	if (v.type == '>')
		violation(c, NULL, "a push that nobody asked for");
	if (c->wanted == 0)
		violation(c, NULL, "a reply too many: %.*s", (int)(n < 200 ? n : 200), (const char *)p);
	w = &c->want[c->first];
	snprintf(w->got, sizeof(w->got), "%c%.*s", v.type, (int)(v.n < 6 ? v.n : 6), (const char *)v.p);
	totals.replies++;
	totals.by_kind[w->kind]++;
	switch (w->kind) {
	case K_SET: case K_SETGET: case K_GET: case K_DEL: case K_BIGSET: case K_BIGGET: case K_EVALRO:
		judge_value(c, w, v);
		break;
	case K_MGET: case K_MSET:
		judge_pair(c, w, v, rest, end);
		break;
	case K_INCR: case K_APPEND:
		judge_number(c, w, v);
		break;
	case K_RPUSH: case K_RPUSHBIG: case K_EVAL: case K_EVALSHA: case K_LLEN: case K_LAST: case K_WRONGTYPE:
		judge_log(c, w, v);
		break;
	case K_EXEC:
		judge_exec(c, w, v, rest, end);
		break;
	case K_BLMOVE: case K_BLPOP: case K_BLOCKED:
		judge_blocking(c, w, v, rest, end);
		break;
	case K_FEED: case K_FEEDPOP:
		judge_feed(c, w, v);
		break;
	default:
		judge_session(c, w, v);
	}
	c->first = (c->first + 1) % WANTS;
	c->wanted--;
	pass_silent(c);
}

void pass_silent(struct client *c)
{
	while (c->wanted && c->want[c->first].kind == K_SKIP) {
		settle(&c->want[c->first], MAY_HAVE_RUN);
		c->first = (c->first + 1) % WANTS;
		c->wanted--;
	}
}

void abandon(struct client *c)
{
	for (; c->wanted; c->wanted--, c->first = (c->first + 1) % WANTS)
		settle(&c->want[c->first], MAY_HAVE_RUN);
}
