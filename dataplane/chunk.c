// SPDX-License-Identifier: Apache-2.0
// chunk: queues of 2 KiB blocks. Runs on the owning worker; see chunk.h for the contract. A chunk
// without bytes never stays in a queue, so an empty queue holds no memory.
#include "dataplane/chunk.h"

#include <string.h>

#define CHUNK_LEAST 4u  // what a message may have as long as there is that much for each
#define CHUNK_EXTRA 3u  // that a message takes beside its bytes: a command, edits, a part full one
#define CHUNK_SHARES 8u // at least: one that is alone leaves room for those to come

bool
chunk_pool_init(struct chunk_pool *p, struct mem_source *m, uint32_t count)
{
	p->messages = 0;
	return pool_init(&p->pool, m, "chunks", sizeof(struct chunk), count);
}

void
chunk_pool_fini(struct chunk_pool *p)
{
	pool_fini(&p->pool);
}

bool
chunk_pool_is_short(const struct chunk_pool *p)
{
	return pool_free_count(&p->pool) < p->pool.cap / 2;
}

bool
chunk_pool_is_low(const struct chunk_pool *p)
{
	return pool_free_count(&p->pool) < p->pool.cap / 8;
}

bool
chunk_pool_is_last(const struct chunk_pool *p)
{
	return pool_free_count(&p->pool) < p->pool.cap / 16;
}

uint32_t
chunk_pool_spare(const struct chunk_pool *p)
{
	uint32_t spare = pool_free_count(&p->pool), kept = p->pool.cap / 8;

	return spare > kept ? spare - kept : 0;
}

bool
chunk_pool_is_shared(const struct chunk_pool *p)
{
	return p->messages > CHUNK_SHARES;
}

// Of the half that is used last: whoever came first may have filled the other one. Where nothing is
// left to share, small messages still get through on a little of what is kept.
uint32_t
chunk_pool_share(const struct chunk_pool *p)
{
	uint32_t n = MAX(p->messages, CHUNK_SHARES), last = p->pool.cap / 32;
	uint32_t spare = MIN(chunk_pool_spare(p), p->pool.cap / 2 - p->pool.cap / 8) / n;
	uint32_t share = spare > CHUNK_EXTRA ? spare - CHUNK_EXTRA : 0;
	uint32_t left = pool_free_count(&p->pool);

	left = left > last ? (left - last) / n : 0;
	return MAX(share, MIN(left, CHUNK_LEAST));
}

struct chunk *
chunk_get(struct chunk_pool *p)
{
	struct chunk *c = pool_get(&p->pool);

	if (c == NULL)
		return NULL;
	c->magic = CHUNK_MAGIC;
	c->off = 0;
	c->len = 0;
	c->next = NULL;
	c->tag = 0;
	return c;
}

void
chunk_put(struct chunk_pool *p, struct chunk *c)
{
	OBJ_CHECK(c, CHUNK_MAGIC);
	pool_put(&p->pool, c);
}

void
chunkq_init(struct chunkq *q)
{
	q->first = NULL;
	q->last = NULL;
	q->count = 0;
	q->bytes = 0;
}

bool
chunkq_is_empty(const struct chunkq *q)
{
	return q->first == NULL;
}

static void
chunkq_link(struct chunkq *q, struct chunk *c)
{
	c->next = NULL;
	if (q->last == NULL)
		q->first = c;
	else
		q->last->next = c;
	q->last = c;
	q->count++;
}

static struct chunk *
chunkq_unlink_first(struct chunkq *q)
{
	struct chunk *c = q->first;

	OBJ_CHECK(c, CHUNK_MAGIC);
	CHECK(q->count > 0);
	q->first = c->next;
	if (q->first == NULL)
		q->last = NULL;
	q->count--;
	c->next = NULL;
	return c;
}

uint32_t
chunkq_add(struct chunkq *q, struct chunk_pool *p, struct span s)
{
	uint32_t done = 0;

	CHECK(s.p != NULL || s.n == 0);
	CHECK(s.n <= UINT32_MAX - q->bytes);
	while (done < s.n) { // each turn fills a chunk or ends
		struct chunk *c = q->last;

		if (c == NULL || (uint32_t)c->off + c->len == CHUNK_DATA) {
			c = chunk_get(p);
			if (c == NULL)
				break;
			chunkq_link(q, c);
		}
		uint32_t at = (uint32_t)c->off + c->len;
		uint32_t n = MIN(s.n - done, CHUNK_DATA - at);

		memcpy(c->data + at, s.p + done, n);
		c->len = (uint16_t)(c->len + n);
		done += n;
	}
	q->bytes += done;
	return done;
}

void
chunkq_take(struct chunkq *q, struct chunkq *from)
{
	CHECK(q != from);
	if (from->first == NULL)
		return;
	CHECK(from->last != NULL);
	if (q->last == NULL)
		q->first = from->first;
	else
		q->last->next = from->first;
	q->last = from->last;
	q->count += from->count;
	CHECK(from->bytes <= UINT32_MAX - q->bytes);
	q->bytes += from->bytes;
	chunkq_init(from);
}

void
chunkq_push(struct chunkq *q, struct chunk *c)
{
	OBJ_CHECK(c, CHUNK_MAGIC);
	CHECK(c->len > 0);
	CHECK((uint32_t)c->off + c->len <= CHUNK_DATA);
	CHECK(c->len <= UINT32_MAX - q->bytes);
	chunkq_link(q, c);
	q->bytes += c->len;
}

struct span
chunkq_head(const struct chunkq *q)
{
	const struct chunk *c = q->first;

	if (c == NULL)
		return SPAN_NONE;
	OBJ_CHECK(c, CHUNK_MAGIC);
	return (struct span){c->data + c->off, c->len};
}

void
chunkq_drop(struct chunkq *q, struct chunk_pool *p, uint64_t n)
{
	CHECK(n <= q->bytes);
	q->bytes -= (uint32_t)n;
	while (n > 0) { // each turn frees a chunk or ends
		struct chunk *c = q->first;

		OBJ_CHECK(c, CHUNK_MAGIC);
		if (n < c->len) {
			c->off = (uint16_t)(c->off + n);
			c->len = (uint16_t)(c->len - n);
			return;
		}
		n -= c->len;
		chunk_put(p, chunkq_unlink_first(q));
	}
}

void
chunkq_clear(struct chunkq *q, struct chunk_pool *p)
{
	while (q->first != NULL)
		chunk_put(p, chunkq_unlink_first(q));
	CHECK(q->count == 0);
	q->bytes = 0;
}
