# SPDX-License-Identifier: Apache-2.0
# Load generator, kernel floor, and the one command that prints the figures: make bench.
# Which cells, how long: make bench BENCH_FLAGS='--quick memory/c50-P1-get'; see bench/README.md.

noinst_PROGRAMS += %D%/lg %D%/floor

%C%_lg_SOURCES = %D%/lg.c %D%/load.c %D%/load.h %D%/load_conn.h %D%/conn.c %D%/fanout.c %D%/wire.c %D%/wire.h \
	%D%/keys.c %D%/keys.h %D%/watch.c %D%/watch.h %D%/net.c %D%/net.h %D%/hist.h
%C%_lg_LDADD = -lm
%C%_floor_SOURCES = %D%/floor.c %D%/net.c %D%/net.h
%C%_floor_LDADD =

EXTRA_DIST += %D%/README.md %D%/run %D%/profile %D%/count %D%/tools.py %D%/servers.py %D%/cells.py %D%/measure.py %D%/footprint.py \
	%D%/report.py
SCRIPT_TESTS += %D%/selftest.py

BENCH_FLAGS =

.PHONY: bench
bench: all
	$(PYTHON3) $(srcdir)/%D%/run --build-dir '$(abs_top_builddir)' $(BENCH_FLAGS)
