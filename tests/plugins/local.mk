# SPDX-License-Identifier: Apache-2.0
# Plugins that tests run the agent on.
ORDER_SOURCES = %D%/order.h %D%/order.c %D%/order_exec.c %D%/order_check.c \
	%D%/order_stream.c

check_LTLIBRARIES += %D%/order_argv.la
%C%_order_argv_la_SOURCES = $(ORDER_SOURCES)
%C%_order_argv_la_LDFLAGS = $(TEST_PLUGIN_LINK)
check_LTLIBRARIES += %D%/order_wire.la
%C%_order_wire_la_SOURCES = $(ORDER_SOURCES)
%C%_order_wire_la_CPPFLAGS = $(AM_CPPFLAGS) -DORDER_WIRE
%C%_order_wire_la_LDFLAGS = $(TEST_PLUGIN_LINK)
check_LTLIBRARIES += %D%/order_blocking.la
%C%_order_blocking_la_SOURCES = $(ORDER_SOURCES)
%C%_order_blocking_la_CPPFLAGS = $(AM_CPPFLAGS) -DORDER_BLOCKING
%C%_order_blocking_la_LDFLAGS = $(TEST_PLUGIN_LINK)
check_LTLIBRARIES += %D%/escape.la
%C%_escape_la_SOURCES = %D%/escape.c
%C%_escape_la_LDFLAGS = $(TEST_PLUGIN_LINK)

# Starts a program on a machine that lacks something.
check_PROGRAMS += %D%/without
%C%_without_SOURCES = %D%/without.c
%C%_without_LDADD =
