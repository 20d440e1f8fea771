/* SPDX-License-Identifier: Apache-2.0 */
/* purserctl check: the configuration is checked by the daemon itself (`purserd --check-config`), so
 * that both always say the same, the settings of plugins included.  No agent needs to run. */
#include <config.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/buf.h"
#include "ctl.h"

/* $PURSERD, else where it was installed to, else beside this program (installed elsewhere, or in the
 * build tree), else in $PATH. */
static void run_daemon(const char *file)
{
	static const char *const places[] = { "purserd", "../sbin/purserd", "../agent/purserd" };
	const char *given = getenv("PURSERD");
	char *argv[] = { (char *)"purserd", (char *)"--check-config", file ? (char *)"--config" : NULL,
		(char *)file, NULL };
	char own[4096], path[4096 + 32], *slash;
	ssize_t n;

	if (given && *given) {
		execv(given, argv);
		return;
	}
	execv(SBINDIR "/purserd", argv);
	n = readlink("/proc/self/exe", own, sizeof own - 1);
	own[n > 0 ? n : 0] = '\0';
	slash = strrchr(own, '/');
	for (size_t i = 0; slash && i < sizeof places / sizeof *places; i++) {
		snprintf(path, sizeof path, "%.*s/%s", (int)(slash - own), own, places[i]);
		execv(path, argv);
	}
	execvp("purserd", argv);
}

/* All that the daemon says; -1: it could not be run. */
static int collect(const char *file, struct buf *said)
{
	int fd[2], status = 0;
	ssize_t n;
	pid_t pid;

	if (pipe(fd) != 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		dup2(fd[1], STDOUT_FILENO);
		dup2(fd[1], STDERR_FILENO);
		close(fd[0]);
		close(fd[1]);
		run_daemon(file);
		_exit(127);
	}
	close(fd[1]);
	while (pid > 0 && buf_room(said, 4096) == 0) {
		n = read(fd[0], said->p + said->end, 4096);
		if (n > 0)
			said->end += (size_t)n;
		else if (n == 0 || errno != EINTR)
			break;
	}
	close(fd[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static json_t *lines(struct buf *said)
{
	const char *p = buf_cstr(said);
	json_t *list = json_array();

	while (*p) {
		size_t n = strcspn(p, "\n");

		if (n)
			json_array_append_new(list, json_text(p, n));
		p += n + (p[n] == '\n');
	}
	return list;
}

int cmd_check(struct ctl *x)
{
	struct buf said = { .max = 1u << 20 };
	int status, rc = CTL_OK;

	if (x->argc && x->config)
		return ctl_fail(x, CTL_USAGE, "name the file once");
	status = collect(x->argc ? x->argv[0] : x->config, &said);
	if (status < 0 || status == 127) {
		rc = ctl_fail(x, CTL_ERROR, "purserd cannot be run to check the configuration: set PURSERD to its "
		    "path");
	} else if (x->json) {
		rc = print_json(json_pack("{s:b,s:i,s:o}", "valid", status == 0, "status", status, "messages",
		    lines(&said)));
	} else {
		fwrite(buf_data(&said), 1, buf_len(&said), status ? stderr : stdout);
	}
	buf_free(&said);
	return rc != CTL_OK ? rc : status;
}
