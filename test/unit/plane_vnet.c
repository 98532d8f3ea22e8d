// SPDX-License-Identifier: Apache-2.0
// Tests of the wire that all tests of the dataplane stand on.

#include <criterion/criterion.h>

#include "control/base/bytes.h"
#include "test/sim/lib/framesum.h"
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

static uint32_t
ip_frame(uint8_t *f, bool is_v6, uint32_t ip_bytes)
{
	memset(f, 0, PORT_FRAME_SIZE);
	memset(f, 0xa1, 6);
	memset(f + 6, 0xb2, 6);
	store_be16(f + 12, is_v6 ? 0x86dd : 0x0800);
	f[14] = is_v6 ? 0x60 : 0x45;
	f[20] = is_v6 ? 6 : 0x40; // next header; or: do not fragment
	f[23] = 6;
	f[is_v6 ? 37 : 29] = 1; // source ..1
	f[is_v6 ? 53 : 33] = 2;
	return 14 + ip_bytes;
}

static uint32_t
through(const struct vnet_path *path, uint32_t bytes, uint32_t count, struct vnet_stats *stats)
{
	struct vnet *v = vnet_open(9);
	struct vnet_link *l = vnet_link_open(v, path, NULL);
	struct port *b = vnet_port(l, VNET_B);
	struct frame got;
	uint8_t f[PORT_FRAME_SIZE];
	uint32_t n = ip_frame(f, false, bytes), received = 0;

	for (uint32_t i = 0; i < count; i++) {
		cr_assert(vnet_inject(l, VNET_A, span_of(f, n)));
		vnet_advance(v, 1000);
		while (b->ops->rx(b, &got, 1) == 1) {
			b->ops->rx_free(b, &got);
			received++;
		}
	}
	*stats = *vnet_link_stats(l, VNET_A);
	vnet_close(&v);
	return received;
}

Test(vnet, losses_come_in_bursts)
{
	const struct vnet_path path = {.burst_ppm = 10000, .burst_end_ppm = 100000};
	struct vnet_stats s;

	// One frame in 100 begins a burst of 10 on the average: about 9 in 100 are lost.
	uint32_t received = through(&path, 100, 20000, &s);
	cr_assert(received > 17500 && received < 18800, "%u", received);
	cr_assert_eq(s.lost, 20000 - received);
}

Test(vnet, darkness_has_a_beginning_and_an_end)
{
	const struct vnet_path path = {.dark_from_us = VNET_START_US + 10000,
				       .dark_until_us = VNET_START_US + 30000};
	struct vnet_stats s;

	cr_assert_eq(through(&path, 100, 50, &s), 30);
	cr_assert_eq(s.dark, 20);
}

Test(vnet, large_packets_vanish_in_a_black_hole)
{
	const struct vnet_path path = {.mtu = 1400};
	struct vnet_stats s;

	cr_assert_eq(through(&path, 1400, 10, &s), 10);
	cr_assert_eq(through(&path, 1401, 10, &s), 0);
	cr_assert_eq(s.too_big, 10);
}

Test(vnet, a_router_says_what_is_too_big)
{
	for (uint32_t v6 = 0; v6 < 2; v6++) {
		struct vnet_path path = {.mtu = 1300, .router = ipaddr_v4(0x0a0000fe)};
		struct vnet *v = vnet_open(9);
		uint8_t f[PORT_FRAME_SIZE];
		struct frame got;

		if (v6)
			path.router = (struct ipaddr){{0xfd, [15] = 0xfe}};
		struct vnet_link *l = vnet_link_open(v, &path, NULL);
		struct port *a = vnet_port(l, VNET_A);
		cr_assert(vnet_inject(l, VNET_A, span_of(f, ip_frame(f, v6, 1300))));
		cr_assert_eq(a->ops->rx(a, &got, 1), 0, "it fits");
		cr_assert(vnet_inject(l, VNET_A, span_of(f, ip_frame(f, v6, 1301))));
		cr_assert_eq(a->ops->rx(a, &got, 1), 1);
		const uint8_t *ip = got.data + 14, *icmp = ip + (v6 ? 40 : 20);
		cr_assert_arr_eq(got.data, f + 6, 6, "to whom it came from");
		cr_assert_arr_eq(ip + (v6 ? 24 : 16), f + (v6 ? 22 : 26), v6 ? 16 : 4);
		cr_assert_eq(icmp[0], v6 ? 2 : 3);
		cr_assert_eq(icmp[1], v6 ? 0 : 4);
		cr_assert_eq(load_be16(icmp + 6), 1300);
		cr_assert_arr_eq(icmp + 8, f + 14, 28, "the packet is quoted");
		uint32_t n = got.len - (uint32_t)(icmp - got.data);
		uint64_t sum = v6 ? framesum_add(n + 58, ip + 8, 32) : 0;
		cr_assert_eq(framesum_fold(framesum_add(sum, icmp, n)), 0xffff);
		a->ops->rx_free(a, &got);
		if (!v6) { // may be fragmented: nobody speaks, as nobody does it
			(void)ip_frame(f, false, 1301);
			f[20] = 0;
			cr_assert(vnet_inject(l, VNET_A, span_of(f, 14 + 1301)));
			cr_assert_eq(a->ops->rx(a, &got, 1), 0);
		}
		vnet_close(&v);
	}
}
