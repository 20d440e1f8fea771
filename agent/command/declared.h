/* SPDX-License-Identifier: Apache-2.0
 *
 * command/declared: commands of modules, which somebody has described.  In: a row.  Out: a row that stays, with a
 * number behind those of commands.def that its name keeps: whoever holds one may go on after a reload.
 */
#ifndef COMMAND_DECLARED_H
#define COMMAND_DECLARED_H
#include "command/command.h"

/* One thread declares; names may be asked for by any. */
struct cmd_declarations;
struct cmd_declarations *cmd_declarations_new(void);
void cmd_declarations_free(struct cmd_declarations *d);
/* The row as it stays; the same one for what was declared just so before.  NULL: no memory, or there are
 * CMD_DECLARED_MAX names already. */
const struct command *cmd_declare(struct cmd_declarations *d, const struct command *row);
const char *cmd_declared_name(const struct cmd_declarations *d, uint16_t id); /* "": nobody's */
#endif
