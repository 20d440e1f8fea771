/* SPDX-License-Identifier: Apache-2.0 */
/* trace/context: the rules of W3C trace context. */
#include <config.h>
#include <string.h>
#include "trace/context.h"

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1; /* upper case is invalid */
}

static bool unhex(const char *s, uint8_t *out, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int hi = hex(s[2 * i]), lo = hex(s[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

static bool zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

int trace_parent_parse(const char *s, size_t n, struct trace_parent *out)
{
	uint8_t version, flags;

	out->valid = false;
	out->state.p = NULL;
	out->state.n = 0;
	for (; n && blank(*s); n--)
		s++;
	while (n && blank(s[n - 1]))
		n--;
	if (n < TRACE_PARENT_LEN || s[2] != '-' || s[35] != '-' || s[52] != '-')
		return -1;
	if (!unhex(s, &version, 1) || !unhex(s + 3, out->trace_id, 16) ||
	    !unhex(s + 36, out->span_id, 8) || !unhex(s + 53, &flags, 1))
		return -1;
	if (version == 0xff || (version == 0 && n != TRACE_PARENT_LEN))
		return -1;
	if (n > TRACE_PARENT_LEN && s[TRACE_PARENT_LEN] != '-')
		return -1;
	if (zero(out->trace_id, 16) || zero(out->span_id, 8))
		return -1;
	out->flags = flags & (TRACE_SAMPLED | TRACE_RANDOM);
	out->valid = true;
	return 0;
}

static char *put_hex(char *dst, const uint8_t *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*dst++ = digits[p[i] >> 4];
		*dst++ = digits[p[i] & 15];
	}
	return dst;
}

void trace_parent_format(char dst[TRACE_PARENT_LEN + 1], const uint8_t trace_id[16],
    const uint8_t span_id[8], uint8_t flags)
{
	char *p = dst;

	flags &= TRACE_SAMPLED | TRACE_RANDOM;
	memcpy(p, "00-", 3);
	p = put_hex(p + 3, trace_id, 16);
	*p++ = '-';
	p = put_hex(p, span_id, 8);
	*p++ = '-';
	p = put_hex(p, &flags, 1);
	*p = '\0';
}

/* ---- tracestate -------------------------------------------------------------------------------- */

#define MEMBERS 32

struct member { const char *p; size_t n, key; };

static bool key_char(char c, bool first)
{
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
		return true;
	return !first && c && strchr("_-*/@", c);
}

/* key=value, blanks around it already gone. */
static bool member_ok(struct member *m)
{
	size_t i = 0;

	while (i < m->n && key_char(m->p[i], i == 0))
		i++;
	m->key = i;
	if (i == 0 || i > 256 || i == m->n || m->p[i] != '=')
		return false;
	if (m->n - i - 1 < 1 || m->n - i - 1 > 256)
		return false;
	for (i++; i < m->n; i++)
		if (m->p[i] < 0x20 || m->p[i] > 0x7e || m->p[i] == '=')
			return false;
	return m->p[m->n - 1] != ' ';
}

static bool known(const struct member *list, size_t n, const struct member *m)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].key == m->key && memcmp(list[i].p, m->p, m->key) == 0)
			return true;
	return false;
}

/* All members; -1 when one is bad or there are too many. */
static int split(const purser_bytes *lines, size_t nlines, struct member *list)
{
	size_t seen = 0;
	int n = 0;

	for (size_t l = 0; l < nlines; l++) {
		const char *s = (const char *)lines[l].p, *end = s + lines[l].n;

		while (s < end) {
			const char *comma = memchr(s, ',', (size_t)(end - s));
			const char *stop = comma ? comma : end;
			struct member m;

			for (; s < stop && blank(*s); s++)
				;
			m.p = s;
			for (m.n = (size_t)(stop - s); m.n && blank(s[m.n - 1]); m.n--)
				;
			s = stop + 1;
			if (!m.n)
				continue;
			if (++seen > MEMBERS || !member_ok(&m))
				return -1;
			if (!known(list, (size_t)n, &m))
				list[n++] = m;
		}
	}
	return n;
}

static size_t total(const struct member *list, int n)
{
	size_t len = 0;

	for (int i = 0; i < n; i++)
		len += list[i].n + (i > 0);
	return len;
}

size_t trace_state_parse(const purser_bytes *lines, size_t nlines, char *dst)
{
	struct member list[MEMBERS];
	int n = split(lines, nlines, list);
	size_t len = 0;

	for (int i = n - 1; i >= 0 && total(list, n) > TRACE_STATE_MAX; i--) {
		if (list[i].n <= 128)
			continue;
		memmove(&list[i], &list[i + 1], (size_t)(n - i - 1) * sizeof *list);
		n--;
	}
	while (n > 0 && total(list, n) > TRACE_STATE_MAX)
		n--;
	for (int i = 0; i < n; i++) {
		if (i)
			dst[len++] = ',';
		memcpy(dst + len, list[i].p, list[i].n);
		len += list[i].n;
	}
	return len;
}
