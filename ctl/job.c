/* SPDX-License-Identifier: Apache-2.0 */
/* purserctl: jobs over many keys. */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "ctl.h"

#define BAR 30
#define PIECE "1048576"

/* ---- the answer ---- */

static const redisReply *field(const redisReply *r, const char *name)
{
	for (size_t i = 0; i + 1 < r->elements; i += 2)
		if (r->element[i]->str && strcmp(r->element[i]->str, name) == 0)
			return r->element[i + 1];
	return NULL;
}

static const char *text(const redisReply *r, const char *name)
{
	const redisReply *v = field(r, name);

	return v && v->str ? v->str : "";
}

static long long number(const redisReply *r, const char *name)
{
	const redisReply *v = field(r, name);

	return v && v->type == REDIS_REPLY_INTEGER ? v->integer : -1;
}

/* In percent; -1: nobody knows. */
static double progress(const redisReply *r)
{
	const redisReply *v = field(r, "progress");

	return v && v->str ? strtod(v->str, NULL) : -1;
}

static bool over(const char *state)
{
	return strcmp(state, "done") == 0 || strcmp(state, "cancelled") == 0 || strcmp(state, "failed") == 0;
}

/* RESP2 has no numbers with a point and no truth: JSON has. */
static json_t *json_of_job(const redisReply *r)
{
	json_t *o = json_of_pairs(r);
	double p = progress(r);

	json_object_set_new(o, "progress", p < 0 ? json_null() : json_real(p));
	json_object_set_new(o, "dry_run", json_boolean(number(r, "dry_run") == 1));
	json_object_set_new(o, "cap", json_boolean(number(r, "cap") == 1));
	return o;
}

static void put_time(char *dst, size_t cap, long long ms)
{
	long long s = (ms + 999) / 1000;

	if (ms < 0)
		snprintf(dst, cap, "-");
	else if (s < 60)
		snprintf(dst, cap, "%llds", s);
	else if (s < 3600)
		snprintf(dst, cap, "%lldm%02llds", s / 60, s % 60);
	else
		snprintf(dst, cap, "%lldh%02lldm", s / 3600, s / 60 % 60);
}

static int put_job(struct ctl *x, const redisReply *r)
{
	json_t *o = json_of_job(r);

	if (x->json)
		return print_json(o);
	print_flat(x, o);
	json_decref(o);
	return CTL_OK;
}

/* ---- the verbs ---- */

static int list(struct ctl *x)
{
	struct table t = { .cols = 8 };
	redisReply *all;
	json_t *array;
	int rc;

	if (x->argc != 1)
		return ctl_fail(x, CTL_USAGE, "usage: purserctl job list");
	rc = ctl_ask_words(x, &all, "PURSER.JOB.LIST", NULL);
	if (rc != CTL_OK)
		return rc;
	array = json_array();
	table_row(&t, "ID", "KIND", "STATE", "DONE", "LEFT", "MATCHED", "CHANGED", "PATTERN");
	for (size_t i = 0; i < all->elements; i++) {
		const redisReply *r = all->element[i];
		char done[16] = "-", left[24], matched[24], changed[24];

		json_array_append_new(array, json_of_job(r));
		if (progress(r) >= 0)
			snprintf(done, sizeof done, "%.1f%%", progress(r));
		put_time(left, sizeof left, over(text(r, "state")) ? -1 : number(r, "eta_ms"));
		snprintf(matched, sizeof matched, "%lld", number(r, "matched"));
		snprintf(changed, sizeof changed, "%lld", number(r, "changed"));
		table_row(&t, text(r, "id"), text(r, "kind"), text(r, "state"), done, left, matched, changed, text(r, "pattern"));
	}
	freeReplyObject(all);
	if (x->json)
		return print_json(array);
	json_decref(array);
	table_print(&t, x);
	return CTL_OK;
}

static int one(struct ctl *x, const char *word)
{
	redisReply *r;
	int rc;

	if (x->argc != 2)
		return ctl_fail(x, CTL_USAGE, "usage: purserctl job %s ID", x->argv[0]);
	rc = ctl_ask_words(x, &r, word, x->argv[1], NULL);
	if (rc != CTL_OK)
		return rc;
	rc = put_job(x, r);
	freeReplyObject(r);
	return rc;
}

static int start(struct ctl *x)
{
	const char *argv[16] = { "PURSER.JOB.START" };
	size_t len[16] = { 16 };
	redisReply *r;
	int rc;

	if (x->argc < 3 || x->argc > 15)
		return ctl_fail(x, CTL_USAGE, "usage: purserctl job start clear|count|ttlrepair|export PATTERN [TTL MS] [CAP] "
		    "[RATE KEYS/S] [DRYRUN]");
	for (int i = 1; i < x->argc; i++) {
		argv[i] = x->argv[i];
		len[i] = strlen(x->argv[i]);
	}
	rc = ctl_ask(x, x->argc, argv, len, &r);
	if (rc != CTL_OK)
		return rc;
	if (x->json)
		rc = print_json(json_pack("{s:o}", "id", json_of_reply(r)));
	else
		printf("%s\n", r->str ? r->str : "");
	freeReplyObject(r);
	return rc;
}

/* "[######......]  27.3%  12345 matched, 12345 changed, 2m10s left" */
static void put_line(const redisReply *r, char *dst, size_t cap)
{
	char bar[BAR + 1], left[24], done[16] = "   ?";
	double p = progress(r);
	int full = p < 0 ? 0 : (int)(p * BAR / 100);
	const char *state = text(r, "state");

	memset(bar, '.', BAR);
	memset(bar, '#', (size_t)(full > BAR ? BAR : full));
	bar[BAR] = '\0';
	if (p >= 0)
		snprintf(done, sizeof done, "%5.1f%%", p);
	put_time(left, sizeof left, number(r, "eta_ms"));
	snprintf(dst, cap, "[%s] %s  %lld matched, %lld changed, %s%s%s%s", bar, done, number(r, "matched"), number(r, "changed"),
	    strcmp(state, "running") ? state : left, strcmp(state, "running") ? "" : " left", *text(r, "reason") ? ": " : "",
	    text(r, "reason"));
}

static int watch(struct ctl *x)
{
	char was[400] = "", line[400];
	bool bar = x->tty && !x->json, end = false;
	int rc = CTL_OK;

	if (x->argc != 2)
		return ctl_fail(x, CTL_USAGE, "usage: purserctl job watch ID");
	while (!end) {
		const struct timespec nap = { .tv_sec = bar ? 0 : 1, .tv_nsec = bar ? 200000000 : 0 };
		redisReply *r;

		rc = ctl_ask_words(x, &r, "PURSER.JOB", x->argv[1], NULL);
		if (rc != CTL_OK) {
			if (bar && *was)
				putchar('\n');
			return rc;
		}
		end = over(text(r, "state"));
		put_line(r, line, sizeof line);
		if (x->json) {
			json_t *o = json_of_job(r);

			if (json_dumpf(o, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER))
				rc = CTL_OUTPUT;
			putchar('\n');
			json_decref(o);
		} else if (bar) {
			printf("\r\033[K%s", line);
		} else if (strcmp(line, was)) { /* a line a second, and only what is new */
			puts(line);
		}
		if (fflush(stdout) || ferror(stdout))
			rc = CTL_OUTPUT;
		snprintf(was, sizeof was, "%s", line);
		if (rc != CTL_OK) {
			freeReplyObject(r);
			return rc;
		}
		if (end)
			rc = strcmp(text(r, "state"), "done") ? CTL_NO : CTL_OK;
		freeReplyObject(r);
		if (!end)
			nanosleep(&nap, NULL);
	}
	if (bar)
		putchar('\n');
	return rc;
}

/* All names of an export that are there. */
static int names(struct ctl *x)
{
	char offset[24] = "0";
	bool end = false;

	if (x->argc != 2)
		return ctl_fail(x, CTL_USAGE, "usage: purserctl job names ID");
	while (!end) {
		const redisReply *v;
		redisReply *r;
		int rc = ctl_ask_words(x, &r, "PURSER.JOB.FETCH", x->argv[1], "OFFSET", offset, "COUNT", PIECE, NULL);

		if (rc != CTL_OK)
			return rc;
		v = field(r, "names");
		if (v && v->len)
			fwrite(v->str, 1, v->len, stdout);
		end = !v || !v->len || number(r, "complete") == 1;
		if (end && number(r, "complete") != 1)
			fprintf(stderr, "purserctl: the job is %s: there may be more\n", text(r, "state"));
		snprintf(offset, sizeof offset, "%lld", number(r, "next_offset"));
		rc = end && number(r, "complete") != 1 ? CTL_NO : CTL_OK;
		freeReplyObject(r);
		if (ferror(stdout))
			return CTL_OUTPUT;
		if (end)
			return rc;
	}
	return CTL_OK;
}

static int show(struct ctl *x) { return one(x, "PURSER.JOB"); }
static int cancel(struct ctl *x) { return one(x, "PURSER.JOB.CANCEL"); }

int cmd_job(struct ctl *x)
{
	static const struct { const char *name; int (*run)(struct ctl *x); } verbs[] = { { "list", list }, { "show", show },
		{ "watch", watch }, { "cancel", cancel }, { "start", start }, { "names", names } };

	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
		if (strcmp(verbs[i].name, x->argv[0]) == 0)
			return verbs[i].run(x);
	return ctl_fail(x, CTL_USAGE, "purserctl job list, show, watch, cancel, start or names: purserctl help job");
}
