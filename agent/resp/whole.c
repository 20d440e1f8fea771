/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <string.h>
#include "base/errors.h"
#include "resp/filter.h"

int whole_put(struct whole_filter *f, const void *p, size_t n)
{
	return f->then ? f->then->feed(f->then, p, n) : out_put(*f->out, f->pool, p, n);
}

/* As large as it becomes; what was too small stays in the arena until its end: as much again at most. */
static int room(struct whole_filter *f, size_t n)
{
	size_t cap = f->cap ? f->cap : 1024;
	uint8_t *p;

	if (f->cap - f->have >= n)
		return 0;
	if (n > f->max - f->have) {
		f->f.err = ERR_TOOBIG;
		return -1;
	}
	while (cap < f->have + n)
		cap *= 2;
	p = arena_get(f->arena, cap);
	if (!p) {
		f->f.err = ERR_OOM;
		return -1;
	}
	if (f->have)
		memcpy(p, f->hold, f->have);
	f->hold = p;
	f->cap = cap;
	return 0;
}

static int feed(struct reply_filter *base, const uint8_t *p, size_t n)
{
	struct whole_filter *f = (struct whole_filter *)base;
	int64_t took;

	if (!n)
		return 0;
	if (purser_scan_done(&f->scan) || room(f, n)) /* more than one value */
		return -1;
	memcpy(f->hold + f->have, p, n);
	f->have += n;
	took = purser_scan_feed(&f->scan, f->hold + f->seen, f->have - f->seen);
	if (took < 0)
		return -1;
	f->seen += (size_t)took;
	if (!purser_scan_done(&f->scan))
		return 0;
	return f->seen < f->have ? -1 : f->edit(f, f->hold, f->have);
}

void whole_begin(struct whole_filter *f)
{
	f->f.feed = feed;
	purser_scan_begin(&f->scan);
	f->f.err = ERR_NONE;
	f->hold = NULL;
	f->have = f->seen = f->cap = 0;
}
