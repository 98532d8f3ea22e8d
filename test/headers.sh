#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Compiles each header alone, twice included: whoever includes it needs to know nothing else.
#
#   test/headers.sh        prints "not ok" lines and ends with "N passed, N failed"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

read -ra libs < <(pkg-config --cflags libdpdk libhs criterion numa yaml-0.1 jansson sqlite3 2>/dev/null |
	sed 's/-I\([^ ]*\)/-isystem \1/g' || true)
passed=0
failed=0
while IFS= read -r header; do
	if printf '#include "%s"\n#include "%s"\n' "$header" "$header" |
		"${CC:-gcc}" -std=gnu11 -D_GNU_SOURCE -DALLOW_EXPERIMENTAL_API -I. "${libs[@]}" -Wall -Wextra -Werror \
			-fsyntax-only -x c - 2>&1; then
		passed=$((passed + 1))
	else
		echo "not ok - $header does not compile alone"
		failed=$((failed + 1))
	fi
done < <(find control scanner dataplane test bench -name '*.h' -type f | LC_ALL=C sort)
[ "$failed" -gt 0 ] || echo "ok - $passed headers compile alone"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
