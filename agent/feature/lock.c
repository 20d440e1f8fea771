/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands LOCK.*, from their words to one script or to the queues (lock_hold.c).
 */
#include <config.h>
#include <stdio.h>
#include <strings.h>
#include <purser/resp.h>
#include "feature/lock.h"
#include "feature/rooms.h"
#include "resp/pick.h"

#define MS UINT64_C(1000000)

static const char acquire_usage[] = "LOCK.ACQUIRE name ttl-ms [WAIT ms] [MODE session|lease] [MAXHOLD ms] [KIND read|write] "
    "[PERMITS n OF m] [MINREPLICAS n]";
static const char release_usage[] = "LOCK.RELEASE name fence";
static const char renew_usage[] = "LOCK.RENEW name fence ttl-ms";
static const char fence_usage[] = "LOCK.FENCE lock fence SET key value [option ...] | HSET key field value ... | DEL key";

/* ---- words ---- */
static bool is(purser_bytes w, const char *word)
{
	return w.n == strlen(word) && !strncasecmp((const char *)w.p, word, w.n);
}

static bool number_in(purser_bytes w, uint64_t lo, uint64_t hi, uint64_t *out)
{
	int64_t v;

	if (purser_resp_int(w.p, w.n, &v) || v < 0 || (uint64_t)v < lo || (uint64_t)v > hi)
		return false;
	*out = (uint64_t)v;
	return true;
}

static bool name_ok(struct feature_call *f)
{
	char text[80];

	if (f->argv[1].n >= 1 && f->argv[1].n <= LOCK_NAME_MAX)
		return true;
	snprintf(text, sizeof text, "the name of a lock has 1 to %u bytes", LOCK_NAME_MAX);
	feature_fail(f, ERR_BADREQUEST, text);
	return false;
}

static bool ttl_ok(struct feature_call *f, purser_bytes w, uint64_t *ms)
{
	char text[80];

	if (number_in(w, LOCK_TTL_MIN, LOCK_TTL_MAX, ms))
		return true;
	snprintf(text, sizeof text, "ERR ttl-ms must be a number from %u to %llu", LOCK_TTL_MIN,
	    (unsigned long long)LOCK_TTL_MAX);
	feature_error(f, text);
	return false;
}

/* ---- LOCK.ACQUIRE ---- */
/* The option at argv[i]; how many words it has, 0: it is none. */
static uint32_t option(const struct feature_call *f, uint32_t i, struct lock_want *want)
{
	const purser_bytes *w = f->argv + i;
	uint32_t left = f->argc - i;
	uint64_t v = 0, of = 0;

	if (left >= 2 && is(w[0], "WAIT") && number_in(w[1], 0, LOCK_TTL_MAX, &v)) {
		want->wait_ns = v * MS;
		return 2;
	}
	if (left >= 2 && is(w[0], "MAXHOLD") && number_in(w[1], 1, LOCK_TTL_MAX, &v)) {
		want->maxhold_ns = v * MS;
		return 2;
	}
	if (left >= 2 && is(w[0], "MODE") && (is(w[1], "session") || is(w[1], "lease"))) {
		want->mode = is(w[1], "lease") ? LOCK_LEASE : LOCK_SESSION;
		return 2;
	}
	if (left >= 2 && is(w[0], "KIND") && want->kind != LOCK_PERMITS && (is(w[1], "read") || is(w[1], "write"))) {
		want->kind = is(w[1], "read") ? LOCK_READ : LOCK_WRITE;
		return 2;
	}
	if (left >= 2 && is(w[0], "MINREPLICAS") && number_in(w[1], 0, 100, &v)) {
		want->replicas = (uint32_t)v;
		return 2;
	}
	if (left >= 4 && is(w[0], "PERMITS") && is(w[2], "OF") && want->kind != LOCK_READ &&
	    number_in(w[1], 1, 1000, &v) && number_in(w[3], v, 1000, &of)) {
		want->kind = LOCK_PERMITS;
		want->permits = (uint32_t)v;
		want->of = (uint32_t)of;
		return 4;
	}
	return 0;
}

static void do_acquire(struct feature_call *f)
{
	/* An HTTP connection is nobody's life: what is taken over it ends by its ttl. */
	struct lock_want want = { .mode = f->http ? LOCK_LEASE : LOCK_SESSION, .permits = 1, .of = 1 };
	uint64_t ttl;
	uint32_t n;

	if (!name_ok(f) || !ttl_ok(f, f->argv[2], &ttl))
		return;
	want.ttl_ns = ttl * MS;
	for (uint32_t i = 3; i < f->argc; i += n) {
		n = option(f, i, &want);
		if (!n) {
			feature_syntax(f, acquire_usage);
			return;
		}
	}
	lock_begin(f, &want);
}

/* ---- LOCK.RELEASE, LOCK.RENEW ---- */
/* A step of a command about a fence that was given. */
struct fence_call {
	struct feature_call *f;
	struct lock_visit visit;
	uint64_t fence, ttl_ns, sent_ns;
	enum err_code err;
	char error[200];
};

static struct lock_grip *held_there(struct lock_visit *v, struct lock_room *room)
{
	struct lock_name *n = lock_find(room, v->f->project->ns, v->f->db, v->name);

	return n ? lock_held(n, v->fence) : NULL;
}

static void release_there(struct lock_visit *v, struct lock_room *room)
{
	struct lock_grip *g = held_there(v, room);

	if (g)
		lock_given_back(g, v->yes);
}

static void visited(struct lock_visit *v) { feature_end(v->f); }

static void not_released(struct lock_visit *v)
{
	struct fence_call *s = (struct fence_call *)((char *)v - offsetof(struct fence_call, visit));

	if (*s->error)
		feature_pass_error(v->f, &(struct feature_reply){ .err = s->err, .error = s->error });
	else
		feature_fail(v->f, s->err, NULL);
}

static void visit_of(struct fence_call *s, void (*there)(struct lock_visit *, struct lock_room *),
    void (*back)(struct lock_visit *))
{
	struct feature_call *f = s->f;

	s->visit = (struct lock_visit){ .f = f, .home = f->w, .name = f->argv[1], .fence = s->fence, .ttl_ns = s->ttl_ns,
		.sent_ns = s->sent_ns, .there = there, .back = back,
		.at = feature_owner(f->w, f->project->ns, f->db, "lock", f->argv[1]) };
}

static void released(void *arg, const struct feature_reply *rep)
{
	static const char *const said[] = { "not_held", "released", "held_by_other" };
	struct fence_call *s = arg;
	struct feature_call *f = s->f;
	const uint8_t *at = rep->resp;
	int64_t how = -1;

	visit_of(s, release_there, visited);
	if (rep->err || resp_pick_header(&at, rep->resp + rep->n, ':', &how) || how < 0 || how > 2) {
		/* Who gives a lock back does not want it: it is not renewed any more, and given back as soon as may be. */
		s->visit.yes = true;
		s->visit.back = not_released;
		s->err = rep->err ? rep->err : ERR_BACKENDPROTOCOL;
		snprintf(s->error, sizeof s->error, "%s", rep->err ? rep->error : "");
		lock_visit(&s->visit);
		return;
	}
	reply_text(f->b, said[how]);
	lock_visit(&s->visit);
}

/* Fence and name of f, and the name of its key; NULL: f has ended. */
static struct fence_call *fence_call(struct feature_call *f, const char *usage, purser_bytes *key)
{
	struct fence_call *s = arena_get(f->arena, sizeof *s);

	*key = feature_name(f->arena, f->project->name, "lock", f->argv[1]);
	if (!s || !key->p) {
		feature_fail(f, ERR_OOM, NULL);
		return NULL;
	}
	memset(s, 0, sizeof *s);
	s->f = f;
	if (!name_ok(f))
		return NULL;
	if (!number_in(f->argv[2], 1, UINT64_C(9007199254740991), &s->fence)) {
		feature_syntax(f, usage);
		return NULL;
	}
	return s;
}

static void do_release(struct feature_call *f)
{
	purser_bytes key, *args = arena_get(f->arena, 2 * sizeof *args);
	struct fence_call *s = fence_call(f, release_usage, &key);

	if (!s)
		return;
	if (!args) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	args[0] = f->argv[2];
	args[1] = (purser_bytes){ (const uint8_t *)"", 0 };
	feature_script(f, LUA_LOCK_RELEASE, &key, 1, args, 2, released, s);
}

static void renew_there(struct lock_visit *v, struct lock_room *room)
{
	struct lock_grip *g = held_there(v, room);

	if (g)
		lock_renewed_by_client(g, v->sent_ns, v->ttl_ns);
}

static void renewed(void *arg, const struct feature_reply *rep)
{
	struct fence_call *s = arg;
	struct feature_call *f = s->f;
	const uint8_t *at = rep->resp;
	int64_t how;
	uint64_t until = lock_valid_until(s->sent_ns, s->ttl_ns), now = loop_now(f->w->loop), ms;

	if (rep->err) {
		feature_pass_error(f, rep);
	} else if (resp_pick_header(&at, rep->resp + rep->n, ':', &how)) {
		feature_fail(f, ERR_BACKENDPROTOCOL, NULL);
	} else if (how != 1) {
		feature_fail(f, ERR_LOCKLOST, how ? "somebody else has the lock" : "nobody has the lock any more");
	} else {
		ms = until > now ? (until - now) / MS : 0;
		reply_map(f->b, 3);
		reply_text(f->b, "fence");
		reply_integer(f->b, (int64_t)s->fence);
		reply_text(f->b, "valid_ms");
		reply_integer(f->b, (int64_t)ms);
		reply_text(f->b, "valid_until");
		reply_integer(f->b, (int64_t)(loop_wall_ms(f->w->loop) + ms));
		visit_of(s, renew_there, visited);
		lock_visit(&s->visit);
	}
}

static void do_renew(struct feature_call *f)
{
	purser_bytes key, *args = arena_get(f->arena, 3 * sizeof *args);
	struct fence_call *s = fence_call(f, renew_usage, &key);
	uint64_t ttl;

	if (!s || !ttl_ok(f, f->argv[3], &ttl))
		return;
	if (!args) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	s->ttl_ns = ttl * MS;
	s->sent_ns = loop_now(f->w->loop);
	args[0] = f->argv[2];
	args[1] = (purser_bytes){ (const uint8_t *)"", 0 };
	args[2] = f->argv[3];
	feature_script(f, LUA_LOCK_RENEW, &key, 1, args, 3, renewed, s);
}

/* ---- LOCK.FENCE ---- */
static void written(void *arg, const struct feature_reply *rep)
{
	struct feature_call *f = arg;

	if (rep->err) {
		feature_pass_error(f, rep);
		return;
	}
	if (rep->n && *rep->resp == '_')
		reply_null(f->b);
	else
		reply_raw(f->b, rep->resp, rep->n);
	feature_end(f);
}

static void lost_there(struct lock_visit *v, struct lock_room *room)
{
	v->yes = lock_was_lost(room, v->f->project->ns, v->f->db, v->name, v->fence);
}

static void write_it(struct lock_visit *v)
{
	struct feature_call *f = v->f;
	purser_bytes *keys = arena_get(f->arena, 2 * sizeof *keys), *args = arena_get(f->arena, f->argc * sizeof *args);

	if (v->yes) {
		feature_fail(f, ERR_LOCKLOST, "the lock with this fence was lost: acquire it again");
		return;
	}
	if (keys) {
		keys[0] = feature_name(f->arena, f->project->name, "fence", f->argv[1]);
		keys[1] = feature_key(f, f->argv[4]);
	}
	if (!keys || !args || !keys[0].p || !keys[1].p) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	args[0] = f->argv[2];
	args[1] = f->argv[3];
	for (uint32_t i = 5; i < f->argc; i++)
		args[i - 3] = f->argv[i];
	feature_script(f, LUA_LOCK_FENCE, keys, 2, args, f->argc - 3, written, f);
}

static void do_fence(struct feature_call *f)
{
	bool set = is(f->argv[3], "SET"), hset = is(f->argv[3], "HSET"), del = is(f->argv[3], "DEL");
	struct fence_call *s;
	purser_bytes key;

	if ((set && f->argc < 6) || (hset && (f->argc < 7 || f->argc % 2 == 0)) || (del && f->argc != 5) ||
	    (!set && !hset && !del)) {
		feature_syntax(f, fence_usage);
		return;
	}
	if (f->argc > LOCK_WORDS_MAX) {
		feature_fail(f, ERR_TOOBIG, "LOCK.FENCE takes at most 1000 words: write the rest with another one");
		return;
	}
	s = fence_call(f, fence_usage, &key);
	if (!s)
		return;
	visit_of(s, lost_there, write_it);
	lock_visit(&s->visit);
}

void lock_commands(feature_handler *t)
{
	t[CMD_LOCK_ACQUIRE] = do_acquire;
	t[CMD_LOCK_RELEASE] = do_release;
	t[CMD_LOCK_RENEW] = do_renew;
	t[CMD_LOCK_FENCE] = do_fence;
	t[CMD_LOCK_INFO] = lock_info;
	t[CMD_LOCK_LIST] = lock_list;
}
