/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "access/access.h"

/* ---- who may enter ---- */

static bool among(const uint32_t *sorted, uint32_t n, uint32_t id)
{
	uint32_t low = 0, high = n;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (sorted[mid] < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low < n && sorted[low] == id;
}

/* How exactly the rule names a peer: 3 by its uid, 2 by a group, 1 with everybody, 0 not at all. */
static int names_peer(const struct access_rule *rule, const struct identity *id)
{
	if (among(rule->uid, rule->nuid, id->peer.uid))
		return 3;
	for (uint32_t i = 0; i < rule->ngid; i++)
		if (peer_in_group(&id->peer, rule->gid[i]))
			return 2;
	return rule->anybody;
}

static bool names_project(const struct access_rule *rule, const struct project *p)
{
	if (rule->every_project)
		return true;
	for (uint32_t i = 0; i < rule->nprojects; i++)
		if (!strcmp(rule->project[i], p->name))
			return true;
	return false;
}

/* Of those whose role nothing but the project says. */
static const struct role *usual(const struct project *p)
{
	return p->role ? p->role : &role_writer;
}

static const struct role *enter_peer(const struct access *a, const struct identity *id, const struct project *p,
    bool *named)
{
	const struct role *role = NULL;
	int best = 0;

	for (uint32_t i = 0; i < a->nrules; i++) {
		int exact;

		if (!names_project(&a->rules[i], p))
			continue;
		*named |= !a->rules[i].every_project;
		exact = names_peer(&a->rules[i], id);
		if (exact > best) {
			best = exact;
			role = a->rules[i].role ? a->rules[i].role : usual(p);
		}
	}
	if (p->own && names_peer(p->own, id) > best)
		role = usual(p);
	return role;
}

bool access_presents(const struct access *a, const struct identity *id, const struct project *p)
{
	const struct access_evidence *e = &a->evidence[id->source];
	const struct role *role = NULL;

	return id->source > IDENTITY_PEER && e->enters && p->accept & 1u << id->source && e->enters(a, id, p, &role);
}

const struct role *access_enter(const struct access *a, const struct identity *id, const struct project *p,
    const char **why)
{
	const struct access_evidence *e = &a->evidence[id->source];
	const struct role *role = NULL;
	const char *reason = NULL;
	bool named = false;

	if (id->source > IDENTITY_PEER && e->enters && e->enters(a, id, p, &role)) {
		if (!(p->accept & 1u << id->source)) {
			reason = "the project does not accept this kind of identity";
		} else {
			return role ? role : usual(p);
		}
	}
	if (!peer_known(&id->peer)) {
		if (why)
			*why = reason ? reason : "nothing that was presented is for this project";
		return NULL;
	}
	if (!(p->accept & ACCEPT_PEER))
		reason = reason ? reason : "the project does not accept local users without a token";
	else if ((role = enter_peer(a, id, p, &named)))
		return role;
	else if (p->open && !named && !a->production)
		return p->role ? p->role : &role_operator;
	if (why)
		*why = reason ? reason : "no rule lets this user in";
	return NULL;
}

/* The project that a token or claims name, made if it comes to be. */
static const struct project *named_by_evidence(const struct access *a, const struct identity *id,
    const struct role **role)
{
	const struct access_evidence *e = &a->evidence[id->source];
	const char *name = e->project ? e->project(a, id) : NULL;

	return name ? access_project(a, id, name, strlen(name), role, NULL) : NULL;
}

/* Who presents something and names no project means one that it is for, not what the peer may besides. */
static const struct role *enter_unnamed(const struct access *a, const struct identity *id, const struct project *p)
{
	return id->source <= IDENTITY_PEER || access_presents(a, id, p) ? access_enter(a, id, p, NULL) : NULL;
}

enum access_choice access_sole(const struct access *a, const struct identity *id, const struct project **p,
    const struct role **role)
{
	enum access_choice found = ACCESS_NONE;
	const struct project *def = a->production ? NULL : project_find(a->projects, "default", 7);
	struct project any;

	*role = NULL;
	if ((*p = named_by_evidence(a, id, role)))
		return ACCESS_ONE;
	if (def && (*role = enter_unnamed(a, id, def))) {
		*p = def;
		return ACCESS_ONE;
	}
	if (project_like(a->projects, "*", 1, &any) && enter_unnamed(a, id, &any))
		return ACCESS_SEVERAL;
	for (uint32_t i = 0; i < a->projects->n; i++) {
		const struct role *r = enter_unnamed(a, id, &a->projects->v[i]);

		if (!r)
			continue;
		if (found != ACCESS_NONE) {
			*p = NULL;
			*role = NULL;
			return ACCESS_SEVERAL;
		}
		found = ACCESS_ONE;
		*p = &a->projects->v[i];
		*role = r;
	}
	return found;
}

const struct project *access_project(const struct access *a, const struct identity *id, const void *name, size_t n,
    const struct role **role, bool *full)
{
	const struct project *p = project_find(a->projects, name, n);
	struct project like;

	*role = NULL;
	if (p) {
		*role = access_enter(a, id, p, NULL);
		return *role ? p : NULL;
	}
	/* Only who may enter it makes it. */
	if (!project_like(a->projects, name, n, &like) || !strcmp(like.name, "*") ||
	    !access_enter(a, id, &like, NULL))
		return NULL;
	p = project_make(a->projects, like.name);
	if (!p && full)
		*full = true;
	*role = p ? access_enter(a, id, p, NULL) : NULL;
	return p;
}

bool access_operates(const struct access *a, const struct identity *id)
{
	const struct role *r;
	struct project any;

	if (project_like(a->projects, "*", 1, &any) && (r = access_enter(a, id, &any, NULL)) &&
	    r->perms & PERM_BIT(PERM_OPERATE))
		return true;
	for (uint32_t i = 0; i < a->projects->n; i++) {
		r = access_enter(a, id, &a->projects->v[i], NULL);
		if (r && r->perms & PERM_BIT(PERM_OPERATE))
			return true;
	}
	return false;
}

const struct role *access_role(const struct access *a, const char *name)
{
	for (uint32_t i = 0; i < a->nroles; i++)
		if (!strcmp(a->roles[i].name, name))
			return &a->roles[i];
	return role_builtin(name);
}

void access_rule_clear(struct access_rule *r)
{
	free(r->project);
	free(r->uid);
	free(r->gid);
	memset(r, 0, sizeof *r);
}

void access_clear(struct access *a)
{
	for (uint32_t i = 0; i < a->nroles; i++)
		role_clear(&a->roles[i]);
	for (uint32_t i = 0; i < a->nrules; i++)
		access_rule_clear(&a->rules[i]);
	for (uint32_t i = 0; i < a->nown; i++)
		access_rule_clear(&a->own[i]);
	free(a->roles);
	free(a->rules);
	free(a->own);
	a->roles = NULL;
	a->rules = a->own = NULL;
	a->nroles = a->nrules = a->nown = 0;
}

/* ---- what they may do ---- */

static const char tcp_text[] = "over TCP nobody is known: this listener serves /healthz, /readyz, /metrics, "
    "/redis/status and /openapi.json; for the rest send Authorization: Bearer <token>, or use the Unix socket";

static bool no(struct access_answer *a, enum err_code err, const char *text)
{
	a->err = err;
	snprintf(a->text, sizeof a->text, "%s", text ? text : err_rows[err].text);
	return false;
}

static bool lacks(struct access_answer *a, const struct access_question *q, const char *what)
{
	char name[64];

	cmd_lower(q->cmd, name, sizeof name);
	a->err = ERR_NOPERM;
	snprintf(a->text, sizeof a->text, "role %s may not run '%s': %s; PURSER.WHOAMI shows who you are",
	    q->role->name, name, what);
	return false;
}

static const char *const lapses[] = {
	[IDENTITY_EXPIRED] = "what this connection authenticated with has expired: AUTH <project> <token> with a fresh one",
	[IDENTITY_REVOKED] = "what this connection authenticated with was revoked: AUTH <project> <token> with another one",
};

/* Without a project: what tells the agent who one is, and what is public. */
static bool outside(const struct access_question *q, struct access_answer *a)
{
	const struct command *c = q->cmd;

	if (c->run != RUN_BACKEND) {
		if (c->flags & (F_NOAUTH | F_PUBLIC) || (c->perm == PERM_ANY && !q->access->production))
			return true;
		if (c->perm == PERM_OPERATE && c->group == G_PURSER && q->operates)
			return true;
	}
	if (q->id->lapsed)
		return no(a, ERR_NOAUTH, lapses[q->id->lapsed]);
	return no(a, ERR_NOPROJECT, q->several ? "several projects are open to you and none is chosen: HELLO 3 AUTH "
	    "<project> <token>, AUTH <project> <token>, PURSER.PROJECT <name>, or the header Purser-Project" : NULL);
}

static uint8_t spec_needs(const struct cmd_keyspec *s)
{
	if (strstr(s->flags, "not_key")) /* a channel */
		return 0;
	return strstr(s->flags, "insert") || strstr(s->flags, "update") || strstr(s->flags, "delete") ?
	    ROLE_CAN_WRITE : ROLE_CAN_READ;
}

/* What the key at position `at` is needed for, by the command's key specifications.  Of those that begin at a word
 * it is not known which one holds: the strictest does. */
static uint8_t needs(const struct command *c, const struct cmd_keyspec *s, uint32_t n, uint32_t at)
{
	uint8_t all = 0;

	if (c->id == CMD_XREADGROUP) /* Redis calls it a read; the group is written */
		return ROLE_CAN_WRITE;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t first = (uint32_t)s[i].start;
		bool closed = s[i].find == FIND_RANGE && s[i].n[0] >= 0;

		if (s[i].begin != BEGIN_INDEX)
			all |= spec_needs(&s[i]);
		else if (at >= first && (!closed || at <= first + (uint32_t)s[i].n[0]))
			return spec_needs(&s[i]);
	}
	return all ? all : ROLE_CAN_READ | ROLE_CAN_WRITE;
}

/* Keyspace events tell names of keys.  Without isolation any pattern that may begin as theirs do hears them, too. */
static bool hears_events(const struct access_question *q, purser_bytes name)
{
	if (name.n >= 5 && !memcmp(name.p, "__key", 5))
		return true;
	return q->cmd->id == CMD_PSUBSCRIBE && !project_isolated(q->project) && name.n && strchr("_*?[\\", *name.p);
}

/* Keys of the project that the command reaches or tells of without their being named. */
static bool reaches_all(const struct access_question *q)
{
	bool store;

	switch (q->cmd->id) {
	case CMD_CACHE_CLEAR: case CMD_CACHE_COUNT: case CMD_CACHE_TTLREPAIR: case CMD_CACHE_EXPORT: case CMD_PURSER_JOB_FETCH:
	case CMD_RANDOMKEY: case CMD_FLUSHDB: case CMD_FLUSHALL: case CMD_MONITOR: case CMD_SLOWLOG_GET:
	case CMD_LOCK_LIST:
		return true;
	case CMD_CLIENT_TRACKING:
		for (uint32_t i = 3; i < q->argc; i++)
			if (cmd_word_is(q->argv[i], "BCAST"))
				return true;
		return false;
	case CMD_SUBSCRIBE: case CMD_PSUBSCRIBE:
		for (uint32_t i = 1; i < q->argc; i++)
			if (hears_events(q, q->argv[i]))
				return true;
		return false;
	default:
		break;
	}
	if (q->cmd->args == A_SORT)
		for (uint32_t at = 2; cmd_sort_next(q->argv, q->argc, &at, &store); at++)
			if (!store && q->argv[at].n && memchr(q->argv[at].p, '*', q->argv[at].n))
				return true;
	if (q->cmd->id > CMD_COUNT && !cmd_key_count(q->cmd, q->argv, q->argc)) /* declared without keys */
		return true;
	return q->cmd->args == A_PATTERN || q->cmd->args == A_SCAN;
}

static bool keys_allowed(const struct access_question *q, struct access_answer *a)
{
	uint32_t few[16], nspecs, n = cmd_key_count(q->cmd, q->argv, q->argc);
	uint32_t *keys = n <= 16 ? few : malloc(n * sizeof *keys);
	const struct cmd_keyspec *specs = cmd_keyspecs(q->cmd, &nspecs);
	uint8_t all = q->cmd->flags & (F_WRITE | F_MAYWRITE) ? ROLE_CAN_READ | ROLE_CAN_WRITE : ROLE_CAN_READ;

	if (!keys)
		return no(a, ERR_OOM, NULL);
	n = n ? cmd_keys(q->cmd, q->argv, q->argc, keys) : 0;
	for (uint32_t i = 0; i < n && !a->key; i++)
		if (!role_has_key(q->role, q->argv[keys[i]], needs(q->cmd, specs, nspecs, keys[i])))
			a->key = keys[i];
	if (keys != few)
		free(keys);
	if (a->key)
		return lacks(a, q, "a key is not among those that it may use");
	if (reaches_all(q) && !role_has_every_key(q->role, all))
		return lacks(a, q, "it reaches keys that are not among those that it may use");
	return true;
}

/* A script runs commands and reaches keys that its own command does not say. */
static bool script_allowed(const struct access_question *q, struct access_answer *a)
{
	const struct role *r = q->role;

	if (!(r->perms & PERM_BIT(PERM_READ)))
		return lacks(a, q, "it needs redis:read");
	if (q->cmd->flags & F_MAYWRITE && !(r->perms & PERM_BIT(PERM_WRITE)))
		return lacks(a, q, "it needs redis:write");
	if (r->by_command || !role_has_every_key(r, ROLE_CAN_READ | ROLE_CAN_WRITE))
		return lacks(a, q, "a script would reach what keys, commands or deny_commands of the role keep from it");
	return true;
}

bool access_decide(const struct access_question *q, struct access_answer *a)
{
	const struct command *c = q->cmd;
	char text[64];

	a->err = ERR_NONE;
	a->text[0] = '\0';
	a->key = 0;
	if (q->id->source == IDENTITY_NOBODY && !q->role)
		return c->flags & F_PUBLIC || no(a, ERR_NOAUTH, tcp_text);
	if (!q->project || !q->role)
		return outside(q, a);
	if (!(q->role->perms & PERM_BIT(c->perm))) {
		snprintf(text, sizeof text, "it needs %s", cmd_perm_name((enum cmd_perm)c->perm));
		return lacks(a, q, text);
	}
	if (!q->role->narrow)
		return true;
	if (c->perm == PERM_SCRIPT && c->more && !script_allowed(q, a))
		return false;
	if (!role_has_command(q->role, c->id))
		return lacks(a, q, "it is not among its commands");
	return !q->role->by_key || keys_allowed(q, a);
}
