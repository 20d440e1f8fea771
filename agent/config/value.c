/* SPDX-License-Identifier: Apache-2.0 */
/* config/value: see value.h. */
#include <config.h>

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/value.h"

enum { TEXT_MAX = 4095, MILLION = 1000000 };

struct unit {
	const char *name;
	int64_t scale;
};

/* Largest first: value_format() takes the first that divides. */
static const struct unit durations[] = {
	{ "h", INT64_C(3600000000000) }, { "m", INT64_C(60000000000) }, { "s", 1000000000 },
	{ "ms", 1000000 },
};
static const struct unit sizes[] = {
	{ "GiB", INT64_C(1) << 30 }, { "MiB", 1 << 20 }, { "KiB", 1 << 10 }, { "B", 1 },
};
static const struct unit fractions[] = { { "%", MILLION / 100 } };

static int fail(char *why, size_t len, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail(char *why, size_t len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, len, fmt, ap);
	va_end(ap);
	return -1;
}

const char *value_type_name(enum value_type type)
{
	switch (type) {
	case VALUE_TEXT: return "text";
	case VALUE_INT: return "number";
	case VALUE_BOOL: return "yes or no";
	case VALUE_DURATION: return "duration";
	case VALUE_SIZE: return "size";
	case VALUE_ENUM: return "word";
	case VALUE_PATH: return "path";
	case VALUE_URL: return "URL";
	case VALUE_REAL: return "decimal number";
	case VALUE_FRACTION: return "percentage";
	case VALUE_MODE: return "file mode";
	case VALUE_LISTEN: return "address:port";
	case VALUE_PAIRS: return "name=value list";
	case VALUE_MAP: return "word=name list";
	}
	return "unknown type";
}

static void format_scaled(const struct unit *units, size_t n, int64_t num, char *buf, size_t len)
{
	const char *unit_of_zero = units == durations ? "s" : units[n - 1].name;

	for (size_t i = 0; i < n; i++) {
		if (num % units[i].scale == 0) {
			snprintf(buf, len, "%" PRId64 "%s", num / units[i].scale,
				num == 0 ? unit_of_zero : units[i].name);
			return;
		}
	}
	snprintf(buf, len, "%.6g%s", (double)num / (double)units[n - 1].scale, units[n - 1].name);
}

void value_format(enum value_type type, int64_t num, char *buf, size_t len)
{
	if (type == VALUE_DURATION)
		format_scaled(durations, 4, num, buf, len);
	else if (type == VALUE_SIZE)
		format_scaled(sizes, 4, num, buf, len);
	else if (type == VALUE_FRACTION)
		format_scaled(fractions, 1, num, buf, len);
	else if (type == VALUE_REAL)
		snprintf(buf, len, "%.6g", (double)num / MILLION);
	else if (type == VALUE_MODE)
		snprintf(buf, len, "%04o", (unsigned)num);
	else if (type == VALUE_BOOL)
		snprintf(buf, len, "%s", num != 0 ? "yes" : "no");
	else
		snprintf(buf, len, "%" PRId64, num);
}

static int check_bounds(const struct value_rule *r, int64_t num, char *why, size_t len)
{
	char low[32], high[32];

	if ((r->min == 0 && r->max == 0) || (num >= r->min && num <= r->max))
		return 0;
	value_format(r->type, r->min, low, sizeof(low));
	if (r->max == INT64_MAX)
		return fail(why, len, "out of range: write %s or more", low);
	value_format(r->type, r->max, high, sizeof(high));
	return fail(why, len, "out of range: write %s to %s", low, high);
}

/* ---- numbers with a unit --------------------------------------------------------------------- */

/* Digits, perhaps with decimals, of text: *whole and *millionths; decimals beyond the sixth are
 * dropped.  Returns what follows, or NULL when text begins with no number or one too large. */
static const char *scan_number(const char *text, int64_t *whole, int64_t *millionths)
{
	int64_t scale = MILLION / 10;

	*whole = *millionths = 0;
	if (!isdigit((unsigned char)*text))
		return NULL;
	for (; isdigit((unsigned char)*text); text++) {
		if (__builtin_mul_overflow(*whole, 10, whole) ||
			__builtin_add_overflow(*whole, *text - '0', whole))
			return NULL;
	}
	if (*text == '.' && isdigit((unsigned char)text[1])) {
		for (text++; isdigit((unsigned char)*text); text++) {
			*millionths += (*text - '0') * scale;
			scale /= 10;
		}
	}
	return text;
}

/* What a wrong unit was probably meant to be: "kb" -> "KiB"; NULL when nobody can say. */
static const char *meant_unit(enum value_type type, const char *unit)
{
	static const char *const pairs[][2] = {
		{ "k", "KiB" }, { "kb", "KiB" }, { "kib", "KiB" }, { "m", "MiB" }, { "mb", "MiB" },
		{ "mib", "MiB" }, { "g", "GiB" }, { "gb", "GiB" }, { "gib", "GiB" }, { "b", "B" },
		{ "byte", "B" }, { "bytes", "B" },
	};
	static const char *const times[][2] = {
		{ "sec", "s" },
		{ "secs", "s" },
		{ "second", "s" },
		{ "seconds", "s" },
		{ "min", "m" },
		{ "minute", "m" },
		{ "minutes", "m" },
		{ "hour", "h" },
		{ "hours", "h" },
		{ "hr", "h" },
		{ "msec", "ms" },
		{ "millis", "ms" },
		{ "s", "s" },
		{ "m", "m" },
		{ "h", "h" },
		{ "ms", "ms" },
	};
	size_t n = type == VALUE_SIZE ? sizeof(pairs) / sizeof(pairs[0]) :
	                                sizeof(times) / sizeof(times[0]);

	for (size_t i = 0; i < n; i++) {
		const char *const *p = type == VALUE_SIZE ? pairs[i] : times[i];

		if (strcasecmp(unit, p[0]) == 0)
			return p[1];
	}
	return NULL;
}

static int bad_unit(enum value_type type, const char *text, const char *rest, char *why, size_t len)
{
	const char *list = type == VALUE_SIZE ? "B, KiB, MiB or GiB" : "ms, s, m or h";
	int digits = (int)(rest - text);
	const char *unit;

	while (*rest == ' ' || *rest == '\t')
		rest++;
	if (type == VALUE_FRACTION)
		return fail(why, len, "a percentage is needed: write it as 80%%");
	if (*rest == '\0')
		return fail(why, len, "a unit is needed: write %.*s%s (units are %s)", digits, text,
			type == VALUE_SIZE ? "MiB" : "s", list);
	unit = meant_unit(type, rest);
	if (unit != NULL)
		return fail(why, len, "write %.*s%s (units are %s)", digits, text, unit, list);
	return fail(why, len, "\"%.20s\" is no unit: units are %s", rest, list);
}

static int parse_scaled(const struct value_rule *r, const char *text, int64_t *num, char *why,
	size_t len)
{
	const struct unit *units = r->type == VALUE_DURATION ? durations :
	                           r->type == VALUE_SIZE     ? sizes : fractions;
	size_t n = r->type == VALUE_FRACTION ? 1 : 4;
	int64_t whole, millionths;
	const char *rest = scan_number(text, &whole, &millionths);

	if (rest == NULL)
		return fail(why, len,
			isdigit((unsigned char)*text) ? "the number is too large"
						      : "a %s is needed: write it as %s",
			value_type_name(r->type),
			r->type == VALUE_DURATION ? "10s"
			: r->type == VALUE_SIZE   ? "64MiB"
						  : "80%");
	for (size_t i = 0; i < n; i++) {
		if (strcmp(rest, units[i].name) != 0)
			continue;
		if (__builtin_mul_overflow(whole, units[i].scale, num) ||
			__builtin_add_overflow(*num, millionths * units[i].scale / MILLION, num))
			return fail(why, len, "the number is too large");
		return check_bounds(r, *num, why, len);
	}
	return bad_unit(r->type, text, rest, why, len);
}

/* ---- plain numbers --------------------------------------------------------------------------- */

static int parse_int(
	const struct value_rule *r, const char *text, int64_t *num, char *why, size_t len)
{
	char *end;

	if (r->choices != NULL && value_choice(r->choices, text, strlen(text)) >= 0) {
		*num = 0;
		return 0;
	}
	errno = 0;
	*num = strtoll(text, &end, 10);
	if (end == text || *end != '\0' || isspace((unsigned char)*text) || *text == '+')
		return fail(why, len, r->choices != NULL ? "a whole number or %s is needed" :
			"a whole number is needed", r->choices);
	if (errno == ERANGE)
		return fail(why, len, "the number is too large");
	return check_bounds(r, *num, why, len);
}

static int parse_real(const struct value_rule *r, const char *text, struct value *out, char *why,
	size_t len)
{
	char *end;

	if (text[strspn(text, "0123456789.eE+-")] != '\0')
		return fail(why, len, "a decimal number is needed: write it as 0.01");
	out->real = strtod(text, &end);
	if (end == text || *end != '\0')
		return fail(why, len, "a decimal number is needed: write it as 0.01");
	if (!(fabs(out->real) < 1e12))
		return fail(why, len, "the number is too large");
	out->num = llround(out->real * MILLION);
	if (out->real < 0 && out->num == 0)
		out->num = -1; /* -1e-9 is not 0 */
	return check_bounds(r, out->num, why, len);
}

static int parse_mode(
	const struct value_rule *r, const char *text, int64_t *num, char *why, size_t len)
{
	size_t n = strspn(text, "01234567");

	if (n < 3 || n > 4 || text[n] != '\0')
		return fail(why, len, "a file mode is needed: write it as 0660");
	*num = strtoll(text, NULL, 8);
	return check_bounds(r, *num, why, len);
}

/* ---- words ----------------------------------------------------------------------------------- */

static int parse_bool(const char *text, int64_t *num, char *why, size_t len)
{
	static const char *const words[] = { "no", "yes", "off", "on", "false", "true" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcasecmp(text, words[i]) == 0) {
			*num = i % 2;
			return 0;
		}
	}
	return fail(why, len, "write yes or no");
}

static int parse_enum(
	const struct value_rule *r, const char *text, int64_t *num, char *why, size_t len)
{
	size_t at;

	*num = value_choice(r->choices, text, strlen(text));
	if (*num >= 0)
		return 0;
	at = (size_t)snprintf(why, len, "write ");
	for (const char *c = r->choices; at < len; c++) {
		size_t n = strcspn(c, "|");

		at += (size_t)snprintf(why + at, len - at, "%s%.*s",
			c == r->choices ? "" : c[n] == '\0' ? " or " : ", ", (int)n, c);
		c += n;
		if (*c == '\0')
			break;
	}
	return -1;
}

/* ---- texts, paths, URLs, addresses ----------------------------------------------------------- */

static int check_length(const struct value_rule *r, const char *text, char *why, size_t len)
{
	int64_t n = (int64_t)strlen(text);

	if ((r->min == 0 && r->max == 0) || (n >= r->min && n <= r->max))
		return 0;
	return fail(why, len, "it has %" PRId64 " bytes: write %" PRId64 " to %" PRId64, n, r->min,
		r->max);
}

static int parse_path(const struct value_rule *r, const char *text, char *why, size_t len)
{
	if (*text == '~')
		return fail(why, len, "~ is not expanded: write the whole path");
	if (*text != '/')
		return fail(why, len, "write the whole path, beginning with /");
	return check_length(r, text, why, len);
}

static int parse_url(const struct value_rule *r, const char *text, char *why, size_t len)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789+.-");

	if (n == 0 || !islower((unsigned char)*text) || strncmp(text + n, "://", 3) != 0 ||
		text[n + 3] == '\0')
		return fail(why, len, "write a URL as scheme://host:port/path");
	if (r->choices != NULL && value_choice(r->choices, text, n) < 0)
		return fail(why, len, "%.*s:// is not served here: write one of %s, then ://",
			(int)n, text, r->choices);
	for (const char *c = text; *c != '\0'; c++) {
		if ((unsigned char)*c <= ' ' || *c == '"' || *c == '<' || *c == '>')
			return fail(
				why, len, "a URL has no blanks or quotes: write %%20 and the like");
	}
	return check_length(r, text, why, len);
}

static int parse_listen(const char *text, int64_t *num, char *why, size_t len)
{
	const char *colon = strrchr(text, ':');
	char host[64];
	struct in_addr v4;
	struct in6_addr v6;
	bool loopback;
	size_t n;

	if (colon == NULL || colon == text || colon[1] == '\0' ||
		colon[1 + strspn(colon + 1, "0123456789")] != '\0' || strlen(colon + 1) > 5 ||
		(size_t)(colon - text) >= sizeof(host))
		return fail(why, len, "write an address and a port, as 127.0.0.1:9464");
	*num = strtol(colon + 1, NULL, 10);
	if (*num < 1 || *num > 65535)
		return fail(why, len, "a port is 1 to 65535");
	n = (size_t)(colon - text);
	memcpy(host, text, n);
	host[n] = '\0';
	if (host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = '\0';
		if (inet_pton(AF_INET6, host + 1, &v6) != 1)
			return fail(why, len, "write an address and a port, as [::1]:9464");
		loopback = IN6_IS_ADDR_LOOPBACK(&v6);
	} else {
		if (inet_pton(AF_INET, host, &v4) != 1)
			return fail(why, len, "write an address and a port, as 127.0.0.1:9464");
		loopback = (ntohl(v4.s_addr) >> 24) == 127;
	}
	if (!loopback)
		return fail(why, len,
			"TCP shows no caller's identity, so only loopback is served: write "
			"127.0.0.1:%" PRId64 " and put a proxy in front",
			*num);
	return 0;
}

/* ---- name=value lists ------------------------------------------------------------------------ */

static int parse_pairs(enum value_type type, const char *text, int64_t *num, char *why, size_t len)
{
	char buf[TEXT_MAX + 2];
	const char *name, *val;

	for (*num = 0;; ++*num) {
		int rc = value_pair(type, text, (size_t)*num, buf, sizeof(buf), &name, &val);

		if (rc == 0)
			return 0;
		if (rc < 0)
			return fail(why, len,
				"item %" PRId64 " is not well-formed: write name=value,"
				"name2=value2 and %%2C for a comma",
				*num + 1);
	}
}

/* ---- all of them ----------------------------------------------------------------------------- */

int value_parse(
	const struct value_rule *r, const char *text, struct value *out, char *why, size_t len)
{
	int rc = 0;

	*out = (struct value){ 0, 0 };
	if (len > 0)
		*why = '\0';
	if (strlen(text) > TEXT_MAX)
		return fail(why, len, "longer than %d bytes", TEXT_MAX);
	for (const char *c = text; *c != '\0'; c++) {
		if ((unsigned char)*c < ' ' && *c != '\t')
			return fail(why, len, "there is a control character in it");
	}
	switch (r->type) {
	case VALUE_TEXT:
		rc = check_length(r, text, why, len);
		break;
	case VALUE_INT:
		rc = parse_int(r, text, &out->num, why, len);
		break;
	case VALUE_BOOL:
		rc = parse_bool(text, &out->num, why, len);
		break;
	case VALUE_DURATION:
	case VALUE_SIZE:
	case VALUE_FRACTION:
		rc = parse_scaled(r, text, &out->num, why, len);
		break;
	case VALUE_ENUM:
		rc = parse_enum(r, text, &out->num, why, len);
		break;
	case VALUE_PATH:
		rc = parse_path(r, text, why, len);
		break;
	case VALUE_URL:
		rc = parse_url(r, text, why, len);
		break;
	case VALUE_REAL:
		return parse_real(r, text, out, why, len);
	case VALUE_MODE:
		rc = parse_mode(r, text, &out->num, why, len);
		break;
	case VALUE_LISTEN:
		rc = parse_listen(text, &out->num, why, len);
		break;
	case VALUE_PAIRS:
	case VALUE_MAP:
		rc = parse_pairs(r->type, text, &out->num, why, len);
		break;
	default:
		return fail(why, len, "the key has a type that this version does not know");
	}
	out->real = (double)out->num;
	if (r->type == VALUE_DURATION)
		out->real /= 1e9;
	else if (r->type == VALUE_FRACTION)
		out->real /= MILLION;
	return rc;
}
