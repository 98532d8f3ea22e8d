// SPDX-License-Identifier: Apache-2.0
// Tests of pools and of the heap as a memory source.
#include <criterion/criterion.h>
#include <stdio.h>
#include <signal.h>
#include <string.h>

#include "control/base/pool.h"
#include "control/base/rng.h"

#define MAGIC 0xabcd1234u

struct object {
	uint32_t magic;
	uint32_t id;
	uint8_t bytes[37];
};

Test(pool, gives_all_then_refuses)
{
	struct pool p;
	cr_assert(pool_init(&p, &mem_heap, "t", sizeof(struct object), 100));
	cr_assert_eq(p.stride % 16, 0);
	struct object *o[100];
	for (uint32_t i = 0; i < 100; i++) {
		o[i] = pool_get(&p);
		cr_assert_not_null(o[i]);
		cr_assert_eq(o[i]->magic, 0);
		cr_assert_eq((uintptr_t)o[i] % 16, 0);
		memset(o[i], 0xee, sizeof(*o[i]));
		o[i]->magic = MAGIC;
		cr_assert_eq(pool_at(&p, pool_index(&p, o[i])), o[i]);
	}
	cr_assert_null(pool_get(&p));
	cr_assert_null(pool_get(&p));
	cr_assert_eq(p.refused, 2);
	cr_assert_eq(pool_free_count(&p), 0);
	cr_assert_eq(p.used_max, 100);
	pool_put(&p, o[41]);
	cr_assert_eq(o[41]->magic, 0, "a stale pointer is found by its magic");
	pool_put(&p, o[7]);
	cr_assert_eq(pool_get(&p), o[7], "last in, first out");
	cr_assert_eq(o[7]->magic, 0);
	cr_assert_eq(pool_get(&p), o[41]);
	pool_fini(&p);
}

Test(pool, random_use_never_shares_an_object)
{
	enum { CAP = 64 };
	struct pool p;
	cr_assert(pool_init(&p, &mem_heap, "t", sizeof(struct object), CAP));
	struct object *out[CAP] = {0};
	uint32_t used = 0;
	struct rng r;
	rng_init(&r, 2);
	for (uint32_t step = 0; step < 50000; step++) {
		uint32_t i = rng_below(&r, CAP);
		if (out[i] == NULL) {
			out[i] = pool_get(&p);
			cr_assert_not_null(out[i]);
			out[i]->magic = MAGIC;
			out[i]->id = i;
			memset(out[i]->bytes, (int)i, sizeof(out[i]->bytes));
			used++;
		} else {
			cr_assert_eq(out[i]->id, i);
			cr_assert_eq(out[i]->bytes[36], i);
			pool_put(&p, out[i]);
			out[i] = NULL;
			used--;
		}
		cr_assert_eq(p.used, used);
	}
	pool_fini(&p);
}

static long
resident_pages(void)
{
	long total = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	cr_assert_not_null(f);
	cr_assert_eq(fscanf(f, "%ld %ld", &total, &resident), 2);
	(void)fclose(f);
	return resident;
}

Test(pool, index_for_every_stride)
{
	for (uint32_t size = 16; size <= 4096; size += size < 512 ? 16 : 272) {
		struct pool p;
		cr_assert(pool_init(&p, &mem_heap, "strides", size, 5000));
		for (uint32_t i = 0; i < p.cap; i++)
			cr_assert_eq(pool_index(&p, pool_at(&p, i)), i, "size %u", size);
		pool_fini(&p);
	}
}

Test(pool, pointer_into_an_object_traps, .signal = SIGILL)
{
	struct pool p;
	cr_assert(pool_init(&p, &mem_heap, "strides", 48, 100));
	(void)pool_index(&p, (uint8_t *)pool_at(&p, 7) + 16);
}

Test(pool, boot_touches_no_pages)
{
	struct pool p;
	long before = resident_pages();
	if (!pool_init(&p, &mem_heap, "t", 64 << 10, 1 << 15))
		cr_skip_test("no 2 GiB of address space here");
	struct object *o = pool_get(&p);
	cr_assert_not_null(o);
	o->id = 1;
#ifndef __SANITIZE_ADDRESS__ // the sanitizer's shadow of the pool is touched, an eighth of it
	cr_assert_lt(resident_pages() - before, 1024, "of half a million pages");
#else
	(void)before;
#endif
	pool_fini(&p);
}

Test(mem, heap_is_zeroed_and_aligned)
{
	size_t sizes[] = {0, 1, 63, 64, 65, 4096, 300000, 5000000};
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		uint8_t *p = mem_get(&mem_heap, sizes[i], "t");
		cr_assert_not_null(p);
		cr_assert_eq((uintptr_t)p % CACHE_LINE, 0);
		for (size_t at = 0; at < sizes[i]; at++)
			cr_assert_eq(p[at], 0);
		memset(p, 1, sizes[i]);
		mem_put(&mem_heap, p, sizes[i]);
	}
}

#ifndef __SANITIZE_ADDRESS__
Test(pool, double_put_traps, .signal = SIGILL)
{
	struct pool p;
	if (!pool_init(&p, &mem_heap, "t", sizeof(struct object), 4))
		return;
	struct object *a = pool_get(&p), *b = pool_get(&p);
	a->magic = b->magic = MAGIC;
	pool_put(&p, a);
	pool_put(&p, a);
}

Test(pool, foreign_pointer_traps, .signal = SIGILL)
{
	struct pool p;
	if (!pool_init(&p, &mem_heap, "t", sizeof(struct object), 4))
		return;
	uint8_t *a = pool_get(&p);
	pool_put(&p, a + 4);
}
#endif
