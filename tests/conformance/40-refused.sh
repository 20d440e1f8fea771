# SPDX-License-Identifier: Apache-2.0
# Plugins that must be refused, each with words that say why.
. tests/functions.sh
here=$abs_top_builddir/tests/conformance/.libs

refused()
{
	status=0
	"$PURSER_PLUGIN_CHECK" "$1" >"$tmp/out.log" 2>&1 || status=$?
	[ $status -eq 2 ] || fail "$1: exit status $status, not 2"
	grep -q -e "$2" "$tmp/out.log" || { cat "$tmp/out.log"; fail "$1: not a word of: $2"; }
	head -n 1 "$tmp/out.log"
}

refused "$here/old_api.so" 'built for plugin API 0, this agent has API 1'
refused "$here/next_api.so" 'built for plugin API 2, this agent has API 1'
refused "$here/no_init.so" 'is not a Purser plugin: it has no purser_plugin_init'
refused "$here/null_init.so" 'purser_plugin_init() returned NULL'
refused "$here/null_op.so" 'command 2 of 3 has no name (NULL)'
refused "$here/op_name.so" 'command 2 is called "get|x"'
refused "$here/op_twice.so" 'command GET is listed twice'
refused "$here/no_submit.so" 'the callback submit is missing'
refused "$here/no_stop.so" 'the callback stop is missing'
refused "$here/no_stats.so" 'the callback stats is missing (PURSER_CAP_MEMORY_INFO is declared)'
refused "$here/default.so" 'setting pool_max: its own default is not valid'
refused "$here/stride.so" 'its array of commands is misshapen (3 elements, stride 0'
refused "$here/start_fails.so" 'the reactor is cold'
refused "$here/absent.so" 'No such file or directory'
refused absent 'plugin "absent" not found; looked for '

printf 'no ELF' >"$tmp/text.so"
refused "$tmp/text.so" 'cannot be loaded: .*text.so'
cp "$PURSER_PLUGIN_PATH/example.so" "$tmp/open.so"
chmod 0666 "$tmp/open.so"
refused "$tmp/open.so" 'is world-writable: chmod o-w'
mkdir "$tmp/dir.so"
refused "$tmp/dir.so" 'is not a regular file'
if [ "$(id -u)" = 0 ]; then
	chmod 0644 "$tmp/open.so"
	chown 12345 "$tmp/open.so"
	refused "$tmp/open.so" 'belongs to user 12345'
fi
