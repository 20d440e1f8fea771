/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands for the entries of a stream.  (Reading on: cmd_stream_read.c; groups: cmd_stream_group.c,
 * cmd_stream_claim.c; XINFO: cmd_stream_info.c)
 */
#include <errno.h>
#include <stdlib.h>
#include "cmd_stream.h"
#include "event.h"
#include "number.h"
#include "wait.h"

#define LIMIT_APPROX (100 * BLOCK_ENTRIES) /* entries that one approximate trim takes, unless LIMIT says */

const char err_no_group[] = "NOGROUP No such key '%.*s' or consumer group '%.*s'";

/* ---- ids as arguments -------------------------------------------------------------------------------------- */
/* As string2ull() of Redis: an integer strictly, else whatever strtoull() takes. */
static int u64_parse(const char *s, uint64_t *out)
{
	int64_t v;
	char *end;

	if (int_parse(s, strlen(s), &v) == 0) {
		*out = (uint64_t)v;
		return v < 0 ? -1 : 0;
	}
	errno = 0;
	*out = strtoull(s, &end, 10);
	return errno || !*s || *end ? -1 : 0;
}

int sid_parse(purser_bytes a, int strict, uint64_t missing, int *seq_given, struct sid *out)
{
	char buf[128], *dash;

	if (a.n > sizeof(buf) - 1)
		return -1;
	if (a.n)
		memcpy(buf, a.p, a.n);
	buf[a.n] = '\0';
	if (seq_given)
		*seq_given = 1;
	if ((*buf == '-' || *buf == '+') && !buf[1]) {
		*out = *buf == '-' ? SID_MIN : SID_MAX;
		return strict ? -1 : 0;
	}
	dash = strchr(buf, '-');
	if (dash)
		*dash++ = '\0';
	if (u64_parse(buf, &out->ms))
		return -1;
	if (seq_given && dash && !strcmp(dash, "*")) {
		*seq_given = 0;
		out->seq = 0;
		return 0;
	}
	out->seq = missing;
	return dash ? u64_parse(dash, &out->seq) : 0;
}

void reply_bad_sid(struct ctx *cx, purser_call *c)
{
	reply_error(cx, c, "ERR Invalid stream ID specified as stream command argument");
}

int arg_sid(struct ctx *cx, purser_call *c, uint32_t arg, struct sid *out)
{
	if (sid_parse(c->argv[arg], 1, 0, NULL, out) == 0)
		return 0;
	reply_bad_sid(cx, c);
	return -1;
}

/* *open: the id itself is not meant. */
static int arg_end_of_range(struct ctx *cx, purser_call *c, uint32_t arg, uint64_t missing, struct sid *out,
    int *open)
{
	purser_bytes a = c->argv[arg];

	*open = a.n > 1 && a.p[0] == '(';
	a.p += *open;
	a.n -= (size_t)*open;
	if (sid_parse(a, *open, missing, NULL, out) == 0)
		return 0;
	reply_bad_sid(cx, c);
	return -1;
}

int arg_from(struct ctx *cx, purser_call *c, uint32_t arg, struct sid *out)
{
	int open;

	if (arg_end_of_range(cx, c, arg, 0, out, &open))
		return -1;
	if (open && sid_order(*out, SID_MAX) == 0) {
		reply_error(cx, c, "ERR invalid start ID for the interval");
		return -1;
	}
	if (open)
		*out = sid_up(*out);
	return 0;
}

int arg_upto(struct ctx *cx, purser_call *c, uint32_t arg, struct sid *out)
{
	int open;

	if (arg_end_of_range(cx, c, arg, UINT64_MAX, out, &open))
		return -1;
	if (open && sid_is_zero(*out)) {
		reply_error(cx, c, "ERR invalid end ID for the interval");
		return -1;
	}
	if (open)
		*out = sid_down(*out);
	return 0;
}

/* ---- replies ------------------------------------------------------------------------------------------------ */
static char *u64_format(uint64_t v, char *to)
{
	char tmp[20];
	size_t n = 0;

	do
		tmp[n++] = (char)('0' + v % 10);
	while (v /= 10);
	while (n > 0)
		*to++ = tmp[--n];
	return to;
}

size_t sid_format(struct sid id, char buf[SID_TEXT])
{
	char *p = u64_format(id.ms, buf);

	*p++ = '-';
	return (size_t)(u64_format(id.seq, p) - buf);
}

void reply_sid(struct ctx *cx, purser_call *c, struct sid id)
{
	char text[SID_TEXT];

	reply_bulk(cx, c, text, sid_format(id, text));
}

void reply_entry(struct ctx *cx, purser_call *c, const struct spos *p)
{
	struct view name, value;
	struct sfields f;
	uint64_t i;

	reply_array(cx, c, 2);
	reply_sid(cx, c, p->id);
	reply_array(cx, c, 2 * p->fields);
	spos_fields(p, &f);
	for (i = 0; i < p->fields; i++) {
		spos_field(&f, &name, &value);
		reply_bulk(cx, c, name.p, name.n);
		reply_bulk(cx, c, value.p, value.n);
	}
}

void reply_entries(struct ctx *cx, purser_call *c, const struct stream *s, struct sid from, struct sid to,
    uint64_t most, int back)
{
	uint64_t n = sid_order(from, to) > 0 ? 0 : stream_count(s, from, to, most), i;
	struct spos p;

	reply_array(cx, c, n);
	for (i = 0; i < n; i++) {
		if (i == 0 && back)
			stream_upto(s, to, &p);
		else if (i == 0)
			stream_from(s, from, &p);
		else if (back)
			spos_prev(&p);
		else
			spos_next(&p);
		reply_entry(cx, c, &p);
	}
}

struct shown shown_arg(const purser_call *c, uint32_t arg)
{
	purser_bytes a = c->argv[arg];
	const void *nul = a.n ? memchr(a.p, '\0', a.n) : NULL;

	return (struct shown){ (int)(nul ? (size_t)((const uint8_t *)nul - a.p) : a.n), (const char *)a.p };
}

struct shown shown_key(const purser_call *c, uint32_t arg)
{
	struct shown s = shown_arg(c, arg);

	if ((uint32_t)s.n < c->ns_prefix)
		return s;
	return (struct shown){ s.n - (int)c->ns_prefix, s.p + c->ns_prefix };
}

/* ---- keys --------------------------------------------------------------------------------------------------- */
struct stream *stream_at_key(struct ctx *cx, struct pos *p, int *made)
{
	struct shape sh = { ENC_STREAM, 0, 0 };
	struct stream *s;
	struct item *it;

	*made = !p->it;
	if (p->it)
		return item_stream(p->it);
	s = stream_new(cx);
	if (!s)
		return NULL;
	it = item_new(cx, &sh, p->key, p->klen);
	if (it) {
		item_set_word(it, (uint64_t)(uintptr_t)s);
		if (key_add(cx, p, it) == 0)
			return s;
		item_free_shell(cx, it);
	}
	stream_dispose(cx, s);
	return NULL;
}

void stream_unmake(struct ctx *cx, purser_call *c, uint32_t arg, struct pos *p)
{
	arg_find(cx, c, arg, 0, p, FIND_NOTOUCH); /* its slot, which may have moved */
	key_delete(cx, p);
}

/* ---- XADD, XTRIM ---------------------------------------------------------------------------------------------- */
struct adding {
	struct strim trim;
	int trims, limited, no_make;
	int id_given, seq_given;
	struct sid id;
};

/* MAXLEN or MINID at argv[*i], with what belongs to it; *i is its last argument then. */
static int trim_option(struct ctx *cx, purser_call *c, uint32_t *i, struct adding *a, int by_id)
{
	uint32_t more = c->argc - 1 - *i;
	purser_bytes next = c->argv[*i + 1];
	int64_t n = 0;

	if (a->trims) {
		reply_error(cx, c, "ERR syntax error, MAXLEN and MINID options at the same time are not compatible");
		return -1;
	}
	a->trim.approx = more >= 2 && arg_is(next, "~");
	if (a->trim.approx || (more >= 2 && arg_is(next, "=")))
		++*i;
	++*i;
	a->trims = 1;
	a->trim.by_id = by_id;
	if (by_id)
		return arg_sid(cx, c, *i, &a->trim.id);
	if (arg_int(cx, c, *i, &n))
		return -1;
	a->trim.length = (uint64_t)n;
	if (n >= 0)
		return 0;
	reply_error(cx, c, "ERR The MAXLEN argument must be >= 0.");
	return -1;
}

static int check_limit(struct ctx *cx, purser_call *c, struct adding *a, int xadd)
{
	const char *text = NULL;

	if (a->trim.limit && !a->trims)
		text = "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy";
	else if (!xadd && !a->trims)
		text = "ERR syntax error, XTRIM must be called with a trimming strategy";
	else if (a->limited && !a->trim.approx)
		text = "ERR syntax error, LIMIT cannot be used without the special ~ option";
	if (text) {
		reply_error(cx, c, text);
		return -1;
	}
	if (!a->limited && a->trim.approx)
		a->trim.limit = LIMIT_APPROX;
	return 0;
}

/* The options of XADD or XTRIM; where XADD's id is in *at.  0, or -1 with the error replied. */
static int add_options(struct ctx *cx, purser_call *c, struct adding *a, int xadd, uint32_t *at)
{
	uint32_t i;

	*a = (struct adding){ .trims = 0 };
	for (i = 2; i < c->argc; i++) {
		int more = i + 1 < c->argc;
		int64_t limit;

		if (xadd && arg_is(c->argv[i], "*")) {
			break;
		} else if (more && (arg_is(c->argv[i], "maxlen") || arg_is(c->argv[i], "minid"))) {
			if (trim_option(cx, c, &i, a, arg_is(c->argv[i], "minid")))
				return -1;
		} else if (more && arg_is(c->argv[i], "limit")) {
			if (arg_int(cx, c, ++i, &limit))
				return -1;
			if (limit < 0) {
				reply_error(cx, c, "ERR The LIMIT argument must be >= 0.");
				return -1;
			}
			a->limited = 1;
			a->trim.limit = (uint64_t)limit;
		} else if (xadd && arg_is(c->argv[i], "nomkstream")) {
			a->no_make = 1;
		} else if (xadd) {
			if (sid_parse(c->argv[i], 1, 0, &a->seq_given, &a->id)) {
				reply_bad_sid(cx, c);
				return -1;
			}
			a->id_given = 1;
			break;
		} else {
			reply_error(cx, c, err_syntax);
			return -1;
		}
	}
	*at = i;
	return check_limit(cx, c, a, xadd);
}

/* The id of the new entry; 0, or -1: it would not be above the last one. */
static int next_id(struct ctx *cx, const struct stream *s, const struct adding *a, struct sid *id)
{
	*id = a->id;
	if (!a->id_given) {
		*id = (struct sid){ now_ms(cx), 0 };
		if (id->ms <= s->last.ms)
			*id = sid_up(s->last);
	} else if (!a->seq_given && id->ms == s->last.ms) {
		if (s->last.seq == UINT64_MAX)
			return -1;
		id->seq = s->last.seq + 1;
	}
	return sid_order(*id, s->last) > 0 ? 0 : -1;
}

static int too_large(const purser_call *c, uint32_t from)
{
	uint64_t n = 0;

	for (; from < c->argc; from++)
		n += c->argv[from].n;
	return n > ENTRY_BYTES_MAX;
}

static void trim_now(struct ctx *cx, purser_call *c, struct stream *s, const struct adding *a)
{
	if (a->trims && stream_trim(cx, s, &a->trim))
		arg_event(cx, c, 1, EVENT_STREAM, "xtrim");
}

void op_xadd(struct ctx *cx, purser_call *c)
{
	struct adding a;
	struct stream *s;
	struct pos p;
	struct sid id;
	uint32_t at;
	int made;

	if (add_options(cx, c, &a, 1, &at))
		return;
	if (c->argc < at + 3 || (c->argc - at) % 2 == 0) {
		reply_arity(cx, c);
		return;
	}
	if (a.id_given && a.seq_given && sid_is_zero(a.id)) {
		reply_error(cx, c, "ERR The ID specified in XADD must be greater than 0-0");
		return;
	}
	arg_find(cx, c, 1, 0, &p, 0);
	if (wrong_type(cx, c, p.it, TYPE_STREAM))
		return;
	if (!p.it && a.no_make) {
		reply_null(cx, c);
		return;
	}
	if (p.it && sid_order(item_stream(p.it)->last, SID_MAX) == 0) {
		reply_error(cx, c, "ERR The stream has exhausted the last possible ID, unable to add more items");
		return;
	}
	if (p.it && next_id(cx, item_stream(p.it), &a, &id)) {
		reply_error(cx, c, "ERR The ID specified in XADD is equal or smaller than the target stream top item");
		return;
	}
	if (too_large(c, at + 1)) {
		reply_error(cx, c, "ERR Elements are too large to be stored");
		return;
	}
	s = stream_at_key(cx, &p, &made);
	if (s && made)
		next_id(cx, s, &a, &id); /* above 0-0: that has been seen to */
	if (!s || stream_append(cx, s, id, c->argv + at + 1, (c->argc - at - 1) / 2)) {
		if (s && made)
			stream_unmake(cx, c, 1, &p);
		reply_nomem(cx, c);
		return;
	}
	arg_event(cx, c, 1, EVENT_STREAM, "xadd");
	trim_now(cx, c, s, &a);
	wait_signal(cx, &p, WAIT_STREAM);
	reply_sid(cx, c, id);
}

void op_xtrim(struct ctx *cx, purser_call *c)
{
	struct adding a;
	struct pos p;
	uint64_t gone;
	uint32_t at;

	if (add_options(cx, c, &a, 0, &at))
		return;
	if (!arg_find(cx, c, 1, 0, &p, 0)) {
		reply_int(cx, c, 0);
		return;
	}
	if (wrong_type(cx, c, p.it, TYPE_STREAM))
		return;
	gone = stream_trim(cx, item_stream(p.it), &a.trim);
	if (gone)
		arg_event(cx, c, 1, EVENT_STREAM, "xtrim");
	reply_int(cx, c, (int64_t)gone);
}

/* ---- others ----------------------------------------------------------------------------------------------------- */
void op_xlen(struct ctx *cx, purser_call *c)
{
	struct pos p;

	arg_find(cx, c, 1, 0, &p, FIND_READ);
	if (!wrong_type(cx, c, p.it, TYPE_STREAM))
		reply_int(cx, c, p.it ? (int64_t)item_stream(p.it)->length : 0);
}

static void range(struct ctx *cx, purser_call *c, int back)
{
	struct sid from, to;
	int64_t count = -1;
	struct pos p;
	uint32_t i;

	if (arg_from(cx, c, back ? 3 : 2, &from) || arg_upto(cx, c, back ? 2 : 3, &to))
		return;
	for (i = 4; i < c->argc; i += 2) {
		if (!arg_is(c->argv[i], "count") || i + 1 == c->argc) {
			reply_error(cx, c, err_syntax);
			return;
		}
		if (arg_int(cx, c, i + 1, &count))
			return;
		if (count < 0)
			count = 0;
	}
	if (!arg_find(cx, c, 1, 0, &p, FIND_READ)) {
		reply_array(cx, c, 0);
		return;
	}
	if (wrong_type(cx, c, p.it, TYPE_STREAM))
		return;
	if (count == 0)
		reply_null_array(cx, c);
	else
		reply_entries(cx, c, item_stream(p.it), from, to, count < 0 ? UINT64_MAX : (uint64_t)count, back);
}

void op_xrange(struct ctx *cx, purser_call *c) { range(cx, c, 0); }
void op_xrevrange(struct ctx *cx, purser_call *c) { range(cx, c, 1); }

void op_xdel(struct ctx *cx, purser_call *c)
{
	int64_t gone = 0;
	int first = 0;
	struct stream *s;
	struct pos p;
	struct sid id;
	uint32_t i;

	if (!arg_find(cx, c, 1, 0, &p, 0)) {
		reply_int(cx, c, 0);
		return;
	}
	if (wrong_type(cx, c, p.it, TYPE_STREAM))
		return;
	for (i = 2; i < c->argc; i++)
		if (arg_sid(cx, c, i, &id))
			return;
	s = item_stream(p.it);
	for (i = 2; i < c->argc; i++) {
		sid_parse(c->argv[i], 1, 0, NULL, &id);
		if (!stream_delete(cx, s, id))
			continue;
		first |= sid_order(id, s->first) == 0;
		if (sid_order(id, s->max_deleted) > 0)
			s->max_deleted = id;
		gone++;
	}
	if (gone && (first || !s->length))
		stream_mend(s);
	if (gone)
		arg_event(cx, c, 1, EVENT_STREAM, "xdel");
	reply_int(cx, c, gone);
}

/* 0, or -1 with the error replied. */
static int setid_options(struct ctx *cx, purser_call *c, struct sid id, int64_t *added, struct sid *deleted)
{
	uint32_t i;

	*added = -1;
	*deleted = SID_MIN;
	for (i = 3; i < c->argc; i += 2) {
		int more = i + 1 < c->argc;

		if (more && arg_is(c->argv[i], "entriesadded")) {
			if (arg_int(cx, c, i + 1, added))
				return -1;
			if (*added >= 0)
				continue;
			reply_error(cx, c, "ERR entries_added must be positive");
		} else if (more && arg_is(c->argv[i], "maxdeletedid")) {
			if (arg_sid(cx, c, i + 1, deleted))
				return -1;
			if (sid_order(id, *deleted) >= 0)
				continue;
			reply_error(cx, c, "ERR The ID specified in XSETID is smaller than the provided "
			    "max_deleted_entry_id");
		} else {
			reply_error(cx, c, err_syntax);
		}
		return -1;
	}
	return 0;
}

void op_xsetid(struct ctx *cx, purser_call *c)
{
	const char *text = NULL;
	struct sid id, deleted;
	struct stream *s;
	int64_t added;
	struct pos p;

	if (arg_sid(cx, c, 2, &id) || setid_options(cx, c, id, &added, &deleted))
		return;
	if (!arg_find(cx, c, 1, 0, &p, 0)) {
		reply_error(cx, c, err_no_key);
		return;
	}
	if (wrong_type(cx, c, p.it, TYPE_STREAM))
		return;
	s = item_stream(p.it);
	if (s->length && sid_order(id, stream_top(s)) < 0)
		text = "ERR The ID specified in XSETID is smaller than the target stream top item";
	else if (s->length && added != -1 && s->length > (uint64_t)added)
		text = "ERR The entries_added specified in XSETID is smaller than the target stream length";
	if (text) {
		reply_error(cx, c, text);
		return;
	}
	s->last = id;
	if (added != -1)
		s->entries_added = (uint64_t)added;
	if (!sid_is_zero(deleted))
		s->max_deleted = deleted;
	arg_told(cx, c, 1, EVENT_STREAM, "xsetid");
	reply_ok(cx, c);
}
