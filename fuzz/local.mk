# SPDX-License-Identifier: Apache-2.0
# Fuzz targets.  fuzz/fuzz_NAME.c defines LLVMFuzzerTestOneInput(); its kept inputs are the files of
# fuzz/corpus/NAME/.  make check replays them, and seeded mutations of them; with --enable-fuzzer the
# same program is a libFuzzer target:  fuzz/fuzz_NAME -max_total_time=600 fuzz/corpus/NAME
#
#   FUZZ_TARGETS += %D%/fuzz_NAME
#   fuzz_fuzz_NAME_LDADD = $(FUZZ_LIBS)
#   EXTRA_DIST += %D%/corpus/NAME

FUZZ_TARGETS =

if ENABLE_FUZZER
FUZZ_LIBS = $(FUZZER_LINK) $(AGENT_LIBS)
else
FUZZ_LIBS = fuzz/libreplay.a $(AGENT_LIBS)
check_LIBRARIES += fuzz/libreplay.a
fuzz_libreplay_a_SOURCES = %D%/replay.c
TAP_TESTS += $(FUZZ_TARGETS)
endif

check_PROGRAMS += $(FUZZ_TARGETS)
EXTRA_DIST += %D%/replay.c

FUZZ_TARGETS += %D%/fuzz_http %D%/fuzz_json_in %D%/fuzz_json_out
fuzz_fuzz_http_LDADD = $(FUZZ_LIBS)
fuzz_fuzz_json_in_LDADD = $(FUZZ_LIBS)
fuzz_fuzz_json_out_LDADD = $(FUZZ_LIBS)
EXTRA_DIST += %D%/corpus/http %D%/corpus/json_in %D%/corpus/json_out

FUZZ_TARGETS += %D%/fuzz_ini
fuzz_fuzz_ini_LDADD = $(FUZZ_LIBS)
EXTRA_DIST += %D%/corpus/ini

FUZZ_TARGETS += %D%/fuzz_resp
fuzz_fuzz_resp_LDADD = $(FUZZ_LIBS)
EXTRA_DIST += %D%/corpus/resp

FUZZ_TARGETS += %D%/fuzz_rdb
fuzz_fuzz_rdb_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/plugins/memory -I$(top_srcdir)/tests/unit
fuzz_fuzz_rdb_LDADD = tests/unit/libmemory.a $(FUZZ_LIBS) $(LUA_LIBS) -lm
EXTRA_DIST += %D%/corpus/rdb

FUZZ_TARGETS += %D%/fuzz_jwt
fuzz_fuzz_jwt_LDADD = $(FUZZ_LIBS)
EXTRA_DIST += %D%/corpus/jwt
