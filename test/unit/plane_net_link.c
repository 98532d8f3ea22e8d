// SPDX-License-Identifier: Apache-2.0
// Tests of net: VLANs that share a port, what cannot leave, ICMP errors, and two hosts that speak
// over IPv6 and over a VLAN. Time is virtual.

#include <criterion/criterion.h>
#include <string.h>

#include "test/sim/lib/endpoint.h"
#include "test/sim/lib/framesum.h"
#include "test/sim/lib/raw6.h"

#define OUR_V4 0x0a000001u
#define PEER_V4 0x0a000063u

// --- VLANs ---

static uint32_t
tag(uint8_t *f, uint32_t n, uint16_t tpid, uint16_t tci)
{
	memmove(f + 16, f + 12, n - 12);
	store_be16(f + 12, tpid);
	store_be16(f + 14, tci);
	return n + 4;
}

static void
untag(struct raw6 *r)
{
	memmove(r->got + 12, r->got + 16, r->got_len - 16);
	r->got_len -= 4;
}

Test(vlan, tag_is_read_and_written)
{
	const struct net_addr a = {.addr = raw6_addr(US), .prefix_bits = 64};
	struct raw6 r;
	uint8_t f[128];

	raw6_start(&r, &a, 1, 7);
	vnet_advance(r.v, SECOND);
	cr_assert_eq(load_be16((raw6_receive(&r), r.got + 12)), 0x8100);
	cr_assert_eq(load_be16(r.got + 14), 7);
	cr_assert_eq(load_be16(r.got + 16), 0x86dd);
	raw6_wait(&r, 2 * SECOND);
	uint32_t n = raw6_nd_put(f, 135, PEER, "ff02::1:ff00:1", US, raw6_peer_mac);
	raw6_inject(&r, f, tag(f, n, 0x8100, 0xe007)); // with a priority
	cr_assert(raw6_receive(&r));
	cr_assert_eq(load_be16(r.got + 14), 7, "ours has none");
	n = raw6_syn_put(f, PEER, US);
	raw6_inject(&r, f, tag(f, n, 0x8100, 7));
	cr_assert(raw6_receive(&r));
	cr_assert_eq(load_be16(r.got + 12), 0x8100);
	untag(&r);
	cr_assert(raw6_is_reset(&r, US, PEER));
	const struct {
		uint16_t tpid, tci;
	} wrong[] = {{0x8100, 8}, {0x8100, 0}, {0x8100, 4095}, {0x88a8, 7}};
	for (uint32_t i = 0; i < ARRAY_LEN(wrong); i++) {
		n = raw6_syn_put(f, PEER, US);
		raw6_inject(&r, f, tag(f, n, wrong[i].tpid, wrong[i].tci));
		cr_assert(!raw6_receive(&r), "row %u", i);
		cr_assert_eq(COUNTED(&r, ETH_VLAN), i + 1, "row %u", i);
	}
	raw6_inject(&r, f, raw6_syn_put(f, PEER, US)); // without one
	n = raw6_syn_put(f, PEER, US);
	n = tag(f, n, 0x8100, 7); // with two
	raw6_inject(&r, f, tag(f, n, 0x8100, 7));
	cr_assert(!raw6_receive(&r));
	cr_assert_eq(COUNTED(&r, ETH_VLAN), ARRAY_LEN(wrong) + 2);
	n = raw6_syn_put(f, PEER, US);
	n = tag(f, n, 0x8100, 7);
	for (uint32_t cut = 0; cut < n; cut++)
		raw6_inject(&r, f, cut);
	cr_assert(!raw6_receive(&r), "a cut frame was answered");
	raw6_close(&r);
}

Test(vlan, priority_tag_is_no_vlan)
{
	struct raw6 r;
	uint8_t f[128];

	raw6_open(&r);
	raw6_teach(&r, PEER, raw6_peer_mac);
	uint32_t n = raw6_syn_put(f, PEER, US);
	raw6_inject(&r, f, tag(f, n, 0x8100, 0xa000));
	cr_assert(raw6_receive(&r));
	cr_assert(raw6_is_reset(&r, US, PEER), "and the answer has no tag");
	raw6_close(&r);
}

// An address is ours on its own VLAN only, and each VLAN has its own neighbours.
Test(vlan, interfaces_that_share_a_port_are_apart)
{
	struct vnet *v = vnet_open(1);
	struct vnet_link *l = vnet_link_open(v, NULL, NULL);
	struct counters counters = {0};
	struct net_iface iface[3];
	struct tcp_route route;

	for (uint32_t i = 0; i < 3; i++)
		iface[i] = (struct net_iface){
			.port = vnet_port(l, VNET_A),
			.vlan = (uint16_t)(i * 10),
			.addr_count = 1,
			.addr = {{.addr = ipaddr_v4(OUR_V4 + (i << 8)), .prefix_bits = 120}}};
	const struct net_args args = {
		.ifaces = iface, .iface_count = 3, .counters = &counters, .mem = &mem_heap};
	struct net *n = net_open(&args);
	struct port *b = vnet_port(l, VNET_B);
	struct frame got[8];

	net_run(n, vnet_now(v));
	net_flush(n);
	cr_assert_eq(b->ops->rx(b, got, 8), 3);
	for (uint32_t i = 0; i < 3; i++) {
		const uint8_t *p = got[i].data;
		cr_assert_eq(got[i].len, i == 0 ? 42 : 46);
		if (i > 0)
			cr_assert_eq(load_be32(p + 12), 0x81000000u | i * 10);
		cr_assert_eq(load_be32(p + got[i].len - 14), OUR_V4 + (i << 8));
		b->ops->rx_free(b, &got[i]);
	}
	for (uint32_t vlan = 0; vlan < 3; vlan++)
		for (uint32_t asked = 0; asked < 3; asked++) {
			uint8_t f[64] = {255, 255, 255, 255, 255, 255, 2, 0xaa, 0, 0, 0, 1,
					 8,   6,   0,   1,   8,   0,   6, 4,    0, 1, 2, 0xaa};
			uint32_t len = 42;
			f[27] = 1;
			store_be32(f + 28, PEER_V4 + (vlan << 8));
			store_be32(f + 38, OUR_V4 + (asked << 8));
			if (vlan > 0)
				len = tag(f, len, 0x8100, (uint16_t)(vlan * 10));
			const struct frame in = {.data = f, .len = len};
			net_input(n, 0, &in);
			net_flush(n);
			cr_assert_eq(b->ops->rx(b, got, 8), asked == vlan, "%u on %u", asked, vlan);
			if (asked != vlan)
				continue;
			cr_assert_eq(got[0].len, vlan == 0 ? 42 : 46);
			if (vlan > 0)
				cr_assert_eq(load_be16(got[0].data + 14), vlan * 10);
			b->ops->rx_free(b, &got[0]);
		}
	struct ipaddr to = ipaddr_v4(PEER_V4 + (2 << 8));
	cr_assert(net_tcp_ops.route(n, &to, 0, &route));
	cr_assert_eq(route.side, 2);
	net_close(&n);
	vnet_close(&v);
}

// Answers to senders who pretend to be on our outer network ask for stations that are not there.
// The inner network still finds its mail servers.
Test(vlan, flood_on_one_interface_leaves_neighbours_to_the_others)
{
	struct vnet *v = vnet_open(1);
	struct vnet_link *l = vnet_link_open(v, NULL, NULL);
	struct counters counters = {0};
	struct net_iface iface[2] = {
		{.addr_count = 1, .addr = {{.addr = ipaddr_v4(OUR_V4), .prefix_bits = 112}}},
		{.vlan = 7,
		 .addr_count = 1,
		 .addr = {{.addr = ipaddr_v4(0xc0a80001), .prefix_bits = 120}}}};
	const struct net_args args = {
		.ifaces = iface, .iface_count = 2, .counters = &counters, .mem = &mem_heap};
	struct tcp_path path = {.laddr = ipaddr_v4(OUR_V4), .lport = 25, .rport = 1000};
	uint64_t asked;

	iface[0].port = iface[1].port = vnet_port(l, VNET_A);
	struct net *n = net_open(&args);
	struct port *b = vnet_port(l, VNET_B);
	for (uint32_t ms = 0; ms < 3000; ms++) {
		struct frame got[PORT_BURST];
		net_run(n, vnet_now(v));
		for (uint32_t k = 0; k < 10; k++) {
			path.raddr = ipaddr_v4(OUR_V4 + 1 + ms * 10 + k);
			cr_assert_null(net_tcp_ops.seg_get(n, &path, 20));
		}
		net_flush(n);
		for (uint32_t k = b->ops->rx(b, got, PORT_BURST); k > 0; k--)
			b->ops->rx_free(b, &got[k - 1]);
		vnet_advance(v, 1000);
	}
	asked = counters.v[COUNTER_ARP_REQUESTS];
	cr_assert_gt(counters.v[COUNTER_NEIGH_LIMIT], 20000);
	path = (struct tcp_path){.laddr = ipaddr_v4(0xc0a80001),
				 .raddr = ipaddr_v4(0xc0a80014),
				 .lport = 1000,
				 .rport = 25,
				 .side = 1};
	cr_assert_null(net_tcp_ops.seg_get(n, &path, 20));
	cr_assert_eq(counters.v[COUNTER_ARP_REQUESTS], asked + 1, "the mail server is asked for");
	net_flush(n);
	net_close(&n);
	vnet_close(&v);
}

// --- what cannot leave ---

Test(net_full, missing_frames_and_a_full_queue_are_counted)
{
	static struct frame held[4 * IMPAIR_QUEUE_DEFAULT];
	struct raw6 r;
	uint8_t f[128];
	uint32_t n = 0;

	raw6_open(&r);
	raw6_teach(&r, PEER, raw6_peer_mac);
	struct port *port = r.h.port;

	while (n < ARRAY_LEN(held) && port->ops->tx_get(port, &held[n]))
		n++;
	cr_assert(n > IMPAIR_QUEUE_DEFAULT && n < ARRAY_LEN(held));
	raw6_inject(&r, f, raw6_syn_put(f, PEER, US));
	cr_assert(!raw6_receive(&r));
	cr_assert_eq(COUNTED(&r, FRAME_NONE), 1);
	for (uint32_t i = 0; i < n; i++) {
		held[i].len = 60;
		port->ops->tx_put(port, &held[i]);
	}
	raw6_drain(&r);
	cr_assert_eq(COUNTED(&r, TX_FULL), n - IMPAIR_QUEUE_DEFAULT);
	raw6_inject(&r, f, raw6_syn_put(f, PEER, US)); // and on it goes
	cr_assert(raw6_receive(&r));
	cr_assert(raw6_is_reset(&r, US, PEER));
	cr_assert_eq(COUNTED(&r, FRAME_NONE), 1);
	raw6_close(&r);
}

Test(net_full, no_route_is_counted)
{
	struct ipaddr far = raw6_addr(FAR), near = raw6_addr(PEER);
	struct endpoint e = {0};
	struct raw6 r;

	raw6_open(&r);
	cr_assert(!endpoint_open(&e, r.h.tcp, &far, 25));
	cr_assert_eq(COUNTED(&r, IP_NO_ROUTE), 1);
	cr_assert(endpoint_open(&e, r.h.tcp, &near, 25));
	cr_assert_eq(COUNTED(&r, IP_NO_ROUTE), 1);
	endpoint_fini(&e);
	raw6_close(&r);
}

// --- ICMP errors ---

struct error_row {
	uint8_t type, code;
	bool is_error;
};

// A connection of ours on its way to the peer: what left is what an error quotes.
static uint32_t
syn_take(struct raw6 *r, struct endpoint *e, const char *to, uint8_t *quote)
{
	const struct ipaddr peer = raw6_addr(to);

	endpoint_init(e);
	cr_assert(endpoint_open(e, r->h.tcp, &peer, 25));
	for (uint32_t k = 0; k < 10; k++) {
		if (!raw6_receive(r) ||
		    (load_be16(r->got + 12) == 0x86dd ? r->got[20] : r->got[23]) != 6)
			continue;
		memcpy(quote, r->got + 14, r->got_len - 14);
		return r->got_len - 14;
	}
	cr_assert_fail("no SYN left");
	return 0;
}

static uint32_t
error6_put(uint8_t *f, const uint8_t *quote, uint32_t n, uint8_t type, uint8_t code)
{
	uint8_t *p = raw6_ip_put(f, FAR, US, 58, 8 + n);

	p[0] = type;
	p[1] = code;
	store_be32(p + 4, 1300);
	memcpy(p + 8, quote, n);
	raw6_sum_put(f + IP6, 0, 58);
	return L4 + 8 + n;
}

static uint32_t
error4_put(uint8_t *f, const uint8_t *quote, uint32_t n, uint8_t type, uint8_t code)
{
	uint8_t *ip = f + 14, *p = ip + 20;

	memset(f, 0, 14 + 28 + n);
	memcpy(f, raw6_our_mac, 6);
	memcpy(f + 6, raw6_peer_mac, 6);
	store_be16(f + 12, 0x0800);
	ip[0] = 0x45;
	store_be16(ip + 2, (uint16_t)(28 + n));
	ip[8] = 60;
	ip[9] = 1;
	store_be32(ip + 12, 0xc0000201);
	store_be32(ip + 16, OUR_V4);
	store_be16(ip + 10, (uint16_t)~framesum(ip, 20, 0));
	p[0] = type;
	p[1] = code;
	store_be32(p + 4, 1300);
	memcpy(p + 8, quote, n);
	store_be16(p + 2, (uint16_t)~framesum(p, 8 + n, 0));
	return 14 + 28 + n;
}

typedef uint32_t (*error_put_fn)(uint8_t *f, const uint8_t *quote, uint32_t n, uint8_t type,
				 uint8_t code);

static void
errors_are(struct raw6 *r, error_put_fn put, const struct error_row *rows, uint32_t count)
{
	struct endpoint e = {0};
	uint8_t quote[128], f[256];
	bool is_v4 = put == error4_put;
	uint32_t header = is_v4 ? 20 : 40;
	const char *to = is_v4 ? "10.0.0.99" : PEER;
	uint32_t size = 0;

	for (uint32_t i = 0; i < count; i++) { // a hard one ends the connection
		size = syn_take(r, &e, to, quote);
		uint64_t in = COUNTED(r, ICMP_ERROR), other = COUNTED(r, ICMP_OTHER);
		uint64_t stray = COUNTED(r, TCP_ERROR_STRAY);
		raw6_inject(r, f, put(f, quote, size, rows[i].type, rows[i].code));
		raw6_drain(r);
		cr_assert_eq(COUNTED(r, ICMP_ERROR), in + rows[i].is_error, "type %u code %u",
			     rows[i].type, rows[i].code);
		cr_assert_eq(COUNTED(r, TCP_ERROR_STRAY), stray, "type %u code %u", rows[i].type,
			     rows[i].code);
		cr_assert_eq(COUNTED(r, ICMP_OTHER), other + !rows[i].is_error);
		endpoint_fini(&e);
		raw6_drain(r);
	}
	// The least that an error must quote, and less.
	size = syn_take(r, &e, to, quote);
	uint64_t in = COUNTED(r, TCP_ERROR_IN), bad = COUNTED(r, ICMP_ERROR_BAD);
	raw6_inject(r, f, put(f, quote, header + 8, rows[0].type, rows[0].code));
	for (uint32_t n = 0; n < header + 8; n++)
		raw6_inject(r, f, put(f, quote, n, rows[0].type, rows[0].code));
	raw6_drain(r);
	cr_assert_eq(COUNTED(r, TCP_ERROR_IN), in + 1);
	cr_assert_eq(COUNTED(r, ICMP_ERROR_BAD), bad + header + 8);
	// What was not sent by us: another source, another version, UDP, a fragment.
	const uint32_t at[] = {is_v4 ? 15 : 23, 0, is_v4 ? 9 : 6, is_v4 ? 7 : 6};
	const uint8_t value[] = {0x63, 0x56, 17, 44};
	bad = COUNTED(r, ICMP_ERROR_BAD);
	for (uint32_t i = 0; i < ARRAY_LEN(at); i++) {
		uint8_t was = quote[at[i]];
		quote[at[i]] = value[i];
		raw6_inject(r, f, put(f, quote, size, rows[0].type, rows[0].code));
		raw6_drain(r);
		quote[at[i]] = was;
		cr_assert_eq(COUNTED(r, ICMP_ERROR_BAD), bad + i + 1, "row %u", i);
	}
	// Another flow, bytes that are not in flight, a bad checksum.
	uint64_t stray = COUNTED(r, TCP_ERROR_STRAY), other = COUNTED(r, ICMP_OTHER);
	quote[header]++;
	raw6_inject(r, f, put(f, quote, size, rows[0].type, rows[0].code));
	quote[header]--;
	quote[header + 4]++;
	raw6_inject(r, f, put(f, quote, size, rows[0].type, rows[0].code));
	quote[header + 4]--;
	uint32_t n = put(f, quote, size, rows[0].type, rows[0].code);
	f[14 + header + 2] ^= 1;
	raw6_inject(r, f, n);
	raw6_drain(r);
	cr_assert_eq(COUNTED(r, TCP_ERROR_STRAY), stray + 2);
	cr_assert_eq(COUNTED(r, ICMP_OTHER), other + 1);
	cr_assert_eq(COUNTED(r, TCP_ERROR_IN), in + 1);
	endpoint_fini(&e);
}

Test(icmp, errors_of_ipv6_reach_the_connection_they_quote)
{
	const struct error_row rows[] = {
		{3, 0, true}, {2, 0, true},  {1, 0, true},    {1, 1, true},    {1, 4, true},
		{4, 1, true}, {5, 0, false}, {100, 0, false}, {127, 0, false}, {129, 0, false},
	};
	struct raw6 r;

	raw6_open(&r);
	raw6_teach(&r, PEER, raw6_peer_mac);
	errors_are(&r, error6_put, rows, ARRAY_LEN(rows));
	// To a group: nobody sends errors there.
	uint8_t f[256];
	uint64_t other = COUNTED(&r, ICMP_OTHER), bad = COUNTED(&r, ICMP_ERROR_BAD);
	uint8_t *p = raw6_ip_put(f, FAR, "ff02::1", 58, 60);
	p[0] = 3;
	raw6_sum_put(f + IP6, 0, 58);
	raw6_inject(&r, f, L4 + 60);
	raw6_drain(&r);
	cr_assert_eq(COUNTED(&r, ICMP_OTHER), other + 1);
	cr_assert_eq(COUNTED(&r, ICMP_ERROR_BAD), bad);
	raw6_close(&r);
}

Test(icmp, errors_of_ipv4_reach_the_connection_they_quote)
{
	const struct error_row rows[] = {
		{11, 0, true}, {3, 0, true},   {3, 3, true},  {3, 4, true},  {3, 13, true},
		{12, 0, true}, {3, 16, false}, {4, 0, false}, {5, 0, false}, {0, 0, false},
	};
	const uint8_t arp[42] = {2,  0, 0, 0,  0, 0, 2, 0xaa, 0, 0,    0,  1, 8, 6,
				 0,  1, 8, 0,  6, 4, 0, 2,    2, 0xaa, 0,  0, 0, 1,
				 10, 0, 0, 99, 2, 0, 0, 0,    0, 0,    10, 0, 0, 1};
	struct raw6 r;

	raw6_open(&r);
	raw6_inject(&r, arp, sizeof(arp));
	raw6_drain(&r);
	errors_are(&r, error4_put, rows, ARRAY_LEN(rows));
	raw6_close(&r);
}

// --- two hosts ---

#define EXCHANGE_BYTES 200000u

static uint8_t
byte_at(uint32_t i)
{
	return (uint8_t)(i * 31 + i / 251);
}

static void *
accept_endpoint(void *ctx, struct tcp_conn *c, const struct tcp_user_ops **ops)
{
	struct endpoint *e = ctx;

	e->conn = c;
	e->is_open = true;
	*ops = &endpoint_ops;
	return e;
}

struct sound { // what the tap found
	uint16_t vlan;
	uint32_t wrong, count, largest;
};

static void
check_frame(void *ctx, struct span f, enum vnet_end from, uint64_t now_us)
{
	struct sound *s = ctx;
	uint32_t at = s->vlan != 0 ? 18 : 14;
	const uint8_t *ip = f.p + at;

	(void)from;
	(void)now_us;
	s->count++;
	s->largest = MAX(s->largest, f.n);
	bool is_right = s->vlan == 0 || load_be32(f.p + 12) == (0x81000000u | s->vlan);
	if (load_be16(ip - 2) == 0x86dd && ip[6] != 0) // else a report of groups
		is_right &= f.n == at + 40 + load_be16(ip + 4) && raw6_sum(ip, 0, ip[6]) == 0xffff;
	if (load_be16(ip - 2) == 0x0800) {
		uint32_t n = load_be16(ip + 2) - 20u;
		uint16_t pseudo = framesum(ip + 12, 8, ip[9] + n);
		is_right &= framesum(ip, 20, 0) == 0xffff && framesum(ip + 20, n, pseudo) == 0xffff;
	}
	s->wrong += !is_right;
}

static void
pump(struct vnet *v, struct vnet_host *a, struct vnet_host *b)
{
	uint32_t work = vnet_host_poll(a, vnet_now(v)) + vnet_host_poll(b, vnet_now(v));
	uint64_t next = MIN(vnet_next_us(v), MIN(vnet_host_next_us(a), vnet_host_next_us(b)));

	if (work == 0)
		vnet_advance_to(v, MAX(MIN(next, vnet_now(v) + SECOND), vnet_now(v) + 100));
}

static void
exchange(const struct net_addr addr[2], uint16_t vlan, const struct vnet_path *path, uint64_t seed)
{
	struct vnet *v = vnet_open(seed);
	struct vnet_link *l = vnet_link_open(v, path, path);
	struct vnet_host h[2];
	struct endpoint client = {0}, server = {0};
	struct sound sound = {.vlan = vlan};
	uint32_t sent = 0;

	vnet_link_tap(l, check_frame, &sound);
	for (uint32_t i = 0; i < 2; i++) {
		const struct net_iface iface = {.vlan = vlan, .addr_count = 1, .addr = {addr[i]}};
		const struct vnet_host_args args = {.link = l,
						    .end = i == 0 ? VNET_A : VNET_B,
						    .ifaces = &iface,
						    .iface_count = 1,
						    .seed = seed + i};
		cr_assert(vnet_host_open(&h[i], v, &args));
	}
	cr_assert(tcp_listen(h[1].tcp, TCP_SIDE_ANY, 25, accept_endpoint, &server));
	uint64_t end = vnet_now(v) + 600 * SECOND, ready = vnet_now(v) + 3 * SECOND;
	while (vnet_now(v) < ready)
		pump(v, &h[0], &h[1]);
	cr_assert(endpoint_open(&client, h[0].tcp, &addr[1].addr, 25));
	while (vnet_now(v) < end && !(server.has_eof && server.count == EXCHANGE_BYTES)) {
		pump(v, &h[0], &h[1]);
		uint8_t some[8000];
		uint32_t n = MIN(EXCHANGE_BYTES - sent, sizeof(some));
		for (uint32_t i = 0; i < n; i++)
			some[i] = byte_at(sent + i);
		sent += endpoint_write(&client, span_of(some, n));
		if (sent == EXCHANGE_BYTES)
			endpoint_close(&client);
	}
	cr_assert_eq(server.count, EXCHANGE_BYTES, "seed %lu: %u bytes came", seed, server.count);
	for (uint32_t i = 0; i < EXCHANGE_BYTES; i++)
		cr_assert_eq(server.in[i], byte_at(i), "seed %lu: byte %u", seed, i);
	cr_assert_eq(sound.wrong, 0, "seed %lu: %u wrong frames", seed, sound.wrong);
	cr_assert_gt(sound.count, 100);
	cr_assert_eq(sound.largest, vlan != 0 ? 1518 : 1514, "segments fill the MTU");
	endpoint_fini(&client);
	endpoint_fini(&server);
	vnet_host_close(&h[0]);
	vnet_host_close(&h[1]);
	vnet_close(&v);
}

static const struct vnet_path bad_wire = {
	.delay_us = 2000,
	.jitter_us = 500,
	.loss_ppm = 20000,
	.dup_ppm = 10000,
	.reorder_ppm = 20000,
	.reorder_us = 3000,
	.corrupt_ppm = 10000,
	.truncate_ppm = 5000,
};

Test(two_hosts, speak_over_ipv4)
{
	const struct net_addr a[2] = {{.addr = ipaddr_v4(OUR_V4), .prefix_bits = 120},
				      {.addr = ipaddr_v4(PEER_V4), .prefix_bits = 120}};

	exchange(a, 0, NULL, 1);
	for (uint64_t seed = 2; seed < 6; seed++)
		exchange(a, 0, &bad_wire, seed);
}

Test(two_hosts, speak_over_ipv6)
{
	const struct net_addr a[2] = {{.addr = raw6_addr(US), .prefix_bits = 64},
				      {.addr = raw6_addr(PEER), .prefix_bits = 64}};

	exchange(a, 0, NULL, 1);
	for (uint64_t seed = 2; seed < 6; seed++)
		exchange(a, 0, &bad_wire, seed);
}

Test(two_hosts, speak_over_a_vlan)
{
	const struct net_addr four[2] = {{.addr = ipaddr_v4(OUR_V4), .prefix_bits = 120},
					 {.addr = ipaddr_v4(PEER_V4), .prefix_bits = 120}};
	const struct net_addr six[2] = {{.addr = raw6_addr(US), .prefix_bits = 64},
					{.addr = raw6_addr(PEER), .prefix_bits = 64}};

	exchange(four, 4094, NULL, 1);
	exchange(six, 1, NULL, 1);
	for (uint64_t seed = 2; seed < 6; seed++) {
		exchange(four, 100, &bad_wire, seed);
		exchange(six, 100, &bad_wire, seed);
	}
}
