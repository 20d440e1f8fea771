# SPDX-License-Identifier: Apache-2.0
# The public headers: all that a plugin sees.

pkginclude_HEADERS = %D%/purser/plugin.h %D%/purser/resp.h %D%/purser/glob.h
