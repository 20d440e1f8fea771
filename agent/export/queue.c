/* SPDX-License-Identifier: Apache-2.0 */
/* export/queue: one list for each signal, one bound for all. */
#include <config.h>
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

/* Take the record at *at out of its list. */
static void drop(struct export_queue *q, struct export_record **at)
{
	struct export_record *r = *at;

	*at = r->next;
	if (q->fifo[r->signal].tail == &r->next)
		q->fifo[r->signal].tail = at;
	q->bytes -= buf_len(&r->payload);
	q->fifo[r->signal].bytes -= buf_len(&r->payload);
	q->fifo[r->signal].records--;
	buf_free(&r->payload);
	free(r);
}

void queue_free(struct export_queue *q)
{
	for (int s = 0; s < EXPORT_SIGNALS; s++)
		queue_clear(q, (enum export_signal)s);
}

void queue_clear(struct export_queue *q, enum export_signal s)
{
	while (q->fifo[s].head)
		drop(q, &q->fifo[s].head);
}

/* Where the oldest record hangs that is not being sent; NULL: there is none. */
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

static void evict(struct export_queue *q, struct export_record **at)
{
	q->fifo[(*at)->signal].evicted += (*at)->items;
	drop(q, at);
}

static void shrink(struct export_queue *q, size_t more)
{
	struct export_record **at;

	while (q->bytes + more > q->max_bytes && (at = oldest_free(q)))
		evict(q, at);
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
	r->since_ns = now_ns;
	*q->fifo[s].tail = r;
	q->fifo[s].tail = &r->next;
	q->fifo[s].records++;
	q->fifo[s].bytes += n;
	q->bytes += n;
	return 0;
}

struct export_record *queue_head(struct export_queue *q, enum export_signal s)
{
	return q->fifo[s].head;
}

void queue_pop(struct export_queue *q, enum export_signal s)
{
	drop(q, &q->fifo[s].head);
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
		const struct export_record *r = q->fifo[s].head;

		if (r && (!oldest || r->since_ns < oldest))
			oldest = r->since_ns;
	}
	return oldest;
}
