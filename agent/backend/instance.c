/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backend/blocking.h"
#include "backend/instance.h"

static void map_ops(struct purser_instance *i)
{
	for (unsigned c = 0; c < CMD_IDS; c++)
		i->op_of[c] = i->p->caps & PURSER_CAP_ANY_COMMAND ? PURSER_OP_OTHER : OP_NONE;
	for (uint32_t o = 0; o < i->p->nops; o++) {
		const purser_op *op = plugin_op(i->plugin, o);

		for (unsigned c = 0; c < CMD_COUNT; c++)
			if (!strcmp(cmd_rows[c].name, op->name))
				i->op_of[c] = o;
	}
}

static int64_t setting(const struct purser_instance *i, const char *key)
{
	return i->settings.value(i->settings.arg, key);
}

void instance_settings_changed(struct purser_instance *i)
{
	i->operation_timeout_ns = (uint64_t)setting(i, "operation_timeout");
	i->queue_max = (uint32_t)setting(i, "queue_max");
	if (i->hub)
		hub_keep(i->hub, setting(i, "lost_subscriptions") != 0);
}

struct purser_instance *instance_new(const struct instance_opts *o, purser_error *e)
{
	struct purser_instance *i = calloc(1, sizeof *i);

	if (i)
		i->ctx = calloc(o->workers, sizeof *i->ctx);
	if (!i || !i->ctx) {
		free(i);
		snprintf(e->text, sizeof e->text, "out of memory");
		return NULL;
	}
	snprintf(i->name, sizeof i->name, "%s", o->name);
	i->index = o->index;
	i->plugin = o->plugin;
	i->p = &o->plugin->p;
	i->settings = o->settings;
	i->log = o->log;
	i->metrics = o->metrics;
	i->offload = o->offload;
	i->nctx = o->workers;
	i->nendpoints = 1; /* 0 = unknown */
	if (i->p->caps & PURSER_CAP_PUBSUB && i->p->model == PURSER_INLINE) {
		i->hub = hub_new(o->workers, i->index % o->workers, o->name, o->log);
		if (!i->hub) {
			free(i->ctx);
			free(i);
			snprintf(e->text, sizeof e->text, "out of memory");
			return NULL;
		}
		hub_keep(i->hub, setting(i, "lost_subscriptions") != 0);
	}
	if (i->p->credential && !(i->confines = confines_new())) {
		hub_unref(i->hub);
		free(i->ctx);
		free(i);
		snprintf(e->text, sizeof e->text, "out of memory");
		return NULL;
	}
	instance_settings_changed(i);
	i->in_process = (i->p->caps & PURSER_CAP_KEEPS_DATA) != 0;
	i->metric_id = metric_instance(o->metrics, &(struct metric_instance){ .name = i->name,
	    .inproc = i->in_process });
	pthread_mutex_init(&i->lock, NULL);
	guard_init(i, o->shard);
	map_ops(i);
	if (i->p->start(&host_table, i, &i->state, e)) {
		guard_free(i);
		pthread_mutex_destroy(&i->lock);
		hub_unref(i->hub);
		confines_free(i->confines);
		free(i->ctx);
		free(i);
		return NULL;
	}
	if (i->p->model == PURSER_BLOCKING) {
		i->blocking = blocking_new(i, e);
		if (!i->blocking) {
			instance_free(i);
			return NULL;
		}
	}
	return i;
}

static uint64_t load(const _Atomic int64_t *v)
{
	int64_t n = atomic_load_explicit(v, memory_order_relaxed);

	return n > 0 ? (uint64_t)n : 0;
}

void instance_pool(const struct purser_instance *i, struct pool_numbers *out)
{
	memset(out, 0, sizeof *out);
	for (uint32_t w = 0; w < i->nctx; w++) {
		const struct purser_ctx *x = i->ctx[w];

		if (!x)
			continue;
		for (uint32_t e = 0; e < ENDPOINTS_MAX; e++) {
			out->connecting += load(&x->links[e][PURSER_LINK_CONNECTING]);
			out->idle += load(&x->links[e][PURSER_LINK_IDLE]);
			out->used += load(&x->links[e][PURSER_LINK_USED]);
		}
		out->waiting += (uint64_t)atomic_load_explicit(&x->nwaiting, memory_order_relaxed);
		out->pending += atomic_load_explicit(&x->nqueued, memory_order_relaxed);
		out->timeouts += atomic_load_explicit(&x->queue_timeouts, memory_order_relaxed);
		out->exhausted += atomic_load_explicit(&x->exhausted, memory_order_relaxed);
	}
}

void instance_free(struct purser_instance *i)
{
	if (!i)
		return;
	blocking_free(i->blocking);
	if (i->p->stop)
		i->p->stop(i->state);
	hub_unref(i->hub);
	confines_free(i->confines);
	guard_free(i);
	pthread_mutex_destroy(&i->lock);
	free(i->ctx);
	free(i);
}
