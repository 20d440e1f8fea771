/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the load: what load.c (the run), conn.c (connections) and fanout.c (subscribers) share. */
#ifndef BENCH_LOAD_CONN_H
#define BENCH_LOAD_CONN_H

#include "load.h"

enum conn_state {
	CONN_RUN,
	CONN_CONNECTING, /* a TCP handshake is under way */
	CONN_WAITING,	 /* the backlog was full: to be tried again */
	CONN_DONE,
};

/* A request on its way. */
struct pending {
	uint64_t pos; /* in the key sequence */
	enum wire_op op;
};

struct conn {
	int fd;
	unsigned index; /* among the connections of its kind */
	enum conn_state state;
	bool subscriber, want_out;
	struct pending *batch; /* owned; `pipeline` places */
	unsigned sent, seen;   /* requests and replies of the batch */
	uint64_t owed;	       /* messages of the batch's PUBLISHes that are still to be delivered */
	uint64_t batch_ns;     /* when the batch was begun */
	uint64_t published;    /* running number of PUBLISHes */
	uint64_t *heard;       /* owned; a subscriber's last number of each publisher */
	char *in;	       /* owned; bytes of an incomplete reply */
	size_t in_len, in_cap;
	char *out; /* owned; what the socket did not take */
	size_t out_len, out_off;
};

enum load_phase { PHASE_WARMUP, PHASE_MEASURE, PHASE_DRAIN };

struct load {
	const struct load_options *o;
	struct load_result *r;
	struct wire wire;
	struct keys keys;
	int ep;
	bool failed;
	bool own_buffers; /* replies are large: read straight into each connection's buffer */
	struct conn *conns, *subs;
	int *idle; /* owned; descriptors, -1 = not open */
	unsigned active, waiting;
	enum load_phase phase;
	uint64_t phase_end_ns, progress_ns;
	uint64_t budget; /* requests that may still be sent */
	uint64_t pos;	 /* in the key sequence */
	uint64_t rng;
	unsigned weight_sum;
	enum wire_op only; /* the mix, when it is one operation; else OP_COUNT */
	char *rx, *tx;	   /* owned; scratch */
	size_t rx_cap;
};

/* Ends the run: says why, once. */
void load_fail(struct load *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints the first few replies that were not the expected ones. */
void load_complain(struct load *l, const char *what, const char *reply, size_t len);

/* A connected non-blocking socket on which the setup command was answered, or -1. */
int load_open(struct load *l);

/* Registers the descriptor for reading; -1 on failure. */
int load_register(struct load *l, struct conn *c);

/* A new connection for the next batch; the time to connect belongs to it. It may have to wait. */
void conn_reconnect(struct load *l, struct conn *c);

/* Begins the next batch, or, when none is due, ends the connection's part. */
void batch_begin(struct load *l, struct conn *c, uint64_t now);

/* Renders and writes the batch that was begun. */
void batch_send(struct load *l, struct conn *c);

/* Does what epoll says can be done. */
void conn_ready(struct load *l, struct conn *c, uint32_t events);

/* Idle connections: open, proved by one exchange, then silent; asked again at the end. -1 on failure. */
int idle_open(struct load *l);
int idle_ask(struct load *l, int fd);

/* All replies of the batch, and all messages that it published, are here: the next one. */
void load_batch_done(struct load *l, struct conn *c, uint64_t now);

/* Opens and subscribes the subscribers; -1 on failure. */
int fanout_open(struct load *l);

/* Takes whole messages off buf; returns how many bytes that were. */
size_t fanout_consume(struct load *l, struct conn *c, const char *buf, size_t len, uint64_t now);

#endif
