// SPDX-License-Identifier: Apache-2.0
// What posternd makes of the numbers of a worker: when pressure is told, how long turns took.
#include <criterion/criterion.h>
#include <string.h>

#include "control/loop_hist.h"
#include "control/pressure.h"

Test(control_pressure, is_told_when_it_costs_somebody)
{
	struct pressure p = {0};
	uint64_t now = 1000;

	cr_assert_eq(pressure_step(&p, 0, SHED_COOKIES, now), PRESSURE_NONE);
	cr_assert_eq(pressure_step(&p, 0, SHED_REFUSE, now), PRESSURE_BEGINS);
	cr_assert_eq(pressure_step(&p, 0, SHED_DROP, now), PRESSURE_NONE);
	cr_assert_eq(pressure_step(&p, 1, SHED_DROP, now), PRESSURE_BEGINS, "a worker of its own");
	// It flaps: one line in a while, and the last state is told in the end.
	for (uint32_t ms = 1; ms < PRESSURE_SAY_MS; ms++)
		cr_assert_eq(pressure_step(&p, 0, ms % 2 * SHED_REFUSE, now + ms), PRESSURE_NONE);
	now += PRESSURE_SAY_MS;
	cr_assert_eq(pressure_step(&p, 0, SHED_COOKIES, now), PRESSURE_ENDS);
	cr_assert_eq(pressure_step(&p, 0, SHED_NONE, now + PRESSURE_SAY_MS), PRESSURE_NONE);
	cr_assert_eq(pressure_step(&p, 0, UINT64_MAX, now + PRESSURE_SAY_MS), PRESSURE_BEGINS);
}

Test(control_pressure, percentiles_of_turns)
{
	static struct counters n;
	struct loop_hist h = {{0}};

	cr_assert_eq(loop_hist_us(&h, 500), 0, "no turns");
	n.loop[3] = 980; // below 8 us
	n.loop[7] = 19;
	n.loop[12] = 1;
	loop_hist_add(&h, &n);
	cr_assert_eq(loop_hist_us(&h, 500), 8);
	cr_assert_eq(loop_hist_us(&h, 980), 8);
	cr_assert_eq(loop_hist_us(&h, 981), 128);
	cr_assert_eq(loop_hist_us(&h, 990), 128);
	cr_assert_eq(loop_hist_us(&h, 1000), 4096);
	loop_hist_add(&h, &n); // a second worker
	cr_assert_eq(h.turns[3], 1960);
	cr_assert_eq(loop_hist_us(&h, 990), 128);
	h = (struct loop_hist){{[5] = 1, [9] = 1}}; // few turns: rounded up
	cr_assert_eq(loop_hist_us(&h, 500), 32);
	cr_assert_eq(loop_hist_us(&h, 990), 512);
	memset(&h, 0xff, sizeof(h)); // lies
	cr_assert_leq(loop_hist_us(&h, 990), loop_hist_below_us(LOOP_BUCKETS - 1));
}
