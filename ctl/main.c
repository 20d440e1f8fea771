/* SPDX-License-Identifier: Apache-2.0 */
/* purserctl: options and the table of commands.  See ctl.h. */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "config/cfg.h"
#include "config/value.h"
#include "ctl.h"

extern char **environ;

static const struct command {
	const char *name;
	int (*run)(struct ctl *x);
	int min, max;             /* words; max -1: any number */
	const char *usage, *summary;
} commands[] = {
	{ "status", cmd_status, 0, 0, "", "what runs: version, uptime, clients, backends, projects" },
	{ "whoami", cmd_whoami, 0, 0, "", "who this caller is to the agent, its project and backend" },
	{ "health", cmd_health, 0, 0, "", "the health document; status 1 when unhealthy" },
	{ "get", cmd_get, 1, 1, "KEY", "print a value; status 1 when there is none" },
	{ "set", cmd_set, 1, 2, "KEY VALUE|--stdin [--ex S] [--px MS] [--nx|--xx]",
	  "store a value; status 1 when --nx or --xx forbade it" },
	{ "del", cmd_del, 1, -1, "KEY...", "delete keys; status 1 when none was there" },
	{ "command", cmd_command, 1, -1, "WORD...", "run any command and print its reply" },
	{ "plugins", cmd_plugins, 0, 0, "", "the loaded plugins and what they can do" },
	{ "metrics", cmd_metrics, 0, 1, "[PREFIX]", "all metrics, or those whose names begin so" },
	{ "log-level", cmd_log_level, 0, 2, "[MODULE] [LEVEL]",
	  "show the levels of the log, or change that of one module or of all" },
	{ "check", cmd_check, 0, 1, "[FILE]", "check the configuration; no agent is needed" },
	{ "reload", cmd_reload, 0, 0, "", "read the configuration again; status 1 when it was refused" },
	{ "job", cmd_job, 1, -1, "list|show ID|watch ID|cancel ID|names ID|start KIND PATTERN [OPTION...]",
	  "jobs over many keys: clear, count, ttlrepair, export; watch draws a bar" },
	{ "lock", cmd_feature, 1, -1, "VERB [WORD...]", "locks: acquire, renew, release, fence, info, list, or run a command under one" },
	{ "session", cmd_feature, 1, -1, "VERB [WORD...]", "sessions: create, get, update, extend, rotate, destroy, list, stats" },
	{ "cache", cmd_feature, 1, -1, "VERB [WORD...]", "caches: stats, incr, mset, setm, meta" },
	{ "stream", cmd_feature, 1, -1, "VERB [WORD...]", "streams: lag, deadletter" },
	{ "token", cmd_token, 1, 4, "make NAME PROJECT[,PROJECT...]|* [ROLE] [--expires TIME]|list|revoke NAME",
	  "make a token, list those of the token file, or take one back" },
	{ "version", cmd_version, 0, 0, "", "versions of purserctl and of the agent" },
	{ "help", cmd_help, 0, 1, "[COMMAND]", "this text, or how one command is called" },
};
#define NCOMMANDS (sizeof commands / sizeof *commands)

static const char options[] =
	"Options:\n"
	"  -s, --socket PATH    the agent's socket ($PURSER_SOCKET, else the default of purserd)\n"
	"  -p, --project NAME   run in this project\n"
	"      --token-file FILE  authenticate with the token in this file ($PURSER_TOKEN_FILE)\n"
	"  -t, --timeout TIME   how long to wait for an answer: 500ms, 10s (default), 1m\n"
	"  -j, --json           print JSON\n"
	"      --raw            print values as they are, byte for byte, nothing added\n"
	"      --no-raw         print replies as for people, also into a pipe\n"
	"\n"
	"Exit status: 0 done; 1 a negative answer (no such key, unhealthy, refused); 2 wrong usage;\n"
	"3 no agent, or no answer in time; 4 the agent answered with an error; 5 output not writable.\n";

static const char token_options[] =
	"      --expires TIME   90d, 12h, 2027-01-31, 2027-01-31T00:00:00Z or never, which is the default\n"
	"  -f, --file PATH      the token file; else [agent] token_file of the configuration\n"
	"  -c, --config FILE    that configuration, where it is not the usual one\n"
	"\n";

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < NCOMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static void usage(FILE *f)
{
	fputs("usage: purserctl [OPTION...] COMMAND [ARGUMENT...]\n\nCommands:\n", f);
	for (size_t i = 0; i < NCOMMANDS; i++)
		fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].summary);
	fputc('\n', f);
	fputs(options, f);
}

static void help_of(const struct command *c)
{
	printf("usage: purserctl [OPTION...] %s%s%s\n\n  %s\n\n", c->name, *c->usage ? " " : "", c->usage, c->summary);
	if (c->run == cmd_feature)
		feature_help(&(struct ctl){ .name = c->name });
	printf("%s%s", c->run == cmd_token ? token_options : "", options);
}

int cmd_help(struct ctl *x)
{
	const struct command *c = x->argc ? find(x->argv[0]) : NULL;

	if (x->argc && !c)
		return ctl_fail(x, CTL_USAGE, "there is no command %s: purserctl help lists them", x->argv[0]);
	if (c)
		help_of(c);
	else
		usage(stdout);
	return CTL_OK;
}

/* ---- options ---------------------------------------------------------------------------------------- */

static int set_timeout(struct ctl *x, const char *text)
{
	static const struct value_rule rule = { VALUE_DURATION, INT64_C(1000000),
		INT64_C(3600000000000), NULL };
	struct value v;
	char why[200];

	if (value_parse(&rule, text, &v, why, sizeof why) != 0)
		return ctl_fail(x, CTL_USAGE, "--timeout %s: %s", text, why);
	x->timeout.tv_sec = (time_t)(v.num / 1000000000);
	x->timeout.tv_usec = (suseconds_t)(v.num % 1000000000 / 1000);
	return CTL_OK;
}

static int set_socket(struct ctl *x, const char *path)
{
	int n = snprintf(x->socket, sizeof x->socket, "%s", path);

	x->socket_given = true;
	if (n <= 0 || (size_t)n >= sizeof x->socket)
		return ctl_fail(x, CTL_USAGE, "--socket: a path has 1 to %zu bytes", sizeof x->socket - 1);
	return CTL_OK;
}

static int set_project(struct ctl *x, const char *name) { x->project = name; return CTL_OK; }
static int set_config(struct ctl *x, const char *file) { x->config = file; return CTL_OK; }
static int set_file(struct ctl *x, const char *file) { x->file = file; return CTL_OK; }
static int set_expires(struct ctl *x, const char *when) { x->expires = when; return CTL_OK; }
static int set_token_file(struct ctl *x, const char *file) { x->token_file = file; return CTL_OK; }
static int set_ex(struct ctl *x, const char *n) { x->ex = n; return CTL_OK; }
static int set_px(struct ctl *x, const char *n) { x->px = n; return CTL_OK; }
static int set_json(struct ctl *x, const char *none) { (void)none; x->json = true; return CTL_OK; }
static int set_raw(struct ctl *x, const char *none) { (void)none; x->raw = true; return CTL_OK; }
static int set_no_raw(struct ctl *x, const char *none) { (void)none; x->no_raw = true; return CTL_OK; }
static int set_help(struct ctl *x, const char *none) { (void)none; x->help = true; return CTL_OK; }
static int set_nx(struct ctl *x, const char *none) { (void)none; x->nx = true; return CTL_OK; }
static int set_xx(struct ctl *x, const char *none) { (void)none; x->xx = true; return CTL_OK; }
static int set_stdin(struct ctl *x, const char *none) { (void)none; x->from_stdin = true; return CTL_OK; }

static const struct option_row {
	const char *name, *brief; /* brief: one letter, or NULL */
	const char *of;           /* only of these commands, blanks between; or NULL */
	bool takes;               /* a value follows */
	int (*set)(struct ctl *x, const char *value);
} option_rows[] = {
	{ "--socket", "-s", NULL, true, set_socket }, { "--project", "-p", NULL, true, set_project },
	{ "--timeout", "-t", NULL, true, set_timeout }, { "--json", "-j", NULL, false, set_json },
	{ "--raw", NULL, NULL, false, set_raw }, { "--no-raw", NULL, NULL, false, set_no_raw },
	{ "--config", "-c", "check token", true, set_config }, { "--file", "-f", "token", true, set_file },
	{ "--expires", NULL, "token", true, set_expires }, { "--token-file", NULL, NULL, true, set_token_file },
	{ "--help", NULL, NULL, false, set_help }, { "--ex", NULL, "set", true, set_ex },
	{ "--px", NULL, "set", true, set_px }, { "--nx", NULL, "set", false, set_nx },
	{ "--xx", NULL, "set", false, set_xx }, { "--stdin", NULL, "set", false, set_stdin },
};

/* Is the name one of those in the list? */
static bool listed(const char *list, const char *name)
{
	size_t n = name ? strlen(name) : 0;

	for (; n && *list; list += strcspn(list, " "), list += *list == ' ')
		if (strcspn(list, " ") == n && memcmp(list, name, n) == 0)
			return true;
	return false;
}

/* The option at argv[*i] (moved to its last word): CTL_OK or what to exit with. */
static int take_option(struct ctl *x, int argc, char **argv, int *i)
{
	const char *word = argv[*i], *equals = strchr(word, '=');
	size_t n = equals && word[1] == '-' ? (size_t)(equals - word) : strlen(word);

	for (size_t k = 0; k < sizeof option_rows / sizeof *option_rows; k++) {
		const struct option_row *o = &option_rows[k];
		bool full = strlen(o->name) == n && memcmp(o->name, word, n) == 0;

		if (!full && !(o->brief && strcmp(o->brief, word) == 0))
			continue;
		if (o->of && !listed(o->of, x->name))
			return ctl_fail(x, CTL_USAGE, "%s belongs to purserctl %s", o->name, o->of);
		if (!o->takes)
			return n < strlen(word) ? ctl_fail(x, CTL_USAGE, "%s takes no value", o->name) :
			    o->set(x, NULL);
		if (n < strlen(word))
			return o->set(x, equals + 1);
		if (*i + 1 == argc)
			return ctl_fail(x, CTL_USAGE, "%s needs a value", o->name);
		return o->set(x, argv[++*i]);
	}
	return ctl_fail(x, CTL_USAGE, "there is no option %s: purserctl help lists them; a key that "
	    "begins with - follows --", word);
}

/* Options may stand anywhere, but behind `command WORD` and `--` all is taken as it is. */
static int take_words(struct ctl *x, int argc, char **argv)
{
	bool literal = false;

	for (int i = 1; i < argc; i++) {
		char *w = argv[i];
		int rc;

		if (!literal && strcmp(w, "--") == 0) {
			literal = true;
			x->literal_at = x->argc;
		} else if (!literal && w[0] == '-' && w[1]) {
			rc = take_option(x, argc, argv, &i);
			if (rc != CTL_OK)
				return rc;
		} else if (!x->name) {
			x->name = w;
		} else {
			x->argv[x->argc++] = w;
			literal |= strcmp(x->name, "command") == 0;
		}
	}
	return CTL_OK;
}

static int take_default_socket(struct ctl *x)
{
	char why[200];

	if (x->socket_given || cfg_default_socket((const char *const *)environ, geteuid(), x->socket,
	    sizeof x->socket, why, sizeof why) == 0)
		return CTL_OK;
	return ctl_fail(x, CTL_USAGE, "socket: %s", why);
}

static int run(struct ctl *x, int argc, char **argv)
{
	const struct command *c;
	int rc;

	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		usage(stdout);
		return CTL_OK;
	}
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("purserctl %s\n", PACKAGE_VERSION);
		return CTL_OK;
	}
	rc = take_words(x, argc, argv);
	if (rc != CTL_OK)
		return rc;
	if (!x->name) {
		usage(stderr);
		return CTL_USAGE;
	}
	c = find(x->name);
	if (!c)
		return ctl_fail(x, CTL_USAGE, "there is no command %s: purserctl help lists them; to run one "
		    "of the store's: purserctl command %s", x->name, x->name);
	if (x->help) {
		help_of(c);
		return CTL_OK;
	}
	if (x->argc < c->min || (c->max >= 0 && x->argc > c->max))
		return ctl_fail(x, CTL_USAGE, "usage: purserctl %s%s%s", c->name, *c->usage ? " " : "",
		    c->usage);
	rc = take_default_socket(x);
	return rc == CTL_OK ? c->run(x) : rc;
}

int main(int argc, char **argv)
{
	struct ctl x = { .timeout = { 10, 0 } };
	const char *plain = getenv("NO_COLOR");
	int rc;

	x.tty = isatty(STDOUT_FILENO);
	x.color = x.tty && !(plain && *plain);
	x.argv = calloc((size_t)argc + 1, sizeof *x.argv);
	rc = x.argv ? run(&x, argc, argv) : CTL_ERROR;
	if (x.c)
		redisFree(x.c);
	free(x.argv);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "purserctl: standard output cannot be written to\n");
		return CTL_OUTPUT;
	}
	return rc;
}
