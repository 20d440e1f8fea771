/* SPDX-License-Identifier: Apache-2.0 */
/* export/disk: the queue's directory: opened once, written in groups, and what is said of it. */
#include <config.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "export/inside.h"

uint64_t export_wall_offset(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec - export_mono_ns();
}

static void say(struct export *e, const char *text)
{
	pthread_mutex_lock(&e->lock);
	snprintf(e->pub.st.disk_error, sizeof e->pub.st.disk_error, "%s", text);
	pthread_mutex_unlock(&e->lock);
}

void disk_commit(struct export *e)
{
	char text[120] = "";
	int was = e->disk_error;

	if (!e->spool)
		return;
	queue_commit(&e->queue, export_wall_offset());
	e->disk_error = e->queue.disk_error;
	if (e->disk_error == was)
		return;
	if (e->disk_error)
		snprintf(text, sizeof text, "%s", strerror(e->disk_error));
	say(e, text);
	if (e->disk_error)
		log_event(e->log, LOG_M_EXPORT, LOG_WARN, "export.disk", "the queue cannot be written to disk: it waits in "
		    "memory, at most queue_size, and is lost if the agent ends", LOG_STR("error", text));
	else
		log_event(e->log, LOG_M_EXPORT, LOG_INFO, "export.disk.recovered", "the queue is written to disk again");
}

static void on_commit(struct loop_timer *t)
{
	struct export *e = (struct export *)((char *)t - offsetof(struct export, commit));

	disk_commit(e);
	watch_publish(e);
	if (e->queue.unwritten) /* the disk does not take it */
		loop_timer_set(e->loop, t, loop_now(e->loop) + SECOND);
}

void disk_pushed(struct export *e)
{
	if (!e->spool || !e->queue.unwritten)
		return;
	if (!e->disk_error && (e->opts.sync == EXPORT_SYNC_ALWAYS || e->queue.unwritten >= COMMIT_BYTES))
		disk_commit(e);
	if (e->queue.unwritten && !e->commit.pos)
		loop_timer_set(e->loop, &e->commit, loop_now(e->loop) + COMMIT_NS);
}

/* ---- the start ---- */

struct restoring { struct export *e; uint64_t wall_ns, now_ns; uint32_t lost; };

static void found(void *arg, const struct spool_record *r)
{
	struct restoring *x = arg;

	if (queue_restore(&x->e->queue, r, x->wall_ns, x->now_ns))
		x->lost++;
}

static void tell(struct export *e, const struct spool_report *rep, uint32_t lost)
{
	if (rep->records)
		log_event(e->log, LOG_M_EXPORT, LOG_INFO, "export.restored", "telemetry that an earlier run had not sent is "
		    "queued again", LOG_UINT("requests", rep->records), LOG_UINT("bytes", rep->bytes));
	if (rep->damaged || rep->unknown || lost)
		log_event(e->log, LOG_M_EXPORT, LOG_WARN, "export.damaged", "a part of the queue on disk could not be read; "
		    "its files are kept in bad/ of the queue's directory", LOG_UINT("places", rep->damaged),
		    LOG_UINT("files", rep->bad + rep->unknown), LOG_UINT("of_other_formats", rep->unknown),
		    LOG_UINT("no_memory", lost));
	else if (rep->cut)
		log_event(e->log, LOG_M_EXPORT, LOG_INFO, "export.cut", "the queue on disk ended in the middle of a record, "
		    "as after a crash; it was cut there");
}

void disk_open(struct export *e)
{
	struct spool_opts o = { .dir = e->opts.spool_dir, .sync = e->opts.sync != EXPORT_SYNC_OFF };
	struct restoring x = { .e = e, .now_ns = export_mono_ns() };
	struct spool_report rep;
	char why[400] = "";

	if (e->spool || !o.dir || !*o.dir) {
		queue_spool(&e->queue, e->spool, e->opts.disk_max);
		return;
	}
	if (e->queue.bytes) { /* it ran without one: what waits has no place in the order of the disk */
		log_event(e->log, LOG_M_EXPORT, LOG_WARN, "export.disk", "telemetry waits in memory already: it goes to disk "
		    "from the next reload at which nothing waits, or the next start");
		return;
	}
	x.wall_ns = x.now_ns + export_wall_offset();
	e->spool = spool_open(&o, found, &x, &rep, why, sizeof why);
	if (!e->spool) {
		queue_free(&e->queue); /* what it had found until then */
		say(e, why);
		log_event(e->log, LOG_M_EXPORT, LOG_WARN, "export.disk", "telemetry waits in memory only, and is lost if the "
		    "agent ends before it is sent", LOG_STR("reason", why));
		return;
	}
	queue_spool(&e->queue, e->spool, e->opts.disk_max);
	tell(e, &rep, x.lost);
}

void disk_init(struct export *e)
{
	e->commit.fn = on_commit;
}
