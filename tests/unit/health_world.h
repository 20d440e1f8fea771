/* SPDX-License-Identifier: Apache-2.0 */
/* A store, a clock and a loop that the test plays, for the tests of the health room. */
#ifndef HEALTH_WORLD_H
#define HEALTH_WORLD_H
#include <inttypes.h>
#include <jansson.h>
#include "health/health.h"

#define SECOND UINT64_C(1000000000)
#define MS UINT64_C(1000000)
#define ASKS 64

struct pending {
	char word[8][96];
	uint32_t argc, instance;
	uint64_t timeout_ns;
	health_answer_fn done;
	void *arg;
};
struct store {
	char key[96], value[96];
	char info[1024];
	const char *fail[8];        /* by step: PING SET GET DEL INFO DBSIZE SCAN; "WORD text" */
	enum err_code code;
	int foreign_values;         /* so many GETs find what another agent wrote */
	int lost_values;            /* so many GETs find nothing */
	bool wrong_value, silent, nostring;
	const char *keys[32];
	long long dbsize;           /* -1: as many as keys */
	uint64_t lag_ns;
};
struct world {
	uint64_t now, wall_ms;
	struct loop *loop;
	struct pending asks[ASKS];
	unsigned nasks, total;
	struct store store[3];
	struct health_telemetry telemetry;
	struct health_breaker breaker;
	purser_stats stats;
	unsigned documents;
	json_t *document;
	char seen[65536];           /* every command, in order */
	struct metric_reg *metrics;
	struct metric_shard *shard;
	char state_dir[64];
};
extern struct world W;

#define CAPS (PURSER_CAP_KV | PURSER_CAP_TTL | PURSER_CAP_SCAN | PURSER_CAP_INFO)
extern struct project P[2]; /* the first one is used: default, proj:default: */

int begin(void **state); /* set up and teardown of each test */
int end(void **state);
struct health_deps deps(void);
struct health_setup setup(const struct health_instance *i, uint32_t n);
struct health_instance backend(uint32_t index, const char *name);
struct health *start(const struct health_setup *s); /* new and set up; nothing answered yet */
void memory_is(int instance, unsigned used, unsigned max, const char *more); /* what INFO says */
void fake_breaker(void *arg, uint32_t i, struct health_breaker *out);

/* Answer what was asked, a millisecond (or lag) each, until nothing more is asked. */
void pump(void);
void pass(uint64_t ns);                         /* time passes, then pump() */
void reply_to(struct pending *p, char *out, size_t cap);
void got(void *arg, const char *json, size_t n); /* parses into W.document */
void document(struct health *h);                /* asks for it and waits */
json_t *at(const char *path);                   /* W.document's value at "memory.status" */
void says(const char *path, const char *want);
bool reason(const char *part);                  /* do the reasons say so? */
double cell(enum metric_id want);               /* the only (or last) point; -1: none */
#endif
