// SPDX-License-Identifier: Apache-2.0
// recipient_filter: blocked recipients, and recipients that do not exist.
//
// Both get Exchange's `550 5.1.1 User unknown`, delayed (TarpitInterval) against those who try
// names out. As with Exchange only recipients of accepted domains are looked up in the recipient
// table, while the block list applies to every domain. Without any accepted domain all inbound
// recipients are looked up. <postmaster> without a domain is always taken (RFC 5321 4.5.1).
#include "scanner/agents/agents.h"

static void
unknown(struct verdict *v, struct span rcpt)
{
	verdict_set(v, ACTION_REJECT_COMMAND, 550, "5.1.1", SPAN_LIT("User unknown"), SPAN_NONE);
	v->tarpit = true;
	verdict_set_evidence(v, rcpt);
}

static bool
is_validated(const struct event_ctx *e, struct span rcpt)
{
	if (!e->policy->settings->recipient_filter_recipient_validation)
		return false;
	if (span_eq_nocase(rcpt, SPAN_LIT("postmaster")))
		return false;
	if (e->policy->count[POLICY_ACCEPTED_DOMAINS] == 0)
		return e->session->direction == DIRECTION_INBOUND;
	return policy_addr_find(e->policy, POLICY_ACCEPTED_DOMAINS, rcpt) != NULL;
}

void
agent_recipient_filter_handle(struct event_ctx *e, struct verdict *v)
{
	CHECK(e->tx != NULL);
	struct span rcpt = e->tx->rcpt;
	// An allowed address skips the block list, not the validation: see connection_filtering.c.
	if (e->policy->settings->recipient_filter_block_list && !agents_antispam_bypassed(e)) {
		const struct policy_addr *hit =
			policy_addr_find(e->policy, POLICY_BLOCKED_RECIPIENTS, rcpt);
		if (hit != NULL) {
			unknown(v, rcpt);
			verdict_set_rule(v, policy_list_name(POLICY_BLOCKED_RECIPIENTS), hit->line);
			return;
		}
	}
	if (is_validated(e, rcpt) && policy_addr_find(e->policy, POLICY_RECIPIENTS, rcpt) == NULL) {
		struct strbuf b;
		unknown(v, rcpt);
		strbuf_init(&b, v->rule, sizeof(v->rule));
		strbuf_add_str(&b, "not in the ");
		strbuf_add_str(&b, policy_list_name(POLICY_RECIPIENTS));
	}
}
