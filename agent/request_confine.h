/* SPDX-License-Identifier: Apache-2.0
 *
 * request_confine: the store's user that the scripts of a project run as.  In: a project and a worker that wants to
 * run a script of it.  Out: a credential (purser_call.cred), or why there is none.
 *
 * It is given in the INI (script_user), or made with ACL SETUSER when the first script of the project comes; before
 * it is used, a script on its connection tries that it is confined.  A server that has forgotten the user (it has
 * none in a file) refuses the connection: then the user is made anew.
 */
#ifndef REQUEST_CONFINE_H
#define REQUEST_CONFINE_H
#include "request.h"

/* CONFINE_BEGIN does not come back: asking has begun, and the answer is CONFINE_WAIT.  When that is over, the clients
 * whose next request is held are woken. */
enum confine_answer confine_want(struct worker *w, struct generation *g, const struct project *p, uint32_t *cred,
    enum err_code *err, char why[CONFINE_WHY_MAX]);
/* A connection with cred was refused.  May come from inside a host-table function.  False: that was known. */
bool confine_refused(struct worker *w, struct purser_instance *i, uint32_t cred);
/* After a reload, on a worker: users of projects that are gone, or have none of their own any more, are removed. */
void confine_clean(struct worker *w);
#endif
