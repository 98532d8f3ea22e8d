// SPDX-License-Identifier: Apache-2.0
// arp: who has an address on the link (RFC 826). Runs on the owning worker.
//
// free --resolve--> asked --reply--> known --45 s, in use--> known, asked by unicast every second
//   ^                 |  ^                      |
//   +--60 s unused----+  +-------60 s without confirmation
//
// What is believed: replies and requests that are addressed to us, from senders on the interface's
// network; and announcements (sender = target), but these only change entries that are there
// already, so that a stranger cannot push our hops out of the table.

#include "dataplane/net_priv.h"

#define ARP_SIZE 28u
#define ARP_REQUEST 1u
#define ARP_REPLY 2u

struct arp_packet {
	uint32_t spa, tpa; // protocol addresses of sender and target
	const uint8_t *sha;
	uint16_t op;
};

static const uint8_t mac_zero[6];

static uint32_t
hint_of(uint32_t addr)
{
	return addr % NET_ARP_MAX;
}

static struct net_arp *
entry_find(struct net *n, uint32_t iface, uint32_t addr)
{
	const struct ipaddr want = ipaddr_v4(addr);
	struct net_arp *e = &n->arp[n->arp_hint[hint_of(addr)]];

	if (e->iface == iface && memcmp(&e->addr, &want, sizeof(want)) == 0)
		return e;
	for (uint32_t i = 0; i < NET_ARP_MAX; i++) {
		e = &n->arp[i];
		if (e->iface == iface && memcmp(&e->addr, &want, sizeof(want)) == 0) {
			n->arp_hint[hint_of(addr)] = (uint8_t)i;
			return e;
		}
	}
	return NULL;
}

static bool
entry_is_free(const struct net_arp *e)
{
	static const struct ipaddr none;
	return memcmp(&e->addr, &none, sizeof(none)) == 0;
}

// A free entry; else the one that was used longest ago, those without an answer first.
static struct net_arp *
entry_make(struct net *n, uint32_t iface, uint32_t addr)
{
	struct net_arp *victim = &n->arp[0];

	for (uint32_t i = 0; i < NET_ARP_MAX; i++) {
		struct net_arp *e = &n->arp[i];
		if (entry_is_free(e)) {
			victim = e;
			break;
		}
		if (e->is_known != victim->is_known ? !e->is_known : e->used_us < victim->used_us)
			victim = e;
	}
	*victim = (struct net_arp){.addr = ipaddr_v4(addr), .iface = (uint16_t)iface};
	victim->used_us = n->now_us;
	CHECK(!victim->is_known);
	n->arp_hint[hint_of(addr)] = (uint8_t)(victim - n->arp);
	return victim;
}

static void
arp_send(struct net *n, uint32_t iface, uint16_t op, const uint8_t to[6], const uint8_t tha[6],
	 uint32_t tpa)
{
	struct frame f;

	CHECK(op == ARP_REQUEST || op == ARP_REPLY);
	if (!net_frame_get(n, iface, &f))
		return;
	uint8_t *p = f.data + ETH_HEADER;
	store_be16(p, 1); // Ethernet
	store_be16(p + 2, ETH_IPV4);
	p[4] = 6;
	p[5] = 4;
	store_be16(p + 6, op);
	memcpy(p + 8, n->iface[iface].port->mac, 6);
	store_be32(p + 14, n->if4[iface].addr);
	memcpy(p + 18, tha, 6);
	store_be32(p + 24, tpa);
	f.len = ETH_HEADER + ARP_SIZE;
	net_frame_put(n, iface, &f, to, ETH_ARP);
}

void
arp_announce(struct net *n, uint32_t iface)
{
	CHECK(iface < n->iface_count);
	arp_send(n, iface, ARP_REQUEST, eth_broadcast, mac_zero, n->if4[iface].addr);
}

static void
entry_ask(struct net *n, struct net_arp *e)
{
	uint32_t addr = ipaddr_to_v4(&e->addr);

	CHECK(e->iface < n->iface_count);
	CHECK(addr != 0);
	e->asked_us = MAX(n->now_us, 1); // 0 means never
	COUNT(n->counters, ARP_REQUESTS);
	// RFC 1122 2.3.2.1: what is still believed is asked directly, without bothering the
	// network.
	arp_send(n, e->iface, ARP_REQUEST, e->is_known ? e->mac : eth_broadcast, mac_zero, addr);
}

bool
arp_resolve(struct net *n, uint32_t iface, uint32_t hop, uint8_t mac[6])
{
	CHECK(iface < n->iface_count);
	CHECK(hop != 0);
	struct net_arp *e = entry_find(n, iface, hop);

	if (e == NULL)
		e = entry_make(n, iface, hop);
	e->used_us = n->now_us;
	if (likely(e->is_known)) {
		memcpy(mac, e->mac, 6);
		return true;
	}
	if (e->asked_us == 0 || n->now_us - e->asked_us >= ARP_STEP_US)
		entry_ask(n, e);
	COUNT(n->counters, ARP_WAIT);
	return false;
}

void
arp_sweep(struct net *n)
{
	for (uint32_t i = 0; i < NET_ARP_MAX; i++) {
		struct net_arp *e = &n->arp[i];
		if (entry_is_free(e))
			continue;
		bool is_used = n->now_us - e->used_us < ARP_UNUSED_US;
		uint64_t age = n->now_us - e->confirmed_us;
		if (e->is_known && age >= ARP_CONFIRMED_US)
			e->is_known = false;
		if (!e->is_known && !is_used)
			*e = (struct net_arp){0};
		else if (e->is_known && is_used && age >= ARP_PROBE_US)
			entry_ask(n, e);
	}
}

static bool
arp_parse(struct arp_packet *a, const struct frame *f)
{
	const uint8_t *p = f->data + ETH_HEADER;

	if (f->len < ETH_HEADER + ARP_SIZE)
		return false;
	if (load_be16(p) != 1 || load_be16(p + 2) != ETH_IPV4 || p[4] != 6 || p[5] != 4)
		return false;
	a->op = load_be16(p + 6);
	a->sha = p + 8;
	a->spa = load_be32(p + 14);
	a->tpa = load_be32(p + 24);
	return a->op == ARP_REQUEST || a->op == ARP_REPLY;
}

// Could this be the truth about a neighbour of this interface?
static bool
sender_is_sane(const struct net *n, uint32_t iface, const struct arp_packet *a)
{
	const struct net_if4 *i = &n->if4[iface];

	if ((a->sha[0] & 1) != 0 || memcmp(a->sha, mac_zero, 6) == 0)
		return false;
	if (((a->spa ^ i->addr) & i->mask) != 0 && a->spa != i->gateway)
		return false;
	// Our own address or station from the wire: a second machine with it, or a loop.
	if (a->spa == i->addr || memcmp(a->sha, n->iface[iface].port->mac, 6) == 0)
		return false;
	return i->mask >= 0xfffffffeu || ((a->spa & ~i->mask) != 0 && (a->spa | i->mask) != ~0u);
}

static void
entry_learn(struct net *n, uint32_t iface, const struct arp_packet *a, bool may_make)
{
	struct net_arp *e = entry_find(n, iface, a->spa);

	if (e == NULL && may_make)
		e = entry_make(n, iface, a->spa);
	if (e == NULL)
		return;
	memcpy(e->mac, a->sha, 6);
	e->is_known = true;
	e->confirmed_us = n->now_us;
}

void
arp_input(struct net *n, uint32_t iface, const struct frame *f)
{
	struct arp_packet a;
	bool is_copy = (f->flags & FRAME_LEARN_ONLY) != 0;

	CHECK(f->len >= ETH_HEADER);
	if (!arp_parse(&a, f)) {
		COUNT(n->counters, ARP_BAD);
		return;
	}
	bool is_ours = a.tpa == n->if4[iface].addr;
	if (a.op == ARP_REQUEST && is_ours && a.spa == 0) { // a probe (RFC 5227): we have it
		if (!is_copy && (a.sha[0] & 1) == 0 && memcmp(a.sha, mac_zero, 6) != 0) {
			COUNT(n->counters, ARP_IN);
			arp_send(n, iface, ARP_REPLY, a.sha, a.sha, 0);
		}
		return;
	}
	if (!is_ours && a.spa != a.tpa)
		return; // somebody else's conversation
	if (!sender_is_sane(n, iface, &a)) {
		COUNT(n->counters, ARP_BAD);
		return;
	}
	entry_learn(n, iface, &a, is_ours);
	if (is_copy || !is_ours)
		return;
	COUNT(n->counters, ARP_IN);
	if (a.op == ARP_REQUEST)
		arp_send(n, iface, ARP_REPLY, a.sha, a.sha, a.spa);
}
