/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdlib.h>
#include <string.h>
#include <purser/glob.h>
#include "access/role.h"

enum {
	READER = PERM_BIT(PERM_ANY) | PERM_BIT(PERM_READ),
	WRITER = READER | PERM_BIT(PERM_WRITE) | PERM_BIT(PERM_PUBSUB) | PERM_BIT(PERM_SCRIPT),
	ADMIN = WRITER | PERM_BIT(PERM_ADMIN),
	OPERATOR = ADMIN | PERM_BIT(PERM_OPERATE)
};

static const struct role reader = { .name = "reader", .perms = READER };
static const struct role admin = { .name = "admin", .perms = ADMIN };
const struct role role_writer = { .name = "writer", .perms = WRITER };
const struct role role_operator = { .name = "operator", .perms = OPERATOR };

const struct role *role_builtin(const char *name)
{
	static const struct role *const all[] = { &reader, &role_writer, &admin, &role_operator };

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (!strcmp(all[i]->name, name))
			return all[i];
	return NULL;
}

/* One pattern need not allow all: "reads" of one and "writes" of another do together, as in Redis. */
bool role_has_key(const struct role *r, purser_bytes key, uint8_t can)
{
	uint8_t left = can;

	if (!r->by_key)
		return true;
	for (uint32_t i = 0; left && i < r->npatterns; i++) {
		const struct role_pattern *p = &r->patterns[i];

		if (p->can & left && (!strcmp(p->glob, "*") || purser_glob(p->glob, strlen(p->glob), key.p, key.n)))
			left &= (uint8_t)~p->can;
	}
	return !left;
}

bool role_has_every_key(const struct role *r, uint8_t can)
{
	uint8_t left = can;

	if (!r->by_key)
		return true;
	for (uint32_t i = 0; left && i < r->npatterns; i++)
		if (!strcmp(r->patterns[i].glob, "*"))
			left &= (uint8_t)~r->patterns[i].can;
	return !left;
}

bool role_same(const struct role *a, const struct role *b)
{
	if (a == b)
		return true;
	if (!a || !b || a->perms != b->perms || a->by_key != b->by_key || a->by_command != b->by_command ||
	    a->npatterns != b->npatterns || memcmp(a->commands, b->commands, sizeof a->commands) != 0)
		return false;
	for (uint32_t i = 0; i < a->npatterns; i++)
		if (a->patterns[i].can != b->patterns[i].can || strcmp(a->patterns[i].glob, b->patterns[i].glob))
			return false;
	return true;
}

void role_clear(struct role *r)
{
	for (uint32_t i = 0; i < r->npatterns; i++)
		free(r->patterns[i].glob);
	free(r->patterns);
	memset(r, 0, sizeof *r);
}
