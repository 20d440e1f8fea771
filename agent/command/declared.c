/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "command/declared.h"

struct declared {
	struct declared *next;
	struct command row;
	char name[64];
};

struct cmd_declarations {
	struct declared *rows;
	_Atomic(const char *) name[CMD_DECLARED_MAX];
	uint32_t n;
};

struct cmd_declarations *cmd_declarations_new(void)
{
	return calloc(1, sizeof(struct cmd_declarations));
}

void cmd_declarations_free(struct cmd_declarations *d)
{
	struct declared *r;

	while (d && (r = d->rows)) {
		d->rows = r->next;
		free(r);
	}
	free(d);
}

static bool same(const struct command *a, const struct command *b)
{
	return a->arity == b->arity && a->flags == b->flags && a->perm == b->perm && a->transform == b->transform &&
	    a->retry == b->retry && a->first == b->first && a->last == b->last && a->step == b->step &&
	    a->more == b->more && strcmp(a->name, b->name) == 0;
}

const struct command *cmd_declare(struct cmd_declarations *d, const struct command *row)
{
	struct declared *r;
	uint32_t k = 0;

	for (r = d->rows; r; r = r->next)
		if (same(&r->row, row))
			return &r->row;
	while (k < d->n && strcmp(atomic_load(&d->name[k]), row->name))
		k++;
	if (k == CMD_DECLARED_MAX || strlen(row->name) >= sizeof r->name || !(r = calloc(1, sizeof *r)))
		return NULL;
	memcpy(r->name, row->name, strlen(row->name));
	r->row = *row;
	r->row.name = r->name;
	r->row.name_len = (uint8_t)strlen(r->name);
	r->row.id = (uint16_t)(CMD_COUNT + 1 + k);
	r->next = d->rows;
	d->rows = r;
	if (k == d->n) {
		atomic_store_explicit(&d->name[k], r->name, memory_order_release);
		d->n++;
	}
	return &r->row;
}

const char *cmd_declared_name(const struct cmd_declarations *d, uint16_t id)
{
	const char *name = d && id > CMD_COUNT && id < CMD_IDS ?
	    atomic_load_explicit(&d->name[id - CMD_COUNT - 1], memory_order_acquire) : NULL;

	return name ? name : "";
}
