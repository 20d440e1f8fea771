/* SPDX-License-Identifier: Apache-2.0
 *
 * LD_PRELOAD for a server of a test: the wall clock, set forward or back by as many microseconds as the file
 * CLOCKSTEP_FILE says (an int64_t, which the test changes).  The monotonic clock stays.
 */
#include <config.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SEEN __attribute__((visibility("default")))

static const volatile int64_t *step;

static void __attribute__((constructor)) begin(void)
{
	const char *path = getenv("CLOCKSTEP_FILE");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *p = fd >= 0 ? mmap(NULL, sizeof *step, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (p == MAP_FAILED)
		abort();
	close(fd);
	step = p;
}

static int real(clockid_t id, struct timespec *t) { return (int)syscall(SYS_clock_gettime, id, t); }

SEEN int clock_gettime(clockid_t id, struct timespec *t)
{
	int rc = real(id, t);
	int64_t us;

	if (rc || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE) || !step)
		return rc;
	us = (int64_t)t->tv_sec * 1000000 + t->tv_nsec / 1000 + *step;
	t->tv_sec = us / 1000000;
	t->tv_nsec = us % 1000000 * 1000 + t->tv_nsec % 1000;
	return 0;
}

SEEN int gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	struct timespec t;

	(void)tz;
	if (clock_gettime(CLOCK_REALTIME, &t))
		return -1;
	tv->tv_sec = t.tv_sec;
	tv->tv_usec = t.tv_nsec / 1000;
	return 0;
}

SEEN time_t time(time_t *out)
{
	struct timespec t;

	if (clock_gettime(CLOCK_REALTIME, &t))
		return -1;
	if (out)
		*out = t.tv_sec;
	return t.tv_sec;
}
