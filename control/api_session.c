// SPDX-License-Identifier: Apache-2.0
// api_session: `postern session list`: asks every worker, collects rows until all have said that
// they are through or the time is over.
#include "control/api.h"

#include <string.h>

// A row has the keys of the message log that make sense for a session: it is formatted as a line
// and read back, which also takes care of texts that are not UTF-8. The worker writes the state as
// evidence.
static json_t *
session_json(const struct logrec *r, bool json)
{
	static const char *const no_sense[] = {"event", "agent",    "action",
					       "rule",  "evidence", "reply"};
	char line[LOG_LINE_MAX];
	struct strbuf b;

	strbuf_init(&b, line, sizeof(line));
	log_line_format(&b, r);
	CHECK(!b.truncated);
	json_t *row = json_loadb(b.p, b.len, JSON_ALLOW_NUL, NULL);
	(void)json_object_set(row, "state", json_object_get(row, "evidence"));
	for (uint32_t i = 0; i < ARRAY_LEN(no_sense); i++)
		(void)json_object_del(row, no_sense[i]);
	if (!json) { // microseconds are for programs
		json_int_t us = json_integer_value(json_object_get(row, "us"));
		(void)json_object_set_new(row, "age", json_integer(us / 1000000));
	}
	return row;
}

void
api_session_list(struct api_call *c)
{
	struct api *a = c->api;
	struct command command = {.kind = COMMAND_SESSION_LIST};

	(void)plane_check(a->plane, a->now_ms);
	uint32_t workers = plane_workers(a->plane, a->region);
	if (workers == 0) {
		api_error(c, "the dataplane is %s: there are no sessions to list",
			  plane_state_name(a->plane, a->region));
		return;
	}
	c->data = json_array();
	c->request = ++a->request_last;
	command.request = c->request;
	for (uint32_t w = 0; w < workers; w++) {
		struct ring ring;
		if (!region_commands(a->region, w, &ring) || !ring_put(&ring, &command))
			api_warning(c, "worker %u takes no commands: its sessions are missing", w);
		else
			c->workers_left |= 1ull << w;
	}
	c->wait = API_WAIT_SESSIONS;
	c->deadline_ms = a->now_ms + API_WAIT_MS;
}

void
api_session_row(struct api_call *c, uint32_t worker, const struct logrec *r)
{
	CHECK(c->wait == API_WAIT_SESSIONS && c->data != NULL);
	CHECK(worker < REGION_WORKERS_MAX);
	if (r->kind == LOGREC_SESSION_END) {
		c->workers_left &= ~(1ull << worker);
	} else if (json_array_size(c->data) < API_ROWS_MAX) {
		(void)json_array_append_new(c->data, session_json(r, c->json));
		// A long list may take longer, as long as it goes on; the limit on rows ends it.
		c->deadline_ms = c->api->now_ms + API_WAIT_MS;
	}
}

void
api_session_done(struct api_call *c)
{
	static const struct api_column columns[] = {
		{"session", "SESSION"}, {"client", "CLIENT"}, {"direction", "DIRECTION"},
		{"worker", "WORKER"},   {"state", "STATE"},   {"helo", "HELO"},
		{"from", "FROM"},       {"rcpt", "RCPT"},     {"bytes", "BYTES"},
		{"age", "AGE S"},
	};

	CHECK(c->wait == API_WAIT_SESSIONS && c->data != NULL);
	for (uint32_t w = 0; w < REGION_WORKERS_MAX; w++) {
		if ((c->workers_left >> w & 1) != 0)
			api_warning(c, "worker %u has not listed all its sessions within %u ms", w,
				    API_WAIT_MS);
	}
	if (json_array_size(c->data) == API_ROWS_MAX)
		api_warning(c, "only the first %u sessions", API_ROWS_MAX);
	if (json_array_size(c->data) == 0)
		api_printf(c, "no sessions\n");
	else
		api_table(c, c->data, columns, ARRAY_LEN(columns));
}
