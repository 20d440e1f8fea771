/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include "fiber.h"

#if defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TSAN 1
#endif
#endif
#ifdef ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef TSAN
#include <sanitizer/tsan_interface.h>
#endif

#define STACK ((size_t)16 << 20)           /* what is not touched costs nothing */
#define GUARD ((size_t)64 << 10)

struct fiber {
	ucontext_t caller, own;
	uint8_t *stack;                    /* GUARD, then the stack */
	fiber_fn *fn;
	void *arg;
	int done;
#ifdef ASAN
	void *fake_caller, *fake_own;
	const void *caller_stack;
	size_t caller_size;
#endif
#ifdef TSAN
	void *tsan_caller, *tsan_own;
#endif
};

struct fiber *fiber_new(void)
{
	struct fiber *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->stack = mmap(NULL, GUARD + STACK, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (f->stack == MAP_FAILED || mprotect(f->stack, GUARD, PROT_NONE)) {
		if (f->stack != MAP_FAILED)
			munmap(f->stack, GUARD + STACK);
		free(f);
		return NULL;
	}
#ifdef TSAN
	f->tsan_own = __tsan_create_fiber(0);
#endif
	return f;
}

void fiber_free(struct fiber *f)
{
	if (!f)
		return;
#ifdef TSAN
	__tsan_destroy_fiber(f->tsan_own);
#endif
	munmap(f->stack, GUARD + STACK);
	free(f);
}

/* To the caller; it comes back where it goes on. */
static void to_caller(struct fiber *f)
{
#ifdef ASAN
	__sanitizer_start_switch_fiber(&f->fake_own, f->caller_stack, f->caller_size);
#endif
#ifdef TSAN
	__tsan_switch_to_fiber(f->tsan_caller, 0);
#endif
	swapcontext(&f->own, &f->caller);
#ifdef ASAN
	__sanitizer_finish_switch_fiber(f->fake_own, &f->caller_stack, &f->caller_size);
#endif
}

/* makecontext() passes integers only. */
static void begin(unsigned high, unsigned low)
{
	struct fiber *f = (struct fiber *)((uintptr_t)high << 16 << 16 | (uintptr_t)low);

#ifdef ASAN
	__sanitizer_finish_switch_fiber(NULL, &f->caller_stack, &f->caller_size);
#endif
	for (;;) {
		f->fn(f->arg);
		f->done = 1;
		to_caller(f);
	}
}

int fiber_go_on(struct fiber *f)
{
	f->done = 0;
#ifdef ASAN
	__sanitizer_start_switch_fiber(&f->fake_caller, f->stack + GUARD, STACK);
#endif
#ifdef TSAN
	f->tsan_caller = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(f->tsan_own, 0);
#endif
	swapcontext(&f->caller, &f->own);
#ifdef ASAN
	__sanitizer_finish_switch_fiber(f->fake_caller, NULL, NULL);
#endif
	return f->done;
}

int fiber_run(struct fiber *f, fiber_fn *fn, void *arg)
{
	f->arg = arg;
	if (!f->fn) {
		getcontext(&f->own);
		f->own.uc_stack.ss_sp = f->stack + GUARD;
		f->own.uc_stack.ss_size = STACK;
		f->own.uc_link = NULL;
		makecontext(&f->own, (void (*)(void))begin, 2, (unsigned)((uintptr_t)f >> 16 >> 16), (unsigned)(uintptr_t)f);
	}
	f->fn = fn;
	return fiber_go_on(f);
}

void fiber_leave(struct fiber *f) { to_caller(f); }
