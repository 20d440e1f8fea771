# SPDX-License-Identifier: Apache-2.0
# Against a server of our own; what must break, breaks in the kit's own store.
. tests/functions.sh
start_redis
"$PURSER_PLUGIN_CHECK" "$PURSER_PLUGIN_PATH/redis.so" "url=unix://$REDIS_SOCK"
[ "$("$PYTHON3" "$harness" resp "$REDIS_SOCK" DBSIZE)" = 0 ] || fail "the kit left keys behind"
