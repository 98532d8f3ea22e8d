// SPDX-License-Identifier: Apache-2.0
// Unit tests of posternd's API over its real socket, store, region and log, with a dataplane that
// the test plays: it holds the lock, takes policies, answers commands, and lies.
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "control/api.h"

#define CLIENTS 3

struct bench {
	struct api api;
	struct server *server;
	struct runtime *runtime;
	struct region region;
	struct events events;
	struct log_writer *log;
	struct plane plane;
	char dir[64], config[96], socket[96], log_path[96], lock[96], region_path[96];
	uint64_t now_ms;
	int client[CLIENTS];
	// the dataplane
	int lock_fd; // -1: it does not live
	bool takes;  // it takes policies
	uint64_t in_force;
};

static const char config_text[] =
	"server:\n"
	"  hostname: mx.example.org\n"
	"  accepted_domains: [example.org]\n"
	"machine:\n"
	"  cores: [0, 1]\n"
	"  ports:\n"
	"    - name: outside\n"
	"      device: \"net_af_packet0,iface=pst0\"\n"
	"      address: 192.0.2.10/24\n"
	"listeners:\n"
	"  - {port: outside, tcp_port: 25, direction: inbound}\n"
	"backends:\n"
	"  - {name: mail1, address: 192.0.2.20, tcp_port: 25, direction: inbound}\n"
	"connection_filtering:\n"
	"  block:\n"
	"    - {prefix: 198.51.100.0/24, comment: noise}\n";

static uint64_t
clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void
config_write(struct bench *b, const char *text)
{
	FILE *f = fopen(b->config, "w");

	cr_assert_not_null(f);
	fputs(text, f);
	fclose(f);
}

// --- the dataplane that the test plays ---

static void
plane_begin(struct bench *b, uint32_t workers)
{
	struct region_head *h = b->region.head;

	b->lock_fd = open(b->lock, O_RDWR | O_CREAT, 0600);
	cr_assert_eq(flock(b->lock_fd, LOCK_EX | LOCK_NB), 0);
	h->workers = workers;
	h->plane_pid = 4711;
	h->state = REGION_RUNNING;
	h->plane_beat_us = clock_us();
	b->takes = true;
}

static void
plane_end(struct bench *b)
{
	close(b->lock_fd);
	b->lock_fd = -1;
}

static void
plane_turn(struct bench *b)
{
	struct region_head *h = b->region.head;
	uint64_t generation;
	size_t size;

	if (b->lock_fd < 0)
		return;
	h->plane_beat_us = clock_us();
	if (!b->takes)
		return;
	void *image = region_take(&b->region, b->in_force, &size, &generation);
	if (image == NULL)
		return;
	free(image);
	b->in_force = generation;
	for (uint32_t w = 0; w < MIN(h->workers, REGION_WORKERS_MAX); w++)
		h->worker[w].generation = generation;
}

// The number of the session list that a worker was asked for; 0: it was not.
static uint64_t
command_take(struct bench *b, uint32_t worker)
{
	struct command c;
	struct ring ring;

	cr_assert(region_commands(&b->region, worker, &ring));
	if (!ring_get(&ring, &c))
		return 0;
	cr_assert_eq(c.kind, COMMAND_SESSION_LIST);
	return c.request;
}

static void
record_send(struct bench *b, uint32_t worker, uint8_t kind, uint64_t request, const char *helo)
{
	struct logrec r;
	struct ring ring;

	logrec_init(&r);
	r.kind = kind;
	r.request = request;
	r.worker = (uint8_t)worker;
	r.session_id = 0x100u + worker;
	cr_assert(ipaddr_parse(SPAN_LIT("192.0.2.5"), &r.client));
	logrec_set(&r, LOGREC_HELO, span_str(helo));
	logrec_set(&r, LOGREC_EVIDENCE, SPAN_LIT("tarpit"));
	cr_assert(region_events(&b->region, worker, &ring));
	cr_assert(ring_put(&ring, &r));
}

// --- posternd ---

static void
turn(struct bench *b)
{
	struct pollfd fds[SERVER_POLL_FDS];
	uint32_t n = server_poll_fds(b->server, fds);

	cr_assert(poll(fds, n, 0) >= 0);
	plane_turn(b);
	(void)events_drain(&b->events);
	(void)log_writer_flush(b->log);
	(void)plane_poll(&b->plane, b->now_ms);
	(void)runtime_poll(b->runtime);
	b->api.now_ms = b->now_ms;
	server_run(b->server, fds, n, b->now_ms);
	(void)api_poll(&b->api, b->now_ms);
}

static void
turns(struct bench *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		turn(b);
}

static void
posternd_begin(struct bench *b)
{
	struct runtime_paths paths = {.config_file = b->config, .state_dir = b->dir};
	char reason[512];
	struct strbuf why;
	struct diag_list d;

	strbuf_init(&why, reason, sizeof(reason));
	diag_init(&d, NULL);
	b->log = log_writer_open(b->log_path, &why);
	cr_assert_not_null(b->log, "%s", reason);
	cr_assert_eq(region_create(&b->region, b->region_path, b->lock_fd >= 0, &why), 0, "%s",
		     reason);
	b->runtime = runtime_open(&paths, &d);
	cr_assert_not_null(b->runtime);
	cr_assert(runtime_has_policy(b->runtime));
	runtime_attach(b->runtime, &b->region, &d);
	diag_fini(&d);
	plane_init(&b->plane, b->dir);
	plane_attach(&b->plane, &b->region);
	events_init(&b->events, &b->region, b->log, api_session_record, &b->api);
	b->server = server_open(b->socket, api_line, &b->api, &why);
	cr_assert_not_null(b->server, "%s", reason);
	b->api = (struct api){.server = b->server,
			      .runtime = b->runtime,
			      .region = &b->region,
			      .events = &b->events,
			      .log = b->log,
			      .plane = &b->plane,
			      .run_dir = b->dir,
			      .state_dir = b->dir,
			      .request_last = 1000};
	for (uint32_t i = 0; i < CLIENTS; i++) {
		struct sockaddr_un a = {.sun_family = AF_UNIX};
		memcpy(a.sun_path, b->socket, strlen(b->socket) + 1);
		b->client[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		cr_assert_eq(connect(b->client[i], (struct sockaddr *)&a, sizeof(a)), 0);
	}
	turn(b);
}

static void
posternd_end(struct bench *b)
{
	for (uint32_t i = 0; i < CLIENTS; i++)
		close(b->client[i]);
	api_fini(&b->api);
	server_close(&b->server);
	runtime_close(&b->runtime);
	log_writer_close(&b->log);
	region_detach(&b->region);
}

static struct bench *
bench_open(void)
{
	struct bench *b = calloc(1, sizeof(*b));

	b->lock_fd = -1;
	b->now_ms = 100000;
	snprintf(b->dir, sizeof(b->dir), "/tmp/control_api.XXXXXX");
	cr_assert_not_null(mkdtemp(b->dir));
	snprintf(b->config, sizeof(b->config), "%s/postern.yaml", b->dir);
	snprintf(b->socket, sizeof(b->socket), "%s/control.sock", b->dir);
	snprintf(b->log_path, sizeof(b->log_path), "%s/message.log", b->dir);
	snprintf(b->lock, sizeof(b->lock), "%s/%s", b->dir, PLANE_LOCK_FILE);
	snprintf(b->region_path, sizeof(b->region_path), "%s/region", b->dir);
	config_write(b, config_text);
	posternd_begin(b);
	return b;
}

static void
bench_close(struct bench *b)
{
	char path[512];

	posternd_end(b);
	if (b->lock_fd >= 0)
		plane_end(b);
	DIR *d = opendir(b->dir);
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		snprintf(path, sizeof(path), "%s/%s", b->dir, e->d_name);
		if (e->d_name[0] != '.')
			(void)unlink(path);
	}
	closedir(d);
	cr_assert_eq(rmdir(b->dir), 0);
	free(b);
}

static void
ask(struct bench *b, uint32_t client, const char *line)
{
	cr_assert_eq(send(b->client[client], line, strlen(line), 0), (ssize_t)strlen(line));
	cr_assert_eq(send(b->client[client], "\n", 1, 0), 1);
}

// The answer that is there now; NULL: none.
static json_t *
answer(struct bench *b, uint32_t client)
{
	static char got[1 << 20];
	ssize_t n = recv(b->client[client], got, sizeof(got), 0);

	if (n < 0)
		return NULL;
	cr_assert(n > 0, "closed");
	cr_assert_eq(got[n - 1], '\n');
	json_t *o = json_loadb(got, (size_t)n, JSON_ALLOW_NUL, NULL);
	cr_assert_not_null(o, "not JSON: %.*s", (int)n, got);
	return o;
}

static json_t *
asked(struct bench *b, const char *line)
{
	ask(b, 0, line);
	turns(b, 4);
	json_t *o = answer(b, 0);
	cr_assert_not_null(o, "no answer to %s", line);
	return o;
}

static void
assert_exit(json_t *o, int want)
{
	char *text = json_dumps(o, 0);

	cr_assert_eq(json_integer_value(json_object_get(o, "exit")), want, "%s", text);
	cr_assert_eq(json_is_true(json_object_get(o, "ok")), want == 0, "%s", text);
	cr_assert(want == 0 || json_array_size(json_object_get(o, "errors")) > 0, "%s", text);
	free(text);
}

static const char *
data_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(json_object_get(o, "data"), key));

	cr_assert_not_null(s, "%s", key);
	return s;
}

// --- requests ---

Test(control_api, hostile_lines_are_answered)
{
	static const char *const lines[] = {
		"",
		"x",
		"{",
		"[]",
		"null",
		"\"status\"",
		"{}",
		"{\"noun\":7}",
		"{\"noun\":null,\"verb\":{}}",
		"{\"noun\":\"nothing\"}",
		"{\"noun\":\"status\",\"verb\":\"frob\"}",
		"{\"noun\":\"status\",\"noun\":\"status\"}",
		"{\"noun\":\"status\"} trailing",
		"{\"noun\":\"sta\\u0000tus\"}",
		"{\"noun\":\"status\",\"args\":7}",
		"{\"noun\":\"status\",\"args\":[1]}",
		"{\"noun\":\"block\",\"verb\":\"add\",\"args\":{\"prefix\":{\"a\":1}}}",
		"{\"noun\":\"block\",\"verb\":\"add\",\"args\":{\"prefx\":\"192.0.2.1\"}}",
		"{\"noun\":\"block\",\"verb\":\"add\",\"args\":[]}",
		"{\"noun\":\"block\",\"verb\":\"add\",\"args\":[\"1.1.1.1\",\"a\",\"b\",\"c\","
		"\"d\"]}",
		"{\"noun\":\"agent\",\"verb\":\"priority\",\"args\":{\"name\":\"content filter\"}}",
		"{\"noun\":\"log\",\"verb\":\"tail\",\"args\":{\"place\":\"1-2\"}}",
		"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
		"[[[[[[[[[",
		"\xff\xfe{\"noun\":\"status\"}",
	};
	struct bench *b = bench_open();

	for (uint32_t i = 0; i < ARRAY_LEN(lines); i++) {
		json_t *o = asked(b, lines[i]);
		cr_assert_eq(json_integer_value(json_object_get(o, "exit")), 2, "%s", lines[i]);
		assert_exit(o, 2);
		json_decref(o);
	}
	// Harmless but for its brackets: what the parser recurses into is bounded.
	for (uint32_t more = 0; more < 2; more++) {
		char many[API_BRACKETS_MAX * 4 + 64];
		struct strbuf t;
		strbuf_init(&t, many, sizeof(many));
		strbuf_add_str(&t, "{\"noun\":\"status\",\"x\":[");
		for (uint32_t i = 0; i < API_BRACKETS_MAX - 2 + more; i++)
			strbuf_add_str(&t, i == 0 ? "[]" : ",[]");
		strbuf_add_str(&t, "]}");
		cr_assert(!t.truncated);
		json_t *o = asked(b, many);
		assert_exit(o, more == 0 ? 0 : 2);
		json_decref(o);
	}
	json_t *o = asked(b, "{\"noun\":\"status\",\"json\":true}"); // the connection still serves
	assert_exit(o, 0);
	json_decref(o);
	bench_close(b);
}

Test(control_api, every_noun_answers_in_both_forms)
{
	static const char *const nouns[] = {
		"\"noun\":\"status\"",
		"\"noun\":\"agent\",\"verb\":\"list\"",
		"\"noun\":\"pipeline\"",
		"\"noun\":\"allow\",\"verb\":\"list\"",
		"\"noun\":\"block\",\"verb\":\"list\"",
		"\"noun\":\"policy\",\"verb\":\"show\"",
		"\"noun\":\"policy\",\"verb\":\"show\",\"args\":{\"options\":true}",
		"\"noun\":\"policy\",\"verb\":\"check\"",
		"\"noun\":\"stats\"",
		"\"noun\":\"stats\",\"args\":{\"all\":true}",
		"\"noun\":\"log\",\"verb\":\"tail\",\"args\":{\"lines\":5}",
	};
	struct bench *b = bench_open();
	char line[256];

	plane_begin(b, 2);
	b->region.head->worker[0].loops = 1;
	region_counters(&b->region, 1)->v[COUNTER_MESSAGES] = 5;
	for (uint32_t i = 0; i < ARRAY_LEN(nouns); i++) {
		snprintf(line, sizeof(line), "{%s,\"json\":true}", nouns[i]);
		json_t *o = asked(b, line);
		assert_exit(o, 0);
		cr_assert_not_null(json_object_get(o, "data"), "%s", line);
		json_decref(o);
		snprintf(line, sizeof(line), "{%s}", nouns[i]);
		o = asked(b, line);
		assert_exit(o, 0);
		cr_assert_not_null(json_object_get(o, "text"), "%s", line);
		cr_assert(strstr(nouns[i], "log") != NULL ||
				  json_string_length(json_object_get(o, "text")) > 0,
			  "%s", line);
		json_decref(o);
	}
	bench_close(b);
}

// --- changes ---

Test(control_api, change_without_dataplane)
{
	struct bench *b = bench_open();
	json_t *o = asked(b, "{\"noun\":\"block\",\"verb\":\"add\",\"json\":true,\"args\":{"
			     "\"prefix\":\"203.0.113.1\"}}");

	assert_exit(o, 0);
	cr_assert_str_eq(data_text(o, "state"), "published, dataplane not running");
	json_decref(o);
	// What was acknowledged is there after a restart.
	posternd_end(b);
	posternd_begin(b);
	o = asked(b, "{\"noun\":\"block\",\"verb\":\"list\"}");
	cr_assert_not_null(strstr(json_string_value(json_object_get(o, "text")), "203.0.113.1"));
	json_decref(o);
	bench_close(b);
}

Test(control_api, change_waits_until_it_is_in_force)
{
	struct bench *b = bench_open();
	char line[] = "{\"noun\":\"agent\",\"verb\":\"disable\",\"json\":true,\"args\":[\"sender-"
		      "filter\"]}";

	plane_begin(b, 2);
	turns(b, 3);
	b->takes = false;
	ask(b, 0, line);
	turns(b, 5);
	cr_assert_null(answer(b, 0), "not before it is in force");
	ask(b, 1, "{\"noun\":\"status\",\"json\":true}"); // others are served meanwhile
	turns(b, 3);
	json_t *o = answer(b, 1);
	assert_exit(o, 0);
	json_decref(o);
	b->takes = true;
	turns(b, 4);
	o = answer(b, 0);
	cr_assert_not_null(o);
	assert_exit(o, 0);
	cr_assert_str_eq(data_text(o, "state"), "in force");
	cr_assert(json_is_true(json_object_get(json_object_get(o, "data"), "in_force")));
	json_decref(o);
	bench_close(b);
}

Test(control_api, change_that_no_worker_takes)
{
	struct bench *b = bench_open();

	plane_begin(b, 2);
	turns(b, 3);
	b->takes = false;
	ask(b, 0,
	    "{\"noun\":\"allow\",\"verb\":\"add\",\"json\":true,\"args\":{\"prefix\":\"10.0.0.0/"
	    "8\"}}");
	turns(b, 3);
	b->now_ms += API_WAIT_MS;
	turns(b, 3);
	json_t *o = answer(b, 0);
	cr_assert_not_null(o, "an answer after the limit");
	assert_exit(o, 0);
	cr_assert_str_eq(data_text(o, "state"), "published, not in force yet");
	cr_assert_eq(json_array_size(json_object_get(o, "warnings")), 1);
	json_decref(o);
	// One that dies meanwhile.
	ask(b, 0,
	    "{\"noun\":\"allow\",\"verb\":\"del\",\"json\":true,\"args\":{\"prefix\":\"10.0.0.0/"
	    "8\"}}");
	turns(b, 3);
	plane_end(b);
	b->now_ms += PLANE_CHECK_MS;
	turns(b, 3);
	o = answer(b, 0);
	cr_assert_not_null(o);
	cr_assert_str_eq(data_text(o, "state"), "published, dataplane not running");
	json_decref(o);
	bench_close(b);
}

Test(control_api, refusals)
{
	static const struct {
		const char *line, *says;
	} rows[] = {
		{"{\"noun\":\"block\",\"verb\":\"add\",\"args\":[\"192.0.2.1/24\"]}",
		 "192.0.2.0/24"},
		{"{\"noun\":\"block\",\"verb\":\"add\",\"args\":[\"nonsense\"]}",
		 "neither an address"},
		{"{\"noun\":\"block\",\"verb\":\"add\",\"args\":{\"prefix\":\"192.0.2.1\",\"for\":"
		 "\"7\"}}",
		 "unit"},
		{"{\"noun\":\"block\",\"verb\":\"add\",\"args\":{\"prefix\":\"192.0.2.1\",\"for\":"
		 "\"0d\"}}",
		 "unit"},
		{"{\"noun\":\"block\",\"verb\":\"add\",\"args\":{\"prefix\":\"192.0.2.1\",\"for\":"
		 "\"99999999w\"}}",
		 "unit"},
		{"{\"noun\":\"block\",\"verb\":\"add\",\"args\":{\"prefix\":\"192.0.2.1\","
		 "\"expires\":\"soon\"}}",
		 "2026"},
		{"{\"noun\":\"block\",\"verb\":\"add\",\"args\":{\"prefix\":\"192.0.2.1\","
		 "\"expires\":\"2020-01-01\"}}",
		 "past"},
		{"{\"noun\":\"block\",\"verb\":\"add\",\"args\":{\"prefix\":\"192.0.2.1\","
		 "\"comment\":\"a\\nb\"}}",
		 "control"},
		{"{\"noun\":\"block\",\"verb\":\"del\",\"args\":[\"198.51.100.0/24\"]}", "line"},
		{"{\"noun\":\"block\",\"verb\":\"del\",\"args\":[\"192.0.2.99\"]}", "not on"},
		{"{\"noun\":\"agent\",\"verb\":\"enable\",\"args\":[\"nobody\"]}", "Sender Filter"},
		{"{\"noun\":\"agent\",\"verb\":\"priority\",\"args\":[\"sender filter\",0]}",
		 "1 to"},
		{"{\"noun\":\"agent\",\"verb\":\"priority\",\"args\":[\"sender "
		 "filter\",\"first\"]}",
		 "1 to"},
		{"{\"noun\":\"policy\",\"verb\":\"check\",\"args\":[\"relative\"]}", "absolute"},
		{"{\"noun\":\"policy\",\"verb\":\"check\",\"args\":[\"/no/such/file\"]}",
		 "/no/such/file"},
		{"{\"noun\":\"session\",\"verb\":\"list\"}", "down"},
	};
	struct bench *b = bench_open();
	uint64_t generation = runtime_generation(b->runtime);

	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		json_t *o = asked(b, rows[i].line);
		assert_exit(o, 1);
		char *text = json_dumps(json_object_get(o, "errors"), 0);
		cr_assert_not_null(strstr(text, rows[i].says), "%s: %s", rows[i].line, text);
		free(text);
		json_decref(o);
	}
	cr_assert_eq(runtime_generation(b->runtime), generation, "nothing has changed");
	bench_close(b);
}

Test(control_api, bad_file_changes_nothing_and_says_all)
{
	struct bench *b = bench_open();
	uint64_t generation = runtime_generation(b->runtime);

	config_write(b, "servr:\n  hostname: x\nlisteners: 7\n");
	json_t *o = asked(b, "{\"noun\":\"policy\",\"verb\":\"apply\"}");
	assert_exit(o, 1);
	cr_assert(json_array_size(json_object_get(o, "errors")) >= 2);
	json_decref(o);
	cr_assert_eq(runtime_generation(b->runtime), generation);
	config_write(b, config_text);
	o = asked(b, "{\"noun\":\"policy\",\"verb\":\"apply\",\"json\":true}");
	assert_exit(o, 0);
	json_decref(o);
	bench_close(b);
}

// --- sessions, status, log ---

Test(control_api, session_list_of_all_workers)
{
	struct bench *b = bench_open();

	plane_begin(b, 2);
	turns(b, 3);
	ask(b, 0, "{\"noun\":\"session\",\"verb\":\"list\",\"json\":true}");
	ask(b, 1, "{\"noun\":\"session\",\"verb\":\"list\"}");
	turns(b, 2);
	for (uint32_t list = 0; list < 2; list++) {
		for (uint32_t w = 0; w < 2; w++) {
			uint64_t request = command_take(b, w);
			cr_assert(request > 1000);
			record_send(b, w, LOGREC_SESSION, request, "evil\x1b[31m\xff");
			record_send(b, w, LOGREC_SESSION, request + 77, "of another list");
			record_send(b, w, LOGREC_SESSION_END, request, "");
		}
	}
	turns(b, 4);
	json_t *o = answer(b, 0);
	cr_assert_not_null(o);
	assert_exit(o, 0);
	cr_assert_eq(json_array_size(json_object_get(o, "data")), 2);
	const json_t *row = json_array_get(json_object_get(o, "data"), 1);
	cr_assert_str_eq(json_string_value(json_object_get(row, "client")), "192.0.2.5:0");
	cr_assert_str_eq(json_string_value(json_object_get(row, "helo")), "evil\x1b[31m\xc3\xbf");
	cr_assert_str_eq(json_string_value(json_object_get(row, "state")), "tarpit");
	cr_assert_null(json_object_get(row, "evidence"));
	json_decref(o);
	o = answer(b, 1);
	cr_assert_not_null(o);
	const char *text = json_string_value(json_object_get(o, "text"));
	cr_assert_not_null(strstr(text, "192.0.2.5"));
	cr_assert_null(strchr(text, '\x1b'), "nothing for the terminal to obey");
	json_decref(o);
	bench_close(b);
}

Test(control_api, session_list_of_a_worker_that_hangs)
{
	struct bench *b = bench_open();

	plane_begin(b, 2);
	turns(b, 3);
	ask(b, 0, "{\"noun\":\"session\",\"verb\":\"list\",\"json\":true}");
	turns(b, 2);
	uint64_t request = command_take(b, 0);
	record_send(b, 0, LOGREC_SESSION, request, "here");
	record_send(b, 0, LOGREC_SESSION_END, request, "");
	turns(b, 4);
	cr_assert_null(answer(b, 0));
	b->now_ms += API_WAIT_MS;
	turns(b, 2);
	json_t *o = answer(b, 0);
	cr_assert_not_null(o);
	cr_assert_eq(json_array_size(json_object_get(o, "data")), 1);
	cr_assert_eq(json_array_size(json_object_get(o, "warnings")), 1);
	json_decref(o);
	// Its late rows are nobody's.
	record_send(b, 1, LOGREC_SESSION, request, "late");
	turns(b, 2);
	// A client that goes away while it waits leaves nothing behind.
	ask(b, 1, "{\"noun\":\"session\",\"verb\":\"list\"}");
	turns(b, 2);
	cr_assert_eq(api_poll(&b->api, b->now_ms), 1);
	close(b->client[1]);
	turns(b, 2);
	cr_assert_eq(api_poll(&b->api, b->now_ms), 0);
	b->client[1] = dup(b->client[0]);
	bench_close(b);
}

Test(control_api, lies_in_the_region)
{
	struct bench *b = bench_open();
	struct region_head *h = b->region.head;
	static const char *const lines[] = {
		"{\"noun\":\"status\"}", "{\"noun\":\"status\",\"json\":true}",
		"{\"noun\":\"stats\",\"args\":{\"all\":true}}",
		"{\"noun\":\"stats\",\"json\":true,\"args\":{\"all\":true}}"};

	plane_begin(b, UINT32_MAX);
	b->takes = false;
	h->state = 0xdead;
	h->plane_beat_us = UINT64_MAX;
	h->taken_generation = h->refused_generation = UINT64_MAX;
	memset(h->why, 0xc2, sizeof(h->why)); // no NUL, no UTF-8
	memset(h->warnings, '\n', sizeof(h->warnings));
	memcpy(h->warnings, "\x1b]0;x\a\n", 7);
	memset(h->worker, 0xff, sizeof(h->worker));
	for (uint32_t w = 0; w < REGION_WORKERS_MAX; w++)
		memset(region_counters(&b->region, w), 0xff, sizeof(struct counters));
	for (uint32_t i = 0; i < ARRAY_LEN(lines); i++) {
		json_t *o = asked(b, lines[i]);
		assert_exit(o, 0);
		const char *text = json_string_value(json_object_get(o, "text"));
		cr_assert(text == NULL || strchr(text, '\x1b') == NULL);
		json_decref(o);
	}
	// Session rows and records that make no sense.
	ask(b, 0, "{\"noun\":\"session\",\"verb\":\"list\",\"json\":true}");
	turns(b, 2);
	struct logrec r;
	struct ring ring;
	memset(&r, 0xff, sizeof(r));
	r.kind = LOGREC_MESSAGE; // and lengths far beyond its text
	cr_assert(region_events(&b->region, 0, &ring));
	cr_assert(ring_put(&ring, &r));
	turns(b, 2);
	cr_assert_eq(b->events.invalid, 1);
	cr_assert_eq(log_writer_stats(b->log).lines, 0);
	ring.head->head += 1u << 20; // damage: further ahead than the ring is long
	turns(b, 2);
	b->now_ms += API_WAIT_MS;
	turns(b, 2);
	json_t *o = answer(b, 0);
	assert_exit(o, 0);
	json_decref(o);
	bench_close(b);
}

Test(control_api, records_become_lines_and_tail_follows)
{
	struct bench *b = bench_open();
	char line[256];

	for (uint32_t i = 0; i < 30; i++)
		record_send(b, i % 2, LOGREC_MESSAGE, 0, "mail.example");
	turns(b, 2);
	json_t *o = asked(
		b, "{\"noun\":\"log\",\"verb\":\"tail\",\"json\":true,\"args\":{\"lines\":\"7\"}}");
	assert_exit(o, 0);
	cr_assert_eq(json_array_size(json_object_get(json_object_get(o, "data"), "lines")), 7);
	snprintf(line, sizeof(line),
		 "{\"noun\":\"log\",\"verb\":\"tail\",\"json\":true,\"args\":{\"place\":\"%s\"}}",
		 data_text(o, "place"));
	json_decref(o);
	o = asked(b, line);
	cr_assert_eq(json_array_size(json_object_get(json_object_get(o, "data"), "lines")), 0);
	json_decref(o);
	record_send(b, 0, LOGREC_MESSAGE, 0, "one more");
	turns(b, 2);
	o = asked(b, line);
	const json_t *lines = json_object_get(json_object_get(o, "data"), "lines");
	cr_assert_eq(json_array_size(lines), 1);
	cr_assert_not_null(strstr(json_string_value(json_array_get(lines, 0)), "one more"));
	json_decref(o);
	bench_close(b);
}

// Once found dead, the lock is left alone until there is a new beat: a probe must not hinder a
// start.
Test(control_api, lock_of_a_dead_dataplane_is_left_alone)
{
	struct bench *b = bench_open();

	cr_assert(!plane_check(&b->plane, 1));
	b->lock_fd = open(b->lock, O_RDWR | O_CREAT, 0600);
	cr_assert_eq(flock(b->lock_fd, LOCK_EX | LOCK_NB), 0);
	cr_assert(!plane_check(&b->plane, 2), "it has not said a word yet");
	b->region.head->plane_beat_us = clock_us();
	cr_assert(plane_check(&b->plane, 3));
	plane_end(b);
	cr_assert(!plane_check(&b->plane, 4));
	bench_close(b);
}
