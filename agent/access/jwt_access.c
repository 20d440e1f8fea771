/* SPDX-License-Identifier: Apache-2.0 */
/* access/jwt_access: what claims open, and as what: asked by access_enter(). */
#include <config.h>
#include <string.h>
#include "access/access.h"
#include "access/jwt_priv.h"

/* Claims of another generation's policy open nothing: whoever holds them asks jwt_again() first. */
static bool enters(const struct access *a, const struct identity *id, const struct project *p,
    const struct role **role)
{
	const struct jwt_policy *policy = a->evidence[IDENTITY_JWT].arg;
	const struct jwt_claims *c = id->jwt;

	*role = NULL;
	if (!c || !policy || ((const struct jwt_claims_full *)c)->policy != policy->id ||
	    !jwt_claims_project(c, p->name, strlen(p->name)))
		return false;
	if (c->nroles) {
		*role = access_role(a, c->roles[0]);
		return *role;
	}
	if (c->perms)
		*role = &policy->by_perms[c->perms >> (PERM_ANY + 1)];
	return true;
}

static const char *project(const struct access *a, const struct identity *id)
{
	const struct jwt_claims *c = id->jwt;

	(void)a;
	return c && !c->any_project && c->nprojects == 1 ? c->projects[0] : NULL;
}

void jwt_evidence(struct access_evidence *e, const struct jwt_policy *p)
{
	*e = (struct access_evidence){ enters, project, p };
}
