# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/resource.c %D%/resource.h %D%/prometheus.c %D%/prometheus.h \
	%D%/pb.c %D%/pb.h %D%/otlp.c %D%/otlp.h %D%/queue.c %D%/queue.h \
	%D%/spool.c %D%/spool.h %D%/disk.c %D%/record.c %D%/shape.c %D%/json.c %D%/json.h \
	%D%/export.c %D%/export.h %D%/options.c %D%/send.c %D%/watch.c %D%/inside.h
