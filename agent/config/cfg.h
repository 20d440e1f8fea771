/* SPDX-License-Identifier: Apache-2.0
 *
 * config/cfg: the configuration.  Files, environment and --set go in; out comes one immutable,
 * checked generation, or the list of everything that is wrong with them, each with its place.
 *
 * A generation (struct cfg) is built by cfg_load() on one thread and from then on only read, by any
 * number of threads; each that keeps it takes a reference (cfg_ref) and drops it (cfg_unref).
 * Texts and sections that the getters return are borrowed from it.
 *
 * What wins: --set, then environment, then the files (conf.d after the main file, in sorted order),
 * then the default.  keys.def and the schemas of the plugins are all there is: an unknown section
 * or key is an error.
 */
#ifndef CONFIG_CFG_H
#define CONFIG_CFG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <purser/plugin.h>
#include "config/value.h"

enum cfg_kind {
#define SECTION(id, name, named, doc) CFG_##id,
#define KEY(...)
#include "config/keys.def"
#undef SECTION
#undef KEY
	CFG_KIND_COUNT
};

enum cfg_key { /* CFG_AGENT_SOCKET, CFG_HEALTH_INTERVAL, ... */
#define SECTION(...)
#define KEY(section, id, ...) CFG_##section##_##id,
#include "config/keys.def"
#undef SECTION
#undef KEY
	CFG_KEY_COUNT
};

/* What cfg_int() gives for the keys whose values are words, in the order of their choices.
 * log.level and log.format have the order of enum log_level and enum log_format. */
enum { CFG_CHARGE_COMMAND = 0, CFG_CHARGE_SIZE = 1 };           /* project.charge */
enum { CFG_DEVELOPMENT = 0, CFG_PRODUCTION = 1 };             /* agent.mode */
enum { CFG_SANDBOX_ON = 0, CFG_SANDBOX_OFF = 1, CFG_SANDBOX_STRICT = 2 }; /* agent.sandbox */
enum { CFG_UNBOUNDED_OK = 0, CFG_UNBOUNDED_WARNING = 1 };     /* health.memory_unbounded */
enum { CFG_COMPRESS_NONE = 0, CFG_COMPRESS_GZIP = 1 };        /* otlp.compression */
enum { CFG_OTLP_HTTP = 0, CFG_OTLP_HTTP_JSON = 1, CFG_OTLP_GRPC = 2 }; /* otlp.protocol */
enum {                                                        /* otlp.sampler */
	CFG_ALWAYS_ON, CFG_ALWAYS_OFF, CFG_RATIO,
	CFG_PARENT_ALWAYS_ON, CFG_PARENT_ALWAYS_OFF, CFG_PARENT_RATIO
};

struct cfg;
struct cfg_section;

/* ---- errors ---------------------------------------------------------------------------------- */
struct cfg_error {
	bool warning;        /* said, but the configuration is good */
	char *text;          /* "FILE:LINE: [section] key = value: what is wrong: what to write" */
	uint32_t file, line; /* order of the list */
};

/* Zero it before the first use.  Keeps at most CFG_ERRORS_MAX texts. */
enum { CFG_ERRORS_MAX = 200 };
struct cfg_errors {
	struct cfg_error *list;
	size_t n, cap;
	size_t omitted;      /* not kept */
	size_t nerrors;      /* kept or not, without the warnings */
};
void cfg_errors_print(FILE *f, const struct cfg_errors *e); /* one a line; warnings say so */
void cfg_errors_free(struct cfg_errors *e);                 /* and zero */

/* ---- load ------------------------------------------------------------------------------------ */
/* The settings that a plugin declares.  plugin_dir: what [agent] plugin_dir says, "" = nothing.
 * 0 with *keys, *n, *stride set (borrowed for the life of the program), or -1 with a sentence in
 * why (not found, not a plugin, ...). */
typedef int (*cfg_schema_fn)(void *arg, const char *plugin, const char *plugin_dir,
	const purser_key **keys, uint32_t *n, uint32_t *stride, char *why, size_t whylen);

/* What a path is for: read; a file that is written, by way of others beside it; a directory that is
 * written to; the file of a socket. */
enum cfg_path_use { CFG_PATH_READ, CFG_PATH_WRITE, CFG_PATH_WRITE_DIR, CFG_PATH_SOCKET };

struct cfg_inputs {
	const char *path;           /* --config FILE; NULL: search */
	const char *system_path;    /* end of the search; NULL: SYSCONFDIR/purser/purser.ini */
	const char *const *env;     /* "NAME=value", NULL at the end; NULL: empty */
	const char *const *sets;    /* --set: "section.key=value", "section NAME.key=value" */
	size_t nsets;
	cfg_schema_fn schema;       /* NULL: plugin settings are kept as text, unchecked */
	void *schema_arg;
	const char *const *modules; /* names for [log] modules, NULL at the end; NULL: any */
	/* False: the process has given up that path and does not get it back.  NULL: it may use any. */
	bool (*may)(const void *arg, const char *path, enum cfg_path_use use);
	const void *may_arg;
	uid_t uid;                  /* whose default paths: geteuid() */
	uint64_t generation;        /* for cfg_generation() */
};

enum {
	CFG_OK = 0,
	CFG_INVALID = -1,     /* errors says what */
	CFG_UNREADABLE = -2,  /* a file could not be read: errors says which */
	CFG_NOMEM = -3
};
/* CFG_OK and one reference in *out (transfers), or a code and *out untouched.  All errors are found
 * at once.  Warnings are in errors in either case. */
int cfg_load(const struct cfg_inputs *in, struct cfg **out, struct cfg_errors *errors);
/* Exit status of --check-config: 0 good, 1 errors in the configuration, 2 could not be read. */
int cfg_exit_status(int code);

struct cfg *cfg_ref(struct cfg *c);   /* any thread */
void cfg_unref(struct cfg *c);        /* any thread; the last one wipes the secrets */
uint64_t cfg_generation(const struct cfg *c);
const char *cfg_file(const struct cfg *c); /* the main file; NULL: none found, built-in defaults */

/* ---- read ------------------------------------------------------------------------------------ */
/* [agent], [health], ...: never NULL, also where no file has the section. */
const struct cfg_section *cfg_one(const struct cfg *c, enum cfg_kind kind);
/* [backend NAME], [project NAME]: in the order of the files; NULL at the end. */
const struct cfg_section *cfg_first(const struct cfg *c, enum cfg_kind kind);
const struct cfg_section *cfg_next(const struct cfg_section *s);
const struct cfg_section *cfg_find(const struct cfg *c, enum cfg_kind kind, const char *name);
size_t cfg_count(const struct cfg *c, enum cfg_kind kind);
const char *cfg_name(const struct cfg_section *s); /* NAME, or "" */
enum cfg_kind cfg_section_kind(const struct cfg_section *s);

/* The key must be one of the section's kind.  Not set and without default: "" and 0. */
const char *cfg_text(const struct cfg_section *s, enum cfg_key key);
int64_t cfg_int(const struct cfg_section *s, enum cfg_key key);  /* the num of value.h */
double cfg_real(const struct cfg_section *s, enum cfg_key key);  /* the real of value.h */
bool cfg_is_set(const struct cfg_section *s, enum cfg_key key);  /* by more than its default */
/* Pair i of a PAIRS key, decoded into buf (4 KiB hold any); false behind the last. */
bool cfg_pair(const struct cfg_section *s, enum cfg_key key, size_t i, char *buf, size_t len,
	const char **name, const char **value);
/* The next word of a list with blanks or commas between, cut to len.  False: there is none. */
bool cfg_next_word(const char **at, char *word, size_t len);
/* Where a value comes from: "/etc/purser/purser.ini:12", "environment REDIS_URL", "--set",
 * "default". */
void cfg_origin(const struct cfg_section *s, enum cfg_key key, char *buf, size_t len);

/* A setting of a [backend NAME] by name, the plugin's own or the core's.  False: no such key there.
 * Either out may be NULL. */
bool cfg_setting(const struct cfg_section *s, const char *name, const char **text, int64_t *num);

/* The [backend NAME] of a project: what its backend key says, else the only one.  Never NULL. */
const struct cfg_section *cfg_project_backend(const struct cfg_section *project);
/* What the project's keys begin with in the store: key_prefix, else proj:NAME:, else (isolation =
 * off) "". */
const char *cfg_project_prefix(const struct cfg_section *project);

/* fn for every path that it names, and for the files that it was read from.  The name of a key says
 * what a path is for: *_file and *_dir are read, but for state_dir; anything else is a file that is
 * written. */
void cfg_each_path(const struct cfg *c,
	void (*fn)(void *arg, const char *path, enum cfg_path_use use), void *arg);

/* One signal's export: all its keys and the headers file put together. */
enum cfg_signal { CFG_TRACES = 0, CFG_METRICS = 1, CFG_LOGS = 2 };
#define CFG_SIGNALS 3
struct cfg_export {
	const char *url;            /* whole; NULL: this signal is not exported */
	int64_t timeout_ns;         /* 0: no limit */
	const char *unix_path;      /* connect to this socket; NULL: to the URL's host */
	int protocol;               /* CFG_OTLP_HTTP ... */
	bool gzip;
	const char *const *headers; /* nheaders complete "Name: value" lines; secret */
	size_t nheaders;
	const char *ca_file, *cert_file, *key_file; /* NULL: the system's, none, none */
};
const struct cfg_export *cfg_export(const struct cfg *c, enum cfg_signal signal);
const char *cfg_service_name(const struct cfg *c);

/* ---- print, compare -------------------------------------------------------------------------- */
/* --print-config: every effective value and its origin, as an INI file; secrets masked. */
void cfg_print(FILE *f, const struct cfg *c);

struct cfg_change {
	char *text;      /* "[health] interval: 30s -> 10s", "[backend b]: added"; secrets masked */
	bool reloadable; /* may change while running; false: needs a restart */
	enum cfg_kind kind;
};
struct cfg_changes {
	struct cfg_change *list;
	size_t n, cap;
	size_t nfixed;   /* how many need a restart */
};
/* What differs from a to b; zero *out first.  Whole [backend] and [project] sections may come and
 * go while running.  A reloadable *_file key counts as changed when the content of its file has
 * changed.  CFG_OK or CFG_NOMEM. */
int cfg_diff(const struct cfg *a, const struct cfg *b, struct cfg_changes *out);
void cfg_changes_free(struct cfg_changes *x); /* and zero */

/* ---- paths and secrets ----------------------------------------------------------------------- */
/* $PURSER_SOCKET, else /run/purser/purser.sock as root, else $XDG_RUNTIME_DIR/purser.sock, else
 * /tmp/purser-UID/purser.sock.  Touches nothing.  0, or -1 with why (too long for a socket). */
int cfg_default_socket(const char *const *env, uid_t uid, char *buf, size_t len, char *why,
	size_t whylen);
/* Before bind (create) or connect (!create) to path: makes the directory if it is one of the
 * default ones (/run/purser 0755, /tmp/purser-UID 0700), and refuses a /tmp/purser-UID that is not
 * a real directory of uid's own, closed to others; before bind also any other one that all may write
 * to and that is not sticky.  0, or -1 with why. */
int cfg_socket_dir(const char *path, uid_t uid, bool create, char *why, size_t whylen);

/* The content of a secret's file without one line end behind it: at most len - 1 bytes, none of
 * them NUL, then a NUL.  Refuses what is no regular file and what everybody may write.  Its
 * length, or -1 with why. */
ssize_t cfg_read_secret(const char *path, char *buf, size_t len, char *why, size_t whylen);
#endif
