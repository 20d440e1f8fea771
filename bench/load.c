/* SPDX-License-Identifier: Apache-2.0 */
/* The load: see load.h. One loop; what happens on a connection is in conn.c. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "load_conn.h"

#define EVENTS 256
#define SCRATCH 262144
#define LARGE_REPLY 65536
#define SECOND_NS 1e9

void load_fail(struct load *l, const char *format, ...)
{
	va_list args;

	if (l->failed)
		return;
	l->failed = true;
	va_start(args, format);
	fputs("lg: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

void load_complain(struct load *l, const char *what, const char *reply, size_t len)
{
	if (l->r->errors + l->r->mismatches + l->r->nils > 5)
		return;
	fprintf(stderr, "lg: %s: \"", what);
	for (size_t i = 0; i < len && i < 120; i++)
		if (reply[i] >= ' ' && reply[i] <= '~')
			fputc(reply[i], stderr);
		else
			fprintf(stderr, "\\x%02x", (unsigned char)reply[i]);
	fprintf(stderr, "\"%s\n", len > 120 ? "..." : "");
}

static void mark(struct load *l, struct watch_mark *m)
{
	if (watch_take(l->o->watch, l->o->watches, m) < 0)
		load_fail(l, "a watched process is gone");
}

static void measure_begin(struct load *l)
{
	struct load_result *r = l->r;

	r->ops = r->batches = r->deliveries = 0;
	memset(&r->latency, 0, sizeof(r->latency));
	memset(&r->delivery, 0, sizeof(r->delivery));
	mark(l, &r->begin);
	l->phase = PHASE_MEASURE;
	l->budget = l->o->requests ? l->o->requests : UINT64_MAX;
	l->phase_end_ns = UINT64_MAX;
	if (!l->o->requests)
		l->phase_end_ns = r->begin.now_ns + (uint64_t)(l->o->seconds * SECOND_NS);
}

static void advance_phase(struct load *l, uint64_t now)
{
	if (l->phase == PHASE_WARMUP && now >= l->phase_end_ns) {
		measure_begin(l);
	} else if (l->phase == PHASE_MEASURE && (now >= l->phase_end_ns || l->active == 0)) {
		mark(l, &l->r->end);
		l->phase = PHASE_DRAIN;
	}
}

static void retry_waiting(struct load *l)
{
	for (unsigned i = 0; i < l->o->conns && l->waiting && !l->failed; i++) {
		struct conn *c = &l->conns[i];
		if (c->state != CONN_WAITING)
			continue;
		l->waiting--;
		conn_reconnect(l, c);
		if (c->state == CONN_RUN)
			batch_send(l, c);
		else if (c->state == CONN_WAITING)
			return;
	}
}

static void turn(struct load *l)
{
	struct epoll_event ev[EVENTS];
	int n = epoll_wait(l->ep, ev, EVENTS, l->waiting ? 1 : 100);
	uint64_t now = net_now_ns();

	if (n < 0 && errno != EINTR)
		load_fail(l, "epoll_wait: %m");
	advance_phase(l, now);
	for (int i = 0; i < n && !l->failed; i++)
		conn_ready(l, ev[i].data.ptr, ev[i].events);
	if (l->waiting)
		retry_waiting(l);
	if (now > l->progress_ns && now - l->progress_ns > l->o->stall * (uint64_t)SECOND_NS)
		load_fail(l, "no reply for %u s", l->o->stall);
}

static int run(struct load *l)
{
	l->phase = PHASE_WARMUP;
	l->budget = UINT64_MAX;
	l->progress_ns = net_now_ns();
	l->phase_end_ns = l->progress_ns + (uint64_t)(l->o->warmup * SECOND_NS);
	if (l->o->warmup <= 0)
		measure_begin(l);
	for (unsigned i = 0; i < l->o->conns && !l->failed; i++)
		batch_begin(l, &l->conns[i], net_now_ns());
	while (l->active > 0 && !l->failed)
		turn(l);
	advance_phase(l, net_now_ns());
	for (unsigned i = 0; i < l->o->idle && !l->failed; i++)
		idle_ask(l, l->idle[i]);
	return l->failed ? -1 : 0;
}

static int conns_open(struct load *l)
{
	for (unsigned i = 0; i < l->o->conns; i++) {
		struct conn *c = &l->conns[i];
		c->index = i;
		c->batch = calloc(l->o->pipeline, sizeof(*c->batch));
		if (!c->batch)
			return -1;
		if (l->o->reconnect)
			continue;
		c->fd = load_open(l);
		if (c->fd < 0 || load_register(l, c) < 0)
			return -1;
	}
	return fanout_open(l);
}

static void choose_mix(struct load *l)
{
	unsigned kinds = 0;

	for (unsigned op = 0; op < OP_COUNT; op++) {
		l->weight_sum += l->o->weight[op];
		if (l->o->weight[op]) {
			l->only = (enum wire_op)op;
			kinds++;
		}
	}
	if (kinds != 1)
		l->only = OP_COUNT;
}

static int prepare(struct load *l)
{
	const struct load_options *o = l->o;

	l->wire = (struct wire){.memcache = o->memcache, .check_values = o->check_values,
		.multi = o->multi, .subscribers = o->subscribers, .value_bytes = o->value_bytes,
		.ttl = o->ttl, .keys = &l->keys};
	memcpy(l->wire.prefix, o->prefix, sizeof(o->prefix));
	l->rng = l->pos = o->seed;
	choose_mix(l);
	if (o->dist == KEYS_SEQ)
		l->pos = 0;
	size_t reply = wire_max_reply(&l->wire);
	l->own_buffers = reply > LARGE_REPLY;
	l->rx_cap = l->own_buffers ? reply + SCRATCH : SCRATCH;
	l->rx = malloc(l->rx_cap);
	l->tx = malloc(o->pipeline * wire_max_request(&l->wire));
	l->conns = calloc(o->conns, sizeof(*l->conns));
	l->subs = calloc(o->subscribers + 1, sizeof(*l->subs));
	l->idle = malloc((o->idle + 1) * sizeof(*l->idle));
	if (!l->rx || !l->tx || !l->conns || !l->subs || !l->idle || wire_init(&l->wire) < 0 ||
	    keys_init(&l->keys, o->dist, o->keys, o->theta, o->seed) < 0)
		return -1;
	for (unsigned i = 0; i < o->conns; i++)
		l->conns[i].fd = -1;
	for (unsigned i = 0; i < o->subscribers; i++)
		l->subs[i].fd = -1;
	for (unsigned i = 0; i < o->idle; i++)
		l->idle[i] = -1;
	l->active = o->conns;
	l->ep = epoll_create1(EPOLL_CLOEXEC);
	return l->ep < 0 ? -1 : 0;
}

static void free_conns(struct conn *conns, unsigned count)
{
	for (unsigned i = 0; conns && i < count; i++) {
		if (conns[i].fd >= 0)
			close(conns[i].fd);
		free(conns[i].batch);
		free(conns[i].heard);
		free(conns[i].in);
		free(conns[i].out);
	}
	free(conns);
}

static void finish(struct load *l)
{
	for (unsigned i = 0; l->idle && i < l->o->idle; i++)
		if (l->idle[i] >= 0)
			close(l->idle[i]);
	free(l->idle);
	free_conns(l->conns, l->o->conns);
	free_conns(l->subs, l->o->subscribers);
	free(l->rx);
	free(l->tx);
	wire_free(&l->wire);
	keys_free(&l->keys);
	if (l->ep >= 0)
		close(l->ep);
}

int load_run(const struct load_options *o, struct load_result *r)
{
	struct load l = {.o = o, .r = r, .ep = -1};
	int rc = -1;

	memset(r, 0, sizeof(*r));
	if (prepare(&l) < 0)
		load_fail(&l, "out of memory or descriptors");
	else if (idle_open(&l) == 0 && conns_open(&l) == 0)
		rc = run(&l);
	finish(&l);
	return rc;
}
