# SPDX-License-Identifier: Apache-2.0
# The isolation fuzzer: two projects, one agent, a model for each.  Long: make check-isolation SECONDS=1800 [SEED=…]
# [BACKEND=redis|memory]; make check-isolation-proof shows that it finds leaks made on purpose.

check_PROGRAMS += %D%/isolation
%C%_isolation_SOURCES = %D%/isolation.c %D%/iso.h %D%/items.c %D%/world.c %D%/play.c %D%/shrink.c %D%/commands.def \
	tests/differential/diff.h tests/differential/ask.c tests/differential/gen.c tests/differential/dump.c tests/differential/geo.c \
	tests/differential/stream.c tests/differential/gen_script.c tests/differential/words.c tests/differential/wire.c \
	tests/differential/compare.c
%C%_isolation_LDADD =
EXTRA_DIST += %D%/rig.py %D%/proof.py

SCRIPT_TESTS += %D%/10-memory.py %D%/20-redis.py

.PHONY: check-isolation
check-isolation: all
	PURSER_SECONDS='$(SECONDS)' PURSER_SEED='$(SEED)' $(MAKE) $(AM_MAKEFLAGS) check \
		TESTS='$(addsuffix .py,$(addprefix %D%/,$(or $(patsubst redis,20-redis,$(BACKEND:memory=10-memory)),10-memory 20-redis)))' \
		check_PROGRAMS=%D%/isolation check_LTLIBRARIES= check_LIBRARIES=

# Leaks made on purpose in a copy of the sources: each is found.  LEAKS='keys-unprefixed …' for some of them.
.PHONY: check-isolation-proof
check-isolation-proof: all
	$(MAKE) $(AM_MAKEFLAGS) tests/isolation/isolation$(EXEEXT)
	env PURSER_SECONDS='$(SECONDS)' PURSER_SEED='$(SEED)' BACKEND='$(BACKEND)' LEAKS='$(LEAKS)' \
		abs_top_srcdir='$(abs_top_srcdir)' abs_top_builddir='$(abs_top_builddir)' PYTHONPATH='$(abs_top_srcdir)/tests' \
		PYTHONDONTWRITEBYTECODE=1 $(PYTHON3) $(srcdir)/%D%/proof.py
