// SPDX-License-Identifier: Apache-2.0
// events: empties the workers' event rings: log records into the message log, session rows to the
// API.
//
// Who calls it: posternd's loop, once a turn; single-threaded. Memory: the caller's struct; the
// rings are in the region, the log is the caller's. What can go wrong: a ring is damaged: it is
// left alone and counted; a record that makes no sense is counted and dropped (the dataplane is not
// trusted either). One turn takes a bounded number of records, fairly over the workers, so a flood
// does not starve the CLI.
#pragma once

#include "control/abi/region.h"
#include "control/log_writer.h"

#define EVENTS_A_WORKER_MAX 1024u // records of one worker in one turn
#define EVENTS_A_TURN_MAX 4096u   // and of all

// A LOGREC_SESSION or LOGREC_SESSION_END; `worker` is the ring it came from.
typedef void (*events_session_fn)(void *ctx, uint32_t worker, const struct logrec *r);

struct events {
	struct region *region;  // borrowed
	struct log_writer *log; // borrowed
	events_session_fn session;
	void *ctx;
	struct ring ring[REGION_WORKERS_MAX];
	bool is_attached[REGION_WORKERS_MAX];
	uint32_t next; // the worker that is asked first in the next turn
	uint64_t records, invalid;
};

void events_init(struct events *e, struct region *region, struct log_writer *log,
		 events_session_fn session, void *ctx);
// Returns the number of records taken; EVENTS_A_TURN_MAX: there may be more, come again at once.
uint32_t events_drain(struct events *e);
uint32_t events_damaged(const struct events *e); // rings that cannot be used
uint64_t events_lost(const struct events *e);    // records that the workers had no room for
