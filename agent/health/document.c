/* SPDX-License-Identifier: Apache-2.0 */
/* health/document: the status document.  Names are fixed (docs/health.md); what is added later is added
 * beside them. */
#include <config.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "health/priv.h"
#include "resp/json_text.h"

static void text(struct buf *b, const char *s)
{
	json_put_text(b, s, strlen(s));
}

/* Milliseconds with a thousandth; null where nothing was measured. */
static void put_ms(struct buf *b, uint64_t ns)
{
	if (ns == NOT_MEASURED)
		buf_puts(b, "null");
	else
		buf_printf(b, "%" PRIu64 ".%03" PRIu64, ns / 1000000, ns / 1000 % 1000);
}

/* Millionths as a fraction. */
static void put_share(struct buf *b, uint64_t millionths)
{
	buf_printf(b, "%" PRIu64 ".%06" PRIu64, millionths / 1000000, millionths % 1000000);
}

static const char *status_name(enum health_status s)
{
	return health_status_name(s);
}

/* ---- factory ---------------------------------------------------------------------------------------- */

static void put_pool(struct health *h, struct buf *b, const struct probe *p)
{
	struct health_pool pool = { 0, 0, 0 };
	bool about = false;
	int64_t outside = health_outside(h, p->index, &about);

	if (h->d.pool)
		h->d.pool(h->d.arg, p->index, &pool);
	text(b, p->name);
	buf_printf(b, ":{\"status\":\"%s\",\"plugin\":", status_name(probe_status(p)));
	text(b, p->plugin);
	buf_printf(b, ",\"created_connections\":%" PRIu64 ",\"available_connections\":%" PRIu64
	    ",\"max_connections\":%" PRIu64, pool.created, pool.available, pool.max);
	if (*p->facts.role) {
		buf_puts(b, ",\"role\":");
		text(b, strcmp(p->facts.role, "master") == 0 ? "primary" : "replica");
	}
	if (p->down_ns)
		buf_printf(b, ",\"down_seconds\":%" PRIu64,
		    (loop_now(h->d.loop) - p->down_ns) / UINT64_C(1000000000));
	if (p->last.done && !p->last.ok) {
		buf_puts(b, ",\"error\":");
		text(b, p->last.error);
	}
	if (h->d.breaker) {
		struct health_breaker br = { .state = HEALTH_BREAKER_DISABLED };

		h->d.breaker(h->d.arg, p->index, &br);
		if (br.name[0] && br.name[1])
			buf_printf(b, ",\"circuit_breakers\":{\"read\":\"%s\",\"write\":\"%s\"}", br.name[0],
			    br.name[1]);
	}
	if (outside >= 0)
		buf_printf(b, ",\"outside_keys\":%" PRId64 ",\"outside_keys_exact\":%s", outside,
		    about ? "false" : "true");
	if (outside > 0)
		buf_puts(b, ",\"outside_keys_note\":\"keys that no project reaches: isolation = off in a "
		    "[project] section shows them all, key_prefix those that begin alike\"");
	buf_putc(b, '}');
}

/* The worst of all backends. */
static void worst_breaker(struct health *h, struct health_breaker *out)
{
	static const int rank[] = { [HEALTH_BREAKER_DISABLED] = 0, [HEALTH_BREAKER_CLOSED] = 1,
		[HEALTH_BREAKER_HALF_OPEN] = 2, [HEALTH_BREAKER_OPEN] = 3 };

	*out = (struct health_breaker){ .state = HEALTH_BREAKER_DISABLED };
	for (uint32_t i = 0; h->d.breaker && i < h->nprobes; i++) {
		struct health_breaker one = { .state = HEALTH_BREAKER_DISABLED };

		h->d.breaker(h->d.arg, h->probes[i]->index, &one);
		out->opens += one.opens;
		if (rank[one.state] > rank[out->state])
			out->state = one.state;
	}
}

static void put_factory(struct health *h, struct buf *b)
{
	static const char *const states[] = { "disabled", "closed", "open", "half_open" };
	enum health_status worst = HEALTH_HEALTHY;
	struct health_breaker br;

	for (uint32_t i = 0; i < h->nprobes; i++)
		if (probe_status(h->probes[i]) > worst)
			worst = probe_status(h->probes[i]);
	buf_printf(b, ",\"factory\":{\"status\":\"%s\",\"pools\":{", status_name(worst));
	for (uint32_t i = 0; i < h->nprobes; i++) {
		if (i)
			buf_putc(b, ',');
		put_pool(h, b, h->probes[i]);
	}
	worst_breaker(h, &br);
	buf_printf(b, "},\"circuit_breaker\":{\"state\":\"%s\",\"metrics\":{\"total_calls\":%" PRIu64
	    ",\"success_rate\":%.6f,\"circuit_opens\":%" PRIu64 "}}}", states[br.state], h->calls,
	    h->calls ? (double)(h->calls - h->failed_calls) / (double)h->calls : 1.0, br.opens);
}

struct counting { bool mine; uint64_t calls, failed; };

static void count_row(void *arg, enum metric_id id, const struct metric_row *row)
{
	(void)row;
	((struct counting *)arg)->mine = id == METRIC_OPERATION_DURATION;
}

/* Failed: what the agent had to answer itself.  What the store says (WRONGTYPE) is an answer. */
static void count_point(void *arg, const struct metric_point *pt)
{
	struct counting *c = arg;
	bool error = false, answer = false;

	if (!c->mine)
		return;
	for (size_t i = 0; i < pt->nattrs; i++) {
		error |= strcmp(pt->attrs[i].key, "error.type") == 0;
		answer |= strcmp(pt->attrs[i].key, "db.response.status_code") == 0;
	}
	c->calls += pt->count;
	c->failed += error && !answer ? pt->count : 0;
}

static void count_end(void *arg)
{
	((struct counting *)arg)->mine = false;
}

void document_calls(struct health *h)
{
	struct counting c = { 0 };
	struct metric_visitor v = { count_row, count_point, count_end, &c };

	if (!h->d.metrics || metric_read(h->d.metrics, &v) != 0)
		return;
	h->calls = c.calls;
	h->failed_calls = c.failed;
}

/* ---- test operations -------------------------------------------------------------------------------- */

static uint64_t sum(const struct probe_result *r)
{
	return r->set_ns == NOT_MEASURED || r->get_ns == NOT_MEASURED || r->del_ns == NOT_MEASURED ?
	    NOT_MEASURED : r->set_ns + r->get_ns + r->del_ns;
}

static const char *test_status(const struct probe_result *r)
{
	return !r->done ? "unknown" : r->ok ? "healthy" : "unhealthy";
}

static void put_times(struct buf *b, const struct probe_result *r)
{
	buf_puts(b, "\"response_times_ms\":{\"ping\":");
	put_ms(b, r->ping_ns);
	buf_puts(b, ",\"set_get_delete\":");
	put_ms(b, sum(r));
	buf_puts(b, ",\"set\":");
	put_ms(b, r->set_ns);
	buf_puts(b, ",\"get\":");
	put_ms(b, r->get_ns);
	buf_puts(b, ",\"delete\":");
	put_ms(b, r->del_ns);
	buf_putc(b, '}');
}

static void put_tests(struct health *h, struct buf *b)
{
	static const struct probe_result none = { .ping_ns = NOT_MEASURED, .set_ns = NOT_MEASURED,
		.get_ns = NOT_MEASURED, .del_ns = NOT_MEASURED };
	const struct probe_result *first = &none;
	const char *worst = "healthy";

	for (uint32_t i = 0; i < h->nprobes; i++) {
		const struct probe_result *r = &h->probes[i]->last;

		if (i == 0 && r->done)
			first = r;
		if (r->done && !r->ok)
			worst = "unhealthy";
		else if (!r->done && strcmp(worst, "healthy") == 0)
			worst = "unknown";
	}
	buf_printf(b, ",\"test_operations\":{\"status\":\"%s\",", h->nprobes ? worst : "unknown");
	put_times(b, first);
	buf_puts(b, ",\"backends\":{");
	for (uint32_t i = 0; i < h->nprobes; i++) {
		const struct probe_result *r = &h->probes[i]->last;

		if (i)
			buf_putc(b, ',');
		text(b, h->probes[i]->name);
		buf_printf(b, ":{\"status\":\"%s\",", test_status(r));
		put_times(b, r->done ? r : &none);
		if (r->done && !r->ok) {
			buf_puts(b, ",\"failed\":");
			text(b, health_step_name(r->failed));
			buf_puts(b, ",\"code\":");
			text(b, err_rows[r->err].word);
			buf_puts(b, ",\"error\":");
			text(b, r->error);
		}
		buf_putc(b, '}');
	}
	buf_puts(b, "}}");
}

/* ---- memory ----------------------------------------------------------------------------------------- */

static void put_numbers(struct buf *b, const struct probe *p)
{
	const struct memory_verdict *v = &p->memory;
	const struct threshold *t = &p->threshold;
	bool known = v->known && !t->lost; /* old numbers are no numbers */

	buf_printf(b, "\"status\":\"%s\",\"usage_percentage\":", threshold_name(threshold_level(t)));
	if (known && v->bounded)
		put_share(b, v->share);
	else
		buf_puts(b, "null");
	buf_puts(b, ",\"usage_bytes\":");
	if (known)
		buf_putu(b, v->used);
	else
		buf_puts(b, "null");
	buf_puts(b, ",\"max_memory_bytes\":");
	if (known)
		buf_putu(b, v->limit);
	else
		buf_puts(b, "null");
	if (t->lost)
		buf_printf(b, ",\"last_status\":\"%s\"", threshold_name((enum threshold_level)t->level));
	if (p->since_s)
		buf_printf(b, ",\"since\":%" PRIu64, p->since_s);
	if (*p->facts.policy) {
		buf_puts(b, ",\"policy\":");
		text(b, p->facts.policy);
	}
	if (v->evicted_per_s >= 0 && known)
		buf_printf(b, ",\"evicted_per_second\":%.3f", v->evicted_per_s);
	if (v->hit_ratio >= 0 && known)
		buf_printf(b, ",\"hit_ratio\":%.4f", v->hit_ratio);
	if (p->facts.fragmentation >= 0 && known && !p->in_process)
		buf_printf(b, ",\"fragmentation_ratio\":%.2f", p->facts.fragmentation);
	if (known && *v->reason) {
		buf_puts(b, ",\"reason\":");
		text(b, v->reason);
	}
}

static void put_memory(struct health *h, struct buf *b)
{
	buf_puts(b, ",\"memory\":{");
	if (h->nprobes)
		put_numbers(b, h->probes[0]);
	else
		buf_puts(b, "\"status\":\"unknown\",\"usage_percentage\":null,\"usage_bytes\":null,"
		    "\"max_memory_bytes\":null");
	buf_puts(b, ",\"backends\":{");
	for (uint32_t i = 0; i < h->nprobes; i++) {
		if (i)
			buf_putc(b, ',');
		text(b, h->probes[i]->name);
		buf_puts(b, ":{");
		put_numbers(b, h->probes[i]);
		buf_putc(b, '}');
	}
	buf_puts(b, "}}");
}

/* ---- the whole -------------------------------------------------------------------------------------- */

struct reasons { struct buf *b; bool any; };

static void put_reason(void *arg, const char *s)
{
	struct reasons *r = arg;

	if (r->any)
		buf_putc(r->b, ',');
	r->any = true;
	text(r->b, s);
}

static void put_reasons(struct health *h, struct buf *b)
{
	struct reasons r = { b, false };
	char line[256];

	buf_puts(b, ",\"reasons\":[");
	for (uint32_t i = 0; i < h->nprobes; i++)
		probe_reasons(h->probes[i], put_reason, &r);
	if (h->telemetry.state >= 2) {
		snprintf(line, sizeof line, "telemetry: %s", h->telemetry.text);
		put_reason(&r, line);
	}
	buf_putc(b, ']');
}

static void put_telemetry(struct health *h, struct buf *b)
{
	static const char *const states[] = { "disabled", "ok", "degraded", "failed" };
	int s = h->telemetry.state;
	const char *why = *h->telemetry.text || s != 0 ? h->telemetry.text :
	    "nothing is exported: [otlp] endpoint is not set, or enabled is no";

	buf_puts(b, ",\"telemetry\":{\"status\":");
	text(b, states[s < 0 || s > 3 ? 3 : s]);
	if (*why) {
		buf_puts(b, ",\"reason\":");
		text(b, why);
	}
	buf_putc(b, '}');
}

void document_write(struct health *h)
{
	struct buf *b = &h->document;
	uint64_t ms = h->ended_ns ? h->ended_ms : loop_wall_ms(h->d.loop);

	buf_clear(b);
	buf_printf(b, "{\"status\":\"%s\",\"timestamp\":%" PRIu64 ".%03" PRIu64 ",\"service\":",
	    status_name(h->status), ms / 1000, ms % 1000);
	text(b, h->service ? h->service : "purser");
	buf_puts(b, ",\"version\":");
	text(b, h->version ? h->version : "");
	buf_printf(b, ",\"generation\":%" PRIu64 ",\"check_ms\":", h->generation);
	put_ms(b, h->ended_ns ? h->took_ns : NOT_MEASURED);
	put_reasons(h, b);
	put_factory(h, b);
	put_tests(h, b);
	put_memory(h, b);
	put_telemetry(h, b);
	if (h->d.sandbox)
		buf_printf(b, ",\"sandbox\":{\"status\":\"%s\"}", h->d.sandbox);
	buf_putc(b, '}');
}
