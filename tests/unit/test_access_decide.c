/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may enter which project as what, and what they may do there; the projects of a set.
 */
#include <config.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "access/access.h"
#include "metric/metric.h"

/* ---- the world: projects and rules written by hand ---- */

static struct project P[5];
static struct project_set set = { .v = P, .n = 4 };
static struct access access = { .projects = &set };
static struct access_rule own[5], rules[4];
static struct role narrow;

static void world(bool production)
{
	memset(P, 0, sizeof P);
	memset(own, 0, sizeof own);
	memset(rules, 0, sizeof rules);
	for (unsigned i = 0; i < 5; i++) {
		snprintf(P[i].name, sizeof P[i].name, "%s", (const char *[]){ "default", "a", "b", "c", "" }[i]);
		P[i].accept = ACCEPT_PEER | ACCEPT_TOKEN | ACCEPT_JWT;
		P[i].own = &own[i];
	}
	memset(&access, 0, sizeof access);
	access.projects = &set;
	access.production = production;
	access.rules = rules;
}

static struct identity peer(uint32_t uid, uint32_t gid)
{
	return (struct identity){ .source = IDENTITY_PEER, .peer = { .pid = 1, .uid = uid, .gid = gid } };
}

static const char *as(const struct identity *id, unsigned p)
{
	const char *why = "";
	const struct role *r = access_enter(&access, id, &P[p], &why);

	assert_true(r || *why);
	return r ? r->name : "";
}

/* ---- entering ---- */

static void open_until_said(void **state)
{
	struct identity me = peer(1000, 100), nobody = { .peer = PEER_NOBODY };

	(void)state;
	world(false);
	P[0].open = P[1].open = true;
	P[1].role = role_builtin("reader");
	assert_string_equal(as(&me, 0), "operator");
	assert_string_equal(as(&me, 1), "reader");
	assert_string_equal(as(&me, 2), "");
	assert_string_equal(as(&nobody, 0), "");        /* over TCP nobody is local */
	rules[0] = (struct access_rule){ .project = &(char[65]){ "a" }, .nprojects = 1, .uid = (uint32_t[]){ 7 }, .nuid = 1 };
	access.nrules = 1;
	assert_string_equal(as(&me, 1), "");            /* a grant names it: it is open no more */
	assert_string_equal(as(&me, 0), "operator");
	rules[0].every_project = true;
	assert_string_equal(as(&me, 0), "operator");    /* one for all projects closes none */
	world(true);
	P[0].open = true;
	assert_string_equal(as(&me, 0), "");
}

static void exact_rules_first(void **state)
{
	uint32_t groups[] = { 5, 200 };
	struct identity me = peer(1000, 100);

	(void)state;
	me.peer.groups = groups;
	me.peer.ngroups = 2;
	world(true);
	own[1] = (struct access_rule){ .gid = (uint32_t[]){ 100 }, .ngid = 1 };
	assert_string_equal(as(&me, 1), "writer");      /* the project says no role */
	P[1].role = role_builtin("reader");
	assert_string_equal(as(&me, 1), "reader");
	rules[0] = (struct access_rule){ .every_project = true, .anybody = true, .role = role_builtin("operator") };
	rules[1] = (struct access_rule){ .every_project = true, .gid = (uint32_t[]){ 200 }, .ngid = 1, .role = role_builtin("admin") };
	rules[2] = (struct access_rule){ .every_project = true, .gid = (uint32_t[]){ 5 }, .ngid = 1, .role = role_builtin("writer") };
	access.nrules = 1;
	assert_string_equal(as(&me, 1), "reader");      /* a group before everybody */
	access.nrules = 3;
	assert_string_equal(as(&me, 1), "admin");       /* grants before the project, and in their order */
	own[1].uid = (uint32_t[]){ 3, 999, 1000, 1001 };
	own[1].nuid = 4;
	assert_string_equal(as(&me, 1), "reader");      /* the user before the group */
	rules[3] = (struct access_rule){ .project = (char[2][65]){ "b", "a" }, .nprojects = 2, .uid = own[1].uid, .nuid = 4 };
	access.nrules = 4;
	assert_string_equal(as(&me, 1), "reader");      /* no role of its own: the project's */
	rules[3].role = role_builtin("writer");
	assert_string_equal(as(&me, 1), "writer");
	assert_string_equal(as(&me, 3), "admin");       /* it does not name c */
	P[1].accept = ACCEPT_TOKEN;
	assert_string_equal(as(&me, 1), "");
}

static bool says_a(const struct access *a, const struct identity *id, const struct project *p, const struct role **role)
{
	(void)a;
	(void)id;
	*role = NULL;
	return !strcmp(p->name, "a");
}

static const char *names_a(const struct access *a, const struct identity *id)
{
	(void)a;
	(void)id;
	return "a";
}

static void presented(void **state)
{
	struct identity id = peer(1000, 100);
	const struct project *p;
	const struct role *role;

	(void)state;
	world(true);
	own[2] = (struct access_rule){ .anybody = true };
	id.source = IDENTITY_TOKEN;
	assert_string_equal(as(&id, 1), "");            /* nobody knows tokens: it is nothing */
	access.evidence[IDENTITY_TOKEN] = (struct access_evidence){ says_a, names_a, NULL };
	assert_string_equal(as(&id, 1), "writer");
	assert_string_equal(as(&id, 2), "writer");      /* it is still who the kernel says */
	assert_string_equal(as(&id, 3), "");
	assert_int_equal(access_sole(&access, &id, &p, &role), ACCESS_ONE);
	assert_ptr_equal(p, &P[1]);
	id.peer = PEER_NOBODY;
	assert_string_equal(as(&id, 1), "writer");
	assert_string_equal(as(&id, 2), "");
	P[1].accept = ACCEPT_PEER | ACCEPT_JWT;
	assert_string_equal(as(&id, 1), "");
	assert_int_equal(access_sole(&access, &id, &p, &role), ACCESS_NONE);
	assert_null(p);
}

static void the_only_one(void **state)
{
	struct identity me = peer(1000, 100);
	const struct project *p;
	const struct role *role;

	(void)state;
	world(true);
	assert_int_equal(access_sole(&access, &me, &p, &role), ACCESS_NONE);
	assert_null(p);
	own[2].anybody = true;
	assert_int_equal(access_sole(&access, &me, &p, &role), ACCESS_ONE);
	assert_ptr_equal(p, &P[2]);
	assert_string_equal(role->name, "writer");
	own[3].anybody = true;
	assert_int_equal(access_sole(&access, &me, &p, &role), ACCESS_SEVERAL);
	assert_null(p);
	assert_null(role);
	own[0].anybody = true;
	assert_int_equal(access_sole(&access, &me, &p, &role), ACCESS_SEVERAL); /* default is one as any other */
	access.production = false;
	assert_int_equal(access_sole(&access, &me, &p, &role), ACCESS_ONE);
	assert_ptr_equal(p, &P[0]);
	assert_false(access_operates(&access, &me));
	P[3].role = role_builtin("operator");
	assert_true(access_operates(&access, &me));
}

/* ---- deciding ---- */

static bool may(const struct role *role, const char *line, struct access_answer *a)
{
	static struct cmd_index x;
	static const struct identity id = { .source = IDENTITY_PEER };
	purser_bytes argv[16];
	char copy[256], err[256];
	struct access_question q = { .access = &access, .id = &id, .project = role ? &P[1] : NULL, .role = role, .argv = argv };

	cmd_index_build(&x);
	snprintf(copy, sizeof copy, "%s", line);
	for (char *save, *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[q.argc++] = (purser_bytes){ (const uint8_t *)w, strlen(w) };
	q.cmd = cmd_find(&x, argv, q.argc, err, sizeof err);
	assert_non_null(q.cmd);
	return access_decide(&q, a);
}

static void permissions(void **state)
{
	struct access_answer a;
	struct role script = { .name = "s", .perms = PERM_BIT(PERM_ANY) | PERM_BIT(PERM_SCRIPT), .narrow = true };

	(void)state;
	world(false);
	assert_true(may(role_builtin("reader"), "GET k", &a));
	assert_false(may(role_builtin("reader"), "SET k v", &a));
	assert_int_equal(a.err, ERR_NOPERM);
	assert_string_equal(a.text, "role reader may not run 'set': it needs redis:write; PURSER.WHOAMI shows who you are");
	assert_false(may(role_builtin("admin"), "PURSER.RELOAD", &a));
	assert_true(may(&role_operator, "PURSER.RELOAD", &a));
	assert_false(may(&script, "EVAL x 0", &a));
	assert_false(may(&script, "EVAL_RO x 0", &a));
	script.perms |= PERM_BIT(PERM_READ);
	assert_true(may(&script, "EVAL_RO x 0", &a));
	assert_false(may(&script, "EVAL x 0", &a));
	assert_false(may(&script, "FCALL f 0", &a));
	assert_true(may(&script, "SCRIPT EXISTS x", &a));
	/* without a project */
	assert_true(may(NULL, "AUTH a b", &a));
	assert_true(may(NULL, "PING", &a));             /* development */
	assert_false(may(NULL, "GET k", &a));
	assert_int_equal(a.err, ERR_NOPROJECT);
	access.production = true;
	assert_false(may(NULL, "PING", &a));
	assert_false(may(NULL, "PURSER.RELOAD", &a));
	assert_true(may(NULL, "PURSER.HEALTH", &a));
	assert_true(may(NULL, "HELLO 3", &a));
}

struct want { const char *line; uint32_t key; }; /* 0: it may; else the position that is refused; 99: no single key */
static const struct want table[] = {
	{ "GET app:1", 0 }, { "GET conf:1", 0 }, { "GET x", 1 }, { "SET app:1 v", 0 }, { "SET conf:1 v", 1 },
	{ "MGET app:1 conf:1 x", 3 }, { "MSET app:1 v conf:1 v", 3 }, { "DEL app:1 app:2", 0 }, { "DEL conf:1", 1 },
	{ "COPY conf:1 app:1", 0 }, { "COPY app:1 conf:1", 2 }, { "RENAME conf:1 app:1", 1 }, { "RENAME app:1 app:2", 0 },
	{ "LMOVE conf:1 app:1 LEFT LEFT", 1 }, { "SORT conf:1", 0 }, { "SORT conf:1 STORE app:1", 0 },
	{ "SORT app:1 STORE conf:1", 3 }, { "SORT app:1 BY nosort GET #", 0 }, { "SORT app:1 GET *", 99 },
	{ "ZUNIONSTORE app:1 2 conf:1 app:2", 0 }, { "ZUNIONSTORE app:1 2 conf:1 x", 4 }, { "ZUNIONSTORE conf:1 1 app:1", 1 },
	{ "ZUNION 2 app:1 x", 3 }, { "LMPOP 2 app:1 conf:1 LEFT", 3 }, { "BLPOP app:1 x 0", 2 }, { "SINTERCARD 2 app:1 conf:1", 0 },
	{ "EVAL s 2 app:1 app:2 x", 99 }, { "EVAL s 1 x", 99 }, { "EVAL s 0 x", 99 }, { "EVAL_RO s 1 conf:1", 99 },
	{ "FCALL f 1 app:1", 99 }, { "SCRIPT EXISTS x", 0 },
	{ "XREAD STREAMS app:1 x 0 0", 3 }, { "XREAD STREAMS app:1 conf:1 0 0", 0 },
	{ "XREADGROUP GROUP g c STREAMS conf:1 >", 5 }, { "BITOP AND app:1 conf:1 conf:2", 0 }, { "BITOP AND conf:1 app:1", 2 },
	{ "PFMERGE app:1 conf:1", 0 }, { "PFMERGE conf:1 app:1", 1 }, { "GEORADIUS app:1 0 0 1 m STORE app:2", 0 },
	{ "GEORADIUS conf:1 0 0 1 m STORE conf:2", 7 }, { "KEYS app:*", 99 }, { "SCAN 0", 99 }, { "RANDOMKEY", 99 }, { "FLUSHDB", 99 },
	{ "SUBSCRIBE __keyspace@0__:x", 99 }, { "SUBSCRIBE news", 0 }, { "SPUBLISH anything m", 0 }, { "PING", 0 }, { "DBSIZE", 0 },
	{ "OBJECT ENCODING x", 2 }, { "WATCH app:1 x", 2 }, { "CLIENT TRACKING ON", 0 }, { "CLIENT TRACKING ON BCAST", 99 },
};

static void keys(void **state)
{
	struct role_pattern patterns[] = { { (char *)(uintptr_t)"app:*", ROLE_CAN_READ | ROLE_CAN_WRITE },
		{ (char *)(uintptr_t)"conf:*", ROLE_CAN_READ } };
	struct role_pattern all[] = { { (char *)(uintptr_t)"*", ROLE_CAN_READ } };
	struct access_answer a;

	(void)state;
	world(false);
	narrow = (struct role){ .name = "n", .perms = role_operator.perms, .narrow = true, .by_key = true, .patterns = patterns,
		.npatterns = 2 };
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		bool ok = may(&narrow, table[i].line, &a);

		if (ok != !table[i].key || (!ok && a.key != table[i].key % 99))
			fail_msg("%s: %d, key %u", table[i].line, ok, a.key);
		assert_null(strstr(a.text, "conf:"));
	}
	assert_false(may(&narrow, "PSUBSCRIBE *", &a));        /* without isolation these hear keyspace events */
	assert_false(may(&narrow, "PSUBSCRIBE ne* ?_keyevent*", &a));
	assert_true(may(&narrow, "PSUBSCRIBE ne*", &a));
	P[1].prefix_len = 5;
	assert_true(may(&narrow, "PSUBSCRIBE * ?_keyevent*", &a));
	assert_false(may(&narrow, "PSUBSCRIBE __key*", &a));
	narrow.patterns = all;
	narrow.npatterns = 1;
	assert_true(may(&narrow, "SCAN 0", &a));
	assert_true(may(&narrow, "SORT_RO x GET *", &a));
	assert_false(may(&narrow, "FLUSHDB", &a));
	assert_true(may(&narrow, "GET x", &a));
}

static void commands(void **state)
{
	struct access_answer a;

	(void)state;
	world(false);
	narrow = (struct role){ .name = "n", .perms = role_operator.perms, .narrow = true, .by_command = true };
	narrow.commands[CMD_GET / 64] |= UINT64_C(1) << CMD_GET % 64;
	assert_true(may(&narrow, "GET k", &a));
	assert_false(may(&narrow, "SET k v", &a));
	assert_non_null(strstr(a.text, "not among its commands"));
}

/* ---- projects ---- */

static void many(void **state)
{
	struct project_set s = { .v = calloc(1000, sizeof *s.v), .n = 1000 };

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		snprintf(s.v[i].name, sizeof s.v[i].name, "p%u", i);
	snprintf(s.v[7].name, sizeof s.v[7].name, "0fb2a6e4-9c1d-4e7f-8a3b-6d5c4b3a2f10");
	assert_int_equal(projects_index(&s), 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_ptr_equal(project_find(&s, s.v[i].name, strlen(s.v[i].name)), &s.v[i]);
	assert_ptr_equal(project_find(&s, "0FB2A6E4-9C1D-4E7F-8A3B-6D5C4B3A2F10", 36), &s.v[7]);
	assert_null(project_find(&s, "0FB2A6E4-9C1D-4E7F-8A3B_6D5C4B3A2F10", 36));
	assert_null(project_find(&s, "P1", 2));
	assert_null(project_find(&s, "p1000", 5));
	assert_null(project_find(&s, "", 0));
	assert_null(project_find(&s, "*", 1));
	projects_clear(&s);
}

struct maker { struct project_set *s; const struct project *p[64]; };

static void *make_all(void *arg)
{
	struct maker *m = arg;
	char name[16];

	for (unsigned i = 0; i < 64; i++) {
		snprintf(name, sizeof name, "d%u", i);
		m->p[i] = project_find(m->s, name, strlen(name));
		if (!m->p[i])
			m->p[i] = project_make(m->s, name);
	}
	return NULL;
}

static void come_to_be(void **state)
{
	struct project_numbers *numbers = project_numbers_new();
	struct metric_reg *metrics = metric_new(NULL);
	struct project model = { .databases = 3, .instance = 2, .open = true }, like;
	struct project_set s = { .v = NULL };
	struct maker m[4];
	pthread_t t[4];

	(void)state;
	assert_int_equal(project_number(numbers, "before"), 0);
	assert_int_equal(projects_admit(&s, &model, "app:", ":", 50, numbers, metrics), 0);
	assert_true(project_like(&s, "x.y", 3, &like));
	assert_string_equal(like.name, "x.y");
	assert_memory_equal(like.prefix, "app:x.y:", like.prefix_len);
	assert_true(project_like(&s, "0FB2A6E4-9C1D-4E7F-8A3B-6D5C4B3A2F10", 36, &like));
	assert_string_equal(like.name, "0fb2a6e4-9c1d-4e7f-8a3b-6d5c4b3a2f10");
	assert_false(project_like(&s, "X", 1, &like));
	assert_false(project_like(&s, "a:b", 3, &like));
	assert_false(project_like(&s, "", 0, &like));
	assert_null(project_find(&s, "x.y", 3));        /* asking makes nothing */
	for (unsigned i = 0; i < 4; i++) {
		m[i].s = &s;
		assert_int_equal(pthread_create(&t[i], NULL, make_all, &m[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(projects_made(&s), 50);
	for (unsigned i = 0; i < 64; i++) {
		for (unsigned k = 1; k < 4; k++)
			assert_ptr_equal(m[k].p[i], m[0].p[i]); /* one of each name, whoever was first */
		if (m[0].p[i])
			assert_true(m[0].p[i]->databases == 3 && m[0].p[i]->ns == project_number(numbers, m[0].p[i]->name));
	}
	assert_null(project_make(&s, "more"));
	assert_true(projects_common(&s, &like));
	assert_int_equal(like.prefix_len, 4);
	projects_clear(&s);
	assert_int_equal(project_number(numbers, "before"), 0); /* a number outlives the set */
	assert_true(project_number(numbers, "d7") < PROJECT_NUMBERS);
	metric_free(metrics);
	project_numbers_free(numbers);
}

static void numbers_end(void **state)
{
	struct project_numbers *x = project_numbers_new();
	char name[16];

	(void)state;
	for (uint32_t i = 0; i < PROJECT_NUMBERS; i++) {
		snprintf(name, sizeof name, "n%u", i);
		assert_int_equal(project_number(x, name), i);
	}
	assert_int_equal(project_number(x, "more"), PROJECT_NUMBERS);
	assert_int_equal(project_number(x, "n4711"), 4711);
	project_numbers_free(x);
}

static void labels_end(void **state)
{
	struct metric_reg *r = metric_new(NULL);
	char name[16];
	uint16_t last = 0;

	(void)state;
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(name, sizeof name, "p%u", i);
		last = metric_project(r, name);
	}
	assert_string_equal(metric_project_of(r, metric_project(r, "p17")), "p17");
	assert_string_equal(metric_project_of(r, last), "_OTHER");
	assert_int_equal(metric_project(r, "another"), last);
	metric_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_until_said), cmocka_unit_test(exact_rules_first), cmocka_unit_test(presented),
		cmocka_unit_test(the_only_one), cmocka_unit_test(permissions), cmocka_unit_test(keys), cmocka_unit_test(commands),
		cmocka_unit_test(many), cmocka_unit_test(come_to_be), cmocka_unit_test(numbers_end), cmocka_unit_test(labels_end),
	};

	return cmocka_run_group_tests_name("access/decide", tests, NULL, NULL);
}
