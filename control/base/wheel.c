// SPDX-License-Identifier: Apache-2.0
// wheel: see wheel.h.
//
// Invariants. `now_ms` is the cursor: every slot up to it has been emptied into `due`. A node on
// level 0 is filed at a time in (now, now + 4096], so a slot holds one time only. A node on level 1
// is filed at the start of its 4096 ms, which lies in the future; when the cursor is about to step
// there, the slot's nodes are filed anew. A busy bit is set exactly when its slot is not empty, so
// that a run over hours takes as many steps as there are busy slots.
#include "control/base/wheel.h"

#include <string.h>

#define L1_SHIFT 12
static_assert(1u << L1_SHIFT == WHEEL_SLOTS, "a level-1 slot spans level 0");

void
wheel_init(struct wheel *w, uint64_t now_ms)
{
	memset(w, 0, sizeof(*w));
	w->now_ms = now_ms;
}

void
wheel_node_init(struct wheel_node *n)
{
	*n = (struct wheel_node){0};
}

bool
wheel_is_set(const struct wheel_node *n)
{
	return n->pprev != NULL;
}

static void
push(struct wheel_node **head, struct wheel_node *n)
{
	n->next = *head;
	if (n->next != NULL)
		n->next->pprev = &n->next;
	*head = n;
	n->pprev = head;
}

// Takes n out of whatever list it is in; clears the busy bit of a slot that becomes empty.
static void
unlink_node(struct wheel *w, struct wheel_node *n)
{
	CHECK(*n->pprev == n);
	*n->pprev = n->next;
	if (n->next != NULL) {
		n->next->pprev = n->pprev;
	} else {
		uintptr_t at = (uintptr_t)n->pprev, first = (uintptr_t)&w->slot[0][0];
		if (at >= first && at < first + sizeof(w->slot) && *n->pprev == NULL) {
			size_t i = (at - first) / sizeof(w->slot[0][0]);
			size_t in_level = i % WHEEL_SLOTS;
			w->busy[i / WHEEL_SLOTS][in_level / 64] &= ~(1ull << (in_level % 64));
		}
	}
	n->next = NULL;
	n->pprev = NULL;
}

// Files a node that is in no list, by its deadline, in the future of the cursor.
static void
file_node(struct wheel *w, struct wheel_node *n)
{
	CHECK(n->pprev == NULL);
	uint64_t at = MAX(n->deadline_ms, w->now_ms + 1);
	uint32_t level = 0, i;
	if (at - w->now_ms <= WHEEL_SLOTS) {
		n->filed_ms = at;
		i = at % WHEEL_SLOTS;
	} else {
		uint64_t last = (w->now_ms >> L1_SHIFT) + WHEEL_SLOTS - 1;
		uint64_t tick = MIN(at >> L1_SHIFT, last);
		level = 1;
		n->filed_ms = tick << L1_SHIFT;
		i = tick % WHEEL_SLOTS;
	}
	CHECK(n->filed_ms > w->now_ms);
	push(&w->slot[level][i], n);
	w->busy[level][i / 64] |= 1ull << (i % 64);
}

void
wheel_set(struct wheel *w, struct wheel_node *n, uint64_t deadline_ms)
{
	if (n->pprev == NULL) {
		n->deadline_ms = deadline_ms;
		w->armed++;
		file_node(w, n);
		return;
	}
	n->deadline_ms = deadline_ms;
	// Its slot comes due no later than the new deadline: it is re-filed then. Also a node in
	// `due`.
	if (deadline_ms >= n->filed_ms || n->filed_ms <= w->now_ms)
		return;
	unlink_node(w, n);
	file_node(w, n);
}

void
wheel_cancel(struct wheel *w, struct wheel_node *n)
{
	if (n->pprev == NULL)
		return;
	CHECK(w->armed > 0);
	unlink_node(w, n);
	w->armed--;
}

// How many slots from `start` on (circular) the first busy one is; WHEEL_SLOTS: none.
static uint32_t
busy_distance(const uint64_t *busy, uint32_t start)
{
	uint32_t word = start / 64, bit = start % 64;
	uint64_t bits = busy[word] >> bit;
	if (bits != 0)
		return (uint32_t)__builtin_ctzll(bits);
	// The last round is the first word again: what lies behind `bit` there is empty, as just
	// seen.
	for (uint32_t i = 1; i <= WHEEL_SLOTS / 64; i++) {
		bits = busy[(word + i) % (WHEEL_SLOTS / 64)];
		if (bits != 0)
			return i * 64 - bit + (uint32_t)__builtin_ctzll(bits);
	}
	return WHEEL_SLOTS;
}

// The time of the next busy slot after the cursor; UINT64_MAX: none.
static uint64_t
next_slot_ms(const struct wheel *w)
{
	uint64_t next = UINT64_MAX;
	uint32_t d = busy_distance(w->busy[0], (w->now_ms + 1) % WHEEL_SLOTS);
	if (d < WHEEL_SLOTS)
		next = w->now_ms + 1 + d;
	uint64_t tick = (w->now_ms >> L1_SHIFT) + 1;
	d = busy_distance(w->busy[1], tick % WHEEL_SLOTS);
	if (d < WHEEL_SLOTS)
		next = MIN(next, (tick + d) << L1_SHIFT);
	return next;
}

static struct wheel_node *
take_slot(struct wheel *w, uint32_t level, uint32_t i)
{
	struct wheel_node *n = w->slot[level][i];
	w->slot[level][i] = NULL;
	w->busy[level][i / 64] &= ~(1ull << (i % 64));
	return n;
}

// Moves the cursor to `at`, the time of a busy slot, and that slot's nodes to `due`.
static void
step(struct wheel *w, uint64_t at)
{
	CHECK(w->due == NULL);
	CHECK(at > w->now_ms);
	if (at % WHEEL_SLOTS == 0) {
		// One ms before, so that a deadline of exactly `at` still finds its slot.
		w->now_ms = at - 1;
		struct wheel_node *n = take_slot(w, 1, (uint32_t)((at >> L1_SHIFT) % WHEEL_SLOTS));
		while (n != NULL) {
			struct wheel_node *next = n->next;
			n->next = NULL;
			n->pprev = NULL;
			file_node(w, n);
			n = next;
		}
	}
	w->now_ms = at;
	w->due = take_slot(w, 0, (uint32_t)(at % WHEEL_SLOTS));
	if (w->due != NULL)
		w->due->pprev = &w->due;
}

uint32_t
wheel_run(struct wheel *w, uint64_t now_ms, uint32_t most, wheel_fn fire, void *ctx)
{
	CHECK(fire != NULL);
	uint32_t fired = 0;
	for (;;) {
		while (w->due != NULL) {
			struct wheel_node *n = w->due;
			bool moved = n->deadline_ms > w->now_ms;
			if (!moved && fired == most)
				return fired;
			unlink_node(w, n);
			if (moved) {
				file_node(w, n);
				continue;
			}
			CHECK(w->armed > 0);
			w->armed--;
			fired++;
			fire(ctx, n, MAX(now_ms, w->now_ms));
		}
		uint64_t next = next_slot_ms(w);
		if (next > now_ms)
			break;
		step(w, next);
	}
	w->now_ms = MAX(w->now_ms, now_ms);
	return fired;
}

uint64_t
wheel_next_ms(const struct wheel *w)
{
	if (w->due != NULL)
		return w->now_ms;
	return next_slot_ms(w);
}
