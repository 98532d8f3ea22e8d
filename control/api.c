// SPDX-License-Identifier: Apache-2.0
// api: the table of nouns and verbs, the way of a call from its line to its answer, and waiting
// calls.
#include "control/api.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "control/oplog.h"

// `keys`: the arguments that the handler knows, in the order in which they may be given as an
// array.
struct api_row {
	const char *noun, *verb;
	api_fn run;
	const char *keys;
};

static const struct api_row rows[] = {
#define COMMAND(handler, noun, verb, alone, args, options, keys, help) {noun, verb, handler, keys},
#include "control/command.def"
#undef COMMAND
};

// --- the answer ---

static void
call_free(struct api_call *c)
{
	CHECK(c->is_used);
	if (c->out != NULL)
		fclose(c->out);
	free(c->text);
	free(c->done);
	json_decref(c->args);
	json_decref(c->data);
	json_decref(c->errors);
	json_decref(c->warnings);
	*c = (struct api_call){.is_used = false};
}

static json_t *
answer_make(struct api_call *c)
{
	bool ok = c->exit == API_OK;
	json_t *answer = json_pack("{s:b, s:i}", "ok", ok, "exit", (int)c->exit);
	int bad = answer == NULL;

	// A flush also sets c->text; a stream without memory has failed before.
	if (!c->json && fflush(c->out) == 0)
		bad |= json_object_set_new(answer, "text",
					   api_text(span_of(c->text, c->text_size)));
	if (c->json && c->data != NULL)
		bad |= json_object_set(answer, "data", c->data);
	bad |= json_object_set(answer, "errors", c->errors);
	bad |= json_object_set(answer, "warnings", c->warnings);
	if (bad == 0)
		return answer;
	json_decref(answer);
	return NULL;
}

static void
call_finish(struct api_call *c)
{
	static const char memory[] =
		"{\"ok\":false,\"exit\":1,\"errors\":[\"posternd is out of memory\"]}";
	json_t *answer = answer_make(c);
	char *line = answer == NULL ? NULL : json_dumps(answer, JSON_COMPACT);
	struct server *server = c->api->server;
	struct server_token who = c->who;

	json_decref(answer);
	call_free(c);
	(void)server_answer(server, who, line == NULL ? span_str(memory) : span_str(line));
	free(line);
}

static void
list_addv(json_t *list, const char *fmt, va_list ap)
{
	char *text = NULL;

	if (vasprintf(&text, fmt, ap) < 0)
		return; // a reason is lost, the exit code is not
	(void)json_array_append_new(list, api_texts(text));
	free(text);
}

void
api_error(struct api_call *c, const char *fmt, ...)
{
	va_list ap;

	CHECK(c != NULL && c->is_used);
	va_start(ap, fmt);
	list_addv(c->errors, fmt, ap);
	va_end(ap);
	if (c->exit == API_OK)
		c->exit = API_REFUSED;
}

void
api_warning(struct api_call *c, const char *fmt, ...)
{
	va_list ap;

	CHECK(c != NULL && c->is_used);
	va_start(ap, fmt);
	list_addv(c->warnings, fmt, ap);
	va_end(ap);
}

bool
api_has_policy(struct api_call *c)
{
	CHECK(c != NULL);
	if (runtime_has_policy(c->api->runtime))
		return true;
	api_error(c, "there is no valid policy: `postern policy check`");
	return false;
}

void
api_diags(struct api_call *c, const struct diag_list *d)
{
	char text[DIAG_TEXT_SIZE + 320];
	struct strbuf b;

	CHECK(c != NULL && d != NULL);
	for (uint32_t i = 0; i < d->count; i++) {
		strbuf_init(&b, text, sizeof(text));
		if (d->row[i].level == DIAG_ERROR) {
			diag_format(d, i, &b);
			api_error(c, "%s", text);
		} else {
			diag_format_place(d, i, &b);
			strbuf_add_str(&b, d->row[i].text);
			api_warning(c, "%s", text);
		}
	}
	if (d->dropped > 0)
		api_warning(c, "and %u more", d->dropped);
	if (diag_has_error(d) && c->exit == API_OK)
		c->exit = API_REFUSED;
}

// --- a request ---

static const struct api_row *
row_find(const char *noun, const char *verb)
{
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (strcmp(rows[i].noun, noun) == 0 && strcmp(rows[i].verb, verb) == 0)
			return &rows[i];
	}
	return NULL;
}

// The key at `index` among the words of `keys`; empty: there are not that many.
static struct span
key_at(const char *keys, uint32_t index)
{
	struct span rest = span_str(keys);

	for (uint32_t i = 0;; i++) {
		int64_t end = span_find(rest, ' ');
		struct span word = span_sub(rest, 0, end < 0 ? rest.n : (uint32_t)end);
		if (i == index || end < 0)
			return i == index ? word : SPAN_NONE;
		rest = span_from(rest, (uint32_t)end + 1);
	}
}

static bool
key_is_known(const char *keys, const char *key)
{
	for (uint32_t i = 0; key_at(keys, i).n > 0; i++) {
		if (span_eq(key_at(keys, i), span_str(key)))
			return true;
	}
	return false;
}

static bool
value_is_plain(const json_t *v)
{
	return json_is_string(v) || json_is_integer(v) || json_is_boolean(v);
}

// Arguments as an array get the names of the row's keys.
static json_t *
args_name(const struct api_row *row, const json_t *args)
{
	json_t *named = json_object();

	for (size_t i = 0; named != NULL && i < json_array_size(args); i++) {
		struct span key = key_at(row->keys, (uint32_t)i);
		char name[32];
		struct strbuf b;
		strbuf_init(&b, name, sizeof(name));
		strbuf_add(&b, key);
		if (key.n == 0 || json_object_set(named, name, json_array_get(args, i)) != 0) {
			json_decref(named);
			return NULL;
		}
	}
	return named;
}

static bool
args_take(struct api_call *c, const struct api_row *row, json_t *args)
{
	const char *key;
	json_t *v;

	if (args == NULL || json_is_null(args))
		c->args = json_object();
	else if (json_is_array(args))
		c->args = args_name(row, args);
	else if (json_is_object(args))
		c->args = json_incref(args);
	if (c->args == NULL) {
		api_error(c, "%s %s: the arguments make no sense", row->noun, row->verb);
		return false;
	}
	json_object_foreach(c->args, key, v)
	{
		if (!key_is_known(row->keys, key) || !value_is_plain(v)) {
			api_error(c, "%s %s: unknown argument", row->noun, row->verb);
			return false;
		}
	}
	return true;
}

// Finds the row and fills the call. NULL: the errors say why.
static const struct api_row *
request_read(struct api_call *c, json_t *request)
{
	const char *noun = json_string_value(json_object_get(request, "noun"));
	const char *verb = json_string_value(json_object_get(request, "verb"));

	c->json = json_is_true(json_object_get(request, "json"));
	if (noun == NULL) {
		api_error(c, "not a request: {\"noun\", \"verb\", \"args\", \"json\"} is wanted");
		return NULL;
	}
	if (verb == NULL || verb[0] == '\0')
		verb = "show";
	const struct api_row *row = row_find(noun, verb);
	if (row == NULL) {
		api_error(c, "posternd does not know this command: see `postern help`");
		return NULL;
	}
	return args_take(c, row, json_object_get(request, "args")) ? row : NULL;
}

static struct api_call *
call_new(struct api *a, struct server_token who)
{
	for (uint32_t i = 0; i < ARRAY_LEN(a->call); i++) {
		struct api_call *c = &a->call[i];
		if (c->is_used)
			continue;
		*c = (struct api_call){.is_used = true, .who = who, .api = a};
		c->errors = json_array();
		c->warnings = json_array();
		c->out = open_memstream(&c->text, &c->text_size);
		if (c->errors != NULL && c->warnings != NULL && c->out != NULL)
			return c;
		call_free(c);
		return NULL;
	}
	return NULL;
}

// jansson recurses with the depth of its input (2048 at most): refused before it gets to see it.
static bool
line_is_too_deep(struct span line)
{
	uint32_t brackets = 0;

	for (uint32_t i = 0; i < line.n; i++)
		brackets += line.p[i] == '{' || line.p[i] == '[';
	return brackets > API_BRACKETS_MAX;
}

void
api_line(void *api, struct server_token who, struct span line)
{
	static const char busy[] =
		"{\"ok\":false,\"exit\":1,\"errors\":[\"posternd is busy: try again\"]}";
	struct api *a = api;
	json_t *request = NULL;

	CHECK(a != NULL && a->server != NULL);
	struct api_call *c = call_new(a, who);
	if (c == NULL) {
		(void)server_answer(a->server, who, span_str(busy));
		return;
	}
	if (!line_is_too_deep(line))
		request = json_loadb((const char *)line.p, line.n, JSON_REJECT_DUPLICATES, NULL);
	const struct api_row *row = request_read(c, request);
	if (row != NULL)
		row->run(c);
	else
		c->exit = API_USAGE;
	json_decref(request);
	if (c->wait == API_WAIT_NONE || c->exit != API_OK)
		call_finish(c);
}

// --- arguments ---

const char *
api_arg(const struct api_call *c, const char *key)
{
	CHECK(c != NULL && c->args != NULL);
	return json_string_value(json_object_get(c->args, key));
}

bool
api_flag(const struct api_call *c, const char *key)
{
	CHECK(c != NULL && c->args != NULL);
	return json_is_true(json_object_get(c->args, key));
}

must_use bool
api_number(struct api_call *c, const char *key, const char *name, uint32_t min, uint32_t max,
	   uint32_t or_else, uint32_t *out)
{
	const json_t *v = json_object_get(c->args, key);
	uint64_t n = 0;

	CHECK(min <= max && out != NULL);
	*out = or_else;
	if (v == NULL)
		return true;
	bool ok = json_is_integer(v) && json_integer_value(v) >= 0;
	if (ok)
		n = (uint64_t)json_integer_value(v);
	else if (json_is_string(v))
		ok = span_u64(span_str(json_string_value(v)), max, &n);
	if (!ok || n < min || n > max) {
		api_error(c, "%s: a number from %u to %u is wanted", name, min, max);
		c->exit = API_USAGE;
		return false;
	}
	*out = (uint32_t)n;
	return true;
}

// --- calls that wait ---

void
api_changed(struct api_call *c, const char *fmt, ...)
{
	va_list ap;

	CHECK(c != NULL && c->done == NULL);
	va_start(ap, fmt);
	if (vasprintf(&c->done, fmt, ap) < 0)
		c->done = NULL;
	va_end(ap);
	oplog(OPLOG_INFO, "by postern: %s", c->done != NULL ? c->done : "a change");
	(void)runtime_poll(c->api->runtime); // into the region now, not at the end of the turn
	(void)plane_check(c->api->plane, c->api->now_ms);
	c->wait = API_WAIT_FORCE;
	c->deadline_ms = c->api->now_ms + API_WAIT_MS;
}

// The answer to a change: what was done, and what became of it.
static void
force_finish(struct api_call *c, const char *state, bool in_force)
{
	struct runtime *rt = c->api->runtime;
	const char *done = c->done != NULL ? c->done : "done";
	uint64_t generation = runtime_generation(rt);

	c->data = json_pack("{s:o, s:I, s:b, s:s}", "done", api_texts(done), "generation",
			    (json_int_t)generation, "in_force", in_force, "state", state);
	if (generation > 0)
		api_printf(c, "%s: %s (generation %llu)\n", done, state,
			   (unsigned long long)generation);
	else
		api_printf(c, "%s: %s\n", done, state);
	call_finish(c);
}

static void
force_poll(struct api_call *c)
{
	struct runtime *rt = c->api->runtime;

	if (!runtime_has_policy(rt)) {
		api_error(c,
			  "stored, not published: %s has errors, so the policy before stays in "
			  "force; see `postern policy check`, mend it, then `postern policy apply`",
			  runtime_config_file(rt));
		force_finish(c, "stored, not published", false);
	} else if (runtime_publish_state(rt) == PUBLISH_REFUSED) {
		api_error(c,
			  "the dataplane refused generation %llu, the policy before stays in "
			  "force: %s",
			  (unsigned long long)runtime_generation(rt), runtime_publish_why(rt));
		force_finish(c, "refused by the dataplane", false);
	} else if (plane_workers(c->api->plane, c->api->region) == 0) {
		force_finish(c, "published, dataplane not running", false);
	} else if (runtime_is_in_force(rt)) {
		force_finish(c, "in force", true);
	} else if (c->api->now_ms >= c->deadline_ms) {
		api_warning(
			c, "not every worker has taken the policy within %u ms; it stays published",
			API_WAIT_MS);
		force_finish(c, "published, not in force yet", false);
	}
}

// --- calls that wait for workers ---

bool
api_ask_workers(struct api_call *c, struct command *command,
		void (*on_record)(struct api_call *c, const struct logrec *r),
		void (*on_end)(struct api_call *c))
{
	struct api *a = c->api;

	CHECK(on_record != NULL && on_end != NULL);
	(void)plane_check(a->plane, a->now_ms);
	uint32_t workers = plane_workers(a->plane, a->region);
	if (workers == 0) {
		api_error(c, "the dataplane is %s: there are no sessions",
			  plane_state_name(a->plane, a->region));
		return false;
	}
	c->request = ++a->request_last;
	command->request = c->request;
	for (uint32_t w = 0; w < workers; w++) {
		struct ring ring;
		if (!region_commands(a->region, w, &ring) || !ring_put(&ring, command))
			api_warning(c, "worker %u takes no commands: its sessions are missing", w);
		else
			c->workers_left |= 1ull << w;
	}
	c->on_record = on_record;
	c->on_end = on_end;
	c->wait = API_WAIT_SESSIONS;
	c->deadline_ms = a->now_ms + API_WAIT_MS;
	return true;
}

static void
workers_record(struct api_call *c, uint32_t worker, const struct logrec *r)
{
	CHECK(worker < REGION_WORKERS_MAX);
	if (r->kind == LOGREC_SESSION_END) {
		c->workers_left &= ~(1ull << worker);
		return;
	}
	c->on_record(c, r);
	// A long list may take longer, as long as it goes on; the limit on rows ends it.
	c->deadline_ms = c->api->now_ms + API_WAIT_MS;
}

static void
workers_end(struct api_call *c)
{
	for (uint32_t w = 0; w < REGION_WORKERS_MAX; w++) {
		if ((c->workers_left >> w & 1) != 0)
			api_warning(c, "worker %u has not answered in full within %u ms", w,
				    API_WAIT_MS);
	}
	c->on_end(c);
}

void
api_session_record(void *api, uint32_t worker, const struct logrec *r)
{
	struct api *a = api;

	CHECK(a != NULL && r != NULL);
	api_watch_record(a, r);
	for (uint32_t i = 0; i < ARRAY_LEN(a->call); i++) {
		struct api_call *c = &a->call[i];
		if (c->is_used && c->wait == API_WAIT_SESSIONS && c->request == r->request)
			workers_record(c, worker, r);
	}
}

uint32_t
api_poll(struct api *a, uint64_t now_ms)
{
	uint32_t waiting = 0;

	CHECK(a != NULL);
	a->now_ms = now_ms;
	api_watch_poll(a);
	for (uint32_t i = 0; i < ARRAY_LEN(a->call); i++) {
		struct api_call *c = &a->call[i];
		if (!c->is_used)
			continue;
		CHECK(c->wait != API_WAIT_NONE);
		if (!server_is_waiting(a->server, c->who)) {
			call_free(c);
		} else if (c->wait == API_WAIT_FORCE) {
			force_poll(c);
		} else if (c->workers_left == 0 || now_ms >= c->deadline_ms) {
			workers_end(c);
			call_finish(c);
		}
		waiting += c->is_used;
	}
	return waiting;
}

void
api_fini(struct api *a)
{
	CHECK(a != NULL);
	api_watch_fini(a);
	for (uint32_t i = 0; i < ARRAY_LEN(a->call); i++) {
		if (a->call[i].is_used)
			call_free(&a->call[i]);
	}
}
