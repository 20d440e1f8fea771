# SPDX-License-Identifier: Apache-2.0
# Resident memory under steady churn: make check-churn SECONDS=600
EXTRA_DIST += %D%/churn.py

.PHONY: check-churn
check-churn: all
	PURSER_SECONDS='$(SECONDS)' $(MAKE) $(AM_MAKEFLAGS) check TESTS='%D%/churn.py' \
		check_PROGRAMS= check_LTLIBRARIES= check_LIBRARIES= && grep MiB %D%/churn.log
