// SPDX-License-Identifier: Apache-2.0
// ring: see ring.h. Slot numbers are masked with the handle's own size, so that whatever the other
// process writes into the indices, no access leaves the ring.
#include "control/abi/ring.h"

#include <string.h>

size_t
ring_bytes(uint32_t slot_size, uint32_t slots)
{
	CHECK(slot_size > 0);
	CHECK(slots > 0 && (slots & (slots - 1)) == 0);
	return sizeof(struct ring_head) + (size_t)slot_size * slots;
}

void
ring_format(void *mem, uint32_t slot_size, uint32_t slots)
{
	CHECK(mem != NULL);
	CHECK((uintptr_t)mem % 8 == 0);
	CHECK(ring_bytes(slot_size, slots) > sizeof(struct ring_head));
	struct ring_head *h = mem;
	memset(h, 0, sizeof(*h));
	h->slot_size = slot_size;
	h->slots = slots;
	__atomic_store_n(&h->magic, RING_MAGIC, __ATOMIC_RELEASE);
}

bool
ring_attach(struct ring *r, void *mem, uint32_t slot_size, uint32_t slots)
{
	CHECK(mem != NULL);
	CHECK((uintptr_t)mem % 8 == 0);
	CHECK(slots > 0 && (slots & (slots - 1)) == 0);
	struct ring_head *h = mem;
	*r = (struct ring){.head = h,
			   .slot = (uint8_t *)mem + sizeof(*h),
			   .slot_size = slot_size,
			   .slots = slots};
	return __atomic_load_n(&h->magic, __ATOMIC_ACQUIRE) == RING_MAGIC &&
	       h->slot_size == slot_size && h->slots == slots;
}

static uint8_t *
slot_at(const struct ring *r, uint64_t index)
{
	return r->slot + (size_t)(index & (r->slots - 1)) * r->slot_size;
}

bool
ring_put(struct ring *r, const void *slot)
{
	struct ring_head *h = r->head;
	uint64_t head = __atomic_load_n(&h->head, __ATOMIC_RELAXED);
	uint64_t tail = __atomic_load_n(&h->tail, __ATOMIC_ACQUIRE);
	if (head - tail >= r->slots) { // full, or damaged: the consumer repairs that
		uint64_t lost = __atomic_load_n(&h->lost, __ATOMIC_RELAXED);
		__atomic_store_n(&h->lost, lost + 1, __ATOMIC_RELAXED);
		return false;
	}
	memcpy(slot_at(r, head), slot, r->slot_size);
	__atomic_store_n(&h->head, head + 1, __ATOMIC_RELEASE);
	return true;
}

bool
ring_get(struct ring *r, void *slot)
{
	struct ring_head *h = r->head;
	uint64_t tail = __atomic_load_n(&h->tail, __ATOMIC_RELAXED);
	uint64_t head = __atomic_load_n(&h->head, __ATOMIC_ACQUIRE);
	if (head - tail > r->slots) {
		uint64_t repaired = __atomic_load_n(&h->repaired, __ATOMIC_RELAXED);
		__atomic_store_n(&h->repaired, repaired + 1, __ATOMIC_RELAXED);
		__atomic_store_n(&h->tail, head, __ATOMIC_RELEASE);
		return false;
	}
	if (head == tail)
		return false;
	memcpy(slot, slot_at(r, tail), r->slot_size);
	__atomic_store_n(&h->tail, tail + 1, __ATOMIC_RELEASE);
	return true;
}
