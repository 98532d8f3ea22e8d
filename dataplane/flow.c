// SPDX-License-Identifier: Apache-2.0
// flow: see flow.h. Runs on the owning worker.
//
// There are at least cap / 4 primary buckets, so the mean is 4 entries in 8 places when the table
// is full. With random hashes 2.1 % of buckets then overflow (Poisson), nearly all by one or two
// entries; a quarter as many overflow buckets as primary ones is ten times what that needs.
#include "dataplane/flow.h"

#include <string.h>

bool
flow_init(struct flow_table *f, struct mem_source *m, uint32_t cap, struct siphash_key key)
{
	uint32_t n = 4;

	CHECK(cap > 0);
	CHECK(cap < 1u << 28);
	while (n < cap / 4)
		n *= 2;
	memset(f, 0, sizeof(*f));
	f->overflow_count = n / 4 + 4;
	f->buckets =
		mem_get(m, ((size_t)n + f->overflow_count) * sizeof(struct flow_bucket), "flows");
	if (f->buckets == NULL)
		return false;
	f->mask = n - 1;
	f->key = key;
	f->mem = m;
	for (uint32_t i = f->overflow_count; i-- > 0;) {
		f->buckets[n + i].overflow = f->overflow_free;
		f->overflow_free = n + i + 1;
	}
	return true;
}

void
flow_fini(struct flow_table *f)
{
	size_t n = (size_t)f->mask + 1 + f->overflow_count;

	if (f->buckets != NULL)
		mem_put(f->mem, f->buckets, n * sizeof(struct flow_bucket));
	f->buckets = NULL;
}

uint64_t
flow_hash(const struct flow_table *f, const void *key, size_t n)
{
	return siphash13(f->key, key, n);
}

static inline uint16_t
flow_tag(uint64_t hash)
{
	uint16_t tag = (uint16_t)(hash >> 48); // the bucket comes from the low bits

	return tag == 0 ? 1 : tag;
}

static inline struct flow_bucket *
flow_next(const struct flow_table *f, const struct flow_bucket *b)
{
	return b->overflow == 0 ? NULL : &f->buckets[b->overflow - 1];
}

void
flow_prefetch(const struct flow_table *f, uint64_t hash)
{
	__builtin_prefetch(&f->buckets[hash & f->mask]);
}

uint32_t
flow_find(const struct flow_table *f, uint64_t hash, const void *key, flow_is_fn is,
	  const void *ctx)
{
	uint16_t tag = flow_tag(hash);
	const struct flow_bucket *b = &f->buckets[hash & f->mask];

	for (uint32_t n = 0; b != NULL; n++, b = flow_next(f, b)) {
		CHECK(n <= FLOW_CHAIN_MAX);
		for (uint32_t i = 0; i < FLOW_WAYS; i++) {
			if (b->tag[i] == tag && is(ctx, b->index[i], key))
				return b->index[i];
		}
	}
	return FLOW_NONE;
}

static void
flow_put(struct flow_bucket *b, uint16_t tag, uint32_t index)
{
	for (uint32_t i = 0; i < FLOW_WAYS; i++) {
		if (b->tag[i] == 0) {
			b->tag[i] = tag;
			b->index[i] = index;
			b->used++;
			return;
		}
	}
	CHECK(!"a bucket that is not full has a free place");
}

bool
flow_add(struct flow_table *f, uint64_t hash, uint32_t index)
{
	uint16_t tag = flow_tag(hash);
	struct flow_bucket *b = &f->buckets[hash & f->mask];
	uint32_t n = 0;

	CHECK(index != FLOW_NONE);
	while (b->used == FLOW_WAYS) {
		if (b->overflow == 0) {
			if (f->overflow_free == 0 || n == FLOW_CHAIN_MAX)
				return false;
			uint32_t num = f->overflow_free;
			struct flow_bucket *o = &f->buckets[num - 1];

			CHECK(o->used == 0);
			f->overflow_free = o->overflow;
			o->overflow = 0;
			b->overflow = num;
		}
		b = flow_next(f, b);
		n++;
	}
	flow_put(b, tag, index);
	f->count++;
	return true;
}

void
flow_remove(struct flow_table *f, uint64_t hash, uint32_t index)
{
	uint16_t tag = flow_tag(hash);
	struct flow_bucket *b = &f->buckets[hash & f->mask], *before = NULL;

	for (uint32_t n = 0; b != NULL; n++, before = b, b = flow_next(f, b)) {
		CHECK(n <= FLOW_CHAIN_MAX);
		for (uint32_t i = 0; i < FLOW_WAYS; i++) {
			if (b->tag[i] != tag || b->index[i] != index)
				continue;
			b->tag[i] = 0;
			CHECK(b->used > 0);
			CHECK(f->count > 0);
			b->used--;
			f->count--;
			if (b->used == 0 && before != NULL) { // an empty overflow bucket goes back
				uint32_t num = before->overflow;

				before->overflow = b->overflow;
				b->overflow = f->overflow_free;
				f->overflow_free = num;
			}
			return;
		}
	}
	CHECK(!"flow_remove of an entry that is in the table");
}

void
flow_replace(struct flow_table *f, uint64_t hash, uint32_t index, uint32_t by)
{
	uint16_t tag = flow_tag(hash);
	struct flow_bucket *b = &f->buckets[hash & f->mask];

	CHECK(by != FLOW_NONE);
	for (uint32_t n = 0; b != NULL; n++, b = flow_next(f, b)) {
		CHECK(n <= FLOW_CHAIN_MAX);
		for (uint32_t i = 0; i < FLOW_WAYS; i++) {
			if (b->tag[i] == tag && b->index[i] == index) {
				b->index[i] = by;
				return;
			}
		}
	}
	CHECK(!"flow_replace of an entry that is in the table");
}

void
flow_each(const struct flow_table *f, flow_each_fn fn, void *ctx)
{
	uint32_t n = f->mask + 1 + f->overflow_count;

	for (uint32_t k = 0; k < n; k++) {
		const struct flow_bucket *b = &f->buckets[k];

		for (uint32_t i = 0; i < FLOW_WAYS; i++) {
			if (b->tag[i] != 0)
				fn(ctx, b->index[i]);
		}
	}
}
