// SPDX-License-Identifier: Apache-2.0
// Tests of net: Ethernet, ARP, IPv4 and ICMP at the wire, with a raw peer at the other end. Time
// is virtual.

#include <criterion/criterion.h>
#include <string.h>

#include "control/base/bytes.h"
#include "test/sim/lib/framesum.h"
#include "test/sim/lib/vnet.h"

#define US_ADDR 0x0a000001u   // 10.0.0.1/24
#define PEER_ADDR 0x0a000002u // 10.0.0.2
#define GATEWAY 0x0a0000feu
#define FAR_ADDR 0xc6336401u // 198.51.100.1, behind the gateway
#define SECOND 1000000ull

static const uint8_t peer_mac[6] = {2, 0xaa, 0, 0, 0, 1};
static const uint8_t other_mac[6] = {2, 0xaa, 0, 0, 0, 2};
static const uint8_t all_mac[6] = {255, 255, 255, 255, 255, 255};
static const uint8_t no_mac[6];

// --- a bench: our host at A, raw frames at B ---

struct rig {
	struct vnet *v;
	struct vnet_link *l;
	struct vnet_host h;
	uint8_t got[PORT_FRAME_SIZE];
	uint32_t got_len;
};

static void
poll_for(struct rig *r, uint64_t us, uint64_t step)
{
	uint64_t end = vnet_now(r->v) + us;

	do {
		vnet_host_poll(&r->h, vnet_now(r->v));
		vnet_host_poll(&r->h, vnet_now(r->v));
		vnet_advance(r->v, step);
	} while (vnet_now(r->v) < end);
}

static bool
receive(struct rig *r) // the next frame that our host sent
{
	struct port *p = vnet_port(r->l, VNET_B);
	struct frame f;

	vnet_host_poll(&r->h, vnet_now(r->v));
	vnet_host_poll(&r->h, vnet_now(r->v));
	if (p->ops->rx(p, &f, 1) == 0)
		return false;
	memcpy(r->got, f.data, f.len);
	r->got_len = f.len;
	p->ops->rx_free(p, &f);
	return true;
}

static uint32_t
drain(struct rig *r)
{
	uint32_t n = 0;

	while (receive(r))
		n++;
	return n;
}

static void
rig_open(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->v = vnet_open(1);
	r->l = vnet_link_open(r->v, NULL, NULL);
	const struct vnet_host_args a = {
		.link = r->l,
		.end = VNET_A,
		.addr = ipaddr_v4(US_ADDR),
		.gateway = ipaddr_v4(GATEWAY),
		.prefix_bits = 120,
		.seed = 7,
	};
	cr_assert(vnet_host_open(&r->h, r->v, &a));
}

static void
rig_close(struct rig *r)
{
	vnet_host_close(&r->h);
	vnet_close(&r->v);
}

static void
inject(struct rig *r, const uint8_t *f, uint32_t n)
{
	cr_assert(vnet_inject(r->l, VNET_B, span_of(f, n)));
}

// --- frames ---

static uint32_t
l4_sum(const uint8_t *ip, uint32_t hlen, uint32_t n)
{
	uint32_t sum = framesum(ip + 12, 8, 0) + ip[9] + n;

	return framesum(ip + hlen, n, sum);
}

static void
eth_put(uint8_t *f, const uint8_t *dst, const uint8_t *src, uint16_t type)
{
	memcpy(f, dst, 6);
	memcpy(f + 6, src, 6);
	store_be16(f + 12, type);
}

static uint32_t
arp_put(uint8_t *f, const uint8_t *dst, uint16_t op, const uint8_t *sha, uint32_t spa, uint32_t tpa)
{
	eth_put(f, dst, sha, 0x0806);
	memcpy(f + 14, "\0\1\x08\0\6\4", 6);
	store_be16(f + 20, op);
	memcpy(f + 22, sha, 6);
	store_be32(f + 28, spa);
	memcpy(f + 32, no_mac, 6);
	store_be32(f + 38, tpa);
	return 42;
}

static void
ip_sums(uint8_t *ip, uint32_t hlen, uint32_t total)
{
	store_be16(ip + 10, 0);
	store_be16(ip + 10, (uint16_t)~framesum(ip, hlen, 0));
	if (ip[9] != 6 || total < hlen + 20)
		return;
	store_be16(ip + hlen + 16, 0);
	store_be16(ip + hlen + 16, (uint16_t)~l4_sum(ip, hlen, total - hlen));
}

// A SYN to the closed port 9: the answer is a reset.
static uint32_t
syn_put(uint8_t *f, uint32_t src, uint32_t hlen)
{
	uint8_t *ip = f + 14, *t = ip + hlen;

	memset(f, 0, 128);
	eth_put(f, (const uint8_t[6]){2, 0, 0, 0, 0, 0}, peer_mac, 0x0800);
	ip[0] = (uint8_t)(0x40 | hlen / 4);
	store_be16(ip + 2, (uint16_t)(hlen + 20));
	ip[8] = 64;
	ip[9] = 6;
	store_be32(ip + 12, src);
	store_be32(ip + 16, US_ADDR);
	for (uint32_t i = 20; i < hlen; i++)
		ip[i] = 1; // NOP
	store_be16(t, 40000);
	store_be16(t + 2, 9);
	store_be32(t + 4, 1000);
	t[12] = 0x50;
	t[13] = 0x02;
	store_be16(t + 14, 1000);
	ip_sums(ip, hlen, hlen + 20);
	return 14 + hlen + 20;
}

static uint32_t
echo_put(uint8_t *f, uint32_t size)
{
	uint8_t *ip = f + 14, *p = ip + 20;

	memset(f, 0, 42);
	eth_put(f, (const uint8_t[6]){2, 0, 0, 0, 0, 0}, peer_mac, 0x0800);
	ip[0] = 0x45;
	store_be16(ip + 2, (uint16_t)(28 + size));
	ip[8] = 64;
	ip[9] = 1;
	store_be32(ip + 12, PEER_ADDR);
	store_be32(ip + 16, US_ADDR);
	for (uint32_t i = 0; i < size; i++)
		p[8 + i] = (uint8_t)(i * 7);
	p[0] = 8;
	store_be32(p + 4, 0x12340001);
	store_be16(p + 2, (uint16_t)~framesum(p, 8 + size, 0));
	ip_sums(ip, 20, 28 + size);
	return 14 + 28 + size;
}

static void
teach(struct rig *r, uint32_t addr, const uint8_t *mac) // who has you? tell addr
{
	uint8_t f[64];

	inject(r, f, arp_put(f, all_mac, 1, mac, addr, US_ADDR));
	drain(r);
}

#define COUNTED(r, id) ((r)->h.counters.v[COUNTER_##id])

// --- ARP ---

Test(net, announces_its_address_at_start)
{
	struct rig r;

	rig_open(&r);
	cr_assert(receive(&r));
	cr_assert_eq(r.got_len, 42);
	cr_assert_arr_eq(r.got, all_mac, 6);
	cr_assert_eq(load_be16(r.got + 12), 0x0806);
	cr_assert_eq(load_be32(r.got + 28), US_ADDR);
	cr_assert_eq(load_be32(r.got + 38), US_ADDR);
	cr_assert(!receive(&r));
	cr_assert_eq(COUNTED(&r, TX_FRAMES), 1);
	rig_close(&r);
}

Test(net, arp_request_is_answered_to_the_sender)
{
	struct rig r;
	uint8_t f[64];

	rig_open(&r);
	drain(&r);
	inject(&r, f, arp_put(f, all_mac, 1, peer_mac, PEER_ADDR, US_ADDR));
	cr_assert(receive(&r));
	cr_assert_arr_eq(r.got, peer_mac, 6);
	cr_assert_eq(load_be16(r.got + 20), 2);
	cr_assert_arr_eq(r.got + 22, r.h.port->mac, 6);
	cr_assert_eq(load_be32(r.got + 28), US_ADDR);
	cr_assert_arr_eq(r.got + 32, peer_mac, 6);
	cr_assert_eq(load_be32(r.got + 38), PEER_ADDR);
	cr_assert_eq(COUNTED(&r, ARP_IN), 1);
	// A probe for our address (RFC 5227) must hear that it is taken.
	inject(&r, f, arp_put(f, all_mac, 1, other_mac, 0, US_ADDR));
	cr_assert(receive(&r));
	cr_assert_arr_eq(r.got, other_mac, 6);
	// Somebody else's address is not our business.
	inject(&r, f, arp_put(f, all_mac, 1, peer_mac, PEER_ADDR, GATEWAY));
	cr_assert(!receive(&r));
	cr_assert_eq(COUNTED(&r, ARP_BAD), 0);
	rig_close(&r);
}

Test(net, arp_that_makes_no_sense_is_counted)
{
	struct {
		const char *what;
		uint32_t at;
		uint8_t value;
	} rows[] = {
		{"hardware type", 15, 6},   {"protocol type", 16, 9},
		{"hardware size", 18, 8},   {"protocol size", 19, 16},
		{"operation 0", 21, 0},     {"operation 3", 21, 3},
		{"group sender", 22, 3},    {"off the link", 29, 1},
		{"network address", 31, 0}, {"broadcast address", 31, 255},
	};
	struct rig r;
	uint8_t f[64];

	rig_open(&r);
	drain(&r);
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint32_t n = arp_put(f, all_mac, 1, peer_mac, PEER_ADDR, US_ADDR);
		f[rows[i].at] = rows[i].value;
		inject(&r, f, n);
		cr_assert(!receive(&r), "answered: %s", rows[i].what);
		cr_assert_eq(COUNTED(&r, ARP_BAD), i + 1, "%s", rows[i].what);
	}
	inject(&r, f, 41); // cut
	cr_assert(!receive(&r));
	cr_assert_eq(COUNTED(&r, ARP_BAD), ARRAY_LEN(rows) + 1);
	// A frame with our own station address as sender is a loop.
	inject(&r, f, arp_put(f, r.h.port->mac, 1, r.h.port->mac, PEER_ADDR, US_ADDR));
	cr_assert(!receive(&r));
	cr_assert_eq(COUNTED(&r, ARP_BAD), ARRAY_LEN(rows) + 2);
	rig_close(&r);
}

// RFC 5227 2.4 (c): counted, and claimed again, but not more often than every ten seconds: the
// other one may do the same.
Test(net, arp_of_a_station_with_our_address_is_a_conflict)
{
	struct rig r;
	uint8_t f[64];

	rig_open(&r);
	drain(&r);
	for (uint32_t i = 0; i < 4; i++) {
		inject(&r, f,
		       arp_put(f, all_mac, 1 + i % 2, other_mac, US_ADDR,
			       i < 2 ? US_ADDR : PEER_ADDR));
		cr_assert_eq(receive(&r), i == 0, "packet %u", i);
		cr_assert_eq(COUNTED(&r, ARP_CONFLICT), i + 1);
	}
	poll_for(&r, 10 * SECOND, SECOND);
	drain(&r);
	inject(&r, f, arp_put(f, all_mac, 1, other_mac, US_ADDR, US_ADDR));
	cr_assert(receive(&r));
	cr_assert_arr_eq(r.got, all_mac, 6);
	cr_assert_arr_eq(r.got + 22, r.h.port->mac, 6);
	cr_assert_eq(load_be32(r.got + 28), US_ADDR);
	cr_assert_eq(load_be32(r.got + 38), US_ADDR);
	cr_assert_eq(COUNTED(&r, ARP_BAD), 0);
	rig_close(&r);
}

static void
user_gone(void *user, struct tcp_conn *c, enum tcp_gone why)
{
	(void)c;
	*(int *)user = (int)why;
}

static const struct tcp_user_ops quiet_ops = {.gone = user_gone};

static bool
is_arp_request(const struct rig *r, uint32_t addr)
{
	return load_be16(r->got + 12) == 0x0806 && load_be16(r->got + 20) == 1 &&
	       load_be32(r->got + 38) == addr;
}

Test(net, next_hop_is_asked_for_once_a_second_and_then_used)
{
	struct rig r;
	uint8_t f[64];
	uint32_t requests = 0;
	int gone = -1;

	rig_open(&r);
	drain(&r);
	struct ipaddr to = ipaddr_v4(FAR_ADDR);
	cr_assert_not_null(tcp_conn_open(r.h.tcp, &to, 25, &quiet_ops, &gone));
	for (uint32_t ms = 0; ms < 3500; ms += 10) {
		while (receive(&r)) {
			cr_assert(is_arp_request(&r, GATEWAY), "only the gateway may be asked for");
			cr_assert_arr_eq(r.got, all_mac, 6);
			requests++;
		}
		vnet_advance(r.v, 10000);
	}
	cr_assert_geq(requests, 2);
	cr_assert_leq(requests, 4);
	cr_assert_eq(COUNTED(&r, ARP_REQUESTS), requests);
	cr_assert_gt(COUNTED(&r, ARP_WAIT), 0);
	inject(&r, f, arp_put(f, r.h.port->mac, 2, peer_mac, GATEWAY, US_ADDR));
	bool is_sent = false;
	for (uint32_t ms = 0; ms < 5000 && !is_sent; ms += 10) {
		while (!is_sent && receive(&r))
			is_sent = load_be16(r.got + 12) == 0x0800;
		vnet_advance(r.v, 10000);
	}
	cr_assert(is_sent);
	cr_assert_arr_eq(r.got, peer_mac, 6);
	const uint8_t *ip = r.got + 14;
	cr_assert_eq(load_be32(ip + 16), FAR_ADDR);
	cr_assert_eq(load_be16(ip + 6), 0x4000, "DF");
	cr_assert_eq(ip[8], 64);
	cr_assert_eq(framesum(ip, 20, 0), 0xffff);
	cr_assert_eq(l4_sum(ip, 20, load_be16(ip + 2) - 20u), 0xffff);
	rig_close(&r);
}

// Learnt, used, probed by unicast from 45 s on, asked for by broadcast after 60 s.
Test(net, entry_in_use_is_probed_before_it_ends)
{
	struct rig r;
	uint8_t f[128];
	uint32_t unicast = 0, broadcast = 0, first_s = 0;

	rig_open(&r);
	teach(&r, PEER_ADDR, peer_mac);
	for (uint32_t s = 0; s < 70; s++) {
		inject(&r, f,
		       syn_put(f, PEER_ADDR, 20)); // answered with a reset: the entry is in use
		while (receive(&r)) {
			if (!is_arp_request(&r, PEER_ADDR))
				continue;
			if (memcmp(r.got, peer_mac, 6) == 0) {
				first_s = unicast == 0 ? s : first_s;
				unicast++;
			} else {
				broadcast++;
			}
		}
		if (s < 59)
			cr_assert_eq(broadcast, 0, "at %u s", s);
		vnet_advance(r.v, SECOND);
	}
	cr_assert(first_s >= 44 && first_s <= 47, "first probe at %u s", first_s);
	cr_assert_geq(unicast, 10);
	cr_assert_geq(broadcast, 5);
	// The answer brings it back.
	inject(&r, f, arp_put(f, r.h.port->mac, 2, other_mac, PEER_ADDR, US_ADDR));
	drain(&r);
	inject(&r, f, syn_put(f, PEER_ADDR, 20));
	cr_assert(receive(&r));
	cr_assert_eq(load_be16(r.got + 12), 0x0800);
	cr_assert_arr_eq(r.got, other_mac, 6);
	rig_close(&r);
}

Test(net, announcement_changes_known_entries_only)
{
	struct rig r;
	uint8_t f[128];

	rig_open(&r);
	drain(&r);
	inject(&r, f, arp_put(f, all_mac, 1, other_mac, PEER_ADDR, PEER_ADDR));
	inject(&r, f, syn_put(f, PEER_ADDR, 20));
	cr_assert(receive(&r));
	cr_assert(is_arp_request(&r, PEER_ADDR), "an announcement alone taught an address");
	teach(&r, PEER_ADDR, peer_mac);
	inject(&r, f, arp_put(f, all_mac, 1, other_mac, PEER_ADDR, PEER_ADDR));
	inject(&r, f, syn_put(f, PEER_ADDR, 20));
	cr_assert(receive(&r));
	cr_assert_arr_eq(r.got, other_mac, 6);
	rig_close(&r);
}

Test(net, copy_of_another_workers_arp_teaches_and_is_not_answered)
{
	struct rig r;
	uint8_t f[128];

	rig_open(&r);
	drain(&r);
	const struct frame copy = {
		.data = f,
		.len = arp_put(f, all_mac, 1, peer_mac, PEER_ADDR, US_ADDR),
		.flags = FRAME_LEARN_ONLY,
	};
	net_input(r.h.net, 0, &copy);
	cr_assert(!receive(&r));
	inject(&r, f, syn_put(f, PEER_ADDR, 20));
	cr_assert(receive(&r));
	cr_assert_arr_eq(r.got, peer_mac, 6);
	rig_close(&r);
}

// A flood of on-link senders must not push the hop out that is in use.
Test(net, flood_of_requests_keeps_the_used_entry)
{
	struct rig r;
	uint8_t f[128];

	rig_open(&r);
	teach(&r, GATEWAY, peer_mac);
	for (uint32_t i = 0; i < 200; i++) {
		uint8_t mac[6] = {2, 0xbb, 0, 0, 0, (uint8_t)i};
		inject(&r, f, syn_put(f, FAR_ADDR, 20));
		cr_assert(receive(&r));
		cr_assert_eq(load_be16(r.got + 12), 0x0800, "lost the gateway after %u", i);
		vnet_advance(r.v, 1000);
		teach(&r, US_ADDR + 10 + i, mac);
	}
	rig_close(&r);
}

// --- IPv4 ---

struct ip_row {
	const char *what;
	uint32_t at; // in the IP header
	uint8_t value;
	bool is_summed; // correct the checksums afterwards
	enum counter counter;
};

static const struct ip_row ip_rows[] = {
	{"version 5", 0, 0x55, true, COUNTER_IP_BAD},
	{"version 6", 0, 0x65, true, COUNTER_IP_BAD},
	{"header of 16 bytes", 0, 0x44, true, COUNTER_IP_BAD},
	{"header longer than the datagram", 0, 0x4f, true, COUNTER_IP_BAD},
	{"total below the header", 3, 19, true, COUNTER_IP_BAD},
	{"total 0", 3, 0, true, COUNTER_IP_BAD},
	{"total beyond the frame", 3, 200, true, COUNTER_IP_BAD},
	{"header checksum", 10, 0x5a, false, COUNTER_IP_CHECKSUM},
	{"more fragments", 6, 0x20, true, COUNTER_IP_FRAGMENT},
	{"fragment offset 1", 7, 1, true, COUNTER_IP_FRAGMENT},
	{"fragment offset 4096", 6, 2, true, COUNTER_IP_FRAGMENT},
	{"time to live 0", 8, 0, true, COUNTER_IP_BAD},
	{"another destination", 19, 9, true, COUNTER_IP_NOT_OURS},
	{"broadcast destination", 19, 255, true, COUNTER_IP_NOT_OURS},
	{"group destination", 16, 0xe0, true, COUNTER_IP_NOT_OURS},
	{"source 0.x", 12, 0, true, COUNTER_IP_BAD},
	{"source loopback", 12, 127, true, COUNTER_IP_BAD},
	{"source group", 12, 0xe0, true, COUNTER_IP_BAD},
	{"source reserved", 12, 0xff, true, COUNTER_IP_BAD},
	{"source is ours", 15, 1, true, COUNTER_IP_BAD},
	{"source is the network", 15, 0, true, COUNTER_IP_BAD},
	{"source is its broadcast", 15, 255, true, COUNTER_IP_BAD},
	{"UDP", 9, 17, true, COUNTER_IP_PROTO},
	{"TCP cut to 19 bytes", 3, 39, true, COUNTER_TCP_BAD},
	{"TCP checksum", 36, 0x77, false, COUNTER_TCP_CHECKSUM},
	{"TCP payload bit", 24, 0x40, false, COUNTER_TCP_CHECKSUM},
};

Test(net, ip_input_table)
{
	struct rig r;
	uint8_t f[128];

	rig_open(&r);
	teach(&r, PEER_ADDR, peer_mac);
	for (uint32_t i = 0; i < ARRAY_LEN(ip_rows); i++) {
		const struct ip_row *row = &ip_rows[i];
		uint32_t n = syn_put(f, PEER_ADDR, 20);
		uint64_t before = r.h.counters.v[row->counter];
		f[14 + row->at] = row->value;
		if (row->is_summed)
			ip_sums(f + 14, (f[14] & 15u) * 4 < 60 ? (f[14] & 15u) * 4 : 20,
				load_be16(f + 16) <= 40 ? load_be16(f + 16) : 40);
		inject(&r, f, n);
		cr_assert(!receive(&r), "answered: %s", row->what);
		cr_assert_eq(r.h.counters.v[row->counter], before + 1, "not counted: %s",
			     row->what);
	}
	inject(&r, f, syn_put(f, PEER_ADDR, 20));
	cr_assert(receive(&r), "the sound frame is answered");
	rig_close(&r);
}

Test(net, padding_options_and_odd_frames)
{
	struct rig r;
	uint8_t f[128];

	rig_open(&r);
	teach(&r, PEER_ADDR, peer_mac);
	uint32_t n = syn_put(f, PEER_ADDR, 20);
	memset(f + n, 0xee, 60 - n); // Ethernet padding is no payload
	inject(&r, f, 60);
	cr_assert(receive(&r));
	cr_assert_eq(r.got[14 + 20 + 13] & 4, 4, "a reset");
	cr_assert_eq(load_be32(r.got + 14 + 20 + 8), 1001, "acknowledges the SYN, no padding");
	inject(&r, f, syn_put(f, PEER_ADDR, 40)); // options
	cr_assert(receive(&r));

	n = syn_put(f, PEER_ADDR, 20);
	memcpy(f, all_mac, 6); // IPv4 in a broadcast frame
	inject(&r, f, n);
	memcpy(f, other_mac, 6);
	inject(&r, f, n);
	memcpy(f, r.h.port->mac, 6);
	f[6] |= 1; // group source
	inject(&r, f, n);
	f[6] &= 0xfe;
	store_be16(f + 12, 0x8100); // VLAN
	inject(&r, f, n);
	store_be16(f + 12, 0x86dd);
	inject(&r, f, n);
	cr_assert(!receive(&r));
	cr_assert_eq(COUNTED(&r, ETH_OTHER), 4);
	cr_assert_eq(COUNTED(&r, ETH_VLAN), 1);
	store_be16(f + 12, 0x0800);
	for (uint32_t cut = 0; cut < n; cut++)
		inject(&r, f, cut);
	poll_for(&r, 1000, 1000);
	cr_assert(!receive(&r), "a cut frame was answered");
	cr_assert_eq(COUNTED(&r, ETH_SHORT), 34);
	cr_assert_eq(COUNTED(&r, IP_BAD), n - 34);
	rig_close(&r);
}

// --- ICMP ---

Test(net, echo_is_answered_with_its_bytes)
{
	struct rig r;
	uint8_t f[PORT_FRAME_SIZE];

	rig_open(&r);
	drain(&r);
	for (uint32_t size = 0; size <= 1472; size += size < 40 ? 1 : 179) {
		uint32_t n = echo_put(f, size);
		inject(&r, f, n);
		cr_assert(receive(&r), "no answer to %u bytes", size);
		cr_assert_eq(r.got_len, n);
		cr_assert_arr_eq(r.got, peer_mac, 6);
		const uint8_t *ip = r.got + 14;
		cr_assert_eq(ip[20], 0);
		cr_assert_eq(load_be32(ip + 12), US_ADDR);
		cr_assert_eq(load_be32(ip + 16), PEER_ADDR);
		cr_assert_eq(framesum(ip, 20, 0), 0xffff);
		cr_assert_eq(framesum(ip + 20, 8 + size, 0), 0xffff, "checksum of %u bytes", size);
		cr_assert_arr_eq(ip + 24, f + 14 + 24, 4 + size);
		vnet_advance(r.v, 20000);
	}
	uint32_t n = echo_put(f, 10);
	f[14 + 28] ^= 1;
	inject(&r, f, n);
	cr_assert(!receive(&r), "bad checksum");
	n = echo_put(f, 10);
	f[14 + 20] = 0; // a reply
	f[14 + 22] = f[14 + 23] = 0;
	store_be16(f + 14 + 22, (uint16_t)~framesum(f + 34, 18, 0));
	inject(&r, f, n);
	cr_assert(!receive(&r));
	cr_assert_eq(COUNTED(&r, ICMP_OTHER), 2);
	rig_close(&r);
}

Test(net, echo_is_rate_limited)
{
	struct rig r;
	uint8_t f[128];
	uint32_t burst, later;

	rig_open(&r);
	drain(&r);
	for (uint32_t i = 0; i < 200; i++)
		inject(&r, f, echo_put(f, 10));
	poll_for(&r, 10, 1);
	burst = drain(&r);
	cr_assert(burst >= 50 && burst <= 52, "%u at once", burst);
	vnet_advance(r.v, SECOND);
	for (uint32_t i = 0; i < 200; i++)
		inject(&r, f, echo_put(f, 10));
	poll_for(&r, 10, 1);
	later = drain(&r);
	cr_assert(later >= 50 && later <= 52, "%u a second later", later);
	rig_close(&r);
}
