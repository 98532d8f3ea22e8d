// SPDX-License-Identifier: Apache-2.0
// smtp_run: plays session scripts (*.mtc) against a whole appliance on an in-memory network.
//
// A script is one client, the appliance and one backend, on the virtual clock: README.md lists the
// words. Usage: smtp_run [-v] FILE...: one line a script, then `N passed, N failed`. Exit 1 if one
// failed.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/sim/lib/appliance.h"

#define CLIENTS_MAX 8
#define BACKENDS_MAX 64
#define SEEN_MAX 512
#define LINE_MAX 8192
#define PATIENCE_US 1000000u // how long an expectation waits on the virtual clock

struct script {
	const char *file;
	uint32_t line;
	bool failed, verbose;
	struct testpolicy *tp;
	struct appliance *a;
	struct endpoint client[CLIENTS_MAX];
	uint32_t client_now;
	struct endpoint backend[BACKENDS_MAX];
	uint32_t backend_count; // accepted so far
	uint32_t backend_seen;  // handed to the script or to the automatic answers
	struct endpoint *b;     // the scripted one
	bool in_wait;           // connections that come now are health checks
	bool backend_none;
	char caps[512];
	uint32_t split;
	uint8_t seen[SEEN_MAX]; // events raised
	uint32_t seen_count, seen_checked;
	struct counters before; // as they were when the script began
	char why[1024];
};

static void fail(struct script *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
fail(struct script *s, const char *fmt, ...)
{
	if (s->failed)
		return;
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(s->why, sizeof(s->why), fmt, ap);
	va_end(ap);
	s->failed = true;
}

static void
trace(void *ctx, enum event event, uint32_t agent, const struct verdict *v)
{
	struct script *s = ctx;
	(void)v;
	if (agent != AGENT_NONE)
		return;
	if (s->seen_count < SEEN_MAX)
		s->seen[s->seen_count++] = (uint8_t)event;
	if (s->verbose)
		printf("    event %s\n", event_name(event));
}

// ---- the backend's side: connections that the script drives, and health checks answered here ----

static void *
backend_accept(void *ctx, struct tcp_conn *c, const struct tcp_user_ops **ops)
{
	struct script *s = ctx;
	if (s->backend_count == BACKENDS_MAX)
		return NULL;
	struct endpoint *e = &s->backend[s->backend_count++];
	endpoint_init(e);
	e->conn = c;
	e->is_open = true;
	e->automatic = s->in_wait;
	if (s->in_wait)
		endpoint_write(e, SPAN_LIT("220 backend ESMTP\r\n"));
	*ops = &endpoint_ops;
	return e;
}

static void
automatic_answer(struct script *s, struct endpoint *e)
{
	char line[LINE_MAX];
	while (endpoint_line(e, line, sizeof(line))) {
		if (strncasecmp(line, "EHLO", 4) == 0) {
			char text[1024], caps[512];
			struct strbuf b;
			strbuf_init(&b, text, sizeof(text));
			strbuf_add_str(&b, "250-backend\r\n");
			(void)snprintf(caps, sizeof(caps), "%s", s->caps);
			// Capabilities are separated by blanks; a number belongs to the word before
			// it.
			for (char *save = NULL, *w = strtok_r(caps, " ", &save); w != NULL;) {
				char *next = strtok_r(NULL, " ", &save);
				strbuf_addf(&b, "250-%s", w);
				if (next != NULL && next[0] >= '0' && next[0] <= '9' &&
				    strcasecmp(w, "SIZE") == 0) {
					strbuf_addf(&b, " %s", next);
					next = strtok_r(NULL, " ", &save);
				}
				strbuf_add_str(&b, "\r\n");
				w = next;
			}
			strbuf_add_str(&b, "250 HELP\r\n");
			endpoint_write(e, strbuf_span(&b));
		} else if (strncasecmp(line, "QUIT", 4) == 0) {
			endpoint_write(e, SPAN_LIT("221 bye\r\n"));
			endpoint_close(e);
		} else {
			endpoint_write(e, SPAN_LIT("502 only a health check\r\n"));
		}
	}
}

static void
answer_health_checks(struct script *s)
{
	for (uint32_t i = 0; i < s->backend_count; i++)
		if (s->backend[i].automatic)
			automatic_answer(s, &s->backend[i]);
}

// One step of the world; false: nothing can happen before `limit_us`.
static bool
step(struct script *s, uint64_t limit_us)
{
	bool more = appliance_step(s->a, limit_us);
	answer_health_checks(s);
	return more;
}

static void
settle(struct script *s)
{
	while (step(s, s->a->now_us))
		;
}

static void
run_for(struct script *s, uint64_t us)
{
	uint64_t end = s->a->now_us + us;
	s->in_wait = true;
	while (step(s, end))
		;
	appliance_goto(s->a, end);
	settle(s);
	s->in_wait = false;
}

// --- words of a script ---

// \r \n \t \0 \\ \xHH; returns the length.
static uint32_t
unescape(const char *in, uint8_t *out, uint32_t most)
{
	uint32_t n = 0;
	for (; *in != 0 && n < most; in++) {
		if (*in != '\\') {
			out[n++] = (uint8_t)*in;
			continue;
		}
		in++;
		if (*in == 'r')
			out[n++] = '\r';
		else if (*in == 'n')
			out[n++] = '\n';
		else if (*in == 't')
			out[n++] = '\t';
		else if (*in == '0')
			out[n++] = 0;
		else if (*in == 'x' && in[1] != 0 && in[2] != 0) {
			char hex[3] = {in[1], in[2], 0};
			out[n++] = (uint8_t)strtoul(hex, NULL, 16);
			in += 2;
		} else if (*in == '*') { // \*N c: the character c, N times
			char *end;
			unsigned long times = strtoul(in + 1, &end, 10);
			for (unsigned long i = 0; i < times && n < most; i++)
				out[n++] = (uint8_t)*end;
			in = end;
		} else {
			out[n++] = (uint8_t)*in;
		}
		if (*in == 0)
			break;
	}
	return n;
}

static void
send_bytes(struct script *s, struct endpoint *e, struct span bytes, uint32_t split)
{
	if (e == NULL || !e->is_open) {
		fail(s, "not connected");
		return;
	}
	while (bytes.n > 0) {
		uint32_t n = split > 0 ? MIN(split, bytes.n) : bytes.n;
		uint32_t took = endpoint_write(e, span_sub(bytes, 0, n));
		bytes = span_from(bytes, took);
		settle(s);
		if (took == 0 && !step(s, s->a->now_us + PATIENCE_US)) {
			fail(s, "%u bytes could not be sent", bytes.n);
			return;
		}
	}
	settle(s);
}

static void
send_text(struct script *s, struct endpoint *e, const char *text, bool raw, uint32_t split)
{
	static uint8_t bytes[1 << 20];
	uint32_t n;
	if (raw) {
		n = unescape(text, bytes, sizeof(bytes));
	} else {
		n = (uint32_t)snprintf((char *)bytes, sizeof(bytes), "%s\r\n", text);
	}
	send_bytes(s, e, span_of(bytes, n), split);
}

static bool
text_matches(const char *want, const char *got)
{
	size_t n = strlen(want);
	if (n > 0 && want[n - 1] == '*')
		return strncmp(want, got, n - 1) == 0;
	return strcmp(want, got) == 0;
}

static void
expect_line(struct script *s, struct endpoint *e, const char *want)
{
	char line[LINE_MAX];
	if (e == NULL) {
		fail(s, "no connection");
		return;
	}
	uint64_t end = s->a->now_us + PATIENCE_US;
	while (!endpoint_line(e, line, sizeof(line)))
		if (!step(s, end)) {
			fail(s, "expected \"%s\", got nothing%s", want,
			     e->is_gone   ? " (connection gone)"
			     : e->has_eof ? " (FIN)"
					  : "");
			return;
		}
	if (s->verbose)
		printf("    < %s\n", line);
	if (!text_matches(want, line))
		fail(s, "expected \"%s\", got \"%s\"", want, line);
}

static void
expect_backend(struct script *s)
{
	uint64_t end = s->a->now_us + PATIENCE_US;
	for (;;) {
		while (s->backend_seen < s->backend_count) {
			struct endpoint *e = &s->backend[s->backend_seen++];
			if (!e->automatic) {
				s->b = e;
				return;
			}
		}
		if (!step(s, end)) {
			fail(s, "no backend connection");
			return;
		}
	}
}

static void
expect_quiet(struct script *s)
{
	settle(s);
	for (uint32_t i = s->backend_seen; i < s->backend_count; i++)
		if (!s->backend[i].automatic)
			fail(s, "a backend connection was opened");
}

static void
expect_closed(struct script *s, struct endpoint *e)
{
	uint64_t end = s->a->now_us + PATIENCE_US;
	while (e != NULL && !e->has_eof && !e->is_gone)
		if (!step(s, end)) {
			fail(s, "the connection is still open");
			return;
		}
}

static void
expect_events(struct script *s, char *names)
{
	char *save = NULL;
	settle(s);
	for (char *w = strtok_r(names, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
		if (s->seen_checked == s->seen_count) {
			fail(s, "event %s was not raised", w);
			return;
		}
		const char *got = event_name(s->seen[s->seen_checked++]);
		if (strcmp(got, w) != 0) {
			fail(s, "expected event %s, got %s", w, got);
			return;
		}
	}
}

static struct span
log_value(const struct logrec *r, const char *key, struct strbuf *b)
{
	for (uint32_t f = 0; f < LOGREC_FIELD_COUNT; f++)
		if (strcmp(key, logrec_field_name(f)) == 0)
			return logrec_get(r, f);
	if (strcmp(key, "event") == 0)
		return span_str(event_name(r->event));
	if (strcmp(key, "action") == 0)
		return span_str(action_name(r->action));
	if (strcmp(key, "agent") == 0)
		return span_str(r->agent == AGENT_NONE ? "" : agent_name(r->agent));
	if (strcmp(key, "reason") == 0)
		return span_str(disconnect_name(r->reason));
	if (strcmp(key, "direction") == 0)
		return span_str(direction_name(r->direction));
	if (strcmp(key, "bytes") == 0)
		strbuf_add_u64(b, r->bytes);
	else if (strcmp(key, "scl") == 0)
		strbuf_addf(b, "%d", (int)r->scl_plus_1 - 1);
	else if (strcmp(key, "code") == 0)
		strbuf_add_u64(b, r->reply_code);
	else
		strbuf_add_str(b, "(no such key)");
	return strbuf_span(b);
}

// Any record since the last `log` word may fit; the search goes on behind it.
static void
expect_log(struct script *s, char *text)
{
	char *value = strchr(text, ' ');
	char got[1024] = "", number[64];
	settle(s);
	if (value == NULL) {
		fail(s, "log wants KEY VALUE");
		return;
	}
	*value++ = 0;
	for (uint32_t i = 0; i < s->a->log_count; i++) {
		struct strbuf b;
		strbuf_init(&b, number, sizeof(number));
		struct span v = log_value(&s->a->log[s->a->log_count - 1 - i], text, &b);
		(void)snprintf(got, sizeof(got), "%.*s", SPAN_FMT(v));
		if (text_matches(value, got))
			return;
	}
	fail(s, "no log record with %s = \"%s\" (of %u; the oldest has \"%s\")", text, value,
	     s->a->log_count, got);
}

static void
expect_counter(struct script *s, const char *name, const char *text)
{
	uint32_t i = 0;
	settle(s);
	while (i < COUNTER_COUNT && strcasecmp(counter_name(i), name) != 0)
		i++;
	if (i == COUNTER_COUNT) {
		fail(s, "no counter %s", name);
		return;
	}
	uint64_t n = s->a->counters[0].v[i] - s->before.v[i];
	if (n != strtoull(text, NULL, 10))
		fail(s, "%s is %llu, not %s", name, (unsigned long long)n, text);
}

static void
policy_line(struct script *s, const char *text)
{
	if (!testpolicy_line(s->tp, span_str(text)))
		fail(s, "policy: unknown key or bad value: %s", text);
}

static void
policy_now(struct script *s, const char *text)
{
	char why[256];
	struct strbuf w;
	strbuf_init(&w, why, sizeof(why));
	policy_line(s, text);
	if (!s->failed && !appliance_policy(s->a, s->tp, &w))
		fail(s, "policy: %s", why);
	settle(s);
}

static void
start(struct script *s)
{
	char why[256] = "";
	struct strbuf w;
	strbuf_init(&w, why, sizeof(why));
	s->a = appliance_open(
		&(struct appliance_args){
			.policy = s->tp, .seed = 1, .trace = trace, .trace_ctx = s},
		&w);
	if (s->a == NULL) {
		fail(s, "the appliance does not start: %s", why);
		return;
	}
	if (!s->backend_none)
		CHECK(tcp_listen(s->a->backend.tcp, TCP_SIDE_ANY, TEST_SMTP_PORT, backend_accept,
				 s));
	run_for(s, 200000);
	s->before = s->a->counters[0];
	s->seen_checked = s->seen_count;
}

static struct endpoint *
client(struct script *s)
{
	return &s->client[s->client_now];
}

static void
client_connect(struct script *s)
{
	struct endpoint *e = client(s);
	struct ipaddr to = ipaddr_v4(TEST_OUTSIDE_IP);
	endpoint_init(e);
	if (!endpoint_open(e, s->a->client.tcp, &to, TEST_SMTP_PORT)) {
		fail(s, "connect");
		return;
	}
	uint64_t end = s->a->now_us + PATIENCE_US;
	while (!e->is_open && step(s, end))
		;
	if (!e->is_open)
		fail(s, "the appliance did not answer");
}

// Words that only set the scene; true: it was one.
static bool
scene(struct script *s, const char *word, char *rest)
{
	if (strcmp(word, "policy") == 0)
		policy_line(s, rest);
	else if (strcmp(word, "capabilities") == 0)
		(void)snprintf(s->caps, sizeof(s->caps), "%s", rest);
	else if (strcmp(word, "backend") == 0)
		s->backend_none = strcmp(rest, "none") == 0;
	else if (strcmp(word, "split") == 0)
		s->split = (uint32_t)strtoul(rest, NULL, 10);
	else if (strcmp(word, "client") == 0)
		s->client_now = (uint32_t)strtoul(rest, NULL, 10) % CLIENTS_MAX;
	else
		return false;
	return true;
}

static void
act(struct script *s, const char *word, char *rest)
{
	struct endpoint *c = client(s);
	if (strcmp(word, "C:") == 0 || strcmp(word, "C>") == 0)
		send_text(s, c, rest, word[1] == '>', s->split);
	else if (strcmp(word, "S:") == 0)
		expect_line(s, c, rest);
	else if (strcmp(word, "B:") == 0 || strcmp(word, "B>") == 0)
		send_text(s, s->b, rest, word[1] == '>', s->split);
	else if (strcmp(word, "A:") == 0)
		expect_line(s, s->b, rest);
	else if (strcmp(word, "connect") == 0)
		client_connect(s);
	else if (strcmp(word, "close") == 0)
		endpoint_close(c), settle(s);
	else if (strcmp(word, "reset") == 0)
		endpoint_abort(c), settle(s);
	else if (strcmp(word, "bclose") == 0 && s->b != NULL)
		endpoint_close(s->b), settle(s);
	else if (strcmp(word, "breset") == 0 && s->b != NULL)
		endpoint_abort(s->b), settle(s);
	else if (strcmp(word, "bconnect") == 0)
		expect_backend(s);
	else if (strcmp(word, "bquiet") == 0)
		expect_quiet(s);
	else if (strcmp(word, "closed") == 0)
		expect_closed(s, c);
	else if (strcmp(word, "bclosed") == 0)
		expect_closed(s, s->b);
	else if (strcmp(word, "wait") == 0)
		run_for(s, strtoull(rest, NULL, 10) * 1000);
	else if (strcmp(word, "event") == 0)
		expect_events(s, rest);
	else if (strcmp(word, "events") == 0) {
		expect_events(s, rest);
		if (s->seen_checked < s->seen_count)
			fail(s, "event %s was raised too", event_name(s->seen[s->seen_checked]));
	} else if (strcmp(word, "log") == 0)
		expect_log(s, rest);
	else if (strcmp(word, "counter") == 0) {
		const char *name = strsep(&rest, " ");
		expect_counter(s, name, rest == NULL ? "" : rest);
	} else if (strcmp(word, "policy-now") == 0)
		policy_now(s, rest);
	else
		fail(s, "unknown word %s", word);
}

static void
script_line(struct script *s, char *line)
{
	line[strcspn(line, "\n")] = 0;
	if (line[0] == 0 || line[0] == '#')
		return;
	char *rest = line + strcspn(line, " ");
	if (*rest != 0)
		*rest++ = 0;
	if (s->verbose)
		printf("  %u %s %s\n", s->line, line, rest);
	if (scene(s, line, rest))
		return;
	if (s->a == NULL)
		start(s);
	if (!s->failed)
		act(s, line, rest);
}

static bool
script_play(const char *file, bool verbose)
{
	struct script *s = calloc(1, sizeof(*s));
	static char line[1 << 17];
	FILE *f = fopen(file, "r");
	CHECK(s != NULL);
	s->file = file;
	s->verbose = verbose;
	s->tp = testpolicy_open();
	(void)snprintf(s->caps, sizeof(s->caps),
		       "PIPELINING SIZE 52428800 8BITMIME ENHANCEDSTATUSCODES");
	if (f == NULL)
		fail(s, "cannot be opened");
	while (f != NULL && !s->failed && fgets(line, sizeof(line), f) != NULL) {
		s->line++;
		script_line(s, line);
	}
	if (f != NULL)
		(void)fclose(f);
	if (!s->failed && s->a == NULL)
		fail(s, "the script does nothing");
	bool ok = !s->failed;
	if (ok)
		printf("ok %s\n", file);
	else
		printf("not ok %s: line %u: %s\n", file, s->line, s->why);
	for (uint32_t i = 0; i < CLIENTS_MAX; i++)
		endpoint_fini(&s->client[i]);
	for (uint32_t i = 0; i < BACKENDS_MAX; i++)
		endpoint_fini(&s->backend[i]);
	if (s->a != NULL)
		appliance_close(&s->a);
	testpolicy_close(&s->tp);
	free(s);
	return ok;
}

int
main(int argc, char **argv)
{
	uint32_t passed = 0, failed = 0;
	bool verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
	if (argc < 2 + (int)verbose) {
		(void)fprintf(stderr, "usage: %s [-v] FILE...\n", argv[0]);
		return 2;
	}
	for (int i = 1 + (int)verbose; i < argc; i++) {
		if (script_play(argv[i], verbose))
			passed++;
		else
			failed++;
		(void)fflush(stdout);
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed > 0;
}
