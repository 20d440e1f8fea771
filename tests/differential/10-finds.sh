#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The differential test itself: silent on two servers that are alike, and on two that differ in a setting that
# changes one reply it says so, shrunk to a few commands.
. tests/functions.sh

differential=$abs_top_builddir/tests/differential/differential
seed=${PURSER_SEED:-$(date +%s)}

start_redis --databases 2
first=$REDIS_SOCK
REDIS_SOCK=$tmp/redis2.sock
start_redis --databases 2
"$differential" --a "$first" --b "$REDIS_SOCK" --databases 2 --commands 30000 --seed "$seed" ||
	fail "two redis-servers of the same kind differ"

REDIS_SOCK=$tmp/redis3.sock
start_redis --databases 2 --hash-max-listpack-entries 20
status=0
"$differential" --a "$first" --b "$REDIS_SOCK" --databases 2 --seconds 60 --seed "$seed" >"$tmp/found.log" || status=$?
cat "$tmp/found.log"
[ $status -eq 1 ] || fail "status $status where a difference is"
commands=$(sed -n 's/^shrunk to \([0-9]*\) commands.*/\1/p' "$tmp/found.log")
[ "${commands:-1000}" -le 10 ] || fail "not shrunk: $commands commands"
grep -qi '"OBJECT" "ENCODING"' "$tmp/found.log" || fail "the wrong difference"
