# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/command.c %D%/declared.c %D%/declared.h %D%/command.h %D%/keyspec.c %D%/block.c %D%/counted.c %D%/retry.c %D%/commands.def \
	%D%/keyspecs.def %D%/refused.c %D%/refused.def %D%/shown.c %D%/shown.def
