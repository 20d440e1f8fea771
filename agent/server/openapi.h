/* SPDX-License-Identifier: Apache-2.0
 *
 * server/openapi: the OpenAPI 3.1 document of the HTTP routes, made of routes.def and errors.def.
 */
#ifndef SERVER_OPENAPI_H
#define SERVER_OPENAPI_H
#include "base/buf.h"

/* Appends the document (JSON, no line end).  version: of the agent. */
void openapi_write(struct buf *out, const char *version);
#endif
