// SPDX-License-Identifier: Apache-2.0
// raw6: see raw6.h.

#include "test/sim/lib/raw6.h"

#include <string.h>

#include "control/base/bytes.h"
#include "test/sim/lib/framesum.h"

const uint8_t raw6_our_mac[6] = {2, 0, 0, 0, 0, 0};
const uint8_t raw6_peer_mac[6] = {2, 0xaa, 0, 0, 0, 1};
const uint8_t raw6_other_mac[6] = {2, 0xaa, 0, 0, 0, 2};
const uint8_t raw6_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};

struct ipaddr
raw6_addr(const char *text)
{
	struct ipaddr a;

	CHECK(ipaddr_parse(span_str(text), &a));
	return a;
}

bool
raw6_receive(struct raw6 *r) // the next frame that our host sent
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

uint32_t
raw6_drain(struct raw6 *r)
{
	uint32_t n = 0;

	while (raw6_receive(r))
		n++;
	return n;
}

void
raw6_start(struct raw6 *r, const struct net_addr *addrs, uint32_t count, uint16_t vlan)
{
	memset(r, 0, sizeof(*r));
	r->v = vnet_open(1);
	r->l = vnet_link_open(r->v, NULL, NULL);
	struct net_iface iface = {.vlan = vlan, .addr_count = count};
	const struct vnet_host_args a = {
		.link = r->l, .end = VNET_A, .ifaces = &iface, .iface_count = 1, .seed = 7};
	CHECK(count <= NET_ADDRS_MAX);
	memcpy(iface.addr, addrs, count * sizeof(*addrs));
	CHECK(vnet_host_open(&r->h, r->v, &a));
}

void
raw6_wait(struct raw6 *r, uint64_t us) // and throw away what is sent meanwhile
{
	for (uint64_t t = 0; t < us; t += SECOND / 4) {
		vnet_advance(r->v, SECOND / 4);
		raw6_drain(r);
	}
}

void
raw6_open(struct raw6 *r) // two addresses, no gateway, past duplicate address detection
{
	const struct net_addr a[] = {{.addr = raw6_addr(US), .prefix_bits = 64},
				     {.addr = raw6_addr(US_2), .prefix_bits = 64},
				     {.addr = ipaddr_v4(0x0a000001), .prefix_bits = 120}};
	raw6_start(r, a, ARRAY_LEN(a), 0);
	raw6_wait(r, 2 * SECOND);
}

void
raw6_close(struct raw6 *r)
{
	vnet_host_close(&r->h);
	vnet_close(&r->v);
}

void
raw6_inject(struct raw6 *r, const uint8_t *f, uint32_t n)
{
	CHECK(vnet_inject(r->l, VNET_B, span_of(f, n)));
}

// --- frames ---

// Of what begins `ext` bytes behind the IPv6 header and ends with the packet.
uint32_t
raw6_sum(const uint8_t *ip6, uint32_t ext, uint8_t proto)
{
	uint32_t n = load_be16(ip6 + 4) - ext;

	return framesum(ip6 + 40 + ext, n, framesum_add(n + proto, ip6 + 8, 32));
}

void
raw6_sum_put(uint8_t *ip6, uint32_t ext, uint8_t proto)
{
	uint32_t at = 40 + ext + (proto == 6 ? 16u : 2u);

	store_be16(ip6 + at, 0);
	store_be16(ip6 + at, (uint16_t)~raw6_sum(ip6, ext, proto));
}

uint8_t * // where the payload goes
raw6_ip_put(uint8_t *f, const char *src, const char *dst, uint8_t proto, uint32_t size)
{
	const struct ipaddr s = raw6_addr(src), d = raw6_addr(dst);

	memset(f, 0, 54 + size);
	memcpy(f, raw6_our_mac, 6);
	if (d.b[0] == 0xff) {
		f[0] = f[1] = 0x33;
		memcpy(f + 2, d.b + 12, 4);
	}
	memcpy(f + 6, raw6_peer_mac, 6);
	store_be16(f + 12, 0x86dd);
	f[14] = 0x60;
	store_be16(f + 18, (uint16_t)size);
	f[20] = proto;
	f[21] = 64;
	memcpy(f + 22, s.b, 16);
	memcpy(f + 38, d.b, 16);
	return f + L4;
}

void
raw6_tcp_put(uint8_t *t) // a SYN to the closed port 9: the answer is a reset
{
	store_be16(t, 40000);
	store_be16(t + 2, 9);
	store_be32(t + 4, 1000);
	t[12] = 0x50;
	t[13] = 0x02;
	store_be16(t + 14, 1000);
}

uint32_t
raw6_syn_put(uint8_t *f, const char *src, const char *dst)
{
	raw6_tcp_put(raw6_ip_put(f, src, dst, 6, 20));
	raw6_sum_put(f + IP6, 0, 6);
	return L4 + 20;
}

// A neighbour solicitation or advertisement; mac NULL: without an option.
uint32_t
raw6_nd_put(uint8_t *f, uint8_t type, const char *src, const char *dst, const char *target,
	    const uint8_t *mac)
{
	uint32_t size = mac != NULL ? 32 : 24;
	uint8_t *p = raw6_ip_put(f, src, dst, 58, size);
	const struct ipaddr t = raw6_addr(target);

	f[21] = 255;
	p[0] = type;
	p[4] = type == 136 ? 0x60 : 0; // solicited, override
	memcpy(p + 8, t.b, 16);
	if (mac != NULL) {
		p[24] = type == 136 ? 2 : 1;
		p[25] = 1;
		memcpy(p + 26, mac, 6);
	}
	raw6_sum_put(f + IP6, 0, 58);
	return L4 + size;
}

uint32_t
raw6_ra_put(uint8_t *f, uint16_t lifetime_s, uint32_t mtu, const char *prefix)
{
	uint8_t *p = raw6_ip_put(f, PEER_LOCAL, "ff02::1", 58, 64);
	const struct ipaddr a = raw6_addr(prefix);

	f[21] = 255;
	p[0] = 134;
	store_be16(p + 6, lifetime_s);
	memcpy(p + 16, "\1\1\2\xaa\0\0\0\1\5\1\0\0", 12); // raw6_peer_mac; MTU
	store_be32(p + 28, mtu);
	p[32] = 3;
	p[33] = 4;
	p[34] = 64;
	p[35] = 0x80; // on link
	store_be32(p + 36, 1000);
	memcpy(p + 48, a.b, 16);
	raw6_sum_put(f + IP6, 0, 58);
	return L4 + 64;
}

void
raw6_teach(struct raw6 *r, const char *addr, const uint8_t *mac) // they ask for us
{
	uint8_t f[128];

	raw6_inject(r, f, raw6_nd_put(f, 135, addr, "ff02::1:ff00:1", US, mac));
	CHECK(raw6_receive(r));
	CHECK(r->got[L4] == 136);
	raw6_drain(r);
}

bool
raw6_is_solicit(const struct raw6 *r, const char *target)
{
	const struct ipaddr t = raw6_addr(target);

	return load_be16(r->got + 12) == 0x86dd && r->got[L4] == 135 &&
	       memcmp(r->got + L4 + 8, t.b, 16) == 0;
}

bool
raw6_is_reset(const struct raw6 *r, const char *from, const char *to)
{
	const struct ipaddr s = raw6_addr(from), d = raw6_addr(to);
	const uint8_t *ip = r->got + IP6;

	return r->got_len == L4 + 20 && load_be16(r->got + 12) == 0x86dd && ip[0] >> 4 == 6 &&
	       ip[6] == 6 && ip[7] == 64 && memcmp(ip + 8, s.b, 16) == 0 &&
	       memcmp(ip + 24, d.b, 16) == 0 && raw6_sum(ip, 0, 6) == 0xffff &&
	       (r->got[L4 + 13] & 4) != 0;
}
