# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/parse.c %D%/parse.h %D%/pick.h
agent_libagent_a_SOURCES += %D%/json_text.c %D%/json_text.h %D%/json_out.c %D%/json_out.h \
	%D%/json_in.c %D%/json_in.h %D%/json_scan.c %D%/json_scan.h
agent_libagent_a_SOURCES += %D%/filter.h %D%/strip.c %D%/exec.c %D%/whole.c
