# SPDX-License-Identifier: Apache-2.0
# Sums test results; to be sourced. Every test program of this tree ends with a line
# "N passed, N failed" or "N passed, N failed, N skipped", and with an exit status that says the same.
# A program that crashes, hangs or prints no such line counts as one failure, named.
# shellcheck shell=bash

tally_passed=0
tally_failed=0
tally_skipped=0

tally_add() { # PASSED FAILED [SKIPPED]
	tally_passed=$((tally_passed + $1))
	tally_failed=$((tally_failed + $2))
	tally_skipped=$((tally_skipped + ${3:-0}))
}

tally_text() {
	if [ "$tally_skipped" -gt 0 ]; then
		echo "$tally_passed passed, $tally_failed failed, $tally_skipped skipped"
	else
		echo "$tally_passed passed, $tally_failed failed"
	fi
}

# The last total in a program's output as "PASSED FAILED SKIPPED"; nothing when there is none.
tally_total_of() { # FILE
	sed -n 's/^\([0-9]\{1,\}\) passed, \([0-9]\{1,\}\) failed\(, \([0-9]\{1,\}\) skipped\)\{0,1\}$/\1 \2 0\4/p' "$1" |
		tail -n 1
}

# The same from Criterion's closing line (its colours taken away). A crashed test is one that did not pass.
tally_criterion_of() { # FILE
	sed 's/\x1b\[[0-9;]*m//g' "$1" |
		sed -n 's/.*Tested: \([0-9]*\) *| *Passing: \([0-9]*\) *| *Failing.*/\1 \2/p' | tail -n 1 |
		while read -r tested passing; do echo "$passing $((tested - passing)) 0"; done
}

# Runs a program with a time limit, shows what it said when something failed, and adds its total.
#   tally_run HOW NAME SECONDS COMMAND ..
# HOW: total, criterion, or status (the exit status alone is one test).
tally_run() {
	local how=$1 name=$2 seconds=$3 out status=0 counts=
	shift 3
	out=$(mktemp)
	timeout -k 10 "$seconds" "$@" >"$out" 2>&1 </dev/null || status=$?
	case $how in
	total) counts=$(tally_total_of "$out") ;;
	criterion) counts=$(tally_criterion_of "$out") ;;
	status) if [ $status -eq 0 ]; then counts="1 0 0"; else counts="0 1 0"; fi ;;
	esac
	local p=0 f=0 s=0
	if [ -z "$counts" ]; then
		f=1
		echo "not ok - $name: no total (exit status $status)"
	else
		read -r p f s <<<"$counts"
		s=$((10#$s))
		if [ $status -ne 0 ] && [ "$f" -eq 0 ]; then
			f=1
			echo "not ok - $name: exit status $status"
		elif [ "$f" -gt 0 ]; then
			echo "not ok - $name: $f of $((p + f)) failed"
		elif [ $((p + s)) -eq 0 ] && grep -q '^skipped: ' "$out"; then
			# A whole program that skips itself says why in a line "skipped: reason".
			s=1
			echo "ok - $name (skipped)"
		elif [ $((p + s)) -eq 0 ]; then
			f=1
			echo "not ok - $name: ran no test"
		else
			echo "ok - $name ($p)"
		fi
	fi
	if [ "$f" -gt 0 ]; then
		# Enough to see why; the lines that matter are those that are not "ok".
		grep -v '^ok ' "$out" | tail -n "${TALLY_LINES:-80}" | sed 's/^/    /' || true
	fi
	grep -i '^skip' "$out" | sed 's/^/    /' || true
	rm -f "$out"
	tally_add "$p" "$f" "$s"
}
