/* SPDX-License-Identifier: Apache-2.0
 *
 * rotate: what a reload reads anew, and start() reads for the first time: the password, the files of
 * TLS, and what every [backend] may change while it runs.  prepare() puts it aside or refuses it, adopt() gives it to all links that are made from
 * then on; those that are up stay as they are until they end.  Control thread.
 */
#define _GNU_SOURCE
#include "redis.h"
#include "tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rotation {
	char password_file[PATH_MAX_LEN], secret[SECRET_MAX];
	struct tls *tls;
	uint64_t connect_ns, op_ns;
	int64_t max_memory;
};

static void rotation_free(struct rotation *r)
{
	tls_unref(r->tls);
	explicit_bzero(r, sizeof(*r));
	free(r);
}

static int read_password(struct instance *in, struct rotation *r, char *err, size_t cap)
{
	if (text_setting(in, "password_file", r->password_file, sizeof(r->password_file), err, cap))
		return -1;
	if (r->password_file[0] && in->url_secret) {
		snprintf(err, cap, "there is a password in url and a password_file: keep one of them");
		return -1;
	}
	if (r->password_file[0] && secret_read("password_file", r->password_file, r->secret, err, cap))
		return -1;
	if (in->url.user[0] && !in->url_secret && !r->secret[0]) {
		snprintf(err, cap, "there is a user but no password: set password_file");
		return -1;
	}
	return 0;
}

int instance_prepare(struct instance *in, purser_error *e)
{
	struct rotation *r = calloc(1, sizeof(*r));

	if (!r) {
		snprintf(e->text, sizeof(e->text), "out of memory");
		return -1;
	}
	instance_adopt(in, false);
	if (read_password(in, r, e->text, sizeof(e->text)) ||
	    tls_new(in, &r->tls, e->text, sizeof(e->text))) {
		rotation_free(r);
		return -1;
	}
	r->connect_ns = (uint64_t)in->h->value(in->i, "connection_timeout");
	if (r->connect_ns == 0)
		r->connect_ns = 10 * NS_PER_S;
	r->op_ns = (uint64_t)in->h->value(in->i, "operation_timeout");
	r->max_memory = in->h->value(in->i, "max_memory");
	in->rotation = r;
	return 0;
}

void instance_adopt(struct instance *in, bool commit)
{
	struct rotation *r = in->rotation;
	struct tls *old = NULL;

	if (!r)
		return;
	if (commit) {
		pthread_mutex_lock(&in->lock);
		memcpy(in->password_file, r->password_file, sizeof(in->password_file));
		if (!in->url_secret)
			memcpy(in->secret, r->secret, sizeof(in->secret));
		old = in->tls;
		in->tls = r->tls;
		pthread_mutex_unlock(&in->lock);
		atomic_store(&in->has_file, r->password_file[0] != '\0');
		r->tls = NULL;
		in->connect_ns = r->connect_ns;
		in->op_ns = r->op_ns;
		in->max_memory = r->max_memory;
	}
	tls_unref(old);
	rotation_free(r);
	in->rotation = NULL;
}
