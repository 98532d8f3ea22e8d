// SPDX-License-Identifier: Apache-2.0
// appliance: whole workers between a client machine and a backend machine, on the virtual clock.
//
//   client (net + tcp) ==link== [simnic] worker(s) (all of the dataplane) [simnic] ==link== backend
//
// What for: session scripts, the simulation and the pipeline bench. Who calls it: one thread.
// Memory: heap, freed by appliance_close. Nothing here is a stand-in: the workers are the
// product's, the peers are made of its own network stack; only wire and NICs are simulated.
#pragma once

#include "dataplane/worker.h"
#include "test/sim/lib/endpoint.h"
#include "test/sim/lib/simnic.h"
#include "test/sim/lib/testpolicy.h"
#include "test/sim/lib/vnet.h"

#define APPLIANCE_LOG_MAX 4096 // log records kept; later ones are dropped
#define APPLIANCE_POLICIES_MAX 64
#define APPLIANCE_WORKERS_MAX 4

enum appliance_rss {
	APPLIANCE_RSS_OURS,    // NICs that took our key and table
	APPLIANCE_RSS_FOREIGN, // NICs with a key of their own: frames land anywhere
	APPLIANCE_RSS_NONE,    // all frames land on queue 0
};

struct appliance_args {
	struct testpolicy *policy;
	uint64_t seed;
	struct vnet_path client_link, backend_link; // all zero: a perfect wire
	uint32_t window_bytes;                      // of the two peers; 0: 256 KiB
	event_trace_fn trace;                       // NULL: none
	void *trace_ctx;
	uint32_t peer_conns;       // connections of each peer; 0: 1024
	uint32_t peer_chunks;      // of each peer; 0: 65536
	uint32_t peer_keepalive_s; // 0: 7200
	bool no_log;               // without an event ring
	// Workers behind simulated NICs, each with a queue pair of both; 0: one, straight on the
	// wires.
	uint32_t workers;
	uint32_t reta_size, ring_frames; // of the NICs; 0: simnic's
	enum appliance_rss rss;
	bool is_v6; // as the policy: testpolicy_v6
};

struct appliance {
	uint64_t now_us;
	struct vnet *net;
	struct vnet_link *link[2]; // outside, inside; the peer is VNET_A
	struct vnet_host client, backend;
	uint32_t workers;
	struct worker *worker[APPLIANCE_WORKERS_MAX];
	struct counters *counters; // [workers]
	struct simnic *nic[2];     // outside, inside; NULL: the one worker is on the wire
	struct steer *steer;       // NULL: one worker
	struct appliance_end {
		struct appliance *a;
		uint32_t index;
	} end[APPLIANCE_WORKERS_MAX]; // what port_is_mine gets
	const struct policy_use *policy[APPLIANCE_POLICIES_MAX];
	uint32_t policy_count;
	void *ring_mem;
	struct ring events;
	struct logrec *log; // messages and session ends, oldest first
	uint32_t log_count;
	uint64_t worker_cycles; // TSC cycles spent in worker_poll, all in all
};

struct appliance *must_use appliance_open(const struct appliance_args *args, struct strbuf *why);
void appliance_close(struct appliance **a);
// Polls all three once, and when nobody had work jumps to the next instant at which something can
// happen. False: that lies behind limit_us (the clock stays).
bool appliance_step(struct appliance *a, uint64_t limit_us);
// The clock only; nothing may be due before.
void appliance_goto(struct appliance *a, uint64_t now_us);
// A counter of all workers together.
uint64_t appliance_count(const struct appliance *a, enum counter c);
must_use bool appliance_policy(struct appliance *a, struct testpolicy *p, struct strbuf *why);
