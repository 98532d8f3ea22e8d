// SPDX-License-Identifier: Apache-2.0
// api: what posternd does for `postern`: one row and one handler for each noun and verb.
//
// A line {"noun","verb","args","json"} comes from the server; the row of command.def is found, its
// handler (in the api_x.c of its noun) makes `data`, a JSON value, and when a person will read it
// prints a table of the same data into `text`. The answer is {"ok","exit","text" or
// "data","errors","warnings"}. To add a command: a row in command.def and a handler.
// Who calls it: posternd's loop (api_poll) and the server's callback (api_line);
// single-threaded. Memory: a call owns its JSON and text until it is answered. A handler that has
// to wait (for the workers to take a policy, for session rows) sets `wait`; the call then stays in
// its slot, and other clients go on. What can go wrong: hostile lines: an answer with exit 2; a
// client that goes away: its call is dropped.
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "control/events.h"
#include "control/pcapng.h"
#include "control/plane.h"
#include "control/runtime.h"
#include "control/server.h"

#define API_WAIT_MS 1000    // for workers to follow a change, or to list their sessions
#define API_ROWS_MAX 50000u // of a list in one answer
#define API_ANOMALIES_MAX 64u
#define API_BRACKETS_MAX 64 // opening brackets and braces in a request

enum api_exit { API_OK = 0, API_REFUSED = 1, API_USAGE = 2 };
enum api_wait { API_WAIT_NONE, API_WAIT_FORCE, API_WAIT_SESSIONS };

struct api;

struct api_call {
	bool is_used;
	struct server_token who;
	struct api *api;
	json_t *args; // object, ours
	bool json;    // the client wants `data`, not `text`
	enum api_exit exit;
	json_t *data, *errors, *warnings; // ours; data may be NULL
	FILE *out;                        // into text
	char *text;
	size_t text_size;
	// while it waits
	enum api_wait wait;
	uint64_t deadline_ms;
	uint64_t request;      // API_WAIT_SESSIONS: number of the command
	uint64_t workers_left; // a bit a worker that has not ended its list
	void (*on_record)(struct api_call *c, const struct logrec *r);
	void (*on_end)(struct api_call *c); // all have ended, or the time is over
	char *done;                         // API_WAIT_FORCE: what was done, for the answer; ours
};

// What the workers tell besides answers (api_watch.c): anomalies, and the frames of a capture.
struct api_watch {
	json_t *anomaly[API_ANOMALIES_MAX]; // the newest last; ours
	uint32_t anomaly_count;
	struct pcapng file; // of the capture that runs
	uint64_t request, end_ms;
	char path[256];
	uint8_t frame[PCAPNG_FRAME_MAX]; // the parts that have come
	uint32_t frame_size;
};

// What handlers may reach. Everything is borrowed from main.c.
struct api {
	struct server *server;
	struct runtime *runtime;
	struct region *region;
	struct events *events;
	struct log_writer *log;
	struct plane *plane;
	const char *run_dir, *state_dir;
	uint64_t started_ms, now_ms;
	uint64_t request_last;
	struct api_watch watch;
	struct api_call call[SERVER_CLIENTS_MAX];
};

typedef void (*api_fn)(struct api_call *c);

void api_line(void *api, struct server_token who, struct span line);         // a server_line_fn
void api_session_record(void *api, uint32_t worker, const struct logrec *r); // an events_session_fn
// Carries waiting calls on. Returns how many still wait.
uint32_t api_poll(struct api *a, uint64_t now_ms);
void api_fini(struct api *a);

// For handlers: arguments. Texts are borrowed from the request; NULL: not given.
const char *api_arg(const struct api_call *c, const char *key);
bool api_flag(const struct api_call *c, const char *key);
// Not given: `or_else`. False: not a number within bounds; the error is in the answer then and
// calls it `name`, which is what the command line calls it.
must_use bool api_number(struct api_call *c, const char *key, const char *name, uint32_t min,
			 uint32_t max, uint32_t or_else, uint32_t *out);

// For handlers: results.
void api_error(struct api_call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void api_warning(struct api_call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void api_diags(struct api_call *c, const struct diag_list *d); // errors refuse the call
// False: there is none to show; the error says so.
must_use bool api_has_policy(struct api_call *c);
void api_printf(struct api_call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// A change has been made: the answer waits until it is in force.
void api_changed(struct api_call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// Any bytes as a JSON string; what is not UTF-8 becomes the Latin-1 character of that value.
json_t *api_text(struct span s);
json_t *api_texts(const char *s);
// Unix time as RFC 3339; null for 0.
json_t *api_time(uint64_t unix_s);

// A table of an array of objects. Numbers go right. Nothing is printed for a client that wants
// JSON.
struct api_column {
	const char *key, *title;
};
void api_table(struct api_call *c, const json_t *rows, const struct api_column *columns,
	       uint32_t count);

// The handlers, by noun.
#define COMMAND(handler, noun, verb, alone, args, options, keys, help)                             \
	void handler(struct api_call *c);
#include "control/command.def"
#undef COMMAND

// For handlers: sends the command to every worker; on_record and on_end follow. False: there is
// none, the error says so.
must_use bool api_ask_workers(struct api_call *c, struct command *command,
			      void (*on_record)(struct api_call *c, const struct logrec *r),
			      void (*on_end)(struct api_call *c));
json_t *api_session_json(const struct logrec *r, bool json); // api_session.c
// "90s", "30m", "12h", "7d", "4w" in seconds (api_ip.c). Without a unit it would be a guess.
must_use bool api_duration_parse(const char *text, uint64_t *out);
// api_watch.c: a record that no call waits for; the capture's end.
void api_watch_record(struct api *a, const struct logrec *r);
void api_watch_poll(struct api *a);
void api_watch_fini(struct api *a);
