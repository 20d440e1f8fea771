/* SPDX-License-Identifier: Apache-2.0
 *
 * What an episode says: commands of the differential test, special ones, and units that belong together.  Both projects
 * use the same names; markers are in some of their keys, values, channels and names.
 */
#include <config.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "iso.h"

#define PICK(g, list) word_text((list)[rng_below(g, sizeof(list) / sizeof(*(list)))])

const uint8_t id_own[LINKS] = { 'o', 'w', 'n', 'i', 'd' }, id_foreign[LINKS] = { 'o', 't', 'h', 'e', 'r' };

struct maker {
	struct world *w;
	struct project *p;          /* whose turn it is */
	struct gen gen[2];
	uint8_t link[2];            /* where the last item was */
	uint32_t total;             /* weights of specials */
	int listening;              /* this episode has ears */
	int tracker;                /* who tracks in it; 2: both */
};

static const char *const bodies[] = {
	"return redis.call('get', KEYS[1])",
	"redis.call('set', KEYS[1], ARGV[1]) return redis.call('get', KEYS[1])",
	"return redis.pcall('lpush', KEYS[1], ARGV[1])",
	"return {ARGV[1], redis.call('exists', KEYS[1]), 7}",
	"return redis.call('xpending', KEYS[1], 'none')",
	"return redis.call('type', KEYS[1])",
	"local n = 0 for i = 1, 3e5 do n = n + i % 3 end return n", /* some milliseconds: SLOWLOG has it */
};
#define BODIES (sizeof(bodies) / sizeof(*bodies))
static const char *const undeclared[] = {
	"return {KEYS[1], ARGV[1]}",
	"return redis.call('get', 'k1')",
	"return redis.call('set', 'k' .. (#ARGV[1] % 8), ARGV[1])",
	"return redis.pcall('lpush', 'k' .. (#ARGV[1] % 8), ARGV[1])",
	"return redis.call('xreadgroup', 'group', 'none', 'c', 'streams', 'w_1', '>')",
	"return redis.call('rename', 'k1', KEYS[1])",
	"return redis.pcall('xpending', 'x1', 'none')",
	"return redis.call('lmpop', '2', 'l1', 'l2', 'left')",
	/* from here on: only where the store itself keeps scripts inside (docs/scripts.md) */
	"local k = redis.call('keys', '*') table.sort(k) return k",
	"return redis.call('dbsize')",
	("local t = {} local c = '0' repeat local r = redis.call('scan', c) c = r[1] for _, k in ipairs(r[2]) do t[k] = 1 end "
	    "until c == '0' local o = {} for k in pairs(t) do o[#o + 1] = k end table.sort(o) return o"),
	"return redis.call('exists', 'k1', unpack(redis.call('keys', 'k*')))",
	"return redis.call('sort', KEYS[1], 'by', 'w_*', 'get', 'w_*', 'get', '#')",
};
#define INSIDE 5
#define ALL_BODIES (BODIES + sizeof(undeclared) / sizeof(*undeclared))

static struct word body(struct gen *g, uint32_t i)
{
	const struct maker *m = g->owner;
	const char *text = i < BODIES ? bodies[i] : undeclared[i - BODIES];
	size_t cap = strlen(text) + sizeof(m->p->hex) + 8;
	char *p = arena_get(g->mem, cap);

	/* some scripts of one project are none of the other's */
	if (rng_below(g, 3) == 0)
		return word_text(text);
	snprintf(p, cap, "%s -- %s", text, m->p->hex);
	return word_text(p);
}

/* ---- SHA1, of which EVALSHA needs a few -------------------------------------------------------------------- */
static uint32_t rol(uint32_t v, unsigned n) { return v << n | v >> (32 - n); }

static void block(uint32_t h[5], const uint8_t *p)
{
	uint32_t w[80], s[5], t;
	unsigned i;

	for (i = 0; i < 16; i++)
		w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
	for (; i < 80; i++)
		w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	memcpy(s, h, sizeof(s));
	for (i = 0; i < 80; i++) {
		uint32_t f = i < 20 ? (s[1] & s[2]) | (~s[1] & s[3]) : i < 40 || i >= 60 ? s[1] ^ s[2] ^ s[3] :
		    (s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3]);
		static const uint32_t k[] = { 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6 };

		t = rol(s[0], 5) + f + s[4] + k[i / 20] + w[i];
		s[4] = s[3];
		s[3] = s[2];
		s[2] = rol(s[1], 30);
		s[1] = s[0];
		s[0] = t;
	}
	for (i = 0; i < 5; i++)
		h[i] += s[i];
}

static struct word sha_of(struct gen *g, struct word w)
{
	uint32_t h[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 }, at, i;
	char *out = arena_get(g->mem, 41);
	uint8_t last[128] = { 0 };

	for (at = 0; at + 64 <= w.n; at += 64)
		block(h, w.p + at);
	memcpy(last, w.p + at, w.n - at);
	last[w.n - at] = 0x80;
	i = w.n - at < 56 ? 64 : 128;
	for (at = 0; at < 8; at++)
		last[i - 1 - at] = (uint8_t)((uint64_t)w.n * 8 >> 8 * at);
	block(h, last);
	if (i == 128)
		block(h, last + 64);
	for (i = 0; i < 5; i++)
		snprintf(out + 8 * i, 9, "%08x", h[i]);
	return word_text(out);
}

/* ---- words that the differential test has not ------------------------------------------------------------------ */
static uint32_t some_body(struct gen *g)
{
	const struct maker *m = g->owner;

	return rng_below(g, m->w->o->undeclared == 0 ? BODIES : m->w->o->undeclared == 1 ? ALL_BODIES - INSIDE : ALL_BODIES);
}

static struct word with_hex(struct gen *g, const char *before, const char *behind)
{
	const struct maker *m = g->owner;
	size_t cap = strlen(before) + sizeof(m->p->hex) + strlen(behind);
	char *p = arena_get(g->mem, cap);

	snprintf(p, cap, "%s%s%s", before, m->p->hex, behind);
	return word_text(p);
}

static struct word raw_marker(struct gen *g)
{
	return (struct word){ ((const struct maker *)g->owner)->p->marker, MARKER };
}

static struct word channel(struct gen *g)
{
	switch (rng_below(g, 10)) {
	case 0:
		return with_hex(g, "news.", "");
	case 1:
		return raw_marker(g);
	case 2:
		return gen_format(g, "k%lld", rng_below(g, 4)); /* as a key */
	case 3:
		return word_text("__keyspace@0__:k1");
	case 4:
		return word_text("__keyevent@0__:set");
	default:
		return gen_format(g, "news.%lld", rng_below(g, 3));
	}
}

/* Nobody can make an event of a key: what is published under such a name is another channel to the agent. */
static struct word channel_to(struct gen *g)
{
	struct word w;

	do
		w = channel(g);
	while (w.p[0] == '_');
	return w;
}

static struct word channel_pattern(struct gen *g)
{
	static const char *const some[] = { "news.*", "n*", "news.[01]", "n*.?", "?ews.1", "k*", "__keyspace@0__:k*", "__keyspace@0__:*",
		"__keyspace@1__:*", "__keyevent@0__:*", "__keyevent@0__:del", "__key*__:*", "__keyspace@*__:k1", "news.1", "\\*", "[", "" };

	return rng_below(g, 12) ? PICK(g, some) : with_hex(g, "n*", "*");
}

static struct word some_word(struct gen *g)
{
	static const char *const some[] = { "hello", "", "proj:other:k1", "1", "two words", "\r\n" };

	switch (rng_below(g, 4)) {
	case 0:
		return raw_marker(g);
	case 1:
		return with_hex(g, "", "");
	default:
		return PICK(g, some);
	}
}

static void add_some(struct gen *g, struct cmd *c, struct word (*one)(struct gen *))
{
	uint32_t n = 1 + rng_below(g, 3);

	for (; n > 0; n--)
		gen_add(g, c, one(g));
}

static int more(struct gen *g, struct cmd *c, const char *kind)
{
	static const char *const literal[] = { "none", "c1", "g1", "nosuch", "noeviction", "maxmemory-policy", "health", "function",
		"library", ">", "nokey", "g0", "o1", "w_1", "w_2", "w_3", "w_*", "#" };
	static const char *const dbs[] = { "0", "0", "0", "1", "1", "2", "-1", "abc", "15", "4294967296", "01", "+1", "" };
	static const char *const prefixes[] = { "k", "h", "k1", "proj:", "x" };
	const struct maker *m = g->owner;
	size_t i;

	if (!strcmp(kind, "db"))
		gen_add(g, c, PICK(g, dbs));
	else if (!strcmp(kind, "name"))
		gen_add(g, c, rng_below(g, 3) ? with_hex(g, "n", "") : gen_format(g, "name%lld", rng_below(g, 5)));
	else if (!strcmp(kind, "own"))
		gen_add(g, c, (struct word){ &id_own[rng_below(g, LINKS)], 1 });
	else if (!strcmp(kind, "ear")) /* one that says little: Redis 7.0 writes pushes into the middle of its replies */
		gen_add(g, c, (struct word){ &id_own[3 + rng_below(g, 2)], 1 });
	else if (!strcmp(kind, "foreign"))
		gen_add(g, c, (struct word){ &id_foreign[rng_below(g, LINKS)], 1 });
	else if (!strcmp(kind, "self"))
		gen_add(g, c, word_text(m->p->name));
	else if (!strcmp(kind, "word"))
		gen_add(g, c, some_word(g));
	else if (!strcmp(kind, "prefix"))
		gen_add(g, c, PICK(g, prefixes));
	else if (!strcmp(kind, "chan"))
		gen_add(g, c, channel(g));
	else if (!strcmp(kind, "pchan"))
		gen_add(g, c, channel_to(g));
	else if (!strcmp(kind, "chans"))
		add_some(g, c, channel);
	else if (!strcmp(kind, "cpat"))
		gen_add(g, c, channel_pattern(g));
	else if (!strcmp(kind, "pats"))
		add_some(g, c, channel_pattern);
	else if (!strcmp(kind, "xlast"))
		gen_add(g, c, word_text("$"));
	else if (!strcmp(kind, "lua"))
		gen_add(g, c, body(g, some_body(g)));
	else if (!strcmp(kind, "sha"))
		gen_add(g, c, sha_of(g, body(g, some_body(g))));
	else {
		for (i = 0; i < sizeof(literal) / sizeof(*literal); i++)
			if (!strcmp(kind, literal[i])) {
				gen_add(g, c, word_text(literal[i]));
				return 1;
			}
		return 0;
	}
	return 1;
}

/* ---- markers --------------------------------------------------------------------------------------------------- */
static int is_script(const struct cmd *c)
{
	static const char *const some[] = { "EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO", "SCRIPT", "RESTORE", "FCALL", "FCALL_RO" };
	size_t i;

	for (i = 0; i < sizeof(some) / sizeof(*some); i++)
		if (c->argc && word_is(c->argv[0], some[i]))
			return 1;
	return 0;
}

/* Some keys have the marker always (k6 and h3 are nobody's key without it), long values half of the time. */
static void mark(struct gen *g, struct cmd *c)
{
	const struct maker *m = g->owner;
	int script = is_script(c);
	uint32_t i;

	for (i = 1; i < c->argc; i++) {
		struct word *w = &c->argv[i];
		uint8_t *p;

		if (w->p >= id_own && w->p < id_own + LINKS)
			continue;
		if (w->n == 2 && (!memcmp(w->p, "k6", 2) || !memcmp(w->p, "h3", 2) || !memcmp(w->p, "s4", 2) || !memcmp(w->p, "m9", 2))) {
			p = arena_get(g->mem, 2 + MARKER);
			memcpy(p, w->p, 2);
			memcpy(p + 2, m->p->marker, MARKER);
			*w = (struct word){ p, 2 + MARKER };
		} else if (w->n >= 20 && !script && !strchr("0123456789+-(#[. ", w->p[0]) && rng_below(g, 2)) {
			p = arena_get(g->mem, w->n);
			memcpy(p, w->p, w->n);
			memcpy(p, m->p->marker, MARKER);
			w->p = p;
		}
	}
}

/* ---- units ------------------------------------------------------------------------------------------------------- */
static struct cmd *list(struct maker *m, uint32_t n) { return arena_get(m->gen[0].mem, n * sizeof(struct cmd)); }

static void literal(struct gen *g, struct cmd *c, const char *text) { gen_line(g, c, EXACT, text); }

static int never_queued(const struct cmd *c)
{
	static const char *const some[] = { "DBSIZE", "FLUSHDB", "FLUSHALL", "WAIT", "SORT", "SORT_RO", "OBJECT", "COPY", "KEYS", "EVAL", "EVAL_RO" };
	size_t i;

	for (i = 0; i < sizeof(some) / sizeof(*some); i++)
		if (word_is(c->argv[0], some[i]))
			return 1;
	return c->rule >= SINGLE || c->wait_ms;
}

static void transaction(struct maker *m, struct gen *g, struct item *it)
{
	uint32_t n = 1 + rng_below(g, 6), i;
	/* beside a script Redis looks for the keys of each command when it is queued: only what has some */
	static const char *const plain[] = { "EVAL script 1 key GET", "EVAL script 1 lkey RPUSH els", "PUBLISH pchan word", "SET key val", "GET key",
		"HSET hkey fld val", "LRANGE lkey 0 -1", "XADD xkey xnew xfvs", "DEL keys", "MGET keys" };
	unsigned many;
	int scripted;

	it->how = TX;
	it->n = n + 2;
	scripted = rng_below(g, 4) == 0;
	it->c = list(m, it->n);
	literal(g, &it->c[0], "MULTI");
	for (i = 1; i <= n; i++) {
		struct cmd two[2];

		if (scripted) {
			do
				gen_line(g, &it->c[i], EXACT, plain[rng_below(g, sizeof(plain) / sizeof(*plain))]);
			while (!tame_stream(&it->c[i]));
			mark(g, &it->c[i]);
			continue;
		}
		do { /* what needs a second command behind it is nothing for here */
			many = gen_commands(g, two);
			mark(g, &two[0]);
			it->c[i] = two[0];
		} while (many > 1 || never_queued(&it->c[i]));
	}
	literal(g, &it->c[n + 1], rng_below(g, 10) ? "EXEC" : "DISCARD");
}

/* A list that is sorted by keys which are there: an episode is too short for chance alone to bring that about. */
static void weighed(struct maker *m, struct gen *g, struct item *it)
{
	static const char *const lines[] = { "SET w_1 weight", "SET w_2 weight", "SET w_3 weight", "RPUSH o1 1 2 3",
		"HSCAN nokey 0", /* clears an ERANGE that Redis' SORT would take for its own */
		"SORT o1 BY w_* GET w_* GET #" };
	uint32_t i;

	it->how = PLAIN;
	it->n = sizeof(lines) / sizeof(*lines);
	it->c = list(m, it->n);
	for (i = 0; i < it->n; i++)
		gen_line(g, &it->c[i], EXACT, lines[i]);
}

static void reply_mode(struct maker *m, struct gen *g, struct item *it)
{
	struct cmd two[2];
	uint32_t n = 1;
	unsigned many;

	it->how = LOOSE;
	it->c = list(m, 4);
	literal(g, &it->c[0], rng_below(g, 2) ? "CLIENT REPLY OFF" : "CLIENT REPLY SKIP");
	do {
		many = gen_commands(g, two);
		mark(g, &two[0]);
	} while (many > 1 || never_queued(&two[0]) || two[0].rule != EXACT);
	it->c[n++] = two[0];
	if (it->c[0].argv[2].p[0] == 'O' || it->c[0].argv[2].p[0] == 'o')
		literal(g, &it->c[n++], "CLIENT REPLY ON");
	it->n = n;
}

static void waiting(struct maker *m, struct gen *g, struct item *it)
{
	static const char *const some[] = { "BLPOP lkeys 0", "BRPOP lkeys 0", "BZPOPMIN zkeys 0", "BZPOPMAX zkeys 0", "BLMOVE lkey lkey LEFT RIGHT 0",
		"BLMPOP 0 1 lkey LEFT", "BZMPOP 0 1 zkey MIN", "XREAD BLOCK 0 STREAMS xkey xlast", "BLPOP lkeys 0", "BRPOPLPUSH lkey lkey 0" };

	it->how = WAITING;
	it->n = 1;
	it->c = list(m, 1);
	gen_line(g, it->c, EXACT, some[rng_below(g, sizeof(some) / sizeof(*some) )]);
	mark(g, it->c);
}

static void greet(struct maker *m, struct gen *g, struct item *it)
{
	static const char *const some[] = { "HELLO 2", "HELLO 3", "HELLO 3", "HELLO 4", "RESET", "QUIT" };
	const char *text = some[rng_below(g, 6)];

	it->how = text[0] == 'Q' ? LEAVE : GREET;
	it->n = 1;
	it->c = list(m, 2);
	if (text[0] == 'H') /* a watch holds for the protocol that it was made in */
		literal(g, &it->c[it->n++ - 1], "UNWATCH");
	literal(g, &it->c[it->n - 1], text);
}

/* A command that the agent knows and does not serve. */
static void refused(struct maker *m, struct gen *g, struct item *it)
{
	static const char *const names[] = {
#define REFUSED(name, ...) name,
#include "../../agent/command/refused.def"
#undef REFUSED
	};
	const char *name = names[rng_below(g, sizeof(names) / sizeof(*names))], *bar = strchr(name, '|');
	size_t n = bar ? (size_t)(bar - name) : strlen(name);
	uint32_t words = rng_below(g, 3);

	it->how = REFUSED;
	it->n = 1;
	it->c = list(m, 1);
	*it->c = (struct cmd){ .rule = EXACT };
	gen_add(g, it->c, (struct word){ (const uint8_t *)name, (uint32_t)n });
	if (bar)
		gen_add(g, it->c, word_text(bar + 1));
	for (; words > 0; words--)
		gen_add(g, it->c, some_word(g));
}

/* EVAL with a wrong number of keys: of two errors Redis names the other first to a user who may not use all keys. */
static int wrong_count(const struct cmd *c)
{
	int64_t n;

	return c->argc > 2 && (word_is(c->argv[0], "EVAL") || word_is(c->argv[0], "EVAL_RO")) &&
	    (word_int(c->argv[2], &n) || n < 0 || n > (int64_t)c->argc - 3);
}

/* ---- items ----------------------------------------------------------------------------------------------------------- */
static int hears(const struct cmd *c)
{
	static const char *const some[] = { "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "MONITOR", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE" };
	size_t i;

	for (i = 0; i < sizeof(some) / sizeof(*some); i++)
		if (word_is(c->argv[0], some[i]))
			return 1;
	return 0;
}

static int tracks(const struct cmd *c)
{
	return c->argc > 2 && word_is(c->argv[0], "CLIENT") && word_is(c->argv[1], "TRACKING");
}

static void special(struct maker *m, struct gen *g, struct item *it)
{
	uint32_t at = rng_below(g, m->total), i;

	for (i = 0; at >= specials[i].weight; i++)
		at -= specials[i].weight;
	it->how = (uint8_t)specials[i].how;
	it->n = 1;
	it->c = list(m, 2);
	gen_line(g, it->c, specials[i].rule, specials[i].text);
	mark(g, it->c);
	if (word_is(it->c->argv[0], "SELECT")) { /* a watch holds for the database that it was made in */
		it->c[it->n++] = it->c[0];
		literal(g, it->c, "UNWATCH");
	} else if (!m->w->o->undeclared && (word_is(it->c->argv[0], "EVALSHA") || word_is(it->c->argv[0], "EVALSHA_RO") ||
	    (word_is(it->c->argv[0], "EVAL") && it->c->argc > 5))) {
		literal(g, it->c, "PING");
	} else if (hears(it->c)) {
		if (!m->listening)
			literal(g, it->c, "CLIENT TRACKINGINFO"), it->how = ALONE;
		else if (word_is(it->c->argv[0], "MONITOR"))
			it->link = 4;
		else
			it->link = (uint8_t)(2 + rng_below(g, 3));
	} else if (tracks(it->c)) {
		if (!m->listening || (m->tracker != 2 && m->p != &m->w->p[m->tracker]))
			literal(g, it->c, "PING"), it->how = PLAIN;
		/* A write just before a read may be told of early: then to the same place as later. */
		it->link = it->c->argc > 3 && word_is(it->c->argv[3], "REDIRECT") ? 2 : 1;
	} else if (word_is(it->c->argv[0], "XREADGROUP") && m->listening) {
		it->link %= 2; /* a consumer that comes to be is told of in the middle of its reply */
	} else if (it->c->argc > 1 && word_is(it->c->argv[1], "CACHING")) {
		gen_line(g, &it->c[it->n++], EXACT, "GET key"); /* what it is about */
		it->link = (uint8_t)(1 + rng_below(g, 2));
	}
}

static uint8_t some_link(struct maker *m, struct gen *g, unsigned p)
{
	uint32_t r = rng_below(g, 100);

	if (r < 80)
		return m->link[p];
	r = rng_below(g, 100);
	return m->link[p] = r < 45 ? 0 : r < 70 ? 1 : r < 85 ? 2 : r < 95 ? 3 : 4;
}

static void make(struct maker *m, struct item *it)
{
	unsigned p = rng_below(&m->gen[0], 2);
	struct gen *g = &m->gen[p];
	struct cmd two[2];
	uint32_t r, i;

	m->p = &m->w->p[p];
	it->project = (uint8_t)p;
	it->link = some_link(m, g, p);
	r = rng_below(g, 200);
	if (r < 155 && m->listening) /* Redis 7.0 writes pushes of a client's own events into the middle of its replies */
		it->link %= 2;
	if (r < 140 && rng_below(g, 150) == 0) {
		weighed(m, g, it);
	} else if (r < 140) {
		it->how = PLAIN;
		it->n = gen_commands(g, two);
		it->c = list(m, it->n);
		for (i = 0; i < it->n; i++) {
			it->c[i] = two[i];
			mark(g, &it->c[i]);
			if (m->w->o->undeclared == 1 && wrong_count(&it->c[i]))
				literal(g, &it->c[i], "PING");
		}
		if (it->n == 2 && (word_is(it->c[1].argv[0], "DEL") || word_is(it->c[1].argv[0], "EXISTS")))
			it->c[1].argv[1] = it->c[0].argv[word_is(it->c[0].argv[0], "EVAL") ? 3 : 1]; /* the same key, marked */
	} else if (r < 150) {
		transaction(m, g, it);
	} else if (r < 152) {
		reply_mode(m, g, it);
	} else if (r < 155) {
		it->link = m->listening ? 1 : (uint8_t)(1 + rng_below(g, 2));
		waiting(m, g, it);
	} else if (r < 157) {
		greet(m, g, it);
	} else if (r < 158) {
		refused(m, g, it);
	} else {
		special(m, g, it);
	}
}

uint32_t make_items(struct world *w, struct arena *mem, uint64_t seed, struct item *out, uint32_t max)
{
	struct maker m = { .w = w };
	uint32_t n;
	size_t i;

	for (i = 0; i < nspecials; i++)
		m.total += specials[i].weight;
	for (i = 0; i < 2; i++) {
		struct gen *g = &m.gen[i];

		*g = (struct gen){ .rng = seed * 2 + i, .databases = w->o->databases, .mem = mem, .isolated = 1, .more = more, .owner = &m };
		rng_next(g);
		g->now_ms = (uint64_t)(clock_seconds(CLOCK_REALTIME) * 1000);
		g->streams = rng_below(g, 10) == 0;
	}
	m.listening = rng_below(&m.gen[0], 3) != 0;
	m.tracker = (int)rng_below(&m.gen[0], 3);
	for (n = 0; n < max; n++)
		make(&m, &out[n]);
	return n;
}
