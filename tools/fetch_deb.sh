#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fetch_deb.sh SUITE PACKAGE FILE INTO: one file of a package of another Debian suite becomes INTO/$(basename FILE),
# from the mirror this machine uses. Nothing is installed, the machine's list of sources is not touched; the
# package is checked against Debian's keys. Does nothing when the file is there.
set -euo pipefail
cd "$(dirname "$0")/.."
suite=$1 package=$2 file=$3 into=$4

[ ! -x "$into/$(basename "$file")" ] || exit 0
mirror=$(apt-get indextargets --format '$(SITE)' 'Codename: bookworm' 2>/dev/null | head -1)
[ -n "$mirror" ] || {
	echo "fetch_deb: no Debian mirror among this machine's sources: $package of $suite is not fetched" >&2
	exit 1
}
at=$(mktemp -d)
trap 'rm -rf "$at"' EXIT
mkdir -p "$at"/{sources,lists/partial,cache/archives/partial,deb} "$into"
cat >"$at/sources/one.sources" <<END
Types: deb
URIs: $mirror
Suites: $suite
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
apt=(apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$at/sources"
	-o "Dir::State::lists=$at/lists" -o "Dir::Cache=$at/cache" -o APT::Sandbox::User=)
for try in 1 2 3; do
	if "${apt[@]}" update && (cd "$at/deb" && "${apt[@]}" download "$package"); then
		dpkg-deb -x "$at"/deb/*.deb "$at/unpacked"
		mv "$at/unpacked/$file" "$into/"
		exit 0
	fi
	echo "fetch_deb: $package of $suite: try $try failed" >&2
	sleep 3
done
exit 1
