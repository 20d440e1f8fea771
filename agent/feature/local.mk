# SPDX-License-Identifier: Apache-2.0
# agent_libagent_a_SOURCES += %D%/x.c %D%/x.h
agent_libagent_a_SOURCES += %D%/record.c %D%/record.h
EXTRA_DIST += %D%/lua/cache_lease.lua
