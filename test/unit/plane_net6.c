// SPDX-License-Identifier: Apache-2.0
// Tests of net: several addresses, duplicate address detection and IPv6 at the wire, with a raw
// peer at the other end. Time is virtual.

#include <criterion/criterion.h>
#include <string.h>

#include "test/sim/lib/raw6.h"

// --- addresses ---

// A report of the groups of US and US_LOCAL.
static void
is_report(const struct raw6 *r, uint8_t record, const uint8_t src[16])
{
	const uint8_t *ip = r->got + IP6, *p = ip + 48;

	cr_assert_eq(r->got_len, L4 + 8 + 8 + 2 * 20);
	cr_assert_arr_eq(r->got, "\x33\x33\0\0\0\x16", 6);
	cr_assert_eq(ip[6], 0);
	cr_assert_eq(ip[7], 1, "hop limit");
	cr_assert_arr_eq(ip + 8, src, 16);
	cr_assert_arr_eq(ip + 24, raw6_addr("ff02::16").b, 16);
	cr_assert_arr_eq(ip + 40, "\x3a\0\5\2\0\0\1\0", 8, "router alert");
	cr_assert_eq(p[0], 143);
	cr_assert_eq(load_be16(p + 6), 2);
	cr_assert_eq(raw6_sum(ip, 8, 58), 0xffff);
	for (uint32_t k = 0; k < 2; k++) {
		const uint8_t *rec = p + 8 + 20 * k;
		cr_assert_eq(rec[0], record);
		cr_assert_eq(load_be16(rec + 2), 0, "no sources");
		cr_assert_arr_eq(rec + 4, raw6_addr(k == 0 ? "ff02::1:ff00:1" : "ff02::1:ff00:0").b,
				 16);
	}
}

static uint32_t
query_put(uint8_t *f, const char *src)
{
	uint8_t *p = raw6_ip_put(f, src, "ff02::1", 0, 8 + 28);

	f[21] = 1;
	memcpy(p, "\x3a\0\5\2\0\0\1\0", 8);
	p[8] = 130;
	raw6_sum_put(f + IP6, 8, 58);
	return L4 + 36;
}

Test(net6, listener_queries_are_answered_once_a_second)
{
	const struct net_addr a = {.addr = raw6_addr(US), .prefix_bits = 64};
	struct raw6 r;
	uint8_t f[128];

	raw6_start(&r, &a, 1, 0);
	raw6_wait(&r, 20 * SECOND);
	for (uint32_t i = 0; i < 5; i++)
		raw6_inject(&r, f, query_put(f, PEER_LOCAL));
	uint32_t reports = 0;
	for (uint32_t k = 0; k < 8; k++) {
		for (; raw6_receive(&r); reports++)
			is_report(&r, 2, raw6_addr(US_LOCAL).b);
		vnet_advance(r.v, SECOND / 4);
	}
	cr_assert_eq(reports, 1);
	cr_assert_eq(COUNTED(&r, MLD_REPORTS), 3);
	uint64_t other = COUNTED(&r, ICMP_OTHER);
	raw6_inject(&r, f, query_put(f, PEER)); // not from the link
	uint32_t n = query_put(f, PEER_LOCAL);
	f[21] = 2;
	raw6_inject(&r, f, n);
	raw6_wait(&r, 5 * SECOND);
	cr_assert_eq(COUNTED(&r, MLD_REPORTS), 3);
	cr_assert_eq(COUNTED(&r, ICMP_OTHER), other + 2);
	raw6_close(&r);
}

Test(net6, speaks_after_duplicate_address_detection)
{
	const struct net_addr a = {.addr = raw6_addr(US), .prefix_bits = 64};
	const struct ipaddr none = {{0}};
	struct raw6 r;
	uint8_t f[128];
	uint32_t probes = 0;

	raw6_start(&r, &a, 1, 0);
	cr_assert(raw6_receive(&r));
	is_report(&r, 4, none.b);
	for (uint32_t k = 0; k < 2; k++) { // US and the link-local address
		cr_assert(raw6_receive(&r));
		cr_assert(raw6_is_solicit(&r, k == 0 ? US : US_LOCAL));
		cr_assert_arr_eq(r.got + 22, none.b, 16, "from the unspecified address");
		cr_assert_arr_eq(r.got + 38, raw6_addr("ff02::1:ff00:0").b, 15);
		cr_assert_arr_eq(r.got, "\x33\x33\xff\0\0", 5);
		cr_assert_eq(r.got[21], 255);
		cr_assert_eq(r.got_len, L4 + 24, "no option");
		cr_assert_eq(raw6_sum(r.got + IP6, 0, 58), 0xffff);
		probes++;
	}
	cr_assert(!raw6_receive(&r));
	raw6_inject(&r, f, raw6_syn_put(f, PEER, US));
	cr_assert(!raw6_receive(&r), "spoke from a tentative address");
	cr_assert_eq(COUNTED(&r, IP6_NOT_OURS), 1);
	vnet_advance(r.v, SECOND);
	cr_assert(raw6_receive(&r));
	is_report(&r, 4, none.b);
	for (uint32_t k = 0; k < 2; k++) { // announcements
		cr_assert(raw6_receive(&r));
		cr_assert_eq(r.got[L4], 136);
		cr_assert_arr_eq(r.got, raw6_nodes_mac, 6);
		cr_assert_eq(r.got[L4 + 4], 0x20, "override, nobody asked");
		cr_assert_arr_eq(r.got + L4 + 26, raw6_our_mac, 6);
	}
	cr_assert(raw6_receive(&r));
	cr_assert_eq(r.got[L4], 133, "is there a router?");
	cr_assert_arr_eq(r.got + 22, raw6_addr(US_LOCAL).b, 16);
	raw6_teach(&r, PEER, raw6_peer_mac);
	raw6_inject(&r, f, raw6_syn_put(f, PEER, US));
	cr_assert(raw6_receive(&r));
	cr_assert(raw6_is_reset(&r, US, PEER));
	raw6_close(&r);
}

static void
conflict_is_noticed(uint8_t type, const char *src, const char *dst, bool is_ours)
{
	const struct net_addr a = {.addr = raw6_addr(US), .prefix_bits = 64};
	struct raw6 r;
	uint8_t f[128];

	raw6_start(&r, &a, 1, 0);
	raw6_drain(&r);
	uint32_t n = raw6_nd_put(f, type, src, dst, US, type == 136 ? raw6_other_mac : NULL);
	if (type == 136) {
		f[L4 + 4] = 0x20;
		raw6_sum_put(f + IP6, 0, 58);
	}
	raw6_inject(&r, f, n);
	raw6_wait(&r, 9 * SECOND);
	cr_assert_eq(COUNTED(&r, ND_CONFLICT), is_ours ? 0 : 1);
	raw6_inject(&r, f, raw6_nd_put(f, 135, PEER, "ff02::1:ff00:1", US, raw6_peer_mac));
	cr_assert_eq(raw6_receive(&r), is_ours);
	raw6_inject(&r, f, raw6_syn_put(f, PEER, US));
	cr_assert_eq(raw6_receive(&r), is_ours);
	struct ipaddr to = raw6_addr(PEER);
	struct tcp_route route;
	cr_assert_eq(net_tcp_ops.route(r.h.net, &to, 0, &route), is_ours);
	raw6_close(&r);
}

Test(net6, address_of_another_station_is_never_used)
{
	conflict_is_noticed(136, US, "ff02::1", false);          // it has it
	conflict_is_noticed(136, PEER, "ff02::1", false);        // the same, by another of its own
	conflict_is_noticed(135, "::", "ff02::1:ff00:1", false); // it wants it, too
	conflict_is_noticed(135, PEER, "ff02::1:ff00:1", true);  // it only looks for it
}

// The next solicitation for `addr` that is sent within `us`; 0: none is. When, counted from now.
static uint64_t
next_probe(struct raw6 *r, const char *addr, uint64_t us)
{
	uint64_t begin_us = vnet_now(r->v);

	while (vnet_now(r->v) < begin_us + us) {
		while (raw6_receive(r))
			if (raw6_is_solicit(r, addr))
				return vnet_now(r->v) - begin_us;
		vnet_advance(r->v, SECOND / 10);
	}
	return 0;
}

// It is asked for again, ever less often, and used as soon as nobody objects.
Test(net6, address_of_another_station_is_asked_for_again)
{
	const struct net_addr a = {.addr = raw6_addr(US), .prefix_bits = 64};
	uint64_t wait_us = 10 * SECOND;
	struct raw6 r;
	uint8_t f[128];

	raw6_start(&r, &a, 1, 0);
	raw6_drain(&r);
	for (uint32_t k = 0; k < 9; k++) {
		uint32_t n = raw6_nd_put(f, 136, PEER, "ff02::1", US, raw6_other_mac);
		f[L4 + 4] = 0x20;
		raw6_sum_put(f + IP6, 0, 58);
		raw6_inject(&r, f, n);
		raw6_drain(&r);
		cr_assert_eq(COUNTED(&r, ND_CONFLICT), k + 1);
		cr_assert_eq(r.h.counters.addresses_taken, 1);
		uint64_t at_us = next_probe(&r, US, 1000 * SECOND);
		cr_assert(at_us >= wait_us && at_us <= wait_us * 3 / 2 + 3 * SECOND,
			  "objection %u: again after %lu us", k, (unsigned long)at_us);
		cr_assert_eq(COUNTED(&r, ND_RETRY), k + 1);
		cr_assert_eq(r.h.counters.addresses_taken, 0);
		wait_us = MIN(wait_us * 2, 640 * SECOND);
	}
	raw6_wait(&r, 3 * SECOND); // the other one is gone
	raw6_teach(&r, PEER, raw6_peer_mac);
	raw6_inject(&r, f, raw6_syn_put(f, PEER, US));
	cr_assert(raw6_receive(&r), "not ours");
	cr_assert(raw6_is_reset(&r, US, PEER));
	raw6_close(&r);
}

Test(net6, claim_of_a_used_address_is_counted_and_defended)
{
	struct raw6 r;
	uint8_t f[128];

	raw6_open(&r);
	raw6_inject(&r, f, raw6_nd_put(f, 135, "::", "ff02::1:ff00:1", US, NULL));
	cr_assert(raw6_receive(&r), "somebody else's detection must hear of us");
	cr_assert_eq(r.got[L4], 136);
	cr_assert_arr_eq(r.got, raw6_nodes_mac, 6);
	cr_assert_eq(r.got[L4 + 4], 0x20);
	raw6_inject(&r, f, raw6_nd_put(f, 136, PEER, US_LOCAL, US, raw6_other_mac));
	uint32_t n = raw6_nd_put(f, 136, US, "ff02::1", US, raw6_other_mac);
	f[L4 + 4] = 0x20;
	raw6_sum_put(f + IP6, 0, 58);
	raw6_inject(&r, f, n);
	cr_assert(!raw6_receive(&r));
	cr_assert_eq(COUNTED(&r, ND_CONFLICT), 2);
	uint64_t bad = COUNTED(&r, IP6_BAD); // from ours, about another
	raw6_inject(&r, f, raw6_nd_put(f, 136, US, "ff02::1", PEER, raw6_other_mac));
	cr_assert(!raw6_receive(&r));
	cr_assert_eq(COUNTED(&r, IP6_BAD), bad + 1);
	raw6_teach(&r, PEER, raw6_peer_mac);
	raw6_inject(&r, f, raw6_syn_put(f, PEER, US));
	cr_assert(raw6_receive(&r), "still ours");
	raw6_close(&r);
}

Test(net6, every_address_is_served_and_no_other)
{
	const struct net_addr a[] = {{.addr = ipaddr_v4(0x0a000001), .prefix_bits = 120},
				     {.addr = ipaddr_v4(0x0a000005), .prefix_bits = 120},
				     {.addr = ipaddr_v4(0xc0a80001), .prefix_bits = 112}};
	const uint32_t rows[] = {0x0a000001, 0x0a000005, 0xc0a80001, 0x0a000006};
	struct raw6 r;
	uint8_t f[64];

	raw6_start(&r, a, ARRAY_LEN(a), 0);
	for (uint32_t i = 0; i < ARRAY_LEN(a); i++) {
		cr_assert(raw6_receive(&r));
		cr_assert_eq(load_be32(r.got + 28), rows[i], "announced");
		cr_assert_eq(load_be32(r.got + 38), rows[i]);
	}
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) { // who has it? tell .77
		memset(f, 0xff, 6);
		memcpy(f + 6, raw6_peer_mac, 6);
		memcpy(f + 12, "\x08\x06\0\1\x08\0\6\4\0\1", 10);
		memcpy(f + 22, raw6_peer_mac, 6);
		store_be32(f + 28, (rows[i] & ~0xffu) | 77);
		memset(f + 32, 0, 6);
		store_be32(f + 38, rows[i]);
		raw6_inject(&r, f, 42);
		cr_assert_eq(raw6_receive(&r), i < ARRAY_LEN(a), "row %u", i);
		if (i < ARRAY_LEN(a))
			cr_assert_eq(load_be32(r.got + 28), rows[i]);
	}
	raw6_close(&r);
}

// --- IPv6 ---

struct row {
	const char *what;
	uint32_t at; // in the IPv6 header
	uint8_t value;
	bool is_summed;
	enum counter counter;
};

static const struct row ip6_rows[] = {
	{"version 4", 0, 0x40, true, COUNTER_IP6_BAD},
	{"payload beyond the frame", 5, 200, false, COUNTER_IP6_BAD},
	{"payload 0", 5, 0, false, COUNTER_IP6_BAD},
	{"payload of 19 bytes", 5, 19, false, COUNTER_TCP_BAD},
	{"hop limit 0", 7, 0, true, COUNTER_IP6_BAD},
	{"UDP", 6, 17, false, COUNTER_IP6_PROTO},
	{"no next header", 6, 59, false, COUNTER_IP6_PROTO},
	{"ESP", 6, 50, false, COUNTER_IP6_PROTO},
	{"source is a group", 8, 0xff, true, COUNTER_IP6_BAD},
	{"source is ours", 23, 1, true, COUNTER_IP6_BAD},
	{"another destination", 39, 9, true, COUNTER_IP6_NOT_OURS},
	{"TCP checksum", 56, 0x77, false, COUNTER_TCP_CHECKSUM},
	{"TCP bit", 44, 0x40, false, COUNTER_TCP_CHECKSUM},
};

Test(net6, ip6_input_table)
{
	const char *sources[] = {"::", "::1", "::ffff:10.0.0.9", "::10.0.0.9"};
	struct raw6 r;
	uint8_t f[128];

	raw6_open(&r);
	raw6_teach(&r, PEER, raw6_peer_mac);
	for (uint32_t i = 0; i < ARRAY_LEN(ip6_rows); i++) {
		const struct row *row = &ip6_rows[i];
		uint32_t n = raw6_syn_put(f, PEER, US);
		uint64_t before = r.h.counters.v[row->counter];
		f[IP6 + row->at] = row->value;
		if (row->is_summed)
			raw6_sum_put(f + IP6, 0, 6);
		raw6_inject(&r, f, n);
		cr_assert(!raw6_receive(&r), "answered: %s", row->what);
		cr_assert_eq(r.h.counters.v[row->counter], before + 1, "%s", row->what);
	}
	for (uint32_t i = 0; i < ARRAY_LEN(sources); i++) {
		uint64_t before = COUNTED(&r, IP6_BAD);
		raw6_inject(&r, f, raw6_syn_put(f, sources[i], US));
		cr_assert(!raw6_receive(&r), "answered %s", sources[i]);
		cr_assert_eq(COUNTED(&r, IP6_BAD), before + 1, "%s", sources[i]);
	}
	uint64_t before = COUNTED(&r, IP6_BAD);
	raw6_inject(&r, f, raw6_syn_put(f, PEER, "ff02::1"));
	cr_assert(!raw6_receive(&r), "TCP to a group");
	cr_assert_eq(COUNTED(&r, IP6_BAD), before + 1);
	before = COUNTED(&r, IP6_NOT_OURS);
	raw6_inject(&r, f, raw6_syn_put(f, PEER, "ff02::2"));
	raw6_inject(&r, f, raw6_syn_put(f, PEER, "ff02::1:ff77:7777"));
	uint32_t n = raw6_syn_put(f, PEER, US);
	memcpy(f, raw6_nodes_mac, 6); // our address in a group's frame
	raw6_inject(&r, f, n);
	cr_assert(!raw6_receive(&r));
	cr_assert_eq(COUNTED(&r, IP6_NOT_OURS), before + 3);
	n = raw6_syn_put(f, PEER, US);
	for (uint32_t cut = 0; cut < n; cut++)
		raw6_inject(&r, f, cut);
	cr_assert(!raw6_receive(&r), "a cut frame was answered");
	memset(f + n, 0xee, 20); // Ethernet padding is no payload
	raw6_inject(&r, f, n + 20);
	cr_assert(raw6_receive(&r));
	cr_assert(raw6_is_reset(&r, US, PEER));
	raw6_inject(&r, f, raw6_syn_put(f, PEER, US_2));
	cr_assert(raw6_receive(&r));
	cr_assert(raw6_is_reset(&r, US_2, PEER));
	raw6_close(&r);
}

struct ext_row {
	const char *what;
	const char *bytes; // of the headers, one after the other, next header fields right
	uint32_t n;
	uint8_t first;
	bool is_fine;
	enum counter counter;
};

#define EXT(s) (s), sizeof(s) - 1
#define PAD6 "\1\4\0\0\0\0"

static const struct ext_row ext_rows[] = {
	{"hop by hop", EXT("\6\0" PAD6), 0, true, 0},
	{"destination options", EXT("\6\0" PAD6), 60, true, 0},
	{"router alert", EXT("\6\0\5\2\0\0\1\0"), 0, true, 0},
	{"pad 1", EXT("\6\0\0\0\0\0\0\0"), 60, true, 0},
	{"an unknown option to skip", EXT("\6\0\x1e\4\0\0\0\0"), 60, true, 0},
	{"four headers", EXT("\x3c\0" PAD6 "\x3c\0" PAD6 "\x3c\0" PAD6 "\6\0" PAD6), 0, true, 0},
	{"an atomic fragment", EXT("\6\0\0\0\1\2\3\4"), 44, true, 0},
	{"routing type 2, none left", EXT("\6\0\2\0\0\0\0\0"), 43, true, 0},
	{"five headers", EXT("\x3c\0" PAD6 "\x3c\0" PAD6 "\x3c\0" PAD6 "\x3c\0" PAD6 "\6\0" PAD6),
	 0, false, COUNTER_IP6_EXT},
	{"hop by hop second", EXT("\0\0" PAD6 "\6\0" PAD6), 60, false, COUNTER_IP6_EXT},
	{"routing type 0", EXT("\6\0\0\0\0\0\0\0"), 43, false, COUNTER_IP6_EXT},
	{"routing with segments left", EXT("\6\0\2\1\0\0\0\0"), 43, false, COUNTER_IP6_EXT},
	{"an unknown option to drop", EXT("\6\0\x5e\4\0\0\0\0"), 60, false, COUNTER_IP6_EXT},
	{"a jumbo payload", EXT("\6\0\xc2\4\0\1\0\0"), 0, false, COUNTER_IP6_EXT},
	{"an option beyond its header", EXT("\6\0\1\5\0\0\0\0"), 60, false, COUNTER_IP6_EXT},
	{"half an option", EXT("\6\0\1\3\0\0\0\1"), 60, false, COUNTER_IP6_EXT},
	{"nine options",
	 EXT("\6\2\x1e\0\x1e\0\x1e\0\x1e\0\x1e\0\x1e\0\x1e\0\x1e\0\x1e\0\x1e\0\x1e\0"), 60, false,
	 COUNTER_IP6_EXT},
	{"longer than the packet", EXT("\6\4" PAD6), 60, false, COUNTER_IP6_EXT},
	{"a first fragment", EXT("\6\0\0\1\1\2\3\4"), 44, false, COUNTER_IP6_FRAGMENT},
	{"a last fragment", EXT("\6\0\0\x08\1\2\3\4"), 44, false, COUNTER_IP6_FRAGMENT},
};

Test(net6, extension_header_table)
{
	struct raw6 r;
	uint8_t f[256];

	raw6_open(&r);
	raw6_teach(&r, PEER, raw6_peer_mac);
	for (uint32_t i = 0; i < ARRAY_LEN(ext_rows); i++) {
		const struct ext_row *row = &ext_rows[i];
		uint8_t *p = raw6_ip_put(f, PEER, US, row->first, row->n + 20);
		uint64_t before = r.h.counters.v[row->counter];
		memcpy(p, row->bytes, row->n);
		raw6_tcp_put(p + row->n);
		raw6_sum_put(f + IP6, row->n, 6);
		raw6_inject(&r, f, L4 + row->n + 20);
		cr_assert_eq(raw6_receive(&r), row->is_fine, "%s", row->what);
		if (row->is_fine)
			cr_assert(raw6_is_reset(&r, US, PEER));
		else
			cr_assert_eq(r.h.counters.v[row->counter], before + 1, "%s", row->what);
	}
	raw6_close(&r);
}

Test(net6, echo_is_answered)
{
	struct raw6 r;
	uint8_t f[PORT_FRAME_SIZE];

	raw6_open(&r);
	for (uint32_t size = 0; size <= 1452; size += 121) {
		uint8_t *p = raw6_ip_put(f, FAR, US_2, 58, 8 + size);
		p[0] = 128;
		for (uint32_t i = 0; i < size; i++)
			p[8 + i] = (uint8_t)(i * 7);
		raw6_sum_put(f + IP6, 0, 58);
		raw6_inject(&r, f, L4 + 8 + size);
		cr_assert(raw6_receive(&r), "%u bytes", size);
		cr_assert_arr_eq(r.got, raw6_peer_mac, 6, "to the station that brought it");
		cr_assert_eq(r.got[L4], 129);
		cr_assert_arr_eq(r.got + 22, f + 38, 16);
		cr_assert_arr_eq(r.got + 38, f + 22, 16);
		cr_assert_eq(raw6_sum(r.got + IP6, 0, 58), 0xffff);
		cr_assert_arr_eq(r.got + L4 + 4, p + 4, 4 + size);
		vnet_advance(r.v, 20000);
	}
	cr_assert_eq(COUNTED(&r, ICMP_ECHO), 13);
	uint8_t *p = raw6_ip_put(f, PEER, "ff02::1", 58, 8);
	p[0] = 128;
	raw6_sum_put(f + IP6, 0, 58);
	raw6_inject(&r, f, L4 + 8);
	cr_assert(!raw6_receive(&r), "a ping of everybody");
	p = raw6_ip_put(f, PEER, US, 58, 8);
	p[0] = 128;
	raw6_inject(&r, f, L4 + 8);
	cr_assert(!raw6_receive(&r), "without a checksum");
	cr_assert_eq(COUNTED(&r, ICMP_OTHER), 2);
	raw6_close(&r);
}
