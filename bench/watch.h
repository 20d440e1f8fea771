/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU time of other processes and of the whole machine, so that the generator can bracket exactly
 * the window it measures.
 *
 * A process' time is the sum over the threads that live at the moment of reading (schedstat, in
 * nanoseconds; the running thread's current slice is missing, at most one tick). A thread that ends
 * inside the window takes its time with it.
 */
#ifndef BENCH_WATCH_H
#define BENCH_WATCH_H

#include <stdint.h>

#define WATCH_MAX 8

struct watch {
	char name[32];
	int pid;
};

struct watch_mark {
	uint64_t now_ns;
	uint64_t own_ns;	     /* CPU of this process */
	uint64_t cpu_ns[WATCH_MAX];  /* CPU of each watched process */
	uint64_t host_ns, stolen_ns; /* busy, and taken by the hypervisor, over all CPUs; 10 ms steps */
};

/* "name=pid"; -1 when it is not. */
int watch_parse(const char *text, struct watch *w);

/* -1 when a watched process is not there. */
int watch_take(const struct watch *w, unsigned count, struct watch_mark *mark);

#endif
