/* SPDX-License-Identifier: Apache-2.0
 *
 * PURSER.TRACE traceparent [tracestate] [CARRY] command [argument ...]: any client gives the context of its trace, and
 * the reply is the command's.  In: a request that was looked up as PURSER.TRACE.  Out: the same request with the words
 * of the command alone, and a parent: from here on nothing knows that it was wrapped.  As HTTP's headers a traceparent
 * that is none is no error: then a trace begins here.
 *
 * CARRY: a message takes the context along, that of the span of this very request where there is one.  XADD gets the
 * fields traceparent and tracestate, PUBLISH and SPUBLISH lines in front of the payload (docs/streams.md).
 */
#include <config.h>
#include <string.h>
#include "request_stage.h"
#include "request_trace.h"

static const char usage[] = "ERR syntax error: PURSER.TRACE traceparent [tracestate] [CARRY] command [argument ...]";

/* Of a traceparent that is not valid the tracestate is nothing, too. */
static struct trace_parent *parent_of(struct request *r, purser_bytes tp, purser_bytes ts)
{
	struct trace_parent *p = arena_get(&r->arena, sizeof *p);
	char *state = arena_get(&r->arena, TRACE_STATE_MAX);

	if (!p || !state)
		return NULL;
	memset(p, 0, sizeof *p);
	if (trace_parent_parse((const char *)tp.p, tp.n, p))
		p->valid = false;
	if (p->valid && ts.n) {
		p->state.p = (const uint8_t *)state;
		p->state.n = trace_state_parse(&ts, 1, state);
	}
	return p;
}

/* No command has such a name. */
static bool is_state(purser_bytes w)
{
	return !w.n || memchr(w.p, '=', w.n);
}

enum stage_result trace_unwrap(struct request *r, bool *carry)
{
	purser_bytes tp = r->argv[1], ts = { NULL, 0 };
	uint32_t skip = 2;
	struct trace_parent *p;

	*carry = false;
	if (is_state(r->argv[skip]))
		ts = r->argv[skip++];
	if (skip < r->argc && cmd_word_is(r->argv[skip], "CARRY")) {
		*carry = true;
		skip++;
	}
	if (skip >= r->argc)
		return req_refuse_as_redis(r, usage);
	if (cmd_word_is(r->argv[skip], "PURSER.TRACE"))
		return req_refuse(r, ERR_BADREQUEST, "PURSER.TRACE inside of PURSER.TRACE: a command has one parent");
	p = parent_of(r, tp, ts);
	if (!p)
		return req_refuse(r, ERR_OOM, NULL);
	r->parent = p->valid ? p : NULL;
	trace_begin(r->cl->w->trace, r->parent, &r->trace);
	r->argv += skip;
	r->argc -= skip;
	r->b.wire = NULL; /* these are other words */
	return STAGE_NEXT;
}

/* ---- CARRY ---- */

/* What travels: this request's own span if it can have one, else the caller's. */
static void context_of(struct request *r, char tp[TRACE_PARENT_LEN + 1])
{
	struct trace *t = r->cl->w->trace;

	if (r->parent && !atomic_load_explicit(&t->policy->on, memory_order_relaxed)) {
		trace_parent_format(tp, r->parent->trace_id, r->parent->span_id, r->parent->flags);
		return;
	}
	trace_ids(t, &r->trace);
	trace_parent_format(tp, r->trace.trace_id, r->trace.span_id, r->trace.flags);
}

static purser_bytes literal(const char *s) { return (purser_bytes){ (const uint8_t *)s, strlen(s) }; }

static bool carry_fields(struct request *r, purser_bytes tp, purser_bytes state)
{
	purser_bytes *v = arena_get(&r->arena, (r->argc + 4 + ISOLATE_EXTRA) * sizeof *v);
	uint32_t n = r->argc;

	if (!v)
		return false;
	memcpy(v, r->argv, n * sizeof *v);
	v[n++] = literal("traceparent");
	v[n++] = tp;
	if (state.n) {
		v[n++] = literal("tracestate");
		v[n++] = state;
	}
	r->argv = v;
	r->argc = n;
	return true;
}

static uint8_t *append(uint8_t *to, purser_bytes w)
{
	return w.n ? (uint8_t *)memcpy(to, w.p, w.n) + w.n : to;
}

static bool carry_lines(struct request *r, purser_bytes tp, purser_bytes state)
{
	const purser_bytes part[] = { literal("traceparent: "), tp, literal(state.n ? "\r\ntracestate: " : ""), state,
		literal("\r\n\r\n"), r->argv[2] };
	purser_bytes *v = arena_get(&r->arena, (3 + ISOLATE_EXTRA) * sizeof *v);
	size_t n = 0;
	uint8_t *d, *at;

	for (unsigned i = 0; i < sizeof part / sizeof *part; i++)
		n += part[i].n;
	d = at = arena_get(&r->arena, n);
	if (!v || !d)
		return false;
	for (unsigned i = 0; i < sizeof part / sizeof *part; i++)
		at = append(at, part[i]);
	memcpy(v, r->argv, 3 * sizeof *v);
	v[2] = (purser_bytes){ d, n };
	r->argv = v;
	return true;
}

enum stage_result trace_carry(struct request *r)
{
	purser_bytes state = { NULL, 0 }, tp;
	char *text = arena_get(&r->arena, TRACE_PARENT_LEN + 1);
	bool ok;

	if (r->cmd->id != CMD_XADD && r->cmd->id != CMD_PUBLISH && r->cmd->id != CMD_SPUBLISH)
		return req_refuse(r, ERR_BADREQUEST, "CARRY is for messages: XADD, PUBLISH and SPUBLISH");
	if (!text)
		return req_refuse(r, ERR_OOM, NULL);
	context_of(r, text);
	tp = (purser_bytes){ (const uint8_t *)text, TRACE_PARENT_LEN };
	if (r->parent)
		state = r->parent->state;
	ok = r->cmd->id == CMD_XADD ? carry_fields(r, tp, state) : carry_lines(r, tp, state);
	return ok ? STAGE_NEXT : req_refuse(r, ERR_OOM, NULL);
}
