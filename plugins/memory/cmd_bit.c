/* SPDX-License-Identifier: Apache-2.0
 *
 * Strings as bits: number 0 is the highest bit of the first byte.
 */
#include "cmd.h"
#include "number.h"
#include "str.h"

static const char err_offset[] = "ERR bit offset is not an integer or out of range";
static const char err_bit[] = "ERR bit is not an integer or out of range";

/* A bit's number; with bits a "#n" is n fields of so many.  0, or -1 with the error replied. */
static int arg_bit_offset(struct ctx *cx, purser_call *c, uint32_t arg, unsigned bits, uint64_t *out)
{
	purser_bytes a = c->argv[arg];
	int fields = bits && a.n && a.p[0] == '#';
	int64_t v;

	if (int_parse(a.p + fields, a.n - (size_t)fields, &v) == 0) {
		if (fields) /* wraps, as Redis' does */
			v = (int64_t)((uint64_t)v * bits);
		if (v >= 0 && (uint64_t)v >> 3 < STRING_MAX) {
			*out = (uint64_t)v;
			return 0;
		}
	}
	reply_error(cx, c, err_offset);
	return -1;
}

/* The string at p, made long enough for this bit; *grew: it was not.  NULL, with the error replied. */
static uint8_t *string_for_bit(struct ctx *cx, purser_call *c, struct pos *p, uint64_t bit, int *grew)
{
	size_t need = (size_t)(bit >> 3) + 1, len;
	struct item *it;
	uint8_t *to;

	*grew = !p->it || string_len(p->it) < need;
	if (p->it) {
		len = string_len(p->it);
		to = string_stretch(cx, p, len > need ? len : need, 0);
	} else if ((it = string_new(cx, p, need, &to))) {
		memset(to, 0, need);
		if (string_settle(cx, p, it))
			to = NULL;
	} else {
		to = NULL;
	}
	if (!to)
		reply_nomem(cx, c);
	return to;
}

static int bit_at(const uint8_t *p, uint64_t bit) { return p[bit >> 3] >> (7 - (bit & 7)) & 1; }

static void bit_put(uint8_t *p, uint64_t bit, int on)
{
	uint8_t mask = (uint8_t)(1u << (7 - (bit & 7)));

	p[bit >> 3] = on ? p[bit >> 3] | mask : p[bit >> 3] & (uint8_t)~mask;
}

void op_setbit(struct ctx *cx, purser_call *c)
{
	uint64_t bit;
	int64_t on;
	struct pos p;
	uint8_t *to;
	int was, grew;

	if (arg_bit_offset(cx, c, 2, 0, &bit))
		return;
	if (int_parse(c->argv[3].p, c->argv[3].n, &on) || (on & ~(int64_t)1)) {
		reply_error(cx, c, err_bit);
		return;
	}
	arg_find(cx, c, 1, 0, &p, 0);
	if (wrong_type(cx, c, p.it, TYPE_STRING) || !(to = string_for_bit(cx, c, &p, bit, &grew)))
		return;
	was = bit_at(to, bit);
	bit_put(to, bit, (int)on);
	if (grew || was != (int)on)
		arg_event(cx, c, 1, EVENT_STRING, "setbit");
	reply_int(cx, c, was);
}

void op_getbit(struct ctx *cx, purser_call *c)
{
	uint64_t bit;
	struct view v;
	struct pos p;

	if (arg_bit_offset(cx, c, 2, 0, &bit))
		return;
	if (!arg_find(cx, c, 1, 0, &p, FIND_READ)) {
		reply_int(cx, c, 0);
		return;
	}
	if (wrong_type(cx, c, p.it, TYPE_STRING))
		return;
	string_view(p.it, &v);
	reply_int(cx, c, bit >> 3 < v.n && bit_at(v.p, bit));
}

/* ---- counting and searching ---------------------------------------------------------------------------- */
static int64_t count_bytes(const uint8_t *p, size_t n)
{
	int64_t sum = 0;
	uint64_t w;

	for (; n >= 8; p += 8, n -= 8) {
		memcpy(&w, p, 8);
		sum += __builtin_popcountll(w);
	}
	for (; n; p++, n--)
		sum += __builtin_popcount(*p);
	return sum;
}

/* Set bits from number `from` to number `to`, both among them. */
static int64_t count_range(const uint8_t *p, int64_t from, int64_t to)
{
	size_t first = (size_t)(from >> 3), last = (size_t)(to >> 3);
	int64_t sum = count_bytes(p + first, last - first + 1);

	sum -= __builtin_popcount(p[first] >> (8 - (from & 7)));
	return sum - __builtin_popcount(p[last] & ((1u << (7 - (to & 7))) - 1));
}

/* The first bit of this value in the same range; -1: there is none. */
static int64_t search_range(const uint8_t *p, int64_t from, int64_t to, int bit)
{
	uint8_t skip = bit ? 0 : 0xff;

	while (from <= to) {
		if ((from & 7) == 0 && p[from >> 3] == skip) {
			from += 8;
			continue;
		}
		if (bit_at(p, (uint64_t)from) == bit)
			return from;
		from++;
	}
	return -1;
}

/* The unit argument: 1: bits, 0: bytes, -1 with the error replied. */
static int arg_unit(struct ctx *cx, purser_call *c, uint32_t arg)
{
	if (arg_is(c->argv[arg], "bit"))
		return 1;
	if (arg_is(c->argv[arg], "byte"))
		return 0;
	reply_error(cx, c, err_syntax);
	return -1;
}

/* Indexes as they were given to the bits that they mean; from > to: none. */
static void range_bits(int64_t *from, int64_t *to, size_t len, int unit_bit)
{
	int64_t total = (int64_t)len << (unit_bit ? 3 : 0);

	*from = *from < 0 ? *from + total : *from;
	*to = *to < 0 ? *to + total : *to;
	*from = *from < 0 ? 0 : *from;
	*to = *to < 0 ? 0 : *to;
	if (*to >= total)
		*to = total - 1;
	if (*from > *to || unit_bit)
		return;
	*from *= 8;
	*to = *to * 8 + 7;
}

void op_bitcount(struct ctx *cx, purser_call *c)
{
	int64_t from = 0, to = -1;
	int unit = 0;
	struct view v;
	struct pos p;

	if (!arg_find(cx, c, 1, 0, &p, FIND_READ)) {
		reply_int(cx, c, 0);
		return;
	}
	if (wrong_type(cx, c, p.it, TYPE_STRING))
		return;
	if (c->argc == 3 || c->argc > 5) {
		reply_error(cx, c, err_syntax);
		return;
	}
	if (c->argc > 3 && (arg_int(cx, c, 2, &from) || arg_int(cx, c, 3, &to)))
		return;
	if (c->argc > 3 && from < 0 && to < 0 && from > to) { /* before the unit is looked at */
		reply_int(cx, c, 0);
		return;
	}
	if (c->argc == 5 && (unit = arg_unit(cx, c, 4)) < 0)
		return;
	string_view(p.it, &v);
	range_bits(&from, &to, v.n, unit);
	reply_int(cx, c, from > to ? 0 : count_range(v.p, from, to));
}

void op_bitpos(struct ctx *cx, purser_call *c)
{
	int64_t bit, from = 0, to = -1, at;
	int unit = 0;
	struct view v;
	struct pos p;

	if (arg_int(cx, c, 2, &bit))
		return;
	if (bit != 0 && bit != 1) {
		reply_error(cx, c, "ERR The bit argument must be 1 or 0.");
		return;
	}
	if (!arg_find(cx, c, 1, 0, &p, FIND_READ)) { /* zeros without end */
		reply_int(cx, c, bit ? -1 : 0);
		return;
	}
	if (wrong_type(cx, c, p.it, TYPE_STRING))
		return;
	if (c->argc > 6) {
		reply_error(cx, c, err_syntax);
		return;
	}
	if (c->argc > 3 && arg_int(cx, c, 3, &from))
		return;
	if (c->argc == 6 && (unit = arg_unit(cx, c, 5)) < 0)
		return;
	if (c->argc > 4 && arg_int(cx, c, 4, &to))
		return;
	string_view(p.it, &v);
	range_bits(&from, &to, v.n, unit);
	at = from > to ? -1 : search_range(v.p, from, to, (int)bit);
	if (at < 0 && !bit && c->argc < 5 && from <= to)
		at = (int64_t)v.n * 8; /* the first of the zeros behind it, if no end was given */
	reply_int(cx, c, at);
}

/* ---- BITOP ------------------------------------------------------------------------------------------------ */
enum { BIT_AND, BIT_OR, BIT_XOR, BIT_NOT };

/* All strings, as if they were as long as the longest, into to[0..max). */
static void combine(int how, uint8_t *to, size_t max, const struct view *v, uint32_t n)
{
	uint32_t k;
	size_t i;

	if (v[0].n)
		memcpy(to, v[0].p, v[0].n);
	memset(to + v[0].n, 0, max - v[0].n);
	for (i = 0; how == BIT_NOT && i < max; i++)
		to[i] = (uint8_t)~to[i];
	for (k = 1; k < n; k++) {
		const uint8_t *s = v[k].p;
		size_t len = v[k].n;

		if (how == BIT_AND) {
			for (i = 0; i < len; i++)
				to[i] &= s[i];
			memset(to + len, 0, max - len);
		} else if (how == BIT_OR) {
			for (i = 0; i < len; i++)
				to[i] |= s[i];
		} else {
			for (i = 0; i < len; i++)
				to[i] ^= s[i];
		}
	}
}

/* The bytes of the source keys; *max is the length of the longest.  NULL, with the error replied. */
static struct view *bitop_sources(struct ctx *cx, purser_call *c, size_t *max)
{
	uint32_t n = c->argc - 3, i;
	struct view *v = scratch(cx, n * sizeof(*v));
	struct pos p;

	if (!v) {
		reply_nomem(cx, c);
		return NULL;
	}
	*max = 0;
	for (i = 0; i < n; i++) {
		arg_find(cx, c, 3 + i, 1 + i, &p, FIND_READ);
		if (wrong_type(cx, c, p.it, TYPE_STRING))
			return NULL;
		v[i].n = 0;
		if (p.it)
			string_view(p.it, &v[i]);
		*max = v[i].n > *max ? v[i].n : *max;
	}
	return v;
}

void op_bitop(struct ctx *cx, purser_call *c)
{
	static const char *const names[] = { "and", "or", "xor", "not" };
	struct item *it;
	struct view *v;
	struct pos p;
	uint8_t *to;
	size_t max;
	int how;

	for (how = 0; how < 4 && !arg_is(c->argv[1], names[how]); how++)
		;
	if (how == 4) {
		reply_error(cx, c, err_syntax);
		return;
	}
	if (how == BIT_NOT && c->argc != 4) {
		reply_error(cx, c, "ERR BITOP NOT must be called with a single source key.");
		return;
	}
	v = bitop_sources(cx, c, &max);
	if (!v)
		return;
	arg_find(cx, c, 2, 0, &p, 0);
	if (!max) {
		if (p.it) {
			key_delete(cx, &p);
			arg_gone(cx, c, 2);
		}
		reply_int(cx, c, 0);
		return;
	}
	it = string_new(cx, &p, max, &to);
	if (it)
		combine(how, to, max, v, c->argc - 3);
	if (!it || string_settle(cx, &p, it)) {
		reply_nomem(cx, c);
		return;
	}
	arg_event(cx, c, 2, EVENT_STRING, "set");
	reply_int(cx, c, (int64_t)max);
}

/* ---- BITFIELD ------------------------------------------------------------------------------------------------ */
enum { FIELD_GET, FIELD_SET, FIELD_INCRBY };
enum { OVER_WRAP, OVER_SAT, OVER_FAIL };

struct field {
	uint64_t offset;
	int64_t value;
	uint8_t what, over, is_signed, bits;
};

/* "i16", "u8": 1 to 64 bits, or to 63 if unsigned. */
static int arg_field_type(struct ctx *cx, purser_call *c, uint32_t arg, struct field *f)
{
	purser_bytes a = c->argv[arg];
	int64_t bits;

	f->is_signed = a.n && a.p[0] == 'i';
	if (a.n > 1 && (f->is_signed || a.p[0] == 'u') &&
	    int_parse(a.p + 1, strnlen((const char *)a.p + 1, a.n - 1), &bits) == 0 && bits >= 1 &&
	    bits <= (f->is_signed ? 64 : 63)) {
		f->bits = (uint8_t)bits;
		return 0;
	}
	reply_error(cx, c, "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not "
	    "supported but i64 is.");
	return -1;
}

static int arg_overflow(struct ctx *cx, purser_call *c, uint32_t arg)
{
	static const char *const words[] = { "wrap", "sat", "fail" };
	int i;

	for (i = 0; i < 3; i++)
		if (arg_is(c->argv[arg], words[i]))
			return i;
	reply_error(cx, c, "ERR Invalid OVERFLOW type specified");
	return -1;
}

/* The operations of the command to f[0..*n); *high is the last bit that one of them writes.  How many write, or
 * -1 with the error replied. */
static int fields_parse(struct ctx *cx, purser_call *c, struct field *f, uint32_t *n, uint64_t *high)
{
	int writes = 0, over = OVER_WRAP;
	uint32_t i;

	*n = 0;
	*high = 0;
	for (i = 2; i < c->argc; i++) {
		uint32_t left = c->argc - i - 1;
		struct field *to = &f[*n];

		if (arg_is(c->argv[i], "overflow") && left >= 1) {
			over = arg_overflow(cx, c, ++i);
			if (over < 0)
				return -1;
			continue;
		}
		to->over = (uint8_t)over;
		if (arg_is(c->argv[i], "get") && left >= 2)
			to->what = FIELD_GET;
		else if (arg_is(c->argv[i], "set") && left >= 3)
			to->what = FIELD_SET;
		else if (arg_is(c->argv[i], "incrby") && left >= 3)
			to->what = FIELD_INCRBY;
		else {
			reply_error(cx, c, err_syntax);
			return -1;
		}
		if (arg_field_type(cx, c, i + 1, to) || arg_bit_offset(cx, c, i + 2, to->bits, &to->offset))
			return -1;
		i += 2;
		if (to->what != FIELD_GET) {
			if (arg_int(cx, c, ++i, &to->value))
				return -1;
			if (to->offset + to->bits - 1 > *high)
				*high = to->offset + to->bits - 1;
			writes++;
		}
		++*n;
	}
	return writes;
}

static uint64_t field_read(const struct field *f, const uint8_t *p, size_t n)
{
	uint64_t v = 0, bit;

	for (bit = f->offset; bit < f->offset + f->bits; bit++)
		v = v << 1 | (uint64_t)(bit >> 3 < n && bit_at(p, bit));
	if (f->is_signed && f->bits < 64 && v >> (f->bits - 1) & 1)
		v |= UINT64_MAX << f->bits;
	return v;
}

static void field_write(const struct field *f, uint8_t *p, uint64_t v)
{
	unsigned i;

	for (i = 0; i < f->bits; i++)
		bit_put(p, f->offset + i, v >> (f->bits - 1 - i) & 1);
}

/* value + by as the field can keep it; *over: it could not.  The room above a value far below the field's range
 * wraps, so that SAT makes it the highest: as in Redis. */
static uint64_t fit_signed(const struct field *f, int64_t value, int64_t by, int *over)
{
	int64_t max = f->bits == 64 ? INT64_MAX : ((int64_t)1 << (f->bits - 1)) - 1, min = -max - 1;
	int64_t above = (int64_t)((uint64_t)max - (uint64_t)value), below = (int64_t)((uint64_t)min - (uint64_t)value);
	int narrow = f->bits != 64;
	int up = value > max || ((narrow || (value >= 0 && by > 0)) && by > above);
	int down = !up && (value < min || ((narrow || (value < 0 && by < 0)) && by < below));
	uint64_t sum = (uint64_t)value + (uint64_t)by;

	*over = up || down;
	if (!*over)
		return sum;
	if (f->over == OVER_SAT)
		return (uint64_t)(up ? max : min);
	if (narrow) {
		sum &= ~(UINT64_MAX << f->bits);
		if (sum >> (f->bits - 1) & 1)
			sum |= UINT64_MAX << f->bits;
	}
	return sum;
}

static uint64_t fit_unsigned(const struct field *f, uint64_t value, int64_t by, int *over)
{
	uint64_t max = ~(UINT64_MAX << f->bits); /* 63 bits at most */
	int up = value > max || (by > 0 && (uint64_t)by > max - value);
	int down = !up && by < 0 && -(uint64_t)by > value;

	*over = up || down;
	if (*over && f->over == OVER_SAT)
		return up ? max : 0;
	return (value + (uint64_t)by) & max;
}

/* 1: another value than it was. */
static int field_change(struct ctx *cx, purser_call *c, const struct field *f, uint8_t *p, size_t n, int grew)
{
	uint64_t was = field_read(f, p, n), is;
	uint64_t value = f->what == FIELD_SET ? (uint64_t)f->value : was;
	int64_t by = f->what == FIELD_SET ? 0 : f->value;
	int over;

	is = f->is_signed ? fit_signed(f, (int64_t)value, by, &over) : fit_unsigned(f, value, by, &over);
	if (over && f->over == OVER_FAIL) {
		reply_null(cx, c);
		return 0;
	}
	field_write(f, p, is);
	reply_int(cx, c, (int64_t)(f->what == FIELD_SET ? was : is));
	return grew || was != is;
}

static void bitfield(struct ctx *cx, purser_call *c, int reads_only)
{
	struct field *f = scratch(cx, (c->argc / 3 + 1) * sizeof(*f));
	struct view v = { .n = 0 };
	uint8_t *to = NULL;
	uint64_t high;
	uint32_t n, i;
	int writes, grew = 0, changes = 0;
	struct pos p;

	if (!f) {
		reply_nomem(cx, c);
		return;
	}
	writes = fields_parse(cx, c, f, &n, &high);
	if (writes < 0)
		return;
	if (writes && reads_only) {
		reply_error(cx, c, "ERR BITFIELD_RO only supports the GET subcommand");
		return;
	}
	arg_find(cx, c, 1, 0, &p, writes ? 0 : FIND_READ);
	if (wrong_type(cx, c, p.it, TYPE_STRING) || (writes && !(to = string_for_bit(cx, c, &p, high, &grew))))
		return;
	if (to)
		arg_find(cx, c, 1, 0, &p, FIND_NOTOUCH);
	if (p.it)
		string_view(p.it, &v);
	reply_array(cx, c, n);
	for (i = 0; i < n; i++)
		if (f[i].what == FIELD_GET)
			reply_int(cx, c, (int64_t)field_read(&f[i], v.p, v.n));
		else
			changes |= field_change(cx, c, &f[i], to, v.n, grew);
	if (changes)
		arg_event(cx, c, 1, EVENT_STRING, "setbit");
	else
		key_came(cx, c->db, c->argv[1]); /* it may have come, and all that was to be written overflowed */
}

void op_bitfield(struct ctx *cx, purser_call *c) { bitfield(cx, c, 0); }
void op_bitfield_ro(struct ctx *cx, purser_call *c) { bitfield(cx, c, 1); }
