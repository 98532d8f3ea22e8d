// SPDX-License-Identifier: Apache-2.0
// net: opens the layers, and is the network that TCP sees. Runs on the owning worker.

#include "dataplane/net_priv.h"

static uint32_t
mask_of(uint8_t prefix_bits)
{
	CHECK(prefix_bits >= 96);
	CHECK(prefix_bits <= 128);
	uint32_t bits = prefix_bits - 96u;
	return bits == 0 ? 0 : ~0u << (32 - bits);
}

struct net *
net_open(const struct net_args *args)
{
	CHECK(args->iface_count > 0);
	CHECK(args->iface_count <= NET_IFACES_MAX);
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
	for (uint32_t i = 0; i < n->iface_count; i++) {
		const struct net_iface *from = &args->ifaces[i];
		CHECK(from->port != NULL);
		CHECK(from->addr_count >= 1 && from->addr_count <= NET_ADDRS_MAX);
		CHECK(from->port->mtu >= 576);
		CHECK(from->port->mtu + ETH_HEADER <= PORT_FRAME_SIZE);
		n->iface[i] = *from;
		n->if4[i].addr = ipaddr_to_v4(&from->addr[0].addr);
		n->if4[i].mask = mask_of(from->addr[0].prefix_bits);
		if (ipaddr_is_v4(&from->addr[0].gateway))
			n->if4[i].gateway = ipaddr_to_v4(&from->addr[0].gateway);
	}
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
net_frame_get(struct net *n, uint32_t iface, struct frame *f)
{
	struct port *p = n->iface[iface].port;

	*f = (struct frame){0};
	if (unlikely(!p->ops->tx_get(p, f))) {
		COUNT(n->counters, FRAME_NONE);
		return false;
	}
	CHECK(f->data != NULL);
	return true;
}

void
net_frame_put(struct net *n, uint32_t iface, struct frame *f, const uint8_t mac[6], uint16_t type)
{
	struct port *p = n->iface[iface].port;

	CHECK(f->len >= ETH_HEADER);
	CHECK(f->len <= ETH_HEADER + p->mtu);
	eth_fill(f->data, mac, p->mac, type);
	COUNT(n->counters, TX_FRAMES);
	p->ops->tx_put(p, f);
}

bool
net_hop(const struct net *n, uint32_t iface, uint32_t raddr, uint32_t *hop)
{
	const struct net_if4 *i = &n->if4[iface];

	*hop = ((raddr ^ i->addr) & i->mask) == 0 ? raddr : i->gateway;
	return *hop != 0;
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
	for (uint32_t i = 0; i < n->iface_count; i++) {
		if (!n->is_announced[i])
			arp_announce(n, i);
		n->is_announced[i] = true;
	}
	arp_sweep(n);
	n->sweep_us = now_us + ARP_STEP_US;
}

uint64_t
net_next_us(const struct net *n)
{
	OBJ_CHECK(n, NET_MAGIC);
	if (!n->is_announced[0])
		return n->now_us;
	for (uint32_t i = 0; i < NET_ARP_MAX; i++)
		if (n->arp[i].used_us != 0 || n->arp[i].confirmed_us != 0)
			return n->sweep_us;
	return UINT64_MAX;
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

// A segment leaves by the port on which its connection lives, whatever another port could reach.
static uint8_t *
net_seg_get(void *ctx, const struct tcp_path *path, uint32_t size)
{
	struct net *n = ctx;
	uint32_t hop;

	OBJ_CHECK(n, NET_MAGIC);
	CHECK(!n->seg_is_open);
	CHECK(path->side < n->iface_count);
	CHECK(IP_HEADER + size <= n->iface[path->side].port->mtu);
	if (unlikely(!net_hop(n, path->side, ipaddr_to_v4(&path->raddr), &hop))) {
		COUNT(n->counters, IP_NO_ROUTE);
		return NULL;
	}
	if (!arp_resolve(n, path->side, hop, n->seg_mac))
		return NULL;
	if (!net_frame_get(n, path->side, &n->seg))
		return NULL;
	n->seg_is_open = true;
	n->seg_iface = path->side;
	n->seg_size = size;
	return n->seg.data + ETH_HEADER + IP_HEADER;
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
	uint8_t *ip = n->seg.data + ETH_HEADER, *seg = ip + IP_HEADER;
	ip_fill(ip, ipaddr_to_v4(&path->laddr), ipaddr_to_v4(&path->raddr), IP_PROTO_TCP, size);
	memset(seg + 16, 0, 2);
	uint16_t sum =
		(uint16_t)~ip_sum_fold(ip_sum(seg, size, ip_sum_pseudo(ip, IP_PROTO_TCP, size)));
	memcpy(seg + 16, &sum, 2);
	n->seg.len = ETH_HEADER + IP_HEADER + size;
	n->seg_is_open = false;
	if (unlikely(n->seg_is_wanted)) {
		n->seg_is_wanted = false;
		eth_fill(n->seg.data, n->seg_mac, n->iface[n->seg_iface].port->mac, ETH_IPV4);
		n->capture(n->capture_ctx, span_of(n->seg.data, n->seg.len), true);
	}
	net_frame_put(n, n->seg_iface, &n->seg, n->seg_mac, ETH_IPV4);
}

static bool
net_port_is_mine(void *ctx, const struct tcp_path *path)
{
	struct net *n = ctx;

	OBJ_CHECK(n, NET_MAGIC);
	return n->port_is_mine == NULL || n->port_is_mine(n->ctx, path);
}

// The network with the longest prefix, else the first port with a gateway.
static bool
net_route(void *ctx, const struct ipaddr *raddr, uint32_t nth, struct ipaddr *laddr, uint16_t *side,
	  uint16_t *mtu)
{
	struct net *n = ctx;
	uint32_t best = NET_IFACES_MAX, gateway = NET_IFACES_MAX;

	OBJ_CHECK(n, NET_MAGIC);
	if (nth > 0)
		return false;
	if (!ipaddr_is_v4(raddr)) {
		COUNT(n->counters, IP_NO_ROUTE);
		return false;
	}
	uint32_t to = ipaddr_to_v4(raddr);
	for (uint32_t i = 0; i < n->iface_count; i++) {
		const struct net_if4 *f = &n->if4[i];
		if (((to ^ f->addr) & f->mask) == 0 &&
		    (best == NET_IFACES_MAX || f->mask > n->if4[best].mask))
			best = i;
		if (f->gateway != 0 && gateway == NET_IFACES_MAX)
			gateway = i;
	}
	if (best == NET_IFACES_MAX)
		best = gateway;
	if (best == NET_IFACES_MAX || to == 0 || to >= 0xe0000000u || to == n->if4[best].addr) {
		COUNT(n->counters, IP_NO_ROUTE);
		return false;
	}
	*laddr = n->iface[best].addr[0].addr;
	*side = (uint16_t)best;
	*mtu = n->iface[best].port->mtu;
	return true;
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
	.route = net_route,
};
