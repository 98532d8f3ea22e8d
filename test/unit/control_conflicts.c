// SPDX-License-Identifier: Apache-2.0
// When posternd tells that another station has an address of ours.
#include <criterion/criterion.h>

#include "control/conflicts.h"

Test(control_conflicts, arp_is_told_once_a_while)
{
	struct conflicts c = {0};

	cr_assert_eq(conflicts_arp(&c, 7, 1000), 0, "of an earlier life");
	cr_assert_eq(conflicts_arp(&c, 7, 1001), 0);
	cr_assert_eq(conflicts_arp(&c, 10, 1002), 3, "at once");
	for (uint32_t ms = 1; ms < CONFLICTS_SAY_MS; ms++)
		cr_assert_eq(conflicts_arp(&c, 10 + ms, 1002 + ms), 0);
	cr_assert_eq(conflicts_arp(&c, 100000, 1002 + CONFLICTS_SAY_MS), 99990, "all since then");
	cr_assert_eq(conflicts_arp(&c, 100000, 1002 + 5 * CONFLICTS_SAY_MS), 0, "nothing new");
	cr_assert_eq(conflicts_arp(&c, 2, 1002 + 5 * CONFLICTS_SAY_MS), 0, "a new region");
	cr_assert_eq(conflicts_arp(&c, 3, 1003 + 5 * CONFLICTS_SAY_MS), 1);
}

Test(control_conflicts, taken_addresses_are_told_and_their_end)
{
	struct conflicts c = {0};
	uint64_t now = 1000;

	cr_assert_not(conflicts_taken(&c, 0, now), "as it should be");
	cr_assert(conflicts_taken(&c, 2, now));
	cr_assert_not(conflicts_taken(&c, 2, now + CONFLICTS_SAY_MS));
	now += 2 * CONFLICTS_SAY_MS;
	cr_assert(conflicts_taken(&c, 1, now));
	cr_assert_not(conflicts_taken(&c, 0, now + 1), "it flaps");
	cr_assert_not(conflicts_taken(&c, 1, now + 2));
	cr_assert(conflicts_taken(&c, 0, now + CONFLICTS_SAY_MS), "the last state is told");
}
