/* SPDX-License-Identifier: Apache-2.0
 *
 * access/identity: evidence of who a connection is: what the kernel says of its peer, then perhaps a token
 * or verified claims.  Evidence survives a reload; what it allows is worked out anew for each generation
 * (access/access.h).
 */
#ifndef ACCESS_IDENTITY_H
#define ACCESS_IDENTITY_H
#include <stdbool.h>
#include <stdint.h>
#include "access/peer.h"
#include "access/token.h"

struct jwt_claims;

enum identity_source {
	IDENTITY_NOBODY,        /* over TCP, and nothing was presented */
	IDENTITY_PEER,          /* the kernel's word alone */
	IDENTITY_TOKEN,
	IDENTITY_JWT
};

enum identity_lapsed { IDENTITY_EXPIRED = 1, IDENTITY_REVOKED };

struct identity {
	uint8_t source;                 /* enum identity_source: the strongest evidence */
	uint8_t lapsed;                 /* 0, or why what it presented last is no evidence any more */
	struct peer peer;               /* what the kernel says; PEER_NOBODY over TCP */
	char name[65];                  /* TOKEN: its name; JWT: its subject */
	uint8_t token[TOKEN_DIGEST];      /* TOKEN: SHA-256 of what was presented */
	uint32_t token_at;              /* TOKEN: where it stands in the set, if it still does */
	struct jwt_claims *jwt;         /* JWT: one reference */
	uint64_t expires_ms;            /* Unix time; 0: never */
};
#endif
