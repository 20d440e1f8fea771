/* SPDX-License-Identifier: Apache-2.0
 *
 * purserctl lock run: a command that runs while a lock is held.  The lock lives as long as the connection does, so it
 * is given back however this process ends; the command hears of its end, or of the lock's, as SIGTERM.
 */
#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <purser/resp.h>
#include "base/buf.h"
#include "ctl.h"

static volatile sig_atomic_t told; /* a signal to be passed on to the command */

static void on_signal(int number)
{
	told = number;
}

static void become(const char *name, const char *fence, char **argv, pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent ||
	    setenv("PURSER_LOCK", name, 1) != 0 || setenv("PURSER_FENCE", fence, 1) != 0)
		_exit(126);
	signal(SIGINT, SIG_DFL);
	signal(SIGQUIT, SIG_DFL);
	execvp(argv[0], argv);
	fprintf(stderr, "purserctl: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* The next event of the stream, behind its name, if it is whole: NULL, or its data. */
static json_t *next_event(struct buf *b, char *name, size_t cap)
{
	for (;;) {
		const char *p = (const char *)buf_data(b), *end = buf_len(b) ? memmem(p, buf_len(b), "\n\n", 2) : NULL;
		const char *data;
		json_t *doc = NULL;

		if (!end)
			return NULL;
		data = memmem(p, (size_t)(end - p), "data: ", 6);
		if (data) {
			snprintf(name, cap, "%.*s", strncmp(p, "event: ", 7) == 0 ? (int)strcspn(p + 7, "\n") : 0, p + 7);
			doc = json_loadb(data + 6, (size_t)(end - data) - 6, JSON_DECODE_ANY, NULL);
		}
		buf_take(b, (size_t)(end + 2 - p));
		if (doc)
			return doc;
	}
}

/* What the agent says.  True: the lock is lost. */
static bool is_lost(struct ctl *x, struct buf *b, const char *lock)
{
	char name[64];
	json_t *doc;
	bool lost = ctl_http_more(x, b) <= 0;

	while ((doc = next_event(b, name, sizeof name))) {
		const char *why = json_string_value(json_object_get(doc, "reason"));

		if (strcmp(name, "lock.lost") == 0 || strcmp(name, "closed") == 0) {
			fprintf(stderr, "purserctl: the lock %s is lost: %s\n", lock, why ? why : name);
			json_decref(doc);
			return true;
		}
		json_decref(doc);
	}
	if (lost)
		fprintf(stderr, "purserctl: the lock %s is lost: the connection to the agent broke\n", lock);
	return lost;
}

/* The command's status once it has ended; the lock may be lost before. */
static int attend(struct ctl *x, struct buf *b, const char *name, pid_t child, int pidfd, bool *lost)
{
	struct pollfd p[2] = { { .fd = pidfd, .events = POLLIN }, { .fd = x->c->fd, .events = POLLIN } };
	int status = 0;

	for (;;) {
		int n = poll(p, *lost ? 1 : 2, -1);

		if (told) {
			kill(child, told);
			told = 0;
		}
		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0 && p[0].revents)
			break;
		if (n > 0 && p[1].revents && !*lost && is_lost(x, b, name)) {
			*lost = true;
			kill(child, SIGTERM);
		}
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void catch(int number, void (*fn)(int))
{
	struct sigaction a = { .sa_handler = fn };

	sigaction(number, &a, NULL);
}

/* A word as JSON: a number if it is one. */
static json_t *number_of(const char *w)
{
	int64_t v;

	return purser_resp_int((const uint8_t *)w, strlen(w), &v) ? json_string(w) : json_integer(v);
}

/* The words of LOCK.ACQUIRE as the body of POST /v1/locks/NAME/hold, and its path.  They are not looked at here: what is
 * wrong with them the agent says. */
static json_t *body_of(json_t *words, struct buf *path)
{
	static const char *const field[][2] = { { "WAIT", "wait_ms" }, { "MAXHOLD", "maxhold_ms" }, { "KIND", "kind" },
		{ "PERMITS", "permits" }, { "OF", "of" } };
	const char *name = json_string_value(json_array_get(words, 1));
	json_t *body = json_object();

	buf_puts(path, "/v1/locks/");
	for (; name && *name; name++)
		buf_printf(path, "%%%02x", (unsigned char)*name);
	buf_puts(path, "/hold");
	json_object_set_new(body, "ttl_ms", number_of(json_string_value(json_array_get(words, 2))));
	for (size_t i = 3; i + 1 < json_array_size(words); i += 2) {
		const char *w = json_string_value(json_array_get(words, i)), *v = json_string_value(json_array_get(words, i + 1));
		const char *to = w;

		for (size_t k = 0; w && k < sizeof field / sizeof *field; k++)
			if (strcasecmp(w, field[k][0]) == 0)
				to = field[k][1];
		if (to && v)
			json_object_set_new(body, to, number_of(v));
	}
	return body;
}

/* The lock is held, b is what came behind the head: argv runs. */
static int run_under(struct ctl *x, struct buf *b, const char *name, const char *fence, char **argv)
{
	pid_t parent = getpid(), child;
	bool lost = false;
	int pidfd, rc;

	if (fcntl(x->c->fd, F_SETFD, FD_CLOEXEC) != 0) /* else the command would hold the lock, too */
		return ctl_fail(x, CTL_ERROR, "the connection: %s", strerror(errno));
	catch(SIGINT, SIG_IGN); /* the terminal tells the command */
	catch(SIGQUIT, SIG_IGN);
	catch(SIGTERM, on_signal);
	catch(SIGHUP, on_signal);
	fflush(stdout);
	child = fork();
	if (child == 0)
		become(name, fence, argv, parent);
	if (child < 0)
		return ctl_fail(x, CTL_ERROR, "%s: %s", argv[0], strerror(errno));
	pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	if (pidfd < 0) {
		kill(child, SIGTERM);
		return ctl_fail(x, CTL_ERROR, "pidfd_open: %s", strerror(errno));
	}
	rc = attend(x, b, name, child, pidfd, &lost);
	close(pidfd);
	if (lost)
		return CTL_ERROR;
	return rc < 0 ? ctl_fail(x, CTL_ERROR, "%s: %s", argv[0], strerror(errno)) : rc;
}

int ctl_hold(struct ctl *x, json_t *words, char **argv)
{
	struct buf path = { 0 }, b = { .max = 1u << 20 };
	const char *name = json_string_value(json_array_get(words, 1));
	char fence[24], event[64];
	json_t *doc = NULL, *body;
	int status = 0, rc;

	if (!name || !json_is_string(json_array_get(words, 2))) {
		json_decref(words);
		return ctl_fail(x, CTL_USAGE, "the name of the lock is no UTF-8");
	}
	body = body_of(words, &path);
	rc = ctl_http_send(x, buf_cstr(&path), body);
	buf_free(&path);
	if (rc == CTL_OK)
		rc = ctl_http_head(x, &b, &status);
	if (rc == CTL_OK && status == 409) {
		fprintf(stderr, "purserctl: somebody else has it: wait for it with WAIT TIME\n");
		rc = CTL_NO;
	} else if (rc == CTL_OK && status != 200) {
		rc = ctl_http_problem(x, &b);
	} else if (rc == CTL_OK) {
		while (!(doc = next_event(&b, event, sizeof event)) && ctl_http_more(x, &b) > 0)
			;
		snprintf(fence, sizeof fence, "%lld", (long long)json_integer_value(json_object_get(doc, "fence")));
		rc = doc ? run_under(x, &b, name, fence, argv) : ctl_fail(x, CTL_CONNECT, "the connection to the agent broke");
		json_decref(doc);
	}
	buf_free(&b);
	json_decref(words);
	return rc;
}
