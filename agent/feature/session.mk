# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/session.h %D%/session.c %D%/session_words.c %D%/session_reply.c %D%/session_place.c
lua_files += %D%/lua/session_clean.lua %D%/lua/session_create.lua %D%/lua/session_destroy.lua \
	%D%/lua/session_destroy_user.lua %D%/lua/session_list.lua %D%/lua/session_rotate.lua \
	%D%/lua/session_touch.lua %D%/lua/session_update.lua
