// SPDX-License-Identifier: Apache-2.0
// sender_filter: blocked senders, in MAIL FROM and in the From: header.
//
// Reply and end of the session are Exchange's: `554 5.1.0 Sender Denied`, then the connection is
// closed. With StampStatus nothing is refused; the transaction is marked instead. A blank sender,
// when those are blocked, is treated like a listed one. At OnEndOfHeaders only the first From: is
// judged; a second one makes the message ambiguous, which the scanner reports on its own.
#include "scanner/agents/agents.h"

// v->rule is set already.
static void
blocked(struct event_ctx *e, struct verdict *v, enum action action, struct span sender)
{
	if (e->policy->settings->sender_filter_action == SENDER_ACTION_STAMP_STATUS) {
		struct strbuf b;
		strbuf_init(&b, e->tx->sender_rule, sizeof(e->tx->sender_rule));
		strbuf_add_str(&b, v->rule);
		e->tx->sender_is_blocked = true;
	} else {
		verdict_set(v, action, 554, "5.1.0", SPAN_LIT("Sender Denied"), SPAN_NONE);
		v->close = true;
	}
	verdict_set_evidence(v, sender);
}

// A switch in the configuration: there is no line to name.
static void
blank(struct event_ctx *e, struct verdict *v, enum action action)
{
	struct strbuf b;
	strbuf_init(&b, v->rule, sizeof(v->rule));
	strbuf_add_str(&b, "blank sender");
	blocked(e, v, action, SPAN_LIT("<>"));
}

void
agent_sender_filter_handle(struct event_ctx *e, struct verdict *v)
{
	CHECK(e->tx != NULL);
	if (e->event == EVENT_MAIL)
		e->tx->sender_is_blocked = false;
	if (agents_antispam_bypassed(e))
		return;
	enum action action = ACTION_REJECT_COMMAND;
	struct span sender = e->tx->from;
	if (e->event == EVENT_END_OF_HEADERS) {
		CHECK(e->scan != NULL);
		action = ACTION_REJECT_MESSAGE;
		sender = span_str(e->scan->header_from);
	} else if (sender.n == 0) {
		if (e->policy->settings->sender_filter_blank_sender_blocking)
			blank(e, v, action);
		return;
	}
	if (sender.n == 0)
		return;
	const struct policy_addr *hit = policy_addr_find(e->policy, POLICY_BLOCKED_SENDERS, sender);
	if (hit == NULL)
		return;
	bool is_domain = hit->kind != ADDR_EXACT;
	verdict_set_rule(v, is_domain ? "blocked domain" : policy_list_name(POLICY_BLOCKED_SENDERS),
			 hit->line);
	blocked(e, v, action, sender);
}
