/* SPDX-License-Identifier: Apache-2.0
 *
 * The words of SESSION.*: options in any order, fields of JSON, ids.
 */
#include <config.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <purser/resp.h>
#include <string.h>
#include <sys/random.h>
#include "feature/session.h"
#include "resp/json_scan.h"
#include "resp/json_text.h"

/* ---- ids ---- */

static void base64url(const uint8_t bits[32], char text[43])
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint32_t v = 0;
	unsigned have = 0;
	size_t at = 0;

	for (size_t i = 0; i < 32; i++) {
		v = v << 8 | bits[i];
		for (have += 8; have >= 6; have -= 6)
			text[at++] = digits[v >> (have - 6) & 63];
	}
	text[at] = digits[v << (6 - have) & 63];
}

bool session_new_id(char id[SESSION_ID_LEN])
{
	uint8_t bits[32];
	size_t n = 0;

	while (n < sizeof bits) {
		ssize_t got = getrandom(bits + n, sizeof bits - n, 0);

		if (got < 0 && errno != EINTR)
			return false;
		n += got > 0 ? (size_t)got : 0;
	}
	base64url(bits, id);
	OPENSSL_cleanse(bits, sizeof bits);
	return true;
}

bool session_hash(EVP_MD_CTX *ctx, const EVP_MD *sha256, purser_bytes id, char hash[SESSION_HASH_LEN])
{
	uint8_t bits[EVP_MAX_MD_SIZE];

	if (EVP_DigestInit_ex(ctx, sha256, NULL) != 1 || EVP_DigestUpdate(ctx, id.p, id.n) != 1 ||
	    EVP_DigestFinal_ex(ctx, bits, NULL) != 1)
		return false;
	base64url(bits, hash);
	return true;
}

/* ---- fields ---- */

static bool is_null(purser_bytes json)
{
	return json.n == 4 && memcmp(json.p, "null", 4) == 0;
}

/* A field's name and its JSON text, which may be NULL's: then it goes. */
static const char *field(struct session_words *w, purser_bytes name, purser_bytes json)
{
	if (name.n < 1 || name.n > SESSION_NAME_MAX)
		return "BADREQUEST the name of a field has 1 to 256 bytes";
	if (!utf8_valid(name.p, name.n))
		return "BADREQUEST the name of a field is not UTF-8";
	if (cmd_word_is(name, "IFVER"))
		return "BADREQUEST no field can be called ifver: that is an option of SESSION.UPDATE";
	if (json.n > SESSION_VALUE_MAX)
		return "TOOBIG the JSON text of a field has more than 64 KiB";
	w->pair[2 * w->npairs] = name;
	w->pair[2 * w->npairs + 1] = is_null(json) ? (purser_bytes){ (const uint8_t *)"", 0 } : json;
	w->npairs++;
	return NULL;
}

/* The JSON value that w is, without the blanks around it; false: it is none. */
static bool value(purser_bytes w, purser_bytes *out)
{
	struct json_scan s = { .p = w.p, .end = w.p + w.n };

	if (!w.n)
		return false;
	jscan_peek(&s);
	out->p = s.p;
	if (jscan_skip(&s))
		return false;
	out->n = (size_t)(s.p - out->p);
	return jscan_end(&s) == 0;
}

static bool named(const struct session_words *w, purser_bytes name)
{
	for (uint32_t i = 0; i < w->npairs; i++)
		if (w->pair[2 * i].n == name.n && memcmp(w->pair[2 * i].p, name.p, name.n) == 0)
			return true;
	return false;
}

static const char *members(struct session_words *w, struct json_scan *s, struct arena *a)
{
	bool first = true, more;

	for (;;) {
		const uint8_t *from;
		purser_bytes name;
		const char *why;
		uint8_t *room;

		if (jscan_next(s, '}', &first, &more))
			return "";
		if (!more)
			return NULL;
		from = s->p;
		if (jscan_string(s, NULL, &name.n))
			return "";
		room = arena_get(a, name.n + 1);
		if (!room)
			return "OOM out of memory";
		s->p = from;
		if (jscan_string(s, room, &name.n) || jscan_colon(s) || !jscan_peek(s))
			return "";
		name.p = room;
		from = s->p;
		if (jscan_skip(s))
			return "";
		if (w->npairs == SESSION_FIELDS_MAX)
			return "TOOBIG a session has at most 256 fields";
		if (named(w, name))
			return "BADREQUEST DATA has the same field twice";
		why = field(w, name, (purser_bytes){ from, (size_t)(s->p - from) });
		if (why)
			return why;
		if (!w->pair[2 * w->npairs - 1].n)
			w->npairs--; /* null: it is not there */
	}
}

/* {"name": value, ...} */
static const char *object(struct session_words *w, purser_bytes json, struct arena *a)
{
	struct json_scan s = { .p = json.p, .end = json.p + json.n };
	size_t room = json.n / 5 + 2; /* "": 0, is the shortest of them, and refused */
	const char *why = "";

	w->pair = arena_get(a, (room < SESSION_FIELDS_MAX ? room : SESSION_FIELDS_MAX + 1) * 2 * sizeof *w->pair);
	if (!w->pair)
		return "OOM out of memory";
	if (json.n && jscan_peek(&s) == '{') {
		s.p++;
		why = members(w, &s, a);
		if (!why && jscan_end(&s))
			why = "";
	}
	return why && !*why ? "BADREQUEST DATA is no JSON object: {\"name\": value, ...}" : why;
}

/* ---- options ---- */

static bool ms(purser_bytes w, int64_t *v)
{
	return purser_resp_int(w.p, w.n, v) == 0 && *v >= 1 && *v <= SESSION_MS_MAX;
}

static const char bad_ms[] = "BADREQUEST a time is 1 to 316224000000 ms";
static const char bad_user[] = "BADREQUEST a user is at most 256 bytes";
static const char bad_nobody[] = "BADREQUEST sessions of nobody are in no index: name a user";

static const char *create(const purser_bytes *v, uint32_t n, struct arena *a, struct session_words *w)
{
	bool data = false;

	if (v[1].n > SESSION_USER_MAX)
		return bad_user;
	if (!ms(v[2], &w->idle_ms))
		return bad_ms;
	for (uint32_t i = 3; i < n; i += 2) {
		bool is_abs = cmd_word_is(v[i], "ABS");

		if (i + 1 == n || (is_abs ? w->abs_ms != 0 : data || !cmd_word_is(v[i], "DATA")))
			return "ERR syntax error: SESSION.CREATE user idle-ms [ABS ms] [DATA json]";
		if (is_abs) {
			if (!ms(v[i + 1], &w->abs_ms))
				return bad_ms;
		} else {
			const char *why = object(w, v[i + 1], a);

			if (why)
				return why;
			data = true;
		}
	}
	return NULL;
}

static const char *update(const purser_bytes *v, uint32_t n, struct arena *a, struct session_words *w)
{
	if (n % 2)
		return "ERR syntax error: SESSION.UPDATE id field value [field value ...] [IFVER version]";
	if (n / 2 > SESSION_FIELDS_MAX + 2)
		return "TOOBIG a session has at most 256 fields";
	w->pair = arena_get(a, (size_t)n * sizeof *w->pair);
	if (!w->pair)
		return "OOM out of memory";
	for (uint32_t i = 2; i < n; i += 2) {
		purser_bytes json;
		const char *why;
		int64_t version;

		if (cmd_word_is(v[i], "IFVER")) {
			if (w->version.n || purser_resp_int(v[i + 1].p, v[i + 1].n, &version) || version < 1 || v[i + 1].p[0] == '0' ||
			    v[i + 1].p[0] == '+')
				return "BADREQUEST IFVER takes a version, once: 1 or more";
			w->version = v[i + 1];
			continue;
		}
		if (!value(v[i + 1], &json))
			return "BADREQUEST the value of a field is not JSON: strings stand in quotes, null removes the field";
		why = field(w, v[i], json);
		if (why)
			return why;
	}
	return w->npairs ? NULL : "ERR syntax error: SESSION.UPDATE id field value [field value ...] [IFVER version]";
}

static const char *destroy_user(const purser_bytes *v, uint32_t n, struct session_words *w)
{
	if (!v[1].n)
		return bad_nobody;
	for (uint32_t i = 2; i < n; i += 2) {
		purser_bytes *to = cmd_word_is(v[i], "EXCEPT") ? &w->except : cmd_word_is(v[i], "HANDLE") ? &w->handle : NULL;

		if (i + 1 == n || !to || w->except.n || w->handle.n || !v[i + 1].n)
			return "ERR syntax error: SESSION.DESTROYUSER user [EXCEPT id | HANDLE handle]";
		*to = v[i + 1];
	}
	return NULL;
}

static const char *rest(enum cmd_id id, const purser_bytes *v, uint32_t n, struct session_words *w)
{
	switch (id) {
	case CMD_SESSION_GET:
		w->notouch = n == 3;
		return n == 2 || (n == 3 && cmd_word_is(v[2], "NOTOUCH")) ? NULL : "ERR syntax error: SESSION.GET id [NOTOUCH]";
	case CMD_SESSION_EXTEND:
		return ms(v[2], &w->idle_ms) ? NULL : bad_ms;
	case CMD_SESSION_ROTATE:
		if (n == 2)
			return NULL;
		if (n != 4 || !cmd_word_is(v[2], "USER"))
			return "ERR syntax error: SESSION.ROTATE id [USER user]";
		w->user = (purser_bytes){ v[3].n ? v[3].p : (const uint8_t *)"", v[3].n };
		return v[3].n <= SESSION_USER_MAX ? NULL : bad_user;
	case CMD_SESSION_LIST:
		w->limit = 100;
		if (!v[1].n)
			return bad_nobody;
		if (n != 2 && (n != 4 || !cmd_word_is(v[2], "LIMIT")))
			return "ERR syntax error: SESSION.LIST user [LIMIT n]";
		if (n == 4 && (purser_resp_int(v[3].p, v[3].n, &w->limit) || w->limit < 1 || w->limit > SESSION_LIST_MAX))
			return "BADREQUEST LIMIT is 1 to 1000";
		return NULL;
	default:
		return NULL;
	}
}

int session_words(const struct command *cmd, const purser_bytes *argv, uint32_t argc, struct arena *a,
    struct session_words *w, const char **why)
{
	memset(w, 0, sizeof *w);
	switch ((enum cmd_id)cmd->id) {
	case CMD_SESSION_CREATE:
		*why = create(argv, argc, a, w);
		break;
	case CMD_SESSION_UPDATE:
		*why = update(argv, argc, a, w);
		break;
	case CMD_SESSION_DESTROYUSER:
		*why = destroy_user(argv, argc, w);
		break;
	default:
		*why = rest((enum cmd_id)cmd->id, argv, argc, w);
	}
	return *why ? -1 : 0;
}
