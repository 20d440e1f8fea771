/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <string.h>
#include <strings.h>
#include "base/errors.h"
#include "command/command.h"

const struct cmd_refusal cmd_refusals[] = {
#define REFUSED(name, err, text) { name, ERR_##err, text },
#include "command/refused.def"
#undef REFUSED
};
const uint32_t cmd_nrefusals = sizeof cmd_refusals / sizeof *cmd_refusals;

static bool is(purser_bytes w, const char *name, size_t n)
{
	return w.n == n && strncasecmp((const char *)w.p, name, n) == 0;
}

const struct cmd_refusal *cmd_refused(const purser_bytes *argv, uint32_t argc)
{
	for (uint32_t i = 0; i < cmd_nrefusals; i++) {
		const char *name = cmd_refusals[i].name, *bar = strchr(name, '|');

		if (!is(argv[0], name, bar ? (size_t)(bar - name) : strlen(name)))
			continue;
		if (!bar || (argc > 1 && is(argv[1], bar + 1, strlen(bar + 1))))
			return &cmd_refusals[i];
	}
	return NULL;
}

bool cmd_refused_container(purser_bytes name)
{
	for (uint32_t i = 0; i < cmd_nrefusals; i++) {
		const char *bar = strchr(cmd_refusals[i].name, '|');

		if (bar && is(name, cmd_refusals[i].name, (size_t)(bar - cmd_refusals[i].name)))
			return true;
	}
	return false;
}
