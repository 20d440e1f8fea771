# SPDX-License-Identifier: Apache-2.0
# What a flooding project does to another: make check-noise [ROUNDS=7].  A part of make check-long.
EXTRA_DIST += %D%/noise.py

.PHONY: check-noise
check-noise: all
	$(MAKE) $(AM_MAKEFLAGS) bench/lg
	PURSER_ROUNDS='$(ROUNDS)' $(MAKE) $(AM_MAKEFLAGS) check TESTS='%D%/noise.py' \
		check_PROGRAMS= check_LTLIBRARIES= check_LIBRARIES= && grep ' = ' %D%/noise.log
