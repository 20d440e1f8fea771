/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files with stream commands share: ids as arguments, entries as replies.
 */
#ifndef MEMORY_CMD_STREAM_H
#define MEMORY_CMD_STREAM_H
#include "cmd.h"
#include "stream.h"

#define SID_TEXT 44                    /* room for any id */

/* An id as Redis reads it: "ms" (then seq is `missing`) or "ms-seq"; "-" and "+" unless it is strict.  seq_given
 * not NULL: "ms-*" is taken as well, and *seq_given is 0 then.  0, or -1. */
int sid_parse(purser_bytes a, int strict, uint64_t missing, int *seq_given, struct sid *out);
/* The same with the error replied; strict. */
int arg_sid(struct ctx *cx, purser_call *c, uint32_t arg, struct sid *out);
/* One end of a range: with "(" in front it is not part of it.  The error is replied. */
int arg_from(struct ctx *cx, purser_call *c, uint32_t arg, struct sid *out);
int arg_upto(struct ctx *cx, purser_call *c, uint32_t arg, struct sid *out);

size_t sid_format(struct sid id, char buf[SID_TEXT]);
void reply_sid(struct ctx *cx, purser_call *c, struct sid id);
void reply_entry(struct ctx *cx, purser_call *c, const struct spos *p); /* [id, [name, value, ...]] */
/* An array of at most `most` entries of from..to. */
void reply_entries(struct ctx *cx, purser_call *c, const struct stream *s, struct sid from, struct sid to,
    uint64_t most, int back);
void reply_bad_sid(struct ctx *cx, purser_call *c);

/* The stream at p, made empty if there is none (then *made is 1 and p->it is new).  NULL: no memory. */
struct stream *stream_at_key(struct ctx *cx, struct pos *p, int *made);
/* Takes back what stream_at_key() made. */
void stream_unmake(struct ctx *cx, purser_call *c, uint32_t arg, struct pos *p);

/* The group that argv[arg] names of the stream at argv[arg - 1], which is found at p; NULL, with the error
 * replied unless the text is NULL, if there is none: then *wrong is 1 if the key is of another type. */
struct sgroup *arg_group(struct ctx *cx, purser_call *c, uint32_t arg, struct pos *p, int how,
    const char *text, int *wrong);
void reply_bad_subcommand(struct ctx *cx, purser_call *c, const char *command);
/* The key as the client knows it, and a name, as error texts show them. */
struct shown { int n; const char *p; };
struct shown shown_key(const purser_call *c, uint32_t arg);
struct shown shown_arg(const purser_call *c, uint32_t arg);

/* ---- XREAD, XREADGROUP (cmd_stream_read.c) --------------------------------------------------------------- */
/* One stream of the command. */
struct sread_part {
	struct stream *s;                   /* NULL: no such key */
	struct sgroup *g;
	struct sconsumer *k;                /* once it answers */
	struct sid after;                   /* "$" and ">" resolved */
	uint8_t dollar, history, answers, made;
	uint64_t n;                         /* entries handed out, up to this one */
	struct sid from, to, was;           /* ... and what the group's state was before */
	int64_t was_read;
};
struct sread {
	uint32_t n, key, group, consumer;   /* streams; argv of the first key, of the names (0: none) */
	int noack, blocks;
	int64_t count, block_ms;            /* count 0: all */
	struct sread_part *part;            /* n of them, in scratch memory */
};
/* Reads the arguments and finds the streams; 0, or -1 with the error replied.  after NULL, or for a command that
 * has waited: n ids to take for the "$" it had. */
int sread_begin(struct ctx *cx, purser_call *c, struct sread *r, const struct sid *after);
/* How many streams have something to say now. */
uint32_t sread_ready(const struct sread *r);
/* Replies what they say, if any; 0: none does, and nothing was replied. */
int sread_reply(struct ctx *cx, purser_call *c, struct sread *r);

extern const char err_no_group[];      /* shown key, shown group */
#endif
