/* SPDX-License-Identifier: Apache-2.0
 *
 * export/spool: encoded requests on disk, so that neither a crash nor a long outage of the collector loses them.  A
 * directory of segments; a record is written once, read when its turn comes, and done with when the collector has it.
 * The exporter thread's alone; a lock file keeps a second agent out.
 *
 * A segment "0000000007.seg" is a head of 16 bytes and records behind each other, each with a head of its own whose
 * checksum (CRC-32C) tells it from damage, and one of its payload.  Reading goes on behind a damaged place at the next
 * good head; a damaged segment is kept aside in bad/ (the newest few) for whoever wants to look.  What a crash left half
 * written at the end of the last one is cut off.  Nothing is ever appended to a segment of an earlier run.
 *
 * "ack" holds the number of the last record of each signal that is done with, in two blocks written in turn, each with a
 * checksum: is the newer one damaged, the older one says all but the last.  A segment goes when all of its records are
 * done with.
 *
 * All numbers in files are little-endian.  Format 1; files of another are moved to bad/ and said so.
 */
#ifndef EXPORT_SPOOL_H
#define EXPORT_SPOOL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"

#define SPOOL_SIGNALS 4u            /* room in the files; more than there are */
#define SPOOL_RECORD_HEAD 48u
#define SPOOL_SEGMENT_HEAD 16u
#define SPOOL_BAD_KEPT 4u           /* damaged segments that are kept */

struct spool_opts {
	const char *dir;            /* made if it is not there (0700); its parent too */
	uint64_t segment_bytes;     /* 0: 4 MiB */
	bool sync;                  /* fdatasync() each group before it counts as written */
};

struct spool_record {
	uint64_t seq;               /* 1 .. */
	uint64_t wall_ns;           /* Unix time at which it was made */
	uint32_t segment;
	uint32_t offset;            /* of its head */
	uint32_t len;               /* of its payload */
	uint32_t items;
	uint8_t signal;             /* < SPOOL_SIGNALS */
	bool gzip;
};

struct spool_write {                /* one record of a group: in without seq, segment, offset; out with them */
	struct spool_record r;
	const uint8_t *payload;
};

struct spool_report {               /* what spool_open() came upon */
	uint32_t records;           /* not done with yet */
	uint64_t bytes;             /* their payloads */
	uint32_t damaged;           /* places that could not be read: at least so many records */
	uint32_t bad;               /* segments kept aside for it */
	uint32_t unknown;           /* ... of another format */
	bool cut;                   /* the last one ended in the middle of a record */
};

struct spool;
/* found is told of every record that is not done with, oldest first.  NULL with why (for people). */
struct spool *spool_open(const struct spool_opts *o, void (*found)(void *arg, const struct spool_record *r),
    void *arg, struct spool_report *rep, char *why, size_t cap);
void spool_close(struct spool *s);  /* NULL is fine */

/* Write a group: all of it, or -1 (errno) and nothing.  At most SPOOL_GROUP. */
#define SPOOL_GROUP 256u
int spool_write(struct spool *s, struct spool_write *v, unsigned n);
/* The payload of a record, checked.  -1: it is damaged or cannot be read. */
int spool_read(struct spool *s, const struct spool_record *r, struct buf *out);
/* r is done with, and all of its signal before it.  Told to the disk at once, but not synced: a power cut may bring back
 * what was sent.  -1 (errno): the ack could not be written; it is done with all the same, until a restart. */
int spool_ack(struct spool *s, const struct spool_record *r);
/* r is done with in another way (its segment is being dropped, it is damaged). */
void spool_forget(struct spool *s, const struct spool_record *r);

uint64_t spool_bytes(const struct spool *s); /* of all segments */
uint32_t spool_oldest(const struct spool *s); /* segment; 0: there is none */
void spool_drop(struct spool *s, uint32_t segment); /* with what is left in it */
#endif
