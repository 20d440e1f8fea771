# SPDX-License-Identifier: Apache-2.0
# The real agent with plugins that end their calls in every way, allowed or not: it serves, or it says
# what is wrong, and it stays up.
. tests/functions.sh
here=$abs_top_builddir/tests/conformance/.libs

start()
{
	: >"$tmp/purserd.log"
	allowed_log=''
	plugin=$1
	shift
	start_purserd --plugin-dir "$here" --set "backend main.plugin=$plugin" "$@"
}

for how in inline later timer flush mixed; do
	start hostile --set "backend main.how=$how"
	for i in 1 2 3 4 5; do
		[ "$(resp SET "k$i" "v$i")" = OK ] || fail "$how: SET"
		[ "$(resp GET "k$i")" = "v$i" ] || fail "$how: GET"
	done
	[ "$(resp DEL k1 k2 k3)" = 3 ] || fail "$how: DEL"
	stop_purserd
	echo "$how: served"
done

# survives HOW WORDS: the log names it, the agent answers what is its own.
survives()
{
	start hostile --set "backend main.how=$1"
	resp SET k v || :
	resp GET k || :
	[ "$(resp PING)" = PONG ] || fail "$1: the agent does not answer"
	grep -q -e "$2" "$tmp/purserd.log" || fail "$1: the log does not say: $2"
	allow_log 'plugin\.'
	allow_log 'health\.'
	stop_purserd
	echo "$1: survived"
}

# With AddressSanitizer the memory of an ended call is poisoned, and the plugin dies in the act.
grep -q '^#define PURSER_SANITIZERS.*address' "$abs_top_builddir/config.h" ||
	survives twice 'the plugin ended a call that it does not hold'

for plugin in blocking new_structs v1; do
	start $plugin
	[ "$(resp SET k v)" = OK ] || fail "$plugin: SET"
	[ "$(resp GET k)" = v ] || fail "$plugin: GET"
	stop_purserd
	echo "$plugin: served"
done

# What must be refused is refused at start, with the same words as the kit's.
for plugin in old_api next_api no_init null_op no_submit default start_fails; do
	status=0
	"$PURSERD" --config /dev/null --plugin-dir "$here" --set "agent.socket=$SOCK" \
		--set "backend main.plugin=$plugin" >"$tmp/refused.log" 2>&1 || status=$?
	[ $status -ne 0 ] || fail "$plugin: purserd started"
	grep -e 'API' -e 'is not a Purser plugin' -e 'has no name' -e 'submit is missing' -e 'own default' \
		-e 'the reactor is cold' "$tmp/refused.log" || fail "$plugin: not a word about what is wrong"
done
"$PURSERD" --plugin-dir "$here" --dump-plugin v1 >"$tmp/dump.log"
grep -q '^command=EXISTS$' "$tmp/dump.log" || fail "--dump-plugin"
