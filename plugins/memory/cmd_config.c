/* SPDX-License-Identifier: Apache-2.0
 *
 * CONFIG GET, SET and RESETSTAT: Redis' names for the settings of a store.  What changes here holds until the
 * agent's own configuration changes the same setting.  Sizes of the compact forms are one value for all
 * stores: naming that value is fine, another is refused.
 */
#include <stdio.h>
#include <string.h>
#include "cmd.h"
#include "evict.h"
#include "event.h"
#include "number.h"

#define VALUE_TEXT 256

struct setting {
	const char *name, *other;             /* another name of the same; NULL: it has none */
	const char *fixed;                    /* the value that it always has, or */
	void (*show)(struct store *st, char out[VALUE_TEXT]);
	/* NULL, or why not; writes *to.  set() cannot fail. */
	const char *(*parse)(struct store *st, purser_bytes text, int64_t *to);
	void (*set)(struct store *st, int64_t to);
};

/* ---- single settings ------------------------------------------------------------------------------------ */
static void max_set(struct store *st, int64_t v) { atomic_store_explicit(&st->max_memory, v, memory_order_relaxed); }
static void max_show(struct store *st, char out[VALUE_TEXT])
{
	snprintf(out, VALUE_TEXT, "%lld", (long long)atomic_load_explicit(&st->max_memory, memory_order_relaxed));
}

static const char *max_parse(struct store *st, purser_bytes text, int64_t *to)
{
	static const struct { const char *word; int64_t factor; } units[] = { { "", 1 }, { "b", 1 }, { "k", 1000 },
		{ "kb", 1024 }, { "m", 1000000 }, { "mb", 1 << 20 }, { "g", 1000000000 }, { "gb", 1 << 30 } };
	static const char bad[] = "argument must be a memory value";
	size_t digits, i;

	(void)st;
	for (digits = 0; digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9'; digits++)
		;
	if (digits > 1 && text.p[0] == '0') /* as a number may not begin */
		return bad;
	if (int_parse(text.p, digits, to))
		return bad;
	text.p += digits;
	text.n -= digits;
	for (i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (arg_is(text, units[i].word) && !__builtin_mul_overflow(*to, units[i].factor, to))
			return NULL;
	return bad;
}

/* Choice number i of "a|b|c"; its length, 0: there are not so many. */
static size_t choice(const char *all, int64_t i, const char **out)
{
	for (; i > 0 && all; i--) {
		all = strchr(all, '|');
		all = all ? all + 1 : NULL;
	}
	*out = all;
	return all ? strcspn(all, "|") : 0;
}

static void policy_set(struct store *st, int64_t v)
{
	evict_choose(st, (uint32_t)v);
}

const char *policy_name(struct store *st, char out[POLICY_TEXT])
{
	const char *name;
	size_t n = choice(EVICT_CHOICES, atomic_load_explicit(&st->eviction, memory_order_relaxed), &name);

	snprintf(out, POLICY_TEXT, "%.*s", (int)n, n ? name : "");
	return out;
}

static void policy_show(struct store *st, char out[VALUE_TEXT]) { policy_name(st, out); }

static const char *policy_parse(struct store *st, purser_bytes text, int64_t *to)
{
	char word[POLICY_TEXT];
	const char *name;
	size_t n;

	(void)st;
	for (*to = 0; (n = choice(EVICT_CHOICES, *to, &name)) > 0; ++*to) {
		snprintf(word, sizeof(word), "%.*s", (int)n, name);
		if (arg_is(text, word))
			return NULL;
	}
	return "argument(s) must be one of the following: ";
}

static void events_set(struct store *st, int64_t v) { notify_set(st, (uint32_t)v); }
static void events_show(struct store *st, char out[VALUE_TEXT]) { notify_text(notify_get(st), out); }

static const char *events_parse(struct store *st, purser_bytes text, int64_t *to)
{
	(void)st;
	*to = notify_parse(text.p, text.n);
	return *to < 0 ? "Invalid event class character. Use 'Ag$lshzxeKEtmdn'." : NULL;
}

/* Milliseconds, as Redis has them; 0: no script is ever too slow. */
static void limit_set(struct store *st, int64_t v)
{
	atomic_store_explicit(&st->script_limit_ms, (uint64_t)v, memory_order_relaxed);
}

static void limit_show(struct store *st, char out[VALUE_TEXT])
{
	snprintf(out, VALUE_TEXT, "%llu",
	    (unsigned long long)atomic_load_explicit(&st->script_limit_ms, memory_order_relaxed));
}

static const char *limit_parse(struct store *st, purser_bytes text, int64_t *to)
{
	(void)st;
	if (int_parse(text.p, text.n, to))
		return "argument couldn't be parsed into an integer";
	return *to < 0 ? "argument must be between 0 and 9223372036854775807 inclusive" : NULL;
}

static void databases_show(struct store *st, char out[VALUE_TEXT]) { snprintf(out, VALUE_TEXT, "%u", st->databases); }

static const struct setting settings[] = {
	{ "maxmemory", NULL, NULL, max_show, max_parse, max_set },
	{ "maxmemory-policy", NULL, NULL, policy_show, policy_parse, policy_set },
	{ "notify-keyspace-events", NULL, NULL, events_show, events_parse, events_set },
	{ "busy-reply-threshold", "lua-time-limit", NULL, limit_show, limit_parse, limit_set },
	{ "databases", NULL, NULL, databases_show, NULL, NULL },
#define FIXED(name, other, value) { name, other, value, NULL, NULL, NULL }
	FIXED("hash-max-listpack-entries", "hash-max-ziplist-entries", "512"),
	FIXED("hash-max-listpack-value", "hash-max-ziplist-value", "64"),
	FIXED("list-max-listpack-size", "list-max-ziplist-size", "-2"),
	FIXED("list-compress-depth", NULL, "0"),
	FIXED("set-max-intset-entries", NULL, "512"),
	FIXED("zset-max-listpack-entries", "zset-max-ziplist-entries", "128"),
	FIXED("zset-max-listpack-value", "zset-max-ziplist-value", "64"),
	FIXED("hll-sparse-max-bytes", NULL, "3000"),
	FIXED("stream-node-max-bytes", NULL, "4096"),
	FIXED("stream-node-max-entries", NULL, "100"),
	FIXED("proto-max-bulk-len", NULL, "536870912"),
	FIXED("timeout", NULL, "0"),
	FIXED("save", NULL, ""),
	FIXED("appendonly", NULL, "no"),
#undef FIXED
};
#define SETTINGS (sizeof(settings) / sizeof(*settings))

static void show(const struct setting *s, struct store *st, char out[VALUE_TEXT])
{
	if (s->fixed)
		snprintf(out, VALUE_TEXT, "%s", s->fixed);
	else
		s->show(st, out);
}

/* ---- CONFIG GET ------------------------------------------------------------------------------------------- */
/* All of them: patterns, and which names a project sees, are the host's affair. */
void op_config_get(struct ctx *cx, purser_call *c)
{
	char value[VALUE_TEXT];
	size_t i, n = SETTINGS;

	for (i = 0; i < SETTINGS; i++)
		n += settings[i].other != NULL;
	cx->h->map(c, n);
	for (i = 0; i < SETTINGS; i++) {
		show(&settings[i], cx->st, value);
		reply_text(cx, c, settings[i].name);
		reply_text(cx, c, value);
		if (!settings[i].other)
			continue;
		reply_text(cx, c, settings[i].other);
		reply_text(cx, c, value);
	}
}

/* ---- CONFIG SET: all of them or none ------------------------------------------------------------------------ */
struct change { const struct setting *s; int64_t to; };

static const struct setting *setting_of(purser_bytes name)
{
	size_t i;

	for (i = 0; i < SETTINGS; i++)
		if (arg_is(name, settings[i].name) || (settings[i].other && arg_is(name, settings[i].other)))
			return &settings[i];
	return NULL;
}

static const char *fixed_parse(const struct setting *s, struct store *st, purser_bytes text)
{
	char value[VALUE_TEXT];

	if (!s->fixed)
		return "can't set immutable config";
	show(s, st, value);
	return text.n == strlen(value) && !memcmp(text.p, value, text.n) ? NULL :
	    "the memory backend knows no other value of it";
}

static void refuse(struct ctx *cx, purser_call *c, purser_bytes name, const char *why)
{
	char choices[VALUE_TEXT] = "";
	size_t i, n = 0;

	if (why[strlen(why) - 1] == ' ') { /* "...: " */
		for (i = 0; EVICT_CHOICES[i] && n + 3 < sizeof(choices); i++) {
			if (EVICT_CHOICES[i] == '|')
				choices[n++] = ',';
			choices[n++] = EVICT_CHOICES[i] == '|' ? ' ' : EVICT_CHOICES[i];
		}
		choices[n] = '\0';
	}
	reply_errorf(cx, c, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s%s", (int)name.n,
	    (const char *)name.p, why, choices);
}

void op_config_set(struct ctx *cx, purser_call *c)
{
	struct change *v;
	uint32_t n = (c->argc - 2) / 2, i, k;

	if (c->argc % 2) {
		reply_error(cx, c, err_syntax);
		return;
	}
	v = scratch(cx, n * sizeof(*v));
	if (!v) {
		reply_nomem(cx, c);
		return;
	}
	for (i = 0; i < n; i++) {
		purser_bytes name = c->argv[2 + 2 * i];

		v[i].s = setting_of(name);
		if (!v[i].s) {
			reply_errorf(cx, c, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
			    name.n > 128 ? 128 : (int)name.n, (const char *)name.p);
			return;
		}
		for (k = 0; k < i && v[k].s != v[i].s; k++)
			;
		if (k < i) {
			refuse(cx, c, name, "duplicate parameter");
			return;
		}
	}
	for (i = 0; i < n; i++) {
		purser_bytes text = c->argv[3 + 2 * i];
		const char *why = v[i].s->parse ? v[i].s->parse(cx->st, text, &v[i].to) :
		    fixed_parse(v[i].s, cx->st, text);

		if (why) {
			refuse(cx, c, c->argv[2 + 2 * i], why);
			return;
		}
	}
	for (i = 0; i < n; i++)
		if (v[i].s->set)
			v[i].s->set(cx->st, v[i].to);
	reply_ok(cx, c);
}

/* What INFO counts begins anew; the agent's metrics go on. */
void op_config_resetstat(struct ctx *cx, purser_call *c)
{
	stats_reset(cx->st);
	reply_ok(cx, c);
}
