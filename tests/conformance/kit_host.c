/* SPDX-License-Identifier: Apache-2.0
 *
 * kit: the host table.  Each function first looks whether the plugin may call it here and now, and
 * then does what a host does.
 */
#include <config.h>
#include "kit_host.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- may it? --------------------------------------------------------------------------------- */

/* The record of a call that the plugin holds, or NULL and a finding. */
static struct kcall *held(purser_call *c, const char *fn)
{
	struct kcall *k = arena_owner(c, ARENA_CALL);

	if (!k)
		kit_blame(2, "%s() of something that is no call", fn);
	else if (k->state == CALL_ENDED)
		kit_blame(2, "%s() of call #%u (%s) after its end", fn, k->id, k->name);
	else if (k->c != c || k->state == CALL_QUEUED)
		kit_blame(2, "%s() of call #%u (%s), which submit() did not take", fn, k->id,
			k->name);
	else if (mine(k->x, fn))
		return k;
	return NULL;
}

/* ---- arguments ------------------------------------------------------------------------------- */

static size_t host_encode(purser_call *c, void *dst, size_t cap, int *more)
{
	struct kcall *k = held(c, "encode");
	size_t n;

	*more = PURSER_ENCODE_DONE;
	if (!k)
		return 0;
	if (kit.pl->p.args != PURSER_ARGS_WIRE && !(k->flags & PURSER_CALL_STREAMED))
		kit_blame(7, "encode() by a plugin that declares ARGS_ARGV");
	if (k->encoded) {
		kit_blame(7, "encode() of call #%u (%s) after it had said DONE, without rewind()",
			k->id, k->name);
		return 0;
	}
	n = buf_len(&k->wire) < k->wire_stop ? buf_len(&k->wire) : k->wire_stop;
	n -= k->wire_at;
	if (n > cap)
		n = cap;
	memcpy(dst, buf_data(&k->wire) + k->wire_at, n);
	k->wire_at += n;
	if (k->wire_at == buf_len(&k->wire))
		k->encoded = true;
	else
		*more = k->wire_at == k->wire_stop ? PURSER_ENCODE_WAIT : PURSER_ENCODE_FULL;
	return n;
}

static int host_rewind(purser_call *c)
{
	struct kcall *k = held(c, "rewind");

	if (!k || (k->flags & PURSER_CALL_STREAMED && k->wire_at))
		return -1;
	k->wire_at = 0;
	k->encoded = k->sent = false;
	return 0;
}

/* ---- replies --------------------------------------------------------------------------------- */

static void bad_reply(const struct kcall *k, const char *why)
{
	if (why)
		kit_blame(8, "call #%u (%s): %s", k->id, k->name, why);
}

static bool may_reply(const struct kcall *k, const char *fn)
{
	if (k->nparts && kit.pl->p.args == PURSER_ARGS_ARGV && strcmp(fn, "null") != 0 &&
	    strcmp(fn, "error") != 0) {
		kit_blame(16, "%s() on a batch itself: its parts are answered", fn);
		return false;
	}
	return true;
}

static int64_t give_raw(struct kcall *k, const void *p, size_t n)
{
	if (k->stopped)
		k->after_stop += n;
	bad_reply(k, reply_raw_bytes(&k->reply, k->resp, p, n));
	if (k->credit == INT64_MAX)
		return INT64_MAX;
	k->credit -= (int64_t)n;
	if (k->credit <= 0)
		k->stopped = true;
	return k->credit;
}

static int64_t host_raw(purser_call *c, const void *p, size_t n)
{
	struct kcall *k = held(c, "raw");

	return k && may_reply(k, "raw") ? give_raw(k, p, n) : INT64_MAX;
}

static uint8_t *host_reserve(purser_call *c, size_t n)
{
	struct kcall *k = held(c, "reserve");

	if (!k || !may_reply(k, "reserve"))
		return NULL;
	free(k->room);
	k->room = malloc(n ? n : 1);
	k->room_n = n;
	return k->room;
}

static void host_commit(purser_call *c, size_t n)
{
	struct kcall *k = held(c, "commit");

	if (!k)
		return;
	if (!k->room || n > k->room_n) {
		kit_blame(8, "commit(%zu) of %zu reserved bytes", n, k->room ? k->room_n : 0);
		return;
	}
	give_raw(k, k->room, n);
	free(k->room);
	k->room = NULL;
}

static int64_t host_raw_ref(purser_call *c, const void *p, size_t n, purser_fn release, void *arg)
{
	struct kcall *k = held(c, "raw_ref");
	struct kit_ref *ref;

	if (!k || !may_reply(k, "raw_ref"))
		return INT64_MAX;
	ref = calloc(1, sizeof(*ref));
	*ref = (struct kit_ref){ k->refs, k, p, buf_len(&k->reply.bytes), n, release, arg };
	k->refs = ref;
	return give_raw(k, p, n);
}

static void give_typed(purser_call *c, const char *fn, uint64_t more, const void *head, size_t n)
{
	struct kcall *k = held(c, fn);

	if (k && may_reply(k, fn))
		bad_reply(k, reply_typed(&k->reply, more, head, n));
}

static void __attribute__((format(printf, 4, 5)))
give_head(purser_call *c, const char *fn, uint64_t more, const char *fmt, ...)
{
	char head[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(head, sizeof(head), fmt, ap);
	va_end(ap);
	give_typed(c, fn, more, head, (size_t)n);
}

/* Does the caller speak RESP3? */
static bool resp3(purser_call *c)
{
	struct kcall *k = arena_owner(c, ARENA_CALL);

	return k && k->resp == 3;
}

static void host_status(purser_call *c, const char *word)
{
	if (!word || strlen(word) > 500 || strpbrk(word, "\r\n"))
		kit_blame(8, "status() with a NULL, a line end or more than 500 bytes");
	else
		give_head(c, "status", 0, "+%s\r\n", word);
}

static void host_integer(purser_call *c, int64_t v)
{
	give_head(c, "integer", 0, ":%" PRId64 "\r\n", v);
}

static void host_bulk(purser_call *c, const void *p, size_t n)
{
	struct buf b = { 0 };

	buf_printf(&b, "$%zu\r\n", n);
	buf_put(&b, p, n);
	buf_puts(&b, "\r\n");
	give_typed(c, "bulk", 0, buf_data(&b), buf_len(&b));
	buf_free(&b);
}

static void host_null(purser_call *c)
{
	give_head(c, "null", 0, "%s", resp3(c) ? "_\r\n" : "$-1\r\n");
}

static void host_number(purser_call *c, double v)
{
	char text[64];

	snprintf(text, sizeof(text), "%.17g", v);
	if (resp3(c))
		give_head(c, "number", 0, ",%s\r\n", text);
	else
		give_head(c, "number", 0, "$%zu\r\n%s\r\n", strlen(text), text);
}

static void host_boolean(purser_call *c, int v)
{
	give_head(c, "boolean", 0, resp3(c) ? "#%c\r\n" : ":%c\r\n",
		resp3(c) ? "ft"[v != 0] : "01"[v != 0]);
}

static void host_array(purser_call *c, size_t n)
{
	give_head(c, "array", n, "*%zu\r\n", n);
}

static void host_map(purser_call *c, size_t pairs)
{
	give_head(c, "map", 2 * (uint64_t)pairs, resp3(c) ? "%%%zu\r\n" : "*%zu\r\n",
	    resp3(c) ? pairs : 2 * pairs);
}

static void host_set(purser_call *c, size_t n)
{
	give_head(c, "set", n, "%c%zu\r\n", resp3(c) ? '~' : '*', n);
}

static void host_error(purser_call *c, const char *text, size_t n)
{
	struct kcall *k = held(c, "error");

	if (!k)
		return;
	if (k->reply.form != FORM_NONE)
		bad_reply(k, "error() after a part of a reply");
	else if (n == 0 || text[0] == '-' || memchr(text, '\r', n) || memchr(text, '\n', n))
		bad_reply(k, "error() with a text that is empty, begins with '-' or has a line end "
			     "in it");
	buf_clear(&k->reply.bytes);
	buf_put(&k->reply.bytes, text, n);
	k->reply.form = FORM_ERROR;
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void host_sent(purser_call *c)
{
	struct kcall *k = held(c, "sent");

	if (!k)
		return;
	if (k->sent)
		kit_blame(9, "sent() twice of call #%u (%s)", k->id, k->name);
	if (!k->encoded)
		kit_blame(9, "sent() of call #%u (%s) before its last byte was encoded", k->id,
			k->name);
	k->sent = true;
}

static void host_via(purser_call *c, uint32_t endpoint)
{
	struct kcall *k = held(c, "via");

	if (k && (endpoint == 0 || endpoint > k->x->inst->nendpoints))
		kit_blame(0, "via() with endpoint %u, which endpoint() never gave", endpoint);
}

/* The plugin must not have written to what it was given. */
static void check_untouched(const struct kcall *k)
{
	purser_call now = *k->c;

	now.link = k->seen.link;
	memcpy(now.user, k->seen.user, sizeof(now.user));
	now.nulls = k->seen.nulls;
	if (kit.pl->p.caps & PURSER_CAP_TELLS_NULLS && k->reply.form == FORM_RAW && k->reply.complete &&
	    k->c->nulls != k->reply.nulls)
		kit_blame(8, "call #%u (%s) says %u nulls, its reply has %u", k->id, k->name, k->c->nulls, k->reply.nulls);
	if (memcmp(&now, &k->seen, sizeof(now)) != 0)
		kit_blame(7, "call #%u (%s) was changed beside link, user and nulls", k->id, k->name);
	for (uint32_t i = 0; k->c->argv && i < k->argc; i++)
		if (k->c->argv[i].n != k->argv[i].n ||
		    memcmp(k->c->argv[i].p, k->argv[i].p, k->argv[i].n) != 0)
			kit_blame(7, "argument %u of call #%u (%s) was changed", i, k->id, k->name);
	if (k->x->inst->tail && memcmp(k->c + 1, "ABCDEFGHIJKLMNOP", 16) != 0)
		kit_blame(19, "bytes behind the call's known fields were changed");
}

static void check_order(const struct kcall *k)
{
	for (const struct kcall *o = k->s->first; o && o != k; o = o->snext)
		if (o->route == k->route && !o->batch)
			kit_blame(10, "call #%u (%s) ended before #%u (%s) of the same session",
				k->id, k->name, o->id, o->name);
}

static void session_unlink(struct kcall *k)
{
	if (k->sprev)
		k->sprev->snext = k->snext;
	else
		k->s->first = k->snext;
	if (k->snext)
		k->snext->sprev = k->sprev;
	else
		k->s->last = k->sprev;
	k->s->pending--;
}

/* The call is over: everything of it that the plugin knows goes away, here and now. */
static void let_go(struct kcall *k)
{
	struct purser_ctx *x = k->x;
	struct kit_ref *ref;

	check_untouched(k);
	while ((ref = k->refs)) {
		k->refs = ref->next;
		ref->next = x->refs;
		x->refs = ref;
	}
	free(k->room);
	k->room = NULL;
	k->state = CALL_ENDED;
	arena_retire(k->c);
	k->c = NULL;
	for (uint32_t i = 0; i < k->nparts; i++)
		if (k->parts[i]->state != CALL_ENDED)
			let_go(k->parts[i]);
	if (k->batch)
		return;
	check_order(k);
	session_unlink(k);
	k->ended_as = ++x->ended;
	if (k->on_end)
		k->on_end(k);
}

static void host_end(purser_call *c)
{
	struct kcall *k = held(c, "end");

	if (!k)
		return;
	if (k->nparts && kit.pl->p.args == PURSER_ARGS_ARGV && k->reply.form == FORM_NONE) {
		for (uint32_t i = 0; i < k->nparts; i++)
			if (k->parts[i]->state != CALL_ENDED)
				kit_blame(16, "the batch ended before its part %u (%s)", i + 1,
					k->parts[i]->name);
	} else {
		bad_reply(k, reply_finish(&k->reply, k->resp));
	}
	let_go(k);
}

static void host_fail(purser_call *c, uint32_t code, uint32_t executed, const char *text)
{
	struct kcall *k = held(c, "fail");
	bool wire = kit.pl->p.args == PURSER_ARGS_WIRE;

	if (!k)
		return;
	if (code < PURSER_E_CONNECT || code > PURSER_E_INTERNAL)
		kit_blame(9, "fail() with the unknown code %u", code);
	if (executed < PURSER_NOT_EXECUTED || executed > PURSER_EXECUTED)
		kit_blame(9, "fail() with executed = %u", executed);
	if (executed == PURSER_NOT_EXECUTED && k->sent)
		kit_blame(9, "call #%u (%s) failed as NOT executed after sent()", k->id, k->name);
	if (executed != PURSER_EXECUTED && k->reply.form != FORM_NONE)
		kit_blame(9,
			"call #%u (%s) failed as not or maybe executed after a part of the reply",
			k->id, k->name);
	if (executed != PURSER_NOT_EXECUTED && wire && !k->encoded)
		kit_blame(9,
			"call #%u (%s) failed as executed, but its last byte was never encoded",
			k->id, k->name);
	else if (executed != PURSER_NOT_EXECUTED && wire && !k->sent)
		kit_blame(9, "call #%u (%s) failed as executed, but sent() never came", k->id,
			k->name);
	if (code == PURSER_E_CANCELLED && !k->cancelled && k->x->state == CTX_OPEN)
		kit_blame(15, "call #%u (%s) failed as cancelled, but nobody cancelled it", k->id,
			k->name);
	k->failed = true;
	k->code = code;
	k->executed = executed;
	snprintf(k->why, sizeof(k->why), "%s", text ? text : "");
	let_go(k);
}

const purser_host kit_host = {
	.struct_size = sizeof(purser_host),
	.api = PURSER_API,
	.encode = host_encode,
	.rewind = host_rewind,
	.raw = host_raw,
	.reserve = host_reserve,
	.commit = host_commit,
	.raw_ref = host_raw_ref,
	.status = host_status,
	.integer = host_integer,
	.bulk = host_bulk,
	.null = host_null,
	.number = host_number,
	.boolean = host_boolean,
	.array = host_array,
	.map = host_map,
	.set = host_set,
	.error = host_error,
	.sent = host_sent,
	.via = host_via,
	.end = host_end,
	.fail = host_fail,
	.ready = host_ready,
	.slot = host_slot,
	.now = host_now,
	.wall_ms = host_wall_ms,
	.watch = host_watch,
	.timer = host_timer,
	.untimer = host_untimer,
	.post = host_post,
	.offload = host_offload,
	.busy = host_busy,
	.publish = host_publish,
	.message = host_message,
	.subscribed = host_subscribed,
	.subscription_lost = host_subscription_lost,
	.invalidated = host_invalidated,
	.text = host_text,
	.value = host_value,
	.endpoint = host_endpoint,
	.link_state = host_link_state,
	.count = host_count,
	.log = host_log,
	.name = host_name,
};
