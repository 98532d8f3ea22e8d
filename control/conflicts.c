// SPDX-License-Identifier: Apache-2.0
#include "control/conflicts.h"

#include "control/oplog.h"

static bool
is_too_soon(uint64_t told_ms, uint64_t now_ms)
{
	return told_ms != 0 && now_ms - told_ms < CONFLICTS_SAY_MS;
}

uint64_t
conflicts_arp(struct conflicts *c, uint64_t packets, uint64_t now_ms)
{
	uint64_t more = packets - c->arp;

	if (!c->has_begun || packets < c->arp) { // a new region counts anew
		c->has_begun = true;
		c->arp = packets;
		return 0;
	}
	if (more == 0 || is_too_soon(c->arp_ms, now_ms))
		return 0;
	c->arp = packets;
	c->arp_ms = MAX(now_ms, 1u);
	return more;
}

bool
conflicts_taken(struct conflicts *c, uint64_t taken, uint64_t now_ms)
{
	if (taken == c->taken || is_too_soon(c->taken_ms, now_ms))
		return false;
	c->taken = taken;
	c->taken_ms = MAX(now_ms, 1u);
	return true;
}

void
conflicts_poll(struct conflicts *c, const struct region *r, uint32_t workers, uint64_t now_ms)
{
	uint64_t packets = 0, taken = 0;

	CHECK(workers <= REGION_WORKERS_MAX);
	for (uint32_t w = 0; w < REGION_WORKERS_MAX; w++) {
		const struct counters *n = region_counters(r, w);
		packets += counter_read(&n->v[COUNTER_ARP_CONFLICT]);
		if (w < workers) // each worker asks for itself
			taken = MAX(taken, counter_read(&n->addresses_taken));
	}
	packets = conflicts_arp(c, packets, now_ms);
	if (packets > 0)
		oplog(OPLOG_WARNING,
		      "another station has an IPv4 address of ours (its ARP packets: %llu): mail "
		      "goes astray until one of us two gives it up",
		      (unsigned long long)packets);
	if (!conflicts_taken(c, taken, now_ms))
		return;
	if (taken > 0)
		oplog(OPLOG_WARNING,
		      "IPv6 addresses of ours that another station has, and that are not used "
		      "until they are free: %llu",
		      (unsigned long long)taken);
	else
		oplog(OPLOG_INFO, "no other station has an IPv6 address of ours any more");
}
