/* SPDX-License-Identifier: Apache-2.0
 *
 * lzf: reading what LZF has compressed.  (Why not liblzf: docs/decisions/snapshot.md)
 */
#ifndef MEMORY_LZF_H
#define MEMORY_LZF_H
#include <stddef.h>
#include <stdint.h>

#define LZF_RATIO 88u                 /* three bytes make 264 at most */

/* 0, or -1: it is damaged, or does not make exactly size bytes. */
int lzf_read(const uint8_t *from, size_t n, uint8_t *to, size_t size);
#endif
