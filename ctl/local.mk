# SPDX-License-Identifier: Apache-2.0
# purserctl: the operator's tool.

bin_PROGRAMS += ctl/purserctl
ctl_purserctl_SOURCES = %D%/main.c %D%/ctl.h %D%/connect.c %D%/print.c %D%/data.c %D%/agent.c %D%/check.c %D%/token.c %D%/job.c %D%/feature.c %D%/hold.c %D%/http.c
ctl_purserctl_CPPFLAGS = $(AM_CPPFLAGS) -DSBINDIR='"$(sbindir)"'
ctl_purserctl_LDADD = agent/libagent.a $(INIH_LIBS) $(CRYPTO_LIBS) $(HIREDIS_LIBS) $(JANSSON_LIBS) -lm
