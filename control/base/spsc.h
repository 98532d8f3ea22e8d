// SPDX-License-Identifier: Apache-2.0
// spsc: a ring of fixed-size elements between two threads of one process: one puts, one gets.
//
// Who calls it: exactly one producer and one consumer thread. Memory: one block at init. Copying is
// by element; acquire and release on the two indices, nothing else. What can go wrong: put on a
// full ring returns false and the caller counts and sheds. For rings between processes see
// abi/ring.h.
#pragma once

#include "control/base/mem.h"

struct spsc {
	uint8_t *base;
	uint32_t elem_size;
	uint32_t mask; // capacity - 1; capacity is a power of two
	struct mem_source *mem;
	uint32_t put __attribute__((aligned(CACHE_LINE))); // written by the producer only
	uint32_t get __attribute__((aligned(CACHE_LINE))); // written by the consumer only
};

must_use bool spsc_init(struct spsc *r, struct mem_source *m, uint32_t elem_size, uint32_t cap);
void spsc_fini(struct spsc *r);
must_use bool spsc_put(struct spsc *r, const void *elem); // false: full
must_use bool spsc_get(struct spsc *r, void *elem);       // false: empty
uint32_t spsc_count(const struct spsc *r);
