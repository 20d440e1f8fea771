# SPDX-License-Identifier: Apache-2.0
# Builds the example plugin as its author would, away from the tree with pkg-config, and tries it.
#
#   sh tests/installcheck.sh            against the build tree (purser-plugin-uninstalled.pc); in make check
#   sh tests/installcheck.sh PCDIR BINDIR SBINDIR    against what is installed; make installcheck
. tests/functions.sh
require pkg-config make

if [ $# -gt 0 ]; then
	PKG_CONFIG_PATH=$1 PURSERD=$3/purserd PURSERCTL=$2/purserctl
	PKG_CONFIG_DISABLE_UNINSTALLED=1
	export PKG_CONFIG_DISABLE_UNINSTALLED
	unset PURSER_PLUGIN_PATH
else
	PKG_CONFIG_PATH=$abs_top_builddir
fi
export PKG_CONFIG_PATH

check=$(pkg-config --variable=plugin_check purser-plugin)
[ -f "$(pkg-config --variable=includedir purser-plugin)/purser/plugin.h" ] || fail "no purser/plugin.h"
grep -q "^#define PURSER_API $(pkg-config --variable=api_version purser-plugin)u*\$" \
	"$(pkg-config --variable=includedir purser-plugin)/purser/plugin.h" || fail "api_version is not the header's"

cp "$abs_top_srcdir"/plugins/example/* "$tmp/"
(unset MAKEFLAGS MFLAGS MAKELEVEL; make -s -C "$tmp" CC="${CC:-cc} -std=c99 -pedantic -Werror" example.so)

"$check" "$tmp/example.so" || fail "the example does not conform"
"$PURSERD" --plugin-dir "$tmp" --dump-plugin example | grep -q '^name=example$' || fail "--dump-plugin"

start_purserd --plugin-dir "$tmp" --set 'backend main.plugin=example'
[ "$(resp SET k v)" = OK ] || fail "SET"
[ "$(resp GET k)" = v ] || fail "GET"
PURSER_SOCKET=$SOCK "$PURSERCTL" status >/dev/null || fail "purserctl"
stop_purserd
