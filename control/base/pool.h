// SPDX-License-Identifier: Apache-2.0
// pool: a slab of equal objects, taken and given back in LIFO order, addressed by pointer or index.
//
// What for: all objects of the packet path (connections, sessions, chunks, scans). Who calls it:
// one thread a pool. Memory: one block from a mem_source at init, never more. The first 4 bytes of
// an object are its magic: pool_get leaves them 0 for the owner to set, pool_put clears them, so a
// stale pointer fails OBJ_CHECK. In the asan variants free objects are poisoned. What can go wrong:
// an empty pool gives NULL and counts `refused`; the caller's header names the shed action.
#pragma once

#include "control/base/mem.h"

struct pool {
	uint8_t *base;
	uint64_t inverse;   // 2^64 / stride, rounded up: a division by multiplication
	uint32_t stride;    // bytes an object, a multiple of 16
	uint32_t cap;       // objects
	uint32_t used;      // objects out now
	uint32_t used_max;  // the most that were ever out
	uint32_t free_head; // index + 1, 0: none
	uint32_t fresh;     // objects never handed out begin here: boot does not touch all pages
	uint64_t refused;   // pool_get calls that found none
	struct mem_source *mem;
	const char *name;
};

must_use bool pool_init(struct pool *p, struct mem_source *m, const char *name,
			uint32_t object_size, uint32_t cap);
void pool_fini(struct pool *p);
void *must_use pool_get(struct pool *p); // contents undefined but for the zero magic; NULL: empty
void pool_put(struct pool *p, void *obj);
uint32_t pool_index(const struct pool *p, const void *obj);

static inline void *
pool_at(const struct pool *p, uint32_t index) // any index < cap
{
	CHECK(index < p->cap); // 0 before pool_init
	return p->base + (size_t)index * p->stride;
}

static inline uint32_t
pool_free_count(const struct pool *p)
{
	return p->cap - p->used;
}
