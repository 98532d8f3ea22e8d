// SPDX-License-Identifier: Apache-2.0
// shed_run: the order in which a whole worker sheds (invariant 5), on the virtual clock: each
// resource is driven up through its marks and down again; and the limits of single clients.
//
//   shed_run [NAME ..]     all scenarios, or those; last line "N passed, N failed"
#include <stdio.h>
#include <string.h>

#include "dataplane/shed.h"
#include "test/sim/lib/press.h"

static const char *const to_mail[] = {"EHLO bad.test\r\n", "MAIL FROM:<bad@bad.test>\r\n", NULL};
static const char *const to_data[] = {"EHLO bad.test\r\n", "MAIL FROM:<bad@bad.test>\r\n",
				      "RCPT TO:<somebody@server.test>\r\n", "DATA\r\n", NULL};

static uint32_t
with_code(const struct press *w, uint32_t from, uint32_t to, uint32_t code)
{
	uint32_t n = 0;

	for (uint32_t i = from; i < to; i++)
		n += w->crowd.m[i].code == code;
	return n;
}

static void
want_codes(struct press *w, uint32_t from, uint32_t to, uint32_t code, uint32_t want)
{
	uint32_t n = with_code(w, from, to, code);

	PRESS_WANT(w, n == want, "%u of members %u to %u heard %u, not %u", n, from, to, code,
		   want);
}

static void
reset_all(struct press *w)
{
	for (uint32_t i = 0; i < w->crowd.count; i++)
		if (w->crowd.m[i].state != MEMBER_NONE)
			crowd_rst(&w->crowd, i);
}

// --- levels ---

// What a stranger and somebody who is already in meet at each level. Members FIRST_PROBE + 4 *
// level are fresh; member WAITER has an idle session.
#define FEEDERS 1000u
#define WAITER FEEDERS
#define RUNNER (FEEDERS + 1)
#define LATE (FEEDERS + 2) // has said MAIL
#define FIRST_PROBE (FEEDERS + 3)
#define PRESS_MEMBERS (FIRST_PROBE + 2 * SHED_LEVELS)

static void
probe(struct press *w, uint32_t level)
{
	uint32_t i = FIRST_PROBE + level;
	struct crowd *c = &w->crowd;
	uint64_t sent = PRESS_COUNT(w, TCP_COOKIES_SENT), good = PRESS_COUNT(w, TCP_COOKIES_GOOD);
	uint64_t refused = PRESS_COUNT(w, SHED_SESSIONS), late = PRESS_COUNT(w, SHED_MESSAGES);
	uint64_t dropped = PRESS_COUNT(w, TCP_SYN_SHED);
	uint32_t most = c->m[WAITER].replies;

	crowd_syn(c, i);
	if (level >= SHED_REFUSE)
		crowd_say(c, WAITER, SPAN_LIT("MAIL FROM:<late@bad.test>\r\n"));
	else
		crowd_say(c, WAITER, SPAN_LIT("NOOP\r\n"));
	press_run(w, 20000);
	bool has_cookie = PRESS_COUNT(w, TCP_COOKIES_SENT) == sent + 1;
	PRESS_WANT(w, has_cookie == (level >= SHED_COOKIES && level < SHED_DROP),
		   "level %u: cookie %d", level, has_cookie);
	PRESS_WANT(w, !has_cookie || PRESS_COUNT(w, TCP_COOKIES_GOOD) == good + 1,
		   "level %u: the cookie is not taken", level);
	PRESS_WANT(w, (PRESS_COUNT(w, TCP_SYN_SHED) == dropped + 1) == (level == SHED_DROP),
		   "level %u: SYN_SHED", level);
	uint32_t want = level < SHED_REFUSE ? 220 : level < SHED_DROP ? 421 : 0;
	PRESS_WANT(w, c->m[i].code == want, "level %u: a stranger heard %u", level, c->m[i].code);
	PRESS_WANT(w, PRESS_COUNT(w, SHED_SESSIONS) == refused + (want == 421),
		   "level %u: SHED_SESSIONS", level);
	PRESS_WANT(w, PRESS_COUNT(w, SHED_MESSAGES) == late + (level >= SHED_REFUSE),
		   "level %u: SHED_MESSAGES", level);
	PRESS_WANT(w,
		   c->m[WAITER].replies == most + 1 &&
			   c->m[WAITER].last_code == (level >= SHED_REFUSE ? 452 : 250),
		   "level %u: the waiter heard %u", level, c->m[WAITER].last_code);
	// Who is under way goes on: each piece is taken at once.
	crowd_say(c, RUNNER, SPAN_LIT("one more line\r\n"));
	press_run(w, 50000);
	PRESS_WANT(w, c->m[RUNNER].acked == c->m[RUNNER].seq, "level %u: the runner is stalled",
		   level);
	if (c->m[i].state == MEMBER_OPEN)
		crowd_rst(c, i);
}

static char line[1400];

static void
runners_begin(struct press *w)
{
	memset(line, 'y', sizeof(line));
	for (uint32_t at = 68; at + 2 <= sizeof(line); at += 70)
		memcpy(line + at, "\r\n", 2);
	press_begin(w, WAITER, WAITER + 1, to_data + 4);
	crowd_say(&w->crowd, WAITER, SPAN_NONE);
	press_begin(w, RUNNER, RUNNER + 1, to_data);
	press_begin(w, LATE, LATE + 1, to_mail);
	press_run(w, 200000);
	crowd_say(&w->crowd, WAITER, SPAN_LIT("EHLO waiter\r\n"));
	crowd_say(&w->crowd, RUNNER, SPAN_LIT("Subject: run\r\n\r\n"));
	press_run(w, 200000);
	PRESS_WANT(w, w->crowd.m[RUNNER].last_code == 354, "the runner heard %u",
		   w->crowd.m[RUNNER].last_code);
	PRESS_WANT(w, w->crowd.m[LATE].last_code == 250, "the late one heard %u",
		   w->crowd.m[LATE].last_code);
}

static void
runner_ends(struct press *w)
{
	crowd_say(&w->crowd, RUNNER, SPAN_LIT(".\r\n"));
	press_run(w, 100000);
	PRESS_WANT(w, w->crowd.m[RUNNER].last_code == 250, "the runner's message got %u",
		   w->crowd.m[RUNNER].last_code);
}

// From `level` down to none, step by step, at least SHED_CALM_US apart.
static void
descend(struct press *w)
{
	uint64_t level = press_level(w), first = level;
	uint64_t last_us = w->a->now_us, begin_us = last_us;

	w->tick = NULL;
	w->tick_us = 2000;
	while (level > 0 && w->a->now_us < begin_us + PRESS_S) {
		press_run(w, w->tick_us);
		uint64_t now = press_level(w);
		if (now == level)
			continue;
		PRESS_WANT(w, now == level - 1, "from level %lu to %lu", (unsigned long)level,
			   (unsigned long)now);
		PRESS_WANT(w, level == first || w->a->now_us - last_us >= SHED_CALM_US,
			   "down after %lu us", (unsigned long)(w->a->now_us - last_us));
		level = now;
		last_us = w->a->now_us;
	}
	PRESS_WANT(w, level == 0, "a second later the level is %lu", (unsigned long)level);
	press_want_served(w);
}

// Messages come to rest before they use up memory; replies that nobody reads do not. Feeders have
// sessions, and keep their windows shut.
static void
feeders_begin(struct press *w)
{
	for (uint32_t i = 0; i < FEEDERS; i++) {
		w->crowd.m[i].window = 2000;
		w->crowd.m[i].is_filling = true;
	}
	press_begin(w, 0, FEEDERS, to_data + 4);
	press_run(w, PRESS_S);
	w->fed = 0;
}

// The next ones say as many commands as make SMTP_REPLY_BACKLOG of replies, and wait.
static void
feed(struct press *w, uint32_t feeders)
{
	static char many[1400];

	for (uint32_t at = 0; at + 8 <= sizeof(many); at += 8)
		memcpy(many + at, "EHLO x\r\n", 8);
	for (uint32_t k = 0; k < feeders && w->fed < FEEDERS; k++)
		crowd_say(&w->crowd, w->fed++, span_of(many, sizeof(many)));
	press_run(w, 50000); // a delayed ACK's time
	for (uint32_t i = 0; i < w->fed; i++)
		PRESS_WANT(w, w->crowd.m[i].acked == w->crowd.m[i].seq,
			   "feeder %u is stalled at level %lu", i, (unsigned long)press_level(w));
}

// Message memory: 70, 80, 87.5 and 95 % of machine.chunks.
static void
chunks(struct press *w)
{
	static const char *const policy[] = {"machine.chunks 8192", "limits.client_sessions_max 0",
					     NULL};
	static const uint32_t mark[SHED_LEVELS] = {0, 700, 800, 875, 950};

	press_open(w, policy, PRESS_MEMBERS);
	w->honest_every_us = 0;
	w->tick_us = 5000;
	runners_begin(w);
	feeders_begin(w);
	probe(w, 0);
	for (uint32_t level = 1; level < SHED_LEVELS && w->why[0] == '\0'; level++) {
		uint32_t before = press_use(w).chunks;
		for (uint32_t k = 0; k < 2000 && press_level(w) < level; k++) {
			before = press_use(w).chunks;
			feed(w, 4);
		}
		uint32_t now = press_use(w).chunks;
		PRESS_WANT(w, press_level(w) == level, "level %lu, not %u",
			   (unsigned long)press_level(w), level);
		PRESS_WANT(w,
			   now * 1000 / 8192 >= mark[level] && before * 1000 / 8192 <= mark[level],
			   "level %u begins between %u and %u chunks", level, before, now);
		PRESS_WANT(w, PRESS_COUNT(w, PRESSED_CHUNKS) == level, "PRESSED_CHUNKS is not %u",
			   level);
		probe(w, level);
	}
	// With next to nothing left it waits, and goes on when others give memory back.
	for (uint32_t k = 0; k < 100 && press_use(w).chunks < 8192 / 32 * 31; k++)
		feed(w, 4);
	crowd_say(&w->crowd, RUNNER, SPAN_LIT("a line that waits\r\n"));
	press_run(w, 50000);
	press_want_count(w, COUNTER_MESSAGES_SLOWED, 1);
	for (uint32_t i = 0; i < FEEDERS; i++)
		crowd_rst(&w->crowd, i);
	press_run(w, 5000);
	runner_ends(w);
	reset_all(w);
	press_run(w, 5000);
	descend(w);
	press_want_count(w, COUNTER_SHED_MEMORY, 0);
	press_want_count(w, COUNTER_TCP_NO_CHUNK, 0);
}

// Windows do not grow and close as they drain: who pauses at SHED_SHRINK keeps 8 KiB.
static void
windows(struct press *w)
{
	static const char *const policy[] = {"machine.chunks 8192", "limits.client_sessions_max 0",
					     NULL};

	press_open(w, policy, PRESS_MEMBERS);
	w->honest_every_us = 0;
	w->tick_us = 5000;
	runners_begin(w);
	feeders_begin(w);
	uint32_t wide = crowd_room(&w->crowd, RUNNER);
	PRESS_WANT(w, wide >= 65000, "a window of %u", wide);
	for (uint32_t k = 0; k < 2000 && press_level(w) < SHED_SHRINK; k++)
		feed(w, 4);
	// Not one byte of what was promised is taken back; it shrinks as it is used, down to 8 KiB.
	uint32_t room = crowd_room(&w->crowd, RUNNER);
	PRESS_WANT(w, room + 64 >= wide, "the window was taken back: %u of %u", room, wide);
	for (uint32_t k = 0; k < 60; k++) {
		uint32_t before = crowd_room(&w->crowd, RUNNER);
		crowd_say(&w->crowd, RUNNER, span_of(line, sizeof(line)));
		press_run(w, 100000);
		uint32_t now = crowd_room(&w->crowd, RUNNER);
		PRESS_WANT(w, now <= MAX(before - sizeof(line), 8192u), "it grows: %u to %u",
			   before, now);
		PRESS_WANT(w, w->crowd.m[RUNNER].acked == w->crowd.m[RUNNER].seq, "it is stalled");
	}
	room = crowd_room(&w->crowd, RUNNER);
	PRESS_WANT(w, room <= 8192 && room >= 4096, "the window settles at %u", room);
	runner_ends(w);
	reset_all(w);
	press_run(w, 5000);
	descend(w);
}

// 90 % of machine.sessions_max: cookies. All of them: 421 for the next.
static void
sessions(struct press *w)
{
	static const char *const policy[] = {"machine.sessions_max 100", NULL};

	press_open(w, policy, 120);
	w->honest_every_us = 0;
	w->tick_us = 5000;
	press_begin(w, 0, 89, NULL);
	press_run(w, 50000);
	PRESS_WANT(w, press_level(w) == SHED_NONE, "too early");
	press_begin(w, 89, 90, NULL);
	press_run(w, 50000);
	PRESS_WANT(w, press_level(w) == SHED_COOKIES, "no cookies");
	press_begin(w, 90, 105, NULL);
	press_run(w, 50000);
	press_want_count(w, COUNTER_TCP_COOKIES_GOOD, 15);
	want_codes(w, 0, 100, 220, 100);
	want_codes(w, 100, 105, 421, 5);
	press_want_count(w, COUNTER_SESSIONS_REFUSED, 5);
	press_want_count(w, COUNTER_SHED_SESSIONS, 0);
	press_want_count(w, COUNTER_PRESSED_SESSIONS, 1);
	crowd_rst(&w->crowd, 0);
	press_begin(w, 110, 111, NULL);
	press_run(w, 50000);
	want_codes(w, 110, 111, 220, 1); // at once
	// Hysteresis: a twentieth below the mark, for a tenth of a second.
	for (uint32_t i = 1; i < 14; i++)
		crowd_rst(&w->crowd, i);
	press_run(w, PRESS_S);
	PRESS_WANT(w, press_level(w) == SHED_COOKIES, "left at 87 sessions");
	for (uint32_t i = 14; i < 18; i++)
		crowd_rst(&w->crowd, i);
	press_run(w, 90000);
	PRESS_WANT(w, press_level(w) == SHED_COOKIES, "left too soon");
	reset_all(w);
	press_run(w, 5000);
	descend(w);
}

// Clients that are refused and keep their connection take none from the messages under way.
static void
conns(struct press *w)
{
	static const char *const policy[] = {"machine.sessions_max 100", "machine.scans_max 4",
					     "timeouts.command_s 3600", NULL};
	uint32_t most = 100 + 100 / 8 + 2 * 4 + 1024;

	press_open(w, policy, 2000);
	w->honest_every_us = 0;
	w->tick_us = 5000;
	press_begin(w, 0, 1, to_mail);
	press_begin(w, 1, 100, NULL);
	press_run(w, 100000);
	for (uint32_t i = 100; i < 2000; i++) {
		w->crowd.m[i].window = 1; // the 421 does not fit
		w->crowd.m[i].is_filling = true;
	}
	press_begin(w, 100, 1500, NULL);
	press_run(w, 200000);
	// TCP drops the oldest that nobody owns before connections run short for those who do.
	PRESS_WANT(w, w->most.connections <= most - most / 64 + 1, "%u connections",
		   w->most.connections);
	PRESS_WANT(w, press_level(w) == SHED_COOKIES, "level %lu", (unsigned long)press_level(w));
	crowd_say(&w->crowd, 0, SPAN_LIT("RCPT TO:<somebody@server.test>\r\n"));
	press_run(w, 100000);
	PRESS_WANT(w, w->crowd.m[0].last_code == 250, "one under way heard %u",
		   w->crowd.m[0].last_code);
	press_run(w, 70 * PRESS_S); // they are given a minute
	PRESS_WANT(w, press_use(w).connections <= 102, "%u connections", press_use(w).connections);
	PRESS_WANT(w, press_use(w).sessions == 100, "%u sessions", press_use(w).sessions);
	reset_all(w);
	press_drain(w, 100 * PRESS_S);
}

static uint32_t frames_use;

static uint32_t
use_frames(struct port *p)
{
	(void)p;
	return frames_use;
}

// Packet buffers, as the port tells: 70, 80, 90 and 95 %.
static void
frames(struct press *w)
{
	static const char *const policy[] = {"limits.client_sessions_max 0", NULL};
	static const uint32_t mark[SHED_LEVELS] = {0, 700, 800, 900, 950};

	press_open(w, policy, PRESS_MEMBERS);
	w->honest_every_us = 0;
	w->tick_us = 5000;
	struct port *p = vnet_port(w->a->link[1], VNET_B); // the inner port counts as well
	struct port_ops ops = *p->ops;
	const struct port_ops *was = p->ops;
	ops.use = use_frames;
	p->ops = &ops;
	runners_begin(w);
	for (uint32_t level = 0; level < SHED_LEVELS; level++) {
		frames_use = level > 0 ? mark[level] - 1 : 0;
		press_run(w, 50000);
		PRESS_WANT(w, level == 0 || press_level(w) == level - 1, "level %u too early",
			   level);
		frames_use = mark[level];
		press_run(w, 50000);
		PRESS_WANT(w, press_level(w) == level, "at %u level %lu", frames_use,
			   (unsigned long)press_level(w));
		press_want_count(w, COUNTER_PRESSED_FRAMES, level);
		probe(w, level);
	}
	runner_ends(w);
	reset_all(w);
	press_run(w, 5000);
	frames_use = 0;
	descend(w);
	p->ops = was;
}

// Turns that take `us` each, all of them with something to do.
static void
slow_turns(struct press *w, uint32_t us, uint32_t turns)
{
	for (uint32_t i = 0; i < turns; i++) {
		crowd_ack(&w->crowd, RUNNER);
		(void)appliance_step(w->a, w->a->now_us);
		appliance_goto(w->a, w->a->now_us + us);
	}
}

// The loop's time: 1, 4, 10 and 30 ms a turn.
static void
loop(struct press *w)
{
	static const char *const policy[] = {"limits.client_sessions_max 0", NULL};
	static const uint32_t step_us[SHED_LEVELS] = {800, 2000, 6000, 16000, 45000};

	press_open(w, policy, PRESS_MEMBERS);
	w->honest_every_us = 0;
	w->tick_us = 2000;
	runners_begin(w);
	for (uint32_t level = 0; level < SHED_LEVELS; level++) {
		slow_turns(w, step_us[level], 100);
		PRESS_WANT(w, press_level(w) == level, "turns of %u us: level %lu", step_us[level],
			   (unsigned long)press_level(w));
		press_want_count(w, COUNTER_PRESSED_LOOP, level);
	}
	PRESS_WANT(w, w->a->counters[0].loop[16] > 0, "the histogram does not show it");
	// The load ends: strangers are served again within a second, though hardly a turn is busy.
	runner_ends(w);
	reset_all(w);
	press_run(w, PRESS_S);
	PRESS_WANT(w, press_level(w) == SHED_NONE, "a second later the level is %lu",
		   (unsigned long)press_level(w));
	press_want_served(w);
}

// Turns that took long, because the kernel or a hypervisor had the core meanwhile, say nothing of
// the load while they are few: nobody is refused for three. More of them in a row are told from
// those.
static void
loop_few(struct press *w)
{
	static const char *const policy[] = {"limits.client_sessions_max 0", NULL};

	press_open(w, policy, PRESS_MEMBERS);
	w->honest_every_us = 0;
	w->tick_us = 2000;
	runners_begin(w);
	slow_turns(w, PRESS_S, 3);
	slow_turns(w, 100, 1);
	PRESS_WANT(w, press_level(w) == SHED_COOKIES, "three turns of a second: level %lu",
		   (unsigned long)press_level(w));
	probe(w, SHED_COOKIES);
	slow_turns(w, PRESS_S, 5);
	slow_turns(w, 100, 1);
	PRESS_WANT(w, press_level(w) >= SHED_REFUSE, "five more: level %lu",
		   (unsigned long)press_level(w));
	runner_ends(w);
	reset_all(w);
	press_run(w, 2 * PRESS_S);
	press_want_served(w);
}

// --- clients ---

static void
client_sessions(struct press *w)
{
	static const char *const policy[] = {"limits.client_sessions_max 3", NULL};
	const uint32_t n = CROWD_ADDRS;

	press_open(w, policy, 12 * n);
	w->honest_every_us = 0; // they would be one client
	press_begin(w, 0, 4 * n, NULL);
	press_run(w, PRESS_S);
	want_codes(w, 0, 3 * n, 220, 3 * n);
	want_codes(w, 3 * n, 4 * n, 421, n);
	press_want_count(w, COUNTER_CLIENT_TOO_MANY, n);
	press_want_count(w, COUNTER_SESSIONS_REFUSED, n);
	// One goes, one may come.
	crowd_rst(&w->crowd, 0);
	press_run(w, 50000);
	press_begin(w, 4 * n, 4 * n + 1, NULL);
	press_run(w, 50000);
	want_codes(w, 4 * n, 4 * n + 1, 220, 1);
	// The policy changes, nobody is dropped.
	press_policy(w, "limits.client_sessions_max 4");
	press_run(w, 50000);
	press_begin(w, 5 * n, 7 * n, NULL);
	press_run(w, PRESS_S);
	want_codes(w, 5 * n, 6 * n, 220, n);
	want_codes(w, 6 * n, 7 * n, 421, n);
	press_policy(w, "limits.client_sessions_max 2");
	press_run(w, PRESS_S);
	PRESS_WANT(w, press_use(w).sessions >= 4 * n, "a change dropped sessions");
	// Who is on the allow list has no limit: half of the addresses.
	press_policy(w, "allow 192.0.2.64/26");
	press_run(w, 50000);
	press_begin(w, 8 * n, 9 * n, NULL);
	press_run(w, PRESS_S);
	want_codes(w, 8 * n, 8 * n + 64, 220, 64);
	want_codes(w, 8 * n + 64, 9 * n, 421, n - 64);
	// A wider prefix is another client, with as many sessions.
	press_policy(w, "limits.client_prefix4 24");
	press_policy(w, "limits.client_sessions_max 10");
	press_run(w, 50000);
	press_begin(w, 9 * n + 64, 10 * n, NULL);
	press_run(w, PRESS_S);
	want_codes(w, 9 * n + 64, 10 * n, 220, 10);
	reset_all(w);
}

static void
client_sessions6(struct press *w)
{
	static const char *const policy[] = {"ipv6", "limits.client_sessions_max 20", NULL};

	press_open(w, policy, 400);
	w->honest_every_us = 0;
	press_begin(w, 0, 200, NULL); // of 128 addresses, all in one /64
	press_run(w, PRESS_S);
	want_codes(w, 0, 200, 220, 20);
	press_want_count(w, COUNTER_CLIENT_TOO_MANY, 180);
	// Each address on its own, and all together still within the /48; then each on its own
	// only.
	press_policy(w, "limits.client_prefix6 128");
	press_run(w, 50000);
	press_begin(w, 200, 300, NULL);
	press_run(w, PRESS_S);
	want_codes(w, 200, 300, 220, 80 - 20);
	press_policy(w, "limits.client_prefix6_wide 0");
	press_run(w, 50000);
	press_begin(w, 300, 400, NULL);
	press_run(w, PRESS_S);
	want_codes(w, 300, 400, 220, 100);
	reset_all(w);
	press_run(w, PRESS_S);
}

static bool
log_has(const struct press *w, const char *rule, const char *evidence)
{
	struct span rule_is = span_str(rule), begins = span_str(evidence);

	for (uint32_t i = 0; i < w->a->log_count; i++) {
		struct span e = logrec_get(&w->a->log[i], LOGREC_EVIDENCE);

		if (span_eq(logrec_get(&w->a->log[i], LOGREC_RULE), rule_is) && e.n >= begins.n &&
		    span_eq(span_sub(e, 0, begins.n), begins))
			return true;
	}
	return false;
}

// Who rents one host may come from all /64s of a /58: they count together, too, and whoever is
// elsewhere gets in. Without that limit they hold every session of the worker.
static void
client_site6(struct press *w)
{
	static const char *const policy[] = {"ipv6", NULL};
	const uint32_t all = CROWD_NETS * 100, site = 4 * 100;

	press_open(w, policy, 3 * all);
	w->crowd.has_nets = true;
	w->honest_every_us = 0;
	press_begin(w, 0, all, NULL);
	press_run(w, PRESS_S);
	want_codes(w, 0, all, 220, site);
	want_codes(w, 0, all, 421, all - site);
	PRESS_WANT(w, press_use(w).sessions == site, "they hold %u sessions",
		   press_use(w).sessions);
	press_want_count(w, COUNTER_CLIENT_WIDE, all - site);
	press_want_count(w, COUNTER_CLIENT_TOO_MANY, all - site);
	PRESS_WANT(w,
		   log_has(w, "limits.client_prefix6_wide",
			   "fd00:1:1::/48: 400 sessions are open; refused"),
		   "the log does not say whose limit it was");
	PRESS_WANT(w, press_level(w) == SHED_NONE, "level %lu", (unsigned long)press_level(w));
	press_want_served(w);
	// As many leave, by FIN, as may come.
	for (uint32_t i = 0, left = 0; i < all && left < 50; i++) {
		if (w->crowd.m[i].code != 220)
			continue;
		crowd_fin(&w->crowd, i);
		left++;
	}
	press_run(w, PRESS_S);
	press_begin(w, all, all + 100, NULL);
	press_run(w, PRESS_S);
	want_codes(w, all, all + 100, 220, 50);
	press_policy(w, "limits.client_prefix6_wide 0");
	press_run(w, 50000);
	press_begin(w, 2 * all, 3 * all, NULL);
	press_run(w, PRESS_S);
	PRESS_WANT(w, press_use(w).sessions == 4096, "without it they hold %u sessions",
		   press_use(w).sessions);
	reset_all(w);
	press_run(w, PRESS_S);
}

// New sessions a minute: ten seconds' worth at once.
static void
client_rate(struct press *w)
{
	static const char *const policy[] = {"limits.client_rate 60", NULL};
	const uint32_t n = CROWD_ADDRS;

	press_open(w, policy, 40 * n);
	w->honest_every_us = 0;
	for (uint32_t k = 0; k < 12; k++) // one address, twelve times
		press_begin(w, k * n, k * n + 1, NULL);
	press_begin(w, 1, 2, NULL); // another one
	press_run(w, 50000);
	want_codes(w, 1, 2, 220, 1);
	for (uint32_t k = 0; k < 12; k++)
		want_codes(w, k * n, k * n + 1, k < 10 ? 220 : 421, 1);
	press_want_count(w, COUNTER_CLIENT_TOO_FAST, 2);
	press_run(w, PRESS_S);
	for (uint32_t k = 12; k < 14; k++)
		press_begin(w, k * n, k * n + 1, NULL);
	press_run(w, 50000);
	want_codes(w, 12 * n, 12 * n + 1, 220, 1);
	want_codes(w, 13 * n, 13 * n + 1, 421, 1);
	press_policy(w, "limits.client_rate 0");
	press_run(w, 50000);
	for (uint32_t k = 14; k < 34; k++)
		press_begin(w, k * n, k * n + 1, NULL);
	press_run(w, 50000);
	for (uint32_t k = 14; k < 34; k++)
		want_codes(w, k * n, k * n + 1, 220, 1);
	reset_all(w);
	press_run(w, PRESS_S);
}

// Forged addresses, which never answer, are no clients. Sixteen others, each with a wide prefix of
// its own, fill the table: who comes then shares, and the worker's limit holds.
static void
client_table(struct press *w)
{
	static const char *const policy[] = {"ipv6", "machine.sessions_max 16",
					     "limits.client_prefix6 128",
					     "limits.client_prefix6_wide 127", NULL};

	press_open(w, policy, 40);
	w->honest_every_us = 0;
	for (uint32_t i = 1; i < 40; i += 2) {
		w->crowd.m[i].is_deaf = true;
		press_begin(w, i, i + 1, NULL);
	}
	press_run(w, PRESS_S);
	PRESS_WANT(w, press_use(w).clients == 0 && w->handshakes_most >= 20,
		   "%u clients without a handshake", press_use(w).clients);
	for (uint32_t i = 0; i < 40; i += 2)
		press_begin(w, i, i + 1, NULL);
	press_run(w, PRESS_S);
	want_codes(w, 0, 40, 220, 16);
	want_codes(w, 0, 40, 421, 4);
	PRESS_WANT(w, press_use(w).clients == 32, "%u clients", press_use(w).clients);
	press_want_count(w, COUNTER_CLIENT_SHARED, 4);
	press_want_count(w, COUNTER_CLIENT_TOO_MANY, 0);
	reset_all(w);
	press_run(w, PRESS_S);
}

static const struct press_scenario scenario[] = {
	{"chunks", chunks},
	{"windows", windows},
	{"sessions", sessions},
	{"conns", conns},
	{"frames", frames},
	{"loop", loop},
	{"loop_few", loop_few},
	{"client_sessions", client_sessions},
	{"client_sessions6", client_sessions6},
	{"client_site6", client_site6},
	{"client_rate", client_rate},
	{"client_table", client_table},
};

int
main(int argc, char **argv)
{
	return press_main(argc, argv, scenario, ARRAY_LEN(scenario));
}
