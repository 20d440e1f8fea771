/* SPDX-License-Identifier: Apache-2.0
 * example: the smallest useful backend, a tree in the agent's own memory.  Copy it and begin. */
#define _GNU_SOURCE /* tdestroy */
#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <purser/plugin.h>

enum { GET, SET, DEL, EXISTS }; /* call->op is the index in ops[] */
static const purser_op ops[] = { { "GET", NULL }, { "SET", NULL }, { "DEL", NULL }, { "EXISTS", NULL } };
struct item { purser_bytes key, value; uint8_t bytes[]; };
struct store { const purser_host *h; pthread_mutex_t lock; void *tree; int64_t count, max; };

static int compare(const void *a, const void *b)
{
	const purser_bytes *x = a, *y = b; /* an item begins with its key */
	int order = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
	return order ? order : (x->n > y->n) - (x->n < y->n);
}
static const char *set(struct store *s, purser_bytes k, purser_bytes v) /* NULL, or the error */
{
	struct item *it = malloc(sizeof(*it) + k.n + v.n), **at = NULL;
	if (it) { /* the arguments are the host's: what is kept is copied */
		it->key = (purser_bytes){ memcpy(it->bytes, k.p, k.n), k.n };
		it->value = (purser_bytes){ memcpy(it->bytes + k.n, v.p, v.n), v.n };
		if (s->count < s->max || tfind(it, &s->tree, compare))
			at = tsearch(it, &s->tree, compare);
	}
	s->count += at && *at == it; /* a new key, or in place of an old value */
	free(at && *at == it ? NULL : at ? *at : it);
	return at ? *at = it, NULL : "OOM the store is full: raise max_keys";
}
static int submit(void *cs, purser_call *c)
{
	struct store *s = cs;
	int64_t found = 0;
	pthread_mutex_lock(&s->lock); /* all workers call at once and share the tree */
	for (uint32_t i = 1; i < c->argc && c->op != SET; i++) {
		struct item **at = tfind(&c->argv[i], &s->tree, compare), *it = at ? *at : NULL;
		found += it != NULL;
		if (it && c->op == GET)
			s->h->bulk(c, it->value.p, it->value.n); /* copied before it returns */
		if (it && c->op == DEL && tdelete(it, &s->tree, compare))
			free(it);
	}
	if (c->op == SET) {
		const char *err = c->argc == 3 ? set(s, c->argv[1], c->argv[2]) : "ERR syntax error";
		err ? s->h->error(c, err, strlen(err)) : s->h->status(c, "OK");
	} else if (c->op == DEL || c->op == EXISTS) {
		s->count -= c->op == DEL ? found : 0;
		s->h->integer(c, found);
	} else if (!found) {
		s->h->null(c);
	}
	pthread_mutex_unlock(&s->lock);
	s->h->end(c); /* exactly once; c may be gone now */
	return PURSER_DONE;
}
static int start(const purser_host *h, purser_instance *i, void **state, purser_error *e)
{
	struct store *s = *state = calloc(1, sizeof(*s));
	if (!s) /* these words reach the operator */
		return memcpy(e->text, "out of memory", 14), -1;
	*s = (struct store){ .h = h, .max = h->value(i, "max_keys") };
	return pthread_mutex_init(&s->lock, NULL);
}
static void stop(void *state)
{
	tdestroy(((struct store *)state)->tree, free);
	free(state);
}
static const purser_key keys[] = { { .name = "max_keys", .type = PURSER_KEY_INT, .def = "100000",
	.min = 1, .max = 1000000000, .doc = "How many keys it holds at most." } };
static const purser_plugin plugin = { .struct_size = sizeof(plugin), .api = PURSER_API,
	.name = "example", .version = "1.0", .summary = "A tree in the agent's own memory",
	.caps = PURSER_CAP_KV | PURSER_CAP_KEEPS_DATA | PURSER_CAP_ENDS_INSIDE, .model = PURSER_INLINE,
	.ops = ops, .nops = 4, .op_stride = sizeof(*ops), .keys = keys, .nkeys = 1,
	.key_stride = sizeof(*keys), .start = start, .submit = submit, .stop = stop };
PURSER_PLUGIN(plugin);
