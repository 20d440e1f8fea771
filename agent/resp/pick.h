/* SPDX-License-Identifier: Apache-2.0
 *
 * resp/pick: reads a reply that is whole, value by value: what the agent asked for itself.  *p moves on.
 */
#ifndef RESP_PICK_H
#define RESP_PICK_H
#include <string.h>
#include <purser/plugin.h>
#include <purser/resp.h>

/* The header line of type t at *p; its number.  -1: something else is there. */
static inline int resp_pick_header(const uint8_t **p, const uint8_t *end, char t, int64_t *v)
{
	const uint8_t *cr = *p < end ? memchr(*p, '\r', (size_t)(end - *p)) : NULL;

	if (!cr || **p != (uint8_t)t || purser_resp_int(*p + 1, (size_t)(cr - *p) - 1, v))
		return -1;
	*p = cr + 2;
	return 0;
}

static inline int resp_pick_bulk(const uint8_t **p, const uint8_t *end, purser_bytes *out)
{
	int64_t n;

	if (resp_pick_header(p, end, '$', &n) || n < 0 || end - *p < n + 2)
		return -1;
	*out = (purser_bytes){ *p, (size_t)n };
	*p += n + 2;
	return 0;
}
#endif
