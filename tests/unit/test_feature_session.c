/* SPDX-License-Identifier: Apache-2.0 */
/* feature/session, what needs no store: ids and their hashes, which words of a request are secrets, and a session as it is read. */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "feature/session.h"

static purser_bytes word(const char *s)
{
	return (purser_bytes){ (const uint8_t *)s, strlen(s) };
}

static void test_ids(void **state)
{
	char a[SESSION_ID_LEN], b[SESSION_ID_LEN], hash[SESSION_HASH_LEN];
	EVP_MD *sha = EVP_MD_fetch(NULL, "SHA256", NULL);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	(void)state;
	assert_true(session_new_id(a) && session_new_id(b));
	assert_memory_not_equal(a, b, sizeof a);
	for (size_t i = 0; i < sizeof a; i++)
		assert_non_null(memchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", a[i], 64));
	/* FIPS 180-2, B.1, as base64url */
	assert_true(session_hash(ctx, sha, word("abc"), hash));
	assert_memory_equal(hash, "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0", sizeof hash);
	assert_true(session_hash(ctx, sha, word(""), hash)); /* the context is good for more than one */
	assert_memory_equal(hash, "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", sizeof hash);
	EVP_MD_CTX_free(ctx);
	EVP_MD_free(sha);
}

/* The words of line, with blanks between. */
static uint32_t split(char *line, purser_bytes *v)
{
	uint32_t n = 0;

	for (char *p = strtok_r(line, " ", &line); p; p = strtok_r(NULL, " ", &line))
		v[n++] = word(p);
	return n;
}

static void test_secrets(void **state)
{
	/* what is in brackets is a secret */
	static const char *const rows[] = { "AUTH [a] [b]", "HELLO 3 AUTH [x] [y] [SETNAME] [z]", "HELLO 3 SETNAME auth [AUTH] [x] [y]", "HELLO 3 SETNAME n", "GET k",
		"SESSION.CREATE u 5", "SESSION.GET [id] NOTOUCH", "SESSION.UPDATE [id] field 1", "SESSION.EXTEND [id] 5",
		"SESSION.ROTATE [id] USER u", "SESSION.DESTROY [id]", "SESSION.LIST u", "SESSION.DESTROYUSER u [EXCEPT] [id]" };
	struct cmd_index *x = calloc(1, sizeof *x);

	(void)state;
	assert_non_null(x);
	cmd_index_build(x);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char line[128], why[128];
		purser_bytes v[16];
		uint32_t n, secret = 0;
		const struct command *c;

		snprintf(line, sizeof line, "%s", rows[i]);
		n = split(line, v);
		for (uint32_t k = 0; k < n; k++)
			if (v[k].p[0] == '[') {
				v[k] = (purser_bytes){ v[k].p + 1, v[k].n - 2 };
				secret |= 1u << k;
			}
		c = cmd_find(x, v, n, why, sizeof why);
		assert_non_null(c);
		for (uint32_t k = 0; k < n; k++)
			if (cmd_secret(c, v, n, k) != (secret >> k & 1))
				fail_msg("%s: word %u", rows[i], k);
		assert_false(cmd_secret(c, v, n, n));
	}
	free(x);
}

#define HEAD "$1\r\nv\r\n$1\r\n7\r\n$3\r\nuid\r\n$2\r\nme\r\n$7\r\ncreated\r\n$1\r\n1\r\n$4\r\nseen\r\n$1\r\n2\r\n$3\r\nabs\r\n$1\r\n0\r\n" \
	"$4\r\nidle\r\n$1\r\n3\r\n$3\r\nexp\r\n$1\r\n4\r\n"

static void test_read(void **state)
{
	static const struct { const char *resp; int rc; bool there, rotated; const char *data; } rows[] = {
		{ "%7\r\n" HEAD, 0, true, false, "{}" },
		{ "*14\r\n" HEAD, 0, true, false, "{}" },
		{ "%9\r\n" HEAD "$3\r\nd:a\r\n$3\r\n[1]\r\n$4\r\nd:\"\\\r\n$4\r\nnull\r\n", 0, true, false, "{\"a\":[1],\"\\\"\\\\\":null}" },
		{ "%8\r\n" HEAD "$4\r\nd:\x01\xff\r\n$1\r\n1\r\n", 0, true, false, "{\"\\u0001\xff\":1}" },
		{ "%0\r\n", 0, false, false, "{}" }, { "*0\r\n", 0, false, false, "{}" },
		{ "%1\r\n$3\r\nrot\r\n$1\r\n5\r\n", 0, false, true, "{}" },
		{ "%1\r\n$3\r\nuid\r\n$1\r\n5\r\n", -1, false, false, NULL }, /* something else */
		{ "%1\r\n$1\r\nv\r\n$1\r\nx\r\n", -1, false, false, NULL },
		{ "%2\r\n$1\r\nv\r\n$1\r\n1\r\n", -1, false, false, NULL },
		{ "*3\r\n$1\r\nv\r\n$1\r\n1\r\n$1\r\nv\r\n", -1, false, false, NULL },
		{ "+OK\r\n", -1, false, false, NULL }, { "%-1\r\n", -1, false, false, NULL }, { "", -1, false, false, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct session_got g;
		struct arena a;
		size_t n = strlen(rows[i].resp);
		uint8_t *exact = malloc(n ? n : 1); /* so that a sanitizer sees a step beyond it */

		assert_non_null(exact);
		memcpy(exact, rows[i].resp, n);
		arena_begin(&a, NULL, 0);
		assert_int_equal(session_read(exact, n, &a, &g), rows[i].rc);
		if (!rows[i].rc) {
			assert_int_equal(g.there, rows[i].there);
			assert_int_equal(g.rotated, rows[i].rotated);
			assert_int_equal(g.data.n, strlen(rows[i].data));
			assert_memory_equal(g.data.p, rows[i].data, g.data.n);
		}
		if (g.there && !rows[i].rc)
			assert_true(g.version == 7 && g.user.n == 2 && g.created == 1 && g.seen == 2 && g.abs == 0 && g.idle == 3 && g.exp == 4);
		for (size_t cut = 0; rows[i].there && cut < n; cut++) { /* half of a reply is none */
			uint8_t *part = malloc(cut ? cut : 1);

			assert_non_null(part);
			memcpy(part, exact, cut);
			assert_int_equal(session_read(part, cut, &a, &g), -1);
			free(part);
		}
		arena_end(&a);
		free(exact);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_ids), cmocka_unit_test(test_secrets), cmocka_unit_test(test_read) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
