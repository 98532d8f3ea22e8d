// SPDX-License-Identifier: Apache-2.0
// impair_draw: paths for property tests, drawn from a seed.
//
// Who calls it: what runs many seeds. Memory: none. A path is fair when TCP has to get everything
// through it: what it loses, it loses at random and seldom enough that five repetitions of a SYN
// are plenty. Over a harsh one a connection may also end by timeout.
#pragma once

#include "test/sim/lib/impair.h"

enum impair_draw {              // bits of what may be drawn beside delay
	IMPAIR_DRAW_FAIR = 1,   // loss, duplication, reordering, corruption, cuts, a slow line
	IMPAIR_DRAW_BURSTS = 2, // loss in bursts
	IMPAIR_DRAW_DARK = 4,   // nothing passes for up to 30 s, once
	IMPAIR_DRAW_MTU = 8,    // larger packets vanish, `router` says so or nobody does
};

// now_us: dark times lie within 60 s from it.
struct vnet_path impair_draw(struct rng *r, uint32_t kinds, uint64_t now_us);
bool impair_is_harsh(const struct vnet_path *p); // but for its MTU
