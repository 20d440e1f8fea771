/* SPDX-License-Identifier: Apache-2.0
 *
 * An episode: each project's commands go to one of its connections at a time, in pipelines, and to its model; both
 * projects' at the same moment.  Behind each turn all that came must be what the model says.
 */
#include <config.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "iso.h"

#define HEAR_SECONDS 5.0
#define BLOCK_SECONDS 5.0

static void nap(uint32_t ms)
{
	nanosleep(&(struct timespec){ ms / 1000, (long)(ms % 1000) * 1000000 }, NULL);
}

static int finding(struct link *l, const struct item *it, uint32_t i, const char *what)
{
	blame(l->p->w, what, &it->c[i < it->n ? i : 0]);
	say(l->p->w, "project %s, connection %u: ", l->p->name, l->number);
	return differ(&l->s, &it->c[i < it->n ? i : 0], i, what);
}

/* ---- talking ------------------------------------------------------------------------------------------------- */
static int talk(struct world *w, struct link *const *link, unsigned n, const char **text)
{
	struct side *sides[4 * LINKS];
	unsigned i, m = 0;
	double from = clock_seconds(CLOCK_MONOTONIC);
	uint64_t apart;

	for (i = 0; i < n; i++) {
		if (link[i]->s.a.want)
			sides[m++] = &link[i]->s.a;
		if (link[i]->s.b.want)
			sides[m++] = &link[i]->s.b;
	}
	if (exchange_sides(sides, m, text)) {
		say(w, "%s\n", *text);
		return -1;
	}
	apart = 2 * (uint64_t)((clock_seconds(CLOCK_MONOTONIC) - from) * 1000) + 10;
	for (i = 0; i < n * LINKS; i++) { /* what one has written another reads */
		struct session *s = &link[i / LINKS]->p->link[i % LINKS].s;

		if (apart > s->tolerance)
			s->tolerance = apart;
	}
	arena_free(&w->mem);
	return 0;
}

/* Commands to both sides (agent_only: to one), each with its fence behind. */
static void put(struct link *l, const struct item *it, int agent_only)
{
	uint32_t i;
	int agent;

	for (i = 0; i < it->n; i++)
		sent(&it->c[i]);
	l->s.a.want = l->s.b.want = 0;
	for (agent = agent_only; agent < 2; agent++)
		for (i = 0; i < it->n; i++)
			add_to(l, agent, &it->c[i]);
}

static void fences(struct link *l, int agent_only)
{
	if (!agent_only)
		add_fence(l, 0);
	add_fence(l, 1);
}

/* ---- what else was heard ---------------------------------------------------------------------------------------- */
static int told(struct link *l, int agent, size_t i)
{
	say(l->p->w, "  %s heard: \"", agent ? "agent" : "model");
	if (l->p->w->report)
		print_bytes(l->p->w->report, l->heard[agent].w[i].p, l->heard[agent].w[i].n);
	say(l->p->w, "\"\n");
	return -1;
}

/* The model's links have said all (a fence is behind it); the agent's may be on its way. */
static int hear(struct project *p)
{
	struct link *link[LINKS];
	const char *text;
	unsigned n = 0, i;
	size_t k;

	if (!p->ears)
		return 0;
	for (i = 0; i < LINKS; i++) {
		if (p->link[i].waiting)
			continue;
		link[n++] = &p->link[i];
		fences(&p->link[i], 0);
	}
	if (talk(p->w, link, n, &text))
		return -1;
	for (i = 0; i < n; i++) {
		double until = clock_seconds(CLOCK_MONOTONIC) + (p->w->report ? HEAR_SECONDS : HEAR_SECONDS / 10);

		while (!heard_enough(link[i])) {
			struct pollfd f = { .fd = link[i]->s.b.fd, .events = POLLIN };

			if (clock_seconds(CLOCK_MONOTONIC) > until || link[i]->heard[1].n > link[i]->heard[0].n + 1000) {
				blame(p->w, link[i]->deaf ? "invalidation" : "message", NULL);
				say(p->w, "DIFFERENCE (what is heard besides replies) project %s, connection %u, RESP%u\n", p->name,
				    link[i]->number, link[i]->s.resp);
				for (k = 0; k < link[i]->heard[0].n; k++)
					told(link[i], 0, k);
				for (k = 0; k < link[i]->heard[1].n; k++)
					told(link[i], 1, k);
				return -1;
			}
			if (side_move(&link[i]->s.b, 0, UINT32_MAX) || (!heard_enough(link[i]) && poll(&f, 1, 50) > 0 &&
			    side_move(&link[i]->s.b, POLLIN, UINT32_MAX))) {
				say(p->w, "the agent closed a connection that listens\n");
				return -1;
			}
		}
		heard_clear(link[i]);
	}
	return 0;
}

/* ---- transactions ------------------------------------------------------------------------------------------------ */
static int compare_exec(struct link *l, const struct item *it)
{
	uint32_t last = it->n - 1, i;
	const uint8_t *a = reply_bytes(&l->s.a, last), *b = reply_bytes(&l->s.b, last);
	int64_t n = reply_elements(a, l->s.a.replies[last].n, NULL, 0), at = 0;
	struct word *x, *y;

	if (n < 0 || *a != '*' || reply_elements(b, l->s.b.replies[last].n, NULL, 0) != n || *b != '*')
		return compare(&l->s, &it->c[last], last, EXACT);
	x = arena_get(&l->s.mem, (size_t)(n + 1) * sizeof(*x));
	y = arena_get(&l->s.mem, (size_t)(n + 1) * sizeof(*y));
	reply_elements(a, l->s.a.replies[last].n, x, (size_t)n);
	reply_elements(b, l->s.b.replies[last].n, y, (size_t)n);
	for (i = 1; i < last && at < n; i++) {
		if (*reply_bytes(&l->s.a, i) == '-')
			continue;
		if (!reply_agree(it->c[i].rule, x[at].p, x[at].n, y[at].p, y[at].n, l->s.tolerance))
			return finding(l, it, i, "in a transaction") | compare(&l->s, &it->c[last], last, EXACT);
		at++;
	}
	return 0;
}

/* ---- lines of CLIENT LIST ------------------------------------------------------------------------------------------ */
static int fields_of(struct link *l, struct word r, struct word *out, int max)
{
	static const char *const fields[] = { " name=", " db=", " sub=", " psub=", " multi=", " resp=" };
	char *copy = arena_get(&l->s.mem, r.n + 1), *line, *next;
	int n = 0;

	memcpy(copy, r.p, r.n);
	copy[r.n] = '\0';
	for (line = copy; line && *line; line = next) {
		char *short_line = arena_get(&l->s.mem, 256);
		size_t i, at = 0;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (strstr(line, " name=fuzzer "))
			continue;
		for (i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
			const char *f = strstr(line, fields[i]);

			at += (size_t)snprintf(short_line + at, 256 - at, "%.*s", f ? (int)(1 + strcspn(f + 1, " ")) : 0, f ? f : "");
			at = at < 200 ? at : 200;
		}
		if (!strstr(line, "id=") || n == max)
			return -1;
		out[n++] = word_text(short_line);
	}
	sort_words(out, (size_t)n, 1);
	return n;
}

static int compare_lines(struct link *l, const struct item *it, uint32_t at)
{
	struct word text[2], x[32], y[32];
	int n, m, i;

	for (i = 0; i < 2; i++) {
		struct side *s = i ? &l->s.b : &l->s.a;
		struct word r = { reply_bytes(s, at), (uint32_t)s->replies[at].n };

		text[i] = r;
		if (r.p[0] == '=' || r.p[0] == '$') {
			const uint8_t *nl = memchr(r.p, '\n', r.n);

			text[i].p = nl + (r.p[0] == '=' ? 5 : 1);
			text[i].n = r.n - (uint32_t)(text[i].p - r.p) - 2;
		} else {
			return compare(&l->s, &it->c[at], at, EXACT);
		}
	}
	n = fields_of(l, text[0], x, 32);
	m = fields_of(l, text[1], y, 32);
	if (n < 0 || n != m)
		return finding(l, it, at, "how many clients");
	for (i = 0; i < n; i++)
		if (x[i].n != y[i].n || memcmp(x[i].p, y[i].p, x[i].n)) {
			say(l->p->w, "  model:%.*s\n  agent:%.*s\n", (int)x[i].n, (const char *)x[i].p, (int)y[i].n, (const char *)y[i].p);
			return finding(l, it, at, "a client's line");
		}
	return 0;
}

static size_t names_of(struct link *l, const struct side *s, uint32_t at, struct word **out)
{
	const uint8_t *p = reply_bytes(s, at);
	int64_t n = reply_elements(p, s->replies[at].n, NULL, 0), i;
	struct word *w = arena_get(&l->s.mem, (size_t)(n < 0 ? 1 : n + 1) * sizeof(*w)), name;
	size_t m = 0;

	*out = w;
	if (n < 0)
		return SIZE_MAX;
	reply_elements(p, s->replies[at].n, w, (size_t)n);
	for (i = 0; i < n; i++)
		if (reply_bulk(w[i], &name) || name.n < 5 || memcmp(name.p, "__key", 5))
			w[m++] = w[i];
	sort_words(w, m, 1);
	return m;
}

static int compare_channels(struct link *l, const struct item *it, uint32_t at)
{
	struct word *x, *y;
	size_t n = names_of(l, &l->s.a, at, &x), m = names_of(l, &l->s.b, at, &y), i;
	int same = n == m && n != SIZE_MAX;

	for (i = 0; same && i < n; i++)
		same = x[i].n == y[i].n && !memcmp(x[i].p, y[i].p, x[i].n);
	return same ? 0 : compare(&l->s, &it->c[0], at, EXACT);
}

/* ---- one item alone -------------------------------------------------------------------------------------------------- */
static int loose(struct link *l, const struct item *it)
{
	const char *text = NULL;
	uint32_t i;

	put(l, it, 0);
	l->loose = it->c[0].argc == 1;
	fences(l, 0);
	if (talk(l->p->w, &l, 1, &text))
		return finding(l, it, 0, "connection");
	l->loose = 0;
	if (l->s.a.nreplies != l->s.b.nreplies)
		return finding(l, it, 0, "how many replies");
	for (i = 0; i < l->s.a.nreplies; i++)
		if (compare(&l->s, &it->c[i < it->n ? i : it->n - 1], i, EXACT))
			return finding(l, it, i, "so it was");
	return 0;
}

static int alone(struct link *l, const struct item *it)
{
	const char *text = NULL;
	uint32_t i;

	put(l, it, 1);
	fences(l, 1);
	if (talk(l->p->w, &l, 1, &text))
		return finding(l, it, 0, "connection");
	for (i = 0; it->how == REFUSED && i < l->s.b.nreplies; i++)
		if (*reply_bytes(&l->s.b, i) != '-')
			return finding(l, it, i, "not refused");
	return 0;
}

static int greet(struct link *l, const struct item *it)
{
	uint32_t last = it->n - 1;
	struct word what = it->c[last].argv[0];
	const char *text = NULL;
	const uint8_t *a, *b;

	put(l, it, 0);
	l->s.a.want = l->s.b.want = it->n;
	if (talk(l->p->w, &l, 1, &text))
		return finding(l, it, 0, "connection");
	a = reply_bytes(&l->s.a, last);
	b = reply_bytes(&l->s.b, last);
	if (*a != *b || (*a == '-' && compare(&l->s, &it->c[last], last, EXACT)))
		return finding(l, it, 0, "greeting");
	if (*a == '-')
		return 0;
	if (it->how == LEAVE) {
		uint32_t resp = l->s.resp;

		link_close(l);
		l->s.resp = resp;
		return link_open(l) ? finding(l, it, 0, "connecting again") : 0;
	}
	if (word_is(what, "RESET")) {
		l->s.resp = 2;
		l->s.db = 0;
		return link_greet(l, 0) ? finding(l, it, 0, "after RESET") : 0;
	}
	l->s.resp = it->c[last].argv[1].p[0] == '3' ? 3 : 2;
	return 0;
}

static int single(struct link *l, const struct item *it)
{
	sent(it->c);
	return ask_single(&l->s, it->c) ? finding(l, it, 0, "see above") : 0;
}

/* ---- what waits ---------------------------------------------------------------------------------------------------------- */
/* blocked_clients of a store, as INFO tells: -1, it does not. */
static int blocked(struct side *s)
{
	static struct word words[] = { { (const uint8_t *)"INFO", 4 }, { (const uint8_t *)"clients", 7 } };
	struct cmd c = { .argc = 2, .argv = words };
	const char *text = NULL, *at;

	s->want = 1;
	side_add(s, &c);
	if (exchange_sides((struct side *const[]){ s }, 1, &text))
		return -1;
	at = memmem(reply_bytes(s, 0), s->replies[0].n, "blocked_clients:", 16);
	return at ? (int)strtol(at + 16, NULL, 10) : -1;
}

static int arrived(const struct side *s) { return s->want != UINT32_MAX; }

static int served(struct link *l)
{
	const char *text = NULL;
	struct item it = { .n = 1, .c = &l->wait };

	if (!arrived(&l->s.a) || !arrived(&l->s.b)) {
		/* one of them has it: so must the other */
		struct side *s = arrived(&l->s.a) ? &l->s.b : &l->s.a;
		double until = clock_seconds(CLOCK_MONOTONIC) + BLOCK_SECONDS;

		while (!arrived(s)) {
			struct pollfd f = { .fd = s->fd, .events = POLLIN };

			if (side_move(s, 0, UINT32_MAX) == NULL && arrived(s))
				break;
			if (clock_seconds(CLOCK_MONOTONIC) > until || (poll(&f, 1, 50) > 0 && (text = side_move(s, POLLIN, UINT32_MAX)))) {
				say(l->p->w, "the %s %s\n", s->name, text ? text : "still waits, and the other does not");
				return finding(l, &it, 0, "a command that waits");
			}
		}
	}
	l->waiting = 0;
	l->s.a.nout = l->s.b.nout = 0;
	if (l->s.a.nreplies != 1 || l->s.b.nreplies != 1)
		return finding(l, &it, 0, "how many replies");
	return compare(&l->s, &l->wait, 0, EXACT) ? finding(l, &it, 0, "a command that waited") : 0;
}

static int look_at_waiting(struct project *p)
{
	unsigned i;

	for (i = 0; i < LINKS; i++) {
		struct link *l = &p->link[i];

		if (!l->waiting)
			continue;
		if (side_move(&l->s.a, POLLIN, arrived(&l->s.a) ? l->s.a.want : UINT32_MAX) ||
		    side_move(&l->s.b, POLLIN, arrived(&l->s.b) ? l->s.b.want : UINT32_MAX)) {
			say(p->w, "connection %u of %s was lost while it waited\n", i, p->name);
			return -1;
		}
		if ((arrived(&l->s.a) || arrived(&l->s.b)) && served(l))
			return -1;
	}
	return 0;
}

/* So many wait in the store and in the project's model, no more: those of before have left. */
static int so_many_wait(struct world *w, const struct project *p)
{
	int here = 0, all = 0, i;

	for (i = 0; i < 2 * LINKS; i++) {
		int one = w->p[i / LINKS].link[i % LINKS].waiting;

		all += one;
		here += one && &w->p[i / LINKS] == p;
	}
	return blocked(&w->ask_store) == all && blocked(&w->ask_model[p - w->p]) == here;
}

static int waiting(struct link *l, const struct item *it)
{
	struct world *w = l->p->w;
	double until = clock_seconds(CLOCK_MONOTONIC) + BLOCK_SECONDS;
	struct side *side[2] = { &l->s.a, &l->s.b };
	int i;

	while (!so_many_wait(w, l->p))
		if (clock_seconds(CLOCK_MONOTONIC) > until)
			return finding(l, it, 0, "somebody waits who should not");
	for (i = 0; i < 2; i++) {
		/* nothing of before is left of the buffers */
		if (side[i]->nin > side[i]->at)
			memmove(side[i]->in, side[i]->in + side[i]->at, side[i]->nin - side[i]->at);
		side[i]->nin -= side[i]->at;
		side[i]->at = side[i]->sent = 0;
		side[i]->nreplies = 0;
	}
	put(l, it, 0);
	fences(l, 0);
	l->wait = it->c[0];
	l->waiting = 1;
	l->p->disturbed = 1; /* the agent tells of a key that is being read when the read has its reply */
	for (;;) {
		if (side_move(side[0], POLLOUT | POLLIN, arrived(side[0]) ? side[0]->want : UINT32_MAX) ||
		    side_move(side[1], POLLOUT | POLLIN, arrived(side[1]) ? side[1]->want : UINT32_MAX))
			return finding(l, it, 0, "connection");
		if (arrived(side[0]) || arrived(side[1]))
			return served(l);
		if (side[0]->sent == side[0]->nout && side[1]->sent == side[1]->nout && so_many_wait(w, l->p))
			break;
		if (clock_seconds(CLOCK_MONOTONIC) > until)
			return finding(l, it, 0, "it does not wait");
	}
	arena_free(&w->mem);
	return 0;
}

/* ---- turns --------------------------------------------------------------------------------------------------------------- */
static int settle(struct world *w)
{
	int i;

	for (i = 0; i < 2; i++)
		if (look_at_waiting(&w->p[i]) || hear(&w->p[i]))
			return -1;
	return leak_found(w) ? -1 : 0;
}

static int compare_queue(struct project *p)
{
	struct link *l = p->turn;
	uint32_t i, k, at = 0;

	for (i = 0; i < p->nqueue; i++) {
		const struct item *it = p->queue[i];

		for (k = 0; k < it->n; k++, at++) {
			if (at >= l->s.a.nreplies || at >= l->s.b.nreplies)
				return finding(l, it, k, "a reply is missing");
			if (it->how == TX && k == it->n - 1 ? 0 : it->how == LINES ? compare_lines(l, it, at) :
			    it->how == CHANNELS ? compare_channels(l, it, at) :
			    compare(&l->s, &it->c[k], at, it->how == TX ? EXACT : it->c[k].rule)) {
				blame(p->w, "reply", &it->c[k]);
				say(p->w, "  (project %s, connection %u)\n", p->name, l->number);
				return -1;
			}
			p->w->done++;
		}
	}
	return l->s.a.nreplies != at || l->s.b.nreplies != at ? finding(l, p->queue[0], at, "too many replies") : 0;
}

static int flush(struct world *w)
{
	struct link *link[2];
	const char *text = NULL;
	uint32_t wait_ms = 0, k;
	unsigned n = 0, i;

	for (i = 0; i < 2; i++) {
		struct project *p = &w->p[i];

		if (!p->nqueue)
			continue;
		link[n++] = p->turn;
		for (k = 0; k < p->nqueue; k++) {
			const struct item *it = p->queue[k];

			put(p->turn, it, 0);
			if (it->c[it->n - 1].wait_ms > wait_ms)
				wait_ms = it->c[it->n - 1].wait_ms;
		}
		fences(p->turn, 0);
	}
	if (!n)
		return 0;
	if (talk(w, link, n, &text))
		return finding(link[0], link[0]->p->queue[0], 0, "connection, in the turn that begins with");
	for (i = 0; i < 2; i++) {
		struct project *p = &w->p[i];

		if (p->nqueue && compare_queue(p))
			return -1;
		p->nqueue = 0;
		p->turn = NULL;
	}
	if (wait_ms)
		nap(wait_ms);
	return settle(w);
}

static void open_ears(struct project *p, const struct item *it)
{
	struct word w = it->c[0].argv[0];

	p->flushed |= w.n > 5 && (w.p[0] | 32) == 'f' && (w.p[1] | 32) == 'l'; /* ... in a transaction it is not */
	p->w->p[p == &p->w->p[0]].disturbed |= it->c[0].argc > 2 && word_is(it->c[0].argv[1], "TRACKING");
	/* Redis remembers what was read before TRACKING OFF; who does not track is told nothing by the agent */
	p->disturbed |= it->c[0].argc > 2 && word_is(it->c[0].argv[1], "TRACKING") && word_is(it->c[0].argv[2], "OFF");
	p->ears |= word_is(w, "SUBSCRIBE") || word_is(w, "PSUBSCRIBE") || word_is(w, "SSUBSCRIBE") || word_is(w, "UNSUBSCRIBE") ||
	    word_is(w, "PUNSUBSCRIBE") || word_is(w, "SUNSUBSCRIBE") ||
	    (it->c[0].argc > 2 && word_is(it->c[0].argv[1], "TRACKING"));
}

static int play_alone(struct link *l, const struct item *it)
{
	l->p->w->done += it->n;
	switch ((enum how)it->how) {
	case ALONE:
	case REFUSED:
		return alone(l, it);
	case WAITING:
		return waiting(l, it);
	case GREET:
	case LEAVE:
		return greet(l, it);
	case TX: {
		const char *text = NULL;
		uint32_t i;

		put(l, it, 0);
		fences(l, 0);
		if (talk(l->p->w, &l, 1, &text))
			return finding(l, it, 0, "connection");
		if (l->s.a.nreplies != it->n || l->s.b.nreplies != it->n)
			return finding(l, it, 0, "how many replies");
		for (i = 0; i < it->n - 1; i++)
			if (compare(&l->s, &it->c[i], i, EXACT))
				return finding(l, it, i, "so it was");
		return compare_exec(l, it) ? finding(l, it, it->n - 1, "so it was") : 0;
	}
	case LOOSE:
		return loose(l, it);
	default:
		return single(l, it);
	}
}

static int play_item(struct world *w, const struct item *it)
{
	struct project *p = &w->p[it->project];
	struct link *l = &p->link[it->link];
	int plain = (it->how == PLAIN && it->c[it->n - 1].rule < SINGLE) || it->how == LINES || it->how == CHANNELS;

	if (l->waiting)
		return 0; /* what it says now is answered when it is served */
	open_ears(p, it);
	if (plain && (p->turn == NULL || p->turn == l) && p->nqueue < sizeof(p->queue) / sizeof(*p->queue)) {
		p->turn = l;
		p->queue[p->nqueue++] = it;
		return it->c[it->n - 1].wait_ms ? flush(w) : 0;
	}
	if (flush(w))
		return -1;
	if (l->waiting)
		return 0;
	if (plain) {
		p->turn = l;
		p->queue[p->nqueue++] = it;
		return 0;
	}
	return play_alone(l, it) || settle(w) ? -1 : 0;
}

/* Empty databases, nobody listens, no scripts. */
static int begin(struct world *w)
{
	static const char *const clean[][2] = { { "FLUSHALL", NULL }, { "SCRIPT", "FLUSH" } };
	unsigned i, k;
	int agent;

	for (i = 0; i < 2 * LINKS; i++) /* what is not opened is not to be closed */
		w->p[i / LINKS].link[i % LINKS].s.a.fd = w->p[i / LINKS].link[i % LINKS].s.b.fd = -1;
	w->leaked = 0;
	*w->kind = '\0';
	for (i = 0; i < 2; i++) {
		struct project *p = &w->p[i];

		p->ears = p->flushed = p->disturbed = 0;
		p->nqueue = 0;
		p->turn = NULL;
		for (k = 0; k < LINKS; k++) {
			struct link *l = &p->link[k];

			*l = (struct link){ .p = p, .number = k };
			l->s.a.fd = l->s.b.fd = -1;
			l->s.resp = 2 + ((w->seed >> (i * LINKS + k)) & 1);
			l->s.tolerance = 10;
			if (k == 0)
				l->s.resp = 2;
			if (k == 1)
				l->s.resp = 3;
			if (link_open(l))
				return -1;
		}
		for (k = 0; k < 2; k++)
			for (agent = 0; agent < 2; agent++) {
				struct side *s = agent ? &p->link[0].s.b : &p->link[0].s.a;
				struct cmd c = clean[k][1] ? WORDS(&p->link[0].s, clean[k][0], clean[k][1]) : WORDS(&p->link[0].s, clean[k][0]);
				const char *text;

				s->want = 1;
				side_add(s, &c);
				if (exchange_sides((struct side *const[]){ s }, 1, &text) || *reply_bytes(s, 0) == '-') {
					say(w, "%s cannot be made empty\n", p->name);
					return -1;
				}
			}
	}
	return 0;
}

int play(struct world *w, const struct item *v, uint32_t n)
{
	uint32_t i;
	int rc = begin(w), k;

	for (i = 0; i < n && !rc; i++)
		rc = play_item(w, &v[i]);
	rc = rc || flush(w) || settle(w) ? -1 : 0;
	for (k = 0; k < 2 * LINKS; k++)
		link_close(&w->p[k / LINKS].link[k % LINKS]);
	if (w->leaked)
		rc = -1;
	arena_free(&w->mem);
	return rc;
}
