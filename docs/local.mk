# SPDX-License-Identifier: Apache-2.0
# Pages for people; man pages.  What is declared in .def files has its table here (make doc-tables).

EXTRA_DIST += %D%/architecture.md %D%/protocol.md
EXTRA_DIST += %D%/commands.md %D%/configuration.md %D%/errors.md %D%/http.md %D%/metrics.md %D%/telemetry.md
EXTRA_DIST += %D%/config.py
dist_man_MANS += %D%/man/purser.ini.5 %D%/man/purserctl.1 %D%/man/purserd.8
dist_man_MANS += %D%/man/purser-plugin.3 %D%/man/purser-plugin-check.1
EXTRA_DIST += %D%/writing-a-plugin.md
EXTRA_DIST += %D%/scripts.md %D%/decisions/scripts-isolated.md
EXTRA_DIST += %D%/health.md %D%/redis.md %D%/resilience.md %D%/limits.md %D%/access.md
EXTRA_DIST += %D%/jwt.md %D%/recipes.md
EXTRA_DIST += %D%/cache.md %D%/streams.md
EXTRA_DIST += %D%/jobs.md
EXTRA_DIST += %D%/locks.md

.PHONY: doc-config
doc-config: agent/purserd plugins/redis.la plugins/memory.la
	abs_top_srcdir='$(abs_top_srcdir)' PURSERD='$(abs_top_builddir)/agent/purserd' \
	PURSER_PLUGIN_PATH='$(abs_top_builddir)/plugins/.libs' $(PYTHON3) $(srcdir)/docs/config.py
EXTRA_DIST += %D%/decisions/json-in.md %D%/decisions/memory-table.md %D%/decisions/allocator.md %D%/decisions/time-of-operations.md
EXTRA_DIST += %D%/decisions/ends-inside.md %D%/decisions/lua.md
EXTRA_DIST += %D%/decisions/as-it-came.md %D%/decisions/sleeping.md
EXTRA_DIST += %D%/decisions/pubsub-one-link.md %D%/decisions/tracking-by-broadcast.md
EXTRA_DIST += %D%/decisions/one-failure-a-link.md
EXTRA_DIST += %D%/decisions/links-of-their-own.md %D%/decisions/one-deadline.md
EXTRA_DIST += %D%/decisions/snapshot.md
EXTRA_DIST += %D%/threat-model.md %D%/decisions/sandbox.md
EXTRA_DIST += %D%/decisions/eviction.md %D%/decisions/scan-cursors.md
EXTRA_DIST += %D%/isolation.md %D%/isolation-proof.md
EXTRA_DIST += %D%/sessions.md
