# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/cache_counter.c
lua_files += %D%/lua/cache_incrby.lua
agent_libagent_a_SOURCES += %D%/cache_meta.c
lua_files += %D%/lua/cache_setm.lua %D%/lua/cache_mset.lua
