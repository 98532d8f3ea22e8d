// SPDX-License-Identifier: Apache-2.0
// impair_draw: see the header. The number of draws does not depend on what is drawn, so that one
// kind more does not change all others.
#include "test/sim/lib/impair_draw.h"

// Zero in `of` - 1 of `of` cases, else below `most`.
static uint32_t
sometimes(struct rng *r, uint32_t of, uint32_t most)
{
	bool is_now = rng_below(r, of) == 0;
	uint32_t value = 1 + rng_below(r, most);

	return is_now ? value : 0;
}

static void
draw_fair(struct rng *r, struct vnet_path *p)
{
	p->jitter_us = sometimes(r, 3, 5000);
	p->loss_ppm = sometimes(r, 2, 50000);
	p->dup_ppm = sometimes(r, 3, 50000);
	p->reorder_ppm = sometimes(r, 3, 100000);
	p->reorder_us = sometimes(r, 2, 20000);
	p->corrupt_ppm = sometimes(r, 4, 20000);
	p->truncate_ppm = sometimes(r, 6, 10000);
	p->rate_kbit = sometimes(r, 5, 20000);
	if (p->rate_kbit > 0)
		p->rate_kbit += 500;
	p->queue_frames = 64 + rng_below(r, 192);
}

struct vnet_path
impair_draw(struct rng *r, uint32_t kinds, uint64_t now_us)
{
	struct vnet_path p = {.queue_frames = 256}, fair = p, bad = p;
	bool is_clean = rng_below(r, 6) == 0;

	p.delay_us = rng_below(r, 3) == 0 ? 0 : rng_below(r, 30000);
	fair.delay_us = p.delay_us;
	draw_fair(r, &fair);
	bad.burst_ppm = sometimes(r, 2, 20000);
	bad.burst_end_ppm = 100000 + rng_below(r, 500000);
	bad.dark_from_us = now_us + rng_below(r, 60000000);
	bad.dark_until_us = bad.dark_from_us + sometimes(r, 2, 30000000);
	bad.mtu = 1280 + rng_below(r, 220);
	if (is_clean)
		return p;
	if (kinds & IMPAIR_DRAW_FAIR)
		p = fair;
	if (kinds & IMPAIR_DRAW_BURSTS) {
		p.burst_ppm = bad.burst_ppm;
		p.burst_end_ppm = bad.burst_end_ppm;
	}
	if (kinds & IMPAIR_DRAW_DARK) {
		p.dark_from_us = bad.dark_from_us;
		p.dark_until_us = bad.dark_until_us;
	}
	if (kinds & IMPAIR_DRAW_MTU)
		p.mtu = bad.mtu;
	return p;
}

bool
impair_is_harsh(const struct vnet_path *p)
{
	return p->burst_ppm > 0 || p->dark_until_us > p->dark_from_us;
}
