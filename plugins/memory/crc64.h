/* SPDX-License-Identifier: Apache-2.0
 *
 * crc64: the checksum of Redis' payloads and files (Jones' polynomial, reflected, begins with 0).
 */
#ifndef MEMORY_CRC64_H
#define MEMORY_CRC64_H
#include <stddef.h>
#include <stdint.h>

/* Goes on from crc: crc64(crc64(0, a), b) is that of both. */
uint64_t crc64(uint64_t crc, const void *p, size_t n);
#endif
