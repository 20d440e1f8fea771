/* SPDX-License-Identifier: Apache-2.0
 *
 * A small host for tests of the memory plugin: runs commands in this process, keeps the reply as RESP,
 * lets the test set the clocks and fire the timers.
 */
#ifndef TESTS_MEMORY_HOST_H
#define TESTS_MEMORY_HOST_H
#include <stddef.h>
#include <stdint.h>
#include <purser/plugin.h>

struct mh_settings { int64_t max_memory, eviction, databases, script_memory; };

/* One instance.  The clocks are the test's: set them between commands. */
struct mh {
	struct mh_settings set;
	void *state;
	_Atomic uint64_t wall_ms, now_ns;
	const purser_plugin *p;
	/* Under the locks of a command, on any thread; NULL: nobody listens. */
	void (*published)(void *arg, purser_bytes channel, purser_bytes message);
	void (*invalidated)(void *arg, const purser_bytes *keys, size_t n); /* at home */
	void *published_arg;
};

struct mh_timer { uint64_t id, at_ns; purser_fn fn; void *arg; };

/* One thread's view, with the reply of its last command. */
struct mh_ctx {
	struct mh *m;
	void *cs;
	char *reply;                       /* RESP, NUL-terminated behind its end */
	size_t n, cap;
	int resp;                          /* 2 or 3 */
	uint16_t db;
	uint32_t ns, ns_prefix;            /* of the calls: the project, and bytes of its keys' prefix */
	unsigned ended, failed;            /* of the last call; of a batch all parts and itself */
	struct mh_timer timer[8];
	uint64_t timer_ids;
	struct { purser_fn fn; void *arg; } held[64]; /* releases of raw_ref */
	unsigned nheld;
	void *slot;                        /* of its only session */
	purser_job *jobs;                  /* posted */
	unsigned readied;                  /* ready() was called so often */
};

void mh_start(struct mh *m, struct mh_settings set);
void mh_stop(struct mh *m);
void mh_open(struct mh_ctx *x, struct mh *m);
void mh_close(struct mh_ctx *x);

/* Runs a command and returns x->reply. */
const char *mh_argv(struct mh_ctx *x, uint32_t argc, const purser_bytes *argv);
/* The words of a printf-formatted line, separated by blanks: mh_run(x, "SET k%d v", i). */
const char *mh_run(struct mh_ctx *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Runs what was posted; how many jobs. */
unsigned mh_jobs(struct mh_ctx *x);
/* A batch: commands separated by newlines.  It ends the session's watch. */
const char *mh_batch(struct mh_ctx *x, const char *lines);
void mh_release(struct mh_ctx *x);         /* what replies still hold */

/* Moves both clocks and fires what is due; the number of timers that fired. */
unsigned mh_pass(struct mh_ctx *x, uint64_t ms);
purser_stats mh_stats(struct mh *m);
const purser_plugin *purser_plugin_init(void);
int mh_op(const char *name, size_t n);     /* its index, or -1 */
#endif
