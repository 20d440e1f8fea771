# SPDX-License-Identifier: Apache-2.0
# A C program with hiredis (tests/clients/hiredis.c) on the agent's socket.
. tests/functions.sh

start_redis
start_purserd --set 'backend main.plugin=redis' --set "backend main.url=unix://$REDIS_SOCK"
"$abs_top_builddir/tests/clients/hiredis-client" "$SOCK"
stop_purserd
