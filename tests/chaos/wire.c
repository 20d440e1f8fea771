/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "checker.h"

static void buf_room(struct buf *b, size_t n)
{
	if (b->at == b->n)
		b->at = b->n = 0;
	if (b->n + n > b->cap && b->at) {
		memmove(b->p, b->p + b->at, b->n - b->at);
		b->n -= b->at;
		b->at = 0;
	}
	if (b->n + n > b->cap) {
		b->cap = (b->n + n) * 2;
		b->p = realloc(b->p, b->cap);
		if (!b->p)
			die("realloc");
	}
}

void buf_add(struct buf *b, const void *p, size_t n)
{
	buf_room(b, n);
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
}

void buf_print(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	buf_room(b, 256);
	va_start(ap, fmt);
	n = vsnprintf((char *)b->p + b->n, 256, fmt, ap);
	va_end(ap);
	if (n < 0 || n >= 256)
		die("buf_print");
	b->n += (size_t)n;
}

void buf_arg(struct buf *b, const char *text)
{
	buf_print(b, "$%zu\r\n", strlen(text));
	buf_add(b, text, strlen(text));
	buf_add(b, "\r\n", 2);
}

/* A line: its end behind CR LF, or 0. */
static size_t line_end(const uint8_t *p, size_t n)
{
	const uint8_t *nl = memchr(p, '\n', n);

	return nl && nl > p && nl[-1] == '\r' ? (size_t)(nl - p) + 1 : 0;
}

static int number(const uint8_t *p, size_t n, int64_t *out)
{
	char text[32], *end;

	if (n == 0 || n >= sizeof(text))
		return -1;
	memcpy(text, p, n);
	text[n] = 0;
	errno = 0;
	*out = strtoll(text, &end, 10);
	return errno || *end ? -1 : 0;
}

int64_t reply_size(const uint8_t *p, size_t n)
{
	size_t at = 0, k;
	int64_t need = 1, len;

	while (need > 0) {
		if (at >= n || (k = line_end(p + at, n - at)) == 0)
			return n - at > 100000 ? -1 : 0;
		need--;
		switch (p[at]) {
		case '+': case '-': case '_': case ',': case '#': case '(':
			break;
		case ':':
			if (number(p + at + 1, k - 3, &len))
				return -1;
			break;
		case '$': case '=': case '!':
			if (number(p + at + 1, k - 3, &len) || len < -1)
				return -1;
			if (len >= 0) {
				if ((uint64_t)len + 2 > n - at - k)
					return 0;
				if (memcmp(p + at + k + len, "\r\n", 2) != 0)
					return -1;
				k += (size_t)len + 2;
			}
			break;
		case '*': case '~': case '>': case '%':
			if (number(p + at + 1, k - 3, &len) || len < -1)
				return -1;
			if (len > 0)
				need += p[at] == '%' ? 2 * len : len;
			break;
		default:
			return -1;
		}
		at += k;
	}
	return (int64_t)at;
}

struct view reply_take(const uint8_t **p, const uint8_t *end)
{
	size_t k = line_end(*p, (size_t)(end - *p));
	struct view v = { .type = (char)**p, .p = *p + 1, .n = k - 3 };

	*p += k;
	if (strchr(":$*~>%=!", v.type) && number(v.p, v.n, &v.i))
		die("a reply that was whole is not");
	if (strchr("$=!", v.type) && v.i >= 0) {
		v.p = *p;
		v.n = (size_t)v.i;
		*p += v.n + 2;
	}
	if (v.type == '_')
		v.i = -1;
	return v;
}

bool view_is(const struct view *v, const char *text)
{
	return strchr("+$-", v->type) && v->n == strlen(text) && memcmp(v->p, text, v->n) == 0;
}

int connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(a.sun_path))
		die(path);
	memcpy(a.sun_path, path, strlen(path) + 1);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		close(fd);
		return -1;
	}
	return fd;
}

struct view ask(int fd, struct buf *in, const char *const *argv, const uint8_t **rest)
{
	struct buf out = { 0 };
	size_t i, n;
	int64_t k;

	for (n = 0; argv[n]; n++)
		;
	buf_print(&out, "*%zu\r\n", n);
	for (i = 0; i < n; i++)
		buf_arg(&out, argv[i]);
	for (i = 0; i < out.n; i += (size_t)k)
		if ((k = send(fd, out.p + i, out.n - i, MSG_NOSIGNAL)) <= 0)
			die("send");
	free(out.p);
	in->at = in->n = 0;
	while ((k = in->n ? reply_size(in->p, in->n) : 0) == 0) {
		buf_room(in, in->n > 65536 ? in->n : 65536);
		k = recv(fd, in->p + in->n, in->cap - in->n, 0);
		if (k <= 0)
			die("recv");
		in->n += (size_t)k;
	}
	if (k < 0 || (size_t)k != in->n)
		die("not one reply");
	*rest = in->p;
	return reply_take(rest, in->p + in->n);
}
