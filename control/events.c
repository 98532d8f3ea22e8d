// SPDX-License-Identifier: Apache-2.0
#include "control/events.h"

#include <string.h>
#include <time.h>

#include "control/oplog.h"

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

// --- backends ---

static uint64_t
plane_pid_now(const struct events *e)
{
	return __atomic_load_n(&e->region->head->plane_pid, __ATOMIC_ACQUIRE);
}

static uint32_t
backend_search(const struct events *e, const struct ipaddr *addr, uint16_t port, uint32_t direction)
{
	for (uint32_t i = 0; i < EVENTS_BACKENDS_MAX; i++) {
		const struct events_backend *b = &e->backend[i];
		if (b->is_used && b->port == port && b->direction == direction &&
		    ipaddr_eq(&b->addr, addr))
			return i;
	}
	return EVENTS_BACKENDS_MAX;
}

const struct events_backend *
events_backend_find(const struct events *e, const struct ipaddr *addr, uint16_t port,
		    uint32_t direction)
{
	CHECK(e != NULL && addr != NULL);
	uint32_t i = backend_search(e, addr, port, direction);
	return i < EVENTS_BACKENDS_MAX && e->plane_pid == plane_pid_now(e) ? &e->backend[i] : NULL;
}

const char *
events_state_name(enum events_state s)
{
	return s == EVENTS_UP ? "up" : s == EVENTS_DOWN ? "down" : "unknown";
}

static struct events_backend *
backend_row(struct events *e, const struct logrec *r)
{
	uint32_t i = backend_search(e, &r->client, r->client_port, r->direction);
	if (i < EVENTS_BACKENDS_MAX)
		return &e->backend[i];
	i = 0;
	for (uint32_t k = 0; k < EVENTS_BACKENDS_MAX && e->backend[i].is_used; k++) {
		if (!e->backend[k].is_used || e->backend[k].heard_us < e->backend[i].heard_us)
			i = k;
	}
	e->backend[i] = (struct events_backend){.is_used = true,
						.direction = r->direction,
						.port = r->client_port,
						.addr = r->client};
	return &e->backend[i];
}

static void
text_take(char *to, uint32_t size, struct span text)
{
	struct strbuf b;
	strbuf_init(&b, to, size);
	strbuf_add(&b, text);
}

// A backend that goes up and down with each connection must not fill the operator's log: its
// changes are told at most once in EVENTS_SAY_MS; the last state is told in the end.
static void
backend_say(struct events_backend *b)
{
	struct timespec ts;
	char where[80];
	struct strbuf t;

	if (b->said == b->all)
		return;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	uint64_t now_ms = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
	if (b->said != EVENTS_UNKNOWN && now_ms - b->said_ms < EVENTS_SAY_MS)
		return;
	strbuf_init(&t, where, sizeof(where));
	log_endpoint_format(&t, &b->addr, b->port);
	if (b->all == EVENTS_DOWN)
		oplog(OPLOG_WARNING, "backend %s, %s, is down: %s", b->name, where, b->error);
	else
		oplog(OPLOG_INFO, "backend %s, %s, is up", b->name, where);
	b->said = b->all;
	b->said_ms = now_ms;
}

static void
backend_take(struct events *e, uint32_t worker, const struct logrec *r)
{
	uint64_t pid = plane_pid_now(e);
	enum events_state all = EVENTS_UP;

	if (pid != e->plane_pid) { // another life, perhaps with fewer workers
		memset(e->backend, 0, sizeof(e->backend));
		e->plane_pid = pid;
	}
	struct events_backend *b = backend_row(e, r);
	CHECK(worker < REGION_WORKERS_MAX);
	b->state[worker] = r->reply_code == LOGREC_BACKEND_UP ? EVENTS_UP : EVENTS_DOWN;
	for (uint32_t w = 0; w < REGION_WORKERS_MAX; w++) {
		if (b->state[w] == EVENTS_DOWN)
			all = EVENTS_DOWN;
	}
	text_take(b->name, sizeof(b->name), logrec_get(r, LOGREC_RULE));
	if (b->state[worker] == EVENTS_DOWN)
		text_take(b->error, sizeof(b->error), logrec_get(r, LOGREC_EVIDENCE));
	if (all != b->all)
		b->since_us = r->time_us;
	b->all = all;
	b->heard_us = r->time_us;
	backend_say(b);
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
	else if (r->kind == LOGREC_SESSION || r->kind == LOGREC_SESSION_END ||
		 r->kind == LOGREC_HALF || r->kind == LOGREC_TRACE || r->kind == LOGREC_FRAME)
		e->session(e->ctx, worker, r);
	else if (r->kind == LOGREC_BACKEND && r->reply_code <= LOGREC_BACKEND_UP)
		backend_take(e, worker, r);
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
	for (uint32_t i = 0; i < EVENTS_BACKENDS_MAX; i++) {
		if (e->backend[i].is_used)
			backend_say(&e->backend[i]);
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
