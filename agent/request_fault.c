/* SPDX-License-Identifier: Apache-2.0
 *
 * PURSER.FAULT: requests are delayed, failed or dropped on purpose, in front of the store, so that users
 * can test what their programs do then.  A fault goes the way of a real one: breaker, retries and accounts
 * see no difference.
 */
#include <config.h>
#include <string.h>
#include "request.h"

const char *fault_name(enum fault_kind k)
{
	static const char *const names[] = { "delay", "error", "drop" };

	return k < FAULT_KINDS ? names[k] : "";
}

/* Does it hit this attempt?  A delay hits a request once, what fails each attempt anew. */
static bool hits(const struct fault *f, const struct request *r)
{
	return f->id && (f->kind != FAULT_DELAY || (!r->not_before_ns && !r->b.source)) &&
	    (!*f->project || !strcmp(f->project, r->project->name)) &&
	    (f->command == CMD_COUNT || f->command == r->cmd->id) &&
	    trace_random(r->cl->w->trace) % 100 < f->percent;
}

static bool find(struct request *r, struct fault *out)
{
	struct faults *all = r->cl->w->faults;
	bool found = false;

	pthread_mutex_lock(&all->lock);
	for (unsigned i = 0; i < FAULTS_MAX && !found; i++)
		if (hits(&all->v[i], r)) {
			all->v[i].hits++;
			*out = all->v[i];
			found = true;
		}
	pthread_mutex_unlock(&all->lock);
	return found;
}

bool fault_pass(struct request *r)
{
	struct worker *w = r->cl->w;
	struct call_failure failure = { .err = ERR_REDIS, .store = true };
	struct fault f;

	if (!find(r, &f))
		return true;
	metric_cell_add(metric_cell(w->metrics, METRIC_FAULTS, fault_name(f.kind)), 1);
	if (f.kind == FAULT_DELAY) {
		retry_delayed(r, loop_now(w->loop) + f.delay_ns);
		return false;
	}
	failure.text = f.error;
	failure.n = strlen(f.error);
	if (f.kind == FAULT_DROP) /* as if the link were lost behind the command's last byte */
		failure = (struct call_failure){ .code = PURSER_E_IO, .executed = PURSER_MAYBE_EXECUTED,
			.err = r->cmd->flags & F_WRITE ? ERR_INDETERMINATE : ERR_BACKENDDOWN };
	else if (call_failure_word(&failure, err_rows[ERR_BACKENDDOWN].word))
		failure = (struct call_failure){ .code = PURSER_E_CONNECT, .executed = PURSER_NOT_EXECUTED,
			.err = ERR_BACKENDDOWN };
	retry_failed(r, &failure);
	return false;
}
