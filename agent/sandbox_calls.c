/* SPDX-License-Identifier: Apache-2.0
 *
 * System calls: an allow list by libseccomp.  One by numbers of our own would be another list for each
 * architecture; without the library (configure --without-seccomp) this part is missing, and said to be.
 */
#include <config.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "sandbox.h"

#ifndef HAVE_SECCOMP

int calls_close(struct sandbox *s, const char *extra)
{
	(void)extra;
	snprintf(s->no_calls, sizeof s->no_calls, "built without libseccomp");
	return -1;
}

#else

#include <net/if.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

struct named { const char *name; bool allowed; };
static const struct named calls[] = {
#define CALL(x) { #x, true },
#define DENIED(x) { #x, false },
#include "sandbox_calls.def"
#undef CALL
#undef DENIED
};

#ifdef PURSER_SANITIZERS
/* What their runtime does: leaks are looked for with the threads stopped by ptrace, a report runs the symbolizer. */
static const char *const sanitizers[] = { "ptrace", "wait4", "waitid", "execve", "fork", "vfork", "clone", "clone3",
	"prctl", "mmap", "mprotect", "kill", "tgkill", "tkill", "arch_prctl", "personality", "process_vm_readv",
	"setrlimit", "prlimit64", "ioctl", "set_thread_area" };

static bool sanitizers_own(const char *name)
{
	for (size_t i = 0; i < sizeof sanitizers / sizeof *sanitizers; i++)
		if (!strcmp(sanitizers[i], name))
			return true;
	return false;
}
#else
static bool sanitizers_own(const char *name)
{
	(void)name;
	return false;
}
#endif

struct filter {
	scmp_filter_ctx ctx;
	uint32_t n;
	int rc;                     /* the first failure */
	const char *at;
};

static void note(struct filter *f, const char *name, int rc)
{
	if (rc && !f->rc) {
		f->rc = rc;
		f->at = name;
	}
}

/* A rule; a call that nobody knows by that name here is none. */
static bool rule(struct filter *f, uint32_t action, const char *name, unsigned n, const struct scmp_arg_cmp *args)
{
	int nr = seccomp_syscall_resolve_name(name), rc;

	if (nr == __NR_SCMP_ERROR)
		return false;
	rc = seccomp_rule_add_array(f->ctx, action, nr, n, args);
	if (rc == -EDOM || rc == -EACCES) /* not of this machine; the default's own action */
		rc = 0;
	note(f, name, rc);
	return nr >= 0;
}

static void allow(struct filter *f, const char *name)
{
	f->n += rule(f, SCMP_ACT_ALLOW, name, 0, NULL);
}

static void allow_if(struct filter *f, const char *name, struct scmp_arg_cmp arg)
{
	rule(f, SCMP_ACT_ALLOW, name, 1, &arg);
}

/* Of n values of argument arg, any. */
static void allow_words(struct filter *f, const char *name, unsigned arg, const uint64_t *v, size_t n)
{
	if (sanitizers_own(name)) {
		allow(f, name);
		return;
	}
	for (size_t i = 0; i < n; i++)
		allow_if(f, name, SCMP_CMP64(arg, SCMP_CMP_EQ, v[i], 0));
	f->n++;
}

#define WORDS(f, name, arg, ...) allow_words(f, name, arg, (const uint64_t []){ __VA_ARGS__ }, \
	sizeof((const uint64_t []){ __VA_ARGS__ }) / sizeof(uint64_t))

/* No memory that can be written and run, at the same time or one after the other; dlopen() maps its
 * files readable and executable. */
static void memory(struct filter *f)
{
	static const char *const maps[] = { "mmap", "mmap2" }, *const protects[] = { "mprotect", "pkey_mprotect" };

	for (size_t i = 0; i < 2; i++) {
		if (sanitizers_own("mmap")) {
			allow(f, maps[i]);
			allow(f, protects[i]);
			continue;
		}
		allow_if(f, maps[i], SCMP_CMP64(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
		allow_if(f, maps[i], SCMP_CMP64(2, SCMP_CMP_MASKED_EQ, PROT_WRITE, 0));
		allow_if(f, protects[i], SCMP_CMP64(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	}
	f->n += 2;
}

/* Streams and datagrams of the three families, and the kernel's list of addresses, which getaddrinfo() asks for. */
static void sockets(struct filter *f)
{
	static const uint64_t families[] = { AF_UNIX, AF_INET, AF_INET6 }, types[] = { SOCK_STREAM, SOCK_DGRAM };

	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < 2; k++)
			rule(f, SCMP_ACT_ALLOW, "socket", 2, (struct scmp_arg_cmp []){
			    SCMP_A0_64(SCMP_CMP_EQ, families[i], 0), SCMP_A1_64(SCMP_CMP_MASKED_EQ, 0xf, types[k]) });
	rule(f, SCMP_ACT_ALLOW, "socket", 2, (struct scmp_arg_cmp []){
	    SCMP_A0_64(SCMP_CMP_EQ, AF_NETLINK, 0), SCMP_A2_64(SCMP_CMP_EQ, 0, 0) });
	allow_if(f, "socketpair", SCMP_A0_64(SCMP_CMP_EQ, AF_UNIX, 0));
	f->n += 2;
}

/* Threads, but no processes.  clone3() keeps its flags in memory, where a filter cannot look: ENOSYS makes
 * the C library take clone(). */
static void threads(struct filter *f)
{
	uint64_t self = (uint64_t)getpid();

	if (sanitizers_own("clone")) {
		allow(f, "clone");
		allow(f, "clone3");
	} else {
		allow_if(f, "clone", SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
		f->n++;
	}
	WORDS(f, "kill", 0, self);
	WORDS(f, "tgkill", 0, self);
	WORDS(f, "rt_tgsigqueueinfo", 0, self);
	WORDS(f, "prlimit64", 0, 0, self);
	WORDS(f, "prctl", 0, PR_SET_NAME, PR_GET_NAME, PR_SET_VMA, PR_GET_DUMPABLE, PR_CAPBSET_READ, PR_GET_SECCOMP,
	    PR_GET_NO_NEW_PRIVS, PR_SET_TIMERSLACK, PR_GET_TIMERSLACK);
}

static void fill(struct filter *f)
{
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (calls[i].allowed)
			allow(f, calls[i].name);
		else if (!sanitizers_own(calls[i].name))
			rule(f, SCMP_ACT_ERRNO(EPERM), calls[i].name, 0, NULL);
	memory(f);
	sockets(f);
	threads(f);
	WORDS(f, "ioctl", 1, TCGETS, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, TIOCGWINSZ, SIOCGIFINDEX, SIOCGIFNAME);
#ifdef PURSER_SANITIZERS
	for (size_t i = 0; i < sizeof sanitizers / sizeof *sanitizers; i++)
		allow(f, sanitizers[i]);
#endif
}

/* Names that the operator added; -1: one that does not exist. */
static int fill_extra(struct filter *f, const char *extra, char *why, size_t whylen)
{
	char name[64];

	while (*(extra += strspn(extra, " \t,"))) {
		size_t n = strcspn(extra, " \t,");

		snprintf(name, sizeof name, "%.*s", (int)n, extra);
		if (n >= sizeof name || seccomp_syscall_resolve_name(name) == __NR_SCMP_ERROR) {
			snprintf(why, whylen, "[agent] sandbox_calls: there is no system call %.63s", name);
			return -1;
		}
		for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
			if (!calls[i].allowed && !strcmp(calls[i].name, name)) {
				snprintf(why, whylen, "[agent] sandbox_calls: %s is refused whatever is said: "
				    "sandbox = off if it must be", name);
				return -1;
			}
		allow(f, name);
		extra += n;
	}
	return 0;
}

int calls_close(struct sandbox *s, const char *extra)
{
	struct filter f = { .ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS)) };
	int rc = -1;

	if (!f.ctx) {
		snprintf(s->no_calls, sizeof s->no_calls, "libseccomp: no memory");
		return -1;
	}
	/* A binary tree: where the kernel keeps no table of what is always allowed, the way is short. */
	note(&f, "optimize", seccomp_attr_set(f.ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2));
	note(&f, "tsync", seccomp_attr_set(f.ctx, SCMP_FLTATR_CTL_TSYNC, 1));
	fill(&f);
	if (fill_extra(&f, extra, s->no_calls, sizeof s->no_calls)) {
		seccomp_release(f.ctx);
		return -2;
	}
	if (f.rc) {
		snprintf(s->no_calls, sizeof s->no_calls, "libseccomp, %s: %s", f.at, strerror(-f.rc));
	} else if ((rc = seccomp_load(f.ctx))) {
		snprintf(s->no_calls, sizeof s->no_calls, "seccomp: %s (a kernel without it, or a container that forbids "
		    "it)", strerror(-rc));
		rc = -1;
	} else {
		s->calls = f.n;
	}
	seccomp_release(f.ctx);
	return rc;
}
#endif
