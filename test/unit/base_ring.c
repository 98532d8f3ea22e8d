// SPDX-License-Identifier: Apache-2.0
// Tests of the ring between processes: order, loss, and damage of every index.
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "control/abi/ring.h"
#include "control/base/rng.h"

#define SLOTS 8u
#define GUARD 64u

static uint8_t *
ring_memory(uint32_t slot_size, uint32_t slots)
{
	size_t n = ring_bytes(slot_size, slots);
	uint8_t *mem = aligned_alloc(64, (n + GUARD + 63) & ~(size_t)63);
	cr_assert_not_null(mem);
	memset(mem, 0x5a, n + GUARD);
	ring_format(mem, slot_size, slots);
	return mem;
}

Test(ring, order_full_lost)
{
	uint8_t *mem = ring_memory(8, SLOTS);
	struct ring a, b;
	cr_assert(ring_attach(&a, mem, 8, SLOTS));
	cr_assert(ring_attach(&b, mem, 8, SLOTS));
	uint64_t v, next = 0;
	cr_assert(!ring_get(&b, &v));
	for (uint64_t i = 0; i < SLOTS; i++)
		cr_assert(ring_put(&a, &i));
	cr_assert(!ring_put(&a, &v));
	cr_assert(!ring_put(&a, &v));
	cr_assert_eq(a.head->lost, 2);
	while (ring_get(&b, &v))
		cr_assert_eq(v, next++);
	cr_assert_eq(next, SLOTS);
	cr_assert_eq(mem[ring_bytes(8, SLOTS)], 0x5a);
	free(mem);
}

Test(ring, a_new_process_goes_on)
{
	uint8_t *mem = ring_memory(8, SLOTS);
	struct ring a, b, c;
	cr_assert(ring_attach(&a, mem, 8, SLOTS));
	for (uint64_t i = 0; i < 5; i++)
		cr_assert(ring_put(&a, &i));
	uint64_t v;
	cr_assert(ring_attach(&b, mem, 8, SLOTS));
	cr_assert(ring_get(&b, &v) && v == 0);
	cr_assert(ring_attach(&c, mem, 8, SLOTS)); // the consumer died and came back
	cr_assert(ring_get(&c, &v) && v == 1);
	free(mem);
}

Test(ring, attach_refuses_other_sizes)
{
	uint8_t *mem = ring_memory(8, SLOTS);
	struct ring r;
	cr_assert(!ring_attach(&r, mem, 16, SLOTS));
	cr_assert(!ring_attach(&r, mem, 8, SLOTS * 2));
	mem[0] ^= 1;
	cr_assert(!ring_attach(&r, mem, 8, SLOTS));
	free(mem);
}

Test(ring, damaged_indices)
{
	uint8_t *mem = ring_memory(8, SLOTS);
	struct ring r;
	cr_assert(ring_attach(&r, mem, 8, SLOTS));
	uint64_t v = 1;
	r.head->head = 5;
	r.head->tail = 6; // got more than was ever put
	cr_assert(!ring_put(&r, &v), "taken for full");
	cr_assert_eq(r.head->lost, 1);
	cr_assert(!ring_get(&r, &v));
	cr_assert_eq(r.head->repaired, 1);
	cr_assert_eq(r.head->tail, 5);
	cr_assert(ring_put(&r, &v));
	cr_assert(ring_get(&r, &v));
	r.head->head = r.head->tail + SLOTS + 1;
	cr_assert(!ring_put(&r, &v));
	cr_assert(!ring_get(&r, &v));
	cr_assert_eq(r.head->repaired, 2);
	cr_assert(ring_put(&r, &v));
	free(mem);
}

Test(ring, random_damage_stays_inside)
{
	uint8_t *mem = ring_memory(24, SLOTS);
	struct ring r;
	cr_assert(ring_attach(&r, mem, 24, SLOTS));
	struct rng rng;
	rng_init(&rng, 4);
	uint8_t slot[24] = {0};
	for (uint32_t i = 0; i < 200000; i++) {
		uint64_t at = rng_next(&rng);
		switch (rng_below(&rng, 8)) {
		case 0:
			r.head->head = rng_chance(&rng, 500000) ? at : r.head->tail + at % 20;
			break;
		case 1:
			r.head->tail = rng_chance(&rng, 500000) ? at : r.head->head - at % 20;
			break;
		case 2: // a process has its own sizes
			r.head->slots = (uint32_t)at;
			r.head->slot_size = (uint32_t)(at >> 32);
			break;
		case 3:
		case 4:
			(void)!ring_get(&r, slot);
			break;
		default:
			(void)!ring_put(&r, slot);
			break;
		}
	}
	for (uint32_t i = 0; i < GUARD; i++)
		cr_assert_eq(mem[ring_bytes(24, SLOTS) + i], 0x5a);
	free(mem);
}

#define PASSES 200000u

static void *
producer(void *arg)
{
	for (uint64_t i = 0; i < PASSES;) {
		uint64_t e[4] = {i, ~i, i, i};
		if (ring_put(arg, e))
			i++;
		else
			sched_yield();
	}
	return NULL;
}

Test(ring, two_threads)
{
	uint8_t *mem = ring_memory(32, 64);
	struct ring a, b;
	cr_assert(ring_attach(&a, mem, 32, 64));
	cr_assert(ring_attach(&b, mem, 32, 64));
	pthread_t t;
	cr_assert_eq(pthread_create(&t, NULL, producer, &a), 0);
	for (uint64_t i = 0; i < PASSES;) {
		uint64_t e[4];
		if (!ring_get(&b, e)) {
			sched_yield();
			continue;
		}
		if (e[0] != i || e[1] != ~i || e[3] != i)
			cr_assert_fail("slot %lu is torn or out of order", i);
		i++;
	}
	pthread_join(t, NULL);
	cr_assert_eq(b.head->repaired, 0);
	free(mem);
}
