// SPDX-License-Identifier: Apache-2.0
// policy_compile: the configuration and the store's overlay, made into a policy image.
//
// Who calls it: posternd's runtime, on its one thread. Memory: the image is malloc'ed and becomes
// the caller's; the compiler object keeps the last pattern databases by the hash of their texts, so
// that a change of an IP list or of an agent costs milliseconds and not seconds. What can go wrong:
// a pattern that cannot be compiled, an image over POLICY_IMAGE_MAX, no memory: NULL, with the
// reason and the line of the pattern in the list of diagnostics. Every image is opened with
// policy_view_open before it is given out: what the dataplane would refuse never gets there.
#pragma once

#include "control/config.h"
#include "control/store.h"

struct policy_compiler;

struct policy_compiler *must_use policy_compiler_open(void);
void policy_compiler_close(struct policy_compiler **c);
uint32_t
policy_compiler_compiled(const struct policy_compiler *c); // pattern databases compiled so far

// overlay may be NULL (none). Entries that expired before now_s are left out.
void *must_use policy_compile(struct policy_compiler *c, const struct config *config,
			      const struct store_overlay *overlay, uint64_t generation,
			      uint64_t now_s, struct diag_list *d, size_t *size);

// The agents as they are in the end: `out` gets priority 1..N and enabled, file and overlay
// combined.
void policy_agents_merge(const struct config *config, const struct store_overlay *overlay,
			 struct policy_agent out[AGENT_COUNT]);
