#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every test there is. Needs root and a Debian 12; installs what is missing, builds, tests, cleans up.
#
#   sudo test/run.sh            all of it
#   sudo test/run.sh --quick    without the sanitizer build
#
# Last line: "N passed, N failed" (", N skipped" where a reason was printed).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=test/tally.sh
. test/tally.sh

quick=no
for arg in "$@"; do
	case $arg in
	--quick) quick=yes ;;
	*) sed -n 's/^# \{0,3\}//; 4,8p' "$0" >&2; exit 2 ;;
	esac
done

# The system's own programs and nothing inherited that would change what is built.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
unset VARIANT CC CFLAGS LDFLAGS MAKEFLAGS

finish() {
	tally_text
	[ "$tally_failed" -eq 0 ]
}
stage() { echo "== $* ($SECONDS s)"; }

if [ "$(id -u)" -ne 0 ]; then
	stage "packages: not root, so nothing is installed and the end-to-end tests are skipped"
else
	stage "packages"
	deploy/install-deps.sh || { echo "not ok - packages"; tally_add 0 1; finish; exit 1; }
fi

build_log=$(mktemp)
trap 'rm -f "$build_log"' EXIT
build() { # VARIANT
	stage "build $1"
	if ! make -j2 WERROR=1 VARIANT="$1" tests >"$build_log" 2>&1; then
		echo "not ok - build $1"
		tail -n 40 "$build_log" | sed 's/^/    /'
		tally_add 0 1
		return 1
	fi
	echo "ok - build $1"
	tally_add 1 0
}

# The tests' own lines are shown as they come; their total is taken from the last one.
shown() { # NAME SECONDS COMMAND ..
	local name=$1 seconds=$2 out status=0 counts p=0 f=1 s=0
	shift 2
	out=$(mktemp)
	set +e
	timeout -k 30 "$seconds" "$@" 2>&1 </dev/null | tee "$out" | grep -v -E '^[0-9]+ passed, [0-9]+ failed'
	status=${PIPESTATUS[0]}
	set -e
	counts=$(tally_total_of "$out")
	if [ -n "$counts" ]; then
		read -r p f s <<<"$counts"
		s=$((10#$s))
		if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then
			echo "not ok - $name: exit status $status"
			f=1
		fi
	else
		echo "not ok - $name: no total (exit status $status)"
	fi
	rm -f "$out"
	tally_add "$p" "$f" "$s"
}

if build release; then
	stage "make test"
	shown "make test" 600 test/make-test.sh build/release
else
	finish
	exit 1
fi
stage "property tests over 10,000 seeds"
shown "property tests" 900 test/sim/many.sh build/release 10000
if [ $quick = no ]; then
	if build asan; then
		stage "make test VARIANT=asan"
		shown "make test VARIANT=asan" 900 test/make-test.sh build/asan
	fi
fi

rigs_down() {
	local d
	for d in /run/postern-rig/e2e-*; do
		if [ -d "$d" ]; then
			test/rig.sh down --name "$(basename "$d")" || true
		fi
	done
}
if [ "$(id -u)" -eq 0 ]; then
	trap 'rm -f "$build_log"; rigs_down' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	for t in test/e2e/[0-9]*.py; do
		stage "$t"
		shown "$t" 300 python3 "$t"
		rigs_down
	done
else
	for t in test/e2e/[0-9]*.py; do
		echo "skip - $t: needs root"
		tally_add 0 0 1
	done
fi
stage "done"
finish
