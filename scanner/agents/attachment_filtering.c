// SPDX-License-Identifier: Apache-2.0
// attachment_filtering: refuses messages with an attachment whose name or content type is listed.
//
// The text is Exchange's RejectResponse; the code before it, 550 5.7.1, is ours: Microsoft
// documents the text only, and no reply of an original was at hand to confirm the code. It is no
// anti-spam agent: an address on the IP allow list does not skip it.
#include "scanner/agents/agents.h"

static void
reject(struct event_ctx *e, struct verdict *v, const char *what, struct span listed, uint32_t line,
       const char *found)
{
	char rule[VERDICT_EVIDENCE_SIZE];
	struct strbuf b;
	strbuf_init(&b, rule, sizeof(rule));
	strbuf_add_str(&b, what);
	if (listed.n > 0) {
		strbuf_add_char(&b, ' ');
		strbuf_add(&b, listed);
	}
	verdict_set(
		v, ACTION_REJECT_MESSAGE, 550, "5.7.1",
		policy_text(e->policy, e->policy->settings->attachment_filtering_reject_response),
		span_str(found));
	verdict_set_rule(v, rule, line);
	verdict_set_evidence(v, span_str(found));
}

void
agent_attachment_filtering_handle(struct event_ctx *e, struct verdict *v)
{
	CHECK(e->scan != NULL);
	const struct policy_view *p = e->policy;
	// A row number beyond the list is of a scan that began under another policy: the finding
	// stands, only its line cannot be named.
	if (e->scan->name_count > 0) {
		const struct scan_finding *f = &e->scan->name[0];
		bool known = f->id < p->count[POLICY_NAMES];
		reject(e, v, "blocked file name",
		       known ? policy_text(p, p->names[f->id].text) : SPAN_NONE,
		       known ? p->names[f->id].line : 0, f->text);
	} else if (e->scan->type_count > 0) {
		const struct scan_finding *f = &e->scan->type[0];
		bool known = f->id < p->count[POLICY_TYPES];
		reject(e, v, "blocked content type",
		       known ? policy_text(p, p->types[f->id].text) : SPAN_NONE,
		       known ? p->types[f->id].line : 0, f->text);
	}
}
