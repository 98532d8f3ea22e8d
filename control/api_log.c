// SPDX-License-Identifier: Apache-2.0
// api_log: `postern log tail`: lines of the message log and the place behind them.
//
// Following is asking again with the place of the last answer. The server keeps nothing about a
// follower, so there is nothing to leak or to overflow, and a follower outlives rotation and a
// restart of posternd.
#include "control/api.h"

#include "control/log_tail.h"

#define LINES_DEFAULT 20

static void
line_add(void *ctx, struct span line)
{
	struct api_call *c = ctx;

	(void)json_array_append_new(json_object_get(c->data, "lines"), api_text(line));
	api_printf(c, "%.*s\n", SPAN_FMT(line));
}

static void
answer_place(struct api_call *c, const struct log_place *p)
{
	char text[64];
	struct strbuf b;

	strbuf_init(&b, text, sizeof(text));
	log_place_format(&b, p);
	(void)json_object_set_new(c->data, "place", json_string(text));
}

// What came since `p`: of that file first, if it is the one before the rotation.
static void
log_follow(struct api_call *c, struct log_place *p)
{
	struct log_writer *log = c->api->log;
	int now = log_writer_read_fd(log, false), before = log_writer_read_fd(log, true);

	if (!log_tail_is_of(now, p)) {
		if (log_tail_is_of(before, p) && log_tail_read(before, p, line_add, c) > 0)
			return; // the next call goes on, or finds it at its end
		if (!log_tail_begin(now, p)) {
			api_error(c, "%s cannot be read", log_writer_path(log));
			return;
		}
	}
	(void)log_tail_read(now, p, line_add, c);
}

void
api_log_tail(struct api_call *c)
{
	const char *place = api_arg(c, "place");
	struct log_writer *log = c->api->log;
	struct log_place p;
	uint32_t lines;

	if (!api_number(c, "lines", "-n (--lines)", 0, LOG_TAIL_LINES_MAX, LINES_DEFAULT, &lines))
		return;
	c->data = json_pack("{s:[]}", "lines");
	if (place != NULL) {
		if (!log_place_parse(place, &p)) {
			api_error(c, "place: this is not one of ours");
			c->exit = API_USAGE;
			return;
		}
		log_follow(c, &p);
	} else if (log_tail_place(log_writer_read_fd(log, false), lines, &p)) {
		if (lines > 0)
			(void)log_tail_read(log_writer_read_fd(log, false), &p, line_add, c);
	} else {
		api_error(c, "%s cannot be read: not a file?", log_writer_path(log));
		return;
	}
	if (c->exit == API_OK)
		answer_place(c, &p);
}
