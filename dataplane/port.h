// SPDX-License-Identifier: Apache-2.0
// port: one queue pair of one NIC port as a worker sees it: bursts of frames in, frames out.
//
// What for: the seam under which DPDK lives (port_dpdk.c) and over which everything compiles with a
// bare compiler; tests and benches plug in a wire of their own. Who calls it: the owning worker
// only. Memory: a received frame belongs to the caller until port_rx_free; a frame from port_tx_get
// until port_tx_put. What can go wrong: no buffer: port_tx_get returns false (the segment stays
// unsent and is tried again); NIC queue full: the frame is dropped by port_tx_flush and counted,
// TCP sends it again.
#pragma once

#include "control/base/check.h"

#define PORT_BURST 32
#define PORT_FRAME_SIZE 1518 // largest frame that we make or take: with a VLAN tag, without FCS

#define FRAME_LEARN_ONLY 1u // a copy of another worker's ARP or ND frame: learn, do not answer
#define FRAME_SUM_GOOD 2u   // the NIC found both the IPv4 and the TCP checksum right

struct frame {
	uint8_t *data; // Ethernet header
	uint32_t len;
	uint32_t flags;
	void *priv; // the port's own: an mbuf
};

struct port;

struct port_ops {
	uint16_t (*rx)(struct port *p, struct frame *f, uint16_t most);
	void (*rx_free)(struct port *p, struct frame *f);
	bool (*tx_get)(struct port *p, struct frame *f); // room for PORT_FRAME_SIZE bytes, len 0
	void (*tx_put)(struct port *p, struct frame *f); // len set; sent at the latest by tx_flush
	uint32_t (*tx_flush)(struct port *p);            // returns how many frames were dropped
	uint32_t (*use)(struct port *p); // packet buffers in use, per mille; NULL: not known
};

struct port {
	const struct port_ops *ops;
	uint8_t mac[6];
	uint16_t mtu; // IP bytes a frame, at most 1500
	// How often the link has come up; another thread counts (atomic). NULL: it is always there.
	const uint32_t *link_ups;
	void *priv;
};
