/* SPDX-License-Identifier: Apache-2.0 */
/* feature/job_metric: what jobs show of themselves as metrics. */
#include <config.h>
#include <string.h>
#include "feature/job_priv.h"

/* How far those of one project and kind are: the one that is least far.  Without any the series ends. */
static void show_progress(struct jobs *s, const struct job *like)
{
	struct metric_cell *progress = metric_cell(s->shard, METRIC_JOB_PROGRESS, like->project, job_kind_name(like->kind));
	struct metric_cell *left = metric_cell(s->shard, METRIC_JOB_REMAINING, like->project, job_kind_name(like->kind));
	int32_t least = INT32_MAX;
	int64_t longest = -1;

	for (const struct job_slot *t = s->first; t; t = t->next) {
		int32_t ppm = job_progress_ppm(&t->j, t->r.blind);
		int64_t eta = job_eta_ms(&t->j, t->r.blind);

		if (!t->begun || job_over(t->j.state) || t->j.kind != like->kind || strcmp(t->j.project, like->project))
			continue;
		least = ppm >= 0 && ppm < least ? ppm : least;
		longest = eta > longest ? eta : longest;
	}
	if (least == INT32_MAX)
		metric_cell_unset(progress);
	else
		metric_cell_setd(progress, least / 1e6);
	if (longest < 0)
		metric_cell_unset(left);
	else
		metric_cell_setd(left, (double)longest / 1e3);
}

void job_metric_moved(struct jobs *s, const struct job_slot *t, uint8_t was)
{
	const char *project = t->j.project, *kind = job_kind_name(t->j.kind);

	if (was == t->j.state)
		return;
	if (was == JOB_STATES && t->j.state == JOB_QUEUED)
		metric_cell_add(metric_cell(s->shard, METRIC_JOB_STARTED, project, kind), 1);
	if (was < JOB_DONE)
		metric_cell_add(metric_cell(s->shard, METRIC_JOB_ACTIVE, project, kind, job_state_name(was)), -1);
	if (!job_over(t->j.state))
		metric_cell_add(metric_cell(s->shard, METRIC_JOB_ACTIVE, project, kind, job_state_name(t->j.state)), 1);
	else if (was < JOB_DONE)
		metric_cell_add(metric_cell(s->shard, METRIC_JOB_ENDED, project, kind, job_state_name(t->j.state)), 1);
	show_progress(s, &t->j);
}

void job_metric_slice(struct jobs *s, const struct job_slot *t, uint64_t matched, uint64_t changed)
{
	const char *project = t->j.project, *kind = job_kind_name(t->j.kind);

	if (matched)
		metric_cell_add(metric_cell(s->shard, METRIC_JOB_KEYS, project, kind, "matched"), (int64_t)matched);
	if (changed && job_writes(&t->j))
		metric_cell_add(metric_cell(s->shard, METRIC_JOB_KEYS, project, kind, "changed"), (int64_t)changed);
	show_progress(s, &t->j);
}
