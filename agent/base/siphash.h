/* SPDX-License-Identifier: Apache-2.0
 *
 * base/siphash: SipHash-2-4 (Aumasson, Bernstein, 2012): a short keyed hash that nobody without the key can
 * foretell.
 */
#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H
#include <stddef.h>
#include <stdint.h>

uint64_t siphash(const uint64_t key[2], const void *p, size_t n);
#endif
