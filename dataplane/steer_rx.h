// SPDX-License-Identifier: Apache-2.0
// steer_rx: what a port does with each frame of its queue when there are several workers, and what
// a worker does with the frames that others received for it.
//
// What for: the hand-over is the same code under DPDK and under the simulated NIC. Who calls it: a
// port's rx (steer_rx_keep) and the worker's loop (steer_rx_handed), each on its own core. Memory:
// a frame that is handed over belongs to its new worker, who gives it back by his own port: rx_free
// of a port takes the frames of every queue of its device. What can go wrong: the ring is full: the
// frame is dropped and counted (HANDOFF_FULL), TCP sends it again; no buffer for a copy of an ARP
// frame: the others go without, they ask themselves.
#pragma once

#include "control/abi/counter.h"
#include "dataplane/steer.h"
#include "dataplane/worker.h"

struct steer_rx {
	struct steer *steer; // NULL: one worker
	struct counters *counters;
	uint32_t worker, iface;
	// These bytes in a frame of the port's own; false: no buffer.
	bool (*copy)(struct port *p, struct span bytes, struct frame *out);
};

// False: the frame has gone to its owner, or was dropped.
must_use bool steer_rx_keep(const struct steer_rx *r, struct port *p, struct frame *f);
// Feeds `w` what others sent to it, at most one burst. Returns how many frames. s NULL: nothing.
uint32_t steer_rx_handed(struct steer *s, uint32_t index, struct worker *w);
