/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <string.h>
#include "base/siphash.h"
#include "feature/record.h"

enum {
	CHECK_HEX = 16,
	NUMBER_MAX = 15, /* digits: what a double of Lua holds exactly */
};

static const uint64_t quick_key[2] = { UINT64_C(0x7075727365722d71), UINT64_C(0x7569636b2d763031) };

static void put_hex(char *dst, const uint8_t *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		dst[2 * i] = digits[p[i] >> 4];
		dst[2 * i + 1] = digits[p[i] & 15];
	}
	dst[2 * n] = '\0';
}

static bool is_hex(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f')))
			return false;
	return true;
}

/* The next word of *p..end, which one space or the line's end follows. */
static bool word(const char **p, const char *end, struct record_text *out)
{
	const char *at = *p;

	while (at < end && *at != ' ' && *at != '\n')
		at++;
	if (at == *p || at == end)
		return false;
	out->p = *p;
	out->n = (size_t)(at - *p);
	*p = at + 1;
	return true;
}

/* A whole number as record_put writes it: no sign, no leading zero. */
static bool whole(struct record_text t, int64_t *out)
{
	int64_t v = 0;

	if (t.n < 1 || t.n > NUMBER_MAX || (t.n > 1 && t.p[0] == '0'))
		return false;
	for (size_t i = 0; i < t.n; i++) {
		if (t.p[i] < '0' || t.p[i] > '9')
			return false;
		v = v * 10 + (t.p[i] - '0');
	}
	*out = v;
	return true;
}

/* The next word as a whole number, in one pass: a hit reads ten of them. */
static bool number(const char **p, const char *end, int64_t *out)
{
	const char *from = *p, *at = from;
	int64_t v = 0;
	unsigned digit;

	for (; at < end && at - from <= NUMBER_MAX && (digit = (unsigned)(uint8_t)*at - '0') < 10; at++)
		v = v * 10 + digit;
	if (at == from || at == end || at - from > NUMBER_MAX || (*from == '0' && at - from > 1) || (*at != ' ' && *at != '\n'))
		return false;
	*out = v;
	*p = at + 1;
	return true;
}

/* "-" or that many hexadecimal digits. */
static bool maybe_hex(const char **p, const char *end, size_t digits, struct record_text *out)
{
	if (!word(p, end, out))
		return false;
	if (out->n == 1 && out->p[0] == '-') {
		out->n = 0;
		return true;
	}
	return out->n == digits && is_hex(out->p, digits);
}

static bool absent(struct record_text check)
{
	return check.n == 1 && check.p[0] == '-';
}

static bool check_valid(struct record_text t)
{
	int64_t n;

	if (absent(t))
		return true;
	if (t.n < 1 + 1 + CHECK_HEX || t.p[t.n - CHECK_HEX - 1] != '.' || !is_hex(t.p + t.n - CHECK_HEX, CHECK_HEX))
		return false;
	return whole((struct record_text){ t.p, t.n - CHECK_HEX - 1 }, &n);
}

int record_parse(struct record *out, const void *p, size_t n)
{
	const char *at = p, *end, *line;
	int64_t reason, meta;
	struct record r = { 0 };
	struct record_text version;

	line = n ? memchr(p, '\n', n < RECORD_HEAD_MAX ? n : RECORD_HEAD_MAX) : NULL;
	if (!line)
		return -1;
	end = line + 1;
	if (!word(&at, end, &version) || version.n != 1 || version.p[0] != '1')
		return -1;
	if (!word(&at, end, &r.check) || !check_valid(r.check) || !maybe_hex(&at, end, RECORD_QUICK_LEN, &r.quick))
		return -1;
	if (!number(&at, end, &r.soft_ms) || !number(&at, end, &r.hard_ms) || !number(&at, end, &r.filled_ms) ||
		!number(&at, end, &r.delta_ms) || !number(&at, end, &r.stale_ms))
		return -1;
	if (!maybe_hex(&at, end, RECORD_TOKEN_LEN, &r.token) || !number(&at, end, &r.won_ms) ||
		!number(&at, end, &r.until_ms) || !number(&at, end, &r.neg_ms))
		return -1;
	if (!number(&at, end, &reason) || !number(&at, end, &meta) || at != end)
		return -1;
	if (reason > RECORD_REASON_MAX || meta > RECORD_META_MAX || (size_t)(reason + meta) != n - (size_t)(end - (const char *)p))
		return -1;
	r.reason = (struct record_text){ end, (size_t)reason };
	r.meta = (struct record_text){ end + reason, (size_t)meta };
	*out = r;
	return 0;
}

static void put_text(struct buf *out, struct record_text t)
{
	if (t.n)
		buf_put(out, t.p, t.n);
	else
		buf_putc(out, '-');
	buf_putc(out, ' ');
}

static void put_number(struct buf *out, int64_t v, char after)
{
	buf_puti(out, v);
	buf_putc(out, after);
}

void record_put(struct buf *out, const struct record *r)
{
	buf_puts(out, "1 ");
	put_text(out, r->check);
	put_text(out, r->quick);
	put_number(out, r->soft_ms, ' ');
	put_number(out, r->hard_ms, ' ');
	put_number(out, r->filled_ms, ' ');
	put_number(out, r->delta_ms, ' ');
	put_number(out, r->stale_ms, ' ');
	put_text(out, r->token);
	put_number(out, r->won_ms, ' ');
	put_number(out, r->until_ms, ' ');
	put_number(out, r->neg_ms, ' ');
	put_number(out, (int64_t)r->reason.n, ' ');
	put_number(out, (int64_t)r->meta.n, '\n');
	if (r->reason.n)
		buf_put(out, r->reason.p, r->reason.n);
	if (r->meta.n)
		buf_put(out, r->meta.p, r->meta.n);
}

int record_check(char dst[RECORD_CHECK_MAX], const void *p, size_t n)
{
	uint8_t sha[EVP_MAX_MD_SIZE];
	size_t len;

	if (!p) {
		memcpy(dst, "-", 2);
		return 0;
	}
	if (EVP_Digest(p, n, sha, NULL, EVP_sha1(), NULL) != 1)
		return -1;
	len = dec_u64(dst, n);
	dst[len] = '.';
	put_hex(dst + len + 1, sha, CHECK_HEX / 2);
	return 0;
}

void record_quick(char dst[RECORD_QUICK_LEN + 1], const void *p, size_t n)
{
	uint64_t h = siphash(quick_key, p, n);
	uint8_t b[8];

	for (unsigned i = 0; i < 8; i++)
		b[i] = (uint8_t)(h >> (56 - 8 * i));
	put_hex(dst, b, sizeof b);
}

/* Is the length in the check n? */
static bool length_is(struct record_text check, size_t n)
{
	char len[20];
	size_t digits = dec_u64(len, n);

	return check.n == digits + 1 + CHECK_HEX && !memcmp(check.p, len, digits);
}

enum record_state record_state(const struct record *r, const void *value, size_t n, int64_t now_ms)
{
	char mine[RECORD_CHECK_MAX > RECORD_QUICK_LEN ? RECORD_CHECK_MAX : RECORD_QUICK_LEN + 1];

	if (!value && absent(r->check))
		return RECORD_HOLDS;
	if (!value)
		return r->hard_ms && now_ms >= r->hard_ms ? RECORD_EXPIRED : RECORD_VOID;
	if (absent(r->check) || !length_is(r->check, n))
		return RECORD_VOID;
	if (r->quick.n) {
		record_quick(mine, value, n);
		return memcmp(mine, r->quick.p, RECORD_QUICK_LEN) ? RECORD_VOID : RECORD_HOLDS;
	}
	if (record_check(mine, value, n))
		return RECORD_NOMEM;
	return memcmp(mine, r->check.p, r->check.n) ? RECORD_VOID : RECORD_HOLDS;
}
