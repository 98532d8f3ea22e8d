// SPDX-License-Identifier: Apache-2.0
// pressure: tells the operator's log when a worker begins to refuse, and when that is over.
//
// Who calls it: posternd's loop, once a turn. Memory: the caller's struct. What can go wrong: the
// level flaps: one worker has at most one line in PRESSURE_SAY_MS. Cookies alone (level 1) cost
// nobody anything and are not told. All words of the region are input.
#pragma once

#include "control/abi/region.h"

#define PRESSURE_SAY_MS 10000u

struct pressure {
	bool is_told[REGION_WORKERS_MAX]; // that it refuses
	uint64_t told_ms[REGION_WORKERS_MAX];
};

enum pressure_news { PRESSURE_NONE, PRESSURE_BEGINS, PRESSURE_ENDS };

enum pressure_news pressure_step(struct pressure *p, uint32_t worker, uint64_t level,
				 uint64_t now_ms);
// Looks at the first `workers`; those that are gone are forgotten.
void pressure_poll(struct pressure *p, const struct region *r, uint32_t workers, uint64_t now_ms);
