/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include "agent.h"

void options_help(FILE *f)
{
	fputs("Usage: purserd [OPTION]...\n"
	    "Serve Redis (RESP) and HTTP clients on one Unix socket, in front of Redis or an embedded store.\n"
	    "It stays in the foreground; Ctrl-C stops it.\n\n"
	    "  --config FILE          read FILE instead of searching for purser.ini\n"
	    "  --plugin-dir DIR       look for backend plugins in DIR first\n"
	    "  --set KEY=VALUE        set one key: 'agent.workers=2', 'backend main.plugin=redis'; wins over\n"
	    "                         file and environment; may be given again\n"
	    "  --telemetry=stdout     all telemetry as OTLP JSON on standard output, one object a line\n"
	    "  --no-sandbox           as [agent] sandbox = off: for debuggers and the like\n"
	    "  --check-config         check the configuration; exit 0 good, 1 errors, 2 unreadable\n"
	    "  --print-config         print every effective value and where it comes from\n"
	    "  --dump-plugin NAME     print what a plugin declares, as key=value\n"
	    "  --dump-docs metrics    print the table of docs/metrics.md\n"
	    "  --version, --help\n\n"
	    "Files, environment and signals: purserd(8).  Settings: purser.ini(5).\n", f);
}

static int usage(const char *what)
{
	fprintf(stderr, "purserd: %s\nTry 'purserd --help'.\n", what);
	return 2;
}

static int mode_of(struct options *o, int c)
{
	switch (c) {
	case 'C': o->mode = OPTION_CHECK; return 0;
	case 'P': o->mode = OPTION_PRINT; return 0;
	case 'D': o->mode = OPTION_DUMP_PLUGIN; o->subject = optarg; return 0;
	case 'M': o->mode = OPTION_DUMP_DOCS; o->subject = optarg; return 0;
	case 'V': o->mode = OPTION_VERSION; return 0;
	case 'h': o->mode = OPTION_HELP; return 0;
	default: return -1;
	}
}

int options_parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' }, { "plugin-dir", required_argument, NULL, 'p' },
		{ "set", required_argument, NULL, 's' }, { "no-sandbox", no_argument, NULL, 'N' }, { "telemetry", required_argument, NULL, 'T' },
		{ "check-config", no_argument, NULL, 'C' },
		{ "print-config", no_argument, NULL, 'P' }, { "dump-plugin", required_argument, NULL, 'D' },
		{ "dump-docs", required_argument, NULL, 'M' }, { "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	int c;

	memset(o, 0, sizeof *o);
	while ((c = getopt_long(argc, argv, "c:hV", longs, NULL)) != -1) {
		if (c == 'c') {
			o->config = optarg;
		} else if (c == 'p') {
			o->plugin_dir = optarg;
		} else if (c == 's') {
			if (o->nsets == OPTION_SETS_MAX)
				return usage("too many --set options");
			o->sets[o->nsets++] = optarg;
		} else if (c == 'T') {
			if (strcmp(optarg, "stdout") || o->nsets == OPTION_SETS_MAX)
				return usage("--telemetry=stdout is the only form; collectors are set in [otlp]");
			o->sets[o->nsets++] = "otlp.console=yes";
		} else if (c == 'N') {
			o->no_sandbox = true;
		} else if (mode_of(o, c)) {
			return usage("that option is not known, or its argument is missing");
		}
	}
	return optind < argc ? usage("an argument that is no option") : 0;
}
