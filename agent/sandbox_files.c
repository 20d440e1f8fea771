/* SPDX-License-Identifier: Apache-2.0
 *
 * Files: Landlock, by raw system calls.  The C library has no wrappers, and the headers of Debian 12 stop
 * at version 3 of an interface of which kernels have more: what follows is the kernel's, by number.
 */
#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "sandbox.h"

/* The same on every architecture. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif
#define RULESET_VERSION 1u
#define RULE_PATH_BENEATH 1

#define FS(n) (UINT64_C(1) << (n))
#define FS_EXECUTE FS(0)
#define FS_WRITE_FILE FS(1)
#define FS_READ_FILE FS(2)
#define FS_READ_DIR FS(3)
#define FS_REMOVE_DIR FS(4)
#define FS_REMOVE_FILE FS(5)
#define FS_MAKE_DIR FS(7)
#define FS_MAKE_REG FS(8)
#define FS_VERSION_1 (FS(13) - 1)
#define FS_REFER FS(13)     /* from version 2 on */
#define FS_TRUNCATE FS(14)  /* 3 */
#define FS_IOCTL_DEV FS(15) /* 5 */
#define NET_BIND_TCP FS(0)  /* 4 */
#define SCOPE_ABSTRACT FS(0) /* 6: no abstract socket of a process outside */
#define SCOPE_SIGNAL FS(1)   /* 6: no signal to a process outside */

struct ruleset { uint64_t fs, net, scoped; };
struct beneath { uint64_t allowed; int32_t fd; } __attribute__((packed));

/* A file has no rights of directories. */
#define FS_OF_FILES (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

static uint64_t rights_of(const struct sandbox_path *p)
{
	switch ((enum cfg_path_use)p->use) {
	case CFG_PATH_READ:
		break;
	case CFG_PATH_WRITE:
	case CFG_PATH_WRITE_DIR:
		return FS_READ_FILE | FS_READ_DIR | FS_WRITE_FILE | FS_TRUNCATE | FS_MAKE_REG | FS_MAKE_DIR |
		    FS_REMOVE_FILE | FS_REMOVE_DIR | FS_REFER;
	case CFG_PATH_SOCKET: /* it is bound already; the file goes when the agent ends */
		return FS_REMOVE_FILE;
	}
	return FS_READ_FILE | FS_READ_DIR;
}

static struct ruleset ruleset_of(int abi)
{
	const char *notify = getenv("NOTIFY_SOCKET");
	struct ruleset r = { .fs = FS_VERSION_1 };

	if (abi >= 2)
		r.fs |= FS_REFER;
	if (abi >= 3)
		r.fs |= FS_TRUNCATE;
	if (abi >= 4)
		r.net = NET_BIND_TCP;
	if (abi >= 5)
		r.fs |= FS_IOCTL_DEV;
	if (abi >= 6) {
		r.scoped = SCOPE_SIGNAL;
		if (!notify || *notify != '@') /* the service manager's may be one */
			r.scoped |= SCOPE_ABSTRACT;
	}
	return r;
}

static int add(int set, const struct ruleset *r, const struct sandbox_path *p, uint64_t allowed)
{
	struct beneath b = { .fd = open(p->path, O_PATH | O_CLOEXEC) };
	int rc = 0;

	if (b.fd < 0)
		return errno == ENOENT || errno == EACCES ? 0 : -errno; /* nobody could use it either */
	b.allowed = allowed & r->fs & (p->file ? FS_OF_FILES : ~UINT64_C(0));
	if (syscall(SYS_landlock_add_rule, set, RULE_PATH_BENEATH, &b, 0))
		rc = -errno;
	close(b.fd);
	return rc;
}

static int refused(struct sandbox *s, const char *what, int rc)
{
	const char *hint = "";

	if (rc == -ENOSYS)
		hint = " (this kernel has no Landlock)";
	else if (rc == -EOPNOTSUPP)
		hint = " (Landlock was turned off when the kernel started: lsm=landlock,...)";
	else if (rc == -EPERM)
		hint = " (a container or a service manager forbids it)";
	snprintf(s->no_landlock, sizeof s->no_landlock, "%s: %s%s", what, strerror(-rc), hint);
	return rc;
}

int files_close(struct sandbox *s)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, RULESET_VERSION), set;
	struct ruleset r;
	int rc = 0;

	if (abi < 1)
		return refused(s, "landlock_create_ruleset", abi < 0 ? -errno : -EINVAL);
	r = ruleset_of((int)abi);
	set = syscall(SYS_landlock_create_ruleset, &r, abi < 4 ? sizeof r.fs : abi < 6 ? 2 * sizeof r.fs :
	    sizeof r, 0);
	if (set < 0)
		return refused(s, "landlock_create_ruleset", -errno);
	for (size_t i = 0; i < s->npaths && !rc; i++)
		if ((rc = add((int)set, &r, &s->paths[i], rights_of(&s->paths[i]))))
			refused(s, s->paths[i].path, rc);
	if (!rc && (rc = add((int)set, &r, &(struct sandbox_path){ .path = (char []){ "/dev/null" }, .file = true },
	    FS_READ_FILE | FS_WRITE_FILE)))
		refused(s, "/dev/null", rc);
#ifdef PURSER_SANITIZERS
	/* A report runs the symbolizer. */
	if (!rc && (rc = add((int)set, &r, &(struct sandbox_path){ .path = (char []){ "/usr" } },
	    FS_READ_FILE | FS_READ_DIR | FS_EXECUTE)))
		refused(s, "/usr", rc);
#endif
#ifdef PURSER_COVERAGE_DIR
	/* Counters are written when the process ends. */
	if (!rc && (rc = add((int)set, &r, &(struct sandbox_path){ .path = (char []){ PURSER_COVERAGE_DIR } },
	    FS_READ_FILE | FS_READ_DIR | FS_WRITE_FILE | FS_MAKE_REG | FS_MAKE_DIR | FS_TRUNCATE)))
		refused(s, PURSER_COVERAGE_DIR, rc);
#endif
	if (!rc && syscall(SYS_landlock_restrict_self, (int)set, 0))
		rc = refused(s, "landlock_restrict_self", -errno);
	close((int)set);
	if (rc)
		return rc;
	s->landlock = (int)abi;
	s->net = abi >= 4;
	return 0;
}
