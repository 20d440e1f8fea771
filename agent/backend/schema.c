/* SPDX-License-Identifier: Apache-2.0
 *
 * backend/schema: the sanity of what a plugin declares.
 */
#include <config.h>
#include "backend/schema.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "config/value.h"

#define NAME_MAX_BYTES 64

static int refuse(const struct plugin *pl, struct buf *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(const struct plugin *pl, struct buf *err, const char *fmt, ...)
{
	va_list ap;

	buf_printf(err, "plugin %s: ", pl->path);
	va_start(ap, fmt);
	buf_vprintf(err, fmt, ap);
	va_end(ap);
	return -1;
}

/* A name of 1..64 bytes that starts with a letter and has letters (lower case), digits and extra.
 */
static bool name_ok(const char *s, const char *extra)
{
	size_t n = s ? strlen(s) : 0;

	if (n < 1 || n > NAME_MAX_BYTES || !islower((unsigned char)s[0]))
		return false;
	for (; *s; s++)
		if (!islower((unsigned char)*s) && !isdigit((unsigned char)*s) &&
			!strchr(extra, *s))
			return false;
	return true;
}

static bool text_ok(const char *s)
{
	if (!s || !*s)
		return false;
	for (; *s; s++)
		if (iscntrl((unsigned char)*s))
			return false;
	return true;
}

/* ---- the table ------------------------------------------------------------------------------- */

static int check_facts(const struct plugin *pl, struct buf *err)
{
	const purser_plugin *p = &pl->p;

	if (!name_ok(p->name, "_-"))
		return refuse(pl, err, "its name is %s%s%s: use a-z, 0-9, _ and -, first a letter",
		    p->name ? "\"" : "", p->name ? p->name : "NULL", p->name ? "\"" : "");
	if (!text_ok(p->version) || !text_ok(p->summary))
		return refuse(pl, err, "%s is NULL, empty or has control characters in it",
		    text_ok(p->version) ? "summary" : "version");
	if (p->model != PURSER_INLINE && p->model != PURSER_BLOCKING)
		return refuse(pl, err,
			"model is %u: neither PURSER_INLINE (1) nor PURSER_BLOCKING (2)", p->model);
	if (p->args != PURSER_ARGS_ARGV && p->args != PURSER_ARGS_WIRE)
		return refuse(pl, err,
			"args is %u: neither PURSER_ARGS_ARGV (0) nor PURSER_ARGS_WIRE (1)",
			p->args);
	if (p->model == PURSER_BLOCKING && p->args == PURSER_ARGS_WIRE)
		return refuse(pl, err,
			"a PURSER_BLOCKING plugin takes its arguments as PURSER_ARGS_ARGV");
	if (p->max_parallel && p->model != PURSER_BLOCKING)
		return refuse(pl, err, "max_parallel is for PURSER_BLOCKING plugins");
	return 0;
}

static int check_callbacks(const struct plugin *pl, struct buf *err)
{
	const purser_plugin *p = &pl->p;
	bool reloads = false, all_run = p->nops > 0;
	const struct {
		const char *name, *why;
		bool needed, there;
	} need[] = {
		{ "start", "every plugin has it", true, p->start },
		{ "stop", "every plugin has it", true, p->stop },
		{ "stats", "PURSER_CAP_MEMORY_INFO is declared", p->caps & PURSER_CAP_MEMORY_INFO,
			p->stats },
		{ "subscribe", "PURSER_CAP_PUBSUB is declared", p->caps & PURSER_CAP_PUBSUB,
			p->subscribe },
		{ "track", "PURSER_CAP_TRACKING is declared", p->caps & PURSER_CAP_TRACKING,
			p->track },
		{ "flush", "args is PURSER_ARGS_WIRE", p->args == PURSER_ARGS_WIRE, p->flush },
		{ "resume", "args is PURSER_ARGS_WIRE", p->args == PURSER_ARGS_WIRE, p->resume },
		{ "adopt", "prepare is there", p->prepare, p->adopt },
		{ "prepare", "adopt is there", p->adopt, p->prepare },
	};

	for (size_t i = 0; i < sizeof(need) / sizeof(*need); i++)
		if (need[i].needed && !need[i].there)
			return refuse(pl, err, "the callback %s is missing (%s)", need[i].name,
				need[i].why);
	for (uint32_t i = 0; i < p->nkeys; i++)
		reloads |= p->keys[i].flags & PURSER_KEY_RELOADABLE;
	if (reloads && !p->prepare)
		return refuse(pl, err, "the callback prepare is missing (a setting is reloadable)");
	for (uint32_t i = 0; i < p->nops; i++)
		all_run &= p->ops[i].run != NULL;
	if (!p->submit && (!all_run || p->caps & (PURSER_CAP_BATCH | PURSER_CAP_ANY_COMMAND)))
		return refuse(pl, err, "the callback submit is missing (%s)", all_run ?
		    "batches and unlisted commands go there" : "a command has no run of its own");
	return 0;
}

/* ---- settings -------------------------------------------------------------------------------- */

static struct value_rule rule_of(const purser_key *k)
{
	return (struct value_rule){ .type = (enum value_type)k->type, .min = k->min, .max = k->max,
		.choices = k->choices };
}

int schema_value(const purser_key *k, const char *text, int64_t *out, char *why, size_t whylen)
{
	struct value_rule rule = rule_of(k);
	struct value v;

	if (value_parse(&rule, text, &v, why, whylen) < 0)
		return -1;
	*out = v.num;
	return 0;
}

/* "a|b|c": words, none empty, none twice. */
static bool choices_ok(const char *choices)
{
	int at = 0;

	if (!text_ok(choices))
		return false;
	for (const char *word = choices;; at++) {
		size_t n = strcspn(word, "|");

		if (n == 0 || value_choice(choices, word, n) != at)
			return false;
		if (!word[n])
			return true;
		word += n + 1;
	}
}

static int check_key(const struct plugin *pl, const purser_key *k, struct buf *err)
{
	char why[240];
	int64_t v;

	if (!name_ok(k->name, "_"))
		return refuse(pl, err,
			"a setting is called %s%s%s: use a-z, 0-9 and _, first a letter",
			k->name ? "\"" : "", k->name ? k->name : "NULL", k->name ? "\"" : "");
	if (strcmp(k->name, "plugin") == 0)
		return refuse(pl, err, "the setting \"plugin\" is the agent's own");
	if (k->type < PURSER_KEY_TEXT || k->type > PURSER_KEY_URL)
		return refuse(pl, err, "setting %s has type %u, which this agent does not know",
			k->name, k->type);
	if (!text_ok(k->doc))
		return refuse(pl, err, "setting %s has no doc", k->name);
	if (k->min > k->max)
		return refuse(pl, err, "setting %s: min %" PRId64 " is more than max %" PRId64,
			k->name, k->min, k->max);
	if (k->type == PURSER_KEY_ENUM && !choices_ok(k->choices))
		return refuse(pl, err,
			"setting %s: choices are to be different words, as \"a|b|c\"", k->name);
	if (k->def && k->flags & (PURSER_KEY_REQUIRED | PURSER_KEY_SECRET))
		return refuse(pl, err, "setting %s is %s and has a default", k->name,
		    k->flags & PURSER_KEY_SECRET ? "a secret" : "required");
	if (k->def && schema_value(k, k->def, &v, why, sizeof(why)) < 0)
		return refuse(
			pl, err, "setting %s: its own default is not valid: %s", k->name, why);
	return 0;
}

/* ---- commands, metrics ----------------------------------------------------------------------- */

/* "GET", "OBJECT|ENCODING", "SESSION.GET": as it is written, in upper case. */
static bool op_name_ok(const char *s)
{
	size_t n = s ? strlen(s) : 0;

	if (n < 1 || n > NAME_MAX_BYTES || !isupper((unsigned char)s[0]))
		return false;
	for (; *s; s++)
		if (!isupper((unsigned char)*s) && !isdigit((unsigned char)*s) &&
			!strchr("|._-", *s))
			return false;
	return true;
}

static int check_op(const struct plugin *pl, uint32_t i, struct buf *err)
{
	const char *name = pl->p.ops[i].name;

	if (!name)
		return refuse(pl, err, "command %u of %u has no name (NULL)", i, pl->p.nops);
	if (!op_name_ok(name))
		return refuse(pl, err,
			"command %u is called \"%s\": use upper case, as GET or OBJECT|FREQ", i,
			name);
	return 0;
}

static int check_metric(const struct plugin *pl, const purser_metric *m, struct buf *err)
{
	if (!name_ok(m->name, "_."))
		return refuse(pl, err, "a metric is called %s%s%s: use a-z, 0-9, _ and .",
		    m->name ? "\"" : "", m->name ? m->name : "NULL", m->name ? "\"" : "");
	if (!m->unit || !text_ok(m->doc))
		return refuse(pl, err, "metric %s has no %s", m->name, m->unit ? "doc" : "unit");
	if (m->kind < PURSER_METRIC_COUNTER || m->kind > PURSER_METRIC_GAUGE)
		return refuse(pl, err, "metric %s has kind %u, which this agent does not know",
			m->name, m->kind);
	return 0;
}

/* The first name that is there twice, or NULL.  name(pl, i): n names, all checked. */
static const char *twice(const struct plugin *pl, uint32_t n,
    const char *(*name)(const struct plugin *, uint32_t))
{
	for (uint32_t i = 1; i < n; i++)
		for (uint32_t j = 0; j < i; j++)
			if (strcmp(name(pl, i), name(pl, j)) == 0)
				return name(pl, i);
	return NULL;
}

static const char *key_name(const struct plugin *pl, uint32_t i) { return pl->p.keys[i].name; }
static const char *op_name(const struct plugin *pl, uint32_t i) { return pl->p.ops[i].name; }
static const char *metric_name(const struct plugin *pl, uint32_t i)
{
	return pl->p.metrics[i].name;
}

int schema_check(const struct plugin *pl, struct buf *err)
{
	const purser_plugin *p = &pl->p;
	const char *name;

	if (check_facts(pl, err) < 0)
		return -1;
	for (uint32_t i = 0; i < p->nkeys; i++)
		if (check_key(pl, &p->keys[i], err) < 0)
			return -1;
	for (uint32_t i = 0; i < p->nops; i++)
		if (check_op(pl, i, err) < 0)
			return -1;
	for (uint32_t i = 0; i < p->nmetrics; i++)
		if (check_metric(pl, &p->metrics[i], err) < 0)
			return -1;
	if (p->nops == 0 && !(p->caps & PURSER_CAP_ANY_COMMAND))
		return refuse(pl, err, "it lists no commands");
	if ((name = twice(pl, p->nkeys, key_name)))
		return refuse(pl, err, "setting %s is declared twice", name);
	if ((name = twice(pl, p->nops, op_name)))
		return refuse(pl, err, "command %s is listed twice", name);
	if ((name = twice(pl, p->nmetrics, metric_name)))
		return refuse(pl, err, "metric %s is declared twice", name);
	return check_callbacks(pl, err);
}

int64_t schema_find_key(const struct plugin *pl, const char *name)
{
	for (uint32_t i = 0; i < pl->p.nkeys; i++)
		if (strcmp(pl->p.keys[i].name, name) == 0)
			return i;
	return -1;
}

int64_t schema_find_op(const struct plugin *pl, const char *name)
{
	for (uint32_t i = 0; i < pl->p.nops; i++)
		if (strcasecmp(pl->p.ops[i].name, name) == 0)
			return i;
	return -1;
}
