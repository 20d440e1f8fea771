/* SPDX-License-Identifier: Apache-2.0
 *
 * The token file: what is read, what is refused and how that is said; time, names, owner and mode.
 */
#include <config.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "access/token.h"

/* SHA-256 of "abc" and of "", from FIPS 180 and everywhere else. */
#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define NONE "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct token_set *parse(const char *text, struct buf *why)
{
	*why = (struct buf){ .max = 1 << 20 };
	return token_parse("f", text, strlen(text), why);
}

static void a_file(void **state)
{
	static const char text[] = "# comment\n\n  ci\tsha256:" ABC "  shop,blog,4f9c0f5e-8e4b-4d3f-9d6c-0a1b2c3d4e5f writer "
	    "2027-01-31T23:59:59Z \r\nops@host sha256:" NONE " * - never";
	struct buf why;
	struct token_set *s = parse(text, &why);
	uint8_t digest[TOKEN_DIGEST];
	const struct token *t;

	(void)state;
	assert_string_equal(buf_cstr(&why), "");
	assert_non_null(s);
	assert_int_equal(s->n, 2);
	assert_int_equal(token_digest("abc", 3, digest), 0);
	t = token_find(s, digest);
	assert_non_null(t);
	assert_ptr_equal(t, token_named(s, "ci"));
	assert_string_equal(t->role, "writer");
	assert_int_equal(t->nprojects, 3);
	assert_int_equal(t->line, 3);
	assert_true(token_admits(t, "shop") && token_admits(t, "blog"));
	assert_true(token_admits(t, "4f9c0f5e-8e4b-4d3f-9d6c-0a1b2c3d4e5f"));
	assert_false(token_admits(t, "sho") || token_admits(t, "shop,blog") || token_admits(t, "*") || token_admits(t, ""));
	assert_int_equal(t->expires_ms, UINT64_C(1801439999000)); /* date -ud 2027-01-31T23:59:59Z +%s */
	assert_false(token_expired(t, t->expires_ms - 1));
	assert_true(token_expired(t, t->expires_ms));
	assert_int_equal(token_digest("", 0, digest), 0);
	t = token_find(s, digest);
	assert_non_null(t);
	assert_string_equal(t->role, "");
	assert_true(t->any_project && token_admits(t, "anything"));
	assert_false(token_expired(t, UINT64_MAX));
	digest[TOKEN_DIGEST - 1] ^= 1;
	assert_null(token_find(s, digest));
	assert_null(token_find(NULL, digest));
	assert_null(token_named(s, "CI"));
	token_set_free(s);
	buf_free(&why);
	s = parse("", &why);
	assert_non_null(s);
	assert_int_equal(s->n, 0);
	token_set_free(s);
	buf_free(&why);
}

#define D " sha256:" ABC
static const struct { const char *text, *say; } refused[] = {
	{ "ci" D " shop writer", "f:1: a line has five words" },
	{ "ci" D " shop writer never x", "f:1: a line has five words" },
	{ "\n#\nci" D " shop , blog - never", "f:3: a line has five words" },
	{ "-ci" D " shop - never", "f:1: -ci: a token's name" },
	{ "a:b" D " shop - never", "f:1: a:b: a token's name" },
	{ "ci sha256:abc shop - never", "f:1: the second word must be sha256:" },
	{ "ci sha512:" ABC " shop - never", "the second word must be sha256:" },
	{ "ci sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD shop - never", "the second word" },
	{ "ci psr_secret shop - never", "f:1: the second word must be sha256:" },
	{ "ci" D "0 shop - never", "the second word" },
	{ "ci" D " Shop - never", "\"Shop\" is no name of a project" },
	{ "ci" D " shop, - never", "\"\" is no name of a project" },
	{ "ci" D " ,shop - never", "\"\" is no name of a project" },
	{ "ci" D " *,shop - never", "\"*\" is no name of a project" },
	{ "ci" D " shop Admin never", "f:1: Admin: a role is" },
	{ "ci" D " shop - 2027-02-30", "f:1: 2027-02-30: the expiry is" },
	{ "ci" D " shop - 2027-01-31T24:00:00Z", "the expiry is" },
	{ "ci" D " shop - 2027-01-31T10:00:60Z", "the expiry is" },
	{ "ci" D " shop - 2027-01-31T10:00:00", "the expiry is" },
	{ "ci" D " shop - 2027-01-31 10:00:00Z", "five words" },
	{ "ci" D " shop - 0", "the expiry is" },
	{ "ci" D " shop - 1970-01-01", "the expiry is" },
	{ "ci" D " shop - 2027-1a-31", "the expiry is" },
	{ "a" D " shop - never\nb" D " blog - never", "f:2: b: another line has the same digest" },
	{ "a" D " shop - never\na sha256:" NONE " blog - never", "f:2: a: another line has this name" },
};

static void bad_lines(void **state)
{
	struct token_set *s;
	struct buf why;

	(void)state;
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		s = parse(refused[i].text, &why);
		if (s || !strstr(buf_cstr(&why), refused[i].say))
			fail_msg("%s: %s, said %s", refused[i].text, s ? "taken" : "refused", buf_cstr(&why));
		if (strstr(buf_cstr(&why), "psr_secret") || strstr(buf_cstr(&why), "ba7816bf"))
			fail_msg("%s: the digest is repeated: %s", refused[i].text, buf_cstr(&why));
		token_set_free(s);
		buf_free(&why);
	}
	/* all of a file's errors at once */
	s = parse("x\ny\n", &why);
	assert_null(s);
	assert_non_null(strstr(buf_cstr(&why), "f:1: "));
	assert_non_null(strstr(buf_cstr(&why), "f:2: "));
	buf_free(&why);
	why = (struct buf){ .max = 1 << 20 };
	assert_null(token_parse("f", "a\0b\n", 4, &why));
	assert_non_null(strstr(buf_cstr(&why), "NUL"));
	buf_free(&why);
}

static void many(void **state)
{
	struct buf text = { .max = 1 << 22 }, why;
	struct token_set *s;
	uint8_t digest[TOKEN_DIGEST] = { 0 };
	char name[16];

	(void)state;
	for (unsigned i = 0; i < TOKENS_MAX; i++) {
		snprintf(name, sizeof name, "t%u", i);
		memcpy(digest, &i, sizeof i);
		token_line(&text, name, digest, "shop", "", 0);
	}
	s = parse(buf_cstr(&text), &why);
	assert_non_null(s);
	assert_int_equal(s->n, TOKENS_MAX);
	assert_string_equal(token_find(s, digest)->name, "t4095");
	assert_ptr_equal(token_again(s, TOKENS_MAX - 1, digest), &s->v[TOKENS_MAX - 1]);
	assert_ptr_equal(token_again(s, 7, digest), &s->v[TOKENS_MAX - 1]); /* another one stands there now */
	assert_ptr_equal(token_again(s, TOKENS_MAX, digest), &s->v[TOKENS_MAX - 1]);
	digest[TOKEN_DIGEST - 1] ^= 1;
	assert_null(token_again(s, TOKENS_MAX - 1, digest)); /* gone */
	assert_null(token_again(NULL, 0, digest));
	token_set_free(s);
	buf_free(&why);
	digest[31] = 1;
	token_line(&text, "more", digest, "shop", "", 0);
	assert_null(parse(buf_cstr(&text), &why));
	assert_non_null(strstr(buf_cstr(&why), "4096"));
	buf_free(&why);
	buf_free(&text);
}

/* What make prints is read back, and no two are alike. */
static void made(void **state)
{
	char token[TOKEN_TEXT_MAX], other[TOKEN_TEXT_MAX], when[24];
	uint8_t digest[TOKEN_DIGEST];
	struct buf line = { .max = 4096 }, why;
	struct token_set *s;

	(void)state;
	assert_int_equal(token_make(token), 0);
	assert_int_equal(token_make(other), 0);
	assert_int_equal(strlen(token), 4 + 43);
	assert_true(token_shaped(token, strlen(token)));
	assert_false(token_shaped("eyJ", 3));
	assert_int_equal(strspn(token + 4, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), 43);
	assert_string_not_equal(token, other);
	assert_int_equal(token_digest(token, strlen(token), digest), 0);
	token_line(&line, "ci", digest, "shop", "writer", UINT64_C(1801439999000));
	s = parse(buf_cstr(&line), &why);
	assert_non_null(s);
	assert_string_equal(token_find(s, digest)->role, "writer");
	token_time_text(token_find(s, digest)->expires_ms, when);
	assert_string_equal(when, "2027-01-31T23:59:59Z");
	assert_null(strstr(buf_cstr(&line), token + 4));
	token_set_free(s);
	buf_free(&why);
	buf_free(&line);
}

static void a_file_of(const char *path, mode_t mode, const char *say)
{
	struct buf why = { .max = 4096 };
	struct token_set *s;

	if (chmod(path, mode))
		fail_msg("chmod %s", path);
	s = token_load(path, geteuid(), &why);
	if (say ? s || !strstr(buf_cstr(&why), say) : !s)
		fail_msg("mode %04o: %s, said %s", (unsigned)mode, s ? "taken" : "refused", buf_cstr(&why));
	token_set_free(s);
	buf_free(&why);
}

static void owner_and_mode(void **state)
{
	static const char line[] = "ci" D " shop - never\n";
	char dir[] = "/tmp/purser-test.XXXXXX", path[64];
	struct buf why = { .max = 4096 };
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/tokens", dir);
	assert_null(token_load(path, geteuid(), &why));
	assert_non_null(strstr(buf_cstr(&why), "No such file"));
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, line, sizeof line - 1), sizeof line - 1);
	close(fd);
	a_file_of(path, 0600, NULL);
	a_file_of(path, 0640, NULL);
	a_file_of(path, 0400, NULL);
	a_file_of(path, 0644, "others may read it");
	a_file_of(path, 0660, "others may write to it");
	a_file_of(path, 0602, "others may write to it");
	a_file_of(path, 0601, "its mode is 0601");
	if (geteuid() == 0) { /* root's own is always right; another's only if the agent is that user */
		buf_clear(&why);
		assert_int_equal(chmod(path, 0600), 0);
		assert_int_equal(chown(path, 12345, 0), 0);
		assert_null(token_load(path, 0, &why));
		assert_non_null(strstr(buf_cstr(&why), "belongs to user 12345"));
		token_set_free(token_load(path, 12345, &why));
		assert_null(token_load(path, 12346, &why));
	}
	assert_int_equal(unlink(path), 0);
	buf_clear(&why);
	assert_null(token_load(dir, geteuid(), &why));
	assert_non_null(strstr(buf_cstr(&why), "not a regular file"));
	buf_free(&why);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file), cmocka_unit_test(bad_lines), cmocka_unit_test(many), cmocka_unit_test(made),
		cmocka_unit_test(owner_and_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
