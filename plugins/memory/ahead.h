/* SPDX-License-Identifier: Apache-2.0
 *
 * ahead: what a pipeline will touch, fetched before (expect of the plugin's functions).
 */
#ifndef MEMORY_AHEAD_H
#define MEMORY_AHEAD_H
#include "memory.h"

#define AHEAD_MAX 32

void ahead_expect(void *cs, uint32_t db, const purser_bytes *names, uint32_t n);
#endif
