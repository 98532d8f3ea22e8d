// SPDX-License-Identifier: Apache-2.0
#include "control/loop_hist.h"

#include "control/base/check.h"

void
loop_hist_add(struct loop_hist *h, const struct counters *worker)
{
	for (uint32_t i = 0; i < LOOP_BUCKETS; i++)
		h->turns[i] += counter_read(&worker->loop[i]);
}

uint64_t
loop_hist_below_us(uint32_t bucket)
{
	CHECK(bucket < LOOP_BUCKETS);
	return 1ull << bucket;
}

uint64_t
loop_hist_us(const struct loop_hist *h, uint32_t permille)
{
	uint64_t total = 0, seen = 0;
	uint32_t last = 0;

	CHECK(permille <= 1000);
	for (uint32_t i = 0; i < LOOP_BUCKETS; i++) {
		total += h->turns[i];
		last = h->turns[i] > 0 ? i : last;
	}
	if (total == 0)
		return 0;
	// Divided first: the numbers may be any.
	uint64_t rest = 1000 - permille;
	uint64_t want = total - (total / 1000 * rest + total % 1000 * rest / 1000);
	for (uint32_t i = 0; i < last; i++) {
		seen += h->turns[i];
		if (seen >= want && seen > 0)
			return loop_hist_below_us(i);
	}
	return loop_hist_below_us(last);
}
