/* SPDX-License-Identifier: Apache-2.0
 * without WHAT ERRNO PROGRAM...: runs PROGRAM where landlock or seccomp (WHAT) answers ERRNO, as in a container or on
 * another kernel.  A filter by hand, so that it is the same without libseccomp. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LANDLOCK_FIRST 444
#define LANDLOCK_LAST 446

int main(int argc, char **argv)
{
	unsigned error = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
	int landlock = argc > 3 && !strcmp(argv[1], "landlock");
	unsigned first = landlock ? LANDLOCK_FIRST : SYS_seccomp, last = landlock ? LANDLOCK_LAST : SYS_seccomp;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		/* prctl(PR_SET_SECCOMP) is the older way to the same. */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, landlock ? ~0u : PR_SET_SECCOMP, 3, 2),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, first, 2, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error & SECCOMP_RET_DATA)),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, last, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error & SECCOMP_RET_DATA)) };
	struct sock_fprog program = { sizeof code / sizeof *code, code };

	if (argc < 4 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
		fprintf(stderr, "without: %s\n", argc < 4 ? "WHAT ERRNO PROGRAM..." : strerror(errno));
		return 77;
	}
	execv(argv[3], argv + 3);
	perror(argv[3]);
	return 77;
}
