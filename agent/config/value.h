/* SPDX-License-Identifier: Apache-2.0
 *
 * config/value: one setting's text becomes a number.  The only place that knows how durations,
 * sizes,
 * fractions, switches, words, addresses and file modes are written; the core's keys (keys.def)
 * and the
 * keys of plugins (struct purser_key) both go through it.
 *
 * In:  a text as it stands in the INI file, already without blanks around it, and a rule.
 * Out: the number, or a sentence that says what is wrong and what to write instead.
 *
 *   type       written as                          num                     real
 *   TEXT       anything                            0                       0
 *   INT        12, -1, or one of the choices       the number (choice: 0)  the number
 *   BOOL       yes no on off true false            1 or 0
 *   DURATION   250ms 10s 1.5s 2m 1h                nanoseconds             seconds
 *   SIZE       64B 16KiB 1.5MiB 1GiB               bytes
 *   ENUM       one of the choices                  its index
 *   PATH       /absolute/path                      0
 *   URL        scheme://...                        0
 *   REAL       0.01                                millionths              the number
 *   FRACTION   80%                                 millionths              0.8
 *   MODE       0660                                the bits
 *   LISTEN     127.0.0.1:9464 [::1]:9464           the port
 *   PAIRS      name=value,name2=value2             how many; %XX is decoded by value_pair()
 *   MAP        word=name,word2=name                the same, but words may be any text (%2C for a comma)
 *
 * A bare number is refused where a unit is needed, 0 too.
 */
#ifndef CONFIG_VALUE_H
#define CONFIG_VALUE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <purser/plugin.h>

enum value_type {
	VALUE_TEXT = PURSER_KEY_TEXT,
	VALUE_INT = PURSER_KEY_INT,
	VALUE_BOOL = PURSER_KEY_BOOL,
	VALUE_DURATION = PURSER_KEY_DURATION,
	VALUE_SIZE = PURSER_KEY_SIZE,
	VALUE_ENUM = PURSER_KEY_ENUM,
	VALUE_PATH = PURSER_KEY_PATH,
	VALUE_URL = PURSER_KEY_URL,
	VALUE_REAL = 64, /* from here on: the core's own */
	VALUE_FRACTION,
	VALUE_MODE,
	VALUE_LISTEN,
	VALUE_PAIRS,
	VALUE_MAP,
};

struct value_rule {
	enum value_type type;
	int64_t min, max;    /* in the unit of num; TEXT, PATH, URL: bytes; both 0: no bounds */
	const char *choices; /* ENUM: "a|b|c".  INT: words for 0 ("auto").  URL:
	                      * schemes.  Else NULL */
};

struct value {
	int64_t num;
	double real;
};

/* 0, or -1 with a sentence in why (without name or place of the setting: the caller knows
 * those). */
int value_parse(const struct value_rule *rule, const char *text, struct value *out, char *why,
	size_t whylen);

/* The name of a type for documents: "duration". */
const char *value_type_name(enum value_type type);

/* The num of a rule's type, written so that value_parse() reads it back: 10s, 64KiB, 80%, 0660. */
void value_format(enum value_type type, int64_t num, char *buf, size_t len);

/* Pair i of a PAIRS or MAP text, percent-decoded, into buf ("name\0value\0").  1, 0 when there is no such
 * pair, -1 when the text is not well-formed or buf is too small. */
int value_pair(enum value_type type, const char *text, size_t i, char *buf, size_t len, const char **name,
	const char **val);

/* Word i of "a|b|c" is text[0..n)?  Its index, or -1. */
int value_choice(const char *choices, const char *text, size_t n);

/* The candidate nearest to word, or NULL when none is near enough to be meant. */
const char *value_nearest(const char *word, const char *const *candidates, size_t n);
#endif
