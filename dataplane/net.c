// SPDX-License-Identifier: Apache-2.0
// net: opens the layers, and is the network that TCP sees. Runs on the owning worker.

#include "dataplane/net_priv.h"

// --- our addresses ---

static uint32_t
own_bit(const struct ipaddr *a)
{
	return load_be32(a->b + 12) * 0x9e3779b1u >> 24;
}

// The bits say no at once, for nearly every packet; else all addresses are looked at.
bool
net_is_ours(const struct net *n, const struct ipaddr *a)
{
	uint32_t bit = own_bit(a);

	if (likely((n->own_bits[bit / 64] >> bit % 64 & 1) == 0))
		return false;
	bool is_v4 = ipaddr_is_v4(a);
	for (uint32_t i = 0; i < n->iface_count; i++) {
		const struct net_if *f = &n->iface[i];
		if (is_v4 && ip_local(f, ipaddr_to_v4(a)) != NULL)
			return true;
		for (uint32_t k = 0; !is_v4 && k < f->v6_count; k++)
			if (net_addr_eq(&f->v6[k].addr, a))
				return true;
	}
	return false;
}

bool
net_mac_is_sane(const struct net_if *i, const uint8_t mac[6])
{
	static const uint8_t zero[6];

	return (mac[0] & 1) == 0 && memcmp(mac, zero, 6) != 0 && memcmp(mac, i->port->mac, 6) != 0;
}

static uint32_t
mask_of(uint8_t prefix_bits)
{
	CHECK(prefix_bits >= 96);
	CHECK(prefix_bits <= 128);
	uint32_t bits = prefix_bits - 96u;
	return bits == 0 ? 0 : ~0u << (32 - bits);
}

static uint32_t
link_ups(const struct net_if *i)
{
	const uint32_t *ups = i->port->link_ups;

	return ups != NULL ? __atomic_load_n(ups, __ATOMIC_RELAXED) : 0;
}

// A link takes seconds to come up after the start, and goes and comes later: who is behind it has
// not heard of us, and a switch has forgotten our groups (RFC 5227 2.3, 3810 6.1).
static void
link_look(struct net *n, uint32_t iface)
{
	struct net_if *i = &n->iface[iface];
	uint32_t ups = link_ups(i);

	if (likely(ups == i->link_ups))
		return;
	i->is_announced = false;
	if (i->v6_count > 0)
		nd_link_up(n, iface, i->link_ups == 0);
	i->link_ups = ups;
}

static void
iface_init(struct net *n, struct net_if *i, const struct net_iface *from)
{
	CHECK(from->port != NULL);
	CHECK(from->addr_count >= 1);
	CHECK(from->addr_count <= NET_ADDRS_MAX);
	CHECK(from->port->mtu >= 576);
	CHECK(from->port->mtu + ETH_HEADER + ETH_TAG <= PORT_FRAME_SIZE);
	CHECK(from->vlan < 4095);
	i->port = from->port;
	i->vlan = from->vlan;
	i->l2_size = from->vlan != 0 ? ETH_HEADER + ETH_TAG : ETH_HEADER;
	i->mtu6 = from->port->mtu;
	i->link_ups = link_ups(i);
	for (uint32_t k = 0; k < from->addr_count; k++) {
		const struct net_addr *a = &from->addr[k];
		if (!ipaddr_is_v4(&a->addr)) {
			CHECK(a->prefix_bits <= 128);
			CHECK(from->port->mtu >= IP6_MTU_MIN);
			i->v6[i->v6_count++] = (struct net_local6){.addr = a->addr,
								   .gateway = a->gateway,
								   .prefix_bits = a->prefix_bits};
			continue;
		}
		struct net_local4 *l = &i->v4[i->v4_count++];
		l->addr = ipaddr_to_v4(&a->addr);
		l->mask = mask_of(a->prefix_bits);
		l->gateway = ipaddr_is_v4(&a->gateway) ? ipaddr_to_v4(&a->gateway) : 0;
		l->hop = a->gateway;
	}
	nd_init(i);
	for (uint32_t k = 0; k < i->v4_count + i->v6_count; k++) {
		const struct ipaddr a =
			k < i->v4_count ? ipaddr_v4(i->v4[k].addr) : i->v6[k - i->v4_count].addr;
		n->own_bits[own_bit(&a) / 64] |= 1ull << own_bit(&a) % 64;
	}
}

struct net *
net_open(const struct net_args *args)
{
	CHECK(args->iface_count > 0);
	CHECK(args->iface_count <= NET_IFACES_MAX);
	CHECK(args->dscp < 64);
	struct net *n = mem_get(args->mem, sizeof(*n), "net");

	if (n == NULL)
		return NULL;
	n->magic = NET_MAGIC;
	n->iface_count = args->iface_count;
	n->counters = args->counters;
	n->mem = args->mem;
	n->port_is_mine = args->port_is_mine;
	n->ctx = args->ctx;
	n->capture = args->capture;
	n->capture_ctx = args->capture_ctx;
	n->class = (uint8_t)(args->dscp << 2);
	n->hops = args->ttl > 0 ? args->ttl : 64;
	neigh_init(n);
	for (uint32_t i = 0; i < n->iface_count; i++)
		iface_init(n, &n->iface[i], &args->ifaces[i]);
	return n;
}

void
net_close(struct net **np)
{
	struct net *n = *np;

	if (n == NULL)
		return;
	OBJ_CHECK(n, NET_MAGIC);
	n->magic = 0;
	*np = NULL;
	mem_put(n->mem, n, sizeof(*n));
}

void
net_bind_tcp(struct net *n, struct tcp *t)
{
	OBJ_CHECK(n, NET_MAGIC);
	n->tcp = t;
}

bool
net_is_allowed(const struct net *n, uint64_t *booked_us, uint32_t step_us, uint64_t burst_us)
{
	uint64_t booked = MAX(*booked_us, n->now_us);

	if (booked - n->now_us > burst_us)
		return false;
	*booked_us = booked + step_us;
	return true;
}

bool
net_frame_get(struct net *n, uint32_t iface, struct frame *f, uint8_t **l3)
{
	struct port *p = n->iface[iface].port;

	*f = (struct frame){0};
	if (unlikely(!p->ops->tx_get(p, f))) {
		COUNT(n->counters, FRAME_NONE);
		return false;
	}
	CHECK(f->data != NULL);
	*l3 = f->data + n->iface[iface].l2_size;
	return true;
}

void
net_frame_put(struct net *n, uint32_t iface, struct frame *f, uint32_t size)
{
	struct port *p = n->iface[iface].port;

	CHECK(size <= p->mtu);
	f->len = n->iface[iface].l2_size + size;
	COUNT(n->counters, TX_FRAMES);
	p->ops->tx_put(p, f);
}

void
net_input(struct net *n, uint32_t iface, const struct frame *f)
{
	OBJ_CHECK(n, NET_MAGIC);
	CHECK(!n->seg_is_open);
	n->rx = span_of(f->data, f->len);
	eth_input(n, iface, f);
}

void
net_run(struct net *n, uint64_t now_us)
{
	OBJ_CHECK(n, NET_MAGIC);
	CHECK(now_us >= n->now_us);
	n->now_us = now_us;
	if (likely(now_us < n->sweep_us))
		return;
	n->has_nd_work = false;
	for (uint32_t i = 0; i < n->iface_count; i++) {
		link_look(n, i);
		if (!n->iface[i].is_announced)
			arp_announce(n, i);
		n->iface[i].is_announced = true;
		if (n->iface[i].v6_count > 0)
			nd_run(n, i);
	}
	neigh_sweep(n);
	n->sweep_us = now_us + NET_STEP_US;
}

uint64_t
net_next_us(const struct net *n)
{
	OBJ_CHECK(n, NET_MAGIC);
	if (!n->iface[0].is_announced)
		return n->now_us;
	return n->neigh_count > 0 || n->has_nd_work ? n->sweep_us : UINT64_MAX;
}

void
net_flush(struct net *n)
{
	OBJ_CHECK(n, NET_MAGIC);
	CHECK(!n->seg_is_open);
	for (uint32_t i = 0; i < n->iface_count; i++) {
		uint32_t dropped = n->iface[i].port->ops->tx_flush(n->iface[i].port);
		if (unlikely(dropped > 0))
			COUNT_N(n->counters, TX_FULL, dropped);
	}
}

// --- what TCP calls ---

// A segment leaves by the interface on which its connection lives, whatever another could reach.
static uint8_t *
net_seg_get(void *ctx, const struct tcp_path *path, uint32_t size)
{
	struct net *n = ctx;
	uint8_t *l3;

	OBJ_CHECK(n, NET_MAGIC);
	CHECK(!n->seg_is_open);
	CHECK(path->side < n->iface_count);
	uint32_t header = net_is_v4(&path->raddr) ? IP_HEADER : IP6_HEADER;
	CHECK(header + size <= n->iface[path->side].port->mtu);
	const struct ipaddr *hop = route_hop(n, path);
	if (unlikely(hop == NULL)) {
		COUNT(n->counters, IP_NO_ROUTE);
		return NULL;
	}
	if (!neigh_resolve(n, path->side, hop, n->seg_mac))
		return NULL;
	if (!net_frame_get(n, path->side, &n->seg, &l3))
		return NULL;
	n->seg_is_open = true;
	n->seg_iface = path->side;
	n->seg_size = size;
	return l3 + header;
}

static void
net_seg_put(void *ctx, const struct tcp_path *path, uint32_t size)
{
	struct net *n = ctx;

	OBJ_CHECK(n, NET_MAGIC);
	CHECK(n->seg_is_open);
	CHECK(path->side == n->seg_iface);
	CHECK(size >= 20);
	CHECK(size <= n->seg_size);
	const struct net_if *i = &n->iface[path->side];
	bool is_v4 = net_is_v4(&path->raddr);
	uint32_t header = is_v4 ? IP_HEADER : IP6_HEADER;
	uint8_t *ip = n->seg.data + i->l2_size, *seg = ip + header;
	uint16_t sum;

	const struct ip_out o = ip_out_of(n, IP_PROTO_TCP, size);

	memset(seg + 16, 0, 2);
	if (is_v4) {
		ip_fill(ip, net_v4(&path->laddr), net_v4(&path->raddr), &o);
		sum = (uint16_t)~ip_sum_fold(
			ip_sum(seg, size, ip_sum_pseudo(ip, IP_PROTO_TCP, size)));
	} else {
		ip6_fill(ip, &path->laddr, &path->raddr, &o);
		ip6_label(ip, (uint32_t)path->lport << 16 | path->rport);
		sum = (uint16_t)~ip6_sum(ip, IP_PROTO_TCP, span_of(seg, size));
	}
	memcpy(seg + 16, &sum, 2);
	n->seg_is_open = false;
	eth_fill(i, n->seg.data, n->seg_mac, is_v4 ? ETH_IPV4 : ETH_IPV6);
	if (unlikely(n->seg_is_wanted)) {
		n->seg_is_wanted = false;
		n->capture(n->capture_ctx, span_of(n->seg.data, i->l2_size + header + size), true);
	}
	net_frame_put(n, path->side, &n->seg, header + size);
}

static bool
net_port_is_mine(void *ctx, const struct tcp_path *path)
{
	struct net *n = ctx;

	OBJ_CHECK(n, NET_MAGIC);
	return n->port_is_mine == NULL || n->port_is_mine(n->ctx, path);
}

static void
net_capture(void *ctx, bool is_ours)
{
	struct net *n = ctx;

	OBJ_CHECK(n, NET_MAGIC);
	if (n->capture == NULL)
		return;
	if (is_ours)
		n->seg_is_wanted = true; // it has no header and no checksum yet
	else
		n->capture(n->capture_ctx, n->rx, false);
}

const struct tcp_net_ops net_tcp_ops = {
	.capture = net_capture,
	.seg_get = net_seg_get,
	.seg_put = net_seg_put,
	.port_is_mine = net_port_is_mine,
	.route = route_find,
};
