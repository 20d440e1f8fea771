# SPDX-License-Identifier: Apache-2.0
. tests/functions.sh
"$PURSER_PLUGIN_CHECK" "$PURSER_PLUGIN_PATH/example.so" max_keys=5000
