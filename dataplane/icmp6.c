// SPDX-License-Identifier: Apache-2.0
// icmp6: ICMPv6 (RFC 4443): echo, errors about our segments, and the way to nd.c. Runs on the
// owning worker.

#include "dataplane/net_priv.h"

#define ICMP6_HEADER 8u
#define ICMP6_UNREACHABLE 1u
#define ICMP6_TOO_BIG 2u
#define ICMP6_TIME_EXCEEDED 3u
#define ICMP6_PARAMETER 4u
#define ICMP6_ECHO 128u
#define ICMP6_ECHO_REPLY 129u
#define ICMP6_MLD_QUERY 130u
#define ICMP6_ND_FIRST 133u
#define ICMP6_ND_LAST 137u

// To the station that brought the request, as in icmp.c. A ping of a group is not answered.
static bool
echo_answer(struct net *n, const struct ip6_in *in)
{
	uint32_t iface = in->eth->iface, size = in->body.n;
	struct ipaddr from, to;
	struct frame out;
	uint8_t *ip;

	if (in->is_group || in->is_unspecified || in->body.p[1] != 0 ||
	    IP6_HEADER + size > n->iface[iface].mtu6 || !icmp_echo_is_allowed(n))
		return false;
	COUNT(n->counters, ICMP_ECHO);
	if (!net_frame_get(n, iface, &out, &ip))
		return true;
	memcpy(from.b, in->ip + 24, 16);
	memcpy(to.b, in->ip + 8, 16);
	const struct ip_out o = ip_out_of(n, IP_PROTO_ICMP6, size);
	ip6_fill(ip, &from, &to, &o);
	uint8_t *p = ip + IP6_HEADER;
	memcpy(p, in->body.p, size);
	p[0] = ICMP6_ECHO_REPLY;
	p[2] = p[3] = 0;
	uint16_t sum = (uint16_t)~ip6_sum(ip, IP_PROTO_ICMP6, span_of(p, size));
	memcpy(p + 2, &sum, 2);
	eth_fill(&n->iface[iface], out.data, in->eth->src, ETH_IPV6);
	net_frame_put(n, iface, &out, IP6_HEADER + size);
	return true;
}

// RFC 9293 3.9.2.2 in ICMPv6's words. False: no error that we know.
static bool
error_read(struct span icmp, struct tcp_error *e)
{
	enum { HARD = 1u << 1 | 1u << 4 | 1u << 5 | 1u << 6 }; // prohibited, port, policy, rejected
	uint8_t type = icmp.p[0], code = icmp.p[1];

	*e = (struct tcp_error){.kind = TCP_ERROR_SOFT};
	switch (type) {
	case ICMP6_UNREACHABLE:
		if (code <= 6 && (HARD >> code & 1) != 0)
			e->kind = TCP_ERROR_HARD;
		return true;
	case ICMP6_TOO_BIG:
		e->kind = TCP_ERROR_TOO_BIG;
		e->mtu = load_be32(icmp.p + 4);
		return true;
	case ICMP6_TIME_EXCEEDED:
		return true;
	case ICMP6_PARAMETER:
		if (code == 1) // the next header, TCP, is not known there
			e->kind = TCP_ERROR_HARD;
		return true;
	default:
		return false;
	}
}

void
icmp6_input(struct net *n, const struct ip6_in *in)
{
	struct span icmp = in->body;
	struct tcp_error e;

	if (icmp.n < ICMP6_HEADER || ip6_sum(in->ip, IP_PROTO_ICMP6, icmp) != 0xffff) {
		COUNT(n->counters, ICMP_OTHER);
		return;
	}
	uint8_t type = icmp.p[0];
	bool is_copy = (in->eth->flags & FRAME_LEARN_ONLY) != 0;
	if (type >= ICMP6_ND_FIRST && type <= ICMP6_ND_LAST)
		nd_input(n, in);
	else if (is_copy)
		COUNT(n->counters, ETH_OTHER);
	else if (!in->is_group && error_read(icmp, &e))
		icmp_error(n, in->eth->iface, span_from(icmp, ICMP6_HEADER), &e);
	else if (type == ICMP6_MLD_QUERY && mld_input(n, in))
		return;
	else if (type != ICMP6_ECHO || !echo_answer(n, in))
		COUNT(n->counters, ICMP_OTHER);
}
