/* SPDX-License-Identifier: Apache-2.0
 *
 * RESP from strangers.  The first byte chooses how the rest is cut; the rest is
 *   a client's bytes: the request parser must say the same whole and in pieces,
 *   a store's bytes:  the scanner must find the same end whole and in pieces, and what it accepts
 *                     passes the filters that take prefixes off, whole and in pieces alike.
 */
#include <config.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <purser/resp.h>
#include "resp/filter.h"
#include "resp/parse.h"

#define MUST(x) do { if (!(x)) abort(); } while (0)

static const struct resp_limits lim = { 64, 4096, 16384, 1024 };

/* What the parser makes of a stream: its verdicts and words, as a hash. */
struct digest { uint64_t h; size_t requests; int end; };

static void mix(struct digest *d, const void *p, size_t n)
{
	const uint8_t *s = p;

	for (size_t i = 0; i < n; i++)
		d->h = (d->h ^ s[i]) * UINT64_C(0x100000001b3);
	d->h = (d->h ^ n) * UINT64_C(0x100000001b3);
}

static struct digest parse_all(const uint8_t *data, size_t n, size_t piece)
{
	struct resp_parser ps = { .bulk = -1 };
	struct digest d = { .h = 7 };
	size_t at = 0, have = piece < n ? piece : n;

	while (at < n) {
		uint8_t *copy = malloc(have - at ? have - at : 1);
		enum resp_result rc;

		memcpy(copy, data + at, have - at);
		rc = resp_parse(&ps, &lim, copy, have - at);
		if (rc == RESP_MORE) {
			free(copy);
			MUST(resp_missing(&ps, have - at) >= 1);
			if (have == n)
				break;
			have = n - have < piece ? n : have + piece;
			continue;
		}
		d.end = (int)rc;
		if (rc == RESP_BAD || rc == RESP_BIG) {
			free(copy);
			break;
		}
		MUST(ps.pos > 0 && ps.pos <= have - at);
		MUST(rc == RESP_EMPTY || ps.argc > 0);
		for (uint32_t i = 0; rc == RESP_OK && i < ps.argc; i++) {
			MUST(ps.argv[i].p >= copy && ps.argv[i].p + ps.argv[i].n <= copy + ps.pos);
			mix(&d, ps.argv[i].p, ps.argv[i].n);
		}
		d.requests++;
		at += ps.pos;
		free(copy);
		resp_parser_reset(&ps);
		if (at == have && have < n)
			have = n - have < piece ? n : have + piece;
	}
	resp_parser_free(&ps);
	return d;
}

/* Where the first value ends: -1 not RESP, -2 not complete. */
static int64_t scan(const uint8_t *data, size_t n, size_t piece)
{
	purser_scan s;
	size_t at = 0, have = 0;

	purser_scan_begin(&s);
	while (!purser_scan_done(&s)) {
		int64_t used;
		uint8_t *copy;

		if (have == n)
			return -2;
		have = n - have < piece ? n : have + piece;
		copy = malloc(have - at ? have - at : 1);
		memcpy(copy, data + at, have - at);
		used = purser_scan_feed(&s, copy, have - at);
		free(copy);
		if (used < 0)
			return -1;
		at += (size_t)used;
		MUST(at <= have);
	}
	return (int64_t)at;
}

static uint64_t filter(const uint8_t *data, size_t n, size_t piece, int *rc)
{
	struct out_pool pool = { .max = 2 };
	struct out out = { 0 }, *to = &out;
	struct digest d = { .h = 9 };
	struct strip_filter f;

	strip_begin(&f, &to, &pool, (const uint8_t *)"p:", 2, data[0] % 3);
	*rc = 0;
	for (size_t at = 0; at < n && *rc == 0; at += piece)
		*rc = f.f.feed(&f.f, data + at, n - at < piece ? n - at : piece);
	if (*rc == 0)
		mix(&d, out_flat(&out, &pool), out.bytes);
	out_clear(&out, &pool);
	out_pool_free(&pool);
	return d.h;
}

static size_t rewrite(void *arg, char *text, size_t n)
{
	(void)arg;
	return n > 2 && memcmp(text, "p:", 2) == 0 ? (memmove(text, text + 2, n - 2), n - 2) : n;
}

static int local(void *arg, uint32_t i)
{
	struct exec_filter *f = arg;

	(void)i;
	return out_put(*f->out, f->pool, ":7\r\n", 4);
}

static int64_t count(void *arg, uint32_t i, int64_t n)
{
	(void)arg;
	return n / 2 + i;
}

/* The value as EXEC's reply, of as many commands as it has elements, each of another kind. */
static uint64_t exec_reply(const uint8_t *data, size_t n, size_t piece, int *rc)
{
	static const uint8_t kinds[] = { EXEC_PASS, 1, EXEC_COUNT, 2, STRIP_STREAMS, STRIP_FIRST, EXEC_LOCAL };
	struct out_pool pool = { .max = 2 };
	struct out out = { 0 }, *to = &out;
	struct digest d = { .h = 11 };
	uint8_t kind[64];
	int64_t want = 0;
	struct exec_filter f = { .out = &to, .pool = &pool, .kind = kind, .prefix = (const uint8_t *)"p:",
		.prefix_len = 2, .rewrite = rewrite, .local = local, .count = count, .arg = &f };

	if (n > 3 && data[0] == '*' && data[2] == '\r' && data[1] >= '0' && data[1] <= '9')
		want = data[1] - '0';
	for (f.n = 0; want || f.n % 7 == 6; f.n++) {
		kind[f.n] = kinds[f.n % 7];
		if (kind[f.n] == EXEC_LOCAL)
			f.nlocal++;
		else
			want--;
	}
	exec_begin(&f);
	*rc = 0;
	for (size_t at = 0; at < n && *rc == 0; at += piece)
		*rc = f.f.feed(&f.f, data + at, n - at < piece ? n - at : piece);
	if (*rc == 0) {
		MUST(exec_done(&f));
		mix(&d, out_flat(&out, &pool), out.bytes);
	}
	out_clear(&out, &pool);
	out_pool_free(&pool);
	return d.h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct digest whole, cut;
	size_t piece;
	int64_t end;
	int a, b;

	if (size < 2)
		return 0;
	piece = (size_t)data[0] % 32 + 1;
	data++;
	size--;
	whole = parse_all(data, size, size);
	cut = parse_all(data, size, piece);
	MUST(whole.h == cut.h && whole.requests == cut.requests && whole.end == cut.end);
	end = scan(data, size, size);
	MUST(end == scan(data, size, piece));
	if (end > 0) {
		uint64_t x = filter(data, (size_t)end, (size_t)end, &a);

		MUST(x == filter(data, (size_t)end, piece, &b));
		MUST(a == b);
		x = exec_reply(data, (size_t)end, (size_t)end, &a);
		MUST(x == exec_reply(data, (size_t)end, piece, &b));
		MUST(a == b);
	}
	return 0;
}
