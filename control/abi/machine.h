// SPDX-License-Identifier: Apache-2.0
// machine: a fingerprint of the parts of a policy that the dataplane reads only when it starts
// (ports, cores, listeners, the section `machine`), so that a change of them can be told by name.
//
// Who calls it: the dataplane when it boots, into the region's head; posternd for the policy that
// it publishes. Both use this one function, and policy_layout() keeps programs with other options
// apart. Memory: the caller's; the one in the region is another process's word and may hold
// anything: it is only compared. What can go wrong: no dataplane has booted yet: the fingerprint is
// unknown, and an unknown one differs from nothing.
#pragma once

#include "control/abi/policy.h"

#define MACHINE_PARTS_MAX 32u

struct machine_sig {
	uint64_t is_known;                // 1; written last, read first
	uint64_t part[MACHINE_PARTS_MAX]; // ports, cores, listeners, options; without line numbers
};

void machine_sig_of(struct machine_sig *s, const struct policy_view *v);
// The names of what differs: "machine.ports, machine.frames".
void machine_sig_diff(const struct machine_sig *a, const struct machine_sig *b, struct strbuf *out);
