/* SPDX-License-Identifier: Apache-2.0 */
/* config/load: settings become the values of sections, each checked by its row or its plugin. */
#include <config.h>

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/inside.h"

enum { NAME_BYTES_MAX = 64, EXTRAS_MAX = 200, FALLBACK_LEN = 4200 };

/* ---- settings -------------------------------------------------------------------------------- */

bool load_setting(struct loader *ld, struct cfg_section *s, const char *key, const char *text,
	const struct cfg_place *place)
{
	struct setting item = { .section = s, .place = *place };

	if (ld->n >= SETTINGS_MAX) {
		load_error(ld, place, "there are more than %d settings", SETTINGS_MAX);
		return false;
	}
	if (ld->n == ld->cap) {
		size_t cap = ld->cap != 0 ? 2 * ld->cap : 32;
		struct setting *list = realloc(ld->settings, cap * sizeof(*list));

		if (list == NULL) {
			ld->nomem = true;
			return false;
		}
		ld->settings = list;
		ld->cap = cap;
	}
	item.key = strdup(key);
	item.text = strdup(text);
	if (item.key == NULL || item.text == NULL) {
		free(item.key);
		free(item.text);
		ld->nomem = true;
		return false;
	}
	ld->settings[ld->n++] = item;
	return true;
}

static const struct setting *winner(const struct loader *ld, const struct cfg_section *s,
	const char *key)
{
	const struct setting *best = NULL;

	for (size_t i = 0; i < ld->n; i++) {
		const struct setting *t = &ld->settings[i];

		if (t->section == s && strcmp(t->key, key) == 0 &&
			(best == NULL || t->place.source >= best->place.source))
			best = t;
	}
	return best;
}

const char *load_winner(const struct loader *ld, const struct cfg_section *s, const char *key)
{
	const struct setting *best = winner(ld, s, key);

	return best != NULL && *best->text != '\0' ? best->text : NULL;
}

/* ---- section names --------------------------------------------------------------------------- */

static bool good_name(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-");

	return n >= 1 && n <= NAME_BYTES_MAX && name[n] == '\0';
}

static void unknown_section(struct loader *ld, const char *word, const struct cfg_place *place)
{
	const char *names[CFG_KIND_COUNT], *near;
	char list[256];
	size_t at = 0;

	for (int k = 0; k < CFG_KIND_COUNT; k++) {
		names[k] = kind_rows[k].name;
		at += (size_t)snprintf(list + at, sizeof(list) - at, "%s[%s%s]", k > 0 ? " " : "",
			names[k], kind_rows[k].named ? " NAME" : "");
	}
	near = value_nearest(word, names, CFG_KIND_COUNT);
	if (near != NULL)
		load_error(ld, place, "unknown section [%s]: did you mean [%s]?", word, near);
	else
		load_error(ld, place, "unknown section [%s]: there are %s", word, list);
}

struct cfg_section *load_title(struct loader *ld, const char *title, const struct cfg_place *place)
{
	size_t n = strcspn(title, " \t");
	const char *name = title + n + strspn(title + n, " \t");
	char word[64];
	int kind;

	snprintf(word, sizeof(word), "%.*s", (int)n, title);
	kind = kind_find(word);
	if (kind < 0) {
		unknown_section(ld, word, place);
		return NULL;
	}
	if (!kind_rows[kind].named && *name != '\0') {
		load_error(ld, place, "[%s] has no name: write [%s]", title, word);
		return NULL;
	}
	if (kind_rows[kind].named && *name == '\0') {
		load_error(ld, place, "[%s] needs a name: write [%s %s]", word, word,
			kind == CFG_PROJECT ? "default" : "main");
		return NULL;
	}
	if (kind_rows[kind].named && !good_name(name) &&
		!(kind == CFG_PROJECT && strcmp(name, "*") == 0)) {
		load_error(ld, place, "[%s]: a name is 1 to %d of a-z 0-9 . _ -", title,
			NAME_BYTES_MAX);
		return NULL;
	}
	return cfg_section_get(ld, (enum cfg_kind)kind, name, place);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* A setting of section s as the schema sees it: the core's row, or the plugin's. */
struct slot {
	struct cfg_value *value;
	const struct value_rule *rule;
	const char *name;
	uint32_t flags;
};

static bool find_slot(const struct cfg_section *s, const char *key, struct value_rule *own,
	struct slot *out)
{
	struct cfg_extra *x = cfg_extra_find(s, key);
	int row = key_find(s->kind, key);

	if (row >= 0) {
		*out = (struct slot){ cfg_value_of(s, (enum cfg_key)row),
			&s->rules[(size_t)row - s->first_key].value, key_rows[row].name,
			s->rules[(size_t)row - s->first_key].flags };
		return true;
	}
	if (x == NULL)
		return false;
	*own = (struct value_rule){ (enum value_type)x->decl.type, x->decl.min, x->decl.max,
		x->decl.choices };
	*out = (struct slot){ &x->value, own, x->name, x->decl.flags };
	return true;
}

/* Of a secret nothing is shown, and a file with it is no file for everybody. */
static bool secret_is_safe(struct loader *ld, const struct cfg_section *s, const struct slot *slot,
	const struct setting *t)
{
	char title[128];
	struct stat st;

	if ((slot->flags & PURSER_KEY_SECRET) == 0)
		return true;
	section_title(s, title, sizeof(title));
	if (t->place.source == FROM_SET) {
		load_error(ld, &t->place,
			"%s %s is a secret, and every user can see the arguments of a process: put "
			"it into a file",
			title, slot->name);
		return false;
	}
	if (t->place.source == FROM_FILE && stat(ld->cfg->files[t->place.file], &st) == 0 &&
		S_ISREG(st.st_mode) && (st.st_mode & S_IROTH) != 0)
		load_warning(ld, &t->place, "%s %s is a secret, and every user may read this file: chmod o-r",
			title, slot->name);
	if (t->commented) {
		load_error(ld, &t->place,
			"%s %s: a blank and a ; begin a comment, here inside a secret: put the "
			"secret into a file of its own",
			title, slot->name);
		return false;
	}
	return true;
}

static void set_default(struct loader *ld, struct cfg_value *value, const struct value_rule *rule,
	const char *def, const char *whose)
{
	char why[256];

	value->def = def;
	value->v = (struct value){ 0, 0 };
	if (def == NULL || *def == '\0')
		cfg_value_clear(value);
	else if (value_parse(rule, def, &value->v, why, sizeof(why)) != 0)
		load_error(ld, NULL, "%s: its default %s is not good: %s", whose, def, why);
	else if (cfg_value_set(value, def, &place_default) != 0)
		ld->nomem = true;
}

static void set_value(struct loader *ld, const struct cfg_section *s, const struct slot *slot,
	const struct setting *t)
{
	struct value v = { 0, 0 };
	char why[512], title[128], text[SHOWN_MAX];

	if (*t->text == '\0') { /* takes back what a weaker source has said */
		set_default(ld, slot->value, slot->rule, slot->value->def, slot->name);
		return;
	}
	if (!secret_is_safe(ld, s, slot, t))
		return;
	if (slot->rule->type != 0 && value_parse(slot->rule, t->text, &v, why, sizeof(why)) != 0) {
		load_error(ld, &t->place, "%s %s = %s: %s", section_title(s, title, sizeof(title)),
			slot->name,
			shown(slot->rule->type, slot->flags, t->text, text, sizeof(text)), why);
		return;
	}
	if (cfg_value_set(slot->value, t->text, &t->place) != 0)
		ld->nomem = true;
	slot->value->v = v;
}

static void unknown_key(struct loader *ld, const struct setting *t)
{
	const struct cfg_section *s = t->section;
	const char *names[CFG_KEY_COUNT + EXTRAS_MAX], *near, *plugin;
	char title[128];
	size_t n = 0;

	for (size_t i = 0; i < s->nkeys; i++)
		names[n++] = key_rows[s->first_key + i].name;
	for (size_t i = 0; i < s->nextras; i++)
		names[n++] = s->extras[i].name;
	section_title(s, title, sizeof(title));
	if (t->place.source == FROM_ENV) {
		plugin = load_winner(ld, s, "plugin");
		load_warning(ld, &t->place, "%s is of plugin %s, which has no %s: it is not used",
			title, plugin != NULL ? plugin : "?", t->key);
		return;
	}
	near = value_nearest(t->key, names, n);
	if (near != NULL)
		load_error(ld, &t->place, "%s has no key %.60s: did you mean %s?", title, t->key,
			near);
	else if (s->kind == CFG_BACKEND)
		load_error(ld, &t->place,
			"%s has no key %.60s: purserd --dump-plugin %s prints what there is", title,
			t->key, cfg_text(s, CFG_BACKEND_PLUGIN));
	else
		load_error(ld, &t->place, "%s has no key %.60s: purser.ini(5) has them all", title,
			t->key);
}

/* ---- the schemas of plugins ------------------------------------------------------------------ */

static struct cfg_extra *add_extra(struct loader *ld, struct cfg_section *s, const char *name)
{
	struct cfg_extra *x;

	if (s->nextras == s->extras_cap) {
		size_t cap = s->extras_cap != 0 ? 2 * s->extras_cap : 16;
		struct cfg_extra *list = realloc(s->extras, cap * sizeof(*list));

		if (list == NULL) {
			ld->nomem = true;
			return NULL;
		}
		s->extras = list;
		s->extras_cap = cap;
	}
	x = &s->extras[s->nextras];
	memset(x, 0, sizeof(*x));
	x->name = strdup(name);
	if (x->name == NULL) {
		ld->nomem = true;
		return NULL;
	}
	s->nextras++;
	return x;
}

/* One declared key.  One that the core has, too, narrows the core's: bounds, flags and default are
 * the plugin's, the type must be the same. */
static void declare(
	struct loader *ld, struct cfg_section *s, const purser_key *k, const char *plugin)
{
	struct value_rule rule = { (enum value_type)k->type, k->min, k->max, k->choices };
	struct cfg_extra *x;
	char whose[256];
	int row;

	snprintf(whose, sizeof(whose), "plugin %s, key %s", plugin,
		k->name != NULL ? k->name : "?");
	if (s->nextras >= EXTRAS_MAX) {
		load_error(ld, &s->place, "%s: it declares more than %d keys", whose, EXTRAS_MAX);
		return;
	}
	if (k->name == NULL || *k->name == '\0' ||
		k->name[strspn(k->name, "abcdefghijklmnopqrstuvwxyz0123456789_")] != '\0') {
		load_error(ld, &s->place, "%s: a key is named by a-z 0-9 and _", whose);
		return;
	}
	if (k->type < PURSER_KEY_TEXT || k->type > PURSER_KEY_URL ||
		(k->type == PURSER_KEY_ENUM && k->choices == NULL)) {
		load_error(ld, &s->place, "%s: type %" PRIu32 " is not one that this version knows",
			whose, k->type);
		return;
	}
	row = key_find(CFG_BACKEND, k->name);
	if (row == CFG_BACKEND_PLUGIN || (row >= 0 && key_rows[row].rule.type != rule.type)) {
		load_error(ld, &s->place, "%s: the core has a key of that name, as %s", whose,
			value_type_name(key_rows[row].rule.type));
		return;
	}
	if (row >= 0) {
		s->rules[(size_t)row - s->first_key] = (struct key_rule){ rule, k->flags };
		set_default(ld, cfg_value_of(s, (enum cfg_key)row), &rule, k->def, whose);
		return;
	}
	if (cfg_extra_find(s, k->name) != NULL) {
		load_error(ld, &s->place, "%s: declared twice", whose);
		return;
	}
	x = add_extra(ld, s, k->name);
	if (x != NULL) {
		x->decl = *k;
		set_default(ld, &x->value, &rule, k->def, whose);
	}
}

static void ask_plugin(struct loader *ld, struct cfg_section *s)
{
	const char *plugin = load_winner(ld, s, "plugin");
	const char *dir = load_winner(ld, ld->cfg->first[CFG_AGENT], "plugin_dir");
	const purser_key *keys = NULL;
	uint32_t n = 0, stride = 0;
	char why[512] = "";

	s->unchecked = true;
	if (plugin == NULL || ld->in->schema == NULL)
		return;
	if (ld->in->schema(ld->in->schema_arg, plugin, dir != NULL ? dir : "", &keys, &n, &stride,
		    why, sizeof(why)) != 0) {
		bool shut = *plugin == '/' && ld->in->may != NULL &&
			    !ld->in->may(ld->in->may_arg, plugin, CFG_PATH_READ);

		load_error(ld, &winner(ld, s, "plugin")->place, "[backend %s] plugin = %s: %s%s",
			s->name, plugin, why, shut ? ": the sandbox was closed without it when the agent "
			"started: restart the agent for it" : "");
		return;
	}
	s->unchecked = false;
	for (uint32_t i = 0; i < n && !ld->nomem; i++) {
		purser_key k = { 0 };

		memcpy(&k, (const char *)keys + (size_t)i * stride,
			stride < sizeof(k) ? stride : sizeof(k));
		declare(ld, s, &k, plugin);
	}
}

/* ---- all together ---------------------------------------------------------------------------- */

/* Without a file there is one backend, redis if REDIS_URL is set, else memory.  A file must name
 * its own; only REDIS_URL can stand for one. */
static void built_in_backend(struct loader *ld)
{
	const struct cfg_place place = { .source = FROM_BUILTIN };
	const char *url = env_get(ld->in->env, "REDIS_URL");
	struct cfg_section *s = ld->cfg->first[CFG_BACKEND];

	if (s != NULL && (ld->cfg->found || s->next != NULL))
		return;
	if (s == NULL && ld->cfg->found && url == NULL) {
		if (ld->errors->nerrors == 0)
			load_error(ld, NULL,
				"%s: there is no [backend NAME]: write [backend main] and in it "
				"plugin = redis and url = redis://127.0.0.1:6379/0, or plugin = "
				"memory",
				ld->cfg->files[0]);
		return;
	}
	if (s == NULL)
		s = cfg_section_get(ld, CFG_BACKEND, "main", &place);
	if (s != NULL)
		load_setting(ld, s, "plugin", url != NULL ? "redis" : "memory", &place);
}

/* In development there is a project default; where only one backend is, it needs no section. */
static void built_in_project(struct loader *ld)
{
	const struct cfg_place place = { .source = FROM_BUILTIN };
	const char *mode = load_winner(ld, ld->cfg->first[CFG_AGENT], "mode");
	const struct cfg_section *s = ld->cfg->first[CFG_BACKEND];

	if ((mode == NULL || strcmp(mode, "development") == 0) && s != NULL && s->next == NULL)
		cfg_section_get(ld, CFG_PROJECT, "default", &place);
}

static void set_all(struct loader *ld)
{
	for (int k = 0; k < CFG_KIND_COUNT; k++) {
		for (struct cfg_section *s = ld->cfg->first[k]; s != NULL && !ld->nomem;
			s = s->next) {
			for (size_t i = 0; i < s->nkeys; i++)
				set_default(ld, &s->values[i], &s->rules[i].value,
					key_rows[s->first_key + i].def,
					key_rows[s->first_key + i].name);
			if (k == CFG_BACKEND)
				ask_plugin(ld, s);
		}
	}
	/* Weaker sources first, so that the stronger one stays. */
	for (int from = FROM_BUILTIN; from <= FROM_SET; from++) {
		for (size_t i = 0; i < ld->n && !ld->nomem; i++) {
			struct setting *t = &ld->settings[i];
			struct value_rule own = { 0, 0, 0, NULL };
			struct slot slot;

			if (t->place.source != (enum cfg_source)from)
				continue;
			if (!find_slot(t->section, t->key, &own, &slot)) {
				if (!t->section->unchecked) {
					unknown_key(ld, t);
					continue;
				}
				if (t->section->nextras >= EXTRAS_MAX ||
					add_extra(ld, t->section, t->key) == NULL ||
					!find_slot(t->section, t->key, &own, &slot))
					continue;
			}
			set_value(ld, t->section, &slot, t);
		}
	}
}

static int run(struct loader *ld)
{
	read_files(ld);
	if (!ld->nomem)
		read_sets(ld);
	if (!ld->nomem)
		built_in_backend(ld);
	if (!ld->nomem)
		read_environment(ld);
	if (!ld->nomem)
		built_in_project(ld);
	if (!ld->nomem)
		set_all(ld);
	if (!ld->nomem)
		check_all(ld);
	if (!ld->nomem && ld->errors->nerrors == 0)
		make_signals(ld);
	if (ld->nomem)
		return CFG_NOMEM;
	if (ld->unreadable)
		return CFG_UNREADABLE;
	return ld->errors->nerrors > 0 ? CFG_INVALID : CFG_OK;
}

int cfg_load(const struct cfg_inputs *in, struct cfg **out, struct cfg_errors *errors)
{
	struct loader ld = { .in = in, .errors = errors };
	int rc = CFG_NOMEM;

	ld.cfg = cfg_new(in->generation);
	if (ld.cfg != NULL)
		rc = run(&ld);
	for (size_t i = 0; i < ld.n; i++) {
		free(ld.settings[i].key);
		explicit_bzero(ld.settings[i].text, strlen(ld.settings[i].text));
		free(ld.settings[i].text);
	}
	free(ld.settings);
	if (rc == CFG_OK)
		*out = ld.cfg;
	else
		cfg_unref(ld.cfg);
	return rc;
}

int cfg_exit_status(int code)
{
	return code == CFG_OK ? 0 : code == CFG_INVALID ? 1 : 2;
}
