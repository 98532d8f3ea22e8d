// SPDX-License-Identifier: Apache-2.0
// Tests of the ring between two threads.
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>

#include "control/base/spsc.h"

struct element {
	uint64_t number, inverse, more[3];
};

Test(spsc, full_and_empty)
{
	static struct spsc r;
	cr_assert(spsc_init(&r, &mem_heap, sizeof(uint32_t), 8));
	uint32_t v;
	cr_assert(!spsc_get(&r, &v));
	for (uint32_t round = 0; round < 5; round++) {
		for (uint32_t i = 0; i < 8; i++)
			cr_assert(spsc_put(&r, &(uint32_t){round * 100 + i}));
		cr_assert(!spsc_put(&r, &v));
		cr_assert_eq(spsc_count(&r), 8);
		for (uint32_t i = 0; i < 8; i++)
			cr_assert(spsc_get(&r, &v) && v == round * 100 + i);
		cr_assert(!spsc_get(&r, &v));
		cr_assert_eq(spsc_count(&r), 0);
	}
	spsc_fini(&r);
}

Test(spsc, indices_wrap)
{
	static struct spsc r;
	cr_assert(spsc_init(&r, &mem_heap, sizeof(uint32_t), 4));
	r.put = r.get = UINT32_MAX - 5;
	uint32_t v, next = 0;
	for (uint32_t i = 0; i < 20; i++) {
		cr_assert(spsc_put(&r, &i));
		if (i % 2 == 1)
			for (int k = 0; k < 2; k++)
				cr_assert(spsc_get(&r, &v) && v == next++);
	}
	spsc_fini(&r);
}

#define PASSES 300000u

static void *
producer(void *arg)
{
	struct spsc *r = arg;
	for (uint64_t i = 0; i < PASSES;) {
		struct element e = {i, ~i, {i, i, i}};
		if (spsc_put(r, &e))
			i++;
		else
			sched_yield();
	}
	return NULL;
}

Test(spsc, two_threads)
{
	static struct spsc r;
	cr_assert(spsc_init(&r, &mem_heap, sizeof(struct element), 64));
	pthread_t t;
	cr_assert_eq(pthread_create(&t, NULL, producer, &r), 0);
	for (uint64_t i = 0; i < PASSES;) {
		struct element e;
		if (!spsc_get(&r, &e)) {
			sched_yield();
			continue;
		}
		if (e.number != i || e.inverse != ~i || e.more[2] != i)
			cr_assert_fail("element %lu is torn or out of order", i);
		i++;
	}
	pthread_join(t, NULL);
	cr_assert_eq(spsc_count(&r), 0);
	spsc_fini(&r);
}
