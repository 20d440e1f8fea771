/* SPDX-License-Identifier: Apache-2.0
 *
 * backend/loader: from a name in the configuration to a checked plugin.  What comes in is a name
 * and the directories to look in; what goes out is the plugin's facts in this agent's own layout,
 * or one sentence that says why not.  Objects are never unloaded (contract, rule 18), so what a
 * plugin declares stays readable for the life of the process.
 */
#ifndef BACKEND_LOADER_H
#define BACKEND_LOADER_H
#include <stdio.h>
#include <purser/plugin.h>

#include "base/buf.h"

/* Where bare names are looked for, in this order; members may be NULL.  Behind them come
 * PURSER_PLUGIN_PATH (with colons; not in a set-id process), for a purserd in its build tree the plugins
 * of that tree, and the compiled PLUGINDIR. */
struct plugin_path {
	const char *option; /* --plugin-dir */
	const char *key;    /* plugin_dir of [agent] */
};

struct plugin {
	/* The plugin's table; what it is too old to have is zero.  The arrays are copies too, each
	 * element in this agent's size: p.keys[i], p.ops[i] and p.metrics[i] are right for every i.
	 * open, flush, resume, cancel, session_end, drain and close are never NULL (they do nothing
	 * then; such an open gives the instance's state). */
	purser_plugin p;
	char *path; /* of the object, absolute */
	purser_key *keys;
	purser_op *ops;
	purser_metric *metrics;
};

static inline const purser_key *plugin_key(const struct plugin *pl, uint32_t i)
{
	return &pl->keys[i];
}
static inline const purser_op *plugin_op(const struct plugin *pl, uint32_t i)
{
	return &pl->ops[i];
}
static inline const purser_metric *plugin_metric(const struct plugin *pl, uint32_t i)
{
	return &pl->metrics[i];
}

/* name: bare ("redis" is redis.so in one of the directories) or an absolute path.  0 and *out
 * (owned: plugin_free), or -1 and a text appended to err. */
int plugin_load(const char *name, const struct plugin_path *paths, struct plugin **out,
    struct buf *err);
/* The same for a table that is linked in: checks it and brings it into shape.  path: for texts. */
int plugin_adopt(const purser_plugin *theirs, const char *path, struct plugin **out,
    struct buf *err);
void plugin_free(struct plugin *pl); /* forgets the copy; the object stays */

/* The name of capability bit 0..63, or NULL. */
const char *plugin_cap_name(unsigned bit);
/* All that it declares, as key=value lines (purserd --dump-plugin). */
void plugin_dump(FILE *f, const struct plugin *pl);
#endif
