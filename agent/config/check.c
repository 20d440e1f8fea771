/* SPDX-License-Identifier: Apache-2.0 */
/* config/check: what several settings say together, and what follows from them. */
#include <config.h>

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "config/inside.h"

enum { PREFIX_BYTES_MAX = 128, NAME_BYTES = 64, FILE_CHECK_MAX = 1 << 20 };

void derive(struct loader *ld, struct cfg_section *s, enum cfg_key key, const char *text)
{
	struct cfg_value *v = cfg_value_of(s, key);
	char why[256];

	if (v->text != NULL || ld->nomem)
		return;
	if (value_parse(&s->rules[key - s->first_key].value, text, &v->v, why, sizeof(why)) != 0)
		load_error(ld, NULL, "[%s] %s: its default %s is not good: %s",
			kind_rows[s->kind].name, key_rows[key].name, text, why);
	else if (cfg_value_set(v, text, &place_default) != 0)
		ld->nomem = true;
}

static const struct cfg_place *place_at(const struct cfg_section *s, enum cfg_key key)
{
	return &cfg_value_of(s, key)->place;
}

/* The place of whichever of two keys is set; the first if both are. */
static const struct cfg_place *place_either(
	const struct cfg_section *s, enum cfg_key a, enum cfg_key b)
{
	return cfg_is_set(s, a) || !cfg_is_set(s, b) ? place_at(s, a) : place_at(s, b);
}

/* ---- every section --------------------------------------------------------------------------- */

static void check_required(struct loader *ld, const struct cfg_section *s)
{
	char title[128];

	section_title(s, title, sizeof(title));
	for (size_t i = 0; i < s->nkeys; i++) {
		const struct key_row *row = &key_rows[s->first_key + i];

		if ((s->rules[i].flags & PURSER_KEY_REQUIRED) != 0 && s->values[i].text == NULL &&
			load_winner(ld, s, row->name) == NULL)
			load_error(ld, &s->place, "%s needs %s: %s", title, row->name, row->doc);
	}
	for (size_t i = 0; i < s->nextras; i++) {
		const struct cfg_extra *x = &s->extras[i];

		if ((x->decl.flags & PURSER_KEY_REQUIRED) != 0 && x->value.text == NULL &&
			load_winner(ld, s, x->name) == NULL)
			load_error(ld, &s->place, "%s needs %s: %s", title, x->name,
				x->decl.doc != NULL ? x->decl.doc : "the plugin asks for it");
	}
}

/* Whether the process may still use it: what a reload asks for, that started without it. */
static bool within_reach(struct loader *ld, const struct cfg_section *s, const char *name,
	const struct cfg_value *v)
{
	char title[128];

	if (v->text == NULL || ld->in->may == NULL ||
		ld->in->may(ld->in->may_arg, v->text, path_use(name)))
		return true;
	load_error(ld, &v->place,
		"%s %s = %s: the sandbox was closed without this path when the agent started: restart "
		"the agent for it",
		section_title(s, title, sizeof(title)), name, v->text);
	return false;
}

/* A key called *_file names a secret's file: it must be there and readable now, not later. */
static void check_file(struct loader *ld, const struct cfg_section *s, const char *name,
	uint32_t flags, struct cfg_value *v)
{
	size_t n = strlen(name);
	char title[128], why[256], *content;
	struct stat st;

	if (n < 6 || strcmp(name + n - 5, "_file") != 0 || v->text == NULL)
		return;
	content = malloc(FILE_CHECK_MAX);
	if (content == NULL) {
		ld->nomem = true;
		return;
	}
	section_title(s, title, sizeof(title));
	if (cfg_read_secret(v->text, content, FILE_CHECK_MAX, why, sizeof(why)) < 0)
		load_error(ld, &v->place, "%s %s = %s: %s", title, name, v->text, why);
	else
		v->digest = text_digest(content);
	if ((flags & KEY_PUBLIC) == 0 && stat(v->text, &st) == 0 && S_ISREG(st.st_mode) &&
		(st.st_mode & S_IROTH) != 0)
		load_warning(ld, &v->place, "%s %s = %s: every user may read it: chmod o-r", title,
			name, v->text);
	explicit_bzero(content, FILE_CHECK_MAX);
	free(content);
}

/* Where everybody may write, everybody may put a file of their own in the place of ours. */
static void check_directory(struct loader *ld, const struct cfg_section *s, const char *name,
	const struct cfg_value *v)
{
	char title[128], dir[4096];
	const char *slash = v->text != NULL ? strrchr(v->text, '/') : NULL;
	struct stat st;

	if (slash == NULL || path_use(name) == CFG_PATH_SOCKET) /* cfg_socket_dir() looks at that one */
		return;
	if (stat(v->text, &st) == 0 && S_ISDIR(st.st_mode))
		snprintf(dir, sizeof(dir), "%s", v->text);
	else
		snprintf(dir, sizeof(dir), "%.*s", slash == v->text ? 1 : (int)(slash - v->text), v->text);
	if (open_to_all(dir))
		load_error(ld, &v->place,
			"%s %s = %s: every user may write to %s and put something else there: chmod o-w %s",
			section_title(s, title, sizeof(title)), name, v->text, dir, dir);
}

static void check_path(struct loader *ld, const struct cfg_section *s, const char *name,
	uint32_t flags, struct cfg_value *v)
{
	if (!within_reach(ld, s, name, v))
		return;
	check_directory(ld, s, name, v);
	check_file(ld, s, name, flags, v);
}

static void check_section(struct loader *ld, struct cfg_section *s)
{
	check_required(ld, s);
	for (size_t i = 0; i < s->nkeys; i++) {
		if (s->rules[i].value.type == VALUE_PATH)
			check_path(ld, s, key_rows[s->first_key + i].name, s->rules[i].flags,
				&s->values[i]);
	}
	for (size_t i = 0; i < s->nextras; i++) {
		if (s->extras[i].decl.type == PURSER_KEY_PATH)
			check_path(ld, s, s->extras[i].name,
				s->extras[i].decl.flags & PURSER_KEY_PUBLIC ? KEY_PUBLIC : 0,
				&s->extras[i].value);
	}
}

/* ---- [agent] --------------------------------------------------------------------------------- */

static void check_group(struct loader *ld, const struct cfg_section *s)
{
	struct cfg_value *v = cfg_value_of(s, CFG_AGENT_SOCKET_GROUP);
	struct group entry, *found = NULL;
	char buf[8192], *end;
	unsigned long id;

	if (v->text == NULL)
		return;
	errno = 0;
	id = strtoul(v->text, &end, 10);
	if (*v->text >= '0' && *v->text <= '9' && *end == '\0' && errno == 0 && id < UINT32_MAX)
		v->v.num = (int64_t)id;
	else if (getgrnam_r(v->text, &entry, buf, sizeof(buf), &found) == 0 && found != NULL)
		v->v.num = found->gr_gid;
	else
		load_error(ld, &v->place, "[agent] socket_group = %.64s: there is no such group",
			v->text);
}

static void check_agent(struct loader *ld)
{
	struct cfg_section *s = ld->cfg->first[CFG_AGENT];
	char path[4096], why[256] = "";

	if (load_winner(ld, s, "socket") == NULL) {
		if (cfg_default_socket(
			    ld->in->env, ld->in->uid, path, sizeof(path), why, sizeof(why)) != 0)
			load_error(ld, NULL, "[agent] socket: %s", why);
		else
			derive(ld, s, CFG_AGENT_SOCKET, path);
	} else if (strlen(cfg_text(s, CFG_AGENT_SOCKET)) >=
		   sizeof(((struct sockaddr_un *)0)->sun_path)) {
		load_error(ld, place_at(s, CFG_AGENT_SOCKET),
			"[agent] socket has %zu bytes, and a socket's path at most %zu: choose a "
			"shorter one",
			strlen(cfg_text(s, CFG_AGENT_SOCKET)),
			sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	}
	if (default_state_dir(ld->in->env, ld->in->uid, path, sizeof(path)) == 0)
		derive(ld, s, CFG_AGENT_STATE_DIR, path);
	check_group(ld, s);
	if (cfg_int(s, CFG_AGENT_MAX_BULK_SIZE) > cfg_int(s, CFG_AGENT_MAX_REQUEST_SIZE))
		load_error(ld, place_either(s, CFG_AGENT_MAX_BULK_SIZE, CFG_AGENT_MAX_REQUEST_SIZE),
			"[agent] max_bulk_size (%s) is more than max_request_size (%s)",
			cfg_text(s, CFG_AGENT_MAX_BULK_SIZE),
			cfg_text(s, CFG_AGENT_MAX_REQUEST_SIZE));
}

/* ---- [health] -------------------------------------------------------------------------------- */

static void check_order(struct loader *ld, const struct cfg_section *s, enum cfg_key low,
	enum cfg_key high)
{
	const struct cfg_place *place = place_either(s, low, high);

	/* A line that was not set follows from one that was. */
	if (place->source == FROM_DEFAULT)
		place = place_either(s, CFG_HEALTH_MEMORY_WARNING, CFG_HEALTH_MEMORY_CRITICAL);
	if (cfg_int(s, low) >= cfg_int(s, high))
		load_error(ld, place, "[health] %s (%s) must be below %s (%s)", key_rows[low].name,
			cfg_text(s, low), key_rows[high].name, cfg_text(s, high));
}

static void derive_clear(struct loader *ld, struct cfg_section *s, enum cfg_key raise,
	enum cfg_key clear)
{
	int64_t num = cfg_int(s, raise) - 50000;
	char text[32];

	value_format(VALUE_FRACTION, num > 0 ? num : 0, text, sizeof(text));
	derive(ld, s, clear, text);
}

static void check_health(struct loader *ld)
{
	struct cfg_section *s = ld->cfg->first[CFG_HEALTH];

	derive_clear(ld, s, CFG_HEALTH_MEMORY_WARNING, CFG_HEALTH_MEMORY_WARNING_CLEAR);
	derive_clear(ld, s, CFG_HEALTH_MEMORY_CRITICAL, CFG_HEALTH_MEMORY_CRITICAL_CLEAR);
	check_order(ld, s, CFG_HEALTH_MEMORY_WARNING, CFG_HEALTH_MEMORY_CRITICAL);
	check_order(ld, s, CFG_HEALTH_MEMORY_WARNING_CLEAR, CFG_HEALTH_MEMORY_WARNING);
	check_order(ld, s, CFG_HEALTH_MEMORY_CRITICAL_CLEAR, CFG_HEALTH_MEMORY_CRITICAL);
	check_order(ld, s, CFG_HEALTH_MEMORY_WARNING_CLEAR, CFG_HEALTH_MEMORY_CRITICAL_CLEAR);
}

/* ---- [otlp], [log] --------------------------------------------------------------------------- */

static bool is_ratio_sampler(int64_t sampler)
{
	return sampler == CFG_RATIO || sampler == CFG_PARENT_RATIO;
}

/* Does any signal? */
static bool speaks_grpc(const struct cfg_section *s)
{
	static const enum cfg_key keys[] = { CFG_OTLP_PROTOCOL, CFG_OTLP_TRACES_PROTOCOL, CFG_OTLP_METRICS_PROTOCOL,
		CFG_OTLP_LOGS_PROTOCOL };

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		if (cfg_is_set(s, keys[i]) && cfg_int(s, keys[i]) == CFG_OTLP_GRPC)
			return true;
	}
	return false;
}

static void check_endpoint(struct loader *ld, const struct cfg_section *s, enum cfg_key key)
{
	const char *url = cfg_text(s, key);
	const char *host = strstr(url, "://");
	char text[SHOWN_MAX];
	size_t n;

	if (host == NULL)
		return;
	host += 3;
	n = strcspn(host, "/?#");
	shown(VALUE_URL, 0, url, text, sizeof(text));
	if (strncmp(url, "unix:", 5) == 0) {
		if (*host != '/')
			load_error(ld, place_at(s, key), "[otlp] %s = %s: a socket is written unix:///path",
				key_rows[key].name, text);
		return;
	}
	if (n == 0 || *host == ':')
		load_error(ld, place_at(s, key), "[otlp] %s = %s: there is no host in it",
			key_rows[key].name, text);
	else if (key == CFG_OTLP_ENDPOINT && host[strcspn(host, "?#")] != '\0')
		load_error(ld, place_at(s, key),
			"[otlp] %s = %s: v1/traces cannot be appended to it: use traces_endpoint, "
			"metrics_endpoint and logs_endpoint",
			key_rows[key].name, text);
	else if (n > 5 && strncmp(host + n - 5, ":4317", 5) == 0 && !speaks_grpc(s))
		load_warning(ld, place_at(s, key), "[otlp] %s = %s: port 4317 usually speaks gRPC (protocol = grpc); "
			"http/protobuf is usually on 4318", key_rows[key].name, text);
}

static void check_otlp(struct loader *ld)
{
	struct cfg_section *s = ld->cfg->first[CFG_OTLP];
	bool all = cfg_int(ld->cfg->first[CFG_AGENT], CFG_AGENT_MODE) == CFG_DEVELOPMENT;
	struct cfg_value *batch = cfg_value_of(s, CFG_OTLP_SPAN_BATCH);
	const struct cfg_place *place = place_either(s, CFG_OTLP_SPAN_BATCH, CFG_OTLP_SPAN_QUEUE);
	char text[32];

	/* OTEL_TRACES_SAMPLER without its _ARG means 1.0. */
	if (place_at(s, CFG_OTLP_SAMPLER)->source == FROM_ENV)
		all |= is_ratio_sampler(cfg_int(s, CFG_OTLP_SAMPLER));
	derive(ld, s, CFG_OTLP_SAMPLE_RATIO, all ? "1" : "0.01");
	check_endpoint(ld, s, CFG_OTLP_ENDPOINT);
	check_endpoint(ld, s, CFG_OTLP_TRACES_ENDPOINT);
	check_endpoint(ld, s, CFG_OTLP_METRICS_ENDPOINT);
	check_endpoint(ld, s, CFG_OTLP_LOGS_ENDPOINT);
	if (batch->v.num <= cfg_int(s, CFG_OTLP_SPAN_QUEUE))
		return;
	if (batch->place.source == FROM_FILE || batch->place.source == FROM_SET) {
		load_error(ld, place, "[otlp] span_batch (%s) is more than span_queue (%s)",
			batch->text, cfg_text(s, CFG_OTLP_SPAN_QUEUE));
		return;
	}
	if (batch->place.source == FROM_ENV)
		load_warning(ld, place, "more than span_queue (%s), which is taken instead",
			cfg_text(s, CFG_OTLP_SPAN_QUEUE));
	snprintf(text, sizeof(text), "%s", cfg_text(s, CFG_OTLP_SPAN_QUEUE));
	cfg_value_clear(batch);
	derive(ld, s, CFG_OTLP_SPAN_BATCH, text);
}

static void check_log(struct loader *ld)
{
	const struct cfg_section *s = ld->cfg->first[CFG_LOG];
	const struct cfg_place *place = place_at(s, CFG_LOG_MODULES);
	const char *const *modules = ld->in->modules;
	const char *name, *level, *near;
	char buf[4200];
	size_t n = 0;

	while (modules != NULL && modules[n] != NULL)
		n++;
	for (size_t i = 0; cfg_pair(s, CFG_LOG_MODULES, i, buf, sizeof(buf), &name, &level); i++) {
		struct value_rule rule = { VALUE_ENUM, 0, 0, key_rows[CFG_LOG_LEVEL].rule.choices };
		size_t at = 0;
		struct value v;
		char why[256];

		while (at < n && strcmp(modules[at], name) != 0)
			at++;
		if (modules != NULL && at == n) {
			near = value_nearest(name, modules, n);
			load_error(ld, place, "[log] modules: there is no module %.40s%s%s%s", name,
				near != NULL ? ": did you mean " : "", near != NULL ? near : "",
				near != NULL ? "?" : "");
		}
		if (value_parse(&rule, level, &v, why, sizeof(why)) != 0)
			load_error(ld, place, "[log] modules: %.40s = %.40s: %s", name, level, why);
	}
}

/* ---- [project NAME] -------------------------------------------------------------------------- */

/* The backend that it names, or the only one; NULL after saying what is wrong. */
static void find_backend(struct loader *ld, struct cfg_section *s)
{
	const struct cfg_section *first = ld->cfg->first[CFG_BACKEND];
	const char *name = cfg_text(s, CFG_PROJECT_BACKEND);
	const char *names[SECTIONS_MAX], *near;
	size_t n = 0;

	if (first == NULL)
		return;
	if (*name == '\0') {
		if (first->next == NULL)
			s->backend = first;
		else
			load_error(ld, &s->place,
				"[project %s] needs backend: there are several, and it must say "
				"which holds its keys",
				s->name);
		return;
	}
	s->backend = cfg_find(ld->cfg, CFG_BACKEND, name);
	if (s->backend != NULL)
		return;
	for (; first != NULL; first = first->next)
		names[n++] = first->name;
	near = value_nearest(name, names, n);
	if (near != NULL)
		load_error(ld, place_at(s, CFG_PROJECT_BACKEND),
			"[project %s] backend = %.64s: there is no [backend %.64s]: did you mean "
			"%s?",
			s->name, name, name, near);
	else
		load_error(ld, place_at(s, CFG_PROJECT_BACKEND),
			"[project %s] backend = %.64s: there is no [backend %.64s]",
			s->name, name, name);
}

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* [project *] stands for projects that are only named later. */
static bool is_template(const struct cfg_section *s)
{
	return s->kind == CFG_PROJECT && strcmp(s->name, "*") == 0;
}

static const char placeholder[] = "{project}";

/* The key_prefix with the name in it; of [project *] the placeholder stays. */
static void fill_in(const struct cfg_section *s, const char *own, char *text, size_t len)
{
	const char *at = is_template(s) ? NULL : strstr(own, placeholder);

	if (at == NULL)
		snprintf(text, len, "%s", own);
	else
		snprintf(text, len, "%.*s%s%s", (int)(at - own), own, s->name,
			at + strlen(placeholder));
}

static const char name_bytes[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";

/* The prefixes of [project *] differ by the name alone, and no name can end another's prefix. */
static void check_template(struct loader *ld, struct cfg_section *s, const char *own)
{
	const char *at = strstr(own, placeholder);

	if (cfg_int(s, CFG_PROJECT_ISOLATION) == 0)
		load_error(ld, place_at(s, CFG_PROJECT_ISOLATION),
			"[project *] isolation = off: projects that come to be by their names share "
			"the backend: each needs its prefix");
	if (*own == '\0')
		return;
	if (at == NULL || at[strlen(placeholder)] == '\0' ||
		strchr(name_bytes, at[strlen(placeholder)]) != NULL)
		load_error(ld, place_at(s, CFG_PROJECT_KEY_PREFIX),
			"[project *] key_prefix = %.64s: {project} must be in it, and behind it a "
			"character that no name has, as in app:{project}:",
			own);
}

static void make_prefix(struct loader *ld, struct cfg_section *s)
{
	const char *own = cfg_text(s, CFG_PROJECT_KEY_PREFIX), *at = strstr(own, placeholder);
	const struct cfg_place *place = place_at(s, CFG_PROJECT_KEY_PREFIX);
	bool isolated = cfg_int(s, CFG_PROJECT_ISOLATION) != 0;
	char text[PREFIX_BYTES_MAX + NAME_BYTES + 1] = "", plain[PREFIX_BYTES_MAX + 1];

	snprintf(plain, sizeof(plain), "%.*s%s", (int)(at != NULL ? at - own : 0), own,
		at != NULL ? at + strlen(placeholder) : own);
	if (strlen(own) > PREFIX_BYTES_MAX)
		load_error(ld, place, "[project %s] key_prefix is longer than %d bytes", s->name,
			PREFIX_BYTES_MAX);
	else if (strpbrk(plain, "*?[]\\{} \t\"'") != NULL)
		load_error(ld, place,
			"[project %s] key_prefix = %s: none of * ? [ ] \\ { } quote or blank may "
			"be in it, but for {project}, where the name goes",
			s->name, own);
	else if (*own != '\0' && (begins(own, "psr:") || begins("psr:", own)))
		load_error(ld, place,
			"[project %s] key_prefix = %s: psr: holds the agent's own keys: choose "
			"another",
			s->name, own);
	else if (*own != '\0' && !isolated)
		load_error(ld, place_at(s, CFG_PROJECT_ISOLATION),
			"[project %s] isolation = off means no prefix, but key_prefix is %s: take "
			"one of them out",
			s->name, own);
	else if (*own != '\0')
		fill_in(s, own, text, sizeof(text));
	else if (isolated)
		snprintf(text, sizeof(text), "proj:%s:", is_template(s) ? placeholder : s->name);
	if (is_template(s))
		check_template(ld, s, own);
	s->prefix = strdup(text);
	if (s->prefix == NULL)
		ld->nomem = true;
	else if (isolated && *own == '\0')
		derive(ld, s, CFG_PROJECT_KEY_PREFIX, s->prefix);
}

/* Whether both have a setting of that name, and the same value. */
static bool agree(const struct cfg_section *a, const struct cfg_section *b, const char *name)
{
	const char *x, *y;

	return cfg_setting(a, name, &x, NULL) && cfg_setting(b, name, &y, NULL) &&
	       strcmp(x, y) == 0;
}

/* Two backends are one store if they are one section, or have the same URL and database. */
static bool same_store(const struct cfg_section *a, const struct cfg_section *b)
{
	if (a == b)
		return true;
	return agree(a, b, "url") &&
	       (!cfg_setting(a, "database", NULL, NULL) || agree(a, b, "database"));
}

static const struct cfg_place *prefix_place(const struct cfg_section *s)
{
	return cfg_is_set(s, CFG_PROJECT_KEY_PREFIX) ? place_at(s, CFG_PROJECT_KEY_PREFIX)
						     : &s->place;
}

/* Could a project of [project *] have a prefix that begins this one, or that this one begins?  One that
 * is the project's own by its name could not: that name is taken. */
static bool meets_template(const struct cfg_section *t, const struct cfg_section *s)
{
	const char *at = strstr(t->prefix, placeholder), *tail = at != NULL ? at + strlen(placeholder) : "";
	size_t head = at != NULL ? (size_t)(at - t->prefix) : 0, n;
	const char *rest;

	if (strncmp(s->prefix, t->prefix, strlen(s->prefix) < head ? strlen(s->prefix) : head) != 0)
		return false;
	if (strlen(s->prefix) <= head)
		return true;
	rest = s->prefix + head;
	n = strspn(rest, name_bytes);
	if (n == strlen(s->name) && strncmp(rest, s->name, n) == 0 && strcmp(rest + n, tail) == 0)
		return false;
	return n > 0 && (begins(rest + n, tail) || begins(tail, rest + n));
}

static bool one_holds_other(const struct cfg_section *a, const struct cfg_section *b)
{
	if (is_template(a))
		return meets_template(a, b);
	if (is_template(b))
		return meets_template(b, a);
	return begins(a->prefix, b->prefix) || begins(b->prefix, a->prefix);
}

static void check_prefixes(struct loader *ld, const struct cfg_section *a)
{
	for (const struct cfg_section *b = a->next; b != NULL; b = b->next) {
		if (a->backend == NULL || b->backend == NULL || a->prefix == NULL ||
			b->prefix == NULL || !same_store(a->backend, b->backend))
			continue;
		if (*a->prefix == '\0' || *b->prefix == '\0') {
			const struct cfg_section *open = *a->prefix == '\0' ? a : b,
						 *other = open == a ? b : a;

			if (cfg_int(open, CFG_PROJECT_ISOLATION) == 0 &&
				other->place.source != FROM_BUILTIN)
				load_warning(ld, place_at(open, CFG_PROJECT_ISOLATION),
					"[project %s] isolation = off: it sees the keys of "
					"[project %s], too",
					open->name, other->name);
		} else if (one_holds_other(a, b)) {
			load_error(ld, prefix_place(cfg_is_set(b, CFG_PROJECT_KEY_PREFIX) ? b : a),
				"the keys of [project %s] begin with %s and those of [project %s] "
				"with %s: one holds the other; choose prefixes of which none "
				"begins another",
				a->name, a->prefix, b->name, b->prefix);
		}
	}
}

/* Set, and to something other than its default. */
static bool says_more(const struct cfg_section *s, enum cfg_key key)
{
	const struct cfg_value *v = cfg_value_of(s, key);

	return cfg_is_set(s, key) && (v->text == NULL || v->def == NULL || strcmp(v->text, v->def) != 0);
}

/* dynamic and max_projects say something of [project *] alone, and that says nothing without dynamic. */
static void check_dynamic(struct loader *ld, const struct cfg_section *s)
{
	if (is_template(s)) {
		if (cfg_int(s, CFG_PROJECT_DYNAMIC) == 0)
			load_warning(ld, &s->place,
				"[project *] admits nothing: dynamic = yes is what it is for");
		return;
	}
	/* Set to their defaults they say nothing: so --print-config writes them. */
	if (says_more(s, CFG_PROJECT_DYNAMIC) || says_more(s, CFG_PROJECT_MAX_PROJECTS))
		load_error(ld, place_either(s, CFG_PROJECT_DYNAMIC, CFG_PROJECT_MAX_PROJECTS),
			"[project %s] has %s, which is for [project *] alone", s->name,
			says_more(s, CFG_PROJECT_DYNAMIC) ? "dynamic" : "max_projects");
}

/* A burst says something about a rate. */
static void check_rates(struct loader *ld, const struct cfg_section *s)
{
	static const struct { enum cfg_key rate, burst; const char *rate_name, *burst_name; } pair[] = {
		{ CFG_PROJECT_RATE, CFG_PROJECT_BURST, "rate", "burst" },
		{ CFG_PROJECT_WRITE_RATE, CFG_PROJECT_WRITE_BURST, "write_rate", "write_burst" },
		{ CFG_PROJECT_BYTE_RATE, CFG_PROJECT_BYTE_BURST, "byte_rate", "byte_burst" },
		{ CFG_PROJECT_CLIENT_RATE, CFG_PROJECT_CLIENT_BURST, "client_rate", "client_burst" },
		{ CFG_PROJECT_CLIENT_WRITE_RATE, CFG_PROJECT_CLIENT_WRITE_BURST, "client_write_rate", "client_write_burst" },
		{ CFG_PROJECT_CLIENT_BYTE_RATE, CFG_PROJECT_CLIENT_BYTE_BURST, "client_byte_rate", "client_byte_burst" },
	};

	for (size_t i = 0; i < sizeof pair / sizeof *pair; i++)
		if (cfg_is_set(s, pair[i].burst) && !cfg_is_set(s, pair[i].rate))
			load_error(ld, place_at(s, pair[i].burst), "[project %s] %s says how many may come at once above "
				"%s, which is not set: set it too", s->name, pair[i].burst_name, pair[i].rate_name);
}

/* Is `name` a word of the list? */
static bool has_word(const char *list, const char *name)
{
	for (size_t n; *(list += strspn(list, " \t,")) != '\0'; list += n) {
		n = strcspn(list, " \t,");
		if (n == strlen(name) && memcmp(list, name, n) == 0)
			return true;
	}
	return false;
}

/* Names of projects that a rule has, and that are none: right where they come to be, else a slip of the pen that
 * would only show as a user who is not let in. */
static void check_names(struct loader *ld, const struct cfg_section *s, const char *kind, enum cfg_key key, const char *name)
{
	const struct cfg_section *any = cfg_find(ld->cfg, CFG_PROJECT, "*");
	const char *list = cfg_text(s, key);
	char word[NAME_BYTES + 2];

	if (any != NULL && cfg_int(any, CFG_PROJECT_DYNAMIC) != 0)
		return;
	while (cfg_next_word(&list, word, sizeof word)) {
		/* What cannot be a name at all is told elsewhere. */
		if (word[strspn(word, name_bytes)] == '\0' && strlen(word) <= NAME_BYTES &&
			cfg_find(ld->cfg, CFG_PROJECT, word) == NULL &&
			(ld->cfg->first[CFG_PROJECT] != NULL || strcmp(word, "default") != 0))
			load_warning(ld, place_at(s, key), "[%s %s] %s: there is no [project %s]: nobody is let in there",
				kind, s->name, name, word);
	}
}

static bool granted(const struct loader *ld, const struct cfg_section *project)
{
	for (const struct cfg_section *g = ld->cfg->first[CFG_GRANT]; g != NULL; g = g->next)
		if (has_word(cfg_text(g, CFG_GRANT_PROJECTS), "*") || is_template(project) ||
			has_word(cfg_text(g, CFG_GRANT_PROJECTS), project->name))
			return true;
	return false;
}

/* A project that nobody can enter, by any kind of identity that it accepts. */
static void check_entry(struct loader *ld, const struct cfg_section *s)
{
	const struct cfg_section *agent = ld->cfg->first[CFG_AGENT];
	const char *accept = cfg_text(s, CFG_PROJECT_ACCEPT);
	bool production = cfg_int(agent, CFG_AGENT_MODE) == CFG_PRODUCTION;

	if (has_word(accept, "token") && cfg_is_set(agent, CFG_AGENT_TOKEN_FILE))
		return;
	if (has_word(accept, "jwt") && ld->cfg->first[CFG_JWT] != NULL)
		return;
	if (has_word(accept, "peer") && (!production || cfg_is_set(s, CFG_PROJECT_ALLOW_UID) ||
		cfg_is_set(s, CFG_PROJECT_ALLOW_GID) || granted(ld, s)))
		return;
	load_warning(ld, &s->place, "[project %s] lets nobody in: it accepts %s, and %s", s->name, accept,
		has_word(accept, "peer") ? "there is no allow_uid, allow_gid or [grant] for it, no [agent] token_file and no "
		"[jwt NAME]" : "there is no [agent] token_file or [jwt NAME] for that");
}

static void check_projects(struct loader *ld)
{
	struct cfg_section *first = ld->cfg->first[CFG_PROJECT];
	const struct cfg_section *backends = ld->cfg->first[CFG_BACKEND];

	if (first == NULL && backends != NULL && backends->next != NULL)
		load_error(ld, &backends->next->place,
			"there are several [backend NAME] and no [project NAME]: write [project "
			"default] with backend = %s, and one for each other key space",
			backends->name);
	if (first == NULL && backends != NULL && backends->next == NULL &&
		cfg_int(ld->cfg->first[CFG_AGENT], CFG_AGENT_MODE) == CFG_PRODUCTION)
		load_warning(ld, place_at(ld->cfg->first[CFG_AGENT], CFG_AGENT_MODE),
			"mode = production and there is no [project NAME]: nobody can reach a key");
	for (struct cfg_section *s = first; s != NULL && !ld->nomem; s = s->next) {
		find_backend(ld, s);
		make_prefix(ld, s);
		check_dynamic(ld, s);
		check_rates(ld, s);
		check_entry(ld, s);
	}
	for (const struct cfg_section *s = ld->cfg->first[CFG_GRANT]; s != NULL; s = s->next)
		check_names(ld, s, "grant", CFG_GRANT_PROJECTS, "projects");
	for (const struct cfg_section *s = ld->cfg->first[CFG_JWT]; s != NULL; s = s->next)
		check_names(ld, s, "jwt", CFG_JWT_PROJECT, "project");
	for (const struct cfg_section *s = first; s != NULL && !ld->nomem; s = s->next)
		check_prefixes(ld, s);
}

void check_all(struct loader *ld)
{
	for (int k = 0; k < CFG_KIND_COUNT; k++) {
		for (struct cfg_section *s = ld->cfg->first[k]; s != NULL && !ld->nomem;
			s = s->next)
			check_section(ld, s);
	}
	check_agent(ld);
	check_health(ld);
	check_otlp(ld);
	check_log(ld);
	check_projects(ld);
}
