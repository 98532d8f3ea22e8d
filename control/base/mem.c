// SPDX-License-Identifier: Apache-2.0
// mem: the heap as a memory source. Large blocks come straight from mmap: they are zero without
// being touched, so a pool of a million objects costs only the pages that are used. Small ones come
// from the allocator, where the sanitizers watch their bounds.
#include "control/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MEM_MMAP_FROM ((size_t)256 << 10)

static void *
heap_get(struct mem_source *m, size_t size, const char *name)
{
	CHECK(m == &mem_heap);
	CHECK(name != NULL);
	if (size == 0)
		size = 1;
	if (size > SIZE_MAX - CACHE_LINE)
		return NULL;
	if (size >= MEM_MMAP_FROM) {
		void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		return p == MAP_FAILED ? NULL : p;
	}
	size_t rounded = (size + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1);
	void *p = aligned_alloc(CACHE_LINE, rounded);
	if (p != NULL)
		memset(p, 0, rounded);
	return p;
}

static void
heap_put(struct mem_source *m, void *p, size_t size)
{
	CHECK(m == &mem_heap);
	if (p == NULL)
		return;
	if (size >= MEM_MMAP_FROM) {
		int rc = munmap(p, size);
		CHECK(rc == 0); // anything else means that p or size is not what mem_get gave
		return;
	}
	free(p);
}

struct mem_source mem_heap = {.get = heap_get, .put = heap_put};
