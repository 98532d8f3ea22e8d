// SPDX-License-Identifier: Apache-2.0
// `postern session show`, `session capture` and `trace` over the real socket, with records of a
// dataplane that the test plays.
#include "control/abi/trace.h"
#include "dataplane/tcp_conn.h"
#include "test/unit/control_rig.h"

static void
trace_send(struct bench *b, uint64_t request)
{
	const struct trace_rec rec[] = {
		{.us = 1500, .kind = TRACE_SMTP_REPLY, .seq = 354},
		{.us = 1400, .kind = TRACE_SMTP_COMMAND, .seq = 0x44415441, .half = 17},
		{.us = 1000,
		 .kind = TRACE_SEG_IN,
		 .flags = 0x12,
		 .len = 7,
		 .seq = 9,
		 .ack = 8,
		 .wnd = 6},
		{.us = UINT64_MAX, .kind = 250, .seq = 1}, // nonsense is shown as such
	};

	raw_send(b, LOGREC_TRACE, request, span_of(rec, sizeof(rec)), false);
}

static void
half_send(struct bench *b, uint64_t request, enum tcp_state state, uint32_t size)
{
	struct trace_half h = {
		.lport = 25, .rport = 4000, .mss = 1448, .state = (uint8_t)state, .srtt_us = 250};

	cr_assert(ipaddr_parse(SPAN_LIT("192.0.2.10"), &h.laddr));
	cr_assert(ipaddr_parse(SPAN_LIT("2001:db8::7"), &h.raddr));
	raw_send(b, LOGREC_HALF, request, span_of(&h, size), false);
}

Test(control_api_watch, session_show)
{
	struct bench *b = bench_open();

	plane_begin(b, 1);
	turns(b, 3);
	ask(b, 0,
	    "{\"noun\":\"session\",\"verb\":\"show\",\"args\":{\"session\":\"100\"},\"json\":"
	    "true}");
	ask(b, 1,
	    "{\"noun\":\"session\",\"verb\":\"show\",\"args\":{\"session\":\"0000000000000100\"}}");
	turns(b, 2);
	for (int i = 0; i < 2; i++) {
		uint64_t request = command_take(b, 0);
		cr_assert_eq(b->command.kind, COMMAND_SESSION_SHOW);
		cr_assert_eq(b->command.argument[0], 0x100);
		record_send(b, 0, LOGREC_SESSION, request, "client.example");
		trace_send(b, request);
		half_send(b, request, TCPS_ESTABLISHED, sizeof(struct trace_half));
		half_send(b, request, TCPS_DRAIN, sizeof(struct trace_half));
		half_send(b, request, TCPS_CLOSED, 20); // too short: left out
		record_send(b, 0, LOGREC_SESSION_END, request, "");
	}
	turns(b, 4);
	json_t *o = answer(b, 0);
	cr_assert_not_null(o);
	assert_exit(o, 0);
	const json_t *data = json_object_get(o, "data");
	const json_t *trace = json_object_get(data, "trace"),
		     *conns = json_object_get(data, "connections");
	cr_assert_eq(json_array_size(conns), 2);
	cr_assert_str_eq(json_string_value(json_object_get(json_array_get(conns, 0), "peer")),
			 "[2001:db8::7]:4000");
	cr_assert_str_eq(json_string_value(json_object_get(json_array_get(conns, 0), "state")),
			 "ESTABLISHED");
	// The last one: posternd's names are in the order of the dataplane's enum.
	cr_assert_str_eq(json_string_value(json_object_get(json_array_get(conns, 1), "state")),
			 "DRAIN");
	cr_assert_eq(json_array_size(trace), 4);
	const json_t *first = json_array_get(trace, 0), *second = json_array_get(trace, 1);
	cr_assert_str_eq(json_string_value(json_object_get(first, "what")), "in");
	cr_assert_str_eq(json_string_value(json_object_get(first, "flags")), "SA");
	cr_assert_eq(json_integer_value(json_object_get(first, "us")), 0, "oldest first, from 0");
	cr_assert_str_eq(json_string_value(json_object_get(second, "value")), "DATA");
	cr_assert_eq(json_integer_value(json_object_get(second, "us")), 400);
	cr_assert_str_eq(json_string_value(json_object_get(json_array_get(trace, 3), "what")), "?");
	json_decref(o);
	o = answer(b, 1);
	const char *text = json_string_value(json_object_get(o, "text"));
	cr_assert_not_null(strstr(text, "[2001:db8::7]:4000"), "%s", text);
	cr_assert_not_null(strstr(text, "DATA"));
	json_decref(o);
	bench_close(b);
}

Test(control_api_watch, sessions_that_are_not_there)
{
	static const char *const bad[] = {"", "xyz", "00000000000000000", "10G", "-1"};
	struct bench *b = bench_open();
	char line[160];

	plane_begin(b, 1);
	turns(b, 3);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(line, sizeof(line),
			 "{\"noun\":\"session\",\"verb\":\"show\",\"args\":{\"session\":\"%s\"}}",
			 bad[i]);
		json_t *o = asked(b, line);
		assert_exit(o, 1);
		json_decref(o);
	}
	ask(b, 0, "{\"noun\":\"session\",\"verb\":\"capture\",\"args\":{\"session\":\"7\"}}");
	turns(b, 2);
	record_send(b, 0, LOGREC_SESSION_END, command_take(b, 0), "");
	turns(b, 4);
	json_t *o = answer(b, 0);
	assert_exit(o, 1);
	json_decref(o);
	cr_assert_null(b->api.watch.file.file);
	cr_assert_neq(access(b->api.watch.path, F_OK), 0, "no file is left behind");
	bench_close(b);
}

static uint32_t
u32_at(const uint8_t *p, size_t at)
{
	uint32_t v;

	memcpy(&v, p + at, 4);
	return v;
}

// Two frames, one of them in two parts, and one of a capture that nobody asked for.
Test(control_api_watch, capture)
{
	struct bench *b = bench_open();
	uint8_t frame[1200], file[4096];

	for (uint32_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)i;
	plane_begin(b, 1);
	turns(b, 3);
	ask(b, 0,
	    "{\"noun\":\"session\",\"verb\":\"capture\",\"args\":{\"session\":\"100\",\"for\":"
	    "\"5s\"}}");
	turns(b, 2);
	uint64_t request = command_take(b, 0);
	cr_assert_eq(b->command.kind, COMMAND_SESSION_CAPTURE);
	cr_assert_eq(b->command.argument[1], 5000);
	record_send(b, 0, LOGREC_SESSION, request, "x");
	record_send(b, 0, LOGREC_SESSION_END, request, "");
	raw_send(b, LOGREC_FRAME, request + 1, span_of(frame, 100), false);
	raw_send(b, LOGREC_FRAME, request, span_of(frame, 61), false);
	raw_send(b, LOGREC_FRAME, request, span_of(frame, 900), true);
	raw_send(b, LOGREC_FRAME, request, span_of(frame + 900, 300), false);
	turns(b, 4);
	json_t *o = answer(b, 0);
	assert_exit(o, 0);
	// and a second in which frames may still be on their way
	cr_assert(strstr(json_string_value(json_object_get(o, "text")), "complete in 6 s"));
	json_decref(o);
	b->now_ms += 2000;
	o = asked(b, "{\"noun\":\"session\",\"verb\":\"capture\",\"args\":{\"session\":\"100\"}}");
	assert_exit(o, 1); // one at a time
	char *errors = json_dumps(json_object_get(o, "errors"), 0);
	cr_assert(strstr(errors, "complete in 4 s"), "%s", errors);
	free(errors);
	json_decref(o);
	b->now_ms += 6001;
	turns(b, 2);
	cr_assert_null(b->api.watch.file.file, "its time is over");
	FILE *f = fopen(b->api.watch.path, "rb");
	cr_assert_not_null(f);
	size_t n = fread(file, 1, sizeof(file), f), at = 0;
	fclose(f);
	unlink(b->api.watch.path);
	// Each block has its length at both ends, and they fill the file.
	uint32_t packets = 0;
	while (at < n) {
		uint32_t size = u32_at(file, at + 4);
		cr_assert(size % 4 == 0 && size >= 12 && at + size <= n);
		cr_assert_eq(u32_at(file, at + size - 4), size);
		if (u32_at(file, at) == 6) {
			uint32_t length = packets == 0 ? 61 : 1200;
			cr_assert_eq(u32_at(file, at + 20), length);
			cr_assert_eq(memcmp(file + at + 28, frame, length), 0);
			packets++;
		}
		at += size;
	}
	cr_assert_eq(packets, 2);
	cr_assert_eq(u32_at(file, 0), 0x0a0d0d0a);
	bench_close(b);
}

Test(control_api_watch, anomalies)
{
	struct bench *b = bench_open();

	turns(b, 2);
	json_t *o = asked(b, "{\"noun\":\"trace\",\"verb\":\"list\",\"json\":true}");
	cr_assert_eq(json_array_size(json_object_get(o, "data")), 0);
	json_decref(o);
	for (uint32_t i = 0; i < 3; i++) {
		trace_send(b, 0);
		half_send(b, 0, TCPS_ESTABLISHED, sizeof(struct trace_half));
	}
	turns(b, 2);
	o = asked(b, "{\"noun\":\"trace\",\"verb\":\"list\",\"json\":true}");
	cr_assert_eq(json_array_size(json_object_get(o, "data")), 1, "one session, one anomaly");
	json_decref(o);
	o = asked(b, "{\"noun\":\"trace\",\"verb\":\"show\",\"args\":{\"session\":\"abc\"},"
		     "\"json\":true}");
	assert_exit(o, 0);
	cr_assert_eq(json_array_size(json_object_get(json_object_get(o, "data"), "connections")),
		     3);
	const json_t *session = json_object_get(json_object_get(o, "data"), "session");
	cr_assert_str_eq(json_string_value(json_object_get(session, "helo")), "",
			 "a trace is no text");
	json_decref(o);
	struct ring events;
	struct logrec row;
	logrec_init(&row);
	row.kind = LOGREC_SESSION;
	row.session_id = 0xabc;
	(void)logrec_set(&row, LOGREC_HELO, SPAN_LIT("client.example"));
	cr_assert(region_events(&b->region, 0, &events));
	cr_assert(ring_put(&events, &row));
	turns(b, 2);
	o = asked(b, "{\"noun\":\"trace\",\"verb\":\"show\",\"args\":{\"session\":\"abc\"},"
		     "\"json\":true}");
	session = json_object_get(json_object_get(o, "data"), "session");
	cr_assert_str_eq(json_string_value(json_object_get(session, "helo")), "client.example");
	json_decref(o);
	o = asked(b, "{\"noun\":\"trace\",\"verb\":\"show\",\"args\":{\"session\":\"abd\"}}");
	assert_exit(o, 1);
	json_decref(o);
	// However much is told of one session: no more is kept than anybody could want.
	for (uint32_t i = 0; i < 1000; i++)
		trace_send(b, 0);
	turns(b, 3);
	o = asked(b, "{\"noun\":\"trace\",\"verb\":\"show\",\"args\":{\"session\":\"abc\"},"
		     "\"json\":true}");
	cr_assert_leq(json_array_size(json_object_get(json_object_get(o, "data"), "trace")), 1100);
	cr_assert_geq(json_array_size(json_object_get(json_object_get(o, "data"), "trace")), 1000);
	json_decref(o);
	// Only the last ones are kept.
	for (uint32_t i = 0; i < 2 * API_ANOMALIES_MAX; i++) {
		struct logrec r;
		struct ring ring;
		logrec_init(&r);
		r.kind = LOGREC_TRACE;
		r.session_id = 1000 + i;
		cr_assert(region_events(&b->region, 0, &ring));
		cr_assert(ring_put(&ring, &r));
	}
	turns(b, 3);
	o = asked(b, "{\"noun\":\"trace\",\"verb\":\"list\",\"json\":true}");
	cr_assert_eq(json_array_size(json_object_get(o, "data")), API_ANOMALIES_MAX);
	json_decref(o);
	bench_close(b);
}
