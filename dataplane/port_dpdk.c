// SPDX-License-Identifier: Apache-2.0
// port_dpdk: devices are opened and closed in the main thread; rx, tx_get, tx_put and tx_flush run
// on the worker that owns the queue pair.

#include "dataplane/port_dpdk.h"

#include <rte_ethdev.h>
#include <string.h>

#define RING_DESC 512u
#define POOL_CACHE 256u
#define MTU_MIN_V4 576u  // below, net.c has no use for a port ..
#define MTU_MIN_V6 1280u // .. with IPv6 addresses (RFC 8200 5)
#define FRAME_LEAST 60u  // without FCS: shorter ones are padded with zeroes (IEEE 802.3 3.2.8)
#define RSS_TCP (RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP)
#define RSS_TYPES (RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_IPV6 | RSS_TCP)
#define RX_SUMS (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM)

// --- devices ---

static bool
fail(struct strbuf *why, uint16_t id, const char *what, int rc)
{
	strbuf_addf(why, "port %u: %s: %s", id, what, rte_strerror(rc < 0 ? -rc : rc));
	return false;
}

// Without the TCP hash types, key and table of ours the NIC spreads as it likes and steer.c puts it
// right.
static bool
rss_is_ours(const struct rte_eth_dev_info *info, uint32_t workers)
{
	return workers > 1 && (info->flow_type_rss_offloads & RSS_TCP) == RSS_TCP &&
	       info->reta_size >= STEER_TABLE && info->reta_size <= RTE_ETH_RSS_RETA_SIZE_512 &&
	       info->reta_size % STEER_TABLE == 0 && info->hash_key_size >= 40 &&
	       info->hash_key_size <= STEER_KEY_SIZE;
}

static bool
table_set(const struct port_dpdk_dev *d, uint16_t reta_size)
{
	struct rte_eth_rss_reta_entry64 reta[RTE_ETH_RSS_RETA_SIZE_512 / RTE_ETH_RETA_GROUP_SIZE] =
		{0};

	static_assert(RTE_ETH_RETA_GROUP_SIZE == STEER_TABLE, "one group is our table");
	for (uint32_t i = 0; i < reta_size; i++) {
		reta[i / STEER_TABLE].mask = UINT64_MAX;
		reta[i / STEER_TABLE].reta[i % STEER_TABLE] =
			(uint16_t)(i % STEER_TABLE % d->workers);
	}
	return rte_eth_dev_rss_reta_update(d->id, reta, reta_size) == 0;
}

static bool
device_configure(struct port_dpdk_dev *d, const struct port_dpdk_args *a,
		 const struct rte_eth_dev_info *info, struct strbuf *why)
{
	struct rte_eth_conf conf = {.rxmode.mtu = d->mtu};
	uint8_t key[STEER_KEY_SIZE];

	if ((info->rx_offload_capa & RX_SUMS) == RX_SUMS) {
		conf.rxmode.offloads |= RX_SUMS;
		d->has_sums = true;
	}
	conf.txmode.offloads |= info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	if (d->has_rss) {
		memcpy(key, a->rss_key, sizeof(key));
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_key = key;
		conf.rx_adv_conf.rss_conf.rss_key_len = info->hash_key_size;
		conf.rx_adv_conf.rss_conf.rss_hf = RSS_TYPES & info->flow_type_rss_offloads;
	}
	int rc = rte_eth_dev_configure(d->id, (uint16_t)a->workers, (uint16_t)a->workers, &conf);
	return rc == 0 || fail(why, d->id, "cannot be configured", rc);
}

static bool
queue_open(struct port_dpdk_dev *d, const struct port_dpdk_args *a, uint32_t q, struct strbuf *why)
{
	uint16_t rx_desc = RING_DESC, tx_desc = RING_DESC;
	char name[RTE_MEMPOOL_NAMESIZE];
	struct strbuf b;

	int rc = rte_eth_dev_adjust_nb_rx_tx_desc(d->id, &rx_desc, &tx_desc);
	if (rc != 0)
		return fail(why, d->id, "descriptors", rc);
	strbuf_init(&b, name, sizeof(name));
	strbuf_addf(&b, "frames_w%u_p%u", q, d->id);
	d->ring = (uint32_t)rx_desc + tx_desc;
	// All that the two rings can hold, and what is under way on cores besides.
	uint32_t least = rx_desc + tx_desc + 2 * POOL_CACHE;
	d->pool[q] = rte_pktmbuf_pool_create(name, MAX(a->frames, least), POOL_CACHE, 0,
					     RTE_MBUF_DEFAULT_BUF_SIZE, (int)a->node[q]);
	if (d->pool[q] == NULL)
		return fail(why, d->id, "no memory for packet buffers (machine.memory_mib)",
			    rte_errno);
	rc = rte_eth_rx_queue_setup(d->id, (uint16_t)q, rx_desc, a->node[q], NULL, d->pool[q]);
	if (rc != 0)
		return fail(why, d->id, "receive queue", rc);
	rc = rte_eth_tx_queue_setup(d->id, (uint16_t)q, tx_desc, a->node[q], NULL);
	return rc == 0 || fail(why, d->id, "send queue", rc);
}

// A driver that cannot tell has a link.
void
port_dpdk_link(struct port_dpdk_dev *d)
{
	struct rte_eth_link link;
	bool is_up =
		rte_eth_link_get_nowait(d->id, &link) != 0 || link.link_status != RTE_ETH_LINK_DOWN;

	CHECK(d->is_started);
	if (is_up && !d->link_is_up)
		__atomic_fetch_add(&d->link_ups, 1, __ATOMIC_RELAXED);
	d->link_is_up = is_up;
}

static bool
device_open(struct port_dpdk_dev *d, const struct port_dpdk_args *a, struct strbuf *why)
{
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	uint16_t mtu;

	int rc = rte_eth_dev_info_get(d->id, &info);
	if (rc != 0)
		return fail(why, d->id, "no information", rc);
	if (info.max_rx_queues < a->workers || info.max_tx_queues < a->workers) {
		strbuf_addf(why, "port %u: %u queues for %u workers: lower the number of cores",
			    d->id, MIN(info.max_rx_queues, info.max_tx_queues), a->workers);
		return false;
	}
	d->node = rte_eth_dev_socket_id(d->id);
	d->mtu = PORT_DPDK_MTU;
	if (rte_eth_dev_get_mtu(d->id, &mtu) == 0)
		d->mtu = MIN(d->mtu, mtu);
	uint32_t least = a->has_groups ? MTU_MIN_V6 : MTU_MIN_V4;
	if (d->mtu < least) {
		strbuf_addf(why, "port %u: its MTU of %u is below %u", d->id, d->mtu, least);
		return false;
	}
	d->has_rss = rss_is_ours(&info, a->workers);
	d->is_configured = true;
	if (!device_configure(d, a, &info, why))
		return false;
	for (uint32_t q = 0; q < a->workers; q++)
		if (!queue_open(d, a, q, why))
			return false;
	rc = rte_eth_dev_start(d->id);
	if (rc != 0)
		return fail(why, d->id, "cannot be started", rc);
	d->is_started = true;
	// Neighbour discovery asks by groups. A driver that cannot be told brings them anyway
	// (af_packet), or IPv6 will be silent there.
	(void)rte_eth_allmulticast_enable(d->id);
	if (d->has_rss && !table_set(d, info.reta_size))
		d->has_rss = false;
	// Everything is more than all groups: some drivers (af_packet's) can be told only that.
	d->has_groups = a->has_groups && (rte_eth_allmulticast_get(d->id) == 1 ||
					  rte_eth_promiscuous_enable(d->id) == 0);
	rc = rte_eth_macaddr_get(d->id, &mac);
	if (rc != 0)
		return fail(why, d->id, "no station address", rc);
	memcpy(d->mac, mac.addr_bytes, 6);
	port_dpdk_link(d);
	return true;
}

bool
port_dpdk_open(struct port_dpdk_dev *d, const struct port_dpdk_args *a, struct strbuf *why)
{
	CHECK(a->workers > 0);
	CHECK(a->workers <= STEER_WORKERS_MAX);
	CHECK(a->workers == 1 || a->rss_key != NULL);
	*d = (struct port_dpdk_dev){.id = a->id, .workers = a->workers, .node = -1};
	if (device_open(d, a, why))
		return true;
	port_dpdk_close(d);
	return false;
}

void
port_dpdk_close(struct port_dpdk_dev *d)
{
	// A driver's complaint while closing changes nothing for us: the process ends.
	if (d->is_started)
		(void)rte_eth_dev_stop(d->id);
	if (d->is_configured)
		(void)rte_eth_dev_close(d->id);
	for (uint32_t q = 0; q < d->workers; q++)
		rte_mempool_free(d->pool[q]);
	*d = (struct port_dpdk_dev){.node = -1};
}

// --- receiving ---

// One piece, of Ethernet's size, and with the bytes that were on the wire: a driver that takes VLAN
// tags off would make a foreign network's frame look like ours. (af_packet's kernel takes them off
// unasked, but the driver puts them in again.)
static bool
mbuf_is_fit(const struct rte_mbuf *m)
{
	return m->nb_segs == 1 && m->pkt_len <= PORT_FRAME_SIZE &&
	       (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) == 0;
}

static void
frame_of(const struct port_dpdk *p, struct rte_mbuf *m, struct frame *f)
{
	const uint64_t mask = RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK;
	const uint64_t good = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;

	*f = (struct frame){.data = rte_pktmbuf_mtod(m, uint8_t *), .len = m->pkt_len, .priv = m};
	if (p->has_sums && (m->ol_flags & mask) == good)
		f->flags = FRAME_SUM_GOOD;
}

// A copy for another worker, in a buffer of this queue's pool.
static bool
frame_copy(struct port *port, struct span bytes, struct frame *out)
{
	struct port_dpdk *p = CONTAINER_OF(port, struct port_dpdk, port);
	struct rte_mbuf *m = rte_pktmbuf_alloc(p->pool);

	if (m == NULL)
		return false;
	CHECK(bytes.n <= rte_pktmbuf_tailroom(m));
	*out = (struct frame){.data = rte_pktmbuf_mtod(m, uint8_t *), .len = bytes.n, .priv = m};
	memcpy(out->data, bytes.p, bytes.n);
	m->data_len = (uint16_t)bytes.n;
	m->pkt_len = bytes.n;
	return true;
}

static uint16_t
dpdk_rx(struct port *port, struct frame *f, uint16_t most)
{
	struct port_dpdk *p = CONTAINER_OF(port, struct port_dpdk, port);
	struct rte_mbuf *burst[PORT_BURST];
	uint16_t kept = 0;

	CHECK(most <= PORT_BURST);
	uint16_t count = rte_eth_rx_burst(p->id, p->queue, burst, most);
	for (uint16_t i = 0; i < count; i++) {
		if (!mbuf_is_fit(burst[i])) {
			COUNT(p->counters, ETH_OTHER);
			rte_pktmbuf_free(burst[i]);
			continue;
		}
		frame_of(p, burst[i], &f[kept]);
		if (steer_rx_keep(&p->steer, &p->port, &f[kept]))
			kept++;
	}
	return kept;
}

// A frame that was handed over goes straight back to the pool that it is of. This core's cache of
// that pool would keep up to 384 of them, and nobody here takes any out: with the caches of all
// workers that is more than a pool, and its queue would get no buffers any more, for good.
static void
dpdk_rx_free(struct port *port, struct frame *f)
{
	const struct port_dpdk *p = CONTAINER_OF(port, struct port_dpdk, port);
	struct rte_mbuf *m = f->priv;

	f->priv = NULL;
	if (likely(m->pool == p->pool)) {
		rte_pktmbuf_free(m);
		return;
	}
	void *one = rte_pktmbuf_prefree_seg(m);
	if (one != NULL)
		rte_mempool_generic_put(m->pool, &one, 1, NULL);
}

void
port_dpdk_frame_free(const struct frame *f)
{
	CHECK(f->priv != NULL);
	rte_pktmbuf_free(f->priv);
}

// --- sending ---

static bool
dpdk_tx_get(struct port *port, struct frame *f)
{
	struct port_dpdk *p = CONTAINER_OF(port, struct port_dpdk, port);
	struct rte_mbuf *m = rte_pktmbuf_alloc(p->pool);

	if (m == NULL)
		return false;
	DCHECK(rte_pktmbuf_tailroom(m) >= PORT_FRAME_SIZE);
	*f = (struct frame){.data = rte_pktmbuf_mtod(m, uint8_t *), .priv = m};
	return true;
}

// Gives the buffered frames to the NIC; what its ring has no room for is dropped.
static void
tx_burst(struct port_dpdk *p)
{
	uint16_t sent = rte_eth_tx_burst(p->id, p->queue, p->tx, p->tx_count);

	CHECK(sent <= p->tx_count);
	if (sent < p->tx_count) {
		p->tx_dropped += p->tx_count - sent;
		rte_pktmbuf_free_bulk(&p->tx[sent], p->tx_count - sent);
	}
	p->tx_count = 0;
}

static void
dpdk_tx_put(struct port *port, struct frame *f)
{
	struct port_dpdk *p = CONTAINER_OF(port, struct port_dpdk, port);
	struct rte_mbuf *m = f->priv;

	CHECK(m != NULL);
	CHECK(f->len <= PORT_FRAME_SIZE);
	if (f->len < FRAME_LEAST) {
		memset(f->data + f->len, 0, FRAME_LEAST - f->len);
		f->len = FRAME_LEAST;
	}
	m->data_len = (uint16_t)f->len;
	m->pkt_len = f->len;
	f->priv = NULL;
	p->tx[p->tx_count++] = m;
	if (p->tx_count == PORT_BURST)
		tx_burst(p);
}

static uint32_t
dpdk_tx_flush(struct port *port)
{
	struct port_dpdk *p = CONTAINER_OF(port, struct port_dpdk, port);

	if (p->tx_count > 0)
		tx_burst(p);
	uint32_t dropped = p->tx_dropped;
	p->tx_dropped = 0;
	return dropped;
}

static uint32_t
dpdk_use(struct port *port)
{
	struct port_dpdk *p = CONTAINER_OF(port, struct port_dpdk, port);
	uint64_t used = rte_mempool_in_use_count(p->pool);

	// What the NIC's rings hold is always out: it says nothing about load.
	CHECK(p->pool->size > p->ring);
	used -= MIN(used, p->ring);
	return (uint32_t)(used * 1000 / (p->pool->size - p->ring));
}

static const struct port_ops dpdk_ops = {
	.rx = dpdk_rx,
	.rx_free = dpdk_rx_free,
	.tx_get = dpdk_tx_get,
	.tx_put = dpdk_tx_put,
	.tx_flush = dpdk_tx_flush,
	.use = dpdk_use,
};

void
port_dpdk_init(struct port_dpdk *p, const struct port_dpdk_dev *d, uint32_t worker, uint32_t iface,
	       struct counters *counters, struct steer *steer)
{
	CHECK(d->is_started);
	CHECK(worker < d->workers);
	CHECK(steer != NULL || d->workers == 1);
	*p = (struct port_dpdk){
		.port = {.ops = &dpdk_ops, .mtu = d->mtu, .link_ups = &d->link_ups},
		.id = d->id,
		.queue = (uint16_t)worker,
		.has_sums = d->has_sums,
		.ring = d->ring,
		.pool = d->pool[worker],
		.counters = counters,
		.steer = {.steer = steer,
			  .counters = counters,
			  .worker = worker,
			  .iface = iface,
			  .copy = frame_copy},
	};
	memcpy(p->port.mac, d->mac, 6);
}

void
port_dpdk_fini(struct port_dpdk *p)
{
	rte_pktmbuf_free_bulk(p->tx, p->tx_count);
	p->tx_count = 0;
}
