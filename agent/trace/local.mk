# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/trace.c %D%/trace.h %D%/context.c %D%/context.h
