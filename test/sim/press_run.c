// SPDX-License-Identifier: Apache-2.0
// press_run: overload on a whole worker, on the virtual clock: what each kind of bad peer costs,
// how long, what it is counted as, and that honest mail gets through meanwhile (invariant 5).
//
//   press_run [NAME ..]     all scenarios, or those; last line "N passed, N failed"
//
// The limits that are written here are the ones that README.md promises. One scenario a function;
// what the ladders and limits do is in press_ladder.c.
#include <stdio.h>
#include <string.h>

#include "test/sim/lib/press.h"

// One message or session of an honest client: what it may hold at the most while others attack.
#define HONEST_CHUNKS (PRESS_HONEST * 24u)

static const char *const to_ehlo[] = {"EHLO bad.test\r\n", NULL};
static const char *const to_data[] = {"EHLO bad.test\r\n", "MAIL FROM:<bad@bad.test>\r\n",
				      "RCPT TO:<somebody@server.test>\r\n", "DATA\r\n", NULL};

static void
backend_link(struct press *w, const struct vnet_path *path)
{
	for (uint32_t e = 0; e < 2; e++)
		vnet_link_set(w->a->link[1], e, path);
}

static void
want_ended(struct press *w, uint32_t from, uint32_t to, uint64_t after_us, uint64_t before_us)
{
	for (uint32_t i = from; i < to; i++) {
		uint64_t at = w->crowd.m[i].ended_us;
		PRESS_WANT(w, at >= after_us && at <= before_us,
			   "member %u was ended at %lu us, not between %lu and %lu", i,
			   (unsigned long)at, (unsigned long)after_us, (unsigned long)before_us);
	}
}

// --- half-open ---

// SYNs and nothing more: records up to three quarters of their pool, then cookies; 69 s.
static void
syn_only(struct press *w)
{
	static const char *const policy[] = {NULL};
	uint32_t high = (4096 / 32 + 8192) / 4 * 3;

	press_open(w, policy, 20000);
	w->crowd.is_deaf = true;
	press_begin(w, 0, 20000, NULL);
	press_run(w, 5 * PRESS_S);
	PRESS_WANT(w, w->handshakes_most <= high + PRESS_HONEST, "%lu handshakes at once",
		   (unsigned long)w->handshakes_most);
	PRESS_WANT(w, PRESS_COUNT(w, TCP_COOKIES_SENT) >= 20000 - high - PRESS_HONEST,
		   "too few cookies");
	press_run(w, 69 * PRESS_S);
	PRESS_WANT(w, w->a->counters[0].handshakes_open <= PRESS_HONEST, "handshakes are left");
	PRESS_WANT(w,
		   PRESS_COUNT(w, TCP_EMBRYO_EXPIRED) + PRESS_COUNT(w, TCP_COOKIES_SENT) >= 20000,
		   "SYNs went uncounted");
	PRESS_WANT(w, w->most.connections <= 4 * PRESS_HONEST + 8, "SYNs took connections");
	PRESS_WANT(w, w->most.chunks <= HONEST_CHUNKS, "SYNs took %u chunks", w->most.chunks);
	press_want_honest(w);
}

// Connected, and not a word: timeouts.command_s, 421.
static void
no_ehlo(struct press *w)
{
	static const char *const policy[] = {NULL};

	press_open(w, policy, 1000);
	press_begin(w, 0, 1000, NULL);
	uint64_t start = w->a->now_us;
	press_run(w, 290 * PRESS_S);
	PRESS_WANT(w, crowd_in_state(&w->crowd, MEMBER_OPEN) == 1000, "ended too early");
	press_run(w, 25 * PRESS_S);
	press_want_count(w, COUNTER_SESSION_TIMEOUT, 1000);
	want_ended(w, 0, 1000, start + 299 * PRESS_S, start + 302 * PRESS_S);
	for (uint32_t i = 0; i < 1000; i++)
		PRESS_WANT(w, w->crowd.m[i].last_code == 421, "member %u heard %u", i,
			   w->crowd.m[i].last_code);
	PRESS_WANT(w, press_use(w).sessions <= PRESS_HONEST,
		   "sessions are left after the lingering");
	PRESS_WANT(w, w->most.chunks <= 1000 + HONEST_CHUNKS, "%u chunks", w->most.chunks);
	press_want_honest(w);
}

// A FIN after the banner, or in the middle of a message, and then silence: the session ends at
// once, the connection within a minute.
static void
half_close(struct press *w)
{
	static const char *const policy[] = {NULL};

	press_open(w, policy, 200);
	press_begin(w, 0, 100, to_ehlo);
	press_begin(w, 100, 200, to_data);
	press_run(w, 2 * PRESS_S);
	for (uint32_t i = 100; i < 200; i++)
		crowd_say(&w->crowd, i, SPAN_LIT("Subject: half\r\n\r\nof a "));
	for (uint32_t i = 0; i < 200; i++)
		crowd_fin(&w->crowd, i);
	w->crowd.is_deaf = true;
	press_run(w, 1 * PRESS_S);
	PRESS_WANT(w, press_use(w).sessions <= PRESS_HONEST, "%u sessions", press_use(w).sessions);
	press_want_count(w, COUNTER_MESSAGES_ABORTED, 100);
	press_run(w, 69 * PRESS_S);
	PRESS_WANT(w, press_use(w).connections <= 4 * PRESS_HONEST, "%u connections",
		   press_use(w).connections);
	PRESS_WANT(w, PRESS_COUNT(w, TCP_TIMEOUT) == 200, "%lu timeouts",
		   (unsigned long)PRESS_COUNT(w, TCP_TIMEOUT));
	press_want_honest(w);
}

// --- slow writers ---

static void
drip_tick(struct press *w)
{
	uint64_t *next = w->ctx;

	if (w->a->now_us < *next)
		return;
	*next += 60 * PRESS_S;
	for (uint32_t i = 0; i < w->crowd.count; i++)
		if (w->crowd.m[i].state == MEMBER_OPEN)
			crowd_say(&w->crowd, i, SPAN_LIT("x"));
}

// One byte of the message a minute keeps timeouts.data_block_s for ever; timeouts.message_s ends
// it. One byte of a command a minute does not even keep timeouts.command_s.
static void
slow_writer(struct press *w)
{
	static const char *const policy[] = {NULL};
	uint64_t next;

	press_open(w, policy, 200);
	press_begin(w, 0, 100, to_data);
	press_begin(w, 100, 200, to_ehlo);
	uint64_t start = w->a->now_us;
	press_run(w, 1 * PRESS_S);
	next = w->a->now_us;
	w->ctx = &next;
	w->tick = drip_tick;
	w->honest_every_us = 20 * PRESS_S;
	press_run(w, 310 * PRESS_S);
	want_ended(w, 100, 200, start + 299 * PRESS_S, start + 305 * PRESS_S);
	press_want_count(w, COUNTER_SESSION_TIMEOUT, 100);
	press_run(w, 3270 * PRESS_S);
	PRESS_WANT(w, crowd_in_state(&w->crowd, MEMBER_OPEN) == 100, "ended too early");
	press_run(w, 40 * PRESS_S);
	want_ended(w, 0, 100, start + 3599 * PRESS_S, start + 3605 * PRESS_S);
	press_want_count(w, COUNTER_SESSION_TIMEOUT, 200);
	// A chunk of bytes each, what is held of it, and a reply.
	PRESS_WANT(w, w->most.chunks <= 200 * 2 + HONEST_CHUNKS, "%u chunks", w->most.chunks);
	press_want_honest(w);
}

// --- slow readers ---

static void
shout(struct press *w, uint32_t from, uint32_t to)
{
	static char many[1400];

	for (uint32_t at = 0; at + 8 <= sizeof(many); at += 8)
		memcpy(many + at, "EHLO x\r\n", 8);
	for (uint32_t k = 0; k < 50; k++) { // 70 KB each: more than any window
		for (uint32_t i = from; i < to; i++)
			if (w->crowd.m[i].state == MEMBER_OPEN &&
			    crowd_room(&w->crowd, i) >= sizeof(many))
				crowd_say(&w->crowd, i, span_of(many, sizeof(many)));
		press_run(w, 10000);
	}
}

// A reply backlog, a window's worth of input: so much one client that reads nothing can hold.
#define SLOW_READER_CHUNKS ((16384u + 1216) / CHUNK_DATA + 2 + 65536 / CHUNK_DATA + 2)

// Commands and commands, and no reply is read. The window stays shut: timeouts.command_s and
// timeouts.zero_window_s are both 300 s.
static void
slow_reader(struct press *w)
{
	static const char *const policy[] = {NULL};

	press_open(w, policy, 100);
	for (uint32_t i = 0; i < 100; i++) {
		w->crowd.m[i].window = 2000;
		w->crowd.m[i].is_filling = true;
	}
	press_begin(w, 0, 100, NULL);
	press_run(w, 1 * PRESS_S);
	uint64_t start = w->a->now_us;
	shout(w, 0, 100);
	PRESS_WANT(w, press_use(w).chunks >= 100 * 20, "they hold no more than %u chunks",
		   press_use(w).chunks);
	press_run(w, 290 * PRESS_S);
	PRESS_WANT(w, press_use(w).sessions >= 100, "ended too early");
	press_run(w, 85 * PRESS_S);
	PRESS_WANT(w, press_use(w).connections <= 4 * PRESS_HONEST,
		   "%u connections are left at %lu", press_use(w).connections,
		   (unsigned long)(w->a->now_us - start));
	PRESS_WANT(w,
		   PRESS_COUNT(w, SESSION_TIMEOUT) == 100 ||
			   PRESS_COUNT(w, TCP_ZERO_WINDOW_LIMIT) == 100,
		   "counted otherwise");
	PRESS_WANT(w, w->most.chunks <= 100 * SLOW_READER_CHUNKS + HONEST_CHUNKS, "%u chunks",
		   w->most.chunks);
	press_want_honest(w);
}

static void
sip_tick(struct press *w)
{
	for (uint32_t i = 0; i < w->crowd.count; i++)
		if (w->crowd.m[i].state == MEMBER_OPEN) {
			w->crowd.m[i].window++;
			crowd_ack(&w->crowd, i);
		}
}

// One byte a second is read: it gets on, and lasts until its session's end and then as long as a
// forgotten connection may.
static void
sipping_reader(struct press *w)
{
	static const char *const policy[] = {NULL};

	press_open(w, policy, 50);
	for (uint32_t i = 0; i < 50; i++) {
		w->crowd.m[i].window = 2000;
		w->crowd.m[i].is_filling = true;
	}
	press_begin(w, 0, 50, NULL);
	press_run(w, 1 * PRESS_S);
	shout(w, 0, 50);
	w->tick = sip_tick;
	w->tick_us = PRESS_S;
	w->honest_every_us = 60 * PRESS_S;
	press_run(w, 3600 * PRESS_S);
	PRESS_WANT(w, press_use(w).sessions <= PRESS_HONEST && press_use(w).connections <= 24,
		   "%u sessions, %u connections, %u chunks after an hour", press_use(w).sessions,
		   press_use(w).connections, press_use(w).chunks);
	PRESS_WANT(w, w->most.chunks <= 50 * SLOW_READER_CHUNKS + HONEST_CHUNKS, "%u chunks",
		   w->most.chunks);
	press_want_honest(w);
}

// --- peers that vanish ---

// Gone after the SYN,ACK, at each command, in the message, before its answer, and, the last kind,
// while nothing is under way: keepalives find those out, timeouts.keepalive_s and a minute later.
static void
vanish(struct press *w)
{
	static const char *const policy[] = {NULL};

	press_open(w, policy, 350);
	press_begin(w, 0, 350, NULL);
	for (uint32_t i = 0; i < 350; i++)
		w->crowd.m[i].is_deaf = i % 7 == 0;
	press_run(w, 1 * PRESS_S);
	for (uint32_t step = 1; step < 7; step++) {
		for (uint32_t i = 0; i < 350; i++) {
			if (i % 7 == step)
				w->crowd.m[i].is_deaf = true;
			if (i % 7 < step || step == 6)
				continue;
			if (step <= 4 && i % 7 != 6)
				crowd_say(&w->crowd, i, span_str(to_data[step - 1]));
			else if (i % 7 == 5)
				crowd_say(&w->crowd, i,
					  SPAN_LIT("Subject: x\r\n\r\nbody\r\n.\r\n"));
		}
		press_run(w, 200000);
	}
	uint32_t before = press_use(w).sessions;
	PRESS_WANT(w, before >= 300, "%u sessions", before);
	press_run(w, 195 * PRESS_S);
	// Those that were idle, and those in the message, who had timeouts.data_block_s.
	uint32_t left = press_use(w).sessions;
	PRESS_WANT(w, left >= 200 && left <= 200 + PRESS_HONEST, "%u sessions of 200", left);
	press_run(w, 205 * PRESS_S);
	PRESS_WANT(w, press_use(w).sessions <= PRESS_HONEST, "%u sessions", press_use(w).sessions);
	PRESS_WANT(w, press_use(w).connections <= 4 * PRESS_HONEST, "%u connections",
		   press_use(w).connections);
	PRESS_WANT(w, PRESS_COUNT(w, TCP_TIMEOUT) + PRESS_COUNT(w, TCP_EMBRYO_EXPIRED) >= 350,
		   "counted otherwise: %lu and %lu", (unsigned long)PRESS_COUNT(w, TCP_TIMEOUT),
		   (unsigned long)PRESS_COUNT(w, TCP_EMBRYO_EXPIRED));
	PRESS_WANT(w, w->most.chunks <= 350 * 2 + HONEST_CHUNKS, "%u chunks", w->most.chunks);
	press_want_honest(w);
}

static void
slam_tick(struct press *w)
{
	for (uint32_t i = 0; i < w->crowd.count; i++) {
		if (w->crowd.m[i].state == MEMBER_OPEN)
			crowd_rst(&w->crowd, i);
		else if (w->crowd.m[i].state != MEMBER_SYN)
			crowd_syn(&w->crowd, i);
	}
}

// Connect and reset, a hundred times as fast as any sender: nothing piles up.
static void
open_reset(struct press *w)
{
	static const char *const policy[] = {NULL};

	press_open(w, policy, 100);
	w->tick = slam_tick;
	w->tick_us = 2000;
	press_run(w, 20 * PRESS_S);
	PRESS_WANT(w, PRESS_COUNT(w, TCP_RST_IN) >= 100000, "only %lu resets",
		   (unsigned long)PRESS_COUNT(w, TCP_RST_IN));
	PRESS_WANT(w, w->most.connections <= 100 + 4 * PRESS_HONEST + 8, "%u connections",
		   w->most.connections);
	PRESS_WANT(w, w->waits_most <= 8 * PRESS_HONEST * 8, "%lu in TIME_WAIT",
		   (unsigned long)w->waits_most);
	PRESS_WANT(w, w->most.chunks <= 200 + HONEST_CHUNKS, "%u chunks", w->most.chunks);
	press_want_honest(w);
}

// --- memory ---

// Every second byte, each in a segment of its own: reassembly holds a window's worth of chunks and
// 16 more, and goes with the session.
static void
tiny_segments(struct press *w)
{
	static const char *const policy[] = {NULL};

	press_open(w, policy, 20);
	press_begin(w, 0, 20, NULL);
	uint64_t start = w->a->now_us;
	press_run(w, 1 * PRESS_S);
	for (uint32_t at = 1; at < 65000; at += 2) {
		for (uint32_t i = 0; i < 20; i++)
			crowd_say_at(&w->crowd, i, at, SPAN_LIT("x"));
		if (at % 64 == 1)
			press_run(w, 1000);
	}
	PRESS_WANT(w, press_use(w).chunks >= 20 * 16, "they hold no more than %u chunks",
		   press_use(w).chunks);
	PRESS_WANT(w, w->most.chunks <= 20 * (65536 / CHUNK_DATA + 17) + HONEST_CHUNKS, "%u chunks",
		   w->most.chunks);
	press_run(w, 330 * PRESS_S);
	want_ended(w, 0, 20, start + 299 * PRESS_S, start + 302 * PRESS_S);
	press_want_count(w, COUNTER_SESSION_TIMEOUT, 20);
	press_want_honest(w);
}

static void
pour_tick(struct press *w)
{
	static char line[1400];

	memset(line, 'y', sizeof(line));
	for (uint32_t at = 78; at + 2 < sizeof(line); at += 80)
		memcpy(line + at, "\r\n", 2);
	memcpy(line + sizeof(line) - 2, "\r\n", 2);
	for (uint32_t i = 0; i < w->crowd.count; i++)
		for (uint32_t k = 0; k < 46; k++)
			if (w->crowd.m[i].last_code == 354 && w->crowd.m[i].state == MEMBER_OPEN &&
			    crowd_room(&w->crowd, i) >= sizeof(line))
				crowd_say(&w->crowd, i, span_of(line, sizeof(line)));
}

// What one message holds of the worker while its backend takes nothing: what waits for the verdict,
// what is cut through, the backend's send queue, and a window.
#define MESSAGE_CHUNKS ((262144u + (256u << 10) + TCP_SEND_BYTES_MAX + 65536) / CHUNK_DATA + 12)

// A mail server that takes twenty bytes a second: it never stands still for
// timeouts.backend_block_s, and timeouts.message_s ends it. Messages of other connections go
// through.
static void
slow_backend(struct press *w)
{
	static const char *const policy[] = {NULL};

	press_open(w, policy, 20);
	w->honest_every_us = 0;
	w->sink.hold = 20; // one a second would be no full segment within timeouts.backend_block_s
	w->has_slow_backend = true;
	w->tick_us = PRESS_S;
	press_begin(w, 0, 20, to_data);
	uint64_t start = w->a->now_us;
	press_run(w, 60 * PRESS_S);
	w->sink.hold = 0;
	w->honest_every_us = 60 * PRESS_S;
	w->tick = pour_tick;
	press_run(w, 300 * PRESS_S);
	w->tick = NULL;
	PRESS_WANT(w, press_use(w).chunks >= 20 * 300, "they hold no more than %u chunks",
		   press_use(w).chunks);
	PRESS_WANT(w, w->most.chunks <= 20 * MESSAGE_CHUNKS + HONEST_CHUNKS, "%u chunks",
		   w->most.chunks);
	press_run(w, 3000 * PRESS_S);
	PRESS_WANT(w, press_use(w).transactions >= 20, "ended too early");
	press_run(w, start + 3602 * PRESS_S - w->a->now_us);
	PRESS_WANT(w, press_use(w).transactions <= PRESS_HONEST, "%u transactions are left",
		   press_use(w).transactions);
	press_want_count(w, COUNTER_BACKEND_TIMEOUT, 20);
	press_want_honest(w);
	for (uint32_t i = 0; i < 20; i++)
		crowd_rst(&w->crowd, i);
}

// Sixty-four messages of 150 KB at once and again, with a pool for six of them: they are slowed,
// 421 and 452 are the worst that happens, and what was accepted arrives.
static void
flood_tick(struct press *w)
{
	for (uint32_t i = 0; i < w->crowd.count; i++) {
		struct member *m = &w->crowd.m[i];
		bool is_sent = m->last_code == 354 && m->seq - m->body_seq > 150000;
		if (is_sent && m->acked == m->seq)
			crowd_say(&w->crowd, i, SPAN_LIT(".\r\nQUIT\r\n"));
		bool is_over = m->state == MEMBER_ENDED || m->state == MEMBER_RESET ||
			       (m->last_code >= 400 && m->state == MEMBER_OPEN);
		if (is_over || (m->state == MEMBER_SYN && w->a->now_us % PRESS_S == 0)) {
			crowd_rst(&w->crowd, i);
			m->script = to_data;
			crowd_syn(&w->crowd, i);
		}
	}
	pour_tick(w);
}

static void
flood(struct press *w)
{
	static const char *const policy[] = {"machine.chunks 512", NULL};

	press_open(w, policy, 64);
	w->tick_us = 20000;
	w->honest_every_us = PRESS_S / 2;
	press_begin(w, 0, 64, to_data);
	w->tick = flood_tick;
	press_run(w, 25 * PRESS_S);
	PRESS_WANT(w, w->failed == 0, "%u honest messages failed", w->failed);
	PRESS_WANT(w, w->most.chunks >= 450 && PRESS_COUNT(w, MESSAGES_SLOWED) > 64,
		   "there was no pressure");
	PRESS_WANT(w, w->most.chunks <= 512, "%u chunks", w->most.chunks);
	PRESS_WANT(w, w->slowest_us <= 10 * PRESS_S, "an honest session took %lu us",
		   (unsigned long)w->slowest_us);
	PRESS_WANT(w,
		   PRESS_COUNT(w, SHED_SESSIONS) + PRESS_COUNT(w, SHED_MESSAGES) +
				   PRESS_COUNT(w, SHED_MEMORY) >=
			   w->refused + w->put_off,
		   "refused and not counted");
	PRESS_WANT(w, w->sink.accepted == PRESS_COUNT(w, MESSAGES_DELIVERED), "lost: %lu and %lu",
		   (unsigned long)w->sink.accepted,
		   (unsigned long)PRESS_COUNT(w, MESSAGES_DELIVERED));
	w->tick = NULL;
	for (uint32_t i = 0; i < 64; i++)
		crowd_rst(&w->crowd, i);
	press_run(w, 10 * PRESS_S); // what flows ends
	press_want_served(w);
}

// The mail server vanishes for a minute in the middle of everything, and a hundred messages fill
// the pool: they have to wait, none is refused or sent away, and all of it comes back.
static void
dark_backend(struct press *w)
{
	static const char *const policy[] = {"machine.chunks 4096", NULL};
	struct vnet_path dark = {0}, clean = {0};

	press_open(w, policy, 100);
	w->honest_every_us = 0;
	w->tick_us = 20000;
	press_begin(w, 0, 100, to_data);
	press_run(w, PRESS_S);
	dark.dark_from_us = w->a->now_us;
	dark.dark_until_us = w->a->now_us + 60 * PRESS_S;
	backend_link(w, &dark);
	w->tick = pour_tick;
	press_run(w, 60 * PRESS_S);
	PRESS_WANT(w, press_use(w).chunks >= 3000, "they hold no more than %u chunks",
		   press_use(w).chunks);
	PRESS_WANT(w, w->most.chunks <= 4096, "%u chunks", w->most.chunks);
	backend_link(w, &clean);
	press_run(w, 30 * PRESS_S);
	w->tick = NULL;
	press_run(w, PRESS_S);
	press_want_count(w, COUNTER_SHED_MEMORY, 0);
	for (uint32_t i = 0; i < 100; i++)
		PRESS_WANT(w, w->crowd.m[i].state == MEMBER_OPEN, "member %u was sent away", i);
	for (uint32_t i = 0; i < 100; i++)
		crowd_rst(&w->crowd, i);
	press_run(w, PRESS_S);
	PRESS_WANT(w, press_level(w) == 0, "level %lu a second later",
		   (unsigned long)press_level(w));
	press_want_served(w);
}

// --- more messages under way than there is memory for ---

#define RUNNING 100u
#define RUNNING_BYTES 400000u
#define RUNNING_CHUNKS 4096u // 8 MiB: a fifth of what they are

struct running {
	struct source s[RUNNING];
	struct source_message m[RUNNING];
};

static void
running_tick(struct press *w)
{
	struct running *r = w->ctx;

	for (uint32_t i = 0; i < RUNNING; i++)
		(void)source_work(&r->s[i]);
}

// A hundred clients, each in the middle of a message when this returns.
static void
running_begin(struct press *w)
{
	static uint8_t text[RUNNING_BYTES];
	struct running *r = w->ctx;
	struct ipaddr to = testpolicy_addr(TEST_OUTSIDE, w->args.is_v6);

	memset(r, 0, sizeof(*r));
	memset(text, 'x', sizeof(text));
	for (uint32_t at = 78; at + 2 <= sizeof(text); at += 80)
		memcpy(text + at, "\r\n", 2);
	memcpy(text, "Subject: big\r\n\r\n", 16);
	memcpy(text + sizeof(text) - 2, "\r\n", 2);
	for (uint32_t i = 0; i < RUNNING; i++) {
		r->m[i] = (struct source_message){.from = "big@client.test",
						  .rcpt = {"somebody@server.test"},
						  .data = text,
						  .size = sizeof(text)};
		r->s[i].message = &r->m[i];
		r->s[i].count = 1;
		r->s[i].cut = 1000; // none is through before the last one begins
		CHECK(source_open(&r->s[i], w->a->client.tcp, &to, TEST_SMTP_PORT));
	}
	w->honest_every_us = 0;
	w->tick_us = 5000;
	w->tick = running_tick;
	for (uint32_t i = 0; i < 400 && press_use(w).scans < RUNNING; i++)
		press_run(w, w->tick_us);
	PRESS_WANT(w, press_use(w).scans == RUNNING, "%u messages are under way",
		   press_use(w).scans);
	PRESS_WANT(w, PRESS_COUNT(w, MESSAGES_DELIVERED) == 0, "some are through already");
	for (uint32_t i = 0; i < RUNNING; i++)
		r->s[i].cut = 0;
}

// While nothing leaves for the mail server: windows close, nobody is refused, and memory is left
// for what the others have to say.
static void
running_want_slowed(struct press *w)
{
	const struct running *r = w->ctx;

	PRESS_WANT(w, press_use(w).transactions == RUNNING, "%u messages are under way",
		   press_use(w).transactions);
	for (uint32_t i = 0; i < RUNNING; i++)
		PRESS_WANT(w, r->m[i].final_code == 0 && r->s[i].state >= SOURCE_BODY,
			   "message %u got %u", i, r->m[i].final_code);
	PRESS_WANT(w, press_use(w).chunks >= RUNNING_CHUNKS * 3 / 4, "only %u chunks are in use",
		   press_use(w).chunks);
	PRESS_WANT(w, w->most.chunks < RUNNING_CHUNKS, "the pool was empty");
	PRESS_WANT(w, PRESS_COUNT(w, MESSAGES_SLOWED) >= RUNNING, "only %lu were slowed",
		   (unsigned long)PRESS_COUNT(w, MESSAGES_SLOWED));
	press_want_count(w, COUNTER_TCP_WINDOW_SHED, 0);
	press_want_count(w, COUNTER_TCP_NO_CHUNK, 0);
	press_want_count(w, COUNTER_SHED_MEMORY, 0);
}

static void
running_want_delivered(struct press *w)
{
	struct running *r = w->ctx;

	for (uint32_t i = 0; i < RUNNING; i++)
		PRESS_WANT(w, r->m[i].final_code == 250, "message %u got %u", i,
			   r->m[i].final_code);
	press_want_count(w, COUNTER_MESSAGES_DELIVERED, RUNNING);
	press_want_count(w, COUNTER_SHED_MEMORY, 0);
	PRESS_WANT(w, w->sink.accepted == RUNNING, "the mail server has %lu",
		   (unsigned long)w->sink.accepted);
	for (uint32_t i = 0; i < RUNNING; i++)
		source_close(&r->s[i]);
	w->tick = NULL;
}

// The network to the mail server is gone for a minute.
static void
running_dead(struct press *w)
{
	static const char *const policy[] = {"machine.chunks 4096", NULL};
	static struct running r;
	struct vnet_path dark = {0}, clean = {0};

	press_open(w, policy, 1);
	w->ctx = &r;
	running_begin(w);
	dark.dark_from_us = w->a->now_us;
	dark.dark_until_us = w->a->now_us + 60 * PRESS_S;
	backend_link(w, &dark);
	press_run(w, 60 * PRESS_S);
	running_want_slowed(w);
	backend_link(w, &clean);
	press_run(w, 120 * PRESS_S);
	running_want_delivered(w);
}

// Memory is so small that what the clients were promised before they began fills it: bytes wait in
// front of messages that hold nothing. Nobody else makes room, so each of them must get its step.
static void
running_crowded(struct press *w)
{
	static const char *const policy[] = {"machine.chunks 2048", NULL};
	static struct running r;
	struct vnet_path dark = {0}, clean = {0};

	press_open(w, policy, 1);
	w->ctx = &r;
	running_begin(w);
	dark.dark_from_us = w->a->now_us;
	dark.dark_until_us = w->a->now_us + 20 * PRESS_S;
	backend_link(w, &dark);
	press_run(w, 20 * PRESS_S);
	PRESS_WANT(w, press_use(w).chunks >= 2048 * 15 / 16 - 64, "only %u chunks are in use",
		   press_use(w).chunks);
	PRESS_WANT(w, PRESS_COUNT(w, MESSAGES_CUT_EARLY) > 0, "none was cut early");
	backend_link(w, &clean);
	press_run(w, 300 * PRESS_S);
	running_want_delivered(w);
}

// The mail server is there and takes nothing: its window is shut. A newcomer's message is put off
// meanwhile, for strangers pay before those under way do.
static void
running_stopped(struct press *w)
{
	static const char *const policy[] = {"machine.chunks 4096", NULL};
	static struct running r;

	press_open(w, policy, 1);
	w->ctx = &r;
	w->sink.hold = 700;
	w->has_slow_backend = true; // so that it answers commands
	running_begin(w);
	w->has_slow_backend = false;
	press_run(w, 60 * PRESS_S);
	running_want_slowed(w);
	w->honest_every_us = 5 * PRESS_S;
	press_run(w, PRESS_S);
	w->honest_every_us = 0;
	press_run(w, 30 * PRESS_S);
	PRESS_WANT(w, w->refused + w->put_off >= PRESS_HONEST && w->failed + w->sent == 0,
		   "newcomers: %u refused, %u put off, %u sent", w->refused, w->put_off, w->sent);
	running_want_slowed(w);
	w->sink.hold = 0;
	sink_resume(&w->sink);
	w->has_slow_backend = true;
	press_run(w, 120 * PRESS_S);
	running_want_delivered(w);
}

// It never comes back: timeouts.backend_block_s ends every message with 451, whether it got as far
// as the mail server or waited for memory, and all memory comes back.
static void
running_lost(struct press *w)
{
	static const char *const policy[] = {"machine.chunks 4096", NULL};
	static struct running r;
	struct vnet_path dark = {0};

	press_open(w, policy, 1);
	w->ctx = &r;
	running_begin(w);
	dark.dark_from_us = w->a->now_us;
	dark.dark_until_us = UINT64_MAX;
	backend_link(w, &dark);
	press_run(w, 100 * PRESS_S);
	running_want_slowed(w);
	press_run(w, 300 * PRESS_S);
	for (uint32_t i = 0; i < RUNNING; i++) {
		PRESS_WANT(w, r.m[i].final_code == 451, "message %u got %u", i, r.m[i].final_code);
		source_close(&r.s[i]);
	}
	press_want_count(w, COUNTER_SHED_MEMORY, 0);
	w->tick = NULL;
	dark.dark_until_us = dark.dark_from_us + 1;
	backend_link(w, &dark);
	press_run(w, 60 * PRESS_S); // a health check finds it
}

// Idle sessions hold no chunk and no account of flights, ten thousand of them.
static void
idle(struct press *w)
{
	static const char *const policy[] = {"machine.sessions_max 16384",
					     "limits.client_sessions_max 0", NULL};

	press_open(w, policy, 10000);
	w->honest_every_us = 0;
	press_begin(w, 0, 10000, to_ehlo);
	press_run(w, 5 * PRESS_S);
	PRESS_WANT(w, press_use(w).sessions == 10000, "%u sessions", press_use(w).sessions);
	PRESS_WANT(w, press_use(w).chunks == 0, "%u chunks", press_use(w).chunks);
	PRESS_WANT(w, press_use(w).flights == 0, "%u flights", press_use(w).flights);
	PRESS_WANT(w, press_use(w).transactions + press_use(w).scans == 0, "transactions");
	w->honest_every_us = 5 * PRESS_S;
	press_run(w, 10 * PRESS_S);
	press_want_honest(w);
	w->crowd.is_deaf = false;
	for (uint32_t i = 0; i < 10000; i++) {
		crowd_rst(&w->crowd, i);
		if (i % 512 == 511)
			press_run(w, 20000);
	}
}

static const struct press_scenario scenario[] = {
	{"syn_only", syn_only},
	{"no_ehlo", no_ehlo},
	{"half_close", half_close},
	{"slow_writer", slow_writer},
	{"slow_reader", slow_reader},
	{"sipping_reader", sipping_reader},
	{"vanish", vanish},
	{"open_reset", open_reset},
	{"tiny_segments", tiny_segments},
	{"slow_backend", slow_backend},
	{"flood", flood},
	{"dark_backend", dark_backend},
	{"running_dead", running_dead},
	{"running_crowded", running_crowded},
	{"running_stopped", running_stopped},
	{"running_lost", running_lost},
	{"idle", idle},
};

int
main(int argc, char **argv)
{
	return press_main(argc, argv, scenario, ARRAY_LEN(scenario));
}
