// SPDX-License-Identifier: Apache-2.0
// policy_use: a policy in the dataplane's own memory, with its patterns loaded.
//
// What for: workers and their transactions read one immutable object; the copy out of shared
// memory, the validation and the loading of the pattern databases happen beforehand, off the packet
// path. Who calls it: policy_use_open and _close in the main thread only; workers read. Memory: one
// object with the image and the matcher, freed when every worker reports that it uses only later
// ones (worker_policy_uses). What can go wrong: a bad image gives NULL and a reason; the old policy
// stays.
#pragma once

#include "scanner/match.h"

struct policy_use {
	uint64_t generation;
	struct policy_view view;
	struct matcher *matcher;
	void *image; // ours
};

// Takes the image (malloc), also when it fails (then it is freed). `workers`: how many will scan
// with it.
struct policy_use *must_use policy_use_open(void *image, size_t size, uint32_t workers,
					    struct strbuf *why);
void policy_use_close(struct policy_use **p);
