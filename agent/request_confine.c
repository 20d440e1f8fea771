/* SPDX-License-Identifier: Apache-2.0
 *
 * See request_confine.h.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <openssl/evp.h>
#include "access/prelude.h"
#include "request_confine.h"

#define SECRET_BYTES 32u
#define RULES_MAX 24u
#define ROUNDS_MAX 10u

/* What its commands may be: semantics.md section 9.  SORT and RESTORE are dangerous to others than their keys only where
 * BY and GET name keys, which a user that may not read every key is refused. */
static const char *const rules[] = { "+@all", "-@dangerous", "-@admin", "-scan", "-randomkey", "-dbsize", "-swapdb",
	"-pubsub", "-client", "-select", "-copy", "-move", "+sort", "+sort_ro", "+restore" };
#define NRULES (sizeof rules / sizeof *rules)

struct asking {
	struct worker *w;
	struct generation *gen;         /* one reference */
	const struct project *project;  /* of gen */
	struct purser_instance *inst;
	uint32_t cred;
	bool given;                     /* the user is the INI's */
	uint8_t rounds;                 /* so often somebody took away what was just made */
	char user[CONFINE_USER_MAX];
	char secret[1024];
};

static uint64_t hash(uint64_t h, const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ ((const uint8_t *)p)[i]) * UINT64_C(1099511628211);
	return h;
}

/* Whatever the user depends on. */
static uint64_t key_of(const struct project *p)
{
	uint64_t h = hash(UINT64_C(14695981039346656037), p->prefix, p->prefix_len);

	if (!p->login)
		return h;
	h = hash(h, p->login->user, strlen(p->login->user) + 1);
	return hash(h, p->login->secret, strlen(p->login->secret));
}

/* ---- when it is over ---- */

static void wake_held(void *arg)
{
	struct worker *w = arg;

	atomic_store(&w->confining.waking, false);
	for (struct client *c = w->clients; c; c = c->next)
		if (c->held)
			c->wake(c);
}

static void wake_all(struct worker *w)
{
	for (uint32_t i = 0; i < w->npeers; i++) {
		struct worker *p = w->peers[i];

		if (atomic_exchange(&p->confining.waking, true))
			continue; /* it has not begun to look */
		p->confining.wake = (purser_job){ .fn = wake_held, .arg = p };
		loop_post(p->loop, &p->confining.wake);
	}
}

static void over(struct asking *a, enum err_code err, const char *why)
{
	struct worker *w = a->w;
	const char *name = a->project->name;

	confine_done(a->inst->confines, a->project->ns, a->cred, a->given ? "" : a->user, err, why, loop_now(w->loop));
	if (err == ERR_NONE)
		log_event(w->log, LOG_M_ACCESS, LOG_INFO, "project.scripts.ready", a->given ?
		    "the project's scripts run as the store's user that script_user names" :
		    "the project's scripts run as a user of the store that the agent has made",
		    LOG_STR("project", name), LOG_STR("user", a->user), LOG_KEY(name));
	else
		log_event(w->log, LOG_M_ACCESS, LOG_WARN, "project.scripts.refused", "the project's scripts do not run",
		    LOG_STR("project", name), LOG_STR("reason", why), LOG_KEY(name));
	if (err != ERR_NONE)
		a->inst->p->credential(a->inst->state, a->cred, (purser_bytes){ NULL, 0 }, (purser_bytes){ NULL, 0 });
	wake_all(w);
	generation_unref(a->gen);
	explicit_bzero(a, sizeof *a);
	free(a);
}

/* ---- the steps ---- */

static void ask(struct asking *a, uint32_t cred, purser_bytes *argv, uint32_t argc, child_fn fn)
{
	struct ask q = { .w = a->w, .gen = a->gen, .instance = a->inst->index, .internal = true, .raw = true,
		.cred = cred };

	q.deadline_ns = loop_now(a->w->loop) + a->inst->operation_timeout_ns;
	child_ask(&q, argv, argc, fn, a);
}

static purser_bytes word(const char *s)
{
	return (purser_bytes){ (const uint8_t *)s, strlen(s) };
}

/* It was not the store that said no: another time it may answer. */
static bool unheard(enum err_code err)
{
	return err == ERR_BACKENDDOWN || err == ERR_CIRCUITOPEN || err == ERR_POOLEXHAUSTED || err == ERR_TIMEOUT ||
	    err == ERR_INDETERMINATE || err == ERR_BACKENDPROTOCOL || err == ERR_OOM || err == ERR_INTERNAL;
}

static void not_asked(struct asking *a, const struct child_reply *rep)
{
	const char *text = strchr(rep->error, ' '); /* behind the word, which comes with the code */

	over(a, rep->err, text ? text + 1 : rep->error);
}

static void make(struct asking *a);

/* Whether the user is what it should be: what the script says. */
static void tried(void *arg, const struct child_reply *rep)
{
	struct asking *a = arg;
	char why[CONFINE_WHY_MAX];
	const char *said = rep->resp ? memchr(rep->resp, '\n', rep->n) : NULL;

	if (rep->err == ERR_BACKENDAUTH && !a->given) {
		if (++a->rounds < ROUNDS_MAX)
			make(a);
		else
			over(a, ERR_BACKENDDOWN, "somebody takes away the user of the store that the agent makes for the "
			    "project's scripts, again and again");
		return;
	}
	if (unheard(rep->err)) {
		not_asked(a, rep);
		return;
	}
	if (!rep->err && rep->n == 8 && !memcmp(rep->resp, "$2\r\nok\r\n", 8)) {
		over(a, ERR_NONE, "");
		return;
	}
	if (rep->err)
		snprintf(why, sizeof why, "scripts cannot be kept inside the project: as %s the server answers: %.120s",
		    a->given ? "script_user" : "their own user", rep->error);
	else
		snprintf(why, sizeof why, "scripts cannot be kept inside the project on this server: %.*s (scripts = "
		    "declared-keys in its [project] section runs them all the same)",
		    said ? (int)(rep->n - (size_t)((const uint8_t *)said + 1 - rep->resp) - 2) : 0, said ? said + 1 : "");
	over(a, ERR_NOPERM, why);
}

static void try_it(struct asking *a)
{
	static const char confined[] =
	    "local P=ARGV[1]if redis.acl_check_cmd('get','psr:'..P)or redis.acl_check_cmd('set','x','y')then "
	    "return'its user may use keys of others'end for _,c in ipairs{{'scan','0'},{'keys','*'},{'randomkey'},{'dbsize'},"
	    "{'flushall'},{'pubsub','channels'},{'publish','x','y'},{'select','0'},{'client','list'},{'config','get','*'},"
	    "{'acl','list'},{'move','x','1'}}do if redis.acl_check_cmd(unpack(c))then return'its user may run '..c[1]end end "
	    "if not redis.acl_check_cmd('set',P..'x','y')or not redis.acl_check_cmd('publish',P..'x','y')then "
	    "return'its user may not use the keys and channels of the project'end ";
	char text[4096];
	purser_bytes argv[4] = { word("EVAL"), { (const uint8_t *)text, 0 }, word("0") };

	argv[1].n = (size_t)snprintf(text, sizeof text, "%s%s", confined, prelude_probe);
	argv[3] = (purser_bytes){ a->project->prefix, a->project->prefix_len };
	if (a->inst->p->credential(a->inst->state, a->cred, word(a->user), word(a->secret)))
		over(a, ERR_OOM, "out of memory");
	else
		ask(a, a->cred, argv, 4, tried);
}

static void made(void *arg, const struct child_reply *rep)
{
	struct asking *a = arg;
	char why[CONFINE_WHY_MAX];

	if (!rep->err) {
		try_it(a);
		return;
	}
	if (unheard(rep->err) || rep->err == ERR_BACKENDAUTH) {
		not_asked(a, rep);
		return;
	}
	snprintf(why, sizeof why, "scripts need a user of the store for the project: allow the agent's own ACL SETUSER, or "
	    "name one by script_user and script_password_file in [project %s] (scripts = declared-keys runs them without "
	    "isolation); the server: %.100s", a->project->name, rep->error);
	over(a, ERR_NOPERM, why);
}

/* ~ or &, and the prefix with its glob characters quoted. */
static size_t pattern(char *to, char kind, const struct project *p)
{
	size_t n = 0;

	to[n++] = kind;
	for (uint32_t i = 0; i < p->prefix_len; i++) {
		if (p->prefix[i] && strchr("*?[]\\^", p->prefix[i]))
			to[n++] = '\\';
		to[n++] = (char)p->prefix[i];
	}
	to[n++] = '*';
	return n;
}

static int make_secret(struct asking *a)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t random[SECRET_BYTES];

	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		return -1;
	for (unsigned i = 0; i < SECRET_BYTES; i++) {
		a->secret[2 * i] = digits[random[i] >> 4];
		a->secret[2 * i + 1] = digits[random[i] & 15];
	}
	explicit_bzero(random, sizeof random);
	return 0;
}

/* As ACL SETUSER takes it: # and the SHA-256. */
static void hash_secret(const char *secret, char text[66])
{
	uint8_t d[32] = { 0 };

	EVP_Digest(secret, strlen(secret), d, NULL, EVP_sha256(), NULL);
	text[0] = '#';
	for (unsigned i = 0; i < sizeof d; i++)
		snprintf(text + 1 + 2 * i, 3, "%02x", d[i]);
}

static void make(struct asking *a)
{
	char hashed[2 * 32 + 2], keys[2 * PROJECT_PREFIX_MAX + 3], channels[2 * PROJECT_PREFIX_MAX + 3];
	purser_bytes argv[RULES_MAX];
	uint32_t n = 0;

	_Static_assert(NRULES + 8 <= RULES_MAX, "RULES_MAX is too small");
	snprintf(a->user, sizeof a->user, "psr-%s-%s", a->project->name, a->w->tag);
	if (make_secret(a)) {
		over(a, ERR_INTERNAL, "there is no randomness for a password");
		return;
	}
	hash_secret(a->secret, hashed); /* no buffer, log or MONITOR on the way sees the password itself */
	argv[n++] = word("ACL");
	argv[n++] = word("SETUSER");
	argv[n++] = word(a->user);
	argv[n++] = word("reset");
	argv[n++] = word("on");
	argv[n++] = word(hashed);
	argv[n++] = (purser_bytes){ (const uint8_t *)keys, pattern(keys, '~', a->project) };
	argv[n++] = (purser_bytes){ (const uint8_t *)channels, pattern(channels, '&', a->project) };
	for (unsigned i = 0; i < NRULES; i++)
		argv[n++] = word(rules[i]);
	ask(a, 0, argv, n, made);
}

static void begin(struct worker *w, struct generation *g, const struct project *p, uint32_t cred)
{
	struct asking *a = calloc(1, sizeof *a);
	struct purser_instance *i = g->instances[p->instance];

	if (!a) {
		confine_done(i->confines, p->ns, cred, "", ERR_OOM, "out of memory", loop_now(w->loop));
		return;
	}
	a->w = w;
	a->gen = generation_ref(g);
	a->project = p;
	a->inst = i;
	a->cred = cred;
	a->given = p->login != NULL;
	if (!a->given) {
		make(a);
		return;
	}
	snprintf(a->user, sizeof a->user, "%s", p->login->user);
	snprintf(a->secret, sizeof a->secret, "%s", p->login->secret);
	try_it(a);
}

enum confine_answer confine_want(struct worker *w, struct generation *g, const struct project *p, uint32_t *cred,
    enum err_code *err, char why[CONFINE_WHY_MAX])
{
	struct purser_instance *i = g->instances[p->instance];
	enum confine_answer a = confine_look(i->confines, p->ns, p->name, key_of(p), loop_now(w->loop), cred, err, why);

	if (a != CONFINE_BEGIN)
		return a;
	begin(w, g, p, *cred);
	return CONFINE_WAIT;
}

bool confine_refused(struct worker *w, struct purser_instance *i, uint32_t cred)
{
	if (confine_stale(i->confines, cred) == UINT32_MAX)
		return false;
	log_event(w->log, LOG_M_ACCESS, LOG_WARN, "project.scripts.forgotten",
	    "the store does not know the user of a project's scripts any more: it is made anew",
	    LOG_STR("backend", i->name), LOG_KEY(i->name));
	return true;
}

/* ---- after a reload ---- */

static bool still(void *arg, const char *name)
{
	const struct generation *g = arg;
	const struct project *p = project_find(&g->projects, name, strlen(name));
	struct project like;

	if (!p && project_like(&g->projects, name, strlen(name), &like))
		p = &like;
	return p && p->scripts == SCRIPTS_ISOLATED;
}

static void removed(void *arg, const struct child_reply *rep)
{
	struct worker *w = arg;

	if (rep->err)
		log_event(w->log, LOG_M_ACCESS, LOG_WARN, "project.scripts.left",
		    "the store keeps the user of a project that is gone", LOG_STR("reason", rep->error));
}

void confine_clean(struct worker *w)
{
	struct generation *g = w->gen;

	for (uint32_t k = 0; k < INSTANCES_MAX; k++) {
		struct purser_instance *i = g->instances[k];
		char user[CONFINE_USER_MAX];
		uint32_t cred;

		while (i && i->confines && (cred = confine_forget(i->confines, still, g, user))) {
			struct ask q = { .w = w, .gen = g, .instance = k, .internal = true, .raw = true };
			purser_bytes argv[3] = { word("ACL"), word("DELUSER"), word(user) };

			i->p->credential(i->state, cred, (purser_bytes){ NULL, 0 }, (purser_bytes){ NULL, 0 });
			q.deadline_ns = loop_now(w->loop) + i->operation_timeout_ns;
			if (user[0])
				child_ask(&q, argv, 3, removed, w);
		}
	}
}
