/* SPDX-License-Identifier: Apache-2.0
 *
 * What happens when a key has changed: see event.h.
 */
#include "event.h"

void key_event(struct ctx *cx, uint32_t db, purser_bytes key, enum event_class class, const char *name)
{
	(void)db;
	(void)key;
	(void)class;
	(void)name;
	count_add(&cx->led->changes, 1);
}
