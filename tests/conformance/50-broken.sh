# SPDX-License-Identifier: Apache-2.0
# Plugins that load: the good ones in unusual forms pass, the broken ones are named.
. tests/functions.sh
here=$abs_top_builddir/tests/conformance/.libs

passes()
{
	"$PURSER_PLUGIN_CHECK" "$@" >"$tmp/out.log" 2>&1 || fail "$* does not pass"
	echo "$*: $(tail -n 1 "$tmp/out.log")"
}

# named WORDS ARG...: it fails, and the first finding says so.
named()
{
	words=$1
	shift
	status=0
	"$PURSER_PLUGIN_CHECK" --patience 1 "$@" >"$tmp/out.log" 2>&1 || status=$?
	[ $status -eq 1 ] || [ $status -eq 2 ] || fail "$*: exit status $status"
	grep -e '^FAIL ' -e 'does not start' "$tmp/out.log" | grep -q -e "$words" || fail "$*: not a word of: $words"
	echo "$*: $words"
}

passes "$here/new_structs.so"
passes "$here/blocking.so"
passes "$here/v1.so"
for how in inline later timer flush mixed; do
	passes "$here/hostile.so" how=$how
done

while read -r how words; do
	named "$words" --rule 2 "$here/hostile.so" "how=$how"
done <<'END'
cancelled rule 2: call #1 (SET) has not been ended for 1 s
never rule 2: call #1 (GET) was not ended after drain()
backwards rule 10: call #.* ended before #.* of the same session
done_early rule 2: submit() said DONE of call #1 (SET), which it had not ended
twice rule 2: end() of call #1 (SET) after its end
touch rule 3: call #1 (SET) was touched after its end
thread rule 5: end() from another thread than the context's
pending_late rule 2: submit() said PENDING of call #1 (SET), which it had ended
again_late rule 2: submit() said AGAIN of call #1 (SET), which it had ended
writes_args rule 7: argument 0 of call #1 (SET) was changed
no_reply rule 8: call #1 (SET): end() without a reply
more rule 8: call #1 (SET): more values than were announced
fewer rule 8: call #1 (SET): fewer values than were announced
raw_error rule 8: call #1 (SET): an error is given as raw bytes
raw_resp3 rule 8: call #1 (SET): a RESP3 type in a RESP2 reply
raw_rest rule 8: call #1 (SET): more raw bytes than one value has
error_late rule 8: call #1 (SET): error() after a part of a reply
bad_fail rule 9: call #1 (SET) failed as not or maybe executed after a part of the reply
no_ready rule 12: call #1 (SET) was answered AGAIN, and ready() did not come
late_text rule 20: text("how") outside start() and prepare()
late_post rule 5: post() to a context that is closed
left_timer a timer is still set after close()
left_link link_state() is not balanced: 1 idle links to /nowhere remain
END

for rule in 1 2 7 8 9 10 11 12 15 16; do
	passes --rule $rule "$here/lane.so"
done
while read -r fault rule words; do
	named "$words" --rule "$rule" "$here/lane.so" "fault=$fault"
done <<'END'
says_not 9 rule 9: call #2 (SET) failed as NOT executed after sent()
says_maybe 9 rule 9: call #.* (SET) failed as executed, but its last byte was never encoded
resends 1 rule 9: a command that arrived whole, unanswered: +OK
shifts 15 rule 10: call #.* (GET) ended before #.* of the same session
unbounded 12 rule 12: 30000 calls were taken without one answer: the window has no bound
no_ready 10 was answered AGAIN, and ready() did not come
reversed 11 rule 10: call #.* (GET) ended before #.* of the same session
no_skip 7 rule 7: call #2 (GET of .*:skip1) gave +OK
raw_errors 8 an error is given as raw bytes
dies 2 killed by signal 6
END

named 'gave (failed: connect, not executed: no store today)' "$here/failing.so"
named 'rule 5: an INLINE plugin slept in submit()' --rule 1 "$here/slow.so"
