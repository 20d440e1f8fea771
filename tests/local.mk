# SPDX-License-Identifier: Apache-2.0
# How tests run.  All start in the top build directory and write only below mktemp -d.

include %D%/unit/local.mk
include %D%/integration/local.mk
include %D%/lua/local.mk
include %D%/sessions/local.mk
include %D%/conformance/local.mk
include %D%/plugins/local.mk
include %D%/differential/local.mk
include %D%/isolation/local.mk
include %D%/chaos/local.mk
include %D%/locks/local.mk
include %D%/clients/local.mk
include %D%/churn/local.mk
include %D%/noise/local.mk
include %D%/suites/local.mk
include %D%/lint/local.mk
include %D%/otlp/local.mk

# The example plugin, built out of the tree (make installcheck does it with what is installed).
SCRIPT_TESTS += %D%/installcheck.sh

check_PROGRAMS += $(UNIT_TESTS)
TESTS = $(UNIT_TESTS) $(TAP_TESTS) $(SCRIPT_TESTS) $(LINTS)
EXTRA_DIST += $(SCRIPT_TESTS) $(LINTS) %D%/harness.py %D%/events.py %D%/chroot-check.sh %D%/tsan.supp

TEST_EXTENSIONS = .sh .py
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
SH_LOG_COMPILER = $(SHELL)
PY_LOG_COMPILER = $(PYTHON3)

# Names that tests may rely on.  What a user has set (ASAN_OPTIONS, PURSER_LONG, PURSER_SEED,
# PURSER_TEST_WORKERS) is kept.
AM_TESTS_ENVIRONMENT = \
	abs_top_srcdir='$(abs_top_srcdir)'; export abs_top_srcdir; \
	abs_top_builddir='$(abs_top_builddir)'; export abs_top_builddir; \
	PURSERD='$(abs_top_builddir)/agent/purserd'; export PURSERD; \
	PURSERCTL='$(abs_top_builddir)/ctl/purserctl'; export PURSERCTL; \
	PURSER_PLUGIN_CHECK='$(abs_top_builddir)/tests/conformance/purser-plugin-check'; \
	export PURSER_PLUGIN_CHECK; \
	PURSER_PLUGIN_PATH='$(abs_top_builddir)/plugins/.libs'; export PURSER_PLUGIN_PATH; \
	CC='$(CC)'; export CC; CXX='$(CXX)'; export CXX; \
	PYTHON3='$(PYTHON3)'; export PYTHON3; \
	PYTHONPATH='$(abs_top_srcdir)/tests'; export PYTHONPATH; \
	PYTHONDONTWRITEBYTECODE=1; export PYTHONDONTWRITEBYTECODE; \
	CMOCKA_MESSAGE_OUTPUT=TAP; export CMOCKA_MESSAGE_OUTPUT; \
	ASAN_OPTIONS=$${ASAN_OPTIONS-detect_stack_use_after_return=1:strict_string_checks=1}; \
	export ASAN_OPTIONS; \
	TSAN_OPTIONS=$${TSAN_OPTIONS-suppressions=$(abs_top_srcdir)/tests/tsan.supp}; export TSAN_OPTIONS; \
	UBSAN_OPTIONS=$${UBSAN_OPTIONS-print_stacktrace=1}; export UBSAN_OPTIONS; \
	unset PURSER_SOCKET REDIS_URL XDG_CONFIG_HOME || :;


# The long forms of the seeded tests (differential, fuzz, chaos, soak), and what is measured against a goal.
.PHONY: check-long
check-long:
	PURSER_LONG=1 $(MAKE) $(AM_MAKEFLAGS) check
	$(MAKE) $(AM_MAKEFLAGS) check-noise
	$(MAKE) $(AM_MAKEFLAGS) check-handover

# What has threads: the part of the suite that is worth a run under TSan.
.PHONY: check-threads
check-threads:
	$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(UNIT_TESTS) $(SCRIPT_TESTS)'

# distcheck with the tests that need no server: what a tarball may lack shows in them and in the build.
.PHONY: distcheck-quick
distcheck-quick:
	$(MAKE) AM_MAKEFLAGS="TESTS='$(UNIT_TESTS) $(LINTS)'" distcheck

# The suite under valgrind (not with sanitizers): programs themselves, scripts through the harness.  Left
# out is what counts with long doubles, which valgrind cuts to 64 bits.
.PHONY: check-valgrind
check-valgrind:
	tests=; for t in $(UNIT_TESTS) $(SCRIPT_TESTS); do \
		case $$t in \
		tests/unit/test_memory_table | tests/differential/*) ;; \
		*) tests="$$tests $$t" ;; \
		esac; \
	done; \
	PURSER_VALGRIND=1 $(MAKE) $(AM_MAKEFLAGS) check TESTS="$$tests" \
		LOG_COMPILER='valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite'
