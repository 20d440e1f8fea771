/* SPDX-License-Identifier: Apache-2.0
 *
 * base/dirs: directories for what the agent keeps.
 */
#ifndef BASE_DIRS_H
#define BASE_DIRS_H
/* path and the directories above it, each with mode 0700 where it is missing.  0, or -1 with errno. */
int dirs_make(const char *path);
#endif
