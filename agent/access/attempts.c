/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <string.h>
#include "access/attempts.h"

void attempts_init(struct attempts *t)
{
	memset(t, 0, sizeof *t);
	pthread_mutex_init(&t->lock, NULL);
}

void attempts_end(struct attempts *t)
{
	pthread_mutex_destroy(&t->lock);
}

static void forget(struct attempts_of *o, uint64_t now_ns)
{
	uint64_t gone = now_ns > o->since_ns ? (now_ns - o->since_ns) / ATTEMPTS_FORGET_NS : 0;

	o->n = gone < o->n ? o->n - (uint32_t)gone : 0;
	o->since_ns = o->n ? o->since_ns + gone * ATTEMPTS_FORGET_NS : now_ns;
}

/* The owner's own place; else a free one; else that of who has failed least, which they share from now on. */
static struct attempts_of *place(struct attempts *t, uint64_t owner, uint64_t now_ns)
{
	struct attempts_of *v = &t->of[owner * UINT64_C(0x9e3779b97f4a7c15) >> 58 << 2], *least = v;

	_Static_assert(ATTEMPTS_OWNERS == 64 * ATTEMPTS_WAYS && ATTEMPTS_WAYS == 4, "six bits, and four places each");
	for (unsigned i = 0; i < ATTEMPTS_WAYS; i++) {
		forget(&v[i], now_ns);
		if (v[i].n && v[i].owner == owner)
			return &v[i];
		if (v[i].n < least->n)
			least = &v[i];
	}
	least->owner = owner;
	return least;
}

uint32_t attempts_failed(struct attempts *t, uint64_t owner, uint64_t now_ns)
{
	struct attempts_of *o;
	uint32_t n;

	pthread_mutex_lock(&t->lock);
	o = place(t, owner, now_ns);
	o->n += o->n < ATTEMPTS_MAX;
	n = o->n;
	pthread_mutex_unlock(&t->lock);
	return n;
}
