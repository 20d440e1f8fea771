/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <string.h>
#include <purser/resp.h>
#include "base/buf.h"
#include "resp/filter.h"

static int put(struct strip_filter *f, const void *p, size_t n)
{
	return f->then ? f->then->feed(f->then, p, n) : out_put(*f->out, f->pool, p, n);
}

static int put_header(struct strip_filter *f, uint64_t n)
{
	char line[24];
	size_t len = 1;

	line[0] = '$';
	len += dec_u64(line + 1, n);
	memcpy(line + len, "\r\n", 2);
	return put(f, line, len + 2);
}

/* A value at this level is complete: so may be the arrays around it. */
static void value_done(struct strip_filter *f)
{
	while (f->level && --f->left[f->level] == 0)
		f->level--;
}

static int aggregate(struct strip_filter *f, int64_t n, unsigned per)
{
	if (n <= 0) {
		value_done(f);
		return 0;
	}
	if (f->level + 1u >= sizeof f->left / sizeof f->left[0])
		return -1;
	f->left[++f->level] = (uint64_t)n * per;
	return 0;
}

/* A whole header line with its CR LF. */
static int header(struct strip_filter *f, const uint8_t *p, size_t n)
{
	int64_t v = 0;

	if (f->depth == STRIP_STREAMS)
		f->depth = p[0] == '%' ? 1 : 2;
	if (strchr("$*%~>=!", p[0]) && purser_resp_int(p + 1, n - 3, &v))
		return -1;
	if ((p[0] == '$' || p[0] == '=' || p[0] == '!') && v >= 0) {
		if (p[0] == '$' && f->level == f->depth) {
			f->gather = 1;
			if (f->once)
				f->depth = UINT8_MAX;
			f->name = (uint64_t)v;
			return 0;
		}
		f->pass = (uint64_t)v + 2;
		return put(f, p, n);
	}
	if (put(f, p, n))
		return -1;
	switch (p[0]) {
	case '*': case '~': case '>':
		return aggregate(f, v, 1);
	case '%':
		return aggregate(f, v, 2);
	case '|':
		return -1;
	default:
		value_done(f);
		return 0;
	}
}

/* hold has the first bytes of a name: all of it, or as many as the prefix. */
static int name_known(struct strip_filter *f)
{
	uint64_t rest = f->name - f->have;
	int own = f->have == f->prefix_len && memcmp(f->hold, f->prefix, f->prefix_len) == 0;

	f->gather = 0;
	f->have = 0;
	if (own) {
		f->pass = rest + 2;
		return put_header(f, rest);
	}
	f->foreign++;
	f->drop = rest + 2;
	return put(f, "$0\r\n\r\n", 6);
}

static size_t hold(struct strip_filter *f, const uint8_t *p, size_t n, size_t want)
{
	size_t take = want < n ? want : n;

	memcpy(f->hold + f->have, p, take);
	f->have += (uint32_t)take;
	return take;
}

static size_t payload(struct strip_filter *f, const uint8_t *p, size_t n, int *rc)
{
	uint64_t *left = f->pass ? &f->pass : &f->drop;
	size_t take = *left < n ? (size_t)*left : n;

	if (f->pass && put(f, p, take))
		*rc = -1;
	*left -= take;
	if (*left == 0)
		value_done(f);
	return take;
}

static int feed(struct reply_filter *base, const uint8_t *p, size_t n)
{
	struct strip_filter *f = (struct strip_filter *)base;
	int rc = 0;

	while (n && rc == 0) {
		size_t took;

		if (f->pass || f->drop) {
			took = payload(f, p, n, &rc);
		} else if (f->gather) {
			uint64_t want = f->name < f->prefix_len ? f->name : f->prefix_len;

			took = hold(f, p, n, (size_t)want - f->have);
			if (f->have == want)
				rc = name_known(f);
			if (!took && !f->pass && !f->drop)
				return -1;
		} else {
			const uint8_t *nl = memchr(p, '\n', n);
			size_t line = nl ? (size_t)(nl - p) + 1 : n;

			if (line > sizeof f->hold - f->have)
				return -1;
			took = hold(f, p, n, line);
			if (nl) {
				uint32_t len = f->have;

				if (len < 3 || f->hold[len - 2] != '\r')
					return -1;
				f->have = 0;
				rc = header(f, f->hold, len);
			}
		}
		p += took;
		n -= took;
	}
	return rc;
}

void strip_begin(struct strip_filter *f, struct out **out, struct out_pool *pool,
    const uint8_t *prefix, uint32_t prefix_len, unsigned depth)
{
	memset(f, 0, offsetof(struct strip_filter, hold));
	f->f.feed = feed;
	f->f.err = 0;
	f->out = out;
	f->pool = pool;
	f->prefix = prefix;
	f->prefix_len = prefix_len;
	f->once = depth == STRIP_FIRST;
	f->depth = f->once ? 1 : (uint8_t)depth;
}
