// SPDX-License-Identifier: Apache-2.0
// press: see the header.
#include "test/sim/lib/press.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_SIZE 6000u
#define TURNS_MAX 200000u // polls within one tick
#define PROBE_LEAST_US 1000000ull

static char body[BODY_SIZE];

static void
body_make(void)
{
	static const char head[] = "Subject: honest\r\n\r\n";
	uint32_t at = sizeof(head) - 1;

	memcpy(body, head, at);
	while (at < BODY_SIZE) {
		uint32_t n = MIN(72u, BODY_SIZE - at);
		memset(body + at, 'x', n);
		body[at + n - 2] = '\r';
		body[at + n - 1] = '\n';
		at += n;
	}
}

// --- the honest ones ---

static void
honest_begin(struct press *w, struct press_honest *h)
{
	struct ipaddr to = testpolicy_addr(TEST_OUTSIDE, w->args.is_v6);

	memset(h->m, 0, sizeof(h->m));
	for (uint32_t i = 0; i < PRESS_MESSAGES; i++)
		h->m[i] = (struct source_message){.from = "honest@client.test",
						  .rcpt = {"somebody@server.test"},
						  .data = (const uint8_t *)body,
						  .size = BODY_SIZE};
	source_close(&h->s);
	memset(&h->s, 0, sizeof(h->s));
	h->s.message = h->m;
	h->s.count = PRESS_MESSAGES;
	h->s.pipelining = (h - w->honest) % 2;
	h->begin_us = w->a->now_us;
	h->is_running = source_open(&h->s, w->a->client.tcp, &to, TEST_SMTP_PORT);
	PRESS_WANT(w, h->is_running, "an honest client has no connection left");
}

static void
honest_judge(struct press *w, struct press_honest *h)
{
	h->is_running = false;
	w->slowest_us = MAX(w->slowest_us, w->a->now_us - h->begin_us);
	if (h->s.last_code == 421) {
		w->refused++;
		return;
	}
	for (uint32_t i = 0; i < PRESS_MESSAGES; i++) {
		const struct source_message *m = &h->m[i];
		bool is_late = m->mail_code == 452 || m->rcpt_code[0] == 452 ||
			       m->data_code == 452 || m->final_code == 452;
		if (m->final_code == 250) {
			w->sent++;
		} else if (is_late) {
			w->put_off++;
		} else {
			w->failed++;
			PRESS_FAIL(w,
				   "an honest client at %" PRIu64 " us: banner %u, message %u: "
				   "MAIL %u RCPT %u DATA %u final %u",
				   w->a->now_us, h->s.last_code, i, m->mail_code, m->rcpt_code[0],
				   m->data_code, m->final_code);
		}
	}
}

static bool
honest_work(struct press *w)
{
	bool moved = false;

	for (uint32_t i = 0; i < PRESS_HONEST; i++) {
		struct press_honest *h = &w->honest[i];
		if (!h->is_running)
			continue;
		moved |= source_work(&h->s);
		if (h->s.state == SOURCE_DONE)
			honest_judge(w, h);
	}
	return moved;
}

static void
honest_tick(struct press *w)
{
	for (uint32_t i = 0; i < PRESS_HONEST && w->honest_every_us > 0; i++) {
		struct press_honest *h = &w->honest[i];
		bool is_due = h->begin_us == 0 || w->a->now_us >= h->begin_us + w->honest_every_us;
		if (!h->is_running && is_due)
			honest_begin(w, h);
	}
}

// --- the world ---

struct worker_usage
press_use(const struct press *w)
{
	return worker_usage(w->a->worker[0]);
}

uint64_t
press_count(const struct press *w, enum counter c)
{
	return appliance_count(w->a, c);
}

uint64_t
press_level(const struct press *w)
{
	return w->a->counters[0].shed_level;
}

static void
look(struct press *w)
{
	const struct worker_usage u = press_use(w);
	const struct counters *c = &w->a->counters[0];

	w->most.connections = MAX(w->most.connections, u.connections);
	w->most.sessions = MAX(w->most.sessions, u.sessions);
	w->most.transactions = MAX(w->most.transactions, u.transactions);
	w->most.backends = MAX(w->most.backends, u.backends);
	w->most.scans = MAX(w->most.scans, u.scans);
	w->most.flights = MAX(w->most.flights, u.flights);
	w->most.chunks = u.chunks_most; // kept by the pool itself
	w->handshakes_most = MAX(w->handshakes_most, c->handshakes_open);
	w->waits_most = MAX(w->waits_most, c->time_waits_open);
	w->level_most = MAX(w->level_most, c->shed_level);
}

void
press_open(struct press *w, const char *const *lines, uint32_t members)
{
	char text[256];
	struct strbuf why;

	memset(w, 0, sizeof(*w));
	body_make();
	w->tick_us = 100000;
	w->honest_every_us = 5 * PRESS_S;
	w->tp = testpolicy_open();
	CHECK(testpolicy_line(w->tp, SPAN_LIT("timeouts.tarpit_s 0")));
	for (uint32_t i = 0; lines[i] != NULL; i++) {
		w->args.is_v6 |= strcmp(lines[i], "ipv6") == 0;
		if (strcmp(lines[i], "ipv6") != 0)
			CHECK(testpolicy_line(w->tp, span_str(lines[i])));
	}
	if (w->args.is_v6)
		testpolicy_v6(w->tp);
	w->args.policy = w->tp;
	w->args.seed = 7;
	w->args.client_link.queue_frames = 32768;
	w->args.peer_keepalive_s = 60;
	strbuf_init(&why, text, sizeof(text));
	w->a = appliance_open(&w->args, &why);
	if (w->a == NULL)
		printf("%s\n", text);
	CHECK(w->a != NULL);
	crowd_open(&w->crowd, w->a, members, w->args.is_v6);
	CHECK(sink_open(&w->sink, w->a->backend.tcp, TEST_SMTP_PORT, 1));
	w->sink.keep = false;
	w->honest_every_us = 0;
	press_run(w, 3 * PRESS_S); // addresses, the first health check
	crowd_meet(&w->crowd);
	press_run(w, w->tick_us);
	w->honest_every_us = 5 * PRESS_S;
}

void
press_policy(struct press *w, const char *line)
{
	char text[256];
	struct strbuf why;

	strbuf_init(&why, text, sizeof(text));
	CHECK(testpolicy_line(w->tp, span_str(line)));
	CHECK(appliance_policy(w->a, w->tp, &why));
}

static void
run_tick(struct press *w, uint64_t end_us)
{
	for (uint32_t i = 0; i < TURNS_MAX; i++) {
		bool moved = appliance_step(w->a, end_us);

		look(w);
		moved |= honest_work(w);
		if (!moved) {
			appliance_goto(w->a, end_us);
			return;
		}
		if (w->a->now_us >= end_us)
			return;
	}
	PRESS_FAIL(w, "it does not come to rest at %" PRIu64 " us", w->a->now_us);
	appliance_goto(w->a, MAX(end_us, w->a->now_us));
}

void
press_run(struct press *w, uint64_t us)
{
	uint64_t end = w->a->now_us + us;

	while (w->a->now_us < end) {
		if (w->tick != NULL)
			w->tick(w);
		honest_tick(w);
		if (w->has_slow_backend)
			sink_resume(&w->sink);
		run_tick(w, MIN(end, w->a->now_us + w->tick_us));
	}
}

static bool
is_at_rest(const struct press *w)
{
	const struct worker_usage u = press_use(w);
	const struct counters *c = &w->a->counters[0];
	bool is_busy = false;

	for (uint32_t i = 0; i < PRESS_HONEST; i++)
		is_busy |= w->honest[i].is_running;
	return !is_busy &&
	       u.sessions + u.transactions + u.scans + u.connections + u.chunks + u.clients == 0 &&
	       c->handshakes_open + c->time_waits_open == 0;
}

void
press_drain(struct press *w, uint64_t us)
{
	uint64_t end = w->a->now_us + us, every = w->honest_every_us;

	w->honest_every_us = 0;
	w->tick = NULL;
	while (w->a->now_us < end && !is_at_rest(w))
		press_run(w, w->tick_us);
	w->honest_every_us = every;
}

void
press_want_served(struct press *w)
{
	uint64_t every = w->honest_every_us;
	uint32_t before = w->sent;

	if (w->honest[0].is_running)
		return;
	w->honest_every_us = 0;
	w->tick = NULL;
	honest_begin(w, &w->honest[0]);
	press_run(w, PRESS_S);
	w->honest_every_us = every;
	PRESS_WANT(w, w->sent == before + PRESS_MESSAGES, "no mail gets through afterwards");
}

void
press_check_calm(struct press *w)
{
	const struct worker_usage u = press_use(w);
	const struct counters *c = &w->a->counters[0];

	PRESS_WANT(w, is_at_rest(w),
		   "left are %u sessions, %u transactions, %u scans, %u connections, %u chunks, "
		   "%u clients, %" PRIu64 " handshakes, %" PRIu64 " waits",
		   u.sessions, u.transactions, u.scans, u.connections, u.chunks, u.clients,
		   c->handshakes_open, c->time_waits_open);
	PRESS_WANT(w, u.flights == 0, "%u flights are left", u.flights);
	PRESS_WANT(w, press_level(w) == 0, "the level stays at %" PRIu64, press_level(w));
	press_want_served(w);
}

bool
press_close(struct press *w, const char *name)
{
	for (uint32_t i = 0; i < PRESS_HONEST; i++)
		source_close(&w->honest[i].s);
	PRESS_WANT(w, w->sink.violations == 0, "the backend was misled: %s", w->sink.violation);
	bool ok = w->why[0] == '\0';
	if (!ok)
		printf("not ok - %s: %s\n", name, w->why);
	printf("%s%s: honest sent %u, refused %u, put off %u, slowest %" PRIu64 " ms; most: "
	       "%u chunks, %u connections, %u sessions, %" PRIu64 " handshakes, %" PRIu64
	       " waits, level %" PRIu64 "\n",
	       ok ? "ok - " : "    ", name, w->sent, w->refused, w->put_off, w->slowest_us / 1000,
	       w->most.chunks, w->most.connections, w->most.sessions, w->handshakes_most,
	       w->waits_most, w->level_most);
	if (!ok)
		for (uint32_t k = 0; k < COUNTER_COUNT; k++)
			if (press_count(w, k) > 0)
				printf("      %s %" PRIu64 "\n", counter_name(k),
				       press_count(w, k));
	crowd_close(&w->crowd);
	sink_close(&w->sink);
	appliance_close(&w->a);
	testpolicy_close(&w->tp);
	(void)fflush(stdout);
	return ok;
}

// --- what scenarios have in common ---

void
press_begin(struct press *w, uint32_t from, uint32_t to, const char *const *script)
{
	for (uint32_t i = from; i < to; i++) {
		w->crowd.m[i].script = script;
		crowd_syn(&w->crowd, i);
		if (i % 512 == 511)
			press_run(w, 20000);
	}
}

void
press_want_honest(struct press *w)
{
	PRESS_WANT(w, w->failed == 0 && w->refused == 0 && w->put_off == 0 && w->sent > 0,
		   "honest clients: %u sent, %u refused, %u put off, %u failed", w->sent,
		   w->refused, w->put_off, w->failed);
	PRESS_WANT(w, w->slowest_us <= 2 * PRESS_S, "an honest session took %lu us",
		   (unsigned long)w->slowest_us);
}

void
press_want_count(struct press *w, enum counter c, uint64_t want)
{
	PRESS_WANT(w, press_count(w, c) == want, "%s is %lu, not %lu", counter_name(c),
		   (unsigned long)press_count(w, c), (unsigned long)want);
}

int
press_main(int argc, char **argv, const struct press_scenario *list, uint32_t count)
{
	static struct press w;
	uint32_t passed = 0, failed = 0;

	for (uint32_t i = 0; i < count; i++) {
		bool is_wanted = argc < 2;

		for (int k = 1; k < argc; k++)
			is_wanted |= strcmp(argv[k], list[i].name) == 0;
		if (!is_wanted)
			continue;
		list[i].run(&w);
		press_drain(&w, 200 * PRESS_S);
		press_check_calm(&w);
		if (press_close(&w, list[i].name))
			passed++;
		else
			failed++;
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed > 0;
}
