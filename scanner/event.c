// SPDX-License-Identifier: Apache-2.0
// event: the dispatcher, and the words with which agents fill a verdict.
#include "scanner/event.h"

#include <string.h>

#include "scanner/agents/agents.h"

static const agent_fn handlers[AGENT_COUNT] = {
#define AGENT(id, name, prio, events) [AGENT_##id] = agent_##id##_handle,
#include "control/abi/agent.def"
#undef AGENT
};

void
verdict_init(struct verdict *v)
{
	// The texts are 570 bytes; an empty string needs one. This runs once an agent and event.
	v->action = ACTION_NONE;
	v->agent = AGENT_NONE;
	v->reply_code = 0;
	v->close = false;
	v->tarpit = false;
	v->enhanced[0] = '\0';
	v->text[0] = '\0';
	v->rule[0] = '\0';
	v->evidence[0] = '\0';
}

// Texts come from the operator and from the message, and go into replies and logs.
static void
sanitise(char *text, size_t size)
{
	text[size - 1] = '\0';
	for (size_t i = 0; text[i] != '\0'; i++)
		if (text[i] < ' ' || text[i] > '~')
			text[i] = '?';
}

// For the log only, which escapes what is not UTF-8.
static void
sanitise_log(char *text, size_t size)
{
	text[size - 1] = '\0';
	for (size_t i = 0; text[i] != '\0'; i++)
		if ((uint8_t)text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
}

static void
verdict_sanitise(struct verdict *v)
{
	sanitise(v->enhanced, sizeof(v->enhanced));
	sanitise(v->text, sizeof(v->text));
	sanitise_log(v->rule, sizeof(v->rule));
	sanitise_log(v->evidence, sizeof(v->evidence));
}

// Nothing can be decided any more in these, so every agent hears of them.
static bool
event_calls_all(enum event event)
{
	return event == EVENT_REJECT || event == EVENT_DISCONNECT;
}

static void
agent_run(struct event_ctx *e, uint32_t agent, struct verdict *v)
{
	verdict_init(v);
	v->agent = agent;
	handlers[agent](e, v);
	CHECK((uint32_t)v->action < ACTION_COUNT);
	CHECK(v->agent == agent);
	CHECK(v->reply_code == 0 || (v->reply_code >= 400 && v->reply_code <= 599));
	verdict_sanitise(v);
	if (v->action != ACTION_NONE)
		counter_add(&e->counters->actions[agent][v->action], 1);
	if (e->trace != NULL)
		e->trace(e->trace_ctx, e->event, agent, v);
}

enum action
event_raise(struct event_ctx *e, struct verdict *v)
{
	CHECK(e != NULL);
	CHECK(v != NULL);
	CHECK((uint32_t)e->event < EVENT_COUNT);
	CHECK(e->policy != NULL);
	CHECK(e->session != NULL);
	CHECK(e->counters != NULL);
	verdict_init(v);
	counter_add(&e->counters->events[e->event], 1);
	if (e->trace != NULL)
		e->trace(e->trace_ctx, e->event, AGENT_NONE, v);
	const struct policy_order *order = &e->policy->order[e->event];
	for (uint32_t i = 0; i < order->count; i++) {
		uint32_t agent = order->agent[i];
		CHECK(agent < AGENT_COUNT); // policy_view_open has seen to it
		struct verdict one;
		agent_run(e, agent, &one);
		if (one.action != ACTION_NONE && v->action == ACTION_NONE) {
			*v = one;
			if (!event_calls_all(e->event))
				break;
		} else if (v->action == ACTION_NONE && one.rule[0] != '\0') {
			// A remark of an agent that let it pass: why, for the log line.
			memcpy(v->rule, one.rule, sizeof(v->rule));
			memcpy(v->evidence, one.evidence, sizeof(v->evidence));
		}
	}
	return v->action;
}

void
verdict_set(struct verdict *v, enum action action, uint16_t code, const char *enhanced,
	    struct span text, struct span subject)
{
	CHECK(v != NULL);
	CHECK((uint32_t)action < ACTION_COUNT);
	CHECK(code == 0 || (code >= 400 && code <= 599));
	v->action = action;
	v->reply_code = code;
	struct strbuf b;
	strbuf_init(&b, v->enhanced, sizeof(v->enhanced));
	strbuf_add_str(&b, enhanced);
	CHECK(!b.truncated);
	strbuf_init(&b, v->text, sizeof(v->text));
	uint32_t from = 0; // of what is not copied yet
	for (uint32_t i = 0; i + 3 <= text.n; i++) {
		if (memcmp(text.p + i, "{0}", 3) != 0)
			continue;
		strbuf_add(&b, span_sub(text, from, i - from));
		strbuf_add(&b, subject);
		from = i + 3;
		i += 2;
	}
	strbuf_add(&b, span_from(text, from));
	// Here as well as in event_raise: a NUL within must not end the text for those who sanitise
	// it.
	for (uint32_t i = 0; i < b.len; i++)
		if (b.p[i] < ' ' || b.p[i] > '~')
			b.p[i] = '?';
}

void
verdict_set_rule(struct verdict *v, const char *list, uint32_t line)
{
	struct strbuf b, tail;
	char where[32];
	strbuf_init(&tail, where, sizeof(where));
	if (line == 0)
		strbuf_add_str(&tail, " (added with the CLI)");
	else
		strbuf_addf(&tail, " (line %u)", line);
	CHECK(!tail.truncated);
	// The line is what the operator looks for: a long list name is cut before it.
	strbuf_init(&b, v->rule, sizeof(v->rule));
	strbuf_add(&b, span_sub(span_str(list), 0, (uint32_t)sizeof(v->rule) - 1 - tail.len));
	strbuf_add(&b, strbuf_span(&tail));
	CHECK(!b.truncated);
	sanitise_log(v->rule, sizeof(v->rule));
}

void
verdict_set_evidence(struct verdict *v, struct span evidence)
{
	struct strbuf b;
	strbuf_init(&b, v->evidence, sizeof(v->evidence));
	strbuf_add(&b, evidence);
	for (uint32_t i = 0; i < b.len; i++) // a NUL within must not end the text
		if ((uint8_t)b.p[i] < ' ' || b.p[i] == 0x7f)
			b.p[i] = '?';
}
