// SPDX-License-Identifier: Apache-2.0
// pool: see pool.h. A free object holds in its first 16 bytes: magic 0, the index + 1 of the next
// free object, and a mark made from its address. The mark finds an object that is given back twice;
// the rest of a free object is poisoned in the asan variants.
#include "control/base/pool.h"

#include <string.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define POOL_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(POOL_ASAN)
#include <sanitizer/asan_interface.h>
#define POISON(p, n) __asan_poison_memory_region(p, n)
#define UNPOISON(p, n) __asan_unpoison_memory_region(p, n)
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

struct free_object {
	uint32_t magic;
	uint32_t next; // index + 1
	uint64_t mark;
};
static_assert(sizeof(struct free_object) == 16, "fits the smallest stride");

static size_t
pool_bytes(const struct pool *p)
{
	return (size_t)p->stride * p->cap;
}

static uint64_t
free_mark(const struct free_object *f)
{
	return (uint64_t)(uintptr_t)f ^ 0xf4eef4eef4eef4eeull;
}

static void
object_hide(const struct pool *p, void *obj)
{
	POISON((uint8_t *)obj + sizeof(struct free_object), p->stride - sizeof(struct free_object));
}

bool
pool_init(struct pool *p, struct mem_source *m, const char *name, uint32_t object_size,
	  uint32_t cap)
{
	CHECK(m != NULL);
	CHECK(cap > 0);
	CHECK(cap < UINT32_MAX);
	CHECK(object_size >= sizeof(uint32_t));
	CHECK(object_size <= UINT32_MAX - 15);
	*p = (struct pool){
		.stride = (MAX(object_size, 16u) + 15u) & ~15u, .cap = cap, .mem = m, .name = name};
	p->inverse = UINT64_MAX / p->stride + 1;
	p->base = mem_get(m, pool_bytes(p), name);
	if (p->base == NULL)
		return false;
#if defined(__SANITIZE_ADDRESS__) || defined(POOL_ASAN)
	for (uint32_t i = 0; i < cap; i++)
		object_hide(p, pool_at(p, i));
#endif
	return true;
}

void
pool_fini(struct pool *p)
{
	if (p->base == NULL)
		return;
	UNPOISON(p->base, pool_bytes(p));
	mem_put(p->mem, p->base, pool_bytes(p));
	*p = (struct pool){0};
}

void *
pool_get(struct pool *p)
{
	CHECK(p->base != NULL);
	struct free_object *f;
	if (p->free_head != 0) {
		CHECK(p->free_head <= p->fresh);
		f = pool_at(p, p->free_head - 1);
		CHECK(f->magic == 0); // somebody wrote to a free object
		CHECK(f->mark == free_mark(f));
		p->free_head = f->next;
	} else if (p->fresh < p->cap) {
		f = pool_at(p, p->fresh++);
	} else {
		p->refused++;
		return NULL;
	}
	UNPOISON(f, p->stride);
	f->magic = 0;
	f->mark = 0;
	p->used++;
	CHECK(p->used <= p->cap);
	p->used_max = MAX(p->used_max, p->used);
	return f;
}

void
pool_put(struct pool *p, void *obj)
{
	uint32_t index = pool_index(p, obj);
	struct free_object *f = obj;
	CHECK(p->used > 0);
	CHECK(index < p->fresh);
	// An object in use has its owner's magic, so bytes of a peer cannot pass for the mark.
	bool is_free = f->magic == 0 && f->mark == free_mark(f);
	CHECK(!is_free);
	f->magic = 0;
	f->next = p->free_head;
	f->mark = free_mark(f);
	p->free_head = index + 1;
	p->used--;
	object_hide(p, obj);
}

uint32_t
pool_index(const struct pool *p, const void *obj)
{
	CHECK(p->base != NULL);
	CHECK((const uint8_t *)obj >= p->base);
	size_t off = (size_t)((const uint8_t *)obj - p->base);
	CHECK(off < pool_bytes(p));
	// Exact for multiples of the stride, and the second CHECK lets no others pass.
	size_t index = (size_t)((unsigned __int128)off * p->inverse >> 64);
	CHECK(index * p->stride == off);
	return (uint32_t)index;
}
