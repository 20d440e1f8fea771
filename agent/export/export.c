/* SPDX-License-Identifier: Apache-2.0 */
/* export: the thread, its timers, batches of spans, readings of the registry. */
#include <config.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include "export/inside.h"

/* ---- closing a batch ------------------------------------------------------------------------------------ */

int export_gzip(struct buf *out, const struct buf *in)
{
	z_stream z = { .next_in = buf_data(in), .avail_in = (uInt)buf_len(in) };
	size_t bound;
	int rc;

	if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return -1;
	bound = deflateBound(&z, (uLong)buf_len(in));
	rc = buf_room(out, bound);
	if (!rc) {
		z.next_out = out->p + out->end;
		z.avail_out = (uInt)bound;
		rc = deflate(&z, Z_FINISH) == Z_STREAM_END ? 0 : -1;
		out->end += z.total_out;
	}
	deflateEnd(&z);
	return rc;
}

/* Is anything of it sent or printed? */
static bool wanted(const struct export *e, enum export_signal s)
{
	return e->opts.target[s].url != NULL || e->opts.console;
}

/* To standard output, and to the queue of its target. */
static void hand_on(struct export *e, enum export_signal s, struct buf *raw, uint32_t items)
{
	const struct export_target *t = &e->opts.target[s];
	bool gz = t->gzip && t->protocol != EXPORT_JSON; /* that is made when it is sent */
	struct buf packed = { .max = OTLP_MAX };

	if (e->opts.console)
		shape_print(e, s, raw);
	if (!t->url)
		return;
	if (gz && export_gzip(&packed, raw)) {
		watch_lost(e, s, LOST_MEMORY, items, "too_big");
	} else {
		queue_push(&e->queue, s, gz ? &packed : raw, gz, items, loop_now(e->loop));
		disk_pushed(e);
	}
	buf_free(&packed);
}

void export_seal(struct export *e, enum export_signal s, struct buf *body, uint32_t items)
{
	struct buf raw = { .max = OTLP_MAX };

	otlp_request(&raw, &e->head, body);
	if (raw.failed)
		watch_lost(e, s, LOST_MEMORY, items, "too_big");
	else
		hand_on(e, s, &raw, items);
	buf_free(&raw);
	buf_clear(body);
	send_kick(&e->sender[s]);
	watch_publish(e);
}

/* ---- spans ---------------------------------------------------------------------------------------------- */

static void seal_spans(struct export *e)
{
	uint32_t items = e->batch_items;

	e->batch_items = 0;
	if (items)
		export_seal(e, EXPORT_TRACES, &e->batch, items);
}

static void on_span(void *arg, const struct span *s)
{
	struct export *e = arg;

	otlp_span(&e->batch, e->reg, s, e->wall_ns);
	if (e->batch.failed) { /* no memory: what is in the batch is lost with it */
		watch_lost(e, EXPORT_TRACES, LOST_MEMORY, e->batch_items + 1u, "no_memory");
		e->batch_items = 0;
		buf_clear(&e->batch);
		return;
	}
	if (e->batch_items++ == 0)
		e->batch_since_ns = loop_now(e->loop);
	if (e->batch_items >= e->opts.span_batch)
		seal_spans(e);
}

/* Not more than what is there now: a busy worker must not keep us here. */
static void drain_source(struct export *e, struct source *s)
{
	size_t left = trace_pending(s->t), n;

	while (left && (n = trace_drain(s->t, left < 256 ? left : 256, on_span, e)))
		left -= n;
}

static void drain_all(struct export *e)
{
	struct source *s;

	e->wall_ns = export_wall_offset();
	pthread_mutex_lock(&e->lock);
	s = e->sources; /* only ever grows at its head */
	pthread_mutex_unlock(&e->lock);
	for (; s; s = s->next)
		drain_source(e, s);
}

/* A quarter of the delay, so that no span waits much longer than it; once a second at most. */
static uint64_t drain_period(const struct export *e)
{
	uint64_t ns = e->opts.span_delay_ns / 4;

	return ns > SECOND ? SECOND : ns < SECOND / 20 ? SECOND / 20 : ns;
}

static void on_drain(struct loop_timer *t)
{
	struct export *e = (struct export *)((char *)t - offsetof(struct export, drain));
	uint64_t now = loop_now(e->loop);

	drain_all(e);
	if (e->batch_items && now - e->batch_since_ns + drain_period(e) > e->opts.span_delay_ns)
		seal_spans(e);
	loop_timer_set(e->loop, t, now + drain_period(e));
}

static void on_half_full(void *arg)
{
	struct source *s = arg;

	atomic_store(&s->posted, false);
	if (!wanted(s->e, EXPORT_TRACES))
		return;
	s->e->wall_ns = export_wall_offset();
	drain_source(s->e, s);
}

/* On the worker's thread. */
static void wake(void *arg)
{
	struct source *s = arg;

	if (!atomic_exchange(&s->posted, true))
		loop_post(s->e->loop, &s->job);
}

int export_add(struct export *e, struct trace *t)
{
	struct source *s = calloc(1, sizeof *s);

	if (!s)
		return -1;
	s->e = e;
	s->t = t;
	s->job.fn = on_half_full;
	s->job.arg = s;
	t->wake = wake;
	t->wake_arg = s;
	pthread_mutex_lock(&e->lock);
	s->next = e->sources;
	e->sources = s;
	pthread_mutex_unlock(&e->lock);
	return 0;
}

/* ---- metrics -------------------------------------------------------------------------------------------- */

static void read_metrics(struct export *e)
{
	struct buf body = { .max = OTLP_MAX };
	uint64_t start = export_mono_ns(), now = start + export_wall_offset();
	uint32_t points;

	if (otlp_metrics(&body, e->reg, now, &points))
		watch_lost(e, EXPORT_METRICS, LOST_MEMORY, points, "no_memory");
	else
		export_seal(e, EXPORT_METRICS, &body, points);
	hist_record(metric_hist(e->shard, METRIC_SDK_COLLECTION_DURATION, "periodic_metric_reader/0",
	    "periodic_metric_reader"), export_mono_ns() - start);
	buf_free(&body);
}

static void on_metrics(struct loop_timer *t)
{
	struct export *e = (struct export *)((char *)t - offsetof(struct export, metrics));

	read_metrics(e);
	loop_timer_set(e->loop, t, loop_now(e->loop) + e->opts.metric_interval_ns);
}

static void on_expire(struct loop_timer *t)
{
	struct export *e = (struct export *)((char *)t - offsetof(struct export, expire));

	queue_expire(&e->queue, loop_now(e->loop));
	watch_publish(e);
	loop_timer_set(e->loop, t, loop_now(e->loop) + SECOND);
}

/* ---- the thread ------------------------------------------------------------------------------------------ */

static void stop_timers(struct export *e)
{
	loop_timer_stop(e->loop, &e->drain);
	loop_timer_stop(e->loop, &e->metrics);
	loop_timer_stop(e->loop, &e->expire);
	loop_timer_stop(e->loop, &e->commit);
	loop_timer_stop(e->loop, &e->records_timer);
}

static bool all_idle(const struct export *e)
{
	bool idle = true;

	for (int s = 0; s < EXPORT_SIGNALS; s++)
		idle &= send_idle(&e->sender[s]);
	return idle;
}

/* The last of everything, then until all is sent, given up, or the time is over. */
static void last_words(struct export *e)
{
	stop_timers(e);
	if (wanted(e, EXPORT_TRACES)) {
		drain_all(e);
		seal_spans(e);
	}
	if (wanted(e, EXPORT_METRICS))
		read_metrics(e);
	if (wanted(e, EXPORT_LOGS))
		records_seal(e);
	for (int s = 0; s < EXPORT_SIGNALS; s++) {
		loop_timer_stop(e->loop, &e->sender[s].retry);
		send_kick(&e->sender[s]);
	}
	while (!all_idle(e)) {
		uint64_t now = export_mono_ns();

		if (now >= e->close_at_ns)
			break;
		loop_turn(e->loop, (int64_t)(e->close_at_ns - now));
	}
}

static void *run(void *arg)
{
	struct export *e = arg;
	uint64_t now;

	pthread_setname_np(pthread_self(), "export");
	loop_turn(e->loop, 0); /* the time of now, not of when the loop was made */
	now = loop_now(e->loop);
	if (wanted(e, EXPORT_TRACES))
		loop_timer_set(e->loop, &e->drain, now + drain_period(e));
	if (wanted(e, EXPORT_METRICS))
		loop_timer_set(e->loop, &e->metrics, now + e->opts.metric_interval_ns);
	disk_pushed(e);
	if (wanted(e, EXPORT_LOGS)) /* what came before it ran */
		loop_timer_set(e->loop, &e->records_timer, now + e->opts.log_delay_ns);
	if (e->opts.queue_age_ns)
		loop_timer_set(e->loop, &e->expire, now + SECOND);
	for (int s = 0; s < EXPORT_SIGNALS; s++)
		send_kick(&e->sender[s]);
	loop_run(e->loop);
	if (atomic_load(&e->closing))
		last_words(e);
	stop_timers(e);
	for (int s = 0; s < EXPORT_SIGNALS; s++)
		send_stop(&e->sender[s]);
	disk_commit(e);
	watch_publish(e);
	return NULL;
}

static void on_stop(void *arg)
{
	loop_stop(((struct export *)arg)->loop);
}

static void halt(struct export *e)
{
	if (!e->running)
		return;
	loop_post(e->loop, &e->stop);
	pthread_join(e->thread, NULL);
	e->running = false;
	fetch_free(e->fetch);
	e->fetch = NULL;
}

static int start(struct export *e)
{
	sigset_t all, old;
	int rc;

	e->fetch = fetch_new(e->loop);
	if (!e->fetch)
		return ENOMEM;
	/* signals are the control thread's */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&e->thread, NULL, run, e);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		fetch_free(e->fetch);
		e->fetch = NULL;
		return rc;
	}
	e->running = true;
	return 0;
}

/* ---- interface -------------------------------------------------------------------------------------------- */

struct export *export_new(struct metric_reg *r, const struct export_resource *res, struct log *log)
{
	struct export *e = calloc(1, sizeof *e);

	if (!e)
		return NULL;
	e->reg = r;
	e->log = log;
	e->stop.fn = on_stop;
	e->stop.arg = e;
	e->drain.fn = on_drain;
	e->metrics.fn = on_metrics;
	e->expire.fn = on_expire;
	e->batch.max = OTLP_MAX;
	queue_init(&e->queue, (size_t)8 << 20, 0);
	disk_init(e);
	if (getrandom(&e->random, sizeof e->random, 0) != sizeof e->random)
		e->random = export_mono_ns();
	e->random |= 1;
	for (int s = 0; s < EXPORT_SIGNALS; s++)
		send_init(&e->sender[s], e, (enum export_signal)s);
	e->loop = loop_new(NULL);
	e->shard = metric_shard_new(r);
	if (!e->loop || !e->shard || otlp_head_init(&e->head, res, "purser", PACKAGE_VERSION) ||
	    pthread_mutex_init(&e->lock, NULL)) {
		loop_free(e->loop);
		otlp_head_free(&e->head);
		free(e);
		return NULL;
	}
	if (records_init(e)) {
		pthread_mutex_destroy(&e->lock);
		loop_free(e->loop);
		otlp_head_free(&e->head);
		free(e);
		return NULL;
	}
	if (metric_collector(r, watch_collect, e))
		log_event(log, LOG_M_EXPORT, LOG_WARN, "export.metrics", "too many collectors: the "
		    "exporter's own metrics are missing");
	return e;
}

int export_apply(struct export *e, const struct export_opts *o, char *why, size_t cap)
{
	struct export_opts fresh, old;
	int rc;

	if (options_copy(&fresh, o)) {
		options_free(&fresh);
		snprintf(why, cap, "out of memory");
		return -1;
	}
	if (e->running && options_same(&fresh, &e->opts)) {
		options_free(&fresh);
		return 0;
	}
	halt(e);
	pthread_mutex_lock(&e->lock);
	old = e->opts;
	e->opts = fresh;
	for (int s = 0; s < EXPORT_SIGNALS; s++)
		send_init(&e->sender[s], e, (enum export_signal)s);
	e->pub.st.failed_in_row = 0;
	e->pub.dropped_ns = e->pub.refused_ns = 0;
	pthread_mutex_unlock(&e->lock);
	options_free(&old);
	for (int s = 0; s < EXPORT_SIGNALS; s++)
		queue_park(&e->queue, (enum export_signal)s, !e->opts.target[s].url);
	queue_bound(&e->queue, e->opts.queue_max, e->opts.queue_age_ns);
	records_apply(e);
	if (!wanted(e, EXPORT_TRACES) && !wanted(e, EXPORT_METRICS) && !wanted(e, EXPORT_LOGS))
		return 0;
	disk_open(e);
	rc = start(e);
	if (rc)
		snprintf(why, cap, "the exporter thread cannot be started: %s", strerror(rc));
	return rc ? -1 : 0;
}

static void report_leftovers(struct export *e)
{
	for (int s = 0; s < EXPORT_SIGNALS; s++) {
		uint64_t items = 0, kept = 0;

		for (struct export_record *r = e->queue.fifo[s].head; r; r = r->next) {
			items += r->disk.seq ? 0 : r->items;
			kept += r->disk.seq ? r->items : 0;
		}
		if (items)
			log_event(e->log, LOG_M_EXPORT, LOG_WARN, "export.unsent", "ended before all was sent",
			    LOG_STR("signal", export_signal_name((enum export_signal)s)),
			    LOG_UINT("items", items));
		if (kept)
			log_event(e->log, LOG_M_EXPORT, LOG_INFO, "export.kept", "what was not sent stays on disk for "
			    "the next start", LOG_STR("signal", export_signal_name((enum export_signal)s)),
			    LOG_UINT("items", kept));
	}
}

void export_free(struct export *e, uint64_t deadline_ns)
{
	if (!e)
		return;
	if (e->running) {
		e->close_at_ns = export_mono_ns() + deadline_ns;
		atomic_store(&e->closing, true);
	}
	metric_collector_remove(e->reg, watch_collect, e);
	halt(e);
	records_free(e);
	report_leftovers(e);
	queue_free(&e->queue);
	spool_close(e->spool);
	while (e->sources) {
		struct source *s = e->sources;

		e->sources = s->next;
		s->t->wake = NULL;
		free(s);
	}
	loop_free(e->loop);
	otlp_head_free(&e->head);
	buf_free(&e->batch);
	options_free(&e->opts);
	pthread_mutex_destroy(&e->lock);
	free(e);
}
