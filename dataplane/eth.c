// SPDX-License-Identifier: Apache-2.0
// eth: Ethernet II frames in and out, with or without an 802.1Q tag. Runs on the owning worker.

#include "dataplane/net_priv.h"

#define VLAN_ID 0xfffu

const uint8_t eth_broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t group_v6[2] = {0x33, 0x33};

void
eth_fill(const struct net_if *i, uint8_t *frame, const uint8_t dst[6], uint16_t type)
{
	CHECK(frame != NULL);
	memcpy(frame, dst, 6);
	memcpy(frame + 6, i->port->mac, 6);
	if (i->vlan != 0) {
		store_be16(frame + 12, ETH_VLAN);
		store_be16(frame + 14, i->vlan);
	}
	store_be16(frame + i->l2_size - 2, type);
}

// Which interface of the port serves this VLAN?
static bool
iface_find(const struct net *n, uint32_t *iface, uint16_t vlan)
{
	const struct port *p = n->iface[*iface].port;

	for (uint32_t i = 0; i < n->iface_count; i++)
		if (n->iface[i].port == p && n->iface[i].vlan == vlan) {
			*iface = i;
			return true;
		}
	return false;
}

// Reads the tag, if there is one, and finds the interface. A tag with VLAN 0 only carries a
// priority (802.1Q 9.6); a second tag, or a service tag, is nobody's whom we serve.
static bool
tag_read(const struct net *n, struct eth_in *in, uint16_t *type)
{
	uint16_t vlan = 0;

	if (*type == ETH_VLAN) {
		if (in->l3.n < ETH_TAG) {
			COUNT(n->counters, ETH_SHORT);
			return false;
		}
		vlan = load_be16(in->l3.p) & VLAN_ID;
		*type = load_be16(in->l3.p + 2);
		in->l3 = span_from(in->l3, ETH_TAG);
	}
	if (*type == ETH_VLAN || *type == ETH_QINQ || !iface_find(n, &in->iface, vlan)) {
		COUNT(n->counters, ETH_VLAN);
		return false;
	}
	return true;
}

void
eth_input(struct net *n, uint32_t iface, const struct frame *f)
{
	CHECK(iface < n->iface_count);
	CHECK(f->data != NULL);
	if (f->len < ETH_HEADER) {
		COUNT(n->counters, ETH_SHORT);
		return;
	}
	const uint8_t *dst = f->data;
	struct eth_in in = {
		.iface = iface,
		.flags = f->flags,
		.src = f->data + 6,
		.l3 = {f->data + ETH_HEADER, f->len - ETH_HEADER},
	};
	uint16_t type = load_be16(f->data + 12);

	// The port's first interface is the one unless there are tags.
	if (unlikely(type == ETH_VLAN || type == ETH_QINQ || n->iface[iface].vlan != 0) &&
	    !tag_read(n, &in, &type))
		return;
	bool is_ours = net_mac_eq(dst, n->iface[in.iface].port->mac);
	in.is_group = (dst[0] & 1) != 0;
	// A group address cannot send (IEEE 802.3 3.2.3).
	if ((in.src[0] & 1) != 0) {
		COUNT(n->counters, ETH_OTHER);
		return;
	}
	if (type == ETH_IPV4 && is_ours && (f->flags & FRAME_LEARN_ONLY) == 0)
		ip_input(n, &in);
	else if (type == ETH_IPV6 && n->iface[in.iface].v6_count > 0 &&
		 (is_ours || memcmp(dst, group_v6, 2) == 0))
		ip6_input(n, &in);
	else if (type == ETH_ARP && (is_ours || net_mac_eq(dst, eth_broadcast)))
		arp_input(n, &in);
	else // also IPv4 in a broadcast frame: nothing that we serve is broadcast (RFC 1122 3.3.6)
		COUNT(n->counters, ETH_OTHER);
}
