/* SPDX-License-Identifier: Apache-2.0
 *
 * base/buf: a growable byte buffer with a maximum.  Bytes go in at the end and are taken from the
 * front; the memory is one block.  Owned by whoever embeds it; buf_free releases it.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf {
	uint8_t *p;       /* block, or NULL */
	size_t at, end;   /* the bytes are p[at..end) */
	size_t cap;
	size_t max;       /* refuse to hold more than this; 0 = SIZE_MAX / 2 */
	bool failed;      /* an append did not fit or found no memory: the content is not to be trusted */
};

static inline size_t buf_len(const struct buf *b) { return b->end - b->at; }
/* The first byte; NULL as long as there is no block (NULL + 0 is undefined in C11). */
static inline uint8_t *buf_data(const struct buf *b) { return b->at > 0 ? b->p + b->at : b->p; }
static inline void buf_clear(struct buf *b) { b->at = b->end = 0; b->failed = false; }

void buf_free(struct buf *b);               /* release and zero, keeping max */
int buf_room(struct buf *b, size_t n);      /* at least n free bytes behind end; 0, or -1 and failed */
void buf_put(struct buf *b, const void *p, size_t n);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_putu(struct buf *b, uint64_t v);   /* decimal */
void buf_puti(struct buf *b, int64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap);
const char *buf_cstr(struct buf *b);        /* NUL behind the bytes (not counted); "" on failure */
static inline void buf_take(struct buf *b, size_t n) /* n <= buf_len */
{
	b->at += n;
	if (b->at == b->end)
		b->at = b->end = 0;
}

/* Decimal digits of v at dst (20 bytes are enough; no NUL); the count of digits. */
size_t dec_u64(char *dst, uint64_t v);
size_t dec_i64(char *dst, int64_t v);
#endif
