// SPDX-License-Identifier: Apache-2.0
// conflicts: tells the operator's log that another station has an address of ours, and when that is
// over. It is somebody's mistake, mail goes astray by it, and nobody looks at a counter for it.
//
// Who calls it: posternd's loop, once a turn. Memory: the caller's struct, zero at first. What can
// go wrong: it comes and goes, or goes on: each kind has at most one line in CONFLICTS_SAY_MS. All
// words of the region are input.
#pragma once

#include "control/abi/region.h"

#define CONFLICTS_SAY_MS 60000u

struct conflicts {
	bool has_begun;
	uint64_t arp;      // packets that were told, or came before us
	uint64_t arp_ms;   // when; 0: never
	uint64_t taken;    // IPv6 addresses that were told
	uint64_t taken_ms; // when; 0: never
};

// How many ARP packets of a station with an IPv4 address of ours are to be told; 0: none.
uint64_t conflicts_arp(struct conflicts *c, uint64_t packets, uint64_t now_ms);
// True: how many IPv6 addresses others have is to be told.
bool conflicts_taken(struct conflicts *c, uint64_t taken, uint64_t now_ms);
// Looks at all workers for the first, at the first `workers`, which live, for the second.
void conflicts_poll(struct conflicts *c, const struct region *r, uint32_t workers, uint64_t now_ms);
