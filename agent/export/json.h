/* SPDX-License-Identifier: Apache-2.0
 *
 * export/json: an OTLP request from protobuf to JSON, by the rules of OTLP's JSON encoding (ids in hexadecimal, enums as
 * numbers, 64-bit integers as strings).  Pure.  Only fields that this agent writes have names here: json_request() fails on
 * any other, so that none is lost unseen.
 */
#ifndef EXPORT_JSON_H
#define EXPORT_JSON_H
#include "export/queue.h"

/* Of one signal: p[0..n) is the message, JSON goes to out, without a newline.  0, or -1: it is not such a message, or has a
 * field that is not known here. */
int json_request(struct buf *out, enum export_signal s, const void *p, size_t n);
#endif
