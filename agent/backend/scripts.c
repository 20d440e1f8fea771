/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/evp.h>
#include "access/prelude.h"
#include "backend/scripts.h"

#define BUCKETS 1024u
#define NS_MAX 65536u /* numbers of projects, as metric_project() gives them */

struct owner {
	struct script *newest, *oldest;
	size_t bytes;
};

struct scripts {
	pthread_mutex_t lock;
	struct buf prelude;             /* constant */
	size_t max;
	struct script *bucket[BUCKETS];
	struct owner *owner;
	uint32_t nowners;
	_Atomic uint32_t epoch;
	_Atomic uint8_t told[NS_MAX / 8];
};

void script_unref(struct script *s)
{
	if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
		free(s);
}

struct scripts *scripts_new(size_t max)
{
	struct scripts *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	s->max = max;
	prelude_table(&s->prelude);
	if (s->prelude.failed) {
		scripts_free(s);
		return NULL;
	}
	return s;
}

static uint32_t bucket_of(uint32_t ns, const uint8_t *sha)
{
	return ((uint32_t)sha[0] << 8 | sha[1]) * 31u + ns;
}

static struct script **place(struct scripts *s, uint32_t ns, const uint8_t *sha)
{
	struct script **p = &s->bucket[bucket_of(ns, sha) % BUCKETS];

	while (*p && ((*p)->ns != ns || memcmp((*p)->sha, sha, SCRIPT_SHA) != 0))
		p = &(*p)->chain;
	return p;
}

static void unlink_from(struct owner *o, struct script *e)
{
	if (e->newer)
		e->newer->older = e->older;
	else
		o->newest = e->older;
	if (e->older)
		e->older->newer = e->newer;
	else
		o->oldest = e->newer;
	e->newer = e->older = NULL;
}

static void link_newest(struct owner *o, struct script *e)
{
	e->older = o->newest;
	if (o->newest)
		o->newest->newer = e;
	else
		o->oldest = e;
	o->newest = e;
}

static void forget(struct scripts *s, struct owner *o, struct script *e)
{
	struct script **p = place(s, e->ns, e->sha);

	*p = e->chain;
	unlink_from(o, e);
	o->bytes -= sizeof *e + e->n;
	script_unref(e);
}

static void fit(struct scripts *s, struct owner *o)
{
	while (o->oldest && o->bytes > s->max)
		forget(s, o, o->oldest);
}

static struct owner *owner_of(struct scripts *s, uint32_t ns)
{
	if (ns >= s->nowners) {
		struct owner *v = ns < NS_MAX ? realloc(s->owner, (ns + 1) * sizeof *v) : NULL;

		if (!v)
			return NULL;
		memset(v + s->nowners, 0, (ns + 1 - s->nowners) * sizeof *v);
		s->owner = v;
		s->nowners = ns + 1;
	}
	return &s->owner[ns];
}

void scripts_free(struct scripts *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; i < s->nowners; i++)
		while (s->owner[i].oldest)
			forget(s, &s->owner[i], s->owner[i].oldest);
	free(s->owner);
	buf_free(&s->prelude);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void scripts_limit(struct scripts *s, size_t max)
{
	pthread_mutex_lock(&s->lock);
	s->max = max;
	for (uint32_t i = 0; i < s->nowners; i++)
		fit(s, &s->owner[i]);
	pthread_mutex_unlock(&s->lock);
}

void script_sha(purser_bytes body, uint8_t sha[SCRIPT_SHA])
{
	if (EVP_Digest(body.n ? body.p : (const uint8_t *)"", body.n, sha, NULL, EVP_sha1(), NULL) != 1)
		memset(sha, 0, SCRIPT_SHA); /* no provider: nothing has this name, so nothing is healed */
}

void script_sha_text(const uint8_t sha[SCRIPT_SHA], char text[2 * SCRIPT_SHA + 1])
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < SCRIPT_SHA; i++) {
		text[2 * i] = digits[sha[i] >> 4];
		text[2 * i + 1] = digits[sha[i] & 15];
	}
	text[2 * SCRIPT_SHA] = '\0';
}

int scripts_wrap(const struct scripts *s, purser_bytes body, struct buf *out, uint8_t physical[SCRIPT_SHA], bool *bare)
{
	if (prelude_wrap(&s->prelude, body.p, body.n, out, bare))
		return -1;
	script_sha((purser_bytes){ buf_data(out), buf_len(out) }, physical);
	return 0;
}

static int hex(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	    c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool script_sha_of(purser_bytes text, uint8_t sha[SCRIPT_SHA])
{
	if (text.n != 2 * SCRIPT_SHA)
		return false;
	for (unsigned i = 0; i < SCRIPT_SHA; i++) {
		int high = hex(text.p[2 * i]), low = hex(text.p[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		sha[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

void scripts_put(struct scripts *s, uint32_t ns, const uint8_t sha[SCRIPT_SHA], purser_bytes body)
{
	struct script *e, **p;
	struct owner *o;
	struct buf wrapped = { 0 };

	pthread_mutex_lock(&s->lock);
	o = owner_of(s, ns);
	e = o ? *place(s, ns, sha) : NULL;
	if (e) {
		unlink_from(o, e);
		link_newest(o, e);
	} else if (o && body.n <= s->max && sizeof *e + body.n <= s->max && (e = calloc(1, sizeof *e + body.n)) &&
	    scripts_wrap(s, body, &wrapped, e->physical, &e->bare)) {
		free(e);
	} else if (e) {
		atomic_init(&e->refs, 1);
		e->ns = ns;
		memcpy(e->sha, sha, SCRIPT_SHA);
		e->n = body.n;
		if (body.n)
			memcpy(e->body, body.p, body.n);
		p = place(s, ns, sha);
		*p = e;
		link_newest(o, e);
		o->bytes += sizeof *e + e->n;
		fit(s, o);
	}
	pthread_mutex_unlock(&s->lock);
	buf_free(&wrapped);
}

bool scripts_logical(struct scripts *s, uint32_t ns, const uint8_t physical[SCRIPT_SHA], uint8_t sha[SCRIPT_SHA])
{
	const struct script *e;

	pthread_mutex_lock(&s->lock);
	e = ns < s->nowners ? s->owner[ns].newest : NULL;
	while (e && memcmp(e->physical, physical, SCRIPT_SHA) != 0)
		e = e->older;
	if (e)
		memcpy(sha, e->sha, SCRIPT_SHA);
	pthread_mutex_unlock(&s->lock);
	return e != NULL;
}

struct script *scripts_get(struct scripts *s, uint32_t ns, const uint8_t sha[SCRIPT_SHA])
{
	struct script *e;

	pthread_mutex_lock(&s->lock);
	e = *place(s, ns, sha);
	if (e) {
		atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
		unlink_from(&s->owner[ns], e);
		link_newest(&s->owner[ns], e);
	}
	pthread_mutex_unlock(&s->lock);
	return e;
}

void scripts_forget(struct scripts *s, uint32_t ns)
{
	pthread_mutex_lock(&s->lock);
	while (ns < s->nowners && s->owner[ns].oldest)
		forget(s, &s->owner[ns], s->owner[ns].oldest);
	atomic_fetch_add_explicit(&s->epoch, 1, memory_order_relaxed);
	pthread_mutex_unlock(&s->lock);
}

uint32_t scripts_epoch(const struct scripts *s)
{
	return atomic_load_explicit(&s->epoch, memory_order_relaxed);
}

bool scripts_first(struct scripts *s, uint32_t ns)
{
	uint8_t bit = (uint8_t)(1u << ns % 8);

	if (ns >= NS_MAX || atomic_load_explicit(&s->told[ns / 8], memory_order_relaxed) & bit)
		return false;
	return !(atomic_fetch_or_explicit(&s->told[ns / 8], bit, memory_order_relaxed) & bit);
}
