# SPDX-License-Identifier: Apache-2.0
# Order and identity under chaos: clients that know every answer, a proxy with faults, a Redis that is
# killed, slowed, filled and made a replica.  Long: make check-chaos SECONDS=600

check_PROGRAMS += %D%/chaos-proxy %D%/chaos-checker
%C%_chaos_proxy_SOURCES = %D%/common.h %D%/proxy.h %D%/proxy.c %D%/plant.c
%C%_chaos_proxy_LDADD = -lm
%C%_chaos_checker_SOURCES = %D%/common.h %D%/checker.h %D%/checker.c %D%/send.c %D%/judge.c %D%/logs.c %D%/wire.c
%C%_chaos_checker_LDADD =
EXTRA_DIST += %D%/rig.py

SCRIPT_TESTS += %D%/10-finds.py %D%/20-faults.py

.PHONY: check-chaos
check-chaos: all
	PURSER_SECONDS='$(SECONDS)' $(MAKE) $(AM_MAKEFLAGS) check TESTS='%D%/20-faults.py' \
		check_PROGRAMS='%D%/chaos-proxy$(EXEEXT) %D%/chaos-checker$(EXEEXT)' check_LTLIBRARIES= check_LIBRARIES=
