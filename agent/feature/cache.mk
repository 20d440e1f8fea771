# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/cache_counter.c
lua_files += %D%/lua/cache_incrby.lua
