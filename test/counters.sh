#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks that every counter of control/abi/counter.def is named by a test: a drop or an event that no test makes
# count may be counted at the wrong place, twice, or never.
#
#   test/counters.sh [DIR]     the tests below DIR (test); last line "N passed, N failed"
#   test/counters.sh --self-test
#
# A test names a counter as COUNTER_X (or X alone where a macro adds the rest) in a .c or .h, and as a word of a line
# `counter X N` in a script (*.pkt, *.mtc).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Those that no test can reach, and why. A row that a test names after all is wrong too.
declare -A unreachable=(
	# Sessions and orphans end at limits of their own before; the mark is the net below them, and
	# plane_shed:each_resource_has_its_marks shows it.
	[PRESSED_CONNS]=1
)

check() { # DIR: prints what is wrong; 1 if anything is
	local bad=0 count=0 name
	local -A named=()
	while read -r name; do
		named[$name]=1
	done < <(
		grep -rhowE '[A-Z][A-Z0-9_]+[A-Z0-9]' "$1" --include='*.c' --include='*.h' | sed 's/^COUNTER_//' | sort -u
		grep -rhE '^counter ' "$1" --include='*.pkt' --include='*.mtc' | cut -d' ' -f2 | tr '[:lower:]' '[:upper:]'
	)
	while read -r name; do
		count=$((count + 1))
		if [[ -z ${named[$name]:-} && -z ${unreachable[$name]:-} ]]; then
			echo "no test names the counter $name"
			bad=1
		elif [[ -n ${named[$name]:-} && -n ${unreachable[$name]:-} ]]; then
			echo "$name has a test: it needs no exception"
			bad=1
		fi
	done < <(sed -n 's/^COUNTER(\([A-Z0-9_]*\),.*/\1/p' control/abi/counter.def)
	[[ $count -gt 0 ]] || bad=1
	echo "# $count counters, ${#unreachable[@]} of them without a test, with the reason"
	return $bad
}

self_test() {
	local passed=0 failed=0 out
	dir=$(mktemp -d) # not local: the trap needs it
	trap 'rm -rf "$dir"' EXIT
	expect() { # WORDS: DIR must be refused with them
		if out=$(check "$dir") || [[ $out != *"$1"* ]]; then
			echo "not ok - $1: $out"
			failed=$((failed + 1))
		else
			passed=$((passed + 1))
		fi
	}
	sed -n 's/^COUNTER(\([A-Z0-9_]*\),.*/COUNTER_\1/p' control/abi/counter.def | grep -v PRESSED_CONNS >"$dir/a.c"
	if check "$dir" >/dev/null; then passed=1; else
		echo "not ok - tests that name all are refused"
		failed=1
	fi
	sed -i /COUNTER_IP_BAD/d "$dir/a.c"
	expect "no test names the counter IP_BAD"
	echo "# counter IP_BAD 1" >"$dir/a.pkt"
	expect "no test names the counter IP_BAD"
	printf 'counter IP_BAD 1\ncounter PRESSED_CONNS 1\n' >"$dir/a.pkt"
	expect "PRESSED_CONNS has a test"
	echo "$passed passed, $failed failed"
	[[ $failed == 0 ]]
}

if [[ ${1:-} == --self-test ]]; then
	self_test
elif check "${1:-test}"; then
	echo "ok - counters"
	echo "1 passed, 0 failed"
else
	echo "not ok - counters"
	echo "0 passed, 1 failed"
	exit 1
fi
