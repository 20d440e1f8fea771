/* SPDX-License-Identifier: Apache-2.0
 *
 * logs: each client appends a tag with the next sequence number to a list, in every kind of request that
 * can.  What Redis then holds is in the order of the requests, each at most once, all that was
 * acknowledged, nothing that was said not to have run, and of a transaction all or nothing.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "checker.h"

struct tag_log *logs;
uint32_t epoch;

static const struct { const char *prefix, *db; } spaces[SPACES] = {
	{ "proj:default:", "0" }, { "proj:default:", "1" }, { "proj:two:", "0" },
};

void log_name(char out[64], const struct tag_log *l)
{
	snprintf(out, 64, "log:%u.%u.%u.%u", l->client, l->life, l->epoch, l->space);
}

struct tag_log *log_new(struct client *c, uint8_t space)
{
	struct tag_log *l = calloc(1, sizeof(*l));

	if (!l)
		die("calloc");
	l->client = c->number;
	l->life = c->life;
	l->epoch = epoch;
	l->space = space;
	l->last = UINT32_MAX;
	l->next = logs;
	logs = l;
	return l;
}

/* batch: the first of the batch, or UINT32_MAX for one on its own. */
uint32_t log_tag(struct tag_log *l, uint32_t batch)
{
	if (l->n == l->cap) {
		l->cap = l->cap * 2 + 64;
		l->status = realloc(l->status, l->cap);
		l->batch = realloc(l->batch, l->cap * sizeof(*l->batch));
		if (!l->status || !l->batch)
			die("realloc");
	}
	l->status[l->n] = TAG_OUT;
	l->batch[l->n] = batch == UINT32_MAX ? l->n : batch;
	return l->n++;
}

void log_settle(struct tag_log *l, uint32_t tag, enum status s)
{
	l->status[tag] = (uint8_t)s;
	if (s == TAG_ACKED) {
		l->acked++;
		l->last = tag;
		totals.acked++;
	} else if (s == TAG_MAYBE) {
		l->maybe++;
		totals.maybe++;
	} else if (s == TAG_NOT) {
		totals.not_run++;
	}
}

static void wrong(const struct tag_log *l, uint32_t tag, const char *what)
{
	char name[64];

	log_name(name, l);
	violation(NULL, NULL, "list %s in Redis: tag %u %s (client %u, %u tags sent)", name, tag, what, l->client, l->n);
}

/* The sequence number of an element, with everything else in it checked. */
static uint32_t element(const struct tag_log *l, const struct view *v)
{
	char head[80], name[64];
	unsigned long seq;
	char *end;
	size_t n;

	log_name(name, l);
	n = v->n < sizeof(head) - 1 ? v->n : sizeof(head) - 1;
	memcpy(head, v->p, n);
	head[n] = 0;
	if (strncmp(head, name, strlen(name)) != 0 || head[strlen(name)] != '#')
		violation(NULL, NULL, "list %s in Redis holds what is not its own: %s", name, head);
	seq = strtoul(head + strlen(name) + 1, &end, 10);
	if (seq >= l->n)
		wrong(l, (uint32_t)seq, "was never sent");
	if (*end && *end != ' ')
		wrong(l, (uint32_t)seq, "is damaged");
	return (uint32_t)seq;
}

static void verify(struct tag_log *l, struct view v, const uint8_t *p, const uint8_t *end)
{
	uint8_t *seen = calloc(l->n + 1, 1);
	uint32_t prev = 0, seq, i, b;
	bool any = false;

	if (!seen)
		die("calloc");
	if (v.type != '*')
		die("LRANGE");
	totals.checked += (uint64_t)v.i;
	for (; v.i > 0; v.i--) {
		struct view e = reply_take(&p, end);

		seq = element(l, &e);
		if (seen[seq])
			wrong(l, seq, "was executed twice");
		seen[seq] = 1;
		if (l->status[seq] == TAG_NOT)
			wrong(l, seq, "was executed though its reply said that it was not");
		if (l->status[seq] == TAG_OUT)
			wrong(l, seq, "was executed though its reply is still to come");
		if (any && seq < prev) {
			if (!late_allowed || (l->status[seq] != TAG_MAYBE && l->status[prev] != TAG_MAYBE))
				wrong(l, seq, "was executed behind a later one");
			totals.late++;
			if (l->status[seq] == TAG_MAYBE)
				continue;
		}
		if (l->status[seq] == TAG_MAYBE && late_allowed)
			continue; /* it may have been anywhere */
		prev = seq;
		any = true;
	}
	for (i = 0; i < l->n; i++) {
		if (l->status[i] == TAG_ACKED && !seen[i])
			wrong(l, i, "was acknowledged and is not there");
		b = l->batch[i];
		if (seen[i] != seen[b])
			wrong(l, i, "and others of the same transaction: some are there, some are not");
	}
	free(seen);
}

/* All keys of a database but the lists that we still know: UNLINK. */
static void sweep(int fd, struct buf *in, const char *db)
{
	const char *select[] = { "SELECT", db, NULL };
	char cursor[32] = "0";
	const uint8_t *p;
	struct buf gone = { 0 };

	ask(fd, in, select, &p);
	do {
		const char *scan[] = { "SCAN", cursor, "COUNT", "1000", NULL };
		struct view v = ask(fd, in, scan, &p), e;
		char names[1002][80];
		const char *argv[1004] = { "UNLINK" };
		unsigned n = 0;

		if (v.type != '*' || v.i != 2)
			die("SCAN");
		e = reply_take(&p, in->p + in->n);
		snprintf(cursor, sizeof(cursor), "%.*s", (int)e.n, (const char *)e.p);
		v = reply_take(&p, in->p + in->n);
		for (; v.i > 0 && n < 1001; v.i--) {
			e = reply_take(&p, in->p + in->n);
			if (e.n >= sizeof(names[0]) || memmem(e.p, e.n, ":log:", 5))
				continue;
			snprintf(names[n], sizeof(names[n]), "%.*s", (int)e.n, (const char *)e.p);
			argv[n + 1] = names[n];
			n++;
		}
		if (n)
			ask(fd, in, argv, &p);
	} while (strcmp(cursor, "0") != 0);
	free(gone.p);
}

void logs_verify(const char *path)
{
	int fd = connect_to(path);
	struct buf in = { 0 };
	struct tag_log **link = &logs, *l;
	const char *db = "";
	const uint8_t *p;

	if (fd < 0)
		die(path);
	while ((l = *link)) {
		char key[96], name[64];
		const char *select[] = { "SELECT", spaces[l->space].db, NULL };
		const char *range[] = { "LRANGE", key, "0", "-1", NULL };
		const char *del[] = { "DEL", key, NULL };
		struct view v;

		log_name(name, l);
		snprintf(key, sizeof(key), "%s%s", spaces[l->space].prefix, name);
		if (strcmp(db, spaces[l->space].db) != 0) {
			ask(fd, &in, select, &p);
			db = spaces[l->space].db;
		}
		v = ask(fd, &in, range, &p);
		verify(l, v, p, in.p + in.n);
		if (!l->closed || ++l->looked < 2) {
			link = &l->next;
			continue;
		}
		ask(fd, &in, del, &p); /* it has been looked at twice since its end */
		*link = l->next;
		free(l->status);
		free(l->batch);
		free(l);
	}
	sweep(fd, &in, "0");
	sweep(fd, &in, "1");
	free(in.p);
	close(fd);
}
