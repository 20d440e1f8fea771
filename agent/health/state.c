/* SPDX-License-Identifier: Apache-2.0 */
/* health/state: memory levels outlive the process, so that a restart repeats no alert.  One line a
 * backend: "memory LEVEL RULE-HASH SINCE NAME".  The file is replaced whole, by rename; a directory
 * that cannot be written to costs a warning, once. */
#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/dirs.h"
#include "health/priv.h"

#define HEAD "purser-health 1\n"
#define FILE_MAX 65536u

static int path_of(const struct health *h, const char *name, char *buf, size_t len)
{
	int n = snprintf(buf, len, "%s/%s", h->state_dir, name);

	return n > 0 && (size_t)n < len ? 0 : -1;
}

static void take_line(struct health *h, char *line)
{
	struct stored *s = &h->stored[h->nstored];
	char level[16];
	int at = 0, known;

	if (h->nstored == STORED_MAX ||
	    sscanf(line, "memory %15s %" SCNx64 " %" SCNu64 " %n", level, &s->hash, &s->since_s, &at) != 3)
		return;
	known = threshold_of(level);
	if (!at || known < 0 || known == THRESHOLD_UNKNOWN || !line[at] ||
	    strlen(line + at) >= sizeof s->name)
		return;
	s->level = (uint8_t)known;
	snprintf(s->name, sizeof s->name, "%s", line + at);
	h->nstored++;
}

void state_load(struct health *h)
{
	char path[4096], *text, *p, *next;
	ssize_t n;
	int fd;

	if (!h->state_dir || path_of(h, "health", path, sizeof path) != 0)
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		if (errno != ENOENT)
			log_event(h->d.log, LOG_M_HEALTH, LOG_WARN, "health.state.unreadable",
			    "alert state cannot be read: alerts may be repeated", LOG_STR("path", path),
			    LOG_STR("error", strerror(errno)));
		return;
	}
	text = calloc(1, FILE_MAX + 1);
	n = text ? read(fd, text, FILE_MAX) : -1;
	close(fd);
	if (n >= 0 && strncmp(text, HEAD, sizeof HEAD - 1) == 0) {
		buf_put(&h->written, text, (size_t)n);
		for (p = text + sizeof HEAD - 1; (next = strchr(p, '\n')) != NULL; p = next + 1) {
			*next = '\0';
			take_line(h, p);
		}
	} else if (n != 0) {
		log_event(h->d.log, LOG_M_HEALTH, LOG_WARN, "health.state.unreadable",
		    "the file is not what this version writes: it will be replaced", LOG_STR("path", path));
	}
	free(text);
}

const struct stored *state_find(const struct health *h, const char *name)
{
	for (uint32_t i = 0; i < h->nstored; i++)
		if (strcmp(h->stored[i].name, name) == 0)
			return &h->stored[i];
	return NULL;
}

static void make_text(const struct health *h, struct buf *b)
{
	buf_puts(b, HEAD);
	for (uint32_t i = 0; i < h->nprobes; i++) {
		const struct probe *p = h->probes[i];

		if (p->threshold.level != THRESHOLD_UNKNOWN)
			buf_printf(b, "memory %s %" PRIx64 " %" PRIu64 " %s\n",
			    threshold_name((enum threshold_level)p->threshold.level),
			    threshold_hash(&p->threshold.rule), p->since_s, p->name);
	}
}

static int write_file(const char *tmp, const char *path, const struct buf *b)
{
	int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), saved;
	ssize_t n;

	if (fd < 0)
		return -1;
	n = write(fd, buf_data(b), buf_len(b));
	if (n >= 0 && (size_t)n != buf_len(b)) {
		errno = ENOSPC;
		n = -1;
	}
	if (n >= 0 && fsync(fd) != 0)
		n = -1;
	saved = errno;
	close(fd);
	if (n >= 0 && rename(tmp, path) == 0)
		return 0;
	saved = n < 0 ? saved : errno;
	unlink(tmp);
	errno = saved;
	return -1;
}

void state_save(struct health *h)
{
	struct buf b = { .max = FILE_MAX };
	char tmp[4096], path[4096];

	if (!h->state_dir || path_of(h, "health", path, sizeof path) != 0 ||
	    path_of(h, "health.new", tmp, sizeof tmp) != 0)
		return;
	make_text(h, &b);
	if (b.failed || (buf_len(&b) == buf_len(&h->written) &&
	    memcmp(buf_data(&b), buf_data(&h->written), buf_len(&b)) == 0)) {
		buf_free(&b);
		return;
	}
	if (dirs_make(h->state_dir) == 0 && write_file(tmp, path, &b) == 0) {
		buf_free(&h->written);
		h->written = b;
		h->state_warned = false;
		return;
	}
	if (!h->state_warned)
		log_event(h->d.log, LOG_M_HEALTH, LOG_WARN, "health.state.unwritable",
		    "alert state cannot be stored: after a restart alerts may be repeated; "
		    "set [agent] state_dir to a directory that the agent may write to",
		    LOG_STR("path", path), LOG_STR("error", strerror(errno)));
	h->state_warned = true;
	buf_free(&b);
}
