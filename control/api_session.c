// SPDX-License-Identifier: Apache-2.0
// api_session: `postern session list`.
#include "control/api.h"

// A row has the keys of the message log that make sense for a session: it is formatted as a line
// and read back, which also takes care of texts that are not UTF-8. The worker writes the state as
// evidence.
json_t *
api_session_json(const struct logrec *r, bool json)
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

static void
list_record(struct api_call *c, const struct logrec *r)
{
	CHECK(c->data != NULL);
	if (r->kind == LOGREC_SESSION && json_array_size(c->data) < API_ROWS_MAX)
		(void)json_array_append_new(c->data, api_session_json(r, c->json));
}

static void
list_end(struct api_call *c)
{
	static const struct api_column columns[] = {
		{"session", "SESSION"}, {"client", "CLIENT"}, {"direction", "DIRECTION"},
		{"worker", "WORKER"},   {"state", "STATE"},   {"helo", "HELO"},
		{"from", "FROM"},       {"rcpt", "RCPT"},     {"bytes", "BYTES"},
		{"age", "AGE S"},
	};

	if (json_array_size(c->data) == API_ROWS_MAX)
		api_warning(c, "only the first %u sessions", API_ROWS_MAX);
	if (json_array_size(c->data) == 0)
		api_printf(c, "no sessions\n");
	else
		api_table(c, c->data, columns, ARRAY_LEN(columns));
}

void
api_session_list(struct api_call *c)
{
	struct command command = {.kind = COMMAND_SESSION_LIST};

	c->data = json_array();
	if (!api_ask_workers(c, &command, list_record, list_end)) {
		json_decref(c->data);
		c->data = NULL;
	}
}
