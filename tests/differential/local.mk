# SPDX-License-Identifier: Apache-2.0
# Random commands to two servers, replies compared.  Long: make check-differential SECONDS=600

check_PROGRAMS += %D%/differential
%C%_differential_SOURCES = %D%/differential.c %D%/diff.h %D%/run.c %D%/ask.c %D%/gen.c %D%/dump.c %D%/geo.c %D%/stream.c %D%/gen_script.c %D%/words.c \
	%D%/commands.def %D%/wire.c %D%/compare.c
%C%_differential_LDADD =
check_PROGRAMS += %D%/crowd
%C%_crowd_SOURCES = %D%/crowd.c %D%/diff.h %D%/gen.c %D%/dump.c %D%/geo.c %D%/stream.c %D%/gen_script.c %D%/words.c %D%/commands.def %D%/wire.c
%C%_crowd_LDADD =

SCRIPT_TESTS += %D%/10-finds.sh %D%/20-memory.sh %D%/30-redis.sh %D%/40-crowd.py

SECONDS = 60
.PHONY: check-differential
check-differential: all
	PURSER_SECONDS='$(SECONDS)' $(MAKE) $(AM_MAKEFLAGS) check \
		TESTS='%D%/20-memory.sh %D%/30-redis.sh' check_PROGRAMS=%D%/differential \
		check_LTLIBRARIES= check_LIBRARIES=

.PHONY: check-soak
check-soak: all
	PURSER_SECONDS='$(SECONDS)' $(MAKE) $(AM_MAKEFLAGS) check TESTS='%D%/40-crowd.py' \
		check_PROGRAMS=%D%/crowd check_LTLIBRARIES= check_LIBRARIES=
