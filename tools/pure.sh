#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Fails if an object of the libraries named calls anything that is neither in them nor allowed.
set -euo pipefail
allow=$(dirname "$0")/pure.allow
defined=$(nm --defined-only -g "$@" 2>/dev/null | awk 'NF==3 {print $3}' | sort -u)
bad=0
while read -r object symbol; do
	grep -qxF "$symbol" <<<"$defined" && continue
	[[ $symbol == *_msg ]] && continue # nanopb tables
	grep -v '^#' "$allow" | grep -qxF "$symbol" && continue
	echo "impure: $object calls $symbol"
	bad=1
# bug_at ends the process: what it says on the way out is no impurity.
done < <(nm -A --undefined-only "$@" 2>/dev/null | awk 'NF > 2 && $(NF - 1) == "U" {split($1, p, ":"); print p[2], $NF}' |
	grep -v '^bug\.o ' | sort -u)
[ $bad -eq 0 ] && echo "pure: $(nm -A --defined-only -g "$@" 2>/dev/null | awk -F: '{print $2}' | sort -u | wc -l) objects"
exit $bad
