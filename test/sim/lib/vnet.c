// SPDX-License-Identifier: Apache-2.0
// vnet: the wire: two directions of impair.c, the clock, and the ports.

#include "test/sim/lib/vnet.h"

#include <string.h>

#include "control/base/rng.h"

#define FRAMES_SPARE 1024u // beyond the queue: what the ends hold, a simulated NIC's rings too

struct vnet_link {
	struct vnet *v;
	struct port port[2];
	struct impair way[2]; // by sending end
	vnet_tap_fn tap;
	void *tap_ctx;
};

struct vnet {
	uint64_t now_us;
	struct rng rng;
	uint32_t link_count;
	struct vnet_link *link[VNET_LINKS_MAX];
};

struct vnet *
vnet_open(uint64_t seed)
{
	struct vnet *v = mem_get(&mem_heap, sizeof(*v), "vnet");

	if (v == NULL)
		return NULL;
	v->now_us = VNET_START_US;
	rng_init(&v->rng, seed);
	return v;
}

void
vnet_close(struct vnet **vp)
{
	struct vnet *v = *vp;

	if (v == NULL)
		return;
	for (uint32_t i = 0; i < v->link_count; i++) {
		struct vnet_link *l = v->link[i];
		for (uint32_t d = 0; d < 2; d++)
			impair_fini(&l->way[d]);
		mem_put(&mem_heap, l, sizeof(*l));
	}
	*vp = NULL;
	mem_put(&mem_heap, v, sizeof(*v));
}

uint64_t
vnet_now(const struct vnet *v)
{
	return v->now_us;
}

void
vnet_advance(struct vnet *v, uint64_t us)
{
	v->now_us += us;
}

void
vnet_advance_to(struct vnet *v, uint64_t now_us)
{
	CHECK(now_us >= v->now_us);
	v->now_us = now_us;
}

uint64_t
vnet_next_us(const struct vnet *v)
{
	uint64_t next = UINT64_MAX;

	for (uint32_t i = 0; i < v->link_count; i++)
		for (uint32_t d = 0; d < 2; d++)
			next = MIN(next, impair_next_us(&v->link[i]->way[d]));
	return next;
}

// --- the port ---

static struct vnet_link *
link_of(const struct port *p, enum vnet_end *end)
{
	struct vnet_link *l = p->priv;

	*end = (enum vnet_end)(p - l->port);
	CHECK(*end <= VNET_B);
	return l;
}

static uint16_t
port_rx(struct port *p, struct frame *f, uint16_t most)
{
	enum vnet_end end;
	struct vnet_link *l = link_of(p, &end);

	return impair_take(&l->way[1 - end], l->v->now_us, f, most);
}

static void
port_rx_free(struct port *p, struct frame *f)
{
	enum vnet_end end;
	struct vnet_link *l = link_of(p, &end);

	impair_free(&l->way[1 - end], f);
}

static bool
port_tx_get(struct port *p, struct frame *f)
{
	enum vnet_end end;
	struct vnet_link *l = link_of(p, &end);

	return impair_get(&l->way[end], f);
}

// The path's router speaks on the way back; it does not speak about its own words.
static void
router_says(struct vnet_link *l, enum vnet_end to, struct span words)
{
	struct impair *w = &l->way[1 - to];
	struct frame f;

	if (words.n == 0 || !impair_get(w, &f))
		return;
	memcpy(f.data, words.p, words.n);
	f.len = words.n;
	impair_put(w, &f, l->v->now_us, &l->v->rng);
}

static void
port_tx_put(struct port *p, struct frame *f)
{
	enum vnet_end end;
	struct vnet_link *l = link_of(p, &end);
	struct span frame = span_of(f->data, f->len);
	uint8_t answer[PORT_FRAME_SIZE];

	if (l->tap != NULL)
		l->tap(l->tap_ctx, frame, end, l->v->now_us);
	uint32_t size = impair_answer(&l->way[end], frame, answer);
	impair_put(&l->way[end], f, l->v->now_us, &l->v->rng);
	router_says(l, end, span_of(answer, size));
}

static uint32_t
port_tx_flush(struct port *p)
{
	enum vnet_end end;
	struct vnet_link *l = link_of(p, &end);

	return impair_dropped(&l->way[end]);
}

static const struct port_ops vnet_port_ops = {
	.rx = port_rx,
	.rx_free = port_rx_free,
	.tx_get = port_tx_get,
	.tx_put = port_tx_put,
	.tx_flush = port_tx_flush,
};

// --- links ---

struct vnet_link *
vnet_link_open(struct vnet *v, const struct vnet_path *a_to_b, const struct vnet_path *b_to_a)
{
	CHECK(v->link_count < VNET_LINKS_MAX);
	struct vnet_link *l = mem_get(&mem_heap, sizeof(*l), "vnet link");

	if (l == NULL)
		return NULL;
	l->v = v;
	for (uint32_t e = 0; e < 2; e++) {
		const uint8_t mac[6] = {2, 0, 0, 0, (uint8_t)v->link_count, (uint8_t)e};
		l->port[e] = (struct port){.ops = &vnet_port_ops, .mtu = 1500, .priv = l};
		memcpy(l->port[e].mac, mac, 6);
	}
	v->link[v->link_count++] = l;
	if (!impair_init(&l->way[VNET_A], a_to_b, FRAMES_SPARE) ||
	    !impair_init(&l->way[VNET_B], b_to_a, FRAMES_SPARE))
		return NULL; // vnet_close frees it
	return l;
}

struct port *
vnet_port(struct vnet_link *l, enum vnet_end end)
{
	CHECK(end <= VNET_B);
	return &l->port[end];
}

void
vnet_link_set(struct vnet_link *l, enum vnet_end from, const struct vnet_path *p)
{
	CHECK(from <= VNET_B);
	impair_set(&l->way[from], p);
}

void
vnet_link_tap(struct vnet_link *l, vnet_tap_fn tap, void *ctx)
{
	l->tap = tap;
	l->tap_ctx = ctx;
}

const struct vnet_stats *
vnet_link_stats(const struct vnet_link *l, enum vnet_end from)
{
	CHECK(from <= VNET_B);
	return &l->way[from].stats;
}

uint32_t
vnet_link_held(const struct vnet_link *l)
{
	return l->way[VNET_A].held + l->way[VNET_B].held;
}

bool
vnet_inject(struct vnet_link *l, enum vnet_end from, struct span frame)
{
	struct frame f;

	CHECK(frame.n <= PORT_FRAME_SIZE);
	if (!port_tx_get(&l->port[from], &f))
		return false;
	memcpy(f.data, frame.p, frame.n);
	f.len = frame.n;
	port_tx_put(&l->port[from], &f);
	return true;
}
