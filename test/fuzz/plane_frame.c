// SPDX-License-Identifier: Apache-2.0
// Fuzz target: frames from the wire into a host's net and TCP. The host has an IPv4 and an IPv6
// address, untagged, and others on VLAN 7 of the same port. The input is a list of frames: a byte
// of flags, two bytes of length, the bytes. Flag bits: 1 repair the IPv4 header (checksum), 2
// repair the checksum of TCP, ICMP or ICMPv6 too, 4 a second passes, 8 the frame is a copy
// (FRAME_LEARN_ONLY), 16 address the frame to us. What is checked: our CHECKs and the sanitizers;
// that every frame sent is sound and from an address of ours on its VLAN; that nothing is sent for
// a copy; that no more frames leave than are allowed for one that came in.
#include <stdint.h>
#include <string.h>

#include "control/base/bytes.h"
#include "test/sim/lib/framesum.h"
#include "test/sim/lib/vnet.h"

#define US 0x0a000001u // untagged; on VLAN 7: US_VLAN
#define US_VLAN 0x0a000101u
#define VLAN 7u
#define ANSWERS_MAX                                                                                \
	70u // one frame may teach an address for which a connection's whole window waits

static const uint8_t us6[16] = {0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
static const uint8_t us6_local[16] = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
sum_put(uint8_t *at, const uint8_t *p, uint32_t n, uint32_t pseudo)
{
	store_be16(at, 0);
	store_be16(at, (uint16_t)~framesum(p, n, pseudo));
}

static void
repair4(uint8_t *ip, uint32_t n, uint8_t flags)
{
	uint32_t size = (ip[0] & 15u) * 4, total = n < 20 ? 0 : load_be16(ip + 2);

	if (size < 20 || total < size || total > n)
		return;
	uint32_t body = total - size;
	if ((flags & 2) != 0 && ip[9] == 6 && body >= 20)
		sum_put(ip + size + 16, ip + size, body, framesum(ip + 12, 8, 0) + 6 + body);
	if ((flags & 2) != 0 && ip[9] == 1 && body >= 8)
		sum_put(ip + size + 2, ip + size, body, 0);
	sum_put(ip + 10, ip, size, 0);
}

static void
repair6(uint8_t *ip, uint32_t n, uint8_t flags)
{
	uint32_t body = n < 40 ? 0 : load_be16(ip + 4);
	uint8_t *p = ip + 40, proto = ip[6];

	if (body == 0 || body > n - 40 || (flags & 2) == 0)
		return;
	for (uint32_t i = 0; i < 4 && proto != 6 && proto != 58 && body >= 8; i++) {
		uint32_t skip = proto == 44 ? 8 : 8u + p[1] * 8u;
		if (skip >= body)
			return;
		proto = p[0];
		p += skip;
		body -= skip;
	}
	uint32_t pseudo = framesum(ip + 8, 32, 0) + proto + body;
	if (proto == 6 && body >= 20)
		sum_put(p + 16, p, body, pseudo);
	if (proto == 58 && body >= 4)
		sum_put(p + 2, p, body, pseudo);
}

static void
repair(uint8_t *f, uint32_t n, uint8_t flags)
{
	uint32_t at = n >= 18 && load_be16(f + 12) == 0x8100 ? 18 : 14;

	if (n < at + 20)
		return;
	if (load_be16(f + at - 2) == 0x0800)
		repair4(f + at, n - at, flags);
	else if (load_be16(f + at - 2) == 0x86dd)
		repair6(f + at, n - at, flags);
}

static void
sent4(const uint8_t *ip, uint32_t n, uint32_t us)
{
	uint32_t total = load_be16(ip + 2);

	CHECK(n == total);
	CHECK(framesum(ip, 20, 0) == 0xffff);
	CHECK(load_be32(ip + 12) == us);
	if (ip[9] == 6)
		CHECK(framesum(ip + 20, total - 20, framesum(ip + 12, 8, 0) + 6 + (total - 20)) ==
		      0xffff);
	else
		CHECK(framesum(ip + 20, total - 20, 0) == 0xffff);
}

static void
sent6(const uint8_t *ip, uint32_t n, bool is_vlan)
{
	static const uint8_t zero[16];
	uint32_t body = n - 40;
	uint8_t us[16];

	memcpy(us, us6, 16);
	us[7] = is_vlan;
	CHECK(load_be16(ip + 4) == body);
	if (ip[6] == 0) { // a report of groups, behind a router alert
		CHECK(ip[7] == 1 && ip[40] == 58 && ip[48] == 143);
		CHECK(framesum(ip + 48, body - 8, framesum(ip + 8, 32, 0) + 58 + body - 8) ==
		      0xffff);
		return;
	}
	CHECK(framesum(ip + 40, body, framesum(ip + 8, 32, 0) + ip[6] + body) == 0xffff);
	bool is_nd = ip[6] == 58 && ip[40] >= 133 && ip[40] <= 136;
	CHECK(ip[7] == (is_nd ? 255 : 64));
	CHECK(memcmp(ip + 8, us, 16) == 0 || memcmp(ip + 8, us6_local, 16) == 0 ||
	      (is_nd && memcmp(ip + 8, zero, 16) == 0));
	CHECK(is_nd || ip[24] != 0xff);
}

static void
sent_frame(void *ctx, struct span f, enum vnet_end from, uint64_t now_us)
{
	uint32_t *count = ctx;

	(void)now_us;
	if (from != VNET_A)
		return;
	(*count)++;
	CHECK(f.n >= 42);
	CHECK((f.p[6] & 1) == 0);
	bool is_vlan = load_be16(f.p + 12) == 0x8100;
	CHECK(!is_vlan || load_be16(f.p + 14) == VLAN);
	uint32_t at = is_vlan ? 18 : 14, us = is_vlan ? US_VLAN : US;
	uint16_t type = load_be16(f.p + at - 2);
	if (type == 0x0806) {
		CHECK(load_be32(f.p + at + 14) == us);
		return;
	}
	if (type == 0x86dd) {
		sent6(f.p + at, f.n - at, is_vlan);
		return;
	}
	CHECK(type == 0x0800);
	CHECK((f.p[0] & 1) == 0); // no answer to a group
	sent4(f.p + at, f.n - at, us);
}

static uint32_t
take_all(void *user, struct tcp_conn *c, struct span data)
{
	(void)user;
	(void)tcp_conn_write(c, data); // an echo service
	return data.n;
}

static void
close_too(void *user, struct tcp_conn *c)
{
	(void)user;
	tcp_conn_close(c);
}

static void
nothing(void *user, struct tcp_conn *c)
{
	(void)user;
	(void)c;
}

static void
ended(void *user, struct tcp_conn *c, enum tcp_gone why)
{
	(void)user;
	(void)c;
	(void)why;
}

static const struct tcp_user_ops echo_ops = {
	.open = nothing, .recv = take_all, .sent = nothing, .eof = close_too, .gone = ended};

static void *
accept_any(void *ctx, struct tcp_conn *c, const struct tcp_user_ops **ops)
{
	(void)c;
	*ops = &echo_ops;
	return ctx;
}

static void
frame_in(struct vnet_host *h, struct vnet_link *l, uint8_t flags, uint8_t *bytes, uint32_t n,
	 uint32_t *sent)
{
	struct vnet *v = h->v;
	const struct frame copy = {.data = bytes, .len = n, .flags = FRAME_LEARN_ONLY};

	if ((flags & 16) != 0 && n >= 6)
		memcpy(bytes, h->port->mac, 6);
	if ((flags & 3) != 0)
		repair(bytes, n, flags);
	if ((flags & 4) != 0)
		vnet_advance(v, 1000000);
	vnet_host_poll(h, vnet_now(v));
	*sent = 0; // what time brings is no answer
	if ((flags & 8) != 0) {
		net_input(h->net, 0, &copy);
		CHECK(*sent == 0);
		return;
	}
	CHECK(vnet_inject(l, VNET_B, span_of(bytes, n)));
	vnet_host_poll(h, vnet_now(v));
	CHECK(*sent <= ANSWERS_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vnet *v = vnet_open(1);
	const struct vnet_path small = {.queue_frames = 128};
	struct vnet_link *l = vnet_link_open(v, &small, &small);
	struct vnet_host h;
	uint32_t sent = 0;
	uint8_t bytes[PORT_FRAME_SIZE];
	struct frame got[PORT_BURST];
	struct net_iface iface[2] = {
		{.addr_count = 2,
		 .addr = {{ipaddr_v4(US), ipaddr_v4(US + 253), 120}, {.prefix_bits = 64}}},
		{.vlan = VLAN,
		 .addr_count = 2,
		 .addr = {{.addr = ipaddr_v4(US_VLAN), .prefix_bits = 120}, {.prefix_bits = 64}}},
	};
	for (uint32_t i = 0; i < 2; i++) {
		memcpy(iface[i].addr[1].addr.b, us6, 16);
		iface[i].addr[1].addr.b[7] = (uint8_t)i;
	}
	const struct vnet_host_args args = {.link = l,
					    .end = VNET_A,
					    .ifaces = iface,
					    .iface_count = 2,
					    .conns_max = 16,
					    .chunks = 64,
					    .seed = 1};

	CHECK(vnet_host_open(&h, v, &args));
	CHECK(tcp_listen(h.tcp, TCP_SIDE_ANY, 25, accept_any, &h));
	vnet_link_tap(l, sent_frame, &sent);
	for (uint32_t i = 0; i < 3; i++) { // duplicate address detection
		vnet_host_poll(&h, vnet_now(v));
		vnet_advance(v, 1000000);
	}
	while (size >= 3) {
		uint8_t flags = data[0];
		uint32_t n = MIN(load_be16(data + 1), MIN(size - 3, sizeof(bytes)));
		memcpy(bytes, data + 3, n);
		data += 3 + n;
		size -= 3 + n;
		frame_in(&h, l, flags, bytes, n, &sent);
		struct port *b = vnet_port(l, VNET_B);
		for (uint32_t k = b->ops->rx(b, got, PORT_BURST); k > 0; k--)
			b->ops->rx_free(b, &got[k - 1]);
	}
	vnet_host_close(&h);
	vnet_close(&v);
	return 0;
}
