# SPDX-License-Identifier: Apache-2.0
# Load generator, kernel floor, and the one command that prints the figures: make bench.
# Which cells, how long: make bench BENCH_FLAGS='--quick memory/c50-P1-get'; see bench/README.md.

noinst_PROGRAMS += %D%/lg %D%/floor %D%/steps

%C%_lg_SOURCES = %D%/lg.c %D%/load.c %D%/load.h %D%/load_conn.h %D%/conn.c %D%/fanout.c %D%/wire.c %D%/wire.h \
	%D%/keys.c %D%/keys.h %D%/watch.c %D%/watch.h %D%/net.c %D%/net.h %D%/hist.h
%C%_lg_LDADD = -lm
%C%_floor_SOURCES = %D%/floor.c %D%/net.c %D%/net.h
%C%_floor_LDADD =
%C%_steps_SOURCES = %D%/steps.c %D%/watch.c %D%/watch.h %D%/net.c %D%/net.h %D%/hist.h
%C%_steps_LDADD =

EXTRA_DIST += %D%/README.md %D%/run %D%/sandbox %D%/profile %D%/count %D%/tools.py %D%/servers.py %D%/cells.py %D%/measure.py %D%/plans.py %D%/footprint.py \
	%D%/report.py %D%/jobs.py
SCRIPT_TESTS += %D%/selftest.py

BENCH_FLAGS =

.PHONY: bench
bench: all
	$(PYTHON3) $(srcdir)/%D%/run --build-dir '$(abs_top_builddir)' $(BENCH_FLAGS)

# Hit ratios of the memory plugin's policies: make bench-hitratio BENCH_FLAGS='-n 400000 -u 40000 zipf-0.8'
HIT_SOURCES = %D%/hit/plugin.c %D%/hit/plugin.h %D%/hit/simulate.c %D%/hit/simulate.h %D%/hit/trace.c %D%/hit/trace.h

EXTRA_PROGRAMS += %D%/hitratio
%C%_hitratio_SOURCES = %D%/hit/hitratio.c $(HIT_SOURCES)
%C%_hitratio_LDADD = tests/unit/libmemory.a $(LUA_LIBS) -lm
CLEANFILES += %D%/hitratio

.PHONY: bench-hitratio
bench-hitratio: %D%/hitratio
	%D%/hitratio $(BENCH_FLAGS)

# CPU of one turn of a worker while large things come and go: make bench-turns BENCH_FLAGS='1000000 hash'
EXTRA_PROGRAMS += %D%/turns
%C%_turns_SOURCES = %D%/turns.c
%C%_turns_LDADD = tests/unit/libmemory.a $(LUA_LIBS) -lm
CLEANFILES += %D%/turns

.PHONY: bench-turns
bench-turns: %D%/turns
	%D%/turns $(BENCH_FLAGS)

# What a JSON Web Token costs: make bench-jwt BENCH_FLAGS=200000
EXTRA_PROGRAMS += %D%/jwt
%C%_jwt_SOURCES = %D%/jwt.c
%C%_jwt_LDADD = $(AGENT_LIBS)
CLEANFILES += %D%/jwt

.PHONY: bench-jwt
bench-jwt: %D%/jwt
	%D%/jwt $(BENCH_FLAGS)

# What clearing many keys costs Redis: make bench-jobs BENCH_FLAGS='--keys 5000000 --seconds 20'
.PHONY: bench-jobs
bench-jobs: all
	abs_top_srcdir='$(abs_top_srcdir)' abs_top_builddir='$(abs_top_builddir)' $(PYTHON3) $(srcdir)/%D%/jobs.py $(BENCH_FLAGS)
