/* SPDX-License-Identifier: Apache-2.0 */
/* export/queue: one list for each signal, one bound for all. */
#include <config.h>
#include <errno.h>
#include <stdlib.h>
#include "export/queue.h"

void queue_init(struct export_queue *q, size_t max_bytes, uint64_t max_age_ns)
{
	memset(q, 0, sizeof *q);
	q->max_bytes = max_bytes;
	q->max_age_ns = max_age_ns;
	for (int s = 0; s < EXPORT_SIGNALS; s++)
		q->fifo[s].tail = &q->fifo[s].head;
}

static bool on_disk(const struct export_record *r)
{
	return r->disk.seq != 0;
}

/* Is it to be written? */
static bool unwritten(const struct export_record *r)
{
	return r->resident && !on_disk(r) && !r->loose;
}

static size_t disk_len(const struct export_record *r)
{
	return SPOOL_RECORD_HEAD + r->len;
}

/* Its payload is in memory no more. */
static void leave_memory(struct export_queue *q, struct export_record *r)
{
	if (!r->resident)
		return;
	q->bytes -= r->len;
	if (unwritten(r))
		q->unwritten -= disk_len(r);
	r->resident = false;
	buf_free(&r->payload);
}

/* Take the record at *at out of its list; what of it is on disk is not touched. */
static void drop(struct export_queue *q, struct export_record **at)
{
	struct export_record *r = *at;

	*at = r->next;
	if (q->fifo[r->signal].tail == &r->next)
		q->fifo[r->signal].tail = at;
	leave_memory(q, r);
	q->fifo[r->signal].bytes -= r->len;
	q->fifo[r->signal].records--;
	q->waiting -= r->len;
	free(r);
}

/* ... and it is not wanted from the disk either. */
static void drop_both(struct export_queue *q, struct export_record **at)
{
	const struct spool_record disk = (*at)->disk;

	drop(q, at);
	if (disk.seq && q->spool)
		spool_forget(q->spool, &disk);
}

void queue_free(struct export_queue *q)
{
	for (int s = 0; s < EXPORT_SIGNALS; s++)
		while (q->fifo[s].head)
			drop(q, &q->fifo[s].head);
}

void queue_park(struct export_queue *q, enum export_signal s, bool parked)
{
	struct export_record **at = &q->fifo[s].head;

	q->fifo[s].parked = parked;
	while (parked && *at) {
		if (on_disk(*at)) {
			leave_memory(q, *at);
			at = &(*at)->next;
		} else {
			drop(q, at);
		}
	}
}

/* Where the oldest record hangs that is in memory only and not being sent; NULL: there is none. */
static struct export_record **oldest_in_memory(struct export_queue *q)
{
	struct export_record **oldest = NULL;

	for (int s = 0; s < EXPORT_SIGNALS; s++) {
		struct export_record **at = &q->fifo[s].head;

		while (*at && ((*at)->held || on_disk(*at)))
			at = &(*at)->next;
		if (*at && (!oldest || (*at)->since_ns < (*oldest)->since_ns))
			oldest = at;
	}
	return oldest;
}

static void evict(struct export_queue *q, struct export_record **at)
{
	q->fifo[(*at)->signal].evicted += (*at)->items;
	drop_both(q, at);
}

static void shrink(struct export_queue *q, size_t more)
{
	struct export_record **at;

	while (q->bytes + more > q->max_bytes && (at = oldest_in_memory(q)))
		evict(q, at);
}

static void append(struct export_queue *q, struct export_record *r)
{
	*q->fifo[r->signal].tail = r;
	q->fifo[r->signal].tail = &r->next;
	q->fifo[r->signal].records++;
	q->fifo[r->signal].bytes += r->len;
	q->waiting += r->len;
}

int queue_push(struct export_queue *q, enum export_signal s, struct buf *payload, bool gzip,
    uint32_t items, uint64_t now_ns)
{
	size_t n = buf_len(payload);
	struct export_record *r = n <= q->max_bytes ? calloc(1, sizeof *r) : NULL;

	if (r)
		shrink(q, n);
	if (!r || q->bytes + n > q->max_bytes) { /* what is being sent may fill it alone */
		q->fifo[s].evicted += items;
		free(r);
		buf_free(payload);
		return -1;
	}
	r->signal = s;
	r->payload = *payload;
	memset(payload, 0, sizeof *payload);
	r->gzip = gzip;
	r->items = items;
	r->len = (uint32_t)n;
	r->since_ns = now_ns;
	r->resident = true;
	q->bytes += n;
	q->unwritten += disk_len(r);
	append(q, r);
	return 0;
}

static bool load(struct export_queue *q, struct export_record *r)
{
	if (!q->spool || spool_read(q->spool, &r->disk, &r->payload)) {
		buf_free(&r->payload);
		return false;
	}
	r->resident = true;
	q->bytes += r->len;
	return true;
}

struct export_record *queue_head(struct export_queue *q, enum export_signal s)
{
	while (q->fifo[s].head && !q->fifo[s].head->resident && !load(q, q->fifo[s].head)) {
		q->fifo[s].damaged += q->fifo[s].head->items;
		drop_both(q, &q->fifo[s].head);
	}
	return q->fifo[s].head;
}

/* ---- on disk ---- */

/* The record is at the head of its list: all before it are done with. */
static void settle(struct export_queue *q, struct export_record **head)
{
	const struct spool_record disk = (*head)->disk;

	drop(q, head);
	if (disk.seq && q->spool && spool_ack(q->spool, &disk))
		q->disk_error = errno;
}

void queue_pop(struct export_queue *q, enum export_signal s)
{
	settle(q, &q->fifo[s].head);
}

/* The oldest record that may go by age; of those on disk the heads alone. */
static struct export_record **oldest_free(struct export_queue *q)
{
	struct export_record **oldest = NULL;

	for (int s = 0; s < EXPORT_SIGNALS; s++) {
		struct export_record **at = &q->fifo[s].head;

		if (*at && (*at)->held)
			at = &(*at)->next;
		if (*at && (!oldest || (*at)->since_ns < (*oldest)->since_ns))
			oldest = at;
	}
	return oldest;
}

void queue_expire(struct export_queue *q, uint64_t now_ns)
{
	struct export_record **at;

	while (q->max_age_ns && (at = oldest_free(q)) && now_ns - (*at)->since_ns > q->max_age_ns)
		evict(q, at);
}

void queue_bound(struct export_queue *q, size_t max_bytes, uint64_t max_age_ns)
{
	q->max_bytes = max_bytes;
	q->max_age_ns = max_age_ns;
	shrink(q, 0);
}

uint64_t queue_oldest(const struct export_queue *q)
{
	uint64_t oldest = 0;

	for (int s = 0; s < EXPORT_SIGNALS; s++) {
		const struct export_record *r = q->fifo[s].parked ? NULL : q->fifo[s].head;

		if (r && (!oldest || r->since_ns < oldest))
			oldest = r->since_ns;
	}
	return oldest;
}

int queue_restore(struct export_queue *q, const struct spool_record *r, uint64_t wall_ns, uint64_t now_ns)
{
	struct export_record *n = r->signal < EXPORT_SIGNALS ? calloc(1, sizeof *n) : NULL;
	uint64_t age = wall_ns > r->wall_ns ? wall_ns - r->wall_ns : 0;

	if (!n)
		return -1;
	n->signal = (enum export_signal)r->signal;
	n->disk = *r;
	n->gzip = r->gzip;
	n->items = r->items;
	n->len = r->len;
	n->since_ns = age < now_ns ? now_ns - age : 1; /* older than this machine's uptime */
	append(q, n);
	return 0;
}

void queue_spool(struct export_queue *q, struct spool *s, uint64_t max_disk)
{
	q->spool = s;
	q->max_disk = max_disk;
	q->disk_error = 0;
}

/* What is being sent is in memory, and stays in its list. */
static void drop_segment(struct export_queue *q, uint32_t segment)
{
	for (int s = 0; s < EXPORT_SIGNALS; s++) {
		struct export_record **at = &q->fifo[s].head;

		while (*at && (on_disk(*at) || (*at)->loose)) {
			struct export_record *r = *at;

			if (!on_disk(r) || r->disk.segment != segment) {
				at = &r->next;
			} else if (r->held) {
				r->disk.seq = 0;
				r->loose = true;
				at = &r->next;
			} else {
				q->fifo[s].evicted += r->items;
				drop(q, at);
			}
		}
	}
	spool_drop(q->spool, segment);
}

/* Up to SPOOL_GROUP records that are in memory only; how many. */
static unsigned gather(struct export_queue *q, struct export_record **of, struct spool_write *v, uint64_t wall_offset)
{
	unsigned n = 0;

	for (int s = 0; s < EXPORT_SIGNALS; s++)
		for (struct export_record *r = q->fifo[s].parked ? NULL : q->fifo[s].head; r && n < SPOOL_GROUP; r = r->next) {
			if (!unwritten(r))
				continue;
			of[n] = r;
			v[n++] = (struct spool_write){ { .wall_ns = r->since_ns + wall_offset, .len = r->len, .items = r->items,
				.signal = (uint8_t)r->signal, .gzip = r->gzip }, buf_data(&r->payload) };
		}
	return n;
}

static int write_group(struct export_queue *q, struct export_record **of, struct spool_write *v, unsigned n)
{
	uint64_t more = 0;
	uint32_t oldest;

	for (unsigned i = 0; i < n; i++)
		more += disk_len(of[i]);
	while (spool_bytes(q->spool) + more > q->max_disk && (oldest = spool_oldest(q->spool)))
		drop_segment(q, oldest);
	if (spool_write(q->spool, v, n)) {
		q->disk_error = errno ? errno : EIO;
		return -1;
	}
	q->disk_error = 0;
	for (unsigned i = 0; i < n; i++) {
		struct export_record *r = of[i];

		q->unwritten -= disk_len(r);
		r->disk = v[i].r;
		if (!r->held && q->fifo[r->signal].head != r)
			leave_memory(q, r);
	}
	return 0;
}

void queue_commit(struct export_queue *q, uint64_t wall_offset)
{
	struct export_record *of[SPOOL_GROUP];
	struct spool_write v[SPOOL_GROUP];
	unsigned n;

	while (q->spool && q->unwritten && (n = gather(q, of, v, wall_offset)) > 0)
		if (write_group(q, of, v, n))
			return;
}
