/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include "base/names.h"

#define FIRST_CAP 64u

static uint64_t secret[2];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_secret(void)
{
	struct timespec ts;

	if (getrandom(secret, sizeof secret, GRND_NONBLOCK) == (ssize_t)sizeof secret)
		return;
	clock_gettime(CLOCK_REALTIME, &ts); /* the entropy of early boot: better than none */
	secret[0] ^= (uint64_t)ts.tv_nsec ^ (uint64_t)(uintptr_t)&ts;
	secret[1] ^= (uint64_t)ts.tv_sec * UINT64_C(0x9e3779b97f4a7c15);
}

/* Both halves of the 128-bit product. */
static uint64_t mix(uint64_t a, uint64_t b)
{
	__extension__ typedef unsigned __int128 wide;
	wide w = (wide)a * b;

	return (uint64_t)w ^ (uint64_t)(w >> 64);
}

static uint64_t load(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	memcpy(&v, p, n);
	return v;
}

uint64_t names_hash(uint64_t tag, const void *name, size_t n)
{
	const uint8_t *p = name;
	uint64_t h;

	pthread_once(&once, make_secret);
	h = mix(tag ^ secret[0], n ^ secret[1] ^ UINT64_C(0xa0761d6478bd642f));
	for (; n > 8; p += 8, n -= 8)
		h = mix(h ^ load(p, 8), secret[1] ^ UINT64_C(0xe7037ed1a0b428db));
	if (n)
		h = mix(h ^ load(p, n), secret[0] ^ UINT64_C(0x8ebc6af09c88c6e3));
	return mix(h, UINT64_C(0x589965cc75374cc3));
}

static struct names_node *same(struct names_node *at, uint64_t hash)
{
	while (at && at->hash != hash)
		at = at->next;
	return at;
}

struct names_node *names_first(const struct names *t, uint64_t hash)
{
	return t->cap ? same(t->slot[hash & (t->cap - 1)], hash) : NULL;
}

struct names_node *names_next(const struct names_node *at)
{
	return same(at->next, at->hash);
}

static int grow(struct names *t)
{
	size_t cap = t->cap ? 2 * t->cap : FIRST_CAP;
	struct names_node **slot = calloc(cap, sizeof *slot);

	if (!slot)
		return t->cap ? 0 : -1; /* a full table is slower, not wrong */
	for (size_t i = 0; i < t->cap; i++)
		for (struct names_node *at = t->slot[i], *next; at; at = next) {
			next = at->next;
			at->next = slot[at->hash & (cap - 1)];
			slot[at->hash & (cap - 1)] = at;
		}
	free(t->slot);
	t->slot = slot;
	t->cap = cap;
	return 0;
}

int names_add(struct names *t, struct names_node *node, uint64_t hash)
{
	if (t->n >= t->cap && grow(t))
		return -1;
	node->hash = hash;
	node->next = t->slot[hash & (t->cap - 1)];
	t->slot[hash & (t->cap - 1)] = node;
	t->n++;
	return 0;
}

void names_remove(struct names *t, struct names_node *node)
{
	struct names_node **p = &t->slot[node->hash & (t->cap - 1)];

	while (*p != node)
		p = &(*p)->next;
	*p = node->next;
	if (--t->n == 0)
		names_free(t);
}

struct names_node *names_each(const struct names *t, const struct names_node *at)
{
	size_t i = 0;

	if (at) {
		if (at->next)
			return at->next;
		i = (at->hash & (t->cap - 1)) + 1;
	}
	for (; i < t->cap; i++)
		if (t->slot[i])
			return t->slot[i];
	return NULL;
}

void names_free(struct names *t)
{
	free(t->slot);
	memset(t, 0, sizeof *t);
}
