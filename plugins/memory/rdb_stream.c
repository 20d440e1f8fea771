/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams in Redis' format, of versions 5 and 7.0.  Blocks are the listpacks that the store keeps; groups and what
 * waits for an acknowledgement follow:
 *
 *   blocks (id 16, listpack) | length | last id | first id, largest deleted id, entries ever *| groups:
 *   name | last id | entries read * | pending: id 16, time 8, deliveries | consumers: name | time 8 | pending: id 16
 *
 * Marked ones came with 7.0.
 */
#include <stdlib.h>
#include "rdb.h"
#include "stream.h"

#define TRY(x) do { enum rdb_result rc_ = (x); if (rc_) return rc_; } while (0)
#define ID_BYTES 16u                    /* both halves, high bytes first */

/* ---- writing ---------------------------------------------------------------------------------------------- */
static void put_id(struct rdb_out *o, struct sid id)
{
	uint8_t b[ID_BYTES];
	unsigned i;

	for (i = 0; i < 8; i++) {
		b[i] = (uint8_t)(id.ms >> (56 - 8 * i));
		b[8 + i] = (uint8_t)(id.seq >> (56 - 8 * i));
	}
	rdb_put(o, b, sizeof(b));
}

static void put_id_short(struct rdb_out *o, struct sid id)
{
	rdb_put_length(o, id.ms);
	rdb_put_length(o, id.seq);
}

/* Ids that look like a number would be written as one: these are always bytes. */
static void put_bytes(struct rdb_out *o, const void *p, size_t n)
{
	rdb_put_length(o, n);
	rdb_put(o, p, n);
}

static void put_group(struct rdb_out *o, const struct sgroup *g)
{
	struct idpos at;
	uint32_t i;
	int more;

	rdb_put_string(o, (purser_bytes){ g->named.name, g->named.len });
	put_id_short(o, g->last);
	rdb_put_length(o, (uint64_t)g->entries_read);
	rdb_put_length(o, g->pel.n);
	for (more = idtree_from(&g->pel, SID_MIN, &at); more && !o->error; more = idpos_next(&at)) {
		const struct nack *n = idpos_value(&g->pel, &at);

		put_id(o, idpos_id(&at));
		rdb_put_le(o, (uint64_t)n->ms, 8);
		rdb_put_length(o, n->count);
	}
	rdb_put_length(o, g->consumers.n);
	for (i = 0; i < g->consumers.n && !o->error; i++) {
		const struct sconsumer *k = (const struct sconsumer *)(const void *)g->consumers.v[i];

		rdb_put_string(o, (purser_bytes){ k->named.name, k->named.len });
		rdb_put_le(o, (uint64_t)k->seen_ms, 8);
		rdb_put_length(o, k->pel.n);
		for (more = idtree_from(&k->pel, SID_MIN, &at); more && !o->error; more = idpos_next(&at))
			put_id(o, idpos_id(&at));
	}
}

void rdb_put_stream(struct rdb_out *o, const struct stream *s)
{
	struct idpos at;
	uint32_t i;
	int more;

	rdb_put_length(o, s->blocks.n);
	for (more = idtree_from(&s->blocks, SID_MIN, &at); more && !o->error; more = idpos_next(&at)) {
		const struct sblock *b;

		memcpy(&b, idpos_value(&s->blocks, &at), sizeof(b));
		rdb_put_length(o, ID_BYTES);
		put_id(o, b->id);
		put_bytes(o, b->lp, b->len);
	}
	rdb_put_length(o, s->length);
	put_id_short(o, s->last);
	put_id_short(o, s->first);
	put_id_short(o, s->max_deleted);
	rdb_put_length(o, s->entries_added);
	rdb_put_length(o, s->groups.n);
	for (i = 0; i < s->groups.n && !o->error; i++)
		put_group(o, (const struct sgroup *)(const void *)s->groups.v[i]);
}

/* ---- reading ---------------------------------------------------------------------------------------------- */
static enum rdb_result bad(struct rdb_in *in, const char *why)
{
	in->why = why;
	return RDB_BAD;
}

static struct sid id_of(const uint8_t *p)
{
	struct sid id = { 0, 0 };
	unsigned i;

	for (i = 0; i < 8; i++) {
		id.ms = id.ms << 8 | p[i];
		id.seq = id.seq << 8 | p[8 + i];
	}
	return id;
}

static enum rdb_result take_id(struct rdb_in *in, struct sid *id)
{
	const uint8_t *p;

	TRY(rdb_take(in, ID_BYTES, &p));
	*id = id_of(p);
	return RDB_OK;
}

static enum rdb_result take_id_short(struct rdb_in *in, struct sid *id)
{
	TRY(rdb_length(in, &id->ms));
	return rdb_length(in, &id->seq);
}

static enum rdb_result take_blocks(struct rdb_in *in, struct stream *s)
{
	struct rdb_string str;
	struct sid id;
	uint64_t n, i;
	int rc;

	TRY(rdb_length(in, &n));
	for (i = 0; i < n; i++) {
		TRY(rdb_string(in, &str));
		if (str.s.n != ID_BYTES)
			return bad(in, "a stream's block whose id is none");
		id = id_of(str.s.p);
		TRY(rdb_string(in, &str));
		rc = stream_add_block(in->cx, s, id, str.s.p, str.s.n);
		if (rc)
			return rc == -1 ? RDB_NOMEM : bad(in, "a stream's block that is damaged");
	}
	return RDB_OK;
}

static enum rdb_result take_facts(struct rdb_in *in, unsigned type, struct stream *s)
{
	struct sid first;
	uint64_t length;

	TRY(rdb_length(in, &length));
	TRY(take_id_short(in, &s->last));
	if (length != s->length || (length && sid_order(stream_top(s), s->last) > 0))
		return bad(in, "a stream with other entries than it says");
	stream_mend(s); /* the first id: it is written as well */
	s->entries_added = s->length;
	if (type == RDB_STREAM_LISTPACKS)
		return RDB_OK;
	TRY(take_id_short(in, &first));
	TRY(take_id_short(in, &s->max_deleted));
	return rdb_length(in, &s->entries_added);
}

static enum rdb_result take_pending(struct rdb_in *in, struct sgroup *g)
{
	uint64_t n, i, ms, count;
	struct nack *k;
	struct sid id;
	int fresh;

	TRY(rdb_length(in, &n));
	for (i = 0; i < n; i++) {
		TRY(take_id(in, &id));
		TRY(rdb_le(in, 8, &ms));
		TRY(rdb_length(in, &count));
		k = idtree_put(in->cx, &g->pel, id, &fresh);
		if (!k)
			return RDB_NOMEM;
		if (!fresh)
			return bad(in, "a pending entry that is there twice");
		*k = (struct nack){ (int64_t)ms, count, NULL };
	}
	return RDB_OK;
}

/* *owned counts the pending entries that have found their owner. */
static enum rdb_result take_consumer(struct rdb_in *in, struct sgroup *g, uint64_t *owned)
{
	struct sconsumer *k;
	struct rdb_string str;
	struct nack *nack;
	uint64_t n, i, ms;
	struct sid id;
	int fresh;

	TRY(rdb_string(in, &str));
	if (group_consumer(g, str.s))
		return bad(in, "a consumer that is there twice");
	k = consumer_new(in->cx, g, str.s, 0);
	if (!k)
		return RDB_NOMEM;
	TRY(rdb_le(in, 8, &ms));
	k->seen_ms = (int64_t)ms;
	TRY(rdb_length(in, &n));
	for (i = 0; i < n; i++) {
		TRY(take_id(in, &id));
		nack = idtree_find(&g->pel, id);
		if (!nack || nack->owner)
			return bad(in, "a consumer's pending entry that its group does not have");
		if (!idtree_put(in->cx, &k->pel, id, &fresh))
			return RDB_NOMEM;
		nack->owner = k;
		++*owned;
	}
	return RDB_OK;
}

static enum rdb_result take_group(struct rdb_in *in, unsigned type, struct stream *s)
{
	uint64_t n, i, owned = 0, read;
	struct rdb_string str;
	struct sgroup *g;

	TRY(rdb_string(in, &str));
	if (stream_group(s, str.s))
		return bad(in, "a group that is there twice");
	g = group_new(in->cx, s, str.s, SID_MIN, READ_UNKNOWN);
	if (!g)
		return RDB_NOMEM;
	TRY(take_id_short(in, &g->last));
	g->entries_read = stream_distance(s, g->last);
	if (type != RDB_STREAM_LISTPACKS) {
		TRY(rdb_length(in, &read));
		g->entries_read = (int64_t)read;
	}
	TRY(take_pending(in, g));
	TRY(rdb_length(in, &n));
	for (i = 0; i < n; i++)
		TRY(take_consumer(in, g, &owned));
	return owned == g->pel.n ? RDB_OK : bad(in, "a pending entry that nobody owns");
}

static enum rdb_result take_stream(struct rdb_in *in, unsigned type, struct stream *s)
{
	uint64_t n, i;

	TRY(take_blocks(in, s));
	TRY(take_facts(in, type, s));
	TRY(rdb_length(in, &n));
	for (i = 0; i < n; i++)
		TRY(take_group(in, type, s));
	return RDB_OK;
}

enum rdb_result rdb_stream(struct rdb_in *in, unsigned type, struct stream **s)
{
	enum rdb_result rc;

	*s = stream_new(in->cx);
	if (!*s)
		return RDB_NOMEM;
	rc = take_stream(in, type, *s);
	if (rc)
		stream_dispose(in->cx, *s);
	return rc;
}
