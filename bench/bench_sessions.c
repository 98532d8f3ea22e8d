// SPDX-License-Identifier: Apache-2.0
// bench_sessions: what a session costs that does nothing, and what a million of them cost the
// others.
//
// One worker, a million clients that have said EHLO and nothing since. session_bytes is what the
// process grew by from before the worker was opened, all tables included, divided by the sessions.
// new_session_rate is that of short sessions (SYN to the last FIN, EHLO and QUIT in between) while
// the million is there; its baseline is the rate of another worker without them. The two take turns
// of some 170 ms: on a shared machine the seconds are not alike. Only the cycles inside worker_poll
// count, not those of the clients (mass.c).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/mass.h"
#include "dataplane/worker.h"
#include "test/sim/lib/testpolicy.h"

#define SESSIONS 1000000u
#define BATCH 65536u
#define PAIRS 11u
#define TURNS_MAX 100000000ull

struct world {
	struct mass out, in;
	struct worker *worker;
	struct counters counters;
	uint64_t now_us, cycles;
	double tsc_per_us;
	uint32_t next; // client
};

static uint64_t
resident_bytes(void)
{
	unsigned long total, pages;
	FILE *f = fopen("/proc/self/statm", "r");

	CHECK(f != NULL);
	CHECK(fscanf(f, "%lu %lu", &total, &pages) == 2);
	(void)fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static struct policy_use *
make_policy(void)
{
	static const char *const line[] = {"machine.sessions_max 1048576", "machine.chunks 8192",
					   "machine.scans_max 256", "timeouts.keepalive_s 3600",
					   "timeouts.command_s 3600"};
	char text[256];
	struct strbuf why;
	struct testpolicy *t = testpolicy_open();

	CHECK(t != NULL);
	for (size_t i = 0; i < ARRAY_LEN(line); i++)
		CHECK(testpolicy_line(t, span_str(line[i])));
	strbuf_init(&why, text, sizeof(text));
	struct policy_use *use = testpolicy_make(t, 2, &why);
	CHECK(use != NULL);
	testpolicy_close(&t);
	return use;
}

static void
world_open(struct world *w, uint32_t index, const struct policy_use *use)
{
	static const uint8_t mac[2][6] = {{2, 0, 0, 0, 1, 0}, {2, 0, 0, 0, 2, 0}};
	char text[256];
	struct strbuf why;
	struct worker_args a = {.index = index,
				.policy = use,
				.counters = &w->counters,
				.seed = 1,
				.mem = &mem_heap,
				.iface_count = 2};

	mass_init(&w->out, TEST_OUTSIDE_IP, mac[0]);
	mass_init(&w->in, TEST_INSIDE_IP, mac[1]);
	a.ifaces[0] = (struct net_iface){
		.port = &w->out.port,
		.addr_count = 1,
		.addr = {{ipaddr_v4(TEST_OUTSIDE_IP), ipaddr_v4(TEST_OUTSIDE_IP + 1), 120}}};
	a.ifaces[1] = (struct net_iface){
		.port = &w->in.port,
		.addr_count = 1,
		.addr = {{.addr = ipaddr_v4(TEST_INSIDE_IP), .prefix_bits = 120}}};
	memset(a.secret, 0x5a, sizeof(a.secret));
	strbuf_init(&why, text, sizeof(text));
	w->now_us = 1000000;
	w->worker = worker_open(&a, w->now_us, &why);
	if (w->worker == NULL)
		(void)fprintf(stderr, "%s\n", text);
	CHECK(w->worker != NULL);
}

// The clock goes on as fast as the worker works.
static uint32_t
turn(struct world *w)
{
	uint64_t begin = bench_cycles();
	uint32_t work = worker_poll(w->worker, w->now_us, 1700000000000000ull + w->now_us);
	uint64_t cycles = bench_cycles() - begin;

	w->now_us += (uint64_t)((double)cycles / w->tsc_per_us) + 1;
	if (work > 0)
		w->cycles += cycles;
	return work;
}

// Opens `count` sessions of new clients and goes on until all of them are where they shall be.
static void
open_sessions(struct world *w, uint32_t count, bool is_quitting)
{
	uint64_t *done = is_quitting ? &w->out.closed : &w->out.idle, target = *done + count;
	uint32_t opened = 0;

	w->out.is_quitting = is_quitting;
	for (uint64_t t = 0; *done < target; t++) {
		CHECK(t < TURNS_MAX);
		// No more at once than a burst: a crowd that comes all at one time measures queues.
		for (uint32_t i = 0; i < PORT_BURST && opened < count; i++) {
			if (!mass_open(&w->out, w->next))
				break;
			w->next++;
			opened++;
		}
		(void)turn(w);
		if (w->out.refused > 0 || w->out.resets > 0) {
			(void)fprintf(stderr, "%lu sessions refused, %lu reset\n",
				      (unsigned long)w->out.refused, (unsigned long)w->out.resets);
			exit(1);
		}
	}
	while (turn(w) > 0)
		;
}

static double
short_session_cycles(struct world *w)
{
	uint64_t before = w->cycles;

	open_sessions(w, BATCH, true);
	return (double)(w->cycles - before) / BATCH;
}

int
main(int argc, char **argv)
{
	static struct world empty, full;
	double v_empty[PAIRS], v_full[PAIRS];
	struct bench b = {.file = argc > 1 ? argv[1] : "sessions.json"};
	double hz = bench_tsc_hz();

	empty.tsc_per_us = full.tsc_per_us = hz / 1e6;
	struct policy_use *use = make_policy();
	world_open(&empty, 0, use);
	open_sessions(&empty, BATCH, true); // warm
	uint64_t before = resident_bytes();
	world_open(&full, 1, use);
	open_sessions(&full, SESSIONS, false);
	CHECK(full.counters.sessions_open == SESSIONS);
	CHECK(full.counters.chunks_used == 0);
	double bytes = (double)(resident_bytes() - before) / SESSIONS;

	open_sessions(&full, BATCH, true); // warm as well
	for (uint32_t i = 0; i < PAIRS; i++) {
		v_empty[i] = short_session_cycles(&empty);
		v_full[i] = short_session_cycles(&full);
	}
	CHECK(empty.counters.sessions_open == 0);
	CHECK(full.counters.sessions_open == SESSIONS);

	bench_add(&b, "session_bytes", bytes, "bytes/session", "a million idle sessions in 1 GB",
		  1e9 / SESSIONS);
	bench_add(&b, "new_session_rate", hz / bench_median(v_full, PAIRS), "sessions/s",
		  "the same with an empty table", hz / bench_median(v_empty, PAIRS));
	worker_close(&empty.worker);
	worker_close(&full.worker);
	policy_use_close(&use);
	mass_fini(&empty.out);
	mass_fini(&empty.in);
	mass_fini(&full.out);
	mass_fini(&full.in);
	return bench_finish(&b);
}
