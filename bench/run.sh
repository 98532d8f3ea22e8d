#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the benchmarks that `make bench` built: bench/run.sh BUILD_DIR [NAME]. Each prints its table and
# writes build/bench/NAME.json, whatever the variant's directory is called.
set -euo pipefail
dir=${1:?usage: bench/run.sh BUILD_DIR [NAME]}
only=${2:-}
out=build/bench
mkdir -p "$out"
found=0
for bin in "$dir"/bench/bench_*; do
	name=${bin##*/bench_}
	[[ -x $bin && $name != *.* ]] || continue
	[[ -z $only || $only == "$name" ]] || continue
	found=1
	echo "== $name"
	"$bin" "$out/$name.json"
done
if [[ $found == 0 ]]; then
	echo "no benchmark called '$only'; there are:" >&2
	for bin in "$dir"/bench/bench_*; do
		name=${bin##*/bench_}
		[[ $name == *.* ]] || echo "  $name" >&2
	done
	exit 2
fi
