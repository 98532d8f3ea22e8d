// SPDX-License-Identifier: Apache-2.0
// policy_feed: the way of policies from the region to the workers, and their end.
//
// What for: takes newer images out of the region, loads them, offers them to the workers, and frees
// the old ones when no worker and no transaction uses them. Who calls it: the main thread. Memory:
// the policies; at most POLICY_FEED_MAX at once, more wait in the region. That many cannot be
// in use: transactions hold at most SMTP_POLICIES_MAX (the oldest are ended, see smtp.h). What can
// go wrong: an image that is bad: refused as a whole, posternd reads the reason in the region, the
// old policy stays in force.
#pragma once

#include "control/abi/region.h"
#include "dataplane/policy_use.h"
#include "dataplane/worker.h"

#define POLICY_FEED_MAX (REGION_WORKERS_MAX * SMTP_POLICIES_MAX + 4u)

struct policy_feed {
	struct region *region; // the caller's
	uint64_t epoch, seen;  // posternd's run, and the highest generation taken or refused
	struct policy_use *policy[POLICY_FEED_MAX]; // ours, oldest first; the last is the newest
	uint32_t count;
	struct worker *worker[POLICY_CORES_MAX];
	uint32_t worker_count;
};

enum policy_feed_result { POLICY_FEED_NONE, POLICY_FEED_TAKEN, POLICY_FEED_REFUSED };

void policy_feed_init(struct policy_feed *f, struct region *r);
void policy_feed_fini(struct policy_feed *f); // after the last worker has stopped
// One look; `why` gets the reason of a refusal. Before the first worker is added it waits for a
// first policy.
enum policy_feed_result policy_feed_step(struct policy_feed *f, struct strbuf *why);
void policy_feed_add(struct policy_feed *f, struct worker *w);
