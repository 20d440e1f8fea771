# SPDX-License-Identifier: Apache-2.0
# ioredis and node-redis, unchanged, on the agent's socket.  PURSER_NPM_CLIENTS names a node_modules with
# what tests/clients/package.json asks for (.ci/run makes one); without it nothing is fetched from anywhere.
. tests/functions.sh
require node
[ -n "${PURSER_NPM_CLIENTS:-}" ] || skip "npm clients: PURSER_NPM_CLIENTS is not set"

start_purserd
node "$abs_top_srcdir/tests/clients/clients.mjs" "$SOCK" "$PURSER_NPM_CLIENTS"
stop_purserd

start_redis
start_purserd --set 'backend main.plugin=redis' --set "backend main.url=unix://$REDIS_SOCK"
node "$abs_top_srcdir/tests/clients/clients.mjs" "$SOCK" "$PURSER_NPM_CLIENTS" stateful
stop_purserd
