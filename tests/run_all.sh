#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# All that `make test` runs, stage by stage; a failed stage does not hide the ones after it. The last
# line counts what really ran: N passed, N failed, N skipped.
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
tally=$PWD/build/tally
: >"$tally"
jobs=$(nproc)

add() { # passed failed skipped
	echo "$1 $2 $3" >>"$tally"
}

# A stage that is one check: passes or fails as a whole.
check() { # name command...
	local name=$1 start=$SECONDS
	shift
	if "$@" >"build/stage.log" 2>&1; then
		echo "ok   $name ($((SECONDS - start)) s)"
		add 1 0 0
	else
		echo "FAIL $name"
		tail -60 build/stage.log
		add 0 1 0
	fi
}

# A stage that counts for itself (tests/run_quick.py adds to the tally).
quick() { # name make-arguments...
	local name=$1 start=$SECONDS before
	shift
	before=$(wc -l <"$tally")
	MVPN_TALLY=$tally make --no-print-directory -j"$jobs" check "$@" >build/stage.log 2>&1
	local code=$?
	grep -E '^(FAIL|quick:)' build/stage.log
	if [ $code -ne 0 ]; then
		tail -60 build/stage.log
		[ "$(wc -l <"$tally")" -gt "$before" ] || add 0 1 0
	fi
	echo "     $name ($((SECONDS - start)) s)"
}

# A pytest stage: counts from its JUnit file. These tests run a whole network on a machine that others
# use too; what fails is said, and run once more by itself. Failing twice is failing. $under: a command
# that runs them.
under=
python() { # name folder...
	local name=$1 start=$SECONDS xml=build/junit.xml cache=build/pytest-cache
	shift
	rm -rf $xml $cache
	$under /usr/bin/python3 -m pytest -q -o cache_dir="$PWD/$cache" -ra --junitxml=$xml "$@"
	local code=$? again=-1
	if [ $code -eq 1 ]; then
		echo "     $name: what failed, once more"
		$under /usr/bin/python3 -m pytest -q -o cache_dir="$PWD/$cache" --last-failed --last-failed-no-failures none "$@"
		again=$?
	fi
	/usr/bin/python3 - "$xml" "$code" "$again" >>"$tally" <<'P'
import sys
import xml.etree.ElementTree as E
try:
    s = E.parse(sys.argv[1]).getroot().find("testsuite").attrib
    n, bad, skip = int(s["tests"]), int(s["failures"]) + int(s["errors"]), int(s["skipped"])
except Exception:
    n, bad, skip = 1, 1, 0
if bad > 0 and sys.argv[3] == "0":
    bad = 0
elif bad == 0 and sys.argv[2] != "0":
    n, bad = n + 1, 1
print(n - bad - skip, bad, skip)
P
	echo "     $name ($((SECONDS - start)) s)"
}

quick "unit, simulation, corpora (gcc)"
quick "the same under address and undefined-behaviour sanitizers" FLAVOR=asan
check "clang builds without a warning" make --no-print-directory -j"$jobs" CC=clang programs
check "lint" make --no-print-directory lint
check "pure cores" make --no-print-directory pure
check "numbered requirements have code and test" make --no-print-directory trace
check "ten minutes of fuzzing from a seed" make --no-print-directory soak
for stage in integration interop e2e; do
	python "$stage" "tests/$stage"
done
# The services themselves under the sanitizers: their words in the logs fail the lab's end. (The leak
# sanitizer would attach to its own process, which the services refuse.)
check "programs under sanitizers build" make --no-print-directory -j"$jobs" FLAVOR=asan programs
MVPN_BIN=$PWD/build/asan-gcc/bin ASAN_OPTIONS=detect_leaks=0 \
	python "integration under address and undefined-behaviour sanitizers" tests/integration \
	--ignore tests/integration/test_lab.py
if why=$(tests/compose/engine.sh check); then
	under="tests/compose/engine.sh with" python compose tests/compose
else
	echo "SKIP compose: $why"
	add 0 0 1
fi

read -r passed failed skipped < <(awk '{p+=$1; f+=$2; s+=$3} END {print p+0, f+0, s+0}' "$tally")
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
