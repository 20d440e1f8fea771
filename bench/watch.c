/* SPDX-License-Identifier: Apache-2.0 */
/* CPU time of other processes: see watch.h. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net.h"
#include "watch.h"

int watch_parse(const char *text, struct watch *w)
{
	const char *eq = strchr(text, '=');
	char *end;

	if (!eq || eq == text || (size_t)(eq - text) >= sizeof(w->name))
		return -1;
	memset(w->name, 0, sizeof(w->name));
	memcpy(w->name, text, (size_t)(eq - text));
	long pid = strtol(eq + 1, &end, 10);
	w->pid = (int)pid;
	return *end == '\0' && pid > 0 ? 0 : -1;
}

static uint64_t thread_cpu(int pid, const char *tid)
{
	unsigned long long ns = 0;
	char path[320];

	snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, tid);
	FILE *f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	fclose(f);
	return ns;
}

static int process_cpu(int pid, uint64_t *ns)
{
	char path[64];
	struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	DIR *dir = opendir(path);
	if (!dir)
		return -1;
	*ns = 0;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			*ns += thread_cpu(pid, entry->d_name);
	closedir(dir);
	return 0;
}

static void host_cpu(struct watch_mark *mark)
{
	unsigned long long user, nice, sys, idle, iowait, irq, softirq, steal;
	uint64_t tick_ns = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
	FILE *f = fopen("/proc/stat", "re");

	mark->host_ns = mark->stolen_ns = 0;
	if (!f)
		return;
	if (fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &sys, &idle, &iowait,
		   &irq, &softirq, &steal) == 8) {
		mark->host_ns = (user + nice + sys + irq + softirq) * tick_ns;
		mark->stolen_ns = steal * tick_ns;
	}
	fclose(f);
}

int watch_take(const struct watch *w, unsigned count, struct watch_mark *mark)
{
	host_cpu(mark);
	for (unsigned i = 0; i < count; i++)
		if (process_cpu(w[i].pid, &mark->cpu_ns[i]) < 0) {
			fprintf(stderr, "lg: no process %d (%s)\n", w[i].pid, w[i].name);
			return -1;
		}
	mark->own_ns = net_cpu_ns();
	mark->now_ns = net_now_ns();
	return 0;
}
