// SPDX-License-Identifier: Apache-2.0
// ip: IPv4 in and out, and the Internet checksum (RFC 791, 1122 3.2, 1071). Runs on the owning
// worker.

#include "dataplane/net_priv.h"

typedef uint64_t v2 __attribute__((vector_size(16)));

// 32-bit words are added into 64-bit lanes, so no carry is lost below 16 GB; the fold does the
// rest. Whole lanes are added modulo 2^64: without the sum of their high halves, which is known,
// they are the sum of the low ones. Words are taken as they lie in memory: the one's complement sum
// does not care (RFC 1071 2B).
uint64_t
ip_sum(const uint8_t *p, uint32_t n, uint64_t sum)
{
	if (n >= 32) { // not headers alone
		v2 all = {0, 0}, high = {0, 0};

		for (; n >= 32; n -= 32, p += 32) {
			v2 x, y;
			memcpy(&x, p, 16);
			memcpy(&y, p + 16, 16);
			all += x + y;
			high += (x >> 32) + (y >> 32);
		}
		all += high - (high << 32); // the low halves, and the high ones
		sum += all[0] + all[1];
	}
	for (; n >= 4; n -= 4, p += 4) {
		uint32_t w;
		memcpy(&w, p, 4);
		sum += w;
	}
	if (n > 0) {
		uint32_t w = 0;
		memcpy(&w, p, n); // padded with zero bytes
		sum += w;
	}
	return sum;
}

uint16_t
ip_sum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffffu) + (sum >> 32);
	sum = (sum & 0xffffffffu) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

uint64_t
ip_sum_pseudo(const uint8_t *ip, uint8_t proto, uint32_t size)
{
	uint8_t tail[4] = {0, proto, (uint8_t)(size >> 8), (uint8_t)size};

	DCHECK(size <= UINT16_MAX);
	return ip_sum(tail, 4, ip_sum(ip + 12, 8, 0));
}

// Identification 0 and DF: an atomic datagram needs no identification (RFC 6864 4.1).
void
ip_fill(uint8_t *ip, uint32_t src, uint32_t dst, const struct ip_out *o)
{
	CHECK(o->size <= UINT16_MAX - IP_HEADER);
	ip[0] = 0x45;
	ip[1] = o->class;
	store_be16(ip + 2, (uint16_t)(IP_HEADER + o->size));
	store_be16(ip + 4, 0);
	store_be16(ip + 6, 0x4000);
	ip[8] = o->hops;
	ip[9] = o->proto;
	store_be16(ip + 10, 0);
	store_be32(ip + 12, src);
	store_be32(ip + 16, dst);
	uint16_t sum = (uint16_t)~ip_sum_fold(ip_sum(ip, IP_HEADER, 0));
	memcpy(ip + 10, &sum, 2);
}

// No host sends from these (RFC 1122 3.2.1.3): "this network", loopback, groups, broadcasts,
// ourselves.
static bool
source_is_sane(const struct net *n, const struct net_if *i, uint32_t src)
{
	const struct ipaddr a = ipaddr_v4(src);

	if (src >> 24 == 0 || src >> 24 == 127 || src >= 0xe0000000u || net_is_ours(n, &a))
		return false;
	for (uint32_t k = 0; k < i->v4_count; k++) {
		if (ip_is_edge(&i->v4[k], src))
			return false;
	}
	return true;
}

static void
tcp_segment(struct net *n, const struct eth_in *in, struct span seg)
{
	const uint8_t *ip = in->l3.p;

	if (seg.n < 20) {
		COUNT(n->counters, TCP_BAD);
		return;
	}
	if ((in->flags & FRAME_SUM_GOOD) == 0 &&
	    ip_sum_fold(ip_sum(seg.p, seg.n, ip_sum_pseudo(ip, IP_PROTO_TCP, seg.n))) != 0xffff) {
		COUNT(n->counters, TCP_CHECKSUM);
		return;
	}
	const struct tcp_path path = {
		.laddr = ipaddr_v4(load_be32(ip + 16)),
		.raddr = ipaddr_v4(load_be32(ip + 12)),
		.lport = load_be16(seg.p + 2),
		.rport = load_be16(seg.p),
		.side = (uint16_t)in->iface,
	};
	CHECK(n->tcp != NULL);
	tcp_input(n->tcp, &path, seg);
}

// The header's own checks, in the order of RFC 1122 3.2.1. False: dropped and counted. *size:
// header length, *total: datagram length; Ethernet padding behind it is left out from here on.
static bool
header_is_sound(struct net *n, const struct eth_in *in, uint32_t *size, uint32_t *total)
{
	const uint8_t *ip = in->l3.p;

	if (in->l3.n < IP_HEADER) {
		COUNT(n->counters, ETH_SHORT);
		return false;
	}
	*size = (ip[0] & 15u) * 4;
	*total = load_be16(ip + 2);
	if (ip[0] >> 4 != 4 || *size < IP_HEADER || *total < *size || *total > in->l3.n) {
		COUNT(n->counters, IP_BAD);
		return false;
	}
	if ((in->flags & FRAME_SUM_GOOD) == 0 && ip_sum_fold(ip_sum(ip, *size, 0)) != 0xffff) {
		COUNT(n->counters, IP_CHECKSUM);
		return false;
	}
	return true;
}

void
ip_input(struct net *n, const struct eth_in *in)
{
	const struct net_if *i = &n->iface[in->iface];
	const uint8_t *ip = in->l3.p;
	uint32_t size, total;

	CHECK((in->flags & FRAME_LEARN_ONLY) == 0);
	if (!header_is_sound(n, in, &size, &total))
		return;
	// The strong end system model (RFC 1122 3.3.4.2): the ingress port decides the direction of
	// mail, so an address is ours on its own interface only.
	if (ip_local(i, load_be32(ip + 16)) == NULL) {
		COUNT(n->counters, IP_NOT_OURS);
		return;
	}
	if ((load_be16(ip + 6) & 0x3fff) != 0) { // more fragments, or an offset
		COUNT(n->counters, IP_FRAGMENT);
		return;
	}
	if (ip[8] == 0 || !source_is_sane(n, i, load_be32(ip + 12))) {
		COUNT(n->counters, IP_BAD);
		return;
	}
	struct span body =
		span_of(ip + size, total - size); // options are skipped (RFC 7126 permits)
	if (ip[9] == IP_PROTO_TCP)
		tcp_segment(n, in, body);
	else if (ip[9] == IP_PROTO_ICMP)
		icmp_input(n, in, body);
	else
		COUNT(n->counters, IP_PROTO);
}
