/* SPDX-License-Identifier: Apache-2.0 */
/* export/send: the head of one signal's queue to its collector, and what becomes of it. */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include "export/inside.h"

static void on_retry(struct loop_timer *t)
{
	send_kick((struct sender *)((char *)t - offsetof(struct sender, retry)));
}

/* Host and port of a URL, for otel.sdk.*, and nothing of a user and password in it; a wrong URL is
 * libcurl's to refuse. */
static void address_of(struct sender *s, const struct export_target *t)
{
	const char *p = strstr(t->url, "://"), *end, *colon;

	p = p ? p + 3 : t->url;
	end = p + strcspn(p, "/?#");
	for (const char *at = p; at < end; at++)
		if (*at == '@')
			p = at + 1;
	for (colon = end; colon > p && colon[-1] >= '0' && colon[-1] <= '9'; colon--)
		;
	if (colon > p && colon[-1] == ':' && colon < end) {
		snprintf(s->port, sizeof s->port, "%.*s", (int)(end - colon), colon);
		end = colon - 1;
	} else {
		snprintf(s->port, sizeof s->port, "%s", strncmp(t->url, "https", 5) ? "80" : "443");
	}
	if (end > p + 1 && *p == '[' && end[-1] == ']') {
		p++;
		end--;
	}
	snprintf(s->address, sizeof s->address, "%.*s", (int)(end - p), p);
	if (t->unix_path) {
		snprintf(s->address, sizeof s->address, "%s", t->unix_path);
		s->port[0] = '\0';
	}
}

void send_init(struct sender *s, struct export *e, enum export_signal signal)
{
	const struct export_target *t = &e->opts.target[signal];

	memset(s, 0, sizeof *s);
	s->e = e;
	s->signal = signal;
	s->retry.fn = on_retry;
	if (t->url)
		address_of(s, t);
}

void send_stop(struct sender *s)
{
	struct export_record *r = queue_head(&s->e->queue, s->signal);

	loop_timer_stop(s->e->loop, &s->retry);
	if (s->call)
		fetch_cancel(s->call);
	s->call = NULL;
	buf_free(&s->body);
	if (r)
		r->held = false;
}

bool send_idle(const struct sender *s)
{
	return !s->call && (s->given_up || !s->e->opts.target[s->signal].url ||
	    !queue_head(&s->e->queue, s->signal));
}

static uint64_t random_below(struct export *e, uint64_t n)
{
	uint64_t x = e->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	e->random = x;
	return n ? x % n : 0;
}

/* Retry-After, or full jitter. */
static uint64_t delay_of(struct sender *s, int64_t retry_after_s)
{
	uint64_t cap = s->e->opts.retry_base_ns;

	if (retry_after_s > 0)
		return (uint64_t)(retry_after_s > 86400 ? 86400 : retry_after_s) * SECOND;
	for (unsigned i = 1; i < s->attempts && cap < s->e->opts.retry_max_ns; i++)
		cap *= 2;
	if (cap > s->e->opts.retry_max_ns)
		cap = s->e->opts.retry_max_ns;
	return random_below(s->e, cap + 1);
}

static void later(struct sender *s, const char *text, int64_t retry_after_s)
{
	struct export *e = s->e;
	uint64_t delay;

	s->attempts++;
	delay = delay_of(s, retry_after_s);
	watch_failed(e, text);
	log_event(e->log, LOG_M_EXPORT, LOG_WARN, "export.failed", "the collector did not take it; it stays "
	    "queued", LOG_KEY(export_signal_name(s->signal)),
	    LOG_STR("signal", export_signal_name(s->signal)), LOG_STR("reason", text),
	    LOG_UINT("attempts", s->attempts), LOG_UINT("retry_ms", delay / 1000000));
	if (atomic_load(&e->closing)) {
		s->given_up = true;
		return;
	}
	loop_timer_set(e->loop, &s->retry, loop_now(e->loop) + delay);
}

static void taken(struct sender *s, const struct export_record *rec, const struct verdict *v)
{
	struct export *e = s->e;
	int64_t rejected = 0;
	char text[160];

	if (shape_partial(s, v, &rejected, text, sizeof text))
		log_event(e->log, LOG_M_EXPORT, LOG_WARN, "export.reply", "the collector took it and "
		    "answered what is not OTLP", LOG_KEY(export_signal_name(s->signal)),
		    LOG_STR("signal", export_signal_name(s->signal)));
	if (rejected < 0 || rejected > rec->items)
		rejected = rec->items;
	if (rejected || *text)
		log_event(e->log, LOG_M_EXPORT, LOG_WARN, "export.partial", "the collector rejected a part",
		    LOG_KEY(export_signal_name(s->signal)),
		    LOG_STR("signal", export_signal_name(s->signal)),
		    LOG_INT("rejected", rejected), LOG_STR("reason", text));
	if (s->attempts)
		log_event(e->log, LOG_M_EXPORT, LOG_INFO, "export.recovered", "the collector takes it again",
		    LOG_STR("signal", export_signal_name(s->signal)), LOG_UINT("attempts", s->attempts));
	watch_sent(s, rec->items - (uint64_t)rejected, (uint64_t)rejected);
}

static void refused(struct sender *s, const struct export_record *rec, const struct verdict *v)
{
	log_event(s->e->log, LOG_M_EXPORT, LOG_WARN, "export.refused", "the collector refused it; it is "
	    "dropped", LOG_KEY(export_signal_name(s->signal)),
	    LOG_STR("signal", export_signal_name(s->signal)), LOG_STR("reason", v->text),
	    LOG_UINT("items", rec->items));
	watch_failed(s->e, v->text);
	watch_lost(s->e, s->signal, LOST_REFUSED, rec->items, v->type);
}

static void on_done(void *arg, const struct fetch_result *r)
{
	struct sender *s = arg;
	struct export *e = s->e;
	struct export_record *rec = queue_head(&e->queue, s->signal);
	struct verdict v;

	s->call = NULL;
	rec->held = false;
	buf_free(&s->body);
	shape_verdict(s, r, &v);
	watch_took(s, r->took_ns, v.type, v.status);
	if (v.again) {
		later(s, v.text, v.after_s);
		watch_publish(e);
		return;
	}
	if (v.ok)
		taken(s, rec, &v);
	else
		refused(s, rec, &v);
	s->attempts = 0;
	queue_pop(&e->queue, s->signal);
	watch_publish(e);
	send_kick(s);
}

void send_kick(struct sender *s)
{
	struct export *e = s->e;
	struct export_record *rec;
	struct shape o;

	while (e->opts.target[s->signal].url && !s->call && !s->retry.pos && !s->given_up &&
	    (rec = queue_head(&e->queue, s->signal)) != NULL) {
		if (shape_request(s, rec, &o)) {
			watch_lost(e, s->signal, LOST_DAMAGED, rec->items, "damaged");
			queue_pop(&e->queue, s->signal);
			continue;
		}
		o.req.done = on_done;
		o.req.arg = s;
		rec->held = true;
		s->call = fetch_start(e->fetch, &o.req);
		if (!s->call) {
			rec->held = false;
			later(s, "the request could not be started", -1);
		}
	}
}
