#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each [P-n] of docs/protocol.md must be named in code and in a test.
set -euo pipefail
cd "$(dirname "$0")/.."
bad=0 n=0
for id in $(grep -oE '^\*\*\[P-[0-9]+\]' docs/protocol.md | grep -oE 'P-[0-9]+' | sort -t- -k2n -u); do
	n=$((n + 1))
	grep -rqF "[$id]" lib services --include='*.[ch]' || { echo "$id: no code names it"; bad=1; }
	grep -rqF "[$id]" tests --include='*.[ch]' --include='*.py' || { echo "$id: no test names it"; bad=1; }
done
for id in $(grep -rhoE '\[P-[0-9]+\]' lib services tests --include='*.[ch]' --include='*.py' | sort -u); do
	grep -qF "**$id" docs/protocol.md || { echo "$id: code names it, docs/protocol.md does not"; bad=1; }
done
echo "trace: $n requirements"
exit $bad
