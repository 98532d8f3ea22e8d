// SPDX-License-Identifier: Apache-2.0
// icmp: answers echo requests, at most 100 a second (RFC 792, 1122 3.2.2.6), and hands errors about
// our segments to TCP. Runs on the owning worker.
//
// Anybody can send an error: what it quotes must be a segment from one of our addresses on the
// interface, and TCP looks whether its bytes are in flight. An error costs what a segment costs, a
// checksum and a lookup, so they are not limited further: a limit would let a flood of wrong ones
// hide the right one.

#include "dataplane/net_priv.h"

#define ICMP_HEADER 8u
#define ICMP_ECHO_REPLY 0u
#define ICMP_UNREACHABLE 3u
#define ICMP_ECHO 8u
#define ICMP_TIME_EXCEEDED 11u
#define ICMP_PARAMETER 12u
#define ICMP_QUOTE_TCP 8u       // ports and sequence number: what every error quotes (RFC 792)
#define ECHO_STEP_US 10000u     // 100 echo replies a second ..
#define ECHO_BURST_US 500000ull // .. and 50 at once

bool
icmp_echo_is_allowed(struct net *n)
{
	return net_is_allowed(n, &n->echo_us, ECHO_STEP_US, ECHO_BURST_US);
}

// The reply goes to the station that brought the request: no lookup, so pinging cannot fill the
// neighbour table.
static bool
echo_answer(struct net *n, const struct eth_in *in, struct span icmp)
{
	struct frame out;
	uint8_t *ip;

	if (icmp.p[1] != 0 || IP_HEADER + icmp.n > n->iface[in->iface].port->mtu ||
	    !icmp_echo_is_allowed(n))
		return false;
	COUNT(n->counters, ICMP_ECHO);
	if (!net_frame_get(n, in->iface, &out, &ip))
		return true;
	uint8_t *p = ip + IP_HEADER;
	memcpy(p, icmp.p, icmp.n);
	p[0] = ICMP_ECHO_REPLY;
	p[2] = p[3] = 0;
	uint16_t sum = (uint16_t)~ip_sum_fold(ip_sum(p, icmp.n, 0));
	memcpy(p + 2, &sum, 2);
	const struct ip_out o = ip_out_of(n, IP_PROTO_ICMP, icmp.n);
	ip_fill(ip, load_be32(in->l3.p + 16), load_be32(in->l3.p + 12), &o);
	eth_fill(&n->iface[in->iface], out.data, in->src, ETH_IPV4);
	net_frame_put(n, in->iface, &out, IP_HEADER + icmp.n);
	return true;
}

// The addresses and the header's size of a quoted segment of ours; false: it is none.
static bool
quote_read(struct net_if *i, struct span q, struct tcp_path *path, uint32_t *size)
{
	bool is_v4 = q.n >= IP_HEADER && q.p[0] >> 4 == 4;

	if (is_v4) {
		*size = (q.p[0] & 15u) * 4;
		path->laddr = ipaddr_v4(load_be32(q.p + 12));
		path->raddr = ipaddr_v4(load_be32(q.p + 16));
		return *size >= IP_HEADER && q.p[9] == IP_PROTO_TCP &&
		       (load_be16(q.p + 6) & 0x3fff) == 0 &&
		       ip_local(i, load_be32(q.p + 12)) != NULL;
	}
	if (q.n < IP6_HEADER || q.p[0] >> 4 != 6)
		return false;
	*size = IP6_HEADER; // we send no extension headers
	memcpy(&path->laddr, q.p + 8, 16);
	memcpy(&path->raddr, q.p + 24, 16);
	return q.p[6] == IP_PROTO_TCP && !ipaddr_is_v4(&path->raddr) &&
	       ip6_local(i, q.p + 8) != NULL;
}

void
icmp_error(struct net *n, uint32_t iface, struct span quote, struct tcp_error *e)
{
	struct tcp_path path = {.side = (uint16_t)iface};
	uint32_t size;

	CHECK(iface < n->iface_count);
	if (!quote_read(&n->iface[iface], quote, &path, &size) || quote.n < size + ICMP_QUOTE_TCP) {
		COUNT(n->counters, ICMP_ERROR_BAD);
		return;
	}
	path.lport = load_be16(quote.p + size);
	path.rport = load_be16(quote.p + size + 2);
	e->seq = load_be32(quote.p + size + 4);
	COUNT(n->counters, ICMP_ERROR);
	CHECK(n->tcp != NULL);
	tcp_error(n->tcp, &path, e);
}

// RFC 1122 3.2.2.1, 4.2.3.9. False: not for us. Source quench is not even looked at (RFC 6633).
static bool
error_read(struct span icmp, struct tcp_error *e)
{
	enum { HARD = 1u << 2 | 1u << 3 | 1u << 9 | 1u << 10 | 1u << 13 };
	uint8_t type = icmp.p[0], code = icmp.p[1];

	*e = (struct tcp_error){.kind = TCP_ERROR_SOFT};
	if (type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER)
		return true;
	if (type != ICMP_UNREACHABLE || code > 15)
		return false;
	if (code == 4) {
		e->kind = TCP_ERROR_TOO_BIG;
		e->mtu = load_be16(icmp.p + 6); // 0 from routers before RFC 1191
	} else if ((HARD >> code & 1) != 0) {
		e->kind = TCP_ERROR_HARD;
	}
	return true;
}

void
icmp_input(struct net *n, const struct eth_in *in, struct span icmp)
{
	bool is_sound = icmp.n >= ICMP_HEADER && ip_sum_fold(ip_sum(icmp.p, icmp.n, 0)) == 0xffff;
	struct tcp_error e;

	CHECK(in->iface < n->iface_count);
	if (is_sound && error_read(icmp, &e))
		icmp_error(n, in->iface, span_from(icmp, ICMP_HEADER), &e);
	else if (!is_sound || icmp.p[0] != ICMP_ECHO || !echo_answer(n, in, icmp))
		COUNT(n->counters, ICMP_OTHER);
}
