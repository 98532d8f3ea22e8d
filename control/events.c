// SPDX-License-Identifier: Apache-2.0
#include "control/events.h"

#include <string.h>

void
events_init(struct events *e, struct region *region, struct log_writer *log,
	    events_session_fn session, void *ctx)
{
	CHECK(e != NULL && region != NULL && region->head != NULL);
	CHECK(log != NULL && session != NULL);
	*e = (struct events){.region = region, .log = log, .session = session, .ctx = ctx};
	for (uint32_t w = 0; w < REGION_WORKERS_MAX; w++)
		e->is_attached[w] = region_events(region, w, &e->ring[w]);
}

static void
record_take(struct events *e, uint32_t worker, const struct logrec *r)
{
	if (!logrec_is_valid(r)) {
		e->invalid++;
		return;
	}
	if (r->kind == LOGREC_MESSAGE)
		log_writer_put(e->log, r);
	else if (r->kind == LOGREC_SESSION || r->kind == LOGREC_SESSION_END)
		e->session(e->ctx, worker, r);
	else
		e->invalid++;
}

uint32_t
events_drain(struct events *e)
{
	struct logrec r; // a copy: the validity of what lies in shared memory would not last
	uint32_t total = 0;

	CHECK(e != NULL && e->region != NULL);
	CHECK(e->next < REGION_WORKERS_MAX);
	for (uint32_t i = 0; i < REGION_WORKERS_MAX && total < EVENTS_A_TURN_MAX; i++) {
		uint32_t w = (e->next + i) % REGION_WORKERS_MAX;
		if (!e->is_attached[w])
			continue;
		for (uint32_t n = 0; n < EVENTS_A_WORKER_MAX && total < EVENTS_A_TURN_MAX; n++) {
			if (!ring_get(&e->ring[w], &r))
				break;
			record_take(e, w, &r);
			total++;
		}
	}
	e->next = (e->next + 1) % REGION_WORKERS_MAX;
	e->records += total;
	return total;
}

uint32_t
events_damaged(const struct events *e)
{
	uint32_t n = 0;

	CHECK(e != NULL);
	for (uint32_t w = 0; w < REGION_WORKERS_MAX; w++)
		n += !e->is_attached[w];
	return n;
}

uint64_t
events_lost(const struct events *e)
{
	uint64_t n = 0;

	CHECK(e != NULL);
	for (uint32_t w = 0; w < REGION_WORKERS_MAX; w++) {
		if (e->is_attached[w])
			n += counter_read(&e->ring[w].head->lost);
	}
	return n;
}
