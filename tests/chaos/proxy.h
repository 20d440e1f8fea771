/* SPDX-License-Identifier: Apache-2.0
 *
 * chaos-proxy: bytes between the agent and a Redis, with faults.  proxy.c holds the connections and the
 * control line, plant.c counts the commands that pass and plants the errors that the checker must find.
 */
#ifndef CHAOS_PROXY_H
#define CHAOS_PROXY_H 1
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <purser/resp.h>

enum { UP, DOWN }; /* from the agent to the server, and back */
enum { END_CUT = 1, END_RST = 2, END_HALF = 4, END_HOLE = 8 };
enum plant { PLANT_NONE, PLANT_SWAP, PLANT_DROP, PLANT_DUP, PLANT_REPEAT, PLANT_LOSE, PLANT_REORDER, PLANT_WORD, PLANTS };
extern const char *const plant_names[PLANTS];

struct bytes {
	uint8_t *p;
	size_t at, n, cap; /* p[at..n) waits */
};

/* One direction of a connection. */
struct way {
	struct bytes out;      /* may leave, in this order */
	struct bytes stage;    /* with a plant: what is not a whole value yet */
	uint64_t hold_until;   /* ns */
	uint64_t left;         /* bytes until the end that was drawn for this connection strikes */
	size_t piece;          /* the next write has at most this many, 0: not drawn */
	bool eof_in, eof_out, swallow;
	/* plant.c: the value that is arriving */
	purser_scan scan;
	uint8_t head[64];
	uint8_t nhead;
	bool inside;
	uint64_t values;       /* that passed, pushes left out */
};

struct pair {
	struct pair *next;
	int fd[2];             /* agent, server */
	struct way way[2];
	uint64_t close_at;     /* ns; 0: not set */
	uint64_t skip;         /* the number of the reply that a repeated command makes too many */
	bool skipping, connecting, dead, subscribed, rst;
};

struct settings {
	unsigned split, delay, stall, refuse, hang; /* per mille */
	unsigned delay_us, stall_ms, hole_ms;
	unsigned life_bytes, ends;
	unsigned plant, plant_every;
	bool frozen, refusing, linger, orderly;
};
extern struct settings set;

struct counters {
	uint64_t accepted, connected, connect_failed, closed, cut, rst, half, hole, refused, hung, stalls;
	uint64_t bytes[2], commands, replies, planted, attempts_while_refused;
};
extern struct counters count;

void bytes_add(struct bytes *b, const void *p, size_t n);
uint32_t below(uint32_t n);

/* What came in one direction: counted, and into way->out. */
void plant_took(struct pair *p, int dir, const uint8_t *b, size_t n);
/* {"GET":12,...} of all commands that came from the agent. */
void plant_names_json(char *out, size_t cap);
void plant_zero(void);

#endif
