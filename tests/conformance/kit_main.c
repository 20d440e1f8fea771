/* SPDX-License-Identifier: Apache-2.0
 *
 * purser-plugin-check: the conformance kit as a program.  Exit 0: all passed; 1: something failed;
 * 2: the plugin cannot be tried at all.
 */
#include <config.h>
#include "kit.h"
#include "kit_report.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backend/schema.h"

#ifdef PURSER_SANITIZERS
#define PATIENCE 30
#define TEST_SECONDS 180
#else
#define PATIENCE 10
#define TEST_SECONDS 60
#endif

static const struct kit_test *const groups[] = { rules_calls, rules_state, rules_wire, rules_links,
	rules_semantic };
const void *kit_table;
static unsigned passed, failed, skipped;
static bool in_process; /* --debug */

/* ---- the list -------------------------------------------------------------------------------- */

static const char *const rule_names[] = { "semantics", "call", "one end", "lifetime", "no re-entry",
	"threads", "dispatch", "arguments", "replies", "outcome", "order", "retry order", "queues",
	"routes", "back-pressure", "cancel", "batch", "pub/sub", "data", "growth", "time" };

/* "2.3 one end: text"; n counts the tests of the rule. */
static void print_name(const struct kit_test *t, unsigned n)
{
	if (t->rule)
		printf("%d.%u %s: %s", t->rule, n, rule_names[t->rule], t->name);
	else
		printf("S.%u %s: %s", n, rule_names[0], t->name);
}

/* ---- does it apply? -------------------------------------------------------------------------- */

static bool setting_given(const char *name)
{
	size_t n = strlen(name);

	for (int i = 0; i < kit.nsettings; i++)
		if (strncmp(kit.settings[i], name, n) == 0 && kit.settings[i][n] == '=')
			return true;
	return false;
}

/* Why the plugin cannot be asked this, in why; false: it can. */
static bool not_for_it(const struct kit_test *t, char *why, size_t n)
{
	const purser_plugin *p = &kit.pl->p;
	int64_t url = schema_find_key(kit.pl, "url");

	for (unsigned bit = 0; bit < 64; bit++)
		if (t->caps >> bit & 1 && !(p->caps >> bit & 1))
			return snprintf(why, n, "no %s capability", plugin_cap_name(bit)), true;
	if (t->needs & NEEDS_FAKE && (url < 0 || p->args != PURSER_ARGS_WIRE))
		return snprintf(why, n, "no setting url to put a breaking store behind"), true;
	if (t->needs & NEEDS_STORE && url >= 0 && !setting_given("url"))
		return snprintf(why, n, "give url=... of a store to try it on"), true;
	if (t->needs & NEEDS_ARGV && p->args != PURSER_ARGS_ARGV)
		return snprintf(why, n, "for plugins with ARGS_ARGV"), true;
	if (t->needs & NEEDS_WIRE && p->args != PURSER_ARGS_WIRE)
		return snprintf(why, n, "for plugins with ARGS_WIRE"), true;
	if (t->needs & NEEDS_INLINE && p->model != PURSER_INLINE)
		return snprintf(why, n, "for INLINE plugins"), true;
	if (t->needs & NEEDS_BLOCKING && p->model != PURSER_BLOCKING)
		return snprintf(why, n, "for BLOCKING plugins"), true;
	if (t->needs & NEEDS_OWN_DATA && !(p->caps & PURSER_CAP_KEEPS_DATA))
		return snprintf(why, n, "no KEEPS_DATA capability"), true;
	for (const char *at = t->commands; at && *at;) {
		char word[64];
		size_t len = strcspn(at, " ");

		snprintf(word, sizeof(word), "%.*s", (int)len, at);
		for (char *c = word; *c; c++)
			*c = *c == '|' ? ' ' : *c;
		if (!call_known(word))
			return snprintf(why, n, "no %s", word), true;
		at += len + strspn(at + len, " ");
	}
	return false;
}

/* ---- one test, one process ------------------------------------------------------------------- */

static void __attribute__((noreturn)) child(const struct kit_test *t, int fd)
{
	const struct rlimit none = { 0, 0 };

	report_open(fd);
	arena_init();
	setrlimit(RLIMIT_CORE, &none); /* a crash is a finding, not a file */
	signal(SIGPIPE, SIG_IGN);
	kit_table = t->table;
	t->fn();
	exit(kit_blamed() ? 1 : 0); /* not _exit: the leak checker has its say */
}

static uint64_t seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec;
}

/* All that the test says, until it is over; true: it took too long and was killed. */
static bool listen_to(pid_t pid, int fd, struct buf *said)
{
	uint64_t end = seconds() + TEST_SECONDS;
	struct pollfd p = { fd, POLLIN, 0 };
	char chunk[4096];
	bool late = false;

	for (;;) {
		ssize_t n;

		if (!late && seconds() > end) {
			kill(pid, SIGKILL);
			late = true;
		}
		if (poll(&p, 1, 500) <= 0)
			continue;
		n = read(fd, chunk, sizeof(chunk));
		if (n <= 0)
			return late;
		buf_put(said, chunk, (size_t)n);
	}
}

/* The reasons are lines behind 'B'; the first stands on the test's own line. */
static void print_reasons(struct buf *said)
{
	const char *line = buf_cstr(said), *sep = ": ";
	size_t n;

	for (; *line; line += n + (line[n] == '\n')) {
		n = strcspn(line, "\n");
		if (*line != 'B')
			continue;
		printf("%s%.*s\n", sep, (int)n - 1, line + 1);
		sep = "         ";
	}
}

/* Sockets of a test that is over. */
static void clean_tmpdir(void)
{
	DIR *d = opendir(kit.tmpdir);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

/* Runs t in a process; what it said, with how it ended if that was not well. */
static void run_apart(const struct kit_test *t, struct buf *said)
{
	int fd[2], status = 0;
	bool late;
	pid_t pid;

	fflush(stdout);
	if (in_process)
		child(t, STDOUT_FILENO);
	if (pipe(fd) < 0 || (pid = fork()) < 0) {
		perror("purser-plugin-check");
		exit(2);
	}
	if (pid == 0) {
		close(fd[0]);
		child(t, fd[1]);
	}
	close(fd[1]);
	late = listen_to(pid, fd[0], said);
	close(fd[0]);
	waitpid(pid, &status, 0);
	if (late)
		buf_printf(said, "Bthe test was not over after %d s\n", TEST_SECONDS);
	else if (WIFSIGNALED(status))
		buf_printf(said, "Bkilled by signal %d (%s)\n", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) && buf_len(said) == 0)
		buf_printf(said, "Bexit status %d (a sanitizer's report is above)\n",
			WEXITSTATUS(status));
	clean_tmpdir();
}

static void run_test(const struct kit_test *t, unsigned n)
{
	struct buf said = { .max = 1 << 20 };

	run_apart(t, &said);
	if (buf_len(&said) == 0) {
		passed++;
		printf("ok   ");
		print_name(t, n);
		printf("\n");
	} else if (*buf_cstr(&said) == 'S') {
		skipped++;
		printf("skip ");
		print_name(t, n);
		printf(": %s", buf_cstr(&said) + 1);
	} else {
		failed++;
		printf("FAIL ");
		print_name(t, n);
		print_reasons(&said);
	}
	buf_free(&said);
}

static void start_and_stop(void)
{
	rig_stop(rig_start(NULL));
}

/* A plugin that does not even start is not worth a list of failures.  0, or -1 and said so. */
static int try_start(void)
{
	static const struct kit_test t = { 0, "start", 0, NEEDS_STORE, NULL, start_and_stop, NULL };
	struct buf said = { .max = 1 << 20 };
	char why[128];
	int rc = 0;

	if (!not_for_it(&t, why, sizeof(why)))
		run_apart(&t, &said);
	if (buf_len(&said)) {
		rc = -1;
		printf("%s does not start", kit.pl->path);
		print_reasons(&said);
	}
	buf_free(&said);
	return rc;
}

/* nth 0: all of the rule. */
static void run_all(int rule, int nth, bool list)
{
	for (int i = 1; i <= 21; i++) {
		int r = i % 21; /* the rules in order, and the semantics last */
		unsigned n = 0;

		for (size_t g = 0; g < sizeof(groups) / sizeof(*groups); g++) {
			for (const struct kit_test *t = groups[g]; t->fn; t++) {
				char why[128];

				if (t->rule != r)
					continue;
				n++;
				if ((rule >= 0 && rule != r) || (nth && (int)n != nth))
					continue;
				if (list) {
					print_name(t, n);
					printf("\n");
				} else if (not_for_it(t, why, sizeof(why))) {
					skipped++;
					printf("skip ");
					print_name(t, n);
					printf(": %s\n", why);
				} else {
					run_test(t, n);
				}
			}
		}
	}
}

/* ---- the program ----------------------------------------------------------------------------- */

static void usage(FILE *f)
{
	fputs("usage: purser-plugin-check [OPTION]... FILE.so [key=value ...]\n"
	      "Tries a Purser backend plugin against the contract of <purser/plugin.h>.\n"
	      "  key=value    settings of the plugin, as in its [backend] section\n"
	      "  --rule N     only the tests of rule N (1-20); 0: only the semantics; N.M: only "
	      "that test\n"
	      "  --list       print the tests and try nothing\n"
	      "  --patience S what has not happened after so many seconds counts as never\n"
	      "  --verbose    show what the plugin logs\n"
	      "  --debug      run one test in this process, for a debugger\n"
	      "Exit status: 0 all passed, 1 something failed, 2 the plugin cannot be tried.\n",
		f);
}

static struct plugin *load(const char *file)
{
	char path[PATH_MAX];
	struct plugin *pl = NULL;
	struct buf err = { .max = 1 << 16 };
	bool bare = !strchr(file, '/') && access(file, F_OK) < 0;

	if (!bare && !realpath(file, path))
		buf_printf(&err, "%s: %s", file, strerror(errno));
	else if (plugin_load(bare ? file : path, NULL, &pl, &err) == 0)
		return pl;
	printf("%s\n0 passed, 0 failed, 0 skipped: the plugin was refused\n", buf_cstr(&err));
	buf_free(&err);
	return NULL;
}

/* Settings that it does not have, or without a value.  0, or -1 and said so. */
static int check_settings(void)
{
	for (int i = 0; i < kit.nsettings; i++) {
		char name[80];
		const char *eq = strchr(kit.settings[i], '=');

		snprintf(name, sizeof(name), "%.*s", eq ? (int)(eq - kit.settings[i]) : 0,
			kit.settings[i]);
		if (!eq || !kit_setting_known(name)) {
			printf("%s has no setting \"%s\" (give key=value)\n", kit.pl->p.name,
			    eq ? name : kit.settings[i]);
			return -1;
		}
	}
	return 0;
}

static int check(const char *file, int rule, int nth)
{
	static char tmpdir[] = "/tmp/purser-plugin-check.XXXXXX";
	struct plugin *pl = load(file);
	bool tried;

	kit.pl = pl;
	if (!pl || check_settings() < 0)
		return 2;
	kit.tmpdir = mkdtemp(tmpdir);
	if (!kit.tmpdir) {
		perror(tmpdir);
		return 2;
	}
	tried = in_process || try_start() == 0;
	if (tried)
		run_all(rule, nth, false);
	rmdir(kit.tmpdir);
	plugin_free(pl);
	printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
	return !tried ? 2 : failed > 0;
}

/* A number from 0 to max, or -1. */
static int small_number(const char *text, long max)
{
	char *end;
	long n = strtol(text, &end, 10);

	return *text && !*end && n >= 0 && n <= max ? (int)n : -1;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "list", no_argument, NULL, 'l' },
		{ "rule", required_argument, NULL, 'r' }, { "verbose", no_argument, NULL, 'v' },
		{ "debug", no_argument, NULL, 'd' }, { "patience", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' }, { 0 } };
	bool list = false, good = true;
	int c, rule = -1, nth = 0;
	char *dot;

	kit.patience = PATIENCE;
	while ((c = getopt_long(argc, argv, "+lr:vdp:hV", options, NULL)) != -1) {
		switch (c) {
		case 'l': list = true; break;
		case 'v': kit.verbose = true; break;
		case 'h': usage(stdout); return 0;
		case 'V': puts("purser-plugin-check " PACKAGE_VERSION); return 0;
		case 'd': in_process = true; break;
		case 'r':
			dot = strchr(optarg, '.');
			if (dot) {
				*dot = '\0';
				good &= (nth = small_number(dot + 1, 100)) > 0;
			}
			good &= (rule = small_number(optarg, 20)) >= 0;
			break;
		case 'p': good &= (kit.patience = small_number(optarg, 3600)) > 0; break;
		default: good = false;
		}
	}
	if (!good || (!list && optind == argc)) {
		usage(stderr);
		return 2;
	}
	if (list) {
		run_all(rule, nth, true);
		return 0;
	}
	kit.settings = argv + optind + 1;
	kit.nsettings = argc - optind - 1;
	return check(argv[optind], rule, nth);
}
