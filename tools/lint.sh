#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Static checks: house rules by grep, cppcheck, clang-tidy's bug finders.
set -uo pipefail
cd "$(dirname "$0")/.."
bad=0
mapfile -t c < <(git ls-files -co --exclude-standard '*.c' '*.h')

refuse() { # what pattern files...
	local what=$1 pattern=$2
	shift 2
	if grep -nE "$pattern" "$@" /dev/null; then
		echo "lint: $what"
		bad=1
	fi
}

refuse "unbounded or ambiguous calls" '\b(strcpy|sprintf|vsprintf|atoi|atol|strtok|alloca|gets)\(' "${c[@]}"
mapfile -t outside < <(printf '%s\n' "${c[@]}" | grep -vE '^(lib/sys/(clock|entropy)\.c|tests/|lab/|bench/)')
refuse "clocks and randomness belong to lib/sys" '\b(clock_gettime|gettimeofday|time\(NULL\)|rand|random|randombytes_[a-z]+)\b *\(' \
	$(printf '%s\n' "${outside[@]}" | grep -vE '^tools/mvpn/init.c$')
refuse "no test switch in the product" '#if(def)? .*\b(TEST|UNIT_TEST)\b' "${c[@]}"
refuse "unfinished work" '\b(TODO|FIXME|XXX)\b' "${c[@]}"
refuse "a secret in a log line" 'log_(error|warn|info|debug)\(.*_(sk|key)\b' "${c[@]}"
mapfile -t py < <(git ls-files -co --exclude-standard 'tests/*.py' 'lab/*.py' 'bench/*.py')
refuse "tests wait for a condition, they do not sleep" '\btime\.sleep\([0-9]{1,}[^.0-9]' "${py[@]}"
for f in "${c[@]}" "${py[@]}"; do
	[ -f "$f" ] || continue
	head -3 "$f" | grep -q 'SPDX-License-Identifier: GPL-2.0-or-later' || { echo "lint: $f: no SPDX line"; bad=1; }
done
for f in "${py[@]}"; do
	/usr/bin/python3 -m py_compile "$f" || bad=1
done

make --no-print-directory -s -j"$(nproc)" programs >/dev/null || bad=1
if command -v cppcheck >/dev/null; then
	cppcheck -q --std=c11 --enable=warning,performance,portability --inline-suppr -j"$(nproc)" \
		--error-exitcode=1 -I. -Ibuild/gen -DMVPN_VERSION='"0"' -D_GNU_SOURCE -DPB_PROTO_HEADER_VERSION=40 \
		--suppress=missingIncludeSystem --suppress=internalAstError --suppress=unknownMacro --suppress=normalCheckLevelMaxBranches \
		lib services tools lab 2>&1 || bad=1
fi
exit $bad
