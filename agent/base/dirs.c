/* SPDX-License-Identifier: Apache-2.0 */
#include <config.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include "base/dirs.h"

int dirs_make(const char *path)
{
	char dir[4096];
	int n = snprintf(dir, sizeof dir, "%s", path);

	if (n <= 0 || n >= (int)sizeof dir) {
		errno = n > 0 ? ENAMETOOLONG : EINVAL;
		return -1;
	}
	for (char *p = dir + 1; *p; p++)
		if (*p == '/') {
			*p = '\0';
			if (mkdir(dir, 0700) != 0 && errno != EEXIST)
				return -1;
			*p = '/';
		}
	return mkdir(dir, 0700) != 0 && errno != EEXIST ? -1 : 0;
}
