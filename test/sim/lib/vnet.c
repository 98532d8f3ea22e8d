// SPDX-License-Identifier: Apache-2.0
// vnet: the wire. Slots are linked by index: a LIFO of free ones, and those under way by delivery
// time.

#include "test/sim/lib/vnet.h"

#include <string.h>

#include "control/base/rng.h"

#define SLOT_NONE UINT32_MAX
#define SLOT_SPARE (2u * PORT_BURST) // beyond the queue: frames that an end holds

struct slot {
	uint64_t due_us;
	uint32_t next;
	uint32_t len;
	uint8_t data[PORT_FRAME_SIZE + 2];
};

struct way { // one direction
	struct vnet_path path;
	struct vnet_stats stats;
	struct slot *slot;
	uint32_t cap;       // slots
	uint32_t queue_max; // of them under way at once
	uint32_t free, first, last, under_way;
	uint64_t last_us; // delivery time of the last frame in order
	uint64_t line_us; // the line is busy until then
	uint32_t dropped; // since the last flush
};

struct vnet_link {
	struct vnet *v;
	struct port port[2];
	struct way way[2]; // by sending end
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
			mem_put(&mem_heap, l->way[d].slot, l->way[d].cap * sizeof(struct slot));
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
		for (uint32_t d = 0; d < 2; d++) {
			const struct way *w = &v->link[i]->way[d];
			if (w->first != SLOT_NONE)
				next = MIN(next, w->slot[w->first].due_us);
		}
	return next;
}

// --- slots ---

static uint32_t
slot_get(struct way *w)
{
	uint32_t i = w->free;

	if (i != SLOT_NONE)
		w->free = w->slot[i].next;
	return i;
}

static void
slot_put(struct way *w, uint32_t i)
{
	CHECK(i < w->cap);
	w->slot[i].next = w->free;
	w->free = i;
}

// Behind all frames that are not later. The usual place is the end.
static void
slot_queue(struct way *w, uint32_t i, uint64_t due_us)
{
	struct slot *s = &w->slot[i];
	uint32_t *at = &w->first;

	s->due_us = due_us;
	w->under_way++;
	if (w->first != SLOT_NONE && w->slot[w->last].due_us <= due_us)
		at = &w->slot[w->last].next;
	else
		while (*at != SLOT_NONE && w->slot[*at].due_us <= due_us)
			at = &w->slot[*at].next;
	s->next = *at;
	*at = i;
	if (s->next == SLOT_NONE)
		w->last = i;
}

static struct way *
way_of(struct port *p, bool is_rx)
{
	struct vnet_link *l = p->priv;
	uint32_t end = (uint32_t)(p - l->port);

	CHECK(end < 2);
	return &l->way[is_rx ? 1 - end : end];
}

static uint32_t
index_of(const struct way *w, const struct frame *f)
{
	const struct slot *s = f->priv;

	CHECK(s >= w->slot);
	CHECK(s < w->slot + w->cap);
	return (uint32_t)(s - w->slot);
}

// --- what the path does to a frame ---

static void
frame_harm(struct vnet *v, struct way *w, struct slot *s)
{
	if (w->path.corrupt_ppm > 0 && s->len > 0 && rng_chance(&v->rng, w->path.corrupt_ppm)) {
		s->data[rng_below(&v->rng, s->len)] ^= (uint8_t)(1u << rng_below(&v->rng, 8));
		w->stats.corrupted++;
	}
	if (w->path.truncate_ppm > 0 && s->len > 0 && rng_chance(&v->rng, w->path.truncate_ppm)) {
		s->len = rng_below(&v->rng, s->len);
		w->stats.truncated++;
	}
}

static uint64_t
frame_due(struct vnet *v, struct way *w, uint32_t len)
{
	uint64_t due = v->now_us;

	if (w->path.rate_kbit > 0) {
		w->line_us = MAX(w->line_us, due) + (len + 24ull) * 8000 / w->path.rate_kbit;
		due = w->line_us;
	}
	due += w->path.delay_us;
	if (w->path.jitter_us > 0)
		due += rng_below(&v->rng, w->path.jitter_us + 1);
	due = MAX(due, w->last_us);
	w->last_us = due;
	if (w->path.reorder_ppm > 0 && rng_chance(&v->rng, w->path.reorder_ppm)) {
		due += w->path.reorder_us > 0 ? w->path.reorder_us : 1000;
		w->stats.reordered++;
	}
	return due;
}

static void
way_send(struct vnet_link *l, struct way *w, uint32_t i)
{
	struct vnet *v = l->v;
	struct slot *s = &w->slot[i];
	uint32_t copy = SLOT_NONE;

	CHECK(s->len <= PORT_FRAME_SIZE);
	w->stats.sent++;
	if (l->tap != NULL)
		l->tap(l->tap_ctx, span_of(s->data, s->len), w == &l->way[VNET_A] ? VNET_A : VNET_B,
		       v->now_us);
	if (w->path.loss_ppm > 0 && rng_chance(&v->rng, w->path.loss_ppm)) {
		w->stats.lost++;
		slot_put(w, i);
		return;
	}
	if (w->under_way >= w->queue_max) {
		w->stats.queue_full++;
		w->dropped++;
		slot_put(w, i);
		return;
	}
	if (w->path.dup_ppm > 0 && rng_chance(&v->rng, w->path.dup_ppm))
		copy = slot_get(w);
	if (copy != SLOT_NONE) {
		memcpy(w->slot[copy].data, s->data, s->len);
		w->slot[copy].len = s->len;
		w->stats.duplicated++;
	}
	frame_harm(v, w, s);
	slot_queue(w, i, frame_due(v, w, s->len));
	if (copy != SLOT_NONE)
		slot_queue(w, copy, frame_due(v, w, s->len));
}

// --- the port ---

static uint16_t
port_rx(struct port *p, struct frame *f, uint16_t most)
{
	struct vnet_link *l = p->priv;
	struct way *w = way_of(p, true);
	uint16_t n = 0;

	while (n < most && w->first != SLOT_NONE && w->slot[w->first].due_us <= l->v->now_us) {
		struct slot *s = &w->slot[w->first];
		w->first = s->next;
		w->under_way--;
		f[n++] = (struct frame){.data = s->data, .len = s->len, .priv = s};
	}
	w->stats.received += n;
	return n;
}

static void
port_rx_free(struct port *p, struct frame *f)
{
	struct way *w = way_of(p, true);

	slot_put(w, index_of(w, f));
	f->priv = NULL;
}

static bool
port_tx_get(struct port *p, struct frame *f)
{
	struct way *w = way_of(p, false);
	uint32_t i = slot_get(w);

	if (i == SLOT_NONE)
		return false;
	*f = (struct frame){.data = w->slot[i].data, .priv = &w->slot[i]};
	return true;
}

static void
port_tx_put(struct port *p, struct frame *f)
{
	struct way *w = way_of(p, false);
	uint32_t i = index_of(w, f);

	w->slot[i].len = f->len;
	f->priv = NULL;
	way_send(p->priv, w, i);
}

static uint32_t
port_tx_flush(struct port *p)
{
	struct way *w = way_of(p, false);
	uint32_t dropped = w->dropped;

	w->dropped = 0;
	return dropped;
}

static const struct port_ops vnet_port_ops = {
	.rx = port_rx,
	.rx_free = port_rx_free,
	.tx_get = port_tx_get,
	.tx_put = port_tx_put,
	.tx_flush = port_tx_flush,
};

// --- links ---

static bool
way_init(struct way *w, const struct vnet_path *path)
{
	if (path != NULL)
		w->path = *path;
	w->queue_max = w->path.queue_frames > 0 ? w->path.queue_frames : VNET_QUEUE_DEFAULT;
	w->cap = w->queue_max + SLOT_SPARE;
	w->slot = mem_get(&mem_heap, w->cap * sizeof(struct slot), "vnet slots");
	w->free = w->first = w->last = SLOT_NONE;
	if (w->slot == NULL)
		return false;
	for (uint32_t i = w->cap; i > 0; i--)
		slot_put(w, i - 1);
	return true;
}

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
	if (!way_init(&l->way[VNET_A], a_to_b) || !way_init(&l->way[VNET_B], b_to_a))
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
	l->way[from].path = *p;
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
