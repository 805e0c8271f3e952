#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Coverage-guided fuzzing of every target for SECONDS each; what crashes stays in build/fuzz/.
# With a SEED each target starts from the corpus in the repository alone: the same seed, the same inputs.
set -euo pipefail
seconds=${1:-60}
seed=${2:-}
cd "$(dirname "$0")/.."
if ! [ "$seconds" -ge 1 ] 2>/dev/null; then # 0 would be without end
	echo "fuzz: $seconds seconds for each target: give a whole number from 1 on (make soak shares SOAK_SECONDS among all)" >&2
	exit 2
fi
mkdir -p build/fuzz
make --no-print-directory -j"$(nproc)" CC=clang FLAVOR=asan CFLAGS=-fsanitize=fuzzer-no-link fuzz-targets >/dev/null
bad=0
for t in build/asan-clang/tests/libfuzzer/*; do
	name=$(basename "$t")
	[ -z "$seed" ] || rm -rf "build/fuzz/$name"
	mkdir -p "build/fuzz/$name"
	echo "fuzz $name"
	"$t" -max_total_time="$seconds" ${seed:+-seed="$seed"} -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="build/fuzz/$name-" "build/fuzz/$name" "tests/fuzz/corpus/$name" \
		>"build/fuzz/$name.log" 2>&1 || { bad=1; tail -30 "build/fuzz/$name.log"; }
	grep -E 'stat::(number_of_executed_units|peak_rss_mb)' "build/fuzz/$name.log" || true
done
exit $bad
