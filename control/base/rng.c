// SPDX-License-Identifier: Apache-2.0
// rng: xoshiro256** (Blackman, Vigna), seeded by splitmix64 so that no seed gives the all-zero
// state.
#include "control/base/rng.h"

static uint64_t
splitmix64(uint64_t *x)
{
	*x += 0x9e3779b97f4a7c15ull;
	uint64_t z = *x;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static uint64_t
rotl64(uint64_t x, unsigned k)
{
	return x << k | x >> (64 - k);
}

void
rng_init(struct rng *r, uint64_t seed)
{
	for (uint32_t i = 0; i < 4; i++)
		r->s[i] = splitmix64(&seed);
}

uint64_t
rng_next(struct rng *r)
{
	uint64_t result = rotl64(r->s[1] * 5, 7) * 9;
	uint64_t t = r->s[1] << 17;
	r->s[2] ^= r->s[0];
	r->s[3] ^= r->s[1];
	r->s[1] ^= r->s[2];
	r->s[0] ^= r->s[3];
	r->s[2] ^= t;
	r->s[3] = rotl64(r->s[3], 45);
	return result;
}

uint32_t
rng_below(struct rng *r, uint32_t n)
{
	CHECK(n > 0);
	// Multiply and shift: the bias is below n / 2^32 and always the same number of draws is
	// used, which keeps replays in step.
	return (uint32_t)(((rng_next(r) >> 32) * n) >> 32);
}

bool
rng_chance(struct rng *r, uint32_t per_million)
{
	return rng_below(r, 1000000) < per_million;
}
