# SPDX-License-Identifier: Apache-2.0
plugin_LTLIBRARIES += plugins/redis.la
REDIS_PLUGIN_SOURCES = %D%/redis.c %D%/redis.h %D%/settings.c %D%/url.c %D%/prep.c %D%/link.c \
	%D%/hello.c %D%/cred.c %D%/wire.c %D%/reply.c %D%/lane.c %D%/pool.c %D%/keep.c %D%/unblock.c %D%/tls.c %D%/tls.h %D%/rotate.c %D%/push.c %D%/track.c
plugins_redis_la_SOURCES = $(REDIS_PLUGIN_SOURCES)
plugins_redis_la_LDFLAGS = $(PLUGIN_LINK)
plugins_redis_la_LIBADD = $(SSL_LIBS)
