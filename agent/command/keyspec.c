/* SPDX-License-Identifier: Apache-2.0
 *
 * Key specifications as COMMAND INFO shows them.  See command.h.
 */
#include <config.h>
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
