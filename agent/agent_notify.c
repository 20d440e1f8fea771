/* SPDX-License-Identifier: Apache-2.0
 *
 * The protocol of sd_notify(3), without its library: one datagram to NOTIFY_SOCKET.
 */
#include <config.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "agent.h"

void notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t n = path ? strlen(path) : 0;
	int fd;

	if (n < 2 || n >= sizeof a.sun_path || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(a.sun_path, path, n);
	if (path[0] == '@')
		a.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	/* Nobody to tell that it failed: the manager's own time-out speaks for it. */
	(void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&a,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
	close(fd);
}

static bool wanted(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

	return usec && (!pid || strtol(pid, NULL, 10) == (long)getpid());
}

/* Every worker's loop turns at least once a second (its tick); one that stands still must be noticed.  This
 * comes once a second as well, by a clock of its own: an idle loop may be a moment late once. */
void agent_watchdog(struct agent *a)
{
	uint32_t still = 0;

	for (uint32_t i = 0; i < a->nworkers; i++) {
		struct serving *s = &a->serving[i];
		uint64_t turns = loop_turns(s->w.loop);

		s->still = turns == s->turns_seen ? s->still + 1 : 0;
		s->turns_seen = turns;
		still = s->still > still ? s->still : still;
	}
	if (still >= 2)
		log_event(a->log, LOG_M_MAIN, LOG_WARN, "agent.worker.stuck",
		    "a worker's loop did not turn for two seconds");
	else if (wanted())
		notify("WATCHDOG=1");
}
