# SPDX-License-Identifier: Apache-2.0
# The embedded store.  Its unit tests link the same files as a library.
MEMORY_SOURCES = \
	%D%/cmd.c \
	%D%/cmd.h \
	%D%/cmd_bit.c \
	%D%/cmd_block.c \
	%D%/cmd_config.c \
	%D%/cmd_dump.c \
	%D%/cmd_expire.c \
	%D%/cmd_geo.c \
	%D%/cmd_hash.c \
	%D%/cmd_hll.c \
	%D%/cmd_info.c \
	%D%/cmd_key.c \
	%D%/cmd_lcs.c \
	%D%/cmd_list.c \
	%D%/cmd_object.c \
	%D%/cmd_pubsub.c \
	%D%/cmd_random.c \
	%D%/cmd_scan.c \
	%D%/cmd_script.c \
	%D%/cmd_set.c \
	%D%/cmd_sort.c \
	%D%/cmd_string.c \
	%D%/cmd_zrange.c \
	%D%/cmd_zset.c \
	%D%/cmd_zstore.c \
	%D%/crc64.c \
	%D%/crc64.h \
	%D%/event.c \
	%D%/event.h \
	%D%/gather.c \
	%D%/gather.h \
	%D%/geo.c \
	%D%/geo.h \
	%D%/hash.c \
	%D%/hash.h \
	%D%/heap.c \
	%D%/hll.c \
	%D%/hll.h \
	%D%/item.c \
	%D%/item.h \
	%D%/keyspace.c \
	%D%/keyspace.h \
	%D%/list.c \
	%D%/list.h \
	%D%/lzf.c \
	%D%/lzf.h \
	%D%/lua_call.c \
	%D%/lua_cmsgpack.c \
	%D%/lua_env.c \
	%D%/lua_redis.c \
	%D%/lua_struct.c \
	%D%/lua_value.c \
	%D%/memory.c \
	%D%/memory.h \
	%D%/number.c \
	%D%/number.h \
	%D%/ops.def \
	%D%/packed.c \
	%D%/packed.h \
	%D%/rdb.h \
	%D%/rdb_read.c \
	%D%/rdb_write.c \
	%D%/reap.h \
	%D%/script.c \
	%D%/script.h \
	%D%/script_words.def \
	%D%/set.c \
	%D%/set.h \
	%D%/sha1.c \
	%D%/sha1.h \
	%D%/siphash.h \
	%D%/slab.c \
	%D%/slab.h \
	%D%/str.h \
	%D%/table.c \
	%D%/table.h \
	%D%/tape.c \
	%D%/tape.h \
	%D%/track.c \
	%D%/track.h \
	%D%/upkeep.c \
	%D%/wait.c \
	%D%/wait.h \
	%D%/watch.c \
	%D%/watch.h \
	%D%/zset.c \
	%D%/zset.h

plugin_LTLIBRARIES += plugins/memory.la
plugins_memory_la_SOURCES = $(MEMORY_SOURCES)
plugins_memory_la_LDFLAGS = $(PLUGIN_LINK)
plugins_memory_la_LIBADD = $(LUA_LIBS) -lm
