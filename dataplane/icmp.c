// SPDX-License-Identifier: Apache-2.0
// icmp: answers echo requests, at most 100 a second (RFC 792, 1122 3.2.2.6). Runs on the owning
// worker.

#include "dataplane/net_priv.h"

#define ICMP_HEADER 8u
#define ICMP_ECHO_REPLY 0u
#define ICMP_ECHO 8u

// GCRA: a reply books ICMP_STEP_US of time; what is booked ahead may not exceed the burst.
static bool
echo_is_allowed(struct net *n)
{
	uint64_t booked = MAX(n->echo_us, n->now_us);

	if (booked - n->now_us > ICMP_BURST_US)
		return false;
	n->echo_us = booked + ICMP_STEP_US;
	return true;
}

// The reply goes to the station that brought the request: no lookup, so pinging cannot fill the ARP
// table.
void
icmp_input(struct net *n, uint32_t iface, const struct frame *f, struct span icmp)
{
	struct frame out;

	CHECK(iface < n->iface_count);
	CHECK(icmp.n <= f->len);
	if (icmp.n < ICMP_HEADER || icmp.p[0] != ICMP_ECHO || icmp.p[1] != 0 ||
	    IP_HEADER + icmp.n > n->iface[iface].port->mtu ||
	    ip_sum_fold(ip_sum(icmp.p, icmp.n, 0)) != 0xffff || !echo_is_allowed(n)) {
		COUNT(n->counters, ICMP_OTHER);
		return;
	}
	if (!net_frame_get(n, iface, &out))
		return;
	uint8_t *ip = out.data + ETH_HEADER, *p = ip + IP_HEADER;
	memcpy(p, icmp.p, icmp.n);
	p[0] = ICMP_ECHO_REPLY;
	p[2] = p[3] = 0;
	uint16_t sum = (uint16_t)~ip_sum_fold(ip_sum(p, icmp.n, 0));
	memcpy(p + 2, &sum, 2);
	ip_fill(ip, n->if4[iface].addr, load_be32(f->data + ETH_HEADER + 12), IP_PROTO_ICMP,
		icmp.n);
	out.len = ETH_HEADER + IP_HEADER + icmp.n;
	COUNT(n->counters, ICMP_ECHO);
	net_frame_put(n, iface, &out, f->data + 6, ETH_IPV4);
}
