/* SPDX-License-Identifier: Apache-2.0
 *
 * The isolation fuzzer: two projects say random things to one agent, at the same time and under the same names; a
 * private redis-server for each says what they must hear.
 *
 *   isolation.c  options, what is sent and what is not
 *   items.c      makes an episode: commands, and units of commands that belong together
 *   world.c      connections: beginning, what is heard besides replies, whose bytes come where
 *   play.c       plays an episode and compares
 *   shrink.c     episodes, and the short form of one that showed a difference
 */
#ifndef ISO_H
#define ISO_H
#include "../differential/diff.h"

#define LINKS 5                 /* connections of a project */
#define MARKER 16               /* bytes */

enum how {
	PLAIN, LOOSE, LINES, CHANNELS, ALONE, REFUSED,
	TX,        /* MULTI to EXEC */
	WAITING,   /* it may wait until another link does something */
	GREET,     /* HELLO, RESET, QUIT: what the connection is changes */
	LEAVE,
};

struct item {
	uint8_t project, link, how;
	uint32_t n;
	struct cmd *c;
};

/* What one connection heard besides replies, since it was last looked at: a line of its own for each. */
struct heard { struct word *w; size_t n, cap; };

struct world;
struct project;
struct link {
	struct session s;           /* a: the model, b: the agent */
	struct project *p;
	struct heard heard[2];
	struct heard told;          /* invalidations of the agent's in this episode */
	uint64_t id[2];
	uint32_t number;
	int waiting;                /* a command of it is under way since an earlier turn */
	int deaf;                   /* an invalidation is missing */
	int loose;                  /* the order of confirmations is a table's */
	struct cmd wait;
};

struct project {
	struct world *w;
	const char *name, *model;
	uint8_t marker[MARKER];
	char hex[2 * MARKER + 1];
	char prefix[80];
	struct link link[LINKS];
	int ears;                   /* some link hears more than replies in this episode */
	int disturbed;              /* the other project began to track: then everything of this is invalid once */
	int flushed;                /* ... and a FLUSH was among what was said */
	struct link *turn;          /* plain commands wait to be sent on it */
	const struct item *queue[80];
	uint32_t nqueue;
};

struct iso_options {
	const char *agent, *model[2], *name[2], *store;
	uint64_t seed, episodes;
	double seconds;
	uint32_t databases;
	int quick;                  /* a finding is not made shorter */
	int undeclared;             /* 1: scripts name keys that they do not declare; 2: and list them */
};

struct world {
	const struct iso_options *o;
	struct project p[2];
	FILE *report;
	uint64_t seed, done, fences;
	int leaked;
	char kind[80];              /* of the finding: its short form must show the same */
	struct arena mem;           /* of a turn of play */
	struct side ask_store, ask_model[2]; /* how many wait there */
};

/* ---- isolation.c ----------------------------------------------------------------------------------------- */
struct special { unsigned weight; enum how how; enum rule rule; const char *text, *reason; };
extern const struct special specials[];
extern const size_t nspecials;
void sent(const struct cmd *c);             /* for the account of what has been sent */

/* ---- items.c --------------------------------------------------------------------------------------------- */
/* How many items of an episode were made. */
uint32_t make_items(struct world *w, struct arena *mem, uint64_t seed, struct item *out, uint32_t max);
/* Words that stand for the number of a connection: made when they are sent. */
extern const uint8_t id_own[LINKS], id_foreign[LINKS];

/* ---- world.c --------------------------------------------------------------------------------------------- */
int link_open(struct link *l);              /* both connections, greeted, with the numbers they have */
void link_close(struct link *l);
int link_greet(struct link *l, int agent_only); /* the agent's side: which project */
void add_to(struct link *l, int agent, const struct cmd *c);
void add_fence(struct link *l, int agent);  /* and wants what comes before it */
int heard_enough(struct link *l);           /* 1: the agent's side heard what the model's did */
void heard_clear(struct link *l);
void say(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
int leak_found(struct world *w);
void blame(struct world *w, const char *what, const struct cmd *c);

/* ---- play.c ---------------------------------------------------------------------------------------------- */
int play(struct world *w, const struct item *v, uint32_t n); /* 0, or -1: a finding */

/* ---- shrink.c -------------------------------------------------------------------------------------------- */
int iso_run(struct world *w);
void print_item(FILE *f, const struct item *it);
#endif
