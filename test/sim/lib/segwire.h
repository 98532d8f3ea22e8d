// SPDX-License-Identifier: Apache-2.0
// segwire: two TCP instances back to back over a simulated wire of segments, on a virtual clock.
//
// What for: property tests of the endpoint: loss, duplication, reordering, delay, missing frames,
// all from one seed. Who calls it: tests. Memory: segments on the heap, freed by segwire_fini; the
// instances are made and closed here. What can go wrong: a broken rule of the protocol is noted in
// `fault` (the first one; NULL: none) by wirecheck, which sees every segment that leaves.
#pragma once

#include "control/base/rng.h"
#include "dataplane/tcp.h"
#include "test/sim/lib/wirecheck.h"

struct segwire_args {
	uint64_t seed;
	uint32_t loss_ppm, dup_ppm, reorder_ppm, frameless_ppm; // per million
	uint32_t delay_us, jitter_us;
	uint32_t window_bytes[2];
	uint32_t window_bytes_max[2]; // 0: they stay as they begin
	uint32_t chunks[2];
	uint32_t conns_max;
	uint32_t keepalive_s;
	uint16_t mtu[2];
	uint16_t path_mtu; // larger packets vanish in the middle; 0: none do
	bool is_told;      // and a router says so
};

struct segwire_seg {
	struct segwire_seg *next;
	uint64_t due_us;
	uint32_t size;
	uint16_t error_mtu; // not 0: an ICMP error about the segment that begins at `error_seq`
	uint32_t error_seq;
	int to;
	struct tcp_path path; // as the receiver sees it
	uint8_t data[];
};

struct segwire;

struct segwire_port {
	struct segwire *w;
	int end;
};

struct segwire {
	struct tcp *tcp[2];
	struct chunk_pool chunks[2];
	struct counters counters[2];
	struct segwire_port port[2];
	struct ipaddr addr[2];
	struct segwire_args args;
	struct rng rng;
	uint64_t now_us;
	struct segwire_seg *queue; // by due time
	struct segwire_seg *being_written;
	struct wirecheck check;
	uint64_t segments, lost, too_big;
	const char *fault; // of the check
};

void segwire_init(struct segwire *w, const struct segwire_args *args);
void segwire_fini(struct segwire *w);
// Lets time pass until `until_us` or until nothing can happen any more. False: nothing is left to
// happen.
bool segwire_run(struct segwire *w, uint64_t until_us);
extern const struct tcp_net_ops segwire_net_ops;
