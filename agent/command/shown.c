/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdio.h>
#include <string.h>
#include "command/command.h"

const char *cmd_tips(const struct command *c)
{
	switch (c->id) {
#define TIPS(id, words) case CMD_##id: return words;
#define CATEGORIES(id, words)
#include "command/shown.def"
#undef TIPS
#undef CATEGORIES
	default:
		return "";
	}
}

static const char *own_categories(const struct command *c)
{
	switch (c->id) {
#define TIPS(id, words)
#define CATEGORIES(id, words) case CMD_##id: return words;
#include "command/shown.def"
#undef TIPS
#undef CATEGORIES
	default:
		return NULL;
	}
}

/* In the order in which Redis shows them. */
enum { BY_GROUP, BY_FLAG, BY_NO_FLAG };
static const struct { uint8_t by; uint32_t what; const char *name; } categories[] = {
	{ BY_GROUP, G_GENERIC, "@keyspace" }, { BY_FLAG, F_READONLY, "@read" }, { BY_FLAG, F_WRITE, "@write" },
	{ BY_GROUP, G_SET, "@set" }, { BY_GROUP, G_ZSET, "@sortedset" }, { BY_GROUP, G_LIST, "@list" },
	{ BY_GROUP, G_HASH, "@hash" }, { BY_GROUP, G_STRING, "@string" }, { BY_GROUP, G_BITMAP, "@bitmap" },
	{ BY_GROUP, G_HYPERLOGLOG, "@hyperloglog" }, { BY_GROUP, G_GEO, "@geo" },
	{ BY_GROUP, G_STREAM, "@stream" }, { BY_FLAG, F_PUBSUB, "@pubsub" }, { BY_FLAG, F_ADMIN, "@admin" },
	{ BY_FLAG, F_FAST, "@fast" }, { BY_NO_FLAG, F_FAST, "@slow" }, { BY_FLAG, F_BLOCKING, "@blocking" },
	{ BY_FLAG, F_ADMIN, "@dangerous" }, { BY_GROUP, G_CONNECTION, "@connection" },
	{ BY_GROUP, G_TRANSACTIONS, "@transaction" }, { BY_GROUP, G_SCRIPTING, "@scripting" },
};

void cmd_categories(const struct command *c, char *buf, size_t len)
{
	const char *own = own_categories(c);
	size_t n = 0;

	snprintf(buf, len, "%s", own ? own : "");
	for (size_t i = 0; !own && i < sizeof categories / sizeof *categories && n < len; i++) {
		bool has = (c->flags & categories[i].what) != 0;

		if (categories[i].by == BY_GROUP) /* of a container only its subcommands have one */
			has = c->group == categories[i].what && !(c->flags & F_CONTAINER);
		else if (categories[i].by == BY_NO_FLAG)
			has = !has;
		else if (categories[i].what == F_READONLY && c->group == G_SCRIPTING)
			has = false; /* a script that reads is no @read to Redis */
		if (has)
			n += (size_t)snprintf(buf + n, len - n, "%s%s", n ? " " : "", categories[i].name);
	}
}
