/* SPDX-License-Identifier: Apache-2.0
 *
 * The example's store behind a plugin that ends its calls in every way there is, good and bad: the
 * setting `how` says which.  The first five are allowed and must pass; each of the others breaks
 * one rule and must be named.
 */
#define _GNU_SOURCE /* for the example */
#include <purser/plugin.h>
#undef PURSER_PLUGIN
#define PURSER_PLUGIN(p) typedef int purser_plugin_end_
#include "../../../plugins/example/example.c"

enum how { INLINE, LATER, TIMER, FLUSH, MIXED,
	/* end late, or never */
	CANCELLED, NEVER, BACKWARDS, DONE_EARLY,
	/* end wrongly */
	TWICE, TOUCH, THREAD, PENDING_LATE, AGAIN_LATE, WRITES_ARGS,
	/* reply wrongly */
	NO_REPLY, MORE, FEWER, RAW_ERROR, RAW_RESP3, RAW_REST, ERROR_LATE, BAD_FAIL,
	/* other things */
	NO_READY, LATE_TEXT, LATE_POST, LEFT_TIMER, LEFT_LINK };
#define HOWS                                                                                       \
	"inline|later|timer|flush|mixed|cancelled|never|backwards|done_early|twice|touch|thread|"  \
	"pending_late|again_late|writes_args|no_reply|more|fewer|raw_error|raw_resp3|raw_rest|"    \
	"error_late|"                                                                              \
	"bad_fail|no_ready|late_text|late_post|left_timer|left_link"

struct ctx {
	struct store *s;
	purser_ctx *x;
	purser_call *head, *tail; /* answered, not ended yet */
	purser_job job;
	int woken;                /* end_all is on its way */
	uint64_t timer;
	unsigned n;
};

static const purser_host *host; /* the real table; the example gets a copy with queue_end() in it */
static purser_host copy;
static purser_instance *instance;
static enum how how;
static purser_ctx *_Atomic closed;

/* In place of the host's end(): the reply is given, the end comes when how says so. */
static void queue_end(purser_call *c)
{
	struct ctx *cx = c->user[0];

	c->link = NULL;
	if (how == BACKWARDS) {
		c->link = cx->head;
		cx->head = c;
	} else if (cx->head) {
		cx->tail->link = c;
	} else {
		cx->head = c;
	}
	cx->tail = c; /* not used backwards */
}

static purser_call *take_first(struct ctx *cx)
{
	purser_call *c = cx->head;

	cx->head = c->link;
	return c;
}

static void end_all(void *arg)
{
	struct ctx *cx = arg;

	cx->woken = 0;
	while (cx->head)
		host->end(take_first(cx));
}

static void wake(struct ctx *cx)
{
	unsigned way = how == MIXED ? cx->n++ % 3 : how == LATER ? 0 : how == TIMER ? 1 : 2;

	if (cx->woken || way == 2)
		return;
	cx->woken = 1;
	if (way == 0)
		host->post(cx->x, &cx->job);
	else
		cx->timer = host->timer(cx->x, 100000, end_all, cx);
}

static void *end_elsewhere(void *arg)
{
	host->end(arg);
	return NULL;
}

static int end_wrongly(struct ctx *cx, purser_call *c)
{
	pthread_t thread;

	if (how == WRITES_ARGS)
		*(uint8_t *)(uintptr_t)c->argv[0].p ^= 0x20;
	if (how == THREAD) {
		pthread_create(&thread, NULL, end_elsewhere, c);
		pthread_join(thread, NULL);
	}
	host->end(c);
	if (how == TWICE)
		host->end(c);
	if (how == TOUCH)
		cx->n += c->op;
	return how == PENDING_LATE ? PURSER_PENDING
	       : how == AGAIN_LATE ? PURSER_AGAIN
				   : PURSER_DONE;
}

static int reply_wrongly(purser_call *c)
{
	switch (how) {
	case MORE:
	case FEWER:
		host->array(c, 2);
		for (int i = 0; i < (how == MORE ? 3 : 1); i++)
			host->null(c);
		break;
	case RAW_ERROR:
		host->raw(c, "-ERR no\r\n", 9);
		break;
	case RAW_RESP3:
		host->raw(c, "_\r\n", 3);
		break;
	case RAW_REST:
		host->raw(c, "+OK\r\n+", 6);
		break;
	case ERROR_LATE:
		host->raw(c, "$2\r\n", 4);
		host->error(c, "ERR changed my mind", 19);
		break;
	case BAD_FAIL:
		host->raw(c, "$2\r\n", 4);
		host->fail(c, PURSER_E_IO, PURSER_NOT_EXECUTED, "it began, and was never begun");
		return PURSER_DONE;
	default: /* NO_REPLY */
		break;
	}
	host->end(c);
	return PURSER_DONE;
}

static int hostile_submit(void *cs, purser_call *c)
{
	struct ctx *cx = cs;
	int rc;

	if (how == NO_READY)
		return PURSER_AGAIN;
	if (how == LATE_TEXT)
		host->text(instance, "how");
	if (how >= NO_REPLY && how <= BAD_FAIL)
		return reply_wrongly(c);
	c->user[0] = cx;
	rc = submit(cx->s, c); /* the example's */
	if (how == DONE_EARLY)
		return rc;
	if (how >= LATER && how <= BACKWARDS) {
		if (how <= MIXED)
			wake(cx);
		return PURSER_PENDING;
	}
	return end_wrongly(cx, take_first(cx));
}

static void hostile_flush(void *cs)
{
	struct ctx *cx = cs;

	if (how == FLUSH || how == MIXED || how == BACKWARDS)
		while (cx->head)
			host->end(take_first(cx));
}

static void hostile_cancel(void *cs, purser_call *c, int why)
{
	(void)c;
	(void)why;
	if (how == CANCELLED)
		end_all(cs);
}

static void hostile_drain(void *cs)
{
	if (how != NEVER && how != CANCELLED && !((struct ctx *)cs)->woken)
		end_all(cs);
}

static void nothing(void *arg)
{
	(void)arg;
}

static int hostile_open(void *state, purser_ctx *x, void **cs, purser_error *e)
{
	struct ctx *cx = calloc(1, sizeof(*cx));

	(void)e;
	cx->s = state;
	cx->x = x;
	cx->job = (purser_job){ NULL, end_all, cx };
	*cs = cx;
	if (how == LEFT_TIMER)
		host->timer(x, UINT64_C(3600000000000), nothing, NULL);
	if (how == LEFT_LINK)
		host->link_state(x, host->endpoint(instance, "/nowhere", 0, "unix"),
			PURSER_LINK_NONE, PURSER_LINK_IDLE);
	return 0;
}

static void hostile_close(void *cs)
{
	struct ctx *cx = cs;

	closed = cx->x;
	host->untimer(cx->x, cx->timer);
	free(cx);
}

static int hostile_start(const purser_host *h, purser_instance *i, void **state, purser_error *e)
{
	host = h;
	instance = i;
	how = (enum how)h->value(i, "how");
	copy = *h;
	copy.end = queue_end;
	return start(&copy, i, state, e);
}

static void hostile_stop(void *state)
{
	static purser_job late;

	late.fn = nothing;
	if (how == LATE_POST)
		host->post(closed, &late);
	stop(state);
}

static const purser_key hostile_keys[] = {
	{ .name = "max_keys",
		.type = PURSER_KEY_INT,
		.def = "100000",
		.doc = "How many keys it holds." },
	{ .name = "how",
		.type = PURSER_KEY_ENUM,
		.def = "inline",
		.choices = HOWS,
		.doc = "How calls are ended." },
};
static purser_plugin hostile;

PURSER_EXPORT const purser_plugin *purser_plugin_init(void);
PURSER_EXPORT const purser_plugin *purser_plugin_init(void)
{
	hostile = plugin;
	hostile.name = "hostile";
	hostile.caps &= ~PURSER_CAP_ENDS_INSIDE;
	hostile.keys = hostile_keys;
	hostile.nkeys = 2;
	hostile.start = hostile_start;
	hostile.open = hostile_open;
	hostile.submit = hostile_submit;
	hostile.flush = hostile_flush;
	hostile.cancel = hostile_cancel;
	hostile.drain = hostile_drain;
	hostile.close = hostile_close;
	hostile.stop = hostile_stop;
	return &hostile;
}
