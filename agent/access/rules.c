/* SPDX-License-Identifier: Apache-2.0
 *
 * access: from the configuration to roles and rules.
 */
#include <config.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "access/access.h"

struct making {
	struct access *a;
	const struct cfg *cfg;
	struct buf *why;
	bool bad;
};

static const char *const sections[] = { [CFG_PROJECT] = "project", [CFG_ROLE] = "role", [CFG_GRANT] = "grant" };

__attribute__((format(printf, 4, 5)))
static void complain(struct making *m, const struct cfg_section *s, enum cfg_key key, const char *fmt, ...)
{
	char origin[512];
	va_list ap;

	cfg_origin(s, key, origin, sizeof origin);
	buf_printf(m->why, "%s: [%s %s] ", origin, sections[cfg_section_kind(s)], cfg_name(s));
	va_start(ap, fmt);
	buf_vprintf(m->why, fmt, ap);
	va_end(ap);
	buf_putc(m->why, '\n');
	m->bad = true;
}

static uint32_t count_words(const char *list)
{
	char word[2];
	uint32_t n = 0;

	while (cfg_next_word(&list, word, sizeof word))
		n++;
	return n;
}

/* ---- users and groups ---- */

/* 0, or -1: there is no such user or group. */
static int find_id(const char *word, bool group, uint32_t *id)
{
	struct group g, *gp = NULL;
	struct passwd u, *up = NULL;
	char mem[16384], *end;
	unsigned long v;

	errno = 0;
	v = strtoul(word, &end, 10);
	if (*word >= '0' && *word <= '9' && !*end) {
		*id = (uint32_t)v;
		return errno || v >= UINT32_MAX ? -1 : 0;
	}
	if (group) {
		if (getgrnam_r(word, &g, mem, sizeof mem, &gp) || !gp)
			return -1;
		*id = g.gr_gid;
		return 0;
	}
	if (getpwnam_r(word, &u, mem, sizeof mem, &up) || !up)
		return -1;
	*id = u.pw_uid;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void read_ids(struct making *m, const struct cfg_section *s, enum cfg_key key, bool group,
    struct access_rule *rule)
{
	const char *list = cfg_text(s, key);
	uint32_t *v = calloc(count_words(list) + 1, sizeof *v), n = 0;
	char word[256];

	if (!v) {
		complain(m, s, key, "out of memory");
		return;
	}
	while (cfg_next_word(&list, word, sizeof word)) {
		if (!group && !strcmp(word, "*"))
			rule->anybody = true;
		else if (find_id(word, group, &v[n]))
			complain(m, s, key, "%s: there is no %s %s on this machine", group ? "allow_gid" : "allow_uid",
			    group ? "group" : "user", word);
		else
			n++;
	}
	qsort(v, n, sizeof *v, by_number);
	*(group ? &rule->gid : &rule->uid) = v;
	*(group ? &rule->ngid : &rule->nuid) = n;
}

static const struct role *read_role(struct making *m, const struct cfg_section *s, enum cfg_key key)
{
	const char *name = cfg_text(s, key);
	const struct role *role = *name ? access_role(m->a, name) : NULL;

	if (*name && !role)
		complain(m, s, key, "role = %s: there is no [role %s]; without a section there are reader, writer, admin "
		    "and operator", name, name);
	return role;
}

/* ---- [role NAME] ---- */

static void read_permissions(struct making *m, const struct cfg_section *s, struct role *role)
{
	const char *list = cfg_text(s, CFG_ROLE_PERMISSIONS);
	char word[64];

	role->perms = PERM_BIT(PERM_ANY);
	while (cfg_next_word(&list, word, sizeof word)) {
		int p = PERM_ANY + 1;

		while (p <= PERM_OPERATE && strcmp(cmd_perm_name((enum cmd_perm)p), word))
			p++;
		if (p > PERM_OPERATE)
			complain(m, s, CFG_ROLE_PERMISSIONS, "permissions: there is no %s; there are redis:read redis:write "
			    "redis:admin pubsub script purser:operate", word);
		else
			role->perms |= PERM_BIT(p);
	}
	/* A script reads and writes without its command's saying so. */
	if (role->perms & PERM_BIT(PERM_SCRIPT) && (!(role->perms & PERM_BIT(PERM_READ)) ||
	    !(role->perms & PERM_BIT(PERM_WRITE))))
		role->narrow = true;
}

static void read_patterns(struct making *m, const struct cfg_section *s, enum cfg_key key, uint8_t can,
    struct role *role)
{
	const char *list = cfg_text(s, key);
	uint32_t n = count_words(list);
	struct role_pattern *v;
	char word[1024];

	if (!n)
		return;
	v = realloc(role->patterns, (role->npatterns + n) * sizeof *v);
	if (!v) {
		complain(m, s, key, "out of memory");
		return;
	}
	role->patterns = v;
	while (cfg_next_word(&list, word, sizeof word)) {
		v[role->npatterns] = (struct role_pattern){ strdup(word), can };
		if (!v[role->npatterns].glob) {
			complain(m, s, key, "out of memory");
			return;
		}
		role->npatterns++;
	}
	role->by_key = role->narrow = true;
}

/* The rows of one word: a command, or a container with all that it holds.  False: there are none. */
static bool mark(const struct cmd_index *x, struct role *role, const char *word, bool may)
{
	size_t n = strlen(word);
	bool any = false;

	for (unsigned k = 0; k < cmd_total(x); k++) {
		const char *name = cmd_at(x, k)->name;
		unsigned i = cmd_at(x, k)->id;

		if (strncasecmp(name, word, n) || (name[n] && name[n] != '|'))
			continue;
		any = true;
		if (may)
			role->commands[i / 64] |= UINT64_C(1) << i % 64;
		else
			role->commands[i / 64] &= ~(UINT64_C(1) << i % 64);
	}
	return any;
}

static void read_commands(struct making *m, const struct cfg_section *s, struct role *role)
{
	const char *allow = cfg_text(s, CFG_ROLE_COMMANDS), *deny = cfg_text(s, CFG_ROLE_DENY_COMMANDS);
	bool some = count_words(allow) > 0;
	char word[256];

	if (!some && !count_words(deny))
		return;
	for (unsigned i = 0; i < CMD_IDS; i++)
		if (!some || (i < CMD_COUNT && cmd_rows[i].perm == PERM_ANY))
			role->commands[i / 64] |= UINT64_C(1) << i % 64;
	while (cfg_next_word(&allow, word, sizeof word))
		if (!mark(m->a->commands, role, word, true))
			complain(m, s, CFG_ROLE_COMMANDS, "commands: there is no command %s", word);
	while (cfg_next_word(&deny, word, sizeof word))
		if (!mark(m->a->commands, role, word, false))
			complain(m, s, CFG_ROLE_DENY_COMMANDS, "deny_commands: there is no command %s", word);
	role->by_command = role->narrow = true;
}

static void make_roles(struct making *m)
{
	struct access *a = m->a;

	a->roles = calloc(cfg_count(m->cfg, CFG_ROLE) + 1, sizeof *a->roles);
	for (const struct cfg_section *s = cfg_first(m->cfg, CFG_ROLE); s && a->roles; s = cfg_next(s)) {
		struct role *role = &a->roles[a->nroles];

		if (role_builtin(cfg_name(s)))
			complain(m, s, CFG_ROLE_PERMISSIONS, "there is a role of that name without a section: choose another");
		snprintf(role->name, sizeof role->name, "%s", cfg_name(s));
		read_permissions(m, s, role);
		read_patterns(m, s, CFG_ROLE_KEYS, ROLE_CAN_READ | ROLE_CAN_WRITE, role);
		read_patterns(m, s, CFG_ROLE_KEYS_READ, ROLE_CAN_READ, role);
		read_commands(m, s, role);
		a->nroles++;
	}
	if (!a->roles) {
		buf_puts(m->why, "out of memory\n");
		m->bad = true;
	}
}

/* ---- [grant NAME] ---- */

static void read_projects(struct making *m, const struct cfg_section *s, struct access_rule *rule)
{
	const char *list = cfg_text(s, CFG_GRANT_PROJECTS);
	char word[PROJECT_NAME_MAX + 2];

	rule->project = calloc(count_words(list) + 1, sizeof *rule->project);
	while (rule->project && cfg_next_word(&list, word, sizeof word)) {
		if (!strcmp(word, "*"))
			rule->every_project = true;
		else if (!project_name_ok(word, strlen(word)))
			complain(m, s, CFG_GRANT_PROJECTS, "projects: %s is no project's name: 1 to 64 of a-z 0-9 . _ -", word);
		else
			memcpy(rule->project[rule->nprojects++], word, strlen(word) + 1);
	}
	if (!rule->project)
		complain(m, s, CFG_GRANT_PROJECTS, "out of memory");
}

static void make_grants(struct making *m)
{
	struct access *a = m->a;

	a->rules = calloc(cfg_count(m->cfg, CFG_GRANT) + 1, sizeof *a->rules);
	for (const struct cfg_section *s = cfg_first(m->cfg, CFG_GRANT); s && a->rules; s = cfg_next(s)) {
		struct access_rule *rule = &a->rules[a->nrules++];
		bool said = cfg_is_set(s, CFG_GRANT_ALLOW_UID) || cfg_is_set(s, CFG_GRANT_ALLOW_GID);

		read_projects(m, s, rule);
		read_ids(m, s, CFG_GRANT_ALLOW_UID, false, rule);
		read_ids(m, s, CFG_GRANT_ALLOW_GID, true, rule);
		rule->role = read_role(m, s, CFG_GRANT_ROLE);
		if (!said) /* if it was, what is wrong with it has been told */
			complain(m, s, CFG_GRANT_PROJECTS, "it names nobody: write allow_uid or allow_gid");
	}
	if (!a->rules) {
		buf_puts(m->why, "out of memory\n");
		m->bad = true;
	}
}

int access_make(struct access *a, const struct cfg *cfg, struct buf *why)
{
	struct making m = { .a = a, .cfg = cfg, .why = why };

	a->production = cfg_int(cfg_one(cfg, CFG_AGENT), CFG_AGENT_MODE) == CFG_PRODUCTION;
	a->own = calloc(cfg_count(cfg, CFG_PROJECT) + 1, sizeof *a->own);
	if (!a->own) {
		buf_puts(why, "out of memory\n");
		return -1;
	}
	make_roles(&m);
	if (!m.bad)
		make_grants(&m);
	return m.bad ? -1 : 0;
}

/* ---- [project NAME] ---- */

static void read_accept(struct making *m, const struct cfg_section *s, struct project *p)
{
	static const char *const kinds[] = { [IDENTITY_PEER] = "peer", [IDENTITY_TOKEN] = "token", [IDENTITY_JWT] = "jwt" };
	const char *list = cfg_text(s, CFG_PROJECT_ACCEPT);
	char word[32];

	while (cfg_next_word(&list, word, sizeof word)) {
		unsigned k = IDENTITY_PEER;

		while (k <= IDENTITY_JWT && strcmp(word, kinds[k]))
			k++;
		if (k > IDENTITY_JWT)
			complain(m, s, CFG_PROJECT_ACCEPT, "accept: there is no %s; there are peer token jwt", word);
		else
			p->accept |= (uint8_t)(1u << k);
	}
}

int access_make_project(struct access *a, const struct cfg *cfg, const struct cfg_section *s, struct project *p,
    struct buf *why)
{
	struct making m = { .a = a, .cfg = cfg, .why = why };
	struct access_rule *own = &a->own[a->nown++];

	read_accept(&m, s, p);
	read_ids(&m, s, CFG_PROJECT_ALLOW_UID, false, own);
	read_ids(&m, s, CFG_PROJECT_ALLOW_GID, true, own);
	p->own = own;
	p->role = read_role(&m, s, CFG_PROJECT_ROLE);
	p->open = p->accept & ACCEPT_PEER && !own->anybody && !own->nuid && !own->ngid;
	return m.bad ? -1 : 0;
}
