/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "feature/job.h"

#define PPM 1000000u

enum phase { PHASE_IDENTIFY, PHASE_SCAN, PHASE_WORK, PHASE_VERIFY, PHASE_END };

static const char *const kinds[JOB_KINDS] = { "clear", "count", "ttlrepair", "export" };
static const char *const states[JOB_STATES] = { "queued", "running", "interrupted", "done", "cancelled", "failed" };

static int find(const char *const *v, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (strcmp(v[i], name) == 0)
			return i;
	return -1;
}

const char *job_kind_name(uint8_t kind) { return kind < JOB_KINDS ? kinds[kind] : "?"; }
int job_kind_of(const char *name) { return find(kinds, JOB_KINDS, name); }
const char *job_state_name(uint8_t state) { return state < JOB_STATES ? states[state] : "?"; }
int job_state_of(const char *name) { return find(states, JOB_STATES, name); }

void job_id_make(char id[JOB_ID + 1], uint64_t wall_ms, uint64_t random)
{
	snprintf(id, JOB_ID + 1, "%016llx", (unsigned long long)(wall_ms << 20 | (random & 0xfffff)));
}

void job_id_after(char id[JOB_ID + 1], const char *before)
{
	snprintf(id, JOB_ID + 1, "%016llx", strtoull(before, NULL, 16) + 1);
}

bool job_id_ok(const char *id, size_t n)
{
	if (n != JOB_ID)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!(id[i] >= '0' && id[i] <= '9') && !(id[i] >= 'a' && id[i] <= 'f'))
			return false;
	return true;
}

bool job_move(struct job *j, enum job_state to, const char *reason, uint64_t wall_ms)
{
	if (job_over(j->state) || (to == j->state && to != JOB_INTERRUPTED))
		return false;
	j->state = (uint8_t)to;
	snprintf(j->reason, sizeof j->reason, "%s", reason ? reason : "");
	if (to == JOB_RUNNING && !j->started_ms)
		j->started_ms = wall_ms;
	if (job_over(j->state))
		j->ended_ms = wall_ms;
	return true;
}

/* ---- running it ---- */

void job_limits_set(struct job_run *r, const struct job *j, const struct job_limits *l)
{
	uint32_t rate = j->rate ? j->rate : l->rate;

	r->rate = rate;
	gcra_rule_set(&r->rule, (uint64_t)rate * 4, UINT64_C(1000000000), rate / 5); /* quarters of a key; 50 ms' worth */
	r->share_ppm = j->rate ? JOB_ASKED_SHARE_PPM : l->share_ppm;
	if (r->share_ppm == 0 || r->share_ppm > PPM)
		r->share_ppm = PPM;
	/* Twenty slices a second or more: a slow job takes a little often, not much seldom. */
	r->count = rate / 20 > JOB_COUNT_FIRST ? JOB_COUNT_FIRST : rate / 20 ? rate / 20 : JOB_COUNT_MIN;
}

static void begin_pass(struct job *j)
{
	j->cursor = 0;
	j->walked = j->matched = j->bytes = j->active_ms = 0;
	if (!job_writes(j)) /* what was removed is removed; what was counted is counted again */
		j->changed = 0;
	j->passes++;
}

void job_run_begin(struct job_run *r, struct job *j, const struct job_limits *l)
{
	memset(r, 0, sizeof *r);
	job_limits_set(r, j, l);
	r->phase = PHASE_IDENTIFY;
	r->doubt = j->cursor != 0;
	if (!j->cursor) /* never begun, or what was walked is not known to be the store's that is there now */
		begin_pass(j);
}

static void count_time(struct job *j, struct job_run *r, uint64_t now_ns)
{
	uint64_t ms = r->at_ns && now_ns > r->at_ns ? (now_ns - r->at_ns) / 1000000 : 0;

	j->active_ms += ms;
	r->at_ns = r->at_ns ? r->at_ns + ms * 1000000 : now_ns;
}

enum job_step job_next(struct job *j, struct job_run *r, struct job_share *s, uint64_t now_ns, uint64_t *until_ns)
{
	uint64_t until = r->not_before_ns;

	if (r->phase == PHASE_END)
		return JOB_STEP_END;
	if (r->phase == PHASE_WORK)
		return JOB_STEP_WORK;
	if (r->phase == PHASE_SCAN) {
		uint64_t debt = gcra_debt(&r->meter, &r->rule, now_ns);

		if (debt && now_ns + debt > until)
			until = now_ns + debt;
		if (s->free_ns > until)
			until = s->free_ns;
		if (s->jobs > 1 && s->last == j && s->free_ns + JOB_TURN_NS > until)
			until = s->free_ns + JOB_TURN_NS;
	}
	if (until > now_ns || (s->taken && s->taken != j)) {
		/* Whose slice is under way ends it within its deadline: look again soon. */
		*until_ns = until > now_ns ? until : now_ns + JOB_SLICE_NS;
		return JOB_STEP_WAIT;
	}
	if (!r->at_ns)
		r->at_ns = now_ns;
	s->taken = j;
	r->spent_ns = 0;
	return r->phase == PHASE_SCAN ? JOB_STEP_SCAN : JOB_STEP_IDENTIFY;
}

static void leave(const struct job *j, struct job_share *s)
{
	if (s->taken == j)
		s->taken = NULL;
}

void job_identified(struct job *j, struct job_run *r, struct job_share *s, const char *store, uint64_t now_ns)
{
	bool known = *store != '\0', same = known && strcmp(store, j->store) == 0;

	leave(j, s);
	r->not_before_ns = 0;
	if (r->phase == PHASE_VERIFY) {
		/* A store that never tells is believed, if nothing has happened since the walk began. */
		if (same || (!known && !*j->store && !r->doubt)) {
			r->phase = PHASE_END;
			return;
		}
		begin_pass(j);
	} else if (r->doubt && !same) {
		begin_pass(j);
	}
	snprintf(j->store, sizeof j->store, "%s", store);
	r->doubt = false;
	r->blind = r->blind && j->cursor;
	r->phase = PHASE_SCAN;
	count_time(j, r, now_ns);
}

/* The next slice as large as makes it take JOB_SLICE_NS, within what the rate allows in a twentieth of a second. */
static void adapt(struct job_run *r)
{
	uint64_t want = r->spent_ns ? r->count * JOB_SLICE_NS / r->spent_ns : r->count * 2;
	uint64_t most = r->rate / 20 ? r->rate / 20 : 1;

	if (want > (uint64_t)r->count * 2)
		want = (uint64_t)r->count * 2;
	if (want < r->count / 2)
		want = r->count / 2;
	if (most > JOB_COUNT_MAX)
		most = JOB_COUNT_MAX;
	r->count = (uint32_t)(want > most ? most : want < JOB_COUNT_MIN ? JOB_COUNT_MIN : want);
}

/* Of what the clock says of this slice, what may be the store's. */
static uint64_t cost(struct job_run *r, uint64_t passed)
{
	uint64_t spent = r->spent_ns < JOB_REST_MAX_NS ? r->spent_ns : JOB_REST_MAX_NS;
	uint64_t units = passed + r->names * 4, per, most;

	units = units ? units : 1;
	per = spent * 1000 / units;
	if (!r->cheapest_ps || per < r->cheapest_ps)
		r->cheapest_ps = per ? per : 1;
	else
		r->cheapest_ps += r->cheapest_ps / 50 + 1; /* keys may have become larger */
	most = units > UINT64_MAX / 3 / r->cheapest_ps ? UINT64_MAX : 3 * r->cheapest_ps * units / 1000;
	return spent < most ? spent : most;
}

static void end_slice(struct job *j, struct job_run *r, struct job_share *s, uint64_t now_ns)
{
	uint64_t passed = r->count > r->names ? r->count - r->names : 0;
	uint64_t rest;

	r->spent_ns = cost(r, passed);
	rest = r->spent_ns * (PPM - r->share_ppm) / r->share_ppm;
	j->walked += r->names + passed;
	j->matched += r->names;
	if (r->next_cursor && job_cursor_fraction(r->next_cursor) < job_cursor_fraction(j->cursor))
		r->blind = true;
	j->cursor = r->next_cursor;
	gcra_charge(&r->meter, &r->rule, r->names * 4 + passed, now_ns);
	s->free_ns = now_ns + (rest < JOB_REST_MAX_NS ? rest : JOB_REST_MAX_NS);
	s->last = j;
	leave(j, s);
	count_time(j, r, now_ns);
	adapt(r);
	r->failures = 0;
	r->phase = j->cursor ? PHASE_SCAN : PHASE_VERIFY;
}

void job_scanned(struct job *j, struct job_run *r, struct job_share *s, uint64_t cursor, uint64_t names,
    uint64_t took_ns, uint64_t now_ns)
{
	r->next_cursor = cursor;
	r->names = names;
	r->spent_ns += took_ns;
	if (names && (job_writes(j) || j->kind == JOB_TTLREPAIR))
		r->phase = PHASE_WORK;
	else
		end_slice(j, r, s, now_ns);
}

void job_worked(struct job *j, struct job_run *r, struct job_share *s, uint64_t changed, uint64_t took_ns,
    uint64_t now_ns)
{
	j->changed += changed;
	r->spent_ns += took_ns;
	end_slice(j, r, s, now_ns);
}

void job_troubled(const struct job *j, struct job_run *r, struct job_share *s, uint64_t now_ns, uint64_t random)
{
	uint64_t most = JOB_BACKOFF_NS << (r->failures < 10 ? r->failures : 10);

	if (most > JOB_BACKOFF_MAX_NS)
		most = JOB_BACKOFF_MAX_NS;
	r->failures++;
	r->not_before_ns = now_ns + most / 2 + random % (most / 2 + 1);
	r->at_ns = 0; /* waiting is not running */
	r->doubt = true;
	leave(j, s);
	if (r->phase != PHASE_VERIFY)
		r->phase = PHASE_IDENTIFY;
}

void job_run_end(struct job *j, struct job_run *r, struct job_share *s, uint64_t now_ns)
{
	if (r->at_ns)
		count_time(j, r, now_ns);
	r->at_ns = 0;
	leave(j, s);
}

bool job_may_retry(enum err_code code, const char *text)
{
	static const char *const words[] = { "LOADING ", "READONLY ", "MASTERDOWN ", "CLUSTERDOWN ", "TRYAGAIN ", "BUSY ",
		"OOM ", "MISCONF ", "NOREPLICAS " };

	switch (code) {
	case ERR_BACKENDDOWN: case ERR_BACKENDAUTH: case ERR_BACKENDPROTOCOL: case ERR_CIRCUITOPEN:
	case ERR_POOLEXHAUSTED: case ERR_TIMEOUT: case ERR_INDETERMINATE: case ERR_OOM: case ERR_RATELIMITED:
		return true;
	case ERR_REDIS:
		for (size_t i = 0; text && i < sizeof words / sizeof *words; i++)
			if (strncmp(text, words[i], strlen(words[i])) == 0)
				return true;
		return false;
	default:
		return false;
	}
}

/* ---- what is shown ---- */

uint64_t job_cursor_fraction(uint64_t v)
{
	v = (v >> 1 & UINT64_C(0x5555555555555555)) | (v & UINT64_C(0x5555555555555555)) << 1;
	v = (v >> 2 & UINT64_C(0x3333333333333333)) | (v & UINT64_C(0x3333333333333333)) << 2;
	v = (v >> 4 & UINT64_C(0x0f0f0f0f0f0f0f0f)) | (v & UINT64_C(0x0f0f0f0f0f0f0f0f)) << 4;
	return __builtin_bswap64(v);
}

int32_t job_progress_ppm(const struct job *j, bool blind)
{
	if (j->state == JOB_DONE)
		return PPM;
	return blind ? -1 : (int32_t)((job_cursor_fraction(j->cursor) >> 32) * PPM >> 32);
}

int64_t job_eta_ms(const struct job *j, bool blind)
{
	uint64_t ppm = (uint64_t)(job_progress_ppm(j, blind) < 0 ? 0 : job_progress_ppm(j, blind));

	if (job_over(j->state))
		return 0;
	if (ppm < 100 || j->active_ms < 100) /* too early to tell */
		return -1;
	return j->active_ms > UINT64_MAX / PPM ? -1 : (int64_t)(j->active_ms * (PPM - ppm) / ppm);
}
