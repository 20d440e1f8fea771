/* SPDX-License-Identifier: Apache-2.0
 *
 * sha1: the names of scripts (FIPS 180-4).  Nothing here is about secrecy.
 */
#ifndef MEMORY_SHA1_H
#define MEMORY_SHA1_H
#include <stddef.h>

#define SHA1_HEX 40
/* 40 hexadecimal digits in lower case and a NUL. */
void sha1_hex(const void *p, size_t n, char hex[SHA1_HEX + 1]);
#endif
