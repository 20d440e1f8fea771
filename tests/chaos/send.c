/* SPDX-License-Identifier: Apache-2.0
 *
 * send: random requests.  Each leaves a want, in the order in which replies must come.
 */
#include <config.h>
#include <stdio.h>
#include <string.h>
#include "checker.h"

#define PATTERN (1u << 20)

const char *const append_script = "redis.call('RPUSH',KEYS[1],ARGV[1]) return ARGV[1]";
const char *const get_script = "return redis.call('GET',KEYS[1])";

static const struct { const char *project, *db; } spaces[SPACES] = {
	{ "default", "0" }, { "default", "1" }, { "two", "0" },
};

void key_name(char out[64], const struct client *c, const struct want *w)
{
	snprintf(out, 64, "v:%u.%u.%u.%u.%u", c->number, c->life, w->space, w->key, w->gen);
}

size_t value_make(struct buf *b, const struct client *c, const struct want *w)
{
	static uint8_t pattern[PATTERN + 1024];
	char name[64], head[96];
	size_t n, i;

	if (!pattern[1])
		for (i = 0; i < sizeof(pattern); i++)
			pattern[i] = (uint8_t)(i * 7 + (i >> 8) + 1);
	key_name(name, c, w);
	n = (size_t)snprintf(head, sizeof(head), "%s#%u:", name, w->seq);
	buf_add(b, head, n);
	buf_add(b, pattern + w->seq % 1024, w->size);
	return n + w->size;
}

/* ---- requests ---------------------------------------------------------------------------------------- */
static struct want *push(struct client *c, enum kind kind)
{
	struct want *w = &c->want[(c->first + c->wanted++) % WANTS];

	memset(w, 0, sizeof(*w));
	w->kind = (uint8_t)kind;
	w->space = c->space;
	return w;
}

static void command(struct client *c, unsigned argc, const char *name)
{
	buf_print(&c->out, "*%u\r\n", argc);
	buf_arg(&c->out, name);
}

static void arg(struct client *c, const char *text) { buf_arg(&c->out, text); }

static void arg_value(struct client *c, const struct want *w)
{
	char name[64], head[96];
	int n;

	key_name(name, c, w);
	n = snprintf(head, sizeof(head), "%s#%u:", name, w->seq);
	buf_print(&c->out, "$%zu\r\n", (size_t)n + w->size);
	value_make(&c->out, c, w);
	buf_add(&c->out, "\r\n", 2);
}

static void arg_key(struct client *c, const struct want *w)
{
	char name[64];

	key_name(name, c, w);
	arg(c, name);
}

/* A key of the client, by a fresh name if it is not known what the old one holds. */
static void use_key(struct client *c, struct want *w, unsigned key)
{
	struct model *m = &c->model[w->space][key];

	if (!m->sure) {
		m->gen++;
		m->sure = m->absent = true;
		m->number = m->length = 0;
	}
	w->key = (uint8_t)key;
	w->gen = m->gen;
}

static void use_value(struct client *c, struct want *w, bool big)
{
	static const uint32_t sizes[] = { 0, 3, 10, 10, 100, 3000 };

	w->seq = ++c->model[w->space][w->key].serial;
	w->size = big ? 60000 + below(below(20) ? 60000 : PATTERN - 60000) : sizes[below(6)];
}

static void use_log(struct client *c, struct want *w)
{
	w->log = c->log[w->space];
	if (!w->log)
		w->log = c->log[w->space] = log_new(c, w->space);
}

static void arg_log(struct client *c, const struct want *w)
{
	char name[64];

	log_name(name, w->log);
	arg(c, name);
}

static void arg_tag(struct client *c, const struct want *w, uint32_t tag, bool big)
{
	static char pad[100000];
	char name[64], text[96];
	size_t n, more = big ? 20000 + below(60000) : 0;

	if (!pad[0])
		memset(pad, ' ', sizeof(pad));
	log_name(name, w->log);
	n = (size_t)snprintf(text, sizeof(text), "%s#%u", name, tag);
	buf_print(&c->out, "$%zu\r\n", n + more);
	buf_add(&c->out, text, n);
	buf_add(&c->out, pad, more);
	buf_add(&c->out, "\r\n", 2);
}

static void use_tag(struct want *w)
{
	w->tag = log_tag(w->log, UINT32_MAX);
	w->ntags = 1;
}

static void gen_value(struct client *c, enum kind kind)
{
	bool big = kind == K_BIGSET || kind == K_BIGGET;
	struct want *w = push(c, kind);

	use_key(c, w, big ? SMALL : below(SMALL));
	switch (kind) {
	case K_SET: case K_BIGSET: case K_SETGET:
		use_value(c, w, big);
		command(c, kind == K_SETGET ? 4 : 3, "SET");
		arg_key(c, w);
		arg_value(c, w);
		if (kind == K_SETGET)
			arg(c, "GET");
		break;
	case K_EVALRO:
		command(c, 4, "EVAL_RO");
		arg(c, get_script);
		arg(c, "1");
		arg_key(c, w);
		break;
	default:
		command(c, 2, kind == K_DEL ? "UNLINK" : "GET");
		arg_key(c, w);
	}
}

/* Two keys: the generation of the second stands in `tag`. */
static void gen_pair(struct client *c, enum kind kind)
{
	struct want *w = push(c, kind), second = *w;

	use_key(c, w, below(SMALL));
	use_key(c, &second, (w->key + 1u) % SMALL);
	w->tag = second.gen;
	if (kind == K_MSET) {
		use_value(c, w, false);
		second.seq = w->seq;
		second.size = w->size;
		if (c->model[w->space][second.key].serial < w->seq)
			c->model[w->space][second.key].serial = w->seq;
	}
	command(c, kind == K_MSET ? 5 : 3, kind == K_MSET ? "MSET" : "MGET");
	arg_key(c, w);
	if (kind == K_MSET)
		arg_value(c, w);
	arg_key(c, &second);
	if (kind == K_MSET)
		arg_value(c, &second);
}

static void gen_number(struct client *c, enum kind kind)
{
	struct want *w = push(c, kind);

	use_key(c, w, kind == K_INCR ? SMALL + 1 : SMALL + 2);
	command(c, kind == K_INCR ? 2 : 3, kind == K_INCR ? "INCR" : "APPEND");
	arg_key(c, w);
	if (kind == K_APPEND)
		arg(c, "0123456789");
}

static void gen_log(struct client *c, enum kind kind)
{
	struct want *w = push(c, kind);

	use_log(c, w);
	switch (kind) {
	case K_RPUSH: case K_RPUSHBIG:
		use_tag(w);
		command(c, 3, "RPUSH");
		arg_log(c, w);
		arg_tag(c, w, w->tag, kind == K_RPUSHBIG);
		break;
	case K_EVAL: case K_EVALSHA:
		use_tag(w);
		command(c, 5, kind == K_EVAL ? "EVAL" : "EVALSHA");
		arg(c, kind == K_EVAL ? append_script : script_sha);
		arg(c, "1");
		arg_log(c, w);
		arg_tag(c, w, w->tag, false);
		break;
	case K_LAST:
		command(c, 3, "LINDEX");
		arg_log(c, w);
		arg(c, "-1");
		break;
	default:
		command(c, 2, kind == K_LLEN ? "LLEN" : "GET");
		arg_log(c, w);
	}
}

static void gen_skip(struct client *c)
{
	struct want *w = push(c, K_SKIP);

	use_log(c, w);
	use_tag(w);
	command(c, 3, "CLIENT");
	arg(c, "REPLY");
	arg(c, "SKIP");
	command(c, 3, "RPUSH");
	arg_log(c, w);
	arg_tag(c, w, w->tag, false);
}

/* MULTI, two tags around a value, EXEC or DISCARD. */
static void gen_tx(struct client *c, enum kind kind)
{
	bool discard = kind == K_DISCARD, big = below(30) == 0;
	struct want w = { .kind = K_EXEC, .space = c->space, .big = big, .watched = kind == K_WATCH };
	uint32_t tag;

	use_key(c, &w, big ? SMALL : below(SMALL));
	if (kind == K_WATCH) {
		struct want *own = push(c, K_WATCH);

		own->key = w.key;
		own->gen = w.gen;
		command(c, 2, "WATCH");
		arg_key(c, own);
		if (below(3) == 0) {
			own = push(c, K_SET);
			own->watched = true;
			own->key = w.key;
			own->gen = w.gen;
			use_value(c, own, false);
			command(c, 3, "SET");
			arg_key(c, own);
			arg_value(c, own);
		}
	}
	use_log(c, &w);
	use_value(c, &w, big);
	w.tag = log_tag(w.log, UINT32_MAX);
	tag = log_tag(w.log, w.tag);
	w.ntags = 2;
	push(c, K_ONLYOK);
	command(c, 1, "MULTI");
	push(c, K_QUEUED);
	command(c, 3, "RPUSH");
	arg_log(c, &w);
	arg_tag(c, &w, w.tag, false);
	push(c, K_QUEUED);
	command(c, 3, "SET");
	arg_key(c, &w);
	arg_value(c, &w);
	push(c, K_QUEUED);
	command(c, 2, "GET");
	arg_key(c, &w);
	push(c, K_QUEUED);
	command(c, 3, "RPUSH");
	arg_log(c, &w);
	arg_tag(c, &w, tag, false);
	if (discard) {
		log_settle(w.log, w.tag, TAG_NOT);
		log_settle(w.log, tag, TAG_NOT);
		push(c, K_ONLYOK);
		command(c, 1, "DISCARD");
	} else {
		*push(c, K_EXEC) = w;
		command(c, 1, "EXEC");
	}
}

/* A list of its own, filled before or by another client, and a blocking command on it. */
static void gen_blocking(struct client *c, enum kind kind)
{
	uint32_t n = (uint32_t)++c->serial;
	struct client *feeder = c;
	char source[64], text[64];
	struct want *w, blocked = { .kind = (uint8_t)kind, .space = c->space, .seq = n };

	snprintf(source, sizeof(source), "q:%u.%u.%u.%u", c->number, c->life, c->space, n);
	snprintf(text, sizeof(text), "p:%u.%u", c->number, n);
	if (kind != K_BLPOP) {
		use_log(c, &blocked);
		use_tag(&blocked);
	}
	if (kind == K_BLOCKED) {
		feeder = &clients[below(nclients)];
		blocked.fed = feeder != c && feeder->fd >= 0 && feeder->space == c->space &&
		              feeder->wanted < WANTS - 50 && below(4);
	} else {
		blocked.fed = true;
	}
	if (blocked.fed && kind != K_BLOCKED) {
		w = push(feeder, K_FEED);
		command(feeder, 3, "RPUSH");
		arg(feeder, source);
		kind == K_BLPOP ? arg(feeder, text) : arg_tag(feeder, &blocked, blocked.tag, false);
	}
	w = push(c, kind);
	*w = blocked;
	if (kind == K_BLPOP) {
		command(c, 3, "BLPOP");
		arg(c, source);
	} else {
		command(c, 6, "BLMOVE");
		arg(c, source);
		arg_log(c, w);
		arg(c, "LEFT");
		arg(c, "RIGHT");
	}
	arg(c, kind == K_BLOCKED ? "0.08" : "0.2");
	if (blocked.fed && kind == K_BLOCKED) {
		push(feeder, K_FEEDPOP);
		command(feeder, 3, "RPUSH");
		arg(feeder, source);
		arg_tag(feeder, &blocked, blocked.tag, false);
	}
}

static void gen_session(struct client *c, enum kind kind)
{
	struct want *w;
	char text[32];

	if (kind == K_SPACE) {
		c->space = (uint8_t)below(SPACES);
		push(c, K_ONLYOK);
		command(c, 2, "PURSER.PROJECT");
		arg(c, spaces[c->space].project);
		push(c, K_ONLYOK);
		command(c, 2, "SELECT");
		arg(c, spaces[c->space].db);
		return;
	}
	w = push(c, kind);
	w->seq = (uint32_t)++c->serial;
	switch (kind) {
	case K_HELLO:
		w->size = 2 + below(2);
		command(c, 2, "HELLO");
		arg(c, w->size == 3 ? "3" : "2");
		break;
	case K_UNKNOWN:
		snprintf(text, sizeof(text), "NO.%u.%u", c->number, w->seq);
		command(c, 1, text);
		break;
	case K_ECHO:
		w->size = below(4) ? below(30) : below(20000);
		command(c, 2, "ECHO");
		arg_value(c, w);
		break;
	default:
		command(c, 1, "PING");
	}
}

static void generate_one(struct client *c)
{
#define WEIGHT(name, weight, feature) { K_##name, weight, feature },
	static const struct { enum kind kind; unsigned weight, feature; } table[] = { KINDS(WEIGHT) };
#undef WEIGHT
	static unsigned total;
	unsigned i, at;

	if (!total)
		for (i = 0; i < K_COUNT; i++)
			total += table[i].weight;
	do {
		at = below(total);
		for (i = 0; at >= table[i].weight; i++)
			at -= table[i].weight;
	} while ((table[i].feature & features) != table[i].feature);
	switch (table[i].kind) {
	case K_SET: case K_SETGET: case K_GET: case K_BIGSET: case K_BIGGET: case K_DEL: case K_EVALRO:
		gen_value(c, table[i].kind);
		break;
	case K_MGET: case K_MSET:
		gen_pair(c, table[i].kind);
		break;
	case K_INCR: case K_APPEND:
		gen_number(c, table[i].kind);
		break;
	case K_RPUSH: case K_RPUSHBIG: case K_EVAL: case K_EVALSHA: case K_LLEN: case K_LAST: case K_WRONGTYPE:
		gen_log(c, table[i].kind);
		break;
	case K_SKIP:
		gen_skip(c);
		break;
	case K_TX: case K_DISCARD: case K_WATCH:
		gen_tx(c, table[i].kind);
		break;
	case K_BLMOVE: case K_BLPOP: case K_BLOCKED:
		gen_blocking(c, table[i].kind);
		break;
	default:
		gen_session(c, table[i].kind);
	}
}

void generate(struct client *c, unsigned many)
{
	while (many-- > 0 && c->wanted < WANTS - 50)
		generate_one(c);
	pass_silent(c);
}

void client_fresh(struct client *c)
{
	unsigned s, k;

	for (s = 0; s < SPACES; s++) {
		for (k = 0; k < SMALL + 3; k++)
			c->model[s][k].sure = false;
		if (c->log[s])
			c->log[s]->closed = true;
		c->log[s] = NULL;
	}
}
