/* SPDX-License-Identifier: Apache-2.0
 *
 * feature/job_file: jobs on disk, so that they go on after any end of the agent.  In state_dir/jobs (0700, files 0600):
 *
 *   ID.KIND@PROJECT.job     the job: lines in a fixed order, the last one a checksum; replaced by rename, synced
 *   ID.KIND@PROJECT.names   EXPORT: a name a line, as JSON: "text", or {"base64":"..."} where it is not UTF-8
 *
 * Whose job it was and what it did stand in the name, so that a damaged file is still somebody's failed job.
 */
#ifndef FEATURE_JOB_FILE_H
#define FEATURE_JOB_FILE_H
#include "base/buf.h"
#include "feature/job.h"

#define JOB_FILE_MAX 8192u
#define JOB_FILES_MAX 10000u

/* ---- pure ---- */
void job_file_write(const struct job *j, struct buf *out);
/* 0; -1 with why: it is not what job_file_write() makes, byte by byte.  Then *j is undefined. */
int job_file_read(const char *text, size_t n, struct job *j, char *why, size_t whylen);
void job_file_name(const struct job *j, const char *ending, char *dst, size_t cap); /* "job", "names" */
bool job_file_parse(const char *name, struct job *j, const char **ending); /* id, kind, project; else all zero */
void job_file_put_name(struct buf *out, const void *name, size_t n);       /* a line of an export */

/* ---- on disk; errors are errno ---- */
/* Made if it is not there and make is set, else ENOENT.  One agent at a time has it (flock(2)); EBUSY: another one. */
int job_dir_open(const char *state_dir, bool make, int *dirfd);
int job_file_save(int dirfd, const struct job *j);    /* on disk for sure when it returns 0 */
void job_file_remove(int dirfd, const struct job *j); /* both, if they are there */
/* Every job there is.  One that is damaged comes as failed, with why in its reason, and its file is put aside as
 * NAME.bad; what is no job's is left alone. */
int job_files_each(int dirfd, void (*fn)(void *arg, const struct job *j, const char *damaged), void *arg);
int job_names_open(int dirfd, const struct job *j, int *fd); /* for appending; cut to j->bytes */
int job_names_append(int fd, const struct buf *lines);
int job_names_sync(int fd);
/* Whole lines from offset on, at most cap bytes of the first j->bytes.  Their number, or -errno. */
int64_t job_names_read(int dirfd, const struct job *j, uint64_t offset, void *dst, size_t cap);
#endif
