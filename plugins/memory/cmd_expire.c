/* SPDX-License-Identifier: Apache-2.0
 *
 * EXPIRE and its kin, TTL and its kin, PERSIST.
 */
#include <limits.h>
#include "cmd.h"

enum { EXPIRE_NX = 1, EXPIRE_XX = 2, EXPIRE_GT = 4, EXPIRE_LT = 8 };

static int expire_options(struct ctx *cx, purser_call *c, unsigned *flags)
{
	uint32_t i;

	*flags = 0;
	for (i = 3; i < c->argc; i++) {
		if (arg_is(c->argv[i], "nx")) {
			*flags |= EXPIRE_NX;
		} else if (arg_is(c->argv[i], "xx")) {
			*flags |= EXPIRE_XX;
		} else if (arg_is(c->argv[i], "gt")) {
			*flags |= EXPIRE_GT;
		} else if (arg_is(c->argv[i], "lt")) {
			*flags |= EXPIRE_LT;
		} else {
			reply_errorf(cx, c, "ERR Unsupported option %.*s", (int)c->argv[i].n,
			    (const char *)c->argv[i].p);
			return -1;
		}
	}
	if (*flags & EXPIRE_NX && *flags & ~EXPIRE_NX) {
		reply_error(cx, c,
		    "ERR NX and XX, GT or LT options at the same time are not compatible");
		return -1;
	}
	if (*flags & EXPIRE_GT && *flags & EXPIRE_LT) {
		reply_error(cx, c, "ERR GT and LT options at the same time are not compatible");
		return -1;
	}
	return 0;
}

/* Do the options let `when` take the place of the expiry that the key has (-1: none)? */
static int expire_allowed(unsigned flags, int64_t has, int64_t when)
{
	if (flags & EXPIRE_NX && has != -1)
		return 0;
	if (flags & EXPIRE_XX && has == -1)
		return 0;
	if (flags & EXPIRE_GT && (has == -1 || when <= has))
		return 0;
	if (flags & EXPIRE_LT && has != -1 && when >= has)
		return 0;
	return 1;
}

static void expire_generic(struct ctx *cx, purser_call *c, int seconds, int relative)
{
	int64_t when, base = relative ? (int64_t)now_ms(cx) : 0;
	unsigned flags;
	struct pos p;

	if (expire_options(cx, c, &flags) || arg_int(cx, c, 2, &when))
		return;
	if (seconds && (when > INT64_MAX / 1000 || when < INT64_MIN / 1000)) {
		reply_bad_expiry(cx, c);
		return;
	}
	when *= seconds ? 1000 : 1;
	if (when > INT64_MAX - base) {
		reply_bad_expiry(cx, c);
		return;
	}
	when += base;
	if (!arg_find(cx, c, 1, 0, &p, 0) ||
	    !expire_allowed(flags, item_has_ttl(p.it) ? item_expiry(p.it) : -1, when)) {
		reply_int(cx, c, 0);
	} else if (when <= (int64_t)now_ms(cx)) {
		key_delete(cx, &p);
		arg_gone(cx, c, 1);
		reply_int(cx, c, 1);
	} else if (key_expire_at(cx, &p, when)) {
		reply_nomem(cx, c);
	} else {
		arg_event(cx, c, 1, EVENT_GENERIC, "expire");
		reply_int(cx, c, 1);
	}
}

void op_expire(struct ctx *cx, purser_call *c) { expire_generic(cx, c, 1, 1); }
void op_pexpire(struct ctx *cx, purser_call *c) { expire_generic(cx, c, 0, 1); }
void op_expireat(struct ctx *cx, purser_call *c) { expire_generic(cx, c, 1, 0); }
void op_pexpireat(struct ctx *cx, purser_call *c) { expire_generic(cx, c, 0, 0); }

static void ttl_generic(struct ctx *cx, purser_call *c, int seconds, int relative)
{
	struct pos p;
	int64_t v;

	if (!arg_find(cx, c, 1, 0, &p, FIND_READ | FIND_NOTOUCH)) {
		reply_int(cx, c, -2);
		return;
	}
	if (!item_has_ttl(p.it)) {
		reply_int(cx, c, -1);
		return;
	}
	v = item_expiry(p.it) - (relative ? (int64_t)now_ms(cx) : 0);
	if (v < 0)
		v = 0;
	reply_int(cx, c, seconds ? (int64_t)(((uint64_t)v + 500) / 1000) : v);
}

void op_ttl(struct ctx *cx, purser_call *c) { ttl_generic(cx, c, 1, 1); }
void op_pttl(struct ctx *cx, purser_call *c) { ttl_generic(cx, c, 0, 1); }
void op_expiretime(struct ctx *cx, purser_call *c) { ttl_generic(cx, c, 1, 0); }
void op_pexpiretime(struct ctx *cx, purser_call *c) { ttl_generic(cx, c, 0, 0); }

void op_persist(struct ctx *cx, purser_call *c)
{
	struct pos p;

	if (!arg_find(cx, c, 1, 0, &p, 0) || !item_has_ttl(p.it)) {
		reply_int(cx, c, 0);
	} else if (key_persist(cx, &p)) {
		reply_nomem(cx, c);
	} else {
		arg_event(cx, c, 1, EVENT_GENERIC, "persist");
		reply_int(cx, c, 1);
	}
}
