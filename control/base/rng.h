// SPDX-License-Identifier: Apache-2.0
// rng: a small seeded generator (xoshiro256**), so that a simulation can be replayed from its seed.
//
// Who calls it: tests, and the dataplane for jitter and ports (seeded from the kernel in boot). Not
// for secrets: those are read from getrandom(2) in boot.
#pragma once

#include "control/base/check.h"

struct rng {
	uint64_t s[4];
};

void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
uint32_t rng_below(struct rng *r, uint32_t n); // 0 .. n-1; n > 0
bool rng_chance(struct rng *r, uint32_t per_million);
