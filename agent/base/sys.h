/* SPDX-License-Identifier: Apache-2.0
 *
 * sys: the system calls of the hot path without the library's cancellation points, which cost two atomic
 * operations a call as soon as there are two threads.  No thread of the agent is ever cancelled.
 */
#ifndef BASE_SYS_H
#define BASE_SYS_H
#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Sanitizers watch the library's functions. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SYS_DIRECT 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SYS_DIRECT 0
#endif
#endif
#ifndef SYS_DIRECT
#define SYS_DIRECT 1
#endif

static inline ssize_t sys_recv(int fd, void *p, size_t n, int flags)
{
#if SYS_DIRECT && defined(SYS_recvfrom)
	return syscall(SYS_recvfrom, fd, p, n, flags, NULL, NULL);
#else
	return recv(fd, p, n, flags);
#endif
}

static inline ssize_t sys_send(int fd, const void *p, size_t n, int flags)
{
#if SYS_DIRECT && defined(SYS_sendto)
	return syscall(SYS_sendto, fd, p, n, flags, NULL, 0);
#else
	return send(fd, p, n, flags);
#endif
}
#endif
