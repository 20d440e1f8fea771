/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <ctype.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "access/limit.h"
#include "access/project.h"
#include "metric/metric.h"

static uint32_t hash_of(const void *name, size_t n)
{
	const uint8_t *s = name;
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ s[i]) * 16777619u;
	return h ^ h >> 15;
}

/* ---- names ---- */

/* 8-4-4-4-12 digits of base 16. */
static bool is_uuid(const uint8_t *s, size_t n)
{
	if (n != 36)
		return false;
	for (size_t i = 0; i < n; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? s[i] != '-' : !isxdigit(s[i]))
			return false;
	return true;
}

/* The name as projects have it: a UUID in lower case. */
static const void *usual(const void *name, size_t n, char lower[36])
{
	if (!is_uuid(name, n))
		return name;
	for (size_t i = 0; i < n; i++)
		lower[i] = (char)tolower(((const uint8_t *)name)[i]);
	return lower;
}

void project_fold(char *name, size_t n)
{
	for (size_t i = 0; is_uuid((const uint8_t *)name, n) && i < n; i++)
		name[i] = (char)tolower((unsigned char)name[i]);
}

bool project_name_ok(const void *name, size_t n)
{
	const uint8_t *s = name;

	if (n < 1 || n > PROJECT_NAME_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!(islower(s[i]) || isdigit(s[i]) || s[i] == '.' || s[i] == '_' || s[i] == '-'))
			return false;
	return true;
}

static bool called(const struct project *p, const void *name, size_t n)
{
	return strlen(p->name) == n && memcmp(p->name, name, n) == 0;
}

/* ---- those of the configuration ---- */

int projects_index(struct project_set *s)
{
	uint32_t size = 16;

	while (size < 2 * s->n)
		size *= 2;
	s->index = calloc(size, sizeof *s->index);
	if (!s->index)
		return -1;
	s->mask = size - 1;
	for (uint32_t i = 0; i < s->n; i++) {
		uint32_t at = hash_of(s->v[i].name, strlen(s->v[i].name)) & s->mask;

		while (s->index[at])
			at = (at + 1) & s->mask;
		s->index[at] = (uint16_t)(i + 1);
	}
	return 0;
}

static const struct project *find_static(const struct project_set *s, const void *name, size_t n)
{
	if (!s->index) {
		for (uint32_t i = 0; i < s->n; i++)
			if (called(&s->v[i], name, n))
				return &s->v[i];
		return NULL;
	}
	for (uint32_t at = hash_of(name, n) & s->mask; s->index[at]; at = (at + 1) & s->mask)
		if (called(&s->v[s->index[at] - 1], name, n))
			return &s->v[s->index[at] - 1];
	return NULL;
}

/* ---- those that come to be ---- */

#define MADE_BUCKETS 1024u

struct made {
	struct project p;
	struct made *next;              /* set before it can be found */
};

struct project_more {
	pthread_mutex_t lock;           /* of making; finding needs none */
	struct project model;           /* name "*" */
	char head[PROJECT_PREFIX_MAX + 1], tail[PROJECT_PREFIX_MAX + 1];
	uint32_t max;
	_Atomic uint32_t n;
	struct project_numbers *numbers;
	struct metric_reg *metrics;
	_Atomic(struct made *) bucket[MADE_BUCKETS];
};

static const struct project *find_made(const struct project_more *m, const void *name, size_t n)
{
	struct made *e = atomic_load_explicit(&m->bucket[hash_of(name, n) % MADE_BUCKETS], memory_order_acquire);

	while (e && !called(&e->p, name, n))
		e = e->next;
	return e ? &e->p : NULL;
}

const struct project *project_find(const struct project_set *s, const void *name, size_t n)
{
	const struct project *p;
	char lower[36];

	if (n < 1 || n > PROJECT_NAME_MAX)
		return NULL;
	name = usual(name, n, lower);
	p = find_static(s, name, n);
	return p || !s->more ? p : find_made(s->more, name, n);
}

int projects_admit(struct project_set *s, const struct project *model, const char *head, const char *tail,
    uint32_t max, struct project_numbers *numbers, struct metric_reg *metrics)
{
	struct project_more *m = calloc(1, sizeof *m);

	if (!m)
		return -1;
	pthread_mutex_init(&m->lock, NULL);
	m->model = *model;
	snprintf(m->model.name, sizeof m->model.name, "*");
	snprintf(m->head, sizeof m->head, "%s", head);
	snprintf(m->tail, sizeof m->tail, "%s", tail);
	m->max = max;
	m->numbers = numbers;
	m->metrics = metrics;
	s->more = m;
	return 0;
}

bool project_like(const struct project_set *s, const void *name, size_t n, struct project *out)
{
	struct project_more *m = s->more;
	char lower[36];

	if (!m || !(project_name_ok(name, n) || is_uuid(name, n) || (n == 1 && *(const char *)name == '*')))
		return false;
	*out = m->model;
	memcpy(out->name, usual(name, n, lower), n);
	out->name[n] = '\0';
	out->limits = NULL; /* what they count is the project's own */
	out->prefix_len = (uint32_t)snprintf((char *)out->prefix, sizeof out->prefix, "%s%s%s", m->head, out->name, m->tail);
	return out->prefix_len < sizeof out->prefix;
}

bool projects_common(const struct project_set *s, struct project *out)
{
	if (!s->more)
		return false;
	*out = s->more->model;
	out->prefix_len = (uint32_t)strlen(s->more->head);
	memcpy(out->prefix, s->more->head, out->prefix_len);
	return true;
}

/* Under the lock. */
static struct limits *limits_kept(struct project_numbers *x, uint32_t number, const struct limits *rules);

static const struct project *make(const struct project_set *s, const char *name)
{
	struct project_more *m = s->more;
	const struct project *there = find_made(m, name, strlen(name));
	_Atomic(struct made *) *bucket = &m->bucket[hash_of(name, strlen(name)) % MADE_BUCKETS];
	struct made *e;

	if (there || atomic_load_explicit(&m->n, memory_order_relaxed) >= m->max)
		return there;
	e = calloc(1, sizeof *e);
	if (!e)
		return NULL;
	if (!project_like(s, name, strlen(name), &e->p) ||
	    (e->p.ns = project_number(m->numbers, name)) == PROJECT_NUMBERS ||
	    (m->model.limits && !(e->p.limits = limits_kept(m->numbers, e->p.ns, m->model.limits)))) {
		free(e);
		return NULL;
	}
	e->p.metric_id = metric_project(m->metrics, name);
	e->next = atomic_load_explicit(bucket, memory_order_relaxed);
	atomic_store_explicit(bucket, e, memory_order_release);
	atomic_fetch_add_explicit(&m->n, 1, memory_order_relaxed);
	return &e->p;
}

const struct project *project_make(const struct project_set *s, const char *name)
{
	const struct project *p;

	pthread_mutex_lock(&s->more->lock);
	p = make(s, name);
	pthread_mutex_unlock(&s->more->lock);
	return p;
}

void projects_each(const struct project_set *s, void (*fn)(void *arg, const struct project *p), void *arg)
{
	for (uint32_t i = 0; i < s->n; i++)
		fn(arg, &s->v[i]);
	for (uint32_t i = 0; s->more && i < MADE_BUCKETS; i++)
		for (const struct made *e = atomic_load_explicit(&s->more->bucket[i], memory_order_acquire); e; e = e->next)
			fn(arg, &e->p);
}

uint32_t projects_made(const struct project_set *s)
{
	return s->more ? atomic_load_explicit(&s->more->n, memory_order_relaxed) : 0;
}

void projects_clear(struct project_set *s)
{
	struct project_more *m = s->more;

	for (uint32_t i = 0; m && i < MADE_BUCKETS; i++)
		for (struct made *next, *e = atomic_load(&m->bucket[i]); e; e = next) {
			next = e->next;
			limits_free(e->p.limits);
			free(e);
		}
	if (m)
		limits_free(m->model.limits);
	if (m)
		pthread_mutex_destroy(&m->lock);
	free(m);
	free(s->index);
	for (uint32_t i = 0; i < s->n; i++) {
		limits_free(s->v[i].limits);
		free(s->v[i].watch);
	}
	for (struct script_login *l = s->logins, *next; l; l = next) {
		next = l->next;
		explicit_bzero(l, sizeof *l);
		free(l);
	}
	free(s->v);
	memset(s, 0, sizeof *s);
}

/* ---- numbers ---- */

struct project_numbers {
	pthread_mutex_t lock;
	char **name;                    /* by number */
	struct limits **limits;         /* ... those of dynamic projects, as they were last */
	uint32_t n, cap;
	uint32_t *slot, nslots;         /* number + 1; a power of two of them */
};

struct project_numbers *project_numbers_new(void)
{
	struct project_numbers *x = calloc(1, sizeof *x);

	if (x)
		pthread_mutex_init(&x->lock, NULL);
	return x;
}

void project_numbers_free(struct project_numbers *x)
{
	if (!x)
		return;
	for (uint32_t i = 0; i < x->n; i++) {
		free(x->name[i]);
		limits_free(x->limits[i]);
	}
	free(x->limits);
	free(x->name);
	free(x->slot);
	pthread_mutex_destroy(&x->lock);
	free(x);
}

static uint32_t *slot_of(const struct project_numbers *x, const char *name)
{
	uint32_t at = hash_of(name, strlen(name)) & (x->nslots - 1);

	while (x->slot[at] && strcmp(x->name[x->slot[at] - 1], name))
		at = (at + 1) & (x->nslots - 1);
	return &x->slot[at];
}

/* Room for one more.  0, or -1: no memory. */
static int number_room(struct project_numbers *x)
{
	uint32_t cap = x->cap ? 2 * x->cap : 64, *slots;
	struct limits **limits;
	char **names;

	if (x->n < x->cap)
		return 0;
	limits = realloc(x->limits, cap * sizeof *limits);
	if (!limits)
		return -1;
	x->limits = limits;
	names = realloc(x->name, cap * sizeof *names);
	if (names)
		x->name = names;
	slots = names ? calloc(2 * (size_t)cap, sizeof *slots) : NULL;
	if (!slots)
		return -1;
	free(x->slot);
	x->slot = slots;
	x->nslots = 2 * cap;
	x->cap = cap;
	for (uint32_t i = 0; i < x->n; i++)
		*slot_of(x, x->name[i]) = i + 1;
	return 0;
}

static uint32_t number_of(struct project_numbers *x, const char *name)
{
	uint32_t *slot = x->nslots ? slot_of(x, name) : NULL;

	if (slot && *slot)
		return *slot - 1;
	if (x->n == PROJECT_NUMBERS || number_room(x))
		return PROJECT_NUMBERS;
	x->name[x->n] = strdup(name);
	if (!x->name[x->n])
		return PROJECT_NUMBERS;
	*slot_of(x, name) = x->n + 1;
	x->limits[x->n] = NULL;
	return x->n++;
}

/* A generation forgets its projects; what their limits have counted is to be found again. */
static struct limits *limits_kept(struct project_numbers *x, uint32_t number, const struct limits *rules)
{
	struct limits *l, *keep;

	pthread_mutex_lock(&x->lock);
	l = limits_for(rules, x->limits[number]);
	keep = l ? limits_for(rules, l) : NULL;
	if (keep) {
		limits_free(x->limits[number]);
		x->limits[number] = keep;
	}
	pthread_mutex_unlock(&x->lock);
	return l;
}

uint32_t project_number(struct project_numbers *x, const char *name)
{
	uint32_t n;

	pthread_mutex_lock(&x->lock);
	n = number_of(x, name);
	pthread_mutex_unlock(&x->lock);
	return n;
}
