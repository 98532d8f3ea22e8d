// SPDX-License-Identifier: Apache-2.0
// agents: the handlers of the built-in agents, one file each; the table is control/abi/agent.def.
#pragma once

#include "scanner/event.h"
#include "scanner/scan.h"

#define AGENT(id, name, prio, events)                                                              \
	void agent_##id##_handle(struct event_ctx *e, struct verdict *v);
#include "control/abi/agent.def"
#undef AGENT

// Whether the anti-spam agents are skipped for this session. The bag holds Connection Filtering's
// last word; it counts no more when that agent has been switched off since.
static inline bool
agents_antispam_bypassed(const struct event_ctx *e)
{
	return e->session->antispam_bypass && e->policy->agents[AGENT_connection_filtering].enabled;
}
