// SPDX-License-Identifier: Apache-2.0
// simnic: see the header. The hash is written down as the standard says it, bit by bit, and shares
// no line with steer.c: the two have to agree.
#include "test/sim/lib/simnic.h"

#include <string.h>

#include "control/base/bytes.h"

#define ETH_SIZE 14u
#define COPIES 64u
#define TUPLE_MAX 36u // two IPv6 addresses and two ports

struct simnic_queue {
	struct port port;
	struct simnic *nic;
	struct steer_rx steer;
	struct simnic_stats stats;
	struct frame *ring;
	uint32_t put, get; // count up for ever
};

struct simnic_copy {
	bool is_used;
	uint8_t data[PORT_FRAME_SIZE];
};

struct simnic {
	struct port *wire;
	uint32_t queues, reta_size, ring_frames;
	bool has_rss;
	uint8_t key[STEER_KEY_SIZE];
	uint8_t reta[SIMNIC_RETA_MAX];
	struct simnic_queue queue[SIMNIC_QUEUES_MAX];
	struct simnic_copy copy[COPIES];
};

// --- receive-side scaling ---

// For each set bit of the input, the 32 bits of the key that begin at that bit's number.
static uint32_t
toeplitz(const uint8_t *key, const uint8_t *in, uint32_t n)
{
	uint32_t hash = 0, window = load_be32(key);

	for (uint32_t bit = 0; bit < 8 * n; bit++) {
		if ((in[bit / 8] >> (7 - bit % 8) & 1) != 0)
			hash ^= window;
		uint32_t next = 32 + bit;
		window = window << 1 | (key[next / 8] >> (7 - next % 8) & 1u);
	}
	return hash;
}

// Addresses, and ports where they may be looked at, into `tuple`; returns its size.
static uint32_t
tuple_of(struct span ip, bool is_v6, uint8_t tuple[TUPLE_MAX], enum simnic_hash *kind)
{
	uint32_t addrs = is_v6 ? 32 : 8, at = is_v6 ? 8 : 12;
	uint32_t l4 = is_v6 ? 40 : (ip.p[0] & 15u) * 4;
	bool is_tcp = ip.p[is_v6 ? 6 : 9] == 6;
	bool is_whole = is_v6 || (load_be16(ip.p + 6) & 0x3fff) == 0;

	memcpy(tuple, ip.p + at, addrs);
	*kind = SIMNIC_ADDRESSES;
	if (!is_tcp || !is_whole || l4 < 20 || ip.n < l4 + 4)
		return addrs;
	memcpy(tuple + addrs, ip.p + l4, 4);
	*kind = SIMNIC_PORTS;
	return addrs + 4;
}

enum simnic_hash
simnic_hash(const struct simnic *nic, struct span frame, uint32_t *hash)
{
	uint8_t tuple[TUPLE_MAX];
	enum simnic_hash kind = SIMNIC_NO_HASH;
	uint32_t at = ETH_SIZE;

	*hash = 0;
	if (!nic->has_rss || frame.n < ETH_SIZE + 4)
		return SIMNIC_NO_HASH;
	uint16_t type = load_be16(frame.p + 12);
	if (type == 0x8100) {
		type = load_be16(frame.p + 16);
		at += 4;
	}
	struct span ip = span_from(frame, MIN(at, frame.n));
	bool is_v4 = type == 0x0800 && ip.n >= 20 && ip.p[0] >> 4 == 4;
	bool is_v6 = type == 0x86dd && ip.n >= 40 && ip.p[0] >> 4 == 6;
	if (!is_v4 && !is_v6)
		return SIMNIC_NO_HASH;
	uint32_t n = tuple_of(ip, is_v6, tuple, &kind);
	*hash = toeplitz(nic->key, tuple, n);
	return kind;
}

static void
deliver(struct simnic *nic, struct frame *f)
{
	uint32_t hash, queue = 0;
	enum simnic_hash kind = simnic_hash(nic, span_of(f->data, f->len), &hash);

	if (kind != SIMNIC_NO_HASH)
		queue = nic->reta[hash & (nic->reta_size - 1)];
	struct simnic_queue *q = &nic->queue[queue];
	if (q->put - q->get == nic->ring_frames) {
		q->stats.missed++;
		nic->wire->ops->rx_free(nic->wire, f);
		return;
	}
	q->ring[q->put++ & (nic->ring_frames - 1)] = *f;
	q->stats.received++;
	q->stats.portless += kind != SIMNIC_PORTS;
}

// --- a queue pair ---

static struct simnic_queue *
queue_of(struct port *p)
{
	return CONTAINER_OF(p, struct simnic_queue, port);
}

// Whoever asks first empties the wire for all: the NIC works by itself.
static uint16_t
queue_rx(struct port *p, struct frame *f, uint16_t most)
{
	struct simnic_queue *q = queue_of(p);
	struct simnic *nic = q->nic;
	struct frame burst[PORT_BURST];
	uint16_t count, kept = 0;

	do {
		count = nic->wire->ops->rx(nic->wire, burst, PORT_BURST);
		for (uint16_t i = 0; i < count; i++)
			deliver(nic, &burst[i]);
	} while (count == PORT_BURST);
	for (uint16_t i = 0; i < most && q->put != q->get; i++) {
		f[kept] = q->ring[q->get++ & (nic->ring_frames - 1)];
		if (steer_rx_keep(&q->steer, p, &f[kept]))
			kept++;
	}
	return kept;
}

static struct simnic_copy *
copy_of(struct simnic *nic, const struct frame *f)
{
	struct simnic_copy *c = f->priv;

	return c >= nic->copy && c < nic->copy + COPIES ? c : NULL;
}

void
simnic_frame_free(struct simnic *nic, struct frame *f)
{
	CHECK(f != NULL);
	struct simnic_copy *c = copy_of(nic, f);

	if (c == NULL) {
		nic->wire->ops->rx_free(nic->wire, f);
		return;
	}
	CHECK(c->is_used);
	c->is_used = false;
	f->priv = NULL;
}

static void
queue_rx_free(struct port *p, struct frame *f)
{
	simnic_frame_free(queue_of(p)->nic, f);
}

static bool
queue_copy(struct port *p, struct span bytes, struct frame *out)
{
	struct simnic *nic = queue_of(p)->nic;

	for (uint32_t i = 0; i < COPIES; i++) {
		struct simnic_copy *c = &nic->copy[i];
		if (c->is_used)
			continue;
		CHECK(bytes.n <= sizeof(c->data));
		c->is_used = true;
		memcpy(c->data, bytes.p, bytes.n);
		*out = (struct frame){.data = c->data, .len = bytes.n, .priv = c};
		return true;
	}
	return false;
}

static bool
queue_tx_get(struct port *p, struct frame *f)
{
	struct port *wire = queue_of(p)->nic->wire;

	return wire->ops->tx_get(wire, f);
}

static void
queue_tx_put(struct port *p, struct frame *f)
{
	struct simnic_queue *q = queue_of(p);

	q->stats.sent++;
	q->nic->wire->ops->tx_put(q->nic->wire, f);
}

static uint32_t
queue_tx_flush(struct port *p)
{
	struct port *wire = queue_of(p)->nic->wire;

	return wire->ops->tx_flush(wire);
}

static const struct port_ops simnic_ops = {
	.rx = queue_rx,
	.rx_free = queue_rx_free,
	.tx_get = queue_tx_get,
	.tx_put = queue_tx_put,
	.tx_flush = queue_tx_flush,
};

// --- the device ---

static bool
is_power_of_two(uint32_t n)
{
	return n > 0 && (n & (n - 1)) == 0;
}

struct simnic *
simnic_open(const struct simnic_args *a)
{
	CHECK(a->queues >= 1 && a->queues <= SIMNIC_QUEUES_MAX);
	struct simnic *nic = mem_get(&mem_heap, sizeof(*nic), "simnic");

	if (nic == NULL)
		return NULL;
	nic->wire = a->wire;
	nic->queues = a->queues;
	nic->reta_size = a->reta_size > 0 ? a->reta_size : SIMNIC_RETA_DEFAULT;
	nic->ring_frames = a->ring_frames > 0 ? a->ring_frames : SIMNIC_RING_DEFAULT;
	CHECK(is_power_of_two(nic->reta_size) && nic->reta_size <= SIMNIC_RETA_MAX);
	CHECK(is_power_of_two(nic->ring_frames));
	if (a->key != NULL)
		simnic_key_set(nic, a->key);
	for (uint32_t i = 0; i < nic->reta_size; i++)
		nic->reta[i] = (uint8_t)(i % a->queues);
	for (uint32_t i = 0; i < a->queues; i++) {
		struct simnic_queue *q = &nic->queue[i];
		q->nic = nic;
		q->port = *a->wire; // its addresses
		q->port.ops = &simnic_ops;
		q->port.priv = nic;
		q->ring = mem_get(&mem_heap, nic->ring_frames * sizeof(*q->ring), "simnic ring");
		if (q->ring == NULL) {
			simnic_close(&nic);
			return NULL;
		}
	}
	return nic;
}

void
simnic_close(struct simnic **np)
{
	struct simnic *nic = *np;

	if (nic == NULL)
		return;
	*np = NULL;
	for (uint32_t i = 0; i < nic->queues; i++) {
		struct simnic_queue *q = &nic->queue[i];
		while (q->get != q->put) {
			struct frame *f = &q->ring[q->get++ & (nic->ring_frames - 1)];
			simnic_frame_free(nic, f);
		}
		if (q->ring != NULL)
			mem_put(&mem_heap, q->ring, nic->ring_frames * sizeof(*q->ring));
	}
	mem_put(&mem_heap, nic, sizeof(*nic));
}

struct port *
simnic_port(struct simnic *nic, uint32_t queue)
{
	CHECK(queue < nic->queues);
	return &nic->queue[queue].port;
}

void
simnic_steer(struct simnic *nic, uint32_t queue, struct steer *s, uint32_t iface,
	     struct counters *c)
{
	CHECK(queue < nic->queues);
	nic->queue[queue].steer = (struct steer_rx){
		.steer = s, .counters = c, .worker = queue, .iface = iface, .copy = queue_copy};
}

void
simnic_key_set(struct simnic *nic, const uint8_t key[STEER_KEY_SIZE])
{
	memcpy(nic->key, key, STEER_KEY_SIZE);
	nic->has_rss = true;
}

void
simnic_reta_set(struct simnic *nic, uint32_t entry, uint32_t queue)
{
	CHECK(entry < nic->reta_size);
	CHECK(queue < nic->queues);
	nic->reta[entry] = (uint8_t)queue;
}

uint32_t
simnic_reta_size(const struct simnic *nic)
{
	return nic->reta_size;
}

const struct simnic_stats *
simnic_stats(const struct simnic *nic, uint32_t queue)
{
	CHECK(queue < nic->queues);
	return &nic->queue[queue].stats;
}

uint32_t
simnic_pending(const struct simnic *nic)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < nic->queues; i++)
		n += nic->queue[i].put - nic->queue[i].get;
	return n;
}

uint32_t
simnic_copies(const struct simnic *nic)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < COPIES; i++)
		n += nic->copy[i].is_used;
	return n;
}
