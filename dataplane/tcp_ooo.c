// SPDX-License-Identifier: Apache-2.0
// tcp_ooo: bytes that came out of order, until the gap before them is filled. Runs on the owning
// worker.
//
//   c->ooo > index: block, block, ..  ascending, neither overlapping nor touching
//              |
//              chunk > chunk > ..     the bytes of a block; the chunks of one block may be part
//              full
//
// The index is one chunk of its own, taken with the first gap and given back with the last. Finding
// the block of a segment is a binary search in it; a segment that extends a block, at the tail or
// where a recovery stands, is copied behind that block's last byte. The worst that a peer can do,
// every second byte in any order, costs that search and moving TCP_OOO_BLOCKS_MAX entries, 2 KB, a
// segment. Memory: blocks are bounded by the index, chunks by the caller's limit (a chunk may hold
// one byte), nothing is taken when the pool is low, and once half of it is used a gap has five
// seconds to be filled. A gap more than fits is a loss more: the
// peer sends it again. Ages are those of arrivals: RFC 2018 4 wants the block of the latest segment
// first.
//
// The first bytes that arrived for a sequence number win: known ones are skipped, never rewritten.
#include "dataplane/tcp_conn.h"

#include <string.h>

#define TCP_OOO_BLOCKS_MAX 100u
#define OOO_NONE UINT32_MAX
#define OOO_GAP_MS 5000u // many round trips: the peer does not mean to fill it
#define OOO_SHED_MOST 64u

struct ooo_block {
	uint32_t start, end;
	uint32_t age;
	uint32_t first, last; // chunks, by index in the pool; OOO_NONE: none yet
};

struct ooo {
	uint32_t count;    // blocks
	uint32_t chunks;   // all of them, this one too
	uint32_t since_ms; // when the first gap came
	struct ooo_block block[TCP_OOO_BLOCKS_MAX];
};
static_assert(sizeof(struct ooo) <= CHUNK_DATA, "the index is a chunk");
static_assert(offsetof(struct chunk, data) % _Alignof(struct ooo) == 0, "aligned");

static struct ooo *
ooo_of(const struct tcp_conn *c)
{
	OBJ_CHECK(c->ooo, CHUNK_MAGIC);
	return (struct ooo *)(void *)c->ooo->data;
}

static struct chunk *
ooo_chunk_get(struct tcp_conn *c)
{
	struct chunk_pool *pool = c->tcp->chunks;

	return chunk_pool_is_low(pool) ? NULL : chunk_get(pool);
}

// The index goes with the last block.
static void
ooo_end(struct tcp_conn *c)
{
	CHECK(ooo_of(c)->chunks == 1);
	list_remove(&c->tcp->gaps, &c->node);
	chunk_put(c->tcp->chunks, c->ooo);
	c->ooo = NULL;
}

static void
ooo_remove(struct tcp_conn *c, uint32_t i)
{
	struct ooo *o = ooo_of(c);

	CHECK(i < o->count);
	o->count--;
	memmove(&o->block[i], &o->block[i + 1], (o->count - i) * sizeof(o->block[0]));
	if (o->count > 0)
		return;
	ooo_end(c);
}

// A block without bytes yet.
static bool
ooo_insert(struct ooo *o, uint32_t i, uint32_t seq)
{
	if (o->count == TCP_OOO_BLOCKS_MAX)
		return false;
	memmove(&o->block[i + 1], &o->block[i], (o->count - i) * sizeof(o->block[0]));
	o->count++;
	o->block[i] = (struct ooo_block){seq, seq, 0, OOO_NONE, OOO_NONE};
	return true;
}

// The first block that ends at seq or behind it.
static uint32_t
ooo_find(const struct ooo *o, uint32_t seq)
{
	uint32_t low = 0, high = o->count;

	while (low < high) { // halves each turn
		uint32_t mid = (low + high) / 2;

		if (seq_lt(o->block[mid].end, seq))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

// Copies bytes to the end of a block; returns how many found room.
static uint32_t
ooo_append(struct tcp_conn *c, struct ooo_block *b, struct span s, uint32_t chunks_max)
{
	struct ooo *o = ooo_of(c);
	const struct pool *pool = &c->tcp->chunks->pool;
	struct chunk *k = b->last == OOO_NONE ? NULL : pool_at(pool, b->last);
	uint32_t done = 0;

	while (done < s.n) { // each turn fills a chunk or ends
		uint32_t at = k == NULL ? CHUNK_DATA : (uint32_t)k->off + k->len;

		if (at == CHUNK_DATA) {
			struct chunk *fresh = o->chunks < chunks_max ? ooo_chunk_get(c) : NULL;

			if (fresh == NULL)
				break;
			o->chunks++;
			b->last = pool_index(pool, fresh);
			if (k == NULL)
				b->first = b->last;
			else
				k->next = fresh;
			k = fresh;
			at = 0;
		}
		uint32_t n = MIN(s.n - done, CHUNK_DATA - at);

		memcpy(k->data + at, s.p + done, n);
		k->len = (uint16_t)(k->len + n);
		done += n;
	}
	b->end += done;
	return done;
}

// Block i has grown up to the next one: they become one.
static void
ooo_join(struct tcp_conn *c, uint32_t i)
{
	struct ooo *o = ooo_of(c);
	struct ooo_block *b = &o->block[i], *next = b + 1;
	struct chunk *last = pool_at(&c->tcp->chunks->pool, b->last);

	CHECK(last->next == NULL);
	last->next = pool_at(&c->tcp->chunks->pool, next->first);
	b->last = next->last;
	b->end = next->end;
	ooo_remove(c, i + 1);
}

enum tcp_ooo
tcp_ooo_add(struct tcp_conn *c, struct tcp_range at, const uint8_t *bytes, uint32_t chunks_max,
	    struct tcp_range *dup)
{
	uint32_t seq = at.start, age = ++c->tcp->ooo_age;
	enum tcp_ooo result = TCP_OOO_KNOWN;

	CHECK(seq_lt(c->rcv_nxt, seq) && seq_lt(seq, at.end));
	*dup = (struct tcp_range){0, 0};
	if (c->ooo == NULL) {
		c->ooo = ooo_chunk_get(c);
		if (c->ooo == NULL)
			return TCP_OOO_FULL;
		*ooo_of(c) = (struct ooo){.chunks = 1, .since_ms = c->tcp->now_ms32};
		list_push_back(&c->tcp->gaps, &c->node);
	}
	struct ooo *o = ooo_of(c);
	uint32_t i = ooo_find(o, seq);

	while (seq != at.end) { // each turn passes a block, joins one to the next, or ends
		if ((i == o->count || seq_lt(seq, o->block[i].start)) && !ooo_insert(o, i, seq)) {
			result = TCP_OOO_FULL;
			break;
		}
		struct ooo_block *b = &o->block[i];
		uint32_t n = seq_min(at.end, b->end) - seq;

		if (n > 0) { // there already
			if (dup->start == dup->end)
				*dup = (struct tcp_range){seq, seq + n};
			b->age = age;
			seq += n;
			continue;
		}
		bool has_next = i + 1 < o->count;
		uint32_t room = (has_next ? seq_min(at.end, b[1].start) : at.end) - seq;

		n = ooo_append(c, b, (struct span){bytes + (seq - at.start), room}, chunks_max);
		seq += n;
		if (n > 0) {
			b->age = age;
			result = TCP_OOO_KEPT;
		}
		if (n < room) {
			result = TCP_OOO_FULL;
			break;
		}
		if (has_next && b->end == b[1].start)
			ooo_join(c, i);
	}
	CHECK(i < o->count || result == TCP_OOO_FULL);
	if (i < o->count && o->block[i].first == OOO_NONE)
		ooo_remove(c, i); // it got no chunk
	return result;
}

bool
tcp_ooo_first(const struct tcp_conn *c, uint32_t *seq)
{
	if (c->ooo == NULL)
		return false;
	*seq = ooo_of(c)->block[0].start;
	return true;
}

struct chunk *
tcp_ooo_take(struct tcp_conn *c)
{
	const struct pool *pool = &c->tcp->chunks->pool;

	if (c->ooo == NULL)
		return NULL;
	struct ooo *o = ooo_of(c);
	struct ooo_block *b = &o->block[0];

	CHECK(seq_le(c->rcv_nxt, b->start)); // bytes in order stop where a block begins
	if (c->rcv_nxt != b->start)
		return NULL;
	struct chunk *k = pool_at(pool, b->first);

	OBJ_CHECK(k, CHUNK_MAGIC);
	CHECK(o->chunks > 1);
	o->chunks--;
	b->start += k->len;
	if (k->next == NULL) {
		CHECK(b->start == b->end);
		ooo_remove(c, 0);
	} else {
		b->first = pool_index(pool, k->next);
		k->next = NULL;
	}
	return k;
}

uint32_t
tcp_ooo_sack(const struct tcp_conn *c, struct tcp_range *blocks, uint32_t most)
{
	uint32_t ages[TCP_SACK_BLOCKS_MAX];
	uint32_t count = 0;

	CHECK(most <= TCP_SACK_BLOCKS_MAX);
	if (c->ooo == NULL || most == 0)
		return 0;
	const struct ooo *o = ooo_of(c);

	for (uint32_t b = 0; b < o->count; b++) { // newest first; the oldest falls off the end
		uint32_t age = o->block[b].age, i = count < most ? count++ : most;

		for (; i > 0 && seq_lt(ages[i - 1], age); i--) {
			if (i == most)
				continue;
			ages[i] = ages[i - 1];
			blocks[i] = blocks[i - 1];
		}
		if (i == most)
			continue;
		ages[i] = age;
		blocks[i] = (struct tcp_range){o->block[b].start, o->block[b].end};
	}
	return count;
}

void
tcp_ooo_clear(struct tcp_conn *c)
{
	struct chunk_pool *pool = c->tcp->chunks;

	if (c->ooo == NULL)
		return;
	struct ooo *o = ooo_of(c);

	for (uint32_t i = 0; i < o->count; i++) {
		struct chunk *k = pool_at(&pool->pool, o->block[i].first);

		while (k != NULL) { // all blocks together: the chunks that were counted
			struct chunk *next = k->next;

			CHECK(o->chunks > 1);
			o->chunks--;
			chunk_put(pool, k);
			k = next;
		}
	}
	ooo_end(c);
}

// Fifty segments of one byte, each with a gap before it, hold fifty chunks, and the session that
// sent them lives for minutes. What was reported by SACK may be taken back (RFC 2018 8).
uint32_t
tcp_ooo_shed(struct tcp *t)
{
	const struct pool *pool = &t->chunks->pool;
	struct list_node *n;
	uint32_t count = 0;

	while (count < OOO_SHED_MOST && pool_free_count(pool) < pool->cap / 2 &&
	       (n = list_first(&t->gaps)) != NULL) {
		struct tcp_conn *c = CONTAINER_OF(n, struct tcp_conn, node);

		if (t->now_ms32 - ooo_of(c)->since_ms < OOO_GAP_MS)
			break;
		COUNT(t->counters, TCP_GAP_SHED);
		tcp_ooo_clear(c);
		count++;
	}
	return count;
}
