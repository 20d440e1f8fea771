/* SPDX-License-Identifier: Apache-2.0 */
/* export/record: the agent's log lines on their way to a collector.  They come on any thread, under the log's lock, and
 * are encoded there: fields are borrowed for the call.  They wait in a buffer that the exporter thread takes whole.
 *
 * Lines of the exporter itself are not among them: a collector that refuses them would make ever more. */
#include <config.h>
#include <stdio.h>
#include "export/inside.h"
#include "export/pb.h"

#define RECORDS_BYTES ((size_t)1 << 20)

/* protobuf has text in UTF-8 only: a byte that is none becomes the character of that number, as in a JSON line. */
static void put_text(struct buf *b, unsigned field, const char *p, size_t n)
{
	struct buf out = { .max = 0 };

	for (size_t i = 0; i < n;) {
		size_t len = line_utf8(p + i, n - i);
		uint8_t c = (uint8_t)p[i];

		if (len) {
			buf_put(&out, p + i, len);
			i += len;
		} else {
			buf_putc(&out, (char)(0xc0 | c >> 6));
			buf_putc(&out, (char)(0x80 | (c & 0x3f)));
			i++;
		}
	}
	b->failed |= out.failed;
	pb_put_bytes(b, field, buf_data(&out), buf_len(&out));
	buf_free(&out);
}

static void put_hex(struct buf *b, unsigned field, const char *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	size_t m = pb_open(b, field);

	for (size_t i = 0; i < n; i++) {
		buf_putc(b, digits[(uint8_t)p[i] >> 4]);
		buf_putc(b, digits[p[i] & 15]);
	}
	pb_close(b, m);
}

static void put_field(struct buf *b, const struct log_field *f)
{
	size_t kv = pb_open(b, 6), any;

	pb_put_str(b, 1, f->key);
	any = pb_open(b, 2);
	if (line_secret(f->key))
		pb_put_str(b, 1, "***");
	else if (f->type == LOG_F_STR)
		put_text(b, 1, f->v.s.p, f->v.s.n);
	else if (f->type == LOG_F_HEX)
		put_hex(b, 1, f->v.s.p, f->v.s.n);
	else if (f->type == LOG_F_BOOL)
		pb_put_uint(b, 2, f->v.u);
	else if (f->type == LOG_F_NUM)
		pb_put_double(b, 4, f->v.d);
	else
		pb_put_uint(b, 3, f->type == LOG_F_INT ? (uint64_t)f->v.i : f->v.u);
	pb_close(b, any);
	pb_close(b, kv);
}

static bool is_id(const struct log_field *f, const char *name, size_t n)
{
	return f->type == LOG_F_HEX && f->v.s.n == n && strcmp(f->key, name) == 0;
}

/* One LogRecord as an item of ScopeLogs. */
static void put_record(struct buf *b, const struct line_head *h, const struct log_field *fields)
{
	static const uint8_t severity[] = { 1, 5, 9, 13, 17 };
	static const char *const names[] = { "TRACE", "DEBUG", "INFO", "WARN", "ERROR" };
	const struct log_field module = LOG_STR("purser.module", h->module), more = LOG_UINT("suppressed", h->suppressed);
	size_t m = pb_open(b, 2), body;

	pb_put_fixed64(b, 1, h->wall_ns);
	pb_put_uint(b, 2, severity[h->level]);
	pb_put_str(b, 3, names[h->level]);
	body = pb_open(b, 5);
	put_text(b, 1, h->message, strlen(h->message));
	pb_close(b, body);
	put_field(b, &module);
	for (const struct log_field *f = fields; f->type != LOG_F_END; f++)
		if (f->type != LOG_F_NONE && f->type != LOG_F_KEY && !is_id(f, "trace_id", 16) && !is_id(f, "span_id", 8))
			put_field(b, f);
	if (h->suppressed)
		put_field(b, &more);
	for (const struct log_field *f = fields; f->type != LOG_F_END; f++) {
		if (is_id(f, "trace_id", 16))
			pb_put_bytes(b, 9, f->v.s.p, 16);
		else if (is_id(f, "span_id", 8))
			pb_put_bytes(b, 10, f->v.s.p, 8);
	}
	pb_put_fixed64(b, 11, h->wall_ns);
	pb_put_str(b, 12, h->event);
	pb_close(b, m);
}

/* On any thread, under the log's lock. */
static void on_line(void *arg, enum log_module module, const struct line_head *h, const struct log_field *fields)
{
	struct export *e = arg;
	size_t was;

	if (module == LOG_M_EXPORT || h->level >= LOG_OFF || !atomic_load_explicit(&e->records_on, memory_order_relaxed))
		return;
	pthread_mutex_lock(&e->records_lock);
	was = buf_len(&e->records);
	e->records_made++;
	if (e->nrecords < e->records_max)
		put_record(&e->records, h, fields);
	if (e->nrecords >= e->records_max || e->records.failed) {
		e->records.failed = false;
		e->records.end = e->records.at + was;
		e->records_lost++;
	} else {
		e->nrecords++;
	}
	pthread_mutex_unlock(&e->records_lock);
	if (!atomic_exchange(&e->records_posted, true))
		loop_post(e->loop, &e->records_job);
}

/* On the exporter thread: the first one of a batch has come. */
static void on_first(void *arg)
{
	struct export *e = arg;

	atomic_store(&e->records_posted, false);
	if (!e->records_timer.pos && !atomic_load(&e->closing))
		loop_timer_set(e->loop, &e->records_timer, loop_now(e->loop) + e->opts.log_delay_ns);
}

static void on_timer(struct loop_timer *t)
{
	records_seal((struct export *)((char *)t - offsetof(struct export, records_timer)));
}

void records_seal(struct export *e)
{
	struct buf body;
	uint64_t lost;
	uint32_t n;

	pthread_mutex_lock(&e->records_lock);
	body = e->records;
	n = e->nrecords;
	lost = e->records_lost;
	e->records = (struct buf){ .max = RECORDS_BYTES };
	e->nrecords = 0;
	e->records_lost = 0;
	e->records_dropped += lost;
	pthread_mutex_unlock(&e->records_lock);
	if (lost)
		watch_lost(e, EXPORT_LOGS, LOST_RING, lost, "queue_full");
	if (n)
		export_seal(e, EXPORT_LOGS, &body, n);
	buf_free(&body);
}

void records_count(struct export *e, uint64_t *made, uint64_t *lost, uint64_t *waiting)
{
	pthread_mutex_lock(&e->records_lock);
	*made = e->records_made;
	*lost = e->records_dropped + e->records_lost;
	*waiting = e->nrecords;
	pthread_mutex_unlock(&e->records_lock);
}

/* Before the thread runs: what it wants from now on. */
void records_apply(struct export *e)
{
	bool on = e->opts.target[EXPORT_LOGS].url || e->opts.console;

	pthread_mutex_lock(&e->records_lock);
	e->records_max = e->opts.log_queue;
	if (!on) {
		buf_clear(&e->records);
		e->nrecords = 0;
	}
	pthread_mutex_unlock(&e->records_lock);
	atomic_store(&e->records_on, on);
}

int records_init(struct export *e)
{
	if (pthread_mutex_init(&e->records_lock, NULL))
		return -1;
	e->records.max = RECORDS_BYTES;
	e->records_job.fn = on_first;
	e->records_job.arg = e;
	e->records_timer.fn = on_timer;
	log_tap(e->log, on_line, e);
	return 0;
}

void records_free(struct export *e)
{
	log_tap(e->log, NULL, NULL);
	buf_free(&e->records);
	pthread_mutex_destroy(&e->records_lock);
}
