# SPDX-License-Identifier: Apache-2.0
# agent_libagent_a_SOURCES += %D%/x.c %D%/x.h
agent_libagent_a_SOURCES += %D%/record.c %D%/record.h
EXTRA_DIST += %D%/lua/cache_lease.lua
EXTRA_DIST += %D%/lua/session_clean.lua %D%/lua/session_create.lua %D%/lua/session_destroy.lua \
	%D%/lua/session_destroy_user.lua %D%/lua/session_list.lua %D%/lua/session_rotate.lua \
	%D%/lua/session_touch.lua %D%/lua/session_update.lua
