/* SPDX-License-Identifier: Apache-2.0
 *
 * request_track: CLIENT TRACKING.  In: what tracking clients read, and which keys have changed (hub.h: the
 * store tells of every change below a project's prefix).  Out: invalidations of the keys that a client has
 * read, or that begin with one of its prefixes, under the names that it knows, and never before the
 * reply to a read of that key which is under way.
 */
#ifndef REQUEST_TRACK_H
#define REQUEST_TRACK_H
#include "request_push.h"

enum { TRACK_BCAST = 1, TRACK_OPTIN = 2, TRACK_OPTOUT = 4, TRACK_NOLOOP = 8 };

struct track_area;
struct interest;
struct tracking {                   /* of one client, while it tracks */
	struct client *c;
	struct track_area *area;
	uint8_t options;                /* TRACK_* */
	bool caching;                   /* CLIENT CACHING was said: it holds for the next command */
	bool broken;                    /* the client that is told in its place is gone */
	uint64_t redirect;              /* id of that client; 0: itself */
	uint32_t redirect_worker;
	struct interest *first;         /* what it has read */
	purser_bytes *prefix;           /* BCAST: logical; one block with the bytes behind */
	uint32_t nprefixes;
	struct tracking *next, *prev;   /* of the area */
};

struct track_opts {
	uint8_t options;
	uint64_t redirect;
	uint32_t redirect_worker;
	const purser_bytes *prefix;     /* copied */
	uint32_t nprefixes;
};
/* r is answered when the store tells of changes. */
void track_start(struct request *r, const struct track_opts *o);
void track_end(struct client *c);       /* OFF, RESET, gone */
/* r runs, with its words as the client gave them: note what it reads. */
void track_command(struct request *r);
/* A command that r (EXEC) carries; and behind the last one. */
void track_part(struct request *r, const struct command *cmd, const purser_bytes *argv, uint32_t argc);
void track_parts_end(struct request *r);
/* The reply of r is in the client's buffer, whole. */
void track_replied(struct client *c, struct request *r);
void track_deliver(struct worker *w, struct hub_msg *m); /* HUB_INVALID */
#endif
