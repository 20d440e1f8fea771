/* SPDX-License-Identifier: Apache-2.0
 *
 * backend/schema: does what a plugin declares make sense?  Its callbacks, settings, commands and
 * metrics are looked at once, at load; afterwards nobody checks them again.
 */
#ifndef BACKEND_SCHEMA_H
#define BACKEND_SCHEMA_H
#include <purser/plugin.h>

#include "backend/loader.h"
#include "base/buf.h"

/* The table as a whole.  0, or -1 and one sentence that names the plugin and what is wrong. */
int schema_check(const struct plugin *pl, struct buf *err);

/* One setting's text to its number (config/value.h).  0, or -1 with why, without the name. */
int schema_value(const purser_key *k, const char *text, int64_t *out, char *why, size_t whylen);

/* The setting, command or metric of that name (a command's in any case of letters); -1: none. */
int64_t schema_find_key(const struct plugin *pl, const char *name);
int64_t schema_find_op(const struct plugin *pl, const char *name);
#endif
