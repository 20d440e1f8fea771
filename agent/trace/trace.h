/* SPDX-License-Identifier: Apache-2.0
 *
 * trace: which requests become spans, their ids, and the ring that takes finished spans to the
 * exporter thread.  One `struct trace` for each worker, one `struct trace_policy` for all.
 *
 *   trace_begin(t, parent, &ctx);                     when a request is read: decides, 1-2 ns
 *   ...
 *   if (trace_keep(t, &ctx, now, end - start, err)) { when it is answered
 *           struct span *s = trace_reserve(t);
 *           if (s) { fill it in; trace_commit(t); }
 *   }
 *
 * Sampling is parent-based: a parent's decision is followed; requests without one are sampled by
 * ratio, by the rule of OpenTelemetry's probability sampler (the low 56 bits of the trace id are
 * compared with a threshold, so that everybody who knows the id decides alike).  At most
 * spans_per_second are taken, over all workers.  Failed requests and those slower than slow_ns are
 * kept whatever was decided, if the policy says so, within the same cap.
 *
 * The ring has one writer and one reader, is bounded, and never waits: full means dropped and
 * counted.
 */
#ifndef TRACE_TRACE_H
#define TRACE_TRACE_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "trace/context.h"

/* Shared by all workers; changed at any time by the control thread. */
struct trace_policy {
	_Atomic uint64_t threshold;  /* sample when the id's low 56 bits are >= it; 2^56 = never */
	_Atomic uint64_t slow_ns;    /* keep what took so long or longer; UINT64_MAX = off */
	_Atomic uint64_t slowlog_ns; /* not ours: what is slow to the slow log; UINT64_MAX = off */
	_Atomic uint64_t late_ns;    /* the lesser of the two */
	_Atomic uint32_t per_second; /* spans of one worker in a second; 0 = no limit */
	_Atomic uint8_t on;          /* 0: nobody exports; nothing is decided or recorded */
	_Atomic uint8_t errors;      /* keep failures */
	_Atomic uint8_t alone;       /* a parent's decision is not followed, only its id */
};
struct trace_policy_opts {
	bool on, keep_errors;
	bool ignore_parent;          /* a sampler that is not parent-based: the id alone decides */
	double ratio;                /* 0 .. 1 */
	uint64_t slow_ns;            /* 0 = off */
	uint64_t slowlog_ns;         /* 0 = off; whether spans are exported or not */
	uint32_t spans_per_second;   /* 0 = no limit */
	uint32_t workers;            /* that share it */
};
void trace_policy_set(struct trace_policy *p, const struct trace_policy_opts *o);

/* ---- spans --------------------------------------------------------------------------------------- */
enum { TRACE_TEXT = 56 };
struct span { /* 128 bytes */
	uint8_t trace_id[16], span_id[8], parent_id[8]; /* parent zero: a root */
	uint64_t start_ns, end_ns;   /* monotonic; the exporter knows the wall's offset */
	uint16_t command, project, endpoint; /* as in struct metric_key */
	uint8_t instance, error;
	uint8_t db;                  /* METRIC_NO_DB (255) = not known */
	uint8_t flags;               /* W3C trace flags */
	uint8_t remote;              /* the parent came from another process */
	uint8_t attempts;            /* made at it; 0 and 1: no retry */
	uint16_t batch;              /* commands in a MULTI block, 0 otherwise */
	uint8_t op_kind;             /* enum metric_op_kind */
	uint8_t text_len;
	uint32_t in, out;            /* bytes, saturated */
	char text[TRACE_TEXT];       /* tracestate, when it fits */
};
_Static_assert(sizeof(struct span) == 128, "a span is two cache lines");

struct trace_counts { /* totals since the start */
	uint64_t kept[3], dropped[3]; /* sampling decisions by origin: none, local, remote parent */
	uint64_t recorded, lost;      /* spans put into the ring, and not for want of room */
};

struct trace {
	const struct trace_policy *policy;
	uint64_t rng[4];
	uint64_t second_ns; /* of the cap */
	uint32_t taken;
	struct { _Atomic uint64_t kept[3], dropped[3], recorded, lost; } n;
	/* the ring */
	struct span *slot;
	uint64_t mask;
	void (*wake)(void *arg); /* half full, once until drained; on the writer's thread */
	void *wake_arg;
	uint64_t tail_seen;
	_Alignas(64) _Atomic uint64_t head; /* written up to; the worker's */
	_Atomic uint8_t woken;
	_Alignas(64) _Atomic uint64_t tail; /* read up to; the exporter's */
};

/* slots: 0 = 4096, rounded up to a power of two.  NULL: no memory or no randomness.  Owned by the caller; the
 * exporter must have let go of it (export_remove) before trace_free. */
struct trace *trace_new(const struct trace_policy *p, uint32_t slots);
void trace_free(struct trace *t);
void trace_seed(struct trace *t, const uint64_t seed[4]); /* tests: ids that repeat; not all zero */
void trace_counts(const struct trace *t, struct trace_counts *out); /* any thread */

static inline uint64_t trace_random(struct trace *t)
{
	uint64_t *s = t->rng, r, x; /* xoshiro256++ */

	r = s[0] + s[3];
	r = (r << 23 | r >> 41) + s[0];
	x = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= x;
	s[3] = s[3] << 45 | s[3] >> 19;
	return r;
}

void trace_ids(struct trace *t, struct trace_ctx *c); /* make those that are missing */
bool trace_late(struct trace *t, struct trace_ctx *c, uint64_t now_ns);
void trace_adopt(struct trace *t, struct trace_ctx *c, const struct trace_parent *parent);

/* Decide about a request.  parent: what the client sent, or NULL. */
static inline void trace_begin(struct trace *t, const struct trace_parent *parent,
    struct trace_ctx *c)
{
	uint64_t r, threshold;

	c->flags = c->origin = c->has = 0;
	if (__builtin_expect(parent != NULL, 0) && parent->valid) {
		trace_adopt(t, c, parent);
		return;
	}
	threshold = atomic_load_explicit(&t->policy->threshold, memory_order_relaxed);
	if (threshold > UINT64_C(0xffffffffffffff)) /* never; so it is when nobody exports */
		return;
	r = trace_random(t);
	if ((r & UINT64_C(0xffffffffffffff)) < threshold)
		return;
	c->flags = TRACE_SAMPLED;
	c->random = r;
	c->has = TRACE_HAS_RANDOM;
}

/* A step of a request gets its own span below it. */
void trace_child(struct trace *t, struct trace_ctx *parent, struct trace_ctx *c);

/* Shall this request, which took ns and ended so, become a span?  Counts the decision; call it once
 * for each request.  On true ctx has all its ids. */
static inline bool trace_keep(struct trace *t, struct trace_ctx *c, uint64_t now_ns, uint64_t ns,
    bool failed)
{
	const struct trace_policy *p = t->policy;
	bool wanted = (c->flags & TRACE_SAMPLED) ||
	    ns >= atomic_load_explicit(&p->slow_ns, memory_order_relaxed) ||
	    (failed && atomic_load_explicit(&p->errors, memory_order_relaxed));
	_Atomic uint64_t *n = &t->n.dropped[c->origin];

	if (__builtin_expect(!wanted, 1)) {
		if (atomic_load_explicit(&p->on, memory_order_relaxed))
			atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
			    memory_order_relaxed);
		return false;
	}
	return trace_late(t, c, now_ns);
}

/* May somebody want to know more of it: as a span, or because it was slow?  Else the decision is counted, and
 * trace_keep() is not to be called. */
static inline bool trace_wants(struct trace *t, const struct trace_ctx *c, uint64_t ns, bool failed)
{
	const struct trace_policy *p = t->policy;
	_Atomic uint64_t *n = &t->n.dropped[c->origin];

	if (__builtin_expect((c->flags & TRACE_SAMPLED) ||
	    ns >= atomic_load_explicit(&p->late_ns, memory_order_relaxed) ||
	    (failed && atomic_load_explicit(&p->errors, memory_order_relaxed)), 0))
		return true;
	if (atomic_load_explicit(&p->on, memory_order_relaxed))
		atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1, memory_order_relaxed);
	return false;
}

/* Room for one span, or NULL (counted as lost).  Zeroed; visible to the reader after commit. */
static inline struct span *trace_reserve(struct trace *t)
{
	uint64_t head = atomic_load_explicit(&t->head, memory_order_relaxed);

	if (head - t->tail_seen > t->mask) {
		t->tail_seen = atomic_load_explicit(&t->tail, memory_order_acquire);
		if (head - t->tail_seen > t->mask) {
			atomic_store_explicit(&t->n.lost,
			    atomic_load_explicit(&t->n.lost, memory_order_relaxed) + 1,
			    memory_order_relaxed);
			return NULL;
		}
	}
	return memset(&t->slot[head & t->mask], 0, sizeof(struct span));
}
void trace_wake(struct trace *t);
static inline void trace_commit(struct trace *t)
{
	uint64_t head = atomic_load_explicit(&t->head, memory_order_relaxed) + 1;

	atomic_store_explicit(&t->head, head, memory_order_release);
	atomic_store_explicit(&t->n.recorded,
	    atomic_load_explicit(&t->n.recorded, memory_order_relaxed) + 1, memory_order_relaxed);
	if (__builtin_expect(head - t->tail_seen > t->mask / 2, 0))
		trace_wake(t);
}
/* The ids of ctx into a span. */
static inline void trace_stamp(struct span *s, const struct trace_ctx *c)
{
	memcpy(s->trace_id, c->trace_id, 16);
	memcpy(s->span_id, c->span_id, 8);
	memcpy(s->parent_id, c->parent_id, 8);
	s->flags = c->flags;
	s->remote = c->origin == TRACE_ORIGIN_REMOTE;
}

/* ---- the reader's side (one thread) ---------------------------------------------------------------- */
/* Hand over up to max spans, oldest first; the count. The span is valid inside fn only. */
size_t trace_drain(struct trace *t, size_t max, void (*fn)(void *arg, const struct span *s), void *arg);
size_t trace_pending(const struct trace *t);  /* any thread; a snapshot */
size_t trace_capacity(const struct trace *t);
#endif
