# SPDX-License-Identifier: Apache-2.0
# The files of plugins/memory as a library, with a small host around it.
check_LIBRARIES += %D%/libmemory.a
%C%_libmemory_a_SOURCES = $(MEMORY_SOURCES) %D%/memory_host.c %D%/memory_host.h
%C%_libmemory_a_CFLAGS = $(AM_CFLAGS)

MEMORY_TEST_LIBS = %D%/libmemory.a $(CMOCKA_LIBS) $(LUA_LIBS) -lm

UNIT_TESTS += %D%/test_memory_table %D%/test_memory_slab %D%/test_memory_store %D%/test_memory_threads %D%/test_memory_geo \
	%D%/test_memory_events
UNIT_TESTS += %D%/test_memory_rdb
UNIT_TESTS += %D%/test_memory_stream
UNIT_TESTS += %D%/test_memory_evict %D%/test_memory_project
UNIT_TESTS += %D%/test_memory_wait %D%/test_memory_turns
%C%_test_memory_turns_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins/memory
%C%_test_memory_turns_LDADD = $(MEMORY_TEST_LIBS)
%C%_test_memory_wait_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins/memory
%C%_test_memory_wait_LDADD = $(MEMORY_TEST_LIBS)

%C%_test_memory_table_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins/memory
%C%_test_memory_table_LDADD = $(MEMORY_TEST_LIBS)
%C%_test_memory_store_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins/memory
%C%_test_memory_store_LDADD = $(MEMORY_TEST_LIBS)
%C%_test_memory_threads_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins/memory
%C%_test_memory_threads_LDADD = $(MEMORY_TEST_LIBS)
%C%_test_memory_events_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins/memory
%C%_test_memory_events_LDADD = $(MEMORY_TEST_LIBS)
%C%_test_memory_geo_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins/memory
%C%_test_memory_geo_LDADD = $(MEMORY_TEST_LIBS)
%C%_test_memory_slab_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins/memory
%C%_test_memory_slab_LDADD = $(MEMORY_TEST_LIBS)
%C%_test_memory_rdb_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins/memory
%C%_test_memory_rdb_LDADD = $(MEMORY_TEST_LIBS)
%C%_test_memory_stream_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins/memory
%C%_test_memory_stream_LDADD = $(MEMORY_TEST_LIBS)
%C%_test_memory_project_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins/memory
%C%_test_memory_project_LDADD = $(MEMORY_TEST_LIBS)
%C%_test_memory_evict_SOURCES = %D%/test_memory_evict.c $(HIT_SOURCES)
%C%_test_memory_evict_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins/memory -I$(top_srcdir)/bench/hit \
	-I$(top_srcdir)/tests/unit
%C%_test_memory_evict_LDADD = $(MEMORY_TEST_LIBS)

UNIT_TESTS += %D%/test_memory_script
%C%_test_memory_script_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins/memory
%C%_test_memory_script_LDADD = $(MEMORY_TEST_LIBS)

UNIT_TESTS += %D%/test_memory_failure %D%/test_memory_failure_collections %D%/test_memory_failure_streams \
	%D%/test_memory_failure_restore
MEMORY_FAILURE_SOURCES = %D%/memory_failure.c %D%/memory_failure.h
%C%_test_memory_failure_SOURCES = %D%/test_memory_failure.c $(MEMORY_FAILURE_SOURCES)
%C%_test_memory_failure_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins/memory
%C%_test_memory_failure_LDADD = $(MEMORY_TEST_LIBS)
%C%_test_memory_failure_collections_SOURCES = %D%/test_memory_failure_collections.c $(MEMORY_FAILURE_SOURCES)
%C%_test_memory_failure_collections_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins/memory
%C%_test_memory_failure_collections_LDADD = $(MEMORY_TEST_LIBS)
%C%_test_memory_failure_streams_SOURCES = %D%/test_memory_failure_streams.c $(MEMORY_FAILURE_SOURCES)
%C%_test_memory_failure_streams_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins/memory
%C%_test_memory_failure_streams_LDADD = $(MEMORY_TEST_LIBS)
%C%_test_memory_failure_restore_SOURCES = %D%/test_memory_failure_restore.c $(MEMORY_FAILURE_SOURCES)
%C%_test_memory_failure_restore_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins/memory
%C%_test_memory_failure_restore_LDADD = $(MEMORY_TEST_LIBS)
