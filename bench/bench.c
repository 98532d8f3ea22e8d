// SPDX-License-Identifier: Apache-2.0
// bench: see the header.
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

double
bench_median(double *v, uint32_t n)
{
	CHECK(n > 0);
	qsort(v, n, sizeof(*v), compare);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

double
bench_tsc_hz(void)
{
	struct timespec a, b;
	clock_gettime(CLOCK_MONOTONIC, &a);
	uint64_t begin = bench_cycles();
	do {
		clock_gettime(CLOCK_MONOTONIC, &b);
	} while ((b.tv_sec - a.tv_sec) * 1000000000ll + b.tv_nsec - a.tv_nsec < 50000000);
	double s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
	return (double)(bench_cycles() - begin) / s;
}

void
bench_add(struct bench *b, const char *name, double value, const char *unit, const char *baseline,
	  double baseline_value)
{
	CHECK(b->count < BENCH_ROWS_MAX);
	CHECK(baseline_value > 0);
	struct bench_row *r = &b->row[b->count++];
	(void)snprintf(r->name, sizeof(r->name), "%s", name);
	(void)snprintf(r->baseline, sizeof(r->baseline), "%s", baseline);
	r->value = value;
	r->unit = unit;
	r->baseline_value = baseline_value;
}

int
bench_finish(struct bench *b)
{
	FILE *f = fopen(b->file, "w");
	if (f == NULL) {
		perror(b->file);
		return 1;
	}
	printf("%-34s %14s %-16s %14s %8s  %s\n", "name", "value", "unit", "baseline", "ratio",
	       "what the baseline is");
	(void)fputs("[\n", f);
	for (uint32_t i = 0; i < b->count; i++) {
		const struct bench_row *r = &b->row[i];
		double ratio = r->value / r->baseline_value;
		printf("%-34s %14.1f %-16s %14.1f %8.3f  %s\n", r->name, r->value, r->unit,
		       r->baseline_value, ratio, r->baseline);
		fprintf(f,
			"  {\"name\": \"%s\", \"value\": %.3f, \"unit\": \"%s\", \"baseline\": "
			"\"%s\", "
			"\"baseline_value\": %.3f, \"ratio\": %.5f}%s\n",
			r->name, r->value, r->unit, r->baseline, r->baseline_value, ratio,
			i + 1 < b->count ? "," : "");
	}
	(void)fputs("]\n", f);
	return fclose(f) == 0 ? 0 : 1;
}
