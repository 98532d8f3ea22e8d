// SPDX-License-Identifier: Apache-2.0
// Tests of the wire that all tests of the dataplane stand on.

#include <criterion/criterion.h>

#include "test/sim/lib/vnet.h"

static uint64_t
wire_digest(uint64_t seed, struct vnet_stats *stats)
{
	const struct vnet_path path = {.delay_us = 100,
				       .jitter_us = 50,
				       .loss_ppm = 100000,
				       .dup_ppm = 100000,
				       .reorder_ppm = 100000,
				       .corrupt_ppm = 100000,
				       .queue_frames = 64};
	struct vnet *v = vnet_open(seed);
	struct vnet_link *l = vnet_link_open(v, &path, NULL);
	struct port *b = vnet_port(l, VNET_B);
	struct frame f;
	uint64_t digest = 0;

	for (uint32_t i = 0; i < 5000; i++) {
		uint8_t bytes[64] = {(uint8_t)i, (uint8_t)(i >> 8)};
		cr_assert(vnet_inject(l, VNET_A, span_of(bytes, sizeof(bytes))));
		vnet_advance(v, 10);
		while (b->ops->rx(b, &f, 1) == 1) {
			for (uint32_t k = 0; k < f.len; k++)
				digest = digest * 1099511628211u + f.data[k];
			digest += vnet_now(v);
			b->ops->rx_free(b, &f);
		}
	}
	*stats = *vnet_link_stats(l, VNET_A);
	vnet_close(&v);
	return digest;
}

Test(vnet, same_seed_same_wire)
{
	struct vnet_stats a, b;

	cr_assert_eq(wire_digest(1, &a), wire_digest(1, &b));
	cr_assert_neq(wire_digest(1, &a), wire_digest(2, &b));
	cr_assert(a.lost > 300 && a.lost < 700, "%lu", a.lost);
	cr_assert(a.duplicated > 300 && a.reordered > 300 && a.corrupted > 300);
	cr_assert_leq(a.received, a.sent + a.duplicated - a.lost - a.queue_full);
	cr_assert_geq(a.received + 64, a.sent + a.duplicated - a.lost - a.queue_full,
		      "frames vanished");
}

Test(vnet, full_queue_drops_and_says_so)
{
	const struct vnet_path path = {.delay_us = 1000, .queue_frames = 8};
	struct vnet *v = vnet_open(1);
	struct vnet_link *l = vnet_link_open(v, &path, NULL);
	struct port *a = vnet_port(l, VNET_A), *b = vnet_port(l, VNET_B);
	struct frame f[PORT_BURST];
	uint8_t byte = 1;

	for (uint32_t i = 0; i < 10; i++)
		cr_assert(vnet_inject(l, VNET_A, span_of(&byte, 1)));
	cr_assert_eq(a->ops->tx_flush(a), 2);
	cr_assert_eq(a->ops->tx_flush(a), 0);
	cr_assert_eq(b->ops->rx(b, f, PORT_BURST), 0, "before its time");
	cr_assert_eq(vnet_next_us(v), VNET_START_US + 1000);
	vnet_advance(v, 1000);
	cr_assert_eq(b->ops->rx(b, f, PORT_BURST), 8);
	for (uint32_t i = 0; i < 8; i++)
		b->ops->rx_free(b, &f[i]);
	cr_assert_eq(vnet_next_us(v), UINT64_MAX);
	vnet_close(&v);
}
