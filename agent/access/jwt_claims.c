/* SPDX-License-Identifier: Apache-2.0 */
/* access/jwt_claims: what signed claims say, and what the INI makes of it. */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include "access/jwt_priv.h"
#include "access/project.h"

#define LAST_SECOND INT64_C(253402300799) /* 9999-12-31T23:59:59Z */
#define SUBJECT_MAX 255u
#define TEXTS 512u /* what most tokens' texts fit in */

/* ---- life ---- */

struct jwt_claims *jwt_claims_ref(struct jwt_claims *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

void jwt_claims_unref(struct jwt_claims *c)
{
	struct jwt_claims_full *f = (struct jwt_claims_full *)c;

	if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	jwt_key_unref(f->key);
	free(f->remote);
	free(f->payload);
	arena_end(&f->arena);
	free(f);
}

enum jwt_reason jwt_claims_state(const struct jwt_claims *c, uint64_t wall_ms)
{
	const struct jwt_claims_full *f = (const struct jwt_claims_full *)c;

	if (wall_ms >= c->expires_ms)
		return JWT_EXPIRED;
	return atomic_load_explicit(&f->key->retired, memory_order_acquire) ? JWT_KEY_RETIRED : JWT_OK;
}

bool jwt_claims_project(const struct jwt_claims *c, const void *name, size_t n)
{
	for (uint32_t i = 0; i < c->nprojects; i++)
		if (strlen(c->projects[i]) == n && !memcmp(c->projects[i], name, n))
			return true;
	return c->any_project;
}

/* ---- texts and numbers ---- */

/* The claim of that name; of a name that begins with /, the value that this JSON pointer leads to. */
static const json_t *claim(const json_t *claims, const char *name)
{
	char word[256];
	const json_t *at = claims;

	if (*name != '/')
		return json_object_get(claims, name);
	while (*name == '/' && at) {
		size_t n = 0;

		for (name++; *name && *name != '/' && n < sizeof word - 1; name++)
			if (name[0] == '~' && (name[1] == '0' || name[1] == '1'))
				word[n++] = *++name == '0' ? '~' : '/';
			else
				word[n++] = *name;
		word[n] = '\0';
		at = json_object_get(at, word);
	}
	return at;
}

static char *text(struct arena *a, const char *p)
{
	size_t n = strlen(p) + 1;
	char *copy = arena_get(a, n);

	if (copy)
		memcpy(copy, p, n);
	return copy;
}

static enum jwt_reason seconds(const json_t *claims, const char *name, enum jwt_reason bad, bool *there,
    uint64_t *ms)
{
	const json_t *v = json_object_get(claims, name);

	*there = v;
	*ms = 0;
	if (!v)
		return JWT_OK;
	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > LAST_SECOND)
		return bad;
	*ms = (uint64_t)json_integer_value(v) * 1000;
	return JWT_OK;
}

static enum jwt_reason check_times(const struct jwt_provider *v, const json_t *claims, uint64_t now,
    struct jwt_claims *c)
{
	bool has_exp, has_nbf, has_iat;
	uint64_t exp, nbf, iat;
	enum jwt_reason r = seconds(claims, "exp", JWT_EXP_FORM, &has_exp, &exp);

	if (r == JWT_OK)
		r = seconds(claims, "nbf", JWT_NBF_FORM, &has_nbf, &nbf);
	if (r == JWT_OK)
		r = seconds(claims, "iat", JWT_IAT_FORM, &has_iat, &iat);
	if (r != JWT_OK)
		return r;
	c->expires_ms = exp + v->skew_ms;
	if (!has_exp)
		return JWT_EXP_MISSING;
	if (now >= c->expires_ms)
		return JWT_EXPIRED;
	if (has_nbf && nbf > now + v->skew_ms)
		return JWT_NOT_YET;
	if (has_iat && iat > now + v->skew_ms)
		return JWT_IAT_FUTURE;
	if (v->lifetime_ms && !has_iat)
		return JWT_IAT_MISSING;
	return v->lifetime_ms && exp > iat && exp - iat > v->lifetime_ms ? JWT_LIFETIME : JWT_OK;
}

static bool in_list(const struct jwt_list *l, const char *word)
{
	for (uint32_t i = 0; i < l->n; i++)
		if (!strcmp(l->v[i], word))
			return true;
	return false;
}

static enum jwt_reason check_audience(const struct jwt_provider *v, const json_t *aud)
{
	const json_t *item;
	bool mine = false;
	size_t i;

	if (!aud)
		return JWT_AUD_MISSING;
	if (json_is_string(aud))
		return in_list(&v->audience, json_string_value(aud)) ? JWT_OK : JWT_AUD;
	if (!json_is_array(aud))
		return JWT_AUD_FORM;
	json_array_foreach(aud, i, item) {
		if (!json_is_string(item))
			return JWT_AUD_FORM;
		mine |= in_list(&v->audience, json_string_value(item));
	}
	return mine ? JWT_OK : JWT_AUD;
}

static enum jwt_reason check_party(const struct jwt_provider *v, const json_t *claims, struct jwt_claims_full *f)
{
	const json_t *azp = json_object_get(claims, "azp"), *id = json_object_get(claims, "client_id");
	const char *who = azp ? json_string_value(azp) : json_string_value(id);

	if ((azp && !json_is_string(azp)) || (id && !json_is_string(id)))
		return JWT_AZP_FORM;
	if (v->parties.n && (!who || !in_list(&v->parties, who)))
		return JWT_AZP;
	f->c.client = text(&f->arena, who ? who : "");
	return f->c.client ? JWT_OK : JWT_NO_MEMORY;
}

static enum jwt_reason check_subject(const json_t *claims, struct jwt_claims_full *f)
{
	const json_t *sub = json_object_get(claims, "sub");

	if (sub && (!json_is_string(sub) || json_string_length(sub) > SUBJECT_MAX))
		return JWT_SUB_FORM;
	f->c.subject = text(&f->arena, sub ? json_string_value(sub) : "");
	return f->c.subject ? JWT_OK : JWT_NO_MEMORY;
}

/* ---- projects ---- */

static enum jwt_reason copy_list(struct jwt_claims_full *f, const struct jwt_list *l, const char *const **out)
{
	const char **v = arena_get(&f->arena, (l->n + 1) * sizeof *v);

	for (uint32_t i = 0; v && i < l->n; i++) {
		v[i] = text(&f->arena, l->v[i]);
		if (!v[i])
			return JWT_NO_MEMORY;
	}
	*out = v;
	return v ? JWT_OK : JWT_NO_MEMORY;
}

/* The names in a claim: one text, or a list. */
static enum jwt_reason claimed_projects(const json_t *claim, struct jwt_claims_full *f)
{
	size_t n = json_is_array(claim) ? json_array_size(claim) : 1;
	const char **names = arena_get(&f->arena, (n + 1) * sizeof *names);

	if (n == 0 || n > JWT_PROJECTS_MAX)
		return JWT_PROJECT_FORM;
	for (size_t i = 0; names && i < n; i++) {
		const json_t *v = json_is_array(claim) ? json_array_get(claim, i) : claim;
		char *name = json_is_string(v) && json_string_length(v) <= PROJECT_NAME_MAX ?
		    text(&f->arena, json_string_value(v)) : NULL;

		if (!name)
			return JWT_PROJECT_FORM;
		project_fold(name, strlen(name));
		if (!project_name_ok(name, strlen(name)))
			return JWT_PROJECT_FORM;
		names[i] = name;
	}
	f->c.nprojects = (uint32_t)n;
	f->c.projects = names;
	return names ? JWT_OK : JWT_NO_MEMORY;
}

/* What the claim names; where the section lists projects too, only those of them. */
static enum jwt_reason take_projects(const struct jwt_provider *v, const json_t *claims, struct jwt_claims_full *f)
{
	const json_t *named = v->project_claim ? claim(claims, v->project_claim) : NULL;
	const char *kept[JWT_PROJECTS_MAX];
	struct jwt_list l = { 0, kept };
	enum jwt_reason r;

	if (!v->project_claim) {
		f->c.any_project = v->any_project;
		f->c.nprojects = v->projects.n;
		return copy_list(f, &v->projects, &f->c.projects);
	}
	if (!named)
		return JWT_PROJECT_MISSING;
	r = claimed_projects(named, f);
	if (r != JWT_OK || !v->projects.n)
		return r;
	for (uint32_t i = 0; i < f->c.nprojects; i++)
		if (in_list(&v->projects, f->c.projects[i]))
			kept[l.n++] = f->c.projects[i];
	f->c.nprojects = l.n;
	return l.n ? copy_list(f, &l, &f->c.projects) : JWT_PROJECT_REFUSED;
}

/* ---- roles and permissions ---- */

/* Is word one of a claim's: of a text with blanks between them (scope), or of a list? */
static bool holds(const json_t *claim, const char *word)
{
	size_t n = strlen(word), i;
	const json_t *item;

	if (json_is_string(claim)) {
		for (const char *p = json_string_value(claim); *p; p += strspn(p, " ")) {
			size_t len = strcspn(p, " ");

			if (len == n && !memcmp(p, word, n))
				return true;
			p += len;
		}
		return false;
	}
	json_array_foreach(claim, i, item)
		if (!strcmp(json_string_value(item), word))
			return true;
	return false;
}

static enum jwt_reason words_ok(const struct jwt_provider *v, const json_t *claims)
{
	const json_t *item;
	size_t k;

	for (uint32_t i = 0; i < v->claims.n; i++) {
		const json_t *c = claim(claims, v->claims.v[i]);

		if (c && !json_is_string(c) && !json_is_array(c))
			return JWT_WORDS_FORM;
		json_array_foreach(c, k, item)
			if (!json_is_string(item))
				return JWT_WORDS_FORM;
	}
	return JWT_OK;
}

static enum jwt_reason take_roles(const struct jwt_provider *v, const json_t *claims, struct jwt_claims_full *f)
{
	const char *names[JWT_ROLES_MAX];
	struct jwt_list l = { 0, names };
	enum jwt_reason r = words_ok(v, claims);

	if (r != JWT_OK)
		return r;
	for (uint32_t i = 0; i < v->nmap; i++)
		for (uint32_t k = 0; k < v->claims.n; k++) {
			if (!holds(claim(claims, v->claims.v[k]), v->map[i].word))
				continue;
			f->c.perms |= v->map[i].perms;
			if (v->map[i].role && !in_list(&l, v->map[i].role) && l.n < JWT_ROLES_MAX)
				names[l.n++] = v->map[i].role;
			break;
		}
	if (!l.n && !f->c.perms && v->role)
		names[l.n++] = v->role;
	if (!l.n && !f->c.perms && v->nmap)
		return JWT_NO_ROLE;
	f->c.nroles = l.n;
	return copy_list(f, &l, &f->c.roles);
}

/* ---- all of it ---- */

static enum jwt_reason take_all(const struct jwt_provider *v, const json_t *claims, uint64_t now,
    struct jwt_claims_full *f)
{
	enum jwt_reason r = check_times(v, claims, now, &f->c);

	if (r == JWT_OK)
		r = check_audience(v, json_object_get(claims, "aud"));
	if (r == JWT_OK)
		r = check_party(v, claims, f);
	if (r == JWT_OK)
		r = check_subject(claims, f);
	if (r == JWT_OK)
		r = take_projects(v, claims, f);
	if (r == JWT_OK)
		r = take_roles(v, claims, f);
	return r;
}

enum jwt_reason jwt_claims_make(const struct jwt_policy *p, const struct jwt_provider *v,
    const json_t *claims, const struct jwt_signed *by, uint64_t wall_ms, struct jwt_claims **out)
{
	struct jwt_claims_full *f = calloc(1, sizeof *f + TEXTS);
	enum jwt_reason r;

	*out = NULL;
	if (!f)
		return JWT_NO_MEMORY;
	atomic_init(&f->c.refs, 1);
	arena_begin(&f->arena, f + 1, TEXTS);
	f->policy = p->id;
	f->key = jwt_key_ref((struct jwt_key *)by->key);
	f->alg = by->alg;
	f->payload = malloc(by->n ? by->n : 1);
	f->remote = v->remote.id ? strdup(v->remote.id) : NULL;
	f->c.provider = text(&f->arena, v->name);
	f->c.issuer = text(&f->arena, v->issuer);
	if (!f->payload || !f->c.provider || !f->c.issuer || (v->remote.id && !f->remote)) {
		jwt_claims_unref(&f->c);
		return JWT_NO_MEMORY;
	}
	memcpy(f->payload, by->payload, by->n);
	f->npayload = by->n;
	r = take_all(v, claims, wall_ms, f);
	if (r == JWT_OK)
		*out = &f->c;
	else
		jwt_claims_unref(&f->c);
	return r;
}

/* Does this policy's provider still vouch for the key that signed them? */
static bool vouches(const struct jwt_provider *v, const struct jwt_claims_full *f)
{
	if (!v->fixed)
		return v->remote.id && f->remote && !strcmp(v->remote.id, f->remote);
	for (uint32_t i = 0; i < v->fixed->n; i++)
		if (v->fixed->v[i]->bad == JWT_OK && !memcmp(v->fixed->v[i]->print, f->key->print, JWT_PRINT))
			return true;
	return false;
}

enum jwt_reason jwt_again(const struct jwt_policy *p, struct jwt_claims *c, uint64_t wall_ms,
    struct jwt_claims **out)
{
	struct jwt_claims_full *f = (struct jwt_claims_full *)c;
	const struct jwt_provider *v = NULL;
	json_t *claims = NULL;
	enum jwt_reason r = p ? jwt_claims_state(c, wall_ms) : JWT_NO_PROVIDER;

	*out = NULL;
	if (r == JWT_OK && f->policy == p->id) {
		*out = jwt_claims_ref(c);
		return JWT_OK;
	}
	if (r == JWT_OK)
		r = jwt_claims_json(f->payload, f->npayload, &claims);
	if (r == JWT_OK)
		r = jwt_policy_find(p, claims, &v);
	if (r == JWT_OK && !(v->algs & ALG_BIT(f->alg)))
		r = JWT_ALG_REFUSED;
	if (r == JWT_OK && !vouches(v, f))
		r = JWT_KEY_RETIRED;
	if (r == JWT_OK)
		r = jwt_claims_make(p, v, claims, &(struct jwt_signed){ f->key, f->alg, f->payload, f->npayload },
		    wall_ms, out);
	json_decref(claims);
	return r;
}
