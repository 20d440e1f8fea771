# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/call.h %D%/instance.h %D%/instance.c %D%/context.c %D%/host.c \
	%D%/reply.c %D%/encode.c %D%/guard.c %D%/guard.h %D%/blocking.c %D%/blocking.h %D%/scripts.c %D%/scripts.h %D%/confine.c %D%/confine.h %D%/hub.c %D%/hub.h \
	%D%/loader.c %D%/loader.h %D%/schema.c %D%/schema.h %D%/dump.c
