// SPDX-License-Identifier: Apache-2.0
// api_watch: `postern session show`, `session capture` and `trace`: what a worker knows of single
// sessions. Records that no call waits for are anomalies, told unasked, and captured frames.
#include "control/api.h"

#include <string.h>
#include <time.h>

#include "control/abi/trace.h"
#include "control/oplog.h"

#define TRACE_ROWS_MAX 1024u // of one session: four times what a worker tells at once
#define CAPTURE_S_DEFAULT 60u
#define CAPTURE_GRACE_MS 1000u // frames may still be in the ring when the time is over

// --- what a worker tells of a session ---

static json_t *
endpoint_json(const struct ipaddr *a, uint16_t port)
{
	char text[80];
	struct strbuf b;

	strbuf_init(&b, text, sizeof(text));
	log_endpoint_format(&b, a, port);
	return json_string(text);
}

// RFC 9293 names; the order is that of enum tcp_state in dataplane/tcp_conn.h.
static const char *
tcp_state_text(uint32_t state)
{
	static const char *const names[] = {
		"CLOSED",     "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2",
		"CLOSE-WAIT", "CLOSING",  "LAST-ACK",     "TIME-WAIT",   "DRAIN"};

	return state < ARRAY_LEN(names) ? names[state] : "?";
}

static json_t *
half_json(const struct trace_half *h)
{
	return json_pack(
		"{s:s, s:o, s:o, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b}",
		"half", h->is_backend ? "backend" : "client", "local",
		endpoint_json(&h->laddr, h->lport), "peer", endpoint_json(&h->raddr, h->rport),
		"state", tcp_state_text(h->state), "mss", (int)h->mss, "cwnd", (json_int_t)h->cwnd,
		"ssthresh", (json_int_t)h->ssthresh, "in_flight", (json_int_t)h->in_flight,
		"send_queue", (json_int_t)h->send_queue, "receive_queue", (json_int_t)h->recv_queue,
		"send_window", (json_int_t)h->snd_window, "receive_window",
		(json_int_t)h->rcv_window, "srtt_us", (json_int_t)h->srtt_us, "rto_ms",
		(json_int_t)h->rto_ms, "timestamps", (int)h->has_ts, "sack", (int)h->has_sack);
}

static void
flags_text(uint8_t flags, struct strbuf *b)
{
	static const char letters[] = "FSRPA";

	for (uint32_t i = 0; letters[i] != '\0'; i++) {
		if ((flags >> i & 1) != 0)
			strbuf_add_char(b, letters[i]);
	}
}

static json_t *
trace_json(const struct trace_rec *r)
{
	const char *fields = trace_fields(r->kind);
	char text[16];
	struct strbuf b;
	json_t *o = json_pack("{s:I, s:I, s:s}", "us", (json_int_t)MIN(r->us, (uint64_t)INT64_MAX),
			      "port", (json_int_t)r->half, "what", trace_kind_name(r->kind));

	strbuf_init(&b, text, sizeof(text));
	if (strchr(fields, 'S') != NULL) {
		flags_text(r->flags, &b);
		(void)json_object_set_new(o, "flags", json_string(text));
		(void)json_object_set_new(o, "length", json_integer(r->len));
		(void)json_object_set_new(o, "seq", json_integer(r->seq));
		(void)json_object_set_new(o, "ack", json_integer(r->ack));
		(void)json_object_set_new(o, "window", json_integer(r->wnd));
	} else if (strchr(fields, 'T') != NULL) {
		for (int32_t shift = 24; shift >= 0; shift -= 8)
			strbuf_add_char(&b, (char)(r->seq >> shift));
		(void)json_object_set_new(o, "value", api_text(strbuf_span(&b)));
	} else {
		(void)json_object_set_new(o, "value", json_integer(r->seq));
	}
	return o;
}

// Adds a record to {"session":{}, "connections":[], "trace":[]}.
static void
session_add(json_t *to, const struct logrec *r, bool json)
{
	json_t *connections = json_object_get(to, "connections"),
	       *trace = json_object_get(to, "trace");
	struct span raw = logrec_raw(r);
	struct trace_half h;
	struct trace_rec t;

	if (r->kind == LOGREC_SESSION) {
		(void)json_object_set_new(to, "session", api_session_json(r, json));
	} else if (r->kind == LOGREC_HALF && raw.n == sizeof(h) &&
		   json_array_size(connections) < TRACE_ROWS_MAX) {
		memcpy(&h, raw.p, sizeof(h));
		(void)json_array_append_new(connections, half_json(&h));
	} else if (r->kind == LOGREC_TRACE && json_array_size(trace) < TRACE_ROWS_MAX) {
		for (uint32_t at = 0; at + sizeof(t) <= raw.n; at += sizeof(t)) {
			memcpy(&t, raw.p + at, sizeof(t));
			(void)json_array_append_new(trace, trace_json(&t));
		}
	}
}

static int
by_time(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	json_int_t t = json_integer_value(json_object_get(x, "us"));
	json_int_t u = json_integer_value(json_object_get(y, "us"));

	return t < u ? -1 : t > u;
}

// The chains of the session and of its connections, one behind the other, become one story. Times
// are made relative to its beginning.
static void
trace_sort(json_t *session)
{
	json_t *old = json_object_get(session, "trace"), *fresh = json_array();
	size_t n = json_array_size(old), i;
	json_t **row = calloc(n + 1, sizeof(*row)), *one;

	if (row == NULL) {
		json_decref(fresh);
		return;
	}
	// A chain comes newest first, and records of one instant keep their order.
	json_array_foreach(old, i, one)
	{
		row[n - 1 - i] = one;
	}
	qsort(row, n, sizeof(*row), by_time);
	json_int_t first = n > 0 ? json_integer_value(json_object_get(row[0], "us")) : 0;
	for (i = 0; i < n; i++) {
		json_int_t us = json_integer_value(json_object_get(row[i], "us"));
		(void)json_object_set_new(row[i], "us", json_integer(us - first));
		(void)json_array_append(fresh, row[i]);
	}
	free(row);
	(void)json_object_set_new(session, "trace", fresh);
}

static void
session_print(struct api_call *c, const json_t *o)
{
	static const struct api_column half[] = {
		{"half", "HALF"},
		{"local", "LOCAL"},
		{"peer", "PEER"},
		{"state", "STATE"},
		{"mss", "MSS"},
		{"srtt_us", "SRTT US"},
		{"cwnd", "CWND"},
		{"in_flight", "FLIGHT"},
		{"send_queue", "SENDQ"},
		{"receive_queue", "RECVQ"},
		{"send_window", "SNDWND"},
		{"receive_window", "RCVWND"},
	};
	static const struct api_column trace[] = {
		{"us", "US"},       {"port", "PORT"},   {"what", "WHAT"},
		{"value", "VALUE"}, {"flags", "FLAGS"}, {"length", "LEN"},
		{"seq", "SEQ"},     {"ack", "ACK"},     {"window", "WINDOW"},
	};
	const json_t *session = json_object_get(o, "session"), *v;
	const char *key;

	json_object_foreach((json_t *)(uintptr_t)session, key, v)
	{
		if (json_is_string(v) && json_string_length(v) > 0)
			api_printf(c, "%-10s %s\n", key, json_string_value(v));
		else if (json_is_integer(v))
			api_printf(c, "%-10s %lld\n", key, (long long)json_integer_value(v));
	}
	api_printf(c, "\n");
	api_table(c, json_object_get(o, "connections"), half, ARRAY_LEN(half));
	api_printf(c, "\n");
	api_table(c, json_object_get(o, "trace"), trace, ARRAY_LEN(trace));
}

static json_t *
session_new(void)
{
	return json_pack("{s:n, s:[], s:[]}", "session", "connections", "trace");
}

// --- session show ---

// The number as it stands in lists and in the message log.
static bool
session_arg(struct api_call *c, uint64_t *out)
{
	const char *text = api_arg(c, "session");
	uint64_t n = 0;

	for (uint32_t i = 0; text != NULL && text[i] != '\0'; i++) {
		const char *digit = strchr("0123456789abcdef", text[i]);
		if (i >= 16 || digit == NULL) {
			text = NULL;
			break;
		}
		n = n << 4 | (uint64_t)(digit - "0123456789abcdef");
	}
	*out = n;
	if (text != NULL && text[0] != '\0')
		return true;
	api_error(c, "a session is named by up to 16 hexadecimal digits, as `postern session list` "
		     "and `postern trace list` show");
	return false;
}

static void
show_record(struct api_call *c, const struct logrec *r)
{
	session_add(c->data, r, c->json);
}

static void
show_end(struct api_call *c)
{
	if (json_is_null(json_object_get(c->data, "session"))) {
		api_error(c, "there is no session %s", api_arg(c, "session"));
		return;
	}
	trace_sort(c->data);
	session_print(c, c->data);
}

static void
ask(struct api_call *c, struct command *command, void (*on_end)(struct api_call *c))
{
	c->data = session_new();
	if (!api_ask_workers(c, command, show_record, on_end)) {
		json_decref(c->data);
		c->data = NULL;
	}
}

void
api_session_show(struct api_call *c)
{
	struct command command = {.kind = COMMAND_SESSION_SHOW};

	if (session_arg(c, &command.argument[0]))
		ask(c, &command, show_end);
}

// --- session capture ---

static void
capture_undo(struct api_watch *w)
{
	pcapng_close(&w->file);
	(void)remove(w->path);
}

static uint64_t
capture_left_s(const struct api *a)
{
	uint64_t ms = a->watch.end_ms > a->now_ms ? a->watch.end_ms - a->now_ms : 0;

	return (ms + 999) / 1000;
}

static void
capture_end(struct api_call *c)
{
	struct api_watch *w = &c->api->watch;

	if (json_is_null(json_object_get(c->data, "session"))) {
		api_error(c, "there is no session %s", api_arg(c, "session"));
		if (w->request == c->request)
			capture_undo(w);
		return;
	}
	(void)json_object_set_new(c->data, "file", json_string(w->path));
	uint64_t left_s = capture_left_s(c->api);
	(void)json_object_set_new(c->data, "seconds", json_integer((json_int_t)left_s));
	api_printf(c, "capturing into %s, complete in %llu s\n", w->path,
		   (unsigned long long)left_s);
}

void
api_session_capture(struct api_call *c)
{
	struct api *a = c->api;
	struct api_watch *w = &a->watch;
	struct command command = {.kind = COMMAND_SESSION_CAPTURE};
	const char *text = api_arg(c, "for");
	uint64_t seconds = CAPTURE_S_DEFAULT;
	char why_text[256], comment[128];
	struct strbuf why, path;

	if (!session_arg(c, &command.argument[0]))
		return;
	if (text != NULL &&
	    (!api_duration_parse(text, &seconds) || seconds > COMMAND_CAPTURE_MS_MAX / 1000)) {
		api_error(c, "--for %s: a time up to %us is wanted, such as 90s or 30m", text,
			  COMMAND_CAPTURE_MS_MAX / 1000);
		return;
	}
	if (w->file.file != NULL) {
		api_error(c, "a capture is running, into %s, complete in %llu s", w->path,
			  (unsigned long long)capture_left_s(a));
		return;
	}
	strbuf_init(&why, why_text, sizeof(why_text));
	strbuf_init(&path, w->path, sizeof(w->path));
	strbuf_addf(&path, "%s/capture-%016llx-%llu.pcapng", a->state_dir,
		    (unsigned long long)command.argument[0], (unsigned long long)time(NULL));
	(void)snprintf(comment, sizeof(comment), "Postern, session %016llx",
		       (unsigned long long)command.argument[0]);
	if (path.truncated || !pcapng_open(&w->file, w->path, comment, &why)) {
		api_error(c, "%s",
			  path.truncated ? "the path of the state directory is too long"
					 : why_text);
		return;
	}
	command.argument[1] = seconds * 1000;
	w->frame_size = 0;
	w->end_ms = a->now_ms + seconds * 1000 + CAPTURE_GRACE_MS;
	ask(c, &command, capture_end);
	w->request = c->request;
	if (c->wait == API_WAIT_NONE) // no worker could be asked
		capture_undo(w);
}

static void
frame_take(struct api_watch *w, const struct logrec *r)
{
	struct span raw = logrec_raw(r);

	if (w->file.file == NULL || r->request != w->request)
		return;
	uint32_t n = MIN(raw.n, PCAPNG_FRAME_MAX - w->frame_size);
	memcpy(w->frame + w->frame_size, raw.p, n);
	w->frame_size += n;
	if (r->cut != 0)
		return; // more of it follows
	if (!pcapng_frame(&w->file, span_of(w->frame, w->frame_size), r->time_us,
			  r->reply_code != 0))
		oplog(OPLOG_WARNING, "the capture %s ends early: the file is full", w->path);
	w->frame_size = 0;
}

// --- anomalies ---

static void
anomaly_take(struct api_watch *w, const struct logrec *r)
{
	char id[17];
	json_t *last = w->anomaly_count > 0 ? w->anomaly[w->anomaly_count - 1] : NULL;

	(void)snprintf(id, sizeof(id), "%016llx", (unsigned long long)r->session_id);
	const char *before = json_string_value(json_object_get(last, "id"));
	if (before == NULL || strcmp(before, id) != 0) {
		if (w->anomaly_count == API_ANOMALIES_MAX) {
			json_decref(w->anomaly[0]);
			memmove(&w->anomaly[0], &w->anomaly[1],
				(API_ANOMALIES_MAX - 1) * sizeof(w->anomaly[0]));
			w->anomaly_count--;
		}
		// What a connection and a trace have in common with the session's own record, which
		// the ring may have lost: all but its texts.
		struct logrec texts_gone = *r;
		memset(texts_gone.len, 0, sizeof(texts_gone.len));
		last = session_new();
		(void)json_object_set_new(last, "id", json_string(id));
		(void)json_object_set_new(last, "session", api_session_json(&texts_gone, true));
		w->anomaly[w->anomaly_count++] = last;
	}
	session_add(last, r, true);
}

void
api_watch_record(struct api *a, const struct logrec *r)
{
	if (r->kind == LOGREC_FRAME)
		frame_take(&a->watch, r);
	else if (r->request == 0 &&
		 (r->kind == LOGREC_SESSION || r->kind == LOGREC_HALF || r->kind == LOGREC_TRACE))
		anomaly_take(&a->watch, r);
}

void
api_watch_poll(struct api *a)
{
	if (a->watch.file.file != NULL && a->now_ms >= a->watch.end_ms)
		pcapng_close(&a->watch.file);
}

void
api_watch_fini(struct api *a)
{
	pcapng_close(&a->watch.file);
	for (uint32_t i = 0; i < a->watch.anomaly_count; i++)
		json_decref(a->watch.anomaly[i]);
	a->watch.anomaly_count = 0;
}

void
api_trace_list(struct api_call *c)
{
	static const struct api_column columns[] = {
		{"time", "TIME"},           {"session", "SESSION"}, {"client", "CLIENT"},
		{"direction", "DIRECTION"}, {"worker", "WORKER"},   {"from", "FROM"},
		{"rcpt", "RCPT"},           {"bytes", "BYTES"}};
	const struct api_watch *w = &c->api->watch;

	c->data = json_array();
	for (uint32_t i = 0; i < w->anomaly_count; i++)
		(void)json_array_append(c->data, json_object_get(w->anomaly[i], "session"));
	if (w->anomaly_count == 0)
		api_printf(c, "no session has broken off since posternd was started; `postern log "
			      "tail` has what was refused\n");
	else
		api_table(c, c->data, columns, ARRAY_LEN(columns));
}

void
api_trace_show(struct api_call *c)
{
	const struct api_watch *w = &c->api->watch;
	uint64_t id;
	char text[17];

	if (!session_arg(c, &id))
		return;
	(void)snprintf(text, sizeof(text), "%016llx", (unsigned long long)id);
	for (uint32_t i = w->anomaly_count; i > 0; i--) {
		const char *name = json_string_value(json_object_get(w->anomaly[i - 1], "id"));
		if (name == NULL || strcmp(name, text) != 0)
			continue;
		c->data = json_deep_copy(w->anomaly[i - 1]);
		trace_sort(c->data);
		session_print(c, c->data);
		return;
	}
	api_error(c, "nothing is known of a session %s that went wrong", text);
}
