// SPDX-License-Identifier: Apache-2.0
// vnet_host: a machine made of our own net and TCP, at an end of a vnet link.

#include <string.h>

#include "control/base/rng.h"
#include "test/sim/lib/vnet.h"

#define HOST_TIMERS 1024u // a poll

static bool
host_tcp_open(struct vnet_host *h, const struct vnet_host_args *a)
{
	struct rng rng;
	struct tcp_args t = {
		.conns_max = a->conns_max > 0 ? a->conns_max : 256,
		.settings.window_bytes = a->window_bytes > 0 ? a->window_bytes : 65536,
		.settings.window_bytes_max = a->window_bytes_max,
		.settings.keepalive_s = a->keepalive_s > 0 ? a->keepalive_s : 7200,
		.seed = a->seed,
		.mtu = h->port->mtu,
		.chunks = &h->chunks,
		.counters = &h->counters,
		.mem = &mem_heap,
		.net = &net_tcp_ops,
		.net_ctx = h->net,
	};

	rng_init(&rng, a->seed);
	for (uint32_t i = 0; i < sizeof(t.secret); i += 8) {
		uint64_t r = rng_next(&rng);
		memcpy(t.secret + i, &r, 8);
	}
	h->tcp = tcp_open(&t);
	return h->tcp != NULL;
}

bool
vnet_host_open(struct vnet_host *h, struct vnet *v, const struct vnet_host_args *a)
{
	uint64_t now_us = v != NULL ? vnet_now(v) : a->now_us;

	CHECK(v != NULL || a->port != NULL);
	*h = (struct vnet_host){.v = v, .port = a->port};
	if (h->port == NULL)
		h->port = vnet_port(a->link, a->end);
	struct net_iface iface[NET_IFACES_MAX] = {
		{.addr_count = 1, .addr = {{a->addr, a->gateway, a->prefix_bits}}}};
	const struct net_args n = {.ifaces = iface,
				   .iface_count = MAX(a->iface_count, 1u),
				   .counters = &h->counters,
				   .mem = &mem_heap};

	CHECK(a->iface_count <= NET_IFACES_MAX);
	for (uint32_t i = 0; i < a->iface_count; i++)
		iface[i] = a->ifaces[i];
	for (uint32_t i = 0; i < n.iface_count; i++)
		iface[i].port = h->port;
	if (!chunk_pool_init(&h->chunks, &mem_heap, a->chunks > 0 ? a->chunks : 4096))
		return false;
	h->net = net_open(&n);
	if (h->net != NULL && host_tcp_open(h, a)) {
		net_bind_tcp(h->net, h->tcp);
		net_run(h->net, now_us);
		tcp_run(h->tcp, now_us, HOST_TIMERS);
		return true;
	}
	net_close(&h->net);
	chunk_pool_fini(&h->chunks);
	return false;
}

void
vnet_host_close(struct vnet_host *h)
{
	if (h->net == NULL)
		return;
	tcp_close(&h->tcp);
	net_close(&h->net);
	chunk_pool_fini(&h->chunks);
}

uint32_t
vnet_host_poll(struct vnet_host *h, uint64_t now_us)
{
	struct frame burst[PORT_BURST];
	struct port *p = h->port;

	net_run(h->net, now_us);
	uint32_t work = tcp_run(h->tcp, now_us, HOST_TIMERS);
	uint32_t count = p->ops->rx(p, burst, PORT_BURST);
	COUNT_N(&h->counters, RX_FRAMES, count);
	for (uint32_t i = 0; i < count; i++) {
		net_input(h->net, 0, &burst[i]);
		p->ops->rx_free(p, &burst[i]);
	}
	work += count + tcp_work(h->tcp);
	net_flush(h->net);
	return work;
}

uint64_t
vnet_host_next_us(const struct vnet_host *h)
{
	uint64_t ms = tcp_next_ms(h->tcp);
	uint64_t us = ms == UINT64_MAX ? UINT64_MAX : ms * 1000;

	return MIN(us, net_next_us(h->net));
}
