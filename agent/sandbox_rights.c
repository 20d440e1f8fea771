/* SPDX-License-Identifier: Apache-2.0
 *
 * Privileges: no new ones by execve(), no capabilities, no core dump, no tracer of the same user.
 */
#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "sandbox.h"

#define BIT(cap) (UINT64_C(1) << (cap))

int rights_no_new_privs(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}

int rights_no_dump(void)
{
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ? -errno : 0;
}

/* ---- capabilities, without a library ---- */

struct caps { uint64_t effective, permitted, inheritable; };

static int get_caps(struct caps *c)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d))
		return -errno;
	c->effective = d[0].effective | (uint64_t)d[1].effective << 32;
	c->permitted = d[0].permitted | (uint64_t)d[1].permitted << 32;
	c->inheritable = d[0].inheritable | (uint64_t)d[1].inheritable << 32;
	return 0;
}

static int set_caps(const struct caps *c)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = {
		{ (uint32_t)c->effective, (uint32_t)c->permitted, (uint32_t)c->inheritable },
		{ (uint32_t)(c->effective >> 32), (uint32_t)(c->permitted >> 32), (uint32_t)(c->inheritable >> 32) } };

	return syscall(SYS_capset, &h, d) ? -errno : 0;
}

/* Is it the owner's and the modes' doing that a path cannot be used by a process without capabilities? */
static bool shut(const struct sandbox_path *p)
{
	int how = p->file ? R_OK : R_OK | X_OK;

	if (p->use == CFG_PATH_SOCKET)
		how = W_OK | X_OK;
	else if (p->use == CFG_PATH_WRITE)
		how |= W_OK;
	return faccessat(AT_FDCWD, p->path, how, AT_EACCESS) && errno == EACCES;
}

/* The capabilities that paths need; none is effective while it looks. */
static uint64_t needed(struct sandbox *s)
{
	uint64_t need = 0;

	for (size_t i = 0; i < s->npaths; i++) {
		const struct sandbox_path *p = &s->paths[i];

		if (!shut(p))
			continue;
		need |= BIT(p->use == CFG_PATH_READ ? CAP_DAC_READ_SEARCH : CAP_DAC_OVERRIDE);
		if (!*s->kept_for)
			snprintf(s->kept_for, sizeof s->kept_for, "%s", p->path);
	}
	return need;
}

int rights_drop(struct sandbox *s, char *why, size_t whylen)
{
	struct caps had = { 0, 0, 0 }, c;
	int rc = get_caps(&had);

	if (rc)
		goto fail;
	if (!(had.effective | had.permitted | had.inheritable)) /* a service manager may forbid even to ask */
		return 0;
	if (had.permitted) {
		c = (struct caps){ 0, had.permitted, 0 };
		if ((rc = set_caps(&c)))
			goto fail;
		s->kept = needed(s) & had.permitted;
	}
	if (!s->kept)
		*s->kept_for = '\0';
	/* The bounding set first, while CAP_SETPCAP is there.  Without it there is nothing to gain it back
	 * with either: no_new_privs. */
	if (had.permitted & BIT(CAP_SETPCAP)) {
		c = (struct caps){ BIT(CAP_SETPCAP), had.permitted, 0 };
		if ((rc = set_caps(&c)))
			goto fail;
		for (int cap = 0; cap < 64 && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
			if (!(s->kept & BIT(cap)) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0)) {
				rc = -errno;
				goto fail;
			}
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) && errno != EINVAL) {
		rc = -errno;
		goto fail;
	}
	c = (struct caps){ s->kept, s->kept, 0 };
	if ((rc = set_caps(&c)))
		goto fail;
	return 0;
fail:
	snprintf(why, whylen, "capabilities cannot be dropped: %s", strerror(-rc));
	return rc;
}
