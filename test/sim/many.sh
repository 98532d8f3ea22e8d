#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Both property tests over many seeds, on all cores.
#
#   test/sim/many.sh build/VARIANT COUNT [FLAGS ..]     last line: "N passed, N failed"
#
# COUNT seeds of sim_run and COUNT of pair_run, beginning behind those that `make test` runs. FLAGS go to
# both (see test/sim/lib/seeds.h). What a failing seed says is shown, with the command that runs it alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=test/tally.sh
. test/tally.sh

build=${1:?usage: test/sim/many.sh build/VARIANT COUNT [FLAGS ..]}
count=${2:?usage: test/sim/many.sh build/VARIANT COUNT [FLAGS ..]}
shift 2
first=1001
cores=$(nproc)
share=$(((count + cores - 1) / cores))

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for program in sim_run pair_run; do
	pids=()
	for ((core = 0; core < cores; core++)); do
		left=$((count - core * share))
		[ "$left" -gt 0 ] || continue
		[ "$left" -lt "$share" ] || left=$share
		"$build/test/sim/$program" "$@" -s $((first + core * share)) -n "$left" \
			>"$out/$program.$core" 2>&1 </dev/null &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do wait "$pid" || true; done # its last line says how it ended
	for log in "$out/$program".*; do
		grep -v -E '^[0-9]+ passed, [0-9]+ failed$' "$log" || true
		counts=$(tally_total_of "$log")
		if [ -n "$counts" ]; then
			read -r p f _ <<<"$counts"
			tally_add "$p" "$f"
		else
			echo "not ok - $program: no total"
			tally_add 0 1
		fi
	done
done
tally_text
[ "$tally_failed" -eq 0 ]
