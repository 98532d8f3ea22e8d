// SPDX-License-Identifier: Apache-2.0
// ring: a single-producer single-consumer ring of fixed-size slots in shared memory, between two
// processes that do not trust each other's indices and may die at any instant.
//
// Who calls it: events: one worker puts, posternd gets; commands: the reverse. Memory: in the
// region. Contract: `head` counts slots ever put, `tail` slots ever got; only the owner writes
// each. A process that starts anew goes on from the stored value of its own index. What can go
// wrong: an index pair whose distance exceeds the capacity is damage: the producer treats the ring
// as full, the consumer sets tail to head (what was in it is lost and counted in `repaired`).
// Payloads are input: validate.
#pragma once

#include "control/base/check.h"

struct ring_head {
	uint32_t magic;
	uint32_t slot_size;
	uint32_t slots; // a power of two
	uint32_t reserved[13];
	uint64_t head; // producer's line
	uint64_t lost; // puts refused because full
	uint64_t reserved2[6];
	uint64_t tail; // consumer's line
	uint64_t repaired;
	uint64_t reserved3[6];
};
static_assert(sizeof(struct ring_head) == 192, "three cache lines");
#define RING_MAGIC 0x474e4952u

// A process's own handle: sizes are kept here, outside the other's reach.
struct ring {
	struct ring_head *head;
	uint8_t *slot;
	uint32_t slot_size, slots;
};

size_t ring_bytes(uint32_t slot_size, uint32_t slots);
void ring_format(void *mem, uint32_t slot_size, uint32_t slots); // creator, once
// False: damaged.
must_use bool ring_attach(struct ring *r, void *mem, uint32_t slot_size, uint32_t slots);
must_use bool ring_put(struct ring *r, const void *slot); // false: full, counted
must_use bool ring_get(struct ring *r, void *slot);       // false: empty
