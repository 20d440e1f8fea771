/* SPDX-License-Identifier: Apache-2.0
 *
 * backend/loader: what a plugin declares, as text (purserd --dump-plugin NAME).  One fact a line,
 * name=value; lists have one line an element.
 */
#include <config.h>
#include "backend/loader.h"

#include <inttypes.h>

#include "config/value.h"

static const char *const caps[64] = {
	[0] = "KV",
	[1] = "TTL",
	[2] = "SCAN",
	[3] = "HASH",
	[4] = "LIST",
	[5] = "SET",
	[6] = "ZSET",
	[7] = "STREAM",
	[8] = "BLOCKING",
	[9] = "BATCH",
	[10] = "WATCH",
	[11] = "SCRIPT",
	[12] = "PUBSUB",
	[13] = "TRACKING",
	[14] = "MEMORY_INFO",
	[15] = "INFO",
	[32] = "ANY_COMMAND",
	[33] = "KEEPS_DATA",
	[34] = "ENDS_INSIDE",
	[35] = "QUOTA",
	[36] = "CONFINES",
	[37] = "TELLS_NULLS",
};
_Static_assert(PURSER_CAP_INFO == UINT64_C(1) << 15 && PURSER_CAP_TELLS_NULLS == UINT64_C(1) << 37,
    "the list above follows the header");

const char *plugin_cap_name(unsigned bit)
{
	return bit < 64 ? caps[bit] : NULL;
}

/* What a value of the type is counted in, as it is written in the INI file. */
static const char *unit_of(uint32_t type)
{
	switch (type) {
	case PURSER_KEY_DURATION: return "ms s m h";
	case PURSER_KEY_SIZE: return "B KiB MiB GiB";
	case PURSER_KEY_TEXT: case PURSER_KEY_PATH: case PURSER_KEY_URL: return "bytes";
	default: return "";
	}
}

static void dump_bound(FILE *f, const purser_key *k, const char *which, int64_t v)
{
	char text[64];

	value_format((enum value_type)k->type, v, text, sizeof(text));
	if (k->type == PURSER_KEY_TEXT || k->type == PURSER_KEY_PATH || k->type == PURSER_KEY_URL)
		snprintf(text, sizeof(text), "%" PRId64, v); /* of the length */
	fprintf(f, "setting.%s.%s=%s\n", k->name, which, text);
}

static void dump_key(FILE *f, const purser_key *k)
{
	static const char *const types[] = { "", "text", "int", "bool", "duration", "size", "enum",
		"path", "url" };
	static const struct { uint32_t bit; const char *name; } flags[] = {
		{ PURSER_KEY_REQUIRED, "required" }, { PURSER_KEY_SECRET, "secret" },
		{ PURSER_KEY_RELOADABLE, "reloadable" }, { PURSER_KEY_PUBLIC, "public" },
	};
	const char *gap = "";

	fprintf(f, "setting.%s.type=%s\n", k->name, types[k->type]);
	if (*unit_of(k->type))
		fprintf(f, "setting.%s.unit=%s\n", k->name, unit_of(k->type));
	if (k->type == PURSER_KEY_ENUM)
		fprintf(f, "setting.%s.choices=%s\n", k->name, k->choices);
	if (k->min || k->max) {
		dump_bound(f, k, "min", k->min);
		dump_bound(f, k, "max", k->max);
	}
	if (k->def)
		fprintf(f, "setting.%s.default=%s\n", k->name, k->def);
	fprintf(f, "setting.%s.flags=", k->name);
	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
		if (k->flags & flags[i].bit) {
			fprintf(f, "%s%s", gap, flags[i].name);
			gap = " ";
		}
	}
	fputc('\n', f);
	fprintf(f, "setting.%s.doc=%s\n", k->name, k->doc);
}

void plugin_dump(FILE *f, const struct plugin *pl)
{
	static const char *const kinds[] = { "", "counter", "updown", "gauge" };
	const purser_plugin *p = &pl->p;
	const char *gap = "";

	fprintf(f, "name=%s\nversion=%s\nsummary=%s\napi=%u\npath=%s\n", p->name, p->version,
		p->summary, p->api, pl->path);
	fprintf(f, "model=%s\n", p->model == PURSER_INLINE ? "INLINE" : "BLOCKING");
	fprintf(f, "args=%s\n", p->args == PURSER_ARGS_WIRE ? "WIRE" : "ARGV");
	fprintf(f, "max_parallel=%u\n", p->max_parallel);
	fprintf(f, "capabilities=");
	for (unsigned bit = 0; bit < 64; bit++) {
		if (!(p->caps >> bit & 1))
			continue;
		if (caps[bit])
			fprintf(f, "%s%s", gap, caps[bit]);
		else
			fprintf(f, "%s%u", gap, bit); /* of a newer header */
		gap = " ";
	}
	fputc('\n', f);
	for (uint32_t i = 0; i < p->nkeys; i++)
		dump_key(f, &p->keys[i]);
	for (uint32_t i = 0; i < p->nops; i++)
		fprintf(f, "command=%s\n", p->ops[i].name);
	for (uint32_t i = 0; i < p->nmetrics; i++) {
		const purser_metric *m = &p->metrics[i];

		fprintf(f, "metric.%s.kind=%s\nmetric.%s.unit=%s\nmetric.%s.doc=%s\n", m->name,
		    kinds[m->kind], m->name, m->unit, m->name, m->doc);
	}
}
