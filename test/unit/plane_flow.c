// SPDX-License-Identifier: Apache-2.0
// flow: the table finds what is in it and nothing else, also when buckets overflow and empty again.
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "control/base/rng.h"
#include "dataplane/flow.h"

#define CAP 10000

struct key {
	uint32_t a, b;
};

static struct key keys[CAP];
static uint32_t compares;

static bool
is_key(const void *ctx, uint32_t index, const void *key)
{
	cr_assert_eq(ctx, keys);
	cr_assert(index < CAP);
	compares++;
	return memcmp(&keys[index], key, sizeof(struct key)) == 0;
}

static uint32_t
find(struct flow_table *f, uint32_t i)
{
	return flow_find(f, flow_hash(f, &keys[i], sizeof(keys[i])), &keys[i], is_key, keys);
}

Test(plane_flow, full_table_finds_all_and_only_those)
{
	struct flow_table f;

	cr_assert(flow_init(&f, &mem_heap, CAP, (struct siphash_key){1, 2}));
	for (uint32_t i = 0; i < CAP; i++) {
		keys[i] = (struct key){i, i * 7};
		cr_assert_eq(find(&f, i), FLOW_NONE);
		cr_assert(flow_add(&f, flow_hash(&f, &keys[i], sizeof(keys[i])), i));
	}
	cr_assert_eq(f.count, CAP);
	compares = 0;
	for (uint32_t i = 0; i < CAP; i++)
		cr_assert_eq(find(&f, i), i);
	cr_assert(compares < CAP + CAP / 100, "%u compares: tags must tell keys apart", compares);
	size_t bytes = (f.mask + 1 + f.overflow_count) * sizeof(struct flow_bucket);

	cr_assert(bytes <= 35 * CAP, "%zu bytes an entry", bytes / CAP);
	flow_fini(&f);
}

Test(plane_flow, random_adds_and_removes_against_an_array)
{
	static bool is_in[CAP];
	struct flow_table f;
	struct rng r;
	uint32_t count = 0;

	rng_init(&r, 7);
	cr_assert(flow_init(&f, &mem_heap, CAP, (struct siphash_key){3, 4}));
	for (uint32_t i = 0; i < CAP; i++)
		keys[i] = (struct key){i, 1};
	for (uint32_t n = 0; n < 300000; n++) {
		uint32_t i = rng_below(&r, CAP);
		uint64_t hash = flow_hash(&f, &keys[i], sizeof(keys[i]));

		cr_assert_eq(find(&f, i), is_in[i] ? i : FLOW_NONE);
		if (is_in[i]) {
			flow_remove(&f, hash, i);
			count--;
		} else {
			cr_assert(flow_add(&f, hash, i));
			count++;
		}
		is_in[i] = !is_in[i];
		cr_assert_eq(f.count, count);
	}
	flow_fini(&f);
}

Test(plane_flow, overflow_of_one_bucket_is_bounded_and_given_back)
{
	struct flow_table f;
	uint32_t n = 0;

	// All in one bucket: what a peer without the key cannot do.
	cr_assert(flow_init(&f, &mem_heap, 64, (struct siphash_key){0, 0}));
	while (n < 1000 && flow_add(&f, (uint64_t)(n + 1) << 48, n)) {
		keys[n] = (struct key){n, n};
		n++;
	}
	cr_assert_eq(n, FLOW_WAYS * (1 + f.overflow_count));
	for (uint32_t i = 0; i < n; i++)
		cr_assert_eq(flow_find(&f, (uint64_t)(i + 1) << 48, &keys[i], is_key, keys), i);
	for (uint32_t i = 0; i < n; i++)
		flow_remove(&f, (uint64_t)(i + 1) << 48, i);
	cr_assert_eq(f.count, 0);
	for (uint32_t i = 0; i < n; i++) // once more: every bucket came back
		cr_assert(flow_add(&f, (uint64_t)(i + 1) << 48 | 1, i));
	flow_fini(&f);
}

static void
note(void *ctx, uint32_t index)
{
	bool *seen = ctx;

	cr_assert(!seen[index]);
	seen[index] = true;
}

Test(plane_flow, each_visits_every_entry_once)
{
	static bool seen[500];
	struct flow_table f;

	cr_assert(flow_init(&f, &mem_heap, 500, (struct siphash_key){9, 9}));
	for (uint32_t i = 0; i < 500; i++)
		cr_assert(flow_add(&f, flow_hash(&f, &i, sizeof(i)), i));
	flow_each(&f, note, seen);
	for (uint32_t i = 0; i < 500; i++)
		cr_assert(seen[i]);
	flow_fini(&f);
}

Test(plane_flow, key_decides_the_hash)
{
	struct flow_table f, g;
	uint32_t x = 1;

	cr_assert(flow_init(&f, &mem_heap, 500, (struct siphash_key){9, 9}));
	cr_assert(flow_init(&g, &mem_heap, 500, (struct siphash_key){9, 8}));
	cr_assert_neq(flow_hash(&f, &x, sizeof(x)), flow_hash(&g, &x, sizeof(x)));
	flow_fini(&f);
	flow_fini(&g);
}

Test(plane_flow, replace_keeps_the_place)
{
	struct flow_table f;

	cr_assert(flow_init(&f, &mem_heap, 64, (struct siphash_key){9, 9}));
	for (uint32_t i = 0; i < 20; i++) // all in one bucket and its overflow
		cr_assert(flow_add(&f, 77, i));
	for (uint32_t i = 0; i < 20; i++)
		flow_replace(&f, 77, i, i + 100);
	cr_assert_eq(f.count, 20);
	for (uint32_t i = 0; i < 20; i++)
		flow_remove(&f, 77, i + 100);
	cr_assert_eq(f.count, 0);
	flow_fini(&f);
}
