// SPDX-License-Identifier: Apache-2.0
// wirecheck: sees every segment that leaves and notes the first rule of TCP that one of them
// breaks.
//
// What for: property tests and unit tests; a tap on any vnet link (wirecheck_frame), or fed with
// bare segments. Who calls it: one thread. Memory: one heap object a flow, freed by wirecheck_fini.
// What can go wrong: a broken rule is in `fault` (NULL: none), with the segment in `text`. It looks
// at segments as they are sent, before the wire harms them, so whatever it finds is their sender's
// doing. The rules: checksums, lengths; nothing before a SYN; nobody sends beyond the advertised
// window (one byte of probe excepted) nor above the peer's MSS; nobody takes an advertised edge
// back (by more than the rounding of a scaled window) nor an acknowledgment; nobody acknowledges or
// echoes what was not sent; nothing behind a FIN, and it stays where it is; SACK only when
// permitted, blocks above the acknowledgment, within what was sent, apart from each other, the
// newest first (RFC 2018, 2883); timestamps on all segments or on none, never going back (RFC
// 7323).
#pragma once

#include "dataplane/tcp.h"
#include "test/sim/lib/vnet.h"

#define WIRECHECK_BUCKETS 256u
#define WIRECHECK_TEXT_SIZE 256u

struct wirecheck_flow;

struct wirecheck {
	struct wirecheck_flow *bucket[WIRECHECK_BUCKETS];
	uint64_t segments;
	uint64_t sacks, resets; // of them: with SACK blocks, RSTs
	const char *fault;
	char text[WIRECHECK_TEXT_SIZE];
	// Frames may be missing when an ACK is due: one ACK then speaks of several arrivals, and
	// the last of them need not be the one that is new.
	bool is_short_of_frames;
	// Every segment as one line on stdout: the trace of a failing seed. name: which wire.
	bool is_tracing;
	const char *name;
};

void wirecheck_init(struct wirecheck *w);
void wirecheck_fini(struct wirecheck *w);
// A vnet_tap_fn; ctx is the struct wirecheck. What is not TCP over IPv4 or IPv6 is let pass.
void wirecheck_frame(void *ctx, struct span frame, enum vnet_end from, uint64_t now_us);
// A TCP segment without IP; path as its sender sees it. Checksums are not looked at.
void wirecheck_segment(struct wirecheck *w, const struct tcp_path *path, struct span seg,
		       uint64_t now_us);
