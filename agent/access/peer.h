/* SPDX-License-Identifier: Apache-2.0
 *
 * access/peer: what the kernel knows of the process at the other end of a Unix socket.  In: the connected
 * descriptor.  Out: the credentials that the peer had when it connected, which nothing it does later
 * changes (SO_PEERCRED, SO_PEERGROUPS).  They decide; the executable is for display only.
 */
#ifndef ACCESS_PEER_H
#define ACCESS_PEER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peer {
	uint32_t pid, uid, gid;   /* all ones: nothing is known (TCP) */
	uint32_t ngroups;         /* supplementary groups */
	uint32_t *groups;         /* owned, ascending; NULL where there are none */
};

#define PEER_NOBODY ((struct peer){ UINT32_MAX, UINT32_MAX, UINT32_MAX, 0, NULL })

static inline bool peer_known(const struct peer *p) { return p->uid != UINT32_MAX; }
/* Whose share of what all have together it takes: that of its user; all that is not known has one. */
static inline uint64_t peer_owner(const struct peer *p) { return p->uid; }
/* 0; or -1 and *p is PEER_NOBODY: the kernel did not say, or no memory for the groups.  Nobody is let in by half of
 * the credentials. */
int peer_read(int fd, struct peer *p);
void peer_free(struct peer *p);   /* and PEER_NOBODY */
/* Its primary group, or one of the supplementary ones? */
bool peer_in_group(const struct peer *p, uint32_t gid);

/* The file that the process of the peer of fd runs, or (nobody may see that) its name in blanks and brackets:
 * "[name]".  accepted_ns: when the connection was accepted, CLOCK_MONOTONIC: a process that is younger has only got
 * the number of the one that connected.  False, and text is "": it is gone, or not to be seen. */
bool peer_executable(int fd, uint32_t pid, uint64_t accepted_ns, char *text, size_t len);
#endif
