// SPDX-License-Identifier: Apache-2.0
// flow: the table from a connection's key to its index, one a worker, keyed with a boot secret.
//
// What for: finds the connection of a segment in one or two cache lines. A bucket is one cache
// line: 8 tags of 16 bits, 8 indices, the number of an overflow bucket. The key itself is in the
// connection and is compared by the caller's function, once per equal tag. Who calls it: the owning
// worker. Memory: one block at boot, about 17 bytes a connection at the load that flow_init chooses
// (half full). What can go wrong: no overflow bucket left: flow_add returns false and the caller
// sheds the SYN; with a secret key (SipHash-1-3) a peer cannot bring that about, and chance does
// not (see flow.c).
#pragma once

#include "control/base/mem.h"
#include "control/base/siphash.h"

#define FLOW_NONE UINT32_MAX
#define FLOW_WAYS 8
#define FLOW_CHAIN_MAX 64 // overflow buckets behind one bucket

struct flow_bucket {
	uint16_t tag[FLOW_WAYS]; // 0: free
	uint32_t index[FLOW_WAYS];
	uint32_t overflow; // number + 1 of the next bucket, 0: none
	uint32_t used;
	uint64_t spare;
};
static_assert(sizeof(struct flow_bucket) == CACHE_LINE, "one line");

struct flow_table {
	struct flow_bucket *buckets; // the primary ones, then the overflow ones
	uint32_t mask;               // primary buckets - 1
	uint32_t overflow_count;
	uint32_t overflow_free; // number + 1 of the first free one, 0: none
	uint32_t count;         // entries
	struct siphash_key key;
	struct mem_source *mem;
};

// Is `key` the key of the object at `index`?
typedef bool (*flow_is_fn)(const void *ctx, uint32_t index, const void *key);
typedef void (*flow_each_fn)(void *ctx, uint32_t index);

must_use bool flow_init(struct flow_table *f, struct mem_source *m, uint32_t cap,
			struct siphash_key key);
void flow_fini(struct flow_table *f);
uint64_t flow_hash(const struct flow_table *f, const void *key, size_t n); // or one's own, keyed
void flow_prefetch(const struct flow_table *f, uint64_t hash);
uint32_t flow_find(const struct flow_table *f, uint64_t hash, const void *key, flow_is_fn is,
		   const void *ctx); // FLOW_NONE: not there
must_use bool flow_add(struct flow_table *f, uint64_t hash,
		       uint32_t index);                                // the key is not in yet
void flow_remove(struct flow_table *f, uint64_t hash, uint32_t index); // CHECKs that it is in
// Another index under the same key. CHECKs that the old one is in; cannot fail.
void flow_replace(struct flow_table *f, uint64_t hash, uint32_t index, uint32_t by);
// Calls fn for each index; fn must not change the table.
void flow_each(const struct flow_table *f, flow_each_fn fn, void *ctx);
