// SPDX-License-Identifier: Apache-2.0
// Tests of the timer wheel: properties against a plain array of deadlines.
#include <criterion/criterion.h>
#include <time.h>

#include "control/base/rng.h"
#include "control/base/wheel.h"

#define NODES 300

struct timer {
	struct wheel_node node;
	uint64_t deadline_ms; // the model's
	bool armed;
};

struct world {
	struct wheel wheel;
	struct timer timer[NODES];
	struct rng rng;
	uint64_t now_ms;  // of the run under way
	uint64_t last_ms; // deadline of the last one that fired in this run
	uint32_t fired;
	bool rearm;
};

static uint64_t
random_delay(struct rng *r)
{
	switch (rng_below(r, 6)) {
	case 0:
		return rng_below(r, 3);
	case 1:
		return rng_below(r, 200);
	case 2:
		return 4090 + rng_below(r, 12);
	case 3:
		return rng_below(r, 100000);
	case 4:
		return WHEEL_SPAN_MS - 5000 + rng_below(r, 10000);
	default:
		return rng_below(r, 4 * (uint32_t)WHEEL_SPAN_MS);
	}
}

static void
arm(struct world *w, struct timer *t, uint64_t deadline)
{
	wheel_set(&w->wheel, &t->node, deadline);
	// What lies in the past counts as the next tick.
	t->deadline_ms = MAX(deadline, w->wheel.now_ms + 1);
	t->armed = true;
	cr_assert(wheel_is_set(&t->node));
}

static void
on_fire(void *ctx, struct wheel_node *n, uint64_t now_ms)
{
	struct world *w = ctx;
	struct timer *t = CONTAINER_OF(n, struct timer, node);
	cr_assert_eq(now_ms, w->now_ms);
	cr_assert(t->armed, "a cancelled timer fired");
	cr_assert(!wheel_is_set(n));
	cr_assert_leq(n->deadline_ms, now_ms, "early");
	cr_assert_geq(t->deadline_ms, w->last_ms, "out of order");
	w->last_ms = t->deadline_ms;
	t->armed = false;
	w->fired++;
	if (w->rearm && rng_chance(&w->rng, 200000))
		arm(w, t, now_ms + 1 + random_delay(&w->rng));
	if (w->rearm && rng_chance(&w->rng, 100000)) { // one timer's call may cancel another
		struct timer *other = &w->timer[rng_below(&w->rng, NODES)];
		wheel_cancel(&w->wheel, &other->node);
		other->armed = false;
	}
}

static uint32_t
model_armed(const struct world *w, uint64_t *earliest)
{
	uint32_t n = 0;
	*earliest = UINT64_MAX;
	for (uint32_t i = 0; i < NODES; i++) {
		if (!w->timer[i].armed)
			continue;
		n++;
		*earliest = MIN(*earliest, w->timer[i].deadline_ms);
	}
	return n;
}

static void
run_to(struct world *w, uint64_t now_ms)
{
	w->now_ms = now_ms;
	w->last_ms = 0;
	for (uint32_t guard = 0;; guard++) {
		uint32_t most = 1 + rng_below(&w->rng, 50);
		uint32_t before = w->fired;
		uint32_t n = wheel_run(&w->wheel, now_ms, most, on_fire, w);
		cr_assert_leq(n, most);
		cr_assert_eq(n, w->fired - before);
		if (n < most)
			break;
		cr_assert(guard < 10000);
	}
	uint64_t earliest;
	cr_assert_eq(w->wheel.armed, model_armed(w, &earliest));
	cr_assert_gt(earliest, now_ms, "%lu was due by %lu", earliest, now_ms);
	uint64_t next = wheel_next_ms(&w->wheel);
	cr_assert_leq(next, earliest);
	cr_assert_gt(next, now_ms);
	if (earliest == UINT64_MAX)
		cr_assert_eq(next, UINT64_MAX);
}

static void
world_init(struct world *w, uint64_t seed, uint64_t start)
{
	*w = (struct world){.now_ms = start, .rearm = true};
	rng_init(&w->rng, seed);
	wheel_init(&w->wheel, start);
	for (uint32_t i = 0; i < NODES; i++)
		wheel_node_init(&w->timer[i].node);
}

static struct world world;

Test(wheel, random_against_model)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct world *w = &world;
		uint64_t start = seed % 3 == 0 ? 0 : seed % 3 == 1 ? 4095 : 1790000000123ull + seed;
		world_init(w, seed, start);
		for (uint32_t step = 0; step < 3000; step++) {
			struct timer *t = &w->timer[rng_below(&w->rng, NODES)];
			uint64_t now = w->now_ms;
			uint32_t what = rng_below(&w->rng, 10);
			if (what < 6) {
				arm(w, t, now + random_delay(&w->rng));
			} else if (what < 8) {
				wheel_cancel(&w->wheel, &t->node);
				t->armed = false;
				cr_assert(!wheel_is_set(&t->node));
			} else if (what < 9) {
				run_to(w, now + rng_below(&w->rng, 64));
			} else {
				run_to(w, now + random_delay(&w->rng));
			}
		}
		w->rearm = false;
		run_to(w, w->now_ms + 5 * WHEEL_SPAN_MS);
		cr_assert_eq(w->wheel.armed, 0);
	}
	cr_assert_gt(world.fired, 100);
}

// The virtual clock's way: always jump to wheel_next_ms. Each timer fires at its very millisecond.
Test(wheel, jumping_to_next_is_exact)
{
	struct world *w = &world;
	world_init(w, 99, 5000);
	w->rearm = false;
	for (uint32_t i = 0; i < NODES; i++)
		arm(w, &w->timer[i], 5000 + random_delay(&w->rng));
	uint32_t jumps = 0;
	while (w->wheel.armed > 0) {
		uint64_t next = wheel_next_ms(&w->wheel);
		uint64_t earliest;
		(void)model_armed(w, &earliest);
		cr_assert_leq(next, earliest);
		w->last_ms = 0;
		w->now_ms = next;
		uint32_t fired = wheel_run(&w->wheel, next, UINT32_MAX, on_fire, w);
		cr_assert_eq(fired > 0, next == earliest);
		cr_assert(++jumps < 20000);
	}
	cr_assert_eq(w->fired, NODES);
}

static void
count_only(void *ctx, struct wheel_node *n, uint64_t now_ms)
{
	(void)n;
	(void)now_ms;
	++*(uint32_t *)ctx;
}

Test(wheel, lazy_rearm_and_refile)
{
	static struct wheel w;
	struct wheel_node n;
	uint32_t fired = 0;
	wheel_init(&w, 0);
	wheel_node_init(&n);
	wheel_set(&w, &n, 100);
	wheel_set(&w, &n, 500); // later: stays where it is
	cr_assert_eq(n.filed_ms, 100);
	cr_assert_eq(w.armed, 1);
	cr_assert_eq(wheel_run(&w, 499, 10, count_only, &fired), 0);
	wheel_set(&w, &n, 10000);
	wheel_set(&w, &n, 510); // earlier than where it lies: filed anew at once
	cr_assert_eq(wheel_run(&w, 509, 10, count_only, &fired), 0);
	cr_assert_eq(wheel_run(&w, 510, 10, count_only, &fired), 1);
	wheel_set(&w, &n, UINT64_MAX);
	cr_assert_eq(wheel_run(&w, 100 * WHEEL_SPAN_MS, 10, count_only, &fired), 0);
	wheel_cancel(&w, &n);
	wheel_cancel(&w, &n);
	cr_assert_eq(wheel_next_ms(&w), UINT64_MAX);
	wheel_set(&w, &n, 3); // long ago: the next tick
	cr_assert_eq(wheel_run(&w, 100 * WHEEL_SPAN_MS + 1, 10, count_only, &fired), 1);
}

Test(wheel, a_year_in_one_run_is_fast)
{
	static struct wheel w;
	static struct wheel_node n[1000];
	uint32_t fired = 0;
	wheel_init(&w, 77);
	for (uint32_t i = 0; i < 1000; i++) {
		wheel_node_init(&n[i]);
		wheel_set(&w, &n[i], 77 + (uint64_t)i * 31536000);
	}
	clock_t begin = clock();
	cr_assert_eq(wheel_run(&w, 77 + 31536000000ull, UINT32_MAX, count_only, &fired), 1000);
	cr_assert_lt((double)(clock() - begin) / CLOCKS_PER_SEC, 2.0);
}
