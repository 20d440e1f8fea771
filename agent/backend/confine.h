/* SPDX-License-Identifier: Apache-2.0
 *
 * backend/confine: the store's own users for the scripts of projects, one for each project of an instance whose
 * plugin takes credentials.  What a script does on a connection of such a user stays inside the project, whatever
 * the script is.  In: how asking the store for the user ended (request_confine.c asks).  Out: the number of the
 * credential that a call is to carry.
 *
 * A number is never used twice: a user that has to be made anew gets another, and with it other connections.
 * Shared by all workers; one lock.
 */
#ifndef BACKEND_CONFINE_H
#define BACKEND_CONFINE_H
#include <stdbool.h>
#include <stdint.h>
#include <purser/plugin.h>
#include "base/errors.h"

#define CONFINE_USER_MAX 256u
#define CONFINE_WHY_MAX 448u
#define CONFINE_ANEW_NS UINT64_C(5000000000) /* so long a refusal is taken as an answer; */
#define CONFINE_SOON_NS UINT64_C(50000000)   /* ... and so long that the store could not be asked */

struct confines;
struct confines *confines_new(void); /* NULL: no memory */
void confines_free(struct confines *cs);

enum confine_answer {
	CONFINE_READY,       /* *cred */
	CONFINE_BEGIN,       /* the caller is to ask the store, with *cred, and to tell how it ended */
	CONFINE_WAIT,        /* somebody does */
	CONFINE_NO           /* *err and why */
};
/* key: what the user depends on (prefix, or the name of one that is given): when that has changed, it is made anew. */
enum confine_answer confine_look(struct confines *cs, uint32_t ns, const char *name, uint64_t key, uint64_t now_ns, uint32_t *cred,
    enum err_code *err, char why[CONFINE_WHY_MAX]);
/* Is there one, without asking for it?  0: no. */
uint32_t confine_known(struct confines *cs, uint32_t ns);
/* The store has the user (ERR_NONE), or why not; user: "" if it is not ours to remove. */
void confine_done(struct confines *cs, uint32_t ns, uint32_t cred, const char *user, enum err_code err, const char *why,
    uint64_t now_ns);
/* The store does not know the user of cred any more.  The project's number, or UINT32_MAX: that was known. */
uint32_t confine_stale(struct confines *cs, uint32_t cred);
/* Forgets the first project that keep() says no to; its user into user, "" if that is not ours.  0: there is none;
 * else its credential. */
uint32_t confine_forget(struct confines *cs, bool (*keep)(void *arg, const char *name), void *arg,
    char user[CONFINE_USER_MAX]);
#endif
