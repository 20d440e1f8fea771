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
echo "const struct feature_script feature_scripts[LUA_COUNT] = {"
for f; do
	name=$(basename "$f" .lua)
	sha=$(sha1sum <"$f" | cut -c1-40)
	echo "	[LUA_$(echo "$name" | tr a-z A-Z)] = { \"$name\", body_$name, sizeof body_$name, \"$sha\" },"
done
echo "};"
