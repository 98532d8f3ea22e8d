// SPDX-License-Identifier: Apache-2.0
// simnic: a NIC with several queue pairs, as struct ports, on any wire that is a struct port.
//
//   wire (vnet, tap, ..) > hash > RETA > ring of queue q > simnic_port(nic, q) > [steer_rx]
//
// What for: many workers without root and without DPDK. It spreads as NICs do: Toeplitz with a key
// over addresses and ports of whole TCP segments over IPv4 or IPv6 (one VLAN tag is looked
// through), over the addresses alone of fragments, of other protocols and behind IPv6 extension
// headers; everything else, ARP too, goes to queue 0 without a hash. The hash's low bits choose one
// of reta_size entries. Key and table may be changed while it runs. Who calls it: one thread, all
// queues. Memory: rings and 64 copies on the heap at open; frames are the wire's, so its slots
// bound the rings. What can go wrong: ring full: the frame is dropped and counted (`missed`), as by
// a NIC whose worker is too slow; no copy free: the other workers go without.
#pragma once

#include "control/base/mem.h"
#include "dataplane/steer_rx.h"

#define SIMNIC_QUEUES_MAX 8u
#define SIMNIC_RETA_MAX 512u
#define SIMNIC_RETA_DEFAULT 128u
#define SIMNIC_RING_DEFAULT 256u

struct simnic_args {
	struct port *wire;
	uint32_t queues;
	uint32_t reta_size;   // a power of two; 0: SIMNIC_RETA_DEFAULT. Entry i is i % queues
	uint32_t ring_frames; // a power of two; 0: SIMNIC_RING_DEFAULT
	// STEER_KEY_SIZE bytes; NULL: no RSS, all goes to queue 0.
	const uint8_t *key;
};

enum simnic_hash { SIMNIC_NO_HASH, SIMNIC_ADDRESSES, SIMNIC_PORTS };

struct simnic_stats { // of one queue
	uint64_t received, missed, sent;
	uint64_t portless; // of those received: ARP, ND, ICMP, fragments: no hash over ports
};

struct simnic;

struct simnic *must_use simnic_open(const struct simnic_args *args); // NULL: no memory
void simnic_close(struct simnic **nic); // frames still in rings go back to the wire
struct port *simnic_port(struct simnic *nic, uint32_t queue);
// Hand-over of that queue's foreign frames: the worker's steer. Without it nothing is handed over.
void simnic_steer(struct simnic *nic, uint32_t queue, struct steer *s, uint32_t iface,
		  struct counters *c);
void simnic_key_set(struct simnic *nic, const uint8_t key[STEER_KEY_SIZE]);
void simnic_reta_set(struct simnic *nic, uint32_t entry, uint32_t queue);
uint32_t simnic_reta_size(const struct simnic *nic);
const struct simnic_stats *simnic_stats(const struct simnic *nic, uint32_t queue);
uint32_t simnic_pending(const struct simnic *nic); // frames in rings: rx of some queue has work
uint32_t simnic_copies(const struct simnic *nic);  // that workers have not given back
// A frame that came over steer_recv and found no worker any more.
void simnic_frame_free(struct simnic *nic, struct frame *f);
// What the NIC makes of a frame: the kind of hash, and its value.
enum simnic_hash simnic_hash(const struct simnic *nic, struct span frame, uint32_t *hash);
