// SPDX-License-Identifier: Apache-2.0
// neigh: who has an address on the link, as ARP and neighbour discovery have learnt it. Runs on the
// owning worker.
//
// free --resolve--> asked --reply--> known --45 s, in use--> known, asked by unicast every second
//   ^                 |  ^                      |
//   +--60 s unused----+  +-------60 s without confirmation
//
// This is the neighbour unreachability detection of RFC 4861 7.3 with fewer states: "known" for
// less than 45 s is REACHABLE, after that STALE when unused and PROBE when used. What arp.c and
// nd.c believe, they say themselves. New entries are rate limited, on each interface by itself: who
// sends from many addresses of our own network must not make us ask for them all, and not keep the
// mail servers behind another interface from being asked for.

#include "dataplane/net_priv.h"

#define NEIGH_NONE UINT16_MAX
#define CONFIRMED_US 60000000ull
#define PROBE_US 45000000ull  // age from which an entry in use is asked for again, by unicast
#define UNUSED_US 60000000ull // unused this long: not probed; unknown this long unused: freed
#define MAKE_STEP_US 5000u    // 200 new entries a second and interface ..
#define MAKE_BURST_US (NET_NEIGHS_MAX * 5000ull) // .. and the whole table at once

static_assert((NET_NEIGHS_MAX & (NET_NEIGHS_MAX - 1)) == 0, "the hash is cut by a mask");

void
neigh_init(struct net *n)
{
	for (uint32_t i = 0; i < NET_NEIGHS_MAX; i++)
		n->neigh_head[i] = NEIGH_NONE;
}

// The table is bounded by its size, so a chain that an attacker fills costs no more than that.
static uint32_t
hash_of(const struct ipaddr *a)
{
	uint64_t high, low;

	memcpy(&high, a->b, 8);
	memcpy(&low, a->b + 8, 8);
	return (uint32_t)(((high ^ low) * 0x9e3779b97f4a7c15ull) >> 32) & (NET_NEIGHS_MAX - 1);
}

struct net_neigh *
neigh_find(struct net *n, uint32_t iface, const struct ipaddr *addr)
{
	uint16_t i = n->neigh_head[hash_of(addr)];

	while (i != NEIGH_NONE) {
		struct net_neigh *e = &n->neigh[i];
		if (e->iface == iface && net_addr_eq(&e->addr, addr))
			return e;
		i = e->next;
	}
	return NULL;
}

static bool
entry_is_free(const struct net_neigh *e)
{
	static const struct ipaddr none;
	return memcmp(&e->addr, &none, sizeof(none)) == 0;
}

static void
entry_free(struct net *n, struct net_neigh *e)
{
	uint16_t self = (uint16_t)(e - n->neigh);
	uint16_t *at = &n->neigh_head[hash_of(&e->addr)];

	while (*at != self) {
		CHECK(*at != NEIGH_NONE);
		at = &n->neigh[*at].next;
	}
	*at = e->next;
	*e = (struct net_neigh){0};
	n->neigh_count--;
}

// A free entry; else the one that was used longest ago, those without an answer first.
static struct net_neigh *
entry_make(struct net *n, uint32_t iface, const struct ipaddr *addr)
{
	struct net_neigh *victim = &n->neigh[0];

	if (!net_is_allowed(n, &n->iface[iface].neigh_us, MAKE_STEP_US, MAKE_BURST_US)) {
		COUNT(n->counters, NEIGH_LIMIT);
		return NULL;
	}
	for (uint32_t i = 0; i < NET_NEIGHS_MAX; i++) {
		struct net_neigh *e = &n->neigh[i];
		if (entry_is_free(e)) {
			victim = e;
			break;
		}
		if (e->is_known != victim->is_known ? !e->is_known : e->used_us < victim->used_us)
			victim = e;
	}
	if (!entry_is_free(victim))
		entry_free(n, victim);
	uint16_t *head = &n->neigh_head[hash_of(addr)];
	*victim = (struct net_neigh){
		.addr = *addr, .iface = (uint16_t)iface, .next = *head, .used_us = n->now_us};
	*head = (uint16_t)(victim - n->neigh);
	n->neigh_count++;
	return victim;
}

static void
entry_ask(struct net *n, struct net_neigh *e)
{
	CHECK(e->iface < n->iface_count);
	e->asked_us = MAX(n->now_us, 1); // 0 means never
	// RFC 1122 2.3.2.1: what is still believed is asked directly, without bothering the
	// network.
	const uint8_t *mac = e->is_known ? e->mac : NULL;
	if (ipaddr_is_v4(&e->addr))
		arp_ask(n, e->iface, ipaddr_to_v4(&e->addr), mac);
	else
		nd_ask(n, e->iface, &e->addr, mac);
}

bool
neigh_resolve(struct net *n, uint32_t iface, const struct ipaddr *hop, uint8_t mac[6])
{
	CHECK(iface < n->iface_count);
	struct net_neigh *e = neigh_find(n, iface, hop);

	if (e == NULL)
		e = entry_make(n, iface, hop);
	if (e != NULL) {
		e->used_us = n->now_us;
		e->is_wanted = true;
		if (likely(e->is_known)) {
			memcpy(mac, e->mac, 6);
			return true;
		}
		if (e->asked_us == 0 || n->now_us - e->asked_us >= NET_STEP_US)
			entry_ask(n, e);
	}
	COUNT(n->counters, ARP_WAIT);
	return false;
}

// Still used, but asked for again.
static void
entry_doubt(struct net *n, struct net_neigh *e)
{
	if (n->now_us - e->confirmed_us < PROBE_US)
		e->confirmed_us = n->now_us - PROBE_US; // may wrap: only differences are looked at
}

void
neigh_learn(struct net *n, uint32_t iface, const struct ipaddr *addr, const uint8_t *mac,
	    uint32_t flags)
{
	struct net_neigh *e = neigh_find(n, iface, addr);

	if (e == NULL && (flags & NEIGH_MAKE) != 0 && mac != NULL)
		e = entry_make(n, iface, addr);
	if (e == NULL)
		return;
	bool is_new = !e->is_known || (mac != NULL && memcmp(e->mac, mac, 6) != 0);
	if (is_new && mac == NULL)
		return; // an answer without the one thing that was asked for
	if (is_new && e->is_known && (flags & NEIGH_OVERRIDE) == 0) {
		entry_doubt(n, e); // RFC 4861 7.2.5
		return;
	}
	if (is_new)
		memcpy(e->mac, mac, 6);
	e->is_known = true;
	if (is_new || (flags & NEIGH_CONFIRM) != 0)
		e->confirmed_us = n->now_us;
	if ((flags & NEIGH_CONFIRM) == 0 && is_new)
		entry_doubt(n, e);
}

void
neigh_sweep(struct net *n)
{
	uint32_t left = n->neigh_count;

	for (uint32_t i = 0; left > 0; i++) {
		CHECK(i < NET_NEIGHS_MAX);
		struct net_neigh *e = &n->neigh[i];
		if (entry_is_free(e))
			continue;
		left--;
		bool is_used = e->is_wanted && n->now_us - e->used_us < UNUSED_US;
		uint64_t age = n->now_us - e->confirmed_us;
		if (e->is_known && age >= CONFIRMED_US)
			e->is_known = false;
		if (!e->is_known && !is_used) // also what was heard of and never wanted
			entry_free(n, e);
		else if (e->is_known && is_used && age >= PROBE_US)
			entry_ask(n, e);
	}
}
