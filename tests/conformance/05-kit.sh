# SPDX-License-Identifier: Apache-2.0
# The program around the kit: its list, its options, its status.
. tests/functions.sh

status_of()
{
	status=0
	"$PURSER_PLUGIN_CHECK" "$@" >"$tmp/out.log" 2>&1 || status=$?
	echo $status
}

"$PURSER_PLUGIN_CHECK" --list >"$tmp/list.log"
for rule in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 S; do
	grep -q "^$rule\.1 " "$tmp/list.log" || fail "rule $rule has no test"
done

[ "$(status_of)" = 2 ] || fail "no file"
[ "$(status_of --rule 21 "$PURSER_PLUGIN_PATH/example.so")" = 2 ] || fail "a rule that there is not"
[ "$(status_of --rule 2.x "$PURSER_PLUGIN_PATH/example.so")" = 2 ] || fail "a test that there is not"
[ "$(status_of "$PURSER_PLUGIN_PATH/example.so" max_key=5)" = 2 ] || fail "a setting that it does not have"
grep -q 'example has no setting "max_key"' "$tmp/out.log" || fail "does not say which setting"
[ "$(status_of "$PURSER_PLUGIN_PATH/example.so" max_keys=0)" = 2 ] || fail "a value out of bounds"
grep -q 'does not start: max_keys: ' "$tmp/out.log" || fail "does not say which value"
[ "$(status_of --rule 3.2 "$PURSER_PLUGIN_PATH/example.so" operation_timeout=1s)" = 0 ] || fail "one test"
grep -q '^1 passed, 0 failed, 0 skipped$' "$tmp/out.log" || fail "one test is one test"
# A bare name is looked for as the agent does.
(cd "$tmp" && "$PURSER_PLUGIN_CHECK" --rule 1 example >"$tmp/out.log") || fail "a bare name"
grep -q '^skip 16\.1 batch: .*: no BATCH capability$' "$tmp/out.log" && fail "another rule's test"
[ "$(status_of --rule 16 "$PURSER_PLUGIN_PATH/example.so")" = 0 ] || fail "skipped is not failed"
grep -q '^skip 16\.1 batch: .*: no BATCH capability$' "$tmp/out.log" || fail "does not say why it skips"
grep -q '^0 passed, 0 failed, 2 skipped$' "$tmp/out.log" || fail "skipped is not passed"
