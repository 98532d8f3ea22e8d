// SPDX-License-Identifier: Apache-2.0
// policy_build: makes a policy image row by row; the counterpart of policy_view_open.
//
// Who calls it: posternd's compiler, and tests that need a policy without YAML. Memory: heap, owned
// by the builder until policy_build_finish hands the image over (free it with free()). The builder
// sorts what the format wants sorted, lower-cases addresses, derives ORDER from AGENTS, and fills
// head and checksum. policy_build_open starts with every default of setting.def, the agents enabled
// at their default priorities, and no other rows. Errors: out of memory or beyond a limit sets
// `failed`; policy_build_finish then returns NULL.
#pragma once

#include "control/abi/policy.h"

struct policy_build;

struct policy_build *must_use policy_build_open(void);
void policy_build_close(struct policy_build **b);
struct policy_settings *policy_build_settings(struct policy_build *b); // to be changed in place
struct policy_agent *policy_build_agents(struct policy_build *b);      // [AGENT_COUNT], likewise
struct policy_str policy_build_str(struct policy_build *b, struct span s);
// Appends one row, copied; returns its index before sorting. Sizes are CHECKed against the section.
uint32_t policy_build_row(struct policy_build *b, enum policy_section_id s, const void *row,
			  size_t size);
// A port with one address, untagged; with more of them, make the row by hand.
void policy_build_port(struct policy_build *b, const char *name, const char *device,
		       struct ipaddr addr, uint32_t prefix_bits);
void policy_build_bytes(struct policy_build *b, enum policy_section_id s, const void *p, size_t n);
// For tests and benches: one port, one core, one inbound listener on port 25 and one inbound hop,
// the least that policy_view_open accepts.
void policy_build_least(struct policy_build *b);
// The finished image (malloc) and its size; NULL when something failed.
void *must_use policy_build_finish(struct policy_build *b, uint64_t generation, size_t *size);
