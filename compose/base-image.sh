#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# For a machine without an image registry: makes debian:bookworm-slim from Debian's packages.
# Needs root and mmdebstrap; uses the engine of $DOCKER_HOST.
set -euo pipefail
[ -z "$(docker image ls -q debian:bookworm-slim)" ] || exit 0
tmp=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)/mvpn-base.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
TMPDIR=$tmp mmdebstrap --quiet --variant=minbase --mode=root \
	--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --include=usr-is-merged \
	--dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
	--dpkgopt='path-exclude=/usr/share/locale/*' --aptopt='Acquire::Languages "none"' \
	bookworm - | docker import -c 'CMD ["bash"]' - debian:bookworm-slim >/dev/null
