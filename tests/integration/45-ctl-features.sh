# SPDX-License-Identifier: Apache-2.0
# purserctl lock, session, cache and stream: every verb, its JSON and exit status; a command under a lock.
. tests/functions.sh

ctl()
{
	"$PURSERCTL" --socket "$SOCK" "$@"
}

# expect STATUS WORD... : runs purserctl; stdout in $tmp/out, stderr in $tmp/err
expect()
{
	want=$1
	shift
	status=0
	ctl "$@" >"$tmp/out" 2>"$tmp/err" || status=$?
	[ $status -eq "$want" ] || {
		cat "$tmp/out" "$tmp/err"
		fail "purserctl $*: status $status, not $want"
	}
}

says()
{
	grep -q -- "$1" "$tmp/out" || { cat "$tmp/out"; fail "standard output does not say: $1"; }
}

complains()
{
	grep -q -- "$1" "$tmp/err" || { cat "$tmp/err"; fail "standard error does not say: $1"; }
}

# json EXPRESSION: of the document d on standard output
json()
{
	"$PYTHON3" -c 'import json, sys
d = json.load(open(sys.argv[1]))
assert eval(sys.argv[2]), (sys.argv[2], d)' "$tmp/out" "$1"
}

# field NAME: of the document on standard output
field()
{
	"$PYTHON3" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$tmp/out" "$1"
}

# ---- help, usage, manual ----
sed 's/\\-/-/g; s/\\f[BIR]//g' "$abs_top_srcdir/docs/man/purserctl.1" >"$tmp/purserctl.1"
for group in lock session cache stream; do
	expect 0 help $group
	sed -n "s/^  \($group [a-z-]*\).*/\1/p" "$tmp/out" >"$tmp/verbs"
	[ -s "$tmp/verbs" ] || fail "help $group has no verbs"
	while read -r g verb; do
		grep -q "$g $verb" "$tmp/purserctl.1" || fail "purserctl.1 does not name $g $verb"
	done <"$tmp/verbs"
	expect 2 $group nope
	complains "purserctl $group has no nope: there are "
	expect 2 $group
done
expect 3 cache stats
complains 'no agent at'
expect 2 lock acquire name
complains 'usage: purserctl lock acquire NAME TIME'
expect 2 lock acquire name soon
complains 'a time is 500ms, 30s'
expect 2 lock run name 5s
complains '-- COMMAND'

start_purserd --set 'backend main.plugin=memory'

# ---- locks ----
expect 0 --json lock acquire report 30s
json 'd["fence"] > 0 and 0 < d["valid_ms"] <= 30000'
fence=$(field fence)
expect 1 lock acquire report 30000 WAIT 20ms
complains 'somebody else has it'
expect 0 lock info report
says '^name: report$'
says "^  - fence: $fence\$"
expect 0 lock list --json
json 'd[0]["name"] == "report"'
expect 0 lock list 'x*'
expect 0 lock fence report "$fence" SET doc value
expect 0 get doc
says '^value$'
expect 0 lock renew report "$fence" 1m
expect 4 lock renew report 1 1m
complains 'LOCKLOST'
expect 0 lock release report "$fence"
says '^released$'
expect 0 lock release report "$fence"
says '^not_held$'
expect 4 lock acquire report 1ms
complains 'ttl-ms must be'

# ---- a command under a lock ----
# shellcheck disable=SC2016 # for the command
expect 0 lock run nightly 30s WAIT 1s -- sh -c 'echo "$PURSER_LOCK $PURSER_FENCE $1"' sh --json
says '^nightly [1-9][0-9]* --json$'
expect 7 lock run nightly 30s -- sh -c 'exit 7'
expect 143 lock run nightly 30s -- sh -c 'kill $$'
expect 127 lock run nightly 30s -- /nonexistent/command
# nobody else has it meanwhile, and it is given back at the end
mkfifo "$tmp/fifo"
"$PURSERCTL" -s "$SOCK" lock run nightly 30s -- sh -c "echo started >'$tmp/started'; cat" <"$tmp/fifo" >/dev/null &
run=$!
exec 3>"$tmp/fifo"
started() { [ -s "$tmp/started" ]; }
wait_for "the command to start" started
expect 1 lock run nightly 30s -- true
complains 'somebody else has it'
expect 0 lock info nightly --json
json 'd["holders"][0]["mode"] == "session"'
exec 3>&-
wait $run || fail "the command under the lock: status $?"
free()
{
	ctl lock info nightly --json | grep -q '"kind": "free"'
}
wait_for "the lock to be given back" free
# kill -9 of the one who holds it: given back, and the command is ended
rm -f "$tmp/started"
mkfifo "$tmp/fifo2"
"$PURSERCTL" -s "$SOCK" lock run nightly 30s -- sh -c "echo \$\$ >'$tmp/started'; exec cat" <"$tmp/fifo2" >/dev/null 2>&1 &
run=$!
exec 3>"$tmp/fifo2"
wait_for "the command to start" started
kill -9 $run
wait_for "the lock to be given back" free
gone()
{
	! kill -0 "$(cat "$tmp/started")" 2>/dev/null
}
wait_for "the command to end" gone
exec 3>&-
# the loss of the lock ends the command
expect 4 lock run short 30s MAXHOLD 50ms -- sleep 60
complains 'the lock short is lost: maxhold'

# ---- sessions ----
expect 0 --json session create ada 15m DATA '{"cart":[1,2]}'
json 'd["id"]'
id=$(field id)
expect 0 session get "$id"
says '^user: ada$'
printf '%s\n' "$id" | ctl session get - --json >"$tmp/out"
json 'd["data"] == {"cart": [1, 2]} and d["user"] == "ada"'
expect 0 session update "$id" cart '[]' theme '"dark"'
expect 4 session update "$id" cart 1 IFVER 1
complains CONFLICT
expect 0 session extend "$id" 30m
expect 0 session rotate "$id" --json
new=$(field id)
expect 4 session get "$id"
complains SESSIONGONE
expect 0 session list ada --json
json 'len(d) == 1'
expect 0 session stats
says '^live: 1$'
expect 0 session cleanup --json
json '"removed" in d'
expect 0 session destroy "$new"
expect 0 session destroy-user ada
says '^0$'

# ---- caches and streams ----
expect 0 cache incr hits 5 1m
says '^5$'
expect 0 cache mset 1m a 1 b 2
expect 0 cache setm doc text '{"etag":"x"}' PX 60s
expect 0 cache meta doc
says 'etag'
expect 1 cache meta a
complains 'there is none'
expect 0 cache stats
says '^hits: '
expect 0 cache stats RESET
ctl command XGROUP CREATE jobs g 0 MKSTREAM >/dev/null
ctl command XADD jobs '*' n 1 >/dev/null
ctl command XREADGROUP GROUP g w STREAMS jobs '>' >/dev/null
expect 0 stream lag jobs --json
json '"g" in str(d)'
expect 0 stream deadletter jobs g dead MAXDELIVERIES 1
expect 4 --project nope cache stats
complains NOPROJECT
stop_purserd
