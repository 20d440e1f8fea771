/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backend/confine.h"

enum state { NONE, ASKING, READY, REFUSED };

struct confine {
	struct confine *next;
	uint32_t ns, cred;
	uint8_t state;
	enum err_code err;
	uint64_t key, refused_ns;
	char name[72], user[CONFINE_USER_MAX], why[CONFINE_WHY_MAX];
};

#define BUCKETS 256u

struct confines {
	pthread_mutex_t lock;
	uint32_t last;                  /* credential */
	struct confine *bucket[BUCKETS]; /* by ns */
};

struct confines *confines_new(void)
{
	struct confines *cs = calloc(1, sizeof *cs);

	if (cs)
		pthread_mutex_init(&cs->lock, NULL);
	return cs;
}

void confines_free(struct confines *cs)
{
	if (!cs)
		return;
	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct confine *c = cs->bucket[i], *next; c; c = next) {
			next = c->next;
			free(c);
		}
	pthread_mutex_destroy(&cs->lock);
	free(cs);
}

static struct confine *of(const struct confines *cs, uint32_t ns)
{
	struct confine *c = cs->bucket[ns % BUCKETS];

	while (c && c->ns != ns)
		c = c->next;
	return c;
}

static struct confine *make(struct confines *cs, uint32_t ns)
{
	struct confine *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->ns = ns;
	c->next = cs->bucket[ns % BUCKETS];
	return cs->bucket[ns % BUCKETS] = c;
}

static enum confine_answer look(struct confines *cs, struct confine *c, uint64_t key, uint64_t now_ns, uint32_t *cred,
    enum err_code *err, char *why)
{
	if (c->state == READY && c->key == key) {
		*cred = c->cred;
		return CONFINE_READY;
	}
	if (c->state == ASKING)
		return CONFINE_WAIT;
	if (c->state == REFUSED && c->key == key &&
	    now_ns - c->refused_ns < (c->err == ERR_NOPERM ? CONFINE_ANEW_NS : CONFINE_SOON_NS)) {
		*err = c->err;
		memcpy(why, c->why, CONFINE_WHY_MAX);
		return CONFINE_NO;
	}
	c->state = ASKING;
	c->key = key;
	*cred = c->cred = ++cs->last;
	return CONFINE_BEGIN;
}

enum confine_answer confine_look(struct confines *cs, uint32_t ns, const char *name, uint64_t key, uint64_t now_ns, uint32_t *cred,
    enum err_code *err, char why[CONFINE_WHY_MAX])
{
	enum confine_answer a = CONFINE_NO;
	struct confine *c;

	*err = ERR_OOM;
	why[0] = '\0';
	pthread_mutex_lock(&cs->lock);
	c = of(cs, ns);
	if (!c)
		c = make(cs, ns);
	if (c && !c->name[0])
		snprintf(c->name, sizeof c->name, "%s", name);
	if (c)
		a = look(cs, c, key, now_ns, cred, err, why);
	pthread_mutex_unlock(&cs->lock);
	return a;
}

uint32_t confine_known(struct confines *cs, uint32_t ns)
{
	const struct confine *c;
	uint32_t cred;

	pthread_mutex_lock(&cs->lock);
	c = of(cs, ns);
	cred = c && c->state == READY ? c->cred : 0;
	pthread_mutex_unlock(&cs->lock);
	return cred;
}

void confine_done(struct confines *cs, uint32_t ns, uint32_t cred, const char *user, enum err_code err, const char *why,
    uint64_t now_ns)
{
	struct confine *c;

	pthread_mutex_lock(&cs->lock);
	c = of(cs, ns);
	if (c && c->cred == cred) {
		c->state = err == ERR_NONE ? READY : REFUSED;
		c->err = err;
		c->refused_ns = now_ns;
		snprintf(c->user, sizeof c->user, "%s", user);
		snprintf(c->why, sizeof c->why, "%s", why);
	}
	pthread_mutex_unlock(&cs->lock);
}

uint32_t confine_stale(struct confines *cs, uint32_t cred)
{
	uint32_t ns = UINT32_MAX;

	pthread_mutex_lock(&cs->lock);
	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct confine *c = cs->bucket[i]; c; c = c->next)
			if (c->cred == cred && c->state == READY) {
				c->state = NONE;
				ns = c->ns;
			}
	pthread_mutex_unlock(&cs->lock);
	return ns;
}

uint32_t confine_forget(struct confines *cs, bool (*keep)(void *arg, const char *name), void *arg,
    char user[CONFINE_USER_MAX])
{
	uint32_t cred = 0;

	pthread_mutex_lock(&cs->lock);
	for (unsigned i = 0; i < BUCKETS && !cred; i++)
		for (struct confine **p = &cs->bucket[i], *c; (c = *p); p = &c->next) {
			if (c->state == ASKING || !c->cred || keep(arg, c->name))
				continue;
			*p = c->next;
			cred = c->cred;
			memcpy(user, c->user, CONFINE_USER_MAX);
			free(c);
			break;
		}
	pthread_mutex_unlock(&cs->lock);
	return cred;
}
