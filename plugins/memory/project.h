/* SPDX-License-Identifier: Apache-2.0
 *
 * project: whose bytes and keys they are.  A key belongs to the project whose prefix it has.
 *
 * A context's ledger counts everything; what it has counted since the last switch belongs to the project that
 * is switched to, and goes to that project's account at the next switch.  So a command of the same project as
 * the one before pays for a comparison.  What happens to keys that the command does not name (expiry, eviction,
 * the reaper) is done between account_enter(their project) and account_enter(what it answered).
 *
 * The store's own tables (buckets of the key space, queues of eviction) belong to PROJECT_NONE.
 */
#ifndef MEMORY_PROJECT_H
#define MEMORY_PROJECT_H
#include "memory.h"

#define PROJECT_NONE 0u                /* tables, and what is between two owners */
#define PROJECT_BARE 1u                /* keys without a prefix that is known */
#define PROJECT_PREFIX_MAX 200u

struct project {
	_Atomic uint64_t id;               /* call_project() of the last that said it has this prefix */
	uint32_t n;
	uint8_t prefix[PROJECT_PREFIX_MAX];
};

static inline uint64_t call_project(const purser_call *c)
{
	return (uint64_t)c->ns_prefix << 32 | c->ns;
}
#define PROJECT_ANY UINT64_MAX         /* ctx.project: ask again */

/* Before a command with keys whose call_project() is not cx->project, no lock held; `key` is one of its keys.
 * 0, or -1: no memory. */
int project_switch(struct ctx *cx, const purser_call *c, purser_bytes key);
/* A project without a prefix, while others have one: runs fn with the locks held and gives each key's project what
 * it then has.  arg[i] is the place in argv of key number i.  0, or -1: no memory, nothing was done. */
typedef void project_fn(struct ctx *cx, purser_call *c);
int project_run_bare(struct ctx *cx, purser_call *c, project_fn *fn, uint32_t n, uint32_t first, uint32_t step,
    const uint32_t *keys);
static inline int project_is_bare(const struct ctx *cx, const purser_call *c)
{
	return UNLIKELY(c->ns_prefix == 0) &&
	    atomic_load_explicit(&cx->st->nprojects, memory_order_relaxed) > PROJECT_BARE + 1;
}

uint32_t project_of_key(const struct ctx *cx, purser_bytes key);
/* The same of a key that comes from a file, before any command of its project: proj:NAME: as the agent has it
 * unless key_prefix says otherwise.  No lock is held. */
uint32_t project_learn(struct ctx *cx, purser_bytes key);
/* Whose changes the ledger counts from here on; the one before. */
void account_fold(struct ctx *cx, uint32_t project);
static inline uint32_t account_enter(struct ctx *cx, uint32_t project)
{
	uint32_t was = cx->led->project;

	if (was != project)
		account_fold(cx, project);
	return was;
}

/* What a table of the store's own takes or gives back in between is not the project's. */
static inline int64_t account_before(const struct ctx *cx)
{
	return atomic_load_explicit(&cx->led->used, memory_order_relaxed);
}
void account_not_mine(struct ctx *cx, int64_t bytes);
/* PROJECT_NONE counted it out of the store; it was this project's. */
void account_key_gone(struct ctx *cx, int had_ttl);
static inline void account_tables(struct ctx *cx, int64_t before)
{
	int64_t d = account_before(cx) - before;

	if (UNLIKELY(d))
		account_not_mine(cx, d);
}

/* By any thread; exact when nobody runs.  field: enum account_field. */
int64_t project_sum(const struct store *st, uint32_t project, unsigned field);
/* The number of the project of this call, -1: it has no account yet. */
int64_t project_known(struct ctx *cx, const purser_call *c);
int projects_start(struct store *st);
void projects_stop(struct store *st);
#endif
