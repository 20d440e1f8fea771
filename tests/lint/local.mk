# SPDX-License-Identifier: Apache-2.0
# Lints: each looks at the whole tree, ends with 1 if something is wrong, and is proved by selftest.py.

LINTS += %D%/rooms.py %D%/size.py %D%/banned.py %D%/headers.py %D%/keys_read.py %D%/documented.py %D%/tarball.py \
	%D%/memory_ops.py %D%/command_rows.py %D%/lua_scripts.py %D%/dashboards.py %D%/selftest.py
EXTRA_DIST += %D%/source.py docs/tables.py docs/dashboards.py

.PHONY: lint list-dist doc-tables
lint:
	$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(LINTS)' check_PROGRAMS= check_LTLIBRARIES= check_LIBRARIES=

list-dist:
	@for f in $(DISTFILES); do echo "$$f"; done

# All of them: pages with tables, the shipped configuration, the manual of its keys, the metrics.
doc-tables: doc-config tests/unit/test_metric_info$(EXEEXT)
	$(PYTHON3) $(srcdir)/docs/tables.py
	$(PYTHON3) $(srcdir)/docs/dashboards.py
	abs_top_srcdir='$(abs_top_srcdir)' PURSER_UPDATE_DOCS=1 tests/unit/test_metric_info >/dev/null
