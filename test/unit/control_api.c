// SPDX-License-Identifier: Apache-2.0
// Unit tests of posternd's API: requests, changes, sessions, status and log.
#include "test/unit/control_rig.h"

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
	cr_assert_not_null(strstr(text, "AGE S\n"));
	cr_assert_not_null(strstr(text, "   75\n"), "seconds, not 75000000: %s", text);
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

static void
backend_send(struct bench *b, uint32_t worker, bool is_up, uint64_t time_us)
{
	struct logrec r;
	struct ring ring;

	logrec_init(&r);
	r.kind = LOGREC_BACKEND;
	r.time_us = time_us;
	cr_assert(ipaddr_parse(SPAN_LIT("192.0.2.20"), &r.client));
	r.client_port = 25;
	r.reply_code = is_up ? LOGREC_BACKEND_UP : LOGREC_BACKEND_DOWN;
	logrec_set(&r, LOGREC_RULE, SPAN_LIT("mail1"));
	if (!is_up)
		logrec_set(&r, LOGREC_EVIDENCE, SPAN_LIT("connection refused\x1b[31m"));
	cr_assert(region_events(&b->region, worker, &ring));
	cr_assert(ring_put(&ring, &r));
	turns(b, 2);
}

static void
backend_expect(struct bench *b, const char *state, const char *since, const char *error)
{
	static const char line[] = "{\"noun\":\"status\",\"verb\":\"\",\"json\":true}";
	json_t *o = asked(b, line);

	assert_exit(o, 0);
	const json_t *list = json_object_get(json_object_get(o, "data"), "backends");
	cr_assert_eq(json_array_size(list), 1);
	const json_t *row = json_array_get(list, 0);
	cr_assert_str_eq(json_string_value(json_object_get(row, "name")), "mail1");
	cr_assert_str_eq(json_string_value(json_object_get(row, "address")), "192.0.2.20:25");
	cr_assert_str_eq(json_string_value(json_object_get(row, "state")), state);
	const char *s = json_string_value(json_object_get(row, "since"));
	cr_assert_eq(s == NULL, since == NULL);
	if (s != NULL)
		cr_assert_str_eq(s, since);
	s = json_string_value(json_object_get(row, "last_error"));
	cr_assert_eq(strncmp(s, error, strlen(error)), 0, "%s", s);
	json_decref(o);
}

Test(control_api, backends_are_listed_with_their_health)
{
	struct bench *b = bench_open();
	const char *error = "connection refused";

	backend_expect(b, "unknown", NULL, "");
	plane_begin(b, 2);
	turns(b, 2);
	backend_expect(b, "unknown", NULL, "");
	backend_send(b, 0, true, 1000000);
	backend_expect(b, "up", "1970-01-01T00:00:01.000000Z", "");
	backend_send(b, 1, false, 2000000); // one worker cannot get through
	backend_expect(b, "down", "1970-01-01T00:00:02.000000Z", error);
	backend_send(b, 0, true, 3000000); // a repetition
	backend_expect(b, "down", "1970-01-01T00:00:02.000000Z", error);
	backend_send(b, 1, true, 4000000);
	backend_expect(b, "up", "1970-01-01T00:00:04.000000Z", error);
	cr_assert_eq(log_writer_stats(b->log).lines, 0, "not in the message log");
	json_t *o = asked(b, "{\"noun\":\"status\",\"verb\":\"\"}");
	const char *text = json_string_value(json_object_get(o, "text"));
	cr_assert_not_null(strstr(text, "LAST ERROR"));
	cr_assert_null(strchr(text, '\x1b'));
	cr_assert_not_null(strstr(text, "192.0.2.20:25"));
	json_decref(o);
	b->region.head->plane_pid++; // another dataplane has not said anything yet
	backend_expect(b, "unknown", NULL, "");
	backend_send(b, 0, false, 5000000);
	backend_expect(b, "down", "1970-01-01T00:00:05.000000Z", error);
	plane_end(b);
	b->now_ms += 60000;
	backend_expect(b, "unknown", NULL, "");
	bench_close(b);
}

// What a worker gives up, and why, is told in words.
Test(control_api, pressure_is_told_in_words)
{
	struct bench *b = bench_open();
	struct counters *n = region_counters(&b->region, 1);

	plane_begin(b, 2);
	n->shed_level = SHED_REFUSE;
	n->shed_cause = SHED_CHUNKS;
	n->addresses_taken = 2;
	n->loop[5] = 3;
	json_t *o = asked(b, "{\"noun\":\"status\",\"json\":true}");
	const json_t *list = json_object_get(json_object_get(o, "data"), "workers");
	const json_t *row = json_array_get(list, 1);
	cr_assert_str_eq(json_string_value(json_object_get(row, "pressed")),
			 "2: new sessions get 421, new messages 452; short of message memory "
			 "(machine.chunks)");
	cr_assert_eq(json_integer_value(json_object_get(row, "turn_max_us")), 32);
	cr_assert_eq(json_integer_value(json_object_get(row, "addresses_taken")), 2);
	cr_assert_str_eq(json_string_value(json_object_get(json_array_get(list, 0), "pressed")),
			 "no");
	json_decref(o);
	o = asked(b, "{\"noun\":\"stats\",\"args\":{\"all\":true}}");
	const char *text = json_string_value(json_object_get(o, "text"));
	cr_assert_not_null(strstr(text, "now: new sessions get 421"));
	cr_assert_not_null(strstr(text, "below         32 us"));
	json_decref(o);
	plane_end(b);
	bench_close(b);
}

// Changes in quick succession are one line, but the last one is told when its time has come.
Test(control_api, last_state_of_a_backend_is_told)
{
	struct bench *b = bench_open();
	struct events_backend *row = &b->events.backend[0];

	plane_begin(b, 1);
	backend_send(b, 0, false, 1000000);
	cr_assert_eq(row->said, EVENTS_DOWN);
	backend_send(b, 0, true, 1100000);
	cr_assert_eq(row->said, EVENTS_DOWN, "too soon");
	row->said_ms -= EVENTS_SAY_MS;
	turns(b, 1);
	cr_assert_eq(row->said, EVENTS_UP);
	plane_end(b);
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
