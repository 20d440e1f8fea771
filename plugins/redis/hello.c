/* SPDX-License-Identifier: Apache-2.0
 *
 * hello: the handshake, all of it in one write:
 *   HELLO 2|3 [AUTH user password] [SETNAME name], SELECT n, INFO memory (where a policy is to be
 *   compared or set), AUTH (where the lane is another user's), PING (answers -LOADING while the server loads).
 * A server before Redis 6 does not know HELLO: then AUTH, CLIENT SETNAME, SELECT, INFO server, PING
 * on a new connection.  CONFIG SET follows INFO, if the settings ask for it.
 */
#define _GNU_SOURCE
#include "redis.h"

#include <stdio.h>
#include <string.h>

#define WORDS_MAX 8

/* A command into the write buffer. */
int hello_put(struct link *l, unsigned step, unsigned nwords, const char *const *words)
{
	char head[32];
	size_t need = 64;

	for (unsigned i = 0; i < nwords; i++)
		need += strlen(words[i]) + 32;
	if (out_room(&l->out, need))
		return -1;
	out_put(&l->out, head, (size_t)snprintf(head, sizeof(head), "*%u\r\n", nwords));
	for (unsigned i = 0; i < nwords; i++) {
		size_t n = strlen(words[i]);

		out_put(&l->out, head, (size_t)snprintf(head, sizeof(head), "$%zu\r\n", n));
		out_put(&l->out, words[i], n);
		out_put(&l->out, "\r\n", 2);
	}
	l->steps[l->nsteps++] = (uint8_t)step;
	return 0;
}

static int put_modern(struct link *l, const char *user, const char *secret)
{
	const char *words[WORDS_MAX] = { "HELLO", l->version == 3 ? "3" : "2" };
	unsigned n = 2;

	if (secret[0]) {
		words[n++] = "AUTH";
		words[n++] = user[0] ? user : "default";
		words[n++] = secret;
	}
	if (l->x->in->client_name[0]) {
		words[n++] = "SETNAME";
		words[n++] = l->x->in->client_name;
	}
	return hello_put(l, STEP_HELLO, n, words);
}

static int put_legacy(struct link *l, const char *user, const char *secret)
{
	const char *auth[] = { "AUTH", user[0] ? user : secret, secret };
	const char *name[] = { "CLIENT", "SETNAME", l->x->in->client_name };
	const char *info[] = { "INFO", "server" };

	if (secret[0] && hello_put(l, STEP_AUTH, user[0] ? 3 : 2, auth))
		return -1;
	if (name[2][0] && hello_put(l, STEP_NAME, 3, name))
		return -1;
	return hello_put(l, STEP_INFO, 2, info);
}

/* One that nobody knows any more is refused by the server. */
int hello_user(struct link *l, uint32_t cred)
{
	char user[USER_MAX] = "psr-gone", secret[SECRET_MAX] = "-";
	const char *auth[] = { "AUTH", user, secret };
	int rc;

	cred_get(l->x->in, cred, user, secret);
	rc = hello_put(l, STEP_CRED, 3, auth);
	explicit_bzero(secret, sizeof(secret));
	return rc;
}

int hello_begin(struct link *l)
{
	struct instance *in = l->x->in;
	const char *select[] = { "SELECT", NULL }, *memory[] = { "INFO", "memory" }, *ping[] = { "PING" };
	char secret[SECRET_MAX], db[8];
	int rc;

	l->nsteps = l->step = 0;
	l->server[0] = '\0';
	pthread_mutex_lock(&in->lock);
	memcpy(secret, in->secret, sizeof(secret));
	pthread_mutex_unlock(&in->lock);
	rc = atomic_load(&in->legacy) ? put_legacy(l, in->url.user, secret) :
	    put_modern(l, in->url.user, secret);
	explicit_bzero(secret, sizeof(secret));
	if (rc)
		return -1;
	snprintf(db, sizeof(db), "%u", l->lane->db);
	select[1] = db;
	if (l->lane->db && hello_put(l, STEP_SELECT, 2, select))
		return -1;
	if (!l->dedicated && !l->lane->cred && (in->eviction[0] || in->apply) && hello_put(l, STEP_POLICY, 2, memory))
		return -1;
	if (l->lane->cred && hello_user(l, l->lane->cred))
		return -1;
	return hello_put(l, STEP_PING, 1, ping);
}

int hello_again(struct link *l)
{
	l->timer = l->x->h->timer(l->x->x, l->x->in->connect_ns, link_timeout, l);
	if (!l->timer)
		return -1;
	l->nsteps = l->step = 0;
	l->checking = true;
	l->phase = LINK_HELLO;
	return 0;
}

static bool begins(const char *text, size_t n, const char *with)
{
	size_t k = strlen(with);

	return n >= k && memcmp(text, with, k) == 0;
}

/* The server refuses a step of the handshake with text[0..n).  0: it does not matter; -1: gone. */
static int refused(struct link *l, unsigned step, const char *text, size_t n)
{
	struct instance *in = l->x->in;
	/* "unknown command" repeats the arguments, and they may hold the password. */
	const char *args = memmem(text, n, ", with args", 11);
	int len = (int)(args ? args - text : (ptrdiff_t)n);
	uint32_t code = PURSER_E_CONNECT;

	if (step == STEP_HELLO && begins(text, n, "ERR unknown command") && l->version == 2) {
		atomic_store(&in->legacy, true);
		link_shut(l);
		link_open(l);
		return -1;
	}
	if (step == STEP_NAME || (step == STEP_PING && !begins(text, n, "LOADING") &&
	    !begins(text, n, "NOAUTH")))
		return 0;
	if (step == STEP_POLICY || step == STEP_SET) {
		in->h->log(in->i, PURSER_LOG_WARN, "the server at %s does not let us see or set its memory "
		    "settings: %.*s", in->where, len, text);
		return 0;
	}
	if (step == STEP_CRED) {
		link_lost(l, PURSER_E_AUTH, "the server does not take the user that the project's scripts run as");
		return -1;
	}
	if (begins(text, n, "WRONGPASS") || begins(text, n, "ERR invalid password") ||
	    begins(text, n, "NOAUTH") || begins(text, n, "NOPERM") || step == STEP_AUTH)
		code = PURSER_E_AUTH;
	else if (begins(text, n, "NOPROTO") || step == STEP_SELECT ||
	    (step == STEP_HELLO && begins(text, n, "ERR unknown command")))
		code = PURSER_E_UNSUPPORTED;
	if (code == PURSER_E_AUTH)
		atomic_store(&in->secret_stale, true);
	atomic_store(&in->legacy, false); /* the next one may be newer */
	if (begins(text, n, "NOAUTH"))
		link_lost(l, code, "NOAUTH the server wants a password: set password_file");
	else
		link_lost(l, code, "%.*s", len > 100 ? 100 : len, text);
	return -1;
}

/* The value behind a field of a flat or mapped reply of bulks: *len bytes, or NULL. */
static const char *field(const uint8_t *p, size_t n, const char *name, size_t *len)
{
	size_t at = (size_t)((const uint8_t *)memchr(p, '\n', n) - p) + 1;
	bool found = false;

	while (at < n) {
		purser_scan s;
		int64_t v = 0, head = p[at] == '$' ? purser_scan_number(p + at, n - at, &v) : 0, k;

		if (found) {
			*len = v > 0 ? (size_t)v : 0;
			return head > 0 && v >= 0 ? (const char *)p + at + head : NULL;
		}
		found = head > 0 && v == (int64_t)strlen(name) && memcmp(p + at + head, name, (size_t)v) == 0;
		purser_scan_begin(&s);
		k = purser_scan_feed(&s, p + at, n - at);
		if (k <= 0 || !purser_scan_done(&s))
			break;
		at += (size_t)k;
	}
	return NULL;
}

/* The value of "name:" in the text of INFO. */
static const char *info_field(const uint8_t *p, size_t n, const char *name, size_t *len)
{
	const char *at = memmem(p, n, name, strlen(name)), *end;

	if (!at)
		return NULL;
	at += strlen(name);
	end = memchr(at, '\r', (size_t)((const char *)p + n - at));
	if (!end)
		return NULL;
	*len = (size_t)(end - at);
	return at;
}

/* Sentinel and Cluster speak the protocol, but are not what a lane needs.  0, or -1: gone. */
static int check_mode(struct link *l, const char *mode, size_t n)
{
	if (mode && n == 8 && memcmp(mode, "sentinel", 8) == 0) {
		link_lost(l, PURSER_E_UNSUPPORTED, "this is a Sentinel, which holds no data: "
		    "url must name the Redis server itself");
		return -1;
	}
	if (mode && n == 7 && memcmp(mode, "cluster", 7) == 0) {
		link_lost(l, PURSER_E_UNSUPPORTED, "this is a node of a Redis Cluster, which is not "
		    "supported: url must name a standalone server");
		return -1;
	}
	return 0;
}

/* "id" in the answer to HELLO. */
static void keep_id(struct link *l, const uint8_t *p, size_t n)
{
	static const char name[] = "$2\r\nid\r\n";
	const uint8_t *at = memmem(p, n, name, sizeof(name) - 1);
	int64_t v;

	l->id = 0;
	if (!at)
		return;
	at += sizeof(name) - 1;
	if (at < p + n && *at == ':' && purser_scan_number(at, (size_t)(p + n - at), &v) > 0 && v > 0)
		l->id = (uint64_t)v;
}

static void keep_version(struct link *l, const char *version, size_t n)
{
	if (!version || n >= sizeof(l->server))
		return;
	memcpy(l->server, version, n);
	l->server[n] = '\0';
}

/* INFO memory: compare the eviction policy; CONFIG SET where asked to.  0, or -1: gone. */
static int check_policy(struct link *l, const uint8_t *p, size_t n)
{
	struct instance *in = l->x->in;
	const char *policy, *max;
	size_t plen = 0, mlen = 0;
	int64_t limit = in->max_memory;
	char bytes[24];

	policy = info_field(p, n, "\nmaxmemory_policy:", &plen);
	max = info_field(p, n, "\nmaxmemory:", &mlen);
	if (in->eviction[0] && policy)
		instance_tell_policy(in, policy, plen);
	if (!in->apply)
		return 0;
	if (in->eviction[0] && !(policy && plen == strlen(in->eviction) &&
	    memcmp(policy, in->eviction, plen) == 0)) {
		const char *words[] = { "CONFIG", "SET", "maxmemory-policy", in->eviction };

		if (l->nsteps + 2 > STEPS_MAX || hello_put(l, STEP_SET, 4, words))
			return 0;
	}
	snprintf(bytes, sizeof(bytes), "%lld", (long long)limit);
	if (limit > 0 && !(max && mlen == strlen(bytes) && memcmp(max, bytes, mlen) == 0)) {
		const char *words[] = { "CONFIG", "SET", "maxmemory", bytes };

		if (l->nsteps + 1 > STEPS_MAX || hello_put(l, STEP_SET, 4, words))
			return 0;
	}
	return link_flush(l);
}

static int accepted(struct link *l, unsigned step, const uint8_t *p, size_t n)
{
	const char *mode, *version;
	size_t mlen = 0, vlen = 0;

	switch (step) {
	case STEP_HELLO:
		mode = field(p, n, "mode", &mlen);
		version = field(p, n, "version", &vlen);
		keep_id(l, p, n);
		break;
	case STEP_INFO:
		mode = info_field(p, n, "\nredis_mode:", &mlen);
		version = info_field(p, n, "\nredis_version:", &vlen);
		break;
	case STEP_POLICY:
		return check_policy(l, p, n);
	case STEP_SET:
		l->x->h->log(l->x->in->i, PURSER_LOG_INFO, "memory settings applied to the server at %s",
		    l->x->in->where);
		return 0;
	default:
		return 0;
	}
	keep_version(l, version, vlen);
	return check_mode(l, mode, mlen);
}

/* Does a Redis server answer this step with a value of this type? */
static bool proper(unsigned step, uint8_t type)
{
	switch (step) {
	case STEP_HELLO:
		return type == '*' || type == '%';
	case STEP_INFO: case STEP_POLICY:
		return type == '$' || type == '=';
	default:
		return type == '+';
	}
}

int hello_reply(struct link *l, const uint8_t *p, size_t n)
{
	unsigned step;

	if (l->step >= l->nsteps) {
		link_lost(l, PURSER_E_PROTOCOL, "it answers more than the handshake asked");
		return -1;
	}
	step = l->steps[l->step++];
	if (step == STEP_UNBLOCK) {
		unblock_answered(l, l->step - 1u, p, n);
	} else if (p[0] == '-') {
		if (refused(l, step, (const char *)p + 1, n - 3) < 0)
			return -1;
	} else if (!proper(step, p[0])) {
		link_lost(l, PURSER_E_PROTOCOL, "this is no Redis server: it answers the handshake with "
		    "something else than Redis does");
		return -1;
	} else if (accepted(l, step, p, n) < 0) {
		return -1;
	}
	if (l->step == l->nsteps)
		link_up(l);
	return 0;
}
