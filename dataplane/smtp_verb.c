// SPDX-License-Identifier: Apache-2.0
// The commands: check, event, effect, one row of smtp_verb.def each. Runs on the worker that owns
// the session.

#include <string.h>

#include "control/base/bytes.h"
#include "dataplane/smtp_session.h"

#define VERB_EARLY 1u
#define VERB_COUNTED 2u

typedef const struct smtp_refusal *(*verb_check_fn)(struct smtp_session *s,
						    struct smtp_command *cmd);
typedef void (*verb_effect_fn)(struct smtp_session *s, struct smtp_command *cmd);

static const struct smtp_refusal no_arguments = {501, "5.5.4", "No parameters allowed"};
static const struct smtp_refusal no_argument = {501, "5.5.4", "Parameter required"};
static const struct smtp_refusal no_hello = {503, "5.5.1", "Send HELO or EHLO first"};
static const struct smtp_refusal no_mail = {503, "5.5.1", "Send MAIL first"};
static const struct smtp_refusal nested_mail = {503, "5.5.1", "Sender already specified"};
static const struct smtp_refusal no_recipients = {554, "5.5.1", "No valid recipients"};
static const struct smtp_refusal too_many_rcpts = {452, "4.5.3", "Too many recipients",
						   "limits.recipients_max"};
static const struct smtp_refusal no_memory = {452, "4.3.1",
					      "Insufficient system resources, try again later"};
static const struct smtp_refusal too_large = {552, "5.3.4",
					      "Message size exceeds fixed maximum message size",
					      "limits.message_bytes_max"};
static const struct smtp_refusal no_relay = {550, "5.7.54",
					     "Unable to relay recipient in non-accepted domain",
					     "server.accepted_domains"};
static const struct smtp_refusal unknown_verb = {500, "5.5.1", "Command unrecognized"};
static const struct smtp_refusal absent_verb = {502, "5.5.1", "Command not implemented"};

// --- what both sides can do ---

// The capabilities to offer; the message size limit goes to *size_max.
static void
session_caps(const struct smtp_session *s, struct smtp_caps *caps, uint64_t *size_max)
{
	const struct policy_view *v = &smtp_session_policy(s)->view;
	*size_max = v->settings->limits_message_bytes_max;
	if (!smtp_hops_caps(s->smtp, v, s->ev.direction, caps))
		*caps = (struct smtp_caps){0};
	if (caps->has_size && caps->size_max > 0)
		*size_max = MIN(*size_max, caps->size_max);
}

// --- HELO, EHLO ---

static const struct smtp_refusal *
check_helo(struct smtp_session *s, struct smtp_command *cmd)
{
	const struct smtp_refusal *no = smtp_parse_helo(cmd);
	if (no != NULL)
		return no;
	// The agents see the new name. A greeting in mid-session is a RSET (RFC 5321 4.1.4).
	smtp_tx_close(s);
	CHECK(cmd->helo.n <= SMTP_HELO_MAX);
	memcpy(s->helo, cmd->helo.p, cmd->helo.n);
	s->ev.helo = span_of(s->helo, cmd->helo.n);
	s->ev.esmtp = cmd->verb == SMTP_VERB_EHLO;
	s->greeted = false;
	s->is_eightbit = false;
	return NULL;
}

static void
effect_helo(struct smtp_session *s, struct smtp_command *cmd)
{
	(void)cmd;
	s->greeted = true;
	const struct policy_use *use = smtp_session_policy(s);
	struct smtp_reply r;
	smtp_reply_set(&r, 250, "", policy_text(&use->view, use->view.settings->server_hostname));
	smtp_session_reply(s, &r);
}

static void
effect_ehlo(struct smtp_session *s, struct smtp_command *cmd)
{
	(void)cmd;
	s->greeted = true;
	struct smtp_caps caps;
	uint64_t size_max;
	session_caps(s, &caps, &size_max);
	const struct policy_use *use = smtp_session_policy(s);
	struct smtp_reply r;
	smtp_reply_set(&r, 250, "", policy_text(&use->view, use->view.settings->server_hostname));
	struct strbuf b;
	strbuf_init(&b, r.text + r.len, (uint32_t)sizeof(r.text) - r.len);
	strbuf_add_str(&b, "\nPIPELINING\nSIZE ");
	strbuf_add_u64(&b, size_max);
	r.lines = 3;
	s->is_eightbit = caps.eightbit;
	if (caps.eightbit) {
		strbuf_add_str(&b, "\n8BITMIME");
		r.lines++;
	}
	strbuf_add_str(&b, "\nENHANCEDSTATUSCODES");
	r.lines++;
	CHECK(!b.truncated);
	r.len = (uint16_t)(r.len + b.len);
	smtp_session_reply(s, &r);
}

// --- MAIL ---

static const struct smtp_refusal *
check_mail(struct smtp_session *s, struct smtp_command *cmd)
{
	if (s->tx != NULL)
		return &nested_mail;
	struct smtp_caps caps;
	uint64_t size_max;
	session_caps(s, &caps, &size_max);
	// What was offered may be used, even if the mail server has lost it since:
	// smtp_backend_take puts such a message off.
	const struct smtp_refusal *no = smtp_parse_mail(cmd, s->is_eightbit || caps.eightbit);
	if (no != NULL)
		return no;
	if (cmd->size > size_max)
		return &too_large;
	if (smtp_is_pressed(s->smtp)) {
		COUNT(s->smtp->counters, SHED_MESSAGES);
		return &no_memory;
	}
	if (pool_free_count(&s->smtp->txs) == 0)
		smtp_tx_make_room(s->smtp);
	if (scanner_free_count(s->smtp->scanner) == 0) {
		COUNT(s->smtp->counters, SHED_MEMORY);
		return &no_memory;
	}
	s->tx = smtp_tx_open(s, cmd);
	if (s->tx == NULL) {
		COUNT(s->smtp->counters, SHED_MEMORY);
		return &no_memory;
	}
	return NULL;
}

static void
effect_mail(struct smtp_session *s, struct smtp_command *cmd)
{
	(void)cmd;
	smtp_session_say(s, 250, "2.1.0", "Sender OK");
}

// --- RCPT ---

static bool
domain_is_accepted(const struct smtp_session *s, struct span address)
{
	const struct policy_view *v = &smtp_session_policy(s)->view;
	if (s->ev.direction != DIRECTION_INBOUND || v->count[POLICY_ACCEPTED_DOMAINS] == 0)
		return true;
	struct span domain = smtp_address_domain(address);
	return domain.n == 0 || policy_addr_find(v, POLICY_ACCEPTED_DOMAINS, domain) != NULL;
}

static const struct smtp_refusal *
check_rcpt(struct smtp_session *s, struct smtp_command *cmd)
{
	struct smtp_tx *tx = s->tx;
	if (tx == NULL)
		return &no_mail;
	tx->ev.rcpt = SPAN_NONE;
	const struct smtp_refusal *no = smtp_parse_rcpt(cmd);
	if (no != NULL)
		return no;
	CHECK(tx->phase == TX_OPEN);
	CHECK(cmd->address.n > 0 && cmd->address.n <= SMTP_ADDRESS_MAX);
	memcpy(tx->rcpt, cmd->address.p, cmd->address.n);
	tx->rcpt_len = (uint16_t)cmd->address.n;
	tx->ev.rcpt = span_of(tx->rcpt, tx->rcpt_len);
	tx->rcpt_dropped = false;
	if (tx->ev.rcpt_count >= smtp_session_settings(s)->limits_recipients_max)
		return &too_many_rcpts;
	if (!domain_is_accepted(s, cmd->address))
		return &no_relay;
	return NULL;
}

static void
effect_rcpt(struct smtp_session *s, struct smtp_command *cmd)
{
	struct smtp_tx *tx = s->tx;
	(void)cmd;
	if (tx->is_doomed) {
		struct verdict v = tx->verdict;
		s->commands++; // the client may not know yet, but will not ask for ever
		smtp_log_refusal(s, EVENT_RCPT, &v);
		smtp_session_no(s, &v, false, NULL);
	} else if (tx->is_deleted || tx->rcpt_dropped) {
		smtp_relay_rcpt_accepted(tx, NULL);
	} else {
		smtp_relay_rcpt(tx);
	}
}

// --- DATA ---

static const struct smtp_refusal *
check_data(struct smtp_session *s, struct smtp_command *cmd)
{
	if (s->tx == NULL)
		return &no_mail;
	if (cmd->args.n > 0)
		return &no_arguments;
	if (s->tx->is_doomed)
		return NULL;
	if (s->tx->ev.rcpt_count == 0)
		return &no_recipients;
	if (smtp_is_pressed(s->smtp)) {
		COUNT(s->smtp->counters, SHED_MESSAGES);
		return &no_memory;
	}
	if (scanner_free_count(s->smtp->scanner) == 0) {
		COUNT(s->smtp->counters, SHED_MEMORY);
		return &no_memory;
	}
	return NULL;
}

static void
effect_data(struct smtp_session *s, struct smtp_command *cmd)
{
	struct smtp_tx *tx = s->tx;
	(void)cmd;
	CHECK(tx->is_doomed || tx->ev.rcpt_count > 0);
	if (!tx->is_doomed && !tx->is_deleted && tx->rcpt_passed == 0) {
		struct verdict v = tx->verdict; // all recipients were deleted
		smtp_tx_delete(tx, tx->verdict_event, &v);
	}
	if (!tx->is_doomed && !tx->is_deleted) {
		if (!smtp_tx_scan(tx)) {
			COUNT(s->smtp->counters, SHED_MEMORY);
			smtp_tx_doom_row(tx, &no_memory);
		}
	}
	if (tx->is_doomed) {
		struct verdict v = tx->verdict;
		COUNT(s->smtp->counters, MESSAGES_FAILED);
		smtp_log_refusal(s, EVENT_DATA, &v);
		smtp_session_no(s, &v, false, NULL);
		smtp_tx_close(s);
		return;
	}
	tx->phase = TX_BODY;
	smtp_tx_moved(tx);
	smtp_data_init(&tx->data);
	s->state = SMTP_DATA;
	smtp_session_arm_data(s);
	smtp_session_say(s, 354, "", "Start mail input; end with <CRLF>.<CRLF>");
}

// --- the others ---

static const struct smtp_refusal *
check_bare(struct smtp_session *s, struct smtp_command *cmd)
{
	(void)s;
	return cmd->args.n > 0 ? &no_arguments : NULL;
}

static const struct smtp_refusal *
check_any(struct smtp_session *s, struct smtp_command *cmd)
{
	(void)s;
	(void)cmd;
	return NULL;
}

static const struct smtp_refusal *
check_some(struct smtp_session *s, struct smtp_command *cmd)
{
	(void)s;
	return cmd->args.n == 0 ? &no_argument : NULL;
}

static void
effect_rset(struct smtp_session *s, struct smtp_command *cmd)
{
	(void)cmd;
	smtp_tx_close(s);
	smtp_session_say(s, 250, "2.0.0", "Reset OK");
}

static void
effect_noop(struct smtp_session *s, struct smtp_command *cmd)
{
	(void)cmd;
	smtp_session_say(s, 250, "2.0.0", "OK");
}

static void
effect_help(struct smtp_session *s, struct smtp_command *cmd)
{
	static const char text[] = "Commands:"
#define SMTP_VERB(id, name, event, check, effect, flags) " " name
#define SMTP_VERB_ABSENT(name)
#include "dataplane/smtp_verb.def"
#undef SMTP_VERB
#undef SMTP_VERB_ABSENT
		;
	(void)cmd;
	smtp_session_say(s, 214, "2.0.0", text);
}

static void
effect_vrfy(struct smtp_session *s, struct smtp_command *cmd)
{
	(void)cmd;
	smtp_session_say(s, 252, "2.1.5",
			 "Cannot VRFY user, but will take message and attempt delivery");
}

static void
effect_quit(struct smtp_session *s, struct smtp_command *cmd)
{
	(void)cmd;
	smtp_session_say(s, 221, "2.0.0", "Service closing transmission channel");
	smtp_session_end(s, DISCONNECT_QUIT_VERB, false);
}

// --- the table ---

struct verb_row {
	enum event event;
	verb_check_fn check;
	verb_effect_fn effect;
	uint32_t flags;
};

static const struct verb_row verb_rows[] = {
#define SMTP_VERB(id, name, event, check, effect, flags) {event, check, effect, flags},
#define SMTP_VERB_ABSENT(name)
#include "dataplane/smtp_verb.def"
#undef SMTP_VERB
#undef SMTP_VERB_ABSENT
};
static_assert(ARRAY_LEN(verb_rows) == SMTP_VERB_COUNT, "a row each");

// What the agents said. True: go on with the effect.
static bool
verb_verdict(struct smtp_session *s, enum event ev, struct verdict *v)
{
	struct smtp_tx *tx = s->tx;
	switch (v->action) {
	case ACTION_NONE:
	case ACTION_ACCEPT_MESSAGE:
		if (tx != NULL)
			smtp_tx_remark(tx, v);
		return true;
	case ACTION_DELETE_MESSAGE:
		if (tx != NULL && !tx->is_doomed)
			smtp_tx_delete(tx, ev, v);
		return true;
	case ACTION_DELETE_RECIPIENTS:
		if (tx != NULL && !tx->is_doomed && !tx->is_deleted) {
			tx->rcpt_dropped = true;
			tx->verdict = *v; // for the log, should no recipient be left
			tx->verdict_event = ev;
		}
		return true;
	case ACTION_DISCONNECT:
		smtp_session_drop(s, ev, v);
		return false;
	default:
		smtp_session_refuse(s, ev, v);
		break;
	}
	// Without MAIL or DATA there is no transaction; RejectMessage ends it wherever it comes.
	if (ev == EVENT_MAIL || ev == EVENT_DATA || v->action == ACTION_REJECT_MESSAGE)
		smtp_tx_close(s);
	return false;
}

static bool
verb_is_over_limit(struct smtp_session *s, const struct verb_row *row)
{
	if (row->flags & VERB_COUNTED)
		s->commands++;
	if (s->commands <= smtp_session_settings(s)->limits_commands_max)
		return false;
	COUNT(s->smtp->counters, TOO_MANY_ERRORS);
	smtp_session_say(s, 421, "4.7.0", "Too many commands, closing connection");
	smtp_session_end(s, DISCONNECT_TOO_MANY_ERRORS, true);
	return true;
}

void
smtp_verb_run(struct smtp_session *s, struct span line)
{
	struct smtp_command cmd;
	CHECK(s->state == SMTP_COMMAND);
	COUNT(s->smtp->counters, COMMANDS);
	if (line.n >= 4) // the verb, or what stands in its place
		trace_number(s->smtp->trace_ring, &s->trace_last, TRACE_SMTP_COMMAND,
			     load_be32(line.p));
	smtp_command_parse(line, &cmd);
	if (cmd.verb == SMTP_VERB_KNOWN) {
		// Without the arguments: AUTH's may be a password.
		struct span verb = span_trim(line);
		int64_t space = span_find(verb, ' ');
		if (space > 0)
			verb.n = (uint32_t)space;
		smtp_session_refuse_row(s, EVENT_REJECT, &absent_verb, verb);
		return;
	}
	if (cmd.verb == SMTP_VERB_UNKNOWN) {
		smtp_session_refuse_row(s, EVENT_REJECT, &unknown_verb, line);
		return;
	}
	CHECK(cmd.verb < SMTP_VERB_COUNT);
	const struct verb_row *row = &verb_rows[cmd.verb];
	enum event ev = row->event == SMTP_EVENT_NONE ? EVENT_REJECT : row->event;
	if (verb_is_over_limit(s, row))
		return;
	const struct smtp_refusal *no = NULL;
	if (line.n + 2 > SMTP_COMMAND_MAX && cmd.verb != SMTP_VERB_MAIL)
		no = &smtp_line_too_long;
	else if (!(row->flags & VERB_EARLY) && !s->greeted)
		no = &no_hello;
	else
		no = row->check(s, &cmd);
	if (no != NULL) {
		smtp_session_refuse_row(s, ev, no, line);
		if (cmd.verb == SMTP_VERB_DATA && no != &no_arguments)
			smtp_tx_close(s); // every final answer ends the transaction
		return;
	}
	if (row->event != SMTP_EVENT_NONE) {
		struct verdict v;
		(void)smtp_session_raise(s, row->event, &v, NULL);
		if (!verb_verdict(s, row->event, &v))
			return;
	}
	row->effect(s, &cmd);
}
