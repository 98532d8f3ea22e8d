// SPDX-License-Identifier: Apache-2.0
// siphash: SipHash with one compression and three finalisation rounds (Aumasson, Bernstein).
#include "control/base/siphash.h"

#include <string.h>

struct state {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t
rotl64(uint64_t x, unsigned k)
{
	return x << k | x >> (64 - k);
}

static inline void
sip_round(struct state *s)
{
	s->v0 += s->v1;
	s->v1 = rotl64(s->v1, 13) ^ s->v0;
	s->v0 = rotl64(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotl64(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotl64(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotl64(s->v1, 17) ^ s->v2;
	s->v2 = rotl64(s->v2, 32);
}

static inline void
absorb(struct state *s, uint64_t m)
{
	s->v3 ^= m;
	sip_round(s);
	s->v0 ^= m;
}

static inline struct state
begin(struct siphash_key key)
{
	return (struct state){
		.v0 = key.k0 ^ 0x736f6d6570736575ull,
		.v1 = key.k1 ^ 0x646f72616e646f6dull,
		.v2 = key.k0 ^ 0x6c7967656e657261ull,
		.v3 = key.k1 ^ 0x7465646279746573ull,
	};
}

static inline uint64_t
finish(struct state *s, uint64_t last)
{
	absorb(s, last);
	s->v2 ^= 0xff;
	sip_round(s);
	sip_round(s);
	sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t
siphash13(struct siphash_key key, const void *data, size_t n)
{
	CHECK(data != NULL || n == 0);
	struct state s = begin(key);
	const uint8_t *p = data;
	size_t left = n;
	for (; left >= 8; left -= 8, p += 8) {
		uint64_t m;
		memcpy(&m, p, 8); // x86 is little endian, as the hash wants it
		absorb(&s, m);
	}
	uint64_t last = (uint64_t)n << 56;
	for (size_t i = 0; i < left; i++)
		last |= (uint64_t)p[i] << (8 * i);
	return finish(&s, last);
}

uint64_t
siphash13_words(struct siphash_key key, const uint64_t *words, uint32_t count, uint64_t last)
{
	struct state s = begin(key);

	for (uint32_t i = 0; i < count; i++)
		absorb(&s, words[i]);
	return finish(&s, last);
}
