# SPDX-License-Identifier: Apache-2.0
# purserctl: every command, its exit status, its JSON, and what it says when there is no agent.
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

is()
{
	[ "$(cat "$tmp/out")" = "$1" ] || { cat "$tmp/out"; fail "standard output is not: $1"; }
}

# json EXPRESSION: of the document d on standard output
json()
{
	"$PYTHON3" -c 'import json, sys
d = json.load(open(sys.argv[1]))
assert eval(sys.argv[2]), (sys.argv[2], d)' "$tmp/out" "$1"
}

# ---- without an agent ----
expect 3 status
complains 'no agent at .*: start it'
expect 3 --json status
json 'd["error"]["status"] == 3 and "start it" in d["error"]["message"]'
expect 0 version
says 'purserctl [0-9]'
says 'not reachable'
"$PYTHON3" -c 'import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1])' "$tmp/stale.sock"
status=0
"$PURSERCTL" -s "$tmp/stale.sock" status 2>"$tmp/err" || status=$?
[ $status -eq 3 ] || fail "a stale socket: status $status"
complains 'nobody listens'

# ---- wrong usage ----
expect 2
expect 2 nope
complains 'no command nope'
expect 2 get
complains 'usage: purserctl get KEY'
expect 2 get a b
expect 2 --nope get a
complains 'no option --nope'
expect 2 --timeout 5 get a
complains 'unit'
expect 2 get a --ex 5
complains 'belongs to purserctl set'
expect 2 set a
expect 2 set a b --nx --xx
expect 2 set a b --stdin
expect 2 status --json=yes
expect 2 --socket
for c in status whoami health get set del command plugins metrics log-level check reload lock session cache stream token version help; do
	expect 0 help $c
	says "^usage: purserctl .*$c"
	expect 0 $c --help
	says "^usage: purserctl .*$c"
done
expect 0 token --help
says "--expires TIME .*never"
says "--file PATH"
expect 0 help
expect 2 help nope

# ---- the man pages name what the programs know ----
sed 's/\\-/-/g; s/\\f[BIR]//g' "$abs_top_srcdir/docs/man/purserctl.1" >"$tmp/purserctl.1"
sed 's/\\-/-/g; s/\\f[BIR]//g' "$abs_top_srcdir/docs/man/purserd.8" >"$tmp/purserd.8"
expect 0 help
for w in $(sed -n 's/^  \([a-z-]*\) .*/\1/p' "$tmp/out") $(grep -o -e '--[a-z-]*' "$tmp/out") --ex --px --nx --xx \
	--stdin --config; do
	grep -q -e "$w" "$tmp/purserctl.1" || fail "purserctl.1 does not name $w"
done
for w in $("$PURSERD" --help | grep -o -e '--[a-z-]*'); do
	grep -q -e "$w" "$tmp/purserd.8" || fail "purserd.8 does not name $w"
done

# ---- keys ----
printf '[backend main]\nplugin = memory\n' >"$tmp/ctl.ini"
start_purserd --config "$tmp/ctl.ini"
expect 0 set k 'a value'
is OK
expect 0 get k
is 'a value'
expect 0 get k --json
json 'd == {"key": "k", "value": "a value"}'
expect 1 get none
complains 'no key none'
expect 1 -j get none
json 'd == {"key": "none", "value": None}'
expect 1 set k x --nx
complains 'exists'
expect 1 --json set k x --nx
json 'd == {"key": "k", "stored": False}'
expect 1 set none x --xx
expect 0 set k y --xx --px 60000
expect 0 command PTTL k
[ "$(cat "$tmp/out")" -gt 50000 ] || fail "no expiry was set"
expect 0 set k y --ex=60
expect 4 set k y --ex nonsense
complains 'ERR value is not an integer'
expect 0 set -- -dash --value
expect 0 get -- -dash
is --value
expect 0 --socket="$SOCK" del k -- -dash none
is '2 deleted'
expect 1 del k
expect 1 del k --json
json 'd == {"deleted": 0}'
"$PYTHON3" -c 'import sys; sys.stdout.buffer.write(bytes(range(256)) * 1000)' >"$tmp/binary"
ctl set bin --stdin <"$tmp/binary"
ctl get bin --raw >"$tmp/binary.back"
cmp "$tmp/binary" "$tmp/binary.back"
expect 0 get bin --json
json '__import__("base64").b64decode(d["value"]) == bytes(range(256)) * 1000 and d["encoding"] == "base64"'
ctl set empty --stdin </dev/null
expect 0 get empty
is ''

# ---- commands, as redis-cli prints them ----
ctl command HSET h a 1 >"$tmp/out"
is 1
expect 0 command --no-raw HGETALL h
expect 4 command NOSUCH
complains "ERR unknown command 'NOSUCH'"
expect 0 --no-raw command HGETALL h
is '1) "a"
2) "1"'
expect 0 --no-raw command GET none
is '(nil)'
expect 0 --no-raw command SCAN 0 MATCH h
is '1) "0"
2) 1) "h"'
expect 0 --no-raw command HMGET h a b
is '1) "1"
2) (nil)'
expect 0 --json command HMGET h a b
json 'd == ["1", None]'
expect 0 --json command STRLEN bin
json 'd == 256000'
expect 0 command SET -json --raw
expect 0 --no-raw command GET -json
is '"--raw"'
ctl --raw command GET bin >"$tmp/binary.back"
cmp "$tmp/binary" "$tmp/binary.back"
if command -v redis-cli >/dev/null; then
	ctl command DEL list >/dev/null
	for words in 'HGETALL h' 'HMGET h a b' 'SCAN 0 COUNT 100' 'STRLEN bin' 'GET none' 'TYPE h' 'HGETALL none'; do
		# shellcheck disable=SC2086 # words
		ctl --no-raw command $words >"$tmp/ours"
		# shellcheck disable=SC2086
		redis-cli -s "$SOCK" --no-raw $words >"$tmp/theirs"
		diff "$tmp/ours" "$tmp/theirs" || fail "$words: not as redis-cli prints it"
	done
fi

# ---- projects ----
expect 4 --project nope get k
complains NOPROJECT
expect 0 --project default get empty

# ---- the agent ----
expect 0 status
says '^service  *purser'
says '^generation  *1'
says '^backends.main.plugin  *memory'
expect 0 status --json
json 'd["generation"] == 1 and "default" in d["projects"]'
expect 0 whoami
says '^project  *default'
expect 0 health
says '^healthy'
says '^main  *healthy  *memory'
expect 0 health --json
json 'd["status"] == "healthy" and d["memory"]["max_memory_bytes"] == 100 << 20'
expect 0 plugins
says '^memory '
expect 0 plugins --json
json 'd[0]["name"] == "memory" and "GET" in d[0]["commands"] and "KV" in d[0]["capabilities"]'
expect 0 metrics
says '^purser_health_state 0'
expect 0 metrics purser_backend_up
says 'purser_backend_up{purser_backend="main"} 1'
[ "$(grep -vc '^#' "$tmp/out")" -eq 1 ] || fail "more metrics than asked for"
expect 0 metrics purser_backend_up --json
json 'd == [{"name": "purser_backend_up", "labels": {"purser_backend": "main"}, "value": 1.0}]'
expect 0 metrics --json
json 'len(d) > 30 and all(set(m) == {"name", "labels", "value"} for m in d)'

# ---- log levels ----
expect 0 log-level
says '^health  *info'
expect 0 log-level health debug
expect 0 log-level health
says '^health  *debug'
expect 0 log-level health --json
json 'd == {"health": "debug"}'
expect 0 log-level warn
expect 0 log-level --json
json 'set(d.values()) == {"warn"}'
expect 4 log-level nope
expect 4 log-level nope debug
complains BADREQUEST
expect 4 log-level health loud
expect 0 log-level info

# ---- configuration ----
expect 0 check "$tmp/ctl.ini"
expect 0 check --config "$tmp/ctl.ini" --json
json 'd["valid"] is True and d["status"] == 0'
printf '[backend main]\nplugin = memory\nmax_memry = 5\n[nonsense]\n' >"$tmp/bad.ini"
expect 1 check "$tmp/bad.ini"
complains 'bad.ini:3'
complains 'bad.ini:4'
expect 1 check "$tmp/bad.ini" --json
json 'd["valid"] is False and len(d["messages"]) >= 2'
expect 2 check "$tmp/absent.ini"
expect 0 reload
says 'generation 2'
printf '[backend main]\nplugin = nope\n' >"$tmp/ctl.ini"
allow_log 'config.reload.failed'
# the generation before may still be drained
not_in_progress()
{
	expect 1 reload
	! grep -q in_progress "$tmp/err"
}
wait_for "the generation before to be drained" not_in_progress
complains nope
expect 1 reload --json
json 'd["reloaded"] is False and "nope" in d["errors"]'
expect 0 status
says '^generation  *2'
expect 0 get empty
printf '[backend main]\nplugin = memory\n[health]\ninterval = 7s\n' >"$tmp/ctl.ini"
expect 0 reload --json
json 'd["reloaded"] is True and d["generation"] == 3'
expect 0 version
says "^purserd [0-9].* at $SOCK"

# ---- an agent that does not answer ----
kill -STOP "$PURSERD_PID"
expect 3 --timeout 100ms status
complains 'no answer'
kill -CONT "$PURSERD_PID"

# ---- output that nobody takes ----
if [ -w /dev/full ]; then
	status=0
	ctl status >/dev/full 2>"$tmp/err" || status=$?
	[ $status -eq 5 ] || fail "a full device: status $status"
fi

stop_purserd
