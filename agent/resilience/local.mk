# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/threshold.c %D%/threshold.h %D%/breaker.c %D%/breaker.h %D%/retry.c \
	%D%/retry.h %D%/budget.c %D%/budget.h %D%/gcra.c %D%/gcra.h %D%/drr.c %D%/drr.h
