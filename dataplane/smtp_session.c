// SPDX-License-Identifier: Apache-2.0
// The life of one client's session: TCP's calls, replies, refusals, timeouts, the end. Runs on the
// worker that owns it. Commands are in smtp_verb.c, the message in smtp_relay.c.

#include "dataplane/smtp_session.h"

#include <string.h>

// --- what a session knows ---

const struct policy_use *
smtp_session_policy(const struct smtp_session *s)
{
	return s->tx != NULL && s->tx->policy != NULL ? s->tx->policy : smtp_policy_now(s->smtp);
}

const struct policy_settings *
smtp_session_settings(const struct smtp_session *s)
{
	return smtp_session_policy(s)->view.settings;
}

enum action
smtp_session_raise(struct smtp_session *s, enum event ev, struct verdict *v,
		   const struct verdict *refused)
{
	OBJ_CHECK(s, SMTP_SESSION_MAGIC);
	struct event_ctx e = {
		.event = ev,
		.policy = &smtp_session_policy(s)->view,
		.session = &s->ev,
		.tx = s->tx != NULL ? &s->tx->ev : NULL,
		.refused = refused,
		.reason = (enum disconnect_reason)s->reason,
		.now_s = s->smtp->wall_us / 1000000,
		.counters = s->smtp->counters,
		.trace = s->smtp->trace,
		.trace_ctx = s->smtp->trace_ctx,
	};
	bool in_message = s->tx != NULL && s->tx->scan != NULL;
	if (in_message && ev != EVENT_DATA && ev != EVENT_DISCONNECT)
		e.scan = scan_result(s->tx->scan);
	verdict_init(v);
	return event_raise(&e, v);
}

static void
arm_command(struct smtp_session *s)
{
	if (s->is_broken)
		return; // its end is due
	smtp_timer_set(s->smtp, &s->timer, smtp_session_settings(s)->timeouts_command_s * 1000ull);
}

// A peer that keeps every single limit by sending a byte now and then still meets the last one.
void
smtp_session_arm_data(struct smtp_session *s)
{
	const struct policy_settings *set = smtp_session_settings(s);

	if (s->is_broken)
		return; // its end is due
	uint64_t ms = set->timeouts_data_block_s * 1000ull;
	if (s->tx != NULL)
		ms = MIN(ms, smtp_tx_left_ms(s->tx, set));
	smtp_timer_set(s->smtp, &s->timer, ms);
}

// --- replies ---

static void
session_write(struct smtp_session *s, struct span bytes)
{
	if (s->conn == NULL || s->is_broken)
		return;
	if (tcp_conn_write(s->conn, bytes) == bytes.n)
		return;
	// Half a reply is worse than none: the connection ends by RST, from the timer, not from in
	// here.
	COUNT(s->smtp->counters, SHED_MEMORY);
	s->is_broken = true;
	smtp_timer_stop(s->smtp, &s->timer);
	smtp_timer_set(s->smtp, &s->timer, 0);
}

void
smtp_session_reply(struct smtp_session *s, const struct smtp_reply *r)
{
	char mem[SMTP_REPLY_WIRE_SIZE];
	struct strbuf b;
	strbuf_init(&b, mem, sizeof(mem));
	smtp_reply_format(r, &b);
	trace_number(s->smtp->trace_ring, &s->trace_last, TRACE_SMTP_REPLY, r->code);
	session_write(s, strbuf_span(&b));
}

void
smtp_session_say(struct smtp_session *s, uint16_t code, const char *enhanced, const char *text)
{
	struct smtp_reply r;
	smtp_reply_set(&r, code, enhanced, span_str(text));
	smtp_session_reply(s, &r);
}

// --- refusals ---

void
smtp_verdict_protocol(struct verdict *v, uint16_t code, const char *enhanced, const char *text)
{
	verdict_init(v);
	v->agent = AGENT_NONE;
	v->action = ACTION_REJECT_COMMAND;
	v->reply_code = code;
	struct strbuf b;
	strbuf_init(&b, v->enhanced, sizeof(v->enhanced));
	strbuf_add_str(&b, enhanced);
	strbuf_init(&b, v->text, sizeof(v->text));
	strbuf_add_str(&b, text);
}

void
smtp_verdict_row(struct verdict *v, const struct smtp_refusal *why)
{
	struct strbuf b;
	smtp_verdict_protocol(v, why->code, why->enhanced, why->text);
	strbuf_init(&b, v->rule, sizeof(v->rule));
	if (why->rule != NULL)
		strbuf_add_str(&b, why->rule);
}

void
smtp_verdict_complete(struct verdict *v)
{
	const char *text = "Message refused";
	uint16_t code = 550;
	switch (v->action) {
	case ACTION_REJECT_CONNECTION:
		code = 554;
		text = "Connection refused";
		v->close = true;
		break;
	case ACTION_DISCONNECT:
		code = 421;
		text = "Closing connection";
		v->close = true;
		break;
	case ACTION_QUARANTINE_MESSAGE:
	case ACTION_QUARANTINE_RECIPIENTS:
		// Nothing here keeps messages durably: 250 would be a lie, so the client keeps it.
		code = 451;
		v->reply_code = 0;
		v->enhanced[0] = '\0';
		v->text[0] = '\0';
		text = "Quarantine is not available";
		break;
	case ACTION_REJECT_COMMAND:
		text = "Command refused";
		break;
	case ACTION_REJECT_RECIPIENTS:
		text = "Recipient refused";
		break;
	default:
		break;
	}
	if (v->reply_code < 400 || v->reply_code > 599)
		v->reply_code = code;
	if (!smtp_enhanced_is_valid(span_str(v->enhanced), v->reply_code / 100)) {
		memcpy(v->enhanced, "5.7.1", 6);
		v->enhanced[0] = (char)('0' + v->reply_code / 100);
	}
	if (v->text[0] == '\0') {
		struct strbuf b;
		strbuf_init(&b, v->text, sizeof(v->text));
		strbuf_add_str(&b, text);
	}
}

// Keeps the reply for later. False: it has to go out at once.
static bool
session_tarpit(struct smtp_session *s, struct span bytes, bool closes)
{
	uint64_t delay_ms = smtp_session_settings(s)->timeouts_tarpit_s * 1000ull;
	if (delay_ms == 0 || s->conn == NULL || bytes.n > SMTP_LINE_MAX || s->delayed != NULL)
		return false;
	struct smtp_line *l = pool_get(&s->smtp->lines);
	if (l == NULL)
		return false;
	l->magic = SMTP_LINE_MAGIC;
	l->len = (uint16_t)bytes.n;
	l->is_long = false;
	memcpy(l->data, bytes.p, bytes.n);
	s->delayed = l;
	s->tarpit_closes = closes;
	s->state = SMTP_TARPIT;
	smtp_timer_stop(s->smtp, &s->timer);
	smtp_timer_set(s->smtp, &s->timer, delay_ms);
	return true;
}

// What Exchange's MaxProtocolErrors counts: syntax, sequence and commands that are not known. A
// recipient that an agent refuses is not one: a list with a few stale addresses would lose them
// all.
static bool
verdict_is_protocol_error(const struct verdict *v)
{
	uint32_t code = v->reply_code;
	return v->agent == AGENT_NONE && ((code >= 500 && code <= 504) || code == 555);
}

void
smtp_session_no(struct smtp_session *s, struct verdict *v, bool counts, const struct smtp_reply *r)
{
	CHECK(v->reply_code >= 400 && v->reply_code <= 599);
	struct verdict last;
	struct smtp_reply own;
	char mem[SMTP_REPLY_WIRE_SIZE];
	struct strbuf b;
	bool closes = smtp_session_raise(s, EVENT_REJECT, &last, v) == ACTION_DISCONNECT ||
		      v->close || v->reply_code == 421;
	enum disconnect_reason why = DISCONNECT_LOCAL;
	strbuf_init(&b, mem, sizeof(mem));
	if (r == NULL)
		smtp_reply_set(&own, v->reply_code, v->enhanced, span_str(v->text));
	smtp_reply_format(r != NULL ? r : &own, &b);
	bool is_error = counts && verdict_is_protocol_error(v);
	if (counts && !is_error)
		s->commands++; // not an error, but no reason to ask for ever
	if (is_error && ++s->errors >= smtp_session_settings(s)->limits_protocol_errors_max &&
	    !closes) {
		COUNT(s->smtp->counters, TOO_MANY_ERRORS);
		smtp_anomaly(s);
		closes = true;
		why = DISCONNECT_TOO_MANY_ERRORS;
		strbuf_add_str(&b, "421 4.7.0 Too many errors, closing connection\r\n");
	}
	if (v->tarpit && session_tarpit(s, strbuf_span(&b), closes)) {
		s->reason = (uint8_t)why;
		return;
	}
	session_write(s, strbuf_span(&b));
	if (closes)
		smtp_session_end(s, why, true);
}

void
smtp_session_refuse(struct smtp_session *s, enum event ev, struct verdict *v)
{
	smtp_verdict_complete(v);
	COUNT(s->smtp->counters, COMMANDS_REJECTED);
	smtp_log_refusal(s, ev, v);
	smtp_session_no(s, v, true, NULL);
}

void
smtp_session_refuse_row(struct smtp_session *s, enum event ev, const struct smtp_refusal *why,
			struct span said)
{
	struct verdict v;
	smtp_verdict_row(&v, why);
	verdict_set_evidence(&v, said);
	if (why->code >= 500)
		COUNT(s->smtp->counters, COMMANDS_BAD);
	if (why == &smtp_line_too_long)
		COUNT(s->smtp->counters, LINE_TOO_LONG);
	smtp_log_refusal(s, ev, &v);
	smtp_session_no(s, &v, true, NULL);
}

void
smtp_session_drop(struct smtp_session *s, enum event ev, struct verdict *v)
{
	bool has_reply = v->reply_code != 0;
	v->close = true;
	if (has_reply) {
		smtp_session_refuse(s, ev, v);
		return;
	}
	smtp_log_refusal(s, ev, v);
	smtp_session_end(s, DISCONNECT_LOCAL, true);
}

void
smtp_session_fault(struct smtp_session *s, enum smtp_frame f, bool in_data)
{
	const char *text = "";
	switch (f) {
	case SMTP_FRAME_BARE_CR:
		COUNT(s->smtp->counters, FRAMING_BARE_CR);
		text = "Bare CR is not allowed, closing connection";
		break;
	case SMTP_FRAME_BARE_LF:
		COUNT(s->smtp->counters, FRAMING_BARE_LF);
		text = "Bare LF is not allowed, closing connection";
		break;
	case SMTP_FRAME_NUL:
		COUNT(s->smtp->counters, FRAMING_NUL);
		text = "NUL is not allowed, closing connection";
		break;
	default:
		CHECK(false);
	}
	struct verdict v;
	if (in_data)
		smtp_verdict_protocol(&v, 550, "5.6.0", text);
	else
		smtp_verdict_protocol(&v, 500, "5.5.2", text);
	v.close = true;
	smtp_log_refusal(s, in_data ? EVENT_END_OF_DATA : EVENT_REJECT, &v);
	smtp_anomaly(s);
	smtp_session_no(s, &v, true, NULL);
}

// --- the end ---

static void
session_leave(struct smtp_session *s, enum disconnect_reason why)
{
	struct verdict v;
	smtp_tx_close(s);
	s->reason = (uint8_t)why;
	(void)smtp_session_raise(s, EVENT_DISCONNECT, &v, NULL);
	smtp_log_end(s);
	smtp_line_done(&s->line, &s->smtp->lines);
	smtp_line_done(&s->delayed, &s->smtp->lines);
	smtp_timer_stop(s->smtp, &s->timer);
	COUNT(s->smtp->counters, SESSIONS_ENDED);
	s->state = SMTP_ENDED;
}

void
smtp_session_end(struct smtp_session *s, enum disconnect_reason why, bool linger)
{
	if (s->state == SMTP_LINGER || s->state == SMTP_ENDED)
		return;
	trace_number(s->smtp->trace_ring, &s->trace_last, TRACE_SMTP_END, why);
	session_leave(s, why);
	if (s->conn == NULL)
		return;
	if (s->is_broken) {
		tcp_conn_abort(s->conn); // gone follows
		return;
	}
	tcp_conn_close(s->conn);
	if (linger && !s->eof_seen) {
		// What the client has in flight must not be answered by RST: that would destroy our
		// reply.
		s->state = SMTP_LINGER;
		smtp_timer_set(s->smtp, &s->timer, SMTP_LINGER_MS);
		tcp_conn_resume(s->conn);
		return;
	}
	tcp_conn_forget(s->conn);
	s->conn = NULL;
}

static void
session_linger_over(struct smtp_session *s)
{
	CHECK(s->state == SMTP_LINGER);
	smtp_timer_stop(s->smtp, &s->timer);
	if (s->conn != NULL)
		tcp_conn_forget(s->conn);
	s->conn = NULL;
	s->state = SMTP_ENDED;
}

void
smtp_session_settle(struct smtp_session *s)
{
	OBJ_CHECK(s, SMTP_SESSION_MAGIC);
	if (s->state != SMTP_ENDED || s->conn != NULL)
		return;
	CHECK(s->tx == NULL);
	CHECK(s->line == NULL && s->delayed == NULL);
	CHECK(!wheel_is_set(&s->timer.node));
	smtp_ask_removed(s->smtp, s);
	list_remove(&s->smtp->session_list, &s->node);
	clients_leave(&s->smtp->clients, &s->client);
	pool_put(&s->smtp->sessions, s);
}

// --- waiting ---

void
smtp_session_wait(struct smtp_session *s)
{
	CHECK(s->state == SMTP_COMMAND || s->state == SMTP_DATA);
	s->state = SMTP_WAIT;
	smtp_timer_stop(s->smtp, &s->timer);
}

void
smtp_session_go_on(struct smtp_session *s)
{
	if (s->state != SMTP_WAIT && s->state != SMTP_DATA)
		return;
	if (s->conn == NULL) {
		smtp_session_end(s, DISCONNECT_REMOTE, false);
		return;
	}
	s->state = SMTP_COMMAND;
	if (s->is_broken)
		return; // the timer is set
	if (s->eof_seen) {
		smtp_session_end(s, DISCONNECT_SENDER_DISCONNECTED, false);
		return;
	}
	arm_command(s);
	tcp_conn_resume(s->conn);
}

static void
session_timeout(struct smtp_session *s)
{
	COUNT(s->smtp->counters, SESSION_TIMEOUT);
	smtp_session_say(s, 421, "4.4.2", "Timeout, closing connection");
	smtp_session_end(s, DISCONNECT_TIMEOUT, true);
}

void
smtp_session_fire(struct smtp_session *s)
{
	OBJ_CHECK(s, SMTP_SESSION_MAGIC);
	switch ((enum smtp_state)s->state) {
	case SMTP_COMMAND:
	case SMTP_DATA:
		if (s->is_broken)
			smtp_session_end(s, DISCONNECT_DROPPED_SESSION, false);
		else
			session_timeout(s);
		break;
	case SMTP_WAIT:
		if (s->is_broken)
			smtp_session_end(s, DISCONNECT_DROPPED_SESSION, false);
		break;
	case SMTP_TARPIT: {
		CHECK(s->delayed != NULL);
		struct span bytes = span_of(s->delayed->data, s->delayed->len);
		session_write(s, bytes);
		smtp_line_done(&s->delayed, &s->smtp->lines);
		s->state = SMTP_WAIT;
		if (s->tarpit_closes)
			smtp_session_end(s, (enum disconnect_reason)s->reason, true);
		else
			smtp_session_go_on(s);
		break;
	}
	case SMTP_LINGER:
		session_linger_over(s);
		break;
	case SMTP_ENDED:
		break;
	}
	smtp_session_settle(s);
}

// --- TCP's calls ---

// One command, or a part of one. Returns the bytes taken, at least one.
static uint32_t
take_command(struct smtp_session *s, struct span in)
{
	struct span line = SPAN_NONE;
	uint32_t taken = 0;
	enum smtp_frame f = smtp_line_take(&s->line, &s->smtp->lines, in, &taken, &line);
	switch (f) {
	case SMTP_FRAME_MORE:
		return taken;
	case SMTP_FRAME_LINE:
		arm_command(s);
		smtp_verb_run(s, line);
		break;
	case SMTP_FRAME_LONG:
		arm_command(s);
		smtp_session_refuse_row(s, EVENT_REJECT, &smtp_line_too_long, SPAN_NONE);
		break;
	case SMTP_FRAME_SHED:
		COUNT(s->smtp->counters, SHED_MEMORY);
		smtp_session_say(s, 421, "4.3.2", "Out of memory, try again later");
		smtp_session_end(s, DISCONNECT_DROPPED_SESSION, true);
		break;
	case SMTP_FRAME_BARE_CR:
	case SMTP_FRAME_BARE_LF:
	case SMTP_FRAME_NUL:
		smtp_session_fault(s, f, false);
		break;
	}
	smtp_line_done(&s->line, &s->smtp->lines);
	return taken;
}

// Who does not read its replies waits until half of them are taken. The time for its next command
// runs on meanwhile: else one byte read a second would be enough to stay for a day.
static bool
has_backlog(const struct smtp_session *s, const struct tcp_conn *c)
{
	return tcp_conn_unsent(c) > (s->is_choked ? SMTP_REPLY_BACKLOG / 2 : SMTP_REPLY_BACKLOG);
}

static uint32_t
session_recv(void *user, struct tcp_conn *c, struct span data)
{
	struct smtp_session *s = user;
	OBJ_CHECK(s, SMTP_SESSION_MAGIC);
	uint32_t taken = 0;
	bool waits = false;
	for (uint32_t step = 0; taken < data.n && !waits; step++) {
		if (s->is_broken && s->state != SMTP_ENDED) {
			break; // the timer ends it
		}
		struct span rest = span_from(data, taken);
		switch ((enum smtp_state)s->state) {
		case SMTP_COMMAND:
			s->is_choked = has_backlog(s, c);
			if (s->is_choked) {
				waits = true;
			} else if (step >= SMTP_STEPS_MAX) {
				waits = true;
				tcp_conn_resume(c);
			} else {
				taken += take_command(s, rest);
			}
			break;
		case SMTP_DATA: {
			uint32_t n = smtp_relay_body(s, rest);
			taken += n;
			waits = n == 0 && s->state == SMTP_DATA;
			break;
		}
		case SMTP_WAIT:
		case SMTP_TARPIT:
			waits = true;
			break;
		case SMTP_LINGER:
		case SMTP_ENDED:
			taken = data.n;
			break;
		}
	}
	smtp_session_settle(s);
	return taken;
}

static void
session_sent(void *user, struct tcp_conn *c)
{
	struct smtp_session *s = user;
	OBJ_CHECK(s, SMTP_SESSION_MAGIC);
	if (s->is_choked && !has_backlog(s, c)) {
		s->is_choked = false;
		tcp_conn_resume(c);
	}
}

// The client went away with a message that nobody has answered for: it still has it.
static void
session_aborted(struct smtp_session *s)
{
	struct verdict v;
	COUNT(s->smtp->counters, MESSAGES_ABORTED);
	verdict_init(&v);
	v.agent = AGENT_NONE;
	smtp_log_message(s, EVENT_END_OF_DATA, ACTION_DISCONNECT, &v,
			 s->state == SMTP_DATA ? "the client went away in the message"
					       : "the client went away before the answer");
}

static void
session_eof(void *user, struct tcp_conn *c)
{
	struct smtp_session *s = user;
	OBJ_CHECK(s, SMTP_SESSION_MAGIC);
	(void)c;
	s->eof_seen = true;
	switch ((enum smtp_state)s->state) {
	case SMTP_DATA:
		session_aborted(s);
		smtp_session_end(s, DISCONNECT_SENDER_DISCONNECTED, false);
		break;
	case SMTP_COMMAND:
		smtp_session_end(s, DISCONNECT_SENDER_DISCONNECTED, false);
		break;
	case SMTP_WAIT: // the client may have closed its half only: it still hears the answer
	case SMTP_TARPIT:
		break;
	case SMTP_LINGER:
		session_linger_over(s);
		break;
	case SMTP_ENDED:
		break;
	}
	smtp_session_settle(s);
}

static void
session_gone(void *user, struct tcp_conn *c, enum tcp_gone why)
{
	struct smtp_session *s = user;
	OBJ_CHECK(s, SMTP_SESSION_MAGIC);
	CHECK(s->conn == c);
	if (why == TCP_GONE_TIMEOUT)
		smtp_anomaly(s);
	s->conn = NULL;
	enum disconnect_reason reason =
		why == TCP_GONE_TIMEOUT ? DISCONNECT_TIMEOUT : DISCONNECT_REMOTE;
	switch ((enum smtp_state)s->state) {
	case SMTP_DATA:
		session_aborted(s);
		smtp_session_end(s, reason, false);
		break;
	case SMTP_WAIT:
		// The backend has the whole message: its answer decides what became of it, and is
		// logged.
		if (s->tx != NULL && s->tx->backend != NULL && smtp_backend_has_all(s->tx->backend))
			break;
		if (s->tx != NULL && s->tx->phase == TX_FINAL)
			session_aborted(s);
		smtp_session_end(s, reason, false);
		break;
	case SMTP_COMMAND:
	case SMTP_TARPIT:
		smtp_session_end(s, reason, false);
		break;
	case SMTP_LINGER:
		session_linger_over(s);
		break;
	case SMTP_ENDED:
		break;
	}
	smtp_session_settle(s);
}

const struct tcp_user_ops smtp_session_ops = {
	.recv = session_recv, .sent = session_sent, .eof = session_eof, .gone = session_gone};

// --- the beginning ---

static void
session_greet(struct smtp_session *s)
{
	char mem[320];
	struct strbuf b;
	const struct policy_use *use = smtp_session_policy(s);
	strbuf_init(&b, mem, sizeof(mem));
	strbuf_add(&b, policy_text(&use->view, use->view.settings->server_hostname));
	strbuf_add_str(&b, " ESMTP Postern");
	smtp_session_say(s, 220, "", mem);
}

static uint64_t
session_id(struct smtp *s)
{
	// The clock at the first session counts microseconds: faster than sessions come, so a later
	// start of the process never meets the numbers of an earlier one. The top byte is the
	// worker.
	uint64_t wall = s->wall_us != 0 ? s->wall_us : s->report->wall_us;
	if (s->id_last == 0)
		s->id_last = wall;
	s->id_last++;
	return (uint64_t)s->worker << 56 | (s->id_last & ((1ull << 56) - 1));
}

struct smtp_session *
smtp_session_open(struct smtp_listener *l, struct tcp_conn *c, const struct client_hold *hold)
{
	struct smtp *smtp = l->smtp;
	struct smtp_session *s = pool_get(&smtp->sessions);
	if (s == NULL)
		return NULL;
	*s = (struct smtp_session){
		.magic = SMTP_SESSION_MAGIC, .state = SMTP_COMMAND, .smtp = smtp, .conn = c};
	s->listener = l->index;
	s->client = *hold;
	s->start_us = smtp->now_us;
	s->timer.kind = SMTP_TIMER_SESSION;
	wheel_node_init(&s->timer.node);
	list_node_init(&s->node);
	list_push_back(&smtp->session_list, &s->node);
	const struct tcp_path *path = tcp_conn_path(c);
	s->ev.id = session_id(smtp);
	s->ev.client = path->raddr;
	s->ev.client_port = path->rport;
	s->ev.local = path->laddr;
	s->ev.local_port = path->lport;
	s->ev.direction = (enum direction)l->direction;
	s->ev.helo = span_of(s->helo, 0);
	COUNT(smtp->counters, SESSIONS);
	arm_command(s);
	struct verdict v;
	switch (smtp_session_raise(s, EVENT_CONNECT, &v, NULL)) {
	case ACTION_NONE:
	case ACTION_ACCEPT_MESSAGE:
		session_greet(s);
		break;
	case ACTION_DISCONNECT:
		smtp_session_drop(s, EVENT_CONNECT, &v);
		break;
	default:
		v.close = true;
		smtp_session_refuse(s, EVENT_CONNECT, &v);
		break;
	}
	return s;
}
