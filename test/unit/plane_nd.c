// SPDX-License-Identifier: Apache-2.0
// Tests of net: neighbour discovery, routers and routes at the wire, with a raw peer at the other
// end. Time is virtual.

#include <criterion/criterion.h>
#include <string.h>

#include "test/sim/lib/raw6.h"

// --- neighbour discovery ---

struct nd_row {
	const char *what;
	uint8_t type;
	uint32_t at; // in the IPv6 packet
	uint8_t value;
};

static const struct nd_row nd_rows[] = {
	{"hop limit 254", 135, 7, 254},
	{"code 1", 135, 41, 1},
	{"target is a group", 135, 48, 0xff},
	{"option of length 0", 135, 65, 0},
	{"option beyond the packet", 135, 65, 2},
	{"station is a group", 135, 66, 3},
	{"advertised by hop limit 64", 136, 7, 64},
	{"advertised with code 1", 136, 41, 1},
	{"advertised group", 136, 48, 0xff},
	{"advertised option of length 0", 136, 65, 0},
	{"advertised station is a group", 136, 66, 1},
};

Test(nd, nd_table)
{
	struct raw6 r;
	uint8_t f[256];

	raw6_open(&r);
	for (uint32_t i = 0; i < ARRAY_LEN(nd_rows); i++) {
		const struct nd_row *row = &nd_rows[i];
		uint64_t before = COUNTED(&r, ND_BAD);
		uint32_t n = raw6_nd_put(f, row->type, PEER, US, row->type == 135 ? US : PEER,
					 raw6_peer_mac);
		f[IP6 + row->at] = row->value;
		raw6_sum_put(f + IP6, 0, 58);
		raw6_inject(&r, f, n);
		cr_assert(!raw6_receive(&r), "answered: %s", row->what);
		cr_assert_eq(COUNTED(&r, ND_BAD), before + 1, "%s", row->what);
	}
	uint64_t bad = COUNTED(&r, ND_BAD);
	raw6_inject(
		&r, f,
		raw6_nd_put(f, 135, "::", "ff02::1:ff00:1", US, raw6_peer_mac)); // with an option
	raw6_inject(&r, f, raw6_nd_put(f, 135, "::", "ff02::1", US, NULL));      // to all nodes
	raw6_inject(
		&r, f,
		raw6_nd_put(f, 136, PEER, "ff02::1", PEER, raw6_peer_mac)); // "solicited", to all
	uint32_t n = raw6_nd_put(f, 135, PEER, US, US, raw6_peer_mac);
	memcpy(f + 6, raw6_our_mac, 6); // a loop
	raw6_inject(&r, f, n);
	n = raw6_nd_put(f, 135, PEER, US, US, raw6_our_mac);
	raw6_inject(&r, f, n);
	uint8_t *p = raw6_ip_put(f, PEER, US, 44, 32); // an atomic fragment (RFC 6980)
	memcpy(p, "\x3a\0\0\0\1\2\3\4", 8);
	f[21] = 255;
	p[8] = 135;
	memcpy(p + 16, raw6_addr(US).b, 16);
	raw6_sum_put(f + IP6, 8, 58);
	raw6_inject(&r, f, L4 + 32);
	cr_assert(!raw6_receive(&r));
	cr_assert_eq(COUNTED(&r, ND_BAD), bad + 6);
	n = raw6_nd_put(f, 135, PEER, US, US, raw6_peer_mac);
	for (uint32_t cut = 8; cut < 24; cut++) { // a whole packet, but a short message
		store_be16(f + 18, (uint16_t)cut);
		raw6_sum_put(f + IP6, 0, 58);
		raw6_inject(&r, f, L4 + cut);
	}
	cr_assert(!raw6_receive(&r));
	cr_assert_eq(COUNTED(&r, ND_BAD), bad + 22);
	raw6_inject(&r, f, raw6_nd_put(f, 137, PEER_LOCAL, US, US, NULL)); // a redirect
	raw6_inject(&r, f, raw6_nd_put(f, 133, PEER_LOCAL, US, US, NULL));
	cr_assert(!raw6_receive(&r));
	cr_assert_eq(COUNTED(&r, ND_IGNORED), 2);
	raw6_close(&r);
}

Test(nd, answer_goes_to_who_asked)
{
	struct raw6 r;
	uint8_t f[128];

	raw6_open(&r);
	raw6_inject(&r, f, raw6_nd_put(f, 135, PEER, "ff02::1:ff00:2", US_2, raw6_peer_mac));
	cr_assert(raw6_receive(&r));
	cr_assert_arr_eq(r.got, raw6_peer_mac, 6);
	cr_assert_arr_eq(r.got + 22, raw6_addr(US_2).b, 16);
	cr_assert_arr_eq(r.got + 38, raw6_addr(PEER).b, 16);
	cr_assert_eq(r.got[21], 255);
	cr_assert_eq(r.got[L4 + 4], 0x60, "solicited, override");
	cr_assert_arr_eq(r.got + L4 + 8, raw6_addr(US_2).b, 16);
	cr_assert_arr_eq(r.got + L4 + 26, raw6_our_mac, 6);
	cr_assert_eq(raw6_sum(r.got + IP6, 0, 58), 0xffff);
	cr_assert_eq(COUNTED(&r, ND_IN), 1);
	raw6_inject(&r, f, raw6_nd_put(f, 135, PEER, "ff02::1:ff00:2", PEER_LOCAL, raw6_peer_mac));
	cr_assert(!raw6_receive(&r), "not our address");
	// A copy teaches, and is not answered.
	uint32_t n = raw6_nd_put(f, 135, GATEWAY, US, US, raw6_other_mac);
	const struct frame copy = {.data = f, .len = n, .flags = FRAME_LEARN_ONLY};
	net_input(r.h.net, 0, &copy);
	cr_assert(!raw6_receive(&r));
	raw6_inject(&r, f, raw6_syn_put(f, GATEWAY, US));
	cr_assert(raw6_receive(&r));
	cr_assert_arr_eq(r.got, raw6_other_mac, 6);
	for (uint32_t i = 0; i < 300; i++)
		raw6_inject(&r, f, raw6_nd_put(f, 135, PEER, US, US, raw6_peer_mac));
	uint32_t answers = 0;
	for (uint32_t i = 0; i < 40; i++)
		answers += raw6_drain(&r);
	cr_assert(answers >= 95 && answers <= 105, "%u answers at once", answers);
	cr_assert_eq(COUNTED(&r, ND_LIMIT), 300 - answers);
	raw6_close(&r);
}

// Learnt, probed by unicast while in use from 45 s on, asked for by its group after 60 s.
Test(nd, neighbour_is_probed_and_expires)
{
	struct raw6 r;
	uint8_t f[128];
	uint32_t unicast = 0, group = 0;

	raw6_open(&r);
	raw6_inject(&r, f, raw6_syn_put(f, PEER, US));
	cr_assert(raw6_receive(&r));
	cr_assert(raw6_is_solicit(&r, PEER), "the answer waits for the station");
	cr_assert_arr_eq(r.got, "\x33\x33\xff\0\0\x99", 6);
	cr_assert_arr_eq(r.got + 22, raw6_addr(US_LOCAL).b, 16);
	cr_assert_arr_eq(r.got + L4 + 26, raw6_our_mac, 6);
	raw6_inject(&r, f, raw6_nd_put(f, 136, PEER, US_LOCAL, PEER, raw6_peer_mac));
	raw6_drain(&r);
	for (uint32_t s = 0; s < 75; s++) {
		raw6_inject(&r, f, raw6_syn_put(f, PEER, US));
		while (raw6_receive(&r)) {
			if (!raw6_is_solicit(&r, PEER))
				continue;
			if (r.got[0] == 0x33)
				group++;
			else
				unicast++;
		}
		cr_assert(s >= 44 || unicast == 0, "probed after %u s", s);
		cr_assert(s >= 59 || group == 0, "forgotten after %u s", s);
		vnet_advance(r.v, SECOND);
	}
	cr_assert_geq(unicast, 10);
	cr_assert_geq(group, 10);
	raw6_inject(&r, f, raw6_nd_put(f, 136, PEER, US_LOCAL, PEER, raw6_other_mac));
	raw6_inject(&r, f, raw6_syn_put(f, PEER, US));
	cr_assert(raw6_receive(&r));
	cr_assert(raw6_is_reset(&r, US, PEER));
	cr_assert_arr_eq(r.got, raw6_other_mac, 6);
	raw6_close(&r);
}

static void
expect_station(struct raw6 *r, const uint8_t *mac, const char *what)
{
	uint8_t f[128];

	raw6_inject(r, f, raw6_syn_put(f, PEER, US));
	cr_assert(raw6_receive(r));
	cr_assert_eq(memcmp(r->got, mac, 6), 0, "%s", what);
	raw6_drain(r);
}

// RFC 4861 7.2.5.
Test(nd, advertisements_override_only_when_they_say_so)
{
	struct raw6 r;
	uint8_t f[128];

	raw6_open(&r);
	raw6_inject(&r, f,
		    raw6_nd_put(f, 136, PEER, US, PEER, raw6_other_mac)); // nobody asked: no entry
	raw6_inject(&r, f, raw6_syn_put(f, PEER, US));
	cr_assert(raw6_receive(&r));
	cr_assert(raw6_is_solicit(&r, PEER), "an advertisement alone made an entry");
	raw6_inject(&r, f, raw6_nd_put(f, 136, PEER, US, PEER, NULL)); // without the station
	cr_assert(!raw6_receive(&r));
	raw6_inject(&r, f, raw6_nd_put(f, 136, PEER, US, PEER, raw6_peer_mac));
	expect_station(&r, raw6_peer_mac, "learnt");
	uint32_t n = raw6_nd_put(f, 136, PEER, US, PEER, raw6_other_mac);
	f[L4 + 4] = 0x40; // solicited, no override
	raw6_sum_put(f + IP6, 0, 58);
	raw6_inject(&r, f, n);
	expect_station(&r, raw6_peer_mac, "no override");
	vnet_advance(r.v, SECOND);
	cr_assert(raw6_receive(&r), "but it raises a doubt");
	cr_assert(raw6_is_solicit(&r, PEER));
	cr_assert_arr_eq(r.got, raw6_peer_mac, 6);
	f[L4 + 4] = 0x20; // unsolicited, override
	memcpy(f + 38, raw6_addr("ff02::1").b, 16);
	raw6_sum_put(f + IP6, 0, 58);
	raw6_inject(&r, f, n);
	expect_station(&r, raw6_other_mac, "override");
	raw6_close(&r);
}

// Who sends from many addresses of our network neither fills the table nor makes us ask for all.
Test(nd, flood_of_neighbours_is_bounded)
{
	struct raw6 r;
	uint8_t f[128];

	raw6_open(&r);
	raw6_teach(&r, PEER, raw6_peer_mac);
	uint64_t asked = COUNTED(&r, ND_REQUESTS);
	for (uint32_t i = 0; i < 2000; i++) {
		uint32_t n = raw6_syn_put(f, PEER, US);
		store_be32(f + 30, 0x12340000 + i);
		raw6_sum_put(f + IP6, 0, 6);
		raw6_inject(&r, f, n);
		if (i % 16 == 0)
			raw6_drain(&r);
		if (i % 400 == 399) { // resets to strangers have a limit for each second, too
			raw6_drain(&r);
			vnet_advance(r.v, SECOND);
			raw6_drain(&r);
			expect_station(&r, raw6_peer_mac, "pushed out");
		}
	}
	raw6_drain(&r);
	cr_assert_leq(COUNTED(&r, ND_REQUESTS) - asked, 5 * 260);
	cr_assert_gt(COUNTED(&r, NEIGH_LIMIT), 800);
	raw6_close(&r);
}

// --- routers ---

static bool
route_to(struct raw6 *r, const char *to, struct tcp_route *out)
{
	struct ipaddr raddr = raw6_addr(to);

	return net_tcp_ops.route(r->h.net, &raddr, 0, out);
}

Test(nd, router_comes_from_its_advertisement)
{
	struct raw6 r;
	uint8_t f[256];
	struct tcp_route route;

	raw6_open(&r);
	cr_assert(!route_to(&r, FAR, &route));
	raw6_inject(&r, f, raw6_ra_put(f, 60, 1400, "2001:db8:7::"));
	raw6_drain(&r);
	cr_assert(route_to(&r, FAR, &route));
	cr_assert_eq(route.mtu, 1400);
	raw6_inject(&r, f, raw6_syn_put(f, FAR, US));
	cr_assert(raw6_receive(&r));
	cr_assert(raw6_is_reset(&r, US, FAR));
	cr_assert_arr_eq(r.got, raw6_peer_mac, 6, "by the router");
	raw6_inject(&r, f, raw6_syn_put(f, "2001:db8:7::9", US));
	cr_assert(raw6_receive(&r));
	cr_assert(raw6_is_solicit(&r, "2001:db8:7::9"), "its prefix is on the link");
	// What is out of policy changes nothing.
	raw6_inject(&r, f, raw6_ra_put(f, 60, 1279, "2001:db8:8::"));
	raw6_inject(&r, f, raw6_ra_put(f, 60, 9000, "fe80::"));
	uint32_t n = raw6_ra_put(f, 60, 1300, "2001:db8:8::");
	memcpy(f + 22, raw6_addr(PEER).b, 16); // not from a link-local address
	raw6_sum_put(f + IP6, 0, 58);
	raw6_inject(&r, f, n);
	raw6_drain(&r);
	cr_assert_eq(COUNTED(&r, ND_BAD), 1);
	cr_assert(route_to(&r, FAR, &route));
	cr_assert_eq(route.mtu, 1400);
	raw6_wait(&r, 58 * SECOND);
	cr_assert(route_to(&r, FAR, &route));
	raw6_wait(&r, 4 * SECOND);
	cr_assert(!route_to(&r, FAR, &route), "its lifetime is over");
	raw6_inject(&r, f, raw6_ra_put(f, 60, 1400, "2001:db8:7::"));
	raw6_drain(&r);
	cr_assert(route_to(&r, FAR, &route));
	raw6_inject(&r, f, raw6_ra_put(f, 0, 1400, "2001:db8:7::"));
	raw6_drain(&r);
	cr_assert(!route_to(&r, FAR, &route), "it resigned");
	for (uint32_t i = 0; i < 20; i++) { // more routers and prefixes than we keep
		n = raw6_ra_put(f, 60, 1400, "2001:db8:9::");
		f[22 + 15] = (uint8_t)(100 + i);
		f[L4 + 48 + 5] = (uint8_t)i;
		raw6_sum_put(f + IP6, 0, 58);
		raw6_inject(&r, f, n);
		raw6_drain(&r);
	}
	cr_assert(route_to(&r, FAR, &route));
	raw6_close(&r);
}

Test(nd, configured_gateway_wins)
{
	const struct net_addr a = {
		.addr = raw6_addr(US), .gateway = raw6_addr(GATEWAY), .prefix_bits = 64};
	struct raw6 r;
	uint8_t f[256];
	struct tcp_route route;

	raw6_start(&r, &a, 1, 0);
	raw6_wait(&r, 9 * SECOND);
	cr_assert_eq(COUNTED(&r, ND_REQUESTS), 2, "no router is looked for");
	raw6_inject(&r, f, raw6_ra_put(f, 60, 1400, "2001:db8:7::"));
	raw6_drain(&r);
	cr_assert_eq(COUNTED(&r, ND_IGNORED), 1);
	cr_assert(route_to(&r, FAR, &route));
	cr_assert_eq(route.mtu, 1500);
	raw6_inject(&r, f, raw6_syn_put(f, FAR, US));
	cr_assert(raw6_receive(&r));
	cr_assert(raw6_is_solicit(&r, GATEWAY));
	raw6_close(&r);
}

Test(nd, three_routers_are_looked_for)
{
	struct raw6 r;

	raw6_open(&r);
	raw6_wait(&r, 20 * SECOND);
	cr_assert_eq(COUNTED(&r, ND_REQUESTS), 3 + 3, "three probes, three router solicitations");
	cr_assert_eq(net_next_us(r.h.net), UINT64_MAX, "then it is quiet");
	raw6_close(&r);
}

// Whom we only have heard of is not asked whether it is still there.
Test(nd, router_is_looked_for_until_one_answers)
{
	struct raw6 r;
	uint8_t f[256];

	raw6_open(&r);
	cr_assert_eq(COUNTED(&r, ND_REQUESTS), 3 + 1);
	raw6_inject(&r, f, raw6_ra_put(f, 600, 1500, "2001:db8:7::"));
	raw6_wait(&r, 100 * SECOND);
	cr_assert_eq(COUNTED(&r, ND_REQUESTS), 3 + 1);
	raw6_close(&r);
}

// What our host sends in two seconds: bits of enum said.
enum said { SAID_ARP = 1, SAID_JOIN = 2, SAID_PROBE = 4, SAID_ADVERT = 8, SAID_ROUTER = 16 };

static uint32_t
said_in_two_seconds(struct raw6 *r)
{
	uint32_t said = 0;

	for (uint32_t i = 0; i < 8; i++) {
		vnet_advance(r->v, SECOND / 4);
		while (raw6_receive(r)) {
			const uint8_t *l4 = r->got + L4;
			if (load_be16(r->got + 12) == 0x0806)
				said |= SAID_ARP;
			else if (r->got[20] == 0 && l4[8] == 143)
				said |= SAID_JOIN;
			else if (l4[0] == 135 && memcmp(r->got + 22, raw6_addr("::").b, 16) == 0)
				said |= SAID_PROBE;
			else if (l4[0] == 136 && memcmp(l4 + 8, raw6_addr(US_2).b, 16) == 0)
				said |= SAID_ADVERT;
			else if (l4[0] == 133)
				said |= SAID_ROUTER;
		}
	}
	return said;
}

// A switch forgets our groups and our station with the link; what was sent while there was none has
// reached nobody, duplicate address detection included.
Test(nd, a_link_that_comes_up_is_told_of_our_addresses)
{
	uint32_t ups = 0;
	struct raw6 r;
	uint8_t f[128];

	raw6_open(&r);
	raw6_wait(&r, 20 * SECOND);
	r.h.port->link_ups = &ups;
	cr_assert_eq(said_in_two_seconds(&r), 0);
	ups = 1; // there was none since we started
	cr_assert_eq(said_in_two_seconds(&r),
		     SAID_ARP | SAID_JOIN | SAID_PROBE | SAID_ADVERT | SAID_ROUTER);
	raw6_wait(&r, 20 * SECOND);
	ups = 2;
	vnet_advance(r.v, SECOND);
	raw6_inject(&r, f, raw6_nd_put(f, 135, PEER, US, US, raw6_peer_mac));
	cr_assert_eq(said_in_two_seconds(&r), SAID_ARP | SAID_JOIN | SAID_ADVERT | SAID_ROUTER,
		     "they stay ours");
	cr_assert_eq(COUNTED(&r, ND_IN), 1, "all the time");
	raw6_wait(&r, 20 * SECOND);
	cr_assert_eq(said_in_two_seconds(&r), 0);
	raw6_close(&r);
}

Test(nd, routes_give_one_local_address_after_the_other)
{
	const struct net_addr a[] = {
		{.addr = ipaddr_v4(0x0a000001),
		 .gateway = ipaddr_v4(0x0a0000fe),
		 .prefix_bits = 120},
		{.addr = ipaddr_v4(0x0a000002), .prefix_bits = 120},
		{.addr = ipaddr_v4(0x0a000082), .prefix_bits = 121},
		{.addr = ipaddr_v4(0xc0a80001), .prefix_bits = 120},
		{.addr = raw6_addr(US), .prefix_bits = 64},
		{.addr = raw6_addr(US_2), .prefix_bits = 64},
		{.addr = raw6_addr("2001:db8:5::1"), .prefix_bits = 120},
	};
	const struct {
		const char *to, *from[3];
	} rows[] = {
		{"10.0.0.9", {"10.0.0.1", "10.0.0.2"}},
		{"192.168.0.9", {"192.168.0.1"}},
		{"10.0.0.140", {"10.0.0.130", "10.0.0.1", "10.0.0.2"}}, // the longest prefix first
		{"203.0.113.5", {"10.0.0.1", "10.0.0.2", "10.0.0.130"}},
		{PEER, {US, US_2}},
		{"2001:db8:5::99", {"2001:db8:5::1"}},
		{"2001:db8:5::199", {NULL}},
		{FAR, {NULL}},
		{"10.0.0.1", {NULL}},
		{US_2, {NULL}},
		{"10.0.0.255", {NULL}}, // a broadcast address, and the numbers of two networks
		{"10.0.0.0", {NULL}},
		{"10.0.0.128", {NULL}},
		{"224.0.0.1", {NULL}},
		{"127.0.0.1", {NULL}},
		{"::1", {NULL}},
		{"ff02::1", {NULL}},
		{"fe80::9", {NULL}},
	};
	struct raw6 r;

	raw6_start(&r, a, ARRAY_LEN(a), 0);
	raw6_wait(&r, 2 * SECOND);
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct ipaddr to = raw6_addr(rows[i].to);
		struct tcp_route route = {.side = 9};
		for (uint32_t nth = 0; nth < 3; nth++) {
			bool has = rows[i].from[nth] != NULL;
			cr_assert_eq(net_tcp_ops.route(r.h.net, &to, nth, &route), has, "%s %u",
				     rows[i].to, nth);
			if (!has)
				break;
			struct ipaddr want = raw6_addr(rows[i].from[nth]);
			cr_assert(ipaddr_eq(&route.laddr, &want), "%s %u", rows[i].to, nth);
			cr_assert_eq(route.side, 0);
		}
	}
	raw6_close(&r);
}
