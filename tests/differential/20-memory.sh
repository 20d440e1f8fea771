#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# purserd on the memory plugin answers as redis-server does.
. tests/functions.sh

seconds=10
[ "${PURSER_LONG:-}" != 1 ] || seconds=600
seconds=${PURSER_SECONDS:-$seconds}
seed=${PURSER_SEED:-$(date +%s)}

start_redis --databases 1
start_purserd
"$abs_top_builddir/tests/differential/differential" --a "$REDIS_SOCK" --b "$SOCK" --isolated 1 \
	--seconds "$seconds" --seed "$seed" || fail "see above; PURSER_SEED=$seed"
stop_purserd
