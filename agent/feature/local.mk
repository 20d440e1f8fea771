# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/feature.h %D%/rooms.h %D%/feature.c %D%/touch.h %D%/touch.c

# The agent's Lua scripts: each feature's fragment appends its own to lua_files.  scripts.h has a number LUA_NAME for
# each, scripts.c the table.
lua_files =
include %D%/cache.mk
include %D%/lease.mk
include %D%/lock.mk
include %D%/session.mk
include %D%/job.mk
include %D%/stream.mk
lua_lists = %D%/cache.mk %D%/lease.mk %D%/lock.mk %D%/session.mk %D%/job.mk %D%/stream.mk

EXTRA_DIST += $(lua_files) agent/feature/lua-table.sh
nodist_agent_libagent_a_SOURCES = %D%/scripts.c %D%/scripts.h
BUILT_SOURCES += %D%/scripts.h
CLEANFILES += %D%/scripts.c %D%/scripts.h

%D%/scripts.h: $(lua_files) $(lua_lists) agent/feature/lua-table.sh
	$(AM_V_GEN)$(MKDIR_P) %D% && cd $(srcdir) && $(SHELL) agent/feature/lua-table.sh h $(lua_files) >'$(abs_builddir)/$@.tmp' && \
	mv '$(abs_builddir)/$@.tmp' '$(abs_builddir)/$@'
%D%/scripts.c: $(lua_files) $(lua_lists) agent/feature/lua-table.sh
	$(AM_V_GEN)$(MKDIR_P) %D% && cd $(srcdir) && $(SHELL) agent/feature/lua-table.sh c $(lua_files) >'$(abs_builddir)/$@.tmp' && \
	mv '$(abs_builddir)/$@.tmp' '$(abs_builddir)/$@'
