// SPDX-License-Identifier: Apache-2.0
// mem: where boot takes its memory from.
//
// What for: everything that a worker uses is allocated once, in boot, on the worker's NUMA node;
// tests and the control plane use plain zeroed heap memory behind the same two words. Who calls it:
// boot code and init functions only, never the packet path. Memory: what mem_get returns is zeroed,
// aligned to a cache line and belongs to the source until mem_put. Errors: NULL when there is none.
#pragma once

#include "control/base/check.h"

struct mem_source {
	// Zeroed, CACHE_LINE aligned.
	void *(*get)(struct mem_source *m, size_t size, const char *name);
	void (*put)(struct mem_source *m, void *p, size_t size);
};

// The process heap; for tests, benches and the control plane.
extern struct mem_source mem_heap;

static inline void *must_use
mem_get(struct mem_source *m, size_t size, const char *name)
{
	return m->get(m, size, name);
}

static inline void
mem_put(struct mem_source *m, void *p, size_t size)
{
	m->put(m, p, size);
}
