# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/lock.c %D%/lock.h %D%/lock_hold.c %D%/lock_queue.c %D%/lock_queue.h %D%/lock_view.c
lua_files += %D%/lua/lock_acquire.lua %D%/lua/lock_fence.lua %D%/lua/lock_info.lua %D%/lua/lock_release.lua \
	%D%/lua/lock_renew.lua %D%/lua/lock_share.lua
