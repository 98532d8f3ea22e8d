// SPDX-License-Identifier: Apache-2.0
// model: the words that every process shares: events, agents, actions, reasons, directions, and
// what overload does.
//
// What for: one enum a table (.def), with the names that people see. Who calls it: control, scanner
// and dataplane. Memory: constant. Errors: name functions give "?" for a number out of range, since
// numbers may come from shared memory.
#pragma once

#include "control/base/span.h"

enum event {
#define EVENT(id, name, stage) EVENT_##id,
#include "control/abi/event.def"
#undef EVENT
	EVENT_COUNT
};
#define EVENT_BIT(id) (1u << EVENT_##id)

enum action {
#define ACTION(id, name) ACTION_##id,
#include "control/abi/action.def"
#undef ACTION
	ACTION_COUNT
};

enum agent_id {
#define AGENT(id, name, prio, events) AGENT_##id,
#include "control/abi/agent.def"
#undef AGENT
	AGENT_COUNT
};
#define AGENT_NONE 0xff // in a log record: no agent, the protocol itself

enum disconnect_reason {
#define DISCONNECT(id, name) DISCONNECT_##id,
#include "control/abi/disconnect.def"
#undef DISCONNECT
	DISCONNECT_COUNT
};

enum shed_level {
#define SHED_LEVEL(id, gives) SHED_##id,
#define SHED_RESOURCE(id, name)
#include "control/abi/shed.def"
#undef SHED_LEVEL
#undef SHED_RESOURCE
	SHED_LEVELS
};

enum shed_resource {
#define SHED_LEVEL(id, gives)
#define SHED_RESOURCE(id, name) SHED_##id,
#include "control/abi/shed.def"
#undef SHED_LEVEL
#undef SHED_RESOURCE
	SHED_RESOURCES
};

enum direction { DIRECTION_INBOUND, DIRECTION_OUTBOUND, DIRECTION_COUNT };

const char *event_name(uint32_t event);
const char *action_name(uint32_t action);
const char *agent_name(uint32_t agent);
uint32_t agent_events(uint32_t agent);        // a mask of EVENT_BIT
uint32_t agent_default_place(uint32_t agent); // 1..N, in the order of Exchange's priorities
bool agent_find(struct span name, enum agent_id *out); // without case, "-", "_" and " " are alike
const char *disconnect_name(uint32_t reason);
const char *direction_name(uint32_t direction);
const char *shed_level_name(uint32_t level); // what gives way; "" when nothing does
const char *shed_resource_name(uint32_t resource);
