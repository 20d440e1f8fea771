# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/record.c %D%/record.h
lua_files += %D%/lua/cache_lease.lua
agent_libagent_a_SOURCES += %D%/lease_rule.c %D%/lease_rule.h %D%/lease_table.c %D%/lease_table.h
agent_libagent_a_SOURCES += %D%/lease.h %D%/lease.c %D%/lease_owner.c %D%/lease_fill.c %D%/lease_word.c %D%/lease_word.h
