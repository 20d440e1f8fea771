/* SPDX-License-Identifier: Apache-2.0 */
/* metric/process: getrusage and /proc/self. */
#include <config.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "metric/process.h"

static bool slurp(const char *path, char *dst, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, dst, cap - 1);
	close(fd);
	dst[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static double seconds(struct timeval tv)
{
	return (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
}

static void usage(struct metric_shard *s)
{
	struct rusage ru;

	if (getrusage(RUSAGE_SELF, &ru))
		return;
	metric_cell_setd(metric_cell(s, METRIC_PROCESS_CPU, "user"), seconds(ru.ru_utime));
	metric_cell_setd(metric_cell(s, METRIC_PROCESS_CPU, "system"), seconds(ru.ru_stime));
	metric_cell_set(metric_cell(s, METRIC_PROCESS_SWITCHES, "voluntary"), ru.ru_nvcsw);
	metric_cell_set(metric_cell(s, METRIC_PROCESS_SWITCHES, "involuntary"), ru.ru_nivcsw);
	metric_cell_set(metric_cell(s, METRIC_PROCESS_FAULTS, "major"), ru.ru_majflt);
	metric_cell_set(metric_cell(s, METRIC_PROCESS_FAULTS, "minor"), ru.ru_minflt);
	/* /proc/self/io says it to the byte, but is root's file in a process that leaves no core. */
	metric_cell_set(metric_cell(s, METRIC_PROCESS_DISK_IO, "read"), (int64_t)ru.ru_inblock * 512);
	metric_cell_set(metric_cell(s, METRIC_PROCESS_DISK_IO, "write"), (int64_t)ru.ru_oublock * 512);
}

/* Fields of /proc/self/stat behind the name: 20 threads, 22 starttime, 23 vsize, 24 rss (pages). */
static void stat_file(struct metric_shard *s)
{
	char text[1024], *p;
	unsigned long long threads, start, vsize, rss;
	struct timespec now;
	double up;

	if (!slurp("/proc/self/stat", text, sizeof text) || !(p = strrchr(text, ')')))
		return;
	if (sscanf(p + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %llu "
	    "%*d %llu %llu %llu", &threads, &start, &vsize, &rss) != 4)
		return;
	metric_cell_set(metric_cell(s, METRIC_PROCESS_THREADS, NULL), (int64_t)threads);
	metric_cell_set(metric_cell(s, METRIC_PROCESS_VIRTUAL, NULL), (int64_t)vsize);
	metric_cell_set(metric_cell(s, METRIC_PROCESS_MEMORY, NULL),
	    (int64_t)rss * sysconf(_SC_PAGESIZE));
	clock_gettime(CLOCK_BOOTTIME, &now);
	up = (double)now.tv_sec + (double)now.tv_nsec / 1e9 -
	    (double)start / (double)sysconf(_SC_CLK_TCK);
	metric_cell_setd(metric_cell(s, METRIC_PROCESS_UPTIME, NULL), up > 0 ? up : 0);
}

static void descriptors(struct metric_shard *s)
{
	DIR *d = opendir("/proc/self/fd");
	int64_t n = 0;

	if (!d)
		return;
	for (const struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	metric_cell_set(metric_cell(s, METRIC_PROCESS_FDS, NULL), n - 1); /* without this listing */
}

void metric_process(void *arg, struct metric_shard *s)
{
	(void)arg;
	usage(s);
	stat_file(s);
	descriptors(s);
}
