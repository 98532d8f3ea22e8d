// SPDX-License-Identifier: Apache-2.0
// arp: asks and answers who has an IPv4 address (RFC 826, 5227); neigh.c keeps what was learnt.
// Runs on the owning worker.
//
// What is believed: replies and requests that are addressed to us, from senders on a network of the
// interface; and announcements (sender = target), but these only change entries that are there
// already, so that a stranger cannot push our hops out of the table.

#include "dataplane/net_priv.h"

#define ARP_SIZE 28u
#define ARP_REQUEST 1u
#define ARP_REPLY 2u
#define DEFEND_US 10000000ull // RFC 5227 1.1: DEFEND_INTERVAL

struct arp_packet {
	uint32_t spa, tpa; // protocol addresses of sender and target
	const uint8_t *sha;
	uint16_t op;
};

static const uint8_t mac_zero[6];

static void
arp_send(struct net *n, uint32_t iface, const struct arp_packet *a, const uint8_t to[6],
	 const uint8_t tha[6])
{
	struct frame f;
	uint8_t *p;

	CHECK(a->op == ARP_REQUEST || a->op == ARP_REPLY);
	if (!net_frame_get(n, iface, &f, &p))
		return;
	store_be16(p, 1); // Ethernet
	store_be16(p + 2, ETH_IPV4);
	p[4] = 6;
	p[5] = 4;
	store_be16(p + 6, a->op);
	memcpy(p + 8, n->iface[iface].port->mac, 6);
	store_be32(p + 14, a->spa);
	memcpy(p + 18, tha, 6);
	store_be32(p + 24, a->tpa);
	eth_fill(&n->iface[iface], f.data, to, ETH_ARP);
	net_frame_put(n, iface, &f, ARP_SIZE);
}

static void
arp_claim(struct net *n, uint32_t iface, uint32_t addr)
{
	const struct arp_packet a = {addr, addr, NULL, ARP_REQUEST};

	arp_send(n, iface, &a, eth_broadcast, mac_zero);
}

void
arp_announce(struct net *n, uint32_t iface)
{
	CHECK(iface < n->iface_count);
	const struct net_if *i = &n->iface[iface];

	for (uint32_t k = 0; k < i->v4_count; k++)
		arp_claim(n, iface, i->v4[k].addr);
}

// We ask with an address of the hop's own network: others answer no strangers.
void
arp_ask(struct net *n, uint32_t iface, uint32_t addr, const uint8_t *mac)
{
	const struct net_if *i = &n->iface[iface];
	uint32_t from = 0;

	CHECK(i->v4_count > 0);
	while (from < i->v4_count && ((i->v4[from].addr ^ addr) & i->v4[from].mask) != 0)
		from++;
	const struct arp_packet a = {i->v4[from < i->v4_count ? from : 0].addr, addr, NULL,
				     ARP_REQUEST};
	COUNT(n->counters, ARP_REQUESTS);
	arp_send(n, iface, &a, mac != NULL ? mac : eth_broadcast, mac_zero);
}

static bool
arp_parse(struct arp_packet *a, struct span s)
{
	const uint8_t *p = s.p;

	if (s.n < ARP_SIZE)
		return false;
	if (load_be16(p) != 1 || load_be16(p + 2) != ETH_IPV4 || p[4] != 6 || p[5] != 4)
		return false;
	a->op = load_be16(p + 6);
	a->sha = p + 8;
	a->spa = load_be32(p + 14);
	a->tpa = load_be32(p + 24);
	return a->op == ARP_REQUEST || a->op == ARP_REPLY;
}

// Could this be the truth about a neighbour of this interface? Our own station from the wire is a
// loop.
static bool
sender_is_sane(const struct net_if *i, const struct arp_packet *a)
{
	bool is_near = false;

	if (!net_mac_is_sane(i, a->sha))
		return false;
	for (uint32_t k = 0; k < i->v4_count; k++) {
		const struct net_local4 *l = &i->v4[k];
		bool is_here = ((a->spa ^ l->addr) & l->mask) == 0;
		if (ip_is_edge(l, a->spa))
			return false;
		is_near |= is_here || (l->gateway != 0 && a->spa == l->gateway);
	}
	return is_near;
}

static void
arp_answer(struct net *n, uint32_t iface, const struct arp_packet *q)
{
	const struct arp_packet a = {q->tpa, q->spa, NULL, ARP_REPLY};

	arp_send(n, iface, &a, q->sha, q->sha);
}

// Another station has an address of ours (RFC 5227 2.4). Mail depends on ours, and somebody has to
// mend it by hand: it is counted, and claimed again every DEFEND_US (2.4 c), so that the neighbours
// who believed the other one come back.
static bool
arp_is_conflict(struct net *n, const struct eth_in *in, const struct arp_packet *a)
{
	struct net_if *i = &n->iface[in->iface];

	if (ip_local(i, a->spa) == NULL || !net_mac_is_sane(i, a->sha))
		return false;
	if (in->flags & FRAME_LEARN_ONLY)
		return true;
	COUNT(n->counters, ARP_CONFLICT);
	if (n->now_us >= i->defend_us) {
		i->defend_us = n->now_us + DEFEND_US;
		arp_claim(n, in->iface, a->spa);
	}
	return true;
}

void
arp_input(struct net *n, const struct eth_in *in)
{
	const struct net_if *i = &n->iface[in->iface];
	struct arp_packet a;
	bool is_copy = (in->flags & FRAME_LEARN_ONLY) != 0;

	if (!arp_parse(&a, in->l3)) {
		COUNT(n->counters, ARP_BAD);
		return;
	}
	if (arp_is_conflict(n, in, &a))
		return;
	bool is_ours = ip_local(i, a.tpa) != NULL;
	if (a.op == ARP_REQUEST && is_ours && a.spa == 0) { // a probe (RFC 5227): we have it
		if (!is_copy && net_mac_is_sane(i, a.sha)) {
			COUNT(n->counters, ARP_IN);
			arp_answer(n, in->iface, &a);
		}
		return;
	}
	if (!is_ours && a.spa != a.tpa)
		return; // somebody else's conversation
	if (!sender_is_sane(i, &a)) {
		COUNT(n->counters, ARP_BAD);
		return;
	}
	const struct ipaddr sender = ipaddr_v4(a.spa);
	neigh_learn(n, in->iface, &sender, a.sha,
		    NEIGH_CONFIRM | NEIGH_OVERRIDE | (is_ours ? NEIGH_MAKE : 0));
	if (is_copy || !is_ours)
		return;
	COUNT(n->counters, ARP_IN);
	if (a.op == ARP_REQUEST)
		arp_answer(n, in->iface, &a);
}
