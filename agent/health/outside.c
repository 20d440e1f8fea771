/* SPDX-License-Identifier: Apache-2.0 */
/* health/outside: who points the agent at a store that has other keys already must not wonder where
 * they are.  DBSIZE, then SCAN of at most WALK_MAX keys; in a larger store that is a sample (SCAN goes
 * by hash, so it is a fair one).  Counted at the first check that passes, when the store has come back
 * or restarted, when the projects have changed, and every hour; never for a store in this process. */
#include <config.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "health/priv.h"

#define WALK_MAX 10000u
#define WALK_COUNT "500"
#define AGAIN_NS UINT64_C(3600000000000)

static void scan(struct probe *p);

static void publish(struct probe *p, int64_t n, bool about)
{
	struct health *h = p->h;

	atomic_store_explicit(&h->about[p->index], about, memory_order_relaxed);
	if (atomic_exchange_explicit(&h->outside[p->index], n, memory_order_acq_rel) != n)
		document_write(h);
	if (n < 0 || n == p->outside.told || (p->outside.told < 0 && n == 0))
		return;
	p->outside.told = n;
	if (n == 0)
		return;
	log_event(h->d.log, LOG_M_HEALTH, LOG_INFO, "health.outside_keys",
	    "the store has keys that no project reaches: isolation = off in a [project] section shows them "
	    "all, key_prefix those that begin alike", LOG_STR("backend", p->name), LOG_INT("keys", n),
	    LOG_BOOL("about", about), LOG_KEY(p->name));
}

static void finish(struct probe *p)
{
	struct outside *o = &p->outside;
	double share = o->seen ? (double)o->foreign / (double)o->seen : 0;

	if (strcmp(o->cursor, "0") == 0) /* all of it; a key may have been seen twice */
		publish(p, (int64_t)(o->foreign < o->total ? o->foreign : o->total), false);
	else
		publish(p, (int64_t)((double)o->total * share + 0.5), true);
}

/* Does the key belong to a project of this backend, or to the agent? */
static bool reached(const struct probe *p, purser_bytes key)
{
	if (key.n >= 4 && memcmp(key.p, "psr:", 4) == 0)
		return true;
	for (uint32_t i = 0; i < p->h->nprojects; i++) {
		const struct project *pr = &p->h->projects[i];

		if (pr->instance == p->index && key.n >= pr->prefix_len &&
		    memcmp(key.p, pr->prefix, pr->prefix_len) == 0)
			return true;
	}
	return false;
}

/* *2 cursor *N key...  0, or -1: it is something else. */
static int take_page(struct probe *p, const uint8_t *r, size_t n)
{
	struct outside *o = &p->outside;
	int64_t many = 0, head = n && *r == '*' ? purser_scan_number(r, n, &many) : -1;
	purser_bytes s;
	size_t at;

	if (head <= 0 || many != 2)
		return -1;
	at = (size_t)head + reply_string(r + head, n - (size_t)head, &s);
	if (!s.p || !s.n || s.n >= sizeof o->cursor || at >= n || r[at] != '*')
		return -1;
	memcpy(o->cursor, s.p, s.n);
	o->cursor[s.n] = '\0';
	head = purser_scan_number(r + at, n - at, &many);
	if (head <= 0)
		return -1;
	for (at += (size_t)head; many > 0; many--) {
		size_t len = reply_string(r + at, n - at, &s);

		if (!len || !s.p)
			return -1;
		at += len;
		o->seen++;
		o->foreign += !reached(p, s);
	}
	return 0;
}

static void got_page(void *owner, const struct health_answer *a)
{
	struct probe *p = owner;

	if (a->err || take_page(p, a->resp, a->n) != 0) {
		publish(p, -1, false);
		return;
	}
	if (strcmp(p->outside.cursor, "0") == 0 || p->outside.seen >= WALK_MAX)
		finish(p);
	else
		scan(p);
}

static void scan(struct probe *p)
{
	const purser_bytes argv[] = { health_word("SCAN"), health_word(p->outside.cursor),
		health_word("COUNT"), health_word(WALK_COUNT) };

	health_ask(p->h, p->index, argv, 4, &p->outside.ticket, p, got_page);
}

static void got_size(void *owner, const struct health_answer *a)
{
	struct probe *p = owner;
	struct outside *o = &p->outside;
	int64_t n = 0;

	if (a->err || !a->n || *a->resp != ':' || purser_scan_number(a->resp, a->n, &n) <= 0 || n < 0) {
		publish(p, -1, false);
		return;
	}
	o->total = (uint64_t)n;
	o->seen = o->foreign = 0;
	snprintf(o->cursor, sizeof o->cursor, "0");
	if (n == 0)
		publish(p, 0, false);
	else
		scan(p);
}

void outside_start(struct probe *p)
{
	const purser_bytes size = health_word("DBSIZE");
	uint64_t now = loop_now(p->h->d.loop);
	bool any = false;

	if (p->outside.ticket || (p->outside.due_ns && now < p->outside.due_ns) || p->in_process ||
	    !(p->caps & PURSER_CAP_SCAN))
		return;
	p->outside.due_ns = now + AGAIN_NS;
	for (uint32_t i = 0; i < p->h->nprojects; i++) {
		const struct project *pr = &p->h->projects[i];

		if (pr->instance != p->index)
			continue;
		any = true;
		if (!pr->prefix_len) { /* this one reaches everything */
			publish(p, 0, false);
			return;
		}
	}
	if (any)
		health_ask(p->h, p->index, &size, 1, &p->outside.ticket, p, got_size);
}

/* ---- questions, any thread ------------------------------------------------------------------------- */

int64_t health_outside(struct health *h, uint32_t instance, bool *about)
{
	if (instance >= INSTANCES_MAX)
		return -1;
	if (about)
		*about = atomic_load_explicit(&h->about[instance], memory_order_relaxed);
	return atomic_load_explicit(&h->outside[instance], memory_order_acquire);
}

size_t health_outside_text(struct health *h, const struct project *p, char *dst, size_t cap)
{
	bool about = false;
	int64_t n = health_outside(h, p->instance, &about);
	int len;

	if (n <= 0 || !p->prefix_len)
		return 0;
	len = snprintf(dst, cap, "%s%" PRId64 " key%s of the store lie%s outside every project: isolation = "
	    "off in [project %s] shows them", about ? "about " : "", n, n == 1 ? "" : "s",
	    n == 1 ? "s" : "", p->name);
	return len < 0 || !cap ? 0 : (size_t)len < cap ? (size_t)len : cap - 1;
}
