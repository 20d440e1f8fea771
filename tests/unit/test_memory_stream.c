/* SPDX-License-Identifier: Apache-2.0
 *
 * The tree of ids, listpacks, and streams with their groups: random changes against simple models.  PURSER_SEED
 * makes a run again.
 */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "cmd.h"
#include "idtree.h"
#include "listpack.h"
#include "memory_host.h"
#include "stream.h"

static uint64_t seed;

static uint64_t next(void)
{
	uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint32_t below(uint32_t n) { return (uint32_t)((next() >> 32) * n >> 32); }

struct fixture { struct mh m; struct mh_ctx x; struct store *st; struct ctx *cx; };

static struct fixture *start(void)
{
	struct fixture *f = calloc(1, sizeof(*f));

	mh_start(&f->m, (struct mh_settings){ .databases = 1 });
	mh_open(&f->x, &f->m);
	f->st = f->m.state;
	f->cx = f->x.cs;
	return f;
}

static void stop(struct fixture *f)
{
	int i;

	for (i = 0; i < 2000 && store_used(f->st); i++)
		mh_pass(&f->x, 100);
	assert_int_equal(store_used(f->st), 0);
	assert_int_equal(store_sum(f->st, offsetof(struct ledger, freeing)), 0);
	mh_close(&f->x);
	mh_stop(&f->m);
	free(f);
}

/* ---- idtree -------------------------------------------------------------------------------------------- */
#define SPACE 6000u

static struct sid id_at(uint32_t i) { return (struct sid){ 1 + i / 7, i % 7 }; }

struct model { uint8_t there[SPACE]; uint64_t value[SPACE]; uint64_t n; };

static void check_tree(const struct idtree *t, const struct model *m)
{
	struct idpos p;
	uint32_t i;
	int more = idtree_from(t, SID_MIN, &p);

	assert_int_equal(t->n, m->n);
	for (i = 0; i < SPACE; i++) {
		uint64_t v;

		if (!m->there[i])
			continue;
		assert_true(more);
		assert_int_equal(sid_order(idpos_id(&p), id_at(i)), 0);
		memcpy(&v, idpos_value(t, &p), 8);
		assert_int_equal(v, m->value[i]);
		more = idpos_next(&p);
	}
	assert_false(more);
	more = idtree_upto(t, SID_MAX, &p);
	for (i = SPACE; i-- > 0;)
		if (m->there[i]) {
			assert_true(more);
			assert_int_equal(sid_order(idpos_id(&p), id_at(i)), 0);
			more = idpos_prev(&p);
		}
	assert_false(more);
}

/* The neighbours of any id, there or not. */
static void check_seek(const struct idtree *t, const struct model *m, uint32_t at)
{
	struct idpos p;
	uint32_t i;

	for (i = at; i < SPACE && !m->there[i]; i++)
		;
	assert_int_equal(idtree_from(t, id_at(at), &p), i < SPACE);
	if (i < SPACE)
		assert_int_equal(sid_order(idpos_id(&p), id_at(i)), 0);
	for (i = at + 1; i-- > 0 && !m->there[i];)
		;
	assert_int_equal(idtree_upto(t, id_at(at), &p), i != UINT32_MAX);
	if (i != UINT32_MAX)
		assert_int_equal(sid_order(idpos_id(&p), id_at(i)), 0);
}

static void tree_put(struct fixture *f, struct idtree *t, struct model *m, uint32_t i, int64_t fail_after)
{
	uint64_t v = next();
	void *to;
	int fresh;

	f->st->fail_after = fail_after;
	to = idtree_put(f->cx, t, id_at(i), &fresh);
	f->st->fail_after = -1;
	if (!to) {
		assert_true(fail_after >= 0 && !m->there[i]);
		return;
	}
	assert_int_equal(fresh, !m->there[i]);
	memcpy(to, &v, 8);
	m->n += !m->there[i];
	m->there[i] = 1;
	m->value[i] = v;
}

static void tree_against_array(void **state)
{
	struct fixture *f = start();
	struct model *m = calloc(1, sizeof(*m));
	struct idtree t;
	uint32_t round, i, up = 0;
	int64_t all = INT64_MAX, few;

	(void)state;
	idtree_init(&t, 8);
	for (round = 0; round < 60000; round++) {
		uint32_t phase = round / 6000, r = below(10); /* growing, shrinking, filling from below, short of memory */

		if (phase % 4 == 0 ? r < 7 : phase % 4 == 2 ? r < 5 : r < 2) {
			i = phase % 4 == 2 ? up++ % SPACE : below(SPACE);
			tree_put(f, &t, m, i, phase % 4 == 0 && r < 2 ? (int64_t)below(3) : -1);
		} else {
			i = below(SPACE);
			if (phase % 4 == 3 && m->n > 4) { /* what comes first, as trimming does */
				struct idpos p;

				idtree_from(&t, SID_MIN, &p);
				i = (uint32_t)((idpos_id(&p).ms - 1) * 7 + idpos_id(&p).seq);
			}
			f->st->fail_after = (int64_t)below(3); /* taking away needs no memory, though it may ask for some */
			assert_int_equal(idtree_remove(f->cx, &t, id_at(i)), m->there[i]);
			f->st->fail_after = -1;
			m->n -= m->there[i];
			m->there[i] = 0;
		}
		check_seek(&t, m, below(SPACE));
		if (round % 1000 == 0)
			check_tree(&t, m);
	}
	check_tree(&t, m);
	while (few = 1 + below(300), !idtree_reap(f->cx, &t, &few, NULL))
		assert_true(few <= 0);
	assert_int_equal(t.n, 0);
	memset(m, 0, sizeof(*m));
	for (i = 0; i < SPACE; i++)
		tree_put(f, &t, m, i, -1);
	check_tree(&t, m);
	assert_true(t.levels == 3); /* full nodes: 6000 ids in 188 leaves under 6 nodes */
	for (i = 0; i < SPACE; i++)
		assert_true(idtree_remove(f->cx, &t, id_at(i)));
	assert_null(t.root);
	idtree_reap(f->cx, &t, &all, NULL);
	free(m);
	stop(f);
}

/* ---- listpack ------------------------------------------------------------------------------------------- */
static void listpack_both_ways(void **state)
{
	static const int64_t edges[] = { 0, 127, 128, -1, 4095, 4096, -4096, -4097, 32767, 32768, -32768, -32769, 8388607,
		8388608, -8388608, -8388609, INT32_MAX, (int64_t)INT32_MAX + 1, INT32_MIN, (int64_t)INT32_MIN - 1, INT64_MAX,
		INT64_MIN };
	static const size_t sizes[] = { 0, 1, 63, 64, 125, 126, 127, 128, 4095, 4096, 16378, 16379, 16380, 16381, 16382, 16383,
		70000, 2097140, 2097150 };
	uint8_t *lp = malloc(8u << 20), *to, *text = malloc(3u << 20);
	size_t n = 0, i;
	uint64_t elements;
	const uint8_t *p;
	struct view v;

	(void)state;
	memset(text, 'x', 3u << 20);
	lp_empty(lp);
	assert_true(lp_check(lp, LP_EMPTY, &elements) && elements == 0);
	to = lp + LP_HEAD;
	for (i = 0; i < sizeof(edges) / sizeof(*edges); i++, n++)
		to = lp_put_int(to, edges[i]);
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++, n++)
		to = lp_put(to, text, sizes[i]);
	to = lp_put(to, "-12", 3);
	to = lp_put(to, "012", 3);
	n += 2;
	*to = LP_END;
	lp_finish(lp, (size_t)(to - lp) + 1, (uint32_t)n);
	assert_true(lp_check(lp, (size_t)(to - lp) + 1, &elements));
	assert_int_equal(elements, n);
	p = lp_first(lp);
	for (i = 0; i < sizeof(edges) / sizeof(*edges); i++, p = lp_next(p))
		assert_true(lp_int(p) == edges[i] && lp_next(p) == p + lp_int_bytes(edges[i]));
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++, p = lp_next(p)) {
		lp_get(p, &v);
		assert_true(v.n == sizes[i] && memcmp(v.p, text, v.n) == 0);
		assert_true(lp_prev(lp_next(p)) == p);
	}
	assert_int_equal(lp_int(p), -12);
	lp_get(lp_next(p), &v);
	assert_true(v.n == 3 && memcmp(v.p, "012", 3) == 0);
	for (i = 0; i < n; i++)
		to = (uint8_t *)(uintptr_t)lp_prev(to);
	assert_ptr_equal(to, lp_first(lp));
	free(lp);
	free(text);
}

/* Whatever a byte is changed to, the check says no or what it says holds. */
static void listpack_damage(void **state)
{
	uint8_t lp[400], bad[400], *to;
	size_t n, i;
	uint64_t elements;
	uint32_t round;

	(void)state;
	lp_empty(lp);
	to = lp + LP_HEAD;
	for (i = 0; i < 12; i++)
		to = i & 1 ? lp_put_int(to, (int64_t)(next() >> below(64))) : lp_put(to, "abcdefgh", below(9));
	n = (size_t)(to - lp) + 1;
	lp_finish(lp, n, 12);
	for (round = 0; round < 200000; round++) {
		uint8_t *exact = malloc(n); /* sanitizers see what is read behind it */

		memcpy(bad, lp, n);
		bad[below((uint32_t)n)] ^= (uint8_t)(1u << below(8));
		if (round & 1)
			bad[below((uint32_t)n)] = (uint8_t)next();
		memcpy(exact, bad, n);
		if (lp_check(exact, n, &elements)) {
			const uint8_t *p = lp_first(exact);
			struct view v;

			for (i = 0; i < elements; i++, p = lp_next(p))
				lp_get(p, &v);
			assert_ptr_equal(p, exact + n - 1);
		}
		free(exact);
	}
}

/* ---- streams -------------------------------------------------------------------------------------------- */
#define ENTRIES 3000u

struct entry { struct sid id; uint32_t value; uint8_t there; };
struct smodel { struct entry e[ENTRIES]; uint32_t n, length; };

static void check_stream(const struct stream *s, const struct smodel *m)
{
	struct sfields fs;
	struct view name, value;
	struct spos p;
	uint32_t i;
	int more = stream_from(s, SID_MIN, &p);

	assert_int_equal(s->length, m->length);
	for (i = 0; i < m->n; i++) {
		if (!m->e[i].there)
			continue;
		assert_true(more);
		assert_int_equal(sid_order(p.id, m->e[i].id), 0);
		assert_int_equal(p.fields, 1 + m->e[i].value % 2);
		spos_fields(&p, &fs);
		spos_field(&fs, &name, &value);
		assert_true(name.n == 1 && *name.p == 'a');
		assert_int_equal(strtoul((const char *)value.p, NULL, 10), m->e[i].value);
		more = spos_next(&p);
	}
	assert_false(more);
	more = stream_upto(s, SID_MAX, &p);
	for (i = m->n; i-- > 0;)
		if (m->e[i].there) {
			assert_true(more);
			assert_int_equal(sid_order(p.id, m->e[i].id), 0);
			more = spos_prev(&p);
		}
	assert_false(more);
	for (i = 0; i < m->n && !m->e[i].there; i++)
		;
	assert_int_equal(sid_order(s->first, i < m->n ? m->e[i].id : SID_MIN), 0);
}

static void check_range(const struct stream *s, const struct smodel *m)
{
	uint32_t a = below(m->n + 1), b = below(m->n + 1), i, n = 0, most = below(400);
	struct sid from = a < m->n ? m->e[a].id : SID_MIN, to = b < m->n ? m->e[b].id : SID_MAX;

	for (i = 0; i < m->n; i++)
		n += m->e[i].there && sid_order(m->e[i].id, from) >= 0 && sid_order(m->e[i].id, to) <= 0;
	if (sid_order(from, to) <= 0)
		assert_int_equal(stream_count(s, from, to, most), n < most ? n : most);
}

static void append(struct fixture *f, struct stream *s, struct smodel *m, int64_t fail_after)
{
	struct entry *e = &m->e[m->n];
	char text[24];
	purser_bytes fv[4] = { { (const uint8_t *)"a", 1 }, { (const uint8_t *)text, 0 }, { (const uint8_t *)"b", 1 },
		{ (const uint8_t *)"0123456789", below(11) } };
	int rc;

	e->id = below(3) ? sid_up(s->last) : (struct sid){ s->last.ms + 1 + below(500), below(3) };
	e->value = (uint32_t)next();
	fv[1].n = (size_t)snprintf(text, sizeof(text), "%u", e->value);
	f->st->fail_after = fail_after;
	rc = stream_append(f->cx, s, e->id, fv, 1 + e->value % 2);
	f->st->fail_after = -1;
	assert_true(rc == 0 || fail_after >= 0);
	if (rc)
		return;
	e->there = 1;
	m->n++;
	m->length++;
}

static void trim(struct fixture *f, struct stream *s, struct smodel *m)
{
	struct strim t = { .by_id = (int)below(2), .approx = (int)below(2) };
	uint64_t gone, want = 0, blocks = s->blocks.n;
	uint32_t i;

	t.length = m->length > 300 ? m->length - below(300) : m->length;
	t.id = m->e[below(m->n / 4 + 1)].id;
	for (i = 0; i < m->n; i++)
		want += m->e[i].there && (t.by_id ? sid_order(m->e[i].id, t.id) < 0 : m->length - want > t.length);
	gone = stream_trim(f->cx, s, &t);
	if (t.approx) { /* whole blocks, so as many as fit */
		assert_true(gone <= want);
		assert_true(gone == 0 || s->blocks.n < blocks);
	} else {
		assert_int_equal(gone, want);
	}
	m->length -= (uint32_t)gone;
	for (i = 0; gone > 0; i++)
		if (m->e[i].there) {
			m->e[i].there = 0;
			gone--;
		}
}

/* The blocks make the same stream again, as when they come from a dump. */
static struct stream *again(struct fixture *f, const struct stream *s)
{
	struct stream *to = stream_new(f->cx);
	struct idpos at;
	int more;

	for (more = idtree_from(&s->blocks, SID_MIN, &at); more; more = idpos_next(&at)) {
		struct sblock *b;
		uint8_t *bad;

		memcpy(&b, idpos_value(&s->blocks, &at), sizeof(b));
		assert_int_equal(stream_add_block(f->cx, to, b->id, b->lp, b->len), 0);
		assert_int_equal(stream_add_block(f->cx, to, b->id, b->lp, b->len), -2); /* not above */
		bad = malloc(b->len);
		memcpy(bad, b->lp, b->len);
		bad[LP_HEAD] ^= 1; /* another number of entries */
		assert_int_equal(stream_add_block(f->cx, to, sid_up(s->last), bad, b->len), -2);
		free(bad);
	}
	to->last = s->last;
	stream_mend(to);
	return to;
}

static void stream_against_array(void **state)
{
	struct fixture *f = start();
	struct smodel *m = calloc(1, sizeof(*m));
	struct stream *s = stream_new(f->cx), *copy;
	uint32_t round, i;

	(void)state;
	for (round = 0; m->n < ENTRIES; round++) {
		uint32_t r = below(100);

		if (r < 70) {
			append(f, s, m, r < 5 ? 0 : -1);
		} else if (r < 97 && m->n) {
			i = below(m->n);
			f->st->fail_after = 0;
			assert_int_equal(stream_has(s, m->e[i].id), m->e[i].there);
			assert_int_equal(stream_delete(f->cx, s, m->e[i].id), m->e[i].there);
			f->st->fail_after = -1;
			stream_mend(s);
			m->length -= m->e[i].there;
			m->e[i].there = 0;
		} else if (r == 97 && m->n > 600) {
			trim(f, s, m);
		}
		check_range(s, m);
		if (round % 100 == 0)
			check_stream(s, m);
	}
	check_stream(s, m);
	copy = stream_copy(f->cx, s);
	check_stream(copy, m);
	stream_dispose(f->cx, copy);
	copy = again(f, s);
	check_stream(copy, m);
	assert_int_equal(stream_radix_nodes(copy), stream_radix_nodes(s));
	stream_dispose(f->cx, copy);
	stream_dispose(f->cx, s);
	free(m);
	stop(f);
}

/* ---- groups --------------------------------------------------------------------------------------------- */
static purser_bytes bytes(const char *s) { return (purser_bytes){ (const uint8_t *)s, strlen(s) }; }

static void check_group(const struct sgroup *g, const uint8_t *owner, uint32_t n)
{
	uint64_t all = 0, each = 0;
	uint32_t i, k;

	for (i = 0; i < n; i++) {
		const struct nack *owed = group_nack(g, id_at(i));

		all += owner[i] > 0;
		assert_int_equal(owed != NULL, owner[i] > 0);
		if (owed)
			assert_int_equal(owed->owner->named.name[0], 'a' + owner[i] - 1);
	}
	assert_int_equal(g->pel.n, all);
	for (k = 0; k < g->consumers.n; k++) {
		const struct sconsumer *c = (const struct sconsumer *)(const void *)g->consumers.v[k];

		assert_true(!k || g->consumers.v[k - 1]->name[0] < c->named.name[0]);
		each += c->pel.n;
		for (i = 0; i < n; i++)
			assert_int_equal(idtree_find(&c->pel, id_at(i)) != NULL, owner[i] > 0 && c->named.name[0] ==
			    'a' + owner[i] - 1);
	}
	assert_int_equal(each, all);
}

static void group_against_array(void **state)
{
	static const char *const names[] = { "a", "b", "c", "d", "e" };
	enum { IDS = 500 };
	struct fixture *f = start();
	struct stream *s = stream_new(f->cx), *copy;
	struct sgroup *g = group_new(f->cx, s, bytes("group"), SID_MIN, READ_UNKNOWN);
	uint8_t owner[IDS] = { 0 };
	uint32_t round, i;

	(void)state;
	for (round = 0; round < 30000; round++) {
		uint32_t k = below(5), r = below(100);
		struct sconsumer *c = group_consumer(g, bytes(names[k]));

		i = below(IDS);
		if (r < 50 && c) {
			struct nack *n;

			f->st->fail_after = r < 10 ? (int64_t)below(3) : -1;
			n = group_owe(f->cx, g, c, id_at(i));
			f->st->fail_after = -1;
			if (n && r < 15) { /* and back */
				group_unowe(f->cx, g, c, id_at(i));
				continue;
			}
			if (!n)
				continue;
			if (n->owner && n->owner != c)
				idtree_remove(f->cx, &n->owner->pel, id_at(i));
			*n = (struct nack){ 1, 1, c };
			owner[i] = (uint8_t)(k + 1);
		} else if (r < 98) {
			assert_int_equal(group_ack(f->cx, g, id_at(i)), owner[i] > 0);
			owner[i] = 0;
		} else if (!c) {
			assert_non_null(consumer_new(f->cx, g, bytes(names[k]), 5));
		} else if (r == 99 && below(8) == 0) {
			consumer_delete(f->cx, g, c);
			for (i = 0; i < IDS; i++)
				owner[i] = owner[i] == k + 1 ? 0 : owner[i];
		}
		if (round % 500 == 0)
			check_group(g, owner, IDS);
	}
	check_group(g, owner, IDS);
	assert_null(group_consumer(g, bytes("nobody")));
	copy = stream_copy(f->cx, s);
	check_group(stream_group(copy, bytes("group")), owner, IDS);
	stream_dispose(f->cx, copy);
	group_destroy(f->cx, s, g);
	stream_dispose(f->cx, s);
	stop(f);
}

/* A long one goes in pieces; until then its bytes count. */
static void long_ones_go_slowly(void **state)
{
	struct fixture *f = start();
	uint32_t i, turns;

	(void)state;
	mh_run(&f->x, "XGROUP CREATE s g 0 MKSTREAM");
	for (i = 0; i < 60000; i++)
		mh_run(&f->x, "XADD s %u-1 f %u", i + 1, i);
	mh_run(&f->x, "XREADGROUP GROUP g c STREAMS s >");
	assert_string_equal(mh_run(&f->x, "COPY s t"), ":1\r\n");
	assert_string_equal(mh_run(&f->x, "XGROUP DESTROY t g"), ":1\r\n");
	assert_int_equal(store_sum(f->st, offsetof(struct ledger, freeing)), 60000 + 1 + 1); /* group and consumer, too */
	assert_string_equal(mh_run(&f->x, "DEL s t"), ":2\r\n");
	assert_int_equal(mh_stats(&f->m).keys, 0);
	assert_int_equal(store_sum(f->st, offsetof(struct ledger, freeing)), 60002 + 2 * 60000 + 60002);
	for (turns = 0; store_used(f->st) && turns < 1000; turns++)
		mh_pass(&f->x, 100);
	assert_in_range(turns, 3, 200);
	stop(f);
}

static int64_t usage(struct fixture *f)
{
	assert_int_equal(mh_run(&f->x, "MEMORY USAGE s")[0], ':');
	return strtoll(f->x.reply + 1, NULL, 10);
}

/* It looks at some of the blocks and entries that wait. */
static void assert_near(int64_t n, int64_t want) { assert_in_range(n + 256, want - want / 16, want + want / 16 + 512); }

/* MEMORY USAGE follows what the accounts say, of entries and of groups. */
static void usage_is_known(void **state)
{
	struct fixture *f = start();
	int64_t used, said;
	uint32_t i;

	(void)state;
	mh_run(&f->x, "XADD s 1-1 f v");
	used = store_used(f->st);
	said = usage(f);
	assert_in_range(said, 64, used);
	for (i = 2; i < 3000; i++)
		mh_run(&f->x, "XADD s %u-1 field%u value", i, below(5));
	assert_near(usage(f) - said, store_used(f->st) - used);
	mh_run(&f->x, "XGROUP CREATE s g 0");
	for (i = 0; i < 5; i++)
		mh_run(&f->x, "XREADGROUP GROUP g c%u COUNT 200 STREAMS s >", i);
	assert_true(store_used(f->st) > used + 1000 * 20);
	assert_near(usage(f) - said, store_used(f->st) - used);
	mh_run(&f->x, "XTRIM s MAXLEN 10");
	mh_run(&f->x, "XGROUP DELCONSUMER s g c1");
	for (i = 0; i < 100; i++)
		mh_pass(&f->x, 100);
	assert_near(usage(f) - said, store_used(f->st) - used);
	mh_run(&f->x, "XGROUP DESTROY s g");
	for (i = 0; i < 100; i++)
		mh_pass(&f->x, 100);
	assert_near(usage(f) - said, store_used(f->st) - used);
	mh_run(&f->x, "DEL s");
	stop(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tree_against_array),
		cmocka_unit_test(listpack_both_ways),
		cmocka_unit_test(listpack_damage),
		cmocka_unit_test(stream_against_array),
		cmocka_unit_test(group_against_array),
		cmocka_unit_test(long_ones_go_slowly),
		cmocka_unit_test(usage_is_known),
	};
	const char *given = getenv("PURSER_SEED");

	seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	printf("PURSER_SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
