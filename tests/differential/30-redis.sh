#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# purserd on the redis plugin answers as redis-server does.
. tests/functions.sh

seconds=5
[ "${PURSER_LONG:-}" != 1 ] || seconds=300
seconds=${PURSER_SECONDS:-$seconds}
seed=${PURSER_SEED:-$(date +%s)}

start_redis --databases 1
reference=$REDIS_SOCK
REDIS_SOCK=$tmp/redis2.sock
start_redis
start_purserd --set 'backend main.plugin=redis' --set "backend main.url=unix://$REDIS_SOCK"
"$abs_top_builddir/tests/differential/differential" --a "$reference" --b "$SOCK" --isolated 1 \
	--seconds "$seconds" --seed "$seed" || fail "see above; PURSER_SEED=$seed"
stop_purserd
