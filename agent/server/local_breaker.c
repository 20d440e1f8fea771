/* SPDX-License-Identifier: Apache-2.0
 *
 * PURSER.BREAKER and PURSER.FAULT: what operators and testers see of failures, and do to them.
 */
#include <config.h>
#include <stdio.h>
#include <string.h>
#include "server/local.h"

/* ---- PURSER.BREAKER [backend [OPEN|CLOSE|AUTO]] ----------------------------------------------------- */

static void put_breaker(struct request *r, struct purser_instance *i, enum guard_class c)
{
	uint64_t now = loop_now(r->cl->w->loop);
	struct bcall *b = &r->b;
	struct guard_view v;

	guard_view(i, c, now, &v);
	reply_map(b, 7);
	reply_text(b, "backend");
	reply_text(b, i->name);
	reply_text(b, "class");
	reply_text(b, guard_class_name(c));
	reply_text(b, "state");
	reply_text(b, breaker_name(v.state));
	reply_text(b, "opens");
	reply_integer(b, (int64_t)v.opens);
	reply_text(b, "reopens");
	reply_integer(b, (int64_t)v.reopens);
	reply_text(b, "since_ms"); /* -1: since the agent started */
	reply_integer(b, v.since_ns ? (int64_t)((now > v.since_ns ? now - v.since_ns : 0) / 1000000) : -1);
	reply_text(b, "retry_after_ms");
	reply_integer(b, (int64_t)((v.retry_after_ns + 999999) / 1000000));
}

static bool chosen(const struct request *r, const struct purser_instance *i)
{
	return i && (r->argc < 2 || (word(r, 1).n == strlen(i->name) &&
	    memcmp(word(r, 1).p, i->name, word(r, 1).n) == 0));
}

static void do_breaker(struct request *r)
{
	struct purser_instance *const *v = r->cl->gen->instances;
	enum breaker_state to = BREAKER_OPEN;
	unsigned n = 0;

	for (unsigned k = 0; k < INSTANCES_MAX; k++)
		n += chosen(r, v[k]);
	if (r->argc > 3) {
		local_error(r, "ERR syntax error: PURSER.BREAKER [backend [OPEN|CLOSE|AUTO]]");
		return;
	}
	if (!n) {
		local_failure(r, ERR_BADREQUEST, "there is no backend of that name: PURSER.BREAKER lists them");
		return;
	}
	if (r->argc == 3) {
		to = word_is(word(r, 2), "OPEN") ? BREAKER_FORCED_OPEN : word_is(word(r, 2), "CLOSE") ?
		    BREAKER_DISABLED : word_is(word(r, 2), "AUTO") ? BREAKER_CLOSED : BREAKER_OPEN;
		if (to == BREAKER_OPEN) {
			local_failure(r, ERR_BADREQUEST, "say OPEN (reject everything), CLOSE (let everything pass) "
			    "or AUTO (let the breaker decide)");
			return;
		}
		log_event(r->cl->w->log, LOG_M_BACKEND, LOG_INFO, "breaker.operator", "an operator sets a breaker",
		    LOG_BYTES("backend", word(r, 1).p, word(r, 1).n), LOG_STR("to", breaker_name(to)),
		    LOG_UINT("uid", r->cl->id.peer.uid));
	}
	reply_array(&r->b, n * GUARD_CLASSES);
	for (unsigned k = 0; k < INSTANCES_MAX; k++)
		for (unsigned c = 0; chosen(r, v[k]) && c < GUARD_CLASSES; c++) {
			if (to != BREAKER_OPEN)
				guard_operate(v[k], (enum guard_class)c, to, loop_now(r->cl->w->loop));
			put_breaker(r, v[k], (enum guard_class)c);
		}
	req_finish(r);
}

/* ---- PURSER.FAULT ----------------------------------------------------------------------------------- */

static void gate(const struct request *r, bool on)
{
	for (unsigned k = 0; k < INSTANCES_MAX; k++)
		if (r->cl->gen->instances[k])
			guard_gate(r->cl->gen->instances[k], GATE_FAULT, on);
}

static bool number(purser_bytes w, uint64_t max, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < w.n; i++) {
		if (w.p[i] < '0' || w.p[i] > '9' || *out > max)
			return false;
		*out = *out * 10 + (uint64_t)(w.p[i] - '0');
	}
	return w.n && *out <= max;
}

/* "WORD text" that can stand behind a '-' on the wire. */
static bool error_text(purser_bytes w, char *dst, size_t cap)
{
	if (!w.n || w.n >= cap || w.p[0] < 'A' || w.p[0] > 'Z')
		return false;
	for (size_t i = 0; i < w.n; i++)
		if (w.p[i] < 32 || w.p[i] > 126)
			return false;
	memcpy(dst, w.p, w.n);
	dst[w.n] = '\0';
	return true;
}

/* PROJECT name, COMMAND name, PERCENT n, from argv[at] on.  NULL, or what is wrong. */
static const char *read_filter(const struct request *r, uint32_t at, struct fault *f)
{
	uint64_t n;

	for (; at < r->argc; at += 2) {
		purser_bytes v = at + 1 < r->argc ? word(r, at + 1) : (purser_bytes){ NULL, 0 };

		if (!v.n)
			return "each of PROJECT, COMMAND and PERCENT has a value";
		if (word_is(word(r, at), "PROJECT")) {
			const struct project *p = project_find(&r->cl->gen->projects, (const char *)v.p, v.n);

			if (!p)
				return "there is no project of that name";
			snprintf(f->project, sizeof f->project, "%s", p->name);
		} else if (word_is(word(r, at), "COMMAND")) {
			const struct command *c = cmd_by_name(r->cl->w->commands, (const char *)v.p, v.n);

			if (!c || c->run != RUN_BACKEND || c->id > CMD_COUNT) /* a reload may take a declared one away */
				return "no backend is asked for that command, or it is a declared one";
			f->command = c->id;
		} else if (word_is(word(r, at), "PERCENT")) {
			if (!number(v, 100, &n) || !n)
				return "PERCENT is 1 to 100";
			f->percent = (uint8_t)n;
		} else {
			return "say PROJECT name, COMMAND name or PERCENT n";
		}
	}
	return NULL;
}

static const char *read_fault(const struct request *r, struct fault *f)
{
	uint64_t ms;

	f->command = CMD_COUNT;
	f->percent = 100;
	if (r->argc < 3)
		return "say PURSER.FAULT ADD DELAY ms | ERROR text | DROP";
	if (word_is(word(r, 2), "DROP")) {
		f->kind = FAULT_DROP;
		return read_filter(r, 3, f);
	}
	if (r->argc < 4)
		return "say PURSER.FAULT ADD DELAY ms | ERROR text | DROP";
	if (word_is(word(r, 2), "DELAY")) {
		f->kind = FAULT_DELAY;
		if (!number(word(r, 3), 3600000, &ms) || !ms)
			return "DELAY takes milliseconds, 1 to 3600000";
		f->delay_ns = ms * 1000000;
	} else if (word_is(word(r, 2), "ERROR")) {
		f->kind = FAULT_ERROR;
		if (!error_text(word(r, 3), f->error, sizeof f->error))
			return "ERROR takes what the store would say, as \"LOADING not yet\"; BACKENDDOWN: no connection";
	} else {
		return "say PURSER.FAULT ADD DELAY ms | ERROR text | DROP";
	}
	return read_filter(r, 4, f);
}

static void add(struct request *r)
{
	struct faults *all = r->cl->w->faults;
	struct fault f = { 0 };
	const char *why = read_fault(r, &f);
	unsigned i = 0;

	if (why) {
		local_failure(r, ERR_BADREQUEST, why);
		return;
	}
	pthread_mutex_lock(&all->lock);
	while (i < FAULTS_MAX && all->v[i].id)
		i++;
	if (i < FAULTS_MAX) {
		f.id = ++all->last_id;
		all->v[i] = f;
		gate(r, true);
	}
	pthread_mutex_unlock(&all->lock);
	if (i == FAULTS_MAX) {
		local_failure(r, ERR_BADREQUEST, "there are as many faults as there can be: PURSER.FAULT CLEAR");
		return;
	}
	log_event(r->cl->w->log, LOG_M_SERVER, LOG_WARN, "fault.added", "requests will fail on purpose",
	    LOG_UINT("id", f.id), LOG_STR("kind", fault_name(f.kind)), LOG_UINT("uid", r->cl->id.peer.uid));
	reply_integer(&r->b, (int64_t)f.id);
	req_finish(r);
}

static void list(struct request *r)
{
	struct faults *all = r->cl->w->faults;
	struct bcall *b = &r->b;
	unsigned n = 0;

	pthread_mutex_lock(&all->lock);
	for (unsigned i = 0; i < FAULTS_MAX; i++)
		n += all->v[i].id != 0;
	reply_array(b, n);
	for (unsigned i = 0; i < FAULTS_MAX; i++) {
		const struct fault *f = &all->v[i];

		if (!f->id)
			continue;
		reply_map(b, 8);
		reply_text(b, "id");
		reply_integer(b, (int64_t)f->id);
		reply_text(b, "kind");
		reply_text(b, fault_name(f->kind));
		reply_text(b, "delay_ms");
		reply_integer(b, (int64_t)(f->delay_ns / 1000000));
		reply_text(b, "error");
		reply_text(b, f->error);
		reply_text(b, "project");
		reply_text(b, f->project);
		reply_text(b, "command");
		reply_text(b, f->command == CMD_COUNT ? "" : cmd_rows[f->command].name);
		reply_text(b, "percent");
		reply_integer(b, f->percent);
		reply_text(b, "hits");
		reply_integer(b, (int64_t)f->hits);
	}
	pthread_mutex_unlock(&all->lock);
	req_finish(r);
}

/* PURSER.FAULT CLEAR [id]: how many went. */
static void clear(struct request *r)
{
	struct faults *all = r->cl->w->faults;
	unsigned gone = 0, left = 0;
	uint64_t id = 0;

	if (r->argc > 3 || (r->argc == 3 && !number(word(r, 2), UINT32_MAX, &id))) {
		local_failure(r, ERR_BADREQUEST, "say PURSER.FAULT CLEAR, or CLEAR and a number of PURSER.FAULT LIST");
		return;
	}
	pthread_mutex_lock(&all->lock);
	for (unsigned i = 0; i < FAULTS_MAX; i++) {
		if (all->v[i].id && (r->argc == 2 || all->v[i].id == id)) {
			all->v[i].id = 0;
			gone++;
		}
		left += all->v[i].id != 0;
	}
	if (!left)
		gate(r, false);
	pthread_mutex_unlock(&all->lock);
	reply_integer(&r->b, gone);
	req_finish(r);
}

static void do_fault(struct request *r)
{
	struct faults *all = r->cl->w->faults;
	bool enabled;

	pthread_mutex_lock(&all->lock);
	enabled = all->enabled;
	pthread_mutex_unlock(&all->lock);
	if (!enabled)
		local_failure(r, ERR_NOPERM, "faults are off: set fault_injection = yes in the [agent] section of the "
		    "configuration");
	else if (word_is(word(r, 1), "ADD"))
		add(r);
	else if (word_is(word(r, 1), "LIST") && r->argc == 2)
		list(r);
	else if (word_is(word(r, 1), "CLEAR"))
		clear(r);
	else
		local_failure(r, ERR_BADREQUEST, "say PURSER.FAULT ADD, LIST or CLEAR");
}

void local_breaker(req_handler *t)
{
	t[CMD_PURSER_BREAKER] = do_breaker;
	t[CMD_PURSER_FAULT] = do_fault;
}
