/* SPDX-License-Identifier: Apache-2.0 */
/* access/jwt_policy: the [jwt NAME] sections become what tokens are measured against. */
#include <config.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "access/jwt_priv.h"
#include "access/project.h"
#include "access/role.h"
#include "base/buf.h"
#include "command/command.h"

#define WORDS_MAX 64u

int jwt_complain(struct jwt_making *m, enum cfg_key key, const char *fmt, ...)
{
	char origin[512];
	va_list ap;

	cfg_origin(m->s, key, origin, sizeof origin);
	buf_printf(m->why, "%s: [jwt %s] ", origin, cfg_name(m->s));
	va_start(ap, fmt);
	buf_vprintf(m->why, fmt, ap);
	va_end(ap);
	buf_putc(m->why, '\n');
	return -1;
}

/* ---- texts ---- */

static const char *keep(struct jwt_making *m, const char *text, size_t n)
{
	char *copy = arena_get(&m->p->arena, n + 1);

	if (!copy)
		return NULL;
	memcpy(copy, text, n);
	copy[n] = '\0';
	return copy;
}

static int no_memory(struct jwt_making *m)
{
	buf_puts(m->why, "out of memory\n");
	return -1;
}

/* "a b, c" */
static int list(struct jwt_making *m, enum cfg_key key, struct jwt_list *out)
{
	const char *text = cfg_text(m->s, key);
	const char *words[WORDS_MAX], **v;
	size_t n = 0;

	for (text += strspn(text, " \t,"); *text; text += strspn(text, " \t,")) {
		size_t len = strcspn(text, " \t,");

		if (n == WORDS_MAX)
			return jwt_complain(m, key, "more than %u words in a list", WORDS_MAX);
		words[n] = keep(m, text, len);
		if (!words[n++])
			return no_memory(m);
		text += len;
	}
	v = arena_get(&m->p->arena, (n + 1) * sizeof *v);
	if (!v)
		return no_memory(m);
	memcpy(v, words, n * sizeof *v);
	*out = (struct jwt_list){ (uint32_t)n, v };
	return 0;
}

/* ---- algorithms ---- */

static int algorithms(struct jwt_making *m, struct jwt_provider *v, struct jwt_pins *pins)
{
	uint32_t rsa = jwt_family_algs(FAMILY_RSA) | jwt_family_algs(FAMILY_PSS);
	struct jwt_list words;

	if (list(m, CFG_JWT_ALGORITHMS, &words))
		return -1;
	for (uint32_t i = 0; i < words.n; i++) {
		int alg = jwt_alg_find(words.v[i]);

		if (alg < 0)
			return jwt_complain(m, CFG_JWT_ALGORITHMS, "algorithms: there is no %s; there are RS256 RS384 RS512 PS256 "
			    "PS384 PS512 ES256 ES384 ES512 EdDSA HS256 HS384 HS512", words.v[i]);
		v->algs |= ALG_BIT(alg);
	}
	/* Where neither the key nor the INI says which, it is the one that everybody uses. */
	pins->rsa = v->algs ? v->algs & rsa : ALG_BIT(ALG_RS256);
	pins->secret = v->algs ? v->algs & JWT_ALGS_SECRET : ALG_BIT(ALG_HS256);
	if (!v->algs)
		v->algs = JWT_ALGS_PUBLIC | ALG_BIT(ALG_HS256);
	return 0;
}

/* ---- keys that are fetched ---- */

static int remote(struct jwt_making *m, struct jwt_provider *v, const struct jwt_pins *pins)
{
	const char *url = cfg_text(m->s, CFG_JWT_JWKS_URL), *given = cfg_text(m->s, CFG_JWT_DISCOVERY);
	struct jwks_opts *o = &v->remote;
	struct buf b = { .max = 16384 };
	size_t n = strlen(v->issuer);

	if (v->algs & JWT_ALGS_SECRET && cfg_is_set(m->s, CFG_JWT_ALGORITHMS))
		return jwt_complain(m, CFG_JWT_ALGORITHMS, "algorithms: HS256, HS384 and HS512 need a secret, and what an issuer "
		    "publishes is none: use key_file or jwks_file, in a section of their own");
	v->algs &= JWT_ALGS_PUBLIC;
	o->discovery = !*url;
	o->allow_http = cfg_int(m->s, CFG_JWT_ALLOW_HTTP);
	if (*url)
		buf_puts(&b, url);
	else if (*given)
		buf_puts(&b, given);
	else /* OpenID Connect Discovery 1.0, section 4: a / at the end of the issuer goes */
		buf_printf(&b, "%.*s/.well-known/openid-configuration", (int)(n && v->issuer[n - 1] == '/' ? n - 1 : n),
		    v->issuer);
	if (strncmp(buf_cstr(&b), "https://", 8) && !(o->allow_http && !strncmp(buf_cstr(&b), "http://", 7))) {
		enum cfg_key from = *url ? CFG_JWT_JWKS_URL : *given ? CFG_JWT_DISCOVERY : CFG_JWT_ISSUER;

		jwt_complain(m, from, "the keys would come from %s: use https, or jwks_file, or key_file%s", buf_cstr(&b),
		    strncmp(buf_cstr(&b), "http://", 7) ? "" : "; or allow_http = yes, where nobody can listen in between");
		buf_free(&b);
		return -1;
	}
	o->url = keep(m, buf_cstr(&b), buf_len(&b));
	o->issuer = v->issuer;
	o->provider = v->name;
	o->ca_file = cfg_is_set(m->s, CFG_JWT_CA_FILE) ?
	    keep(m, cfg_text(m->s, CFG_JWT_CA_FILE), strlen(cfg_text(m->s, CFG_JWT_CA_FILE))) : NULL;
	o->pins = *pins;
	o->timeout_ns = (uint64_t)cfg_int(m->s, CFG_JWT_TIMEOUT);
	o->refresh_min_ns = (uint64_t)cfg_int(m->s, CFG_JWT_REFRESH_MIN);
	o->refresh_max_ns = (uint64_t)cfg_int(m->s, CFG_JWT_REFRESH_MAX);
	o->kid_interval_ns = (uint64_t)cfg_int(m->s, CFG_JWT_UNKNOWN_KID_INTERVAL);
	o->max_stale_ns = (uint64_t)cfg_int(m->s, CFG_JWT_MAX_STALE);
	buf_clear(&b);
	buf_printf(&b, "%s\n%s\n%s\n%d%d\n%x %x\n%s", v->name, v->issuer, o->url ? o->url : "", o->discovery, o->allow_http,
	    pins->rsa, v->algs, o->ca_file ? o->ca_file : "");
	o->id = keep(m, buf_cstr(&b), buf_len(&b));
	buf_free(&b);
	return o->id && o->url && (o->ca_file || !cfg_is_set(m->s, CFG_JWT_CA_FILE)) ? 0 : no_memory(m);
}

static int keys(struct jwt_making *m, struct jwt_provider *v, const struct jwt_pins *pins)
{
	static const struct { enum cfg_key key; const char *name; } ways[] = {
		{ CFG_JWT_JWKS_FILE, "jwks_file" }, { CFG_JWT_KEY_FILE, "key_file" }, { CFG_JWT_JWKS_URL, "jwks_url" },
		{ CFG_JWT_DISCOVERY, "discovery" },
	};
	size_t first = 4;

	for (size_t i = 0; i < 4; i++)
		if (!cfg_is_set(m->s, ways[i].key))
			continue;
		else if (first < 4)
			return jwt_complain(m, ways[i].key, "there are %s and %s: its keys come from one place", ways[first].name,
			    ways[i].name);
		else
			first = i;
	return first < 2 ? jwt_files(m, v, pins) : remote(m, v, pins);
}

/* ---- roles ---- */

static uint32_t permission(const char *word)
{
	for (int p = PERM_ANY + 1; p <= PERM_OPERATE; p++)
		if (!strcmp(cmd_perm_name((enum cmd_perm)p), word))
			return PERM_BIT(p);
	return 0;
}

static int known_role(struct jwt_making *m, enum cfg_key key, const char *what, const char *name)
{
	if (role_builtin(name) || cfg_find(m->cfg, CFG_ROLE, name))
		return 0;
	return jwt_complain(m, key, "%s %s: there is no [role %s]; without a section there are reader, writer, admin and "
	    "operator", what, name, name);
}

static int map(struct jwt_making *m, struct jwt_provider *v)
{
	size_t n = (size_t)cfg_int(m->s, CFG_JWT_MAP);
	const char *word, *target;
	char pair[4200];

	v->map = arena_get(&m->p->arena, (n + 1) * sizeof *v->map);
	if (!v->map)
		return no_memory(m);
	for (size_t i = 0; i < n && cfg_pair(m->s, CFG_JWT_MAP, i, pair, sizeof pair, &word, &target); i++) {
		struct jwt_map *x = &v->map[v->nmap++];

		x->perms = permission(target);
		if (!x->perms && known_role(m, CFG_JWT_MAP, "map: role", target))
			return -1;
		x->word = keep(m, word, strlen(word));
		x->role = x->perms ? NULL : keep(m, target, strlen(target));
		if (!x->word || (!x->perms && !x->role))
			return no_memory(m);
	}
	return 0;
}

static int role(struct jwt_making *m, struct jwt_provider *v)
{
	const char *name = cfg_text(m->s, CFG_JWT_ROLE);

	if (!*name)
		return 0;
	v->role = keep(m, name, strlen(name));
	return !v->role ? no_memory(m) : known_role(m, CFG_JWT_ROLE, "role =", name);
}

/* A role for each set of permissions that a map may come to. */
static int roles_of_permissions(struct jwt_policy *p)
{
	const uint32_t script = PERM_BIT(PERM_SCRIPT), both = PERM_BIT(PERM_READ) | PERM_BIT(PERM_WRITE);

	p->by_perms = calloc(PERM_BIT(PERM_OPERATE - PERM_ANY), sizeof *p->by_perms);
	for (uint32_t i = 0; p->by_perms && i < PERM_BIT(PERM_OPERATE - PERM_ANY); i++) {
		struct role *r = &p->by_perms[i];

		snprintf(r->name, sizeof r->name, "(permissions)");
		r->perms = i << (PERM_ANY + 1) | PERM_BIT(PERM_ANY);
		/* A script reads and writes without its command's saying so. */
		r->narrow = r->perms & script && (r->perms & both) != both;
	}
	return p->by_perms ? 0 : -1;
}

/* ---- projects ---- */

static int projects(struct jwt_making *m, struct jwt_provider *v)
{
	const char *claim = cfg_text(m->s, CFG_JWT_PROJECT_CLAIM);

	v->any_project = !strcmp(cfg_text(m->s, CFG_JWT_PROJECT), "*");
	if (!v->any_project && list(m, CFG_JWT_PROJECT, &v->projects))
		return -1;
	if (v->projects.n > JWT_PROJECTS_MAX)
		return jwt_complain(m, CFG_JWT_PROJECT, "project: more than %u", JWT_PROJECTS_MAX);
	for (uint32_t i = 0; i < v->projects.n; i++)
		if (!project_name_ok(v->projects.v[i], strlen(v->projects.v[i])))
			return jwt_complain(m, CFG_JWT_PROJECT, "project: %s is no name of a project: 1 to 64 of a-z 0-9 . _ -",
			    v->projects.v[i]);
	if (!*claim && !v->any_project && !v->projects.n)
		return jwt_complain(m, CFG_JWT_ISSUER, "which projects may its tokens enter? Write project = NAME, or project = * "
		    "for all, or project_claim = the claim that names one");
	if (!*claim)
		return 0;
	v->project_claim = keep(m, claim, strlen(claim));
	return v->project_claim ? 0 : no_memory(m);
}

/* ---- a section ---- */

static int provider(struct jwt_making *m, struct jwt_provider *v)
{
	const struct cfg_section *s = m->s;
	struct jwt_pins pins;

	v->name = keep(m, cfg_name(s), strlen(cfg_name(s)));
	v->issuer = keep(m, cfg_text(s, CFG_JWT_ISSUER), strlen(cfg_text(s, CFG_JWT_ISSUER)));
	v->skew_ms = (uint64_t)cfg_int(s, CFG_JWT_CLOCK_SKEW) / 1000000;
	v->lifetime_ms = (uint64_t)cfg_int(s, CFG_JWT_MAX_LIFETIME) / 1000000;
	if (!v->name || !v->issuer)
		return no_memory(m);
	if (list(m, CFG_JWT_AUDIENCE, &v->audience) || list(m, CFG_JWT_AUTHORIZED_PARTIES, &v->parties) ||
	    list(m, CFG_JWT_CLAIMS, &v->claims) || map(m, v) || role(m, v) || projects(m, v))
		return -1;
	return algorithms(m, v, &pins) || keys(m, v, &pins) ? -1 : 0;
}

int jwt_policy_new(const struct cfg *cfg, struct jwt_policy **out, struct buf *why)
{
	size_t n = cfg_count(cfg, CFG_JWT);
	struct jwt_making m = { .cfg = cfg, .why = why };
	int rc = 0;

	*out = NULL;
	if (!n)
		return 0;
	m.p = calloc(1, sizeof *m.p);
	if (!m.p)
		return no_memory(&m);
	atomic_init(&m.p->refs, 1);
	m.p->id = cfg_generation(cfg);
	arena_begin(&m.p->arena, NULL, 0);
	m.p->v = calloc(n, sizeof *m.p->v);
	for (m.s = cfg_first(cfg, CFG_JWT); m.s && m.p->v; m.s = cfg_next(m.s))
		rc |= provider(&m, &m.p->v[m.p->n++]);
	if (!m.p->v || roles_of_permissions(m.p))
		rc = no_memory(&m);
	if (rc) {
		jwt_policy_unref(m.p);
		return -1;
	}
	*out = m.p;
	return 0;
}

struct jwt_policy *jwt_policy_ref(struct jwt_policy *p)
{
	if (p)
		atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

void jwt_policy_unref(struct jwt_policy *p)
{
	if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (uint32_t i = 0; i < p->n; i++)
		jwt_keys_free(p->v[i].fixed);
	free(p->v);
	free(p->by_perms);
	arena_end(&p->arena);
	free(p);
}

static bool for_me(const struct jwt_provider *v, const json_t *aud)
{
	const json_t *item;
	size_t k;

	for (uint32_t i = 0; i < v->audience.n; i++) {
		if (json_is_string(aud) && !strcmp(json_string_value(aud), v->audience.v[i]))
			return true;
		json_array_foreach(aud, k, item)
			if (json_is_string(item) && !strcmp(json_string_value(item), v->audience.v[i]))
				return true;
	}
	return false;
}

enum jwt_reason jwt_policy_find(const struct jwt_policy *p, const json_t *claims,
    const struct jwt_provider **out)
{
	const char *iss = json_string_value(json_object_get(claims, "iss"));

	*out = NULL;
	if (!iss)
		return JWT_ISS_MISSING;
	for (uint32_t i = 0; i < p->n; i++) {
		if (strcmp(p->v[i].issuer, iss))
			continue;
		if (for_me(&p->v[i], json_object_get(claims, "aud"))) {
			*out = &p->v[i];
			return JWT_OK;
		}
		if (!*out)
			*out = &p->v[i];
	}
	return *out ? JWT_OK : JWT_ISS_UNKNOWN;
}
