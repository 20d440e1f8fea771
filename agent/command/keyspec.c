/* SPDX-License-Identifier: Apache-2.0
 *
 * Key specifications as COMMAND INFO shows them.  See command.h.
 */
#include <config.h>
#include <string.h>
#include "command/command.h"

#define INDEX(i) .begin = BEGIN_INDEX, .start = i
#define KEYWORD(word, from) .begin = BEGIN_KEYWORD, .keyword = word, .start = from
#define NOWHERE .begin = BEGIN_UNKNOWN
#define RANGE(last, step, limit) .find = FIND_RANGE, .n = { last, step, limit }
#define KEYNUM(at, first, step) .find = FIND_KEYNUM, .n = { at, first, step }
#define UNKNOWN .find = FIND_UNKNOWN
#define KEYSPEC(id_, flags_, begin_, find_, notes_) \
	{ .id = CMD_##id_, .flags = flags_, begin_, find_, .notes = notes_ },

static const struct cmd_keyspec specs[] = {
#include "command/keyspecs.def"
};

const struct cmd_keyspec *cmd_keyspecs(const struct command *c, uint32_t *n)
{
	const struct cmd_keyspec *first = specs, *end = specs + sizeof specs / sizeof *specs, *s;

	while (first < end && first->id != c->id)
		first++;
	for (s = first; s < end && s->id == c->id; s++)
		;
	*n = (uint32_t)(s - first);
	return first;
}

/* Does the key at position at of argv stand where the specification says?  What says nothing is the last one's. */
static bool covers(const struct cmd_keyspec *s, uint32_t argc, uint32_t at)
{
	int last;

	if (s->begin != BEGIN_INDEX)
		return s->begin == BEGIN_KEYWORD;
	if (s->find == FIND_KEYNUM) /* behind the number */
		return (int)at >= s->start + s->n[1];
	if (s->find == FIND_UNKNOWN)
		return true;
	last = s->n[0] < 0 ? (int)argc + s->n[0] : s->start + s->n[0];
	return (int)at >= s->start && (int)at <= last;
}

static bool has(const purser_bytes *argv, uint32_t argc, uint32_t from, const char *name)
{
	for (uint32_t i = from; i < argc; i++)
		if (cmd_word_is(argv[i], name))
			return true;
	return false;
}

/* BITFIELD with GET alone; what is malformed could be anything. */
static bool only_gets(const purser_bytes *argv, uint32_t argc)
{
	for (uint32_t i = 2; i < argc; i++) {
		uint32_t left = argc - i - 1;

		if (cmd_word_is(argv[i], "GET") && left >= 2)
			i += 2;
		else if (cmd_word_is(argv[i], "OVERFLOW") && left >= 1)
			i++;
		else
			return false;
	}
	return true;
}

const char *cmd_key_flags(const struct command *c, const purser_bytes *argv, uint32_t argc, uint32_t at)
{
	uint32_t n;
	const struct cmd_keyspec *s = cmd_keyspecs(c, &n);

	if (c->id == CMD_SET)
		return has(argv, argc, 3, "GET") ? "RW access update" : "OW update";
	if (c->id == CMD_BITFIELD)
		return only_gets(argv, argc) ? "RO access" : "RW access update";
	for (; n > 1 && !covers(s, argc, at); n--)
		s++;
	return n ? s->flags : "";
}
