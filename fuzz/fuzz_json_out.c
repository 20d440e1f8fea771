/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RESP to JSON: the same text however the bytes are cut; a complete value ends where the scanner of
 * purser/resp.h says, and its text is JSON.  The first byte chooses the flags.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include <purser/resp.h>

#include "resp/json_out.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x) do { if (!(x)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); abort(); } } while (0)

/* Bytes of the value, -1 for an error, -2 where it is not complete. */
static int64_t convert(unsigned flags, const uint8_t *p, size_t n, size_t step, struct buf *out)
{
	struct json_out j;
	int64_t total = 0, used = 0;

	json_out_init(&j, flags, 16);
	for (size_t at = 0; at < n && used >= 0 && !json_out_done(&j); at += step) {
		size_t len = n - at < step ? n - at : step;

		used = json_out_feed(&j, p + at, len, out);
		CHECK(used < 0 || (size_t)used == len || json_out_done(&j));
		total += used;
	}
	if (used < 0)
		CHECK(j.error);
	total = used < 0 ? -1 : json_out_done(&j) ? total : -2;
	json_out_free(&j);
	return total;
}

static void check_json(const struct buf *out)
{
	json_error_t e;
	json_t *v = json_loadb((const char *)buf_data(out), buf_len(out),
	    JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &e);

	/* What jansson cannot hold is JSON all the same. */
	CHECK(v || json_error_code(&e) == json_error_numeric_overflow ||
	    json_error_code(&e) == json_error_null_byte_in_key);
	json_decref(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = { 0 }, cut = { 0 };
	unsigned flags;
	int64_t n;

	if (size < 2)
		return 0;
	flags = *data++ & 3;
	size--;
	n = convert(flags, data, size, size, &whole);
	for (size_t step = 1; step < 20; step = step * 2 + 1) {
		buf_clear(&cut);
		CHECK(convert(flags, data, size, step, &cut) == n);
		if (n > 0)
			CHECK(buf_len(&cut) == buf_len(&whole) &&
			    memcmp(buf_data(&cut), buf_data(&whole), buf_len(&cut)) == 0);
	}
	if (n > 0) {
		purser_scan s;

		purser_scan_begin(&s);
		CHECK(purser_scan_feed(&s, data, size) == n && purser_scan_done(&s));
		check_json(&whole);
	}
	buf_free(&whole);
	buf_free(&cut);
	return 0;
}
