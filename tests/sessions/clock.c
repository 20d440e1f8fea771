/* SPDX-License-Identifier: Apache-2.0
 *
 * LD_PRELOAD: what a program takes for the time of day is ahead of it by as many ms as the file that PURSER_TEST_CLOCK names says
 * (eight bytes, mapped, changed while the program runs).  Intervals are measured with the monotonic clock, which stays.
 */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SHOWN __attribute__((visibility("default")))
static _Atomic int64_t none;
static _Atomic int64_t *ahead = &none;
static int (*really)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("PURSER_TEST_CLOCK");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, fd, 0);

	*(void **)&really = dlsym(RTLD_NEXT, "clock_gettime");
	if (p == MAP_FAILED)
		abort(); /* a test that believes in a clock which is not there would prove nothing */
	ahead = p;
	close(fd);
}

SHOWN int clock_gettime(clockid_t id, struct timespec *ts)
{
	int rc = really ? really(id, ts) : (int)syscall(SYS_clock_gettime, id, ts);
	int64_t ms = *ahead;

	if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
		ts->tv_sec += ms / 1000;
		ts->tv_nsec += ms % 1000 * 1000000;
		if (ts->tv_nsec >= 1000000000) {
			ts->tv_nsec -= 1000000000;
			ts->tv_sec++;
		}
	}
	return rc;
}

SHOWN int gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	struct timespec ts;

	(void)tz;
	if (clock_gettime(CLOCK_REALTIME, &ts))
		return -1;
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

SHOWN time_t time(time_t *out)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_REALTIME, &ts))
		return -1;
	if (out)
		*out = ts.tv_sec;
	return ts.tv_sec;
}
