// SPDX-License-Identifier: Apache-2.0
// report: a worker's way to posternd: log records and session rows into the event ring.
//
// Who calls it: the owning worker. Memory: the ring is in shared memory; the record is built on the
// stack and copied. What can go wrong: no ring, or it is full (posternd is dead for long): the
// record is lost and counted (LOG_LOST); mail goes on.
#pragma once

#include "control/abi/counter.h"
#include "control/abi/logrec.h"
#include "control/abi/ring.h"

struct report {
	struct ring *events; // NULL: none
	struct counters *counters;
	uint64_t wall_us; // set once a loop by the worker
	uint8_t worker;
	void (*tap)(void *ctx, const struct logrec *r); // tests see every record; NULL: none
	void *tap_ctx;
};

// Fills time and worker, and sends. False: lost.
bool report_put(struct report *r, struct logrec *rec);
