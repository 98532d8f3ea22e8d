// SPDX-License-Identifier: Apache-2.0
// trace: what happened to each session lately: a ring of 32-byte records, one a worker, always on.
//
// What for: `postern session show`, and the anomaly that nobody watched when it came. Who calls it:
// TCP and the sessions, on the owning worker. Each connection and each session keeps the place of
// its newest record (4 bytes), each record that of the one before it, so the records of one chain
// are found without looking at the others'. Memory: one block at boot. What can go wrong: nothing;
// old records are overwritten, a chain ends where they are gone.
#pragma once

#include "control/abi/trace.h"
#include "control/base/mem.h"

#define TRACE_RECORDS (1u << 16) // of a worker: 2 MiB, about a thousand messages

struct trace {
	struct trace_rec *rec; // NULL: off (tests)
	uint32_t next;         // place of the next record; 0 is never used
	uint64_t now_us;
	struct mem_source *mem;
};

extern struct trace trace_off; // records nothing
must_use bool trace_init(struct trace *t, struct mem_source *m);
void trace_fini(struct trace *t);
// Copies the newest records of a chain, the newest first. Returns how many.
uint32_t trace_read(const struct trace *t, uint32_t last, struct trace_rec *out, uint32_t most);

// The record to fill, already in the chain; its contents are old. NULL: off.
static inline struct trace_rec *
trace_add(struct trace *t, uint32_t *last, enum trace_kind kind)
{
	if (unlikely(t->rec == NULL))
		return NULL;
	struct trace_rec *r = &t->rec[t->next % TRACE_RECORDS];

	*r = (struct trace_rec){.us = t->now_us, .prev = *last, .kind = (uint8_t)kind};
	*last = t->next;
	t->next = t->next == UINT32_MAX ? 1 : t->next + 1;
	return r;
}

static inline void
trace_number(struct trace *t, uint32_t *last, enum trace_kind kind, uint32_t number)
{
	struct trace_rec *r = trace_add(t, last, kind);

	if (r != NULL)
		r->seq = number;
}
