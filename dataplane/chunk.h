// SPDX-License-Identifier: Apache-2.0
// chunk: bounded stream and message memory: 2 KiB blocks of one pool a worker, in queues.
//
// What for: TCP's receive, reassembly and send queues and the bodies of messages are all made of
// the same chunks, so bytes are copied once from the packet into a chunk and then move by changing
// the queue they are in. Who calls it: the owning worker. Memory: one pool at boot; a queue owns
// its chunks. What can go wrong: the pool is empty: chunkq_add takes fewer bytes than offered;
// callers shed as their header says.
//
// How much of the pool is free:
//   below 1/2   short: messages take their share, no longer what they like
//   below 1/8   low: new messages and sessions are refused, so that those under way can end
//   below 1/16  last: a client that is paused keeps a command's worth, and nothing while messages
//               are many; what is left is for what ends the waiting: commands, replies, edits,
//               terminators, a step of a message that holds nothing
//   below 1/32  messages take that step alone
// A share is no more than an eighth of what is free above the low mark, and where there are more
// than eight messages, one part for each: what all of them hold stays inside the pool.
#pragma once

#include "control/base/pool.h"
#include "control/base/span.h"

#define CHUNK_SIZE 2048
#define CHUNK_DATA (CHUNK_SIZE - 24)
#define CHUNK_MAGIC 0x4b4e4843u

struct chunk {
	uint32_t magic;
	uint16_t off, len; // the bytes in use: data[off .. off + len)
	struct chunk *next;
	uint64_t tag; // the owner's: TCP reassembly keeps the sequence number here
	uint8_t data[CHUNK_DATA];
};
static_assert(sizeof(struct chunk) == CHUNK_SIZE, "a power of two");

struct chunk_pool {
	struct pool pool;
	uint32_t messages; // under way, that the memory is shared among: smtp_tx.c says so
};

struct chunkq {
	struct chunk *first, *last;
	uint32_t count; // chunks
	uint32_t bytes; // a queue is a window, or a message of at most 1 GiB (setting.def)
};
static_assert(sizeof(struct chunkq) == 24, "two of them in a line of tcp_conn leave room");

must_use bool chunk_pool_init(struct chunk_pool *p, struct mem_source *m, uint32_t count);
void chunk_pool_fini(struct chunk_pool *p);
bool chunk_pool_is_short(const struct chunk_pool *p);
bool chunk_pool_is_low(const struct chunk_pool *p);
bool chunk_pool_is_last(const struct chunk_pool *p);
uint32_t chunk_pool_spare(const struct chunk_pool *p);  // chunks that what waits may still take
uint32_t chunk_pool_share(const struct chunk_pool *p);  // of them, one message or connection
bool chunk_pool_is_shared(const struct chunk_pool *p);  // by so many that windows have to know
struct chunk *must_use chunk_get(struct chunk_pool *p); // empty, next NULL; NULL: none left
void chunk_put(struct chunk_pool *p, struct chunk *c);

void chunkq_init(struct chunkq *q);
bool chunkq_is_empty(const struct chunkq *q);
// Copies bytes to the end, filling the last chunk first; returns how many went in.
uint32_t chunkq_add(struct chunkq *q, struct chunk_pool *p, struct span s);
// Moves all of `from` to the end of `q`; `from` is empty afterwards.
void chunkq_take(struct chunkq *q, struct chunkq *from);
void chunkq_push(struct chunkq *q, struct chunk *c); // takes the chunk
struct span chunkq_head(const struct chunkq *q);     // the first run of bytes; empty: none
void chunkq_drop(struct chunkq *q, struct chunk_pool *p, uint64_t n); // n <= bytes
void chunkq_clear(struct chunkq *q, struct chunk_pool *p);
