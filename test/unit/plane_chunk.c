// SPDX-License-Identifier: Apache-2.0
// chunk: queues keep bytes and order whatever is added, moved, dropped; and every chunk comes back.
#include <criterion/criterion.h>
#include <string.h>

#include "control/base/rng.h"
#include "dataplane/chunk.h"

static struct chunk_pool pool;
static uint8_t b[100000], out[100000];

static void
init(void)
{
	cr_assert(chunk_pool_init(&pool, &mem_heap, 64));
	for (uint32_t i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)(i * 31 + (i >> 8));
}

static void
fini(void)
{
	cr_assert_eq(pool.pool.used, 0, "%u chunks are left", pool.pool.used);
	chunk_pool_fini(&pool);
}

TestSuite(plane_chunk, .init = init, .fini = fini);

// n bytes from position `from`, read along the chunks as TCP does.
static void
queue_copy(const struct chunkq *q, uint64_t from, uint8_t *to, uint32_t n)
{
	const struct chunk *c = q->first;

	CHECK(from <= q->bytes && n <= q->bytes - from);
	while (n > 0 && from >= c->len) {
		from -= c->len;
		c = c->next;
		OBJ_CHECK(c, CHUNK_MAGIC);
	}
	while (n > 0) {
		OBJ_CHECK(c, CHUNK_MAGIC);
		uint32_t k = MIN(n, c->len - (uint32_t)from);

		memcpy(to, c->data + c->off + from, k);
		to += k;
		n -= k;
		from = 0;
		c = c->next;
	}
}

Test(plane_chunk, add_fills_the_last_chunk_first)
{
	struct chunkq q;

	chunkq_init(&q);
	cr_assert(chunkq_is_empty(&q));
	cr_assert_eq(chunkq_head(&q).n, 0);
	for (uint32_t i = 0; i < CHUNK_DATA; i += 8)
		cr_assert_eq(chunkq_add(&q, &pool, span_of(b + i, 8)), 8);
	cr_assert_eq(q.count, 1);
	cr_assert_eq(chunkq_add(&q, &pool, span_of(b + CHUNK_DATA, 1)), 1);
	cr_assert_eq(q.count, 2);
	cr_assert_eq(chunkq_head(&q).n, CHUNK_DATA);
	cr_assert_arr_eq(chunkq_head(&q).p, b, CHUNK_DATA);
	chunkq_clear(&q, &pool);
	cr_assert_eq(q.bytes, 0);
}

Test(plane_chunk, a_chunk_that_was_dropped_from_takes_no_more_at_its_front)
{
	struct chunkq q;

	chunkq_init(&q);
	cr_assert_eq(chunkq_add(&q, &pool, span_of(b, CHUNK_DATA - 10)), CHUNK_DATA - 10);
	chunkq_drop(&q, &pool, 1000);
	cr_assert_eq(chunkq_add(&q, &pool, span_of(b + CHUNK_DATA - 10, 100)), 100);
	cr_assert_eq(q.count, 2);
	queue_copy(&q, 0, out, (uint32_t)q.bytes);
	cr_assert_arr_eq(out, b + 1000, CHUNK_DATA - 10 + 100 - 1000);
	chunkq_clear(&q, &pool);
}

Test(plane_chunk, empty_pool_takes_less)
{
	struct chunkq q;

	chunkq_init(&q);
	cr_assert(!chunk_pool_is_low(&pool));
	static uint8_t big[70 * CHUNK_DATA];

	cr_assert_eq(chunkq_add(&q, &pool, span_of(big, sizeof(big))), 64 * CHUNK_DATA);
	cr_assert(chunk_pool_is_low(&pool));
	cr_assert_null(chunk_get(&pool));
	chunkq_drop(&q, &pool, 7 * CHUNK_DATA);
	cr_assert(chunk_pool_is_low(&pool), "7 of 64 are less than an eighth");
	chunkq_drop(&q, &pool, CHUNK_DATA);
	cr_assert(!chunk_pool_is_low(&pool));
	chunkq_clear(&q, &pool);
}

Test(plane_chunk, take_moves_everything)
{
	struct chunkq q, from;

	chunkq_init(&q);
	chunkq_init(&from);
	chunkq_take(&q, &from);
	cr_assert(chunkq_is_empty(&q));
	cr_assert_eq(chunkq_add(&from, &pool, span_of(b, 5000)), 5000);
	chunkq_take(&q, &from);
	cr_assert(chunkq_is_empty(&from));
	cr_assert_eq(from.bytes, 0);
	cr_assert_eq(chunkq_add(&from, &pool, span_of(b + 5000, 5000)), 5000);
	chunkq_take(&q, &from);
	cr_assert_eq(q.bytes, 10000);
	queue_copy(&q, 0, out, 10000);
	cr_assert_arr_eq(out, b, 10000);
	chunkq_clear(&q, &pool);
}

Test(plane_chunk, push_keeps_an_offset)
{
	struct chunkq q;
	struct chunk *c = chunk_get(&pool);

	chunkq_init(&q);
	c->off = 100;
	c->len = 50;
	memcpy(c->data + 100, b, 50);
	chunkq_push(&q, c);
	cr_assert_eq(chunkq_head(&q).n, 50);
	cr_assert_eq(chunkq_add(&q, &pool, span_of(b + 50, 50)), 50);
	cr_assert_eq(q.count, 1);
	queue_copy(&q, 20, out, 80);
	cr_assert_arr_eq(out, b + 20, 80);
	chunkq_drop(&q, &pool, 100);
	cr_assert(chunkq_is_empty(&q));
	cr_assert_null(q.last);
}

Test(plane_chunk, any_mixture_of_calls_keeps_the_stream)
{
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct chunkq q;
		struct rng r;
		uint32_t in = 0, gone = 0;

		chunkq_init(&q);
		rng_init(&r, seed);
		while (gone < sizeof(b)) {
			uint32_t n = rng_below(&r, 5000);

			if (rng_chance(&r, 500000)) {
				in += chunkq_add(&q, &pool,
						 span_of(b + in, MIN(n, sizeof(b) - in)));
			} else {
				n = MIN(n, in - gone);
				chunkq_drop(&q, &pool, n);
				gone += n;
			}
			cr_assert_eq(q.bytes, in - gone);
			uint32_t at = rng_below(&r, (uint32_t)q.bytes + 1);
			uint32_t len = rng_below(&r, (uint32_t)q.bytes - at + 1);

			queue_copy(&q, at, out, len);
			cr_assert(memcmp(out, b + gone + at, len) == 0, "seed %lu", seed);
			cr_assert_eq(chunkq_is_empty(&q), q.bytes == 0);
		}
		chunkq_clear(&q, &pool);
	}
}

Test(plane_chunk, share_of_many_messages_stays_inside_the_pool)
{
	struct chunk_pool many;

	cr_assert(chunk_pool_init(&many, &mem_heap, 4096));
	cr_assert_eq(chunk_pool_share(&many), 1536 / 8 - 3, "alone: an eighth of the later half");
	many.messages = 8;
	cr_assert(!chunk_pool_is_shared(&many));
	many.messages = 100;
	cr_assert(chunk_pool_is_shared(&many));
	cr_assert_eq(chunk_pool_share(&many), 1536 / 100 - 3);
	struct chunkq q;
	chunkq_init(&q);
	for (uint32_t used = 0; used < 4096; used++) {
		uint32_t share = chunk_pool_share(&many);
		cr_assert(share == 0 || used + share * 100 <= 4096, "%u of each when %u are used",
			  share, used);
		struct chunk *c = chunk_get(&many);
		c->len = 1;
		chunkq_push(&q, c);
	}
	cr_assert_eq(chunk_pool_share(&many), 0);
	chunkq_clear(&q, &many);
	chunk_pool_fini(&many);
}
