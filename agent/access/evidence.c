/* SPDX-License-Identifier: Apache-2.0
 *
 * access: what a token of the token file says of project and role.
 */
#include <config.h>
#include <string.h>
#include "access/access.h"

static const struct token *token_of(const struct access *a, const struct identity *id)
{
	return token_again(a->evidence[IDENTITY_TOKEN].arg, id->token_at, id->token); /* asked for each project */
}

static bool enters(const struct access *a, const struct identity *id, const struct project *p, const struct role **role)
{
	const struct token *t = token_of(a, id);

	if (!t || !token_admits(t, p->name))
		return false;
	*role = *t->role ? access_role(a, t->role) : NULL;
	return true;
}

static const char *project(const struct access *a, const struct identity *id)
{
	const struct token *t = token_of(a, id);

	return t && t->nprojects == 1 ? t->projects[0] : NULL;
}

int access_tokens(struct access *a, const struct token_set *s, const char *file, struct buf *why)
{
	int rc = 0;

	a->evidence[IDENTITY_TOKEN] = (struct access_evidence){ enters, project, s };
	for (uint32_t i = 0; s && i < s->n; i++) {
		if (!*s->v[i].role || access_role(a, s->v[i].role))
			continue;
		buf_printf(why, "%s:%u: token %s: there is no [role %s]; without a section there are reader, writer, admin and "
		    "operator\n", file, s->v[i].line, s->v[i].name, s->v[i].role);
		rc = -1;
	}
	return rc;
}
