#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Fetches the wireguard-go with offloads (bookworm-backports) into build/bench/, beside Debian's own, which
# stays installed. The machine's list of sources is not touched; the package is checked against Debian's keys.
set -euo pipefail
cd "$(dirname "$0")/.."

at=build/bench/backports
if [ -x "$at/wireguard-go" ]; then
	exit 0
fi
mkdir -p "$at"/{sources,lists/partial,cache/archives/partial,deb}
mirror=$(apt-get indextargets --format '$(SITE)' 'Codename: bookworm' 2>/dev/null | head -1)
cat >"$at/sources/backports.sources" <<END
Types: deb
URIs: ${mirror:-http://deb.debian.org/debian}
Suites: bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
apt=(apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$PWD/$at/sources"
	-o "Dir::State::lists=$PWD/$at/lists" -o "Dir::Cache=$PWD/$at/cache" -o APT::Sandbox::User=)
if ! "${apt[@]}" update || ! (cd "$at/deb" && "${apt[@]}" download wireguard-go); then
	echo "bench: wireguard-go of bookworm-backports cannot be fetched from ${mirror:-deb.debian.org}:" \
		"it is left out of the comparison" >&2
	exit 0
fi
dpkg-deb -x "$at"/deb/wireguard-go_*.deb "$at/unpacked"
mv "$at/unpacked/usr/bin/wireguard-go" "$at/wireguard-go"
