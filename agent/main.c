/* SPDX-License-Identifier: Apache-2.0
 *
 * purserd: wires the rooms together.
 */
#include <config.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "agent.h"
#include "backend/blocking.h"
#include "base/buf.h"

extern char **environ;

static const char *log_modules[LOG_M_COUNT + 1];

void agent_inputs(struct agent *a, struct cfg_inputs *in)
{
	memset(in, 0, sizeof *in);
	in->path = a->opt.config;
	in->env = (const char *const *)environ;
	in->sets = a->opt.sets;
	in->nsets = a->opt.nsets;
	in->schema = plugins_schema;
	in->schema_arg = &a->plugins;
	in->modules = log_modules;
	in->may = sandbox_may;
	in->may_arg = &a->sandbox;
	in->uid = geteuid();
	in->generation = 1;
}

static int load(struct agent *a)
{
	struct cfg_errors e = { 0 };
	struct cfg_inputs in;
	int rc;

	agent_inputs(a, &in);
	rc = cfg_load(&in, &a->cfg, &e);
	cfg_errors_print(stderr, &e);
	cfg_errors_free(&e);
	return cfg_exit_status(rc);
}

static int dump_plugin(struct agent *a)
{
	char why[1024];
	const struct plugin *pl = plugins_get(&a->plugins, a->opt.subject, why, sizeof why);

	if (!pl) {
		fprintf(stderr, "purserd: %s\n", why);
		return 1;
	}
	plugin_dump(stdout, pl);
	return 0;
}

static struct cmd_declarations *declared; /* readers of metrics ask without an argument */

static const char *command_name(uint16_t c)
{
	return c < CMD_COUNT ? cmd_rows[c].name : cmd_declared_name(declared, c);
}

/* What instances need from the beginning: a log and a registry of metrics. */
static int accounts(struct agent *a, enum log_level level)
{
	struct log_opts lo = { .level = level };
	struct metric_opts mo = { .command = command_name };
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	mo.start_wall_ns = (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
	a->started_ms = mo.start_wall_ns / 1000000;
	a->log = log_open(&lo);
	a->metrics = metric_new(&mo);
	a->declared = declared = cmd_declarations_new();
	if (a->log && a->metrics && a->declared)
		return 0;
	fprintf(stderr, "purserd: out of memory\n");
	return -1;
}

static int check(struct agent *a)
{
	struct buf why = { 0 };
	int rc = load(a);

	if (rc)
		return rc;
	if (accounts(a, LOG_WARN) || build_check(a, &why)) {
		fputs(buf_cstr(&why), stderr);
		rc = 1;
	} else {
		printf("the configuration is good: %s\n", cfg_file(a->cfg) ? cfg_file(a->cfg) :
		    "no file was found, the built-in defaults hold");
	}
	buf_free(&why);
	metric_free(a->metrics);
	log_close(a->log);
	return rc;
}

/* Who asks for a reload while the agent starts gets one as soon as it runs. */
static void hold_reloads(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static int run(struct agent *a)
{
	int rc;

	hold_reloads();
	rc = load(a);
	if (rc)
		return rc;
	if (accounts(a, LOG_INFO))
		return 1;
	pthread_mutex_init(&a->backends_lock, NULL);
	pthread_mutex_init(&a->faults.lock, NULL);
	a->control = loop_new(NULL);
	a->offload = offload_new();
	a->numbers = project_numbers_new();
	if (!a->control || !a->offload || !a->numbers) {
		fprintf(stderr, "purserd: out of memory\n");
		return 1;
	}
	a->shard = metric_shard_new(a->metrics);
	server_handlers(a->handlers);
	feature_commands(a->features);
	control_init(a);
	rc = agent_run(a);
	loop_free(a->control);
	project_numbers_free(a->numbers);
	metric_free(a->metrics);
	log_close(a->log);
	return rc;
}

int main(int argc, char **argv)
{
	struct agent *a = calloc(1, sizeof *a);
	int rc = a ? options_parse(&a->opt, argc, argv) : 1;

	for (int i = 0; i < LOG_M_COUNT; i++)
		log_modules[i] = log_module_name((enum log_module)i);
	if (rc == 0) {
		a->plugins.paths.option = a->opt.plugin_dir;
		switch (a->opt.mode) {
		case OPTION_VERSION:
			printf("purserd %s\n", PACKAGE_VERSION);
			break;
		case OPTION_HELP:
			options_help(stdout);
			break;
		case OPTION_DUMP_PLUGIN:
			rc = dump_plugin(a);
			break;
		case OPTION_DUMP_DOCS:
			rc = dump_docs(a);
			break;
		case OPTION_CHECK:
			rc = check(a);
			break;
		case OPTION_PRINT:
			rc = load(a);
			if (rc == 0)
				cfg_print(stdout, a->cfg);
			break;
		case OPTION_RUN:
			rc = run(a);
			break;
		}
		cfg_unref(a->cfg);
		plugins_free(&a->plugins);
		cmd_declarations_free(a->declared);
		sandbox_free(&a->sandbox);
	}
	free(a);
	return rc;
}
