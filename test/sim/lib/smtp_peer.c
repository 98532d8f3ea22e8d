// SPDX-License-Identifier: Apache-2.0
// smtp_peer: see the header. Plain and slow on purpose: the reference that the product is held to.
#include "test/sim/lib/smtp_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_SIZE 2048

// --- sink ---

struct sink_conn {
	struct endpoint e;
	struct sink *sink;
	struct sink_conn *next;
	bool in_data, has_mail;
	uint32_t rcpts;
	uint32_t searched; // bytes of the message already looked at for its end
	struct sink_message m;
};

static void
sink_violation(struct sink *s, const char *what)
{
	if (s->violations++ == 0)
		s->violation = what;
}

static bool
sink_draws(struct sink *s, enum sink_fault f)
{
	return s->fault[f] > 0 && rng_below(&s->rng, 1000) < s->fault[f];
}

static void
sink_reply(struct sink_conn *c, const char *text)
{
	(void)endpoint_write(&c->e, span_str(text));
}

static void
sink_reset(struct sink_conn *c)
{
	free(c->m.data);
	memset(&c->m, 0, sizeof(c->m));
	c->has_mail = false;
	c->rcpts = 0;
}

static void
sink_keep(struct sink *s, struct sink_conn *c)
{
	if (!s->keep)
		return;
	if (s->count == s->size) {
		s->size = MAX(16u, s->size * 2);
		s->message = realloc(s->message, s->size * sizeof(*s->message));
		CHECK(s->message != NULL);
	}
	s->message[s->count++] = c->m;
	c->m.data = NULL;
}

static void
path_copy(char *out, size_t size, const char *line)
{
	const char *a = strchr(line, '<'), *b = a != NULL ? strchr(a, '>') : NULL;
	if (b != NULL)
		(void)snprintf(out, size, "%.*s", (int)(b - a - 1), a + 1);
}

static void
sink_mail(struct sink_conn *c, const char *line)
{
	if (c->has_mail)
		sink_violation(c->sink, "MAIL in a transaction");
	if (sink_draws(c->sink, SINK_MAIL_4XX)) {
		sink_reply(c, "451 4.3.0 not now\r\n");
		return;
	}
	c->has_mail = true;
	path_copy(c->m.from, sizeof(c->m.from), line);
	sink_reply(c, "250 2.1.0 Ok\r\n");
}

static void
sink_rcpt(struct sink_conn *c, const char *line)
{
	if (!c->has_mail) {
		// The relay may pipeline RCPT behind a MAIL that we refused.
		sink_reply(c, "503 5.5.1 MAIL first\r\n");
		return;
	}
	if (sink_draws(c->sink, SINK_RCPT_4XX)) {
		sink_reply(c, "450 4.2.0 not now\r\n");
		return;
	}
	if (sink_draws(c->sink, SINK_RCPT_5XX)) {
		sink_reply(c, "550 5.1.1 no such user\r\n");
		return;
	}
	char rcpt[256] = "";
	path_copy(rcpt, sizeof(rcpt), line);
	size_t n = strlen(c->m.rcpt);
	(void)snprintf(c->m.rcpt + n, sizeof(c->m.rcpt) - n, "%s%s", n > 0 ? " " : "", rcpt);
	c->rcpts++;
	sink_reply(c, "250 2.1.5 Ok\r\n");
}

static void
sink_command(struct sink_conn *c, const char *line)
{
	struct sink *s = c->sink;
	if (sink_draws(s, SINK_CLOSE_AT_COMMAND)) {
		endpoint_close(&c->e);
		return;
	}
	if (strncasecmp(line, "EHLO ", 5) == 0 || strncasecmp(line, "HELO ", 5) == 0) {
		sink_reset(c);
		sink_reply(c, s->has_pipelining ? "250-sink\r\n250-PIPELINING\r\n250-SIZE "
						  "104857600\r\n250 8BITMIME\r\n"
						: "250-sink\r\n250 8BITMIME\r\n");
	} else if (strncasecmp(line, "MAIL FROM:", 10) == 0) {
		sink_mail(c, line);
	} else if (strncasecmp(line, "RCPT TO:", 8) == 0) {
		sink_rcpt(c, line);
	} else if (strcasecmp(line, "DATA") == 0) {
		if (c->rcpts == 0) {
			sink_violation(s, "DATA without a recipient");
			sink_reply(c, "503 5.5.1 RCPT first\r\n");
		} else if (sink_draws(s, SINK_DATA_4XX)) {
			sink_reply(c, "451 4.3.0 not now\r\n");
		} else {
			c->in_data = true;
			c->searched = 0;
			sink_reply(c, "354 go\r\n");
		}
	} else if (strcasecmp(line, "RSET") == 0) {
		sink_reset(c);
		sink_reply(c, "250 2.0.0 Ok\r\n");
	} else if (strcasecmp(line, "QUIT") == 0) {
		sink_reply(c, "221 2.0.0 bye\r\n");
		endpoint_close(&c->e);
	} else {
		sink_violation(s, "unknown command");
		sink_reply(c, "500 5.5.2 what\r\n");
	}
}

// Looks for the end of data; true: found and answered.
static bool
sink_data(struct sink_conn *c)
{
	struct sink *s = c->sink;
	struct span in = endpoint_bytes(&c->e);
	const uint8_t *end = NULL;
	uint32_t from = c->searched > 4 ? c->searched - 4 : 0;

	if (in.n >= 3 && memcmp(in.p, ".\r\n", 3) == 0)
		end = in.p - 2; // an empty message
	else if (in.n > from)
		end = memmem(in.p + from, in.n - from, "\r\n.\r\n", 5);
	c->searched = in.n;
	if (end == NULL) {
		if (sink_draws(s, SINK_RESET_IN_DATA))
			endpoint_abort(&c->e);
		return false;
	}
	size_t n = (size_t)(end + 2 - in.p);
	for (size_t i = 0; i < n && s->keep; i++)
		if (in.p[i] == 0 || (in.p[i] == '\n' && (i == 0 || in.p[i - 1] != '\r')) ||
		    (in.p[i] == '\r' && (i + 1 == n || in.p[i + 1] != '\n')))
			sink_violation(s, "bare CR, bare LF or NUL");
	c->m.size = n;
	s->bytes += n;
	if (s->keep) {
		c->m.data = malloc(n + 1);
		CHECK(c->m.data != NULL);
		memcpy(c->m.data, in.p, n);
	}
	endpoint_take(&c->e, (uint32_t)n + 3);
	c->in_data = false;
	if (sink_draws(s, SINK_RESET_BEFORE_FINAL)) {
		endpoint_abort(&c->e);
	} else if (sink_draws(s, SINK_FINAL_4XX)) {
		sink_reply(c, "451 4.3.0 try later\r\n");
	} else if (sink_draws(s, SINK_FINAL_5XX)) {
		sink_reply(c, "554 5.6.0 do not like it\r\n");
	} else {
		c->m.acknowledged = true;
		s->accepted++;
		sink_reply(c, "250 2.0.0 Ok: queued\r\n");
	}
	sink_keep(s, c);
	sink_reset(c);
	return true;
}

static void
sink_on_data(struct endpoint *e)
{
	struct sink_conn *c = e->owner;
	char line[LINE_SIZE];
	for (;;) {
		if (c->in_data) {
			if (!sink_data(c))
				return;
		} else {
			if (!endpoint_line(e, line, sizeof(line)))
				return;
			sink_command(c, line);
		}
	}
}

// Connections that are gone are freed here, so that a long run does not grow.
static void
sink_sweep(struct sink *s)
{
	for (struct sink_conn **at = &s->conns; *at != NULL;) {
		struct sink_conn *c = *at;
		if (!c->e.is_gone) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		endpoint_fini(&c->e);
		free(c->m.data);
		free(c);
	}
}

static void *
sink_accept(void *ctx, struct tcp_conn *conn, const struct tcp_user_ops **ops)
{
	struct sink *s = ctx;
	struct sink_conn *c = calloc(1, sizeof(*c));
	CHECK(c != NULL);
	sink_sweep(s);
	c->sink = s;
	c->e.conn = conn;
	c->e.is_open = true;
	c->e.owner = c;
	c->e.on_data = sink_on_data;
	c->e.hold = s->hold;
	c->next = s->conns;
	s->conns = c;
	*ops = &endpoint_ops;
	(void)tcp_conn_write(conn, SPAN_LIT("220 sink ESMTP\r\n"));
	return &c->e;
}

bool
sink_open(struct sink *s, struct tcp *t, uint16_t port, uint64_t seed)
{
	memset(s, 0, sizeof(*s));
	s->tcp = t;
	s->keep = true;
	s->has_pipelining = true;
	rng_init(&s->rng, seed);
	return tcp_listen(t, TCP_SIDE_ANY, port, sink_accept, s);
}

void
sink_resume(struct sink *s)
{
	for (struct sink_conn *c = s->conns; c != NULL; c = c->next)
		if (c->e.conn != NULL)
			tcp_conn_resume(c->e.conn);
}

void
sink_close(struct sink *s)
{
	while (s->conns != NULL) {
		struct sink_conn *c = s->conns;
		s->conns = c->next;
		endpoint_fini(&c->e);
		free(c->m.data);
		free(c);
	}
	for (uint32_t i = 0; i < s->count; i++)
		free(s->message[i].data);
	free(s->message);
	s->message = NULL;
	s->count = s->size = 0;
}

// --- source ---

bool
source_open(struct source *s, struct tcp *t, const struct ipaddr *to, uint16_t port)
{
	endpoint_init(&s->e);
	s->state = SOURCE_CONNECT;
	s->now = 0;
	return endpoint_open(&s->e, t, to, port);
}

void
source_close(struct source *s)
{
	endpoint_fini(&s->e);
}

static uint32_t
rcpt_count(const struct source_message *m)
{
	uint32_t n = 0;
	while (n < ARRAY_LEN(m->rcpt) && m->rcpt[n] != NULL)
		n++;
	return n;
}

// Envelope command `i` of a message: 0 MAIL, 1.. RCPT, last DATA.
static void
envelope_write(struct source *s, uint32_t i)
{
	const struct source_message *m = &s->message[s->now];
	char line[1024];
	if (i == 0)
		(void)snprintf(line, sizeof(line), "MAIL FROM:<%s>\r\n", m->from);
	else if (i <= rcpt_count(m))
		(void)snprintf(line, sizeof(line), "RCPT TO:<%s>\r\n", m->rcpt[i - 1]);
	else
		(void)snprintf(line, sizeof(line), "DATA\r\n");
	(void)endpoint_write(&s->e, span_str(line));
}

static void
message_begin(struct source *s)
{
	if (s->now == s->count) {
		(void)endpoint_write(&s->e, SPAN_LIT("QUIT\r\n"));
		s->state = SOURCE_QUIT;
		return;
	}
	uint32_t last = rcpt_count(&s->message[s->now]) + 1;
	s->state = SOURCE_ENVELOPE;
	s->part = s->sent = 0;
	s->at = 0;
	do
		envelope_write(s, s->sent++);
	while (s->pipelining && s->sent <= last);
}

static void
message_end(struct source *s)
{
	s->now++;
	message_begin(s);
}

static void
envelope_answer(struct source *s, uint32_t code)
{
	struct source_message *m = &s->message[s->now];
	uint32_t rcpts = rcpt_count(m), part = s->part++;

	if (part == 0)
		m->mail_code = code;
	else if (part <= rcpts)
		m->rcpt_code[part - 1] = code;
	else {
		m->data_code = code;
		if (code == 354) {
			s->state = SOURCE_BODY;
		} else {
			m->final_code = code;
			message_end(s);
		}
		return;
	}
	if (!s->pipelining)
		envelope_write(s, s->sent++);
}

// One reply (its last line) for the state that we are in.
static void
answer(struct source *s, uint32_t code)
{
	switch (s->state) {
	case SOURCE_BANNER:
		s->last_code = code;
		(void)endpoint_write(&s->e, code == 220 ? SPAN_LIT("EHLO source.test\r\n")
							: SPAN_LIT("QUIT\r\n"));
		s->state = code == 220 ? SOURCE_EHLO : SOURCE_QUIT;
		break;
	case SOURCE_EHLO:
		s->last_code = code;
		message_begin(s);
		break;
	case SOURCE_ENVELOPE:
		envelope_answer(s, code);
		break;
	case SOURCE_BODY: // an answer in the middle of the body: refused early
	case SOURCE_FINAL:
		s->message[s->now].final_code = code;
		message_end(s);
		break;
	case SOURCE_QUIT:
		endpoint_close(&s->e);
		s->state = SOURCE_DONE;
		break;
	default:
		break;
	}
}

static bool
body_write(struct source *s)
{
	const struct source_message *m = &s->message[s->now];
	bool moved = false;
	while (s->state == SOURCE_BODY) {
		size_t left = m->size + 3 - s->at;
		struct span piece =
			s->at < m->size ? span_of(m->data + s->at, MIN(m->size - s->at, 1u << 20))
					: span_from(SPAN_LIT(".\r\n"), (uint32_t)(s->at - m->size));
		if (s->cut > 0)
			piece = span_sub(piece, 0, s->cut);
		uint32_t n = endpoint_write(&s->e, piece);
		s->at += n;
		moved |= n > 0;
		if (n == left)
			s->state = SOURCE_FINAL;
		if (n == 0 || s->cut > 0)
			break;
	}
	return moved;
}

bool
source_work(struct source *s)
{
	char line[LINE_SIZE];
	bool moved = false;

	if (s->state == SOURCE_DONE)
		return false;
	if (s->state == SOURCE_CONNECT && s->e.is_open)
		s->state = SOURCE_BANNER;
	while (s->state != SOURCE_DONE && endpoint_line(&s->e, line, sizeof(line))) {
		moved = true;
		if (strlen(line) < 4 || line[3] != '-')
			answer(s, (uint32_t)strtoul(line, NULL, 10));
	}
	if (s->state == SOURCE_BODY)
		moved |= body_write(s);
	if (s->e.is_gone || (s->e.has_eof && s->state != SOURCE_DONE)) {
		endpoint_close(&s->e);
		s->state = SOURCE_DONE;
		moved = true;
	}
	if (s->state == SOURCE_DONE && s->done != NULL)
		s->done(s);
	return moved;
}
