/* SPDX-License-Identifier: Apache-2.0
 *
 * tls: TLS on the plugin's own non-blocking socket, by OpenSSL.
 *
 * A struct tls is what links need to begin: certificates as the files had them when start() or a
 * reload read them, and the last session ticket.  A new one replaces it as a whole, so that nothing
 * of the old certificates, not even a session, outlives them in a new link.  A struct tls_link is one
 * connection's.  Both ways of the socket are watched from the beginning, because with TLS either may
 * need the other.
 */
#ifndef REDIS_TLS_H
#define REDIS_TLS_H
#include "redis.h"

/* Of the settings, in start() and prepare() only.  *out is NULL where url is not rediss://.  0, or -1
 * with a sentence. */
int tls_new(struct instance *in, struct tls **out, char *err, size_t cap);
void tls_unref(struct tls *t);

/* The link is connected: shake hands.  link_greet() follows, or link_lost(). */
void tls_begin(struct link *l);
/* What the loop said; which of it the link is to act on. */
uint32_t tls_event(struct link *l, uint32_t events);
const char *tls_told(const struct link *l); /* why it broke, if TLS knows; or NULL */
const char *tls_version(const struct link *l); /* "TLSv1.3, resumed" */
void tls_end(struct link *l);               /* says goodbye; before close() */
#endif
