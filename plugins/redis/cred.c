/* SPDX-License-Identifier: Apache-2.0
 *
 * cred: users other than the instance's own, for calls that say so.  A lane of such a user connects as the
 * instance's own first (the database is chosen as that one: the other need not be allowed to), and then becomes
 * the user.
 */
#include "redis.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct cred {
	struct cred *next;
	uint32_t id;
	char user[USER_MAX], secret[SECRET_MAX];
};

static void wipe(struct cred *c)
{
	explicit_bzero(c, sizeof(*c));
	free(c);
}

static struct cred *take(struct instance *in, uint32_t id)
{
	for (struct cred **p = &in->creds; *p; p = &(*p)->next)
		if ((*p)->id == id) {
			struct cred *c = *p;

			*p = c->next;
			return c;
		}
	return NULL;
}

int cred_set(struct instance *in, uint32_t id, purser_bytes user, purser_bytes secret)
{
	struct cred *c = NULL, *was;

	if (user.n >= USER_MAX || secret.n >= SECRET_MAX)
		return -1;
	if (user.n) {
		c = calloc(1, sizeof(*c));
		if (!c)
			return -1;
		c->id = id;
		memcpy(c->user, user.p, user.n);
		if (secret.n)
			memcpy(c->secret, secret.p, secret.n);
	}
	pthread_mutex_lock(&in->lock);
	was = take(in, id);
	if (c) {
		c->next = in->creds;
		in->creds = c;
	}
	pthread_mutex_unlock(&in->lock);
	if (was)
		wipe(was);
	return 0;
}

bool cred_get(struct instance *in, uint32_t id, char user[USER_MAX], char secret[SECRET_MAX])
{
	const struct cred *c;

	pthread_mutex_lock(&in->lock);
	for (c = in->creds; c && c->id != id; c = c->next)
		;
	if (c) {
		memcpy(user, c->user, USER_MAX);
		memcpy(secret, c->secret, SECRET_MAX);
	}
	pthread_mutex_unlock(&in->lock);
	return c != NULL;
}

bool cred_known(struct instance *in, uint32_t id)
{
	const struct cred *c;

	pthread_mutex_lock(&in->lock);
	for (c = in->creds; c && c->id != id; c = c->next)
		;
	pthread_mutex_unlock(&in->lock);
	return c != NULL;
}

void cred_free(struct instance *in)
{
	while (in->creds) {
		struct cred *c = in->creds;

		in->creds = c->next;
		wipe(c);
	}
}
