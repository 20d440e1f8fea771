/* SPDX-License-Identifier: Apache-2.0
 *
 * backend/scripts: the bodies of Lua scripts by their SHA1, as the clients of each project have sent them.  A
 * server forgets its scripts when it restarts; with what is here the agent sends them again.  In: bodies that
 * the store has accepted.  Out: a reference to one.  Shared by all workers; a lock, off the hot path.
 *
 * Where scripts run behind a prelude (access/prelude.h) the store has them by another SHA1 than the client.
 *
 * Each project has a list of its own, at most so many bytes; the one that was not used for longest goes first.
 */
#ifndef BACKEND_SCRIPTS_H
#define BACKEND_SCRIPTS_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <purser/plugin.h>
#include "base/buf.h"

#define SCRIPT_SHA 20u

struct script {
	_Atomic uint32_t refs;
	uint32_t ns;
	uint8_t sha[SCRIPT_SHA];
	uint8_t physical[SCRIPT_SHA];     /* by which the store has it: of the body behind its prelude */
	bool bare;                        /* it needs no prelude */
	struct script *chain;             /* of the hash table */
	struct script *newer, *older;     /* of the project */
	size_t n;
	uint8_t body[];
};
void script_unref(struct script *s);      /* NULL is fine */

struct scripts;
struct scripts *scripts_new(size_t max);  /* bytes of one project; NULL: no memory */
void scripts_free(struct scripts *s);
void scripts_limit(struct scripts *s, size_t max);

void script_sha(purser_bytes body, uint8_t sha[SCRIPT_SHA]);
void script_sha_text(const uint8_t sha[SCRIPT_SHA], char text[2 * SCRIPT_SHA + 1]);
/* 40 hexadecimal digits in any case; false: it is none. */
bool script_sha_of(purser_bytes text, uint8_t sha[SCRIPT_SHA]);

/* Remember it; what cannot be kept (no memory, larger than the limit) is not. */
void scripts_put(struct scripts *s, uint32_t ns, const uint8_t sha[SCRIPT_SHA], purser_bytes body);
/* One reference, or NULL. */
struct script *scripts_get(struct scripts *s, uint32_t ns, const uint8_t sha[SCRIPT_SHA]);
/* The client's SHA1 of a script that the store has as physical; false: there is none. */
bool scripts_logical(struct scripts *s, uint32_t ns, const uint8_t physical[SCRIPT_SHA], uint8_t sha[SCRIPT_SHA]);
void scripts_forget(struct scripts *s, uint32_t ns);
/* Goes up when any project forgot: what was known to be loaded may not be. */
uint32_t scripts_epoch(const struct scripts *s);
/* The body as the store is to have it, into out (empty), and the SHA1 of that.  0, or -1: no memory. */
int scripts_wrap(const struct scripts *s, purser_bytes body, struct buf *out, uint8_t physical[SCRIPT_SHA], bool *bare);
/* True once for each project. */
bool scripts_first(struct scripts *s, uint32_t ns);
#endif
