// SPDX-License-Identifier: Apache-2.0
// spsc: see spsc.h. The indices count for ever and wrap at 2^32; their difference is the fill.
#include "control/base/spsc.h"

#include <string.h>

bool
spsc_init(struct spsc *r, struct mem_source *m, uint32_t elem_size, uint32_t cap)
{
	CHECK(elem_size > 0);
	CHECK(cap > 0 && (cap & (cap - 1)) == 0);
	CHECK(cap <= 1u << 30);
	*r = (struct spsc){.elem_size = elem_size, .mask = cap - 1, .mem = m};
	r->base = mem_get(m, (size_t)elem_size * cap, "spsc");
	return r->base != NULL;
}

void
spsc_fini(struct spsc *r)
{
	if (r->base == NULL)
		return;
	mem_put(r->mem, r->base, (size_t)r->elem_size * ((size_t)r->mask + 1));
	*r = (struct spsc){0};
}

static uint8_t *
element(const struct spsc *r, uint32_t index)
{
	return r->base + (size_t)(index & r->mask) * r->elem_size;
}

bool
spsc_put(struct spsc *r, const void *elem)
{
	CHECK(r->base != NULL);
	uint32_t put = __atomic_load_n(&r->put, __ATOMIC_RELAXED);
	uint32_t get = __atomic_load_n(&r->get, __ATOMIC_ACQUIRE);
	DCHECK(put - get <= r->mask + 1);
	if (put - get > r->mask)
		return false;
	memcpy(element(r, put), elem, r->elem_size);
	__atomic_store_n(&r->put, put + 1, __ATOMIC_RELEASE);
	return true;
}

bool
spsc_get(struct spsc *r, void *elem)
{
	CHECK(r->base != NULL);
	uint32_t get = __atomic_load_n(&r->get, __ATOMIC_RELAXED);
	uint32_t put = __atomic_load_n(&r->put, __ATOMIC_ACQUIRE);
	DCHECK(put - get <= r->mask + 1);
	if (put == get)
		return false;
	memcpy(elem, element(r, get), r->elem_size);
	__atomic_store_n(&r->get, get + 1, __ATOMIC_RELEASE);
	return true;
}

uint32_t
spsc_count(const struct spsc *r)
{
	uint32_t get = __atomic_load_n(&r->get, __ATOMIC_ACQUIRE);
	uint32_t put = __atomic_load_n(&r->put, __ATOMIC_ACQUIRE);
	// A third thread may see the indices of two instants; it gets a number within the capacity.
	return MIN(put - get, r->mask + 1);
}
