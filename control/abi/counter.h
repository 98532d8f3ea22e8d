// SPDX-License-Identifier: Apache-2.0
// counter: what a worker counts, in shared memory, one block a worker.
//
// Who calls it: COUNT runs on the owning worker only; posternd reads with counter_read. Readers may
// see a set of counters from different instants, never a torn word.
#pragma once

#include "control/abi/model.h"

enum counter {
#define COUNTER(id, help) COUNTER_##id,
#include "control/abi/counter.def"
#undef COUNTER
	COUNTER_COUNT
};

// Bucket i of the loop histogram: turns that took less than 2^i us, and not less than half of it.
#define LOOP_BUCKETS 24

struct counters {
	uint64_t v[COUNTER_COUNT];
	uint64_t events[EVENT_COUNT];                // times raised
	uint64_t actions[AGENT_COUNT][ACTION_COUNT]; // decisions
	// gauges
	uint64_t sessions_open, backends_open, chunks_used, chunks_cap, connections_open;
	uint64_t handshakes_open, time_waits_open; // without a connection
	uint64_t shed_level;                       // enum shed_level, 0: not pressed
	uint64_t shed_cause;                       // enum shed_resource: what raised it last
	uint64_t addresses_taken;                  // IPv6 ones of ours that another station has
	uint64_t loop[LOOP_BUCKETS];               // busy turns, by duration: 1 us, 2 us, 4 us ..
};

static inline void
counter_add(uint64_t *c, uint64_t n)
{
	__atomic_store_n(c, *c + n, __ATOMIC_RELAXED);
}

static inline uint64_t
counter_read(const uint64_t *c)
{
	return __atomic_load_n(c, __ATOMIC_RELAXED);
}

#define COUNT(cs, id) counter_add(&(cs)->v[COUNTER_##id], 1)
#define COUNT_N(cs, id, n) counter_add(&(cs)->v[COUNTER_##id], (n))

const char *counter_name(uint32_t c); // lower case; "?" out of range
const char *counter_help(uint32_t c);
