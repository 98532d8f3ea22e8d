// SPDX-License-Identifier: Apache-2.0
// model: the names of the shared words, made from the .def tables.
#include "control/abi/model.h"

#define UNKNOWN "?"

static const char *const event_names[EVENT_COUNT] = {
#define EVENT(id, name, stage) [EVENT_##id] = name,
#include "control/abi/event.def"
#undef EVENT
};

static const char *const action_names[ACTION_COUNT] = {
#define ACTION(id, name) [ACTION_##id] = name,
#include "control/abi/action.def"
#undef ACTION
};

static const char *const disconnect_names[DISCONNECT_COUNT] = {
#define DISCONNECT(id, name) [DISCONNECT_##id] = name,
#include "control/abi/disconnect.def"
#undef DISCONNECT
};

static const char *const direction_names[DIRECTION_COUNT] = {
	[DIRECTION_INBOUND] = "inbound",
	[DIRECTION_OUTBOUND] = "outbound",
};

static const char *const shed_levels[SHED_LEVELS] = {
#define SHED_LEVEL(id, gives) [SHED_##id] = gives,
#define SHED_RESOURCE(id, name)
#include "control/abi/shed.def"
#undef SHED_LEVEL
#undef SHED_RESOURCE
};

static const char *const shed_resources[SHED_RESOURCES] = {
#define SHED_LEVEL(id, gives)
#define SHED_RESOURCE(id, name) [SHED_##id] = name,
#include "control/abi/shed.def"
#undef SHED_LEVEL
#undef SHED_RESOURCE
};

static const struct {
	const char *name;
	uint32_t original_priority; // Exchange's, with gaps where agents are that we do not have
	uint32_t events;
} agents[AGENT_COUNT] = {
#define AGENT(id, name, prio, events) [AGENT_##id] = {name, prio, events},
#include "control/abi/agent.def"
#undef AGENT
};
static_assert(AGENT_COUNT < AGENT_NONE, "AGENT_NONE is no agent");
static_assert(EVENT_COUNT <= 32, "events fit a mask");

const char *
event_name(uint32_t event)
{
	return event < EVENT_COUNT ? event_names[event] : UNKNOWN;
}

const char *
action_name(uint32_t action)
{
	return action < ACTION_COUNT ? action_names[action] : UNKNOWN;
}

const char *
agent_name(uint32_t agent)
{
	return agent < AGENT_COUNT ? agents[agent].name : UNKNOWN;
}

uint32_t
agent_events(uint32_t agent)
{
	return agent < AGENT_COUNT ? agents[agent].events : 0;
}

uint32_t
agent_default_place(uint32_t agent)
{
	if (agent >= AGENT_COUNT)
		return 0;
	uint32_t rank = 1;
	for (uint32_t i = 0; i < AGENT_COUNT; i++)
		if (agents[i].original_priority < agents[agent].original_priority)
			rank++;
	return rank;
}

static uint8_t
fold(uint8_t c)
{
	return c == '-' || c == '_' ? ' ' : ascii_lower(c);
}

bool
agent_find(struct span name, enum agent_id *out)
{
	CHECK(out != NULL);
	for (uint32_t a = 0; a < AGENT_COUNT; a++) {
		struct span known = span_str(agents[a].name);
		uint32_t i = 0;
		while (i < name.n && i < known.n && fold(name.p[i]) == fold(known.p[i]))
			i++;
		if (i == known.n && i == name.n) {
			*out = (enum agent_id)a;
			return true;
		}
	}
	return false;
}

const char *
disconnect_name(uint32_t reason)
{
	return reason < DISCONNECT_COUNT ? disconnect_names[reason] : UNKNOWN;
}

const char *
direction_name(uint32_t direction)
{
	return direction < DIRECTION_COUNT ? direction_names[direction] : UNKNOWN;
}

const char *
shed_level_name(uint32_t level)
{
	return level < SHED_LEVELS ? shed_levels[level] : UNKNOWN;
}

const char *
shed_resource_name(uint32_t resource)
{
	return resource < SHED_RESOURCES ? shed_resources[resource] : UNKNOWN;
}
