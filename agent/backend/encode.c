/* SPDX-License-Identifier: Apache-2.0
 *
 * A call as wire bytes, the project's prefix inserted in front of every key.
 */
#include <config.h>
#include <string.h>
#include "backend/instance.h"
#include "base/buf.h"
#include "base/copy.h"

static __attribute__((noinline)) unsigned many_digits(uint64_t v)
{
	unsigned n = 1;

	for (; v >= 10; v /= 10)
		n++;
	return n;
}

static inline unsigned digits(uint64_t v)
{
	return v < 10 ? 1 : v < 100 ? 2 : many_digits(v);
}

static const char multi[] = "*1\r\n$5\r\nMULTI\r\n", exec[] = "*1\r\n$4\r\nEXEC\r\n";

static uint64_t batch_bytes(const struct purser_call *c)
{
	uint64_t n = sizeof multi - 1 + sizeof exec - 1;

	for (uint32_t i = 0; i < c->nparts; i++)
		n += c->parts[i]->wire_bytes;
	return n;
}

/* WAIT counts what its own connection has written, as of its last command.  It has a connection alone, so
 * a command goes in front of it: then that is all that the store has executed by now. */
static const char lead[] = "*1\r\n$4\r\nPING\r\n";

static inline size_t lead_bytes(const struct purser_call *c)
{
	return __builtin_expect(c->skip && (c->flags & PURSER_CALL_BLOCKS), 0) ? sizeof lead - 1 : 0;
}

static inline uint8_t *put_lead(uint8_t *d, const struct purser_call *c)
{
	if (lead_bytes(c))
		d = copy_short(d, (const uint8_t *)lead, sizeof lead - 1);
	return d;
}

/* Clients and encoders write the same bytes for the same words, all but the longer forms of a number that Redis
 * does not take either: so what came in is as_is when each word stands where it would stand. */
uint64_t call_wire_bytes(struct bcall *b)
{
	const struct purser_call *c = &b->c;
	uintptr_t at = (uintptr_t)b->wire + 3 + digits(c->argc);
	uintptr_t begin = (uintptr_t)b->wire, differ = 0;
	const purser_bytes *v = b->argv;
	uint64_t longer = 0;

	if (c->op == PURSER_OP_BATCH)
		return batch_bytes(c);
	for (uint32_t i = 0; i < c->argc; i++) {
		at += 3 + digits(v[i].n);
		differ |= at ^ (uintptr_t)v[i].p;
		at += v[i].n + 2;
	}
	for (uint32_t k = 0; c->ns_prefix && k < c->nkeys; k++) {
		uint64_t n = v[c->keys[k]].n;

		longer += c->ns_prefix + digits(n + c->ns_prefix) - digits(n);
	}
	b->as_is = !differ && c->argc == b->wire_argc && at - begin == b->wire_n;
	return at - begin + longer + lead_bytes(c);
}

static inline uint8_t *put_crlf(uint8_t *d)
{
	memcpy(d, "\r\n", 2);
	return d + 2;
}

static inline uint8_t *put_header(uint8_t *d, char type, uint64_t v)
{
	*d++ = (uint8_t)type;
	if (v >= 100) {
		d += dec_u64((char *)d, v);
	} else {
		if (v >= 10)
			*d++ = (uint8_t)('0' + v / 10);
		*d++ = (uint8_t)('0' + v % 10);
	}
	return put_crlf(d);
}

/* What came in, with new headers and prefixes in front of the keys. */
static inline __attribute__((always_inline)) size_t encode_as_is(const struct bcall *b, uint8_t *dst)
{
	const struct purser_call *c = &b->c;
	const uint8_t *from = b->wire, *end = from + b->wire_n;
	uint8_t *d = put_lead(dst, c);

	for (uint32_t k = 0; c->ns_prefix && k < c->nkeys; k++) {
		const purser_bytes *key = &b->argv[c->keys[k]];

		d = copy_short(d, from, (size_t)(key->p - from) - 3 - digits(key->n));
		d = put_header(d, '$', key->n + c->ns_prefix);
		d = copy_short(d, b->prefix, c->ns_prefix);
		from = key->p;
	}
	d = copy_short(d, from, (size_t)(end - from));
	return (size_t)(d - dst);
}

/* All of it at once: the caller knows that it fits. */
static inline size_t encode_whole(const struct bcall *b, uint8_t *dst)
{
	const struct purser_call *c = &b->c;
	const purser_bytes *a = b->argv;
	uint8_t *d = put_header(put_lead(dst, c), '*', c->argc);
	uint32_t k = 0;

	for (uint32_t i = 0; i < c->argc; i++, a++) {
		if (k < c->nkeys && c->keys[k] == i) {
			k++;
			d = put_header(d, '$', a->n + c->ns_prefix);
			d = copy_short(d, b->prefix, c->ns_prefix);
		} else {
			d = put_header(d, '$', a->n);
		}
		d = put_crlf(copy_short(d, a->p, a->n));
	}
	return (size_t)(d - dst);
}

/* Positions ascend; there may be a million of them. */
static bool is_key(const struct purser_call *c, uint32_t arg)
{
	uint32_t low = 0, high = c->nkeys;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (c->keys[mid] == arg)
			return true;
		if (c->keys[mid] < arg)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

/* Piece enc_arg 0 is the array header; piece i+1 is argument i: header, prefix, bytes, CR LF as one
 * run of which enc_off bytes are out. */
static size_t encode_piece(struct bcall *b, uint8_t *dst, size_t cap, bool *done)
{
	struct purser_call *c = &b->c;
	uint8_t head[24 + 256];
	struct { const uint8_t *p; size_t n; } part[3];
	size_t hn, off = b->enc_off, out = 0;

	if (b->enc_arg == 0) {
		hn = (size_t)(put_header(put_lead(head, c), '*', c->argc) - head);
		part[1].n = part[2].n = 0;
		part[1].p = part[2].p = NULL;
	} else {
		purser_bytes a = b->argv[b->enc_arg - 1];
		size_t prefix = is_key(c, b->enc_arg - 1) ? c->ns_prefix : 0;
		uint8_t *d = put_header(head, '$', a.n + prefix);

		if (prefix)
			d = copy_short(d, b->prefix, prefix);
		hn = (size_t)(d - head);
		part[1].p = a.p;
		part[1].n = a.n;
		part[2].p = (const uint8_t *)"\r\n";
		part[2].n = 2;
	}
	part[0].p = head;
	part[0].n = hn;
	*done = true;
	for (int i = 0; i < 3; i++) {
		size_t n;

		if (off >= part[i].n) {
			off -= part[i].n;
			continue;
		}
		n = part[i].n - off;
		if (n > cap - out) {
			n = cap - out;
			*done = false;
		}
		if (n)
			memcpy(dst + out, part[i].p + off, n);
		out += n;
		off = 0;
		if (!*done)
			break;
	}
	return out;
}

/* The rest of MULTI or EXEC. */
static size_t encode_word(struct bcall *b, const char *word, size_t n, uint8_t *dst, size_t cap, int *more)
{
	size_t left = n - b->enc_off, take = left < cap ? left : cap;

	memcpy(dst, word + b->enc_off, take);
	b->enc_off += take;
	*more = take == left ? PURSER_ENCODE_DONE : PURSER_ENCODE_FULL;
	return take;
}

/* MULTI, the parts, EXEC: one run of bytes, whoever cuts it where. */
static size_t encode_batch(struct bcall *b, uint8_t *dst, size_t cap, int *more)
{
	const struct purser_call *c = &b->c;
	size_t at = 0;

	for (;;) {
		uint32_t part = b->enc_part;

		if (part == 0 || part == c->nparts + 1)
			at += encode_word(b, part ? exec : multi, part ? sizeof exec - 1 : sizeof multi - 1, dst + at,
			    cap - at, more);
		else
			at += call_encode((struct bcall *)c->parts[part - 1], dst + at, cap - at, more);
		if (*more != PURSER_ENCODE_DONE || part == c->nparts + 1)
			return at;
		b->enc_part++;
		b->enc_off = 0;
	}
}

void call_rewind(struct bcall *b)
{
	const struct purser_call *c = &b->c;

	b->enc_arg = b->enc_part = 0;
	b->enc_off = 0;
	for (uint32_t i = 0; c->op == PURSER_OP_BATCH && i < c->nparts; i++)
		call_rewind((struct bcall *)c->parts[i]);
}

/* As much of it as there is room for. */
static size_t encode_part(struct bcall *b, uint8_t *dst, size_t cap, int *more)
{
	const struct purser_call *c = &b->c;
	size_t at = 0;

	if (b->source) {
		at = b->source->read(b->source, dst, cap, more);
		b->streamed += at;
		b->starved = *more == PURSER_ENCODE_WAIT;
		return at;
	}
	while (b->enc_arg <= c->argc) {
		bool done;
		size_t n = encode_piece(b, dst + at, cap - at, &done);

		at += n;
		if (!done) {
			b->enc_off += n;
			*more = PURSER_ENCODE_FULL;
			return at;
		}
		b->enc_arg++;
		b->enc_off = 0;
	}
	*more = PURSER_ENCODE_DONE;
	return at;
}

size_t call_encode(struct bcall *b, uint8_t *dst, size_t cap, int *more)
{
	const struct purser_call *c = &b->c;

	if (__builtin_expect(c->op == PURSER_OP_BATCH, 0))
		return encode_batch(b, dst, cap, more);
	if (b->enc_arg == 0 && b->enc_off == 0 && c->wire_bytes <= cap) {
		b->enc_arg = c->argc + 1;
		*more = PURSER_ENCODE_DONE;
		return b->as_is ? encode_as_is(b, dst) : encode_whole(b, dst);
	}
	return encode_part(b, dst, cap, more);
}
