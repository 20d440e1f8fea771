# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/health.c %D%/health.h %D%/priv.h %D%/probe.c %D%/outside.c \
	%D%/memory.c %D%/memory.h %D%/document.c %D%/state.c %D%/options.c
