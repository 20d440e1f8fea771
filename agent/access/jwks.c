/* SPDX-License-Identifier: Apache-2.0
 *
 * access/jwks: the keys of one issuer, fetched: the discovery document (OpenID Connect Discovery 1.0),
 * which says where they are, then the set itself (RFC 7517).  Keys that are here stay in use while the
 * issuer does not answer, up to max_stale.  One thread, that of env.loop.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "access/jwt_priv.h"
#include "base/buf.h"
#include "fetch/fetch.h"
#include "log/log.h"
#include "resp/json_text.h"

#define BODY_MAX (512u << 10)
#define URL_MAX 2048u

struct jwks {
	struct jwks_env env;
	const struct jwks_opts *o;
	char *id, *provider;
	struct jwks_plan plan;
	struct jwt_keys *keys;
	struct fetch_call *call;
	struct loop_timer timer;
	bool discovering;                /* what is under way is the discovery document */
	char *uri;                       /* that it named; NULL: not asked yet */
	uint64_t uri_until_ns;
	/* For jwks_status(): env.lock. */
	uint32_t nkeys;
	uint64_t got_ms;                 /* Unix time */
	char trouble[160];               /* of the last fetch; "": none */
};

static void begin(struct jwks *j);

static void arm(struct jwks *j)
{
	if (j->plan.next_ns != UINT64_MAX && !j->plan.running)
		(void)loop_timer_set(j->env.loop, &j->timer, j->plan.next_ns);
}

/* ---- ends ---- */

static void failed(struct jwks *j, const char *outcome, int64_t retry_after_s, const char *text)
{
	bool first = !j->plan.failed;
	uint64_t now = loop_now(j->env.loop);

	jwks_plan_failed(&j->plan, now, now / 1000 * UINT64_C(0x9e3779b97f4a7c15) >> 20, retry_after_s);
	pthread_mutex_lock(j->env.lock);
	snprintf(j->trouble, sizeof j->trouble, "%s", text);
	pthread_mutex_unlock(j->env.lock);
	free(j->uri); /* perhaps it has moved */
	j->uri = NULL;
	if (first)
		log_event(j->env.log, LOG_M_ACCESS, LOG_WARN, "jwt.keys.failed", "the keys of an issuer cannot be fetched; "
		    "those that are here stay in use up to max_stale", LOG_STR("provider", j->provider),
		    LOG_STR("url", j->o->url), LOG_STR("why", text), LOG_KEY(j->provider));
	arm(j);
	j->env.ended(j->env.arg, j, outcome);
}

static void refused_keys(struct jwks *j)
{
	for (uint32_t i = 0; i < j->keys->n; i++) {
		const struct jwt_key *k = j->keys->v[i];

		if (k->bad != JWT_OK && k->bad != JWT_KEY_USE)
			log_event(j->env.log, LOG_M_ACCESS, LOG_WARN, "jwt.key.refused", "a key that an issuer publishes is not used",
			    LOG_STR("provider", j->provider), LOG_STR("kid", k->kid ? k->kid : ""),
			    LOG_STR("reason", jwt_reason_name(k->bad)), LOG_STR("why", jwt_reason_text(k->bad)),
			    LOG_KEY(k->kid ? k->kid : ""));
	}
}

static void got_keys(struct jwks *j, const struct fetch_result *r)
{
	char why[160];
	struct jwt_keys *fresh = jwt_keys_read((const char *)r->body, r->len, &j->o->pins, false, why, sizeof why);
	bool back = j->plan.failed, changed;

	if (!fresh) {
		failed(j, "bad_keys", -1, why);
		return;
	}
	changed = jwt_keys_replace(j->keys, fresh);
	j->keys = fresh;
	jwks_plan_got(&j->plan, loop_now(j->env.loop), r->max_age_s);
	pthread_mutex_lock(j->env.lock);
	j->trouble[0] = '\0';
	j->nkeys = fresh->n;
	j->got_ms = loop_wall_ms(j->env.loop);
	pthread_mutex_unlock(j->env.lock);
	if (changed || back)
		log_event(j->env.log, LOG_M_ACCESS, LOG_INFO, "jwt.keys.fetched", changed ? "new keys of an issuer" :
		    "the keys of an issuer can be fetched again", LOG_STR("provider", j->provider),
		    LOG_UINT("keys", fresh->n), LOG_KEY(j->provider));
	if (changed)
		refused_keys(j);
	arm(j);
	j->env.ended(j->env.arg, j, "ok");
}

/* ---- discovery ---- */

static bool url_ok(const struct jwks *j, const char *url)
{
	size_t n = strlen(url);

	if (n >= URL_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (url[i] <= ' ' || url[i] > '~')
			return false;
	return !strncmp(url, "https://", 8) || (j->o->allow_http && !strncmp(url, "http://", 7));
}

static void got_discovery(struct jwks *j, const struct fetch_result *r)
{
	json_error_t e;
	json_t *doc = json_loadb((const char *)r->body, r->len, JSON_REJECT_DUPLICATES, &e);
	const char *issuer = json_string_value(json_object_get(doc, "issuer"));
	const char *uri = json_string_value(json_object_get(doc, "jwks_uri"));
	const char *why = !json_is_object(doc) ? "the discovery document is not a JSON object" :
	    !issuer || strcmp(issuer, j->o->issuer) ? "the discovery document is of another issuer" :
	    !uri ? "the discovery document has no jwks_uri" :
	    !url_ok(j, uri) ? "the jwks_uri of the discovery document is no https URL" : NULL;

	if (!why && !(j->uri = strdup(uri)))
		why = "out of memory";
	json_decref(doc);
	if (why) {
		failed(j, "bad_discovery", -1, why);
		return;
	}
	j->uri_until_ns = loop_now(j->env.loop) + j->o->refresh_max_ns;
	begin(j);
}

/* ---- a fetch ---- */

static void done(void *arg, const struct fetch_result *r)
{
	struct jwks *j = arg;
	char text[320];

	j->call = NULL;
	if (r->error == FETCH_CANCELLED)
		return;
	if (r->error != FETCH_OK) {
		snprintf(text, sizeof text, "%s: %s", fetch_error_name(r->error), r->text);
		failed(j, fetch_error_name(r->error), -1, text);
	} else if (r->status != 200) {
		snprintf(text, sizeof text, "the answer has status %d, not 200", r->status);
		failed(j, "status", r->retry_after_s, text);
	} else if (j->discovering) {
		got_discovery(j, r);
	} else {
		got_keys(j, r);
	}
}

/* Discovery first, where nobody has said yet (or not lately) where the keys are. */
static void begin(struct jwks *j)
{
	static const char *const accept[] = { "Accept: application/json" };
	uint64_t now = loop_now(j->env.loop);
	struct fetch_req r = { .headers = accept, .nheaders = 1, .timeout_ns = j->o->timeout_ns, .max_body = BODY_MAX,
		.ca_file = j->o->ca_file, .done = done, .arg = j };

	if (j->uri && now >= j->uri_until_ns) {
		free(j->uri);
		j->uri = NULL;
	}
	j->discovering = j->o->discovery && !j->uri;
	r.url = j->discovering || !j->o->discovery ? j->o->url : j->uri;
	j->call = fetch_start(j->env.fetch, &r);
	if (!j->call)
		failed(j, "internal", -1, "the request could not be made");
}

static void start(struct jwks *j)
{
	loop_timer_stop(j->env.loop, &j->timer);
	jwks_plan_start(&j->plan, loop_now(j->env.loop));
	begin(j);
}

static void due(struct loop_timer *t)
{
	start((struct jwks *)((char *)t - offsetof(struct jwks, timer)));
}

/* ---- interface ---- */

struct jwks *jwks_new(const struct jwks_env *env, const struct jwks_opts *o)
{
	struct jwks *j = calloc(1, sizeof *j);

	if (!j)
		return NULL;
	j->env = *env;
	j->o = o;
	j->id = strdup(o->id);
	j->provider = strdup(o->provider);
	j->timer.fn = due;
	jwks_plan_init(&j->plan, o, loop_now(env->loop));
	if (!j->id || !j->provider || loop_timer_set(env->loop, &j->timer, loop_now(env->loop))) {
		free(j->id);
		free(j->provider);
		free(j);
		return NULL;
	}
	return j;
}

void jwks_free(struct jwks *j)
{
	if (j->call)
		fetch_cancel(j->call);
	loop_timer_stop(j->env.loop, &j->timer);
	jwt_keys_free(j->keys);
	free(j->uri);
	free(j->id);
	free(j->provider);
	free(j);
}

void jwks_opts(struct jwks *j, const struct jwks_opts *o)
{
	j->o = j->plan.o = o;
}

const char *jwks_id(const struct jwks *j)
{
	return j->id;
}

const char *jwks_provider(const struct jwks *j)
{
	return j->provider;
}

enum jwt_reason jwks_keys(const struct jwks *j, const struct jwt_keys **keys)
{
	*keys = j->keys;
	return jwks_plan_usable(&j->plan, loop_now(j->env.loop));
}

enum jwks_want jwks_need(struct jwks *j, const char *kid)
{
	enum jwks_want w = jwks_plan_want(&j->plan, loop_now(j->env.loop), kid);

	if (w == JWKS_START) {
		start(j);
		return j->plan.running ? JWKS_WAIT : JWKS_LATER;
	}
	arm(j);
	return w;
}

void jwks_status(const struct jwks *j, struct buf *out)
{
	buf_printf(out, "\"keys\":%u", j->nkeys);
	if (j->got_ms)
		buf_printf(out, ",\"fetched_ms\":%llu", (unsigned long long)j->got_ms);
	buf_puts(out, ",\"trouble\":");
	json_put_text(out, j->trouble, strlen(j->trouble));
}
