// SPDX-License-Identifier: Apache-2.0
// machine_sig: a fingerprint of the parts of a policy that the dataplane reads only when it starts
// (ports, cores, listeners, the section `machine`), so that a change of them can be reported by
// name.
//
// Who calls it: posternd's runtime. Memory: the caller's. What can go wrong: the region holds no
// sound image: the fingerprint is unknown, and an unknown one differs from nothing.
#pragma once

#include "control/abi/region.h"
#include "control/schema.h"

struct machine_sig {
	bool is_known;
	uint64_t ports, cores, listeners;
	uint64_t setting[SETTING_COUNT]; // those of which schema_is_restart says so
};

void machine_sig_of(struct machine_sig *s, const struct policy_view *v);
void machine_sig_of_region(struct machine_sig *s, const struct region *r);
// The names of what differs: "machine.ports, machine.frames".
void machine_sig_diff(const struct machine_sig *a, const struct machine_sig *b, struct strbuf *out);
