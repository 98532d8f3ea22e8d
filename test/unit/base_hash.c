// SPDX-License-Identifier: Apache-2.0
// Tests of siphash against the published vectors of SipHash-1-3, and of the seeded generator.
#include <criterion/criterion.h>
#include <string.h>

#include "control/base/rng.h"
#include "control/base/siphash.h"

// Key 00 01 .. 0f, input of n bytes 00 01 ..: the first eight of the reference vectors.
Test(siphash, reference_vectors)
{
	static const uint64_t want[] = {
		0xabac0158050fc4dc, 0xc9f49bf37d57ca93, 0x82cb9b024dc7d44d, 0x8bf80ab8e7ddf7fb,
		0xcf75576088d38328, 0xdef9d52f49533b67, 0xc50d2b50c59f22a7, 0xd3927d989bb11140,
		0x369095118d299a8e, 0x25a48eb36c063de4, 0x79de85ee92ff097f, 0x70c118c1f94dc352,
	};
	struct siphash_key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
	uint8_t in[16];
	for (uint8_t i = 0; i < 16; i++)
		in[i] = i;
	for (uint32_t n = 0; n < ARRAY_LEN(want); n++)
		cr_assert_eq(siphash13(key, in, n), want[n], "%u bytes", n);
	cr_assert_eq(siphash13(key, NULL, 0), want[0]);
}

Test(siphash, words_are_the_same_message)
{
	struct siphash_key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
	uint64_t words[4];
	uint8_t in[39];

	for (uint32_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 29);
	memcpy(words, in, sizeof(words));
	for (uint32_t n = 0; n < sizeof(in); n++) {
		uint64_t last = (uint64_t)n << 56;

		for (uint32_t i = n / 8 * 8; i < n; i++)
			last |= (uint64_t)in[i] << 8 * (i % 8);
		cr_assert_eq(siphash13_words(key, words, n / 8, last), siphash13(key, in, n),
			     "%u bytes", n);
	}
}

Test(siphash, every_bit_counts)
{
	uint8_t in[40] = {0};
	struct siphash_key key = {1, 2};
	uint64_t base = siphash13(key, in, sizeof(in));
	for (uint32_t bit = 0; bit < sizeof(in) * 8; bit++) {
		in[bit / 8] ^= (uint8_t)(1 << bit % 8);
		cr_assert_neq(siphash13(key, in, sizeof(in)), base);
		in[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	cr_assert_neq(siphash13(key, in, 39), base, "length counts");
	cr_assert_neq(siphash13((struct siphash_key){1, 3}, in, sizeof(in)), base);
}

Test(rng, is_seeded_and_in_range)
{
	struct rng a, b, c;
	rng_init(&a, 5);
	rng_init(&b, 5);
	rng_init(&c, 6);
	uint32_t differ = 0, bucket[10] = {0};
	for (uint32_t i = 0; i < 100000; i++) {
		uint64_t x = rng_next(&a);
		cr_assert_eq(x, rng_next(&b));
		differ += x != rng_next(&c);
		uint32_t n = rng_below(&a, 10);
		cr_assert_lt(n, 10);
		cr_assert_eq(rng_below(&b, 10), n);
		bucket[n]++;
	}
	cr_assert_gt(differ, 99990);
	for (uint32_t i = 0; i < 10; i++)
		cr_assert(bucket[i] > 9000 && bucket[i] < 11000);
	cr_assert_eq(rng_below(&a, 1), 0);
	cr_assert(!rng_chance(&a, 0));
	cr_assert(rng_chance(&a, 1000000));
}
