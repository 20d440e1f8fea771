# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/fetch.c %D%/fetch.h
