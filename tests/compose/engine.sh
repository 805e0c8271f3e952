#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A Docker engine for the tests alone: own data, own sockets, own processes; it dies with whoever
# started it, and leaves nothing behind.
#
#   engine.sh check          can one run here? If not: why not, and how to get it (exit status 1)
#   engine.sh run COMMAND... an engine that can build images (in the machine's network, touching nothing
#                            of it), then COMMAND with DOCKER_HOST set and ENGINE_ISOLATE: a program that
#                            moves the engine into a network of its own, from which nothing leads out
#                            (see `isolate` below), and ENGINE_ENTER: the prefix of commands that shall run there
set -euo pipefail

lacks() {
	echo "no container engine: $1"
	exit 1
}

check() {
	local p missing=()
	[ "$(id -u)" -eq 0 ] || lacks "it needs root; run the tests as root"
	for p in dockerd docker docker-compose mmdebstrap iptables tini nsenter setpriv; do
		command -v "$p" >/dev/null || missing+=("$p")
	done
	[ ${#missing[@]} -eq 0 ] || lacks "${missing[*]} not installed; apt-get install docker.io docker-compose mmdebstrap iptables"
	[ -c /dev/net/tun ] || lacks "no /dev/net/tun; modprobe tun"
	unshare --net --mount --pid --fork true 2>/dev/null || lacks "no namespaces (inside a container?); use a machine of its own"
}

# Everything of one engine is below $W; short, because containerd's socket path must fit in 107 bytes.
start() { # --net or nothing
	local flags=(--bridge=none --iptables=false --ip6tables=false --ip-forward=false)
	[ $# -eq 0 ] || flags=()
	setpriv --pdeathsig KILL unshare "$@" --mount --pid --fork --kill-child=SIGTERM --mount-proc \
		bash -c 'ip link set lo up; exec tini -- dockerd "$@"' dockerd \
		-H "unix://$W/d.sock" --data-root "$W/data" --exec-root "$W/x" --pidfile "$W/d.pid" \
		--cgroup-parent "/mvpn-$$" --dns-opt timeout:1 --dns-opt attempts:1 "${flags[@]}" \
		>>"$W/dockerd.log" 2>&1 </dev/null &
	engine=$!
	until docker version >/dev/null 2>&1; do
		kill -0 "$engine" 2>/dev/null || { tail -20 "$W/dockerd.log" >&2; return 1; }
		sleep 0.1
	done
	pgrep -P "$engine" >"$W/first"
}

stop() {
	[ -n "${engine:-}" ] || return 0
	kill "$(cat "$W/first" 2>/dev/null)" 2>/dev/null || true
	wait "$engine" 2>/dev/null || true
	engine=
}

clean() {
	stop
	find /sys/fs/cgroup -depth -type d -path "*/mvpn-$$*" -exec rmdir {} + 2>/dev/null || true
	rm -rf "$W"
}

run() {
	check
	W=$(mktemp -d /tmp/mvpn-engine.XXXXXX)
	trap clean EXIT
	trap 'exit 1' INT TERM HUP
	export DOCKER_HOST=unix://$W/d.sock ENGINE_DIR=$W DOCKER_BUILDKIT=0 COMPOSE_DOCKER_CLI_BUILD=0
	start
	"$(dirname "$0")/../../compose/base-image.sh"
	"${1}" build
	stop
	start --net
	"${1}" test
}

"$@"
