# SPDX-License-Identifier: Apache-2.0
# Sessions: a model, random clients, a clock that the test sets.  Long: make check-sessions SECONDS=600 [SEED=...]
check_LTLIBRARIES += %D%/clock.la
%C%_clock_la_SOURCES = %D%/clock.c
%C%_clock_la_CFLAGS = $(WARN_CFLAGS)
%C%_clock_la_LDFLAGS = -module -avoid-version -shared -rpath /nowhere
EXTRA_DIST += %D%/model.py %D%/rig.py
SCRIPT_TESTS += %D%/10-memory.py %D%/20-redis.py %D%/30-finds.py

.PHONY: check-sessions
check-sessions: all
	PURSER_SECONDS='$(SECONDS)' PURSER_SEED='$(SEED)' $(MAKE) $(AM_MAKEFLAGS) check \
		TESTS='%D%/10-memory.py %D%/20-redis.py' check_PROGRAMS= check_LIBRARIES=
