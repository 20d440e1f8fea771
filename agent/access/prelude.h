/* SPDX-License-Identifier: Apache-2.0
 *
 * access/prelude: what stands in front of a project's Lua script on a store that knows no projects.  In: the
 * script as the client wrote it.  Out: the script as the store runs it: KEYS and redis.call() have logical names
 * there, and nothing that the script may name leads around them.
 *
 * The prefix is no part of the text: it comes as the last argument of the call, and is taken off ARGV.  So one
 * script has one SHA1 for all projects.  The prelude has no line end: lines of errors are the client's.  What
 * stands in it is chosen by what the script mentions, as a name of Lua can be reached by naming it only.
 *
 * It is for programs that are right; what holds against programs that are not is the store's own user, who
 * reaches keys of the project alone (request_confine.h).
 */
#ifndef ACCESS_PRELUDE_H
#define ACCESS_PRELUDE_H
#include "base/buf.h"
#include "command/command.h"

/* The names of all commands and where their keys are, as the prelude has them; built once by main. */
void prelude_table(struct buf *out);

/* Into out, which is empty: table is what prelude_table() made.  0, or -1: no memory.  A body that needs nothing of
 * it comes back as it is, but for the argument: *bare says that the call goes without it. */
int prelude_wrap(const struct buf *table, const void *body, size_t n, struct buf *out, bool *bare);

/* Is it served, but not to a script: it looks beyond the keys that it names (semantics.md section 9). */
bool prelude_beyond(const struct command *c);

/* A script that says whether the store's Lua is one that the prelude knows: "ok", or what is wrong with it. */
extern const char prelude_probe[];
#endif
