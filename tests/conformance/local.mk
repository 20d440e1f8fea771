# SPDX-License-Identifier: Apache-2.0
# The conformance kit: a program that is installed for plugin authors, and what we try it on.

bin_PROGRAMS += tests/conformance/purser-plugin-check
tests_conformance_purser_plugin_check_SOURCES = %D%/kit.h %D%/kit_report.h %D%/kit_main.c \
	%D%/kit_report.c %D%/kit_arena.c %D%/kit_reply.c %D%/kit_host.c %D%/kit_host.h \
	%D%/kit_host_loop.c %D%/kit_settings.c %D%/kit_rig.c %D%/kit_call.c \
	%D%/kit_fake.c %D%/kit_rules_calls.c %D%/kit_rules_state.c %D%/kit_rules_wire.c \
	%D%/kit_rules_links.c %D%/kit_semantic.c
tests_conformance_purser_plugin_check_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/%D%
# Only the loader, the loop and what they stand on: no library of the agent's.
tests_conformance_purser_plugin_check_LDADD = agent/libagent.a -lm

# Plugins that are wrong in one thing each, out of one source.
check_LTLIBRARIES += %D%/old_api.la
%C%_old_api_la_SOURCES = %D%/bad/simple.c
%C%_old_api_la_CPPFLAGS = $(AM_CPPFLAGS) -DBAD_old_api
%C%_old_api_la_LDFLAGS = $(TEST_PLUGIN_LINK)
check_LTLIBRARIES += %D%/next_api.la
%C%_next_api_la_SOURCES = %D%/bad/simple.c
%C%_next_api_la_CPPFLAGS = $(AM_CPPFLAGS) -DBAD_next_api
%C%_next_api_la_LDFLAGS = $(TEST_PLUGIN_LINK)
check_LTLIBRARIES += %D%/no_init.la
%C%_no_init_la_SOURCES = %D%/bad/simple.c
%C%_no_init_la_CPPFLAGS = $(AM_CPPFLAGS) -DBAD_no_init
%C%_no_init_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -rpath /nowhere
check_LTLIBRARIES += %D%/null_init.la
%C%_null_init_la_SOURCES = %D%/bad/simple.c
%C%_null_init_la_CPPFLAGS = $(AM_CPPFLAGS) -DBAD_null_init
%C%_null_init_la_LDFLAGS = $(TEST_PLUGIN_LINK)
check_LTLIBRARIES += %D%/null_op.la
%C%_null_op_la_SOURCES = %D%/bad/simple.c
%C%_null_op_la_CPPFLAGS = $(AM_CPPFLAGS) -DBAD_null_op
%C%_null_op_la_LDFLAGS = $(TEST_PLUGIN_LINK)
check_LTLIBRARIES += %D%/op_name.la
%C%_op_name_la_SOURCES = %D%/bad/simple.c
%C%_op_name_la_CPPFLAGS = $(AM_CPPFLAGS) -DBAD_op_name
%C%_op_name_la_LDFLAGS = $(TEST_PLUGIN_LINK)
check_LTLIBRARIES += %D%/op_twice.la
%C%_op_twice_la_SOURCES = %D%/bad/simple.c
%C%_op_twice_la_CPPFLAGS = $(AM_CPPFLAGS) -DBAD_op_twice
%C%_op_twice_la_LDFLAGS = $(TEST_PLUGIN_LINK)
check_LTLIBRARIES += %D%/no_submit.la
%C%_no_submit_la_SOURCES = %D%/bad/simple.c
%C%_no_submit_la_CPPFLAGS = $(AM_CPPFLAGS) -DBAD_no_submit
%C%_no_submit_la_LDFLAGS = $(TEST_PLUGIN_LINK)
check_LTLIBRARIES += %D%/no_stop.la
%C%_no_stop_la_SOURCES = %D%/bad/simple.c
%C%_no_stop_la_CPPFLAGS = $(AM_CPPFLAGS) -DBAD_no_stop
%C%_no_stop_la_LDFLAGS = $(TEST_PLUGIN_LINK)
check_LTLIBRARIES += %D%/no_stats.la
%C%_no_stats_la_SOURCES = %D%/bad/simple.c
%C%_no_stats_la_CPPFLAGS = $(AM_CPPFLAGS) -DBAD_no_stats
%C%_no_stats_la_LDFLAGS = $(TEST_PLUGIN_LINK)
check_LTLIBRARIES += %D%/default.la
%C%_default_la_SOURCES = %D%/bad/simple.c
%C%_default_la_CPPFLAGS = $(AM_CPPFLAGS) -DBAD_default
%C%_default_la_LDFLAGS = $(TEST_PLUGIN_LINK)
check_LTLIBRARIES += %D%/stride.la
%C%_stride_la_SOURCES = %D%/bad/simple.c
%C%_stride_la_CPPFLAGS = $(AM_CPPFLAGS) -DBAD_stride
%C%_stride_la_LDFLAGS = $(TEST_PLUGIN_LINK)
check_LTLIBRARIES += %D%/start_fails.la
%C%_start_fails_la_SOURCES = %D%/bad/simple.c
%C%_start_fails_la_CPPFLAGS = $(AM_CPPFLAGS) -DBAD_start_fails
%C%_start_fails_la_LDFLAGS = $(TEST_PLUGIN_LINK)
check_LTLIBRARIES += %D%/failing.la
%C%_failing_la_SOURCES = %D%/bad/simple.c
%C%_failing_la_CPPFLAGS = $(AM_CPPFLAGS) -DBAD_failing
%C%_failing_la_LDFLAGS = $(TEST_PLUGIN_LINK)
check_LTLIBRARIES += %D%/slow.la
%C%_slow_la_SOURCES = %D%/bad/simple.c
%C%_slow_la_CPPFLAGS = $(AM_CPPFLAGS) -DBAD_slow
%C%_slow_la_LDFLAGS = $(TEST_PLUGIN_LINK)

# One link, with and without faults.
check_LTLIBRARIES += %D%/lane.la
%C%_lane_la_SOURCES = %D%/bad/lane.c
%C%_lane_la_LDFLAGS = $(TEST_PLUGIN_LINK)

# The frozen first version of the header.
check_LTLIBRARIES += %D%/v1.la
%C%_v1_la_SOURCES = %D%/v1/v1.c %D%/v1/plugin.h
%C%_v1_la_LDFLAGS = $(TEST_PLUGIN_LINK)

# The example's store in other clothes.
check_LTLIBRARIES += %D%/hostile.la
%C%_hostile_la_SOURCES = %D%/bad/hostile.c
%C%_hostile_la_LDFLAGS = $(TEST_PLUGIN_LINK)
check_LTLIBRARIES += %D%/new_structs.la
%C%_new_structs_la_SOURCES = %D%/good/new_structs.c
%C%_new_structs_la_LDFLAGS = $(TEST_PLUGIN_LINK)
check_LTLIBRARIES += %D%/blocking.la
%C%_blocking_la_SOURCES = %D%/good/blocking.c
%C%_blocking_la_LDFLAGS = $(TEST_PLUGIN_LINK)

SCRIPT_TESTS += %D%/05-kit.sh %D%/10-example.sh %D%/20-memory.sh %D%/30-redis.sh %D%/40-refused.sh \
	%D%/50-broken.sh %D%/60-v1.py %D%/70-documented.py \
	%D%/80-agent.sh
