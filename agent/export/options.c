/* SPDX-License-Identifier: Apache-2.0 */
/* export/options: a copy of what the configuration says. */
#include <config.h>
#include <stdlib.h>
#include "export/inside.h"

void options_free(struct export_opts *o)
{
	for (int s = 0; s < EXPORT_SIGNALS; s++) {
		struct export_target *t = &o->target[s];

		for (size_t i = 0; i < t->nheaders; i++) {
			explicit_bzero((char *)t->headers[i], strlen(t->headers[i]));
			free((char *)t->headers[i]);
		}
		free((void *)t->headers);
		free((char *)t->url);
		free((char *)t->unix_path);
		free((char *)t->ca_file);
		free((char *)t->cert_file);
		free((char *)t->key_file);
	}
	free((char *)o->spool_dir);
	memset(o, 0, sizeof *o);
}

static int copy_text(const char **dst, const char *src)
{
	*dst = src && *src ? strdup(src) : NULL;
	return src && *src && !*dst ? -1 : 0;
}

static int target_copy(struct export_target *to, const struct export_target *from)
{
	const char **headers;

	to->timeout_ns = from->timeout_ns;
	to->gzip = from->gzip;
	to->protocol = from->protocol;
	if (copy_text(&to->url, from->url) || copy_text(&to->unix_path, from->unix_path) ||
	    copy_text(&to->ca_file, from->ca_file) || copy_text(&to->cert_file, from->cert_file) ||
	    copy_text(&to->key_file, from->key_file))
		return -1;
	headers = calloc(from->nheaders + 1, sizeof *headers);
	if (!headers)
		return -1;
	to->headers = headers;
	for (size_t i = 0; i < from->nheaders; i++) {
		headers[i] = strdup(from->headers[i]);
		if (!headers[i])
			return -1;
		to->nheaders = i + 1;
	}
	return 0;
}

int options_copy(struct export_opts *to, const struct export_opts *o)
{
	*to = *o;
	memset(to->target, 0, sizeof to->target);
	to->spool_dir = NULL;
	if (copy_text(&to->spool_dir, o->spool_dir))
		return -1;
	if (!to->disk_max)
		to->disk_max = (uint64_t)256 << 20;
	for (int s = 0; s < EXPORT_SIGNALS; s++)
		if (target_copy(&to->target[s], &o->target[s]))
			return -1;
	if (!to->span_delay_ns)
		to->span_delay_ns = 5 * SECOND;
	if (!to->span_batch)
		to->span_batch = 512;
	if (!to->metric_interval_ns)
		to->metric_interval_ns = 60 * SECOND;
	if (!to->log_delay_ns)
		to->log_delay_ns = SECOND;
	if (!to->log_queue)
		to->log_queue = 2048;
	if (!to->queue_max)
		to->queue_max = (size_t)8 << 20;
	if (!to->retry_base_ns)
		to->retry_base_ns = SECOND;
	if (!to->retry_max_ns)
		to->retry_max_ns = 60 * SECOND;
	return 0;
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool same_target(const struct export_target *a, const struct export_target *b)
{
	if (!same_text(a->url, b->url) || !same_text(a->unix_path, b->unix_path) ||
	    !same_text(a->ca_file, b->ca_file) || !same_text(a->cert_file, b->cert_file) ||
	    !same_text(a->key_file, b->key_file) || a->timeout_ns != b->timeout_ns ||
	    a->gzip != b->gzip || a->protocol != b->protocol || a->nheaders != b->nheaders)
		return false;
	for (size_t i = 0; i < a->nheaders; i++)
		if (!same_text(a->headers[i], b->headers[i]))
			return false;
	return true;
}

/* Both with their defaults filled in. */
bool options_same(const struct export_opts *a, const struct export_opts *b)
{
	for (int s = 0; s < EXPORT_SIGNALS; s++)
		if (!same_target(&a->target[s], &b->target[s]))
			return false;
	return a->console == b->console && a->log_delay_ns == b->log_delay_ns && a->log_queue == b->log_queue &&
	    a->span_delay_ns == b->span_delay_ns && a->span_batch == b->span_batch &&
	    a->metric_interval_ns == b->metric_interval_ns && a->queue_max == b->queue_max &&
	    a->queue_age_ns == b->queue_age_ns && a->disk_max == b->disk_max && a->sync == b->sync &&
	    same_text(a->spool_dir, b->spool_dir) && a->retry_base_ns == b->retry_base_ns &&
	    a->retry_max_ns == b->retry_max_ns;
}
