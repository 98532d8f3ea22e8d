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
	if expand "${sources[@]}" "${headers[@]}" | grep -q '.\{111\}'; then
		for f in "${sources[@]}" "${headers[@]}"; do
			expand "$f" | grep -n '.\{111\}' | sed "s|^\([0-9]*\):.*|$f:\1: more than 110 columns|" || true
		done
		bad=1
	fi
	return $bad
}

tally_run status "forbidden calls" 60 bash -c "$(declare -f forbidden); $(declare -p sources headers); forbidden"
tally_run status "style" 60 bash -c "$(declare -f style); $(declare -p sources headers); style"
if with shellcheck; then
	tally_run status "shellcheck" 120 shellcheck -x -S warning "${scripts[@]}"
fi
if with cppcheck; then
	tally_run status "cppcheck" 900 cppcheck --quiet --std=c11 --language=c --enable=warning,portability \
		--inline-suppr --suppress=missingIncludeSystem --suppress='*:*/test/*' --error-exitcode=1 -I . \
		--library=test/cppcheck.cfg \
		-j 2 control scanner dataplane
fi
if with clang-tidy; then
	tally_run status "clang-tidy" 1800 clang-tidy --quiet \
		--checks='-*,clang-analyzer-core.*,clang-analyzer-unix.*,bugprone-*,-bugprone-easily-swappable-parameters,-bugprone-reserved-identifier,-bugprone-assignment-in-if-condition,-bugprone-narrowing-conversions,-bugprone-implicit-widening-of-multiplication-result,-bugprone-macro-parentheses' \
		--warnings-as-errors='*' "${sources[@]}" -- -std=gnu11 -D_GNU_SOURCE -DALLOW_EXPERIMENTAL_API -I. "${flags[@]}"
fi
if with clang-format; then
	tally_run status "clang-format" 120 clang-format --dry-run -Werror "${sources[@]}" "${headers[@]}"
fi

tally_text
[ "$tally_failed" -eq 0 ]
