/* SPDX-License-Identifier: Apache-2.0
 *
 * SESSION.*: words, steps of the store, reply.
 */
#include <config.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "feature/rooms.h"
#include "feature/session.h"
#include "resp/pick.h"

struct session_op {                     /* a call */
	struct feature_call *f;
	struct session_place *p;
	struct session_words words;
	char id[SESSION_ID_LEN];        /* a new one */
	char hash[SESSION_HASH_LEN], hash2[SESSION_HASH_LEN];
	purser_bytes key, key2;         /* of the sessions with these hashes */
	purser_bytes all;               /* the index of all sessions */
	purser_bytes prefix;            /* what users' indexes begin with; of DESTROYUSER and LIST: what sessions do */
	purser_bytes user;              /* the index of a user's sessions */
	struct session_got got;
	int64_t ended;
};

static const char gone[] = "the session does not exist any more, or never did";
static const char rotated[] = "rotated: the session has got another id, this one is good for nothing now";

static purser_bytes text(const char *s, size_t n)
{
	return (purser_bytes){ (const uint8_t *)s, n };
}

/* "WORD text", of ours or "ERR ...". */
static void refuse(struct feature_call *f, const char *why)
{
	size_t n = strcspn(why, " ");
	enum err_code code = err_of_text(why, strlen(why));

	if (n == 3 && memcmp(why, "ERR", 3) == 0)
		feature_error(f, why);
	else
		feature_fail(f, code, why[n] ? why + n + 1 : NULL);
}

static void missed(struct session_op *o, bool has_another)
{
	session_note(o->p, SESSION_MISSED, 1);
	feature_fail(o->f, ERR_SESSIONGONE, has_another ? rotated : gone);
}

static bool hash_of(struct feature_call *f, purser_bytes id, char hash[SESSION_HASH_LEN])
{
	const struct session_room *room = f->w->room[ROOM_SESSION];

	return session_hash(room->md, room->sha256, id, hash);
}

static purser_bytes name_of(struct feature_call *f, const char *kind, purser_bytes name)
{
	return feature_name(f->arena, f->project->name, kind, name);
}

/* What each command needs.  NULL: f has been answered. */
static struct session_op *begin(struct feature_call *f)
{
	struct session_op *o = arena_get(f->arena, sizeof *o);
	const char *why;

	if (!o) {
		feature_fail(f, ERR_OOM, NULL);
		return NULL;
	}
	memset(o, 0, sizeof *o);
	o->f = f;
	f->state = o;
	o->p = session_place(f);
	o->all = name_of(f, "sess-all", text("0", 1));
	if (!o->p || !o->all.p) {
		feature_fail(f, ERR_OOM, NULL);
		return NULL;
	}
	if (session_words(f->cmd, f->argv, f->argc, f->arena, &o->words, &why)) {
		refuse(f, why);
		return NULL;
	}
	return o;
}

/* The same, of commands whose first argument is an id. */
static struct session_op *begin_id(struct feature_call *f)
{
	struct session_op *o = begin(f);

	if (!o)
		return NULL;
	if (f->argv[1].n != SESSION_ID_LEN) {
		missed(o, false);
		return NULL;
	}
	if (hash_of(f, f->argv[1], o->hash)) {
		o->key = name_of(f, "sess", text(o->hash, sizeof o->hash));
		o->prefix = name_of(f, "sess-u", text("", 0));
	}
	if (o->key.p && o->prefix.p)
		return o;
	feature_fail(f, ERR_OOM, NULL);
	return NULL;
}

/* The integers that a script's array begins with, at most max of them; how many, -1: it is no array, and f is answered. */
static int numbers(struct feature_call *f, const struct feature_reply *rep, int64_t *v, int max)
{
	const uint8_t *at = rep->resp, *end = at + rep->n;
	int64_t n;
	int i = 0;

	if (rep->err) {
		feature_pass_error(f, rep);
		return -1;
	}
	if (resp_pick_header(&at, end, '*', &n) || n < 1) {
		feature_fail(f, ERR_BACKENDPROTOCOL, NULL);
		return -1;
	}
	while (i < max && i < n && session_int(&at, end, v + i) == 0)
		i++;
	if (!i)
		feature_fail(f, ERR_BACKENDPROTOCOL, NULL);
	return i ? i : -1;
}

/* A script that needs want numbers said {1, now, ...}; else f is answered. */
static bool went(struct session_op *o, const struct feature_reply *rep, int64_t *v, int want)
{
	int n = numbers(o->f, rep, v, want);

	if (n < 0)
		return false;
	if (v[0] == 1 && n == want) {
		session_heard(o->p, v[1]);
		return true;
	}
	if (v[0] == 0 || v[0] == 2)
		missed(o, v[0] == 2);
	else
		feature_fail(o->f, v[0] == -1 ? ERR_INTERNAL : ERR_BACKENDPROTOCOL, v[0] == -1 ? "the new id is taken" : NULL);
	return false;
}

static void put_int(struct bcall *b, const char *name, int64_t v)
{
	reply_text(b, name);
	reply_integer(b, v);
}

static void put_absolute(struct bcall *b, int64_t abs)
{
	reply_text(b, "absolute");
	if (abs)
		reply_integer(b, abs);
	else
		reply_null(b);
}

static void put_user(struct bcall *b, purser_bytes user)
{
	reply_text(b, "user");
	if (user.n)
		reply_bulk(b, user.p, user.n);
	else
		reply_null(b);
}

/* ---- SESSION.CREATE, ROTATE: a new id ---- */

static bool new_id(struct session_op *o, char hash[SESSION_HASH_LEN], purser_bytes *key)
{
	if (!session_new_id(o->id)) {
		feature_fail(o->f, ERR_INTERNAL, "the kernel has no random numbers");
		return false;
	}
	*key = (purser_bytes){ NULL, 0 };
	if (hash_of(o->f, text(o->id, sizeof o->id), hash))
		*key = name_of(o->f, "sess", text(hash, SESSION_HASH_LEN));
	if (!key->p)
		feature_fail(o->f, ERR_OOM, NULL);
	return key->p;
}

static void put_id(struct session_op *o)
{
	reply_text(o->f->b, "id");
	reply_bulk(o->f->b, o->id, sizeof o->id);
	OPENSSL_cleanse(o->id, sizeof o->id);
}

static void created(void *arg, const struct feature_reply *rep)
{
	struct session_op *o = arg;
	struct bcall *b = o->f->b;
	int64_t v[4];

	if (!went(o, rep, v, 4))
		return;
	session_note(o->p, SESSION_CREATED, 1);
	session_awake(o->p);
	reply_map(b, 5);
	put_id(o);
	put_int(b, "version", 1);
	put_int(b, "created", v[1]);
	put_int(b, "expires", v[2]);
	put_absolute(b, v[3]);
	feature_end(o->f);
}

static void do_create(struct feature_call *f)
{
	struct session_op *o = begin(f);
	purser_bytes *keys, *args, user;
	uint32_t nargs;

	if (!o || !new_id(o, o->hash, &o->key))
		return;
	user = f->argv[1];
	o->user = name_of(f, "sess-u", user);
	nargs = 4 + 2 * o->words.npairs;
	keys = arena_get(f->arena, 3 * sizeof *keys);
	args = arena_get(f->arena, nargs * sizeof *args);
	if (!keys || !args || !o->user.p) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	keys[0] = o->key;
	keys[1] = o->all;
	keys[2] = o->user;
	args[0] = text(o->hash, sizeof o->hash);
	args[1] = user;
	args[2] = f->argv[2];
	args[3] = feature_number(f->arena, o->words.abs_ms);
	if (o->words.npairs)
		memcpy(args + 4, o->words.pair, 2 * o->words.npairs * sizeof *args);
	if (args[3].p)
		feature_script(f, LUA_SESSION_CREATE, keys, user.n ? 3 : 2, args, nargs, created, o);
	else
		feature_fail(f, ERR_OOM, NULL);
}

static void turned(void *arg, const struct feature_reply *rep)
{
	struct session_op *o = arg;
	const uint8_t *at = rep->resp, *end = at + rep->n;
	struct bcall *b = o->f->b;
	purser_bytes user;
	int64_t v[5], n;

	if (!went(o, rep, v, 5))
		return;
	if (resp_pick_header(&at, end, '*', &n))
		n = 0;
	for (int64_t i = 0; i + 1 < n; i++)
		if (session_int(&at, end, &(int64_t){ 0 }))
			n = 0;
	if (n != 6 || resp_pick_bulk(&at, end, &user)) {
		feature_fail(o->f, ERR_BACKENDPROTOCOL, NULL);
		return;
	}
	session_note(o->p, SESSION_ROTATED, 1);
	reply_map(b, 5);
	put_id(o);
	put_user(b, user);
	put_int(b, "version", v[3]);
	put_int(b, "expires", v[2]);
	put_absolute(b, v[4]);
	feature_end(o->f);
}

static void do_rotate(struct feature_call *f)
{
	struct session_op *o = begin_id(f);
	purser_bytes *v;

	if (!o || !new_id(o, o->hash2, &o->key2))
		return;
	v = arena_get(f->arena, 9 * sizeof *v);
	if (!v || !(v[6] = feature_number(f->arena, SESSION_TOMBSTONE_MS)).p) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	v[0] = o->key;
	v[1] = o->key2;
	v[2] = o->all;
	v[3] = text(o->hash, sizeof o->hash);
	v[4] = text(o->hash2, sizeof o->hash2);
	v[5] = o->prefix;
	v[7] = text(o->words.user.p ? "1" : "0", 1);
	v[8] = o->words.user.p ? o->words.user : text("", 0);
	feature_script(f, LUA_SESSION_ROTATE, v, 3, v + 3, 6, turned, o);
}

/* ---- SESSION.GET, EXTEND ---- */

/* A script of a session: KEYS the session, the index of all; ARGV hash, prefix, third and what is behind it. */
static void run(struct session_op *o, unsigned script, purser_bytes third, const purser_bytes *more, uint32_t nmore, feature_fn fn)
{
	struct feature_call *f = o->f;
	purser_bytes *v = arena_get(f->arena, (5 + (size_t)nmore) * sizeof *v);

	if (!v) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	v[0] = o->key;
	v[1] = o->all;
	v[2] = text(o->hash, sizeof o->hash);
	v[3] = o->prefix;
	v[4] = third;
	if (nmore)
		memcpy(v + 5, more, nmore * sizeof *v);
	feature_script(f, script, v, 2, v + 2, 3 + nmore, fn, o);
}

/* JSON: to who knows the type, as what it is. */
static void put_json(struct feature_call *f, purser_bytes json)
{
	char head[32];
	int n;

	if (f->resp != 3) {
		reply_bulk(f->b, json.p, json.n);
		return;
	}
	n = snprintf(head, sizeof head, "=%zu\r\njsn:", json.n + 4);
	reply_raw(f->b, head, (size_t)n);
	reply_raw(f->b, json.p, json.n);
	reply_raw(f->b, "\r\n", 2);
}

static void show(struct session_op *o)
{
	const struct session_got *g = &o->got;
	struct bcall *b = o->f->b;

	reply_map(b, 8);
	put_user(b, g->user);
	put_int(b, "version", g->version);
	put_int(b, "created", g->created);
	put_int(b, "seen", g->seen);
	put_int(b, "expires", g->exp);
	put_absolute(b, g->abs);
	put_int(b, "idle_ms", g->idle);
	reply_text(b, "data");
	put_json(o->f, g->data);
	feature_end(o->f);
}

static void touched(void *arg, const struct feature_reply *rep)
{
	struct session_op *o = arg;
	int64_t v[4];

	if (!went(o, rep, v, 4))
		return;
	o->got.exp = v[2];
	o->got.seen = v[3];
	show(o);
}

static void got(void *arg, const struct feature_reply *rep)
{
	struct session_op *o = arg;
	struct session_got *g = &o->got;
	uint8_t *user;
	int rc;

	if (rep->err) {
		feature_pass_error(o->f, rep);
		return;
	}
	rc = session_read(rep->resp, rep->n, o->f->arena, g);
	if (rc) {
		feature_fail(o->f, rc == -2 ? ERR_OOM : ERR_BACKENDPROTOCOL, NULL);
	} else if (!g->there) {
		missed(o, g->rotated);
	} else if (o->words.notouch || !session_due(o->p, g)) {
		show(o);
	} else if (!(user = arena_get(o->f->arena, g->user.n + 1))) {
		feature_fail(o->f, ERR_OOM, NULL);
	} else {
		if (g->user.n)
			memcpy(user, g->user.p, g->user.n);
		g->user.p = user;
		run(o, LUA_SESSION_TOUCH, text("0", 1), NULL, 0, touched);
	}
}

static void do_get(struct feature_call *f)
{
	struct session_op *o = begin_id(f);
	purser_bytes *v;

	if (!o)
		return;
	v = arena_get(f->arena, 2 * sizeof *v);
	if (!v) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	v[0] = text("HGETALL", 7);
	v[1] = o->key;
	feature_ask(f, CMD_HGETALL, v, 2, got, o);
}

static void extended(void *arg, const struct feature_reply *rep)
{
	struct session_op *o = arg;
	int64_t v[4];

	if (!went(o, rep, v, 4))
		return;
	reply_map(o->f->b, 1);
	put_int(o->f->b, "expires", v[2]);
	feature_end(o->f);
}

static void do_extend(struct feature_call *f)
{
	struct session_op *o = begin_id(f);

	if (o)
		run(o, LUA_SESSION_TOUCH, f->argv[2], NULL, 0, extended);
}

/* ---- SESSION.UPDATE ---- */

static void updated(void *arg, const struct feature_reply *rep)
{
	struct session_op *o = arg;
	int64_t v[4];
	int n = numbers(o->f, rep, v, 4);
	char why[96];

	if (n < 0)
		return;
	if (v[0] == 3 && n == 2) {
		session_note(o->p, SESSION_CONFLICT, 1);
		snprintf(why, sizeof why, "the session is at version %lld: read it again", (long long)v[1]);
		feature_fail(o->f, ERR_CONFLICT, why);
	} else if (v[0] == 4) {
		feature_fail(o->f, ERR_TOOBIG, "a session has at most 256 fields");
	} else if (went(o, rep, v, 4)) {
		reply_map(o->f->b, 2);
		put_int(o->f->b, "version", v[3]);
		put_int(o->f->b, "expires", v[2]);
		feature_end(o->f);
	}
}

static void do_update(struct feature_call *f)
{
	struct session_op *o = begin_id(f);
	const struct session_words *w;
	purser_bytes *v;

	if (!o)
		return;
	w = &o->words;
	v = arena_get(f->arena, (1 + 2 * (size_t)w->npairs) * sizeof *v);
	if (!v || !(v[0] = feature_number(f->arena, SESSION_FIELDS_MAX)).p) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	memcpy(v + 1, w->pair, 2 * w->npairs * sizeof *v);
	run(o, LUA_SESSION_UPDATE, w->version.n ? w->version : text("", 0), v, 1 + 2 * w->npairs, updated);
}

/* ---- SESSION.DESTROY, DESTROYUSER ---- */

static void destroyed(void *arg, const struct feature_reply *rep)
{
	struct session_op *o = arg;
	const uint8_t *at = rep->resp;
	int64_t n;

	if (rep->err) {
		feature_pass_error(o->f, rep);
	} else if (session_int(&at, at + rep->n, &n)) {
		feature_fail(o->f, ERR_BACKENDPROTOCOL, NULL);
	} else {
		session_note(o->p, SESSION_DESTROYED, (uint64_t)n);
		reply_integer(o->f->b, n);
		feature_end(o->f);
	}
}

static void do_destroy(struct feature_call *f)
{
	struct session_op *o = begin_id(f);

	if (o)
		run(o, LUA_SESSION_DESTROY, text("", 0), NULL, 0, destroyed);
}

static void destroy_batch(struct session_op *o);

static void batch_destroyed(void *arg, const struct feature_reply *rep)
{
	struct session_op *o = arg;
	int64_t v[2];
	int n = numbers(o->f, rep, v, 2);

	if (n < 0)
		return;
	if (n != 2) {
		feature_fail(o->f, ERR_BACKENDPROTOCOL, NULL);
		return;
	}
	session_note(o->p, SESSION_DESTROYED, (uint64_t)v[0]);
	o->ended += v[0];
	if (v[1] && !o->f->gone) {
		destroy_batch(o);
		return;
	}
	reply_integer(o->f->b, o->ended);
	feature_end(o->f);
}

/* In batches, so that a user with very many does not hold up the store.  A session that is made meanwhile goes too. */
static void destroy_batch(struct session_op *o)
{
	struct feature_call *f = o->f;
	purser_bytes *v = arena_get(f->arena, 5 * sizeof *v);

	if (!v || !(v[4] = feature_number(f->arena, SESSION_BATCH)).p) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	v[0] = o->user;
	v[1] = o->all;
	v[2] = o->prefix;
	v[3] = o->words.except.n ? text(o->hash, sizeof o->hash) : text("", 0);
	feature_script(f, LUA_SESSION_DESTROY_USER, v, 2, v + 2, 3, batch_destroyed, o);
}

static void do_destroy_user(struct feature_call *f)
{
	struct session_op *o = begin(f);
	const struct session_words *w;

	if (!o)
		return;
	w = &o->words;
	o->user = name_of(f, "sess-u", f->argv[1]);
	if (w->handle.n) { /* one of them, by what SESSION.LIST shows of it */
		if (w->handle.n != SESSION_HASH_LEN) {
			reply_integer(f->b, 0);
			feature_end(f);
			return;
		}
		memcpy(o->hash, w->handle.p, sizeof o->hash);
		o->key = name_of(f, "sess", w->handle);
		o->prefix = name_of(f, "sess-u", text("", 0));
	} else {
		o->prefix = name_of(f, "sess", text("", 0));
	}
	if (!o->user.p || !o->prefix.p || (w->handle.n && !o->key.p) || (w->except.n && !hash_of(f, w->except, o->hash)))
		feature_fail(f, ERR_OOM, NULL);
	else if (w->handle.n)
		run(o, LUA_SESSION_DESTROY, f->argv[1], NULL, 0, destroyed);
	else
		destroy_batch(o);
}

/* ---- SESSION.LIST ---- */

static int put_one(struct feature_call *f, const uint8_t **at, const uint8_t *end)
{
	static const char *const name[] = { "created", "seen", "expires" };
	struct bcall *b = f->b;
	purser_bytes hash;
	int64_t n, v[5];

	if (resp_pick_header(at, end, '*', &n) || n != 6 || resp_pick_bulk(at, end, &hash))
		return -1;
	for (int i = 0; i < 5; i++)
		if (session_int(at, end, v + i))
			return -1;
	if (!b)
		return 0;
	reply_map(b, 6);
	reply_text(b, "handle");
	reply_bulk(b, hash.p, hash.n);
	put_int(b, "version", v[4]);
	for (int i = 0; i < 3; i++)
		put_int(b, name[i], v[i]);
	put_absolute(b, v[3]);
	return 0;
}

static void listed(void *arg, const struct feature_reply *rep)
{
	struct session_op *o = arg;
	const uint8_t *at = rep->resp, *end = at + rep->n, *first;
	struct feature_call blind = { .b = NULL };
	int64_t n, now;
	bool bad;

	if (rep->err) {
		feature_pass_error(o->f, rep);
		return;
	}
	bad = resp_pick_header(&at, end, '*', &n) || n < 1 || session_int(&at, end, &now);
	first = at;
	for (int64_t i = 1; !bad && i < n; i++) /* nothing is written before all is known to be right */
		bad = put_one(&blind, &at, end);
	if (bad) {
		feature_fail(o->f, ERR_BACKENDPROTOCOL, NULL);
		return;
	}
	session_heard(o->p, now);
	reply_array(o->f->b, (size_t)n - 1);
	at = first;
	for (int64_t i = 1; i < n; i++)
		(void)put_one(o->f, &at, end);
	feature_end(o->f);
}

static void do_list(struct feature_call *f)
{
	struct session_op *o = begin(f);
	purser_bytes *v;

	if (!o)
		return;
	o->user = name_of(f, "sess-u", f->argv[1]);
	o->prefix = name_of(f, "sess", text("", 0));
	v = arena_get(f->arena, 4 * sizeof *v);
	if (!v || !o->user.p || !o->prefix.p || !(v[3] = feature_number(f->arena, o->words.limit)).p) {
		feature_fail(f, ERR_OOM, NULL);
		return;
	}
	v[0] = o->user;
	v[1] = o->all;
	v[2] = o->prefix;
	feature_script(f, LUA_SESSION_LIST, v, 2, v + 2, 2, listed, o);
}

void session_commands(feature_handler *t)
{
	t[CMD_SESSION_CREATE] = do_create;
	t[CMD_SESSION_GET] = do_get;
	t[CMD_SESSION_UPDATE] = do_update;
	t[CMD_SESSION_EXTEND] = do_extend;
	t[CMD_SESSION_ROTATE] = do_rotate;
	t[CMD_SESSION_DESTROY] = do_destroy;
	t[CMD_SESSION_LIST] = do_list;
	t[CMD_SESSION_DESTROYUSER] = do_destroy_user;
	t[CMD_SESSION_STATS] = session_stats;
	t[CMD_SESSION_CLEANUP] = session_cleanup;
}
