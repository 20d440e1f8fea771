/* SPDX-License-Identifier: Apache-2.0
 *
 * access/role: what somebody may do in a project.  In: the built-in roles and the [role NAME] sections.
 * Out: a set of permissions, perhaps narrowed by key patterns and by lists of commands.
 */
#ifndef ACCESS_ROLE_H
#define ACCESS_ROLE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <purser/plugin.h>
#include "command/command.h"

#define ROLE_NAME_MAX 64u
#define PERM_BIT(perm) (1u << (perm))  /* of an enum cmd_perm */

enum role_can { ROLE_CAN_READ = 1, ROLE_CAN_WRITE = 2 };
struct role_pattern {
	char *glob;             /* of logical key names */
	uint8_t can;            /* enum role_can */
};

struct role {                   /* of one configuration generation; immutable */
	char name[ROLE_NAME_MAX + 1];
	uint32_t perms;         /* PERM_BIT()s; PERM_ANY is always among them */
	bool narrow;            /* permissions alone do not decide: access_decide() must look at the words */
	bool by_key, by_command;
	struct role_pattern *patterns;  /* by_key: a key must match one */
	uint32_t npatterns;
	uint64_t commands[(CMD_IDS + 63) / 64]; /* by_command: these alone */
};

/* reader, writer, admin, operator; NULL: no built-in role of that name. */
const struct role *role_builtin(const char *name);
extern const struct role role_writer, role_operator;

static inline bool role_has_command(const struct role *r, uint16_t id)
{
	return !r->by_command || (r->commands[id / 64] >> id % 64 & 1);
}

/* May somebody with this role do all of `can` (enum role_can) to the key?  Without patterns: yes. */
bool role_has_key(const struct role *r, purser_bytes key, uint8_t can);
/* ... to any key whatever? */
bool role_has_every_key(const struct role *r, uint8_t can);
/* Do the two allow the same? */
bool role_same(const struct role *a, const struct role *b);
void role_clear(struct role *r); /* what it holds */
#endif
