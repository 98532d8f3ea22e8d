// SPDX-License-Identifier: Apache-2.0
// api_status: `postern status`: both processes, the policy and how far it has come, the workers,
// the log.
//
// Every word that the dataplane wrote is input here: texts are taken up to their array's end and
// shown without control characters, numbers are only printed.
#include "control/api.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/loop_hist.h"
#include "control/version.h"

// Counters that `status` adds up; `stats` has them all.
static const enum counter shown[] = {
	COUNTER_SESSIONS,          COUNTER_MESSAGES,         COUNTER_MESSAGES_DELIVERED,
	COUNTER_MESSAGES_REJECTED, COUNTER_MESSAGES_DELETED, COUNTER_MESSAGES_FAILED,
};

static uint64_t
counter_sum(const struct region *r, enum counter id)
{
	uint64_t n = 0;

	for (uint32_t w = 0; w < REGION_WORKERS_MAX; w++)
		n += counter_read(&region_counters(r, w)->v[id]);
	return n;
}

static uint64_t
word(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

// A text of the region, whatever is in it. Its newlines separate findings.
static json_t *
region_lines(const char *text, size_t size)
{
	json_t *lines = json_array();
	struct span rest = span_of(text, strnlen(text, size));

	for (uint32_t i = 0; i < 64 && rest.n > 0; i++) {
		int64_t end = span_find(rest, '\n');
		struct span line = span_sub(rest, 0, end < 0 ? rest.n : (uint32_t)end);
		if (line.n > 0)
			(void)json_array_append_new(lines, api_text(line));
		rest = end < 0 ? SPAN_NONE : span_from(rest, (uint32_t)end + 1);
	}
	return lines;
}

static json_t *
status_control(const struct api *a)
{
	return json_pack("{s:s, s:s, s:i, s:I, s:o, s:o, s:o, s:o, s:b}", "state", "running",
			 "version", POSTERN_VERSION, "pid", (int)getpid(), "uptime_s",
			 (json_int_t)((a->now_ms - a->started_ms) / 1000), "run_dir",
			 api_texts(a->run_dir), "state_dir", api_texts(a->state_dir), "config",
			 api_texts(runtime_config_file(a->runtime)), "log",
			 api_texts(log_writer_path(a->log)), "store_writable",
			 runtime_store_is_writable(a->runtime));
}

static json_t *
status_plane(const struct api *a)
{
	const struct region_head *h = a->region->head;
	uint64_t beat_us = word(&h->plane_beat_us);
	struct timespec ts;
	char why[sizeof(h->why)];

	clock_gettime(CLOCK_MONOTONIC, &ts);
	uint64_t now_us = (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
	memcpy(why, h->why, sizeof(why));
	json_t *o = json_pack("{s:s, s:b, s:i, s:o, s:o}", "state",
			      plane_state_name(a->plane, a->region), "alive", a->plane->is_alive,
			      "workers", (int)plane_workers(a->plane, a->region), "why",
			      api_text(span_of(why, strnlen(why, sizeof(why)))), "warnings",
			      region_lines(h->warnings, sizeof(h->warnings)));
	if (a->plane->is_alive) {
		(void)json_object_set_new(o, "pid", json_integer((json_int_t)word(&h->plane_pid)));
		uint64_t age_us = now_us > beat_us ? now_us - beat_us : 0;
		(void)json_object_set_new(o, "beat_ms_ago",
					  json_integer((json_int_t)(age_us / 1000)));
	}
	return o;
}

static const char *
policy_state(const struct api *a)
{
	if (!runtime_has_policy(a->runtime))
		return word(&a->region->head->generation) > 0
			       ? "the file has errors; the policy before is kept published"
			       : "none";
	if (runtime_publish_state(a->runtime) == PUBLISH_REFUSED)
		return "refused by the dataplane; the policy before is in force";
	if (plane_workers(a->plane, a->region) == 0)
		return "published, dataplane not running";
	return runtime_is_in_force(a->runtime) ? "in force" : "published, not in force yet";
}

static json_t *
status_policy(const struct api *a)
{
	const struct config *config = runtime_config(a->runtime);
	const struct region_head *h = a->region->head;
	char restart[256];
	struct strbuf b;

	strbuf_init(&b, restart, sizeof(restart));
	if (a->plane->is_alive)
		runtime_restart_needed(a->runtime, &b);
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:o, s:i, s:o, s:o}", "state", policy_state(a),
			 "generation", (json_int_t)runtime_generation(a->runtime), "published",
			 (json_int_t)word(&h->generation), "taken",
			 (json_int_t)word(&h->taken_generation), "refused",
			 (json_int_t)word(&h->refused_generation), "source",
			 config == NULL ? json_null() : api_texts(config->file), "applied_s_ago",
			 (int)runtime_applied_s(a->runtime), "refused_why",
			 api_texts(runtime_publish_why(a->runtime)), "restart_needed_for",
			 api_text(strbuf_span(&b)));
}

// "no", or "2: new sessions get 421, new messages 452; short of message memory (..)".
static json_t *
pressed_text(const struct counters *n)
{
	uint64_t level = counter_read(&n->shed_level), cause = counter_read(&n->shed_cause);
	char text[160];
	struct strbuf b;

	if (level == SHED_NONE)
		return json_string("no");
	strbuf_init(&b, text, sizeof(text));
	strbuf_addf(&b, "%llu: %s; short of %s", (unsigned long long)level,
		    shed_level_name((uint32_t)MIN(level, UINT32_MAX)),
		    shed_resource_name((uint32_t)MIN(cause, UINT32_MAX)));
	return api_text(strbuf_span(&b));
}

// p50, p99 and the longest.
static void
add_turns(json_t *row, const struct counters *n)
{
	static const struct {
		const char *key;
		uint32_t permille;
	} q[] = {{"turn_p50_us", 500}, {"turn_p99_us", 990}, {"turn_max_us", 1000}};
	struct loop_hist h = {{0}};

	loop_hist_add(&h, n);
	for (uint32_t i = 0; i < ARRAY_LEN(q); i++)
		(void)json_object_set_new(
			row, q[i].key, json_integer((json_int_t)loop_hist_us(&h, q[i].permille)));
}

static json_t *
status_workers(const struct api *a)
{
	uint32_t workers = plane_workers(a->plane, a->region);
	json_t *list = json_array();

	for (uint32_t w = 0; w < workers; w++) {
		const struct region_worker_state *s = &a->region->head->worker[w];
		const struct counters *n = region_counters(a->region, w);
		json_t *row = json_pack(
			"{s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "worker", (int)w,
			"cpu", (json_int_t)s->cpu, "node", (json_int_t)(int32_t)s->node,
			"generation", (json_int_t)word(&s->generation), "sessions",
			(json_int_t)counter_read(&n->sessions_open), "backends",
			(json_int_t)counter_read(&n->backends_open), "loops",
			(json_int_t)counter_read(&n->v[COUNTER_LOOPS]), "shed_level",
			(json_int_t)counter_read(&n->shed_level), "addresses_taken",
			(json_int_t)counter_read(&n->addresses_taken), "pressed", pressed_text(n));
		add_turns(row, n);
		(void)json_array_append_new(list, row);
	}
	return list;
}

static json_t *
backend_json(const struct api *a, const struct config_backend *c)
{
	const struct events_backend *b =
		a->plane->is_alive ? events_backend_find(a->events, &c->address, c->tcp_port,
							 c->direction)
				   : NULL; // nobody looks any more
	char where[80], since[40];
	struct strbuf w, s;
	uint32_t up = 0, down = 0;

	strbuf_init(&w, where, sizeof(where));
	strbuf_init(&s, since, sizeof(since));
	log_endpoint_format(&w, &c->address, c->tcp_port);
	for (uint32_t i = 0; b != NULL && i < REGION_WORKERS_MAX; i++) {
		up += b->state[i] == EVENTS_UP;
		down += b->state[i] == EVENTS_DOWN;
	}
	if (b != NULL)
		log_time_format(&s, b->since_us);
	return json_pack("{s:o, s:o, s:s, s:s, s:o, s:o, s:i, s:i}", "name", api_texts(c->name),
			 "address", api_text(strbuf_span(&w)), "direction",
			 direction_name(c->direction), "state",
			 events_state_name(b != NULL ? b->all : EVENTS_UNKNOWN), "since",
			 b != NULL ? api_text(strbuf_span(&s)) : json_null(), "last_error",
			 api_texts(b != NULL ? b->error : ""), "workers_up", (int)up,
			 "workers_down", (int)down);
}

// The backends of the configuration; while that has errors, those that the dataplane tells of.
static json_t *
status_backends(const struct api *a)
{
	const struct config *config = runtime_config(a->runtime);
	json_t *list = json_array();

	for (uint32_t i = 0; config != NULL && i < config->backends_count; i++)
		(void)json_array_append_new(list, backend_json(a, &config->backends[i]));
	for (uint32_t i = 0; config == NULL && i < EVENTS_BACKENDS_MAX; i++) {
		const struct events_backend *b = &a->events->backend[i];
		struct config_backend c = {.name = b->name,
					   .address = b->addr,
					   .tcp_port = b->port,
					   .direction = b->direction};
		if (b->is_used)
			(void)json_array_append_new(list, backend_json(a, &c));
	}
	return list;
}

static json_t *
status_log(const struct api *a)
{
	struct log_stats s = log_writer_stats(a->log);
	uint64_t repaired = 0;

	for (uint32_t w = 0; w < REGION_WORKERS_MAX; w++) {
		if (a->events->is_attached[w])
			repaired += counter_read(&a->events->ring[w].head->repaired);
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "lines", (json_int_t)s.lines,
			 "lost", (json_int_t)s.lost, "write_errors", (json_int_t)s.errors,
			 "waiting_bytes", (json_int_t)s.waiting_bytes, "records_invalid",
			 (json_int_t)a->events->invalid, "rings_lost",
			 (json_int_t)events_lost(a->events), "rings_repaired", (json_int_t)repaired,
			 "rings_damaged", (json_int_t)events_damaged(a->events));
}

static const char *
text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "-";
}

static long long
number_of(const json_t *o, const char *key)
{
	return (long long)json_integer_value(json_object_get(o, key));
}

// Texts that the dataplane wrote go through a one-column table, which cleans them.
static void
print_findings(struct api_call *c, const json_t *plane)
{
	static const struct api_column column = {"text", "findings of the dataplane"};
	json_t *rows = json_array(), *line;
	const char *why = text_of(plane, "why");
	size_t i;

	if (why[0] != '\0')
		(void)json_array_append_new(rows, json_pack("{s:s}", "text", why));
	json_array_foreach(json_object_get(plane, "warnings"), i, line)(void)
		json_array_append_new(rows, json_pack("{s:O}", "text", line));
	if (json_array_size(rows) > 0) {
		api_printf(c, "\n");
		api_table(c, rows, &column, 1);
	}
	json_decref(rows);
}

static void
print_backends(struct api_call *c)
{
	static const struct api_column columns[] = {
		{"name", "BACKEND"}, {"address", "ADDRESS"}, {"direction", "DIRECTION"},
		{"state", "STATE"},  {"since", "SINCE"},     {"last_error", "LAST ERROR"},
	};
	const json_t *rows = json_object_get(c->data, "backends");

	if (json_array_size(rows) == 0)
		return;
	api_printf(c, "\n");
	api_table(c, rows, columns, ARRAY_LEN(columns));
}

static void
print_status(struct api_call *c)
{
	static const struct api_column columns[] = {
		{"worker", "WORKER"},
		{"cpu", "CPU"},
		{"node", "NODE"},
		{"generation", "GENERATION"},
		{"sessions", "SESSIONS"},
		{"backends", "BACKENDS"},
		{"turn_p50_us", "TURN P50 US"},
		{"turn_p99_us", "P99"},
		{"turn_max_us", "MAX"},
		{"addresses_taken", "ADDRESSES TAKEN"},
		{"pressed", "PRESSED"},
	};
	const json_t *control = json_object_get(c->data, "posternd");
	const json_t *plane = json_object_get(c->data, "dataplane");
	const json_t *policy = json_object_get(c->data, "policy");
	const json_t *log = json_object_get(c->data, "log"), *workers, *messages, *v;
	const char *key;

	api_printf(c, "posternd   running, pid %lld, %lld s, version %s%s\n",
		   number_of(control, "pid"), number_of(control, "uptime_s"),
		   text_of(control, "version"),
		   json_is_true(json_object_get(control, "store_writable"))
			   ? ""
			   : "; the store refuses changes");
	api_printf(c, "dataplane  %s", text_of(plane, "state"));
	if (c->api->plane->is_alive)
		api_printf(c, ", pid %lld, %lld workers, last beat %lld ms ago",
			   number_of(plane, "pid"), number_of(plane, "workers"),
			   number_of(plane, "beat_ms_ago"));
	const char *source = text_of(policy, "source");
	bool is_ours = number_of(policy, "generation") > 0;
	api_printf(c, "\npolicy     %s: generation %lld from %s\n", text_of(policy, "state"),
		   number_of(policy, is_ours ? "generation" : "published"),
		   is_ours ? source : "an earlier life");
	if (text_of(policy, "refused_why")[0] != '\0')
		api_printf(c, "           refused: %s\n", text_of(policy, "refused_why"));
	if (text_of(policy, "restart_needed_for")[0] != '\0')
		api_printf(c, "           restart the dataplane for: %s\n",
			   text_of(policy, "restart_needed_for"));
	api_printf(c, "log        %s: %lld lines, %lld lost, %lld lost in rings, %lld invalid\n",
		   text_of(control, "log"), number_of(log, "lines"), number_of(log, "lost"),
		   number_of(log, "rings_lost"), number_of(log, "records_invalid"));
	messages = json_object_get(c->data, "totals");
	api_printf(c, "totals     ");
	for (void *i = json_object_iter((json_t *)(uintptr_t)messages); i != NULL;
	     i = json_object_iter_next((json_t *)(uintptr_t)messages, i)) {
		key = json_object_iter_key(i);
		v = json_object_iter_value(i);
		api_printf(c, "%s %lld  ", key, (long long)json_integer_value(v));
	}
	api_printf(c, "\n");
	print_backends(c);
	workers = json_object_get(c->data, "workers");
	if (json_array_size(workers) > 0) {
		api_printf(c, "\n");
		api_table(c, workers, columns, ARRAY_LEN(columns));
	}
	print_findings(c, plane);
}

void
api_status_show(struct api_call *c)
{
	struct api *a = c->api;
	json_t *totals = json_object();

	(void)plane_check(a->plane, a->now_ms);
	for (uint32_t i = 0; i < ARRAY_LEN(shown); i++)
		(void)json_object_set_new(
			totals, counter_name(shown[i]),
			json_integer((json_int_t)counter_sum(a->region, shown[i])));
	c->data = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "posternd", status_control(a),
			    "dataplane", status_plane(a), "policy", status_policy(a), "workers",
			    status_workers(a), "totals", totals, "log", status_log(a), "backends",
			    status_backends(a));
	if (c->data == NULL) {
		api_error(c, "out of memory");
		return;
	}
	print_status(c);
}
