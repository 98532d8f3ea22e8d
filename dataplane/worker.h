// SPDX-License-Identifier: Apache-2.0
// worker: one poll-mode core and all that it owns; worker_poll is the whole dataplane in one call.
//
//   rx burst > net > tcp input > sessions > tcp output > tx > timers > commands > policy
//
// What for: share nothing: what a worker touches, no other thread does, but for its ring ends and
// the policy pointer. Who calls it: the lcore's loop in boot.c; tests and benches call worker_poll
// with a virtual clock and ports of their own. Memory: all from args.mem in worker_open. What can
// go wrong: open fails with a reason, or nothing; overload is shed by the modules below.
#pragma once

#include "control/abi/region.h"
#include "dataplane/net.h"
#include "dataplane/policy_use.h"
#include "dataplane/smtp.h"
#include "scanner/scan.h"

struct worker_args {
	uint32_t index, cpu;
	struct net_iface ifaces[NET_IFACES_MAX];
	uint32_t iface_count;
	const struct policy_use *policy; // the first one
	struct counters *counters;
	struct ring *events, *commands;    // NULL: none (tests)
	struct region_worker_state *state; // in shared memory; NULL: none (tests)
	uint32_t node;                     // NUMA node, for that state
	uint8_t secret[16];
	uint64_t seed;
	struct mem_source *mem;
	bool (*port_is_mine)(void *ctx, const struct tcp_path *path); // NULL: one worker
	void *port_ctx;
	event_trace_fn trace; // NULL: none
	void *trace_ctx;
};

struct worker_usage { // objects out of their pools now; all 0 when nothing is under way
	uint32_t connections, sessions, transactions, backends, scans, chunks;
	uint32_t clients;     // prefixes with sessions
	uint32_t chunks_most; // that were ever out at once
	uint32_t flights;     // connections that keep account of segments in flight
};

struct worker;

struct worker *must_use worker_open(const struct worker_args *args, uint64_t now_us,
				    struct strbuf *why);
void worker_close(struct worker **w);
// One turn of the loop; now_us is monotonic, wall_us Unix time. Returns the work done; 0: idle.
uint32_t worker_poll(struct worker *w, uint64_t now_us, uint64_t wall_us);
// A frame that another worker received for a flow of ours (steer_rx.c). Frees it, by our port.
void worker_frame(struct worker *w, uint32_t iface, struct frame *f);
struct worker_usage worker_usage(const struct worker *w);
struct chunk_pool *worker_chunks(struct worker *w); // for tests that leave it without memory
uint64_t worker_next_us(const struct worker *w);    // nothing happens by itself before
// Any thread: the policy to take over at the next quiet point.
void worker_policy_offer(struct worker *w, const struct policy_use *p);
// Any thread: does this worker use that generation, or might it still take it up?
bool worker_policy_uses(const struct worker *w, uint64_t generation);
