/* SPDX-License-Identifier: Apache-2.0 */
/* config: what a file may say, and the exact words about all else, with file and line. */
#include <config.h>
#include "config_fixture.h"

struct row {
	const char *text;  /* of purser.ini, behind a good [backend main] unless it begins with "!" */
	const char *said;
	int rc;
};

#define LONG50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LONG200 LONG50 LONG50 LONG50 LONG50
#define ALL_SECTIONS \
	"there are [agent] [backend NAME] [project NAME] [role NAME] [grant NAME] [command NAME] [jwt NAME] [health] [jobs] [breaker] [retry] [otlp] [log]"

/* Line 1 is [backend main], line 2 plugin = memory. */
static const struct row rows[] = {
	/* sections */
	{ "[helth]\ninterval = 5s\n", "purser.ini:3: unknown section [helth]: did you mean [health]?\n", CFG_INVALID },
	{ "[weather]\nfailure_threshold = 5\n", "purser.ini:3: unknown section [weather]: " ALL_SECTIONS "\n",
		CFG_INVALID },
	{ "[]\n", "purser.ini:3: unknown section []: " ALL_SECTIONS "\n", CFG_INVALID },
	{ "[agent\nmode = production\n", "purser.ini:3: the section has no closing ]\n", CFG_INVALID },
	{ "[agent] mode = production\n",
		"purser.ini:3: there is something behind [agent]: put it on a line of its own\n", CFG_INVALID },
	{ "[agent] ; a comment\n[log]# and one\n", "", CFG_OK },
	{ "[agent main]\n", "purser.ini:3: [agent main] has no name: write [agent]\n", CFG_INVALID },
	{ "[project]\n", "purser.ini:3: [project] needs a name: write [project default]\n", CFG_INVALID },
	{ "[backend]\nplugin = memory\n", "purser.ini:3: [backend] needs a name: write [backend main]\n",
		CFG_INVALID },
	{ "[project Shop]\n", "purser.ini:3: [project Shop]: a name is 1 to 64 of a-z 0-9 . _ -\n", CFG_INVALID },
	{ "[project a:b]\n", "purser.ini:3: [project a:b]: a name is 1 to 64 of a-z 0-9 . _ -\n", CFG_INVALID },
	{ "[project a b]\n", "purser.ini:3: [project a b]: a name is 1 to 64 of a-z 0-9 . _ -\n", CFG_INVALID },
	{ "[project " LONG50 "aaaaaaaaaaaaaa]\n", "", CFG_OK },
	{ "[project " LONG50 "aaaaaaaaaaaaaaa]\n", "purser.ini:3: [project " LONG50
		"aaaaaaaaaaaaaaa]: a name is 1 to 64 of a-z 0-9 . _ -\n", CFG_INVALID },
	{ "[log]\nlevel = debug\n[health]\n[log]\n",
		"purser.ini:6: [log] is there already in line 3: put its keys together\n", CFG_INVALID },

	/* keys */
	{ "[health]\nintervall = 5s\n", "purser.ini:4: [health] has no key intervall: did you mean interval?\n",
		CFG_INVALID },
	{ "[health]\nInterval = 5s\n", "purser.ini:4: [health] has no key Interval: did you mean interval?\n",
		CFG_INVALID },
	{ "[health]\nwhatever = 5s\n", "purser.ini:4: [health] has no key whatever: purser.ini(5) has them all\n",
		CFG_INVALID },
	{ "[project shop]\nallow_host = 1\nrol = app\n",
		"purser.ini:4: [project shop] has no key allow_host: purser.ini(5) has them all\n"
		"purser.ini:5: [project shop] has no key rol: did you mean role?\n", CFG_INVALID },
	{ "evicton = allkeys-lru\n", "purser.ini:3: [backend main] has no key evicton: did you mean eviction?\n",
		CFG_INVALID },
	{ "quorum = 3\n", "purser.ini:3: [backend main] has no key quorum: purserd --dump-plugin memory "
		"prints what there is\n", CFG_INVALID },
	{ "[log]\nlevel = debug\n; between\n\nlevel = info\n",
		"purser.ini:7: level is there already in line 4\n", CFG_INVALID },
	{ "!mode = production\n[backend main]\nplugin = memory\n",
		"purser.ini:1: mode stands before the first [section]\n", CFG_INVALID },

	/* lines */
	{ "eviction\n", "purser.ini:3: this is neither [section] nor key = value nor ; comment\n", CFG_INVALID },
	{ "eviction: allkeys-lru\n", "purser.ini:3: this is neither [section] nor key = value nor ; comment\n",
		CFG_INVALID },
	{ "= 5\n", "purser.ini:3: this is neither [section] nor key = value nor ; comment\n", CFG_INVALID },
	{ "max memory = 5MiB\n", "purser.ini:3: this is neither [section] nor key = value nor ; comment\n",
		CFG_INVALID },
	{ "// eviction = x\n", "purser.ini:3: this is neither [section] nor key = value nor ; comment\n",
		CFG_INVALID },
	{ "; eviction = x\n# eviction = x\n   ; indented comment\n\t\n\n", "", CFG_OK },
	{ "eviction = allkeys-lru ; a comment\n", "", CFG_OK },
	{ "eviction = allkeys-lru # no comment\n",
		"purser.ini:3: eviction: a comment behind a value begins with ;\n", CFG_INVALID },
	{ "eviction = \"allkeys-lru\"\n",
		"purser.ini:3: eviction: quotes are not taken off: write the value without them\n", CFG_INVALID },
	{ "eviction=allkeys-lru\r\nmax_memory=5MiB\r\n", "", CFG_OK },
	{ "eviction = allkeys-lru\n\tmax_memory = 5MiB\n",
		"purser.ini:4: the line is indented: only lists go on in further lines; begin keys and sections "
		"at the left edge\n", CFG_INVALID },
	{ " [log]\n", "purser.ini:3: the line is indented: only lists go on in further lines; begin keys and "
		"sections at the left edge\n", CFG_INVALID },
	{ "[log]\nbogus = 1\n  2\n  3\n", "purser.ini:4: [log] has no key bogus: purser.ini(5) has them all\n"
		"purser.ini:5: the line is indented: only lists go on in further lines; begin keys and sections "
		"at the left edge\n"
		"purser.ini:6: the line is indented: only lists go on in further lines; begin keys and sections "
		"at the left edge\n", CFG_INVALID },
	{ "[nolog]\nbogus = 1\n  2\n", "purser.ini:3: unknown section [nolog]: did you mean [log]?\n", CFG_INVALID },
	{ "x = " LONG200 "\n[log]\nlevel = debug\n", "purser.ini:3: the line has 204 bytes, at most 197 are "
		"read: put lists on several indented lines, and secrets into files\n", CFG_INVALID },
	{ "; " LONG200 "\n", "purser.ini:3: the line has 202 bytes, at most 197 are read: put lists on several "
		"indented lines, and secrets into files\n", CFG_INVALID },
	{ "eviction = a\x01b\n", "purser.ini:3: byte 13 of the line is a control character\n", CFG_INVALID },
	{ "eviction = \xff\n", "purser.ini:3: byte 12 of the line is not UTF-8\n", CFG_INVALID },
	{ "; \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\n", "", CFG_OK },
	{ "; \xc0\xaf\n; \xed\xa0\x80\n; \xf4\x90\x80\x80\n; \xc3", "purser.ini:3: byte 3 of the line is not UTF-8\n"
		"purser.ini:4: byte 3 of the line is not UTF-8\npurser.ini:5: byte 3 of the line is not UTF-8\n"
		"purser.ini:6: byte 3 of the line is not UTF-8\n", CFG_INVALID },
	{ "!\xef\xbb\xbf[backend main]\nplugin = memory\n", "", CFG_OK },

	/* values */
	{ "[agent]\nmode = test\n", "purser.ini:4: [agent] mode = test: write development or production\n",
		CFG_INVALID },
	{ "operation_timeout = 10\nmax_memory = 100\neviction = lru\n",
		"purser.ini:3: [backend main] operation_timeout = 10: a unit is needed: write 10s (units are ms, s, "
		"m or h)\n"
		"purser.ini:4: [backend main] max_memory = 100: a unit is needed: write 100MiB (units are B, KiB, "
		"MiB or GiB)\n"
		"purser.ini:5: [backend main] eviction = lru: write noeviction or allkeys-lru\n", CFG_INVALID },
	{ "max_memory = 1KiB\n", "purser.ini:3: [backend main] max_memory = 1KiB: out of range: write 1MiB or "
		"more\n", CFG_INVALID },
	{ "operation_timeout =\neviction =\n", "", CFG_OK },
	{ "plugin =\n", "purser.ini:3: plugin is there already in line 2\n", CFG_INVALID },
	{ "[agent]\nhttp_listen = 0.0.0.0:80\n", "purser.ini:4: [agent] http_listen = 0.0.0.0:80: TCP shows no "
		"caller's identity, so only loopback is served: write 127.0.0.1:80 and put a proxy in front\n",
		CFG_INVALID },

	/* secrets */
	{ "![backend main]\nplugin = redis\npassword = a ;b\n", "purser.ini:3: [backend main] password: a blank "
		"and a ; begin a comment, here inside a secret: put the secret into a file of its own\n",
		CFG_INVALID },
	{ "![backend main]\nplugin = redis\npassword = a;b # c\n", "purser.ini:3: password: a comment behind a "
		"value begins with ;\n", CFG_INVALID },
	{ "[otlp]\nheaders = a=b ; c\n", "purser.ini:4: [otlp] headers: a blank and a ; begin a comment, here "
		"inside a secret: put the secret into a file of its own\n", CFG_INVALID },
	{ "[otlp]\nheaders = hunter2\n", "purser.ini:4: [otlp] headers = ***: item 1 is not well-formed: write "
		"name=value,name2=value2 and %2C for a comma\n", CFG_INVALID },
	{ "[otlp]\nendpoint = ftp://me:hunter2@host/x\n", "purser.ini:4: [otlp] endpoint = ftp://me:***@host/x: "
		"ftp:// is not served here: write one of http|https|unix, then ://\n", CFG_INVALID },
	{ "![backend main]\nplugin = redis\npassword_file = /nonexistent/secret\n", "purser.ini:3: [backend main] "
		"password_file = /nonexistent/secret: cannot read it: No such file or directory\n", CFG_INVALID },
	{ "[otlp]\nheaders_file = /tmp\n", "purser.ini:4: [otlp] headers_file = /tmp: it is not a regular file\n",
		CFG_INVALID },

	/* plugins */
	{ "![backend main]\n", "purser.ini:1: [backend main] needs plugin: Which plugin serves it: redis, memory, "
		"or another .so in the plugin directories.\n", CFG_INVALID },
	{ "![agent]\nplugin_dir = /opt/p\n[backend main]\nplugin = rediss\nurl = x\n",
		"purser.ini:4: [backend main] plugin = rediss: no such plugin in \"/opt/p\"\n", CFG_INVALID },
	{ "![backend main]\nplugin = needy\n", "purser.ini:1: [backend main] needs token: who may\n", CFG_INVALID },
	{ "![backend main]\nplugin = needy\ntoken =\n", "purser.ini:1: [backend main] needs token: who may\n",
		CFG_INVALID },
	{ "![backend main]\nplugin = long\nsecond = 5\n", "", CFG_OK },
	{ "![backend main]\nplugin = odd\n",
		"purser.ini:1: plugin odd, key max_memory: the core has a key of that name, as size\n"
		"purser.ini:1: plugin odd, key plugin: the core has a key of that name, as text\n"
		"purser.ini:1: plugin odd, key twice: declared twice\n"
		"purser.ini:1: plugin odd, key Big: a key is named by a-z 0-9 and _\n"
		"purser.ini:1: plugin odd, key new: type 99 is not one that this version knows\n"
		"plugin odd, key wait: its default 10 is not good: a unit is needed: write 10s (units are ms, s, m or "
		"h)\n", CFG_INVALID },

	/* what several settings say together */
	{ "![log]\nlevel = info\n", "purser.ini: there is no [backend NAME]: write [backend main] and in it plugin "
		"= redis and url = redis://127.0.0.1:6379/0, or plugin = memory\n", CFG_INVALID },
	{ "[backend b]\nplugin = memory\n", "purser.ini:3: there are several [backend NAME] and no [project NAME]: "
		"write [project default] with backend = main, and one for each other key space\n", CFG_INVALID },
	{ "[backend b]\nplugin = memory\n[project x]\n", "purser.ini:5: [project x] needs backend: there are "
		"several, and it must say which holds its keys\n", CFG_INVALID },
	{ "[backend cache]\nplugin = memory\n[project x]\nbackend = cahe\n", "purser.ini:6: [project x] backend = "
		"cahe: there is no [backend cahe]: did you mean cache?\n", CFG_INVALID },
	{ "[project x]\nbackend = elsewhere\n", "purser.ini:4: [project x] backend = elsewhere: there is no "
		"[backend elsewhere]\n", CFG_INVALID },
	{ "[agent]\nmode = production\n", "warning: purser.ini:4: mode = production and there is no [project NAME]: "
		"nobody can reach a key\n", CFG_OK },
	{ "[project a]\nkey_prefix = app:\n[project b]\nkey_prefix = app:b:\n",
		"purser.ini:6: the keys of [project a] begin with app: and those of [project b] with app:b:: one "
		"holds the other; choose prefixes of which none begins another\n", CFG_INVALID },
	{ "[project a]\nkey_prefix = proj:b:\n[project b]\n",
		"purser.ini:4: the keys of [project a] begin with proj:b: and those of [project b] with proj:b:: one "
		"holds the other; choose prefixes of which none begins another\n", CFG_INVALID },
	{ "[project a]\nkey_prefix = proj:\n", "purser.ini:4: the keys of [project a] begin with proj: and those of "
		"[project default] with proj:default:: one holds the other; choose prefixes of which none begins "
		"another\n", CFG_INVALID },
	{ "[project a]\nkey_prefix = app:\n[project b]\nkey_prefix = bpp:\n", "", CFG_OK },
	{ "[backend b]\nplugin = memory\n[project x]\nbackend = main\nkey_prefix = a:\n[project y]\nbackend = b\n"
		"key_prefix = a:\n", "", CFG_OK },
	{ "!\n[backend a]\nplugin = redis\n[backend b]\nplugin = redis\n[project x]\nbackend = a\nkey_prefix = a:\n"
		"[project y]\nbackend = b\nkey_prefix = a:b:\n", "purser.ini:11: the keys of [project x] begin with "
		"a: and those of [project y] with a:b:: one holds the other; choose prefixes of which none begins "
		"another\n", CFG_INVALID },
	{ "!\n[backend a]\nplugin = redis\n[backend b]\nplugin = redis\ndatabase = 1\n[project x]\nbackend = a\n"
		"key_prefix = a:\n[project y]\nbackend = b\nkey_prefix = a:b:\n", "", CFG_OK },
	{ "[project a]\nkey_prefix = psr:x:\n[project b]\nkey_prefix = ps\n",
		"purser.ini:4: [project a] key_prefix = psr:x:: psr: holds the agent's own keys: choose another\n"
		"purser.ini:6: [project b] key_prefix = ps: psr: holds the agent's own keys: choose another\n",
		CFG_INVALID },
	{ "[project a]\nkey_prefix = a*\n", "purser.ini:4: [project a] key_prefix = a*: none of * ? [ ] \\ { } "
		"quote or blank may be in it, but for {project}, where the name goes\n", CFG_INVALID },
	{ "[project a]\nkey_prefix = " LONG50 LONG50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
		"purser.ini:4: [project a] key_prefix is longer than 128 bytes\n", CFG_INVALID },
	{ "[project a]\nisolation = off\nkey_prefix = x:\n", "purser.ini:4: [project a] isolation = off means no "
		"prefix, but key_prefix is x:: take one of them out\n", CFG_INVALID },
	{ "[project default]\nisolation = off\n[project b]\n", "warning: purser.ini:4: [project default] isolation = "
		"off: it sees the keys of [project b], too\n", CFG_OK },
	{ "[health]\nmemory_warning = 95%\n",
		"purser.ini:4: [health] memory_warning (95%) must be below memory_critical (90%)\n"
		"purser.ini:4: [health] memory_warning_clear (90%) must be below memory_critical_clear (85%)\n",
		CFG_INVALID },
	{ "[health]\nmemory_warning_clear = 80%\n",
		"purser.ini:4: [health] memory_warning_clear (80%) must be below memory_warning (80%)\n", CFG_INVALID },
	{ "[health]\nmemory_critical_clear = 74%\n",
		"purser.ini:4: [health] memory_warning_clear (75%) must be below memory_critical_clear (74%)\n",
		CFG_INVALID },
	{ "[health]\nmemory_critical_clear = 93%\n",
		"purser.ini:4: [health] memory_critical_clear (93%) must be below memory_critical (90%)\n",
		CFG_INVALID },
	{ "[agent]\nmax_bulk_size = 2GiB\n", "purser.ini:4: [agent] max_bulk_size (2GiB) is more than "
		"max_request_size (1GiB)\n", CFG_INVALID },
	{ "[agent]\nmax_request_size = 1MiB\n", "purser.ini:4: [agent] max_bulk_size (512MiB) is more than "
		"max_request_size (1MiB)\n", CFG_INVALID },
	{ "[agent]\nsocket = /" LONG50 "/" LONG50 "/p.sock\n", "purser.ini:4: [agent] socket has 109 bytes, and a "
		"socket's path at most 107: choose a shorter one\n", CFG_INVALID },
	{ "[agent]\nsocket_group = no-such-group-here\n", "purser.ini:4: [agent] socket_group = "
		"no-such-group-here: there is no such group\n", CFG_INVALID },
	{ "[otlp]\nspan_batch = 4096\n", "purser.ini:4: [otlp] span_batch (4096) is more than span_queue (2048)\n",
		CFG_INVALID },
	{ "[otlp]\nspan_queue = 100\n", "", CFG_OK },
	{ "[otlp]\nendpoint = http://127.0.0.1:4317\n", "warning: purser.ini:4: [otlp] endpoint = "
		"http://127.0.0.1:4317: port 4317 usually speaks gRPC (protocol = grpc); http/protobuf is usually on 4318\n", CFG_OK },
	{ "[otlp]\nendpoint = http://:4318\n", "purser.ini:4: [otlp] endpoint = http://:4318: there is no host in "
		"it\n", CFG_INVALID },
	{ "[otlp]\nendpoint = http://h/?x=1\n", "purser.ini:4: [otlp] endpoint = http://h/?x=1: v1/traces cannot be "
		"appended to it: use traces_endpoint, metrics_endpoint and logs_endpoint\n", CFG_INVALID },
	{ "[otlp]\nprotocol = grpc\nendpoint = http://127.0.0.1:4317\n", "", CFG_OK },
	{ "[otlp]\nprotocol = soap\n", "purser.ini:4: [otlp] protocol = soap: write http/protobuf, http/json or grpc\n", CFG_INVALID },
	{ "[otlp]\nendpoint = unix:///run/c.sock\n", "", CFG_OK },
	{ "[otlp]\nendpoint = unix://run/c.sock\n", "purser.ini:4: [otlp] endpoint = unix://run/c.sock: a socket is written "
		"unix:///path\n", CFG_INVALID },
	{ "[log]\nmodules = servre=debug,health=loud\n",
		"purser.ini:4: [log] modules: there is no module servre: did you mean server?\n"
		"purser.ini:4: [log] modules: health = loud: write trace, debug, info, warn, error or off\n",
		CFG_INVALID },
};

static void files(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct cfg_inputs in = fix_inputs();
		char text[2048];
		struct cfg *c;
		const char *said;
		int rc;

		snprintf(text, sizeof(text), "%s%s",
			*rows[i].text == '!' ? "" : "[backend main]\nplugin = memory\n",
			rows[i].text + (*rows[i].text == '!'));
		fix_text("purser.ini", text);
		said = fix_load(&in, &c, &rc);
		if (strcmp(said, rows[i].said) != 0 || rc != rows[i].rc)
			fail_msg("row %zu, rc %d:\n%s---- said:\n%s---- wanted:\n%s", i, rc, text, said, rows[i].said);
		cfg_unref(c);
	}
}

/* All errors of all kinds come at once, in the order of the lines. */
static void all_at_once(void **state)
{
	static const char text[] =
		"[agent]\nmode = x\nsocket = here\n[bakend main]\nplugin = memory\n"
		"[project p]\nisolation = maybe\n oops\n[healt]\n[health]\nmemory_critical = 10%\n";
	struct cfg_inputs in = fix_inputs();
	struct cfg *c;
	const char *said;
	int rc;

	(void)state;
	fix_text("purser.ini", text);
	said = fix_load(&in, &c, &rc);
	assert_string_equal(said,
		"purser.ini:2: [agent] mode = x: write development or production\n"
		"purser.ini:3: [agent] socket = here: write the whole path, beginning with /\n"
		"purser.ini:4: unknown section [bakend]: did you mean [backend]?\n"
		"purser.ini:7: [project p] isolation = maybe: write yes or no\n"
		"purser.ini:8: the line is indented: only lists go on in further lines; begin keys and sections at "
		"the left edge\n"
		"purser.ini:9: unknown section [healt]: did you mean [health]?\n"
		"purser.ini:11: [health] memory_warning (80%) must be below memory_critical (10%)\n"
		"purser.ini:11: [health] memory_warning_clear (75%) must be below memory_critical_clear (5%)\n");
	assert_int_equal(rc, CFG_INVALID);
	assert_int_equal(cfg_exit_status(rc), 1);
}

static void many_errors(void **state)
{
	struct cfg_errors errors = { 0 };
	struct cfg_inputs in = fix_inputs();
	struct cfg *c = NULL;
	char *text = malloc(64 * 1024);
	size_t len = 0;

	(void)state;
	for (int i = 0; i < 1000; i++)
		len += (size_t)snprintf(text + len, 32, "[x%d]\n", i);
	fix_write("purser.ini", text, len);
	free(text);
	assert_int_equal(cfg_load(&in, &c, &errors), CFG_INVALID);
	assert_int_equal(errors.n, CFG_ERRORS_MAX);
	assert_int_equal(errors.nerrors, 1000);
	assert_int_equal(errors.omitted, 800);
	assert_non_null(strstr(fix_said(&errors), "\nand 800 more\n"));
	cfg_errors_free(&errors);
	assert_int_equal(errors.n, 0);
}

/* A NUL does not end the file quietly. */
static void nul_byte(void **state)
{
	static const char text[] = "[backend main]\nplugin = memory\n\0[log]\nlevel = loud\n";
	struct cfg_inputs in = fix_inputs();
	struct cfg *c;
	int rc;

	(void)state;
	fix_write("purser.ini", text, sizeof(text) - 1);
	assert_string_equal(fix_load(&in, &c, &rc),
		"purser.ini:3: byte 1 of the line is a control character\n"
		"purser.ini:4: [backend main] has no key level: purserd --dump-plugin memory prints what there "
		"is\n");
}

static void long_values(void **state)
{
	struct cfg *c;
	char buf[4200];
	const char *name, *value;
	const struct cfg_section *s;

	(void)state;
	/* A list goes on in indented lines; comments and blank lines between them do not end it. */
	c = fix_good("[backend main]\nplugin = memory\n[otlp]\nresource_attributes = a=1\n  b=2\n; between\n\n"
		"\tservice.name=x%20y ; why\n  , d=4 ,\n[log]\n");
	s = cfg_one(c, CFG_OTLP);
	assert_true(cfg_pair(s, CFG_OTLP_RESOURCE_ATTRIBUTES, 1, buf, sizeof(buf), &name, &value));
	assert_string_equal(name, "b");
	assert_string_equal(value, "2");
	assert_true(cfg_pair(s, CFG_OTLP_RESOURCE_ATTRIBUTES, 3, buf, sizeof(buf), &name, &value));
	assert_string_equal(name, "d");
	assert_false(cfg_pair(s, CFG_OTLP_RESOURCE_ATTRIBUTES, 4, buf, sizeof(buf), &name, &value));
	assert_string_equal(cfg_service_name(c), "x y");
	cfg_unref(c);
}

static void conf_d(void **state)
{
	struct cfg_inputs in = fix_inputs();
	struct cfg *c;
	char where[128];
	int rc;

	(void)state;
	assert_int_equal(mkdir("conf.d", 0700), 0);
	fix_text("conf.d/20-b.ini", "[health]\ninterval = 20s\n");
	fix_text("conf.d/10-a.ini", "[health]\ninterval = 10s\ntimeout = 1s\n[backend main]\neviction =\n");
	fix_text("conf.d/.hidden.ini", "[nonsense]\n");
	fix_text("conf.d/README", "[nonsense]\n");
	c = fix_good("[backend main]\nplugin = memory\neviction = allkeys-lru\n[health]\ninterval = 5s\nmax_age = 1s\n");
	assert_string_equal(cfg_text(cfg_one(c, CFG_HEALTH), CFG_HEALTH_INTERVAL), "20s");
	cfg_origin(cfg_one(c, CFG_HEALTH), CFG_HEALTH_INTERVAL, where, sizeof(where));
	assert_string_equal(where, "conf.d/20-b.ini:2");
	cfg_origin(cfg_one(c, CFG_HEALTH), CFG_HEALTH_TIMEOUT, where, sizeof(where));
	assert_string_equal(where, "conf.d/10-a.ini:3");
	cfg_origin(cfg_one(c, CFG_HEALTH), CFG_HEALTH_MAX_AGE, where, sizeof(where));
	assert_string_equal(where, "purser.ini:6");
	/* An empty value takes back what the main file has said. */
	const char *eviction;
	assert_true(cfg_setting(cfg_first(c, CFG_BACKEND), "eviction", &eviction, NULL));
	assert_string_equal(eviction, "noeviction");
	assert_string_equal(cfg_file(c), "purser.ini");
	cfg_unref(c);

	/* Errors of all files together, in their order; a value that another file overrides is checked too. */
	fix_text("conf.d/10-a.ini", "[health]\ninterval = x\n");
	fix_text("conf.d/20-b.ini", "[health]\ninterval = 1s\n\nfoo = 1\n");
	fix_text("purser.ini", "[backend main]\nplugin = memory\n[log]\nlevel = y\n");
	assert_string_equal(fix_load(&in, &c, &rc),
		"purser.ini:4: [log] level = y: write trace, debug, info, warn, error or off\n"
		"conf.d/10-a.ini:2: [health] interval = x: a duration is needed: write it as 10s\n"
		"conf.d/20-b.ini:4: [health] has no key foo: purser.ini(5) has them all\n");
	assert_int_equal(unlink("conf.d/10-a.ini"), 0);
	assert_int_equal(unlink("conf.d/20-b.ini"), 0);

	/* One that is there and cannot be read is not passed over. */
	assert_int_equal(symlink("nowhere", "conf.d/30-c.ini"), 0);
	fix_text("purser.ini", "[backend main]\nplugin = memory\n");
	assert_string_equal(fix_load(&in, &c, &rc), "cannot read conf.d/30-c.ini: No such file or directory\n");
	assert_int_equal(rc, CFG_UNREADABLE);
	assert_int_equal(unlink("conf.d/30-c.ini"), 0);
	assert_int_equal(mkdir("conf.d/dir.ini", 0700), 0);
	assert_string_equal(fix_load(&in, &c, &rc), "cannot read conf.d/dir.ini: Is a directory\n");
	assert_int_equal(rmdir("conf.d/dir.ini"), 0);
	assert_int_equal(unlink("conf.d/.hidden.ini"), 0);
	assert_int_equal(unlink("conf.d/README"), 0);
	assert_int_equal(rmdir("conf.d"), 0);
}

static void unreadable(void **state)
{
	struct cfg_inputs in = fix_inputs();
	struct cfg *c;
	char *big;
	int rc;

	(void)state;
	in.path = "missing.ini";
	assert_string_equal(fix_load(&in, &c, &rc), "cannot read missing.ini: No such file or directory\n");
	assert_int_equal(rc, CFG_UNREADABLE);
	assert_int_equal(cfg_exit_status(rc), 2);
	in.path = "/";
	assert_string_equal(fix_load(&in, &c, &rc), "cannot read /: Is a directory\n");
	in.path = "big.ini";
	big = malloc((1 << 20) + 1);
	memset(big, ';', (1 << 20) + 1);
	fix_write("big.ini", big, (1 << 20) + 1);
	free(big);
	assert_string_equal(fix_load(&in, &c, &rc), "cannot read big.ini: larger than 1 MiB\n");
	assert_int_equal(unlink("big.ini"), 0);
}

static void search(void **state)
{
	const char *home[] = { "XDG_CONFIG_HOME=home", NULL };
	const char *dot[] = { "HOME=.", NULL };
	struct cfg_inputs in = fix_inputs();
	struct cfg *c;
	int rc;

	(void)state;
	in.path = NULL;
	in.system_path = "system.ini";
	in.env = home;
	assert_string_equal(fix_load(&in, &c, &rc), "");
	assert_null(cfg_file(c));
	cfg_unref(c);

	fix_text("system.ini", "[backend sys]\nplugin = memory\n");
	assert_string_equal(fix_load(&in, &c, &rc), "");
	assert_string_equal(cfg_file(c), "system.ini");
	cfg_unref(c);

	assert_int_equal(mkdir("home", 0700), 0);
	assert_int_equal(mkdir("home/purser", 0700), 0);
	fix_text("home/purser/purser.ini", "[backend own]\nplugin = memory\n");
	assert_string_equal(fix_load(&in, &c, &rc), "");
	assert_string_equal(cfg_file(c), "home/purser/purser.ini");
	cfg_unref(c);

	assert_int_equal(rename("home", ".config"), 0);
	in.env = dot;
	assert_string_equal(fix_load(&in, &c, &rc), "");
	assert_string_equal(cfg_file(c), "./.config/purser/purser.ini");
	cfg_unref(c);
	in.uid = 0; /* root's home is nobody's configuration */
	assert_string_equal(fix_load(&in, &c, &rc), "");
	assert_string_equal(cfg_file(c), "system.ini");
	cfg_unref(c);
}

static void bounds(void **state)
{
	struct cfg_inputs in = fix_inputs();
	char *text = malloc(1 << 18);
	struct cfg *c;
	size_t len = 0;
	int rc;

	(void)state;
	for (int i = 0; i < 1100; i++)
		len += (size_t)snprintf(text + len, 32, "[backend b%d]\n", i);
	fix_write("purser.ini", text, len);
	assert_non_null(strstr(fix_load(&in, &c, &rc), "there are more than 1000 sections\n"));
	len = (size_t)snprintf(text, 64, "[backend main]\nplugin = memory\n");
	for (int i = 0; i < 10050; i++)
		len += (size_t)snprintf(text + len, 32, "k%d=\n", i);
	fix_write("purser.ini", text, len);
	in.schema = NULL;
	assert_non_null(strstr(fix_load(&in, &c, &rc), "purser.ini:10002: there are more than 10000 settings\n"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files),
		cmocka_unit_test(all_at_once),
		cmocka_unit_test(many_errors),
		cmocka_unit_test(nul_byte),
		cmocka_unit_test(long_values),
		cmocka_unit_test(conf_d),
		cmocka_unit_test(unreadable),
		cmocka_unit_test(search),
		cmocka_unit_test(bounds),
	};

	return cmocka_run_group_tests_name("config/file", tests, fix_setup, fix_teardown);
}
