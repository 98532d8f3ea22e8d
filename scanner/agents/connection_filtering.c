// SPDX-License-Identifier: Apache-2.0
// connection_filtering: the IP allow list, then the IP block list.
//
// Both are looked up with the policy of the moment at every event, so that an entry made with the
// CLI acts on sessions that are open already. As with Exchange a blocked address is not cut at
// once: the session goes on to RCPT TO, so that sender and recipients can be logged, and is refused
// there. A session that was blocked after its last RCPT TO is refused at OnEndOfHeaders.
//
// What an allowed address skips. Exchange: "all other anti-spam agents". These are, of what we
// have: Sender Filter, Content Filter (SCL -1) and the block list of Recipient Filter. Recipient
// validation stays: a recipient that does not exist does not come to exist by who asks, and taking
// the message would only make a bounce. Attachment Filtering is no anti-spam agent and stays.
#include "scanner/agents/agents.h"

static void
reject(struct event_ctx *e, struct verdict *v, enum action action)
{
	struct event_session *s = e->session;
	const struct policy_prefix *hit =
		policy_ip_find(e->policy, POLICY_IP_BLOCK, &s->client, e->now_s);
	if (hit == NULL)
		return;
	char text[IPADDR_TEXT_SIZE];
	struct strbuf b;
	strbuf_init(&b, text, sizeof(text));
	ipaddr_format(&b, &s->client);
	struct span response =
		policy_text(e->policy, e->policy->settings->connection_filtering_reject_response);
	verdict_set(v, action, 550, "5.7.1", response, strbuf_span(&b));
	verdict_set_rule(v, policy_list_name(POLICY_IP_BLOCK), hit->line);
	verdict_set_evidence(v, strbuf_span(&b));
}

void
agent_connection_filtering_handle(struct event_ctx *e, struct verdict *v)
{
	CHECK(e->session != NULL);
	struct event_session *s = e->session;
	const struct policy_prefix *allowed =
		policy_ip_find(e->policy, POLICY_IP_ALLOW, &s->client, e->now_s);
	s->antispam_bypass = allowed != NULL;
	if (allowed != NULL) {
		char text[IPADDR_TEXT_SIZE];
		struct strbuf b;
		strbuf_init(&b, text, sizeof(text));
		ipaddr_format(&b, &s->client);
		verdict_set_rule(v, policy_list_name(POLICY_IP_ALLOW), allowed->line);
		verdict_set_evidence(v, strbuf_span(&b));
		return;
	}
	if (e->event == EVENT_RCPT)
		reject(e, v, ACTION_REJECT_COMMAND);
	else if (e->event == EVENT_END_OF_HEADERS)
		reject(e, v, ACTION_REJECT_MESSAGE);
}
