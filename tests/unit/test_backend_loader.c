/* SPDX-License-Identifier: Apache-2.0
 *
 * The loader: where it looks, how it brings a table into shape, what it says of one.  What it
 * refuses is tried with real files by tests/conformance/40-refused.sh.
 */
#include <config.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "backend/loader.h"
#include "backend/schema.h"

/* ---- a plugin that is linked in -------------------------------------------------------------- */

static int t_start(const purser_host *h, purser_instance *i, void **state, purser_error *e)
{
	(void)h, (void)i, (void)state, (void)e;
	return 0;
}
static void t_stop(void *state) { (void)state; }
static int t_submit(void *cs, purser_call *c) { (void)cs, (void)c; return PURSER_DONE; }
static int t_prepare(void *state, purser_error *e) { (void)state, (void)e; return 0; }
static void t_adopt(void *state, int commit) { (void)state, (void)commit; }

static purser_op ops[2];
static purser_key keys[5];
static purser_metric metrics[1];
static purser_plugin table;

static void reset(void)
{
	const purser_key k[] = {
		{ "url", PURSER_KEY_URL, PURSER_KEY_REQUIRED, 0, 0, NULL, NULL, "The store." },
		{ "wait", PURSER_KEY_DURATION, PURSER_KEY_RELOADABLE, 1000000, INT64_C(10000000000),
			"250ms", NULL, "How long." },
		{ "room", PURSER_KEY_SIZE, PURSER_KEY_RELOADABLE, 0, 0, "64KiB", NULL,
			"How much." },
		{ "policy", PURSER_KEY_ENUM, 0, 0, 0, "last", "first|last", "Who goes." },
		{ "password", PURSER_KEY_TEXT, PURSER_KEY_SECRET, 1, 128, NULL, NULL, "Hidden." },
	};

	ops[0] = (purser_op){ "GET", NULL };
	ops[1] = (purser_op){ "OBJECT|FREQ", NULL };
	memcpy(keys, k, sizeof(keys));
	metrics[0] = (purser_metric){ "links", "{link}", "Links.", PURSER_METRIC_UPDOWN };
	table = (purser_plugin){ .struct_size = sizeof(table),
		.api = PURSER_API,
		.name = "t",
		.version = "1.2",
		.summary = "For tests",
		.caps = PURSER_CAP_KV | PURSER_CAP_ANY_COMMAND | UINT64_C(1) << 50,
		.model = PURSER_INLINE,
		.keys = keys,
		.nkeys = 5,
		.key_stride = sizeof(*keys),
		.ops = ops,
		.nops = 2,
		.op_stride = sizeof(*ops),
		.metrics = metrics,
		.nmetrics = 1,
		.metric_stride = sizeof(*metrics),
		.start = t_start,
		.stop = t_stop,
		.submit = t_submit,
		.prepare = t_prepare,
		.adopt = t_adopt };
}

static void refused(const char *words)
{
	struct plugin *pl = NULL;
	struct buf err = { .max = 4096 };

	assert_int_equal(plugin_adopt(&table, "/t.so", &pl, &err), -1);
	assert_null(pl);
	if (!strstr(buf_cstr(&err), words))
		fail_msg("\"%s\" does not say: %s", buf_cstr(&err), words);
	assert_non_null(strstr(buf_cstr(&err), "/t.so"));
	buf_free(&err);
	reset();
}

static struct plugin *adopted(void)
{
	struct plugin *pl = NULL;
	struct buf err = { .max = 4096 };

	if (plugin_adopt(&table, "/t.so", &pl, &err) < 0)
		fail_msg("%s", buf_cstr(&err));
	buf_free(&err);
	return pl;
}

static void test_shape(void **state)
{
	struct plugin *pl;
	void *cs = NULL;
	int here;

	(void)state;
	reset();
	pl = adopted();
	assert_ptr_not_equal(pl->p.keys, keys);
	assert_string_equal(plugin_key(pl, 4)->name, "password");
	assert_string_equal(plugin_op(pl, 1)->name, "OBJECT|FREQ");
	assert_string_equal(plugin_metric(pl, 0)->name, "links");
	assert_int_equal(schema_find_key(pl, "room"), 2);
	assert_int_equal(schema_find_key(pl, "Room"), -1);
	assert_int_equal(schema_find_op(pl, "object|freq"), 1);
	assert_int_equal(schema_find_op(pl, "SET"), -1);
	/* What it leaves out does nothing, and open gives the instance's state. */
	assert_int_equal(pl->p.open(&here, NULL, &cs, NULL), 0);
	assert_ptr_equal(cs, &here);
	pl->p.flush(cs);
	pl->p.drain(cs);
	pl->p.cancel(cs, NULL, 0);
	pl->p.resume(cs, NULL, 0);
	pl->p.session_end(cs, NULL, NULL);
	pl->p.close(cs);
	assert_null(pl->p.credential);
	assert_null(pl->p.stats);
	plugin_free(pl);
	plugin_free(NULL);
}

static void test_larger(void **state)
{
	static struct { purser_plugin p; uint64_t more[4]; } big;
	static struct { purser_key k; uint64_t more[2]; } big_keys[2];
	static struct { purser_op o; uint64_t more; } big_ops[2];
	struct plugin *pl = NULL;
	struct buf err = { 0 };

	(void)state;
	reset();
	big_keys[0].k = keys[1];
	big_keys[1].k = keys[3];
	big_ops[0].o = ops[0];
	big_ops[1].o = ops[1];
	memset(big_keys[0].more, 0xff, sizeof(big_keys[0].more));
	big_ops[0].more = UINT64_MAX;
	big.p = table;
	big.p.struct_size = sizeof(big);
	big.p.keys = &big_keys[0].k;
	big.p.nkeys = 2;
	big.p.key_stride = sizeof(big_keys[0]);
	big.p.ops = &big_ops[0].o;
	big.p.op_stride = sizeof(big_ops[0]);
	assert_int_equal(plugin_adopt(&big.p, "/t.so", &pl, &err), 0);
	assert_string_equal(pl->p.keys[1].name, "policy");
	assert_string_equal(pl->p.ops[1].name, "OBJECT|FREQ");
	assert_int_equal(pl->p.struct_size, sizeof(big));
	plugin_free(pl);
}

static void test_table_refused(void **state)
{
	(void)state;
	reset();
	table.api = 7;
	table.struct_size = 0; /* means nothing then */
	refused("was built for plugin API 7, this agent has API 1");
	table.struct_size = 100;
	refused("struct_size is 100");
	table.name = "Bad Name";
	refused("its name is \"Bad Name\"");
	table.name = NULL;
	refused("its name is NULL");
	table.version = "";
	refused("version is NULL, empty");
	table.summary = "two\nlines";
	refused("summary is NULL, empty or has control characters");
	table.model = 9;
	refused("model is 9");
	table.args = 4;
	refused("args is 4");
	table.model = PURSER_BLOCKING;
	table.args = PURSER_ARGS_WIRE;
	refused("takes its arguments as PURSER_ARGS_ARGV");
	table.max_parallel = 3;
	refused("max_parallel is for PURSER_BLOCKING");
	table.nops = 0;
	table.caps = PURSER_CAP_KV;
	refused("it lists no commands");
	table.nops = 100000;
	refused("declares 100000 commands");
	table.keys = NULL;
	refused("its array of settings is NULL");
	table.op_stride = 12;
	refused("its array of commands is misshapen");
	table.start = NULL;
	refused("the callback start is missing");
	table.adopt = NULL;
	refused("the callback adopt is missing");
	table.prepare = NULL;
	table.adopt = NULL;
	refused("the callback prepare is missing (a setting is reloadable)");
	table.args = PURSER_ARGS_WIRE;
	refused("the callback flush is missing (args is PURSER_ARGS_WIRE)");
	table.caps |= PURSER_CAP_PUBSUB;
	refused("the callback subscribe is missing");
	table.submit = NULL;
	ops[0].run = ops[1].run = t_submit;
	refused("the callback submit is missing (batches and unlisted commands");
	metrics[0].kind = 4;
	refused("metric links has kind 4");
	metrics[0].unit = NULL;
	refused("metric links has no unit");
}

static void test_settings_refused(void **state)
{
	(void)state;
	reset();
	keys[0].name = "Url";
	refused("a setting is called \"Url\"");
	keys[0].name = NULL;
	refused("a setting is called NULL");
	keys[0].name = "plugin";
	refused("the setting \"plugin\" is the agent's own");
	keys[0].name = "room";
	refused("setting room is declared twice");
	keys[0].type = 99;
	refused("setting url has type 99");
	keys[0].doc = NULL;
	refused("setting url has no doc");
	keys[0].def = "http://x";
	refused("setting url is required and has a default");
	keys[4].def = "hunter2";
	refused("setting password is a secret and has a default");
	keys[1].min = 5;
	keys[1].max = 4;
	refused("setting wait: min 5 is more than max 4");
	keys[1].def = "250";
	refused("setting wait: its own default is not valid");
	keys[1].def = "11s";
	refused("setting wait: its own default is not valid");
	keys[3].choices = NULL;
	refused("setting policy: choices");
	keys[3].choices = "first||last";
	refused("setting policy: choices");
	keys[3].choices = "last|last";
	refused("setting policy: choices");
	keys[3].def = "middle";
	refused("setting policy: its own default");
}

static void test_value(void **state)
{
	char why[200];
	int64_t v = 0;

	(void)state;
	reset();
	assert_int_equal(schema_value(&keys[1], "2s", &v, why, sizeof(why)), 0);
	assert_int_equal(v, 2000000000);
	assert_int_equal(schema_value(&keys[2], "1MiB", &v, why, sizeof(why)), 0);
	assert_int_equal(v, 1 << 20);
	assert_int_equal(schema_value(&keys[3], "last", &v, why, sizeof(why)), 0);
	assert_int_equal(v, 1);
	assert_int_equal(schema_value(&keys[1], "20s", &v, why, sizeof(why)), -1);
	assert_true(*why);
	assert_int_equal(schema_value(&keys[2], "64", &v, why, sizeof(why)), -1);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* An object that dlopen refuses says enough about which file was found. */
static void put(const char *dir, const char *name)
{
	char path[256];
	FILE *f;

	mkdir(dir, 0755);
	snprintf(path, sizeof(path), "%s/%s.so", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("not an object", f);
	fclose(f);
}

static void load_says(
	const char *name, const struct plugin_path *paths, const char *first, const char *second)
{
	struct plugin *pl = NULL;
	struct buf err = { .max = 1 << 16 };

	assert_int_equal(plugin_load(name, paths, &pl, &err), -1);
	if (!strstr(buf_cstr(&err), first) || !strstr(buf_cstr(&err), second))
		fail_msg("\"%s\" does not say: %s ... %s", buf_cstr(&err), first, second);
	buf_free(&err);
}

static void test_search(void **state)
{
	char top[] = "/tmp/purser-test.XXXXXX", dir[4][64], text[4500];
	struct plugin_path paths;

	(void)state;
	assert_non_null(mkdtemp(top));
	for (int i = 0; i < 4; i++) {
		snprintf(dir[i], sizeof(dir[i]), "%s/%d", top, i);
		mkdir(dir[i], 0755);
	}
	paths = (struct plugin_path){ dir[0], dir[1] };
	snprintf(text, sizeof(text), "%s::%s", dir[2], dir[3]);
	setenv("PURSER_PLUGIN_PATH", text, 1);
	/* Nowhere: all places are told, in their order. */
	snprintf(text, sizeof(text), "%s/x.so, %s/x.so, ", dir[0], dir[1]);
	load_says("x", &paths, "plugin \"x\" not found; looked for ", text);
	snprintf(text, sizeof(text), "%s/x.so, %s/x.so, " PLUGINDIR "/x.so", dir[2], dir[3]);
	load_says("x", NULL, "looked for ", text);
	/* From the last to the first: each is preferred to those behind it. */
	for (int i = 3; i >= 0; i--) {
		put(dir[i], "x");
		snprintf(text, sizeof(text), "plugin %s/x.so cannot be loaded", dir[i]);
		load_says("x", &paths, text, "");
	}
	snprintf(text, sizeof(text), "%s/x.so", dir[2]);
	load_says(text, &paths, text, "cannot be loaded");
	load_says("/nowhere/x.so", &paths, "plugin /nowhere/x.so does not exist", "");
	load_says("../x", &paths, "\"../x\" is no plugin", "absolute path");
	load_says("", &paths, "is no plugin", "");
	/* One that must not be loaded is not passed over. */
	snprintf(text, sizeof(text), "%s/x.so", dir[0]);
	chmod(text, 0646);
	load_says("x", &paths, text, "is world-writable");
	for (int i = 0; i < 4; i++) {
		snprintf(text, sizeof(text), "%s/x.so", dir[i]);
		unlink(text);
		rmdir(dir[i]);
	}
	rmdir(top);
}

static void test_dump(void **state)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	struct plugin *pl;

	(void)state;
	reset();
	pl = adopted();
	plugin_dump(f, pl);
	fclose(f);
	plugin_free(pl);
	assert_string_equal(text,
		"name=t\nversion=1.2\nsummary=For "
		"tests\napi=1\npath=/t.so\nmodel=INLINE\nargs=ARGV\nmax_parallel=0\n"
		"capabilities=KV ANY_COMMAND 50\n"
		"setting.url.type=url\nsetting.url.unit=bytes\nsetting.url.flags=required\nsetting."
		"url.doc=The store.\n"
		"setting.wait.type=duration\nsetting.wait.unit=ms s m "
		"h\nsetting.wait.min=1ms\nsetting.wait.max=10s\n"
		"setting.wait.default=250ms\nsetting.wait.flags=reloadable\nsetting.wait.doc=How "
		"long.\n"
		"setting.room.type=size\nsetting.room.unit=B KiB MiB "
		"GiB\nsetting.room.default=64KiB\n"
		"setting.room.flags=reloadable\nsetting.room.doc=How much.\n"
		"setting.policy.type=enum\nsetting.policy.choices=first|last\nsetting.policy."
		"default=last\n"
		"setting.policy.flags=\nsetting.policy.doc=Who goes.\n"
		"setting.password.type=text\nsetting.password.unit=bytes\nsetting.password.min=1\n"
		"setting.password.max=128\nsetting.password.flags=secret\nsetting.password.doc="
		"Hidden.\n"
		"command=GET\ncommand=OBJECT|FREQ\n"
		"metric.links.kind=updown\nmetric.links.unit={link}\nmetric.links.doc=Links.\n");
	free(text);
	assert_string_equal(plugin_cap_name(0), "KV");
	assert_string_equal(plugin_cap_name(34), "ENDS_INSIDE");
	assert_null(plugin_cap_name(50));
	assert_null(plugin_cap_name(64));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shape),
		cmocka_unit_test(test_larger),
		cmocka_unit_test(test_table_refused),
		cmocka_unit_test(test_settings_refused),
		cmocka_unit_test(test_value),
		cmocka_unit_test(test_search),
		cmocka_unit_test(test_dump),
	};

	return cmocka_run_group_tests_name("loader", tests, NULL, NULL);
}
