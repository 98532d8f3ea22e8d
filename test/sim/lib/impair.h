// SPDX-License-Identifier: Apache-2.0
// impair: one direction of a wire: frames go in, and come out later, changed, twice, or never.
//
// What for: the path of vnet's links and of every other simulated wire. Who calls it: one thread.
// Memory: slots on the heap at init, nothing afterwards; a frame lives in one slot from impair_get
// to impair_free, so a clean path copies nothing. What can go wrong: the queue is full: the frame
// is dropped and counted, `dropped` says so once. Time is the caller's, and all chance comes from
// the caller's generator: the same calls give the same frames.
#pragma once

#include "control/base/ipaddr.h"
#include "control/base/rng.h"
#include "control/base/span.h"
#include "dataplane/port.h"

#define IMPAIR_QUEUE_DEFAULT 1024u

struct vnet_path { // one direction; all zero: perfect
	uint32_t delay_us;
	uint32_t jitter_us; // added, 0 .. jitter_us; frames keep their order
	uint32_t loss_ppm;
	uint32_t dup_ppm;
	uint32_t reorder_ppm;  // of frames that are held back by reorder_us
	uint32_t reorder_us;   // 0: 1000
	uint32_t corrupt_ppm;  // one bit flipped, but in ARP's frames
	uint32_t truncate_ppm; // cut at a random length
	uint32_t rate_kbit;    // 0: no limit
	// Frames under way at once, 0: IMPAIR_QUEUE_DEFAULT; fixed when the path opens.
	uint32_t queue_frames;
	// Loss in bursts (Gilbert): chance that one begins, drawn for each frame, and that it ends;
	// while it lasts all frames are lost. burst_end_ppm 0: 250000.
	uint32_t burst_ppm, burst_end_ppm;
	// Larger IP packets vanish; 0: none do. With a router, it tells their sender (ICMP).
	uint32_t mtu;
	struct ipaddr router;                 // of the packets' family; all zero: a black hole
	uint64_t dark_from_us, dark_until_us; // nothing passes from the one instant to the other
};

struct vnet_stats { // of one direction
	uint64_t sent, lost, duplicated, reordered, corrupted, truncated, queue_full, received;
	uint64_t too_big, dark; // of those that were lost
};

struct impair_slot;

struct impair {
	struct vnet_path path;
	struct vnet_stats stats;
	struct impair_slot *slot;
	uint32_t cap;       // slots
	uint32_t fresh;     // slots never used begin here: opening does not touch all pages
	uint32_t queue_max; // of them under way at once
	uint32_t free, first, last, under_way;
	uint32_t held;    // frames that somebody got or took and has not put or freed yet
	uint64_t last_us; // delivery time of the last frame in order
	uint64_t line_us; // the line is busy until then
	uint32_t dropped; // since impair_dropped was asked last
	bool is_burst;
	bool is_clean; // the path does nothing to a frame
};

// spare: frames that receivers and senders hold beyond those under way.
must_use bool impair_init(struct impair *w, const struct vnet_path *path, uint32_t spare);
void impair_fini(struct impair *w);
void impair_set(struct impair *w, const struct vnet_path *path); // but for queue_frames
bool impair_get(struct impair *w, struct frame *f); // a frame to fill; false: all slots are out
void impair_put(struct impair *w, struct frame *f, uint64_t now_us, struct rng *rng); // sends it
uint16_t impair_take(struct impair *w, uint64_t now_us, struct frame *f, uint16_t most);
void impair_free(struct impair *w, struct frame *f);
uint32_t impair_dropped(struct impair *w);       // by a full queue, since the last call
uint64_t impair_next_us(const struct impair *w); // the earliest delivery; UINT64_MAX: none
// What the path's router says to the sender of this frame before impair_put loses it (RFC 1191, RFC
// 4443): the bytes of a frame in `out`, which has PORT_FRAME_SIZE. 0: nothing, it is not too big,
// there is no router, or it may be fragmented (no router of ours does, so it vanishes).
uint32_t impair_answer(const struct impair *w, struct span frame, uint8_t *out);
