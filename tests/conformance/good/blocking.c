/* SPDX-License-Identifier: Apache-2.0
 * The example as a BLOCKING plugin that takes its time over every write. */
#define _GNU_SOURCE /* for the example */
#include <purser/plugin.h>
#undef PURSER_PLUGIN
#define PURSER_PLUGIN(p) typedef int purser_plugin_end_
#include "../../../plugins/example/example.c"
#include <unistd.h>

static int slow_set(void *cs, purser_call *c)
{
	usleep(300);
	return submit(cs, c);
}

static const purser_op blocking_ops[] = { { "GET", NULL }, { "SET", slow_set }, { "DEL", NULL },
	{ "EXISTS", NULL } };
static purser_plugin blocking;

PURSER_EXPORT const purser_plugin *purser_plugin_init(void);
PURSER_EXPORT const purser_plugin *purser_plugin_init(void)
{
	blocking = plugin;
	blocking.name = "blocking";
	blocking.model = PURSER_BLOCKING;
	blocking.max_parallel = 2;
	blocking.ops = blocking_ops;
	return &blocking;
}
