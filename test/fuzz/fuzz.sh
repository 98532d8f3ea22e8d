#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fuzz.sh NAME [SECONDS]: builds test/fuzz/*_NAME.c with clang and runs libFuzzer on it, from the seeds in
# test/fuzz/NAME.in/. What it finds on the way is kept in build/fuzz/corpus/NAME/, crashes in
# build/fuzz/NAME-*. Run it from the repository's root (make fuzz T=NAME S=SECONDS does).
set -eu

name=${1:-}
seconds=${2:-}
[ -n "$seconds" ] || seconds=60

names() {
	for f in test/fuzz/base_*.c test/fuzz/scan_*.c test/fuzz/plane_*.c; do
		[ -e "$f" ] && basename "$f" .c | sed 's/^[a-z]*_//'
	done
	return 0
}

source=
for area in base scan plane; do
	[ -n "$name" ] && [ -e "test/fuzz/${area}_$name.c" ] && source="${area}_$name"
done
if [ -z "$source" ]; then
	echo "usage: make fuzz T=NAME S=SECONDS, where NAME is one of: $(names | tr '\n' ' ')" >&2
	exit 2
fi
if ! command -v clang >/dev/null; then
	echo "fuzzing needs clang. Run: sudo apt-get install clang" >&2
	exit 2
fi

target="build/fuzz/test/fuzz/$source"
"${MAKE:-make}" --no-print-directory VARIANT=fuzz "$target"
corpus="build/fuzz/corpus/$name"
mkdir -p "$corpus"
set -- "$corpus"
[ -d "test/fuzz/$name.in" ] && set -- "$@" "test/fuzz/$name.in"
[ -e "test/fuzz/$name.dict" ] && set -- "-dict=test/fuzz/$name.dict" "$@"
exec "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	-artifact_prefix="build/fuzz/$name-" "$@"
