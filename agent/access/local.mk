# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/project.h %D%/isolate.c %D%/channel.h %D%/channel.c
