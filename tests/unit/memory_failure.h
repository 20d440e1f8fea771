/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocation failure in the memory plugin: every command is run with its first, second, ... allocation
 * failing.  It answers OOM and has changed nothing, or it succeeds; afterwards it works again and the
 * accounts come back to zero.  The commands are in test_memory_failure*.c, by type.
 */
#ifndef TESTS_MEMORY_FAILURE_H
#define TESTS_MEMORY_FAILURE_H
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "cmd.h"
#include "memory_host.h"

#define SITES_MAX 5000
#define word "0123456789012345678901234567890123456789012345678901234567890123456789"

struct failure { struct mh m; struct mh_ctx x; struct store *st; };

/* Keys of every type in every encoding. */
void failure_setup(struct failure *f);
void failure_teardown(struct failure *f);

/* Everything that can be seen of the store. */
struct failure_view { char *p; size_t n; };
struct failure_view failure_see(struct failure *f);
int failure_same(const struct failure_view *a, const struct failure_view *b);

int64_t failure_line(const char *line);     /* how many allocations of it failed */
void failure_every(const char *const *lines, size_t n);
#endif
