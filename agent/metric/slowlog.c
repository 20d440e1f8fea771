/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "metric/slowlog.h"

struct ring { struct slow_sample v[SLOW_SAMPLES]; uint32_t at, n, max_ms; };

struct slow_project {
	struct slow_project *next;      /* the one that was slow before */
	char name[65];
	uint64_t next_id, n;
	struct slow_entry *newest, *oldest;
	struct ring ring[SLOW_EVENTS];
};

struct slowlogs {
	pthread_mutex_t lock;
	struct slow_project *first;     /* the one that was slow last */
	uint32_t n, max;
};

const char *slow_event_name(enum slow_event e)
{
	return e == SLOW_COMMAND ? "command" : "fast-command";
}

struct slowlogs *slowlogs_new(void)
{
	struct slowlogs *s = calloc(1, sizeof *s);

	if (s)
		pthread_mutex_init(&s->lock, NULL);
	return s;
}

static void drop_oldest(struct slow_project *p)
{
	struct slow_entry *e = p->oldest;

	p->oldest = e->newer;
	*(e->newer ? &e->newer->older : &p->newest) = NULL;
	p->n--;
	free(e);
}

static void project_free(struct slow_project *p)
{
	while (p->n)
		drop_oldest(p);
	free(p);
}

void slowlogs_free(struct slowlogs *s)
{
	struct slow_project *p;

	if (!s)
		return;
	while ((p = s->first)) {
		s->first = p->next;
		project_free(p);
	}
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void slowlogs_limit(struct slowlogs *s, uint32_t entries)
{
	pthread_mutex_lock(&s->lock);
	s->max = entries;
	for (struct slow_project *p = s->first; p; p = p->next)
		while (p->n > entries)
			drop_oldest(p);
	pthread_mutex_unlock(&s->lock);
}

static struct slow_project *find(struct slowlogs *s, const char *name)
{
	struct slow_project *p = s->first;

	while (p && strcmp(p->name, name))
		p = p->next;
	return p;
}

/* The project's, in front of all others; made if there is none.  NULL: no memory. */
static struct slow_project *touch(struct slowlogs *s, const char *name)
{
	struct slow_project **at = &s->first, *p;

	while ((p = *at) && strcmp(p->name, name) && (p->next || s->n < SLOW_PROJECTS))
		at = &p->next;
	if (p) {
		*at = p->next;
		if (strcmp(p->name, name)) { /* the last one of too many */
			project_free(p);
			s->n--;
			p = NULL;
		}
	}
	if (!p) {
		p = calloc(1, sizeof *p);
		if (!p)
			return NULL;
		snprintf(p->name, sizeof p->name, "%s", name);
		s->n++;
	}
	p->next = s->first;
	return s->first = p;
}

static size_t put_word(uint8_t *to, const void *text, size_t n, const char *more, size_t more_n)
{
	uint16_t len = (uint16_t)(n + more_n);

	memcpy(to, &len, 2);
	if (n)
		memcpy(to + 2, text, n);
	if (more_n)
		memcpy(to + 2 + n, more, more_n);
	return 2u + len;
}

/* As Redis shortens them. */
static size_t put_words(uint8_t *to, const struct slow_request *q)
{
	uint32_t argc = q->argc > SLOW_ARGS ? SLOW_ARGS - 1 : q->argc;
	char more[64];
	size_t n = 0;
	int len;

	for (uint32_t i = 0; i < argc; i++) {
		purser_bytes w = q->argv[i];

		len = w.n <= SLOW_ARG_BYTES ? 0 :
		    snprintf(more, sizeof more, "... (%zu more bytes)", w.n - SLOW_ARG_BYTES);
		n += put_word(to + n, w.p, len ? SLOW_ARG_BYTES : w.n, more, (size_t)len);
	}
	if (argc < q->argc) {
		len = snprintf(more, sizeof more, "... (%u more arguments)", q->argc - argc);
		n += put_word(to + n, NULL, 0, more, (size_t)len);
	}
	return n;
}

purser_bytes slow_word(const struct slow_entry *e, size_t *at)
{
	purser_bytes w;
	uint16_t n;

	memcpy(&n, e->bytes + *at, 2);
	w = (purser_bytes){ e->bytes + *at + 2, n };
	*at += 2u + n;
	return w;
}

static struct slow_entry *entry_new(const struct slow_request *q)
{
	uint8_t words[SLOW_ARGS * (SLOW_ARG_BYTES + 64)];
	size_t n = put_words(words, q);
	struct slow_entry *e = malloc(sizeof *e + n);

	if (!e)
		return NULL;
	memset(e, 0, sizeof *e);
	e->unix_s = q->unix_s;
	e->us = q->us;
	e->pid = q->pid;
	e->uid = q->uid;
	e->argc = q->argc > SLOW_ARGS ? SLOW_ARGS : q->argc;
	snprintf(e->client, sizeof e->client, "%s", q->client);
	memcpy(e->bytes, words, n);
	return e;
}

/* The worst of a second stands for it. */
static void sample(struct ring *r, uint32_t unix_s, uint32_t ms)
{
	struct slow_sample *last = &r->v[(r->at + SLOW_SAMPLES - 1) % SLOW_SAMPLES];

	if (ms > r->max_ms)
		r->max_ms = ms;
	if (r->n && last->unix_s == unix_s) {
		if (ms > last->ms)
			last->ms = ms;
		return;
	}
	r->v[r->at] = (struct slow_sample){ unix_s, ms };
	r->at = (r->at + 1) % SLOW_SAMPLES;
	r->n += r->n < SLOW_SAMPLES;
}

void slowlog_add(struct slowlogs *s, const char *project, const struct slow_request *q)
{
	struct slow_entry *e = entry_new(q);
	struct slow_project *p;

	pthread_mutex_lock(&s->lock);
	p = touch(s, project);
	if (p && e) {
		e->id = p->next_id++;
		e->older = p->newest;
		*(p->newest ? &p->newest->newer : &p->oldest) = e;
		p->newest = e;
		p->n++;
		e = NULL;
		while (p->n > s->max)
			drop_oldest(p);
	}
	if (p)
		sample(&p->ring[q->event], (uint32_t)q->unix_s, (uint32_t)((q->us + 999) / 1000));
	pthread_mutex_unlock(&s->lock);
	free(e);
}

void slowlog_each(struct slowlogs *s, const char *project, uint64_t max, void (*begin)(void *arg, uint64_t n),
    void (*fn)(void *arg, const struct slow_entry *e), void *arg)
{
	struct slow_project *p;
	struct slow_entry *e;

	pthread_mutex_lock(&s->lock);
	p = find(s, project);
	if (!p || p->n < max)
		max = p ? p->n : 0;
	begin(arg, max);
	for (e = p ? p->newest : NULL; max; max--, e = e->older)
		fn(arg, e);
	pthread_mutex_unlock(&s->lock);
}

uint64_t slowlog_len(struct slowlogs *s, const char *project)
{
	struct slow_project *p;
	uint64_t n;

	pthread_mutex_lock(&s->lock);
	p = find(s, project);
	n = p ? p->n : 0;
	pthread_mutex_unlock(&s->lock);
	return n;
}

void slowlog_reset(struct slowlogs *s, const char *project)
{
	struct slow_project *p;

	pthread_mutex_lock(&s->lock);
	p = find(s, project);
	while (p && p->n)
		drop_oldest(p);
	pthread_mutex_unlock(&s->lock);
}

void slow_series_get(struct slowlogs *s, const char *project, enum slow_event e, struct slow_series *out)
{
	struct slow_project *p;

	memset(out, 0, sizeof *out);
	pthread_mutex_lock(&s->lock);
	p = find(s, project);
	if (p) {
		const struct ring *r = &p->ring[e];

		out->n = r->n;
		out->max_ms = r->max_ms;
		for (uint32_t i = 0; i < r->n; i++)
			out->v[i] = r->v[(r->at + SLOW_SAMPLES - r->n + i) % SLOW_SAMPLES];
	}
	pthread_mutex_unlock(&s->lock);
}

bool slow_series_reset(struct slowlogs *s, const char *project, enum slow_event e)
{
	struct slow_project *p;
	bool was;

	pthread_mutex_lock(&s->lock);
	p = find(s, project);
	was = p && p->ring[e].n;
	if (was)
		memset(&p->ring[e], 0, sizeof p->ring[e]);
	pthread_mutex_unlock(&s->lock);
	return was;
}
