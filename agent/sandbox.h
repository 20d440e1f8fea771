/* SPDX-License-Identifier: Apache-2.0
 *
 * sandbox: what the process gives up once it has its sockets, before any of its threads exists
 * (docs/decisions/sandbox.md).  Four parts, each by itself: privileges (no new ones, no capabilities),
 * no core dump and no tracer, files (Landlock), system calls (seccomp).  They hold for every thread that
 * comes later and cannot be taken back, so what a reload asks for is measured against what was said at
 * the start: sandbox_may().
 *
 * Owned by main; written by sandbox_close() on the main thread before there are others, then only read.
 */
#ifndef SANDBOX_H
#define SANDBOX_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "config/cfg.h"

struct buf;
struct log;

enum { SANDBOX_PATHS_MAX = 512 };

struct sandbox_path {
	char *path;                 /* resolved: a directory with all below it, or one file */
	uint8_t use;                /* enum cfg_path_use */
	bool file;
};

struct sandbox {
	int mode;                   /* CFG_SANDBOX_* */
	const char *off;            /* who said off, or NULL */
	bool no_new_privs;
	bool no_dump;
	uint64_t kept;              /* capabilities that a path needs */
	char kept_for[256];         /* ... the first such path */
	int landlock;               /* ABI; 0: not in force */
	char no_landlock[160];      /* why not */
	bool net;                   /* ... it also forbids to bind TCP ports */
	uint32_t calls;             /* system calls that are allowed; 0: not in force */
	char no_calls[160];
	struct sandbox_path paths[SANDBOX_PATHS_MAX];
	size_t npaths;
};

/* ---- sandbox.c ---- */
struct sandbox_inputs {
	const struct cfg *cfg;
	struct log *log;
	bool off;                   /* --no-sandbox */
	const char *plugin_dir;     /* --plugin-dir, or NULL */
};
/* Close it.  0; -1 with why: a part that mode = strict demands is not to be had, or a setting is wrong. */
int sandbox_close(struct sandbox *s, const struct sandbox_inputs *in, char *why, size_t whylen);
/* Could this path be used so, as far as the sandbox goes?  Always before sandbox_close() and without Landlock. */
bool sandbox_may(const void *s, const char *path, enum cfg_path_use use);
/* "on", "partial" or "off"; the whole as a JSON object. */
const char *sandbox_word(const struct sandbox *s);
void sandbox_json(const struct sandbox *s, struct buf *b);
void sandbox_free(struct sandbox *s);

/* ---- sandbox_rights.c ---- */
/* Drop every capability but those without which a path of s could not be used. */
int rights_drop(struct sandbox *s, char *why, size_t whylen);
int rights_no_new_privs(void);      /* 0 or -errno */
int rights_no_dump(void);

/* ---- sandbox_files.c ---- */
/* 0; or -errno, with why in s->no_landlock. */
int files_close(struct sandbox *s);

/* ---- sandbox_calls.c ---- */
/* extra: names of further calls, or "".  0; -1 with why in s->no_calls; -2: extra is wrong, why there, too. */
int calls_close(struct sandbox *s, const char *extra);
#endif
