// SPDX-License-Identifier: Apache-2.0
// api_stats: `postern stats [--all]`: what the workers have counted since the region was made.
//
// Without --all a person sees the sums that are not zero; with it all of them, and each worker's
// part. The JSON always has every sum, so that a program finds its keys; per_worker comes with
// --all.
#include "control/api.h"

#include "control/loop_hist.h"

struct gauge {
	const char *name, *help;
	size_t offset;
};

static const struct gauge gauges[] = {
	{"sessions_open", "now: SMTP sessions", offsetof(struct counters, sessions_open)},
	{"connections_open", "now: TCP connections, of clients and to backends",
	 offsetof(struct counters, connections_open)},
	{"handshakes_open", "now: half-open connections",
	 offsetof(struct counters, handshakes_open)},
	{"time_waits_open", "now: closed connections that are remembered (TIME_WAIT)",
	 offsetof(struct counters, time_waits_open)},
	{"addresses_taken", "now: IPv6 addresses of ours that another station has claimed",
	 offsetof(struct counters, addresses_taken)},
	{"backends_open", "now: connections to backends", offsetof(struct counters, backends_open)},
	{"chunks_used", "now: pieces of message and stream memory (2 KiB) in use",
	 offsetof(struct counters, chunks_used)},
	{"chunks_cap", "now: of so many (machine.chunks)", offsetof(struct counters, chunks_cap)},
};

// One row of the table and its place in the data.
struct stat_sum {
	uint64_t sum;
	uint64_t worker[REGION_WORKERS_MAX];
};

static struct stat_sum
sum_at(const struct region *r, size_t offset)
{
	struct stat_sum s = {0};

	CHECK(offset + sizeof(uint64_t) <= sizeof(struct counters));
	CHECK(offset % sizeof(uint64_t) == 0);
	for (uint32_t w = 0; w < REGION_WORKERS_MAX; w++) {
		const uint8_t *base = (const uint8_t *)region_counters(r, w);
		s.worker[w] = counter_read((const uint64_t *)(const void *)(base + offset));
		s.sum += s.worker[w];
	}
	return s;
}

// Worker parts that are shown: those that run, or that have counted anything.
static uint32_t
workers_seen(const struct api *a)
{
	uint32_t n = plane_workers(a->plane, a->region);
	size_t loops = offsetof(struct counters, v) + COUNTER_LOOPS * sizeof(uint64_t);
	struct stat_sum s = sum_at(a->region, loops);

	for (uint32_t w = n; w < REGION_WORKERS_MAX; w++) {
		if (s.worker[w] > 0)
			n = w + 1;
	}
	return n;
}

static void
row_add(struct api_call *c, json_t *into, json_t *per_worker, const char *name, const char *help,
	size_t offset)
{
	struct stat_sum s = sum_at(c->api->region, offset);
	bool all = per_worker != NULL;
	size_t i;
	json_t *w;

	(void)json_object_set_new(into, name, json_integer((json_int_t)s.sum));
	if (all || s.sum > 0)
		api_printf(c, "%-34s %16llu", name, (unsigned long long)s.sum);
	json_array_foreach(per_worker, i, w)
	{
		(void)json_object_set_new(w, name, json_integer((json_int_t)s.worker[i]));
		api_printf(c, " %14llu", (unsigned long long)s.worker[i]);
	}
	if (all || s.sum > 0)
		api_printf(c, "  %s\n", help);
}

static json_t *
add_actions(struct api_call *c)
{
	json_t *agents = json_object();
	bool any = false;

	for (uint32_t a = 0; a < AGENT_COUNT; a++) {
		json_t *actions = json_object();
		for (uint32_t k = 0; k < ACTION_COUNT; k++) {
			size_t offset = offsetof(struct counters, actions) +
					(a * ACTION_COUNT + k) * sizeof(uint64_t);
			struct stat_sum s = sum_at(c->api->region, offset);
			if (s.sum == 0)
				continue;
			(void)json_object_set_new(actions, action_name(k),
						  json_integer((json_int_t)s.sum));
			api_printf(c, "%s%-24s %-24s %16llu\n", any ? "" : "\nagent decisions\n",
				   agent_name(a), action_name(k), (unsigned long long)s.sum);
			any = true;
		}
		(void)json_object_set_new(agents, agent_name(a), actions);
	}
	return agents;
}

// The level is not a number to add up: the highest of the workers is shown as the sum.
static void
add_shed_level(struct api_call *c, json_t *gauge, json_t *per_worker)
{
	uint64_t highest = 0;
	size_t i;
	json_t *w;

	for (uint32_t k = 0; k < REGION_WORKERS_MAX; k++)
		highest =
			MAX(highest, counter_read(&region_counters(c->api->region, k)->shed_level));
	(void)json_object_set_new(gauge, "shed_level", json_integer((json_int_t)highest));
	if (per_worker == NULL && highest == 0)
		return;
	api_printf(c, "%-34s %16llu", "shed_level", (unsigned long long)highest);
	json_array_foreach(per_worker, i, w)
	{
		uint64_t level =
			counter_read(&region_counters(c->api->region, (uint32_t)i)->shed_level);

		(void)json_object_set_new(w, "shed_level", json_integer((json_int_t)level));
		api_printf(c, " %14llu", (unsigned long long)level);
	}
	api_printf(c, "  now: %s\n",
		   highest > 0 ? shed_level_name((uint32_t)MIN(highest, UINT32_MAX))
			       : "not pressed; 4 is the highest");
}

// Busy turns of all workers, by duration.
static json_t *
add_loop(struct api_call *c, bool all)
{
	struct loop_hist h = {{0}};
	json_t *buckets = json_array();

	for (uint32_t w = 0; w < REGION_WORKERS_MAX; w++)
		loop_hist_add(&h, region_counters(c->api->region, w));
	if (all)
		api_printf(c, "\nbusy turns of the loop, by duration\n");
	for (uint32_t i = 0; i < LOOP_BUCKETS; i++) {
		bool is_last = i == LOOP_BUCKETS - 1;
		unsigned long long us = loop_hist_below_us(is_last ? i - 1 : i);

		(void)json_array_append_new(
			buckets, json_pack("{s:o, s:I}", "below_us",
					   is_last ? json_null() : json_integer((json_int_t)us),
					   "turns", (json_int_t)h.turns[i]));
		if (all && h.turns[i] > 0)
			api_printf(c, "  %s %10llu us %36llu\n", is_last ? "from " : "below", us,
				   (unsigned long long)h.turns[i]);
	}
	return json_pack("{s:I, s:I, s:I, s:o}", "p50_us", (json_int_t)loop_hist_us(&h, 500),
			 "p99_us", (json_int_t)loop_hist_us(&h, 990), "max_us",
			 (json_int_t)loop_hist_us(&h, 1000), "buckets", buckets);
}

void
api_stats_show(struct api_call *c)
{
	json_t *counters = json_object(), *gauge = json_object(), *events = json_object();
	bool all = api_flag(c, "all");
	json_t *per_worker = all ? json_array() : NULL;
	uint32_t workers;

	(void)plane_check(c->api->plane, c->api->now_ms);
	workers = workers_seen(c->api);
	if (workers == 0)
		api_printf(c, "no worker has counted anything yet\n");
	for (uint32_t w = 0; all && w < workers; w++)
		(void)json_array_append_new(per_worker, json_object());
	if (!c->api->plane->is_alive)
		api_warning(c, "the dataplane is not running: the numbers are its last ones");
	if (all && workers > 0)
		api_printf(c, "%-34s %16s   then worker 0 to %u\n", "", "SUM", workers - 1);
	for (uint32_t i = 0; i < COUNTER_COUNT; i++)
		row_add(c, counters, per_worker, counter_name(i), counter_help(i),
			offsetof(struct counters, v) + i * sizeof(uint64_t));
	for (uint32_t i = 0; i < ARRAY_LEN(gauges); i++)
		row_add(c, gauge, per_worker, gauges[i].name, gauges[i].help, gauges[i].offset);
	add_shed_level(c, gauge, per_worker);
	for (uint32_t e = 0; e < EVENT_COUNT; e++)
		row_add(c, events, per_worker, event_name(e), "(times raised)",
			offsetof(struct counters, events) + e * sizeof(uint64_t));
	json_t *agents = add_actions(c);
	c->data = json_pack("{s:i, s:o, s:o, s:o, s:o, s:o}", "workers", (int)workers, "counters",
			    counters, "gauges", gauge, "events", events, "agents", agents, "loop",
			    add_loop(c, all));
	if (all && c->data != NULL)
		(void)json_object_set_new(c->data, "per_worker", per_worker);
	else
		json_decref(per_worker);
	if (c->data == NULL)
		api_error(c, "out of memory");
}
