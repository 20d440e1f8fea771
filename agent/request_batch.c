/* SPDX-License-Identifier: Apache-2.0
 *
 * One EVALSHA for all calls of a script that came in the same turn: what a store spends on a short script is mostly its
 * beginning and its end.  In: scripts that steps ask for.  Out: the same, one or many at a time, each with its own reply.
 *
 * A batch is open until the turn ends, a step that is no script goes out, or it is full; so steps go out in the order in
 * which they were asked for, but for scripts of different kinds that came in one turn.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "feature/feature.h"
#include "request_feature.h"
#include "resp/pick.h"

#define BATCH_ITEMS 32u
#define BATCH_KEYS 4u                   /* of one call; what has more goes alone */
#define BATCH_ARGS 8u
#define BATCHES_FREE 8u

struct script_batch {
	struct script_batch *next;      /* of the worker's open ones, or of its free ones */
	struct ask ask;                 /* of all of them; the earliest deadline */
	unsigned script;
	uint32_t nkeys, nargs, n;
	struct { child_fn fn; void *arg; } item[BATCH_ITEMS];
	purser_bytes key[BATCH_ITEMS * BATCH_KEYS], arg[BATCH_ITEMS * BATCH_ARGS];
	struct arena arena;             /* words that are nobody's */
	uint64_t mem[512];
	purser_bytes words[5 + BATCH_ITEMS * (BATCH_KEYS + BATCH_ARGS)];
	char count[12], each[12];
};

static const purser_bytes evalsha = { (const uint8_t *)"EVALSHA", 7 };

/* ---- answers ---- */

/* Behind the value at p; NULL: it is not whole, or nested as no script of ours nests. */
static const uint8_t *behind(const uint8_t *p, const uint8_t *end, unsigned depth)
{
	const uint8_t *line = p, *nl = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
	int64_t n;

	if (!nl || nl - p < 2 || depth > 8)
		return NULL;
	switch (*line) {
	case '$': case '=': case '!':
		if (purser_resp_int(line + 1, (size_t)(nl - line) - 2, &n) || n > end - nl - 3)
			return NULL;
		return n < 0 ? nl + 1 : nl + 1 + n + 2;
	case '*': case '~': case '>': case '%':
		if (purser_resp_int(line + 1, (size_t)(nl - line) - 2, &n))
			return NULL;
		p = nl + 1;
		for (n *= *line == '%' ? 2 : 1; n > 0 && p; n--)
			p = behind(p, end, depth + 1);
		return p;
	default:
		return nl + 1;
	}
}

static void give_batch(struct worker *w, struct script_batch *b)
{
	generation_unref(b->ask.gen);
	arena_end(&b->arena);
	if (w->nfree_batches == BATCHES_FREE) {
		free(b);
		return;
	}
	w->nfree_batches++;
	b->next = w->free_batches;
	w->free_batches = b;
}

static void one_answered(struct script_batch *b, uint32_t i, const uint8_t *p, const uint8_t *end)
{
	struct child_reply rep = { .resp = p, .n = (size_t)(end - p) };
	char text[BCALL_ERROR_MAX];

	if (*p == '-') {
		size_t n = rep.n - 3 < sizeof text - 1 ? rep.n - 3 : sizeof text - 1;

		memcpy(text, p + 1, n);
		text[n] = '\0';
		rep.err = err_of_text(text, n);
		rep.error = text;
	}
	b->item[i].fn(b->item[i].arg, &rep);
}

static void answered(void *arg, const struct child_reply *rep)
{
	static const struct child_reply nonsense = { .err = ERR_BACKENDPROTOCOL, .unsure = true,
		.error = "BACKENDPROTOCOL the backend answered a batch of scripts with something else" };
	struct script_batch *b = arg;
	struct worker *w = b->ask.w;
	const uint8_t *p = rep->resp, *end = p + rep->n, *next;
	int64_t n = -1;
	uint32_t i = 0;

	if (!rep->err && !resp_pick_header(&p, end, '*', &n) && n == b->n) {
		for (; i < b->n && (next = behind(p, end, 0)); i++, p = next)
			one_answered(b, i, p, next);
	}
	for (; i < b->n; i++)
		b->item[i].fn(b->item[i].arg, rep->err ? rep : &nonsense);
	give_batch(w, b);
}

static void alone_answered(void *arg, const struct child_reply *rep)
{
	struct script_batch *b = arg;
	struct worker *w = b->ask.w;

	b->item[0].fn(b->item[0].arg, rep);
	give_batch(w, b);
}

/* ---- sending ---- */

static void send_batch(struct script_batch *b)
{
	const struct feature_script *t = b->n == 1 ? &feature_scripts[b->script] : &feature_batches[b->script];
	uint32_t keys = b->n * b->nkeys, args = b->n * b->nargs, at = 0;

	if (!b->n) {
		give_batch(b->ask.w, b);
		return;
	}
	b->words[at++] = evalsha;
	b->words[at++] = (purser_bytes){ (const uint8_t *)t->sha, 40 };
	b->words[at++] = (purser_bytes){ (const uint8_t *)b->count, dec_u64(b->count, keys) };
	memcpy(b->words + at, b->key, keys * sizeof *b->words);
	at += keys;
	if (b->n > 1) {
		b->words[at++] = (purser_bytes){ (const uint8_t *)b->each, dec_u64(b->each, b->n) };
		metric_add(b->ask.w->metrics, METRIC_SCRIPTS_TOGETHER, b->n);
	}
	memcpy(b->words + at, b->arg, args * sizeof *b->words);
	b->ask.words = b->words;
	b->ask.body = (purser_bytes){ t->body, t->n };
	child_ask(&b->ask, b->words, at + args, b->n == 1 ? alone_answered : answered, b);
}

void batches_send(struct worker *w)
{
	struct script_batch *b;

	while ((b = w->batches)) {
		w->batches = b->next;
		send_batch(b);
	}
}

void worker_end_batches(struct worker *w)
{
	struct script_batch *b;

	while ((b = w->free_batches)) {
		w->free_batches = b->next;
		free(b);
	}
	w->nfree_batches = 0;
}

/* ---- gathering ---- */

static bool alike(const struct script_batch *b, const struct ask *a, unsigned script, uint32_t nkeys, uint32_t nargs)
{
	return b->script == script && b->nkeys == nkeys && b->nargs == nargs && b->n < BATCH_ITEMS && b->ask.gen == a->gen &&
	    b->ask.project == a->project && b->ask.instance == a->instance && b->ask.db == a->db && b->ask.internal == a->internal &&
	    b->ask.writes == a->writes && b->ask.keeps_leases == a->keeps_leases;
}

static struct script_batch *open_batch(const struct ask *a, unsigned script, uint32_t nkeys, uint32_t nargs)
{
	struct worker *w = a->w;
	struct script_batch *b, **at = &w->batches;

	for (; (b = *at); at = &b->next)
		if (alike(b, a, script, nkeys, nargs))
			return b;
	b = w->free_batches;
	if (b) {
		w->free_batches = b->next;
		w->nfree_batches--;
	} else {
		b = malloc(sizeof *b);
	}
	if (!b)
		return NULL;
	if (!w->batches)
		children_again(w);
	b->next = NULL;
	*at = b; /* they go out in the order in which they were opened */
	b->ask = *a;
	b->ask.borrowed = true; /* the batch has them */
	generation_ref(a->gen);
	b->script = script;
	b->nkeys = nkeys;
	b->nargs = nargs;
	b->n = 0;
	arena_begin(&b->arena, b->mem, sizeof b->mem);
	return b;
}

/* v[0..n) to to[], copied if they are not to be borrowed.  False: no memory. */
static bool take_words(struct script_batch *b, bool borrowed, purser_bytes *to, const purser_bytes *v, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		to[i] = v[i];
		if (borrowed || !v[i].n)
			continue;
		to[i].p = arena_get(&b->arena, v[i].n);
		if (!to[i].p)
			return false;
		memcpy((void *)(uintptr_t)to[i].p, v[i].p, v[i].n);
	}
	return true;
}

static void oom(child_fn fn, void *arg)
{
	fn(arg, &(struct child_reply){ .err = ERR_OOM, .error = "OOM out of memory" });
}

/* By itself, now. */
static void script_alone(const struct ask *a, unsigned script, const purser_bytes *keys, uint32_t nkeys,
    const purser_bytes *args, uint32_t nargs, struct arena *arena, child_fn fn, void *arg)
{
	const struct feature_script *t = &feature_scripts[script];
	purser_bytes *v = arena_get(arena, (3 + (size_t)nkeys + nargs) * sizeof *v);
	struct ask one = *a;

	if (!v || !(v[2] = feature_number(arena, nkeys)).p) {
		oom(fn, arg);
		return;
	}
	v[0] = evalsha;
	v[1] = (purser_bytes){ (const uint8_t *)t->sha, 40 };
	if (nkeys)
		memcpy(v + 3, keys, nkeys * sizeof *v);
	if (nargs)
		memcpy(v + 3 + nkeys, args, nargs * sizeof *v);
	one.words = v;
	one.body = (purser_bytes){ t->body, t->n };
	child_ask(&one, v, 3 + nkeys + nargs, fn, arg);
}

void script_ask(const struct ask *a, unsigned script, const purser_bytes *keys, uint32_t nkeys, const purser_bytes *args,
    uint32_t nargs, struct arena *arena, child_fn fn, void *arg)
{
	const struct purser_ctx *x = a->w->ctx[a->instance];
	struct script_batch *b;

	/* In this process a call has no beginning and no end to save. */
	if (!nkeys || nkeys > BATCH_KEYS || nargs > BATCH_ARGS || !x || x->inst->in_process) {
		batches_send(a->w);
		script_alone(a, script, keys, nkeys, args, nargs, arena, fn, arg);
		return;
	}
	b = open_batch(a, script, nkeys, nargs);
	if (!b || !take_words(b, a->borrowed, b->key + (size_t)b->n * nkeys, keys, nkeys) ||
	    !take_words(b, a->borrowed, b->arg + (size_t)b->n * nargs, args, nargs)) {
		oom(fn, arg); /* a batch that is still empty goes with nobody's call */
		return;
	}
	if (a->deadline_ns < b->ask.deadline_ns)
		b->ask.deadline_ns = a->deadline_ns;
	b->item[b->n].fn = fn;
	b->item[b->n++].arg = arg;
}
