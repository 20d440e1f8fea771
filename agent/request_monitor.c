/* SPDX-License-Identifier: Apache-2.0
 *
 * MONITOR: what the clients of one project say, on all workers, as they say it: the agent's own tap.  A
 * worker knows which workers have monitors of which projects; it writes a line for each of them.  Where
 * nobody monitors, that is one test of a flag for each request.
 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "request_pubsub.h"
#include "request_tour.h"

#define WORD_MAX 1024u  /* bytes of a word that are shown */
#define NO_NUMBER 0xffffu /* what projects have that share it with others (metric_project()) */
#define WORDS_MAX 256u  /* words of a command */

/* The monitors of one project on one worker, as another worker knows of them. */
struct monitored {
	struct monitored *next;
	uint32_t ns;            /* of the project */
	uint32_t worker, count;
};

struct line {
	purser_job job;
	struct worker *w;       /* where it goes */
	uint32_t ns;
	size_t n;
	uint8_t text[];
};

/* ---- beginning and end ---- */

struct change {
	struct tour tour;       /* first */
	struct request *r;      /* MONITOR; NULL: it ends */
	uint32_t ns, worker;
	bool failed;
};

static void note(struct tour *t, struct worker *w)
{
	struct change *c = (struct change *)t;
	struct monitored **p = &w->monitored, *m;

	while ((m = *p) && (m->ns != c->ns || m->worker != c->worker))
		p = &m->next;
	if (c->r) {
		if (!m) {
			m = calloc(1, sizeof *m);
			if (!m) {
				c->failed = true;
				return;
			}
			m->ns = c->ns;
			m->worker = c->worker;
			*p = m;
		}
		m->count++;
	} else if (m && --m->count == 0) {
		*p = m->next;
		free(m);
	}
}

static void ended(struct tour *t)
{
	free(t);
}

/* A monitor of project ns on worker w is no more. */
static void forget(struct worker *w, uint32_t ns)
{
	struct change *c = calloc(1, sizeof *c);

	if (!c)
		return; /* lines go on to be written, and nobody reads them */
	c->ns = ns;
	c->worker = w->index;
	c->tour.visit = note;
	c->tour.end = ended;
	tour_start(&c->tour, w);
}

static void began(struct tour *t)
{
	struct change *c = (struct change *)t;
	struct request *r = c->r;

	if (c->failed || r->cl->gone) {
		forget(r->cl->w, c->ns);
		reply_failure(&r->b, ERR_OOM, NULL);
	} else {
		r->cl->outband->monitor = true;
		r->cl->outband->monitor_ns = c->ns;
		reply_status(&r->b, "OK");
	}
	free(c);
	req_finish(r);
}

void monitor_start(struct request *r)
{
	struct change *c = r->sink ? NULL : calloc(1, sizeof *c);

	if (r->sink || r->project->ns == NO_NUMBER) {
		free(c);
		reply_failure(&r->b, ERR_UNSUPPORTED, r->sink ? "MONITOR needs a RESP connection" :
		    "there are more projects than the agent tells apart: no MONITOR for the last ones");
	} else if (!c || !client_outband(r->cl)) {
		free(c);
		reply_failure(&r->b, ERR_OOM, NULL);
	} else if (r->cl->outband->monitor) {
		free(c);
		reply_status(&r->b, "OK");
	} else {
		c->r = r;
		c->ns = r->project->ns;
		c->worker = r->cl->w->index;
		c->tour.visit = note;
		c->tour.end = began;
		tour_start(&c->tour, r->cl->w);
		return;
	}
	req_finish(r);
}

void monitor_leave(struct client *c)
{
	if (!c->outband || !c->outband->monitor)
		return;
	c->outband->monitor = false;
	forget(c->w, c->outband->monitor_ns);
}

void monitor_free(struct worker *w)
{
	struct monitored *m;

	while ((m = w->monitored)) {
		w->monitored = m->next;
		free(m);
	}
}

/* ---- lines ---- */

static void put_word(struct buf *b, purser_bytes w)
{
	buf_putc(b, '"');
	for (size_t i = 0; i < w.n && i < WORD_MAX; i++) {
		uint8_t c = w.p[i];

		if (c == '\\' || c == '"')
			buf_printf(b, "\\%c", c);
		else if (c == '\n' || c == '\r' || c == '\t' || c == '\a' || c == '\b')
			buf_printf(b, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : c == '\a' ? 'a' : 'b');
		else if (c >= ' ' && c <= '~')
			buf_putc(b, (char)c);
		else
			buf_printf(b, "\\x%02x", c);
	}
	buf_putc(b, '"');
	if (w.n > WORD_MAX)
		buf_printf(b, "...(%zu bytes)", w.n);
}

static void put_line(struct buf *b, const struct request *r)
{
	uint64_t ms = loop_wall_ms(r->cl->w->loop);

	buf_printf(b, "+%llu.%03llu000 [%u unix:%u]", (unsigned long long)(ms / 1000),
	    (unsigned long long)(ms % 1000), r->cl->db, r->cl->id.peer.pid);
	for (uint32_t i = 0; i < r->argc && i < WORDS_MAX; i++) {
		buf_putc(b, ' ');
		if (r->b.source && i == r->here) { /* a large request passes on while it arrives */
			buf_puts(b, "...(arriving)");
			break;
		}
		if (cmd_secret(r->cmd, r->argv, r->argc, i))
			buf_puts(b, "\"(redacted)\"");
		else
			put_word(b, r->argv[i]);
	}
	if (r->argc > WORDS_MAX)
		buf_printf(b, " ...(%u words)", r->argc);
	buf_puts(b, "\r\n");
}

static void show(void *arg) /* on the worker that has the monitors */
{
	struct line *l = arg;

	for (struct client *c = l->w->clients; c; c = c->next)
		if (c->outband && c->outband->monitor && c->outband->monitor_ns == l->ns)
			push_bytes(c, l->text, l->n);
	free(l);
}

void monitor_tap(struct request *r)
{
	struct worker *w = r->cl->w;
	struct buf b = { 0 };

	if (!r->project || (r->cmd->flags & F_ADMIN)) /* as Redis: administration is not shown */
		return;
	for (struct monitored *m = w->monitored; m; m = m->next) {
		struct line *l;

		if (m->ns != r->project->ns)
			continue;
		if (!buf_len(&b))
			put_line(&b, r);
		l = b.failed ? NULL : malloc(sizeof *l + buf_len(&b));
		if (!l) {
			log_event(w->log, LOG_M_REQUEST, LOG_ERROR, "monitor.lost", "no memory for a line of MONITOR");
			break;
		}
		l->w = w->peers[m->worker];
		l->ns = m->ns;
		l->n = buf_len(&b);
		memcpy(l->text, buf_data(&b), l->n);
		l->job.fn = show;
		l->job.arg = l;
		loop_post(l->w->loop, &l->job);
	}
	buf_free(&b);
}
