# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/stream.h %D%/stream.c %D%/stream_watch.c
lua_files += %D%/lua/stream_lag.lua %D%/lua/stream_dead.lua
