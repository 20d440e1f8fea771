# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/log.c %D%/log.h %D%/line.c %D%/line.h %D%/modules.def
