/* SPDX-License-Identifier: Apache-2.0
 *
 * snapshot: the data in a file of Redis' format, read at the start and written at the end (snapshot = PATH).
 *
 * A file is  "REDIS0010" | facts | databases: expiries, types, keys, values | 255 | CRC-64.  It is written beside the
 * old one (PATH.new) and takes its place when all of it is on the disk; whatever fails, the old one stays.  A file
 * that is damaged, or has what this store cannot keep, refuses the start and is not touched.  PATH.lock, which stays
 * there, is held as long as the path is used: two backends, or two agents, cannot have one file.
 */
#ifndef MEMORY_SNAPSHOT_H
#define MEMORY_SNAPSHOT_H
#include "memory.h"

struct snapshot {
	char *path, *next;                    /* NULL: none; next: prepare() .. adopt() */
	int lock, next_lock;                  /* descriptors; -1: none */
	uint64_t dev, ino;                    /* the file that was read; 0: none */
	int64_t since;                        /* Unix seconds: the store is as it was saved, or empty */
	uint64_t loaded, expired;             /* keys of the file */
};

/* All on the control thread, when no context runs.  0, or -1 with *e filled. */
int snapshot_start(struct store *st, purser_error *e);
void snapshot_save(struct store *st);     /* says in the log what came of it */
void snapshot_end(struct store *st);
/* A reload: another path.  The contexts go on. */
int snapshot_prepare(struct store *st, purser_error *e);
void snapshot_adopt(struct store *st, int commit);

/* ---- reading and writing files: snapshot_file.c ----------------------------------------------------------- */
struct snapshot_counts { uint64_t keys, expired, empty, bytes; int unsigned_file; };
/* What is wrong in why[], and where: bytes from the beginning.  0, or -1. */
int snapshot_read(struct ctx *cx, int fd, struct snapshot_counts *n, char why[160], uint64_t *at);
/* 0, or an errno. */
int snapshot_write(struct ctx *cx, int fd, struct snapshot_counts *n);
#endif
