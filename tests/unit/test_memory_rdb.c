/* SPDX-License-Identifier: Apache-2.0
 *
 * Values as Redis dumps them: checksum, LZF, packed forms, payloads of a real Redis 7.0, payloads of our own cut
 * and changed in every place.  (Crossing with a running Redis: tests/integration/57-dump.py)
 */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "cmd.h"
#include "crc64.h"
#include "lzf.h"
#include "memory_host.h"
#include "packed.h"
#include "rdb.h"

/* ---- the checksum ------------------------------------------------------------------------------------- */
static void checksum(void **state)
{
	static uint8_t bytes[20000];
	uint64_t whole;
	size_t i;

	(void)state;
	assert_true(crc64(0, "123456789", 9) == UINT64_C(0xe9c6d914c4b8d9ca));
	assert_true(crc64(0, "", 0) == 0);
	for (i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	whole = crc64(0, bytes, sizeof(bytes)); /* eight at a time; the rest of this is by bytes */
	for (i = 0; i < sizeof(bytes); i += 4000)
		assert_true(crc64(crc64(0, bytes, i), bytes + i, sizeof(bytes) - i) == whole);
	assert_true(crc64(crc64(0, bytes, 9001), bytes + 9001, sizeof(bytes) - 9001) == whole);
	for (whole = 0, i = 0; i < sizeof(bytes); i++)
		whole = crc64(whole, bytes + i, 1);
	assert_true(crc64(0, bytes, sizeof(bytes)) == whole);
}

/* ---- LZF ---------------------------------------------------------------------------------------------------- */
static void lzf(void **state)
{
	static const uint8_t run[] = { 0, 'a', 0xe0, 90, 0 };      /* a, and 99 times what was one back */
	static const uint8_t both[] = { 2, 'a', 'b', 'c', 0x20, 2, 0, '!' };
	uint8_t to[200];
	size_t i;

	(void)state;
	assert_int_equal(lzf_read(run, sizeof(run), to, 100), 0);
	for (i = 0; i < 100; i++)
		assert_int_equal(to[i], 'a');
	assert_int_equal(lzf_read(run, sizeof(run), to, 99), -1);
	assert_int_equal(lzf_read(run, sizeof(run), to, 101), -1);
	for (i = 1; i < sizeof(run); i++)
		assert_int_equal(lzf_read(run, i, to, 100), -1);
	assert_int_equal(lzf_read(both, sizeof(both), to, 7), 0);
	assert_memory_equal(to, "abcabc!", 7);
	assert_int_equal(lzf_read((const uint8_t *)"\x20\x00", 2, to, 3), -1); /* back to before the beginning */
	assert_int_equal(lzf_read((const uint8_t *)"", 0, to, 0), 0);
}

/* ---- payloads ------------------------------------------------------------------------------------------------- */
struct fixture { struct mh m; struct mh_ctx x; };

static struct fixture *start(void)
{
	struct fixture *f = calloc(1, sizeof(*f));

	mh_start(&f->m, (struct mh_settings){ 0, 0, 0 });
	mh_open(&f->x, &f->m);
	return f;
}

static void stop(struct fixture *f)
{
	mh_run(&f->x, "FLUSHALL");
	while (mh_pass(&f->x, 100))
		;
	mh_release(&f->x);
	assert_int_equal(store_used(f->m.state), 0);
	mh_close(&f->x);
	mh_stop(&f->m);
	free(f);
}

struct payload { uint8_t *p; size_t n; };

static struct payload dump(struct fixture *f, const char *key)
{
	const char *r = mh_run(&f->x, "DUMP %s", key);
	struct payload d = { NULL, strtoul(r + 1, NULL, 10) };

	assert_int_equal(r[0], '$');
	d.p = malloc(d.n);
	memcpy(d.p, strchr(r, '\n') + 1, d.n);
	mh_release(&f->x);
	return d;
}

static const char *restore(struct fixture *f, const char *key, const uint8_t *p, size_t n)
{
	purser_bytes argv[5] = { { (const uint8_t *)"RESTORE", 7 }, { (const uint8_t *)key, strlen(key) },
		{ (const uint8_t *)"0", 1 }, { p, n }, { (const uint8_t *)"REPLACE", 7 } };

	return mh_argv(&f->x, 5, argv);
}

static void seal(uint8_t *p, size_t n)
{
	uint64_t crc;
	unsigned i;

	p[n - 10] = RDB_VERSION;
	p[n - 9] = 0;
	crc = crc64(0, p, n - 8);
	for (i = 0; i < 8; i++)
		p[n - 8 + i] = (uint8_t)(crc >> 8 * i);
}

/* What Redis 7.0.15 made of these values. */
static const struct { const char *value, *hex, *ask, *want; } redis[] = {
	{ "SET k 12",
	    "00c00c0a003c2af8515c04bcd5",
	    "GET k",
	    "$2\r\n12\r\n" },
	{ "SET k -300",
	    "00c1d4fe0a00c6c48623febede2e",
	    "GET k",
	    "$4\r\n-300\r\n" },
	{ "SET k 2000000000",
	    "00c2009435770a00421228d8e073c087",
	    "GET k",
	    "$10\r\n2000000000\r\n" },
	{ "SET k 9999999999",
	    "000a393939393939393939390a00d26ac299df53efd2",
	    "GET k",
	    "$10\r\n9999999999\r\n" },
	{ "SETRANGE k 99 x",
	    "00c3094064010000e057000100780a00687287cb1f230fd8",
	    "BITCOUNT k",
	    ":4\r\n" },
	{ "SET k ababababababababababababababababababababababababababab ...",
	    "00c30a405002616261e042010161620a00949d5f0eb1dea445",
	    "GET k",
	    "$80\r\nababababababababababababababababababababababababababababababababababababababa"
	    "bab\r\n" },
	{ "RPUSH k a 1 -2 300 70000 9999999999 text",
	    "120102272700000007008161020101dffe02c12c02f270110104f4ffe30b540200000009847465787405"
	    "ff0a00b6e287549889ebae",
	    "LRANGE k 0 -1",
	    "*7\r\n$1\r\na\r\n$1\r\n1\r\n$2\r\n-2\r\n$3\r\n300\r\n$5\r\n70000\r\n$10\r\n999999999"
	    "9\r\n$4\r\ntext\r\n" },
	{ "RPUSH k the-same-again the-same-again the-same-again the-sam ...",
	    "120102c3204147154701000014008e7468652d73616d652d616761696e0fe0ff0fe11e0f010fff0a0021"
	    "ff4b50d0bf4e49",
	    "LRANGE k 0 -1",
	    "*20\r\n$14\r\nthe-same-again\r\n$14\r\nthe-same-again\r\n$14\r\nthe-same-again\r\n$1"
	    "4\r\nthe-same-again\r\n$14\r\nthe-same-again\r\n$14\r\nthe-same-again\r\n$14\r\nthe-"
	    "same-again\r\n$14\r\nthe-same-again\r\n$14\r\nthe-same-again\r\n$14\r\nthe-same-agai"
	    "n\r\n$14\r\nthe-same-again\r\n$14\r\nthe-same-again\r\n$14\r\nthe-same-again\r\n$14"
	    "\r\nthe-same-again\r\n$14\r\nthe-same-again\r\n$14\r\nthe-same-again\r\n$14\r\nthe-s"
	    "ame-again\r\n$14\r\nthe-same-again\r\n$14\r\nthe-same-again\r\n$14\r\nthe-same-again"
	    "\r\n" },
	{ "SADD k 3 1 2",
	    "0b0e02000000030000000100020003000a00a5025ce26d6e4d1b",
	    "SORT k",
	    "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n" },
	{ "SADD k 70000 -1",
	    "0b100400000002000000ffffffff701101000a00bab1c665be29f9b6",
	    "SORT k",
	    "*2\r\n$2\r\n-1\r\n$5\r\n70000\r\n" },
	{ "SADD k 99999999999 -1",
	    "0b180800000002000000ffffffffffffffffffe77648170000000a004218f5893014cb67",
	    "SORT k",
	    "*2\r\n$2\r\n-1\r\n$11\r\n99999999999\r\n" },
	{ "SADD k b a 1",
	    "0203c001016101620a00cfda4c60572a4c33",
	    "SORT k ALPHA",
	    "*3\r\n$1\r\n1\r\n$1\r\na\r\n$1\r\nb\r\n" },
	{ "HSET k f v n 5",
	    "1012120000000400816602817602816e020501ff0a008490939f57b4f3c2",
	    "HGETALL k",
	    "*4\r\n$1\r\nf\r\n$1\r\nv\r\n$1\r\nn\r\n$1\r\n5\r\n" },
	{ "HSET k f a-text-of-more-than-sixty-four-bytes-is-not-packed- ...",
	    "04010166404f612d746578742d6f662d6d6f72652d7468616e2d73697874792d666f75722d6279746573"
	    "2d69732d6e6f742d7061636b65642d696e2d6861736865732d6e6f722d696e2d736f727465642d736574"
	    "730a007041cb351e1f88a9",
	    "HGETALL k",
	    "*2\r\n$1\r\nf\r\n$79\r\na-text-of-more-than-sixty-four-bytes-is-not-packed-in-hashes"
	    "-nor-in-sorted-sets\r\n" },
	{ "ZADD k 1 a 2.5 b -inf c",
	    "111d1d0000000600816302842d696e6605816102010181620283322e3504ff0a003992339be11f323d",
	    "ZRANGE k 0 -1 WITHSCORES",
	    "*6\r\n$1\r\nc\r\n$4\r\n-inf\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$3\r\n2.5\r\n" },
	{ "ZADD k 1.5 a-text-of-more-than-sixty-four-bytes-is-not-packe ...",
	    "05020162000000000000f07f404f612d746578742d6f662d6d6f72652d7468616e2d73697874792d666f"
	    "75722d62797465732d69732d6e6f742d7061636b65642d696e2d6861736865732d6e6f722d696e2d736f"
	    "727465642d73657473000000000000f83f0a00ce82366b8e22f35c",
	    "ZRANGE k 0 -1 WITHSCORES",
	    "*4\r\n$79\r\na-text-of-more-than-sixty-four-bytes-is-not-packed-in-hashes-nor-in-sor"
	    "ted-sets\r\n$3\r\n1.5\r\n$1\r\nb\r\n$3\r\ninf\r\n" },
};

static size_t unhex(const char *hex, uint8_t *to)
{
	size_t n = strlen(hex) / 2, i;
	unsigned b;

	for (i = 0; i < n; i++) {
		assert_int_equal(sscanf(hex + 2 * i, "%2x", &b), 1);
		to[i] = (uint8_t)b;
	}
	return n;
}

static void of_redis(void **state)
{
	struct fixture *f = start();
	static uint8_t bytes[4096];
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(redis) / sizeof(*redis); i++) {
		n = unhex(redis[i].hex, bytes);
		assert_string_equal(restore(f, "k", bytes, n), "+OK\r\n");
		assert_string_equal(mh_run(&f->x, "%s", redis[i].ask), redis[i].want);
		bytes[n / 2] ^= 1;
		assert_string_equal(restore(f, "k", bytes, n), "-ERR DUMP payload version or checksum are wrong\r\n");
	}
	stop(f);
}

/* A value of each encoding. */
static void fill(struct fixture *f)
{
	struct mh_ctx *x = &f->x;
	char wide[100];
	int i;

	memset(wide, 'w', 99);
	wide[99] = '\0';
	mh_run(x, "MSET int 70000 emb abc raw %s%s", wide, wide);
	mh_run(x, "SETRANGE big 5000 x");
	mh_run(x, "HSET pack a 1 b two c -70000 d 1099511627776");
	mh_run(x, "HSET wide a %s b 2", wide);
	mh_run(x, "SADD ints 1 70000 -5");
	mh_run(x, "SADD few a b 1");
	mh_run(x, "RPUSH list a 5 -5000 %s 8388608", wide);
	mh_run(x, "ZADD zpack 1 a -1.5 b inf c 100000 d");
	mh_run(x, "ZADD zwide 1 %s 2.5 b -inf c", wide);
	mh_run(x, "XADD stream 1-1 a 1 b two");
	mh_run(x, "XADD stream 1-2 a 1000 b 2");
	mh_run(x, "XADD stream 5-0 c %s", wide);
	mh_run(x, "XDEL stream 1-2");
	mh_run(x, "XGROUP CREATE stream g 0");
	mh_run(x, "XGROUP CREATE stream h $");
	mh_run(x, "XREADGROUP GROUP g one COUNT 1 STREAMS stream >");
	mh_run(x, "XREADGROUP GROUP g two STREAMS stream >");
	for (i = 0; i < 300; i++) {
		mh_run(x, "SADD set m%d", i);
		mh_run(x, "RPUSH long %s%d", i % 50 ? "e" : wide, i);
		mh_run(x, "HSET near f%d %s", i, wide + 40);
	}
}

static const char *const filled[] = { "int", "emb", "raw", "big", "pack", "wide", "ints", "few", "list", "zpack", "zwide", "set",
	"long", "near", "stream" };
#define FILLED (sizeof(filled) / sizeof(*filled))

static int order(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* What can be seen of a key. */
static char *seen(struct fixture *f, const char *key)
{
	static const char *const ask[] = { "TYPE %s", "OBJECT ENCODING %s", "GET %s", "HGETALL %s", "SMEMBERS %s",
		"LRANGE %s 0 -1", "ZRANGE %s 0 -1 WITHSCORES", "XRANGE %s - +", "XINFO STREAM %s FULL COUNT 0" };
	size_t at = 0, q, n, i, cap = 1 << 20;
	char *out = malloc(cap);

	for (q = 0; q < sizeof(ask) / sizeof(*ask); q++) {
		char *reply, *lines[8192], *save = NULL, *l;
		char line[200];

		snprintf(line, sizeof(line), ask[q], key);
		reply = strdup(mh_run(&f->x, "%s", line));
		mh_release(&f->x);
		for (n = 0, l = strtok_r(reply, "\r\n", &save); l && n < 8192; l = strtok_r(NULL, "\r\n", &save))
			lines[n++] = l;
		if (q == 3 || q == 4)
			qsort(lines, n, sizeof(*lines), order);
		for (i = 0; i < n; i++)
			at += (size_t)snprintf(out + at, cap - at, "%s\n", lines[i]);
		free(reply);
	}
	return out;
}

static void round_trips(void **state)
{
	struct fixture *f = start();
	size_t i;

	(void)state;
	fill(f);
	for (i = 0; i < FILLED; i++) {
		struct payload d = dump(f, filled[i]), again;
		char *a = seen(f, filled[i]), *b;

		assert_string_equal(restore(f, "copy", d.p, d.n), "+OK\r\n");
		b = seen(f, "copy");
		assert_string_equal(a, b);
		again = dump(f, "copy");
		assert_int_equal(again.n, d.n); /* the order of a table may be another one */
		free(again.p);
		free(d.p);
		free(a);
		free(b);
	}
	assert_string_equal(mh_run(&f->x, "DUMP none"), "$-1\r\n");
	stop(f);
}

/* Cut anywhere, and sealed again: what is left is refused, or it ended there anyway. */
static void cut(void **state)
{
	struct fixture *f = start();
	size_t i, n;

	(void)state;
	fill(f);
	for (i = 0; i < FILLED; i++) {
		struct payload d = dump(f, filled[i]);

		for (n = 0; n < d.n; n += n < 300 ? 1 : 7)
			assert_int_equal(restore(f, "copy", d.p, n)[0], '-');
		for (n = 11; n < d.n; n += n < 300 ? 1 : 7) {
			uint8_t *p = malloc(n);

			memcpy(p, d.p, n);
			seal(p, n);
			assert_string_equal(restore(f, "copy", p, n), "-ERR Bad data format\r\n");
			free(p);
		}
		free(d.p);
	}
	assert_string_equal(mh_run(&f->x, "EXISTS copy"), ":0\r\n");
	stop(f);
}

/* Every bit of every payload changed: without a new checksum it is refused, with one it is refused or a value that
 * can be dumped, and that is the same when it is restored again. */
static void flipped(void **state)
{
	struct fixture *f = start();
	size_t i, bit, taken = 0, refused = 0;

	(void)state;
	fill(f);
	for (i = 0; i < FILLED; i++) {
		struct payload d = dump(f, filled[i]), e;

		for (bit = 0; bit < 8 * (d.n - 10); bit += bit < 4000 ? 1 : 97) {
			d.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_int_equal(restore(f, "copy", d.p, d.n)[0], '-');
			seal(d.p, d.n);
			if (restore(f, "copy", d.p, d.n)[0] == '-') {
				assert_string_equal(f->x.reply, "-ERR Bad data format\r\n");
				refused++;
			} else {
				e = dump(f, "copy");
				assert_string_equal(restore(f, "other", e.p, e.n), "+OK\r\n");
				if (bit % 16 == 0) {
					char *a = seen(f, "copy"), *b = seen(f, "other");

					assert_string_equal(a, b);
					free(a);
					free(b);
				}
				free(e.p);
				taken++;
			}
			d.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
			seal(d.p, d.n);
		}
		free(d.p);
	}
	print_message("%zu readable, %zu refused\n", taken, refused);
	assert_true(taken > 1000 && refused > 1000);
	stop(f);
}

/* A few bytes that promise much get nothing. */
static void promises(void **state)
{
	static const char *const hex[] = {
		"008100000000ffffffff78", "0080ffffffff78", "00c380ffffffff80ffffffff78", "00c305a0000000000000000000",
		"028100ffffffffffffff0161", "0481ffffffffffffffff0161", "0581ffffffffffffffff0161", "0181ffffffffffffffff0161",
		"1281ffffffffffffffff0261", "0e81ffffffffffffffff0161", "0b0a02000000ffffffff0100", "10078000000000000161ff",
		"0a0b0b0000000a000000ffff61",
	};
	struct fixture *f = start();
	uint8_t bytes[64];
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(hex) / sizeof(*hex); i++) {
		n = unhex(hex[i], bytes) + RDB_FOOTER;
		seal(bytes, n);
		assert_string_equal(restore(f, "k", bytes, n), "-ERR Bad data format\r\n");
		assert_true(store_peak(f->m.state, store_used(f->m.state)) < 100000);
	}
	stop(f);
}

/* ---- packed forms ------------------------------------------------------------------------------------------------ */
static void listpacks(void **state)
{
	static const int64_t edges[] = { 0, 127, 128, -1, 4095, 4096, -4096, -4097, 32767, 32768, -32768, -32769, 8388607,
		8388608, -8388608, -8388609, INT32_MAX, INT32_MIN, (int64_t)INT32_MAX + 1, INT64_MAX, INT64_MIN };
	static const size_t lengths[] = { 0, 1, 63, 64, 4095, 4096, 16381, 16382, 16383, 2097141, 2097142, 2097150 };
	static uint8_t long_one[2100000], packed[2100100];
	char text[INT_TEXT], buf[INT_TEXT];
	struct packed k;
	purser_bytes e, got;
	size_t i, n, at;
	int inside;

	(void)state;
	memset(long_one, 'x', sizeof(long_one));
	for (i = 0; i < sizeof(edges) / sizeof(*edges) + sizeof(lengths) / sizeof(*lengths); i++) {
		if (i < sizeof(edges) / sizeof(*edges))
			e = (purser_bytes){ (uint8_t *)text, int_format(edges[i], text) };
		else
			e = (purser_bytes){ long_one, lengths[i - sizeof(edges) / sizeof(*edges)] };
		n = listpack_bytes(listpack_entry_bytes(e));
		assert_true(n <= sizeof(packed));
		listpack_head(packed, n, 1);
		at = LISTPACK_HEAD + listpack_before(packed + LISTPACK_HEAD, e, &inside);
		if (!inside) {
			memcpy(packed + at, e.p, e.n);
			at += e.n;
		}
		at += listpack_behind(packed + at, at - LISTPACK_HEAD);
		packed[at++] = 0xff;
		assert_int_equal(at, n);
		assert_int_equal(packed_open(&k, PACKED_LISTPACK, packed, n), 0);
		assert_int_equal(packed_next(&k, &got, buf), 1);
		assert_int_equal(got.n, e.n);
		assert_memory_equal(got.p, e.p, e.n);
		assert_int_equal(packed_next(&k, &got, buf), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksum), cmocka_unit_test(lzf), cmocka_unit_test(of_redis), cmocka_unit_test(round_trips),
		cmocka_unit_test(cut), cmocka_unit_test(flipped), cmocka_unit_test(promises), cmocka_unit_test(listpacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
