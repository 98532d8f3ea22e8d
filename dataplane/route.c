// SPDX-License-Identifier: Apache-2.0
// route: which local address speaks to a remote one, and who is the next hop. Runs on the owning
// worker.
//
// There is no routing table: what is on the link goes there directly, all else to the gateway of
// the local address, else to another gateway of the same interface, else to a router that has
// advertised itself there. A connection never changes its interface.

#include "dataplane/net_priv.h"

#define RANK_NONE 0u
#define RANK_GATEWAY 1u
#define RANK_ON_LINK 2u // and one more for each bit of the prefix
#define LOCALS_MAX (NET_ADDRS_MAX + 1)

// The first `bits` bits of 64: 0 when they agree.
static uint64_t
head_differs(const uint8_t *a, const uint8_t *b, uint32_t bits)
{
	uint64_t x, y;

	memcpy(&x, a, 8);
	memcpy(&y, b, 8);
	return bits == 0 ? 0 : __builtin_bswap64(x ^ y) >> (64 - bits);
}

// ipprefix_has, for each segment that leaves.
static bool
prefix_has(const struct ipaddr *prefix, uint8_t bits, const struct ipaddr *a)
{
	uint32_t head = MIN(bits, 64);

	return (head_differs(prefix->b, a->b, head) |
		head_differs(prefix->b + 8, a->b + 8, bits - head)) == 0;
}

static bool
is_zero(const struct ipaddr *a)
{
	static const struct ipaddr zero;
	return memcmp(a, &zero, sizeof(zero)) == 0;
}

static const struct ipaddr *
hop4(const struct net_if *i, const struct tcp_path *path)
{
	uint32_t laddr = net_v4(&path->laddr), raddr = net_v4(&path->raddr);
	const struct net_local4 *by = NULL;

	for (uint32_t k = 0; k < i->v4_count; k++) {
		const struct net_local4 *l = &i->v4[k];
		if (((raddr ^ l->addr) & l->mask) == 0)
			return &path->raddr;
		if (l->gateway != 0 && (by == NULL || l->addr == laddr))
			by = l;
	}
	return by != NULL ? &by->hop : NULL;
}

bool
route_is_on_link6(const struct net *n, const struct net_if *i, const struct ipaddr *a)
{
	if (ipaddr_is_link_local(a))
		return true;
	for (uint32_t k = 0; k < i->v6_count; k++)
		if (prefix_has(&i->v6[k].addr, i->v6[k].prefix_bits, a))
			return true;
	for (uint32_t k = 0; k < NET_PREFIXES_MAX; k++)
		if (i->prefix[k].until_us > n->now_us &&
		    prefix_has(&i->prefix[k].addr, i->prefix[k].bits, a))
			return true;
	return false;
}

// A router whose station is known is better than one that has to be asked for (RFC 4861 6.3.6).
static const struct ipaddr *
router_find(struct net *n, uint32_t iface)
{
	const struct net_if *i = &n->iface[iface];
	const struct ipaddr *found = NULL;

	for (uint32_t k = 0; k < NET_ROUTERS_MAX; k++) {
		const struct net_router6 *r = &i->router[k];
		if (r->until_us <= n->now_us)
			continue;
		const struct net_neigh *e = neigh_find(n, iface, &r->addr);
		if (e != NULL && e->is_known)
			return &r->addr;
		if (found == NULL)
			found = &r->addr;
	}
	return found;
}

static const struct ipaddr *
gateway6_find(struct net *n, uint32_t iface, const struct ipaddr *laddr)
{
	const struct net_if *i = &n->iface[iface];
	const struct ipaddr *found = NULL;

	for (uint32_t k = 0; k < i->v6_count; k++) {
		if (is_zero(&i->v6[k].gateway))
			continue;
		if (found == NULL || net_addr_eq(&i->v6[k].addr, laddr))
			found = &i->v6[k].gateway;
	}
	return found != NULL ? found : router_find(n, iface);
}

const struct ipaddr *
route_hop(struct net *n, const struct tcp_path *path)
{
	const struct net_if *i = &n->iface[path->side];

	if (likely(net_is_v4(&path->raddr)))
		return hop4(i, path);
	if (route_is_on_link6(n, i, &path->raddr))
		return &path->raddr;
	return gateway6_find(n, path->side, &path->laddr);
}

// --- local addresses ---

static uint32_t
rank4(const struct net_if *i, uint32_t k, uint32_t raddr)
{
	const struct net_local4 *l = &i->v4[k];

	if (((raddr ^ l->addr) & l->mask) == 0)
		return RANK_ON_LINK + (uint32_t)__builtin_popcount(l->mask);
	if (l->gateway != 0)
		return RANK_GATEWAY;
	for (uint32_t g = 0; g < i->v4_count; g++) // a gateway on our network is ours too
		if (i->v4[g].gateway != 0 && ((i->v4[g].gateway ^ l->addr) & l->mask) == 0)
			return RANK_GATEWAY;
	return RANK_NONE;
}

static uint32_t
rank6(struct net *n, uint32_t iface, uint32_t k, const struct ipaddr *raddr)
{
	const struct net_if *i = &n->iface[iface];
	const struct net_local6 *l = &i->v6[k];

	if (l->state != LOCAL_READY || ipaddr_is_link_local(&l->addr))
		return RANK_NONE;
	if (prefix_has(&l->addr, l->prefix_bits, raddr))
		return RANK_ON_LINK + l->prefix_bits;
	if (route_is_on_link6(n, i, raddr))
		return RANK_ON_LINK;
	return gateway6_find(n, iface, &l->addr) != NULL ? RANK_GATEWAY : RANK_NONE;
}

static uint32_t
ranks_fill(struct net *n, uint32_t iface, const struct ipaddr *raddr, uint32_t rank[LOCALS_MAX])
{
	const struct net_if *i = &n->iface[iface];

	if (ipaddr_is_v4(raddr)) {
		for (uint32_t k = 0; k < i->v4_count; k++)
			rank[k] = rank4(i, k, ipaddr_to_v4(raddr));
		return i->v4_count;
	}
	for (uint32_t k = 0; k < i->v6_count; k++)
		rank[k] = rank6(n, iface, k, raddr);
	return i->v6_count;
}

// Could a mail server have it? Link-local ones name no link, so nobody can be meant.
static bool
is_reachable(const struct net *n, const struct ipaddr *a)
{
	if (net_is_ours(n, a) || !ipaddr_is_unicast(a) || ipaddr_is_link_local(a))
		return false;
	if (!ipaddr_is_v4(a))
		return true;
	for (uint32_t i = 0; i < n->iface_count; i++)
		for (uint32_t k = 0; k < n->iface[i].v4_count; k++)
			if (ip_is_edge(&n->iface[i].v4[k], ipaddr_to_v4(a)))
				return false;
	return true;
}

// The nth of those ranked at least `least`, the highest first, then as configured.
static bool
rank_nth(const uint32_t *rank, uint32_t count, uint32_t least, uint32_t nth, uint32_t *found)
{
	for (uint32_t k = 0; k < count; k++) {
		uint32_t before = 0;
		if (rank[k] < least)
			continue;
		for (uint32_t j = 0; j < count; j++)
			before += j < k ? rank[j] >= rank[k] : rank[j] > rank[k];
		if (before == nth) {
			*found = k;
			return true;
		}
	}
	return false;
}

// The interface with the longest prefix, else the first one with a gateway; on it the addresses
// whose network has the remote one, or who have the gateway.
bool
route_find(void *ctx, const struct ipaddr *raddr, uint32_t nth, struct tcp_route *out)
{
	struct net *n = ctx;
	uint32_t rank[LOCALS_MAX], best = RANK_NONE, k = 0;

	OBJ_CHECK(n, NET_MAGIC);
	if (is_reachable(n, raddr))
		for (uint32_t i = 0; i < n->iface_count; i++) {
			uint32_t count = ranks_fill(n, i, raddr, rank);
			for (k = 0; k < count; k++)
				if (rank[k] > best) {
					best = rank[k];
					out->side = (uint16_t)i;
				}
		}
	if (best == RANK_NONE) {
		COUNT(n->counters, IP_NO_ROUTE);
		return false;
	}
	const struct net_if *i = &n->iface[out->side];
	uint32_t count = ranks_fill(n, out->side, raddr, rank);
	if (!rank_nth(rank, count, MIN(best, RANK_ON_LINK + 1), nth, &k))
		return false;
	bool is_v4 = ipaddr_is_v4(raddr);
	out->laddr = is_v4 ? ipaddr_v4(i->v4[k].addr) : i->v6[k].addr;
	out->mtu = is_v4 ? i->port->mtu : i->mtu6;
	return true;
}
