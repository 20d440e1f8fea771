/* SPDX-License-Identifier: Apache-2.0
 *
 * The control thread's ears: signals, and what commands on workers ask of it.
 */
#include <config.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "access/jwt.h"
#include "agent.h"
#include "agent_breaker.h"
#include "agent_health.h"
#include "base/buf.h"
#include "health/health.h"

/* ---- signals ---- */

static void on_signal(struct loop_io *io, uint32_t events)
{
	struct agent *a = (struct agent *)((char *)io - offsetof(struct agent, signals));
	struct signalfd_siginfo si;

	(void)events;
	while (read(io->fd, &si, sizeof si) == (ssize_t)sizeof si) {
		if (si.ssi_signo == SIGHUP) {
			struct buf out = { .max = 65536 };

			reload(a, &out);
			buf_free(&out);
		} else {
			if (a->stopping) { /* asked twice: now */
				listen_close(&a->server);
				_exit(128 + (int)si.ssi_signo);
			}
			agent_stop(a);
		}
	}
}

int control_signals(struct agent *a, char *why, size_t whylen)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	signal(SIGPIPE, SIG_IGN);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL))
		goto fail;
	a->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	a->signals.fn = on_signal;
	if (a->signal_fd < 0 || loop_watch(a->control, &a->signals, a->signal_fd, PURSER_IO_IN))
		goto fail;
	return 0;
fail:
	snprintf(why, whylen, "%s", strerror(errno));
	return -1;
}

void control_end(struct agent *a)
{
	loop_timer_stop(a->control, &a->drain_timer);
	if (a->signal_fd > 0) {
		loop_unwatch(a->control, &a->signals);
		close(a->signal_fd);
	}
}

/* ---- questions from workers ---- */

struct question {
	purser_job job;
	struct agent *a;
	struct worker *w;
	enum agent_ask what;
	agent_done done;
	void *arg;
	struct buf out;
	enum err_code err;
};

static void tell(void *arg) /* on the worker */
{
	struct question *q = arg;
	struct agent_reply rep = { .err = q->err, .text = buf_cstr(&q->out), .n = buf_len(&q->out) };

	q->done(q->arg, &rep);
	buf_free(&q->out);
	free(q);
}

static void answer(struct question *q)
{
	if (q->out.failed)
		q->err = ERR_OOM;
	q->job.fn = tell;
	q->job.arg = q;
	loop_post(q->w->loop, &q->job);
}

static void got_health(void *arg, const char *json, size_t n)
{
	struct question *q = arg;

	buf_put(&q->out, json, n);
	answer(q);
}

static void put_status(struct agent *a, bool projects, struct buf *b)
{
	buf_printf(b, "{\"service\":\"purser\",\"version\":\"%s\",\"pid\":%d,\"generation\":%llu,"
	    "\"draining\":%s,"
	    "\"uptime_s\":%llu,\"mode\":\"%s\",\"workers\":%u,\"clients\":%u,\"socket\":\"%s\",",
	    PACKAGE_VERSION, (int)getpid(), (unsigned long long)a->gen->number, a->draining ? "true" : "false",
	    (unsigned long long)((loop_wall_ms(a->control) - a->started_ms) / 1000),
	    a->gen->production ? "production" : "development", a->nworkers,
	    atomic_load(&a->server.nclients), a->socket);
	buf_printf(b, "\"file\":\"%s\",\"backends\":{", cfg_file(a->cfg) ? cfg_file(a->cfg) : "");
	for (struct backend *k = a->backends; k; k = k->next) {
		int64_t outside = health_outside(a->health, k->in->index, NULL);
		struct health_breaker br;

		buf_printf(b, "%s\"%s\":{\"plugin\":\"%s\"", k == a->backends ? "" : ",", k->in->name,
		    k->in->p->name);
		breaker_glue_view(k->in, loop_now(a->control), &br);
		buf_printf(b, ",\"circuit_breakers\":{\"read\":\"%s\",\"write\":\"%s\"}", br.name[0], br.name[1]);
		if (outside >= 0) /* keys that no project reaches */
			buf_printf(b, ",\"outside_keys\":%lld", (long long)outside);
		buf_putc(b, '}');
	}
	buf_putc(b, '}');
	if (projects) { /* names of issuers are the operators' too */
		buf_puts(b, ",\"jwt\":");
		jwt_service_status(a->jwt, b);
		buf_puts(b, ",\"projects\":[");
	}
	for (uint32_t i = 0; projects && i < a->gen->projects.n; i++)
		buf_printf(b, "%s\"%s\"", i ? "," : "", a->gen->projects.v[i].name);
	buf_puts(b, projects ? "],\"sandbox\":" : ",\"sandbox\":");
	sandbox_json(&a->sandbox, b);
	buf_putc(b, '}');
}

/* An error on RESP is one line: the lines of several are told apart. */
static void one_line(struct buf *b)
{
	struct buf joined = { .max = b->max };
	const char *at = buf_cstr(b), *end;

	for (; (end = strchr(at, '\n')) != NULL && end[1]; at = end + 1) {
		buf_put(&joined, at, (size_t)(end - at));
		buf_puts(&joined, "; ");
	}
	buf_put(&joined, at, strcspn(at, "\n"));
	buf_free(b);
	*b = joined;
}

static void on_question(void *arg) /* on the control thread */
{
	struct question *q = arg;
	struct agent *a = q->a;

	switch (q->what) {
	case AGENT_HEALTH:
		health_glue_get(a, got_health, q);
		return;
	case AGENT_RELOAD:
		if (reload(a, &q->out)) {
			q->err = ERR_CONFIG;
			one_line(&q->out);
		}
		break;
	case AGENT_METRICS:
	case AGENT_METRICS_ANONYMOUS:
		telemetry_metrics(a, q->what == AGENT_METRICS_ANONYMOUS, &q->out);
		break;
	case AGENT_STATUS:
	case AGENT_STATUS_ANONYMOUS:
		put_status(a, q->what == AGENT_STATUS, &q->out);
		break;
	}
	answer(q);
}

static void ask(struct worker *w, enum agent_ask what, agent_done done, void *arg)
{
	struct agent *a = ((struct agent_ops *)w->agent)->arg;
	struct agent_reply oom = { .err = ERR_OOM };
	struct question *q = calloc(1, sizeof *q);

	if (!q) {
		done(arg, &oom);
		return;
	}
	*q = (struct question){ .job = { .fn = on_question, .arg = q }, .a = a, .w = w, .what = what,
		.done = done, .arg = arg, .out = { .max = 64u << 20 } };
	loop_post(a->control, &q->job);
}

static bool ready(char *why, size_t whylen, void *arg)
{
	return health_glue_ready(arg, why, whylen);
}

static size_t outside(void *arg, const struct project *p, char *dst, size_t cap)
{
	return health_glue_outside(arg, p, dst, cap);
}

void control_init(struct agent *a)
{
	a->ops = (struct agent_ops){ .ask = ask, .ready = ready, .outside = outside, .arg = a,
		.plugins = (const struct plugin *const *)a->plugins.v };
}
