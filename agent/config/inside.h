/* SPDX-License-Identifier: Apache-2.0
 *
 * config/inside: what the files of this room share and nobody else includes.
 *
 * How a configuration is made (load.c leads):
 *   reader.c   files           -> settings, each a text with its place
 *   sources.c  environment, --set -> further settings behind them, so that the last one wins
 *   load.c     settings        -> values of sections, checked by keys.def and the plugins' schemas
 *   check.c    values          -> what several of them say together; what follows from them
 */
#ifndef CONFIG_INSIDE_H
#define CONFIG_INSIDE_H
#include <stdatomic.h>
#include "config/cfg.h"

/* ---- tables.c: keys.def and env.def as data -------------------------------------------------- */
enum { KEY_PUBLIC = 1 << 16 };
struct kind_row {
	const char *name;
	bool named;
	const char *doc;
};
struct key_row {
	enum cfg_kind kind;
	const char *name;
	struct value_rule rule;
	uint32_t flags; /* PURSER_KEY_*, KEY_PUBLIC */
	const char *def, *doc;
};
enum env_form {
	ENV_PLAIN, ENV_SECONDS, ENV_MS, ENV_OTEL, ENV_FALSE, ENV_EXPORTER, ENV_RETRIES
};
struct env_row {
	const char *name;
	enum cfg_kind kind;
	const char *key;
	enum env_form form;
};
extern const struct kind_row kind_rows[CFG_KIND_COUNT];
extern const struct key_row key_rows[CFG_KEY_COUNT];
extern const struct env_row env_rows[];
extern const size_t env_row_count;

int kind_find(const char *name);                            /* -1: none */
int key_find(enum cfg_kind kind, const char *name);         /* -1: none */
void kind_keys(enum cfg_kind kind, size_t *first, size_t *n); /* its rows of key_rows */

/* ---- the built thing ------------------------------------------------------------------------- */
enum cfg_source { FROM_DEFAULT, FROM_BUILTIN, FROM_FILE, FROM_ENV, FROM_SET };
struct cfg_place {
	enum cfg_source source;
	uint32_t file, line;  /* FROM_FILE: index in cfg->files */
	const char *name;     /* FROM_ENV: the variable (static) */
};

struct cfg_value {
	char *text;           /* owned; NULL: not set and no default */
	const char *def;      /* static, or the plugin's; NULL: none */
	struct value v;
	struct cfg_place place;
	uint64_t digest;      /* of the content of a *_file */
};

struct cfg_extra {        /* a setting of the plugin */
	char *name;
	purser_key decl;      /* type 0: the schema is not known */
	struct cfg_value value;
};

struct key_rule {
	struct value_rule value;
	uint32_t flags;
};

struct cfg_section {
	struct cfg *cfg;
	struct cfg_section *next;
	enum cfg_kind kind;
	char *name;           /* "" where the kind has none */
	struct cfg_place place; /* of its first header */
	uint32_t seen_file, seen_line; /* its last header; seen_line 0: none yet */
	size_t first_key, nkeys;
	struct cfg_value *values; /* nkeys, by key - first_key */
	struct key_rule *rules;   /* nkeys; a plugin may narrow those of [backend] */
	struct cfg_extra *extras;
	size_t nextras, extras_cap;
	bool unchecked;       /* the plugin's schema is not to be had */
	char *prefix;         /* of a project */
	const struct cfg_section *backend; /* of a project */
};

struct cfg {
	atomic_uint refs;
	uint64_t generation;
	bool found;           /* files[0] is the main file */
	char **files;
	size_t nfiles, files_cap;
	struct cfg_section *first[CFG_KIND_COUNT], **end[CFG_KIND_COUNT];
	size_t nsections;
	struct cfg_export exports[CFG_SIGNALS];
	char *export_urls[CFG_SIGNALS];
	char **export_headers[CFG_SIGNALS];
	char *service_name;
};

/* ---- what is being made ---------------------------------------------------------------------- */
struct setting {
	struct cfg_section *section;
	char *key, *text;     /* owned */
	struct cfg_place place;
	bool commented;       /* " ;" follows it in its line */
};

struct loader {
	const struct cfg_inputs *in;
	struct cfg *cfg;
	struct cfg_errors *errors;
	struct setting *settings;
	size_t n, cap;
	bool nomem, unreadable;
};
enum { SETTINGS_MAX = 10000, SECTIONS_MAX = 1000, FILE_BYTES_MAX = 1 << 20 };

/* errors.c.  place NULL: no place.  Both note want of memory in ld. */
void load_error(struct loader *ld, const struct cfg_place *place, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void load_warning(struct loader *ld, const struct cfg_place *place, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void place_text(const struct cfg *c, const struct cfg_place *p, char *buf, size_t len);
/* "[backend main]" or "[agent]" into buf, which is also returned. */
const char *section_title(const struct cfg_section *s, char *buf, size_t len);
/* A value as it may be shown: secrets and passwords in URLs masked, long ones cut. */
const char *shown(enum value_type type, uint32_t flags, const char *text, char *buf, size_t len);
enum { SHOWN_MAX = 160 };

/* cfg.c */
enum cfg_path_use path_use(const char *key);

/* paths.c */
bool open_to_all(const char *dir); /* every user may replace what is in it */
extern const struct cfg_place place_default;
struct cfg *cfg_new(uint64_t generation);
/* The section, made when it is not there yet.  NULL: no memory, or too many (said). */
struct cfg_section *cfg_section_get(struct loader *ld, enum cfg_kind kind, const char *name,
	const struct cfg_place *place);
struct cfg_value *cfg_value_of(const struct cfg_section *s, enum cfg_key key);
struct cfg_extra *cfg_extra_find(const struct cfg_section *s, const char *name);
/* Sets text (copied) and place; 0, or -1 without memory. */
int cfg_value_set(struct cfg_value *v, const char *text, const struct cfg_place *place);
void cfg_value_clear(struct cfg_value *v);

/* Adds a setting.  The one of the greater source wins, of the same source the later one.  False: no
 * memory, or too many (said). */
bool load_setting(struct loader *ld, struct cfg_section *s, const char *key, const char *text,
	const struct cfg_place *place);
/* The text that wins for this key; NULL: none, or an empty one. */
const char *load_winner(const struct loader *ld, const struct cfg_section *s, const char *key);
/* "backend main" -> its section, made where need be; NULL after saying what is wrong. */
struct cfg_section *load_title(struct loader *ld, const char *title, const struct cfg_place *place);

/* reader.c */
void read_files(struct loader *ld);
/* One file's text; cfg->files[file] is its name. */
void read_text(struct loader *ld, uint32_t file, const char *text, size_t len);

/* sources.c */
void read_sets(struct loader *ld);
void read_environment(struct loader *ld);
const char *env_get(const char *const *env, const char *name); /* NULL: not there, or empty */

/* check.c, signals.c */
void check_all(struct loader *ld);
void make_signals(struct loader *ld);
/* Gives a key that nothing has set the value that follows from others; its origin is "default". */
void derive(struct loader *ld, struct cfg_section *s, enum cfg_key key, const char *text);

/* paths.c */
int default_state_dir(const char *const *env, uid_t uid, char *buf, size_t len);
uint64_t text_digest(const char *text);
#endif
