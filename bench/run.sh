#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the benchmarks that `make bench` built: bench/run.sh BUILD_DIR [NAME]. Each prints its table and
# writes build/bench/NAME.json, whatever the variant's directory is called. GOODPUT=full: all of goodput.
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
if [[ -z $only || $only == goodput ]]; then
	found=1
	echo "== goodput"
	if [[ $(id -u) == 0 ]]; then
		full=()
		[[ ${GOODPUT:-} != full ]] || full=(--full)
		python3 bench/goodput.py "$dir" "$out/goodput.json" "${full[@]}"
	else
		echo "skipped: it makes network namespaces, which needs root"
	fi
fi
if [[ $found == 0 ]]; then
	echo "no benchmark called '$only'; there are:" >&2
	for bin in "$dir"/bench/bench_*; do
		name=${bin##*/bench_}
		[[ $name == *.* ]] || echo "  $name" >&2
	done
	echo "  goodput" >&2
	exit 2
fi
