#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
set -eu

usage()
{
	cat <<'EOF'
usage: ./autogen.sh              bootstrap only: afterwards ./configure && make
       ./autogen.sh --run [ARG…] install what is missing, build in build/, start the agent in the
                                 foreground on the memory backend (ARGs go to purserd)
       ./autogen.sh --check      the same set-up and what the tests need, then the test suite

Packages come from apt (Debian 12); the command is printed before it is run, with sudo unless root.
PURSER_CONFIGURE_FLAGS is given to configure, PURSER_EXTRA_PACKAGES installed by --check.
EOF
}

# What to install: PACKAGE, or PACKAGE/COMMAND where any way to have the command will do.
BUILD_PACKAGES='build-essential/g++ build-essential/make autoconf/autoconf automake/automake
	libtool/libtoolize pkgconf/pkg-config libhiredis-dev libcurl4-openssl-dev libinih-dev libssl-dev
	libjansson-dev zlib1g-dev libseccomp-dev liblua5.1-0-dev lua-cjson-dev lua-bitop-dev libcmocka-dev'
# What the lines that --run prints need.
TOOL_PACKAGES='redis-tools/redis-cli curl/curl python3-redis'
TEST_PACKAGES='redis-server/redis-server openssl/openssl protobuf-compiler/protoc python3/python3
	python3-celery python3-grpcio
	php-cli/php php-redis golang-go/go golang-github-gomodule-redigo-dev'

say()
{
	printf '%s\n' "$*" >&2
}

die()
{
	say "autogen.sh: $*"
	exit 1
}

as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# Prints those of the packages that are not installed.
missing_packages()
{
	libraries=''
	for p in "$@"; do
		case $p in
		*/*) command -v "${p#*/}" >/dev/null 2>&1 || echo "${p%/*}" ;;
		*) libraries="$libraries $p" ;;
		esac
	done
	# shellcheck disable=SC2016,SC2086 # the format is dpkg-query's; a list
	have=$(dpkg-query -W -f '${db:Status-Status}:${Package}\n' $libraries 2>/dev/null || :)
	for p in $libraries; do
		echo "$have" | grep -qx "installed:$p" || echo "$p"
	done
}

# apt-get may start the servers that it installs; for as long as it runs it may not.
forbid_services()
{
	policy=/usr/sbin/policy-rc.d
	[ ! -e $policy ] || as_root mv $policy $policy.before-purser
	printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
	as_root chmod 755 $policy
}

allow_services()
{
	as_root rm -f $policy
	[ ! -e $policy.before-purser ] || as_root mv $policy.before-purser $policy
}

install_packages()
{
	command -v dpkg-query >/dev/null 2>&1 || {
		say "This is not Debian: what the build needs must be here already."
		return 0
	}
	# shellcheck disable=SC2046 # one package a line
	set -- $(missing_packages "$@" | sort -u)
	[ $# -gt 0 ] || return 0
	sudo=''
	if [ "$(id -u)" -ne 0 ]; then
		sudo='sudo '
		command -v sudo >/dev/null 2>&1 ||
			die "packages are missing and there is no sudo; as root: apt-get install --no-install-recommends $*"
	fi
	say "Installing what is missing:"
	say "  ${sudo}apt-get update && ${sudo}apt-get install -y --no-install-recommends $*"
	forbid_services
	trap 'allow_services' EXIT
	trap 'exit 130' INT TERM HUP
	as_root apt-get update -q >&2 || say "apt-get update failed; trying with the lists that are here"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" </dev/null >&2
	case " $* " in
	*' redis-server '*)
		# The tests start their own; the machine gets no server that it did not ask for.
		if command -v systemctl >/dev/null 2>&1; then
			as_root systemctl disable --quiet redis-server >&2 || :
		fi
		;;
	esac
	allow_services
	trap - EXIT INT TERM HUP
}

bootstrap()
{
	autoreconf --install --force --warnings=all
}

# Bootstraps, configures and builds what has not been yet; build/ holds all output.
build()
{
	if [ ! -f Makefile.in ] || [ ! -x configure ]; then
		bootstrap >&2
	fi
	mkdir -p build
	# shellcheck disable=SC2086 # flags
	[ -f build/Makefile ] || (cd build && ../configure --quiet ${PURSER_CONFIGURE_FLAGS:-} >&2)
	make -s -C build -j"$(nproc)" >&2
}

# The socket that purserd and purserctl choose by themselves, its directory made.
user_socket()
{
	if [ -n "${PURSER_SOCKET:-}" ]; then
		echo "$PURSER_SOCKET"
	elif [ "$(id -u)" -eq 0 ]; then
		mkdir -p /run/purser
		echo /run/purser/purser.sock
	elif [ -n "${XDG_RUNTIME_DIR:-}" ]; then
		echo "$XDG_RUNTIME_DIR/purser.sock"
	else
		dir=/tmp/purser-$(id -u)
		mkdir -m 700 "$dir" 2>/dev/null || :
		if [ ! -O "$dir" ] || [ ! -d "$dir" ] || [ -L "$dir" ]; then
			die "$dir is not a directory of yours"
		fi
		echo "$dir/purser.sock"
	fi
}

run()
{
	socket=$(user_socket)
	mkdir -p build/state
	backend='memory (embedded; gone when it stops)'
	case " $*" in
	*'backend '*) backend="as said: $*" ;;
	esac
	cat <<EOF

  Purser from $PWD/build; Ctrl-C stops it.

    socket     $socket
    backend    $backend
    project    default

  In another terminal:

    redis-cli -s $socket set k v
    redis-cli -s $socket get k
    curl --unix-socket $socket 'http://purser/redis/kv?key=k'
    curl --unix-socket $socket http://purser/redis/status
    /usr/bin/python3 -c 'import redis; print(redis.Redis(unix_socket_path="$socket").get("k"))'

EOF
	unset REDIS_URL
	PURSER_PLUGIN_PATH=$PWD/build/plugins/.libs
	export PURSER_PLUGIN_PATH
	exec build/agent/purserd --config /dev/null --set 'backend main.plugin=memory' \
		--set "agent.socket=$socket" --set "agent.state_dir=$PWD/build/state" "$@"
}

cd "$(dirname "$0")"
case ${1:-} in
'')
	bootstrap
	;;
--run)
	shift
	# shellcheck disable=SC2086 # lists
	install_packages $BUILD_PACKAGES $TOOL_PACKAGES
	build
	run "$@"
	;;
--check)
	# shellcheck disable=SC2086 # lists
	install_packages $BUILD_PACKAGES $TOOL_PACKAGES $TEST_PACKAGES ${PURSER_EXTRA_PACKAGES:-}
	build
	exec make -C build -j"$(nproc)" check
	;;
-h | --help)
	usage
	;;
*)
	usage >&2
	exit 2
	;;
esac
