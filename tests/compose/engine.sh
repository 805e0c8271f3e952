#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A Docker engine for the tests alone: own data, own sockets, own processes. It dies with whoever
# started it, and leaves nothing behind.
#
#   engine.sh check            can one run here? If not: why not, and how to get it (exit status 1)
#   engine.sh with COMMAND...  builds the images (with docker compose 2 and BuildKit where deps.sh got it, else
#                              as 1.29 does), then runs COMMAND with DOCKER_HOST and ENGINE_PID set:
#                              the engine's first process, whose network namespace is what the containers
#                              take for the machine; nothing leads out of it
#   engine.sh beside COMMAND...
#                              the same with an engine that holds no image: another machine beside that one
set -euo pipefail
cd "$(dirname "$0")/../.."

lacks() {
	echo "no container engine here: $1"
	exit 1
}

check() {
	local p missing=()
	[ "$(id -u)" -eq 0 ] || lacks "it needs root; run the tests as root"
	for p in dockerd docker docker-compose mmdebstrap iptables tini nsenter setpriv; do
		command -v "$p" >/dev/null || missing+=("$p")
	done
	[ ${#missing[@]} -eq 0 ] || lacks "${missing[*]} not installed; \`make deps\` installs it"
	[ -c /dev/net/tun ] || lacks "no /dev/net/tun; modprobe tun"
	unshare --net --mount --pid --fork --mount-proc true 2>/dev/null ||
		lacks "namespaces are forbidden (a container?); use a machine of its own"
}

# In the machine's network it touches nothing of that: RUN steps use it as it is (--network host).
start_to_build() {
	start --bridge=none --iptables=false --ip6tables=false --ip-forward=false
}

# Bridges, rules and published ports are made in a network namespace of its own.
start_to_run() {
	namespaces=(--net)
	start
}

start() { # dockerd's arguments...
	setpriv --pdeathsig KILL unshare "${namespaces[@]}" --mount --pid --fork --kill-child=SIGTERM --mount-proc \
		bash -c 'ip link set lo up; exec tini -- "$@"' sh "$PWD/tests/compose/engine.sh" again \
		-H "$DOCKER_HOST" --data-root "$W/data" --exec-root "$W/x" --pidfile "$W/d.pid" \
		--cgroup-parent "/${W##*/}" --dns-opt timeout:1 --dns-opt attempts:1 "$@" \
		>>"$W/dockerd.log" 2>&1 </dev/null &
	engine=$!
	until docker version >/dev/null 2>&1; do
		kill -0 "$engine" 2>/dev/null || { tail -20 "$W/dockerd.log" >&2; return 1; }
		sleep 0.1
	done
	ENGINE_PID=$(pgrep -P "$engine")
}

# One that is ended starts again, as where a machine's supervisor sees to it, until this is told to end.
again() {
	trap 'kill $! && wait $!; exit' TERM
	while dockerd "$@" & wait $!; do :; done
}

stop() {
	[ -n "$engine" ] || return 0
	kill "$ENGINE_PID" 2>/dev/null || true
	wait "$engine" 2>/dev/null || true
	engine=
}

clean() {
	stop
	find /sys/fs/cgroup -depth -type d -path "*/${W##*/}*" -exec rmdir {} + 2>/dev/null || true
	rm -rf "$W"
}

begin() {
	check
	# Short: containerd's socket path must fit in 107 bytes.
	W=$(mktemp -d /tmp/mvpn-engine.XXXXXX)
	engine=
	namespaces=()
	trap clean EXIT
	trap 'exit 1' INT TERM HUP
	export DOCKER_HOST=unix://$W/d.sock ENGINE_PID
}

beside() {
	begin
	start_to_run
	"$@"
}

with() {
	begin
	export BUILD_NETWORK=host
	local compose=$PWD/build/compose2/docker-compose
	[ -x "$compose" ] && export DOCKER_BUILDKIT=1 ||
		{ compose=docker-compose; export DOCKER_BUILDKIT=0 COMPOSE_DOCKER_CLI_BUILD=0; }
	start_to_build
	compose/base-image.sh >"$W/build.log" 2>&1 &&
		"$compose" -f compose/docker-compose.yml build roles web >>"$W/build.log" 2>&1 || {
		tail -40 "$W/build.log" >&2
		return 1
	}
	stop
	start_to_run
	"$@"
}

"$@"
