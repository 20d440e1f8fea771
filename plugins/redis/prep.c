/* SPDX-License-Identifier: Apache-2.0
 *
 * prep: what a connection needs before it can begin: the addresses of its host, and the password
 * again if the server refused it.  Names and files may block, so that is done on another thread.
 *
 * The job owns its memory and a reference to the instance; a link that has gone away in the
 * meantime has left it (prep->l is NULL), and done() only frees it.
 */
#define _GNU_SOURCE
#include "redis.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void prep_free(struct prep *p)
{
	instance_unref(p->in);
	free(p);
}

static void resolve(struct prep *p)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *list = NULL, *a;
	char port[8];
	int rc;

	snprintf(port, sizeof(port), "%u", p->in->url.port);
	rc = getaddrinfo(p->in->url.host, port, &hints, &list);
	if (rc == EAI_NONAME || rc == EAI_ADDRFAMILY) { /* a host without a network has loopback still */
		hints.ai_flags = 0;
		rc = getaddrinfo(p->in->url.host, port, &hints, &list);
	}
	if (rc) {
		p->code = PURSER_E_CONNECT;
		snprintf(p->err, sizeof(p->err), "the name cannot be resolved: %s", gai_strerror(rc));
		return;
	}
	for (a = list; a && p->n < ADDRESSES_MAX; a = a->ai_next) {
		if (a->ai_addrlen > sizeof(p->address[0]))
			continue;
		memcpy(&p->address[p->n], a->ai_addr, a->ai_addrlen);
		p->length[p->n++] = a->ai_addrlen;
	}
	freeaddrinfo(list);
}

static void prep_work(void *arg) /* on any thread */
{
	struct prep *p = arg;

	if (atomic_exchange(&p->in->secret_stale, false) && atomic_load(&p->in->has_file) &&
	    instance_read_secret(p->in, p->err, sizeof(p->err))) {
		atomic_store(&p->in->secret_stale, true);
		p->code = PURSER_E_AUTH;
		return;
	}
	if (p->in->address_len == 0)
		resolve(p);
}

static void prep_done(void *arg)
{
	struct prep *p = arg;

	p->running = false;
	if (p->l)
		link_prepared(p->l);
	else
		prep_free(p);
}

int prep_start(struct link *l)
{
	struct instance *in = l->x->in;
	struct prep *p = calloc(1, sizeof(*p));

	if (!p)
		return -1;
	p->in = in;
	p->l = l;
	instance_ref(in);
	l->prep = p;
	l->address = 0;
	if (in->address_len) {
		memcpy(&p->address[0], &in->address, in->address_len);
		p->length[0] = in->address_len;
		p->n = 1;
	}
	if (in->address_len == 0 || (atomic_load(&in->secret_stale) && atomic_load(&in->has_file))) {
		p->running = true;
		p->work.fn = prep_work;
		p->done.fn = prep_done;
		p->work.arg = p->done.arg = p;
		l->x->h->offload(l->x->x, &p->work, &p->done);
		return 0;
	}
	link_prepared(l);
	return 0;
}

void prep_leave(struct link *l)
{
	struct prep *p = l->prep;

	if (!p)
		return;
	l->prep = NULL;
	p->l = NULL;
	if (!p->running)
		prep_free(p);
}
