/* SPDX-License-Identifier: Apache-2.0
 *
 * The filter over EXEC's reply: whole, at every split, byte by byte; elements of its own; counts that are
 * wrong and nonsense.
 */
#include <config.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "resp/filter.h"

#define PREFIX "proj:a:"

struct want {
	const char *kinds;   /* p: pass, l: local, c: count, f: strip the first, 1 2 s: strip at that depth */
	const char *in, *out; /* out NULL: refused */
	size_t n;
};
#define W(kinds, in, out) { kinds, in, out, sizeof(in) - 1 }

static const struct want table[] = {
	W("", "*0\r\n", "*0\r\n"),
	W("pp", "*2\r\n+OK\r\n:1\r\n", "*2\r\n+OK\r\n:1\r\n"),
	W("pp", "*-1\r\n", "*-1\r\n"),
	W("plp", "_\r\n", "_\r\n"),
	W("l", "*0\r\n", "*1\r\n+L0\r\n"),
	W("lpllp", "*2\r\n$1\r\na\r\n$-1\r\n", "*5\r\n+L0\r\n$1\r\na\r\n+L2\r\n+L3\r\n$-1\r\n"),
	W("pl", "*1\r\n$4\r\n\r\n\r\n\r\n", "*2\r\n$4\r\n\r\n\r\n\r\n+L1\r\n"),
	/* nested values of both protocols, nulls, empty ones */
	W("ppp", "*3\r\n*2\r\n*0\r\n*-1\r\n%1\r\n+a\r\n~2\r\n#t\r\n,1.5\r\n_\r\n",
	    "*3\r\n*2\r\n*0\r\n*-1\r\n%1\r\n+a\r\n~2\r\n#t\r\n,1.5\r\n_\r\n"),
	W("pl", "*1\r\n=6\r\ntxt:ab\r\n", "*2\r\n=6\r\ntxt:ab\r\n+L1\r\n"),
	W("p", "*1\r\n(123456789012345678901234567890\r\n", "*1\r\n(123456789012345678901234567890\r\n"),
	/* each by its own transformation */
	W("1p2s", "*4\r\n*1\r\n$8\r\nproj:a:k\r\n$8\r\nproj:a:k\r\n*2\r\n$1\r\n0\r\n*1\r\n$8\r\nproj:a:k\r\n"
	    "%1\r\n$8\r\nproj:a:s\r\n*0\r\n",
	    "*4\r\n*1\r\n$1\r\nk\r\n$8\r\nproj:a:k\r\n*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n%1\r\n$1\r\ns\r\n*0\r\n"),
	W("1", "*1\r\n*2\r\n$8\r\nproj:b:k\r\n$8\r\nproj:a:k\r\n", "*1\r\n*2\r\n$0\r\n\r\n$1\r\nk\r\n"),
	W("fpf", "*3\r\n*2\r\n$8\r\nproj:a:l\r\n$8\r\nproj:a:v\r\n*2\r\n$8\r\nproj:a:l\r\n:1\r\n*-1\r\n",
	    "*3\r\n*2\r\n$1\r\nl\r\n$8\r\nproj:a:v\r\n*2\r\n$8\r\nproj:a:l\r\n:1\r\n*-1\r\n"),
	/* errors: of an element, of one that is stripped, inside a value */
	W("p1p", "*3\r\n-NOGROUP 'proj:a:k' proj:a:\r\n-ERR proj:a:x\r\n:1\r\n",
	    "*3\r\n-NOGROUP 'k' \r\n-ERR x\r\n:1\r\n"),
	W("pl", "*1\r\n*2\r\n:1\r\n-X proj:a:k\r\n", "*2\r\n*2\r\n:1\r\n-X k\r\n+L1\r\n"),
	/* a number that is corrected; errors are not */
	W("cpc", "*3\r\n:1\r\n:1\r\n:-20\r\n", "*3\r\n:1000\r\n:1\r\n:981\r\n"),
	W("cl", "*1\r\n-ERR proj:a:no\r\n", "*2\r\n-ERR no\r\n+L1\r\n"),
	W("c", "*1\r\n:x\r\n", NULL),
	/* another number of elements, something else than an array, more behind it */
	W("pp", "*1\r\n+OK\r\n", NULL),
	W("p", "*2\r\n+OK\r\n+OK\r\n", NULL),
	W("p", "+OK\r\n", NULL),
	W("p", "*1\r\n+OK\r\n+OK\r\n", NULL),
	W("p", "*-2\r\n", NULL),
	W("p", "*1\r\n>1\r\n+x\r\n", NULL),
	W("p", "*1\r\n$-2\r\n", NULL),
	W("p", "*1\r\n*9223372036854775807\r\n", NULL),
	W("p", "*1\r\nx", NULL),
};

struct rig {
	struct exec_filter f;
	struct out out, *to;
	struct out_pool pool;
	uint8_t kind[16];
	unsigned locals;
	char told[64];            /* for each element that has ended: its number, its nulls, E: it is an error */
};

static size_t rewrite(void *arg, char *text, size_t n)
{
	char *at;

	(void)arg;
	while ((at = memmem(text, n, PREFIX, sizeof PREFIX - 1))) {
		n -= sizeof PREFIX - 1;
		memmove(at, at + sizeof PREFIX - 1, n - (size_t)(at - text));
	}
	return n;
}

static int local(void *arg, uint32_t i)
{
	struct rig *r = arg;
	char text[16];
	int n = snprintf(text, sizeof text, "+L%u\r\n", i);

	r->locals++;
	return r->f.mute ? 0 : out_put(&r->out, &r->pool, text, (size_t)n);
}

/* The third is 999 + 2 more than the store says. */
static int64_t count(void *arg, uint32_t i, int64_t n)
{
	(void)arg;
	return n + 999 + i;
}

static void ended(void *arg, uint32_t i, uint32_t nulls, bool failed)
{
	struct rig *r = arg;
	size_t n = strlen(r->told);

	snprintf(r->told + n, sizeof r->told - n, "%u:%u%s ", i, nulls, failed ? "E" : "");
}

static void begin(struct rig *r, const char *kinds, bool mute)
{
	memset(r, 0, sizeof *r);
	r->to = &r->out;
	for (; kinds[r->f.n]; r->f.n++) {
		char k = kinds[r->f.n];

		r->kind[r->f.n] = k == 'p' ? EXEC_PASS : k == 'l' ? EXEC_LOCAL : k == 's' ? STRIP_STREAMS :
		    k == 'c' ? EXEC_COUNT : k == 'f' ? STRIP_FIRST :
		    (uint8_t)(k - '0');
		r->f.nlocal += k == 'l';
	}
	r->f.out = &r->to;
	r->f.pool = &r->pool;
	r->f.kind = r->kind;
	r->f.prefix = (const uint8_t *)PREFIX;
	r->f.prefix_len = sizeof PREFIX - 1;
	r->f.rewrite = rewrite;
	r->f.local = local;
	r->f.count = count;
	r->f.ended = ended;
	r->f.arg = r;
	r->f.mute = mute;
	exec_begin(&r->f);
}

static int feed(struct rig *r, const char *p, size_t n)
{
	return r->f.f.feed(&r->f.f, (const uint8_t *)p, n);
}

static void end(struct rig *r, const struct want *w)
{
	const uint8_t *got = out_flat(&r->out, &r->pool);

	if (w->out) {
		assert_true(exec_done(&r->f));
		assert_int_equal(r->out.bytes, r->f.mute ? 0 : strlen(w->out));
		if (!r->f.mute)
			assert_memory_equal(got, w->out, strlen(w->out));
		assert_int_equal(r->locals, r->f.null ? 0 : r->f.nlocal);
	}
	out_clear(&r->out, &r->pool);
	out_pool_free(&r->pool);
}

static void all_splits(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		const struct want *w = &table[i];

		for (size_t cut = 0; cut <= w->n; cut++) {
			struct rig r;
			int rc;

			begin(&r, w->kinds, false);
			rc = feed(&r, w->in, cut);
			rc = rc ? rc : feed(&r, w->in + cut, w->n - cut);
			assert_int_equal(rc, w->out ? 0 : -1);
			end(&r, w);
		}
	}
}

static void byte_by_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		for (int mute = 0; mute < 2; mute++) {
			struct rig r;
			int rc = 0;

			begin(&r, table[i].kinds, mute);
			for (size_t at = 0; at < table[i].n && !rc; at++)
				rc = feed(&r, table[i].in + at, 1);
			assert_int_equal(rc, table[i].out ? 0 : -1);
			end(&r, &table[i]);
		}
}

/* Long lines pass; an error's text is cut. */
static void long_lines(void **state)
{
	static char in[8192], want[8192];
	struct want w = { "pp", in, want, 0 };

	(void)state;
	for (size_t len = 480; len < 600; len++) {
		struct rig r;
		size_t shown = len + 4 > 500 ? 500 : len + 4;
		char text[601];

		memset(text, 'x', len);
		text[len] = '\0';
		w.n = (size_t)snprintf(in, sizeof in, "*2\r\n+%s\r\n-ERR %s\r\n", text, text);
		snprintf(want, sizeof want, "*2\r\n+%s\r\n-ERR %.*s\r\n", text, (int)shown - 4, text);
		begin(&r, w.kinds, false);
		assert_int_equal(feed(&r, in, w.n), 0);
		end(&r, &w);
	}
}

/* What became of each element: those of the agent's own are not told, an error inside of an element is not the element's. */
static void what_ended(void **state)
{
	static const char in[] = "*6\r\n$1\r\nx\r\n$-1\r\n*3\r\n$-1\r\n_\r\n$1\r\na\r\n-ERR x\r\n*1\r\n-ERR x\r\n:7\r\n";

	(void)state;
	for (size_t cut = 0; cut < sizeof in; cut++) {
		struct rig r;

		begin(&r, "plppppp", false);
		assert_int_equal(feed(&r, in, cut) || feed(&r, in + cut, sizeof in - 1 - (cut < sizeof in - 1 ? cut : sizeof in - 1)), 0);
		assert_string_equal(r.told, "0:0 2:1 3:2 4:0E 5:0 6:0 ");
		assert_true(exec_done(&r.f));
		out_clear(&r.out, &r.pool);
		out_pool_free(&r.pool);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_splits), cmocka_unit_test(byte_by_byte), cmocka_unit_test(long_lines),
		cmocka_unit_test(what_ended),
	};

	return cmocka_run_group_tests_name("resp_exec", tests, NULL, NULL);
}
