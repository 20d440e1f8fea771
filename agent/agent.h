/* SPDX-License-Identifier: Apache-2.0
 *
 * agent: the program as a whole: what main owns.  Control thread (this file's functions unless they
 * say otherwise): configuration, signals, reload, health.  Worker threads: struct serving.
 */
#ifndef AGENT_H
#define AGENT_H
#include "command/declared.h"
#include <pthread.h>
#include "config/cfg.h"
#include "metric/metric.h"
#include "access/attempts.h"
#include "request.h"
#include "sandbox.h"
#include "server/local.h"
#include "server/server.h"
#include "trace/trace.h"

/* ---- the command line ---- */
#define OPTION_SETS_MAX 256u
enum option_mode { OPTION_RUN, OPTION_CHECK, OPTION_PRINT, OPTION_DUMP_PLUGIN, OPTION_DUMP_DOCS,
	OPTION_VERSION, OPTION_HELP };
struct options {
	enum option_mode mode;
	const char *config;              /* --config */
	const char *plugin_dir;          /* --plugin-dir */
	const char *subject;             /* of --dump-plugin, --dump-docs */
	const char *sets[OPTION_SETS_MAX];
	size_t nsets;
	bool no_sandbox;                 /* --no-sandbox */
};
/* 0, or the exit status of a usage error (said on stderr). */
int options_parse(struct options *o, int argc, char **argv);
void options_help(FILE *f);

/* ---- plugins by name: loaded once, for ever ---- */
#define PLUGINS_MAX 32u
struct plugin_cache {
	struct plugin *v[PLUGINS_MAX + 1]; /* NULL at the end */
	char *name[PLUGINS_MAX];
	size_t n;
	struct plugin_path paths;
};
/* NULL with why. */
const struct plugin *plugins_get(struct plugin_cache *c, const char *name, char *why, size_t whylen);
int plugins_schema(void *cache, const char *plugin, const char *plugin_dir, const purser_key **keys,
    uint32_t *n, uint32_t *stride, char *why, size_t whylen); /* a cfg_schema_fn */
void plugins_free(struct plugin_cache *c);

/* ---- a running backend ---- */
struct breaker_probe;
struct backend_breaker {                 /* of a class: agent_breaker.c */
	struct agent *a;
	struct backend *b;
	struct loop_timer timer;         /* the agent asks by itself */
	struct breaker_probe *probe;     /* ... and has not been answered yet */
};
struct backend {
	struct backend *next;
	struct purser_instance *in;
	const struct cfg_section *_Atomic section; /* of a configuration that some generation holds */
	const struct cfg_section *was;   /* reload under way: the section before */
	bool prepared;                   /* ... and the plugin waits for adopt() */
	bool keep;                       /* reload: the new generation uses it */
	bool fresh;                      /* reload: made for the new generation */
	bool draining;                   /* its contexts take no new call */
	struct backend_breaker breaker[GUARD_CLASSES];
};

struct agent {
	struct options opt;
	struct cfg *cfg;
	struct log *log;
	struct metric_reg *metrics;
	struct metric_shard *shard;      /* the control thread's */
	struct trace_policy policy;
	struct cmd_declarations *declared;
	req_handler handlers[CMD_COUNT];
	feature_handler features[CMD_COUNT];
	struct scripts *scripts;
	struct project_numbers *numbers; /* of all projects that there have been */
	struct plugin_cache plugins;
	struct offload *offload;
	struct loop *control;
	struct backend *backends;
	pthread_mutex_t backends_lock;   /* the list, and gen, against readers of metrics */
	struct generation *gen;
	struct generation *draining;     /* of the last reload, until nothing uses it */
	struct cfg *draining_cfg;
	struct loop_timer drain_timer;
	uint64_t drain_until_ns;
	struct server server;
	struct serving *serving;         /* [nworkers] */
	struct worker **peers;           /* ... as requests see them */
	pthread_t *threads;
	uint32_t nworkers, nrunning;
	struct agent_ops ops;
	struct faults faults;
	struct attempts attempts;        /* failed authentications */
	struct agent_telemetry *telemetry;
	struct jwt_service *jwt;         /* access/jwt.h: verifies what workers do not know yet */
	struct health *health;
	struct jobs *jobs;               /* feature/job_service.h */
	struct loop_io signals;
	int signal_fd;
	struct sandbox sandbox;
	char socket[108];
	char state_dir[256];
	uint64_t cursor_secret[2];
	struct slowlogs *slow;
	struct touch_table *touch;
	char tag[9];                     /* of this agent: host and socket */
	uint64_t started_ms;
	bool stopping;
	int exit_status;
};

/* ---- main.c ---- */
void agent_inputs(struct agent *a, struct cfg_inputs *in); /* where the configuration comes from */
int dump_docs(struct agent *a);          /* --dump-docs: dump.c */

/* ---- agent.c: life ---- */
int agent_run(struct agent *a);          /* start, serve until told to stop, stop; the exit status */
void agent_stop(struct agent *a);
int agent_cursor_secret(struct agent *a); /* agent_cursor.c; -1: no randomness */
/* Run fn(arg) on worker w's thread and wait for it. */
void agent_on_worker(struct agent *a, uint32_t w, purser_fn fn, void *arg);

/* ---- agent_build.c: from a configuration to what runs ---- */
/* Instances (new ones are started, their contexts opened) and projects of cfg.  NULL with the reason
 * appended to why; nothing of it is left then. */
int build_check(struct agent *a, struct buf *why); /* does each backend start?  0, or -1 with why not */
/* agent_command.c: the rows of commands.def, and those that cfg declares.  -1 with what is wrong appended to why. */
int build_commands(struct cmd_declarations *d, const struct cfg *cfg, struct cmd_index *x, struct buf *why);
struct generation *build_generation(struct agent *a, struct cfg *cfg, uint64_t number, struct buf *why);
void build_discard(struct agent *a, struct generation *g); /* what build_generation made anew */
/* Close and free the backends that no generation keeps, or all.  False: some still wait for work that
 * they have elsewhere (a name being resolved); ask again. */
bool build_retire(struct agent *a, bool all);
void build_limits(const struct cfg *cfg, struct log *log, struct server_limits *l);

/* ---- agent_reload.c ---- */
/* Read the configuration again.  0 and in out the warnings, a line each, and the new generation's
 * number; or -1 and the list of errors: then the old one goes on. */
int reload(struct agent *a, struct buf *out);

/* ---- agent_control.c: what workers ask of the control thread; signals ---- */
void control_init(struct agent *a);
int control_signals(struct agent *a, char *why, size_t whylen);
void control_end(struct agent *a);

/* ---- agent_telemetry.c ---- */
int telemetry_start(struct agent *a, char *why, size_t whylen);
void telemetry_apply(struct agent *a, const struct cfg *cfg); /* sampling, log levels, exporters */
void telemetry_stop(struct agent *a);
void telemetry_metrics(struct agent *a, bool anonymous, struct buf *out); /* Prometheus text */
void telemetry_state(struct agent *a, int *state, char *text, size_t cap); /* purser.telemetry.state */

/* ---- agent_notify.c: service managers ---- */
void notify(const char *state);          /* sd_notify(3); nothing without NOTIFY_SOCKET */
void agent_watchdog(struct agent *a);    /* once a second: tells the service manager that all is alive */
#endif
