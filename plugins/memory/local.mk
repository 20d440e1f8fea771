# SPDX-License-Identifier: Apache-2.0
# The embedded store.  Its unit tests link the same files as a library.
MEMORY_SOURCES = %D%/memory.c %D%/memory.h %D%/heap.c %D%/siphash.h %D%/table.c %D%/table.h \
	%D%/item.c %D%/item.h %D%/keyspace.c %D%/keyspace.h %D%/upkeep.c %D%/hash.c %D%/hash.h \
	%D%/number.c %D%/number.h %D%/cmd.c %D%/cmd.h %D%/ops.def %D%/cmd_string.c \
	%D%/cmd_lcs.c %D%/cmd_key.c %D%/cmd_expire.c %D%/cmd_object.c %D%/cmd_scan.c \
	%D%/cmd_hash.c %D%/cmd_random.c %D%/cmd_info.c %D%/set.c %D%/set.h %D%/cmd_set.c \
	%D%/gather.c %D%/gather.h %D%/list.c %D%/list.h %D%/cmd_list.c %D%/cmd_pubsub.c %D%/reap.h \
	%D%/zset.c %D%/zset.h %D%/cmd_zset.c %D%/cmd_zrange.c %D%/cmd_zstore.c \
	%D%/str.h %D%/cmd_bit.c %D%/hll.c %D%/hll.h %D%/cmd_hll.c \
	%D%/cmd_sort.c

plugin_LTLIBRARIES += plugins/memory.la
plugins_memory_la_SOURCES = $(MEMORY_SOURCES)
plugins_memory_la_LDFLAGS = $(PLUGIN_LINK)
plugins_memory_la_LIBADD = -lm
