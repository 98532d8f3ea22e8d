// SPDX-License-Identifier: Apache-2.0
// wheel: a hierarchical timer wheel with a 1 ms tick; one intrusive node a timer.
//
// What for: every timeout of a worker. Who calls it: one thread a wheel. Memory: nodes are in the
// objects, slots in the wheel. Level 0 has 4096 slots of 1 ms, level 1 has 4096 slots of 4096 ms
// (4.6 hours); later deadlines are parked in the last slot and re-filed. Slots are chosen from
// absolute time. wheel_set on an armed node whose new deadline is later only moves the deadline:
// the node is re-filed when its old slot comes due (lazy re-arm). A node never fires early; it
// fires at most one tick late of the wheel_run that reaches it. Bound: wheel_run stops after `most`
// expiries and goes on there in the next call.
#pragma once

#include "control/base/check.h"

#define WHEEL_SLOTS 4096
#define WHEEL_LEVELS 2
#define WHEEL_SPAN_MS ((uint64_t)WHEEL_SLOTS * WHEEL_SLOTS)

struct wheel_node {
	struct wheel_node *next, **pprev; // pprev NULL: not armed
	uint64_t deadline_ms;
	uint64_t filed_ms; // the time of the slot that it is in
};

typedef void (*wheel_fn)(void *ctx, struct wheel_node *n, uint64_t now_ms);

struct wheel {
	uint64_t now_ms; // everything due up to here has fired
	uint32_t armed;
	struct wheel_node *due; // taken from a slot, not fired yet
	struct wheel_node *slot[WHEEL_LEVELS][WHEEL_SLOTS];
	uint64_t busy[WHEEL_LEVELS][WHEEL_SLOTS / 64]; // bit: slot is not empty
};

void wheel_init(struct wheel *w, uint64_t now_ms);
void wheel_node_init(struct wheel_node *n);
void wheel_set(struct wheel *w, struct wheel_node *n, uint64_t deadline_ms);
void wheel_cancel(struct wheel *w, struct wheel_node *n); // safe when not armed
bool wheel_is_set(const struct wheel_node *n);
// Fires what is due at now_ms, in slot order, at most `most` nodes. A node is disarmed before its
// call and may be set again in it. Returns how many fired.
uint32_t wheel_run(struct wheel *w, uint64_t now_ms, uint32_t most, wheel_fn fire, void *ctx);
// A time before which nothing can fire: the virtual clock may jump there. UINT64_MAX: none armed.
uint64_t wheel_next_ms(const struct wheel *w);
