// SPDX-License-Identifier: Apache-2.0
// What a session tells the message log: refusals, the fate of each message, its own end, and rows
// of session lists. Runs on the owning worker. Connects are counted only: a scanner of the Internet
// would fill the log. A client at its own limit is told of, but seldom: see clients_refused.

#include "dataplane/smtp_session.h"

static void
log_begin(struct logrec *r, const struct smtp_session *s, enum event ev)
{
	logrec_init(r);
	r->kind = LOGREC_MESSAGE;
	r->session_id = s->ev.id;
	r->client = s->ev.client;
	r->client_port = s->ev.client_port;
	r->direction = (uint8_t)s->ev.direction;
	r->event = (uint8_t)ev;
	r->agent = AGENT_NONE;
	uint64_t us = s->smtp->now_us - s->start_us;
	r->us = (uint32_t)MIN(us, UINT32_MAX);
	if (s->tx != NULL) {
		r->bytes = s->tx->ev.bytes;
		r->scl_plus_1 = s->tx->ev.scl_is_set && s->tx->ev.scl >= 0
					? (uint8_t)(s->tx->ev.scl + 1)
					: 0;
	}
}

// Fields go in ascending order; what is empty is left out.
static void
log_field(struct logrec *r, enum logrec_field f, struct span s)
{
	if (s.n > 0)
		logrec_set(r, f, s);
}

static void
log_reply(struct logrec *r, const struct verdict *v)
{
	char text[SMTP_REPLY_TEXT_SIZE];
	struct strbuf b;
	r->reply_code = v->reply_code;
	if (v->reply_code == 0)
		return;
	strbuf_init(&b, text, sizeof(text));
	strbuf_add_u64(&b, v->reply_code);
	strbuf_add_char(&b, ' ');
	strbuf_add_str(&b, v->enhanced);
	if (v->enhanced[0] != '\0')
		strbuf_add_char(&b, ' ');
	strbuf_add_str(&b, v->text);
	log_field(r, LOGREC_REPLY, strbuf_span(&b));
}

void
smtp_log_refusal(struct smtp_session *s, enum event ev, const struct verdict *v)
{
	struct logrec r;
	const struct smtp_tx *tx = s->tx;
	log_begin(&r, s, ev);
	r.agent = (uint8_t)v->agent;
	r.action = (uint8_t)v->action;
	log_field(&r, LOGREC_HELO, s->ev.helo);
	if (tx != NULL) {
		log_field(&r, LOGREC_FROM, tx->ev.from.n > 0 ? tx->ev.from : SPAN_LIT("<>"));
		log_field(&r, LOGREC_RCPT,
			  ev == EVENT_RCPT ? tx->ev.rcpt : strbuf_span(&tx->rcpts));
	}
	log_field(&r, LOGREC_RULE, span_str(v->rule));
	log_field(&r, LOGREC_EVIDENCE, span_str(v->evidence));
	log_reply(&r, v);
	(void)report_put(s->smtp->report, &r); // lost records are counted there
}

// v->reply_code and texts are what the client was told.
void
smtp_log_message(struct smtp_session *s, enum event ev, enum action action, const struct verdict *v,
		 const char *evidence)
{
	struct logrec r;
	const struct smtp_tx *tx = s->tx;
	OBJ_CHECK(tx, SMTP_TX_MAGIC);
	log_begin(&r, s, ev);
	uint64_t us = s->smtp->now_us - tx->mail_us;
	r.us = (uint32_t)MIN(us, UINT32_MAX);
	r.agent = (uint8_t)v->agent;
	r.action = (uint8_t)action;
	log_field(&r, LOGREC_HELO, s->ev.helo);
	log_field(&r, LOGREC_FROM, tx->ev.from.n > 0 ? tx->ev.from : SPAN_LIT("<>"));
	logrec_set(&r, LOGREC_RCPT, strbuf_span(&tx->rcpts));
	if (tx->rcpts.truncated)
		r.cut |= (uint16_t)(1u << LOGREC_RCPT);
	log_field(&r, LOGREC_RULE, span_str(v->rule));
	char text[VERDICT_EVIDENCE_SIZE * 2];
	struct strbuf b;
	strbuf_init(&b, text, sizeof(text));
	strbuf_add_str(&b, v->evidence);
	if (b.len > 0 && evidence[0] != '\0')
		strbuf_add_str(&b, "; ");
	strbuf_add_str(&b, evidence);
	log_field(&r, LOGREC_EVIDENCE, strbuf_span(&b));
	log_reply(&r, v);
	(void)report_put(s->smtp->report, &r);
}

void
smtp_log_client(struct smtp *s, const struct smtp_refused *refused)
{
	struct logrec r;
	char text[160];
	struct strbuf b;
	const struct client_answer *a = refused->answer;
	const struct ipaddr *addr = &refused->path->raddr;
	bool many = a->result == CLIENT_TOO_MANY;
	struct span rule =
		many ? SPAN_LIT("limits.client_sessions_max") : SPAN_LIT("limits.client_rate");
	if (a->tier == CLIENT_WIDE)
		rule = ipaddr_is_v4(addr) ? SPAN_LIT("limits.client_prefix4_wide")
					  : SPAN_LIT("limits.client_prefix6_wide");
	logrec_init(&r);
	r.kind = LOGREC_MESSAGE;
	r.client = *addr;
	r.client_port = refused->path->rport;
	r.direction = refused->direction;
	r.event = EVENT_CONNECT;
	r.agent = AGENT_NONE;
	r.action = ACTION_REJECT_CONNECTION;
	r.reply_code = 421;
	log_field(&r, LOGREC_RULE, rule);
	strbuf_init(&b, text, sizeof(text));
	ipprefix_format(&b, &a->prefix);
	strbuf_addf(&b,
		    many ? ": %u sessions are open"
			 : ": more than %u a minute, or a sixth of that at once",
		    a->limit);
	strbuf_addf(&b, "; refused since it was last told of here: %u", refused->count);
	log_field(&r, LOGREC_EVIDENCE, strbuf_span(&b));
	log_field(&r, LOGREC_REPLY, span_sub(refused->reply, 0, refused->reply.n - 2));
	(void)report_put(s->report, &r);
}

// How a mail server is doing, for posternd: not a line of the message log.
void
smtp_log_backend(struct smtp *s, const struct smtp_hop *h, struct span name, bool is_down,
		 struct span why)
{
	struct logrec r;
	logrec_init(&r);
	r.kind = LOGREC_BACKEND;
	r.client = h->addr;
	r.client_port = h->port;
	r.direction = h->direction;
	r.reply_code = is_down ? LOGREC_BACKEND_DOWN : LOGREC_BACKEND_UP;
	log_field(&r, LOGREC_RULE, name);
	log_field(&r, LOGREC_EVIDENCE, why);
	(void)report_put(s->report, &r);
}

void
smtp_log_end(struct smtp_session *s)
{
	struct logrec r;
	log_begin(&r, s, EVENT_DISCONNECT);
	r.reason = s->reason;
	log_field(&r, LOGREC_HELO, s->ev.helo);
	if (s->reason == DISCONNECT_TOO_MANY_ERRORS)
		log_field(&r, LOGREC_RULE,
			  s->errors >= smtp_session_settings(s)->limits_protocol_errors_max
				  ? SPAN_LIT("limits.protocol_errors_max")
				  : SPAN_LIT("limits.commands_max"));
	(void)report_put(s->smtp->report, &r);
}

static const char *
state_text(const struct smtp_session *s)
{
	static const char *const texts[] = {
		[SMTP_COMMAND] = "command",
		[SMTP_DATA] = "data",
		[SMTP_WAIT] = "waiting for the backend",
		[SMTP_TARPIT] = "tarpit",
		[SMTP_LINGER] = "closing",
		[SMTP_ENDED] = "closed",
	};
	CHECK(s->state < ARRAY_LEN(texts));
	return texts[s->state];
}

void
smtp_log_row(struct smtp_session *s, uint64_t request)
{
	struct logrec r;
	log_begin(&r, s, EVENT_CONNECT);
	r.kind = LOGREC_SESSION;
	r.request = request;
	r.reason = s->reason;
	log_field(&r, LOGREC_HELO, s->ev.helo);
	if (s->tx != NULL) {
		log_field(&r, LOGREC_FROM, s->tx->ev.from.n > 0 ? s->tx->ev.from : SPAN_LIT("<>"));
		log_field(&r, LOGREC_RCPT, strbuf_span(&s->tx->rcpts));
	}
	log_field(&r, LOGREC_EVIDENCE, span_str(state_text(s)));
	(void)report_put(s->smtp->report, &r);
}

void
smtp_log_raw(struct smtp_session *s, struct logrec *r, enum logrec_kind kind, uint64_t request)
{
	log_begin(r, s, EVENT_CONNECT);
	r->kind = (uint8_t)kind;
	r->request = request;
}

// A frame that does not fit into one record goes on in the next.
void
smtp_captured(struct smtp *s, struct span frame, bool is_ours)
{
	struct logrec r;

	if (s->captured == NULL)
		return;
	for (uint32_t at = 0; at < frame.n; at += LOGREC_RAW_MAX) {
		struct span part = span_sub(frame, at, LOGREC_RAW_MAX);

		smtp_log_raw(s->captured, &r, LOGREC_FRAME, s->capture_request);
		r.bytes = frame.n;
		r.reply_code = is_ours;
		r.cut = at + part.n < frame.n;
		logrec_raw_set(&r, part);
		(void)report_put(s->report, &r);
	}
}

void
smtp_log_row_end(struct smtp *s, uint64_t request)
{
	struct logrec r;
	logrec_init(&r);
	r.kind = LOGREC_SESSION_END;
	r.request = request;
	r.agent = AGENT_NONE;
	(void)report_put(s->report, &r);
}
