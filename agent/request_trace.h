/* SPDX-License-Identifier: Apache-2.0
 *
 * request_trace: PURSER.TRACE, for the stage lookup alone.
 */
#ifndef REQUEST_TRACE_H
#define REQUEST_TRACE_H
#include "request_stage.h"

/* r was looked up as PURSER.TRACE: it becomes the request that it wraps, which is to be looked up. */
enum stage_result trace_unwrap(struct request *r, bool *carry);
/* ... and was: its message takes the context along. */
enum stage_result trace_carry(struct request *r);
#endif
