/* SPDX-License-Identifier: Apache-2.0
 *
 * quota: what a project may have, if its calls say so (purser_quota).  Looked at before a command runs, as
 * max_memory is; what frees memory always runs.
 */
#ifndef MEMORY_QUOTA_H
#define MEMORY_QUOTA_H
#include "memory.h"

static inline const purser_quota *quota_of(const purser_call *c)
{
	return c->struct_size >= offsetof(purser_call, quota) + sizeof(c->quota) ? c->quota : NULL;
}

/* NULL: the command (or batch) may run.  Else the error: its project has as much as it may.  *script: it is a
 * script, or has some: they run, but nothing in them that needs memory.  No lock is held. */
const char *quota_refuses(struct ctx *cx, purser_call *c, const purser_quota *q, uint32_t *script);
#endif
