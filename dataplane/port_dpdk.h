// SPDX-License-Identifier: Apache-2.0
// port_dpdk: a NIC port of DPDK, and the struct port of each worker's queue pair on it.
//
// What for: the only place where packets are mbufs. Who calls it: boot opens and closes devices in
// the main thread; the port's functions run on the worker that owns the queue pair. Memory: one
// mempool a worker and port, on the worker's NUMA node; a frame is one mbuf, never a chain. What
// can go wrong: a device that is missing or has too few queues: false and a reason; a frame in
// several pieces, too long, or with a VLAN tag that the driver took off: dropped, ETH_OTHER; pool
// empty: tx_get is false. Offloads: checksums on receipt are believed only when the NIC says GOOD
// for both; nothing on sending. Groups are told apart in eth.c: the NIC brings all of them.
#pragma once

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "control/abi/counter.h"
#include "control/base/strbuf.h"
#include "dataplane/steer_rx.h"

#define PORT_DPDK_MTU 1500u

struct port_dpdk_args {
	uint16_t id;            // of ethdev
	uint32_t workers;       // queue pairs
	const uint32_t *node;   // by worker: NUMA node of its memory
	uint32_t frames;        // mbufs a worker on this port
	bool has_groups;        // IPv6 on this port: its neighbours ask at multicast addresses
	const uint8_t *rss_key; // STEER_KEY_SIZE bytes; used with more than one worker
};

struct port_dpdk_dev { // a started device
	uint16_t id;
	uint32_t workers;
	uint16_t mtu;
	uint8_t mac[6];
	int node; // -1: unknown
	bool is_configured, is_started;
	bool has_sums;     // checks TCP checksums on receipt
	bool has_rss;      // spreads by our key and table
	bool has_groups;   // gives us frames to multicast addresses
	bool link_is_up;   // when it was looked at
	uint32_t link_ups; // see struct port; atomic
	uint32_t ring;     // buffers that the two rings of a queue pair may hold
	struct rte_mempool *pool[STEER_WORKERS_MAX];
};

struct port_dpdk { // a worker's end of it
	struct port port;
	uint16_t id, queue;
	bool has_sums;
	uint32_t ring;
	struct rte_mempool *pool;
	struct counters *counters;
	struct steer_rx steer;
	uint16_t tx_count;
	uint32_t tx_dropped; // since the last flush
	struct rte_mbuf *tx[PORT_BURST];
};

must_use bool port_dpdk_open(struct port_dpdk_dev *d, const struct port_dpdk_args *args,
			     struct strbuf *why);
void port_dpdk_close(struct port_dpdk_dev *d); // after the last worker has stopped
void port_dpdk_link(struct port_dpdk_dev *d);  // looks at the link; main thread
void port_dpdk_init(struct port_dpdk *p, const struct port_dpdk_dev *d, uint32_t worker,
		    uint32_t iface, struct counters *counters, struct steer *steer);
void port_dpdk_fini(struct port_dpdk *p);         // frees what was not sent
void port_dpdk_frame_free(const struct frame *f); // a frame that came over steer_recv
