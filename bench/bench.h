// SPDX-License-Identifier: Apache-2.0
// bench: what all benchmarks share: cycle counts, medians, the table and the JSON file.
//
// Who calls it: bench programs. Memory: none kept. A row is a figure beside a baseline that was
// measured in the same run; without one it is not printed. Cycles are TSC cycles: on a shared
// machine trust the ratios, and the medians more than any single run.
#pragma once

#include "control/base/check.h"

#include <x86intrin.h>

#define BENCH_RUNS 5
#define BENCH_ROWS_MAX 64

struct bench_row {
	char name[64];
	double value;
	const char *unit;
	char baseline[96];
	double baseline_value;
};

struct bench {
	const char *file; // JSON goes here
	struct bench_row row[BENCH_ROWS_MAX];
	uint32_t count;
};

static inline uint64_t
bench_cycles(void)
{
	return __rdtsc();
}

double bench_median(double *v, uint32_t n); // sorts v
double bench_tsc_hz(void);                  // measured once, 50 ms
void bench_add(struct bench *b, const char *name, double value, const char *unit,
	       const char *baseline, double baseline_value);
int bench_finish(struct bench *b); // prints the table, writes the file; the program's exit code
