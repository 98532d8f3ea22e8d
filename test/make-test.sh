#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `make test` runs once everything is built: rules, headers, units, fuzz seeds, session scripts,
# simulation. No root, no hugepages, no network.
#
#   test/make-test.sh build/VARIANT        last line: "N passed, N failed[, N skipped]"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=test/tally.sh
. test/tally.sh

build=${1:?usage: test/make-test.sh build/VARIANT}
[ -d "$build" ] || { echo "make-test: no directory $build" >&2; exit 2; }

# Finds of the sanitizers end the program with a status that tally_run sees. Not detect_stack_use_after_return:
# gcc 12's fake stack does not keep the alignment of 64 that some structs ask for.
export ASAN_OPTIONS=${ASAN_OPTIONS:-abort_on_error=1:strict_string_checks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
export LSAN_OPTIONS=${LSAN_OPTIONS:-print_suppressions=0}

# Only what has a source is run: a binary that was left behind by an older tree proves nothing.
tally_run total "include rules" 60 test/layers.sh
tally_run total "include rules, broken on purpose" 60 test/layers.sh --self-test
tally_run total "headers alone" 120 test/headers.sh
tally_run total "requirement table" 60 test/requirements.sh
tally_run total "requirement tables, broken on purpose" 60 test/requirements.sh --self-test
tally_run total "counters" 60 test/counters.sh
tally_run total "counters without tests, on purpose" 60 test/counters.sh --self-test

for source in test/unit/*.c; do
	[ -e "$source" ] || continue
	name=${source%.c}
	tally_run criterion "${name#test/}" 300 "$build/$name"
done

# test/fuzz/AREA_NAME.c with its seeds in test/fuzz/NAME.in.
for source in test/fuzz/*_*.c; do
	[ -e "$source" ] || continue
	name=$(basename "$source" .c)
	seeds=test/fuzz/${name#*_}.in
	if [ -n "$(find "$seeds" -type f 2>/dev/null | head -n 1)" ]; then
		tally_run status "fuzz seeds $name" 120 "$build/test/fuzz/$name" "$seeds"
	else
		echo "not ok - fuzz seeds $name: no seeds in $seeds"
		tally_add 0 1
	fi
done

tally_run total "captures, doctored" 60 python3 test/capture/capcheck.py --self-test

if [ -e test/smtp/smtp_run.c ]; then
	scripts=(test/smtp/*.mtc)
	tally_run total "session scripts" 300 "$build/test/smtp/smtp_run" "${scripts[@]}"
fi
if [ -e test/tcp/pkt_run.c ]; then
	scripts=(test/tcp/*.pkt)
	tally_run total "packet scripts" 300 "$build/test/tcp/pkt_run" "${scripts[@]}"
	scripts=(test/tcp/self/*.pkt)
	tally_run total "packet scripts that must fail" 60 "$build/test/tcp/pkt_run" -x "${scripts[@]}"
fi
if [ -e test/sim/sim_run.c ]; then
	tally_run total "simulation" 600 "$build/test/sim/sim_run"
fi
if [ -e test/sim/press_run.c ]; then
	tally_run total "bad peers" 300 "$build/test/sim/press_run"
fi
if [ -e test/sim/shed_run.c ]; then
	tally_run total "shedding" 300 "$build/test/sim/shed_run"
fi
if [ -e test/sim/pair_run.c ]; then
	tally_run total "pairs of endpoints" 600 "$build/test/sim/pair_run"
	# Seeds of longer runs that have found something.
	for seed in 21018 42059; do
		tally_run total "pair of endpoints $seed" 60 "$build/test/sim/pair_run" -4 -s $seed -n 1
	done
fi

tally_text
[ "$tally_failed" -eq 0 ]
