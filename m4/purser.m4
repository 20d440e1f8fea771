# SPDX-License-Identifier: Apache-2.0
# Macros of this project's configure.ac.

# PURSER_CFLAGS_IF_OK(VARIABLE, FLAG...)
# Appends each flag that the compiler takes without a warning.
AC_DEFUN([PURSER_CFLAGS_IF_OK],
[m4_foreach_w([purser_flag], [$2],
	[AS_VAR_PUSHDEF([purser_cache], [purser_cv_cflag_]purser_flag)dnl
	AC_CACHE_CHECK([whether $CC accepts ]purser_flag, [purser_cache],
		[purser_save_CFLAGS=$CFLAGS
		CFLAGS="$CFLAGS -Werror purser_flag"
		AC_COMPILE_IFELSE([AC_LANG_PROGRAM([#include <stdio.h>])],
			[AS_VAR_SET([purser_cache], [yes])], [AS_VAR_SET([purser_cache], [no])])
		CFLAGS=$purser_save_CFLAGS])
	AS_VAR_IF([purser_cache], [yes], [AS_VAR_APPEND([$1], [" purser_flag"])])
	AS_VAR_POPDEF([purser_cache])])])

# PURSER_LINKS(FLAGS, IF-YES, IF-NO)
# Can a program be compiled and linked with FLAGS?
AC_DEFUN([PURSER_LINKS],
[purser_save_CFLAGS=$CFLAGS
CFLAGS="$CFLAGS $1"
AC_LINK_IFELSE([AC_LANG_PROGRAM([])], [purser_links=yes], [purser_links=no])
CFLAGS=$purser_save_CFLAGS
AS_IF([test $purser_links = yes], [$2], [$3])])

# PURSER_NEED(VARIABLE, PKG-CONFIG-MODULE, DEBIAN-PACKAGE)
# A library that we cannot do without; what is missing is reported together by PURSER_NEED_END.
AC_DEFUN([PURSER_NEED],
[PKG_CHECK_MODULES([$1], [$2], [], [AS_VAR_APPEND([purser_missing], [" $3"])])])

AC_DEFUN([PURSER_NEED_END],
[AS_IF([test -n "$purser_missing"],
	[AC_MSG_ERROR([these Debian packages are missing:$purser_missing
   install them with:  apt-get install --no-install-recommends$purser_missing
   (or let ./autogen.sh --run do it)])])])
