# SPDX-License-Identifier: Apache-2.0
agent_libagent_a_SOURCES += %D%/cfg.h %D%/value.h %D%/inside.h %D%/keys.def %D%/env.def \
	%D%/value.c %D%/words.c %D%/tables.c %D%/errors.c %D%/cfg.c %D%/reader.c %D%/sources.c %D%/load.c \
	%D%/check.c %D%/signals.c %D%/paths.c %D%/print.c
