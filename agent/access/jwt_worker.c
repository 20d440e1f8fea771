/* SPDX-License-Identifier: Apache-2.0 */
/* access/jwt_worker: a worker's side: what it knows already, and what it waits for. */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include "access/jwt_priv.h"

static void check_free(struct jwt_check *c)
{
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	c->w->nchecks--;
	jwt_policy_unref(c->p);
	jwt_claims_unref(c->answer.claims);
	explicit_bzero(c->token, c->n);
	free(c);
}

struct jwt_worker *jwt_worker_new(struct jwt_service *s, struct loop *l, uint32_t entries)
{
	struct jwt_worker *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	w->s = s;
	w->loop = l;
	w->md = EVP_MD_CTX_new();
	if (!w->md || EVP_DigestInit_ex2(w->md, jwt_service_sha256(s), NULL) != 1) {
		EVP_MD_CTX_free(w->md);
		free(w);
		return NULL;
	}
	jwt_cache_init(&w->cache, entries);
	return w;
}

void jwt_worker_free(struct jwt_worker *w)
{
	if (!w)
		return;
	while (w->checks)
		check_free(w->checks);
	jwt_cache_free(&w->cache);
	EVP_MD_CTX_free(w->md);
	free(w);
}

/* The thread has answered. */
static void tell(void *arg)
{
	struct jwt_check *c = arg;
	struct jwt_answer a = c->answer;
	bool cancelled = c->cancelled;
	jwt_done done = c->done;
	void *done_arg = c->arg;

	if (a.reason == JWT_OK)
		jwt_cache_put(&c->w->cache, c->hash, a.claims, loop_wall_ms(c->w->loop));
	c->answer.claims = NULL;
	check_free(c);
	if (cancelled)
		jwt_claims_unref(a.claims);
	else
		done(done_arg, &a);
}

static enum jwt_reason ask(struct jwt_worker *w, struct jwt_policy *p, const void *token, size_t n,
    uint64_t owner, const uint8_t *hash, jwt_done done, void *arg, struct jwt_check **check)
{
	struct jwt_check *c;

	if (w->nchecks >= JWT_CHECKS_MAX)
		return JWT_BUSY;
	c = calloc(1, sizeof *c + n);
	if (!c)
		return JWT_NO_MEMORY;
	c->w = w;
	c->p = jwt_policy_ref(p);
	c->owner = owner;
	c->done = done;
	c->arg = arg;
	c->n = n;
	memcpy(c->token, token, n);
	memcpy(c->hash, hash, JWT_HASH);
	c->job.fn = tell;
	c->job.arg = c;
	c->next = w->checks;
	c->prev = &w->checks;
	if (c->next)
		c->next->prev = &c->next;
	w->checks = c;
	w->nchecks++;
	*check = c;
	jwt_service_post(w->s, c);
	return JWT_PENDING;
}

enum jwt_reason jwt_verify(struct jwt_worker *w, struct jwt_policy *p, const void *token, size_t n, uint64_t owner,
    jwt_done done, void *arg, struct jwt_claims **claims, struct jwt_check **check)
{
	uint8_t hash[JWT_HASH];
	unsigned len;
	enum jwt_reason r;

	*claims = NULL;
	*check = NULL;
	if (!p)
		return JWT_NO_PROVIDER;
	if (n > JWT_TOKEN_MAX)
		return JWT_TOO_LARGE;
	if (EVP_DigestInit_ex2(w->md, NULL, NULL) != 1 || EVP_DigestUpdate(w->md, token, n) != 1 ||
	    EVP_DigestFinal_ex(w->md, hash, &len) != 1)
		return JWT_NO_MEMORY;
	r = jwt_cache_get(&w->cache, hash, p, loop_wall_ms(w->loop), claims);
	return r == JWT_PENDING ? ask(w, p, token, n, owner, hash, done, arg, check) : r;
}

void jwt_cancel(struct jwt_check *check)
{
	check->cancelled = true;
}
