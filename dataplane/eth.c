// SPDX-License-Identifier: Apache-2.0
// eth: Ethernet II frames in and out. Runs on the owning worker.

#include "dataplane/net_priv.h"

const uint8_t eth_broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

void
eth_fill(uint8_t *frame, const uint8_t dst[6], const uint8_t src[6], uint16_t type)
{
	CHECK(frame != NULL);
	memcpy(frame, dst, 6);
	memcpy(frame + 6, src, 6);
	store_be16(frame + 12, type);
}

// 802.1Q tags, 802.3 length fields and IPv6 all end as "other": a port is one untagged network.
void
eth_input(struct net *n, uint32_t iface, const struct frame *f)
{
	CHECK(iface < n->iface_count);
	CHECK(f->data != NULL);
	if (f->len < ETH_HEADER) {
		COUNT(n->counters, ETH_SHORT);
		return;
	}
	const uint8_t *dst = f->data, *src = f->data + 6;
	bool is_ours = memcmp(dst, n->iface[iface].port->mac, 6) == 0;
	bool is_broadcast = memcmp(dst, eth_broadcast, 6) == 0;
	uint16_t type = load_be16(f->data + 12);

	// A group address cannot send (IEEE 802.3 3.2.3).
	if ((src[0] & 1) != 0 || (!is_ours && !is_broadcast)) {
		COUNT(n->counters, ETH_OTHER);
		return;
	}
	if (type == ETH_ARP)
		arp_input(n, iface, f);
	else if (type == ETH_IPV4 && is_ours && (f->flags & FRAME_LEARN_ONLY) == 0)
		ip_input(n, iface, f);
	else // also IPv4 in a broadcast frame: nothing that we serve is broadcast (RFC 1122 3.3.6)
		COUNT(n->counters, ETH_OTHER);
}
