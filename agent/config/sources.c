/* SPDX-License-Identifier: Apache-2.0 */
/* config/sources: the environment and --set become settings. */
#include <config.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/inside.h"

const char *env_get(const char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; env != NULL && *env != NULL; env++) {
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			return (*env)[n + 1] != '\0' ? *env + n + 1 : NULL;
	}
	return NULL;
}

/* ---- --set ----------------------------------------------------------------------------------- */

static void read_set(struct loader *ld, const char *set)
{
	const struct cfg_place place = { .source = FROM_SET };
	const char *eq = strchr(set, '='), *dot = eq;
	char title[128], key[128];
	struct cfg_section *s;

	while (dot != NULL && dot > set && *dot != '.')
		dot--;
	if (eq == NULL || *dot != '.' || dot == set || dot + 1 == eq ||
		(size_t)(dot - set) >= sizeof(title) || (size_t)(eq - dot - 1) >= sizeof(key)) {
		load_error(ld, &place,
			"write --set 'section.key=value' or --set 'section NAME.key=value'");
		return;
	}
	snprintf(title, sizeof(title), "%.*s", (int)(dot - set), set);
	snprintf(key, sizeof(key), "%.*s", (int)(eq - dot - 1), dot + 1);
	s = load_title(ld, title, &place);
	if (s == NULL)
		return;
	load_setting(ld, s, key, eq + 1, &place);
}

void read_sets(struct loader *ld)
{
	for (size_t i = 0; i < ld->in->nsets && !ld->nomem; i++)
		read_set(ld, ld->in->sets[i]);
}

/* ---- environment ----------------------------------------------------------------------------- */

/* The backend of project default: what its section says, else the only one.  NULL: neither. */
static struct cfg_section *default_backend(struct loader *ld)
{
	struct cfg_section *s = ld->cfg->first[CFG_BACKEND];
	const struct cfg_section *project = cfg_find(ld->cfg, CFG_PROJECT, "default");
	const char *name = project != NULL ? load_winner(ld, project, "backend") : NULL;

	if (name == NULL)
		return s != NULL && s->next == NULL ? s : NULL;
	while (s != NULL && strcmp(s->name, name) != 0)
		s = s->next;
	return s;
}

static void not_used(struct loader *ld, const struct cfg_place *place, const char *why)
{
	load_warning(ld, place, "%s: it is not used", why);
}

/* Digits, where decimals are allowed also a point and more of them. */
static bool is_decimal(const char *value, bool decimals)
{
	size_t n = strspn(value, "0123456789");

	if (n > 0 && decimals && value[n] == '.' && isdigit((unsigned char)value[n + 1]))
		n += 1 + strspn(value + n + 1, "0123456789");
	return n > 0 && value[n] == '\0' && n < 40;
}

/* OpenTelemetry's words for yes and no. */
static bool switch_form(struct loader *ld, const struct env_row *row, const char *value, char *text,
	size_t len, const struct cfg_place *place)
{
	const char *yes = row->form == ENV_FALSE ? "false" : "otlp";
	const char *no = row->form == ENV_FALSE ? "true" : "none";

	if (strcasecmp(value, yes) != 0 && strcasecmp(value, no) != 0) {
		if (row->form == ENV_EXPORTER) {
			not_used(ld, place, "only otlp and none are known");
			return false;
		}
		load_warning(ld, place, "neither true nor false: it counts as false");
	}
	snprintf(text, len, "%s", strcasecmp(value, no) == 0 ? "no" : "yes");
	return true;
}

/* By the rules of OpenTelemetry, what is not understood counts as not set and is said. */
static bool otel_form(struct loader *ld, const struct env_row *row, const char *value, char *text,
	size_t len, const struct cfg_place *place)
{
	const struct value_rule *rule = &key_rows[key_find(row->kind, row->key)].rule;
	char why[256];
	struct value v;

	if (row->form == ENV_MS && !is_decimal(value, false)) {
		not_used(ld, place, "whole milliseconds are needed, as 5000");
		return false;
	}
	snprintf(text, len, "%s%s", value, row->form == ENV_MS ? "ms" : "");
	for (char *c = text; rule->type == VALUE_ENUM && *c != '\0'; c++)
		*c = (char)tolower((unsigned char)*c);
	if (value_parse(rule, text, &v, why, sizeof(why)) != 0) {
		not_used(ld, place, why);
		return false;
	}
	return true;
}

/* The value as a file would say it, into text. */
static bool by_form(struct loader *ld, const struct env_row *row, const char *value, char *text,
	size_t len, const struct cfg_place *place)
{
	if (strlen(value) >= 4096) {
		load_error(ld, place, "longer than 4095 bytes");
		return false;
	}
	if (row->form == ENV_FALSE || row->form == ENV_EXPORTER)
		return switch_form(ld, row, value, text, len, place);
	if (row->form == ENV_MS || row->form == ENV_OTEL)
		return otel_form(ld, row, value, text, len, place);
	if (row->form == ENV_SECONDS && !is_decimal(value, true)) {
		load_error(ld, place, "decimal seconds are needed, as 2.5");
		return false;
	}
	if (row->form == ENV_RETRIES) {
		if (!is_decimal(value, false) || strlen(value) > 6) {
			load_error(ld, place, "a number of retries is needed, as 3");
			return false;
		}
		snprintf(text, len, "%ld", strtol(value, NULL, 10) + 1);
		return true;
	}
	snprintf(text, len, "%s%s", value, row->form == ENV_SECONDS ? "s" : "");
	return true;
}

static void read_variable(struct loader *ld, const struct env_row *row, const char *value)
{
	const struct cfg_place place = { .source = FROM_ENV, .name = row->name };
	struct cfg_section *s = ld->cfg->first[row->kind];
	char text[4200];

	if (row->kind == CFG_BACKEND)
		s = default_backend(ld);
	if (s == NULL) {
		not_used(ld, &place,
			ld->cfg->first[CFG_BACKEND] == NULL
				? "there is no [backend NAME]"
				: "there are several [backend NAME] and no [project default] says "
				  "which it is for");
		return;
	}
	if (by_form(ld, row, value, text, sizeof(text), &place))
		load_setting(ld, s, row->key, text, &place);
}

/* Variables of OpenTelemetry that nobody here reads are said, not passed over. */
static void say_unknown(struct loader *ld)
{
	for (const char *const *e = ld->in->env; e != NULL && *e != NULL; e++) {
		size_t n = strcspn(*e, "="), i = 0;

		if (strncmp(*e, "OTEL_", 5) != 0 || (*e)[n] == '\0' || (*e)[n + 1] == '\0')
			continue;
		while (i < env_row_count && (strlen(env_rows[i].name) != n ||
						    strncmp(env_rows[i].name, *e, n) != 0))
			i++;
		if (i == env_row_count)
			load_warning(ld, NULL,
				"environment %.*s: this version does not know it: it is not used",
				(int)(n < 80 ? n : 80), *e);
	}
}

void read_environment(struct loader *ld)
{
	for (size_t i = 0; i < env_row_count && !ld->nomem; i++) {
		const char *value = env_get(ld->in->env, env_rows[i].name);

		if (value != NULL)
			read_variable(ld, &env_rows[i], value);
	}
	say_unknown(ld);
}
