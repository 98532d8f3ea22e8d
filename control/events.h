// SPDX-License-Identifier: Apache-2.0
// events: empties the workers' event rings: log records into the message log, session rows to the
// API, and what the workers find of the mail servers into a table.
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
#define EVENTS_BACKENDS_MAX 64u // of all policies held; beyond it the one heard of longest ago goes
#define EVENTS_SAY_MS 3000u     // between two operator lines about one backend

// A LOGREC_SESSION, LOGREC_SESSION_END or a raw one; `worker` is the ring it came from.
typedef void (*events_session_fn)(void *ctx, uint32_t worker, const struct logrec *r);

enum events_state { EVENTS_UNKNOWN, EVENTS_UP, EVENTS_DOWN };

struct events_backend {
	bool is_used;
	uint8_t direction;
	uint16_t port;
	struct ipaddr addr;
	uint8_t state[REGION_WORKERS_MAX]; // enum events_state, what each worker found
	enum events_state all;             // down if one of them cannot get through
	enum events_state said;            // to the operator, at said_ms
	uint64_t since_us, heard_us;       // Unix time; 0: never
	uint64_t said_ms;
	char name[64], error[160]; // the last error stays when it is up again
};

struct events {
	struct region *region;  // borrowed
	struct log_writer *log; // borrowed
	events_session_fn session;
	void *ctx;
	struct ring ring[REGION_WORKERS_MAX];
	bool is_attached[REGION_WORKERS_MAX];
	uint32_t next; // the worker that is asked first in the next turn
	uint64_t records, invalid;
	uint64_t plane_pid; // whose workers the table is of
	struct events_backend backend[EVENTS_BACKENDS_MAX];
};

void events_init(struct events *e, struct region *region, struct log_writer *log,
		 events_session_fn session, void *ctx);
// Returns the number of records taken; EVENTS_A_TURN_MAX: there may be more, come again at once.
uint32_t events_drain(struct events *e);
// What the dataplane that runs now has found of a backend; NULL: nothing yet.
const struct events_backend *events_backend_find(const struct events *e, const struct ipaddr *addr,
						 uint16_t port, uint32_t direction);
const char *events_state_name(enum events_state s);
uint32_t events_damaged(const struct events *e); // rings that cannot be used
uint64_t events_lost(const struct events *e);    // records that the workers had no room for
