// SPDX-License-Identifier: Apache-2.0
// loop_hist: how long the busy turns of workers took, from the histogram in their counters.
//
// What for: `postern stats` and `postern status`. Who calls it: the API of posternd. Memory: the
// caller's struct. What can go wrong: the numbers are the dataplane's and may be any; sums wrap,
// nothing else happens.
#pragma once

#include "control/abi/counter.h"

struct loop_hist {
	uint64_t turns[LOOP_BUCKETS];
};

void loop_hist_add(struct loop_hist *h, const struct counters *worker);
// So many us, rounded up to a power of two, were enough for `permille` of the turns; 1000: for the
// longest one. 0: there was no turn.
uint64_t loop_hist_us(const struct loop_hist *h, uint32_t permille);
// Turns of a bucket took less than this.
uint64_t loop_hist_below_us(uint32_t bucket);
