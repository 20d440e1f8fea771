/* SPDX-License-Identifier: Apache-2.0
 *
 * access/jwt_service: the thread that verifies tokens which no worker knows yet, and that fetches the keys
 * of issuers.  One check is one message here and one back; what waits for keys stands in a list and is
 * looked at again when a fetch has ended, or when its time is over.
 */
#include <config.h>
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "access/jwt_priv.h"
#include "base/buf.h"
#include "fetch/fetch.h"
#include "log/log.h"
#include "metric/metric.h"

#define SOURCES_MAX 1000u /* as many sections as a configuration has */

struct jwt_service {
	struct log *log;
	struct metric_shard *shard;      /* the thread's */
	EVP_MD *sha256;
	pthread_t thread;
	bool running;                    /* there is a thread */
	struct loop *loop;
	struct fetch *fetch;
	struct jwt_cache cache;          /* for tokens that several workers get at once */
	struct jwt_check *waiting, **last;
	struct loop_timer timer;         /* of the first of them whose time is over */
	bool stopping;
	pthread_mutex_t lock;            /* of policy, before and sources, against jwt_service_status() */
	struct jwt_policy *policy, *before;
	struct jwks *source[SOURCES_MAX];
	uint32_t nsources;
};

const EVP_MD *jwt_service_sha256(const struct jwt_service *s)
{
	return s->sha256;
}

/* ---- one token ---- */

static struct jwks *source_of(struct jwt_service *s, const struct jwt_provider *v)
{
	for (uint32_t i = 0; i < s->nsources; i++)
		if (!strcmp(jwks_id(s->source[i]), v->remote.id))
			return s->source[i];
	return NULL;
}

static uint64_t hash_of(const char *kid)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (; *kid; kid++)
		h = (h ^ (uint8_t)*kid) * UINT64_C(1099511628211);
	return h;
}

/* May c wait for j to have this key ("": any)? */
static bool may_wait(const struct jwt_service *s, struct jwt_check *c, const struct jwks *j, const char *kid)
{
	bool together = !*kid;
	uint32_t n = 0;

	c->kid = hash_of(kid);
	for (const struct jwt_check *o = s->waiting; o; o = o->after) {
		n += o->owner == c->owner;
		together |= o->waits == j && o->kid == c->kid;
	}
	return n < (together ? JWT_WAITS_MAX : JWT_WAITS_NEW);
}

/* With keys that are fetched: JWT_PENDING while it is worth to wait for newer ones. */
static enum jwt_reason try_remote(void *arg, const struct jwt_provider *v, const struct jwt_token *t,
    const struct jwt_key **key)
{
	struct jwt_check *c = arg;
	struct jwt_service *s = c->w->s;
	struct jwks *j = source_of(s, v);
	const struct jwt_keys *keys;
	enum jwt_reason r = j ? jwks_keys(j, &keys) : JWT_KEYS_AWAY;
	enum jwks_want w;

	if (!j)
		return r;
	if (r != JWT_OK) {
		w = jwks_need(j, NULL);
	} else {
		r = jwt_keys_try(keys, t, key);
		/* Without a kid it may be of a key that is newer than ours. */
		if (r != JWT_KID_UNKNOWN && (t->kid || (r != JWT_SIGNATURE && r != JWT_SIGNATURE_LENGTH)))
			return r;
		w = jwks_need(j, t->kid ? t->kid : "");
		if (w == JWKS_LATER && r == JWT_KID_UNKNOWN)
			return JWT_KEYS_AWAY; /* nobody could be asked */
	}
	if (w != JWKS_WAIT)
		return r;
	if (!may_wait(s, c, j, r == JWT_KID_UNKNOWN && t->kid ? t->kid : ""))
		return JWT_KEYS_AWAY;
	c->waits = j;
	if (!c->until_ns)
		c->until_ns = loop_now(s->loop) + v->remote.timeout_ns;
	return JWT_PENDING;
}

static enum jwt_reason examine(struct jwt_service *s, struct jwt_check *c)
{
	const char *provider = "";
	struct jwt_token t;
	enum jwt_reason r;

	c->waits = NULL;
	if (s->stopping)
		return JWT_STOPPING;
	r = jwt_cache_get(&s->cache, c->hash, c->p, loop_wall_ms(s->loop), &c->answer.claims);
	if (r != JWT_PENDING)
		return r;
	r = jwt_token_read(&t, c->token, c->n);
	if (r == JWT_OK) {
		r = jwt_judge(c->p, &t, try_remote, c, loop_wall_ms(s->loop), &provider, &c->answer.claims);
		jwt_token_free(&t);
	}
	if (r == JWT_OK)
		jwt_cache_put(&s->cache, c->hash, c->answer.claims, loop_wall_ms(s->loop));
	if (r != JWT_PENDING)
		metric_cell_add(metric_cell(s->shard, METRIC_JWT_VERIFICATIONS, provider, jwt_reason_name(r)), 1);
	return r;
}

static void answer(struct jwt_check *c, enum jwt_reason r)
{
	void (*const tell)(void *) = c->tell;

	c->answer.reason = r;
	c->job.fn = tell;
	loop_post(c->w->loop, &c->job);
}

/* ---- those that wait ---- */

static void arm(struct jwt_service *s)
{
	uint64_t first = UINT64_MAX;

	for (struct jwt_check *c = s->waiting; c; c = c->after)
		if (c->until_ns < first)
			first = c->until_ns;
	if (first == UINT64_MAX)
		loop_timer_stop(s->loop, &s->timer);
	else
		(void)loop_timer_set(s->loop, &s->timer, first);
}

static void wait_for_keys(struct jwt_service *s, struct jwt_check *c)
{
	c->after = NULL;
	*s->last = c;
	s->last = &c->after;
}

static void take(struct jwt_service *s, struct jwt_check *c)
{
	enum jwt_reason r = examine(s, c);

	if (r == JWT_PENDING)
		wait_for_keys(s, c);
	else
		answer(c, r);
}

/* Looks at those again that wait for j (NULL: at all). */
static void again(struct jwt_service *s, const struct jwks *j)
{
	struct jwt_check *c = s->waiting, *next;

	s->waiting = NULL;
	s->last = &s->waiting;
	for (; c; c = next) {
		next = c->after;
		if (j && c->waits != j)
			wait_for_keys(s, c);
		else
			take(s, c);
	}
	arm(s);
}

static void overdue(struct loop_timer *t)
{
	struct jwt_service *s = (struct jwt_service *)((char *)t - offsetof(struct jwt_service, timer));
	struct jwt_check *c = s->waiting, *next;

	s->waiting = NULL;
	s->last = &s->waiting;
	for (; c; c = next) {
		next = c->after;
		if (c->until_ns > loop_now(s->loop))
			wait_for_keys(s, c);
		else
			answer(c, JWT_TIMEOUT);
	}
	arm(s);
}

static void fetched(void *arg, struct jwks *j, const char *outcome)
{
	struct jwt_service *s = arg;

	metric_cell_add(metric_cell(s->shard, METRIC_JWKS_FETCHES, jwks_provider(j), outcome), 1);
	again(s, j);
}

static void on_check(void *arg)
{
	struct jwt_check *c = arg;
	struct jwt_service *s = c->w->s;

	take(s, c);
	if (s->waiting)
		arm(s);
}

void jwt_service_post(struct jwt_service *s, struct jwt_check *c)
{
	c->tell = c->job.fn;
	c->job.fn = on_check;
	loop_post(s->loop, &c->job);
}

/* ---- errands of the control thread ---- */

struct errand {
	purser_job job;
	struct jwt_service *s;
	void (*fn)(struct jwt_service *s, struct errand *e);
	struct jwt_policy *policy;
	int rc;
	sem_t done;
};

static void run_errand(void *arg)
{
	struct errand *e = arg;

	e->fn(e->s, e);
	sem_post(&e->done);
}

static int on_thread(struct jwt_service *s, void (*fn)(struct jwt_service *, struct errand *), struct jwt_policy *p)
{
	struct errand e = { .job = { .fn = run_errand, .arg = &e }, .s = s, .fn = fn, .policy = p };

	sem_init(&e.done, 0, 0);
	loop_post(s->loop, &e.job);
	while (sem_wait(&e.done) && errno == EINTR)
		;
	sem_destroy(&e.done);
	return e.rc;
}

static bool has(const struct jwt_policy *p, const struct jwks *j)
{
	for (uint32_t i = 0; p && i < p->n; i++)
		if (!p->v[i].fixed && !strcmp(p->v[i].remote.id, jwks_id(j)))
			return true;
	return false;
}

static int add_source(struct jwt_service *s, const struct jwt_provider *v)
{
	const struct jwks_env env = { .loop = s->loop, .fetch = s->fetch, .log = s->log, .ended = fetched, .arg = s,
		.lock = &s->lock };
	struct jwks *j = source_of(s, v);

	if (j)
		return 0;
	j = s->nsources < SOURCES_MAX ? jwks_new(&env, &v->remote) : NULL;
	if (!j)
		return -1;
	s->source[s->nsources++] = j;
	return 0;
}

static void do_apply(struct jwt_service *s, struct errand *e)
{
	const struct jwt_policy *p = e->policy;
	uint32_t had = s->nsources;

	pthread_mutex_lock(&s->lock);
	for (uint32_t i = 0; p && i < p->n && !e->rc; i++)
		if (!p->v[i].fixed)
			e->rc = add_source(s, &p->v[i]);
	if (e->rc) {
		while (s->nsources > had)
			jwks_free(s->source[--s->nsources]);
	} else {
		for (uint32_t i = 0; p && i < p->n; i++)
			if (!p->v[i].fixed)
				jwks_opts(source_of(s, &p->v[i]), &p->v[i].remote);
		s->before = s->policy;
		s->policy = jwt_policy_ref(e->policy);
	}
	pthread_mutex_unlock(&s->lock);
}

static void do_settle(struct jwt_service *s, struct errand *e)
{
	struct jwks *gone[SOURCES_MAX];
	uint32_t n = 0, kept = 0;

	(void)e;
	pthread_mutex_lock(&s->lock);
	for (uint32_t i = 0; i < s->nsources; i++)
		if (has(s->policy, s->source[i]))
			s->source[kept++] = s->source[i];
		else
			gone[n++] = s->source[i];
	s->nsources = kept;
	pthread_mutex_unlock(&s->lock);
	again(s, NULL); /* nobody waits for those that are gone */
	for (uint32_t i = 0; i < n; i++)
		jwks_free(gone[i]);
	jwt_policy_unref(s->before);
	s->before = NULL;
}

static void do_stop(struct jwt_service *s, struct errand *e)
{
	(void)e;
	s->stopping = true;
	again(s, NULL);
}

static void *thread_main(void *arg)
{
	struct jwt_service *s = arg;
	int rc = loop_run(s->loop);

	if (rc)
		log_event(s->log, LOG_M_ACCESS, LOG_ERROR, "jwt.thread.failed", strerror(-rc));
	return NULL;
}

static int start(struct jwt_service *s)
{
	sigset_t all, old;
	int rc;

	s->fetch = fetch_new(s->loop);
	if (!s->fetch)
		return ENOMEM;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&s->thread, NULL, thread_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	s->running = rc == 0;
	return rc;
}

int jwt_service_apply(struct jwt_service *s, struct jwt_policy *p, char *why, size_t whylen)
{
	int rc = 0;

	if (!s->running && !p)
		return 0;
	if (!s->running)
		rc = start(s);
	if (!rc && on_thread(s, do_apply, p))
		rc = ENOMEM;
	if (rc)
		snprintf(why, whylen, "the thread that verifies tokens cannot start: %s", strerror(rc));
	return rc ? -1 : 0;
}

void jwt_service_settle(struct jwt_service *s)
{
	if (s->running)
		on_thread(s, do_settle, NULL);
}

void jwt_service_stop(struct jwt_service *s)
{
	if (s && s->running)
		on_thread(s, do_stop, NULL);
}

/* ---- life ---- */

struct jwt_service *jwt_service_new(struct log *lg, struct metric_reg *metrics, uint32_t entries)
{
	struct jwt_service *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->log = lg;
	s->last = &s->waiting;
	s->timer.fn = overdue;
	pthread_mutex_init(&s->lock, NULL);
	jwt_cache_init(&s->cache, entries);
	s->shard = metric_shard_new(metrics);
	s->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	s->loop = loop_new(NULL);
	if (!s->shard || !s->sha256 || !s->loop) {
		jwt_service_free(s);
		return NULL;
	}
	return s;
}

void jwt_service_join(struct jwt_service *s)
{
	if (!s || !s->running)
		return;
	loop_stop(s->loop);
	pthread_join(s->thread, NULL);
	s->running = false;
}

void jwt_service_free(struct jwt_service *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; i < s->nsources; i++)
		jwks_free(s->source[i]);
	fetch_free(s->fetch);
	if (s->loop) {
		loop_timer_stop(s->loop, &s->timer);
		loop_free(s->loop);
	}
	jwt_cache_free(&s->cache);
	jwt_policy_unref(s->policy);
	jwt_policy_unref(s->before);
	EVP_MD_free(s->sha256);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void jwt_service_status(struct jwt_service *s, struct buf *out)
{
	buf_putc(out, '{');
	pthread_mutex_lock(&s->lock);
	for (uint32_t i = 0; s->policy && i < s->policy->n; i++) {
		const struct jwt_provider *v = &s->policy->v[i];
		const struct jwks *j = v->fixed ? NULL : source_of(s, v);

		buf_printf(out, "%s\"%s\":{\"source\":\"%s\",", i ? "," : "", v->name, v->fixed ? "file" :
		    v->remote.discovery ? "discovery" : "url");
		if (j)
			jwks_status(j, out);
		else
			buf_printf(out, "\"keys\":%u", v->fixed ? v->fixed->n : 0);
		buf_putc(out, '}');
	}
	pthread_mutex_unlock(&s->lock);
	buf_putc(out, '}');
}
