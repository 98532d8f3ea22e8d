// SPDX-License-Identifier: Apache-2.0
// impair: see the header. Slots are linked by index: a LIFO of free ones, and those under way by
// delivery time.
#include "test/sim/lib/impair.h"

#include <string.h>

#include "control/base/bytes.h"
#include "control/base/mem.h"
#include "test/sim/lib/framesum.h"

#define SLOT_NONE UINT32_MAX
#define ETH_SIZE 14u
#define BURST_END_PPM 250000u

struct impair_slot {
	uint64_t due_us;
	uint32_t next;
	uint32_t len;
	uint8_t data[PORT_FRAME_SIZE + 2];
};

bool
impair_init(struct impair *w, const struct vnet_path *path, uint32_t spare)
{
	*w = (struct impair){0};
	if (path != NULL)
		w->path = *path;
	w->queue_max = w->path.queue_frames > 0 ? w->path.queue_frames : IMPAIR_QUEUE_DEFAULT;
	w->cap = w->queue_max + spare;
	w->free = w->first = w->last = SLOT_NONE;
	w->slot = mem_get(&mem_heap, w->cap * sizeof(struct impair_slot), "frames of a wire");
	return w->slot != NULL;
}

void
impair_fini(struct impair *w)
{
	mem_put(&mem_heap, w->slot, w->cap * sizeof(struct impair_slot));
	*w = (struct impair){0};
}

// --- slots ---

static uint32_t
slot_get(struct impair *w)
{
	uint32_t i = w->free;

	if (i != SLOT_NONE)
		w->free = w->slot[i].next;
	else if (w->fresh < w->cap)
		i = w->fresh++;
	return i;
}

static void
slot_put(struct impair *w, uint32_t i)
{
	CHECK(i < w->fresh);
	w->slot[i].next = w->free;
	w->free = i;
}

// Behind all frames that are not later. The usual place is the end.
static void
slot_queue(struct impair *w, uint32_t i, uint64_t due_us)
{
	struct impair_slot *s = &w->slot[i];
	uint32_t *at = &w->first;

	s->due_us = due_us;
	w->under_way++;
	if (w->last != SLOT_NONE && w->slot[w->last].due_us <= due_us)
		at = &w->slot[w->last].next;
	else
		while (*at != SLOT_NONE && w->slot[*at].due_us <= due_us)
			at = &w->slot[*at].next;
	s->next = *at;
	*at = i;
	if (s->next == SLOT_NONE)
		w->last = i;
}

static uint32_t
index_of(const struct impair *w, const struct frame *f)
{
	const struct impair_slot *s = f->priv;

	CHECK(s >= w->slot);
	CHECK(s < w->slot + w->fresh);
	return (uint32_t)(s - w->slot);
}

bool
impair_get(struct impair *w, struct frame *f)
{
	uint32_t i = slot_get(w);

	if (i == SLOT_NONE)
		return false;
	*f = (struct frame){.data = w->slot[i].data, .priv = &w->slot[i]};
	w->held++;
	return true;
}

void
impair_free(struct impair *w, struct frame *f)
{
	slot_put(w, index_of(w, f));
	CHECK(w->held > 0);
	w->held--;
	f->priv = NULL;
}

uint16_t
impair_take(struct impair *w, uint64_t now_us, struct frame *f, uint16_t most)
{
	uint16_t n = 0;

	while (n < most && w->first != SLOT_NONE && w->slot[w->first].due_us <= now_us) {
		struct impair_slot *s = &w->slot[w->first];
		w->first = s->next;
		if (w->first == SLOT_NONE)
			w->last = SLOT_NONE;
		w->under_way--;
		f[n++] = (struct frame){.data = s->data, .len = s->len, .priv = s};
	}
	w->stats.received += n;
	w->held += n;
	return n;
}

uint32_t
impair_dropped(struct impair *w)
{
	uint32_t dropped = w->dropped;

	w->dropped = 0;
	return dropped;
}

uint64_t
impair_next_us(const struct impair *w)
{
	return w->first == SLOT_NONE ? UINT64_MAX : w->slot[w->first].due_us;
}

// --- what the path does to a frame ---

static bool
is_too_big(const struct impair *w, struct span frame)
{
	uint16_t type = frame.n > ETH_SIZE ? load_be16(frame.p + 12) : 0;

	return w->path.mtu > 0 && (type == 0x0800 || type == 0x86dd) &&
	       frame.n - ETH_SIZE > w->path.mtu;
}

static bool
is_lost(struct impair *w, struct span frame, uint64_t now_us, struct rng *rng)
{
	const struct vnet_path *p = &w->path;

	if (now_us >= p->dark_from_us && now_us < p->dark_until_us) {
		w->stats.dark++;
		return true;
	}
	if (is_too_big(w, frame)) {
		w->stats.too_big++;
		return true;
	}
	if (w->is_burst) {
		w->is_burst =
			!rng_chance(rng, p->burst_end_ppm > 0 ? p->burst_end_ppm : BURST_END_PPM);
		return true;
	}
	if (p->burst_ppm > 0 && rng_chance(rng, p->burst_ppm)) {
		w->is_burst = true;
		return true;
	}
	return p->loss_ppm > 0 && rng_chance(rng, p->loss_ppm);
}

// ARP has no checksum of its own: on a real wire Ethernet's catches what happens to it.
static void
frame_harm(struct impair *w, struct impair_slot *s, struct rng *rng)
{
	bool is_arp = s->len > ETH_SIZE && load_be16(s->data + 12) == 0x0806;

	if (w->path.corrupt_ppm > 0 && s->len > 0 && !is_arp &&
	    rng_chance(rng, w->path.corrupt_ppm)) {
		s->data[rng_below(rng, s->len)] ^= (uint8_t)(1u << rng_below(rng, 8));
		w->stats.corrupted++;
	}
	if (w->path.truncate_ppm > 0 && s->len > 0 && rng_chance(rng, w->path.truncate_ppm)) {
		s->len = rng_below(rng, s->len);
		w->stats.truncated++;
	}
}

static uint64_t
frame_due(struct impair *w, uint32_t len, uint64_t now_us, struct rng *rng)
{
	uint64_t due = now_us;

	if (w->path.rate_kbit > 0) {
		w->line_us = MAX(w->line_us, due) + (len + 24ull) * 8000 / w->path.rate_kbit;
		due = w->line_us;
	}
	due += w->path.delay_us;
	if (w->path.jitter_us > 0)
		due += rng_below(rng, w->path.jitter_us + 1);
	due = MAX(due, w->last_us);
	w->last_us = due;
	if (w->path.reorder_ppm > 0 && rng_chance(rng, w->path.reorder_ppm)) {
		due += w->path.reorder_us > 0 ? w->path.reorder_us : 1000;
		w->stats.reordered++;
	}
	return due;
}

void
impair_put(struct impair *w, struct frame *f, uint64_t now_us, struct rng *rng)
{
	uint32_t i = index_of(w, f), copy = SLOT_NONE;
	struct impair_slot *s = &w->slot[i];

	CHECK(f->len <= PORT_FRAME_SIZE);
	CHECK(w->held > 0);
	w->held--;
	s->len = f->len;
	f->priv = NULL;
	w->stats.sent++;
	if (is_lost(w, span_of(s->data, s->len), now_us, rng)) {
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
	if (w->path.dup_ppm > 0 && rng_chance(rng, w->path.dup_ppm))
		copy = slot_get(w);
	if (copy != SLOT_NONE) {
		memcpy(w->slot[copy].data, s->data, s->len);
		w->slot[copy].len = s->len;
		w->stats.duplicated++;
	}
	frame_harm(w, s, rng);
	slot_queue(w, i, frame_due(w, s->len, now_us, rng));
	if (copy != SLOT_NONE)
		slot_queue(w, copy, frame_due(w, s->len, now_us, rng));
}

// --- the router that says why ---

static uint32_t
answer_v4(uint8_t *ip, struct span quoted, uint32_t from, uint32_t mtu)
{
	uint32_t quote = MIN(quoted.n, 28u), size = 20 + 8 + quote;
	uint8_t *icmp = ip + 20;

	memset(ip, 0, 28);
	ip[0] = 0x45;
	store_be16(ip + 2, (uint16_t)size);
	ip[8] = 64;
	ip[9] = 1;
	store_be32(ip + 12, from);
	memcpy(ip + 16, quoted.p + 12, 4);
	store_be16(ip + 10, (uint16_t)~framesum_fold(framesum_add(0, ip, 20)));
	icmp[0] = 3; // destination unreachable,
	icmp[1] = 4; // fragmentation needed
	store_be16(icmp + 6, (uint16_t)mtu);
	memcpy(icmp + 8, quoted.p, quote);
	store_be16(icmp + 2, (uint16_t)~framesum_fold(framesum_add(0, icmp, 8 + quote)));
	return size;
}

static uint32_t
answer_v6(uint8_t *ip, struct span quoted, const struct ipaddr *from, uint32_t mtu)
{
	uint32_t quote = MIN(quoted.n, 1280u - 48u), size = 8 + quote;
	uint8_t *icmp = ip + 40;

	memset(ip, 0, 48);
	ip[0] = 0x60;
	store_be16(ip + 4, (uint16_t)size);
	ip[6] = 58;
	ip[7] = 64;
	memcpy(ip + 8, from->b, 16);
	memcpy(ip + 24, quoted.p + 8, 16);
	icmp[0] = 2; // packet too big
	store_be32(icmp + 4, mtu);
	memcpy(icmp + 8, quoted.p, quote);
	uint64_t sum = framesum_add(size + 58, ip + 8, 32); // pseudo header
	store_be16(icmp + 2, (uint16_t)~framesum_fold(framesum_add(sum, icmp, size)));
	return 40 + size;
}

uint32_t
impair_answer(const struct impair *w, struct span frame, uint8_t *out)
{
	static const struct ipaddr none;
	const struct ipaddr *from = &w->path.router;

	if (!is_too_big(w, frame) || ipaddr_eq(from, &none) || frame.n < ETH_SIZE + 40)
		return 0;
	struct span ip = span_from(frame, ETH_SIZE);
	bool is_v4 = load_be16(frame.p + 12) == 0x0800;
	if (is_v4 != ipaddr_is_v4(from) || (is_v4 && (ip.p[6] & 0x40) == 0))
		return 0;
	memcpy(out, frame.p + 6, 6); // back to whom it came from, as if from whom it went to
	memcpy(out + 6, frame.p, 6);
	memcpy(out + 12, frame.p + 12, 2);
	uint8_t *packet = out + ETH_SIZE;
	return ETH_SIZE + (is_v4 ? answer_v4(packet, ip, ipaddr_to_v4(from), w->path.mtu)
				 : answer_v6(packet, ip, from, w->path.mtu));
}
