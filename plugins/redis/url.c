/* SPDX-License-Identifier: Apache-2.0
 *
 * url: redis://[user[:password]@]host[:port][/db], the same with rediss:// for TLS, and
 * unix://[user[:password]@]/path[?db=N].
 */
#include "redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* p[0..n) with %XX decoded into dst, NUL-terminated.  -1: does not fit, or holds %00 or half a %XX. */
static int decode(char *dst, size_t cap, const char *p, size_t n)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		char c = p[i];

		if (c == '%') {
			int hi = i + 1 < n ? hex(p[i + 1]) : -1, lo = i + 2 < n ? hex(p[i + 2]) : -1;

			if (hi < 0 || lo < 0 || hi + lo == 0)
				return -1;
			c = (char)(hi * 16 + lo);
			i += 2;
		}
		if (at + 1 >= cap)
			return -1;
		dst[at++] = c;
	}
	dst[at] = '\0';
	return 0;
}

/* Decimal in p[0..n), 0..max. */
static int number(const char *p, size_t n, unsigned max, uint16_t *out)
{
	unsigned v = 0;

	if (n == 0 || n > 5)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return -1;
		v = v * 10 + (unsigned)(p[i] - '0');
	}
	if (v > max)
		return -1;
	*out = (uint16_t)v;
	return 0;
}

static int database(const char *p, size_t n, struct url *u, char *err, size_t cap)
{
	if (number(p, n, UINT16_MAX, &u->db)) {
		snprintf(err, cap, "url: the database must be a number from 0 to 65535");
		return -1;
	}
	u->has_db = true;
	return 0;
}

/* user[:password]@ */
static int userinfo(const char *p, size_t n, struct url *u, char *err, size_t cap)
{
	const char *colon = memchr(p, ':', n);
	size_t user = colon ? (size_t)(colon - p) : n;

	if (decode(u->user, sizeof(u->user), p, user) ||
	    (colon && decode(u->secret, sizeof(u->secret), colon + 1, n - user - 1))) {
		snprintf(err, cap, "url: user or password is too long or badly encoded (write %%40 for @)");
		return -1;
	}
	return 0;
}

/* host[:port] or [v6][:port] */
static int authority(const char *p, size_t n, struct url *u, char *err, size_t cap)
{
	const char *end = p + n, *host = p, *stop, *colon;

	u->port = 6379;
	if (n && *p == '[') {
		host = p + 1;
		stop = memchr(host, ']', (size_t)(end - host));
		colon = stop ? stop + 1 : NULL;
	} else {
		stop = colon = memchr(p, ':', n);
		if (!stop)
			stop = colon = end;
	}
	if (!colon || stop == host || (colon < end && *colon != ':') ||
	    decode(u->host, sizeof(u->host), host, (size_t)(stop - host))) {
		snprintf(err, cap, "url: there must be a host, as in redis://127.0.0.1:6379/0");
		return -1;
	}
	if (colon < end && (number(colon + 1, (size_t)(end - colon - 1), UINT16_MAX, &u->port) ||
	    u->port == 0)) {
		snprintf(err, cap, "url: the port must be a number from 1 to 65535");
		return -1;
	}
	return 0;
}

/* ?db=N */
static int query(const char *p, size_t n, struct url *u, char *err, size_t cap)
{
	if (n == 0)
		return 0;
	if (n < 3 || memcmp(p, "db=", 3) != 0) {
		snprintf(err, cap, "url: behind the ? only db=N is known");
		return -1;
	}
	return database(p + 3, n - 3, u, err, cap);
}

static int unix_path(const char *p, size_t n, struct url *u, char *err, size_t cap)
{
	if (n == 0 || *p != '/') {
		snprintf(err, cap, "url: the path of the socket must be absolute, as in unix:///run/redis.sock");
		return -1;
	}
	if (decode(u->path, sizeof(u->path), p, n)) {
		snprintf(err, cap, "url: the path of the socket is longer than %zu bytes",
		    sizeof(u->path) - 1);
		return -1;
	}
	return 0;
}

int url_parse(const char *text, struct url *u, char *err, size_t cap)
{
	const char *p, *end = text + strcspn(text, "?"), *slash, *at = NULL;
	bool local = strncmp(text, "unix://", 7) == 0;

	memset(u, 0, sizeof(*u));
	u->tls = strncmp(text, "rediss://", 9) == 0;
	if (!local && !u->tls && strncmp(text, "redis://", 8) != 0) {
		snprintf(err, cap, "url: must begin with redis://, rediss:// or unix://");
		return -1;
	}
	p = text + (local ? 7 : u->tls ? 9 : 8);
	if (*end && query(end + 1, strlen(end + 1), u, err, cap))
		return -1;
	/* A password may hold a raw slash or @: the last @ counts, but for a path only what comes
	 * before the first slash. */
	slash = memchr(p, '/', (size_t)(end - p));
	for (const char *q = p; q < (local && slash ? slash : end); q++)
		if (*q == '@')
			at = q;
	if (at) {
		if (userinfo(p, (size_t)(at - p), u, err, cap))
			return -1;
		p = at + 1;
	}
	if (local)
		return unix_path(p, (size_t)(end - p), u, err, cap);
	slash = memchr(p, '/', (size_t)(end - p));
	if (slash && slash + 1 < end &&
	    database(slash + 1, (size_t)(end - slash - 1), u, err, cap))
		return -1;
	return authority(p, (size_t)((slash ? slash : end) - p), u, err, cap);
}
