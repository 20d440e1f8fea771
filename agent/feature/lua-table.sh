#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# lua-table h|c FILE.lua ...: the agent's Lua scripts as C.  h: the numbers LUA_NAME; c: the table.
set -eu
kind=$1
shift
echo "/* Made by agent/feature/lua-table.sh from the files in agent/feature/lua. */"
if [ "$kind" = h ]; then
	echo "#ifndef FEATURE_SCRIPTS_H"
	echo "#define FEATURE_SCRIPTS_H"
	echo "enum {"
	for f; do
		echo "	LUA_$(basename "$f" .lua | tr a-z A-Z),"
	done
	echo "	LUA_COUNT"
	echo "};"
	echo "#endif"
	exit 0
fi
echo "#include <config.h>"
echo "#include \"feature/feature.h\""
for f; do
	echo "static const unsigned char body_$(basename "$f" .lua)[] = {"
	od -An -v -tu1 "$f" | sed 's/[0-9][0-9]*/&,/g'
	echo "};"
done
# The same for many calls at once: KEYS and ARGV of all of them one behind the other, ARGV[1] how many they are; an array of
# what each answers, an error in the place of one that fails.
batch() {
	echo "local function one(KEYS, ARGV)"
	cat "$1"
	cat <<'LUA'

end
local n, out = tonumber(ARGV[1]), {}
local nk, na = #KEYS / n, (#ARGV - 1) / n
for i = 1, n do
  local ok, v = pcall(one, {unpack(KEYS, (i - 1) * nk + 1, i * nk)}, {unpack(ARGV, (i - 1) * na + 2, i * na + 1)})
  if not ok and type(v) ~= 'table' then v = {err = 'ERR ' .. tostring(v)} end
  if v == nil then v = false end
  out[i] = v
end
return out
LUA
}
for f; do
	echo "static const unsigned char batch_$(basename "$f" .lua)[] = {"
	batch "$f" | od -An -v -tu1 | sed 's/[0-9][0-9]*/&,/g'
	echo "};"
done
echo "const struct feature_script feature_batches[LUA_COUNT] = {"
for f; do
	name=$(basename "$f" .lua)
	sha=$(batch "$f" | sha1sum | cut -c1-40)
	echo "	[LUA_$(echo "$name" | tr a-z A-Z)] = { \"$name\", batch_$name, sizeof batch_$name, \"$sha\" },"
done
echo "};"
echo "const struct feature_script feature_scripts[LUA_COUNT] = {"
for f; do
	name=$(basename "$f" .lua)
	sha=$(sha1sum <"$f" | cut -c1-40)
	echo "	[LUA_$(echo "$name" | tr a-z A-Z)] = { \"$name\", body_$name, sizeof body_$name, \"$sha\" },"
done
echo "};"
