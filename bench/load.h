/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load itself: one thread, one epoll set, every connection in a closed loop - it sends a batch of
 * `pipeline` requests in one write, waits for all their replies, sends the next. In goes a struct
 * load_options, out comes a struct load_result; nothing is kept between runs.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "hist.h"
#include "keys.h"
#include "net.h"
#include "watch.h"
#include "wire.h"

struct load_options {
	struct net_addr addr;
	unsigned conns, pipeline, idle, subscribers, multi;
	unsigned weight[OP_COUNT]; /* the mix; publish stands alone */
	uint32_t keys;
	enum key_dist dist;
	double theta;
	size_t value_bytes;
	char prefix[4];
	unsigned ttl; /* seconds, of SET; 0 = none */
	uint64_t seed;
	double seconds, warmup; /* of the measured window, and before it */
	uint64_t requests;	/* instead of seconds, when not 0 */
	unsigned stall;		/* seconds without any reply after which the run fails */
	bool reconnect, memcache, check_values;
	const char *setup; /* inline RESP command for each connection, or NULL */
	struct watch watch[WATCH_MAX];
	unsigned watches;
};

struct load_result {
	uint64_t ops, batches, deliveries; /* in the window */
	uint64_t nils, errors, mismatches; /* in the whole run */
	uint64_t connect_retries;	   /* the listener's backlog was full */
	struct hist latency;		   /* one value a reply, from its batch's write (or connect) */
	struct hist delivery;		   /* one value a message, from its PUBLISH's write */
	struct watch_mark begin, end;
};

/* 0, or -1 after saying why on stderr: a peer that is gone, silent or not understood. */
int load_run(const struct load_options *o, struct load_result *r);

#endif
