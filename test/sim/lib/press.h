// SPDX-License-Identifier: Apache-2.0
// press: a worker under pressure: a crowd that attacks it, honest clients that send mail meanwhile,
// and the most that it ever held.
//
// Who calls it: press_run.c, one world a scenario. Memory: heap, freed by press_close, which is
// also where a world that broke a rule is told. What can go wrong: PRESS_FAIL keeps the first fault
// of the scenario, in `why`. Each millisecond that matters is polled: time goes on in ticks.
#pragma once

#include "test/sim/lib/crowd.h"
#include "test/sim/lib/smtp_peer.h"

#define PRESS_HONEST 6u // clients that send mail, one after the other each
#define PRESS_MESSAGES 2u
#define PRESS_S 1000000ull

struct press_honest {
	struct source s;
	struct source_message m[PRESS_MESSAGES];
	bool is_running;
	uint64_t begin_us;
};

struct press {
	struct testpolicy *tp;
	struct appliance_args args;
	struct appliance *a;
	struct crowd crowd;
	struct sink sink;
	struct press_honest honest[PRESS_HONEST];
	uint64_t honest_every_us; // from one session's begin to the next one's; 0: none begin
	uint64_t tick_us;
	void (*tick)(struct press *w); // the attack, before each tick; NULL: none
	void *ctx;
	bool has_slow_backend;
	uint32_t fed; // members that have done their part of the scenario
	// What honest clients met: messages that were answered 250, sessions refused by 421,
	// messages put off with 452, and all else, which is a fault.
	uint32_t sent, refused, put_off, failed;
	uint64_t slowest_us; // session
	// The most ever seen.
	struct worker_usage most;
	uint64_t handshakes_most, waits_most, level_most;
	char why[256]; // empty: no fault
};

#define PRESS_FAIL(w, ...)                                                                         \
	do {                                                                                       \
		if ((w)->why[0] == '\0')                                                           \
			(void)snprintf((w)->why, sizeof((w)->why), __VA_ARGS__);                   \
	} while (0)
#define PRESS_WANT(w, cond, ...)                                                                   \
	do {                                                                                       \
		if (!(cond))                                                                       \
			PRESS_FAIL(w, __VA_ARGS__);                                                \
	} while (0)

// `lines`: of the policy, up to a NULL. The crowd has `members`.
void press_open(struct press *w, const char *const *lines, uint32_t members);
void press_policy(struct press *w, const char *line); // from now on
void press_run(struct press *w, uint64_t us);
// Honest clients end what they do; the rest of the time passes until nothing is left, `us` at most.
void press_drain(struct press *w, uint64_t us);
void press_want_served(struct press *w); // a new session sends its mail within a second
// All pools back at their mark, every level left, and press_want_served.
void press_check_calm(struct press *w);
bool press_close(struct press *w, const char *name); // true: nothing was wrong
struct worker_usage press_use(const struct press *w);
uint64_t press_count(const struct press *w, enum counter c);
uint64_t press_level(const struct press *w);
#define PRESS_COUNT(w, id) press_count(w, COUNTER_##id)

// Members [from, to) connect and say their script.
void press_begin(struct press *w, uint32_t from, uint32_t to, const char *const *script);
void press_want_honest(struct press *w); // all of them, none refused, none slow
void press_want_count(struct press *w, enum counter c, uint64_t want);

struct press_scenario {
	const char *name;
	void (*run)(struct press *w);
};
// Each scenario, or those named: run, left to drain, checked to be calm.
int press_main(int argc, char **argv, const struct press_scenario *list, uint32_t count);
