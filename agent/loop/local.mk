# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/loop.c %D%/loop.h
