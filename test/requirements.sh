#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks test/tcp/requirements.txt: every row is whole, and every test that it names exists.
#
#   test/requirements.sh              the table
#   test/requirements.sh --self-test  tables with one mistake each: every mistake must be found
#
# A row: ID | STATE | TESTS OR REASON | TEXT. STATE is `done` (then one or more tests, perhaps a remark behind `--`),
# `differs` (tests, and behind `--` what we do instead and why) or `n/a` (then the reason). A test is NAME.pkt
# (test/tcp), NAME.mtc (test/smtp), FILE:NAME (the Criterion test NAME of test/unit/FILE.c), conf:NAME (test/conf),
# fuzz:TARGET, e2e:FILE or sim:FILE.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
rfcs="9293 5681 6298 6582 7323 2018 2883 6675 8985 9438 6937 5961 6528 6191 6056 5482 1191 8201 5927 4987"

exists() { # TEST
	case $1 in
	*.pkt) [[ -f test/tcp/$1 ]] ;;
	*.mtc) [[ -f test/smtp/$1 ]] ;;
	conf:*) [[ -f test/conf/${1#conf:}.yaml ]] ;;
	fuzz:*) [[ -f test/fuzz/${1#fuzz:}.c ]] ;;
	e2e:*) [[ -f test/e2e/${1#e2e:}.py ]] ;;
	sim:*) [[ -f test/sim/${1#sim:}.c ]] ;;
	*:*)
		[[ -f test/unit/${1%%:*}.c ]] &&
			grep -qE "^(Test|ParameterizedTest)\(([^,]*, )?[a-z_0-9]+, ${1#*:}[,)]" "test/unit/${1%%:*}.c"
		;;
	*) return 1 ;;
	esac
}

trim() { # TEXT: without blanks at both ends, in REPLY
	REPLY=$1
	REPLY=${REPLY#"${REPLY%%[![:space:]]*}"}
	REPLY=${REPLY%"${REPLY##*[![:space:]]}"}
}

check() { # FILE: prints what is wrong; 1 if anything is
	local file=$1 n=0 rows=0 bad=0 line id state tests text why t
	local -A seen=() of_rfc=() states=()
	wrong() {
		echo "$file:$n: $1"
		bad=1
	}
	while IFS= read -r line || [[ -n $line ]]; do
		n=$((n + 1))
		[[ -z $line || $line == \#* ]] && continue
		rows=$((rows + 1))
		IFS='|' read -r id state tests text <<<"$line"
		trim "$id" && id=$REPLY
		trim "$state" && state=$REPLY
		trim "$tests" && tests=$REPLY
		trim "${text:-}" && text=$REPLY
		if [[ ! $id =~ ^RFC([0-9]+)\ [A-Za-z0-9.-]+$ ]]; then
			wrong "\"$id\" is not an ID like \"RFC9293 MUST-1\""
			continue
		fi
		of_rfc[${BASH_REMATCH[1]}]=1
		[[ -z ${seen[$id]:-} ]] || wrong "$id is there twice, first in line ${seen[$id]}"
		seen[$id]=$n
		[[ -n $text ]] || wrong "$id has no text"
		[[ -n $tests ]] || wrong "$id has neither tests nor a reason"
		states[$state]=$((${states[$state]:-0} + 1))
		why=
		case $state in
		done) ;;
		differs)
			why=${tests#*--}
			[[ $tests == *--* && -n ${why// /} ]] || wrong "$id does not say what we do instead"
			;;
		n/a) continue ;;
		*)
			wrong "$id has the state \"$state\""
			continue
			;;
		esac
		tests=${tests%%--*}
		[[ -n ${tests// /} ]] || wrong "$id has no test"
		for t in $tests; do
			exists "$t" || wrong "$id names the test $t, which does not exist"
		done
	done <"$file"
	for t in $rfcs; do
		[[ -n ${of_rfc[$t]:-} ]] || wrong "there is no row of RFC $t"
	done
	for t in MUST-{1..69} SHLD-{1..31} MAY-{1..18} REC-1; do # all that RFC 9293 appendix B numbers
		[[ -n ${seen[RFC9293 $t]:-} ]] || wrong "there is no row of RFC 9293 $t"
	done
	echo "# $rows requirements: ${states[done]:-0} done, ${states[differs]:-0} otherwise and why, ${states[n/a]:-0} not applicable"
	return $bad
}

self_test() {
	local passed=0 failed=0 good out name
	dir=$(mktemp -d) # not local: the trap needs it
	trap 'rm -rf "$dir"' EXIT
	good=$dir/good
	for t in $rfcs; do
		echo "RFC$t MUST-1 | n/a | there is nothing like it here | words"
	done >"$good"
	for t in MUST-{2..69} SHLD-{1..31} MAY-{1..18} REC-1; do
		echo "RFC9293 $t | n/a | there is nothing like it here | words"
	done >>"$good"
	echo "RFC9293 3.1 | done | fuzz:plane_tcp deliver.mtc plane_flow:$(sed -n 's/^Test([a-z_]*, \([a-z_0-9]*\)).*/\1/p' \
		test/unit/plane_flow.c | head -1) | words" >>"$good"
	expect() { # NAME WORDS: the table $dir/t must be refused with these words
		if out=$(check "$dir/t") || [[ $out != *"$2"* ]]; then
			echo "not ok - $1: $out"
			failed=$((failed + 1))
		else
			passed=$((passed + 1))
		fi
	}
	if check "$good" >/dev/null; then passed=1; else
		echo "not ok - a sound table is refused: $(check "$good")"
		failed=1
	fi
	while IFS='=' read -r name row words; do
		{ cat "$good" && echo "$row"; } >"$dir/t"
		expect "$name" "$words"
	done <<-END
		no such script=RFC9293 3.2 | done | no_such.pkt | words=no_such.pkt, which does not exist
		no such unit test=RFC9293 3.2 | done | plane_flow:no_such | words=plane_flow:no_such, which
		no such target=RFC9293 3.2 | done | fuzz:no_such | words=does not exist
		a word=RFC9293 3.2 | done | nothing | words=does not exist
		no test=RFC9293 3.2 | done |  | words=neither tests nor a reason
		twice=RFC9293 MUST-1 | n/a | because | words=is there twice
		unknown state=RFC9293 3.2 | maybe | deliver.mtc | words=has the state
		no reason=RFC9293 3.2 | differs | deliver.mtc | words=does not say what we do instead
		only a remark=RFC9293 3.2 | done | -- it is so | words=RFC9293 3.2 has no test
		only a reason=RFC9293 3.2 | differs | -- it is not so | words=RFC9293 3.2 has no test
		no text=RFC9293 3.2 | n/a | because |=has no text
		no ID=MUST-3 | n/a | because | words=is not an ID
	END
	grep -v RFC5961 "$good" >"$dir/t"
	expect "an RFC is missing" "no row of RFC 5961"
	grep -v 'RFC9293 SHLD-31 ' "$good" >"$dir/t"
	expect "a number of appendix B is missing" "no row of RFC 9293 SHLD-31"
	echo "$passed passed, $failed failed"
	[[ $failed == 0 ]]
}

if [[ ${1:-} == --self-test ]]; then
	self_test
elif check test/tcp/requirements.txt; then
	echo "ok - requirement table"
	echo "1 passed, 0 failed"
else
	echo "not ok - requirement table"
	echo "0 passed, 1 failed"
	exit 1
fi
