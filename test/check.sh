#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Static analysis and formatting: what `make check` runs. Needs the packages of the group "check"
# (sudo deploy/install-deps.sh check). A tool that is not there is skipped, with a line that says so.
# Last line: "N passed, N failed[, N skipped]".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=test/tally.sh
. test/tally.sh
export TALLY_LINES=${TALLY_LINES:-200}

mapfile -t sources < <(find control scanner dataplane test bench -name '*.c' -type f | LC_ALL=C sort)
mapfile -t headers < <(find control scanner dataplane test bench -name '*.h' -type f | LC_ALL=C sort)
mapfile -t scripts < <(
	{
		find deploy test bench firmware -name '*.sh' -type f
		echo .ci/run
	} | LC_ALL=C sort
)
read -ra flags < <(pkg-config --cflags libdpdk libhs criterion numa yaml-0.1 jansson sqlite3 2>/dev/null |
	sed 's/-I\([^ ]*\)/-isystem \1/g; s/-march=[^ ]*//' || true)

with() { # TOOL: is it there?
	command -v "$1" >/dev/null && return 0
	echo "skip - $1: not installed (sudo deploy/install-deps.sh check)"
	tally_add 0 0 1
	return 1
}

# Calls that overflow, guess, or reach a shell do not occur.
forbidden() {
	! grep -n -E '(^|[^a-zA-Z_])(strcpy|strcat|sprintf|strtok|atoi|alloca|system|popen|gets)[[:space:]]*\(' \
		"${sources[@]}" "${headers[@]}"
}

# House rules that a machine can count: the first line, the length of lines and files.
style() {
	local f bad=0
	for f in "${sources[@]}" "${headers[@]}"; do
		if [ "$(head -n 1 "$f")" != "// SPDX-License-Identifier: Apache-2.0" ]; then
			echo "$f:1: no SPDX line"
			bad=1
		fi
		if [ "$(wc -l <"$f")" -gt 800 ]; then
			echo "$f: more than 800 lines"
			bad=1
		fi
	done
	if expand "${sources[@]}" "${headers[@]}" | grep -q '.\{101\}'; then
		for f in "${sources[@]}" "${headers[@]}"; do
			expand "$f" | grep -n '.\{101\}' | sed "s|^\([0-9]*\):.*|$f:\1: more than 100 columns|" || true
		done
		bad=1
	fi
	return $bad
}

# Left out, because they are wrong about this tree: sizeof-expression takes an array of pointers for a mistake, and
# not-null-terminated-result takes bytes for a string (there are next to no strings here).
tidy_checks='-*,clang-analyzer-core.*,clang-analyzer-unix.*,bugprone-*'
for check in easily-swappable-parameters reserved-identifier assignment-in-if-condition narrowing-conversions \
	implicit-widening-of-multiplication-result macro-parentheses sizeof-expression not-null-terminated-result; do
	tidy_checks+=,-bugprone-$check
done

# Findings that were read and are none: "FILE CHECK". Another finding of that kind in that file is passed over too, so
# this list has to stay short.
tidy_known=(
	# A span that has bytes and no pointer: span.h makes none, which the analyzer does not see across span_sub().
	"dataplane/smtp_command.c clang-analyzer-core.NonNullParamChecker"
	"dataplane/smtp_command.c clang-analyzer-core.NullDereference"
	"scanner/mime.c clang-analyzer-core.NonNullParamChecker"
	"scanner/rfc5322.c clang-analyzer-core.NullDereference"
	"test/sim/sim_run.c clang-analyzer-core.NonNullParamChecker"
	# It takes cr_assert() for something that may return.
	"test/unit/control_config.c clang-analyzer-core.CallAndMessage"
	"test/unit/control_config.c clang-analyzer-core.UndefinedBinaryOperatorResult"
	# Long rows of a table of texts, written on two lines.
	"test/unit/control_api.c bugprone-suspicious-missing-comma"
	"test/unit/scan_scan.c bugprone-suspicious-missing-comma"
)

# Its exit status tells of files that do not compile; its findings are the lines with a check's name at the end.
tidy() {
	local out status=0 line where known bad=0
	# shellcheck disable=SC2016 # for the inner shell, where $2 is several words
	out=$(printf '%s\n' "${sources[@]}" | xargs -P 2 -n 8 bash -c 'clang-tidy --quiet "$1" "${@:3}" -- $2' tidy \
		"--checks=$tidy_checks" "-std=gnu11 -D_GNU_SOURCE -DALLOW_EXPERIMENTAL_API -I. ${flags[*]}" 2>&1) || status=$?
	while IFS= read -r line; do
		where=$(sed -E "s|^$PWD/||; s|:[0-9]+:[0-9]+: .*\[([^]]*)\]$| \1|" <<<"$line")
		for known in "${tidy_known[@]}"; do
			[ "$where" != "$known" ] || continue 2
		done
		echo "$line"
		bad=1
	done < <(grep -E '^[^ ]+:[0-9]+:[0-9]+: (warning|error): ' <<<"$out" | LC_ALL=C sort -u)
	if [ $status -ne 0 ] && [ $bad -eq 0 ]; then
		tail -n 20 <<<"$out"
		bad=1
	fi
	return $bad
}

tally_run status "forbidden calls" 60 bash -c "$(declare -f forbidden); $(declare -p sources headers); forbidden"
tally_run status "style" 60 bash -c "$(declare -f style); $(declare -p sources headers); style"
if with shellcheck; then
	tally_run status "shellcheck" 120 shellcheck -x "${scripts[@]}"
fi
if with cppcheck; then
	tally_run status "cppcheck" 900 cppcheck --quiet --std=c11 --language=c --enable=warning,portability \
		--inline-suppr --suppress=missingIncludeSystem --suppress='*:*/test/*' --error-exitcode=1 -I . \
		--library=test/cppcheck.cfg \
		-j 2 control scanner dataplane
fi
if with clang-tidy; then
	tally_run status "clang-tidy" 1800 bash -c "$(declare -f tidy); $(declare -p sources flags tidy_checks tidy_known); tidy"
fi
if with clang-format; then
	tally_run status "clang-format" 120 clang-format --dry-run -Werror "${sources[@]}" "${headers[@]}"
fi

tally_text
[ "$tally_failed" -eq 0 ]
