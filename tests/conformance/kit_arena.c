/* SPDX-License-Identifier: Apache-2.0
 *
 * kit: memory on pages of its own.  A call, its arguments, a session or the text of a setting lives
 * here; when its life is over its pages are closed, and whoever still touches them is named.
 *
 * One large reservation serves as a ring, so that an address is not used again for a long time.
 */
#include <config.h>
#include "kit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u
#define PAGES (1u << 17) /* 512 MiB of addresses, hardly any memory */

struct page { /* of the first page of a block */
	void *owner;
	uint32_t count; /* pages of the block; 0: not the first of one */
	uint8_t kind;
	bool live;
};

static uint8_t *base;
static struct page *pages;
static uint32_t ring;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct page *page_of(const void *p)
{
	const uint8_t *b = p;
	size_t i;

	if (!base || b < base || b >= base + (size_t)PAGES * PAGE)
		return NULL;
	for (i = (size_t)(b - base) / PAGE; i > 0 && pages[i].count == 0; i--)
		;
	return i + pages[i].count > (size_t)(b - base) / PAGE ? &pages[i] : NULL;
}

/* A fault: in the ring it is a finding, elsewhere the program's own business. */
static void on_fault(int sig, siginfo_t *info, void *context)
{
	struct page *pg = page_of(info->si_addr);

	(void)context;
	if (pg && pg->count && !pg->live) {
		struct kcall *k = pg->kind == ARENA_CALL ? pg->owner : NULL;

		/* Not async-signal-safe, but the fault is a synchronous one in the plugin's code.
		 */
		if (k)
			kit_blame(3, "call #%u (%s) was touched after its end", k->id, k->name);
		else if (pg->kind == ARENA_SESSION)
			kit_blame(3, "a session was touched after session_end()");
		else if (pg->kind == ARENA_TEXT)
			kit_blame(20, "the text of a setting was read after start() or prepare() "
				      "had returned");
		else
			kit_blame(3, "a call was touched after its end");
		_exit(3);
	}
	signal(sig, SIG_DFL);
	raise(sig);
}

void arena_init(void)
{
	struct sigaction sa = { .sa_flags = SA_SIGINFO | SA_NODEFER, .sa_sigaction = on_fault };

	base = mmap(NULL, (size_t)PAGES * PAGE, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	pages = calloc(PAGES, sizeof(*pages));
	if (base == MAP_FAILED || !pages) {
		fputs("purser-plugin-check: out of memory\n", stderr);
		_exit(2);
	}
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
}

/* count pages in a row without anything live; PAGES: none. */
static uint32_t ring_find(uint32_t count)
{
	uint32_t at = ring, run = 0, left = 2 * PAGES;

	while (left-- > 0) {
		if (at == PAGES) {
			at = 0;
			run = 0;
		}
		if (pages[at].count && pages[at].live) {
			at += pages[at].count;
			run = 0;
			continue;
		}
		at++;
		if (++run == count)
			return at - count;
	}
	return PAGES;
}

void *arena_get(size_t n, enum arena_kind kind, void *owner)
{
	uint32_t count = (uint32_t)((n + PAGE - 1) / PAGE) + 1, at; /* one closed page behind */
	uint8_t *p;

	pthread_mutex_lock(&lock);
	at = ring_find(count);
	if (at == PAGES) {
		pthread_mutex_unlock(&lock);
		kit_stop(12, "the plugin holds more calls than the kit has memory for");
	}
	memset(&pages[at], 0, count * sizeof(*pages));
	pages[at] = (struct page){ owner ? owner : base + (size_t)at * PAGE, count, (uint8_t)kind,
		true };
	ring = at + count;
	p = base + (size_t)at * PAGE;
	pthread_mutex_unlock(&lock);
	if (mprotect(p, (size_t)(count - 1) * PAGE, PROT_READ | PROT_WRITE) < 0)
		kit_stop(12, "the plugin holds more calls than the kernel has mappings for");
	return p;
}

void arena_retire(void *p)
{
	struct page *pg = page_of(p);
	size_t n = (size_t)(pg->count - 1) * PAGE;

	madvise(p, n, MADV_DONTNEED);
	mprotect(p, n, PROT_NONE);
	pthread_mutex_lock(&lock);
	pg->live = false;
	pthread_mutex_unlock(&lock);
}

void *arena_owner(const void *p, enum arena_kind kind)
{
	struct page *pg;
	void *owner;

	pthread_mutex_lock(&lock);
	pg = page_of(p);
	owner = pg && pg->count && pg->kind == (uint8_t)kind &&
	    (const uint8_t *)p == base + (size_t)(pg - pages) * PAGE ? pg->owner : NULL;
	pthread_mutex_unlock(&lock);
	return owner;
}
