#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A stranger's first minutes, in a clean Debian 12:  sh tests/chroot-check.sh [run|check]...
#
# Makes a minimal chroot with mmdebstrap, clones the committed tree into it and there runs
#   run      ./autogen.sh --run, the lines that it prints, Ctrl-C, and a second start, timed
#   check    ./autogen.sh --check
# Needs root, mmdebstrap, git and a Debian mirror; not part of make check.  CHROOT=DIR keeps and
# reuses a chroot; NPM_CLIENTS=DIR/node_modules also tries the npm clients, from outside of it.
# shellcheck disable=SC2016 # quoted shell for inside
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
[ "$(id -u)" -eq 0 ] || { echo "must be root" >&2; exit 1; }
command -v mmdebstrap >/dev/null || { echo "apt-get install mmdebstrap" >&2; exit 1; }
[ $# -gt 0 ] || set -- run check

work=$(mktemp -d /tmp/purser-chroot.XXXXXX)
root=${CHROOT:-$work/root}
agent=''
clean_up()
{
	status=$?
	trap - EXIT
	[ -z "$agent" ] || kill -KILL "$agent" 2>/dev/null || :
	rm -rf --one-file-system "$work"
	exit $status
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

# inside COMMAND: a shell command in the chroot's /src, with processes and mounts of its own.
inside()
{
	unshare --mount --pid --fork --kill-child sh -ec 'mount -t proc proc "$1/proc"
		mkdir -p "$1/dev/pts"
		mount -t devpts -o newinstance,ptmxmode=0666 devpts "$1/dev/pts"
		ln -sf pts/ptmx "$1/dev/ptmx"
		exec chroot "$1" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin \
			LC_ALL=C.UTF-8 sh -ec "cd /src; $2"' sh "$root" "$1"
}

# start SECONDS SOCKET [WRAPPER]: the agent in the background; returns once it serves.
start()
{
	begin=$(date +%s%N)
	socket=$root$2
	inside "exec ${3:-} ./autogen.sh --run" >"$work/run.log" 2>&1 </dev/null &
	agent=$!
	while ! [ -S "$socket" ]; do
		kill -0 "$agent" 2>/dev/null || { cat "$work/run.log"; echo "--run ended" >&2; exit 1; }
		[ $((($(date +%s%N) - begin) / 1000000000)) -lt "$1" ] || { cat "$work/run.log"; echo "not ready in $1 s" >&2; exit 1; }
		sleep 0.01
	done
	echo "ready after $((($(date +%s%N) - begin) / 1000000)) ms"
}

# leaf PID: the last of a line of only children, here purserd behind the shell and unshare.
leaf()
{
	pid=$1
	while child=$(pgrep -P "$pid" | head -n 1) && [ -n "$child" ]; do
		pid=$child
	done
	echo "$pid"
}

# stop: as Ctrl-C does, and it must leave in order.
stop()
{
	kill -INT "$(leaf "$agent")"
	tries=0
	while kill -0 "$agent" 2>/dev/null; do
		tries=$((tries + 1))
		[ $tries -lt 300 ] || { cat "$work/run.log"; echo "Ctrl-C does not stop it" >&2; exit 1; }
		sleep 0.1
	done
	status=0
	wait "$agent" || status=$?
	agent=''
	[ $status -eq 0 ] || { cat "$work/run.log"; echo "the agent left with status $status" >&2; exit 1; }
	[ ! -e "$socket" ] || { echo "it left its socket" >&2; exit 1; }
}

try_run()
{
	start 900 /run/purser/purser.sock
	sed -n '/Purser from/,/python3/p' "$work/run.log"
	sed -n 's/^    \(redis-cli .*\|curl .*\|.*python3 .*\)/\1/p' "$work/run.log" >"$work/lines"
	[ "$(wc -l <"$work/lines")" -ge 4 ] || { cat "$work/run.log"; echo "it prints too few lines" >&2; exit 1; }
	while read -r line; do
		echo "\$ $line"
		printf '%s\n' "$line" | chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/bin:/bin sh -e
		echo
	done <"$work/lines"
	[ -z "${NPM_CLIENTS:-}" ] ||
		node "$top/tests/clients/clients.mjs" "$root/run/purser/purser.sock" "$NPM_CLIENTS"
	stop
	start 10 /run/purser/purser.sock
	stop
	# Anybody: a socket of their own, and nothing that root must do.
	chown -R 1000:1000 "$root/src"
	start 10 /tmp/purser-1000/purser.sock 'setpriv --reuid=1000 --regid=1000 --clear-groups'
	chroot "$root" redis-cli -s /tmp/purser-1000/purser.sock set k v
	stop
	chown -R 0:0 "$root/src"
}

# Within one process namespace, so that a server that the installation started would be seen.
try_check()
{
	inside 'CI=true ./autogen.sh --check </dev/null
		test ! -e /usr/sbin/policy-rc.d
		for p in /proc/[0-9]*/exe; do
			case $(readlink "$p") in
			*redis*) echo "a redis-server was left running" >&2; exit 1 ;;
			esac
		done'
}

if [ ! -d "$root/usr" ]; then
	mmdebstrap --quiet --variant=minbase --include=ca-certificates,git bookworm "$root"
fi
cp /etc/resolv.conf "$root/etc/resolv.conf"
# What an installed machine has and a minimal chroot has not: a name for itself, and terminals (inside()).
[ -s "$root/etc/hosts" ] || echo '127.0.0.1 localhost' >"$root/etc/hosts"
rm -rf "$root/src"
git clone --quiet --no-hardlinks "$top" "$root/src"

for part in "$@"; do
	case $part in
	run) try_run ;;
	check) try_check ;;
	*) echo "run or check, not $part" >&2; exit 2 ;;
	esac
	echo "$part: done"
done
