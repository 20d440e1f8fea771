/* SPDX-License-Identifier: Apache-2.0
 *
 * Plugins with one thing wrong each: built once for every name below, with -DBAD_name.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <time.h>
#include <purser/plugin.h>

static const purser_host *host;

__attribute__((unused)) static int start(
	const purser_host *h, purser_instance *i, void **state, purser_error *e)
{
	(void)i;
	(void)state;
	host = h;
#ifdef BAD_start_fails
	snprintf(e->text, sizeof(e->text), "the reactor is cold");
	return -1;
#else
	(void)e;
	return 0;
#endif
}

__attribute__((unused)) static void stop(void *state)
{
	(void)state;
}

__attribute__((unused)) static int submit(void *cs, purser_call *c)
{
	(void)cs;
#if defined(BAD_failing) /* by the rules: nothing of the contract is broken, but nothing works */
	host->fail(c, PURSER_E_CONNECT, PURSER_NOT_EXECUTED, "no store today");
	return PURSER_DONE;
#elif defined(BAD_slow) /* says INLINE, and sleeps */
	nanosleep(&(struct timespec){ 0, 300000000 }, NULL);
#endif
	host->null(c);
	host->end(c);
	return PURSER_DONE;
}

static const purser_op ops[] = { { "GET", NULL }, { "SET", NULL },
#ifdef BAD_null_op
	{ NULL, NULL },
#elif defined(BAD_op_name)
	{ "get|x", NULL },
#elif defined(BAD_op_twice)
	{ "GET", NULL },
#else
	{ "DEL", NULL },
#endif
};

static const purser_key keys[] = { { .name = "pool_max",
	.type = PURSER_KEY_INT,
	.min = 1,
	.max = 10,
#ifdef BAD_default
	.def = "11",
	.doc = "The most links." } };
#else
	.def = "10",
	.doc = "The most links." } };
#endif

static const purser_plugin plugin = {
	.struct_size = sizeof(plugin),
#if defined(BAD_old_api)
	.api = PURSER_API - 1,
#elif defined(BAD_next_api)
	.api = PURSER_API + 1,
#else
		.api = PURSER_API,
#endif
	.name = "bad", .version = "1", .summary = "broken on purpose", .model = PURSER_INLINE,
	.ops = ops, .nops = 3, .keys = keys, .nkeys = 1, .key_stride = sizeof(*keys),
#ifndef BAD_stride
	.op_stride = sizeof(*ops),
#endif
#ifdef BAD_no_stats
	.caps = PURSER_CAP_MEMORY_INFO,
#endif
	.start = start,
#ifndef BAD_no_submit
	.submit = submit,
#endif
#ifndef BAD_no_stop
	.stop = stop,
#endif
};

#if defined(BAD_no_init) /* a shared object, but no plugin */
PURSER_EXPORT const purser_plugin *another_name(void);
PURSER_EXPORT const purser_plugin *another_name(void)
{
	return &plugin;
}
#elif defined(BAD_null_init)
PURSER_EXPORT const purser_plugin *purser_plugin_init(void);
PURSER_EXPORT const purser_plugin *purser_plugin_init(void)
{
	return plugin.nops ? NULL : &plugin;
}
#else
PURSER_PLUGIN(plugin);
#endif
