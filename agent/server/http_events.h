/* SPDX-License-Identifier: Apache-2.0
 *
 * server/http_events: RESP values as server-sent events.  In: one whole value, a push or a reply.  Out: its event,
 * "event: NAME", "data: JSON" on one line.  No I/O.
 *
 *   >3 message c m       data: {"channel":"c","data":"m"}           (no name: what EventSource calls a message)
 *   >4 pmessage p c m    data: {"pattern":"p","channel":"c","data":"m"}
 *   >3 subscribe c 1     event: subscribe    data: {"channel":"c","count":1}
 *   >2 purser.closed why event: closed       data: {"reason":"why"}
 *   >4 lock.lost n 7 why event: lock.lost    data: {"name":"n","fence":7,"reason":"why"}
 *   >3 purser topic map  event: topic        data: {...}
 *   >n kind ...          event: kind         data: [...], or the one value that there is
 *   anything else        event: result       data: the value, as on other routes
 */
#ifndef SERVER_HTTP_EVENTS_H
#define SERVER_HTTP_EVENTS_H
#include "base/buf.h"
#include "resp/json_out.h"

/* The bytes of p[0..n) that the first value took; -1: it is none, or not whole.  j is used for it; *closed: it was
 * the last one that the agent has to say. */
int64_t http_event_put(struct buf *out, const uint8_t *p, size_t n, struct json_out *j, bool *closed);
#endif
