// SPDX-License-Identifier: Apache-2.0
// api_agent: `postern agent ..` and `postern pipeline`.
//
// The pipeline is read from the compiled policy, so it shows what will happen before any mail has
// come.
#include "control/api.h"

#include <string.h>

static json_t *
agent_events_text(enum agent_id a)
{
	char text[256];
	struct strbuf b;

	strbuf_init(&b, text, sizeof(text));
	for (uint32_t e = 0; e < EVENT_COUNT; e++) {
		if ((agent_events(a) >> e & 1) == 0)
			continue;
		strbuf_addf(&b, "%s%s", b.len > 0 ? " " : "", event_name(e));
	}
	return api_text(strbuf_span(&b));
}

void
api_agent_list(struct api_call *c)
{
	static const struct api_column columns[] = {
		{"priority", "PRIORITY"}, {"agent", "AGENT"},   {"enabled", "ENABLED"},
		{"set_by", "SET BY"},     {"events", "EVENTS"},
	};

	if (!api_has_policy(c))
		return;
	c->data = json_array();
	for (uint32_t i = 1; i <= AGENT_COUNT; i++) {
		struct runtime_agent a = runtime_agent_at(c->api->runtime, i);
		const char *by = a.enabled_from_cli || a.priority_from_cli ? "cli" : "file";
		json_t *row = json_pack("{s:i, s:s, s:b, s:s, s:o}", "priority", (int)a.priority,
					"agent", agent_name(a.agent), "enabled", a.enabled,
					"set_by", by, "events", agent_events_text(a.agent));
		(void)json_array_append_new(c->data, row);
	}
	api_table(c, c->data, columns, ARRAY_LEN(columns));
}

// False: the errors say what is wrong.
static bool
agent_arg(struct api_call *c, enum agent_id *out)
{
	const char *name = api_arg(c, "name");
	char known[256];
	struct strbuf b;

	if (name == NULL) {
		api_error(c, "agent: NAME is missing");
		c->exit = API_USAGE;
		return false;
	}
	if (agent_find(span_str(name), out))
		return true;
	strbuf_init(&b, known, sizeof(known));
	for (uint32_t a = 0; a < AGENT_COUNT; a++)
		strbuf_addf(&b, "%s%s", a > 0 ? ", " : "", agent_name(a));
	api_error(c, "there is no agent \"%s\"; the agents are: %s", name, known);
	return false;
}

static void
agent_set_enabled(struct api_call *c, bool enabled)
{
	struct diag_list d;
	enum agent_id a;

	if (!agent_arg(c, &a))
		return;
	diag_init(&d, NULL);
	enum runtime_result r = runtime_agent_enable(c->api->runtime, a, enabled, &d);
	api_diags(c, &d);
	diag_fini(&d);
	if (r == RUNTIME_OK)
		api_changed(c, "agent %s %s", agent_name(a), enabled ? "enabled" : "disabled");
	else
		c->exit = API_REFUSED;
}

void
api_agent_enable(struct api_call *c)
{
	agent_set_enabled(c, true);
}

void
api_agent_disable(struct api_call *c)
{
	agent_set_enabled(c, false);
}

void
api_agent_priority(struct api_call *c)
{
	struct diag_list d;
	enum agent_id a;
	uint32_t n;

	if (!agent_arg(c, &a) || !api_number(c, "n", "N", 1, AGENT_COUNT, 0, &n))
		return;
	if (n == 0) {
		api_error(c, "agent priority: N is missing");
		c->exit = API_USAGE;
		return;
	}
	diag_init(&d, NULL);
	enum runtime_result r = runtime_agent_priority(c->api->runtime, a, n, &d);
	api_diags(c, &d);
	diag_fini(&d);
	if (r == RUNTIME_OK)
		api_changed(c, "agent %s has priority %u", agent_name(a), n);
	else
		c->exit = API_REFUSED;
}

void
api_agent_reset(struct api_call *c)
{
	enum agent_id a = AGENT_COUNT;
	struct diag_list d;

	if (api_arg(c, "name") != NULL && !agent_arg(c, &a))
		return;
	diag_init(&d, NULL);
	enum runtime_result r = runtime_agent_reset(c->api->runtime, a, &d);
	api_diags(c, &d);
	diag_fini(&d);
	if (r != RUNTIME_OK)
		c->exit = API_REFUSED;
	else if (a == AGENT_COUNT)
		api_changed(c, "all agents are as in the file");
	else
		api_changed(c, "agent %s is as in the file", agent_name(a));
}

void
api_pipeline_show(struct api_call *c)
{
	const struct policy_view *v = runtime_view(c->api->runtime);

	if (!api_has_policy(c))
		return;
	CHECK(v != NULL);
	c->data = json_array();
	api_printf(c, "%-24s%s\n", "EVENT", "AGENTS, FIRST TO LAST");
	for (uint32_t e = 0; e < EVENT_COUNT; e++) {
		const struct policy_order *o = &v->order[e];
		json_t *agents = json_array();
		CHECK(o->count <= ARRAY_LEN(o->agent)); // policy_view_open has seen to it
		api_printf(c, "%-24s", event_name(e));
		for (uint32_t i = 0; i < o->count; i++) {
			uint32_t a = o->agent[i];
			CHECK(a < AGENT_COUNT);
			uint32_t priority = v->agents[a].priority;
			json_t *row = json_pack("{s:s, s:i}", "agent", agent_name(a), "priority",
						(int)priority);
			(void)json_array_append_new(agents, row);
			api_printf(c, "%s%u %s", i > 0 ? ", " : "", priority, agent_name(a));
		}
		api_printf(c, o->count == 0 ? "-\n" : "\n");
		json_t *row = json_pack("{s:s, s:o}", "event", event_name(e), "agents", agents);
		(void)json_array_append_new(c->data, row);
	}
}
