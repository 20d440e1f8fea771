# SPDX-License-Identifier: Apache-2.0
# Suites of others, as they are in packages: make check-suites, or some of them: make check-suites SUITES='keyv redigo'
# (PURSER_SUITES_NPM names a node_modules that is there already).

EXTRA_DIST += %D%/run.py %D%/bridge.py %D%/telescope.lua %D%/to-socket.cjs %D%/keyv.test.mjs %D%/package.json \
	%D%/package-lock.json

.PHONY: check-suites
check-suites: all
	$(AM_TESTS_ENVIRONMENT) $(PYTHON3) $(srcdir)/%D%/run.py $(SUITES)
