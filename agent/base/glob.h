/* SPDX-License-Identifier: Apache-2.0
 *
 * base/glob: does a text match a pattern, as Redis' KEYS and PSUBSCRIBE see it?
 */
#ifndef BASE_GLOB_H
#define BASE_GLOB_H
#include <stddef.h>
#include <stdint.h>

int glob_match(const void *pattern, size_t plen, const void *text, size_t tlen);
#endif
