// SPDX-License-Identifier: Apache-2.0
// content_filter: the spam confidence level from the operator's phrases, and what follows from it.
//
// As with Exchange: one GoodWord makes the SCL 0, whatever else was found; else one BadWord makes
// it 9; else it is 0. Thresholds are compared with >=, Delete before Reject. A message from an
// allowed address is not rated: SCL -1. A sender that Sender Filter stamped (StampStatus) changes
// the SCL of Exchange in a way that Microsoft never published; here the stamp is told in the rule
// and changes nothing.
#include "scanner/agents/agents.h"

static void
remark(struct verdict *v, const char *text)
{
	struct strbuf b;
	strbuf_init(&b, v->rule, sizeof(v->rule));
	strbuf_add_str(&b, text);
}

static void
phrase_tell(const struct event_ctx *e, struct verdict *v, const char *what,
	    const struct scan_finding *found)
{
	// The scan may have begun under another policy; then the row's number means nothing here.
	if (found->id >= e->policy->count[POLICY_PHRASES]) {
		remark(v, what);
		return;
	}
	const struct policy_phrase *p = &e->policy->phrases[found->id];
	verdict_set_rule(v, what, p->line);
	verdict_set_evidence(v, policy_text(e->policy, p->text));
}

void
agent_content_filter_handle(struct event_ctx *e, struct verdict *v)
{
	CHECK(e->tx != NULL);
	CHECK(e->scan != NULL);
	struct event_tx *tx = e->tx;
	const struct policy_settings *set = e->policy->settings;
	tx->scl_is_set = true;
	if (agents_antispam_bypassed(e)) {
		tx->scl = -1;
		remark(v, "not rated: the address is on the IP allow list");
		return;
	}
	tx->scl = 0;
	if (e->scan->good_count > 0) {
		const char *what = e->scan->bad_count > 0 ? "GoodWord phrase, wins over BadWord"
							  : "GoodWord phrase";
		phrase_tell(e, v, what, &e->scan->good[0]);
	} else if (e->scan->bad_count > 0) {
		tx->scl = 9;
		phrase_tell(e, v, "BadWord phrase", &e->scan->bad[0]);
	} else if (tx->sender_is_blocked) {
		remark(v, tx->sender_rule); // the dataplane adds the mark to the evidence
	}
	uint32_t scl = (uint32_t)tx->scl;
	if (set->content_filter_scl_delete && scl >= set->content_filter_scl_delete_threshold)
		verdict_set(v, ACTION_DELETE_MESSAGE, 0, "", SPAN_NONE, SPAN_NONE);
	else if (set->content_filter_scl_reject && scl >= set->content_filter_scl_reject_threshold)
		verdict_set(v, ACTION_REJECT_MESSAGE, 550, "5.7.1",
			    policy_text(e->policy, set->content_filter_rejection_response),
			    SPAN_NONE);
}
