/* SPDX-License-Identifier: Apache-2.0
 *
 * metric/slowlog: requests that took long, project by project: the latest ones with their words and whose they
 * were, and for each kind of event at most one sample a second.  In: what was slow, from any thread.  Out: what
 * SLOWLOG and LATENCY show to that project.
 *
 * Everything has a maximum: words and their bytes as in Redis, entries and samples of a project, projects (the one
 * that was slow longest ago goes).
 */
#ifndef METRIC_SLOWLOG_H
#define METRIC_SLOWLOG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <purser/plugin.h>

#define SLOW_ARGS 32u
#define SLOW_ARG_BYTES 128u
#define SLOW_PROJECTS 1024u
#define SLOW_SAMPLES 160u

struct slowlogs;
struct slowlogs *slowlogs_new(void);
void slowlogs_free(struct slowlogs *s);
void slowlogs_limit(struct slowlogs *s, uint32_t entries); /* of each project, from now on */

enum slow_event { SLOW_COMMAND, SLOW_FAST_COMMAND, SLOW_EVENTS };
const char *slow_event_name(enum slow_event e); /* as Redis calls them */

struct slow_request {
	enum slow_event event;
	uint64_t unix_s, us;
	uint32_t pid, uid;
	const char *client;             /* the name that it gave itself, or "" */
	const purser_bytes *argv;
	uint32_t argc;
};
void slowlog_add(struct slowlogs *s, const char *project, const struct slow_request *q);

struct slow_entry {
	struct slow_entry *older, *newer;
	uint64_t id, unix_s, us;
	uint32_t pid, uid;
	uint32_t argc;
	char client[64];
	uint8_t bytes[];                /* of each word 2 of its length, then itself */
};
/* The next word behind *at (0 at first). */
purser_bytes slow_word(const struct slow_entry *e, size_t *at);

/* Calls begin with their number, then fn for the latest max entries, newest first. */
void slowlog_each(struct slowlogs *s, const char *project, uint64_t max, void (*begin)(void *arg, uint64_t n),
    void (*fn)(void *arg, const struct slow_entry *e), void *arg);
uint64_t slowlog_len(struct slowlogs *s, const char *project);
void slowlog_reset(struct slowlogs *s, const char *project);

struct slow_sample { uint32_t unix_s, ms; };
struct slow_series {                /* of one event */
	struct slow_sample v[SLOW_SAMPLES]; /* oldest first */
	uint32_t n, max_ms;
};
void slow_series_get(struct slowlogs *s, const char *project, enum slow_event e, struct slow_series *out);
bool slow_series_reset(struct slowlogs *s, const char *project, enum slow_event e); /* there was one */
#endif
