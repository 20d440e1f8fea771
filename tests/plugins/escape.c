/* SPDX-License-Identifier: Apache-2.0
 * A backend that has been taken over: GET of a key "…!WHAT ARGUMENTS" tries WHAT on a worker's thread and answers
 * "ok" or the name of the error; "!thread WHAT ARGUMENTS" tries it on a thread that it makes for that. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include <purser/plugin.h>

static const purser_op ops[] = { { "GET", NULL } };
static const purser_host *host;

/* ---- attempts: 0, or -1 with errno ---- */

static int done(int fd)
{
	return fd < 0 ? -1 : close(fd);
}

static int number(const char *a)
{
	return (int)strtol(a, NULL, 10);
}

static int do_read(const char *a) { return done(open(a, O_RDONLY | O_CLOEXEC)); }
static int do_write(const char *a) { return done(open(a, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)); }
static int do_unlink(const char *a) { return unlink(a); }
static int do_mkdir(const char *a) { return mkdir(a, 0700); }
static int do_chmod(const char *a) { return chmod(a, 0777); }

/* The child, if there is one, does nothing. */
static int do_fork(const char *a)
{
	long pid = syscall(SYS_clone, (unsigned long)SIGCHLD, 0, 0, 0, 0);

	(void)a;
	if (pid == 0)
		_exit(0);
	return pid < 0 ? -1 : 0;
}

/* EFAULT and ENOENT would say that it was tried: no program of that name is there to be run. */
static int do_exec(const char *a)
{
	char *none[] = { NULL };

	return execve(a, none, none);
}

static int do_socket(const char *a)
{
	int family = 0, type = 0, protocol = 0;

	sscanf(a, "%d %d %d", &family, &type, &protocol);
	return done(socket(family, type, protocol));
}

static int do_listen(const char *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;
	struct sockaddr_un name = { .sun_family = AF_UNIX }; /* bound to a name that the kernel picks */

	(void)a;
	if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof name.sun_family))
		return -1;
	rc = listen(fd, 1);
	close(fd);
	return rc;
}

static int do_bind(const char *a)
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons((uint16_t)number(a)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc = bind(fd, (struct sockaddr *)&name, sizeof name),
	    saved = errno;

	close(fd);
	errno = saved;
	return rc;
}

/* To a socket in the abstract name space. */
static int do_abstract(const char *a)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc, saved;

	memcpy(name.sun_path + 1, a, strnlen(a, sizeof name.sun_path - 1));
	rc = connect(fd, (struct sockaddr *)&name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a)));
	saved = errno;
	close(fd);
	errno = saved;
	return rc;
}

static int do_resolve(const char *a)
{
	struct addrinfo *list = NULL;
	int rc = getaddrinfo(a, "1", NULL, &list);

	if (list)
		freeaddrinfo(list);
	errno = rc == EAI_SYSTEM ? errno : EHOSTUNREACH;
	return rc ? -1 : 0;
}

static int do_wx(const char *a)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)a;
	return p == MAP_FAILED ? -1 : munmap(p, 4096);
}

static int do_wthenx(const char *a)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int rc = mprotect(p, 4096, PROT_READ | PROT_EXEC), saved = errno;

	(void)a;
	munmap(p, 4096);
	errno = saved;
	return rc;
}

static int do_ptrace(const char *a) { return (int)ptrace(PTRACE_SEIZE, number(a), NULL, NULL); }
static int do_kill(const char *a) { return kill(number(a), 0); }
static int do_setuid(const char *a) { return (int)syscall(SYS_setuid, number(a)); }
static int do_unshare(const char *a) { (void)a; return unshare(CLONE_NEWUSER); }
static int do_memfd(const char *a) { return done(memfd_create(a, 0)); }
static int do_undump(const char *a) { return prctl(PR_SET_DUMPABLE, number(a), 0, 0, 0); }
static int do_getpriority(const char *a) { (void)a; errno = 0; getpriority(PRIO_PROCESS, 0); return errno ? -1 : 0; }

static int do_dumpable(const char *a)
{
	(void)a;
	errno = EPERM;
	return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) ? 0 : -1;
}

static int do_caps(const char *a)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	(void)a;
	if (syscall(SYS_capget, &h, d))
		return -1;
	errno = EPERM;
	return d[0].effective | d[0].permitted | d[1].effective | d[1].permitted ? 0 : -1;
}

static const struct { const char *name; int (*fn)(const char *); } attempts[] = {
	{ "read", do_read }, { "write", do_write }, { "unlink", do_unlink }, { "mkdir", do_mkdir }, { "chmod", do_chmod },
	{ "fork", do_fork }, { "exec", do_exec }, { "socket", do_socket }, { "listen", do_listen }, { "bind", do_bind },
	{ "abstract", do_abstract }, { "resolve", do_resolve }, { "wx", do_wx }, { "wthenx", do_wthenx },
	{ "ptrace", do_ptrace }, { "kill", do_kill }, { "setuid", do_setuid }, { "unshare", do_unshare },
	{ "memfd", do_memfd }, { "undump", do_undump }, { "dumpable", do_dumpable }, { "caps", do_caps },
	{ "getpriority", do_getpriority } };

struct attempt { char text[512]; int rc; };

static void *try(void *arg)
{
	struct attempt *t = arg;
	char *rest = strchr(t->text, ' ');

	if (rest)
		*rest++ = '\0';
	errno = EDOM; /* no such attempt */
	t->rc = EDOM;
	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
		if (!strcmp(attempts[i].name, t->text))
			t->rc = attempts[i].fn(rest ? rest : "") ? errno : 0;
	return NULL;
}

/* ---- the plugin ---- */

static int submit(void *cs, purser_call *c)
{
	struct attempt t = { .rc = 0 };
	const uint8_t *at = memchr(c->argv[1].p, '!', c->argv[1].n);
	size_t n = at ? c->argv[1].n - (size_t)(at + 1 - c->argv[1].p) : 0;
	pthread_t thread;
	int rc;
	const char *name = "ok";

	(void)cs;
	snprintf(t.text, sizeof t.text, "%.*s", (int)n, at ? (const char *)at + 1 : "");
	if (!strncmp(t.text, "thread ", 7)) {
		memmove(t.text, t.text + 7, strlen(t.text + 7) + 1);
		rc = pthread_create(&thread, NULL, try, &t);
		if (rc)
			t.rc = rc;
		else
			pthread_join(thread, NULL);
	} else {
		try(&t);
	}
	if (t.rc)
		name = strerrorname_np(t.rc);
	host->bulk(c, name, strlen(name));
	host->end(c);
	return PURSER_DONE;
}

static int start(const purser_host *h, purser_instance *i, void **state, purser_error *e)
{
	static int nothing;

	(void)i;
	(void)e;
	host = h;
	*state = &nothing;
	return 0;
}
static void stop(void *state)
{
	(void)state;
}

static int prepare(void *state, purser_error *e)
{
	(void)state;
	(void)e;
	return 0;
}

static void adopt(void *state, int commit)
{
	(void)state;
	(void)commit;
}

static const purser_key keys[] = { { .name = "journal", .type = PURSER_KEY_PATH,
	.flags = PURSER_KEY_RELOADABLE, .doc = "A file that it would write." },
	{ .name = "secret_file", .type = PURSER_KEY_PATH, .flags = PURSER_KEY_RELOADABLE, .doc = "A file that it would read." } };
static const purser_plugin plugin = { .struct_size = sizeof plugin, .api = PURSER_API, .name = "escape",
	.version = "1", .summary = "Tries to get out", .caps = PURSER_CAP_KV | PURSER_CAP_ENDS_INSIDE,
	.model = PURSER_INLINE, .ops = ops, .nops = 1, .op_stride = sizeof *ops, .keys = keys, .nkeys = 2,
	.key_stride = sizeof *keys, .start = start, .submit = submit, .stop = stop,
	.prepare = prepare, .adopt = adopt };
PURSER_PLUGIN(plugin);
