# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/metric.c %D%/metric.h %D%/hist.c %D%/hist.h %D%/series.c %D%/priv.h \
	%D%/read.c %D%/info.c %D%/info.h %D%/process.c %D%/process.h %D%/dump.c %D%/metrics.def %D%/tally.c %D%/tally.h %D%/slowlog.c %D%/slowlog.h
