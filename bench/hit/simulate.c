/* SPDX-License-Identifier: Apache-2.0
 *
 * Exact caches: see simulate.h.
 */
#include <stdlib.h>
#include <string.h>
#include "simulate.h"

#define NONE UINT32_MAX

/* ---- a queue of keys, each in at most one queue ------------------------------------------------------------- */
struct link { uint32_t prev, next; };
struct queue { uint32_t first, last, n; };

static void queue_push(struct queue *q, struct link *l, uint32_t k) /* at the front: the newest */
{
	l[k] = (struct link){ NONE, q->n ? q->first : NONE };
	if (q->n)
		l[q->first].prev = k;
	else
		q->last = k;
	q->first = k;
	q->n++;
}

static void queue_take(struct queue *q, struct link *l, uint32_t k)
{
	if (l[k].prev != NONE)
		l[l[k].prev].next = l[k].next;
	else
		q->first = l[k].next;
	if (l[k].next != NONE)
		l[l[k].next].prev = l[k].prev;
	else
		q->last = l[k].prev;
	q->n--;
}

static double queue_run(const struct trace *t, uint32_t room, int lru)
{
	struct link *l = malloc(t->keys * sizeof(*l));
	uint8_t *in = calloc(t->keys, 1);
	struct queue q = { 0 };
	size_t hits = 0, i;

	for (i = 0; l && in && i < t->n; i++) {
		uint32_t k = t->key[i];

		if (in[k]) {
			hits++;
			if (lru) {
				queue_take(&q, l, k);
				queue_push(&q, l, k);
			}
			continue;
		}
		if (q.n == room) {
			in[q.last] = 0;
			queue_take(&q, l, q.last);
		}
		queue_push(&q, l, k);
		in[k] = 1;
	}
	free(l);
	free(in);
	return i == t->n ? (double)hits / (double)t->n : -1;
}

double simulate_fifo(const struct trace *t, uint32_t room) { return queue_run(t, room, 0); }
double simulate_lru(const struct trace *t, uint32_t room) { return queue_run(t, room, 1); }

/* ---- S3-FIFO, as algorithm 1 of the paper has it ----------------------------------------------------------------- */
struct s3 {
	struct link *l;
	uint8_t *where, *uses;           /* 0: nowhere, 1 small, 2 main, 3 ghost */
	struct queue q[4];
	uint32_t room, small;
};

static void s3_put(struct s3 *s, uint32_t k, uint8_t where)
{
	if (s->where[k])
		queue_take(&s->q[s->where[k]], s->l, k);
	s->where[k] = where;
	if (where)
		queue_push(&s->q[where], s->l, k);
}

static void s3_evict_main(struct s3 *s)
{
	while (s->q[2].n) {
		uint32_t k = s->q[2].last;

		if (!s->uses[k]) {
			s3_put(s, k, 0);
			return;
		}
		s->uses[k]--;
		s3_put(s, k, 2);
	}
}

static void s3_evict(struct s3 *s)
{
	while (s->q[1].n >= s->small && s->q[1].n) {
		uint32_t k = s->q[1].last;

		if (s->uses[k] > 1) {
			s->uses[k] = 0;
			s3_put(s, k, 2);
			if (s->q[2].n > s->room - s->small)
				s3_evict_main(s);
			if (s->q[1].n + s->q[2].n < s->room)
				return;
			continue;
		}
		s3_put(s, k, 3);
		if (s->q[3].n > s->room - s->small)
			s3_put(s, s->q[3].last, 0);
		return;
	}
	s3_evict_main(s);
}

double simulate_s3fifo(const struct trace *t, uint32_t room)
{
	struct s3 s = { malloc(t->keys * sizeof(struct link)), calloc(t->keys, 1), calloc(t->keys, 1),
		{ { 0 } }, room, room / 10 ? room / 10 : 1 };
	size_t hits = 0, i;

	for (i = 0; s.l && s.where && s.uses && i < t->n; i++) {
		uint32_t k = t->key[i];
		int ghost;

		if (s.where[k] == 1 || s.where[k] == 2) {
			hits++;
			s.uses[k] += s.uses[k] < 3;
			continue;
		}
		ghost = s.where[k] == 3;
		while (s.q[1].n + s.q[2].n >= room)
			s3_evict(&s);
		if (s.where[k])
			s3_put(&s, k, 0);
		s.uses[k] = 0;
		s3_put(&s, k, ghost ? 2 : 1);
	}
	free(s.l);
	free(s.where);
	free(s.uses);
	return i == t->n ? (double)hits / (double)t->n : -1;
}

/* ---- heaps: LFU (least count, then oldest use), Belady (next use farthest) -------------------------------------------- */
struct heap { uint64_t *rank; uint32_t *at, *key, n; }; /* the least rank on top */

static int heap_make(struct heap *h, uint32_t keys, uint32_t room)
{
	*h = (struct heap){ calloc(keys, sizeof(*h->rank)), malloc(keys * sizeof(*h->at)),
		malloc(room * sizeof(*h->key)), 0 };
	if (h->at)
		memset(h->at, 0xff, keys * sizeof(*h->at));
	return h->rank && h->at && h->key ? 0 : -1;
}

static void heap_free(struct heap *h)
{
	free(h->rank);
	free(h->at);
	free(h->key);
}

static void heap_set(struct heap *h, uint32_t i, uint32_t k)
{
	h->key[i] = k;
	h->at[k] = i;
}

static void heap_move(struct heap *h, uint32_t i)
{
	uint32_t k = h->key[i], c;

	for (; i && h->rank[h->key[(i - 1) / 2]] > h->rank[k]; i = (i - 1) / 2)
		heap_set(h, i, h->key[(i - 1) / 2]);
	while ((c = 2 * i + 1) < h->n) {
		c += c + 1 < h->n && h->rank[h->key[c + 1]] < h->rank[h->key[c]];
		if (h->rank[h->key[c]] >= h->rank[k])
			break;
		heap_set(h, i, h->key[c]);
		i = c;
	}
	heap_set(h, i, k);
}

static void heap_pop(struct heap *h)
{
	uint32_t k = h->key[0], last = h->key[--h->n];

	h->at[k] = NONE;
	if (h->n) {
		heap_set(h, 0, last);
		heap_move(h, 0);
	}
}

/* rank(i): of the key of request i from here on.  count: the rank before counts, as LFU has it. */
static double heap_run(const struct trace *t, uint32_t room, const uint64_t *rank)
{
	struct heap h;
	size_t hits = 0, i = 0;
	int failed = heap_make(&h, t->keys, room);

	for (; !failed && i < t->n; i++) {
		uint32_t k = t->key[i];
		int hit = h.at[k] != NONE;
		uint64_t r = rank ? rank[i] : ((hit ? h.rank[k] >> 32 : 0) + 1) << 32 | i;

		hits += (size_t)hit;
		if (!hit) {
			if (h.n == room)
				heap_pop(&h);
			heap_set(&h, h.n++, k);
		}
		h.rank[k] = r;
		heap_move(&h, h.at[k]);
	}
	heap_free(&h);
	return failed ? -1 : (double)hits / (double)t->n;
}

double simulate_lfu(const struct trace *t, uint32_t room) { return heap_run(t, room, NULL); }

double simulate_belady(const struct trace *t, uint32_t room)
{
	uint64_t *rank = malloc(t->n * sizeof(*rank)), *next = calloc(t->keys, sizeof(*next));
	double hits = -1;
	size_t i;

	for (i = t->n; rank && next && i-- > 0;) {
		rank[i] = UINT64_MAX - (next[t->key[i]] ? next[t->key[i]] : UINT64_MAX - 1);
		next[t->key[i]] = i + 1;
	}
	if (rank && next)
		hits = heap_run(t, room, rank);
	free(rank);
	free(next);
	return hits;
}
