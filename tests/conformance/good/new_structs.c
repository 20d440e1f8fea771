/* SPDX-License-Identifier: Apache-2.0
 * The example, as if built with a header of the future: the same API number, but larger structs and
 * larger strides.  Must load and work. */
#define _GNU_SOURCE /* for the example */
#include <purser/plugin.h>
#undef PURSER_PLUGIN
#define PURSER_PLUGIN(p) typedef int purser_plugin_end_
#include "../../../plugins/example/example.c"

#define FUTURE { UINT64_MAX, UINT64_MAX, UINT64_MAX }
static struct { purser_plugin p; uint64_t future[3]; } big = { .future = FUTURE };
static struct { purser_key k; uint64_t future[3]; } big_keys[] = { { .future = FUTURE } };
static struct { purser_op o; uint64_t future[3]; } big_ops[] = { { .future = FUTURE },
	{ .future = FUTURE }, { .future = FUTURE }, { .future = FUTURE } };

PURSER_EXPORT const purser_plugin *purser_plugin_init(void);
PURSER_EXPORT const purser_plugin *purser_plugin_init(void)
{
	big.p = plugin;
	big.p.struct_size = sizeof(big);
	big.p.name = "new_structs";
	big_keys[0].k = keys[0];
	big.p.keys = &big_keys[0].k;
	big.p.key_stride = sizeof(big_keys[0]);
	for (int i = 0; i < 4; i++)
		big_ops[i].o = ops[i];
	big.p.ops = &big_ops[0].o;
	big.p.op_stride = sizeof(big_ops[0]);
	return &big.p;
}
