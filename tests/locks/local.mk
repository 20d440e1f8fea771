# SPDX-License-Identifier: Apache-2.0
# Histories of locks under kills, stops, partitions, failover and clock steps.  Long: make check-locks SECONDS=600

check_LTLIBRARIES += %D%/clockstep.la
%C%_clockstep_la_SOURCES = %D%/clockstep.c
%C%_clockstep_la_LDFLAGS = -module -avoid-version -shared -rpath /nowhere
EXTRA_DIST += %D%/history.py %D%/actor.py %D%/stage.py
SCRIPT_TESTS += %D%/10-finds.py %D%/15-cut.py %D%/20-random.py

.PHONY: check-locks
check-locks: all
	PURSER_SECONDS='$(SECONDS)' $(MAKE) $(AM_MAKEFLAGS) check TESTS='%D%/20-random.py'

# From kill -9 of a holder to the next one's reply, against the goal.
EXTRA_DIST += %D%/handover.py
RUNS = 21
.PHONY: check-handover
check-handover: all
	abs_top_srcdir='$(abs_top_srcdir)' PURSER_PLUGIN_PATH='$(abs_top_builddir)/plugins/.libs' PYTHONPATH='$(abs_top_srcdir)/tests' \
		PURSERD='$(abs_top_builddir)/agent/purserd' PURSER_RUNS='$(RUNS)' $(PYTHON3) $(srcdir)/%D%/handover.py
