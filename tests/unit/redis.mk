# SPDX-License-Identifier: Apache-2.0
UNIT_TESTS += %D%/test_resp_scan %D%/test_redis_url %D%/test_redis_link %D%/test_redis_lane \
	%D%/test_redis_server %D%/test_redis_tls %D%/test_redis_chaos %D%/test_redis_pool

check_LIBRARIES += %D%/libredis.a
tests_unit_libredis_a_SOURCES = $(REDIS_PLUGIN_SOURCES) %D%/redis_host.c %D%/redis_host.h
# Flags of its own: objects of its own, beside those that libtool makes for the plugin.
tests_unit_libredis_a_CFLAGS = $(AM_CFLAGS)
REDIS_TEST_LIBS = %D%/libredis.a $(LDADD) $(SSL_LIBS)
tests_unit_test_redis_url_LDADD = $(REDIS_TEST_LIBS)
tests_unit_test_redis_link_LDADD = $(REDIS_TEST_LIBS)
tests_unit_test_redis_lane_LDADD = $(REDIS_TEST_LIBS)
tests_unit_test_redis_server_LDADD = $(REDIS_TEST_LIBS)
tests_unit_test_redis_chaos_LDADD = $(REDIS_TEST_LIBS)
tests_unit_test_redis_tls_LDADD = $(REDIS_TEST_LIBS)
tests_unit_test_redis_pool_LDADD = $(REDIS_TEST_LIBS)
