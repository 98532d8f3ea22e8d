// SPDX-License-Identifier: Apache-2.0
// ip6: IPv6 in and out (RFC 8200), with a bounded chain of extension headers. Runs on the owning
// worker.
//
// At most EXT_MAX extension headers are skipped, with at most EXT_OPTIONS_MAX options each (RFC
// 8504 5.3); what asks for more, and what forbids being skipped, is dropped. Fragments are dropped:
// TCP's segments fit the path, so nobody needs them. An atomic fragment is a whole packet (RFC
// 6946).

#include "dataplane/net_priv.h"

#define EXT_MAX 4u
#define EXT_OPTIONS_MAX 8u
#define EXT_HOP_BY_HOP 0u
#define EXT_ROUTING 43u
#define EXT_FRAGMENT 44u
#define EXT_DESTINATION 60u
#define OPTION_PAD1 0u
#define OPTION_PADN 1u

struct net_local6 *
ip6_local(struct net_if *i, const uint8_t addr[16])
{
	for (uint32_t k = 0; k < i->v6_count; k++)
		if (memcmp(i->v6[k].addr.b, addr, 16) == 0)
			return i->v6[k].state == LOCAL_READY ? &i->v6[k] : NULL;
	return NULL;
}

void
ip6_fill(uint8_t *ip, const struct ipaddr *src, const struct ipaddr *dst, const struct ip_out *o)
{
	CHECK(o->size <= UINT16_MAX);
	store_be32(ip, 6u << 28 | (uint32_t)o->class << 20);
	store_be16(ip + 4, (uint16_t)o->size);
	ip[6] = o->proto;
	ip[7] = o->hops;
	memcpy(ip + 8, src->b, 16);
	memcpy(ip + 24, dst->b, 16);
}

// The same for all segments of a connection, and spread over connections: routers may balance by
// it.
void
ip6_label(uint8_t *ip, uint32_t ports)
{
	uint64_t h = ports;

	for (uint32_t at = 8; at < IP6_HEADER; at += 8) {
		uint64_t w;
		memcpy(&w, ip + at, 8);
		h = (h ^ w) * 0x9e3779b97f4a7c15ull;
	}
	store_be32(ip, (load_be32(ip) & 0xfff00000u) | (uint32_t)(h >> 44));
}

uint16_t
ip6_sum(const uint8_t *ip, uint8_t proto, struct span body)
{
	const uint8_t tail[8] = {0, 0, (uint8_t)(body.n >> 8), (uint8_t)body.n, 0, 0, 0, proto};

	DCHECK(body.n <= UINT16_MAX);
	return ip_sum_fold(ip_sum(body.p, body.n, ip_sum(tail, 8, ip_sum(ip + 8, 32, 0))));
}

// Options that are not known are skipped when their two highest bits say so (RFC 8200 4.2); of the
// others none is for us.
static bool
options_are_fine(struct span s)
{
	uint32_t count = 0, at = 0;

	while (at < s.n) {
		uint8_t type = s.p[at];
		if (type == OPTION_PAD1) {
			at++;
			continue;
		}
		if (at + 2 > s.n || (type >> 6) != 0)
			return false;
		if (type != OPTION_PADN && ++count > EXT_OPTIONS_MAX)
			return false;
		at += 2u + s.p[at + 1];
	}
	return at == s.n;
}

static bool
ext_drop(struct net *n, enum counter why)
{
	counter_add(&n->counters->v[why], 1);
	return false;
}

// One extension header at the head of in->body: *size bytes, to be skipped.
static bool
ext_read(struct net *n, struct ip6_in *in, uint32_t number, uint32_t *size)
{
	struct span s = in->body;

	if (s.n < 8)
		return ext_drop(n, COUNTER_IP6_EXT);
	*size = in->proto == EXT_FRAGMENT ? 8u : 8u + s.p[1] * 8u;
	if (*size > s.n)
		return ext_drop(n, COUNTER_IP6_EXT);
	switch (in->proto) {
	case EXT_HOP_BY_HOP:
		if (number > 0) // it stands first, if at all
			return ext_drop(n, COUNTER_IP6_EXT);
		break;
	case EXT_DESTINATION:
		break;
	case EXT_ROUTING: // type 0 is forbidden (RFC 5095), others are over when none is left
		if (s.p[2] == 0 || s.p[3] != 0)
			return ext_drop(n, COUNTER_IP6_EXT);
		return true;
	default:
		CHECK(in->proto == EXT_FRAGMENT);
		if ((load_be16(s.p + 2) & 0xfff9) != 0) // an offset, or more of them
			return ext_drop(n, COUNTER_IP6_FRAGMENT);
		in->has_fragment = true;
		return true;
	}
	return options_are_fine(span_of(s.p + 2, *size - 2)) || ext_drop(n, COUNTER_IP6_EXT);
}

static bool
proto_is_ext(uint8_t proto)
{
	return proto == EXT_HOP_BY_HOP || proto == EXT_DESTINATION || proto == EXT_ROUTING ||
	       proto == EXT_FRAGMENT;
}

static bool
ext_skip(struct net *n, struct ip6_in *in)
{
	uint32_t size;

	for (uint32_t i = 0; proto_is_ext(in->proto); i++) {
		if (i == EXT_MAX)
			return ext_drop(n, COUNTER_IP6_EXT);
		if (!ext_read(n, in, i, &size))
			return false;
		in->has_ext = true;
		in->proto = in->body.p[0];
		in->body = span_from(in->body, size);
	}
	return true;
}

// No station sends from a group, from loopback, from a mapped address (RFC 4291 2.5.5) or from
// ours, but for one that says that ours is its own. The unspecified address is for neighbour
// discovery alone.
static bool
source_is_sane(const struct net *n, struct ip6_in *in)
{
	static const uint8_t zero[16];
	struct ipaddr a;

	memcpy(a.b, in->ip + 8, 16);
	in->is_unspecified = memcmp(a.b, zero, 16) == 0;
	if (in->is_unspecified)
		return true;
	if (a.b[0] == 0xff || memcmp(a.b, zero, 12) == 0 || ipaddr_is_v4(&a))
		return false;
	return !net_is_ours(n, &a) || nd_is_claim(in);
}

// Ours, on this interface; or a group of ours, which is only for ICMPv6.
static bool
destination_is_ours(struct net *n, struct ip6_in *in)
{
	struct net_if *i = &n->iface[in->eth->iface];

	in->is_group = in->ip[24] == 0xff;
	if (in->is_group)
		return nd_group_is_ours(i, in->ip + 24);
	return !in->eth->is_group && ip6_local(i, in->ip + 24) != NULL;
}

static void
tcp_segment(struct net *n, const struct ip6_in *in)
{
	struct span seg = in->body;
	struct tcp_path path;

	if (in->is_group || in->is_unspecified) {
		COUNT(n->counters, IP6_BAD);
		return;
	}
	if (seg.n < 20) {
		COUNT(n->counters, TCP_BAD);
		return;
	}
	// Not every NIC finds TCP behind extension headers.
	if (((in->eth->flags & FRAME_SUM_GOOD) == 0 || in->has_ext) &&
	    ip6_sum(in->ip, IP_PROTO_TCP, seg) != 0xffff) {
		COUNT(n->counters, TCP_CHECKSUM);
		return;
	}
	memset(&path, 0, sizeof(path));
	memcpy(path.raddr.b, in->ip + 8, 16);
	memcpy(path.laddr.b, in->ip + 24, 16);
	path.lport = load_be16(seg.p + 2);
	path.rport = load_be16(seg.p);
	path.side = (uint16_t)in->eth->iface;
	CHECK(n->tcp != NULL);
	tcp_input(n->tcp, &path, seg);
}

// False: dropped and counted.
static bool
header_is_sound(struct net *n, struct ip6_in *in)
{
	struct span s = in->eth->l3;

	if (s.n < IP6_HEADER) {
		COUNT(n->counters, ETH_SHORT);
		return false;
	}
	uint32_t size = load_be16(s.p + 4); // 0 would be a jumbogram
	if (s.p[0] >> 4 != 6 || size == 0 || size > s.n - IP6_HEADER || s.p[7] == 0) {
		COUNT(n->counters, IP6_BAD);
		return false;
	}
	in->ip = s.p;
	in->proto = s.p[6];
	in->body = span_of(s.p + IP6_HEADER, size);
	if (!destination_is_ours(n, in)) {
		COUNT(n->counters, IP6_NOT_OURS);
		return false;
	}
	if (!source_is_sane(n, in)) {
		COUNT(n->counters, IP6_BAD);
		return false;
	}
	return true;
}

void
ip6_input(struct net *n, const struct eth_in *eth)
{
	struct ip6_in in = {.eth = eth};

	if (!header_is_sound(n, &in) || !ext_skip(n, &in))
		return;
	if (in.proto == IP_PROTO_ICMP6)
		icmp6_input(n, &in);
	else if ((eth->flags & FRAME_LEARN_ONLY) != 0)
		COUNT(n->counters, ETH_OTHER);
	else if (in.proto == IP_PROTO_TCP)
		tcp_segment(n, &in);
	else
		COUNT(n->counters, IP6_PROTO);
}
