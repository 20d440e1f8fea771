# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/buf.c %D%/buf.h %D%/errors.c %D%/errors.h %D%/errors.def \
	%D%/out.c %D%/out.h %D%/sys.h %D%/arena.c %D%/arena.h \
	%D%/info.h %D%/copy.h %D%/names.c %D%/names.h %D%/siphash.c %D%/siphash.h \
	%D%/dirs.c %D%/dirs.h
